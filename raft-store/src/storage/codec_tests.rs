//! Round trips, golden bytes (which must never change within version 1), and damage.

use super::*;
use proptest::prelude::*;

fn log_id(term: u64, index: u64) -> LogId {
    LogId {
        leader_id: CommittedLeader { term },
        index,
    }
}

fn membership() -> Membership {
    let member = |n: u8| Member {
        addr: format!("10.0.0.{n}:7000"),
        region: "eu".to_owned(),
    };
    let nodes: BTreeMap<_, _> = (1..=4u8).map(|n| (u64::from(n), member(n))).collect();
    Membership::new(vec![[1, 2, 3].into(), [2, 3, 4].into()], nodes).unwrap()
}

fn proposal() -> Proposal {
    Proposal {
        stamp_ms: 1_790_000_000_000,
        command: Bytes::from_static(b"signed command").into(),
    }
}

fn check<T: Record + PartialEq + std::fmt::Debug>(value: T, golden: &str) {
    let bytes = to_bytes(&value);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden, "the stored form of a {} changed", T::NAME);
    assert_eq!(from_bytes::<T>(&bytes).unwrap(), value);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            from_bytes::<T>(&damaged).is_err(),
            "{}: bit {bit} flipped unnoticed",
            T::NAME
        );
    }
    for len in 0..bytes.len() {
        assert!(
            from_bytes::<T>(&bytes[..len]).is_err(),
            "{}: cut to {len} bytes",
            T::NAME
        );
    }
}

#[test]
fn votes_and_log_ids_keep_their_bytes() {
    check(log_id(3, 70_000), "0182031a000111707509f4e122a8660d");
    let leader_id = leader_id_std::LeaderId {
        term: 3,
        voted_for: 2,
    };
    check(
        Vote {
            leader_id,
            committed: true,
        },
        "01830302f5a99d13efeb285863",
    );
}

#[test]
fn entries_keep_their_bytes() {
    check(
        Entry {
            log_id: log_id(1, 0),
            payload: EntryPayload::Blank,
        },
        "018382010000f6bd4575d4ad8f462b",
    );
    check(
        Entry {
            log_id: log_id(3, 9),
            payload: EntryPayload::Normal(proposal()),
        },
        "018382030901821b000001a0c4506c004e7369676e656420636f6d6d616e64408188f77728d498",
    );
    let payload = EntryPayload::Membership(membership());
    check(
        Entry {
            log_id: log_id(3, 10),
            payload,
        },
        "018382030a0282828301020383020304848201826d31302e302e302e313a373030306265758202826d31302e302e302e323a373030306265758203826d31302e302e302e333a373030306265758204826d31302e302e302e343a373030306265755ad1238f88114219",
    );
}

#[test]
fn memberships_and_snapshot_metas_keep_their_bytes() {
    check(StoredMembership::default(), "0182f6828080af5bcc5da7a8e3d2");
    let last_membership = StoredMembership::new(Some(log_id(2, 5)), membership());
    check(
        SnapshotMeta {
            last_log_id: Some(log_id(3, 9)),
            last_membership,
        },
        "01828203098282020582828301020383020304848201826d31302e302e302e313a373030306265758202826d31302e302e302e323a373030306265758203826d31302e302e302e333a373030306265758204826d31302e302e302e343a37303030626575a053bb46030d9545",
    );
}

#[test]
fn a_record_of_another_version_or_with_a_tail_is_refused() {
    let refit = |mut body: Vec<u8>| {
        let checksum = checksum(&body);
        body.extend_from_slice(&checksum);
        body
    };
    let bytes = to_bytes(&log_id(1, 1));
    let body = &bytes[..bytes.len() - CHECKSUM_BYTES];
    let mut newer = body.to_vec();
    newer[0] = 2;
    let refused = from_bytes::<LogId>(&refit(newer)).unwrap_err();
    assert!(
        matches!(refused, CodecError::Version { found: 2, .. }),
        "{refused}"
    );
    let mut longer = body.to_vec();
    longer.push(0);
    let refused = from_bytes::<LogId>(&refit(longer)).unwrap_err();
    assert!(matches!(refused, CodecError::Malformed { .. }), "{refused}");
}

proptest! {
    #[test]
    fn every_proposal_comes_back(
        stamp_ms: u64,
        command: Vec<u8>,
        term: u64,
        index: u64,
    ) {
        let proposal = Proposal { stamp_ms, command: Bytes::from(command).into() };
        let entry = Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(proposal) };
        prop_assert_eq!(from_bytes::<Entry>(&to_bytes(&entry)).unwrap(), entry);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
        let mut body = vec![VERSION];
        body.extend_from_slice(&bytes);
        let checksum = checksum(&body);
        body.extend_from_slice(&checksum);
        let _ = from_bytes::<Entry>(&body);
        let _ = from_bytes::<SnapshotMeta>(&body);
    }
}
