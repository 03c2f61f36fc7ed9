//! From the moment a command is sent until watchers hear of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow};
use futures::StreamExt as _;
use tokio::task::JoinSet;

use crate::probe::{Better, Head, Probe, Round};
use crate::samples::percentile;
use crate::server::NODES;
use crate::system::{Client, System, Told, Work};

/// Commands are asked for at this pace, whether or not earlier ones have come through.
const EVERY: Duration = Duration::from_millis(20);
/// How long the last events may take.
const GRACE: Duration = Duration::from_secs(2);
/// Most watchers on one connection.
const WATCHERS_A_CONNECTION: usize = 64;

/// Watchers, spread over the nodes.
pub(super) struct Fanout {
    pub(super) watchers: usize,
    pub(super) lasts: Duration,
}

/// A command that was accepted: its position, and when it was sent.
type Sent = (u64, Instant);
/// What a watcher heard: positions, and when.
type Heard = Vec<(u64, Instant)>;

impl Probe for Fanout {
    fn head(&self) -> Head {
        Head {
            name: "watch_fanout",
            clients: self.watchers,
            unit: "ms p99",
            better: Better::Less,
        }
    }

    async fn round<S: System>(&self, system: &mut S) -> Result<Round> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut watchers = watchers(system, self.watchers, &stop).await?;
        let before = system.servers().usage()?;
        let (asked, sent) = commands(system, self.lasts).await?;
        tokio::time::sleep(GRACE).await;
        let used = system.servers().usage()?.since(before);
        stop.store(true, Ordering::Relaxed);
        let (mut heard, mut lost) = (Vec::new(), 0_u32);
        while let Some(watcher) = watchers.join_next().await {
            let (all, why) = watcher.context("a watcher has panicked")?;
            heard.push(all);
            if let Some(why) = why {
                eprintln!("  a watch has ended: {why:#}");
                lost += 1;
            }
        }
        let mut round = outcome(&sent, &heard)?;
        round.also("watches_ended", (lost > 0).then(|| f64::from(lost)));
        round.cpu_us = Some(used.cpu_us / sent.len() as f64);
        round.also("asked", Some(f64::from(asked)));
        Ok(round)
    }
}

async fn watchers<S: System>(
    system: &S,
    count: usize,
    stop: &Arc<AtomicBool>,
) -> Result<JoinSet<(Heard, Option<Error>)>> {
    let connections = count.div_ceil(WATCHERS_A_CONNECTION).max(NODES);
    let connections: Vec<S::Client> = (0..connections)
        .map(|at| system.connect(at % NODES))
        .collect::<Result<_>>()?;
    let mut watchers = JoinSet::new();
    for at in 0..count {
        let client = connections[at % connections.len()].clone();
        let told = client.watch().await.context("a watch does not begin")?;
        watchers.spawn(listen(told, Arc::clone(stop)));
    }
    Ok(watchers)
}

/// Notes what comes until it is told to stop, or cannot go on: then with why.
async fn listen(mut told: Told, stop: Arc<AtomicBool>) -> (Heard, Option<Error>) {
    let mut heard = Heard::new();
    while !stop.load(Ordering::Relaxed) {
        match tokio::time::timeout(GRACE / 4, told.next()).await {
            Ok(Some(Ok(positions))) => {
                let now = Instant::now();
                heard.extend(positions.map(|position| (position, now)));
            }
            Ok(Some(Err(error))) => return (heard, Some(error)),
            Ok(None) => return (heard, Some(anyhow!("the node ended it"))),
            // Nothing new: look whether it is time to stop.
            Err(_) => {}
        }
    }
    (heard, None)
}

/// Sends commands at a steady pace; how many, and those that were accepted.
async fn commands<S: System>(system: &S, lasts: Duration) -> Result<(u32, Vec<Sent>)> {
    let clients: Vec<S::Client> = (0..NODES)
        .map(|node| system.connect(node))
        .collect::<Result<_>>()?;
    let mut pace = tokio::time::interval(EVERY);
    let mut running = JoinSet::new();
    let (mut asked, began) = (0, Instant::now());
    while began.elapsed() < lasts {
        pace.tick().await;
        let client = clients[asked as usize % NODES].clone();
        let op = client.make(Work::Signed);
        asked += 1;
        running.spawn(async move {
            let sent = Instant::now();
            let position = client.write(op).await;
            position.map(|position| (position, sent))
        });
    }
    let mut sent = Vec::new();
    while let Some(ended) = running.join_next().await {
        // What was refused or timed out has not come through, and is counted by that.
        sent.extend(ended.context("a command has panicked")?.ok());
    }
    Ok((asked, sent))
}

fn outcome(sent: &[Sent], heard: &[Heard]) -> Result<Round> {
    let mut latencies = Vec::new();
    let mut through = 0;
    for (position, began) in sent {
        let came = heard.iter().filter_map(|heard| {
            let at = heard.binary_search_by_key(position, |(position, _)| *position);
            Some((heard[at.ok()?].1 - *began).as_secs_f64() * 1e3)
        });
        let came: Vec<f64> = came.collect();
        through += u32::from(came.len() == heard.len());
        latencies.extend(came);
    }
    let worst = percentile(&mut latencies, 0.99).context("no watcher heard of any command")?;
    let mut round = Round::of(worst);
    round.also("p50_ms", percentile(&mut latencies, 0.5));
    round.also("came_through", Some(f64::from(through)));
    Ok(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_came_through_when_every_watcher_heard_of_it() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let sent = [(4, began), (6, began), (7, began)];
        let heard = [
            vec![(4, after(1)), (5, after(1)), (6, after(3))],
            vec![(4, after(2)), (5, after(2))],
        ];
        let round = outcome(&sent, &heard).unwrap();
        assert!((round.value - 3.0).abs() < 0.001, "{round:?}");
        assert!(round.also.contains(&("came_through", 1.0)), "{round:?}");
        assert!(outcome(&sent, &[Vec::new()]).is_err());
    }
}
