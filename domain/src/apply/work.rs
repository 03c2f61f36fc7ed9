//! The operations of a session's envelope, one after the other.
use super::changes::Changes;
use crate::{
    command::AdvanceSession,
    decide::sessions::{SoFar, operate},
    event::{Event, RefusedOperation},
};

/// Does what an envelope asks for. Each operation sees the effects of those before it, and has an
/// outcome of its own: what is refused is recorded, and the rest goes on.
pub(super) fn perform(changes: &mut Changes<'_>, envelope: &AdvanceSession) {
    let session = envelope.session;
    let mut so_far = SoFar::default();
    for (place, operation) in (0_u32..).zip(&envelope.operations) {
        let context = changes.context();
        match operate(changes.state(), session, operation, &mut so_far, &context) {
            Ok(events) => events.into_iter().for_each(|event| changes.emit(event)),
            Err(rejection) => {
                so_far.refused = true;
                changes.emit(Event::OperationRefused(RefusedOperation {
                    session,
                    operation: place,
                    rejection: Box::new(rejection),
                }));
            }
        }
    }
}
