//! The engine against a decision without an index, and against its invariants, on random snapshots.
// Pure, so that the simulator can change nothing.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use proptest::prelude::*;
use support::{NOW, Plenty, Whim, naive, random};
use tidegate_decision::engine::{Decision, Index, Mode, NoBudgets, TableOnly, Verdict, decide};
use tidegate_domain::{
    State,
    bucket::{self, bucket},
    floor::floor_of,
    guard::StopScope,
    key::{KeyStatus, Role},
    release::Release,
    rollout::Life,
};

fn given<'a>(state: &'a State, index: &Index, decision: &Decision) -> Option<&'a Release> {
    let offer = index.offer(decision.grant.as_ref()?).unwrap();
    Some(state.releases().get(offer.release).unwrap())
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![3 => Just(Mode::Fresh), 1 => Just(Mode::Stale)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn the_index_changes_no_answer(seed: u64, mode in any_mode(), whim: u64) {
        let state = random::state(seed);
        let index = Index::build(&state);
        for device in 0..64 {
            let check_in = random::any_check_in(seed.wrapping_add(device * 7_919));
            let decision = decide(&index, NOW, mode, &check_in, &TableOnly, &mut Whim(whim));
            let naive = naive::decide(&state, NOW, mode, &check_in, &mut Whim(whim));
            let exposure = decision.grant.map(|grant| grant.exposure);
            let told = naive::Told {
                verdict: decision.verdict,
                release: given(&state, &index, &decision).map(|release| release.name().clone()),
                rollout: exposure.and_then(|exposure| exposure.rollout),
                wave: exposure.map(|exposure| exposure.wave),
            };
            prop_assert_eq!(told, naive, "{:?} {:?}", check_in, decision);
        }
    }

    /// FLOOR-2, EPOCH-2, WAVE-2, HALT-2, stops, and never another variant's payload.
    #[test]
    fn whatever_is_given_is_allowed(seed: u64, mode in any_mode()) {
        let state = random::state(seed);
        let index = Index::build(&state);
        for device in 0..64 {
            let check_in = random::any_check_in(seed.wrapping_add(device * 104_729));
            let decision = decide(&index, NOW, mode, &check_in, &TableOnly, &mut Plenty::default());
            prop_assert!(!decision.reasons.as_slice().is_empty());
            if let Some(release) = given(&state, &index, &decision) {
                is_allowed(&state, &index, &check_in, &decision, release)?;
            }
        }
    }

    /// DEC-1.
    #[test]
    fn the_same_inputs_give_the_same_answer(seed: u64, mode in any_mode()) {
        let state = random::state(seed);
        let (index, again) = (Index::build(&state), Index::build(&state.clone()));
        for device in 0..32 {
            let check_in = random::any_check_in(seed.wrapping_add(device));
            let one = decide(&index, NOW, mode, &check_in, &TableOnly, &mut Plenty::default());
            let two = decide(&again, NOW, mode, &check_in, &TableOnly, &mut Plenty::default());
            prop_assert_eq!(one, two);
        }
    }

    /// An explanation draws nothing, and changes no answer but for want of admissions.
    #[test]
    fn who_holds_no_admissions_offers_only_what_is_echoed(seed: u64) {
        let state = random::state(seed);
        let index = Index::build(&state);
        for device in 0..32 {
            let check_in = random::any_check_in(seed.wrapping_add(device));
            let told = decide(&index, NOW, Mode::Fresh, &check_in, &TableOnly, &mut NoBudgets);
            prop_assert!(told.grant.is_none_or(|grant| grant.exposure.echo.is_some()));
        }
    }
}

fn is_allowed(
    state: &State,
    index: &Index,
    check_in: &tidegate_decision::engine::CheckIn,
    decision: &Decision,
    release: &Release,
) -> Result<(), TestCaseError> {
    let variant = state.variants().get(&decision.variant.unwrap()).unwrap();
    let manifest = &release.manifest;
    let offer = index.offer(decision.grant.as_ref().unwrap()).unwrap();
    let running = check_in
        .components
        .iter()
        .find(|r| r.component == manifest.component)
        .unwrap();
    let returns = decision.verdict == Verdict::Return;

    let floor = floor_of(state, &manifest.component, &variant.traits);
    prop_assert!(manifest.security_version >= floor, "FLOOR-2");
    prop_assert!(
        running.floor.is_none_or(|f| manifest.security_version >= f),
        "FLOOR-2"
    );
    prop_assert!(
        returns || manifest.security_version >= running.security_version,
        "FLOOR-2"
    );

    let role = state.keys().role(Role::Release).unwrap();
    let good = |status| matches!(status, Some(KeyStatus::Trusted | KeyStatus::Retired));
    let signers = release
        .signatures
        .keys()
        .filter(|key| good(role.status(key)))
        .count();
    prop_assert!(signers >= usize::from(role.threshold), "EPOCH-2");

    prop_assert_eq!(
        Some(offer.payload),
        release.payload_for(&variant.traits),
        "another variant"
    );
    prop_assert_eq!(offer.manifest.as_ref(), release.manifest_bytes.as_slice());

    for (_, bar) in state.bars().iter() {
        let audience = &bar.audience;
        let covered = audience.matches(&variant.traits)
            && (audience.channels.is_empty() || audience.channels.contains(&check_in.channel));
        prop_assert!(bar.release != manifest.name || !covered, "HALT-2");
    }
    for (_, stop) in state.stops().iter() {
        let binds = if returns {
            stop.covers.returns()
        } else {
            stop.covers.offers()
        };
        prop_assert!(!binds || stop.scope != StopScope::Fleet, "stopped");
    }
    let exposure = decision.grant.unwrap().exposure;
    if let (Some(id), false) = (exposure.rollout, returns) {
        let rollout = state.rollouts().get(&id).unwrap();
        prop_assert_eq!(&rollout.life, &Life::Running);
        if exposure.echo.is_none() {
            let (wave, progress) = rollout.wave(exposure.wave).unwrap();
            let place = bucket(&rollout.salt, check_in.device.as_str());
            prop_assert!(progress.opened.is_some(), "WAVE-1");
            prop_assert!(bucket::is_in(wave, &variant.traits, place), "WAVE-2");
        }
    }
    Ok(())
}
