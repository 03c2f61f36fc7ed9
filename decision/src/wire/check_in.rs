//! Check-ins from the wire. What is malformed is answered `none` with the reason, never with a
//! broken connection: an old agent must be able to tell its owner what is wrong with it.
use crate::engine::{
    ATTEMPTS_MAX, Attempts, COMPONENTS_MAX, CheckIn, DeviceId, DeviceIdError, Index, Network,
    Power, PseudonymKey, Reason, Running, TOKEN_BYTES_MAX, Token, VariantClaim, Verified,
};
use std::collections::BTreeSet;
use tidegate_domain::id::{Channel, LogTime, Pseudonym, Region, SecurityVersion};
use tidegate_proto::v1;

const VARIANT_BYTES_MAX: usize = 160;
/// Longest version of what runs on a device, in bytes.
pub const VERSION_BYTES_MAX: usize = 64;
/// Longest boot id, in bytes.
pub const BOOT_ID_BYTES_MAX: usize = 64;
const CLAIMS_BYTES_MAX: usize = 4_096;
const LABELS_MAX: usize = 16;
const LABEL_KEY_BYTES_MAX: usize = 32;
const LABEL_VALUE_BYTES_MAX: usize = 64;
const UTC_OFFSET_MINUTES_MAX: u32 = 840;

/// A check-in that is not decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub reason: Reason,
    /// Whom the answer's poll time is spread by: zeros if not even the device is known.
    pub pseudonym: Pseudonym,
}

/// Parses a check-in. `index` knows the keys of tokens; `now` bounds what a device says of its past.
///
/// A token that does not verify is left out: the device is then treated as if it held none, which
/// costs an admission and gains it nothing.
///
/// # Errors
/// A field is malformed or over its limit; the reason names it.
pub fn parse(
    request: &v1::CheckInRequest,
    pseudonyms: &PseudonymKey,
    index: Option<&Index>,
    now: LogTime,
) -> Result<CheckIn, Refused> {
    let device = device_id(&request.device_id).map_err(|reason| Refused {
        reason,
        pseudonym: Pseudonym([0; 32]),
    })?;
    let pseudonym = pseudonyms.pseudonym(&device);
    let refused = |reason| Refused { reason, pseudonym };
    rest(request, device, pseudonym, index, now).map_err(refused)
}

/// Checks a device id.
///
/// # Errors
/// The reason to answer with.
fn device_id(text: &str) -> Result<DeviceId, Reason> {
    DeviceId::new(text).map_err(|error| match error {
        DeviceIdError::TooLong { len } => Reason::DeviceIdTooLong {
            bytes: len,
            limit: DeviceId::MAX,
        },
        DeviceIdError::Empty | DeviceIdError::BadCharacter => Reason::DeviceIdMalformed,
    })
}

fn rest(
    request: &v1::CheckInRequest,
    device: DeviceId,
    pseudonym: Pseudonym,
    index: Option<&Index>,
    now: LogTime,
) -> Result<CheckIn, Reason> {
    let v1::CheckInRequest {
        device_id: _,
        variant,
        components,
        attested_claims,
        region,
        carrier,
        battery_percent,
        power,
        storage_free_bytes,
        network,
        channel,
        boot_id,
        sequence,
        exposure_tokens,
        labels,
        utc_offset_minutes,
        // Counted by the ledger, not decided on.
        metrics: _,
        failures,
    } = request;
    at_most("variant", variant.len(), VARIANT_BYTES_MAX)?;
    at_most("attested_claims", attested_claims.len(), CLAIMS_BYTES_MAX)?;
    at_most("carrier", carrier.len(), LABEL_VALUE_BYTES_MAX)?;
    at_most("boot_id", boot_id.len(), BOOT_ID_BYTES_MAX)?;
    check_labels(labels)?;
    if utc_offset_minutes.is_some_and(|minutes| minutes.unsigned_abs() > UTC_OFFSET_MINUTES_MAX) {
        return Err(malformed("utc_offset_minutes"));
    }
    let battery_percent = match battery_percent {
        Some(percent @ 0..=100) => u8::try_from(*percent).ok(),
        Some(_) => return Err(malformed("battery_percent")),
        None => None,
    };
    let channel = if channel.is_empty() {
        Channel::DEFAULT
    } else {
        channel.as_str()
    };
    let region = match region.as_str() {
        "" => None,
        text => Some(Region::new(text).map_err(|_| malformed("region"))?),
    };
    Ok(CheckIn {
        device,
        pseudonym,
        variant: VariantClaim::Traits(variant.as_str().into()),
        channel: Channel::new(channel).map_err(|_| malformed("channel"))?,
        region,
        components: running(components)?,
        battery_percent,
        power: power_of(*power)?,
        network: network_of(*network)?,
        storage_free: *storage_free_bytes,
        boot_id: boot_id.as_str().into(),
        sequence: *sequence,
        echoes: echoes(exposure_tokens, &pseudonym, index)?,
        attempts: attempts(failures, now)?,
    })
}

fn running(components: &[v1::RunningComponent]) -> Result<Vec<Running>, Reason> {
    items("components", components.len(), COMPONENTS_MAX)?;
    let mut found: Vec<Running> = Vec::with_capacity(components.len());
    for running in components {
        let v1::RunningComponent {
            component,
            version,
            security_version,
            floor,
        } = running;
        let component = component.parse().map_err(|_| malformed("component"))?;
        if found.iter().any(|other| other.component == component) {
            return Err(malformed("components"));
        }
        at_most("version", version.len(), VERSION_BYTES_MAX)?;
        found.push(Running {
            component,
            version: version.parse().map_err(|_| Reason::VersionMalformed)?,
            security_version: SecurityVersion(*security_version),
            floor: floor.map(SecurityVersion),
        });
    }
    Ok(found)
}

fn echoes(
    tokens: &[Vec<u8>],
    device: &Pseudonym,
    index: Option<&Index>,
) -> Result<Vec<Verified<Token>>, Reason> {
    items("exposure_tokens", tokens.len(), COMPONENTS_MAX)?;
    for token in tokens {
        at_most("exposure_tokens", token.len(), TOKEN_BYTES_MAX)?;
    }
    let Some(index) = index else {
        return Ok(Vec::new());
    };
    let key_of = |session| index.session(session).map(|session| session.key);
    let verified = tokens.iter().filter_map(|token| {
        let checked = Verified::check(token, device, key_of);
        checked
            .inspect_err(|error| tracing::debug!(%error, "a token does not verify"))
            .ok()
    });
    Ok(verified.collect())
}

fn attempts(failures: &[v1::PastFailures], now: LogTime) -> Result<Vec<Attempts>, Reason> {
    items("failures", failures.len(), ATTEMPTS_MAX)?;
    let mut seen = BTreeSet::new();
    let mut attempts = Vec::with_capacity(failures.len());
    for v1::PastFailures {
        release,
        count,
        last_ms,
    } in failures
    {
        if !seen.insert(release) {
            return Err(malformed("failures"));
        }
        attempts.push(Attempts {
            release: release.parse().map_err(|_| malformed("failures"))?,
            failures: u16::try_from(*count).unwrap_or(u16::MAX),
            last_failed: LogTime(*last_ms).min(now),
        });
    }
    Ok(attempts)
}

fn power_of(power: i32) -> Result<Power, Reason> {
    match v1::PowerSource::try_from(power) {
        Ok(v1::PowerSource::Unspecified) => Ok(Power::Unknown),
        Ok(v1::PowerSource::Battery) => Ok(Power::Battery),
        Ok(v1::PowerSource::Charging) => Ok(Power::Charging),
        Ok(v1::PowerSource::Mains) => Ok(Power::Mains),
        Err(_) => Err(malformed("power")),
    }
}

fn network_of(network: i32) -> Result<Network, Reason> {
    match v1::NetworkKind::try_from(network) {
        Ok(v1::NetworkKind::Unspecified) => Ok(Network::Unknown),
        Ok(v1::NetworkKind::Wifi) => Ok(Network::Wifi),
        Ok(v1::NetworkKind::Ethernet) => Ok(Network::Ethernet),
        Ok(v1::NetworkKind::Cellular) => Ok(Network::Cellular),
        Ok(v1::NetworkKind::Roaming) => Ok(Network::Roaming),
        Err(_) => Err(malformed("network")),
    }
}

fn check_labels(labels: &[v1::Label]) -> Result<(), Reason> {
    items("labels", labels.len(), LABELS_MAX)?;
    for v1::Label { key, value } in labels {
        at_most("labels", key.len(), LABEL_KEY_BYTES_MAX)?;
        at_most("labels", value.len(), LABEL_VALUE_BYTES_MAX)?;
    }
    Ok(())
}

fn at_most(field: &'static str, len: usize, max: usize) -> Result<(), Reason> {
    if len <= max {
        Ok(())
    } else {
        Err(malformed(field))
    }
}

fn items(field: &'static str, len: usize, limit: usize) -> Result<(), Reason> {
    if len <= limit {
        Ok(())
    } else {
        Err(Reason::TooManyItems { field, limit })
    }
}

fn malformed(field: &'static str) -> Reason {
    Reason::CheckInMalformed { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::CheckInRequest {
        v1::CheckInRequest {
            device_id: "device-1".to_owned(),
            variant: "cam/r1/eu/none".to_owned(),
            components: vec![component("os", "1.0.0")],
            ..v1::CheckInRequest::default()
        }
    }

    fn component(component: &str, version: &str) -> v1::RunningComponent {
        v1::RunningComponent {
            component: component.to_owned(),
            version: version.to_owned(),
            ..v1::RunningComponent::default()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut v1::CheckInRequest), expect: Reason) {
        let mut request = request();
        change(&mut request);
        let key = PseudonymKey::new([1; 32]);
        let refused = parse(&request, &key, None, LogTime(1_000)).unwrap_err();
        assert_eq!(refused.reason, expect);
    }

    #[test]
    fn a_plain_check_in_is_understood() {
        let key = PseudonymKey::new([1; 32]);
        let parsed = parse(&request(), &key, None, LogTime(1_000)).unwrap();
        assert_eq!(parsed.channel.as_str(), "stable");
        assert_eq!(parsed.components.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let too_long = Reason::DeviceIdTooLong {
            bytes: 129,
            limit: 128,
        };
        check(|r| r.device_id = "x".repeat(129), too_long);
        check(|r| r.device_id = String::new(), Reason::DeviceIdMalformed);
        check(
            |r| r.device_id = "tab\there".to_owned(),
            Reason::DeviceIdMalformed,
        );
        check(
            |r| r.components[0].version = "1.x".to_owned(),
            Reason::VersionMalformed,
        );
        check(
            |r| r.components[0].component = String::new(),
            malformed("component"),
        );
        check(
            |r| r.components = vec![component("os", "1.0.0"); 2],
            malformed("components"),
        );
        let many = Reason::TooManyItems {
            field: "components",
            limit: 32,
        };
        check(|r| r.components = vec![component("os", "1.0.0"); 33], many);
        check(
            |r| r.battery_percent = Some(101),
            malformed("battery_percent"),
        );
        check(|r| r.power = 77, malformed("power"));
        check(|r| r.network = -1, malformed("network"));
        check(|r| r.region = "no spaces".to_owned(), malformed("region"));
        check(|r| r.channel = "c".repeat(33), malformed("channel"));
        check(|r| r.variant = "v".repeat(161), malformed("variant"));
        check(|r| r.boot_id = "b".repeat(65), malformed("boot_id"));
        check(
            |r| r.exposure_tokens = vec![vec![0; TOKEN_BYTES_MAX + 1]],
            malformed("exposure_tokens"),
        );
        for minutes in [-841, 841, i32::MIN, i32::MAX] {
            check(
                |r| r.utc_offset_minutes = Some(minutes),
                malformed("utc_offset_minutes"),
            );
        }
        let twice = v1::PastFailures {
            release: "r".to_owned(),
            count: 1,
            last_ms: 0,
        };
        check(
            |r| r.failures = vec![twice.clone(), twice],
            malformed("failures"),
        );
    }

    #[test]
    fn a_failure_in_the_future_counts_as_now() {
        let mut request = request();
        request.failures = vec![v1::PastFailures {
            release: "r".to_owned(),
            count: 1,
            last_ms: u64::MAX,
        }];
        let key = PseudonymKey::new([1; 32]);
        let parsed = parse(&request, &key, None, LogTime(1_000)).unwrap();
        assert_eq!(parsed.attempts[0].last_failed, LogTime(1_000));
    }
}
