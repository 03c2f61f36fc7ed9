//! How long clients go without an answer when the leader is lost or hands over.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::load::{Lane, Loop, Plan, Task};
use crate::probe::{Better, Head, Probe, Round};
use crate::server::NODES;
use crate::system::{System, Work};

/// Clients who write all the time, each with one request.
const CLIENTS: usize = 8;
/// They write for so long before anything happens.
const QUIET: Duration = Duration::from_secs(1);

/// A request that was lost with the leader is given up after so long, and another one sent: what is
/// looked for is when the cluster answers again, not how patient clients are.
const PATIENCE: Duration = Duration::from_millis(300);

/// As `leader_kill_gap`, of a cluster with the timers for one machine. etcd has but one kind.
pub(crate) const LOOPBACK_GAP: &str = "leader_kill_gap_loopback";

/// What becomes of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// SIGKILL.
    Killed,
    /// It is asked to hand over.
    Planned,
}

pub(super) struct Gap {
    pub(super) loss: Loss,
    /// Of the cluster with the timers for one machine.
    pub(super) loopback: bool,
}

impl Loss {
    /// How long to look for the gap.
    const fn looked_for(self) -> Duration {
        match self {
            Self::Killed => Duration::from_secs(6),
            Self::Planned => Duration::from_secs(3),
        }
    }
}

impl Probe for Gap {
    fn head(&self) -> Head {
        Head {
            name: match (self.loss, self.loopback) {
                (Loss::Killed, false) => "leader_kill_gap",
                (Loss::Killed, true) => LOOPBACK_GAP,
                (Loss::Planned, _) => "planned_transfer",
            },
            clients: CLIENTS,
            unit: "ms",
            better: Better::Less,
        }
    }

    async fn round<S: System>(&self, system: &mut S) -> Result<Round> {
        let leader = system.leader().await?;
        let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let plan = Plan {
            patience: PATIENCE,
            ..Plan::of(Task::Write(Work::Plain), CLIENTS, Duration::ZERO)
        };
        let load = Loop::start(system, &others, plan)?;
        tokio::time::sleep(QUIET).await;
        let lost = Instant::now();
        match self.loss {
            Loss::Killed => drop(system.servers().0[leader].kill()?),
            Loss::Planned => system.transfer(leader, others[0]).await?,
        }
        let took = lost.elapsed();
        tokio::time::sleep(self.loss.looked_for()).await;
        let lanes = load.end().await?;
        if self.loss == Loss::Killed {
            system.servers().0[leader].start_again()?;
            system.settle().await?;
        } else {
            ensure!(system.leader().await? == others[0], "it did not take over");
        }
        let came = answers(&lanes);
        let quiet = longest(&came, lost - QUIET / 2, lost).context("no answers before")?;
        let ended = lost + self.loss.looked_for();
        let gap = longest(&came, lost, ended).context("no answers after")?;
        let mut round = Round::of(gap);
        round.also("before_ms", Some(quiet));
        if self.loss == Loss::Planned {
            round.also("call_ms", Some(took.as_secs_f64() * 1e3));
        }
        round.also(
            "failed",
            Some(lanes.iter().map(|l| l.failed).sum::<u64>() as f64),
        );
        Ok(round)
    }
}

/// When answers came, of all clients together.
fn answers(lanes: &[Lane]) -> Vec<Instant> {
    let mut came: Vec<_> = lanes
        .iter()
        .flat_map(|lane| &lane.answers)
        .map(|a| a.came)
        .collect();
    came.sort_unstable();
    came
}

/// The longest time in ms between two answers, the later of which came between `from` and `to`.
/// `None` if no answer came then: there is no telling how long the gap was.
fn longest(came: &[Instant], from: Instant, to: Instant) -> Option<f64> {
    let within = came
        .windows(2)
        .filter(|pair| pair[1] >= from && pair[1] < to);
    let gaps = within.map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3);
    gaps.max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_without_an_answer() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let came = [0, 400, 410, 415, 1_500, 1_510].map(after);
        let gap = |from, to| longest(&came, after(from), after(to)).map(f64::round);
        assert_eq!(gap(405, 2_000), Some(1_085.0));
        assert_eq!(gap(405, 500), Some(10.0));
        assert_eq!(gap(1_600, 2_000), None);
    }
}
