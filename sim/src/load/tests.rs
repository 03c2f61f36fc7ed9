use tidegate_domain::{Examined, Outcome, Rejection, SignedCommand, Unauthorized};

use super::*;

#[test]
fn operators_get_most_of_what_they_ask_for_and_strangers_nothing() {
    let mut fleet = Fleet::unborn();
    let mut operators = Operators::new(1);
    operators.now(fleet.now.0);
    let ceremony = operators.ceremony();
    fleet.apply(&ceremony.bytes);
    let (mut accepted, mut kinds) = (0, std::collections::BTreeSet::new());
    for _ in 0..800 {
        operators.saw(&fleet.state);
        fleet.wait(Millis(500));
        operators.now(fleet.now.0);
        let draft = operators.ask();
        if draft.what == "unknown rules" {
            // The door's affair: no build may follow rules that it does not know.
            let refused =
                tidegate_domain::try_out(&fleet.state, Examined::of(&draft.bytes), fleet.stamp());
            assert!(refused.is_err());
            continue;
        }
        let applied = fleet.apply(&draft.bytes).clone();
        if matches!(applied.outcome, Outcome::Accepted(_)) {
            accepted += 1;
            kinds.insert(draft.what);
            assert_ne!(draft.what, "overheard", "a command was applied twice");
        }
    }
    assert!(accepted > 300, "only {accepted} of 800 were accepted");
    assert!(kinds.len() > 20, "{kinds:?}");
}

#[test]
fn operators_who_are_at_rollouts_take_them_onward_and_stop_nothing() {
    let mut fleet = Fleet::unborn();
    let mut operators = Operators::new(1).of_places(&["a".to_owned()], Work::Rollouts);
    operators.now(fleet.now.0);
    let ceremony = operators.ceremony();
    fleet.apply(&ceremony.bytes);
    operators.saw(&fleet.state);
    for draft in operators.furnishing() {
        fleet.apply(&draft.bytes);
    }
    let mut kinds = std::collections::BTreeSet::new();
    for _ in 0..400 {
        operators.saw(&fleet.state);
        fleet.wait(Millis(500));
        operators.now(fleet.now.0);
        let draft = operators.ask();
        if matches!(fleet.apply(&draft.bytes).outcome, Outcome::Accepted(_)) {
            kinds.insert(draft.what);
        }
    }
    let all = ["advance", "approve", "pause", "release", "rollout", "start"];
    assert!(kinds.iter().eq(&all), "{kinds:?}");
}

#[test]
fn what_a_leader_forges_lacks_nothing_but_its_signatures() {
    let mut fleet = Fleet::unborn();
    let mut operators = Operators::new(1);
    operators.now(fleet.now.0);
    let ceremony = operators.ceremony();
    fleet.apply(&ceremony.bytes);
    operators.saw(&fleet.state);
    let forged = operators.forged();
    let refused = fleet.apply(&forged).outcome.clone();
    let bad = Rejection::Unauthorized(Unauthorized::BadSignature {
        key: SignedCommand::from_bytes(&forged).unwrap().signatures[0].key,
    });
    assert_eq!(refused, Outcome::Rejected(bad));
}
