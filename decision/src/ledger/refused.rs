//! What devices hear while the store grants nothing.
use crate::engine::Draw;
use std::time::Duration;
use tidegate_domain::rejection::{AdmissionLimit, Rejection};
use tidegate_runtime::BootInstant;

/// The store's last word on a pool, if it was a refusal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    /// What devices hear meanwhile.
    pub(super) answer: Draw,
    /// When the store is asked again.
    pub(super) until: BootInstant,
    /// How long that was from then.
    pub(super) delay: Duration,
}

/// What devices hear after a refusal. Credit and pacing leave room again in an open pool, a cap does
/// not; a pool that was closed is seen to be closed by whoever draws from it next.
pub(super) const fn answer_to(rejection: &Rejection) -> Draw {
    let Rejection::NoAdmissions { limit } = rejection else {
        return Draw::Pending;
    };
    match limit {
        AdmissionLimit::Cap => Draw::CapReached,
        AdmissionLimit::Credit | AdmissionLimit::Pacing => Draw::Exhausted,
        AdmissionLimit::NotInAudience
        | AdmissionLimit::WaveClosed
        | AdmissionLimit::Stopped { .. }
        | AdmissionLimit::NotRunning { .. }
        | AdmissionLimit::NotReturning { .. }
        | AdmissionLimit::Excluded => Draw::Pending,
    }
}
