use std::fmt::Debug;

use bytes::Bytes;

use super::*;
use crate::storage::rig::at as log_id;
use crate::types::{EntryPayload, Proposal};
use openraft::impls::leader_id_std::LeaderId;

fn vote(term: u64) -> Vote {
    Vote {
        leader_id: LeaderId { term, voted_for: 3 },
        committed: true,
    }
}

fn calls() -> Vec<Call> {
    let request = VoteRequest {
        vote: vote(4),
        last_log_id: Some(log_id(3, 9)),
        leadership_transfer: true,
    };
    let entries = vec![
        Entry {
            log_id: log_id(4, 10),
            payload: EntryPayload::Blank,
        },
        Entry {
            log_id: log_id(4, 11),
            payload: EntryPayload::Normal(Proposal {
                stamp_ms: 1_800_000_000_000,
                command: Bytes::from_static(b"command").into(),
            }),
        },
    ];
    vec![
        Call::Vote(request.clone()),
        Call::PreVote(VoteRequest {
            last_log_id: None,
            ..request
        }),
        Call::Append(AppendEntriesRequest {
            vote: vote(4),
            prev_log_id: Some(log_id(3, 9)),
            entries,
            leader_commit: Some(log_id(3, 8)),
        }),
        Call::Append(AppendEntriesRequest {
            vote: vote(4),
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: None,
        }),
        Call::TransferLeader(TransferLeaderRequest::new(vote(4), 2, Some(log_id(4, 11)))),
        Call::ReadIndex,
        Call::SnapshotStart,
        Call::Hello,
        Call::Lost(vote(4), log_id(3, 9)),
        Call::Head(Box::new(SignedHead {
            incarnation: Incarnation(2),
            head: Head {
                entries: 41,
                chain: [7; 32],
            },
            signature: SignatureBytes([9; 64]),
        })),
    ]
}

fn replies() -> Vec<Reply> {
    let changed = TransferLeaderError::VoteChanged {
        expected: vote(4),
        actual: vote(5),
    };
    let behind = TransferLeaderError::LogNotFlushed {
        expected: Some(log_id(4, 11)),
        actual: None,
    };
    vec![
        Reply::Vote(VoteResponse::new(vote(4), Some(log_id(3, 9)), true)),
        Reply::Vote(VoteResponse::new(vote(4), None, false)),
        Reply::Append(AppendEntriesResponse::Success),
        Reply::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(4, 10)))),
        Reply::Append(AppendEntriesResponse::PartialSuccess(None)),
        Reply::Append(AppendEntriesResponse::Conflict),
        Reply::Append(AppendEntriesResponse::HigherVote(vote(7))),
        Reply::TransferLeader(Ok(())),
        Reply::TransferLeader(Err(changed)),
        Reply::TransferLeader(Err(behind)),
        Reply::ReadIndex(log_id(4, 11)),
        Reply::SnapshotStart(u64::MAX),
        Reply::Hello,
    ]
}

/// Round trip, and every cut of the bytes and every byte too many is refused.
fn check<T: Debug>(
    value: &T,
    encode: impl Fn(&T, &mut Vec<u8>),
    decode: impl Fn(&[u8]) -> Read<T>,
) {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    let back = decode(&bytes).unwrap();
    assert_eq!(format!("{back:?}"), format!("{value:?}"));
    for len in 0..bytes.len() {
        assert!(
            decode(&bytes[..len]).is_err(),
            "{value:?} cut to {len} bytes"
        );
    }
    bytes.push(0);
    assert!(decode(&bytes).is_err(), "{value:?} with a byte too many");
}

#[test]
fn calls_and_replies_survive_the_wire_and_no_cut_of_them_does() {
    for call in calls() {
        check(&call, Call::encode, Call::decode);
    }
    for reply in replies() {
        check(&reply, Reply::encode, Reply::decode);
    }
}

/// What is said of these entries, sent after that one by the leader of term 4.
fn sent(after: Option<LogId>, ids: &[LogId]) -> Result<(), String> {
    let entry = |log_id: &LogId| Entry {
        log_id: *log_id,
        payload: EntryPayload::Blank,
    };
    let call = Call::Append(AppendEntriesRequest {
        vote: vote(4),
        prev_log_id: after,
        entries: ids.iter().map(entry).collect(),
        leader_commit: None,
    });
    let mut bytes = Vec::new();
    call.encode(&mut bytes);
    Call::decode(&bytes)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[test]
fn entries_that_no_leader_can_have_are_refused() {
    let nine = Some(log_id(3, 9));
    assert_eq!(sent(nine, &[]), Ok(()));
    assert_eq!(sent(nine, &[log_id(3, 10), log_id(4, 11)]), Ok(()));
    assert_eq!(sent(None, &[log_id(0, 0), log_id(1, 1)]), Ok(()));
    let impossible = [
        (nine, [log_id(3, 11), log_id(3, 12)]),
        (nine, [log_id(3, 10), log_id(3, 12)]),
        (nine, [log_id(3, 10), log_id(3, 10)]),
        (nine, [log_id(2, 10), log_id(3, 11)]),
        (nine, [log_id(4, 10), log_id(3, 11)]),
        (nine, [log_id(4, 10), log_id(5, 11)]),
        (nine, [log_id(3, 0), log_id(3, 1)]),
        (nine, [log_id(3, u64::MAX), log_id(3, 0)]),
        (None, [log_id(3, 10), log_id(3, 11)]),
    ];
    for (after, ids) in impossible {
        let error = sent(after, &ids).expect_err("impossible");
        assert!(error.contains("entries with a gap"), "{error}");
    }
    assert!(sent(Some(log_id(5, 9)), &[]).is_err());
}

#[test]
fn append_results_survive_the_wire() {
    let results: [StreamAppendResult<TypeConfig>; 4] = [
        Ok(Some(log_id(4, 11))),
        Ok(None),
        Err(StreamAppendError::Conflict(log_id(3, 9))),
        Err(StreamAppendError::HigherVote(vote(5))),
    ];
    for result in results {
        check(&result, encode_append_result, decode_append_result);
    }
}

#[test]
fn the_frames_around_a_snapshot_survive_the_wire() {
    check(&vote(4), encode_snapshot_vote, decode_snapshot_vote);
    check(
        &SnapshotResponse::new(vote(9)),
        encode_snapshot_response,
        decode_snapshot_response,
    );
}

#[test]
fn a_heartbeat_is_these_bytes() {
    // [2, [4, 3, true], null, null, []]: changing it breaks rolling upgrades.
    let mut bytes = Vec::new();
    calls()[3].encode(&mut bytes);
    assert_eq!(
        bytes,
        [0x85, 0x02, 0x83, 0x04, 0x03, 0xf5, 0xf6, 0xf6, 0x80]
    );
}
