//! Until when an answer may leave (HALT-1).
use super::{desk::Desk, meters::Arrival};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_proto::v1;
use tidegate_runtime::BootInstant;

/// Until when the answer to one request may leave; `None` as long as it offers nothing. Shared by
/// the request's handler, which says so, and by the answer's body, which keeps to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Until(Arc<Mutex<Option<BootInstant>>>);

impl Until {
    fn get(&self) -> MutexGuard<'_, Option<BootInstant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_later_than(&self, end: BootInstant) {
        let mut until = self.get();
        *until = Some(until.map_or(end, |until| until.min(end)));
    }

    /// The end for what was said so far; what is said next has one of its own.
    #[cfg(not(madsim))]
    pub(crate) fn take(&self) -> Option<BootInstant> {
        self.get().take()
    }
}

impl Desk {
    /// Answers a check-in, and says until when the answer may leave if it is an offer: not later
    /// than the end of the lease before the decision, which is not after the one it was made under.
    pub(crate) fn answer_until(
        &self,
        request: &v1::CheckInRequest,
        arrival: &Arrival,
        until: Option<&Until>,
    ) -> v1::CheckInResponse {
        let before = self.standing().ends();
        let answer = self.answer(request, arrival);
        if let (Some(until), Some(_)) = (until, &answer.offer) {
            let now = || self.clock.boot();
            let end = before.or_else(|| self.standing().ends());
            until.no_later_than(end.unwrap_or_else(now));
        }
        answer
    }
}
