//! A closed loop: every client sends its next request when the last one was answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::probe::Round;
use crate::samples::percentile;
use crate::server::{NODES, Usage};
use crate::system::{ANSWER_MAX, Client, System, Work};

/// Connections to each cluster, spread over its nodes; clients share them.
const CONNECTIONS: usize = 2 * NODES;
/// Not measured at the beginning of each round: connections open, and batches find their size.
pub(crate) const WARM_UP: Duration = Duration::from_millis(700);
/// Signed commands that are made for each second of a round before it begins, so that signing them
/// takes nobody's time. More than any round has needed; whoever needs more signs in the loop.
const SIGNED_A_SECOND: f64 = 6_000.0;
/// A client whose request failed tries its next one after this.
const PAUSE: Duration = Duration::from_millis(5);

/// A loop: who does what, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) task: Task,
    pub(crate) clients: usize,
    /// So long are writes made ahead for, where that takes time.
    pub(crate) lasts: Duration,
    /// A client gives up a request after so long, and sends another.
    pub(crate) patience: Duration,
}

impl Plan {
    /// A loop of patient clients.
    pub(crate) const fn of(task: Task, clients: usize, lasts: Duration) -> Self {
        Self {
            task,
            clients,
            lasts,
            patience: ANSWER_MAX,
        }
    }
}

/// What the clients of a loop do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Write(Work),
    Read,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) sent: Instant,
    pub(crate) came: Instant,
}

/// Clients in a loop, until they are asked what came of it.
pub(crate) struct Loop {
    stop: Arc<AtomicBool>,
    lanes: Vec<tokio::task::JoinHandle<Lane>>,
}

/// What one client saw.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) answers: Vec<Answered>,
    pub(crate) failed: u64,
    pub(crate) why: Option<String>,
}

/// Writes that were made before they were needed.
struct Stock<T> {
    made: Vec<T>,
    next: AtomicUsize,
}

impl<T: Clone> Stock<T> {
    fn take(&self) -> Option<T> {
        self.made
            .get(self.next.fetch_add(1, Ordering::Relaxed))
            .cloned()
    }
}

impl Loop {
    /// Starts clients of some nodes of a system.
    pub(crate) fn start<S: System>(system: &S, nodes: &[usize], plan: Plan) -> Result<Self> {
        let connections: Vec<S::Client> = nodes
            .iter()
            .cycle()
            .take(CONNECTIONS)
            .map(|node| system.connect(*node))
            .collect::<Result<_>>()?;
        let first = connections.first().context("no connection")?;
        let ahead = match plan.task {
            Task::Write(Work::Signed) => (plan.lasts + WARM_UP).as_secs_f64() * SIGNED_A_SECOND,
            Task::Write(Work::Plain) | Task::Read => 0.0,
        };
        let stock = Arc::new(Stock {
            made: (0..ahead as usize)
                .map(|_| first.make(Work::Signed))
                .collect(),
            next: AtomicUsize::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let lanes = (0..plan.clients).map(|lane| {
            let client = connections[lane % CONNECTIONS].clone();
            tokio::spawn(lane_of(client, plan, Arc::clone(&stock), Arc::clone(&stop)))
        });
        Ok(Self {
            lanes: lanes.collect(),
            stop,
        })
    }

    /// Ends it, and says what each client saw.
    pub(crate) async fn end(mut self) -> Result<Vec<Lane>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut lanes = Vec::with_capacity(self.lanes.len());
        for lane in std::mem::take(&mut self.lanes) {
            lanes.push(lane.await.context("a client has panicked")?);
        }
        Ok(lanes)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.lanes.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn lane_of<C: Client>(
    client: C,
    plan: Plan,
    stock: Arc<Stock<C::Op>>,
    stop: Arc<AtomicBool>,
) -> Lane {
    let mut lane = Lane::default();
    while !stop.load(Ordering::Relaxed) {
        let op = match plan.task {
            Task::Write(work) => Some(stock.take().unwrap_or_else(|| client.make(work))),
            Task::Read => None,
        };
        let sent = Instant::now();
        let answer = async {
            match op {
                Some(op) => client.write(op).await.map(|_| ()),
                None => client.read().await,
            }
        };
        let answer = tokio::time::timeout(plan.patience, answer).await;
        let came = Instant::now();
        match answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time"))) {
            Ok(()) => lane.answers.push(Answered { sent, came }),
            Err(error) => {
                lane.failed += 1;
                lane.why.get_or_insert_with(|| format!("{error:#}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    lane
}

/// What a loop did between two moments.
pub(crate) struct Window {
    pub(crate) seconds: f64,
    pub(crate) latencies_ms: Vec<f64>,
    pub(crate) failed: u64,
    pub(crate) why: Option<String>,
}

impl Window {
    pub(crate) fn of(lanes: Vec<Lane>, from: Instant, to: Instant) -> Self {
        let mut window = Self {
            seconds: (to - from).as_secs_f64(),
            latencies_ms: Vec::new(),
            failed: 0,
            why: None,
        };
        for lane in lanes {
            let within = lane
                .answers
                .iter()
                .filter(|a| a.came >= from && a.came < to);
            let latency = |a: &Answered| (a.came - a.sent).as_secs_f64() * 1e3;
            window.latencies_ms.extend(within.map(latency));
            window.failed += lane.failed;
            window.why = window.why.or(lane.why);
        }
        window
    }

    pub(crate) fn answers(&self) -> f64 {
        self.latencies_ms.len() as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.answers() / self.seconds
    }

    /// The round that it was: as fast as it answered, with the middle and the tail of its times.
    pub(crate) fn round(mut self, used: Usage) -> Result<Round> {
        let answers = self.answers();
        anyhow::ensure!(
            answers > 0.0,
            "nothing was answered: {}",
            self.why.unwrap_or_default()
        );
        let mut round = Round::of(self.rate());
        round.cpu_us = Some(used.cpu_us / answers);
        for (name, share) in [("p50_ms", 0.5), ("p99_ms", 0.99)] {
            round.also(name, percentile(&mut self.latencies_ms, share));
        }
        if self.failed > 0 {
            eprintln!(
                "  {} requests failed: {}",
                self.failed,
                self.why.unwrap_or_default()
            );
            round.also("failed", Some(self.failed as f64));
        }
        Ok(round)
    }
}

/// Runs a loop over all nodes, and measures what comes after the warm-up.
pub(crate) async fn measure<S: System>(
    system: &mut S,
    task: Task,
    clients: usize,
    lasts: Duration,
) -> Result<(Window, Usage)> {
    let nodes: Vec<usize> = (0..NODES).collect();
    let load = Loop::start(system, &nodes, Plan::of(task, clients, lasts))?;
    tokio::time::sleep(WARM_UP).await;
    let (from, before) = (Instant::now(), system.servers().usage()?);
    tokio::time::sleep(lasts).await;
    let (to, after) = (Instant::now(), system.servers().usage()?);
    let lanes = load.end().await?;
    system.servers().check()?;
    Ok((Window::of(lanes, from, to), after.since(before)))
}
