//! Writes and reads in a closed loop.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::load::{Loop, Plan, Task, WARM_UP, Window, measure};
use crate::probe::{Better, Head, Probe, Round};
use crate::server::NODES;
use crate::system::{System, Work};

/// So many clients, each with one request at a time.
pub(super) struct Closed {
    pub(super) name: &'static str,
    pub(super) task: Task,
    pub(super) clients: usize,
    pub(super) lasts: Duration,
}

impl Probe for Closed {
    fn head(&self) -> Head {
        Head {
            name: self.name,
            clients: self.clients,
            unit: "ops/s",
            better: Better::More,
        }
    }

    async fn round<S: System>(&self, system: &mut S) -> Result<Round> {
        let term = system.term().await?;
        let (window, used) = measure(system, self.task, self.clients, self.lasts).await?;
        let mut round = window.round(used)?;
        round.also("elections", Some((system.term().await? - term) as f64));
        if self.task == Task::Write(Work::Signed) {
            round.also("verify_us", system.verification_us());
        }
        Ok(round)
    }
}

/// What a write costs the disk of a node when nothing shares its sync.
pub(super) struct BytesWritten {
    pub(super) lasts: Duration,
}

impl Probe for BytesWritten {
    fn head(&self) -> Head {
        Head {
            name: "bytes_written",
            clients: 1,
            unit: "B/write/node",
            better: Better::Less,
        }
    }

    async fn round<S: System>(&self, system: &mut S) -> Result<Round> {
        let (window, used) = measure(system, Task::Write(Work::Plain), 1, self.lasts).await?;
        Ok(Round::of(
            used.disk_bytes as f64 / window.answers() / NODES as f64,
        ))
    }
}

/// Readers who share the cluster with many writers.
pub(super) struct BesideWriters {
    pub(super) lasts: Duration,
}

const READERS: usize = 16;
const WRITERS: usize = 256;

impl Probe for BesideWriters {
    fn head(&self) -> Head {
        Head {
            name: "read_beside_writers",
            clients: READERS,
            unit: "reads/s",
            better: Better::More,
        }
    }

    async fn round<S: System>(&self, system: &mut S) -> Result<Round> {
        let nodes: Vec<usize> = (0..NODES).collect();
        let task = Task::Write(Work::Plain);
        let writers = Loop::start(system, &nodes, Plan::of(task, WRITERS, self.lasts))?;
        tokio::time::sleep(WARM_UP).await;
        let from = Instant::now();
        let (reads, used) = measure(system, Task::Read, READERS, self.lasts).await?;
        let writes = Window::of(writers.end().await?, from, Instant::now());
        let mut round = reads.round(used)?;
        // It is the writers' more than the readers', and says nothing of one read.
        round.cpu_us = None;
        round.also("writes_per_s", Some(writes.rate()));
        Ok(round)
    }
}
