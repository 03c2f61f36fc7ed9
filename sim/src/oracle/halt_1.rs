//! HALT-1: after a halt or stop commits, no node sends an offer that it bars later than the lease.
//!
//! An answer leaves a node between the moment at which the device asked and that at which it hears:
//! an offer is surely late when even the question came after the bound.
//!
//! What that rests on is checked on every answer, whether it gives something or not: a node that
//! calls itself fresh decides from a snapshot in which everything is that bars and is older than the
//! lease, and one that calls itself stale from one in which everything is that is older than that
//! may be.

use std::collections::BTreeMap;

use tidegate_decision::engine::Mode;
use tidegate_domain::Event;
use tidegate_domain::guard::StopScope;
use tidegate_domain::id::{RolloutId, StopId};
use tidegate_domain::rollout::Life;
use tidegate_domain::testing::traits;

use super::{Answer, Chain, Oracle, Seen, Verdict};

/// Knows since when, in true time, each rollout is barred and each stop stands.
#[derive(Debug, Default)]
pub(super) struct Halt1 {
    /// In µs; the first node to apply the halt committed it no later.
    halted: BTreeMap<RolloutId, u64>,
    stopped: BTreeMap<StopId, (StopScope, u64)>,
    /// Entries that bar something, by their index, and since when they do.
    bars: Vec<(u64, u64)>,
    looked: u64,
}

impl Oracle for Halt1 {
    fn id(&self) -> &'static str {
        "HALT-1"
    }

    fn see(&mut self, at_us: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Entries { .. } => self.follow(at_us, chain),
            Seen::Told {
                lane,
                device,
                place,
                asked_us,
                answer,
            } => {
                let config = chain.state().config();
                // What may go on while stale does so for longer, when it is: that is its bound.
                let bound = match answer.mode {
                    Some(Mode::Stale) => config.stale_max,
                    _ => config.lease,
                };
                let bound_us = bound.0 * 1_000;
                self.check_snapshot((lane, device), *asked_us, answer, bound_us)?;
                if !answer.is_offer {
                    return Ok(());
                }
                let halted = answer
                    .rollout
                    .and_then(|id| self.halted.get(&RolloutId(id)));
                let variant = traits(&format!("cam/r1/{place}/none"));
                let stops = self.stopped.values().filter(|(scope, _)| match scope {
                    StopScope::Fleet => true,
                    StopScope::Region(region) => *region == variant.region,
                    StopScope::Variants(selector) => selector.matches(&variant),
                });
                for since in halted.into_iter().chain(stops.map(|(_, since)| since)) {
                    if *asked_us > since + bound_us {
                        let late = (asked_us - since) / 1_000;
                        return Err(format!(
                            "{lane} offered rollout {:?} to {device} of region {place} {late} ms \
                             after it was barred",
                            answer.rollout
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Halt1 {
    /// Whether an answer was made from a snapshot that is no older than its mode allows.
    fn check_snapshot(
        &self,
        (lane, device): (&str, &str),
        asked_us: u64,
        answer: &Answer,
        bound_us: u64,
    ) -> Verdict {
        let (Some(mode @ (Mode::Fresh | Mode::Stale)), Some(entries)) =
            (answer.mode, answer.entries)
        else {
            return Ok(());
        };
        let lacks = self.bars.partition_point(|(index, _)| *index < entries);
        match self.bars.get(lacks) {
            Some((index, since)) if asked_us > since + bound_us => Err(format!(
                "{lane} called itself {mode:?} before {device} with a snapshot of {entries} \
                 entries, {} ms after entry {index} had barred something",
                (asked_us - since) / 1_000
            )),
            _ => Ok(()),
        }
    }

    fn follow(&mut self, at_us: u64, chain: &Chain) {
        while let Some(link) = chain.link(self.looked) {
            if link.body.applied.events().any(bars) {
                self.bars.push((self.looked, at_us));
            }
            self.looked += 1;
        }
        let state = chain.state();
        for (id, rollout) in state.rollouts().iter() {
            match rollout.life {
                Life::Halted { .. } | Life::RollingBack { .. } | Life::RolledBack { .. } => {
                    self.halted.entry(*id).or_insert(at_us);
                }
                Life::Draft
                | Life::Approved
                | Life::Running
                | Life::Paused { .. }
                | Life::Superseded { .. }
                | Life::Completed { .. } => {
                    self.halted.remove(id);
                }
            }
        }
        let stops = state.stops();
        self.stopped.retain(|id, _| stops.get(id).is_some());
        for (id, stop) in stops.iter() {
            self.stopped
                .entry(*id)
                .or_insert_with(|| (stop.scope.clone(), at_us));
        }
    }
}

/// Whether something may no longer be offered that could be before.
const fn bars(event: &Event) -> bool {
    matches!(
        event,
        Event::RolloutHalted { .. }
            | Event::StopRaised(_)
            | Event::FloorRaised { .. }
            | Event::KeyRevoked { .. }
            | Event::ReleaseWithdrawn { .. }
            | Event::VariantExcluded { .. }
            | Event::RegionPolicySet { .. }
            | Event::HoldSet { .. }
    )
}
