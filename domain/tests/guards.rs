//! Floors, recovery images, releases, stops, holds, membership and configuration, case by case.
use tidegate_domain::{
    Examined, Rejection,
    command::*,
    config::{ClusterConfig, Member},
    floor::floor_of,
    guard::{HoldKey, HoldKind, RecoveryImage, Scope, StopCovers, StopScope},
    id::{Millis, NodeId, Pseudonym, Revision, SecurityVersion, StateVersion},
    key::Role,
    testing::{Fleet, component, reason, region, release, scope, traits},
};

fn raise(scope: Scope, to: u64, retire: bool) -> RaiseFloor {
    RaiseFloor {
        scope,
        security_version: SecurityVersion(to),
        reason: reason(),
        retire,
    }
}

fn image(scope: Scope, at: u64) -> DeclareRecoveryImage {
    DeclareRecoveryImage {
        scope,
        image: RecoveryImage {
            release: "factory".parse().expect("a release name"),
            security_version: SecurityVersion(at),
            revision: Revision(0),
        },
    }
}

#[test]
fn of_overlapping_floors_the_highest_binds() {
    let mut fleet = Fleet::new();
    fleet.accept(raise(scope("os", "*"), 2, false));
    fleet.accept(raise(scope("os", "m1/*/*/*"), 5, false));
    fleet.accept(raise(scope("os", "*/*/us/*"), 3, false));
    fleet.accept(raise(scope("app", "*"), 9, false));
    let floor = |variant: &str| floor_of(&fleet.state, &component("os"), &traits(variant)).0;
    assert_eq!(floor("m1/r1/us/none"), 5);
    assert_eq!(floor("m2/r1/us/none"), 3);
    assert_eq!(floor("m2/r1/eu/none"), 2);
    assert_eq!(
        floor_of(&fleet.state, &component("modem"), &traits("m1/r1/us/none")).0,
        0
    );
}

/// FLOOR-1: neither the scope's own row nor what a wider floor already binds can be undercut.
#[test]
fn a_floor_is_only_ever_raised() {
    let mut fleet = Fleet::new();
    fleet.accept(raise(scope("os", "*"), 4, false));
    for to in 0..=4 {
        let refused = Rejection::FloorNotRaised {
            existing: SecurityVersion(4),
            requested: SecurityVersion(to),
        };
        assert_eq!(fleet.refuse(raise(scope("os", "*"), to, false)), refused);
        assert_eq!(
            fleet.refuse(raise(scope("os", "m1/*/*/*"), to, true)),
            refused
        );
    }
    fleet.accept(raise(scope("os", "m1/*/*/*"), 5, false));
}

/// FLOOR-3 from both sides, and the quorum's way out.
#[test]
fn floors_and_recovery_images_never_cross() {
    let mut fleet = Fleet::new();
    fleet.accept(image(scope("os", "m1/*/*/*"), 3));
    fleet.accept(raise(scope("os", "m1/r1/*/*"), 3, false));
    let above = fleet.refuse(raise(scope("os", "*"), 4, false));
    assert!(matches!(
        above,
        Rejection::FloorAboveRecoveryImage {
            existing: SecurityVersion(3),
            ..
        }
    ));
    fleet.accept(raise(scope("os", "m2/*/*/*"), 4, false));
    let below = fleet.refuse(image(scope("os", "*"), 3));
    assert!(matches!(
        below,
        Rejection::BelowFloor {
            existing: SecurityVersion(4),
            ..
        }
    ));
    fleet.accept(raise(scope("os", "*"), 6, true));
    assert!(fleet.state.recovery_images().is_empty());
    fleet.accept(image(scope("os", "m1/*/*/*"), 6));
}

#[test]
fn a_release_is_refused_for_what_is_wrong_with_it() {
    let fleet = Fleet::new();
    let keys = |role, numbers: &[u8]| -> Vec<_> {
        numbers
            .iter()
            .map(|n| fleet.keys.key(role, *n).clone())
            .collect()
    };
    let check = |registration: RegisterRelease, expect: fn(&Rejection) -> bool| {
        let rejection = fleet.clone().refuse(registration);
        assert!(expect(&rejection), "{rejection:?}");
    };
    let sound = || release("os-1");
    let by = |numbers: &[u8]| sound().signed_by(&keys(Role::Release, numbers));
    check(by(&[0]), |w| {
        matches!(
            w,
            Rejection::ReleaseUnderSigned {
                needed: 2,
                found: 1,
                ..
            }
        )
    });
    check(by(&[0, 0]), |w| {
        matches!(w, Rejection::ReleaseSignatureRefused { .. })
    });
    check(by(&[0, 5]), |w| {
        matches!(w, Rejection::ReleaseSignatureRefused { .. })
    });
    let operators = sound().signed_by(&keys(Role::Operator, &[0, 1]));
    check(operators, |w| {
        matches!(w, Rejection::ReleaseSignatureRefused { .. })
    });
    let mut other = by(&[0, 1]);
    other.signatures[1].signature.0[7] ^= 1;
    check(other, |w| {
        matches!(w, Rejection::ReleaseSignatureRefused { .. })
    });
    let mut other = by(&[0, 1]);
    other.manifest.push(0);
    check(other, |w| matches!(w, Rejection::InvalidValue { .. }));
    let invalid = |builder: tidegate_domain::testing::ReleaseBuilder| {
        check(fleet.registration(builder), |w| {
            matches!(w, Rejection::InvalidValue { .. })
        });
    };
    let mut foreign = sound();
    foreign.manifest.origin = "elsewhere.example".to_owned();
    invalid(foreign);
    invalid(sound().only_for(&["*", "m1/*/*/*"]));
    invalid(sound().only_for(&["m1/*/*/*", "m1/*/*/*"]));
    invalid(sound().only_for(&[]));
    invalid(sound().requires("os", ">=1"));
    invalid(sound().requires("app", ">=1").requires("app", "<2"));
    let mut empty = sound();
    empty.manifest.payloads[0].payload.size = 0;
    invalid(empty);
    let mut nowhere = sound();
    nowhere.manifest.payloads[0].payload.urls.clear();
    invalid(nowhere);
    let mut trial = fleet.clone();
    trial.register(sound().only_for(&["m1/r1/*/*", "m1/*/*/*", "*"]));
    let again = trial.registration(sound());
    assert!(matches!(
        trial.refuse(again),
        Rejection::ReleaseExists { .. }
    ));
}

#[test]
fn holds_expire_by_themselves_and_pins_need_their_release() {
    let mut fleet = Fleet::new();
    let key = HoldKey {
        device: Pseudonym([1; 32]),
        component: None,
    };
    let hold = |kind, expires| SetHold {
        key: key.clone(),
        kind,
        reason: reason(),
        expires,
    };
    let soon = fleet.now.after(Millis(10_000));
    let unknown = fleet.refuse(hold(Some(HoldKind::Pin("os-1".parse().unwrap())), soon));
    assert!(matches!(unknown, Rejection::UnknownRelease { .. }));
    let past = hold(Some(HoldKind::Legal), fleet.now);
    assert!(matches!(fleet.refuse(past), Rejection::InvalidValue { .. }));
    fleet.accept(hold(Some(HoldKind::Legal), soon));
    fleet.accept(hold(None, soon));
    assert_eq!(fleet.refuse(hold(None, soon)), Rejection::UnknownHold);
    fleet.accept(hold(Some(HoldKind::Legal), soon));
    fleet.wait(Millis(10_000));
    assert_eq!(fleet.refuse(hold(None, soon)), Rejection::UnknownHold);
    assert!(fleet.state.holds().is_empty());
}

#[test]
fn node_numbers_are_never_used_again() {
    let mut fleet = Fleet::new();
    let member = |id: u64, voter| Member {
        id: NodeId(id),
        address: format!("node-{id}.example:7000"),
        region: region("eu"),
        voter,
        checkpoint_key: None,
    };
    let change = |members: Vec<Member>| ChangeMembership { members };
    fleet.accept(change(vec![
        member(1, true),
        member(2, true),
        member(3, false),
    ]));
    fleet.accept(change(vec![member(1, true), member(3, true)]));
    let refused = |rejection| {
        assert!(
            matches!(rejection, Rejection::BadMembership { .. }),
            "{rejection:?}"
        )
    };
    refused(fleet.refuse(change(vec![member(1, true), member(2, true)])));
    refused(fleet.refuse(change(vec![member(1, false)])));
    refused(fleet.refuse(change(Vec::new())));
    refused(fleet.refuse(change(vec![member(3, true), member(1, true)])));
    let mut twin = member(4, true);
    twin.address = member(1, true).address;
    refused(fleet.refuse(change(vec![member(1, true), twin])));
    let mut stranger = member(4, true);
    stranger.checkpoint_key = Some(fleet.keys.public(Role::Checkpoint, 7));
    refused(fleet.refuse(change(vec![member(1, true), stranger])));
    let mut known = member(4, true);
    known.checkpoint_key = Some(fleet.keys.public(Role::Checkpoint, 0));
    fleet.accept(change(vec![member(1, true), known]));
}

#[test]
fn configuration_stays_in_its_ranges_and_keeps_what_it_promised() {
    let mut fleet = Fleet::new();
    let with = |change: fn(&mut ClusterConfig)| {
        let mut config = ClusterConfig::initial();
        change(&mut config);
        SetClusterConfig { config }
    };
    fn refused(rejection: Rejection) -> &'static str {
        let Rejection::InvalidValue { field, .. } = rejection else {
            panic!("{rejection:?}");
        };
        field.path()
    }
    assert_eq!(
        refused(fleet.refuse(with(|c| c.lease = Millis(0)))),
        "lease"
    );
    assert_eq!(
        refused(fleet.refuse(with(|c| c.lease = Millis(60_001)))),
        "lease"
    );
    assert_eq!(
        refused(fleet.refuse(with(|c| c.drift_margin = Millis(0)))),
        "drift_margin"
    );
    assert_eq!(
        refused(fleet.refuse(with(|c| c.drift_margin = c.lease))),
        "drift_margin"
    );
    assert_eq!(refused(fleet.refuse(with(|c| c.credit = 0))), "credit");
    assert_eq!(
        refused(fleet.refuse(with(|c| c.root_interval = 0))),
        "root_interval"
    );
    assert_eq!(
        refused(fleet.refuse(with(|c| c.silence.model = Millis(0)))),
        "silence.model"
    );
    fleet.register(release("os-1"));
    fleet.register(release("os-2"));
    let below_use = with(|c| c.limits.releases_max = 1);
    assert_eq!(refused(fleet.refuse(below_use)), "limits.releases_max");
    fleet.accept(with(|c| c.limits.releases_max = 2));
    let third = fleet.registration(release("os-3"));
    assert!(matches!(
        fleet.refuse(third),
        Rejection::LimitReached { max: 2, .. }
    ));
}

/// A build that does not know the next rules agrees about the entry that brings them, and stops
/// before the next one; the door refuses to propose them.
#[test]
fn unknown_rules_stop_this_build_and_no_entry_earlier() {
    let mut fleet = Fleet::new();
    let to = |version| RaiseStateVersion {
        version: StateVersion(version),
    };
    for wrong in [0, 1, 3] {
        assert!(matches!(
            fleet.refuse(to(wrong)),
            Rejection::BadStateVersion { .. }
        ));
    }
    let envelope = fleet.sealed(to(2)).to_bytes();
    let at_the_door = tidegate_domain::admit(&fleet.state, &Examined::of(&envelope), fleet.stamp());
    assert!(matches!(
        at_the_door,
        Err(Rejection::BadStateVersion { .. })
    ));
    fleet.apply(&envelope);
    assert_eq!(fleet.state.unknown_version(), Some(StateVersion(2)));
    let next = std::panic::catch_unwind(move || fleet.tick());
    assert!(next.is_err());
}

/// What others used up is no reason to refuse who stops harm, lifts a stop or takes trust away.
#[test]
fn when_ids_run_out_only_what_is_urgent_is_accepted() {
    let mut fleet = Fleet::new();
    let mut config = fleet.state.config().clone();
    config.limits.commands_max = u32::try_from(fleet.state.spent().len()).expect("few");
    fleet.accept(SetClusterConfig { config });
    let variant = RegisterVariant {
        traits: traits("m9/r1/eu/none"),
    };
    let refused = fleet.refuse(variant);
    assert!(
        matches!(refused, Rejection::LimitReached { .. }),
        "{refused}"
    );
    let stop = fleet.accept(EmergencyStop {
        scope: StopScope::Fleet,
        covers: StopCovers::Offers,
        reason: reason(),
    });
    assert!(!stop.is_empty());
    let stop = *fleet.state.stops().last().expect("a stop").0;
    fleet.accept(LiftStop {
        stop,
        reason: reason(),
    });
    let rotation = fleet.rotation(&[1, 2, 3]);
    fleet.accept(rotation);
}
