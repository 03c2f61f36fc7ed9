//! AUTH-1, exhaustively: each kind of command with each set of signers.
use std::collections::BTreeSet;
use tidegate_domain::{
    Event, Outcome, Rejection, Unauthorized,
    apply::access::{Demand, demand},
    command::{
        AmendRollout, Command, CreateRollout, EmergencyStop, HaltRollout, LiftStop, PauseRollout,
        ResumeRollout, seal,
    },
    evolve,
    guard::{StopCovers, StopScope},
    id::{Epoch, Revision, SessionId, StopId},
    key::Role,
    node::{Session, SessionStatus},
    signature::{SigningKey, public_key},
    testing::{Fleet, every_kind, reason, region, release, rollout},
};

/// Whose signatures it takes: how many operators', or which key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Roots,
    Operators(usize),
    DecisionNode,
    SessionOwner,
    StoreNode,
}

/// Whom a command takes where nothing in the state makes it special: told here a second time, from
/// the design.
fn takes(command: &Command) -> Takes {
    match command.name() {
        "RotateKeys" => Takes::Roots,
        "RevokeKey" | "RaiseFloor" | "ApproveRollout" | "AdvanceWave" | "ExpediteRollout"
        | "LiftStop" | "WriteOffBudget" | "ChangeMembership" | "SetClusterConfig"
        | "RaiseStateVersion" => Takes::Operators(2),
        "RegisterRelease"
        | "AddReleaseSignatures"
        | "RevokeRelease"
        | "ResumeRollout"
        | "RegisterVariant"
        | "RegisterChannel"
        | "DeclareRecoveryImage"
        | "CreateRollout"
        | "StartRollout"
        | "PauseRollout"
        | "HaltRollout"
        | "RollBack"
        | "CompleteRollout"
        | "AmendRollout"
        | "ExcludeVariant"
        | "EmergencyStop"
        | "SetRegionPolicy"
        | "SetHold" => Takes::Operators(1),
        "OpenSession" => Takes::DecisionNode,
        "AdvanceSession" => Takes::SessionOwner,
        "Tick" => Takes::StoreNode,
        other => panic!("nobody said who may ask for {other}"),
    }
}

/// Every set of signers that is worth telling apart: up to two keys of each role, trusted ones and
/// one that the epoch does not know, and the owner of the session.
fn signer_sets(fleet: &Fleet) -> Vec<(String, Vec<SigningKey>)> {
    let key = |role, number| fleet.keys.key(role, number).clone();
    let mut sets = vec![("nobody".to_owned(), Vec::new())];
    for role in Role::ALL {
        for number in [0, 1, 5] {
            sets.push((format!("{role} {number}"), vec![key(role, number)]));
        }
        sets.push((format!("{role} 0+1"), vec![key(role, 0), key(role, 1)]));
        sets.push((format!("{role} 0+5"), vec![key(role, 0), key(role, 5)]));
        for other in Role::ALL.into_iter().filter(|other| *other > role) {
            let pair = vec![key(role, 0), key(other, 0)];
            sets.push((format!("{role} 0, {other} 0"), pair));
        }
    }
    let roots = [0, 1, 2, 3].map(|number| key(Role::Root, number));
    sets.push(("roots of both epochs".to_owned(), roots.to_vec()));
    sets.push(("old roots and one new".to_owned(), roots[..2].to_vec()));
    sets.push(("new roots and one old".to_owned(), roots[2..].to_vec()));
    sets
}

/// Whether a set of signers is enough, counted here by hand.
fn suffices(fleet: &Fleet, takes: Takes, signers: &[SigningKey], owner: &SigningKey) -> bool {
    let raw: BTreeSet<_> = signers
        .iter()
        .map(SigningKey::verifying_key)
        .map(|k| k.to_bytes())
        .collect();
    let of = |role, numbers: &[u8]| {
        let trusted = numbers
            .iter()
            .filter(|n| raw.contains(&fleet.keys.public(role, **n).0));
        trusted.count()
    };
    match takes {
        // The old epoch trusts 0, 1, 2 and the new one 1, 2, 3; two of each have to sign.
        Takes::Roots => of(Role::Root, &[0, 1, 2]) >= 2 && of(Role::Root, &[1, 2, 3]) >= 2,
        Takes::Operators(needed) => of(Role::Operator, &[0, 1, 2]) >= needed,
        Takes::DecisionNode => of(Role::Decision, &[0, 1, 2]) >= 1,
        Takes::SessionOwner => raw.contains(&owner.verifying_key().to_bytes()),
        Takes::StoreNode => of(Role::Node, &[0, 1, 2]) >= 1,
    }
}

#[test]
fn every_kind_takes_exactly_its_signers() {
    let mut fleet = Fleet::new();
    let owner = fleet.keys.key(Role::Decision, 0).clone();
    open_session_of(&mut fleet, &owner);
    let sets = signer_sets(&fleet);
    let kinds: BTreeSet<u16> = every_kind(&fleet).iter().map(Command::kind).collect();
    assert_eq!(
        kinds.len(),
        (0..u16::MAX)
            .filter(|k| Command::kind_name(*k).is_some())
            .count()
    );
    for command in every_kind(&fleet) {
        let takes = takes(&command);
        for (who, signers) in &sets {
            let mut trial = fleet.clone();
            let proposal = trial.proposal(command.clone());
            let envelope = seal(&proposal, &signers.iter().collect::<Vec<_>>()).to_bytes();
            let outcome = trial.apply(&envelope).outcome.clone();
            let authorized = !matches!(outcome, Outcome::Rejected(Rejection::Unauthorized(_)));
            let expected = suffices(&fleet, takes, signers, &owner);
            assert_eq!(
                authorized,
                expected,
                "{} by {who}: {outcome:?}",
                command.name()
            );
        }
    }
}

/// Opens a session whatever budgets think of it: this is about signatures.
fn open_session_of(fleet: &mut Fleet, owner: &SigningKey) {
    let session = Session {
        id: SessionId(1),
        key: public_key(owner),
        region: region("eu"),
        address: "decide.example:7443".to_owned(),
        status: SessionStatus::Open,
        instance: tidegate_domain::id::Instance(1),
        sequence: tidegate_domain::id::Sequence(0),
        last: None,
        anchor: None,
        opened_at: fleet.now,
        revision: Revision(0),
    };
    evolve(&mut fleet.state, &Event::SessionOpened(session)).expect("there is no session 1");
}

#[test]
fn before_the_ceremony_only_the_ceremony_is_heard() {
    let fleet = Fleet::unborn();
    for command in every_kind(&Fleet::new()).into_iter().skip(1) {
        let mut trial = fleet.clone();
        let proposal = trial.proposal(command);
        let operators = [0, 1].map(|n| fleet.keys.key(Role::Operator, n));
        let envelope = seal(&proposal, &operators).to_bytes();
        let outcome = &trial.apply(&envelope).outcome;
        let expected = Outcome::Rejected(Rejection::Unauthorized(Unauthorized::NoKeys));
        assert_eq!(outcome, &expected);
    }
    let mut born = fleet.clone();
    let ceremony = born.rotation(&[0, 1, 2]);
    born.accept(ceremony);
    assert_eq!(born.state.keys().epoch, Epoch(1));
}

/// Every single byte of an envelope counts: change any bit of it and nothing happens.
#[test]
fn no_byte_of_an_envelope_can_be_changed() {
    let mut fleet = Fleet::new();
    let stop = EmergencyStop {
        scope: StopScope::Fleet,
        covers: StopCovers::Both,
        reason: reason(),
    };
    let lift = LiftStop {
        stop: StopId(1),
        reason: reason(),
    };
    fleet.accept(stop);
    // By a quorum: more to tamper with.
    let envelope = fleet.sealed(lift).to_bytes();
    let mut honest = fleet.clone();
    assert!(matches!(
        honest.apply(&envelope).outcome,
        Outcome::Accepted(_)
    ));
    for at in 0..envelope.len() {
        for bit in 0..8 {
            let mut tampered = envelope.clone();
            tampered[at] ^= 1 << bit;
            let mut trial = fleet.clone();
            let outcome = trial.apply(&tampered).outcome.clone();
            let refused = matches!(outcome, Outcome::Rejected(Rejection::Unauthorized(_)));
            assert!(refused, "byte {at} bit {bit}: {outcome:?}");
            assert_eq!(trial.state.stops(), fleet.state.stops());
        }
    }
}

/// Where the state decides: resuming what is paused takes one operator and what is halted the
/// quorum; an amendment that narrows takes one and one that widens the quorum.
#[test]
fn lifting_and_widening_take_the_quorum() {
    let mut fleet = Fleet::new();
    fleet.register(release("os-1"));
    let spec = |selectors: &[&str]| rollout("os-1").audience(selectors).wave(50, 1).wave(100, 1);
    let rollout = fleet.launch(spec(&["m1/*/*/*"]));
    let needed = |fleet: &Fleet, command: Command| match demand(&fleet.state, &command) {
        Demand::Operator => 1,
        Demand::OperatorQuorum => 2,
        other => panic!("{other:?}"),
    };
    let amend = |selectors: &[&str]| {
        let spec = spec(selectors).spec();
        AmendRollout { rollout, spec }.into()
    };
    assert_eq!(needed(&fleet, amend(&["m1/r1/*/*"])), 1);
    assert_eq!(needed(&fleet, amend(&["m1/*/*/*", "m2/r1/*/*"])), 2);
    assert_eq!(needed(&fleet, amend(&["*"])), 2);
    let reason = reason();
    let resume = || {
        ResumeRollout {
            rollout,
            reason: reason.clone(),
        }
        .into()
    };
    fleet.accept(PauseRollout {
        rollout,
        reason: reason.clone(),
    });
    assert_eq!(needed(&fleet, resume()), 1);
    fleet.accept(HaltRollout {
        rollout,
        reason: reason.clone(),
    });
    assert_eq!(needed(&fleet, resume()), 2);
    // One operator alone is not heard, and the release stays barred.
    let alone = fleet.keys.key(Role::Operator, 0).clone();
    let proposal = fleet.proposal(resume());
    let outcome = fleet
        .apply(&seal(&proposal, &[&alone]).to_bytes())
        .outcome
        .clone();
    assert!(
        matches!(outcome, Outcome::Rejected(Rejection::Unauthorized(_))),
        "{outcome:?}"
    );
    let again = fleet.refuse(CreateRollout {
        spec: spec(&["m1/*/*/*"]).spec(),
    });
    assert!(matches!(again, Rejection::BarredByHalt { .. }), "{again:?}");
    fleet.accept(resume());
}
