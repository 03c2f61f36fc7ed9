//! One fault of a value, and one limit, of every kind.
use crate::{
    id::{LogTime, Millis, Ppm, RolloutId},
    key::Role,
    rejection::{Limit, ValueFault},
    testing::{channel, component},
};

pub(super) fn faults() -> Vec<ValueFault> {
    let (value, min, max) = (0, 1, 9);
    let half = Ppm::HALF;
    vec![
        ValueFault::Range { value, min, max },
        ValueFault::Duration {
            value: Millis(0),
            min: Millis(1),
            max: Millis(9),
        },
        ValueFault::Share {
            value: Ppm::ALL,
            max: half,
        },
        ValueFault::Bytes { value, min, max },
        ValueFault::Unsorted,
        ValueFault::Twice,
        ValueFault::NotCanonical,
        ValueFault::OtherOrigin {
            existing: "named-here".to_owned(),
            requested: "named-there".to_owned(),
        },
        ValueFault::NoRevision { kind: 0x0040 },
        ValueFault::NoSigner,
        ValueFault::RevokedBefore,
        ValueFault::Unreachable,
        ValueFault::RequiredTwice {
            component: component("named-os"),
        },
        ValueFault::TooEarly {
            from: LogTime(2),
            now: LogTime(1),
        },
        ValueFault::Past { now: LogTime(1) },
        ValueFault::Window,
        ValueFault::Freeze,
        ValueFault::Nobody,
        ValueFault::TargetFalls {
            value: half,
            before: Ppm::ALL,
        },
        ValueFault::CapFalls {
            value,
            before: None,
        },
        ValueFault::CapFalls {
            value,
            before: Some(3),
        },
        ValueFault::NotCritical,
        ValueFault::NowhereToGo,
        ValueFault::OverriddenBefore,
        ValueFault::NotInAudience,
        ValueFault::ExcludedBefore,
        ValueFault::ExpeditedBefore,
        ValueFault::Control,
        ValueFault::OtherJournal,
        ValueFault::OtherRoot,
        ValueFault::Promised {
            rollout: RolloutId(1),
        },
        ValueFault::UnknownChannel {
            channel: channel("named-beta"),
        },
        ValueFault::ChannelExists,
    ]
}

pub(super) fn limits() -> Vec<Limit> {
    vec![
        Limit::CommandIds,
        Limit::Keys {
            role: Role::Release,
        },
        Limit::Releases,
        Limit::Variants,
        Limit::Rollouts,
        Limit::Bars,
        Limit::RollbackRules,
        Limit::Floors,
        Limit::RecoveryImages,
        Limit::Stops,
        Limit::RegionPolicies,
        Limit::Holds,
        Limit::Sessions,
        Limit::ReportTallies,
        Limit::Baselines,
        Limit::Channels,
        Limit::Retired,
        Limit::Exceptions,
    ]
}
