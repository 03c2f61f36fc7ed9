//! What frames between nodes carry: CBOR arrays that begin with the message's number. Numbers are
//! never reused.
//!
//! A decoder accepts exactly what the encoder writes; whatever else comes is an error of the peer.

use minicbor::{Decoder, decode};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use tidegate_domain::id::{Incarnation, SignatureBytes};

use super::cbor::{Out, Read, Written, append_cbor, array, expect_array, fixed};
use super::cbor::{get_option, put_option, whole};
use crate::heads::{Head, SignedHead};
use crate::storage::codec::Record;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// A request to a peer.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Append(AppendEntriesRequest<TypeConfig>),
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    /// Which log entry must be applied for a linearizable read? Asked of the leader.
    ReadIndex,
    /// A snapshot is about to come: how many audit entries are there already?
    SnapshotStart,
    /// Nothing but what stands on the envelope.
    Hello,
    /// The leader with this vote counted on this entry to be there, and it is not. Answered with
    /// [`Reply::Hello`].
    Lost(Vote, LogId),
    /// So is the chain where the sender votes. Answered with [`Reply::Hello`].
    Head(Box<SignedHead>),
}

/// The answer to a [`Call`]; failures travel as gRPC statuses instead.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Vote(VoteResponse<TypeConfig>),
    Append(AppendEntriesResponse<TypeConfig>),
    TransferLeader(TransferLeaderResponse<TypeConfig>),
    ReadIndex(LogId),
    SnapshotStart(u64),
    Hello,
}

impl Call {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        append_cbor(out, |out| match self {
            Self::Vote(request) => vote_request(out, 0, request),
            Self::PreVote(request) => vote_request(out, 1, request),
            Self::Append(request) => append_request(out, request),
            Self::TransferLeader(request) => {
                out.array(4)?.u8(3)?;
                request.from_leader().encode(out)?;
                out.u64(*request.to_node_id())?;
                put_option(out, request.last_log_id())
            }
            Self::ReadIndex => out.array(1)?.u8(4)?.ok(),
            Self::SnapshotStart => out.array(1)?.u8(6)?.ok(),
            Self::Hello => out.array(1)?.u8(7)?.ok(),
            Self::Lost(vote, entry) => {
                out.array(3)?.u8(8)?;
                vote.encode(out)?;
                entry.encode(out)
            }
            Self::Head(said) => signed_head(out, said),
        });
    }

    pub(crate) fn decode(body: &[u8]) -> Read<Self> {
        whole(body, |from| {
            let fields = array(from)?;
            let at = from.position();
            let call = match (from.u8()?, fields) {
                (0, 4) => Self::Vote(get_vote_request(from)?),
                (1, 4) => Self::PreVote(get_vote_request(from)?),
                (2, 5) => Self::Append(get_append_request(from)?),
                (3, 4) => {
                    let (vote, to) = (Vote::decode(from)?, from.u64()?);
                    let last = get_option(from)?;
                    Self::TransferLeader(TransferLeaderRequest::new(vote, to, last))
                }
                (4, 1) => Self::ReadIndex,
                (6, 1) => Self::SnapshotStart,
                (7, 1) => Self::Hello,
                (8, 3) => Self::Lost(Vote::decode(from)?, LogId::decode(from)?),
                (9, 5) => Self::Head(Box::new(get_signed_head(from)?)),
                _ => return Err(decode::Error::message("unknown call").at(at)),
            };
            Ok(call)
        })
    }
}

impl Reply {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        append_cbor(out, |out| match self {
            Self::Vote(response) => {
                let VoteResponse {
                    vote,
                    vote_granted,
                    last_log_id,
                } = response;
                out.array(4)?.u8(0)?;
                vote.encode(out)?;
                out.bool(*vote_granted)?;
                put_option(out, last_log_id.as_ref())
            }
            Self::Append(response) => {
                out.array(3)?.u8(1)?;
                match response {
                    AppendEntriesResponse::Success => out.u8(0)?.null()?.ok(),
                    AppendEntriesResponse::PartialSuccess(log_id) => {
                        out.u8(1)?;
                        put_option(out, log_id.as_ref())
                    }
                    AppendEntriesResponse::Conflict => out.u8(2)?.null()?.ok(),
                    AppendEntriesResponse::HigherVote(vote) => {
                        out.u8(3)?;
                        vote.encode(out)
                    }
                }
            }
            Self::TransferLeader(response) => transfer_response(out, response),
            Self::ReadIndex(log_id) => {
                out.array(2)?.u8(3)?;
                log_id.encode(out)
            }
            Self::SnapshotStart(entries) => out.array(2)?.u8(5)?.u64(*entries)?.ok(),
            Self::Hello => out.array(1)?.u8(6)?.ok(),
        });
    }

    pub(crate) fn decode(body: &[u8]) -> Read<Self> {
        whole(body, |from| {
            let fields = array(from)?;
            let at = from.position();
            let reply = match (from.u8()?, fields) {
                (0, 4) => Self::Vote(VoteResponse {
                    vote: Vote::decode(from)?,
                    vote_granted: from.bool()?,
                    last_log_id: get_option(from)?,
                }),
                (1, 3) => Self::Append(get_append_response(from)?),
                (2, 4) => Self::TransferLeader(get_transfer_response(from)?),
                (3, 2) => Self::ReadIndex(LogId::decode(from)?),
                (5, 2) => Self::SnapshotStart(from.u64()?),
                (6, 1) => Self::Hello,
                _ => return Err(decode::Error::message("unknown reply").at(at)),
            };
            Ok(reply)
        })
    }
}

/// Writes the answer to one append of a stream.
pub(super) fn encode_append_result(result: &StreamAppendResult<TypeConfig>, out: &mut Vec<u8>) {
    append_cbor(out, |out| {
        out.array(2)?;
        match result {
            Ok(log_id) => {
                out.u8(0)?;
                put_option(out, log_id.as_ref())
            }
            Err(StreamAppendError::Conflict(log_id)) => {
                out.u8(1)?;
                log_id.encode(out)
            }
            Err(StreamAppendError::HigherVote(vote)) => {
                out.u8(2)?;
                vote.encode(out)
            }
        }
    });
}

pub(super) fn decode_append_result(body: &[u8]) -> Read<StreamAppendResult<TypeConfig>> {
    whole(body, |from| {
        expect_array(from, 2)?;
        let at = from.position();
        Ok(match from.u8()? {
            0 => Ok(get_option(from)?),
            1 => Err(StreamAppendError::Conflict(LogId::decode(from)?)),
            2 => Err(StreamAppendError::HigherVote(Vote::decode(from)?)),
            _ => return Err(decode::Error::message("unknown append result").at(at)),
        })
    })
}

/// Writes what comes before the pieces of a snapshot: the leader's vote.
pub(super) fn encode_snapshot_vote(vote: &Vote, out: &mut Vec<u8>) {
    append_cbor(out, |out| vote.encode(out));
}

pub(super) fn decode_snapshot_vote(body: &[u8]) -> Read<Vote> {
    whole(body, Vote::decode)
}

/// Writes the answer to a snapshot.
pub(super) fn encode_snapshot_response(response: &SnapshotResponse<TypeConfig>, out: &mut Vec<u8>) {
    let SnapshotResponse { vote } = response;
    append_cbor(out, |out| vote.encode(out));
}

pub(super) fn decode_snapshot_response(body: &[u8]) -> Read<SnapshotResponse<TypeConfig>> {
    whole(body, |from| Ok(SnapshotResponse::new(Vote::decode(from)?)))
}

fn vote_request(out: &mut Out, number: u8, request: &VoteRequest<TypeConfig>) -> Written {
    let VoteRequest {
        vote,
        last_log_id,
        leadership_transfer,
    } = request;
    out.array(4)?.u8(number)?;
    vote.encode(out)?;
    put_option(out, last_log_id.as_ref())?;
    out.bool(*leadership_transfer)?.ok()
}

fn get_vote_request(from: &mut Decoder<'_>) -> Read<VoteRequest<TypeConfig>> {
    Ok(VoteRequest {
        vote: Vote::decode(from)?,
        last_log_id: get_option(from)?,
        leadership_transfer: from.bool()?,
    })
}

fn append_request(out: &mut Out, request: &AppendEntriesRequest<TypeConfig>) -> Written {
    let AppendEntriesRequest {
        vote,
        prev_log_id,
        entries,
        leader_commit,
    } = request;
    out.array(5)?.u8(2)?;
    vote.encode(out)?;
    put_option(out, prev_log_id.as_ref())?;
    put_option(out, leader_commit.as_ref())?;
    out.array(entries.len() as u64)?;
    entries.iter().try_for_each(|entry| entry.encode(out))
}

fn get_append_request(from: &mut Decoder<'_>) -> Read<AppendEntriesRequest<TypeConfig>> {
    let at = from.position();
    let request = AppendEntriesRequest {
        vote: Vote::decode(from)?,
        prev_log_id: get_option(from)?,
        leader_commit: get_option(from)?,
        entries: {
            let len = array(from)?;
            (0..len).map(|_| Entry::decode(from)).collect::<Read<_>>()?
        },
    };
    if !can_be_of_one_log(&request) {
        let why = "entries with a gap, or of a later term than their sender leads in";
        return Err(decode::Error::message(why).at(at));
    }
    Ok(request)
}

/// Whether a leader of this term can have these entries, in one piece and after what they follow. One
/// that has heard of a later term, whose log was cut and filled anew, must not send what it read then
/// as if it still led. (LOG-1)
fn can_be_of_one_log(request: &AppendEntriesRequest<TypeConfig>) -> bool {
    let mut last: Option<&LogId> = request.prev_log_id.as_ref();
    let in_one_piece = request.entries.iter().all(|Entry { log_id, .. }| {
        let follows = log_id.index.checked_sub(1) == last.map(|last| last.index)
            && last.is_none_or(|last| last.leader_id.term <= log_id.leader_id.term);
        last = Some(log_id);
        follows
    });
    in_one_piece && last.is_none_or(|last| last.leader_id.term <= request.vote.leader_id.term)
}

fn signed_head(out: &mut Out, said: &SignedHead) -> Written {
    let SignedHead {
        incarnation,
        head: Head { entries, chain },
        signature,
    } = said;
    out.array(5)?.u8(9)?.u64(incarnation.0)?.u64(*entries)?;
    out.bytes(chain)?.bytes(&signature.0)?.ok()
}

fn get_signed_head(from: &mut Decoder<'_>) -> Read<SignedHead> {
    Ok(SignedHead {
        incarnation: Incarnation(from.u64()?),
        head: Head {
            entries: from.u64()?,
            chain: fixed(from)?,
        },
        signature: SignatureBytes(fixed(from)?),
    })
}

fn get_append_response(from: &mut Decoder<'_>) -> Read<AppendEntriesResponse<TypeConfig>> {
    let at = from.position();
    Ok(match from.u8()? {
        0 => from.null().map(|()| AppendEntriesResponse::Success)?,
        1 => AppendEntriesResponse::PartialSuccess(get_option(from)?),
        2 => from.null().map(|()| AppendEntriesResponse::Conflict)?,
        3 => AppendEntriesResponse::HigherVote(Vote::decode(from)?),
        _ => return Err(decode::Error::message("unknown append response").at(at)),
    })
}

fn transfer_response(out: &mut Out, response: &TransferLeaderResponse<TypeConfig>) -> Written {
    out.array(4)?.u8(2)?;
    match response {
        Ok(()) => out.u8(0)?.null()?.null()?.ok(),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.u8(1)?;
            expected.encode(out)?;
            actual.encode(out)
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.u8(2)?;
            put_option(out, expected.as_ref())?;
            put_option(out, actual.as_ref())
        }
    }
}

fn get_transfer_response(from: &mut Decoder<'_>) -> Read<TransferLeaderResponse<TypeConfig>> {
    let at = from.position();
    Ok(match from.u8()? {
        0 => {
            from.null()?;
            Ok(from.null()?)
        }
        1 => Err(TransferLeaderError::VoteChanged {
            expected: Vote::decode(from)?,
            actual: Vote::decode(from)?,
        }),
        2 => Err(TransferLeaderError::LogNotFlushed {
            expected: get_option(from)?,
            actual: get_option(from)?,
        }),
        _ => return Err(decode::Error::message("unknown transfer response").at(at)),
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
