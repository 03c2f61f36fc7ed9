//! Release channels: known only once registered, and settled each for itself.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
use tidegate_domain::{
    baseline::baselines,
    command::{
        AdvanceWave, CompleteRollout, CreateRollout, ExcludeVariant, Operation, RegisterChannel,
        RegisterVariant, Tally,
    },
    id::{Channel, RolloutId, SessionId, VariantId, WaveIndex},
    node::PoolKey,
    rejection::{Field, Limit, Rejection, TallyFault, ValueFault},
    rollout::RollbackTarget,
    tally::{Arm, Counts, MEASURED_MAX, Stratum, TallyKey},
    testing::{
        Fleet, RolloutBuilder, channel, component, reason, release, rollout, selector, stratum,
        traits,
    },
};

const VARIANT: &str = "m1/r1/eu/none";

/// Two variants, the channel `beta`, four releases.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    for variant in [VARIANT, "m2/r1/eu/none"] {
        let traits = traits(variant);
        fleet.accept(RegisterVariant { traits });
    }
    register(&mut fleet, "beta");
    for name in ["r-1", "r-2", "r-3", "r-4"] {
        fleet.register(release(name));
    }
    fleet
}

fn register(fleet: &mut Fleet, name: &str) {
    let channel = channel(name);
    fleet.accept(RegisterChannel { channel });
}

fn completed(fleet: &mut Fleet, builder: RolloutBuilder) -> RolloutId {
    let rollout = fleet.launch(builder);
    pass(fleet, rollout);
    fleet.accept(CompleteRollout { rollout });
    rollout
}

/// Says that the only wave is good.
fn pass(fleet: &mut Fleet, rollout: RolloutId) {
    fleet.accept(AdvanceWave {
        rollout,
        wave: WaveIndex(0),
        reason: reason(),
    });
}

/// The release that the first variant has settled on, on a channel.
fn settled(fleet: &Fleet, on: &str) -> Option<String> {
    let os = component("os");
    let own = baselines(&fleet.state, &os)
        .filter(|(key, _)| key.matches(&traits(VARIANT), &channel(on)))
        .filter(|(_, baseline)| !baseline.excluded.contains(&VariantId(1)));
    let (_, latest) = own.max_by_key(|(_, baseline)| baseline.revision)?;
    Some(latest.release.to_string())
}

fn on(channel_name: &str) -> Stratum {
    Stratum {
        channel: channel(channel_name),
        ..stratum(1)
    }
}

fn key(fleet: &Fleet, rollout: RolloutId, arm: Arm, stratum: Stratum) -> TallyKey {
    TallyKey {
        rollout,
        wave: WaveIndex(0),
        stratum,
        cohort: fleet.now.cohort(),
        arm,
    }
}

fn report(key: TallyKey, counts: Counts) -> Operation {
    Operation::Report {
        tallies: vec![Tally { key, counts }],
        anchor: None,
    }
}

fn operations(operations: u64, errors: u64) -> Counts {
    Counts {
        operations,
        errors,
        ..Counts::default()
    }
}

#[test]
fn a_channel_is_registered_once_and_the_default_one_is_there() {
    let mut fleet = fleet();
    for known in ["beta", Channel::DEFAULT] {
        let channel = channel(known);
        let (field, at, fault) = (Field::Channel, None, ValueFault::ChannelExists);
        let refused = fleet.refuse(RegisterChannel { channel });
        assert_eq!(refused, Rejection::InvalidValue { field, at, fault });
    }
    for number in 1..63 {
        register(&mut fleet, &format!("ring-{number}"));
    }
    let (what, max) = (Limit::Channels, 63);
    let channel = channel("one-too-many");
    let refused = fleet.refuse(RegisterChannel { channel });
    assert_eq!(refused, Rejection::LimitReached { what, max });
}

#[test]
fn nothing_is_for_a_channel_that_nobody_registered() {
    let mut fleet = fleet();
    let unknown = |field, at| Rejection::InvalidValue {
        field,
        at,
        fault: ValueFault::UnknownChannel {
            channel: channel("canary"),
        },
    };
    let spec = rollout("r-1").on_channels(&["beta", "canary"]).wave(100, 1);
    let refused = fleet.refuse(CreateRollout { spec: spec.spec() });
    assert_eq!(refused, unknown(Field::AudienceChannels, Some(1)));
    let id = fleet.launch(rollout("r-1").wave(100, 1));
    let session = fleet.open_session();
    let pool = PoolKey {
        rollout: id,
        wave: WaveIndex(0),
        stratum: on("canary"),
        arm: Arm::Treatment,
    };
    let grant = Operation::Grant { pool, wanted: 1 };
    let refused = unknown(Field::PoolChannel, None);
    assert_eq!(fleet.operate(session, grant), Err(refused));
    let told = report(
        key(&fleet, id, Arm::Control, on("canary")),
        operations(9, 0),
    );
    let (rollout, fault) = (id, TallyFault::UnknownChannel);
    let refused = Rejection::TallyInconsistent { rollout, fault };
    assert_eq!(fleet.operate(session, told), Err(refused));
}

#[test]
fn a_completed_rollout_sets_the_baseline_of_the_channels_that_it_reached() {
    let mut fleet = fleet();
    completed(&mut fleet, rollout("r-1").wave(100, 0));
    assert_eq!(settled(&fleet, "stable").as_deref(), Some("r-1"));
    assert_eq!(settled(&fleet, "beta").as_deref(), Some("r-1"));
    completed(
        &mut fleet,
        rollout("r-2").on_channels(&["beta"]).wave(100, 0),
    );
    assert_eq!(settled(&fleet, "stable").as_deref(), Some("r-1"));
    assert_eq!(settled(&fleet, "beta").as_deref(), Some("r-2"));
    // A channel that comes to be later starts with what is for all.
    register(&mut fleet, "canary");
    assert_eq!(settled(&fleet, "canary").as_deref(), Some("r-1"));
    completed(&mut fleet, rollout("r-3").wave(100, 0));
    for channel in ["stable", "beta", "canary"] {
        assert_eq!(settled(&fleet, channel).as_deref(), Some("r-3"));
    }
    // Part of a channel settles nothing.
    completed(
        &mut fleet,
        rollout("r-4").on_channels(&["beta"]).wave(50, 0),
    );
    assert_eq!(settled(&fleet, "beta").as_deref(), Some("r-3"));
}

#[test]
fn devices_go_back_to_the_baseline_of_their_channel() {
    let mut fleet = fleet();
    completed(
        &mut fleet,
        rollout("r-1").on_channels(&["stable"]).wave(100, 0),
    );
    let to_baseline = |mut spec: tidegate_domain::rollout::RolloutSpec| {
        spec.rollback.target = RollbackTarget::Baseline;
        CreateRollout { spec }
    };
    let all = rollout("r-3").wave(100, 0).spec();
    let refused = fleet.refuse(to_baseline(all.clone()));
    assert_eq!(refused, Rejection::NoRollbackTarget, "none on beta");
    completed(
        &mut fleet,
        rollout("r-2").on_channels(&["beta"]).wave(100, 0),
    );
    fleet.accept(to_baseline(all));
    let (_, created) = fleet.state.rollouts().last().unwrap();
    let target = |on: &str| {
        let target = created.rollback.target(&traits(VARIANT), &channel(on));
        target.map(ToString::to_string)
    };
    assert_eq!(target("stable").as_deref(), Some("r-1"));
    assert_eq!(target("beta").as_deref(), Some("r-2"));
    assert_eq!(target("canary"), None);
    let only = rollout("r-3").on_channels(&["beta"]).wave(100, 0).spec();
    fleet.accept(to_baseline(only));
    let (_, created) = fleet.state.rollouts().last().unwrap();
    let rules = created.rollback.targets.iter();
    let rules: Vec<_> = rules.map(|rule| rule.release.to_string()).collect();
    assert_eq!(rules, ["r-2"], "what stable runs is no way back on beta");
}

#[test]
fn an_excluded_variant_keeps_what_it_had_on_each_channel() {
    let mut fleet = fleet();
    completed(&mut fleet, rollout("r-1").wave(100, 0));
    completed(
        &mut fleet,
        rollout("r-2").on_channels(&["beta"]).wave(100, 0),
    );
    let id = fleet.launch(rollout("r-3").on_channels(&["beta"]).wave(100, 0));
    fleet.accept(ExcludeVariant {
        rollout: id,
        variant: VariantId(1),
        reason: reason(),
    });
    pass(&mut fleet, id);
    fleet.accept(CompleteRollout { rollout: id });
    assert_eq!(settled(&fleet, "beta").as_deref(), Some("r-2"));
    assert_eq!(settled(&fleet, "stable").as_deref(), Some("r-1"));
    let os = component("os");
    let rest = baselines(&fleet.state, &os)
        .filter(|(key, _)| key.selector == selector("*") && key.channel == Some(channel("beta")));
    let rest: Vec<_> = rest.map(|(_, b)| b.release.to_string()).collect();
    assert_eq!(rest, ["r-3"]);
}

#[test]
fn who_exposed_nobody_measures_nothing() {
    let mut fleet = fleet();
    let id = fleet.launch(rollout("r-1").on_channels(&["stable"]).wave(100, 1));
    let session = fleet.open_session();
    let says = |fleet: &mut Fleet, session: SessionId, key: &TallyKey, counts: Counts| {
        fleet.does(session, report(key.clone(), counts));
        fleet.state.cohorts().get(key).cloned().unwrap_or_default()
    };
    let treated = key(&fleet, id, Arm::Treatment, on("stable"));
    let control = key(&fleet, id, Arm::Control, on("stable"));
    for key in [&treated, &control] {
        let counted = says(&mut fleet, session, key, operations(1_000, 1_000));
        assert_eq!(counted, Counts::default());
    }
    let pool = treated.pool().unwrap();
    fleet.does(session, Operation::Grant { pool, wanted: 1 });
    let exposed = Counts {
        exposed: 1,
        ..operations(10, 1)
    };
    assert_eq!(
        says(&mut fleet, session, &treated, exposed.clone()),
        exposed
    );
    // As much as one device may have measured, and no more.
    let counted = says(&mut fleet, session, &treated, operations(MEASURED_MAX, 0));
    assert_eq!(counted, exposed);
    let counted = says(
        &mut fleet,
        session,
        &treated,
        operations(MEASURED_MAX - 10, 0),
    );
    assert_eq!((counted.operations, counted.errors), (MEASURED_MAX, 1));
    let counted = says(&mut fleet, session, &control, operations(70, 7));
    assert_eq!(counted, operations(70, 7), "compared with who was exposed");
    // Nobody on beta is compared: the rollout is not for them.
    let beta = key(&fleet, id, Arm::Control, on("beta"));
    let counted = says(&mut fleet, session, &beta, operations(70, 7));
    assert_eq!(counted, Counts::default());
}

#[test]
fn many_tallies_at_once_measure_no_more_of_control_than_one() {
    let mut fleet = fleet();
    let id = fleet.launch(rollout("r-1").wave(100, 1));
    let session = fleet.open_session();
    let treated = key(&fleet, id, Arm::Treatment, on("stable"));
    let pool = treated.pool().unwrap();
    fleet.does(session, Operation::Grant { pool, wanted: 1 });
    let exposed = Counts {
        exposed: 1,
        ..Counts::default()
    };
    fleet.does(session, report(treated, exposed));
    let of = |variant| Stratum {
        variant: VariantId(variant),
        ..on("stable")
    };
    let tally = |stratum| Tally {
        key: key(&fleet, id, Arm::Control, stratum),
        counts: operations(MEASURED_MAX, 0),
    };
    let tallies = vec![tally(of(1)), tally(of(2))];
    let both = Operation::Report {
        tallies,
        anchor: None,
    };
    fleet.does(session, both);
    let measured = |fleet: &Fleet| {
        let rows = fleet.state.cohorts().iter();
        let control = rows.filter(|(key, _)| key.arm == Arm::Control);
        control.map(|(_, counts)| counts.operations).sum::<u64>()
    };
    assert_eq!(measured(&fleet), MEASURED_MAX);
    // Nobody is compared with a variant that is out.
    fleet.accept(ExcludeVariant {
        rollout: id,
        variant: VariantId(1),
        reason: reason(),
    });
    let told = report(key(&fleet, id, Arm::Control, of(1)), operations(1, 0));
    fleet.does(session, told);
    assert_eq!(measured(&fleet), MEASURED_MAX);
}
