//! What devices on release channels are told.
// Pure, so that the simulator can change nothing.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use support::{NOW, Plenty, Rows, check_in};
use tidegate_decision::engine::{Decision, Index, Mode, TableOnly, Verdict, decide};
use tidegate_domain::{
    State,
    guard::BaselineKey,
    rollout::{Life, Rollout},
    testing,
};

/// One variant, the channel `beta`, release 1.0.0 (the baseline), and a rollout of 2.0.0.
fn world(change: impl FnOnce(&mut Rows, &mut Rollout)) -> State {
    let mut rows = Rows::default();
    rows.variant(1, "cam/r1/eu/none");
    rows.channel("beta");
    rows.release(&support::release(testing::release("os-1").version("1.0.0")));
    rows.release(&support::release(testing::release("os-2").version("2.0.0")));
    rows.baseline("os", "*", "os-1", 1);
    let mut rollout = support::rollout(1, testing::rollout("os-2").wave(100, 0), 1);
    change(&mut rows, &mut rollout);
    rows.rollout(&rollout);
    rows.state()
}

fn tell(index: &Index, channel: &str, version: &str) -> Decision {
    let mut check_in = check_in("d", 1, "os", version);
    check_in.channel = channel.parse().unwrap();
    let mut budgets = Plenty::default();
    decide(index, NOW, Mode::Fresh, &check_in, &TableOnly, &mut budgets)
}

#[test]
fn who_names_no_channel_means_all_that_there_are() {
    let index = Index::build(&world(|_, _| ()));
    let told = |channel| {
        let decision = tell(&index, channel, "1.0.0");
        (
            decision.verdict,
            decision.reasons.as_slice()[0].reason.code(),
        )
    };
    assert_eq!(told("stable"), (Verdict::Offer, "in_wave"));
    assert_eq!(told("beta"), (Verdict::Offer, "in_wave"));
    assert_eq!(told("canary"), (Verdict::None, "unknown_channel"));
}

#[test]
fn each_channel_has_the_baseline_that_was_set_for_it() {
    let index = Index::build(&world(|rows, rollout| {
        rollout.life = Life::Completed { at: NOW };
        let key = BaselineKey {
            component: testing::component("os"),
            selector: testing::selector("*"),
            channel: Some(testing::channel("beta")),
        };
        rows.baseline_of(&key, "os-2", 2);
    }));
    let offered = |channel| {
        let grant = tell(&index, channel, "0.9.0").grant?;
        Some(index.offer(&grant)?.release.to_string())
    };
    assert_eq!(offered("stable").as_deref(), Some("os-1"));
    assert_eq!(offered("beta").as_deref(), Some("os-2"));
}
