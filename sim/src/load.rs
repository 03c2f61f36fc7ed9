//! What operators ask for, honest and hostile, made from what they last saw of the state.

pub(crate) mod hostile;
mod liar;
pub(crate) mod members;
mod onward;
mod policy;
mod rarer;

use tidegate_domain::command::{
    AdvanceWave, ApproveRollout, Base, Command, CompleteRollout, CreateRollout, EmergencyStop,
    HaltRollout, LiftStop, PauseRollout, Proposal, RaiseFloor, RegisterChannel, RegisterVariant,
    ResumeRollout, RollBack, SetClusterConfig, StartRollout, seal,
};
use tidegate_domain::guard::{StopCovers, StopScope};
use tidegate_domain::id::{Epoch, LogTime, Millis, RolloutId, SecurityVersion, StopId, WaveIndex};
use tidegate_domain::rollout::{Life, OnStale};
use tidegate_domain::state::State;
use tidegate_domain::testing::{
    Fleet, channel, reason, region, release, rollout, scope, selector, traits,
};

pub(crate) use self::liar::LIAR;
pub use self::members::Wanted;

use self::members::with_machine_keys;
use crate::dice::Dice;
use crate::schedule::Work;

/// How long a command stays valid on either side of the moment at which it is made: clocks of the
/// store may be off by minutes.
const VALID_MS: u64 = 1_800_000;
/// Most commands that are kept to be sent again by somebody who overheard them.
const OVERHEARD_MAX: usize = 64;
/// Most variants, and most releases, that are registered, and most rollouts that are under way at
/// once: a fleet of some size, however long the run. No run of a minute comes that far.
const FLEET_MAX: usize = 100;
/// The release channel of some devices.
pub(crate) const BETA: &str = "beta";
const REGIONS: [&str; 3] = ["a", "b", "c"];

/// The operators of a fleet, with all keys in one hand.
#[derive(Debug)]
pub struct Operators {
    fleet: Fleet,
    dice: Dice,
    made: u64,
    overheard: Vec<Vec<u8>>,
    /// The last envelopes of decision nodes that somebody overheard.
    envelopes: Vec<Vec<u8>>,
    /// Commands that were valid for a moment only.
    brief: Vec<Vec<u8>>,
    /// A command whose id somebody else uses first.
    forestalled: Option<Draft>,
    /// Where the fleet's devices are.
    places: Vec<String>,
    work: Work,
}

/// A command as it is proposed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is, in a word.
    pub what: &'static str,
}

impl Operators {
    /// The operators under a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            fleet: Fleet::unborn(),
            dice: Dice::new(seed, "operators"),
            made: 0,
            overheard: Vec::new(),
            envelopes: Vec::new(),
            brief: Vec::new(),
            forestalled: None,
            places: REGIONS.map(str::to_owned).to_vec(),
            work: Work::Everything,
        }
    }

    /// The operators of a fleet whose devices are in these regions, and what they are at.
    #[must_use]
    pub fn of_places(mut self, places: &[String], work: Work) -> Self {
        self.places = places.to_vec();
        self.work = work;
        self
    }

    /// What they think the time is, in ms since 1970.
    pub fn now(&mut self, wall_ms: u64) {
        self.fleet.now = LogTime(wall_ms);
    }

    /// They looked at the store.
    pub fn saw(&mut self, state: &State) {
        self.fleet.state = state.clone();
    }

    /// Somebody among them overheard what decision nodes sent last: these, the newest first.
    pub fn overheard(&mut self, envelopes: Vec<Vec<u8>>) {
        self.envelopes = envelopes;
    }

    /// What they saw last.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.fleet.state
    }

    /// The command with which epoch 1 begins.
    pub fn ceremony(&mut self) -> Draft {
        let mut rotation = self.fleet.rotation(&[0, 1, 2]);
        with_machine_keys(&self.fleet, &mut rotation);
        self.draft("ceremony", rotation)
    }

    /// What devices of the world need to be let in: their variants, and settings that make things
    /// happen within a minute.
    pub fn furnishing(&mut self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for place in self.places.clone() {
            let traits = traits(&format!("cam/r1/{place}/none"));
            drafts.push(self.draft("variant", RegisterVariant { traits }));
        }
        let channel = channel(BETA);
        drafts.push(self.draft("channel", RegisterChannel { channel }));
        let mut config = self.fleet.state.config().clone();
        config.lease = Millis(5_000);
        config.stale_max = Millis(8_000);
        config.report_interval = Millis(1_000);
        config.silence.firmware = Millis(5_000);
        drafts.push(self.draft("settings", SetClusterConfig { config }));
        drafts.extend((0..3).map(|_| self.release()));
        drafts
    }

    /// Something an operator may want next, or somebody who is none.
    pub fn ask(&mut self) -> Draft {
        if self.work == Work::Rollouts {
            return self.onward();
        }
        if let Some(draft) = self.forestalled.take() {
            return draft;
        }
        if self.dice.one_in(10) {
            return self.hostile();
        }
        if self.dice.one_in(8)
            && let Some(draft) = self.reopening()
        {
            return draft;
        }
        let draft = match self.dice.below(24) {
            0..=1 if self.fleet.state.variants().len() < FLEET_MAX => self.variant(),
            2..=4 if self.fleet.state.releases().len() < FLEET_MAX => self.release(),
            5..=7 => self.stop(),
            8 => self.floor(),
            9 if self.dice.one_in(3) => self.rotation(1),
            10 if self.dice.one_in(2) => self.revocation(),
            11 if self.dice.one_in(2) => self.write_off(),
            12 => self.policy(),
            _ => self.rollout(),
        };
        if self.overheard.len() < OVERHEARD_MAX {
            self.overheard.push(draft.bytes.clone());
        }
        draft
    }

    /// A halt of everything that runs, as far as they know.
    pub fn halts(&mut self) -> Vec<Draft> {
        let rollouts = self.fleet.state.rollouts().iter();
        let running = rollouts.filter(|(_, rollout)| rollout.life == Life::Running);
        let running: Vec<RolloutId> = running.map(|(id, _)| *id).collect();
        let halt = |rollout| HaltRollout {
            rollout,
            reason: reason(),
        };
        let drafts = running.into_iter().map(halt);
        drafts.map(|halt| self.draft("halt", halt)).collect()
    }

    fn place(&mut self) -> String {
        let place = self.dice.pick(&self.places);
        place.cloned().unwrap_or_else(|| REGIONS[0].to_owned())
    }

    fn variant(&mut self) -> Draft {
        self.made += 1;
        let place = self.place();
        let traits = traits(&format!("model-{}/r1/{place}/none", self.made));
        self.draft("variant", RegisterVariant { traits })
    }

    fn release(&mut self) -> Draft {
        self.made += 1;
        let version = 1 + self.dice.below(4);
        let made = release(&format!("release-{}", self.made))
            .version(&format!("1.{}.0", self.made))
            .security_version(version);
        let made = if self.dice.one_in(3) {
            made.critical()
        } else {
            made
        };
        let command = self.fleet.registration(made);
        self.draft("release", command)
    }

    fn stop(&mut self) -> Draft {
        let stops = self.fleet.state.stops().iter();
        let stops: Vec<StopId> = stops.map(|(id, _)| *id).collect();
        let reason = reason();
        // Each is lifted soon, since nothing is offered meanwhile.
        if let Some(stop) = self
            .dice
            .pick(&stops)
            .copied()
            .filter(|_| !self.dice.one_in(4))
        {
            return self.draft("lift", LiftStop { stop, reason });
        }
        let place = self.place();
        let scope = match self.dice.below(8) {
            0 => StopScope::Fleet,
            1 => StopScope::Variants(selector(&format!("cam/*/{place}/*"))),
            _ => StopScope::Region(region(&place)),
        };
        let stop = EmergencyStop {
            scope,
            covers: StopCovers::Offers,
            reason,
        };
        self.draft("stop", stop)
    }

    fn floor(&mut self) -> Draft {
        let raise = RaiseFloor {
            scope: scope("os", "*"),
            security_version: SecurityVersion(self.dice.below(4)),
            reason: reason(),
            retire: self.dice.one_in(4),
        };
        self.draft("floor", raise)
    }

    /// Other keys for people, so many epochs ahead; machines keep theirs.
    fn rotation(&mut self, ahead: u32) -> Draft {
        let first = u8::try_from(self.dice.below(4)).unwrap_or(0);
        let numbers = [first, first + 1, first + 2];
        let mut rotation = self.fleet.rotation(&numbers);
        with_machine_keys(&self.fleet, &mut rotation);
        rotation.epoch = Epoch(rotation.epoch.0 + ahead - 1);
        rotation.strand = true;
        self.draft("rotation", rotation)
    }

    fn rollout(&mut self) -> Draft {
        let rollouts = self.fleet.state.rollouts().iter();
        let live: Vec<RolloutId> = rollouts
            .filter(|(_, rollout)| !rollout.life.is_final())
            .map(|(id, _)| *id)
            .collect();
        let Some(rollout) = self.dice.pick(&live).copied() else {
            return self.creation();
        };
        if self.dice.one_in(5) && live.len() < FLEET_MAX {
            return self.creation();
        }
        let life = self.fleet.state.rollouts().get(&rollout);
        let life = life.map(|rollout| rollout.life.clone());
        // Mostly what comes next, sometimes what makes no sense now.
        let turn = match life {
            Some(Life::Draft) => 0,
            Some(Life::Approved) => 1,
            Some(Life::Running) => 2 + self.dice.below(8),
            Some(Life::Paused { .. }) => 10,
            Some(Life::Halted { .. }) => 10 + self.dice.below(2),
            _ => self.dice.below(12),
        };
        let turn = if self.dice.one_in(8) {
            self.dice.below(12)
        } else {
            turn
        };
        self.step(rollout, turn)
    }

    fn step(&mut self, rollout: RolloutId, turn: u64) -> Draft {
        let reason = reason();
        match turn {
            0 => self.draft("approve", ApproveRollout { rollout }),
            1 => self.draft("start", StartRollout { rollout }),
            2..=4 => {
                let wave = WaveIndex(u16::try_from(self.dice.below(3)).unwrap_or(0));
                let advance = AdvanceWave {
                    rollout,
                    wave,
                    reason,
                };
                self.draft("advance", advance)
            }
            5 | 6 => self.draft("halt", HaltRollout { rollout, reason }),
            7 => self.draft("complete", CompleteRollout { rollout }),
            9 => self.draft("pause", PauseRollout { rollout, reason }),
            10 => self.draft("resume", ResumeRollout { rollout, reason }),
            _ => self.draft("roll back", RollBack { rollout, reason }),
        }
    }

    fn creation(&mut self) -> Draft {
        let releases: Vec<String> = self
            .fleet
            .state
            .releases()
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        let Some(name) = self.dice.pick(&releases).cloned() else {
            return self.release();
        };
        let mut rollout = rollout(&name);
        for percent in [10, 50, 100] {
            rollout = rollout.wave(percent, 0);
            if self.dice.one_in(3) {
                rollout = rollout.cap(1 + self.dice.below(40));
            }
        }
        if let Some(back) = self.dice.pick(&releases).filter(|_| percent_of_two(&name)) {
            rollout = rollout.back_to(back);
        }
        if self.is_critical(&name) && !self.dice.one_in(4) {
            rollout.spec.on_stale = OnStale::Continue;
        }
        if self.work == Work::Everything && self.dice.one_in(4) {
            rollout = rollout.on_channels(&[BETA]);
        }
        let priority = u32::try_from(self.dice.below(1_000)).unwrap_or(0);
        let spec = rollout.priority(priority).spec();
        self.draft("rollout", CreateRollout { spec })
    }

    fn draft(&mut self, what: &'static str, command: impl Into<Command>) -> Draft {
        let mut proposal = self.fleet.proposal(command);
        proposal.not_after = self.fleet.now.after(Millis(VALID_MS));
        self.seal(what, proposal)
    }

    fn seal(&mut self, what: &'static str, mut proposal: Proposal) -> Draft {
        proposal.not_before = LogTime(self.fleet.now.0.saturating_sub(VALID_MS));
        // No command depends on another one's place: what came between is for `apply` to judge.
        proposal.base = Base::genesis(Fleet::ORIGIN);
        let signers = self.fleet.signers(&proposal.command);
        let bytes = seal(&proposal, &signers.iter().collect::<Vec<_>>()).to_bytes();
        Draft { bytes, what }
    }
}

/// Some releases have a way back and some don't, whoever rolls them out.
fn percent_of_two(name: &str) -> bool {
    name.len().is_multiple_of(2)
}

#[cfg(test)]
mod tests;
