//! What each oracle must not let pass, without a world around it.

use tidegate_decision::engine::Mode;
use tidegate_domain::id::{Epoch, PublicKey};
use tidegate_domain::testing::reason;
use tidegate_domain::{Event, Outcome, Rejection, Unauthorized};
use tidegate_raft_store::storage::Asked;

use super::*;

static DONE: Outcome = Outcome::Accepted(Vec::new());

fn refused() -> Outcome {
    Outcome::Rejected(Rejection::Unauthorized(Unauthorized::OtherEpoch {
        existing: Epoch(1),
        requested: Epoch(2),
    }))
}

fn log(entries: &[(&'static [u8], Outcome)]) -> Chain {
    let asked = |command: &'static [u8]| Asked::Command(command.into());
    Chain::of(
        entries
            .iter()
            .map(|(command, outcome)| (asked(command), outcome.clone())),
    )
}

const fn began(op: u64, command: &'static [u8]) -> Seen<'static> {
    Seen::Began {
        op,
        command: Some(command),
    }
}

fn acknowledged(op: u64, command: &'static [u8], index: u64) -> Seen<'static> {
    Seen::Acknowledged {
        op,
        command,
        index,
        outcome: &DONE,
    }
}

const LOG: Seen<'static> = Seen::Entries {
    lane: "s1",
    entries: &[],
};

/// What an oracle says first of what it sees and of the end.
fn said(mut oracle: impl Oracle, seen: &[Seen<'_>], chain: &Chain) -> Verdict {
    for seen in seen {
        oracle.see(0, seen, chain)?;
    }
    oracle.end(0, chain)
}

fn log_2(seen: &[Seen<'_>], chain: &Chain) -> Verdict {
    said(log_2::Log2::default(), seen, chain)
}

fn says(verdict: &Verdict, words: &str) {
    match verdict {
        Err(detail) => assert!(detail.contains(words), "{detail:?} does not say {words:?}"),
        Ok(()) => panic!("nothing was said, expected {words:?}"),
    }
}

#[test]
fn log_2_lets_a_log_pass_that_keeps_what_it_said() {
    let chain = log(&[
        (b"a", DONE.clone()),
        (b"b", refused()),
        (b"b", DONE.clone()),
        (b"a", refused()),
    ]);
    let seen = [
        began(1, b"a"),
        acknowledged(1, b"a", 0),
        began(2, b"b"),
        acknowledged(2, b"b", 2),
        LOG,
    ];
    assert_eq!(log_2(&seen, &chain), Ok(()));
}

#[test]
fn log_2_misses_what_was_acknowledged() {
    let chain = log(&[(b"a", DONE.clone())]);
    let lost = [began(1, b"b"), acknowledged(1, b"b", 1)];
    says(
        &log_2(&lost, &chain),
        "entry 1 was acknowledged, and the log has 1",
    );
    let other = [began(1, b"b"), acknowledged(1, b"b", 0)];
    says(&log_2(&other, &chain), "another command stands");
    let both = [acknowledged(1, b"b", 4), acknowledged(2, b"c", 4)];
    says(
        &log_2(&both, &chain),
        "two commands were acknowledged as entry 4",
    );
    let changed = [began(1, b"a"), acknowledged(1, b"a", 0)];
    says(
        &log_2(&changed, &log(&[(b"a", refused())])),
        "entry 0: told Accepted",
    );
    let bytes = 9_999_999;
    let none = Asked::Oversized {
        bytes,
        blake3: [0; 32],
    };
    let chain = Chain::of([(none, DONE.clone())]);
    says(&log_2(&changed, &chain), "is no command");
}

#[test]
fn log_2_sees_what_is_applied_twice_or_out_of_its_time() {
    let twice = log(&[(b"a", DONE.clone()), (b"a", DONE.clone())]);
    says(
        &log_2(&[LOG], &twice),
        "of entry 0 was applied again as entry 1",
    );
    let chain = log(&[(b"a", DONE.clone()), (b"b", DONE.clone())]);
    let backwards = [
        acknowledged(1, b"b", 1),
        began(2, b"a"),
        acknowledged(2, b"a", 0),
    ];
    says(
        &log_2(&backwards, &chain),
        "#2 began when entry 1 was acknowledged",
    );
    let read = Seen::Read {
        op: 1,
        entries: 2,
        root: None,
    };
    says(
        &log_2(&[read, began(2, b"a"), LOG], &chain),
        "was first proposed when 2",
    );
    let given_up = Seen::Failed {
        command: b"a",
        without_effect: true,
    };
    says(
        &log_2(&[began(1, b"a"), given_up, LOG], &chain),
        "was told that it has none",
    );
    // Another attempt of the same may have had it.
    let again = Seen::Failed {
        command: b"a",
        without_effect: true,
    };
    let seen = [began(1, b"a"), began(2, b"a"), again, LOG];
    assert_eq!(log_2(&seen, &chain), Ok(()));
}

#[test]
fn read_1_sees_a_read_that_covers_less_than_was_known_when_it_began() {
    let chain = log(&[]);
    let read = |op, entries| Seen::Read {
        op,
        entries,
        root: None,
    };
    let asked = |op| Seen::Began { op, command: None };
    let verdict = |seen: &[Seen<'_>]| said(read_1::Read1::default(), seen, &chain);
    let acknowledged = acknowledged(1, b"a", 6);
    assert_eq!(
        verdict(&[asked(2), acknowledged.clone(), read(2, 3)]),
        Ok(())
    );
    says(
        &verdict(&[acknowledged, asked(2), read(2, 6)]),
        "#2 began when 7",
    );
    says(
        &verdict(&[asked(1), read(1, 9), asked(2), read(2, 8)]),
        "#2 began when 9",
    );
}

#[test]
fn live_1_sees_what_comes_late_or_never() {
    let chain = log(&[]);
    let awaited = ["a read".to_owned()];
    let healed = Seen::Healed {
        deadline_us: 5_000,
        awaited: &awaited,
    };
    let came = Seen::Progress { what: "a read" };
    let verdict = |before: bool, at_us: Option<u64>| {
        let mut oracle = live_1::Live1::default();
        if before {
            oracle.see(0, &came, &chain)?;
        }
        oracle.see(0, &healed, &chain)?;
        if let Some(at_us) = at_us {
            oracle.see(at_us, &came, &chain)?;
        }
        oracle.end(99_000, &chain)
    };
    assert_eq!(verdict(false, Some(5_000)), Ok(()));
    says(&verdict(false, Some(8_000)), "a read came 3 ms too late");
    says(&verdict(true, None), "a read never came");
}

#[test]
fn live_1_expects_news_once_there_are_some() {
    let (before, after) = (log(&[]), log(&[(b"a", DONE.clone())]));
    let awaited = [format!("{}f1", live_1::NEWS)];
    let healed = Seen::Healed {
        deadline_us: 5_000,
        awaited: &awaited,
    };
    let came = Seen::Progress { what: &awaited[0] };
    let verdict = |first_us: Option<u64>, came_us: Option<u64>, end_us| {
        let mut oracle = live_1::Live1::default();
        oracle.see(0, &healed, &before)?;
        if let Some(first_us) = first_us {
            oracle.see(first_us, &LOG, &after)?;
        }
        if let Some(came_us) = came_us {
            oracle.see(came_us, &came, &after)?;
        }
        oracle.end(end_us, &after)
    };
    assert_eq!(verdict(None, None, 99_000), Ok(()), "nothing to hear of");
    assert_eq!(verdict(Some(4_000), Some(9_000), 99_000), Ok(()));
    says(
        &verdict(Some(4_000), Some(12_000), 99_000),
        "came 3 ms too late",
    );
    says(&verdict(Some(4_000), None, 99_000), "never came");
    assert_eq!(verdict(Some(98_000), None, 99_000), Ok(()), "not due yet");
}

#[test]
fn vote_1_sees_two_leaders_and_votes_that_no_disk_remembers() {
    let chain = log(&[]);
    let voters = [BTreeSet::from([1, 2, 3])];
    let elected = |lane, term, forgetful| Seen::Elected {
        lane,
        term,
        voters: &voters,
        forgetful,
    };
    let (none, one, two) = (BTreeSet::new(), BTreeSet::from([2]), BTreeSet::from([2, 3]));
    let verdict = |seen: &[Seen<'_>]| said(vote_1::Vote1::default(), seen, &chain);
    assert_eq!(
        verdict(&[
            elected("s1", 1, &none),
            elected("s1", 1, &one),
            elected("s2", 2, &one)
        ]),
        Ok(())
    );
    says(
        &verdict(&[elected("s1", 1, &none), elected("s2", 1, &none)]),
        "s2 leads term 1, and so did s1",
    );
    says(&verdict(&[elected("s1", 1, &two)]), "only 1 of 3 voters");
}

#[test]
fn halt_1_holds_fresh_and_stale_answers_to_their_bounds() {
    let revoked = Event::KeyRevoked {
        key: PublicKey([7; 32]),
        reason: reason(),
    };
    let bars = Outcome::Accepted(vec![revoked]);
    let chain = log(&[(b"a", bars)]);
    let config = chain.state().config().clone();
    let verdict = |mode, entries, asked_us| {
        let mut oracle = halt_1::Halt1::default();
        oracle.see(1_000, &LOG, &chain)?;
        let answer = Answer {
            mode: Some(mode),
            entries: Some(entries),
            ..Answer::default()
        };
        let told = Seen::Told {
            lane: "d1",
            device: "p1-1",
            place: "a",
            asked_us,
            answer: &answer,
        };
        oracle.see(asked_us, &told, &chain)
    };
    let after = |bound: u64, more: u64| 1_000 + bound * 1_000 + more;
    let (lease, stale) = (config.lease.0, config.stale_max.0);
    assert_eq!(verdict(Mode::Fresh, 0, after(lease, 0)), Ok(()));
    assert_eq!(
        verdict(Mode::Fresh, 1, after(lease, 1)),
        Ok(()),
        "it knows the bar"
    );
    says(
        &verdict(Mode::Fresh, 0, after(lease, 1)),
        "d1 called itself Fresh",
    );
    assert_eq!(verdict(Mode::Stale, 0, after(stale, 0)), Ok(()));
    says(
        &verdict(Mode::Stale, 0, after(stale, 1)),
        "d1 called itself Stale",
    );
    assert_eq!(verdict(Mode::Blind, 0, after(stale, 1)), Ok(()));
}
