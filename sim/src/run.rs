//! One run from a schedule to its trace, in a thread of its own: std's hash maps are seeded per
//! thread, and so are the simulated clocks.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use madsim::runtime::Runtime;
use tidegate_domain::testing::Fleet;
use tidegate_mutant::{Mutant, switch};
use tidegate_runtime::sim::{clear_damaged, clear_skew, clear_ways};

use crate::aborts::in_own_thread;
use crate::coverage::Coverage;
use crate::nemesis::Nemesis;
use crate::oracle::{NEWS, Seen, Violation};
use crate::record::Trace;
use crate::schedule::{Load, Schedule};
use crate::world::World;
use crate::world::settle::HELD_MAX;
use crate::world::witness::{Told, Witness, now_us};

/// The first life of a cluster.
const INCARNATION: u64 = 1;
/// What LIVE-1 allows after healing.
const LIVE_MS: u64 = 10_000;
/// How much longer than planned a run may take before it counts as stuck.
const SLACK: Duration = Duration::from_secs(120);

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Everything that happened.
    pub trace: Trace,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Audit entries that were committed.
    pub entries: u64,
    /// Which states faults struck in, and what else happened.
    pub coverage: Coverage,
    /// Check-ins that were answered.
    pub answers: u64,
    /// What ended it before its time, if that is nothing against the system.
    pub cut_short: Option<CutShort>,
    /// Simulated time.
    pub simulated: Duration,
    /// Real time.
    pub took: Duration,
    /// Processor time.
    pub cpu: Duration,
}

/// Why a run that broke nothing has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutShort {
    /// A database panicked within a panic over a damaged page: a real process would have been gone.
    DamagedDisk,
    /// An assertion of openraft's test builds failed where nothing is wrong.
    FalseAlarm,
}

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DamagedDisk => "a database that died of a damaged page",
            Self::FalseAlarm => "a known false alarm of openraft's test builds",
        })
    }
}

/// Whether a panic is openraft's word on a task that still replicates for a term that is over.
///
/// The log was cut since to a later leader's, and may end before what the task sent last. For that
/// there is an assertion in test builds; but all that it would do is to read nothing, see that its
/// leader is gone, which is announced before a log is cut, and end. Within one term the same assertion
/// is right: a log that shrinks under its own leader.
fn is_false_alarm(panic: &str) -> bool {
    let term = |log_id: &str| -> Option<u64> { log_id.split_once('.')?.0.parse().ok() };
    let terms = || {
        let (_, said) = panic.split_once("read_log_entries received reversed range: ")?;
        let (_, range) = said.split_once("log_id_range: (")?;
        let (after, up_to) = range.split_once(", ")?;
        Some((term(after)?, term(up_to)?))
    };
    terms().is_some_and(|(after, up_to)| after < up_to)
}

impl Report {
    /// Simulated seconds for each second of real time.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.simulated.as_secs_f64() / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// Simulated seconds for each second of processor time: other work on the machine disturbs it
    /// less.
    #[must_use]
    pub fn cpu_speed(&self) -> f64 {
        self.simulated.as_secs_f64() / self.cpu.as_secs_f64().max(f64::EPSILON)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records, {} entries, {} check-ins, {:.0} s simulated in {:.2} s ({:.0}x), CPU \
             {:.2} s ({:.0}x), trace {}",
            self.trace.records().len(),
            self.entries,
            self.answers,
            self.simulated.as_secs_f64(),
            self.took.as_secs_f64(),
            self.speed(),
            self.cpu.as_secs_f64(),
            self.cpu_speed(),
            &self.trace.hash()[..16],
        )?;
        match self.cut_short {
            Some(why) => write!(f, ", cut short by {why}"),
            None => Ok(()),
        }
    }
}

/// Runs a schedule to its end, or to the first violation.
#[must_use]
pub fn run(schedule: Schedule) -> Report {
    run_with(schedule, None)
}

/// Runs a schedule with a known bug switched on.
#[must_use]
pub fn run_with(schedule: Schedule, mutant: Option<Mutant>) -> Report {
    let witness = Witness::new(Fleet::ORIGIN, INCARNATION);
    let began = std::time::Instant::now();
    let simulation = {
        let witness = witness.clone();
        move || {
            switch(mutant);
            let mut runtime =
                Runtime::with_seed_and_config(schedule.seed, madsim::Config::default());
            let planned = Duration::from_millis(schedule.heal_at_ms + schedule.calm_ms);
            runtime.set_time_limit(planned + SLACK);
            runtime.block_on(story(schedule, witness))
        }
    };
    let ended = in_own_thread(move || {
        let ended = std::panic::catch_unwind(AssertUnwindSafe(simulation));
        clear_skew();
        clear_ways();
        clear_damaged();
        (ended, thread_cpu())
    });
    let died_of_disk = ended.as_ref().is_err_and(|abort| abort.contained);
    let (ended, cpu) = match ended {
        Ok((ended, cpu)) => (ended.map_err(|panic| said(panic.as_ref())), cpu),
        Err(_) => (Err("a panic within a panic".to_owned()), began.elapsed()),
    };
    let Told {
        trace,
        mut violations,
        entries,
        answers,
    } = witness.told();
    let cut_short = match &ended {
        Err(_) if died_of_disk => Some(CutShort::DamagedDisk),
        Err(detail) if is_false_alarm(detail) => Some(CutShort::FalseAlarm),
        _ => None,
    };
    let simulated = match ended {
        Ok(simulated) => simulated,
        Err(detail) => {
            if cut_short.is_none() {
                let id = "PANIC";
                violations.push(Violation { id, detail });
            }
            let last = trace.records().last().map_or(0, |record| record.at_us);
            Duration::from_micros(last)
        }
    };
    Report {
        trace,
        violations,
        entries,
        coverage: witness.coverage(),
        answers,
        cut_short,
        simulated,
        took: began.elapsed(),
        cpu,
    }
}

/// What this thread has cost so far.
fn thread_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

async fn story(schedule: Schedule, witness: Witness) -> Duration {
    let world = World::start(&schedule, witness.clone()).await;
    let nemesis = Nemesis::new(world.clone(), schedule.seed);
    nemesis.storm(&schedule).await;
    if !witness.is_broken() {
        calm(&schedule, &world, &nemesis).await;
        world.show_logs();
        witness.end();
    }
    let simulated = Duration::from_micros(now_us());
    world.end().await;
    simulated
}

/// After the storm everything must make progress.
async fn calm(schedule: &Schedule, world: &World, nemesis: &Nemesis) {
    nemesis.heal();
    world.settle(&BTreeSet::new(), HELD_MAX).await;
    let left_out = nemesis.leave_out(schedule).await;
    let deadline_us = now_us() + LIVE_MS * 1_000;
    let awaited = awaited(schedule);
    world.witness.see(&Seen::Healed {
        deadline_us,
        awaited: &awaited,
    });
    let over_us = now_us() + schedule.calm_ms * 1_000;
    let known = world.witness.entries_known();
    world
        .agree(known, &left_out, Duration::from_millis(schedule.calm_ms))
        .await;
    let left = Duration::from_micros(over_us.saturating_sub(now_us()));
    madsim::time::sleep(left).await;
}

/// What must happen again: only what somebody asks for can.
fn awaited(schedule: &Schedule) -> Vec<String> {
    let Load {
        operators,
        readers,
        followers,
        devices,
        ..
    } = schedule.load;
    let mut awaited = vec!["agreement".to_owned()];
    if operators > 0 {
        awaited.push("a command".to_owned());
        awaited.extend((1..=followers).map(|number| format!("{NEWS}f{number}")));
    }
    if readers > 0 {
        awaited.push("a read".to_owned());
    }
    if devices > 0 {
        let nodes = 1..=schedule.world.decision_nodes();
        awaited.extend(nodes.map(|number| format!("a lease at d{number}")));
    }
    awaited
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the simulator (seed 163884142293465).
    #[test]
    fn only_a_log_cut_to_a_later_leaders_is_a_false_alarm() {
        let reversed = |range: &str| {
            format!(
                "assertion `left == right` failed: read_log_entries received reversed range: \
                 start(102) > end(100), log_id_range: {range}\n  left: 102\n right: 100"
            )
        };
        assert!(is_false_alarm(&reversed("(7.101, 8.99]")));
        assert!(!is_false_alarm(&reversed("(7.101, 7.99]")));
        assert!(!is_false_alarm(&reversed("(8.101, 7.99]")));
        assert!(!is_false_alarm("log_id_range: (7.101, 8.99]"));
    }
}
