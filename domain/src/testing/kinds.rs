//! One command of every kind, for tests that must leave none out.
use super::{Fleet, channel, reason, region, release, rollout, scope, stratum, traits};
use crate::{
    command::*,
    config::ClusterConfig,
    guard::{HoldKey, RecoveryImage, RegionPolicy, StopCovers, StopScope},
    id::{
        Instance, Pseudonym, Revision, RolloutId, SecurityVersion, Sequence, SessionId,
        StateVersion, StopId, VariantId, WaveIndex,
    },
    key::Role,
    node::PoolKey,
    tally::Arm,
};

/// One command of every kind, about the first of everything, whether it is there or not.
#[allow(clippy::too_many_lines, reason = "a list")]
pub fn every_kind(fleet: &Fleet) -> Vec<Command> {
    let rollout_id = RolloutId(1);
    let session = SessionId(1);
    let pool = PoolKey {
        rollout: rollout_id,
        wave: WaveIndex(0),
        stratum: stratum(1),
        arm: Arm::Treatment,
    };
    let key = fleet.keys.public(Role::Release, 0);
    let name = || "os-1".parse().expect("a release name");
    let reason = reason();
    let policy = RegionPolicy {
        offers_allowed: true,
        metered_allowed: true,
        battery_min_percent: 0,
        maintenance: Vec::new(),
        freezes: Vec::new(),
        revision: Revision(0),
    };
    let image = RecoveryImage {
        release: name(),
        security_version: SecurityVersion(1),
        revision: Revision(0),
    };
    let hold = HoldKey {
        device: Pseudonym([1; 32]),
        component: None,
    };
    vec![
        fleet.rotation(&[1, 2, 3]).into(),
        RevokeKey {
            key,
            reason: reason.clone(),
            strand: true,
        }
        .into(),
        fleet.registration(release("os-1")).into(),
        AddReleaseSignatures {
            release: name(),
            signatures: Vec::new(),
        }
        .into(),
        RevokeRelease {
            release: name(),
            reason: reason.clone(),
        }
        .into(),
        RegisterVariant {
            traits: traits("m1/r1/eu/none"),
        }
        .into(),
        DeclareRecoveryImage {
            scope: scope("os", "*"),
            image,
        }
        .into(),
        RaiseFloor {
            scope: scope("os", "*"),
            security_version: SecurityVersion(1),
            reason: reason.clone(),
            retire: false,
        }
        .into(),
        RegisterChannel {
            channel: channel("beta"),
        }
        .into(),
        CreateRollout {
            spec: rollout("os-1").spec(),
        }
        .into(),
        ApproveRollout {
            rollout: rollout_id,
        }
        .into(),
        StartRollout {
            rollout: rollout_id,
        }
        .into(),
        AdvanceWave {
            rollout: rollout_id,
            wave: WaveIndex(0),
            reason: reason.clone(),
        }
        .into(),
        PauseRollout {
            rollout: rollout_id,
            reason: reason.clone(),
        }
        .into(),
        ResumeRollout {
            rollout: rollout_id,
            reason: reason.clone(),
        }
        .into(),
        HaltRollout {
            rollout: rollout_id,
            reason: reason.clone(),
        }
        .into(),
        RollBack {
            rollout: rollout_id,
            reason: reason.clone(),
        }
        .into(),
        CompleteRollout {
            rollout: rollout_id,
        }
        .into(),
        AmendRollout {
            rollout: rollout_id,
            spec: rollout("os-1").spec(),
        }
        .into(),
        ExcludeVariant {
            rollout: rollout_id,
            variant: VariantId(1),
            reason: reason.clone(),
        }
        .into(),
        ExpediteRollout {
            rollout: rollout_id,
            reason: reason.clone(),
        }
        .into(),
        EmergencyStop {
            scope: StopScope::Fleet,
            covers: StopCovers::Both,
            reason: reason.clone(),
        }
        .into(),
        LiftStop {
            stop: StopId(1),
            reason: reason.clone(),
        }
        .into(),
        SetRegionPolicy {
            region: region("eu"),
            policy,
        }
        .into(),
        SetHold {
            key: hold,
            kind: None,
            reason: reason.clone(),
            expires: fleet.now,
        }
        .into(),
        OpenSession {
            region: region("eu"),
            address: "d:1".to_owned(),
        }
        .into(),
        WriteOffBudget { session, reason }.into(),
        AdvanceSession {
            session,
            instance: Instance(1),
            sequence: Sequence(1),
            operations: vec![
                Operation::Report {
                    tallies: Vec::new(),
                    anchor: None,
                },
                Operation::Return {
                    pool: pool.clone(),
                    unused: 1,
                },
                Operation::Grant { pool, wanted: 1 },
                Operation::Close,
            ],
        }
        .into(),
        Tick {}.into(),
        ChangeMembership {
            members: Vec::new(),
        }
        .into(),
        SetClusterConfig {
            config: ClusterConfig::initial(),
        }
        .into(),
        RaiseStateVersion {
            version: StateVersion(9),
        }
        .into(),
    ]
}
