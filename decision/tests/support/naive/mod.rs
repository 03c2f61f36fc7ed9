//! The decision without an index: a scan over the whole state with the domain's own functions, as
//! plain as can be. Slow, and hard to get wrong.
mod turn;
mod way;

use std::cmp::Reverse;
use tidegate_decision::engine::{
    Budgets, CheckIn, Draw, Mode, Pool, Power, Running, Verdict, risk,
};
use tidegate_domain::{
    State,
    bucket::{self, bucket},
    floor::floor_of,
    guard::{HoldKind, RegionPolicy, StopScope},
    id::{Channel, LogTime, ReleaseName, RolloutId, WaveIndex},
    release::{Payload, Release, offerable},
    rollout::{Freeze, Life, MaintenanceWindow, OnStale, RetryPolicy, Rollout},
    tally::Arm,
    variant::Variant,
};

/// What the naive decision says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub verdict: Verdict,
    pub release: Option<ReleaseName>,
    pub rollout: Option<RolloutId>,
    pub wave: Option<WaveIndex>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Return,
    Critical,
    Offer,
    Baseline,
}

struct Candidate<'a> {
    kind: Kind,
    rollout: Option<&'a Rollout>,
    subject: &'a Release,
    given: &'a Release,
}

struct Scan<'a> {
    state: &'a State,
    now: LogTime,
    mode: Mode,
    check_in: &'a CheckIn,
    variant: &'a Variant,
    follows: Vec<&'a str>,
}

/// Whether a candidate makes the device wait (`true`), or is nothing for it.
type Skip = bool;
const WAIT: Skip = true;
const NOTHING: Skip = false;

pub fn decide(
    state: &State,
    now: LogTime,
    mode: Mode,
    check_in: &CheckIn,
    budgets: &mut impl Budgets,
) -> Told {
    let told = |verdict| Told {
        verdict,
        release: None,
        rollout: None,
        wave: None,
    };
    let tidegate_decision::engine::VariantClaim::Id(id) = &check_in.variant else {
        panic!("random check-ins name variants by number");
    };
    let Some(variant) = state.variants().get(id) else {
        return told(Verdict::None);
    };
    if !knows_channel(state, &check_in.channel) {
        return told(Verdict::None);
    }
    let mut scan = Scan {
        state,
        now,
        mode,
        check_in,
        variant,
        follows: Vec::new(),
    };
    let mut waits = false;
    for candidate in candidates(state, variant, &check_in.channel) {
        let component = &candidate.subject.manifest.component;
        let Some(running) = check_in
            .components
            .iter()
            .find(|r| r.component == *component)
        else {
            continue;
        };
        match scan.weigh(&candidate, running, budgets) {
            Ok((release, wave)) => {
                let verdict = match candidate.kind {
                    Kind::Return => Verdict::Return,
                    _ => Verdict::Offer,
                };
                return Told {
                    verdict,
                    release: Some(release.name().clone()),
                    rollout: candidate.rollout.map(|r| r.id),
                    wave: Some(wave),
                };
            }
            Err(skip) => waits |= skip == WAIT,
        }
    }
    told(if waits { Verdict::Wait } else { Verdict::None })
}

fn is_live(state: &State, rollout: &Rollout) -> bool {
    match rollout.life {
        Life::Running | Life::Paused { .. } | Life::Halted { .. } | Life::RollingBack { .. } => {
            true
        }
        Life::RolledBack { .. } => state.bars().contains(&rollout.id),
        _ => false,
    }
}

fn knows_channel(state: &State, channel: &Channel) -> bool {
    channel.as_str() == "stable" || state.channels().contains(channel)
}

fn candidates<'a>(state: &'a State, variant: &Variant, channel: &Channel) -> Vec<Candidate<'a>> {
    let mut ranked = Vec::new();
    for (_, rollout) in state.rollouts().iter() {
        let audience = &rollout.spec.audience;
        let in_channel = audience.channels.is_empty() || audience.channels.contains(channel);
        if !is_live(state, rollout) || !audience.matches(&variant.traits) || !in_channel {
            continue;
        }
        let Some(subject) = state.releases().get(&rollout.spec.release) else {
            continue;
        };
        let late = matches!(rollout.life, Life::RolledBack { .. });
        if late || rollout.returns(variant.id) {
            let target = rollout.rollback.target(&variant.traits, channel);
            if let Some(given) = target.and_then(|name| state.releases().get(name)) {
                let kind = Kind::Return;
                ranked.push(Candidate {
                    kind,
                    rollout: Some(rollout),
                    subject,
                    given,
                });
            }
        }
        if !late && !matches!(rollout.life, Life::RollingBack { .. }) {
            let critical = subject.manifest.critical_security;
            let kind = if critical {
                Kind::Critical
            } else {
                Kind::Offer
            };
            ranked.push(Candidate {
                kind,
                rollout: Some(rollout),
                subject,
                given: subject,
            });
        }
    }
    let rank = |c: &Candidate<'_>| {
        let rollout = c.rollout.map(|r| (r.spec.priority.unwrap_or(0), r.id));
        (c.kind, Reverse(rollout))
    };
    ranked.sort_by_key(rank);
    let mut all = ranked;
    let mut components = super::random::COMPONENTS;
    components.sort_unstable();
    for component in components {
        let matching = state.baselines().iter().filter(|(key, baseline)| {
            key.component.as_str() == component
                && key.selector.matches(&variant.traits)
                && key.channel.as_ref().is_none_or(|own| own == channel)
                && !baseline.excluded.contains(&variant.id)
                && state.releases().contains(&baseline.release)
        });
        if let Some((_, latest)) = matching.max_by_key(|(_, baseline)| baseline.revision) {
            let subject = state
                .releases()
                .get(&latest.release)
                .expect("looked for above");
            all.push(Candidate {
                kind: Kind::Baseline,
                rollout: None,
                subject,
                given: subject,
            });
        }
    }
    all
}

impl<'a> Scan<'a> {
    fn weigh(
        &mut self,
        candidate: &Candidate<'a>,
        running: &'a Running,
        budgets: &mut impl Budgets,
    ) -> Result<(&'a Release, WaveIndex), Skip> {
        let offers = candidate.kind != Kind::Return;
        let subject = &candidate.subject.manifest.version;
        match candidate.kind {
            Kind::Return if running.version != *subject => return Err(NOTHING),
            Kind::Return => {}
            _ if running.version >= *subject => return Err(NOTHING),
            _ => {}
        }
        if let Some(rollout) = candidate.rollout {
            let from = &rollout.spec.audience.from_versions;
            if offers
                && from
                    .as_ref()
                    .is_some_and(|range| !range.contains(&running.version))
            {
                return Err(NOTHING);
            }
            match rollout.life {
                Life::Paused { .. } if offers => return Err(WAIT),
                Life::Halted { .. } => return Err(NOTHING),
                _ => {}
            }
        }
        let goes_on = candidate.kind == Kind::Critical
            && candidate
                .rollout
                .is_some_and(|r| r.spec.on_stale == OnStale::Continue);
        if self.mode == Mode::Stale && !goes_on {
            return Err(WAIT);
        }
        self.stops(offers)?;
        if let Some(rollout) = candidate.rollout
            && offers
            && rollout.excluded.contains_key(&self.variant.id)
        {
            return Err(NOTHING);
        }
        let (given, payload) = self.way(candidate, running)?;
        if let (true, Some(_)) = (offers, candidate.rollout) {
            if self.follows.contains(&running.component.as_str()) {
                return Err(NOTHING);
            }
            self.follows.push(running.component.as_str());
        }
        for requirement in &given.manifest.requires {
            let mut others = self.check_in.components.iter();
            let other = others.find(|r| r.component == requirement.component);
            if other.is_none_or(|r| !requirement.range.contains(&r.version)) {
                return Err(WAIT);
            }
        }
        self.holds(running, given)?;
        self.times(candidate, offers)?;
        self.device(payload)?;
        let wave = self.turn(candidate, running, given, payload, budgets)?;
        Ok((given, wave))
    }

    fn policies(&self) -> impl Iterator<Item = &'a RegionPolicy> {
        let own = Some(&self.variant.traits.region);
        let regions = [own, self.check_in.region.as_ref()];
        regions
            .into_iter()
            .flatten()
            .filter_map(|region| self.state.region_policies().get(region))
    }

    fn stops(&self, offers: bool) -> Result<(), Skip> {
        for (_, stop) in self.state.stops().iter() {
            let traits = &self.variant.traits;
            let covers = match &stop.scope {
                StopScope::Fleet => true,
                StopScope::Region(r) => {
                    *r == traits.region || Some(r) == self.check_in.region.as_ref()
                }
                StopScope::Variants(selector) => selector.matches(traits),
            };
            let binds = if offers {
                stop.covers.offers()
            } else {
                stop.covers.returns()
            };
            if covers && binds {
                return Err(WAIT);
            }
        }
        if offers && self.policies().any(|policy| !policy.offers_allowed) {
            return Err(WAIT);
        }
        Ok(())
    }

    fn holds(&self, running: &Running, given: &Release) -> Result<(), Skip> {
        for (key, hold) in self.state.holds().iter() {
            let bound = key.device == self.check_in.pseudonym
                && self.now < hold.expires
                && key
                    .component
                    .as_ref()
                    .is_none_or(|c| *c == running.component);
            let free = match &hold.kind {
                HoldKind::Legal => false,
                HoldKind::Pin(name) => name == given.name(),
            };
            if bound && !free {
                return Err(NOTHING);
            }
        }
        Ok(())
    }

    fn times(&self, candidate: &Candidate<'_>, offers: bool) -> Result<(), Skip> {
        let spec = candidate
            .rollout
            .map(|rollout| &rollout.spec)
            .filter(|_| offers);
        let mut freezes: Vec<&Freeze> = Vec::new();
        let mut windows: Vec<&Vec<MaintenanceWindow>> = Vec::new();
        if let Some(spec) = spec {
            freezes.extend(&spec.freezes);
            windows.push(&spec.maintenance);
        }
        for policy in self.policies() {
            if offers {
                freezes.extend(&policy.freezes);
            }
            windows.push(&policy.maintenance);
        }
        let frozen = freezes.iter().any(|freeze| freeze.holds(self.now));
        let closed = windows
            .iter()
            .any(|all| !all.is_empty() && all.iter().all(|window| !window.is_open(self.now)));
        if frozen || closed { Err(WAIT) } else { Ok(()) }
    }

    fn device(&self, payload: &Payload) -> Result<(), Skip> {
        let check_in = self.check_in;
        for policy in self.policies() {
            let low = check_in
                .battery_percent
                .is_some_and(|p| p < policy.battery_min_percent);
            if low && check_in.power != Power::Mains {
                return Err(WAIT);
            }
            if !policy.metered_allowed && check_in.network.is_metered() {
                return Err(WAIT);
            }
        }
        match check_in.storage_free {
            Some(free) if free < payload.size => Err(WAIT),
            _ => Ok(()),
        }
    }
}
