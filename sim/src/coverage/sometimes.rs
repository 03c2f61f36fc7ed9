//! Things that must happen in some run: where none does, the load or the faults miss something.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_decision::engine::Mode;
use tidegate_domain::Event;
use tidegate_domain::guard::StopScope;
use tidegate_domain::rollout::HaltCause;

use super::moment::Moment;
use crate::oracle::{Chain, Seen};
use crate::record::{Kind, Record};

const LEADER_AT_INSTALL: &str = "the leader changed while a snapshot was installed";
const TWO_LEAD: &str = "a node began to lead before another knew that it does not";
const BUDGET_LOST: &str = "admissions were lost with their session and written off";
const HALTED_WHILE_CUT: &str = "a halt was committed while the network was cut";
const FLOOR_WHILE_CUT: &str = "a floor was raised while the network was cut";
const MEMBERS_WHILE_CUT: &str = "members changed while the network was cut";
const KEYS_WHILE_DOWN: &str = "keys changed while a node was down";
const HALTED_BY_KEY: &str = "a rollout was halted because a key was revoked";
const UNKNOWN_HAPPENED: &str = "a command of unknown outcome had its effect";
const UNKNOWN_NEVER: &str = "a command of unknown outcome had none";
const REPEATED: &str = "a command was proposed again and answered from the log";
const REFUSED_START: &str = "a node refused to start on what its disk held";
const NEWCOMER: &str = "a node that takes another's place installed a snapshot";
const DIED: &str = "a node ended by itself and came back";
const LEASE_BACK: &str = "a lease ran out and was renewed";
const STALE_OFFER: &str = "a critical release went on while its node was cut off";
const VIEW_AGAIN: &str = "a client took its view anew";
const OVERHEARD: &str = "an overheard command was refused";
const FLEET_STOPPED: &str = "the whole fleet was stopped while the network was cut";
const AMENDED: &str = "a rollout was amended while the network was cut";
const OUTVOTED: &str = "a node stopped whose chain a majority of the voters contradicts";
const SESSION_AGAIN: &str = "a session was opened anew after it was written off";

/// All of them.
pub const SOMETIMES: [&str; 22] = [
    LEADER_AT_INSTALL,
    TWO_LEAD,
    BUDGET_LOST,
    HALTED_WHILE_CUT,
    FLOOR_WHILE_CUT,
    MEMBERS_WHILE_CUT,
    KEYS_WHILE_DOWN,
    HALTED_BY_KEY,
    UNKNOWN_HAPPENED,
    UNKNOWN_NEVER,
    REPEATED,
    REFUSED_START,
    NEWCOMER,
    DIED,
    LEASE_BACK,
    STALE_OFFER,
    VIEW_AGAIN,
    OVERHEARD,
    FLEET_STOPPED,
    AMENDED,
    OUTVOTED,
    SESSION_AGAIN,
];

/// Founders have numbers up to this.
const FOUNDERS: u64 = 6;

/// Looks out for all of them.
#[derive(Debug, Default)]
pub(super) struct Sometimes {
    happened: BTreeSet<&'static str>,
    /// Commands that were given up without knowing what came of them.
    unknown: Vec<Vec<u8>>,
    overheard: BTreeSet<u64>,
    views: BTreeSet<String>,
    stale: BTreeSet<String>,
    died: BTreeSet<String>,
    written_off: bool,
    looked: u64,
}

impl Sometimes {
    pub(super) fn note(&mut self, record: &Record, moment: &Moment, _: &Chain) {
        let Record { at_us, lane, kind } = record;
        match kind {
            Kind::Leader { .. } => {
                self.mark(LEADER_AT_INSTALL, moment.installed_just_now(*at_us));
                self.mark(TWO_LEAD, moment.somebody_else_leads(lane));
            }
            Kind::Installed { .. } => {
                let new = moment
                    .led_since()
                    .is_some_and(|since| at_us - since < 1_000_000);
                self.mark(LEADER_AT_INSTALL, new);
                let number = lane.strip_prefix('s').and_then(|id| id.parse().ok());
                self.mark(NEWCOMER, number.is_some_and(|id: u64| id > FOUNDERS));
            }
            Kind::Refused { .. } => self.mark(REFUSED_START, true),
            Kind::Stopped { why } if !why.starts_with("lost") && why != "killed" => {
                self.died.insert(lane.clone());
            }
            Kind::Started { .. } => {
                let came_back = self.died.remove(lane) && moment.is_down(lane);
                self.mark(DIED, came_back);
            }
            Kind::Lease { fresh: false } => drop(self.stale.insert(lane.clone())),
            Kind::Lease { fresh: true } => {
                let again = self.stale.remove(lane);
                self.mark(LEASE_BACK, again);
            }
            Kind::View { replaced: true, .. } => {
                let again = !self.views.insert(lane.clone());
                self.mark(VIEW_AGAIN, again);
            }
            Kind::Asked { op, what } if what == "overheard" => drop(self.overheard.insert(*op)),
            Kind::Answered { op, what, .. } => {
                self.mark(REPEATED, what == "accepted before");
                let refused = self.overheard.remove(op) && what != "accepted";
                self.mark(OVERHEARD, refused);
            }
            _ => {}
        }
    }

    pub(super) fn see(&mut self, seen: &Seen<'_>, moment: &Moment, chain: &Chain) {
        match seen {
            Seen::Failed {
                command,
                without_effect: false,
            } => self.unknown.push(command.to_vec()),
            Seen::Told { answer, .. } => {
                let stale = answer.mode == Some(Mode::Stale) && answer.is_offer;
                self.mark(STALE_OFFER, stale);
            }
            Seen::Outvoted { .. } => self.mark(OUTVOTED, true),
            Seen::Entries { .. } => self.follow(moment, chain),
            _ => {}
        }
    }

    pub(super) fn happened(&self, chain: &Chain) -> BTreeMap<&'static str, u64> {
        let mut happened = self.happened.clone();
        for command in &self.unknown {
            let had_effect = chain.index_of(command).is_some();
            happened.insert(if had_effect {
                UNKNOWN_HAPPENED
            } else {
                UNKNOWN_NEVER
            });
        }
        happened.into_iter().map(|what| (what, 1)).collect()
    }

    fn follow(&mut self, moment: &Moment, chain: &Chain) {
        while let Some(link) = chain.link(self.looked) {
            self.looked += 1;
            for event in link.body.applied.events() {
                self.event(event, moment);
            }
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "most events are of every day"
    )]
    fn event(&mut self, event: &Event, moment: &Moment) {
        let (cut, down) = (moment.is_cut(), moment.anybody_is_down());
        match event {
            Event::BudgetLost { .. } => self.mark(BUDGET_LOST, true),
            Event::RolloutHalted { cause, .. } => {
                self.mark(HALTED_WHILE_CUT, cut);
                self.mark(HALTED_BY_KEY, **cause == HaltCause::KeyRevoked);
            }
            Event::FloorRaised { .. } => self.mark(FLOOR_WHILE_CUT, cut),
            Event::StopRaised(stop) if stop.scope == StopScope::Fleet => {
                self.mark(FLEET_STOPPED, cut);
            }
            Event::RolloutAmended { .. } => self.mark(AMENDED, cut),
            Event::MembershipChanged { .. } => self.mark(MEMBERS_WHILE_CUT, cut),
            Event::KeysRotated(_) | Event::KeyRevoked { .. } => self.mark(KEYS_WHILE_DOWN, down),
            Event::SessionWrittenOff { .. } => self.written_off = true,
            Event::SessionOpened { .. } => self.mark(SESSION_AGAIN, self.written_off),
            _ => {}
        }
    }

    fn mark(&mut self, what: &'static str, happened: bool) {
        if happened {
            self.happened.insert(what);
        }
    }
}
