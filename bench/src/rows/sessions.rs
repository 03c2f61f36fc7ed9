//! Sessions of decision nodes that report and draw budgets, beside clients who put values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tidegate_client::{ClientConfig, Position, StoreClient, View};
use tidegate_domain::command::{AdvanceSession, OpenSession, Operation, Tally};
use tidegate_domain::event::refused_operations;
use tidegate_domain::id::{Instance, LogTime, Sequence, SessionId, WaveIndex};
use tidegate_domain::node::PoolKey;
use tidegate_domain::tally::{Arm, Counts, Stratum, TallyKey};
use tidegate_domain::{Command, Event};
use tidegate_runtime::{Clock as _, SystemClock};
use tokio::task::JoinSet;

use super::fleet::Fleet;
use crate::contest::{Contest, awake};
use crate::load::{Answered, Lane, Task, WARM_UP, Window, measure};
use crate::ours::{Key, ORIGIN, OurClient, Ours};
use crate::probe::{Better, Head, Round, row as row_of};
use crate::report::Row;
use crate::server::NODES;
use crate::system::{System as _, Work};

/// Sessions that are open at a time.
const SESSIONS: usize = 20;
/// Clients who put values meanwhile, where there are no sessions.
const PUTTERS: usize = 64;
/// Pools that a session holds budgets in, and tallies in one report.
const POOLS: usize = 64;
/// Grants in one envelope.
const GRANTS: usize = 8;
/// Admissions that a session holds in each pool when it begins to report: more than it reports of.
const HELD: u64 = 100_000;
/// Enough for all sessions of all rounds.
const CREDIT: u64 = 1_000_000_000;

/// What the sessions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Each envelope reports on one device in each of the pools.
    Rows,
    /// Each envelope asks for admissions in some of the pools.
    Grants,
}

impl Doing {
    pub(super) const ALL: [Self; 2] = [Self::Rows, Self::Grants];

    pub(super) const fn head(self) -> Head {
        let (name, unit) = match self {
            Self::Rows => ("session_rows", "rows/s"),
            Self::Grants => ("session_grants", "grants/s"),
        };
        Head {
            name,
            clients: SESSIONS,
            unit,
            better: Better::More,
        }
    }

    const fn fleet(self) -> Fleet {
        Fleet {
            name: self.head().name,
            variants: POOLS,
            rollouts: 1,
            credit: Some(CREDIT),
        }
    }

    /// Things in one envelope that are counted.
    const fn things(self) -> usize {
        match self {
            Self::Rows => POOLS,
            Self::Grants => GRANTS,
        }
    }

    fn operations(self, pools: &[PoolKey], number: usize) -> Vec<Operation> {
        match self {
            Self::Rows => vec![report(pools)],
            Self::Grants => {
                let from = number * GRANTS % pools.len();
                let some = pools.iter().cycle().skip(from).take(GRANTS);
                some.map(|pool| grant(pool, 1)).collect()
            }
        }
    }
}

fn grant(pool: &PoolKey, wanted: u64) -> Operation {
    let pool = pool.clone();
    Operation::Grant { pool, wanted }
}

/// In each pool one device was admitted, and is well.
fn report(pools: &[PoolKey]) -> Operation {
    let cohort = LogTime(SystemClock.wall().0).cohort();
    let tally = |pool: &PoolKey| Tally {
        key: TallyKey {
            rollout: pool.rollout,
            wave: pool.wave,
            stratum: pool.stratum.clone(),
            cohort,
            arm: pool.arm,
        },
        counts: Counts {
            exposed: 1,
            verified: 1,
            ..Counts::default()
        },
    };
    Operation::Report {
        tallies: pools.iter().map(tally).collect(),
        anchor: None,
    }
}

/// One of a decision node's sessions.
struct Session {
    client: OurClient,
    key: Arc<Key>,
    id: SessionId,
    sequence: u64,
    pools: Arc<[PoolKey]>,
}

impl Session {
    async fn open(client: OurClient, key: Arc<Key>, pools: Arc<[PoolKey]>) -> Result<Self> {
        let open = OpenSession {
            region: "eu-west".parse()?,
            address: "127.0.0.1:1".to_owned(),
        };
        let events = client.accepted(key.signed(open.into())).await?;
        let opened = events.iter().find_map(|event| match event {
            Event::SessionOpened(session) => Some(session.id),
            _ => None,
        });
        let mut session = Self {
            client,
            key,
            id: opened.context("no session was opened")?,
            sequence: 0,
            pools,
        };
        let grants = session.pools.iter().map(|pool| grant(pool, HELD)).collect();
        session.send(grants).await?;
        Ok(session)
    }

    async fn send(&mut self, operations: Vec<Operation>) -> Result<()> {
        self.sequence += 1;
        let envelope: Command = AdvanceSession {
            session: self.id,
            instance: Instance(1),
            sequence: Sequence(self.sequence),
            operations,
        }
        .into();
        let events = self.client.accepted(self.key.signed(envelope)).await?;
        match refused_operations(&events).next() {
            None => Ok(()),
            Some((_, why)) => bail!("an operation was refused: {why}"),
        }
    }

    /// One envelope after the other until it is told to stop; then the session is closed.
    async fn work(mut self, doing: Doing, stop: Arc<AtomicBool>) -> Result<Lane> {
        let mut lane = Lane::default();
        while !stop.load(Ordering::Relaxed) {
            let operations = doing.operations(&self.pools, lane.answers.len());
            let sent = Instant::now();
            self.send(operations).await?;
            let came = Instant::now();
            lane.answers.push(Answered { sent, came });
        }
        self.send(vec![Operation::Close]).await?;
        Ok(lane)
    }
}

/// The fleet's pools, as the store numbered them.
async fn pools(ours: &Ours, fleet: &Fleet) -> Result<Arc<[PoolKey]>> {
    let client = StoreClient::new(ClientConfig::new(ours.endpoints()))?;
    let (manifest, rows) = client.snapshot(Position::default()).await?;
    let view = View::new(ORIGIN, &manifest, rows)?;
    let state = view.state();
    let mut rollouts = state.rollouts().iter();
    let is_ours = |release: &str| release == fleet.release(0);
    let rollout = rollouts.find(|(_, rollout)| is_ours(rollout.spec.release.as_str()));
    let (rollout, _) = rollout.context("the rollout is not there")?;
    let variants = state.variants().iter();
    let variants = variants.filter(|(_, variant)| fleet.has(variant.traits.model.as_str()));
    let pools = variants.map(|(variant, _)| {
        anyhow::Ok(PoolKey {
            rollout: *rollout,
            wave: WaveIndex(0),
            stratum: Stratum {
                variant: *variant,
                channel: "stable".parse()?,
            },
            arm: Arm::Treatment,
        })
    });
    let pools: Arc<[PoolKey]> = pools.collect::<Result<_>>()?;
    ensure!(pools.len() == POOLS, "{} pools", pools.len());
    Ok(pools)
}

async fn round(ours: &mut Ours, doing: Doing, lasts: Duration) -> Result<Round> {
    let pools = pools(ours, &doing.fleet()).await?;
    let key = Arc::new(ours.key("decision-1")?);
    let stop = Arc::new(AtomicBool::new(false));
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let (client, key) = (ours.connect(number % NODES)?, Arc::clone(&key));
        sessions.push(Session::open(client, key, Arc::clone(&pools)).await?);
    }
    let mut working = JoinSet::new();
    for session in sessions {
        working.spawn(session.work(doing, Arc::clone(&stop)));
    }
    tokio::time::sleep(WARM_UP).await;
    let (from, before) = (Instant::now(), ours.servers().usage()?);
    tokio::time::sleep(lasts).await;
    let (to, after) = (Instant::now(), ours.servers().usage()?);
    stop.store(true, Ordering::Relaxed);
    let lanes = working
        .join_all()
        .await
        .into_iter()
        .collect::<Result<_>>()?;
    let mut round = Window::of(lanes, from, to).round(after.since(before))?;
    let things = doing.things() as f64;
    round.also("envelopes_per_s", Some(round.value));
    round.value *= things;
    round.cpu_us = round.cpu_us.map(|cpu_us| cpu_us / things);
    Ok(round)
}

/// Rounds in turns: etcd's are of clients who put values, one at a time.
pub(super) async fn row(contest: &mut Contest, doing: Doing, lasts: Duration) -> Result<Row> {
    let (mut ours, mut etcd) = (Vec::new(), Vec::new());
    let populated = awake(&mut contest.ours, async |ours: &mut Ours| {
        doing.fleet().populate(ours).await
    });
    populated.await.context("the fleet")?;
    for _ in 0..contest.rounds {
        let measured = awake(&mut contest.ours, async |ours: &mut Ours| {
            round(ours, doing, lasts).await
        });
        ours.push(measured.await.context("ours")?);
        if let Some(system) = &mut contest.etcd {
            let measured = awake(system, async |system| {
                let put = Task::Write(Work::Plain);
                let (window, used) = measure(system, put, PUTTERS, lasts).await?;
                window.round(used)
            });
            etcd.push(measured.await.context("etcd")?);
        }
    }
    row_of(doing.head(), &ours, &etcd)
}
