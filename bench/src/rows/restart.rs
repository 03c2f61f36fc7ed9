//! From the start of a node that was killed until it serves all that its cluster has.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::probe::{Better, Head, Probe, Round};
use crate::server::NODES;
use crate::system::{Client, System};

pub(super) struct Restart;

/// How often a node is asked how far it is.
const EVERY: Duration = Duration::from_millis(10);

impl Probe for Restart {
    fn head(&self) -> Head {
        Head {
            name: "restart",
            clients: 1,
            unit: "ms",
            better: Better::Less,
        }
    }

    async fn round<S: System>(&self, system: &mut S) -> Result<Round> {
        let leader = system.leader().await?;
        let node = (leader + 1) % NODES;
        let log = system.connect(leader)?.applied().await?;
        system.servers().0[node].kill()?;
        let began = Instant::now();
        system.servers().0[node].start_again()?;
        let client = system.connect(node)?;
        // A node that is not there yet answers with an error.
        while client.applied().await.unwrap_or_default() < log {
            system.servers().check().context("the node ended again")?;
            tokio::time::sleep(EVERY).await;
        }
        let mut round = Round::of(began.elapsed().as_secs_f64() * 1e3);
        round.also("entries", Some(log as f64));
        Ok(round)
    }
}
