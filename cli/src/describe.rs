//! The cluster's words in people's words: times, lives, causes, evidence, events, commands.
mod arguments;
mod command;
mod config;
mod rollout;

pub(crate) use arguments::{stop_covers, stop_scope};
pub(crate) use command::command;
pub(crate) use config::{Setting, settings};
pub(crate) use rollout::{audience, completion, freeze, on_channels, wave};

use crate::rollout_file::time::show_instant;
use tidegate_domain::{
    Event, Outcome, State,
    id::{LogTime, Millis, RolloutId, WaveIndex},
    key::{KeyStatus, Role},
    release::ReleaseStatus,
    rollout::{ExclusionCause, HaltCause, Life, MaintenanceWindow},
    variant::Selector,
    wave::{Evidence, OpenedBy},
};

/// A point in time.
pub(crate) fn time(at: LogTime) -> String {
    show_instant(at)
}

/// A length of time, in its two greatest units.
pub(crate) fn length(of: Millis) -> String {
    const UNITS: [(u64, &str); 5] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ];
    let Some(first) = UNITS.iter().position(|(unit, _)| of.0 >= *unit) else {
        return "0 s".to_owned();
    };
    let mut rest = of.0;
    let mut parts = Vec::new();
    for (unit, name) in UNITS.iter().skip(first).take(2) {
        if rest / unit > 0 {
            parts.push(format!("{} {name}", rest / unit));
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// A share of a count, such as `3 (1.5 %)`.
pub(crate) fn of_total(part: u64, total: u64) -> String {
    match (u128::from(part) * 1_000).checked_div(u128::from(total)) {
        Some(tenths) => format!("{part} ({}.{} %)", tenths / 10, tenths % 10),
        None => part.to_string(),
    }
}

/// Where a rollout stands, in one word.
pub(crate) fn life_word(life: &Life) -> String {
    life.name().replace(' ', "_")
}

/// Whether a release may be offered, in one word.
pub(crate) const fn release_status(status: ReleaseStatus) -> &'static str {
    match status {
        ReleaseStatus::Registered => "registered",
        ReleaseStatus::Retired => "retired",
        ReleaseStatus::Revoked => "revoked",
    }
}

/// How far a key is trusted, in one word.
pub(crate) const fn key_status(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Trusted => "trusted",
        KeyStatus::Retired => "retired",
        KeyStatus::Revoked => "revoked",
    }
}

/// Why a rollout was halted.
pub(crate) fn halt_cause(cause: &HaltCause) -> String {
    match cause {
        HaltCause::Operator(reason) => format!("an operator halted it: {reason}"),
        HaltCause::Gate(evidence) => format!("its gate failed: {}", breach_of(evidence)),
        HaltCause::ReleaseRevoked => "its release was revoked".to_owned(),
        HaltCause::FloorRaised => {
            "a floor was raised over its release or its rollback target".to_owned()
        }
        HaltCause::KeyRevoked => {
            "a revoked key left its release without enough signatures".to_owned()
        }
    }
}

/// Why a variant is out of a rollout.
pub(crate) fn exclusion_cause(cause: &ExclusionCause) -> String {
    match cause {
        ExclusionCause::Operator(reason) => format!("an operator excluded it: {reason}"),
        ExclusionCause::Gate(evidence) => format!("its gate failed: {}", breach_of(evidence)),
    }
}

fn breach_of(evidence: &Evidence) -> String {
    let counts = &evidence.counts;
    let breach = evidence
        .breach
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    format!(
        "{breach} ({} exposed, {} verified, {} failed, {} reverted, {} silent)",
        counts.exposed, counts.verified, counts.failed, counts.reverted, counts.silent
    )
}

/// How a wave came to open.
pub(crate) const fn opened_by(by: &OpenedBy) -> &'static str {
    match by {
        OpenedBy::Start => "at the start",
        OpenedBy::Gate => "its gate let it",
        OpenedBy::Override => "a quorum overrode the gate",
    }
}

/// The days of the week, as windows name them.
pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A maintenance window, as `--window` takes it.
pub(crate) fn window(window: &MaintenanceWindow) -> String {
    let days = DAYS.iter().enumerate();
    let days: Vec<&str> = days
        .filter(|(day, _)| window.days & (1 << day) != 0)
        .map(|(_, name)| *name)
        .collect();
    // A window that nobody has checked yet may say anything.
    let opens = u32::from(window.opens_minute);
    let closes = (opens + u32::from(window.length_minutes)) % 1_440;
    let clock = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{}@{}-{}", days.join(","), clock(opens), clock(closes))
}

/// Selectors, separated by commas.
pub(crate) fn selectors<'a>(selectors: impl IntoIterator<Item = &'a Selector>) -> String {
    let texts: Vec<String> = selectors.into_iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The name of an event, as in the source.
pub(crate) fn event_name(event: &Event) -> &'static str {
    macro_rules! names {
        ($($name:ident)+) => {
            match event { $(Event::$name { .. } => stringify!($name),)+ }
        };
    }
    names! {
        EntryRecorded KeysRotated KeyRevoked ReleaseRegistered ReleaseSigned ReleaseWithdrawn
        VariantRegistered RecoveryImageDeclared FloorRaised BaselineSet RolloutCreated
        RolloutApproved RolloutStarted WaveOpened WavePassed GateJudged RolloutPaused
        RolloutResumed RolloutHalted HaltLifted RollbackStarted RolledBack RolloutCompleted
        RolloutSuperseded RolloutAmended VariantExcluded RolloutExpedited StopRaised StopLifted
        RegionPolicySet HoldSet HoldReleased SessionOpened SessionClosed SessionWrittenOff
        BudgetGranted BudgetReturned JournalAnchored Tallied CohortMatured CreditGrown MembershipChanged
        ClusterConfigSet StateVersionRaised RolloutFolded RecoveryImageRetired GateOverridden
        BudgetLost RolloutForgotten SessionAdvanced OperationRefused ChannelRegistered
    }
}

/// What came of a command, in a line.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(events) => {
            let names: Vec<&str> = events.iter().map(event_name).collect();
            format!("accepted, with {}", names.join(", "))
        }
        Outcome::Rejected(rejection) => format!("refused: {rejection}"),
    }
}

/// What an event changed, in a sentence. `state` names waves and variants; it may be of before or
/// after.
pub(crate) fn event(state: &State, event: &Event) -> String {
    match event {
        Event::KeysRotated(keys) => {
            let count = |role| keys.role(role).map_or(0, |keys| keys.trusted());
            let roles: Vec<String> = Role::ALL
                .iter()
                .map(|role| format!("{} {role}", count(*role)))
                .collect();
            format!(
                "key epoch {} begins, with keys: {}",
                keys.epoch,
                roles.join(", ")
            )
        }
        Event::KeyRevoked { key, reason } => format!("key {key} loses all trust: {reason}"),
        Event::ReleaseRegistered(release) => {
            let manifest = &release.manifest;
            format!(
                "release {} is registered: {} {}, security version {}",
                manifest.name, manifest.component, manifest.version, manifest.security_version
            )
        }
        Event::ReleaseSigned {
            release,
            signatures,
        } => {
            format!(
                "release {release} has {} more signature(s)",
                signatures.len()
            )
        }
        Event::ReleaseWithdrawn {
            release,
            status,
            reason,
        } => {
            let why = reason
                .as_ref()
                .map_or_else(String::new, |why| format!(": {why}"));
            format!(
                "release {release} is {} for good{why}",
                release_status(*status)
            )
        }
        Event::VariantRegistered(variant) => {
            format!("variant {} is registered: {}", variant.id, variant.traits)
        }
        Event::FloorRaised {
            scope,
            floor,
            reason,
        } => format!(
            "the floor of {} on {} rises to {}: {reason}",
            scope.component, scope.selector, floor.security_version
        ),
        Event::BaselineSet { key, baseline } => format!(
            "the baseline of {} on {}{} is {}",
            key.component,
            key.selector,
            on_channels(&key.channel),
            baseline.release
        ),
        Event::RecoveryImageDeclared { scope, image } => format!(
            "the recovery image of {} on {} is {} (security version {})",
            scope.component, scope.selector, image.release, image.security_version
        ),
        other => guard_event(state, other),
    }
}

/// What guards the fleet, and who serves it.
fn guard_event(state: &State, event: &Event) -> String {
    match event {
        Event::ChannelRegistered(channel) => format!("the channel {channel} is registered"),
        Event::RecoveryImageRetired { scope } => format!(
            "the recovery image of {} on {} counts no more",
            scope.component, scope.selector
        ),
        Event::RegionPolicySet { region, .. } => format!("region {region} has a new policy"),
        Event::StopRaised(stop) => format!("emergency stop {} holds: {}", stop.id, stop.reason),
        Event::StopLifted { stop, reason } => format!("emergency stop {stop} is lifted: {reason}"),
        Event::HoldSet { hold, .. } => format!("a device is held until {}", time(hold.expires)),
        Event::HoldReleased { .. } => "a device is held no more".to_owned(),
        Event::SessionWrittenOff { session, reason } => {
            format!("session {session} is given up with everything that it held: {reason}")
        }
        Event::BudgetLost { session, count, .. } => {
            format!("{count} admissions of session {session} count as exposed and silent")
        }
        Event::OperationRefused(refused) => format!(
            "operation {} of session {} was refused: {}",
            refused.operation, refused.session, refused.rejection
        ),
        Event::MembershipChanged { members } => {
            format!("the cluster shall have {} nodes", members.len())
        }
        Event::ClusterConfigSet(config) => {
            let mut changes = config::changes(state.config(), config);
            changes.insert(0, "the cluster is configured anew".to_owned());
            changes.join(", ")
        }
        Event::StateVersionRaised { version } => {
            format!("the rules of version {version} hold from the next entry on")
        }
        other => rollout_event(state, other),
    }
}

fn rollout_event(state: &State, event: &Event) -> String {
    match event {
        Event::RolloutCreated(rollout) => format!(
            "rollout {} of {} is written down, to {}",
            rollout.id,
            rollout.spec.release,
            selectors(&rollout.spec.audience.selectors)
        ),
        Event::RolloutApproved { rollout } => format!("rollout {rollout} is approved"),
        Event::RolloutStarted { rollout } => format!("rollout {rollout} starts"),
        Event::WaveOpened {
            rollout,
            wave,
            opening,
        } => format!(
            "wave {} of rollout {rollout} opens: {}",
            wave_name(state, *rollout, *wave),
            opened_by(&opening.by)
        ),
        Event::WavePassed { rollout, wave, .. } => {
            format!(
                "wave {} of rollout {rollout} passed",
                wave_name(state, *rollout, *wave)
            )
        }
        Event::GateOverridden {
            rollout,
            wave,
            reason,
        } => format!(
            "the gate of wave {} of rollout {rollout} is overridden: {reason}",
            wave_name(state, *rollout, *wave)
        ),
        Event::RolloutPaused { rollout, reason } => {
            format!("rollout {rollout} is paused: {reason}")
        }
        Event::RolloutResumed { rollout, .. } => format!("rollout {rollout} goes on"),
        Event::RolloutHalted { rollout, cause } => {
            let row = state.rollouts().get(rollout);
            let release = row.map_or("its release", |row| row.spec.release.as_str());
            format!(
                "rollout {rollout} is halted and {release} barred from its audience: {}",
                halt_cause(cause)
            )
        }
        Event::HaltLifted {
            rollout, reason, ..
        } => {
            format!("the halt of rollout {rollout} is lifted: {reason}")
        }
        Event::RollbackStarted { rollout } => format!("devices of rollout {rollout} go back"),
        Event::RolledBack { rollout } => format!("devices of rollout {rollout} have gone back"),
        Event::RolloutCompleted { rollout } => format!("rollout {rollout} is complete"),
        Event::RolloutSuperseded { rollout, by } => {
            format!("rollout {by} takes the place of rollout {rollout}")
        }
        Event::RolloutAmended { rollout, .. } => format!("rollout {rollout} is amended"),
        Event::VariantExcluded {
            rollout,
            variant,
            cause,
        } => format!(
            "variant {variant} is out of rollout {rollout}: {}",
            exclusion_cause(cause)
        ),
        Event::RolloutExpedited { rollout, reason } => {
            format!("soak of rollout {rollout} is shortened: {reason}")
        }
        other => event_name(other).to_owned(),
    }
}

/// The name of a wave, or its number where the state does not know it.
pub(crate) fn wave_name(state: &State, rollout: RolloutId, wave: WaveIndex) -> String {
    let rollout = state.rollouts().get(&rollout);
    let spec = rollout.and_then(|rollout| rollout.wave(wave));
    spec.map_or_else(|| wave.to_string(), |(spec, _)| spec.name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units() {
        for (millis, text) in [
            (0, "0 s"),
            (7, "7 ms"),
            (1_000, "1 s"),
            (90_061_000, "1 d 1 h"),
            (86_400_000, "1 d"),
            (3_600_000 + 1_000, "1 h"),
            (61_000, "1 m 1 s"),
        ] {
            assert_eq!(length(Millis(millis)), text);
        }
    }

    #[test]
    fn shares_are_rounded_down_and_nothing_of_nothing_is_no_share() {
        assert_eq!(of_total(1, 3), "1 (33.3 %)");
        assert_eq!(of_total(0, 0), "0");
    }
}
