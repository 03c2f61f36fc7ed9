//! What the records could not say otherwise: when something was barred, and how late after that it
//! was still offered. It judges nothing; that is for HALT-1.

use std::collections::BTreeMap;

use tidegate_domain::guard::StopScope;
use tidegate_domain::rollout::Life;

use crate::oracle::{Chain, Seen};
use crate::record::Kind;

/// What a stop of everything bars.
const FLEET: &str = "the fleet";

/// Watches halts, and stops of the fleet or a region. Rollouts are known by `rollout 7`, regions by
/// `region b`.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    barred: BTreeMap<String, Bar>,
}

#[derive(Clone, Copy, Debug)]
struct Bar {
    since_us: u64,
    /// The latest that was noted.
    late_us: u64,
}

impl Meter {
    /// Looks at an observation; answers what to write down.
    pub(crate) fn see(&mut self, at_us: u64, seen: &Seen<'_>, chain: &Chain) -> Vec<Kind> {
        match seen {
            Seen::Entries { .. } => self.follow(at_us, chain),
            Seen::Told {
                place,
                asked_us,
                answer,
                ..
            } if answer.is_offer => {
                let rollout = answer.rollout.map(rollout);
                let named = rollout.into_iter().chain([region(place), FLEET.to_owned()]);
                named
                    .filter_map(|what| self.late(what, *asked_us))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn late(&mut self, what: String, asked_us: u64) -> Option<Kind> {
        let bar = self.barred.get_mut(&what)?;
        let late_us = asked_us.saturating_sub(bar.since_us);
        (late_us > bar.late_us).then(|| {
            bar.late_us = late_us;
            Kind::LateOffer { what, late_us }
        })
    }

    fn follow(&mut self, at_us: u64, chain: &Chain) -> Vec<Kind> {
        let now = barred(chain);
        let mut kinds = Vec::new();
        self.barred.retain(|what, _| {
            let still = now.contains(what);
            if !still {
                let what = what.clone();
                kinds.push(Kind::Allowed { what });
            }
            still
        });
        for what in now {
            self.barred.entry(what.clone()).or_insert_with(|| {
                kinds.push(Kind::Barred { what });
                Bar {
                    since_us: at_us,
                    late_us: 0,
                }
            });
        }
        kinds
    }
}

fn barred(chain: &Chain) -> Vec<String> {
    let state = chain.state();
    let rollouts = state.rollouts().iter().filter(|(_, one)| {
        matches!(
            one.life,
            Life::Halted { .. } | Life::RollingBack { .. } | Life::RolledBack { .. }
        )
    });
    let regions = state
        .stops()
        .iter()
        .filter_map(|(_, stop)| match &stop.scope {
            StopScope::Region(name) => Some(region(name.as_str())),
            StopScope::Fleet => Some(FLEET.to_owned()),
            StopScope::Variants(_) => None,
        });
    let rollouts = rollouts.map(|(id, _)| rollout(id.0));
    rollouts.chain(regions).collect()
}

fn rollout(id: u64) -> String {
    format!("rollout {id}")
}

fn region(name: &str) -> String {
    format!("region {name}")
}
