//! A client that follows the state of a large fleet while commands come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tidegate_client::{
    ClientConfig, Follower, FollowerConfig, HighWater, LeaseTerms, Observer, StoreClient, View,
};
use tidegate_decision::engine::Index;
use tidegate_domain::Event;
use tidegate_domain::config::ClusterConfig;
use tidegate_runtime::{Clock as _, SystemClock, disk::DirDisk};
use tokio::task::JoinSet;

use super::fleet::Fleet;
use crate::contest::{Contest, awake};
use crate::ours::{ORIGIN, Ours};
use crate::probe::{Better, Head, Round, row as row_of};
use crate::report::Row;
use crate::samples::percentile;
use crate::server::NODES;
use crate::system::{Client, System, Work};

pub(super) const HEAD: Head = Head {
    name: "follow_view",
    clients: 1,
    unit: "entries behind",
    better: Better::Less,
};

const FLEET: Fleet = Fleet {
    name: "follow",
    variants: 500,
    rollouts: 20,
    credit: None,
};
/// Between two commands.
const EVERY: Duration = Duration::from_millis(1);
/// Between two looks at the view.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The least that it lasts: a lease takes 10 s to run out.
const LASTS_MIN: Duration = Duration::from_secs(15);
/// How long the view may take to be there at all.
const FIRST_MAX: Duration = Duration::from_secs(30);

/// The terms of a new cluster.
const TERMS: LeaseTerms = LeaseTerms {
    length: Duration::from_millis(INITIAL.lease.0),
    drift_margin: Duration::from_millis(INITIAL.drift_margin.0),
};
const INITIAL: ClusterConfig = ClusterConfig::initial();

/// What a decision node does when its view moves: it builds its index anew.
#[derive(Default)]
struct Shown {
    entries: Arc<AtomicU64>,
    moves: Arc<AtomicU64>,
}

impl Shown {
    fn show(&self, view: &View) {
        std::hint::black_box(Index::build(view.state()));
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.entries
            .store(view.position().entries, Ordering::Relaxed);
    }
}

impl Observer for Shown {
    fn replaced(&mut self, view: &View) {
        self.show(view);
    }

    fn advanced(&mut self, view: &View, _: &[Event]) {
        self.show(view);
    }
}

/// One round: etcd has nothing like it.
pub(super) async fn row(contest: &mut Contest, lasts: Duration) -> Result<Row> {
    let lasts = lasts.max(LASTS_MIN);
    let round = awake(&mut contest.ours, async |ours: &mut Ours| {
        FLEET.populate(ours).await.context("the fleet")?;
        follow(ours, lasts).await
    });
    row_of(HEAD, &[round.await?], &[])
}

async fn follow(ours: &mut Ours, lasts: Duration) -> Result<Round> {
    let shown = Shown::default();
    let (entries, moves) = (Arc::clone(&shown.entries), Arc::clone(&shown.moves));
    let disk = Arc::new(DirDisk::open(ours.tool().folder().join("follower"))?);
    let follower = Follower::start(
        StoreClient::new(ClientConfig::new(ours.endpoints()))?,
        FollowerConfig::new(ORIGIN),
        Arc::new(SystemClock),
        HighWater::open(disk).await?,
        shown,
    );
    // A lease is of a view, so there is one, too.
    let fresh = async {
        while follower.lease().left(&TERMS, SystemClock.boot()).is_zero() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let fresh = tokio::time::timeout(FIRST_MAX, fresh).await;
    fresh.context("the follower has no fresh view")?;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let moves_before = moves.load(Ordering::Relaxed);
    let load = tokio::spawn(commands(clients(ours)?, lasts, Arc::clone(&acknowledged)));
    let (mut behind, mut lease_ms) = (Vec::new(), f64::INFINITY);
    let began = Instant::now();
    while began.elapsed() < lasts {
        tokio::time::sleep(LOOK_EVERY).await;
        let committed = acknowledged.load(Ordering::Relaxed);
        behind.push(committed.saturating_sub(entries.load(Ordering::Relaxed)) as f64);
        let left = follower.lease().left(&TERMS, SystemClock.boot());
        lease_ms = lease_ms.min(left.as_secs_f64() * 1e3);
    }
    let accepted = load.await.context("the load has panicked")?;
    let moves = moves.load(Ordering::Relaxed) - moves_before;
    follower.stop().await;
    ensure!(accepted > 0, "no command was accepted");
    let mut round = Round::of(percentile(&mut behind, 1.0).context("nobody looked")?);
    round.also("p50_behind", percentile(&mut behind, 0.5));
    round.also("lease_left_ms", Some(lease_ms));
    round.also(
        "accepted_per_s",
        Some(accepted as f64 / lasts.as_secs_f64()),
    );
    round.also("view_moves_per_s", Some(moves as f64 / lasts.as_secs_f64()));
    Ok(round)
}

fn clients(ours: &Ours) -> Result<Vec<<Ours as System>::Client>> {
    (0..NODES).map(|node| ours.connect(node)).collect()
}

/// Sends commands at a steady pace; how many were accepted.
async fn commands<C: Client>(
    clients: Vec<C>,
    lasts: Duration,
    acknowledged: Arc<AtomicU64>,
) -> u64 {
    let mut pace = tokio::time::interval(EVERY);
    let mut running = JoinSet::new();
    let (mut asked, began) = (0, Instant::now());
    while began.elapsed() < lasts {
        pace.tick().await;
        let client = clients[asked % clients.len()].clone();
        let acknowledged = Arc::clone(&acknowledged);
        asked += 1;
        running.spawn(async move {
            let written = client.write(client.make(Work::Plain)).await;
            written.map(|position| acknowledged.fetch_max(position + 1, Ordering::Relaxed))
        });
    }
    let mut accepted = 0;
    while let Some(ended) = running.join_next().await {
        accepted += u64::from(ended.is_ok_and(|written| written.is_ok()));
    }
    accepted
}
