//! Views that follow the store over real connections, their leases, and when they must resync.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::{Cluster, PATIENCE, Shape, accepted, client, eventually, free, host};
use tidegate_client::{
    Follower, FollowerConfig, HighWater, LeaseTerms, Observer, Position, StoreClient, View,
};
use tidegate_domain::command::SetClusterConfig;
use tidegate_domain::config::ClusterConfig;
use tidegate_domain::id::Millis;
use tidegate_domain::testing::Fleet;
use tidegate_domain::{Event, State};
use tidegate_proto::v1::store_client::StoreClient as Grpc;
use tidegate_proto::v1::watch_update::Update;
use tidegate_proto::v1::{ResyncReason, WatchBatch, WatchRequest};
use tidegate_proto::{Refusal, WireError};
use tidegate_raft_store::config::{NodeConfig, NodeLimits};
use tidegate_raft_store::{Node, NodeKeys};
use tidegate_runtime::disk::SimDisk;
use tidegate_runtime::{Clock, SystemClock};

/// What an observer was shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    position: Position,
    replaced: usize,
    advanced: usize,
    /// Indices of the entries whose events came.
    entries: Vec<u64>,
    state: Option<State>,
}

impl Observer for Shown {
    fn replaced(&mut self, view: &View) {
        let mut seen = self.0.lock().unwrap();
        assert!(
            view.position() >= seen.position,
            "READ-2: a view never goes back"
        );
        seen.position = view.position();
        seen.replaced += 1;
        seen.state = Some(view.state().clone());
    }

    fn advanced(&mut self, view: &View, events: &[Event]) {
        let mut seen = self.0.lock().unwrap();
        assert!(view.position() > seen.position);
        seen.position = view.position();
        seen.advanced += 1;
        for event in events {
            if let Event::EntryRecorded { index, .. } = event {
                seen.entries.push(index.0);
            }
        }
        seen.state = Some(view.state().clone());
    }
}

async fn follow(client: StoreClient, shown: &Shown) -> Follower {
    follow_from(&SimDisk::new(), client, shown).await
}

/// Follows with the high-water mark on a disk.
async fn follow_from(disk: &SimDisk, client: StoreClient, shown: &Shown) -> Follower {
    let config = FollowerConfig {
        renew_every: Duration::from_millis(200),
        silence_max: Duration::from_secs(3),
        ..FollowerConfig::new(Fleet::ORIGIN)
    };
    let mark = HighWater::open(Arc::new(disk.mount())).await.unwrap();
    Follower::start(client, config, Arc::new(SystemClock), mark, shown.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_follows_each_event_once_in_order_while_leaders_die() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let shown = Shown::default();
    let follower = follow(cluster.client(), &shown).await;
    eventually("a first view", || {
        shown.0.lock().unwrap().state.is_some().then_some(())
    })
    .await;
    let client = cluster.client();
    for number in 0..40 {
        if number == 20 {
            let leader = cluster.leader().await;
            cluster.cut_power(leader).await;
        }
        accepted(
            &client
                .propose(cluster.variant(number).to_bytes())
                .await
                .unwrap(),
        );
    }
    let point = client.read_index().await.unwrap().position;
    eventually("the view caught up", || {
        (shown.0.lock().unwrap().position >= point).then_some(())
    })
    .await;
    let terms = LeaseTerms::from(&ClusterConfig::initial());
    eventually("a fresh view", || {
        let left = follower.lease().left(&terms, SystemClock.boot());
        (left > Duration::ZERO).then_some(())
    })
    .await;
    drop(follower);
    let seen = shown.0.lock().unwrap();
    assert_eq!(
        seen.replaced, 1,
        "another node went on where the dead one stopped"
    );
    assert!(
        seen.entries.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{:?}",
        seen.entries
    );
    assert_eq!(seen.entries.last(), Some(&(seen.position.entries - 1)));
    assert_eq!(seen.state.as_ref().unwrap().variants().len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_does_not_keep_a_view_behind() {
    const COMMANDS: u32 = 120;
    let mut cluster = Cluster::start(Shape {
        nodes: 1,
        ..Shape::default()
    })
    .await;
    let client = cluster.client();
    let (shown, disk) = (Shown::default(), SimDisk::new());
    disk.set_sync_delay(Duration::from_millis(100));
    let _follower = follow_from(&disk, client.clone(), &shown).await;
    eventually("a first view", || {
        shown.0.lock().unwrap().state.is_some().then_some(())
    })
    .await;
    // Each a commit, and so a batch, of its own.
    for number in 0..COMMANDS {
        let command = cluster.variant(number).to_bytes();
        accepted(&client.propose(command).await.unwrap());
    }
    let point = client.read_index().await.unwrap().position;
    eventually("the view caught up", || {
        (shown.0.lock().unwrap().position >= point).then_some(())
    })
    .await;
    let seen = shown.0.lock().unwrap();
    assert!(
        seen.entries.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{:?}",
        seen.entries
    );
    assert_eq!(seen.state.as_ref().unwrap().variants().len(), 120);
    assert!(
        seen.advanced < 60,
        "{} marks were written for {COMMANDS} commands",
        seen.advanced
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_the_lease_runs_out_and_stale_reads_say_their_age() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let client = cluster.client();
    let mut config = ClusterConfig::initial();
    config.lease = Millis(1_000);
    let shorter = cluster.sign(SetClusterConfig {
        config: config.clone(),
    });
    accepted(&client.propose(shorter.to_bytes()).await.unwrap());
    let shown = Shown::default();
    let follower = follow(client.clone(), &shown).await;
    let terms = LeaseTerms::from(&config);
    let fresh = || follower.lease().left(&terms, SystemClock.boot()) > Duration::ZERO;
    eventually("a fresh view", || fresh().then_some(())).await;

    let leader = cluster.leader().await;
    let other = leader % 3 + 1;
    let left = other % 3 + 1;
    cluster.cut_power(leader).await;
    cluster.cut_power(other).await;
    // HALT-1: whatever was renewed before the cut has run out a lease later.
    tokio::time::sleep(terms.length).await;
    assert!(!fresh(), "no quorum, no lease");
    let (manifest, _) = cluster.client_of(left).stale_read().await.unwrap();
    let age = manifest.age_ms.expect("it was confirmed before");
    assert!(age >= 1_000, "{age} ms");
    assert_eq!(
        manifest.position.incarnation,
        shown.0.lock().unwrap().position.incarnation
    );

    cluster.restart(other).await;
    eventually("a fresh view again", || fresh().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_does_not_renew_the_lease() {
    let shape = Shape {
        nodes: 1,
        ..Shape::default()
    };
    let mut cluster = Cluster::start(shape).await;
    let mut config = ClusterConfig::initial();
    config.lease = Millis(1_000);
    let terms = LeaseTerms::from(&config);
    let shorter = cluster.sign(SetClusterConfig { config }).to_bytes();
    accepted(&cluster.client().propose(shorter).await.unwrap());
    // Its address stands among ours by mistake. It is healthy, and in its first life as ours is.
    let listener = free();
    let stranger = NodeConfig::single(1, "stranger.example", "eu", listener.address());
    let endpoints = [cluster.configs[0].clone(), stranger.clone()];
    let on_disk = host(&SimDisk::new());
    let stranger = Node::start(stranger, NodeKeys::default(), listener, on_disk).await;
    let client = client(&endpoints);
    let shown = Shown::default();
    let follower = follow(client.clone(), &shown).await;
    let fresh = || follower.lease().left(&terms, SystemClock.boot()) > Duration::ZERO;
    eventually("a fresh view", || fresh().then_some(())).await;

    cluster.cut_power(1).await;
    tokio::time::sleep(terms.length).await;
    for _ in 0..20 {
        assert!(!fresh(), "HALT-1: no quorum of ours, no lease");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let point = client.read_index().await.unwrap();
    assert_eq!(point.origin, "stranger.example", "it would have renewed it");
    assert!(point.position <= shown.0.lock().unwrap().position);
    stranger.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_served_without_a_gap_is_told_to_resync() {
    let mut cluster = Cluster::start(Shape {
        nodes: 1,
        limits: NodeLimits {
            watch_entries_max: 10,
            watchers_max: 2,
            ..NodeLimits::default()
        },
        ..Shape::default()
    })
    .await;
    let client = cluster.client();
    for number in 0..20 {
        accepted(
            &client
                .propose(cluster.variant(number).to_bytes())
                .await
                .unwrap(),
        );
    }
    let entries = client.read_index().await.unwrap().position.entries;
    let check = async |after_entries: u64, incarnation: u64, expect: ResyncReason| {
        let updates = watch(&cluster, after_entries, incarnation).await.unwrap();
        let Some(Update::Resync(resync)) = first(updates).await else {
            panic!("expected {expect:?}");
        };
        assert_eq!(resync.reason(), expect);
    };
    check(0, 1, ResyncReason::TooSlow).await;
    check(entries, 2, ResyncReason::OtherIncarnation).await;
    check(entries + 1_000, 1, ResyncReason::Ahead).await;

    // Within the limit everything comes, exactly once.
    let updates = watch(&cluster, entries - 5, 1).await.unwrap();
    let Some(Update::Batch(batch)) = first(updates).await else {
        panic!("expected a batch");
    };
    let batch = WatchBatch::from_bytes(batch).unwrap();
    assert_eq!(batch.from, entries - 5);
    assert_eq!(batch.to - batch.from, batch.entries.len() as u64);
    assert!(batch.to >= entries, "all that is there, at once");

    // That the earlier ones are gone is noticed in time.
    let held = async || loop {
        match watch(&cluster, entries, 1).await {
            Ok(updates) => break updates,
            Err(refused) => assert_eq!(refused.refusal, Refusal::Overloaded, "{refused}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let _held = [held().await, held().await];
    let refused = watch(&cluster, entries, 1).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::Overloaded, "{refused}");
    assert!(refused.message.contains("2 watches are open"), "{refused}");
}

type Updates = tonic::Streaming<tidegate_proto::v1::WatchUpdate>;

async fn watch(cluster: &Cluster, after: u64, incarnation: u64) -> Result<Updates, WireError> {
    let (_, channel) = cluster.client_of(1).channel();
    let request = WatchRequest {
        after_entries: after,
        incarnation,
    };
    let watching = Grpc::new(channel).watch(request).await;
    watching
        .map(tonic::Response::into_inner)
        .map_err(|status| WireError::from(&status))
}

async fn first(mut updates: Updates) -> Option<Update> {
    let update = tokio::time::timeout(PATIENCE, updates.message())
        .await
        .unwrap();
    update.unwrap().and_then(|update| update.update)
}
