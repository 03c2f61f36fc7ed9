//! What devices are told, story by story.
// Pure, so that the simulator can change nothing.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use support::{NOW, Plenty, Rows, check_in, random::verified};
use tidegate_decision::engine::{
    Decision, Draw, Index, Mode, Reason, TableOnly, Token, Verdict, decide,
};
use tidegate_domain::{
    State,
    guard::{StopCovers, StopScope},
    id::{LogTime, Ppm, RolloutId, VariantId, WaveIndex},
    rollout::{HaltCause, Life, OnStale},
    tally::{Arm, Stratum},
    testing,
};

fn tell(state: &State, mode: Mode, check_in: &tidegate_decision::engine::CheckIn) -> Decision {
    decide(
        &Index::build(state),
        NOW,
        mode,
        check_in,
        &TableOnly,
        &mut Plenty::default(),
    )
}

fn codes(decision: &Decision) -> Vec<&'static str> {
    let reasons = decision.reasons.as_slice().iter();
    reasons.map(|because| because.reason.code()).collect()
}

/// One variant, releases 1.0.0 (the baseline) and 2.0.0, and rollout 1 of the latter.
fn small(change: impl FnOnce(&mut Rows, &mut tidegate_domain::rollout::Rollout)) -> State {
    let mut rows = Rows::default();
    rows.variant(1, "cam/r1/eu/none");
    rows.release(&support::release(testing::release("os-1").version("1.0.0")));
    rows.release(&support::release(testing::release("os-2").version("2.0.0")));
    rows.baseline("os", "*", "os-1", 1);
    let builder = testing::rollout("os-2").wave(50, 24).wave(100, 0);
    let mut rollout = support::rollout(1, builder, 2);
    change(&mut rows, &mut rollout);
    rows.rollout(&rollout);
    rows.state()
}

#[test]
fn a_device_in_an_open_wave_is_offered_the_release() {
    let state = small(|_, _| {});
    let decision = tell(&state, Mode::Fresh, &check_in("d", 1, "os", "1.0.0"));
    assert_eq!(decision.verdict, Verdict::Offer);
    assert_eq!(codes(&decision), ["in_wave"]);
}

#[test]
fn a_halted_rollout_offers_nothing_and_says_so() {
    let state = small(|rows, rollout| {
        rollout.life = Life::Halted {
            since: NOW,
            cause: HaltCause::ReleaseRevoked,
        };
        rows.bar(rollout);
    });
    let decision = tell(&state, Mode::Fresh, &check_in("d", 1, "os", "1.0.0"));
    assert_eq!(decision.verdict, Verdict::None);
    assert_eq!(codes(&decision), ["rollout_halted"]);
}

#[test]
fn a_halt_binds_the_baseline_too() {
    let state = small(|rows, rollout| {
        rollout.life = Life::Halted {
            since: NOW,
            cause: HaltCause::ReleaseRevoked,
        };
        rows.bar(rollout);
        rows.baseline("os", "*", "os-2", 2);
    });
    let decision = tell(&state, Mode::Fresh, &check_in("d", 1, "os", "1.0.0"));
    assert_eq!(codes(&decision), ["rollout_halted", "release_barred"]);
}

#[test]
fn devices_of_a_rolled_back_rollout_return_even_when_late() {
    let cause = HaltCause::ReleaseRevoked;
    for life in [
        Life::RollingBack { since: NOW, cause },
        Life::RolledBack { at: NOW },
    ] {
        let state = small(|rows, rollout| {
            rollout.life = life.clone();
            *rollout = support::back_to(rollout.clone(), "*", "os-1");
            rows.bar(rollout);
        });
        let decision = tell(&state, Mode::Fresh, &check_in("d", 1, "os", "2.0.0"));
        assert_eq!(decision.verdict, Verdict::Return, "{life:?}");
        assert_eq!(codes(&decision), ["rolling_back"]);
        let index = Index::build(&state);
        assert_eq!(
            index
                .offer(&decision.grant.unwrap())
                .unwrap()
                .release
                .as_str(),
            "os-1"
        );
    }
}

#[test]
fn a_stop_of_offers_does_not_block_going_back() {
    let state = small(|rows, rollout| {
        rollout.life = Life::RollingBack {
            since: NOW,
            cause: HaltCause::ReleaseRevoked,
        };
        *rollout = support::back_to(rollout.clone(), "*", "os-1");
        rows.stop(1, StopScope::Fleet, StopCovers::Offers);
    });
    let told = |version| tell(&state, Mode::Fresh, &check_in("d", 1, "os", version)).verdict;
    assert_eq!(told("2.0.0"), Verdict::Return);
    assert_eq!(told("0.9.0"), Verdict::Wait);
}

#[test]
fn a_device_that_comes_back_after_months_catches_up_with_the_baseline() {
    let state = small(|_, rollout| rollout.spec.control = Ppm::ALL);
    let decision = tell(&state, Mode::Fresh, &check_in("d", 1, "os", "0.5.0"));
    assert_eq!(decision.verdict, Verdict::Offer);
    assert_eq!(codes(&decision), ["catch_up", "control_arm"]);
    let control = decision.reasons.as_slice()[1];
    assert_eq!(control.rollout, Some(RolloutId(1)));
}

#[test]
fn what_is_stale_goes_on_only_where_it_was_said_to() {
    for (critical, on_stale, verdict) in [
        (true, OnStale::Continue, Verdict::Offer),
        (true, OnStale::Wait, Verdict::Wait),
        (false, OnStale::Continue, Verdict::Wait),
    ] {
        let state = small(|rows, rollout| {
            rollout.spec.on_stale = on_stale;
            let builder = testing::release("os-2").version("2.0.0");
            rows.release(&support::release(if critical {
                builder.critical()
            } else {
                builder
            }));
        });
        let decision = tell(&state, Mode::Stale, &check_in("d", 1, "os", "1.0.0"));
        assert_eq!(
            decision.verdict, verdict,
            "critical {critical}, {on_stale:?}"
        );
    }
}

#[test]
fn who_is_blind_says_wait() {
    let state = small(|_, _| {});
    let decision = tell(&state, Mode::Blind, &check_in("d", 1, "os", "1.0.0"));
    assert_eq!(codes(&decision), ["blind"]);
    assert_eq!(decision.verdict, Verdict::Wait);
    assert!(decision.retry_after.0 > 0);
}

#[test]
fn an_echo_draws_no_budget_again() {
    let state = small(|_, _| {});
    let index = Index::build(&state);
    let mut asks = check_in("d", 1, "os", "1.0.0");
    let mut budgets = Plenty::default();
    let first = decide(&index, NOW, Mode::Fresh, &asks, &TableOnly, &mut budgets);
    assert_eq!(budgets.0.len(), 1);
    let token = index.grant_token(&first.grant.unwrap(), &asks, VariantId(1), support::SESSION);
    asks.echoes.push(verified(&token.unwrap()));
    let later = LogTime(NOW.0 + 3 * 3_600_000);
    let second = decide(&index, later, Mode::Fresh, &asks, &TableOnly, &mut budgets);
    assert_eq!(budgets.0.len(), 1, "nothing was drawn");
    let (first, second) = (first.grant.unwrap(), second.grant.unwrap());
    assert_eq!(
        second.exposure.cohort, first.exposure.cohort,
        "it is the same exposure"
    );
    assert!(second.expires > first.expires);
}

#[test]
fn a_failed_attempt_backs_off_and_then_draws_anew() {
    let state = small(|_, _| {});
    let index = Index::build(&state);
    let mut asks = check_in("d", 1, "os", "1.0.0");
    asks.echoes.push(verified(&token(&asks)));
    asks.attempts.push(tidegate_decision::engine::Attempts {
        release: "os-2".parse().unwrap(),
        failures: 2,
        last_failed: NOW,
    });
    let told = |hours: u64, budgets: &mut Plenty| {
        let now = LogTime(NOW.0 + hours * 3_600_000);
        decide(&index, now, Mode::Fresh, &asks, &TableOnly, budgets)
    };
    let mut budgets = Plenty::default();
    assert_eq!(
        codes(&told(1, &mut budgets)),
        ["backing_off"],
        "doubled: two hours"
    );
    assert!(budgets.0.is_empty());
    let again = told(2, &mut budgets);
    assert_eq!(again.verdict, Verdict::Offer);
    assert_eq!(again.grant.unwrap().exposure.attempt, 3);
    assert_eq!(budgets.0.len(), 1);
}

fn token(of: &tidegate_decision::engine::CheckIn) -> Token {
    Token {
        session: support::SESSION,
        rollout: Some(RolloutId(1)),
        wave: WaveIndex(0),
        stratum: Stratum {
            variant: VariantId(1),
            channel: of.channel.clone(),
        },
        cohort: NOW.cohort(),
        arm: Arm::Treatment,
        device: of.pseudonym,
        attempt: 1,
        expires: LogTime(NOW.0 + 86_400_000),
        component: testing::component("os"),
        release: "os-2".parse().unwrap(),
        stepping_stone: false,
        signer: support::SESSION,
        original: None,
    }
}

#[test]
fn one_exposure_of_a_component_is_open_at_a_time() {
    let state = small(|rows, _| {
        rows.release(&support::release(testing::release("os-3").version("3.0.0")));
        let builder = testing::rollout("os-3").priority(9);
        rows.rollout(&support::rollout(2, builder, 1));
    });
    let mut asks = check_in("d", 1, "os", "1.0.0");
    let fresh = tell(&state, Mode::Fresh, &asks);
    assert_eq!(
        fresh.grant.unwrap().exposure.rollout,
        Some(RolloutId(2)),
        "the greater priority"
    );
    asks.echoes.push(verified(&token(&asks)));
    let held = tell(&state, Mode::Fresh, &asks);
    assert!(
        codes(&held).contains(&"exposure_open"),
        "{:?}",
        held.reasons
    );
}

#[test]
fn a_long_way_goes_over_stepping_stones() {
    let state = small(|rows, _| {
        let far = testing::release("os-2")
            .version("2.0.0")
            .upgradable_from(">=1.5.0");
        rows.release(&support::release(far));
        let stone = testing::release("os-1-5")
            .version("1.5.0")
            .upgradable_from(">=1.0.0");
        rows.release(&support::release(stone));
    });
    let index = Index::build(&state);
    let told = |version| {
        let decision = tell(&state, Mode::Fresh, &check_in("d", 1, "os", version));
        let name = decision
            .grant
            .map(|g| index.offer(&g).unwrap().release.to_string());
        (
            name,
            decision.grant.is_some_and(|grant| grant.stepping_stone),
        )
    };
    assert_eq!(told("1.6.0"), (Some("os-2".to_owned()), false));
    assert_eq!(told("1.2.0"), (Some("os-1-5".to_owned()), true));
    assert_eq!(
        told("0.9.0"),
        (Some("os-1".to_owned()), true),
        "two hops to go"
    );
}

#[test]
fn a_full_wave_passes_devices_on_to_the_next_but_credit_does_not() {
    let state = small(|_, rollout| rollout.spec.waves[0].target = Ppm::ALL);
    let index = Index::build(&state);
    struct First(Draw);
    impl tidegate_decision::engine::Budgets for First {
        fn draw(&mut self, pool: tidegate_decision::engine::Pool<'_>, _: LogTime) -> Draw {
            if pool.wave == WaveIndex(0) {
                self.0
            } else {
                Draw::Granted
            }
        }
    }
    let told = |draw| {
        let asks = check_in("d", 1, "os", "1.0.0");
        let decision = decide(
            &index,
            NOW,
            Mode::Fresh,
            &asks,
            &TableOnly,
            &mut First(draw),
        );
        decision
            .grant
            .map(|grant| grant.exposure.wave.0)
            .ok_or(codes(&decision)[0])
    };
    assert_eq!(told(Draw::CapReached), Ok(1));
    assert_eq!(told(Draw::Exhausted), Err("budget_exhausted"));
    assert_eq!(told(Draw::Pending), Err("budget_pending"));
}

#[test]
fn bad_claims_are_answered_none_with_the_reason() {
    let state = small(|_, _| {});
    let unknown = check_in("d", 99, "os", "1.0.0");
    assert_eq!(
        codes(&tell(&state, Mode::Fresh, &unknown)),
        [Reason::UnknownVariant.code()]
    );
    let mut channel = check_in("d", 1, "os", "1.0.0");
    channel.channel = "made-up".parse().unwrap();
    assert_eq!(
        codes(&tell(&state, Mode::Fresh, &channel)),
        ["unknown_channel"]
    );
    let current = check_in("d", 1, "os", "2.0.0");
    assert_eq!(codes(&tell(&state, Mode::Fresh, &current)), ["up_to_date"]);
    let ahead = check_in("d", 1, "os", "3.0.0");
    assert_eq!(codes(&tell(&state, Mode::Fresh, &ahead)), ["running_newer"]);
}

#[test]
fn poll_times_are_spread_over_the_fleet_and_steady_for_a_device() {
    let state = small(|_, _| {});
    let waits: Vec<u64> = (0..200)
        .map(|n| {
            tell(
                &state,
                Mode::Fresh,
                &check_in(&format!("d{n}"), 1, "os", "2.0.0"),
            )
        })
        .map(|decision| decision.retry_after.0)
        .collect();
    let hour = 3_600_000;
    assert!(
        waits
            .iter()
            .all(|wait| (hour / 8 * 7..=hour / 8 * 9).contains(wait))
    );
    assert!(waits.iter().max().unwrap() - waits.iter().min().unwrap() > hour / 5);
}
