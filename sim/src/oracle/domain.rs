//! Every invariant that one entry can break (FLOOR-1, FLOOR-3, EPOCH-1, WAVE-1, WAVE-2, HALT-2,
//! LOG-2, AUTH-1, …): the domain's own checks, on the oracles' own replay.

use tidegate_domain::State;
use tidegate_domain::invariant::Fold;
use tidegate_raft_store::storage::Asked;

use super::Link;

/// Checks the next entry's work; the error names the invariant.
pub(super) fn check(
    fold: &mut Fold,
    link: &Link,
    after: &mut State,
) -> Result<(), (&'static str, String)> {
    let envelope = match &link.body.asked {
        Asked::Command(command) => Some(command.as_ref()),
        Asked::Membership(_) | Asked::Oversized { .. } => None,
    };
    fold.check(envelope, &link.body.applied, after)
        .map_err(|violation| (violation.id, violation.detail))
}
