//! Decisions on membership, configuration and the state version.
use super::{Decision, invalid};
use crate::{
    apply::Context,
    command::{ChangeMembership, RaiseStateVersion, SetClusterConfig},
    config::{ClusterConfig, Limits, Member},
    event::Event,
    id::{Millis, Ppm, StateVersion},
    key::{KeyStatus, Role},
    rejection::Rejection,
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
    let refuse = |detail: String| Err(Rejection::BadMembership { detail });
    if members.len() > MEMBERS_MAX {
        return refuse(format!("{} members, at most {MEMBERS_MAX}", members.len()));
    }
    if !members.is_sorted_by(|a, b| a.id < b.id) {
        return refuse("members stand sorted by number, each number once".to_owned());
    }
    if !members.iter().any(|member| member.voter) {
        return refuse("nobody would vote".to_owned());
    }
    let before = state.membership();
    let mut addresses = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for member in members {
        let Member {
            id,
            address,
            region: _,
            voter: _,
            checkpoint_key,
        } = member;
        let known = before.members.iter().any(|known| known.id == *id);
        if !known && *id <= before.last_node {
            return refuse(format!("number {id} was a node's that is gone"));
        }
        if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
            return refuse(format!(
                "the address of node {id} has 1 to {ADDRESS_BYTES_MAX} bytes"
            ));
        }
        if !addresses.insert(address) {
            return refuse(format!("address {address} stands twice"));
        }
        if let Some(key) = checkpoint_key {
            let role = state.keys().role(Role::Checkpoint);
            if role.and_then(|role| role.status(key)) != Some(KeyStatus::Trusted) {
                return refuse(format!("{key} is no trusted checkpoint key"));
            }
            if !keys.insert(key) {
                return refuse(format!("checkpoint key {key} stands twice"));
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
    let shorter = |horizon: fn(&SilenceHorizons) -> Millis| {
        horizon(&config.silence) < horizon(&state.config().silence)
    };
    let shrinks = shorter(|s| s.firmware) || shorter(|s| s.model) || shorter(|s| s.config);
    if shrinks && let Some(rollout) = state.derived.live_rollouts.first() {
        let detail = format!("may not shrink while rollout {rollout} is not final");
        return Err(invalid("silence", detail));
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
    in_range("lease", lease.0, SECOND, 60 * SECOND)?;
    // A clock may be off by a hundredth at least, and a lease must leave time to be of use.
    in_range("drift_margin", drift_margin.0, lease.0 / 100, lease.0 / 2)?;
    in_range("stale_max", stale_max.0, lease.0, 30 * DAY)?;
    for (field, horizon) in [
        ("silence.firmware", firmware),
        ("silence.model", model),
        ("silence.config", config),
    ] {
        in_range(field, horizon.0, SECOND, 90 * DAY)?;
    }
    in_range("report_interval", report_interval.0, 100, 600 * SECOND)?;
    in_range("offer_ttl", offer_ttl.0, SECOND, 7 * DAY)?;
    in_range("credit", *credit, 1, 1_000_000_000)?;
    in_range(
        "holdout",
        u64::from(holdout.get()),
        0,
        u64::from(Ppm::ALL.get()) / 2,
    )?;
    in_range("poll_interval", poll_interval.0, SECOND, 7 * DAY)?;
    in_range("root_interval", *root_interval, 1, 1 << 20)
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
            "limits.releases_max",
            releases_max,
            state.releases().len(),
            1_000_000,
        ),
        ("limits.rollouts_max", rollouts_max, live, 10_000),
        (
            "limits.waves_max",
            u32::from(waves_max),
            waves.unwrap_or(0),
            256,
        ),
        (
            "limits.variants_max",
            variants_max,
            state.variants().len(),
            1_000_000,
        ),
        (
            "limits.sessions_max",
            sessions_max,
            state.sessions().len(),
            65_536,
        ),
        (
            "limits.holds_max",
            holds_max,
            state.holds().len(),
            10_000_000,
        ),
        ("limits.stops_max", stops_max, state.stops().len(), 10_000),
        (
            "limits.commands_max",
            commands_max,
            state.spent().len(),
            1_000_000_000,
        ),
        ("limits.scopes_max", scopes_max, scopes, 1_000_000),
        ("limits.report_tallies_max", report_tallies_max, 0, 100_000),
    ] {
        in_range(field, u64::from(limit), (used as u64).max(1), ceiling)?;
    }
    Ok(())
}

fn in_range(field: &str, value: u64, min: u64, max: u64) -> Result<(), Rejection> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("is {value}, {min} to {max} is accepted"),
    ))
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
