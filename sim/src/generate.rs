//! From a seed to a schedule. Swarm testing: each seed leaves out about half of the classes of
//! faults, since some bugs only show where others don't mask them.

mod divergence;
mod drawn;
mod files;
mod forgery;
mod rarer;

pub use drawn::{classes, of_classes};

use crate::dice::Dice;
use crate::schedule::{Fault, Load, Schedule, Spot, Timed, Work, WorldSpec};

/// How long faults strike, in ms.
const STORM_MS: u64 = 30_000;
/// How long the run goes on after healing, in ms: LIVE-1 and a little more.
const CALM_MS: u64 = 12_000;
/// Nodes whose disk may be ruined for good in one run: what two regions of five voters survive
/// while the operators' replacement is under way.
const RUINED_MAX: usize = 1;

/// Rates of a store node's clock, in ppm: a bad oscillator, and one that is no clock at all.
const STORE_RATES: [std::ops::Range<u64>; 2] = [900_000..1_100_000, 400_000..2_000_000];

/// Makes a fault of one class.
type Make = fn(&mut Storm) -> Option<Fault>;

/// Every class that can be drawn, with how likely it is among those that a seed has.
const CLASSES: [(u64, Make); 31] = [
    (4, crash),
    (2, kill),
    (1, restart),
    (1, replace),
    (3, pause),
    (2, cut),
    (3, isolate),
    (2, region),
    (1, flap),
    (1, loss),
    (1, delay),
    (2, slow_disk),
    (1, fail_sync),
    (2, tear_power),
    (1, flip_bit),
    (1, full_disk),
    (2, clock),
    (2, rarer::transfer),
    (3, rarer::snapshot),
    (1, rarer::device_power),
    (1, rarer::snapshot_twice),
    (1, rarer::fail_io),
    (1, rarer::misdirect),
    (2, rarer::disconnect),
    (1, rarer::duplicate),
    (2, rarer::vote),
    (2, rarer::strand),
    (1, rarer::strand_store),
    (1, rarer::part_store),
    (2, rarer::suspend),
    (3, rarer::lag),
];

/// The schedule of a seed.
#[must_use]
pub fn schedule(seed: u64) -> Schedule {
    let mut dice = Dice::new(seed, "generate");
    let mut world = WorldSpec::five_voters();
    // Snapshots and purges happen within a run, and sometimes hardly ever.
    world.snapshot_every = *dice.pick(&[10, 10, 30, 100, 400]).unwrap_or(&100);
    world.watch_backlog = *dice.pick(&[8, 64, 65_536]).unwrap_or(&64);
    world.sync_us = dice.within(200..4_000);
    let load = load(&mut dice);
    let mut storm = Storm::new(dice, &world);
    let mut faults = storm.faults();
    let of_file = storm.file_fault(Dice::new(seed, "files"));
    let diverged = storm.divergence(Dice::new(seed, "divergence"));
    let forged = storm.forgery(Dice::new(seed, "forgery"));
    for timed in of_file.into_iter().chain(diverged).chain(forged) {
        let at = faults.partition_point(|other| other.at_ms <= timed.at_ms);
        faults.insert(at, timed);
    }
    // A draw of its own: the storm is the same without.
    let mut dice = Dice::new(seed, "left out");
    Schedule {
        seed,
        world,
        load,
        faults,
        heal_at_ms: STORM_MS,
        left_out: *dice.pick(&[0, 0, 1, 2]).unwrap_or(&0),
        calm_ms: CALM_MS,
    }
}

/// Some runs are busy, for what happens when much comes together, and some are quiet: they cost a
/// fraction, so that more storms are seen for the same work. Even then everybody asks often enough
/// for LIVE-1 to see an answer in time.
fn load(dice: &mut Dice) -> Load {
    let quiet = *dice.pick(&[1, 2, 4]).unwrap_or(&1);
    Load {
        operators: 3,
        operator_pause_ms: quiet * dice.within(200..900),
        readers: 2,
        reader_pause_ms: quiet * dice.within(300..1_200),
        followers: 1,
        devices: 60,
        check_in_ms: quiet * dice.within(800..2_000),
        operators_do: Work::Everything,
    }
}

/// The faults of one run in the making.
struct Storm {
    dice: Dice,
    /// Store nodes by region.
    regions: Vec<Vec<Spot>>,
    stores: Vec<Spot>,
    decisions: Vec<Spot>,
    ruined: usize,
    /// The last one whose disk was slowed down, until it crashes.
    slowed: Option<Spot>,
    /// What comes next, for it follows from what came last.
    next: Option<Fault>,
    /// Store nodes that operators want to vote.
    voters: Vec<Spot>,
}

impl Storm {
    fn new(dice: Dice, world: &WorldSpec) -> Self {
        let stores = world.stores();
        let of = |name: &str| {
            let here = stores.iter().filter(|store| store.region == name);
            here.map(|store| Spot::store(store.id)).collect()
        };
        Self {
            dice,
            regions: world
                .regions
                .iter()
                .map(|region| of(&region.name))
                .collect(),
            stores: stores.iter().map(|store| Spot::store(store.id)).collect(),
            decisions: (1..=world.decision_nodes()).map(Spot::decision).collect(),
            ruined: 0,
            slowed: None,
            next: None,
            voters: stores
                .iter()
                .filter(|store| store.voter)
                .map(|store| Spot::store(store.id))
                .collect(),
        }
    }

    fn faults(&mut self) -> Vec<Timed> {
        let kept: Vec<(u64, Make)> = CLASSES
            .into_iter()
            .filter(|_| self.dice.one_in(2))
            .collect();
        let total: u64 = kept.iter().map(|(weight, _)| weight).sum();
        // Some storms are dense and some are single blows.
        let pause = *self
            .dice
            .pick(&[400, 1_000, 2_500, 6_000])
            .unwrap_or(&1_000);
        let mut faults = Vec::new();
        let mut at_ms = self.dice.within(200..2_000);
        while at_ms < STORM_MS && total > 0 {
            let mut left = self.dice.below(total);
            let make = kept.iter().find(|(weight, _)| {
                let hit = left < *weight;
                left = left.saturating_sub(*weight);
                hit
            });
            let next = self.next.take();
            if let Some(fault) = next.or_else(|| make.and_then(|(_, make)| make(self))) {
                faults.push(Timed { at_ms, fault });
            }
            at_ms += self.dice.within(pause / 4..pause * 2);
        }
        faults
    }

    /// Some machine; the leader more often than chance would have it.
    fn someone(&mut self) -> Spot {
        match self.dice.below(6) {
            0 | 1 => Some(Spot(Spot::LEADER.to_owned())),
            2 => self.dice.pick(&self.decisions).cloned(),
            _ => None,
        }
        .unwrap_or_else(|| self.named())
    }

    /// Some store node; the leader more often than chance would have it.
    fn store(&mut self) -> Spot {
        if self.dice.one_in(3) {
            return Spot(Spot::LEADER.to_owned());
        }
        self.named()
    }

    fn named(&mut self) -> Spot {
        let some = self.dice.pick(&self.stores);
        some.cloned().unwrap_or_else(|| Spot::store(1))
    }

    /// Mostly short, sometimes long.
    fn lasting(&mut self) -> u64 {
        match self.dice.below(4) {
            0 => self.dice.within(20..300),
            1 | 2 => self.dice.within(300..4_000),
            _ => self.dice.within(4_000..15_000),
        }
    }
}

/// Often where a disk is slow: much is not synced there, and whatever had its answer before that is
/// lost.
fn crash(storm: &mut Storm) -> Option<Fault> {
    let slowed = if storm.dice.one_in(2) {
        storm.slowed.take()
    } else {
        None
    };
    let at = slowed.unwrap_or_else(|| storm.someone());
    let for_ms = storm.lasting();
    Some(Fault::Crash { at, for_ms })
}

fn kill(storm: &mut Storm) -> Option<Fault> {
    let (at, for_ms) = (storm.someone(), storm.lasting());
    Some(Fault::Kill { at, for_ms })
}

fn restart(storm: &mut Storm) -> Option<Fault> {
    let (at, for_ms) = (storm.someone(), storm.lasting());
    Some(Fault::Restart { at, for_ms })
}

fn replace(storm: &mut Storm) -> Option<Fault> {
    ruin(storm).map(|at| Fault::Replace { at })
}

/// A voter whose disk may be ruined; none if the run has had enough of that.
fn ruin(storm: &mut Storm) -> Option<Spot> {
    if storm.ruined >= RUINED_MAX {
        return None;
    }
    storm.ruined += 1;
    Some(storm.named())
}

fn pause(storm: &mut Storm) -> Option<Fault> {
    let (at, for_ms) = (storm.someone(), storm.lasting());
    Some(Fault::Pause { at, for_ms })
}

fn cut(storm: &mut Storm) -> Option<Fault> {
    let all = storm.stores.clone();
    let one = storm.someone();
    let others = storm.dice.below(all.len() as u64) + 1;
    let others = storm
        .dice
        .sample(&all, usize::try_from(others).unwrap_or(1));
    let for_ms = storm.lasting();
    let (from, to) = if storm.dice.one_in(2) {
        (vec![one], others)
    } else {
        (others, vec![one])
    };
    Some(Fault::Cut { from, to, for_ms })
}

fn isolate(storm: &mut Storm) -> Option<Fault> {
    let these = if storm.dice.one_in(2) {
        vec![storm.someone()]
    } else {
        let all = storm.stores.clone();
        storm.dice.sample(&all, 2)
    };
    let for_ms = storm.lasting();
    Some(parted(these, for_ms))
}

/// Some machines without all others.
const fn parted(these: Vec<Spot>, for_ms: u64) -> Fault {
    Fault::Isolate {
        these,
        from: Vec::new(),
        for_ms,
    }
}

fn region(storm: &mut Storm) -> Option<Fault> {
    let these = storm.dice.pick(&storm.regions)?.clone();
    let for_ms = storm.lasting();
    Some(parted(these, for_ms))
}

fn flap(storm: &mut Storm) -> Option<Fault> {
    let these = vec![storm.someone()];
    let period_ms = storm.dice.within(100..2_000);
    let for_ms = storm.dice.within(2_000..10_000);
    Some(Fault::Flap {
        these,
        period_ms,
        for_ms,
    })
}

fn loss(storm: &mut Storm) -> Option<Fault> {
    let ppm = u32::try_from(storm.dice.within(1_000..200_000)).ok()?;
    let for_ms = storm.lasting();
    Some(Fault::Loss { ppm, for_ms })
}

fn delay(storm: &mut Storm) -> Option<Fault> {
    let extra_us = storm.dice.within(1_000..400_000);
    let for_ms = storm.lasting();
    Some(Fault::Delay { extra_us, for_ms })
}

fn slow_disk(storm: &mut Storm) -> Option<Fault> {
    let (at, for_ms) = (storm.store(), storm.lasting());
    let sync_us = storm.dice.within(10_000..800_000);
    storm.slowed = Some(at.clone());
    Some(Fault::SlowDisk {
        at,
        sync_us,
        for_ms,
    })
}

fn fail_sync(storm: &mut Storm) -> Option<Fault> {
    // The node remembers and does not start again on that disk.
    let at = ruin(storm)?;
    let after = storm.dice.below(20);
    Some(Fault::FailSync { at, after })
}

fn tear_power(storm: &mut Storm) -> Option<Fault> {
    let (at, for_ms) = (storm.store(), storm.lasting());
    let after = storm.dice.below(120);
    Some(Fault::TearPower { at, after, for_ms })
}

fn flip_bit(storm: &mut Storm) -> Option<Fault> {
    let at = ruin(storm)?;
    let file = storm.dice.pick(&["log", "state.redb"])?;
    let place_ppm = u32::try_from(storm.dice.below(1_000_000)).ok()?;
    let bit = u8::try_from(storm.dice.below(8)).ok()?;
    Some(Fault::FlipBit {
        at,
        file: (*file).to_owned(),
        place_ppm,
        bit,
    })
}

fn full_disk(storm: &mut Storm) -> Option<Fault> {
    let (at, for_ms) = (storm.store(), storm.lasting());
    let free_bytes = storm.dice.below(200_000);
    Some(Fault::FullDisk {
        at,
        free_bytes,
        for_ms,
    })
}

fn clock(storm: &mut Storm) -> Option<Fault> {
    let (at, for_ms) = (storm.someone(), storm.lasting());
    // A lease allows for a hundredth; the store must bear whatever its clocks do.
    let rates = if at.0.starts_with('d') {
        991_000..1_009_000
    } else {
        storm.dice.pick(&STORE_RATES)?.clone()
    };
    let rate_ppm = u32::try_from(storm.dice.within(rates)).ok()?;
    let wall_ms = match storm.dice.below(3) {
        0 => 0,
        1 => signed(storm.dice.below(2_000)) - 1_000,
        _ => signed(storm.dice.below(1_200_000)) - 600_000,
    };
    Some(Fault::Clock {
        at,
        rate_ppm,
        wall_ms,
        for_ms,
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
