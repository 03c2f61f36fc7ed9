//! The command that benches fill the log with: only builds that ask for it know it.
use tidegate_domain::{
    Outcome,
    apply::Applied,
    canonical,
    command::{Arguments, CommandBody, SignedCommand, Tick},
    testing::Fleet,
};

/// The number of its kind, which no other command may have.
const KIND: u16 = 0x00f0;
/// `{0: h'5a5a5a'}`.
const ARGUMENTS: [u8; 6] = [0xa1, 0x00, 0x43, 0x5a, 0x5a, 0x5a];

/// Applies one that nobody has signed.
fn apply_filler(fleet: &mut Fleet) -> Applied {
    let mut signed: SignedCommand = fleet.proposal(Tick {}).unsigned();
    let mut body: CommandBody = canonical::decode(&signed.body).expect("a body");
    body.kind = KIND;
    body.arguments = Arguments::Inline(ARGUMENTS.to_vec());
    signed.body = canonical::encode(&body);
    fleet.apply(&signed.to_bytes()).clone()
}

#[cfg(not(feature = "bench"))]
#[test]
fn what_is_released_refuses_it() {
    use tidegate_domain::{Rejection, Unauthorized, command::Command};
    let mut fleet = Fleet::new();
    let ids = fleet.state.spent().len();
    let outcome = apply_filler(&mut fleet).outcome;
    let Outcome::Rejected(Rejection::Unauthorized(Unauthorized::Malformed { fault })) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(fault.to_string(), "unknown command kind 0x00f0");
    assert_eq!(Command::kind_name(KIND), None);
    assert_eq!(fleet.state.spent().len(), ids, "it has spent an id");
}

#[cfg(feature = "bench")]
#[test]
fn a_bench_build_takes_it_from_anybody_and_it_changes_nothing() {
    let mut fleet = Fleet::new();
    let before = fleet.state.clone();
    let applied = apply_filler(&mut fleet);
    assert_eq!(applied.outcome, Outcome::Accepted(Vec::new()));
    assert_eq!(applied.events().count(), 1, "but its entry");
    assert_eq!(fleet.state.meta().next.0, before.meta().next.0 + 1);
    assert_eq!(fleet.state.spent().len(), before.spent().len() + 1);
    assert_eq!(fleet.state.rollouts(), before.rollouts());
}
