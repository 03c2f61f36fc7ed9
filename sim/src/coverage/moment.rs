//! In which states the protocols are at one moment, as far as it can be seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_domain::rollout::Life;

use crate::oracle::Chain;
use crate::record::{Kind, Record};
use crate::schedule::{Fault, Spot};

/// Every state; several hold at once.
pub const STATES: [&str; 12] = [
    "nobody leads",
    "a leader is new",
    "a leader leads",
    "a node catches up",
    "a snapshot was just installed",
    "members change",
    "a node is down",
    "the network is cut",
    "a wave is open",
    "a rollout is halted",
    "admissions are held",
    "a lease has run out",
];

/// How long a leader is new, in µs.
const NEW_US: u64 = 1_500_000;
/// How long an install was just now, in µs.
const JUST_US: u64 = 2_000_000;
/// Entries that a node may lack without having to catch up.
const BEHIND: u64 = 4;

/// What the trace says of now.
#[derive(Debug, Default)]
pub(super) struct Moment {
    /// Who leads, and since when.
    leaders: BTreeMap<String, u64>,
    /// Entries of each node that is up.
    entries: BTreeMap<String, u64>,
    down: BTreeSet<String>,
    installed_us: Option<u64>,
    /// Operations under way that change members.
    changing: BTreeSet<u64>,
    cuts: u64,
    /// Decision nodes whose lease has run out.
    stale: BTreeSet<String>,
}

impl Moment {
    pub(super) fn note(&mut self, record: &Record) {
        let Record { at_us, lane, kind } = record;
        match kind {
            Kind::Leader { .. } => drop(self.leaders.insert(lane.clone(), *at_us)),
            Kind::Deposed => drop(self.leaders.remove(lane)),
            Kind::Stopped { .. } => {
                self.leaders.remove(lane);
                self.entries.remove(lane);
                self.down.insert(lane.clone());
            }
            Kind::Started { .. } => drop(self.down.remove(lane)),
            Kind::Applied { entries, .. } => drop(self.entries.insert(lane.clone(), *entries)),
            Kind::Installed { .. } => self.installed_us = Some(*at_us),
            Kind::Asked { op, what } if what == "members" => drop(self.changing.insert(*op)),
            Kind::Answered { op, .. } | Kind::Failed { op, .. } => drop(self.changing.remove(op)),
            Kind::Fault { fault } if is_cut(fault) => self.cuts += 1,
            Kind::Mended { what } if what == "cut" => self.cuts = self.cuts.saturating_sub(1),
            Kind::Healed => self.cuts = 0,
            Kind::Lease { fresh: true } => drop(self.stale.remove(lane)),
            Kind::Lease { fresh: false } => drop(self.stale.insert(lane.clone())),
            Kind::Refused { .. }
            | Kind::Fault { .. }
            | Kind::Mended { .. }
            | Kind::Loaded
            | Kind::Asked { .. }
            | Kind::TurnedAway { .. }
            | Kind::View { .. }
            | Kind::Told { .. }
            | Kind::CheckIns { .. }
            | Kind::Barred { .. }
            | Kind::Allowed { .. }
            | Kind::LateOffer { .. }
            | Kind::Violation { .. } => {}
        }
    }

    /// Whether there is anybody whom a fault hits: what was meant for the leader hits nobody when
    /// nobody leads, and then its record says `leader` still.
    pub(super) fn has_whom(&self, fault: &Fault) -> bool {
        if matches!(fault, Fault::Transfer { .. }) && self.leaders.is_empty() {
            return false;
        }
        let mut fault = fault.clone();
        let mut spots = fault.spots_mut().into_iter();
        !spots.any(|spot| spot.0 == Spot::LEADER)
    }

    pub(super) const fn is_cut(&self) -> bool {
        self.cuts > 0
    }

    pub(super) fn somebody_else_leads(&self, lane: &str) -> bool {
        self.leaders.keys().any(|leader| leader != lane)
    }

    pub(super) fn is_down(&self, lane: &str) -> bool {
        self.down.contains(lane)
    }

    pub(super) fn anybody_is_down(&self) -> bool {
        !self.down.is_empty()
    }

    pub(super) fn installed_just_now(&self, at_us: u64) -> bool {
        self.installed_us
            .is_some_and(|then| at_us - then <= JUST_US)
    }

    pub(super) fn led_since(&self) -> Option<u64> {
        self.leaders.values().max().copied()
    }

    /// Every state that holds.
    pub(super) fn states(&self, at_us: u64, chain: &Chain) -> Vec<&'static str> {
        let newest = self.led_since();
        let most = self.entries.values().max().copied().unwrap_or(0);
        let state = chain.state();
        let lives = || state.rollouts().iter().map(|(_, rollout)| &rollout.life);
        let holds = [
            self.leaders.is_empty(),
            newest.is_some_and(|since| at_us - since <= NEW_US),
            newest.is_some_and(|since| at_us - since > NEW_US),
            self.entries.values().any(|has| has + BEHIND < most),
            self.installed_just_now(at_us),
            !self.changing.is_empty(),
            self.anybody_is_down(),
            self.is_cut(),
            lives().any(|life| *life == Life::Running),
            lives().any(|life| matches!(life, Life::Halted { .. })),
            state.budgets().iter().any(|(_, budget)| budget.held() > 0),
            !self.stale.is_empty(),
        ];
        let named = STATES.into_iter().zip(holds);
        named
            .filter_map(|(name, holds)| holds.then_some(name))
            .collect()
    }
}

const fn is_cut(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Cut { .. } | Fault::Isolate { .. } | Fault::Suspend { .. }
    )
}
