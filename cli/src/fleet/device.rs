//! One simulated device: what it runs, what it is doing, and what it says.
use std::time::Instant;
use tidegate_domain::variant::VariantTraits;
use tidegate_proto::v1::{
    CheckInRequest, CheckInResponse, ComponentMetrics, InstallStage, NetworkKind, Offer,
    OutcomeFailure, OutcomeKind, OutcomeReport, PowerSource, ReleaseMetrics, RunningComponent,
    Verdict,
};

/// What runs on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) version: String,
    pub(crate) security_version: u64,
}

/// What an offer asks a device to do.
#[derive(Clone, Debug)]
pub(crate) struct Install {
    pub(crate) release: String,
    pub(crate) next: Running,
    pub(crate) token: Vec<u8>,
    pub(crate) going_back: bool,
    pub(crate) done_at: Instant,
}

impl Install {
    /// What an offer asks for; `done_at` is when it will have been done.
    pub(crate) fn of(offer: &Offer, going_back: bool, done_at: Instant) -> Self {
        Self {
            release: offer.release.clone(),
            next: Running {
                version: offer.version.clone(),
                security_version: offer.security_version,
            },
            token: offer.exposure_token.clone(),
            going_back,
            done_at,
        }
    }
}

/// How releases behave on hardware: which installs fail, and how well a release works.
pub(crate) trait Behaviour: Send + Sync {
    /// Whether installing `release` fails on this device.
    fn fails(&self, release: &str, device: u64, variant: &VariantTraits) -> bool;

    /// What a device measures of a release.
    fn metrics(&self, version: &str, device: u64) -> ReleaseMetrics;
}

/// Everything works everywhere.
pub(crate) struct Healthy;

impl Behaviour for Healthy {
    fn fails(&self, _: &str, _: u64, _: &VariantTraits) -> bool {
        false
    }

    fn metrics(&self, _: &str, device: u64) -> ReleaseMetrics {
        healthy_metrics(device)
    }
}

/// What a healthy release measures: no errors, 95 % right, 5 to 20 ms.
pub(crate) fn healthy_metrics(device: u64) -> ReleaseMetrics {
    let mut latency_counts = vec![0; tidegate_domain::tally::LATENCY_BUCKETS];
    let typical = usize::try_from(3 + device % 2).unwrap_or(3);
    if let Some(bucket) = latency_counts.get_mut(typical) {
        *bucket = 100;
    }
    ReleaseMetrics {
        errors: 0,
        operations: 100,
        correct: 95,
        labelled: 100,
        latency_counts,
    }
}

/// A device of a simulated fleet.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) variant: usize,
    pub(crate) running: Running,
    pub(crate) boots: u64,
    pub(crate) sequence: u64,
    pub(crate) install: Option<Install>,
    /// The exposure that its last install resolved, echoed so that it draws no budget again.
    pub(crate) token: Option<Vec<u8>>,
}

impl Device {
    /// What the device says when it checks in.
    pub(crate) fn check_in(
        &mut self,
        component: &str,
        variant: &VariantTraits,
        behaviour: &dyn Behaviour,
    ) -> CheckInRequest {
        self.sequence += 1;
        let metrics = ComponentMetrics {
            component: component.to_owned(),
            metrics: Some(behaviour.metrics(&self.running.version, self.number)),
        };
        CheckInRequest {
            device_id: self.id.clone(),
            variant: variant.to_string(),
            components: vec![self.component(component)],
            region: variant.region.to_string(),
            carrier: variant.carrier.to_string(),
            battery_percent: Some(80),
            power: PowerSource::Charging.into(),
            storage_free_bytes: Some(8 << 30),
            network: NetworkKind::Wifi.into(),
            boot_id: self.boot_id(),
            sequence: self.sequence,
            exposure_tokens: self.token.iter().cloned().collect(),
            metrics: vec![metrics],
            ..CheckInRequest::default()
        }
    }

    /// Takes an answer in. Returns what is to be installed, if anything is.
    pub(crate) fn take_answer<'a>(&mut self, answer: &'a CheckInResponse) -> Option<&'a Offer> {
        let wanted = matches!(answer.verdict(), Verdict::Offer | Verdict::Return);
        answer
            .offer
            .as_ref()
            .filter(|_| wanted && self.install.is_none())
    }

    /// Ends an install. Returns what is to be reported.
    pub(crate) fn finish(
        &mut self,
        install: Install,
        component: &str,
        variant: &VariantTraits,
        behaviour: &dyn Behaviour,
    ) -> OutcomeReport {
        self.boots += 1;
        let failed = !install.going_back && behaviour.fails(&install.release, self.number, variant);
        let mut report = OutcomeReport {
            device_id: self.id.clone(),
            exposure_token: install.token.clone(),
            boot_id: self.boot_id(),
            ..OutcomeReport::default()
        };
        if failed {
            report.set_kind(OutcomeKind::Failed);
            let mut failure = OutcomeFailure {
                code: "E_BOOT_HANG".into(),
                ..Default::default()
            };
            failure.set_stage(InstallStage::Boot);
            report.failure = Some(failure);
            self.boots += 1;
        } else {
            report.set_kind(OutcomeKind::Verified);
            self.running = install.next;
            report.metrics = Some(behaviour.metrics(&self.running.version, self.number));
        }
        self.token = Some(install.token);
        report.components = vec![self.component(component)];
        report
    }

    /// Changes with every boot.
    pub(crate) fn boot_id(&self) -> String {
        format!("{}-boot-{}", self.id, self.boots)
    }

    fn component(&self, component: &str) -> RunningComponent {
        RunningComponent {
            component: component.to_owned(),
            version: self.running.version.clone(),
            security_version: self.running.security_version,
            floor: None,
        }
    }
}
