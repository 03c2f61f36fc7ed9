//! What a rollout file says of going back.
use super::{
    Rollout,
    fields::{self, Fields, Found, text, truth},
    keys,
    problem::Problem,
};
use tidegate_domain::{
    id::Millis,
    rollout::{RollbackSpec, RollbackTarget},
};

/// Reads `rollback`; a file without it goes back to the baseline as soon as a gate fails.
pub(super) fn read(rollout: &Rollout<'_>, found: &mut Found) -> Option<RollbackSpec> {
    let mut spec = RollbackSpec {
        auto: true,
        health_check_interval: Millis(300_000),
        target: RollbackTarget::Baseline,
    };
    let Some(node) = rollout.fields.get("rollback") else {
        return Some(spec);
    };
    let rollback = Rollout {
        fields: Fields::of(node, &keys::ROLLBACK, found)?,
    };
    let auto = rollback.or_none("auto_rollback", truth, found);
    if let Some(seconds) = rollback.count("health_check_interval_sec", 1..=86_400, found) {
        spec.health_check_interval = Millis(seconds * 1_000);
    }
    let expected = "`baseline`, `fix_forward_only`, or the name of a release";
    spec.target = match rollback.fields.get("to") {
        None => spec.target,
        Some(node) => match fields::scalar(node, "to", expected, found)? {
            ("baseline", _) => RollbackTarget::Baseline,
            ("fix_forward_only", _) => RollbackTarget::FixForwardOnly,
            _ => RollbackTarget::Release(text(node, "to", expected, found)?),
        },
    };
    let has_target = spec.target != RollbackTarget::FixForwardOnly;
    if auto == Some(true) && !has_target {
        let place = rollback.fields.place_of("auto_rollback");
        let message = "`auto_rollback` has nowhere to go with `to: fix_forward_only`";
        let help = "say `auto_rollback: false`: a failed gate halts the rollout all the same";
        found.push(Problem::new(place, message).help(help));
    }
    spec.auto = auto.unwrap_or(has_target);
    Some(spec)
}
