//! Rounds in turns: the cluster that is not measured is stopped meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::etcd::Etcd;
use crate::ours::Ours;
use crate::probe::{Probe, Round, row};
use crate::report::Row;
use crate::system::System;

/// How long a round may take, whatever it measures: more is a cluster that hangs.
const ROUND_MAX: Duration = Duration::from_secs(180);

/// The clusters. Outside of rounds none of them runs.
pub(crate) struct Contest {
    pub(crate) ours: Ours,
    /// With the timers for one machine, if a row asks for them.
    pub(crate) loopback: Option<Ours>,
    pub(crate) etcd: Option<Etcd>,
    pub(crate) rounds: usize,
}

impl Contest {
    pub(crate) async fn compare(&mut self, probe: &impl Probe) -> Result<Row> {
        let (mut ours, mut etcd) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            ours.push(round(&mut self.ours, probe).await.context("ours")?);
            if let Some(system) = &mut self.etcd {
                etcd.push(round(system, probe).await.context("etcd")?);
            }
        }
        row(probe.head(), &ours, &etcd)
    }

    /// As [`Self::compare`], with the cluster that has the timers for one machine.
    pub(crate) async fn compare_loopback(&mut self, probe: &impl Probe) -> Result<Row> {
        let loopback = self.loopback.take().context("it was not started")?;
        let usual = std::mem::replace(&mut self.ours, loopback);
        let row = self.compare(probe).await;
        self.loopback = Some(std::mem::replace(&mut self.ours, usual));
        row
    }
}

async fn round<S: System>(system: &mut S, probe: &impl Probe) -> Result<Round> {
    let measured = awake(system, async |system: &mut S| {
        let round = tokio::time::timeout(ROUND_MAX, probe.round(system));
        round.await.context("the round took too long")?
    });
    measured.await
}

/// Lets a cluster run for as long as `work` takes.
pub(crate) async fn awake<S: System, T>(
    system: &mut S,
    work: impl AsyncFnOnce(&mut S) -> Result<T>,
) -> Result<T> {
    system.servers().go_on()?;
    let done = match system.settle().await {
        Ok(()) => work(system).await,
        Err(error) => Err(error),
    };
    // A server that has ended cannot be stopped; why it ended is what `done` says.
    let paused = system.servers().pause();
    let done = done?;
    paused?;
    Ok(done)
}
