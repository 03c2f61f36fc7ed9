//! What came of a session's envelope.
use super::Event;
use crate::{
    id::{Hash, LogTime, Sequence, SessionId},
    node::Anchor,
    rejection::Rejection,
};
use minicbor::{Decode, Encode};

/// An envelope that was accepted: it is the session's last one from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Advance {
    /// Which session.
    #[n(0)]
    pub session: SessionId,
    /// The number of the envelope.
    #[n(1)]
    pub sequence: Sequence,
    /// Digest of the body that was signed.
    #[n(2)]
    pub digest: Hash,
    /// The last log time at which the envelope could be applied.
    #[n(3)]
    pub not_after: LogTime,
}

/// What a session committed to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AnchoredJournal {
    /// Which session.
    #[n(0)]
    pub session: SessionId,
    /// Where its journal stands.
    #[n(1)]
    pub anchor: Anchor,
}

/// An operation of an accepted envelope that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RefusedOperation {
    /// Which session.
    #[n(0)]
    pub session: SessionId,
    /// Its place in the envelope, from 0.
    #[n(1)]
    pub operation: u32,
    /// Why.
    #[n(2)]
    pub rejection: Box<Rejection>,
}

/// The operations of an accepted envelope that were refused, by their place; all others were done.
pub fn refused_operations(events: &[Event]) -> impl Iterator<Item = (u32, &Rejection)> {
    events.iter().filter_map(|event| {
        if let Event::OperationRefused(refused) = event {
            Some((refused.operation, &*refused.rejection))
        } else {
            None
        }
    })
}
