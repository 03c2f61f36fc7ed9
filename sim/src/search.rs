//! The search for a seed that breaks something: fresh seeds, one after the other, until the time is
//! up.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::generate;
use crate::oracle::Violation;
use crate::run::{Report, run};

/// Seeds that may break something before the search gives up: more would tell nothing new.
const FAILURES_MAX: usize = 10;
/// Between two lines that say how far the search got.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What to search.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed; the others follow it.
    pub base_seed: u64,
    /// How long to begin with new seeds, in real time. At least one is run by each thread.
    pub budget: Duration,
    /// How many seeds are run side by side; at least one.
    pub threads: usize,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Runs that ended.
    pub seeds: u64,
    /// Simulated time over all runs.
    pub simulated: Duration,
    /// Processor time over all runs.
    pub cpu: Duration,
    /// Real time since the search began.
    pub took: Duration,
    /// Audit entries that were committed.
    pub entries: u64,
    /// Check-ins that were answered.
    pub answers: u64,
    /// Which states faults struck in, and what else happened.
    pub coverage: Coverage,
    /// Runs of these that ended before their time without breaking anything.
    pub cut_short: u64,
    /// Seeds that broke something, and what first.
    pub failures: Vec<(u64, Violation)>,
}

impl Tally {
    fn add(&mut self, seed: u64, report: &Report) {
        self.seeds += 1;
        self.cut_short += u64::from(report.cut_short.is_some());
        self.simulated += report.simulated;
        self.cpu += report.cpu;
        self.entries += report.entries;
        self.answers += report.answers;
        self.coverage.add(&report.coverage);
        if let Some(first) = report.violations.first() {
            self.failures.push((seed, first.clone()));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let simulated = self.simulated.as_secs_f64();
        let rate = |count: u64| count as f64 / simulated.max(f64::EPSILON);
        let speed = |took: Duration| simulated / took.as_secs_f64().max(f64::EPSILON);
        write!(
            f,
            "{} seeds, {:.2} h simulated in {:.0} s ({:.0}x; {:.0}x for each second of CPU), {:.1} \
             entries/s and {:.1} check-ins/s, {} cut short, {} failed",
            self.seeds,
            simulated / 3_600.0,
            self.took.as_secs_f64(),
            speed(self.took),
            speed(self.cpu),
            rate(self.entries),
            rate(self.answers),
            self.cut_short,
            self.failures.len(),
        )
    }
}

/// What is told while a search goes on.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// A seed broke something.
    Broken {
        /// The seed.
        seed: u64,
        /// What broke first.
        violation: &'a Violation,
    },
    /// How far the search got.
    Progress(&'a Tally),
}

impl fmt::Display for News<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { seed, violation } => write!(
                f,
                "seed {seed}: {} BROKEN: {}\n  repeat it with: cargo xtask chaos run --seed {seed}",
                violation.id, violation.detail
            ),
            Self::Progress(tally) => tally.fmt(f),
        }
    }
}

/// Runs fresh seeds until the budget is spent or too much is broken. `tell` hears of every broken
/// seed at once, and every now and then how far the search got.
pub fn search(plan: Plan, tell: impl Fn(News<'_>) + Sync) -> Tally {
    search_by(|seed| run(generate::schedule(seed)), plan, tell)
}

fn search_by(
    run: impl Fn(u64) -> Report + Sync,
    plan: Plan,
    tell: impl Fn(News<'_>) + Sync,
) -> Tally {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let progress = Mutex::new(Progress {
        tally: Tally::default(),
        told: began,
    });
    let work = || {
        loop {
            let count = next.fetch_add(1, Ordering::Relaxed);
            let seed = plan.base_seed.wrapping_add(count);
            let report = run(seed);
            let over = {
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.add(seed, &report, began.elapsed(), &tell);
                progress.is_over(plan.budget)
            };
            if over {
                return;
            }
        }
    };
    side_by_side(plan.threads, work);
    let progress = progress.into_inner();
    let mut tally = progress.unwrap_or_else(PoisonError::into_inner).tally;
    tally.failures.sort_by_key(|(seed, _)| *seed);
    tally
}

/// Does the same work on so many threads, at least one, and returns when all have ended.
#[expect(
    clippy::disallowed_methods,
    reason = "outside the simulator: real threads around whole runs"
)]
pub fn side_by_side(threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(&work);
        }
    });
}

/// What all threads of a search share.
struct Progress {
    tally: Tally,
    /// When it was last told how far the search got.
    told: Instant,
}

impl Progress {
    /// Counts a run, and tells what is new.
    fn add(&mut self, seed: u64, report: &Report, took: Duration, tell: impl Fn(News<'_>)) {
        self.tally.add(seed, report);
        self.tally.took = took;
        if let Some(violation) = report.violations.first() {
            tell(News::Broken { seed, violation });
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            tell(News::Progress(&self.tally));
        }
    }

    fn is_over(&self, budget: Duration) -> bool {
        self.tally.took >= budget || self.tally.failures.len() >= FAILURES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Trace;

    /// A run of no time in which every seed that `breaks` says breaks an invariant.
    fn fake(seed: u64, breaks: impl Fn(u64) -> bool) -> Report {
        let violation = Violation {
            id: "LOG-2",
            detail: "lost".to_owned(),
        };
        Report {
            trace: Trace::default(),
            violations: breaks(seed).then_some(violation).into_iter().collect(),
            entries: 3,
            answers: 5,
            cut_short: None,
            simulated: Duration::from_secs(42),
            took: Duration::ZERO,
            cpu: Duration::from_secs(1),
            coverage: Coverage::default(),
        }
    }

    fn plan(budget: Duration, threads: usize) -> Plan {
        Plan {
            base_seed: 100,
            budget,
            threads,
        }
    }

    #[test]
    fn every_thread_runs_a_seed_of_its_own_and_all_are_counted() {
        let seeds = Mutex::new(Vec::new());
        let run = |seed| {
            seeds.lock().unwrap().push(seed);
            fake(seed, |_| false)
        };
        let tally = search_by(run, plan(Duration::ZERO, 3), |news| panic!("told {news}"));
        let mut seeds = seeds.into_inner().unwrap();
        seeds.sort_unstable();
        assert_eq!(seeds, [100, 101, 102]);
        assert_eq!((tally.seeds, tally.entries, tally.answers), (3, 9, 15));
        assert_eq!(tally.simulated, Duration::from_secs(126));
        assert!(tally.failures.is_empty());
    }

    #[test]
    fn a_broken_seed_is_told_with_its_number_and_the_search_gives_up_after_many() {
        let told = Mutex::new(Vec::new());
        let breaks = |seed: u64| seed.is_multiple_of(2);
        let tell = |news: News<'_>| told.lock().unwrap().push(news.to_string());
        let long = plan(Duration::from_secs(3_600), 1);
        let tally = search_by(|seed| fake(seed, breaks), long, tell);
        assert_eq!(tally.failures.len(), FAILURES_MAX);
        assert_eq!(tally.seeds, 19, "the tenth even number after 99 ends it");
        let told = told.into_inner().unwrap();
        assert_eq!(told.len(), FAILURES_MAX);
        assert!(
            told[1].starts_with("seed 102: LOG-2 BROKEN: lost"),
            "{told:?}"
        );
        assert!(told[1].contains("run --seed 102"), "{told:?}");
    }
}
