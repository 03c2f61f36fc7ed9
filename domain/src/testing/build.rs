//! Builders with defaults that are accepted, so that a test names only what it is about.
use crate::{
    canonical,
    command::RegisterRelease,
    guard::Scope,
    id::{
        Channel, Component, Hash, KeyName, Millis, Ppm, Reason, Region, ReleaseName, RolloutId,
        SecurityVersion, VariantId, WaveName,
    },
    release::{
        ArtifactKind, MANIFEST_PAYLOAD_TYPE, Manifest, Payload, Requirement, VariantPayload,
    },
    rollout::{
        Audience, GateScope, OnInconclusive, OnStale, RetryPolicy, RollbackSpec, RollbackTarget,
        RolloutSpec,
    },
    signature::{self, SigningKey},
    tally::Stratum,
    variant::{Selector, VariantTraits},
    wave::{Criteria, WaveSpec},
};
use std::collections::BTreeSet;

/// A reason that is good enough for a test.
pub fn reason() -> Reason {
    Reason::new("because a test says so").expect("not blank")
}

/// The name of a key.
pub fn name(text: &str) -> KeyName {
    KeyName::new(text).expect("a name")
}

/// A component.
pub fn component(text: &str) -> Component {
    Component::new(text).expect("a component")
}

/// A region.
pub fn region(text: &str) -> Region {
    Region::new(text).expect("a region")
}

/// A selector as people write it: `*`, or `model/revision/region/carrier`.
pub fn selector(text: &str) -> Selector {
    text.parse().expect("a selector")
}

/// A variant as people write it: `model/revision/region/carrier`.
pub fn traits(text: &str) -> VariantTraits {
    text.parse().expect("a variant")
}

/// A component on a set of variants.
pub fn scope(of: &str, on: &str) -> Scope {
    Scope {
        component: component(of),
        selector: selector(on),
    }
}

/// A channel.
///
/// # Panics
/// The text is no channel.
pub fn channel(text: &str) -> Channel {
    Channel::new(text).expect("a channel")
}

/// The stable channel of a variant.
pub fn stratum(variant: u32) -> Stratum {
    Stratum {
        variant: VariantId(variant),
        channel: channel(Channel::DEFAULT),
    }
}

/// Firmware 1.0.0 of component `os` for everyone, security version 1, until told otherwise.
pub fn release(name: &str) -> ReleaseBuilder {
    ReleaseBuilder {
        manifest: Manifest {
            origin: super::Fleet::ORIGIN.to_owned(),
            name: ReleaseName::new(name).expect("a release name"),
            kind: ArtifactKind::Firmware,
            component: component("os"),
            version: "1.0.0".parse().expect("a version"),
            security_version: SecurityVersion(1),
            payloads: vec![VariantPayload {
                selector: Selector::ALL,
                payload: payload(name),
            }],
            upgradable_from: None,
            requires: Vec::new(),
            critical_security: false,
            audience: Selector::ALL,
        },
    }
}

fn payload(seed: &str) -> Payload {
    Payload {
        sha256: Hash(blake3::derive_key(
            "tidegate 2026-11 test payload v1",
            seed.as_bytes(),
        )),
        size: 1 << 20,
        urls: vec![format!("https://cdn.example/{seed}")],
        delta: None,
    }
}

/// A release in the making.
#[derive(Clone, Debug)]
pub struct ReleaseBuilder {
    /// What it says so far.
    pub manifest: Manifest,
}

impl ReleaseBuilder {
    /// Sets the kind.
    pub fn kind(mut self, kind: ArtifactKind) -> Self {
        self.manifest.kind = kind;
        self
    }

    /// Sets the component.
    pub fn component(mut self, text: &str) -> Self {
        self.manifest.component = component(text);
        self
    }

    /// Sets the semantic version.
    pub fn version(mut self, text: &str) -> Self {
        self.manifest.version = text.parse().expect("a version");
        self
    }

    /// Sets the security version.
    pub fn security_version(mut self, version: u64) -> Self {
        self.manifest.security_version = SecurityVersion(version);
        self
    }

    /// Makes it for the variants of some selectors only, each with a payload of its own.
    pub fn only_for(mut self, selectors: &[&str]) -> Self {
        let part = |text: &&str| VariantPayload {
            selector: selector(text),
            payload: payload(text),
        };
        self.manifest.payloads = selectors.iter().map(part).collect();
        self
    }

    /// Sets the versions that can go to it directly.
    pub fn upgradable_from(mut self, range: &str) -> Self {
        self.manifest.upgradable_from = Some(range.parse().expect("a range"));
        self
    }

    /// Adds what another component must run first.
    pub fn requires(mut self, other: &str, range: &str) -> Self {
        self.manifest.requires.push(Requirement {
            component: component(other),
            range: range.parse().expect("a range"),
        });
        self
    }

    /// Marks it as closing a hole that is being used.
    pub fn critical(mut self) -> Self {
        self.manifest.critical_security = true;
        self
    }

    /// The registration, signed by some keys.
    pub fn signed_by(self, keys: &[SigningKey]) -> RegisterRelease {
        let manifest = canonical::encode(&self.manifest);
        let sign = |key| signature::sign(key, MANIFEST_PAYLOAD_TYPE, &manifest);
        let signatures = keys.iter().map(sign).collect();
        RegisterRelease {
            manifest,
            signatures,
        }
    }
}

/// A rollout to everyone in one wave of 100 % without soak, with nowhere to go back to.
pub fn rollout(release: &str) -> RolloutBuilder {
    let selectors = BTreeSet::from([Selector::ALL]);
    RolloutBuilder {
        spec: RolloutSpec {
            release: ReleaseName::new(release).expect("a release name"),
            audience: Audience {
                selectors,
                channels: BTreeSet::new(),
                from_versions: None,
            },
            waves: Vec::new(),
            rollback: RollbackSpec {
                auto: false,
                health_check_interval: Millis(300_000),
                target: RollbackTarget::FixForwardOnly,
            },
            start_at: None,
            supersedes: None,
            priority: None,
            control: Ppm::ZERO,
            gate_scope: GateScope::VariantAndPooled,
            on_inconclusive: OnInconclusive::Hold,
            on_stale: OnStale::Wait,
            offer_ttl: Millis(24 * 3_600_000),
            retry: RetryPolicy {
                attempts: 3,
                backoff: Millis(3_600_000),
            },
            silent_max: Ppm::new(50_000).expect("a share"),
            sample_min: 10,
            credit: 200,
            maintenance: Vec::new(),
            freezes: Vec::new(),
            complete_after: None,
        },
    }
}

/// A rollout in the making.
#[derive(Clone, Debug)]
pub struct RolloutBuilder {
    /// What it says so far.
    pub spec: RolloutSpec,
}

impl RolloutBuilder {
    /// On these channels only.
    ///
    /// # Panics
    /// One is no channel.
    #[must_use]
    pub fn on_channels(mut self, channels: &[&str]) -> Self {
        self.spec.audience.channels = channels.iter().map(|text| channel(text)).collect();
        self
    }

    /// Sets the variants.
    pub fn audience(mut self, selectors: &[&str]) -> Self {
        self.spec.audience.selectors = selectors.iter().map(|text| selector(text)).collect();
        self
    }

    /// Adds a wave that reaches `percent` and soaks for some hours.
    pub fn wave(mut self, percent: u32, soak_hours: u64) -> Self {
        let at = self.spec.waves.len();
        self.spec.waves.push(WaveSpec {
            name: WaveName::new(format!("wave-{at}")).expect("a wave name"),
            target: Ppm::new(percent * 10_000).expect("at most 100 percent"),
            cap: None,
            soak: Millis(soak_hours * 3_600_000),
            criteria: (at == 0).then(|| Criteria {
                failure_rate_max: Ppm::new(10_000),
                ..Criteria::default()
            }),
            pacing: None,
            ring: None,
        });
        self
    }

    /// Limits the last wave to a number of admissions.
    pub fn cap(mut self, admissions: u64) -> Self {
        let wave = self.spec.waves.last_mut().expect("a wave");
        wave.cap = Some(admissions);
        self
    }

    /// Sets the release that devices return to.
    pub fn back_to(mut self, release: &str) -> Self {
        let release = ReleaseName::new(release).expect("a release name");
        self.spec.rollback.target = RollbackTarget::Release(release);
        self
    }

    /// Sends devices back by itself when a gate fails.
    pub fn auto_rollback(mut self) -> Self {
        self.spec.rollback.auto = true;
        self
    }

    /// Takes the place of another rollout.
    pub fn supersedes(mut self, other: RolloutId) -> Self {
        self.spec.supersedes = Some(other);
        self
    }

    /// Sets the priority.
    pub fn priority(mut self, priority: u32) -> Self {
        self.spec.priority = Some(priority);
        self
    }

    /// The spec.
    pub fn spec(mut self) -> RolloutSpec {
        if self.spec.waves.is_empty() {
            self = self.wave(100, 0);
        }
        self.spec
    }
}
