//! Decisions on membership, configuration and the state version.
use super::{Decision, check_duration, check_range, invalid};
use crate::{
    apply::Context,
    command::{ChangeMembership, RaiseStateVersion, SetClusterConfig},
    config::{ClusterConfig, Limits, Member},
    event::Event,
    id::{Millis, Ppm, StateVersion},
    key::{KeyStatus, Role},
    rejection::{Field, MembershipFault, Rejection, ValueFault},
    release::SilenceHorizons,
    state::State,
};
use std::collections::BTreeSet;

const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 3_600 * SECOND;
/// Longest address of a node, in bytes.
const ADDRESS_BYTES_MAX: usize = 256;
/// Most store nodes, learners included.
const MEMBERS_MAX: usize = 64;

pub(super) fn change_membership(
    state: &State,
    arguments: &ChangeMembership,
    _context: &Context,
) -> Decision {
    let ChangeMembership { members } = arguments;
    let refuse = |fault| Err(Rejection::BadMembership { fault });
    if members.len() > MEMBERS_MAX {
        let (count, max) = (members.len() as u64, MEMBERS_MAX as u64);
        return refuse(MembershipFault::TooMany { count, max });
    }
    if !members.is_sorted_by(|a, b| a.id < b.id) {
        return refuse(MembershipFault::Unsorted);
    }
    if !members.iter().any(|member| member.voter) {
        return refuse(MembershipFault::NoVoter);
    }
    let before = state.membership();
    let mut addresses = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for member in members {
        let Member {
            id: node,
            address,
            region: _,
            voter: _,
            checkpoint_key,
        } = member;
        let node = *node;
        let known = before.members.iter().any(|known| known.id == node);
        if !known && node <= before.last_node {
            return refuse(MembershipFault::NumberUsed { node });
        }
        if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
            let (bytes, max) = (address.len() as u64, ADDRESS_BYTES_MAX as u64);
            return refuse(MembershipFault::AddressLength { node, bytes, max });
        }
        if !addresses.insert(address) {
            return refuse(MembershipFault::AddressTwice { node });
        }
        if let Some(key) = *checkpoint_key {
            let role = state.keys().role(Role::Checkpoint);
            if role.and_then(|role| role.status(&key)) != Some(KeyStatus::Trusted) {
                return refuse(MembershipFault::NoCheckpointKey { node, key });
            }
            if !keys.insert(key) {
                return refuse(MembershipFault::KeyTwice { node, key });
            }
        }
    }
    Ok(vec![Event::MembershipChanged {
        members: members.clone(),
    }])
}

/// Ranges first, then promises that stand: a limit may not fall below what there is, nor a silence
/// horizon shrink while a rollout lives, whose exposures were promised the longer one. Leases,
/// offers and budgets that are out keep the terms they were given.
pub(super) fn set_config(
    state: &State,
    arguments: &SetClusterConfig,
    context: &Context,
) -> Decision {
    let SetClusterConfig { config } = arguments;
    check_ranges(config)?;
    check_limits(state, &config.limits)?;
    let (before, after) = (&state.config().silence, &config.silence);
    let horizons = [
        (Field::SilenceFirmware, before.firmware, after.firmware),
        (Field::SilenceModel, before.model, after.model),
        (Field::SilenceConfig, before.config, after.config),
    ];
    let shorter = horizons
        .into_iter()
        .find_map(|(field, before, after)| (after < before).then_some(field));
    if let Some(shorter) = shorter
        && let Some(rollout) = state.derived.live_rollouts.first()
    {
        let fault = ValueFault::Promised { rollout: *rollout };
        return Err(invalid(shorter, fault));
    }
    Ok(vec![Event::ClusterConfigSet(Box::new(ClusterConfig {
        revision: context.revision(),
        ..config.clone()
    }))])
}

fn check_ranges(config: &ClusterConfig) -> Result<(), Rejection> {
    let ClusterConfig {
        lease,
        drift_margin,
        stale_max,
        silence,
        report_interval,
        offer_ttl,
        credit,
        holdout,
        poll_interval,
        root_interval,
        limits: _,
        revision: _,
    } = config;
    let SilenceHorizons {
        firmware,
        model,
        config,
    } = silence;
    let lasts =
        |field, value: &Millis, min, max| check_duration(field, *value, Millis(min), Millis(max));
    lasts(Field::Lease, lease, SECOND, 60 * SECOND)?;
    // A clock may be off by a hundredth at least, and a lease must leave time to be of use.
    let (least, most) = (lease.0 / 100, lease.0 / 2);
    lasts(Field::DriftMargin, drift_margin, least, most)?;
    lasts(Field::StaleMax, stale_max, lease.0, 30 * DAY)?;
    for (field, horizon) in [
        (Field::SilenceFirmware, firmware),
        (Field::SilenceModel, model),
        (Field::SilenceConfig, config),
    ] {
        lasts(field, horizon, SECOND, 90 * DAY)?;
    }
    lasts(Field::ReportInterval, report_interval, 100, 600 * SECOND)?;
    lasts(Field::OfferTtl, offer_ttl, SECOND, 7 * DAY)?;
    check_range(Field::Credit, *credit, 1, 1_000_000_000)?;
    if *holdout > Ppm::HALF {
        let (value, max) = (*holdout, Ppm::HALF);
        return Err(invalid(Field::Holdout, ValueFault::Share { value, max }));
    }
    lasts(Field::PollInterval, poll_interval, SECOND, 7 * DAY)?;
    check_range(Field::RootInterval, *root_interval, 1, 1 << 20)
}

/// Each limit is between what there is and a ceiling that keeps `apply` bounded.
fn check_limits(state: &State, limits: &Limits) -> Result<(), Rejection> {
    let Limits {
        releases_max,
        rollouts_max,
        waves_max,
        variants_max,
        sessions_max,
        holds_max,
        stops_max,
        commands_max,
        scopes_max,
        report_tallies_max,
    } = *limits;
    let scopes = state.floors().len();
    let scopes = scopes
        .max(state.baselines().len())
        .max(state.recovery_images().len());
    let scopes = scopes.max(state.region_policies().len());
    let live = state.derived.live_rollouts.len();
    let waves = state
        .rollouts()
        .iter()
        .map(|(_, rollout)| rollout.waves.len())
        .max();
    for (field, limit, used, ceiling) in [
        (
            Field::ReleasesMax,
            releases_max,
            state.releases().len(),
            1_000_000,
        ),
        (Field::RolloutsMax, rollouts_max, live, 10_000),
        (
            Field::WavesMax,
            u32::from(waves_max),
            waves.unwrap_or(0),
            256,
        ),
        (
            Field::VariantsMax,
            variants_max,
            state.variants().len(),
            1_000_000,
        ),
        (
            Field::SessionsMax,
            sessions_max,
            state.sessions().len(),
            65_536,
        ),
        (Field::HoldsMax, holds_max, state.holds().len(), 10_000_000),
        (Field::StopsMax, stops_max, state.stops().len(), 10_000),
        (
            Field::CommandsMax,
            commands_max,
            state.spent().len(),
            1_000_000_000,
        ),
        (Field::ScopesMax, scopes_max, scopes, 1_000_000),
        (Field::ReportTalliesMax, report_tallies_max, 0, 100_000),
    ] {
        check_range(field, u64::from(limit), (used as u64).max(1), ceiling)?;
    }
    Ok(())
}

/// One step at a time. Whether this build knows the new rules is asked at the door, not here:
/// builds that disagree about it must still agree about this entry.
pub(super) fn raise_version(
    state: &State,
    arguments: &RaiseStateVersion,
    _context: &Context,
) -> Decision {
    let RaiseStateVersion { version } = arguments;
    let existing = state.meta().version;
    if *version != StateVersion(existing.0.saturating_add(1)) {
        return Err(Rejection::BadStateVersion {
            existing,
            requested: *version,
        });
    }
    Ok(vec![Event::StateVersionRaised { version: *version }])
}
