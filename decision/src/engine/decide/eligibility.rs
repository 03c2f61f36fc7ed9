//! May this device have this release at all? Whatever rollouts want: floors, trust, stops, holds,
//! regions, and what the device itself can do.
use super::{Asked, Considered, Pass};
use crate::engine::{
    checkin::{Power, Running},
    index::{LineKind, PayloadSlot, ReleaseEntry, ReleaseSlot},
    reason::Reason,
};
use tidegate_domain::{guard::HoldKind, id::SecurityVersion, release::Payload, rollout::Life};
use tidegate_mutant::{Mutant, is_on};

/// The release that is really given: the one that is wanted, or one on the way to it.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) slot: ReleaseSlot,
    pub(super) release: &'a ReleaseEntry,
    pub(super) payload: &'a Payload,
    pub(super) payload_slot: PayloadSlot,
    pub(super) floor: SecurityVersion,
    pub(super) stepping_stone: bool,
}

/// Checks a candidate; the cheap questions first.
pub(super) fn check<'a>(
    asked: &mut Asked<'a>,
    considered: &Considered<'a>,
) -> Result<Way<'a>, Pass> {
    concerns(considered)?;
    life(asked, considered)?;
    stops(asked, considered)?;
    if considered.candidate.excluded && considered.line.kind == LineKind::Offer {
        return Err(Reason::VariantExcluded.into());
    }
    let way = way(asked, considered)?;
    follows(asked, considered)?;
    requirements(asked, way.release)?;
    holds(asked, considered, way.release)?;
    times(asked, considered)?;
    device(asked, way)?;
    Ok(way)
}

/// Whether what runs makes the candidate a matter of this device.
fn concerns(considered: &Considered<'_>) -> Result<(), Pass> {
    let (running, subject) = (&considered.running.version, &considered.subject.version);
    match considered.line.kind {
        LineKind::Return if running == subject => Ok(()),
        LineKind::Return => Err(Pass::Silent),
        LineKind::Offer | LineKind::Baseline if running == subject => Err(Pass::Has),
        LineKind::Offer | LineKind::Baseline if running > subject => Err(Pass::HasNewer),
        LineKind::Offer | LineKind::Baseline => Ok(()),
    }
}

/// Whether the rollout is in a state to give anything, as fresh as the snapshot is.
fn life(asked: &Asked<'_>, considered: &Considered<'_>) -> Result<(), Pass> {
    use tidegate_domain::rollout::OnStale;
    let rollout = considered.rollout.map(|entry| &entry.rollout);
    if let Some(rollout) = rollout {
        let from = rollout.spec.audience.from_versions.as_ref();
        let offers = considered.line.kind == LineKind::Offer;
        if offers && from.is_some_and(|range| !range.contains(&considered.running.version)) {
            return Err(Reason::FromVersionNotMatched.into());
        }
        match rollout.life {
            Life::Running | Life::RollingBack { .. } | Life::RolledBack { .. } => {}
            Life::Halted { .. } if is_on(Mutant::HaltIgnored) => {}
            Life::Paused { .. } if !offers => {}
            Life::Paused { .. } => return Err(Reason::RolloutPaused.into()),
            Life::Halted { .. } => return Err(Reason::RolloutHalted.into()),
            Life::Draft | Life::Approved | Life::Superseded { .. } | Life::Completed { .. } => {
                return Err(Pass::Silent);
            }
        }
    }
    if asked.mode == super::Mode::Fresh {
        return Ok(());
    }
    let goes_on = considered.line.kind == LineKind::Offer
        && considered.subject.critical_security
        && rollout.is_some_and(|rollout| rollout.spec.on_stale == OnStale::Continue);
    if goes_on || is_on(Mutant::StaleGoesOn) {
        Ok(())
    } else {
        Err(Reason::SnapshotStale.into())
    }
}

/// Emergency stops and closed regions.
fn stops(asked: &Asked<'_>, considered: &Considered<'_>) -> Result<(), Pass> {
    let returns = considered.line.kind == LineKind::Return;
    let regions = asked.regions.iter().flatten();
    let all = std::iter::once(&asked.variant.stops).chain(regions.clone().map(|r| &r.stops));
    let stop = all.map(|stops| if returns { stops.returns } else { stops.offers });
    if let Some(stop) = stop
        .flatten()
        .next()
        .filter(|_| !is_on(Mutant::StopIgnored))
    {
        return Err(Reason::Stopped { stop }.into());
    }
    let mut policies = regions.filter_map(|region| region.policy.as_ref());
    if !returns && policies.any(|policy| !policy.offers_allowed) {
        return Err(Reason::RegionClosed.into());
    }
    Ok(())
}

/// The release to give: the wanted one if the device can go there directly, else the stone that is
/// fewest hops away from it.
fn way<'a>(asked: &Asked<'a>, considered: &Considered<'a>) -> Result<Way<'a>, Pass> {
    let wanted = considered.candidate.release;
    let release = asked.index.release(wanted).ok_or(Pass::Silent)?;
    let direct = reaches(release, considered.running) || considered.line.kind == LineKind::Return;
    let stone = release.stones.iter().find_map(|slot| {
        let stone = asked.index.release(*slot)?;
        let newer = stone.version > considered.running.version;
        (!direct && newer && reaches(stone, considered.running)).then_some((*slot, stone))
    });
    let (slot, given) = match (direct, stone) {
        (true, _) => (wanted, release),
        (false, Some((slot, stone))) => (slot, stone),
        (false, None) => return Err(Reason::NoPath.into()),
    };
    let barred = if direct {
        considered.candidate.barred
    } else {
        // What is wanted at the end must be allowed, too.
        allowed(asked, considered, release, considered.candidate.barred)?;
        asked.index.bar(slot, asked.at)
    };
    let floor = allowed(asked, considered, given, barred)?;
    let payload_slot = if direct {
        considered.candidate.payload
    } else {
        given.payload_for(asked.variant)
    };
    let payload = payload_slot.and_then(|at| Some((at, given.payload(at)?)));
    let (payload_slot, payload) = payload.ok_or(Reason::NoPayload)?;
    Ok(Way {
        slot,
        release: given,
        payload,
        payload_slot,
        floor,
        stepping_stone: !direct,
    })
}

fn reaches(release: &ReleaseEntry, running: &Running) -> bool {
    let range = release.upgradable_from.as_ref();
    range.is_none_or(|range| range.contains(&running.version))
}

/// FLOOR-2 and EPOCH-2 for one release on one device; answers the floor of the snapshot.
fn allowed(
    asked: &Asked<'_>,
    considered: &Considered<'_>,
    release: &ReleaseEntry,
    barred: Option<tidegate_domain::id::RolloutId>,
) -> Result<SecurityVersion, Reason> {
    if let Some(reason) = release.barred {
        return Err(reason);
    }
    if let Some(halted) = barred.filter(|_| !is_on(Mutant::HaltIgnored)) {
        return Err(Reason::Barred { halted });
    }
    let own = release.security_version;
    let floor = asked
        .index
        .floor(asked.at.variant, considered.line.component);
    if own < floor {
        return Err(Reason::BelowFloor {
            release: own,
            floor,
        });
    }
    let running = considered.running;
    if let Some(floor) = running.floor.filter(|floor| own < *floor) {
        return Err(Reason::BelowDeviceFloor {
            release: own,
            floor,
        });
    }
    let up = considered.line.kind != LineKind::Return && !is_on(Mutant::DowngradeOffered);
    if up && own < running.security_version {
        let running = running.security_version;
        return Err(Reason::BelowRunning {
            release: own,
            running,
        });
    }
    Ok(floor)
}

/// Of two rollouts of one component, a device follows the one that comes first.
fn follows(asked: &mut Asked<'_>, considered: &Considered<'_>) -> Result<(), Pass> {
    let (LineKind::Offer, Some(entry)) = (considered.line.kind, considered.rollout) else {
        return Ok(());
    };
    let Some(follows) = asked.follows.get_mut(considered.position) else {
        return Ok(());
    };
    match *follows {
        Some(other) => Err(Reason::FollowsOther { other }.into()),
        None => {
            *follows = Some(entry.rollout.id);
            Ok(())
        }
    }
}

/// What other components must run first.
fn requirements(asked: &Asked<'_>, release: &ReleaseEntry) -> Result<(), Reason> {
    for (component, range) in &release.requires {
        let name = asked.index.component(*component);
        let running = asked
            .check_in
            .components
            .iter()
            .find(|r| Some(&r.component) == name);
        if running.is_none_or(|running| !range.contains(&running.version)) {
            return Err(Reason::RequirementUnmet {
                requirement: component.0,
            });
        }
    }
    Ok(())
}

/// Pins and legal holds.
fn holds(
    asked: &Asked<'_>,
    considered: &Considered<'_>,
    release: &ReleaseEntry,
) -> Result<(), Reason> {
    let component = &considered.running.component;
    let binds = |held: &&crate::engine::index::Held| {
        asked.now < held.until && held.component.as_ref().is_none_or(|c| c == component)
    };
    for held in asked
        .index
        .holds_of(&asked.check_in.pseudonym)
        .filter(binds)
    {
        let until = held.until;
        match &held.kind {
            HoldKind::Legal => return Err(Reason::LegalHold { until }),
            HoldKind::Pin(pinned) if *pinned != release.name => {
                return Err(Reason::Pinned { until });
            }
            HoldKind::Pin(_) => {}
        }
    }
    Ok(())
}

/// Freezes bar what is new; maintenance windows bar every install.
fn times(asked: &Asked<'_>, considered: &Considered<'_>) -> Result<(), Reason> {
    let offers = considered.line.kind != LineKind::Return;
    let spec = considered.rollout.map(|entry| &entry.rollout.spec);
    let policies = asked
        .regions
        .iter()
        .flatten()
        .filter_map(|region| region.policy.as_ref());
    if offers {
        let own = spec.into_iter().flat_map(|spec| &spec.freezes);
        let all = own.chain(policies.clone().flat_map(|policy| &policy.freezes));
        let ends = all
            .filter(|freeze| freeze.holds(asked.now))
            .map(|freeze| freeze.until);
        if let Some(until) = ends.max() {
            return Err(Reason::Frozen { until });
        }
    }
    let own = spec
        .filter(|_| offers)
        .map(|spec| spec.maintenance.as_slice());
    let mut windows = own
        .into_iter()
        .chain(policies.map(|policy| policy.maintenance.as_slice()));
    let closed = |windows: &[tidegate_domain::rollout::MaintenanceWindow]| {
        !windows.is_empty() && !windows.iter().any(|window| window.is_open(asked.now))
    };
    if windows.any(closed) {
        return Err(Reason::OutsideMaintenance);
    }
    Ok(())
}

/// Charge, space and network.
fn device(asked: &Asked<'_>, way: Way<'_>) -> Result<(), Reason> {
    let check_in = asked.check_in;
    let policies = asked
        .regions
        .iter()
        .flatten()
        .filter_map(|region| region.policy.as_ref());
    let required = policies
        .clone()
        .map(|policy| policy.battery_min_percent)
        .max()
        .unwrap_or(0);
    if let Some(percent) = check_in.battery_percent
        && percent < required
        && check_in.power != Power::Mains
    {
        return Err(Reason::BatteryLow { percent, required });
    }
    if let Some(free) = check_in.storage_free
        && free < way.payload.size
    {
        return Err(Reason::StorageLow {
            free,
            required: way.payload.size,
        });
    }
    if check_in.network.is_metered() && policies.clone().any(|policy| !policy.metered_allowed) {
        return Err(Reason::NetworkMetered);
    }
    Ok(())
}
