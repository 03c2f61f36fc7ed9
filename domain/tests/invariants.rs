//! Every invariant of the domain over random sequences of entries, honest and hostile.
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidegate_domain::{
    Applied, Examined, Outcome, Rejection, State,
    command::{Command, RegisterVariant, SignedCommand},
    evolve,
    id::{CommandId, Index, LogTime, Sequence, SessionId},
    invariant::{self, Fold, Transition},
    testing::{Fleet, Step, traits},
};

fn step() -> impl Strategy<Value = Step> {
    (any::<u8>(), any::<u64>()).prop_map(|(what, dice)| Step { what, dice })
}

/// Steps over a fleet that has something to work with: variants, releases, a rollout under way.
fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..max)
}

/// Applies one step and checks every invariant on it.
fn checked(fleet: &mut Fleet, step: Step) {
    let before = fleet.state.clone();
    fleet.take(step);
    let (envelope, _, applied) = fleet.log.last().expect("an entry was applied");
    let transition = Transition {
        before: &before,
        envelope: Some(envelope),
        applied,
        after: &fleet.state,
    };
    if let Err(violation) = invariant::check(&transition) {
        panic!("{violation}\nby {applied:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// FLOOR-1, FLOOR-3, EPOCH-1, EPOCH-2, HALT-2, LOG-1, LOG-2, APPLY-1, AUTH-1.
    #[test]
    fn every_transition_keeps_every_invariant(steps in steps(120)) {
        let mut fleet = Fleet::furnished();
        for step in steps {
            checked(&mut fleet, step);
        }
    }

    /// LOG-2, against a model that forgets nothing: nothing is accepted twice, whatever is replayed,
    /// a replay within its validity names the entry that was first, and an id is free for another
    /// command no sooner than the first one's validity is over.
    #[test]
    fn no_command_is_applied_twice(steps in steps(80), replays in prop::collection::vec(any::<prop::sample::Index>(), 40)) {
        let mut fleet = Fleet::furnished();
        let mut accepted = BTreeMap::new();
        let mut replays = replays.into_iter();
        for step in steps {
            fleet.take(step);
            note(&fleet, &mut accepted);
            if step.dice % 3 == 0 && let Some(which) = replays.next() {
                let again = which.get(&fleet.log).0.clone();
                fleet.apply(&again);
                note(&fleet, &mut accepted);
            }
        }
    }

    /// APPLY-1: another replica, one that restarts from stored rows in the middle, and a watcher
    /// that only folds events have the same root after every entry.
    #[test]
    fn replicas_restarts_and_watchers_agree(steps in steps(80), restart in any::<prop::sample::Index>()) {
        let mut fleet = Fleet::furnished();
        steps.into_iter().for_each(|step| fleet.take(step));
        let restart = restart.index(fleet.log.len());
        let mut replica = Fleet::unborn().state;
        let mut watcher = replica.clone();
        let mut stored: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (at, (envelope, stamp, applied)) in fleet.log.iter().enumerate() {
            prop_assert_eq!(&tidegate_domain::apply(&mut replica, Examined::of(envelope), *stamp), applied);
            for event in applied.events() {
                evolve(&mut watcher, event).expect("events follow from the state");
            }
            store(&mut stored, &mut replica);
            prop_assert_eq!(replica.root(), watcher.root());
            if at == restart {
                replica = State::from_rows(&stored).expect("stored rows are a state");
                prop_assert_eq!(replica.root(), watcher.root());
            }
        }
        prop_assert_eq!(replica.root(), fleet.state.root());
        prop_assert_eq!(&replica, &fleet.state);
        prop_assert_eq!(&watcher, &fleet.state);
    }
}

/// APPLY-1, entry after entry without a copy of the state between them: an event that is missing is
/// found at its entry and at no other.
#[test]
fn a_fold_finds_the_entry_whose_events_do_not_tell_all() {
    let mut fleet = Fleet::furnished();
    let mut fold = Fold::new(fleet.state.clone());
    for number in 0..4 {
        let traits = traits(&format!("model-{number}/r1/a/none"));
        fleet.run(RegisterVariant { traits });
        let (envelope, _, mut applied) = fleet.log.last().expect("an entry").clone();
        if number == 1 {
            applied.outcome = Outcome::Accepted(Vec::new());
        }
        let found = fold.check(Some(&envelope), &applied, &mut fleet.state);
        let id = found.err().map(|violation| violation.id);
        assert_eq!(id, (number == 1).then_some("APPLY-1"), "entry {number}");
    }
}

/// What is accepted once at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Once {
    Command(CommandId),
    Envelope(SessionId, Sequence),
}

/// Where something was accepted, and until when it would have been.
struct First {
    index: Index,
    not_after: LogTime,
}

fn note(fleet: &Fleet, accepted: &mut BTreeMap<Once, First>) {
    let (envelope, stamp, applied) = fleet.log.last().expect("an entry was applied");
    let parsed = SignedCommand::from_bytes(envelope)
        .ok()
        .and_then(|signed| signed.parse().ok());
    let Some((body, command)) = parsed else {
        return;
    };
    // An envelope is one of its session, whatever its id.
    let once = match command {
        Command::AdvanceSession(envelope) => Once::Envelope(envelope.session, envelope.sequence),
        _ => Once::Command(body.id),
    };
    match (&applied.outcome, accepted.get(&once)) {
        (Outcome::Accepted(_), first) => {
            let is_free = match (once, first) {
                (_, None) => true,
                (Once::Command(_), Some(first)) => first.not_after < fleet.state.meta().time,
                (Once::Envelope(..), Some(_)) => false,
            };
            assert!(is_free, "{once:?} was accepted twice");
            let first = First {
                index: stamp.index,
                not_after: body.not_after,
            };
            accepted.insert(once, first);
        }
        (Outcome::Rejected(Rejection::AlreadyApplied { index }), Some(first)) => {
            assert_eq!(*index, first.index);
        }
        (Outcome::Rejected(_), _) => {}
    }
}

fn store(stored: &mut BTreeMap<Vec<u8>, Vec<u8>>, replica: &mut State) {
    for (key, value) in replica.drain_changes() {
        match value {
            Some(value) => stored.insert(key, value),
            None => stored.remove(&key),
        };
    }
}

/// The generator is worth something: it reaches acceptance of every kind, and the refusals that
/// hostile entries are made for. A kind that is never accepted is never tested above.
#[test]
fn the_generator_reaches_everything() {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut number = 1_u64;
    for _ in 0..60 {
        let mut fleet = Fleet::furnished();
        for _ in 0..100 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let what = (number >> 40) as u8;
            fleet.take(Step { what, dice: number });
        }
        for (envelope, _, applied) in &fleet.log {
            *seen.entry(outcome_name(envelope, applied)).or_default() += 1;
        }
    }
    let missing: Vec<&str> = EXPECTED
        .iter()
        .filter(|name| !seen.contains_key(**name))
        .copied()
        .collect();
    assert!(missing.is_empty(), "never seen: {missing:?} in {seen:#?}");
}

/// What the generator has to reach.
const EXPECTED: [&str; 50] = [
    "RotateKeys",
    "RevokeKey",
    "RegisterRelease",
    "AddReleaseSignatures",
    "RevokeRelease",
    "RegisterVariant",
    "DeclareRecoveryImage",
    "RaiseFloor",
    "EmergencyStop",
    "LiftStop",
    "SetRegionPolicy",
    "SetHold",
    "ChangeMembership",
    "SetClusterConfig",
    "Tick",
    "CreateRollout",
    "ApproveRollout",
    "StartRollout",
    "AdvanceWave",
    "PauseRollout",
    "ResumeRollout",
    "HaltRollout",
    "RollBack",
    "CompleteRollout",
    "AmendRollout",
    "ExcludeVariant",
    "ExpediteRollout",
    "OpenSession",
    "AdvanceSession",
    "WriteOffBudget",
    "AlreadyApplied",
    "BelowFloor",
    "DuplicateKey",
    "EpochNotNext",
    "FloorAboveRecoveryImage",
    "FloorNotRaised",
    "IdOfAnother",
    "LimitReached",
    "OutsideValidity",
    "ReleaseSignatureRefused",
    "ReleaseUnderSigned",
    "RevisionMismatch",
    "ThresholdOutOfRange",
    "ValidityTooLong",
    "Unauthorized BadSignature",
    "Unauthorized Malformed",
    "Unauthorized OtherBase",
    "Unauthorized OtherEpoch",
    "Unauthorized OtherOrigin",
    "Unauthorized TooFewSignatures",
];

/// The kind that was accepted, or the refusal.
fn outcome_name(envelope: &[u8], applied: &Applied) -> String {
    let word = |text: String| text.split([' ', '{', '(']).next().unwrap_or("").to_owned();
    match &applied.outcome {
        Outcome::Accepted(_) => {
            let signed = SignedCommand::from_bytes(envelope).expect("accepted");
            let (_, command) = signed.parse().expect("accepted");
            command.name().to_owned()
        }
        Outcome::Rejected(Rejection::Unauthorized(reason)) => {
            format!("Unauthorized {}", word(format!("{reason:?}")))
        }
        Outcome::Rejected(rejection) => word(format!("{rejection:?}")),
    }
}
