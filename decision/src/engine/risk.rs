//! The chance that an install fails: the seam for models, and the table that needs none.
use super::checkin::{CheckIn, Network, Power};
use tidegate_domain::{
    id::{Ppm, WaveIndex},
    release::ArtifactKind,
};

/// What risk is judged from. Integers only, so that a receipt replays to the same score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// What would be installed.
    pub kind: ArtifactKind,
    /// Bytes to fetch.
    pub size: u64,
    /// Whether it closes a hole that is being used.
    pub critical_security: bool,
    /// The wave that the device would be let in by.
    pub wave: WaveIndex,
    /// How often the release failed on this device.
    pub failures: u16,
    /// State of charge, if the device has a battery.
    pub battery_percent: Option<u8>,
    /// What feeds it.
    pub power: Power,
    /// What it would download over.
    pub network: Network,
    /// Free bytes, if known.
    pub storage_free: Option<u64>,
}

impl Features {
    /// The features of one release on one device.
    pub fn of(
        check_in: &CheckIn,
        kind: ArtifactKind,
        size: u64,
        critical_security: bool,
        wave: WaveIndex,
        failures: u16,
    ) -> Self {
        Self {
            kind,
            size,
            critical_security,
            wave,
            failures,
            battery_percent: check_in.battery_percent,
            power: check_in.power,
            network: check_in.network,
            storage_free: check_in.storage_free,
        }
    }
}

/// Judges the probability that an install fails.
pub trait RiskModel {
    /// The probability; `None` when there is no model or it is not in time: the table speaks then.
    fn score(&self, features: &Features) -> Option<Ppm>;
}

/// A score that was given: what a receipt replays with.
impl RiskModel for Ppm {
    fn score(&self, _: &Features) -> Option<Ppm> {
        Some(*self)
    }
}

/// No model: the table speaks.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableOnly;

impl RiskModel for TableOnly {
    fn score(&self, _: &Features) -> Option<Ppm> {
        None
    }
}

/// The most risk that a wave takes. The first wave is there to learn of the release, not of devices
/// that are failing anyway.
pub const fn limit(wave: WaveIndex) -> Ppm {
    const FIRST: Ppm = parts(250_000);
    const LATER: Ppm = parts(500_000);
    if wave.0 == 0 { FIRST } else { LATER }
}

/// The deterministic table: what is known to make installs fail, in parts per million.
pub fn table(features: &Features) -> Ppm {
    let kind = match features.kind {
        ArtifactKind::Firmware => 10_000,
        ArtifactKind::Model => 2_000,
        ArtifactKind::Config => 1_000,
    };
    let failures = 120_000_u32.saturating_mul(u32::from(features.failures));
    let battery = match (features.power, features.battery_percent) {
        (Power::Mains, _) | (_, None) => 0,
        (Power::Charging, Some(0..20)) | (_, Some(20..50)) => 20_000,
        (Power::Charging, Some(_)) => 0,
        (_, Some(0..20)) => 100_000,
        (_, Some(_)) => 0,
    };
    let network = match features.network {
        Network::Wifi | Network::Ethernet => 0,
        Network::Unknown => 5_000,
        Network::Cellular => 15_000,
        Network::Roaming => 40_000,
    };
    let tight = features
        .storage_free
        .is_some_and(|free| free < features.size.saturating_mul(2));
    let storage = if tight { 40_000 } else { 0 };
    let sum = [failures, battery, network, storage]
        .into_iter()
        .fold(kind, u32::saturating_add);
    parts(sum)
}

/// A share, never more than all.
const fn parts(parts: u32) -> Ppm {
    match Ppm::new(parts) {
        Some(share) => share,
        None => Ppm::ALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALM: Features = Features {
        kind: ArtifactKind::Firmware,
        size: 1_000,
        critical_security: false,
        wave: WaveIndex(0),
        failures: 0,
        battery_percent: None,
        power: Power::Mains,
        network: Network::Ethernet,
        storage_free: None,
    };

    #[test]
    fn a_healthy_device_passes_every_wave() {
        assert!(table(&CALM) < limit(WaveIndex(0)));
    }

    #[test]
    fn two_failures_keep_a_device_out_of_the_first_wave_only() {
        let failing = Features {
            failures: 2,
            network: Network::Cellular,
            ..CALM
        };
        assert!(table(&failing) > limit(WaveIndex(0)));
        assert!(table(&failing) < limit(WaveIndex(1)));
    }

    proptest! {
        #[test]
        fn more_failures_never_lower_the_risk(
            failures in 0..u16::MAX,
            battery_percent in proptest::option::of(0..=100_u8),
        ) {
            let before = Features { failures, battery_percent, power: Power::Battery, ..CALM };
            let after = Features { failures: failures + 1, ..before };
            prop_assert!(table(&before) <= table(&after));
        }
    }
}
