//! Who asks the store: operators, the registrar of its members, readers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle};
use tidegate_client::{ClientConfig, ClientError, Position, Rows, StoreClient, View};
use tidegate_domain::config::Meta;
use tidegate_domain::state::row;
use tidegate_domain::testing::Fleet;
use tidegate_domain::{Outcome, canonical};
use tidegate_runtime::sim::set_region;
use tidegate_runtime::{Clock as _, SystemClock};

use super::store::address;
use super::witness::Witness;
use crate::dice::Dice;
use crate::load::hostile::ENVELOPE;
use crate::load::{Draft, Operators, Wanted};
use crate::oracle::Seen;
use crate::record::Kind;
use crate::schedule::Load;

/// How long a client waits for one answer before it asks another node.
const ATTEMPT: Duration = Duration::from_millis(2_500);
/// How long a call may take in all.
const DEADLINE: Duration = Duration::from_secs(8);
/// Between two looks of the registrar.
const REGISTRAR_EVERY: Duration = Duration::from_millis(700);

/// The machine of a client.
#[derive(Clone)]
pub(crate) struct Client {
    lane: String,
    machine: Arc<NodeHandle>,
    store: Vec<String>,
    witness: Witness,
}

/// What a client knows of a command that it proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// What came of it.
    Outcome,
    /// It was refused for good, and had no effect: those bytes never will.
    Refusal,
    /// Nothing.
    Nothing,
}

/// Who shall be a member of the store.
pub(crate) struct Members {
    /// By number, as operators want them now.
    pub(crate) wanted: BTreeMap<u64, Wanted>,
    /// The voters of each change that was asked for and never answered: it may come at any time.
    pub(crate) open: Vec<BTreeSet<u64>>,
}

/// The members, as all of the world share them.
pub(crate) type Roll = Arc<Mutex<Members>>;

/// What all operators share: keys, and what they last saw.
pub(crate) type Crew = Arc<Mutex<Operators>>;

impl Client {
    /// The `number`-th client machine, which knows the store nodes with these numbers, nearest
    /// first; it stands in a region.
    pub(crate) fn build(
        lane: &str,
        number: u8,
        region: &str,
        store: &[u64],
        witness: &Witness,
    ) -> Self {
        let ip = SocketAddr::from(([10, 0, 1, number], 0)).ip();
        let machine = Handle::current().create_node().name(lane).ip(ip).build();
        set_region(machine.id(), ip, region);
        Self {
            lane: lane.to_owned(),
            machine: Arc::new(machine),
            store: store.iter().map(|id| address(*id).to_string()).collect(),
            witness: witness.clone(),
        }
    }

    pub(super) const fn witness(&self) -> &Witness {
        &self.witness
    }

    pub(super) fn lane(&self) -> &str {
        &self.lane
    }

    pub(crate) const fn machine(&self) -> &Arc<NodeHandle> {
        &self.machine
    }

    /// Runs a task on the machine, for as long as the run lasts.
    pub(crate) fn run<F>(&self, task: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(self.clone());
        drop(self.machine.spawn(task));
    }

    pub(super) fn connect(&self) -> StoreClient {
        let config = ClientConfig {
            attempt_timeout: ATTEMPT,
            deadline: DEADLINE,
            ..ClientConfig::new(self.store.clone())
        };
        match StoreClient::new(config) {
            Ok(client) => client,
            Err(error) => unreachable!("addresses are made here: {error}"),
        }
    }

    /// The same client, which begins at the next node.
    fn turned(&self) -> Self {
        let mut turned = self.clone();
        turned.store.rotate_left(1);
        turned
    }

    /// Proposes a command once.
    async fn propose(&self, client: &StoreClient, draft: &Draft) -> Told {
        let Draft { bytes, what } = draft;
        // An envelope that was overheard began long ago, at its session's node.
        let begins = (*what != ENVELOPE).then_some(&**bytes);
        let op = self.witness.begin(&self.lane, (*what).to_owned(), begins);
        let proposed = match client.propose(bytes.clone()).await {
            Ok(proposed) => proposed,
            Err(error) => {
                let told = self.failed(op, &error);
                self.witness.see(&Seen::Failed {
                    command: bytes,
                    without_effect: !error.is_effect_unknown(),
                });
                return told;
            }
        };
        let (index, outcome) = (proposed.index.0, proposed.outcome);
        let answer = match (&outcome, proposed.duplicate) {
            (Outcome::Accepted(_), false) => "accepted".to_owned(),
            (Outcome::Accepted(_), true) => "accepted before".to_owned(),
            (Outcome::Rejected(rejection), _) => format!("rejected: {rejection}"),
        };
        self.answered(op, index, answer);
        self.witness.see(&Seen::Acknowledged {
            op,
            command: bytes,
            index,
            outcome: &outcome,
        });
        self.witness.see(&Seen::Progress { what: "a command" });
        Told::Outcome
    }

    /// Takes a snapshot and checks it against its root; the view, if there was an answer.
    async fn snapshot(&self, client: &StoreClient) -> Option<View> {
        let op = self.witness.begin(&self.lane, "snapshot".to_owned(), None);
        let least = Position::default();
        let view = match client.snapshot(least).await {
            Ok((manifest, rows)) => View::new(Fleet::ORIGIN, &manifest, rows).inspect(|_| {
                let (entries, root) = (manifest.position.entries, Some(manifest.state_root.0));
                self.answered(op, entries, "a snapshot".to_owned());
                self.witness.see(&Seen::Read { op, entries, root });
            }),
            Err(error) => {
                self.failed(op, &error);
                return None;
            }
        };
        match view {
            Ok(view) => Some(view),
            Err(error) => {
                // Every node checked its own root: this is no answer that a network can make.
                self.witness.see(&Seen::Damaged {
                    lane: &self.lane,
                    what: &error.to_string(),
                });
                None
            }
        }
    }

    /// Reads the row that says where the log stands.
    async fn rows(&self, client: &StoreClient) {
        let op = self.witness.begin(&self.lane, "rows".to_owned(), None);
        match client.rows(&[row::meta()]).await {
            Ok(Rows { point, values }) => {
                let entries = point.position.entries;
                let meta = values.first().and_then(Option::as_ref);
                let meta = meta.map(|value| canonical::decode::<Meta>(value));
                assert!(
                    matches!(&meta, Some(Ok(meta)) if meta.next.0 == entries),
                    "a row of another entry than the answer's {entries}: {meta:?}"
                );
                self.answered(op, entries, "a row".to_owned());
                let root = None;
                self.witness.see(&Seen::Read { op, entries, root });
                self.witness.see(&Seen::Progress { what: "a read" });
            }
            Err(error) => _ = self.failed(op, &error),
        }
    }

    fn answered(&self, op: u64, entries: u64, what: String) {
        let kind = Kind::Answered { op, entries, what };
        self.witness.note(&self.lane, kind);
    }

    fn failed(&self, op: u64, error: &ClientError) -> Told {
        let (unknown, why) = (error.is_effect_unknown(), error.to_string());
        let (told, kind) = if unknown || error.is_retryable() {
            (Told::Nothing, Kind::Failed { op, unknown, why })
        } else {
            (Told::Refusal, Kind::TurnedAway { op, why })
        };
        self.witness.note(&self.lane, kind);
        told
    }
}

pub(super) fn lock(crew: &Crew) -> MutexGuard<'_, Operators> {
    crew.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pause(dice: &mut Dice, longest_ms: u64) {
    let length = dice.within(longest_ms / 4..longest_ms.max(2));
    madsim::time::sleep(Duration::from_millis(length)).await;
}

/// Holds the key ceremony; returns when it is acknowledged.
pub(crate) async fn found(client: Client, crew: Crew) {
    let store = client.connect();
    let draft = {
        let mut crew = lock(&crew);
        crew.now(SystemClock.wall().0);
        crew.ceremony()
    };
    while client.propose(&store, &draft).await != Told::Outcome {
        madsim::time::sleep(Duration::from_millis(200)).await;
    }
    see(&client, &store, &crew).await;
    let furnishing = lock(&crew).furnishing();
    for draft in furnishing {
        while client.propose(&store, &draft).await != Told::Outcome {
            madsim::time::sleep(Duration::from_millis(200)).await;
        }
    }
    see(&client, &store, &crew).await;
}

/// Lets all operators see what one of them looked up.
async fn see(client: &Client, store: &StoreClient, crew: &Crew) {
    if let Some(view) = client.snapshot(store).await {
        lock(crew).saw(view.state());
    }
}

/// Proposes one command after the other.
pub(crate) async fn operate(
    client: Client,
    (crew, twice): (Crew, Arc<AtomicBool>),
    load: Load,
    mut dice: Dice,
) {
    let store = client.connect();
    loop {
        pause(&mut dice, load.operator_pause_ms).await;
        if dice.one_in(6) {
            see(&client, &store, &crew).await;
            continue;
        }
        let draft = {
            let mut crew = lock(&crew);
            crew.now(SystemClock.wall().0);
            crew.overheard(client.witness.last_envelopes());
            crew.ask()
        };
        if twice.load(Ordering::Relaxed) {
            let (client, draft) = (client.clone(), draft.clone());
            drop(madsim::task::spawn(async move {
                let elsewhere = client.turned().connect();
                client.propose(&elsewhere, &draft).await;
            }));
        }
        // Whoever has no answer asks again with the same bytes, for a while.
        for _ in 0..3 {
            let told = client.propose(&store, &draft).await;
            if told == Told::Outcome {
                break;
            }
            // Perhaps something has come between, such as other keys.
            see(&client, &store, &crew).await;
            if told == Told::Refusal || dice.one_in(3) {
                break;
            }
            pause(&mut dice, load.operator_pause_ms).await;
        }
    }
}

/// Proposes other members until the store has those that are wanted.
pub(crate) async fn register(client: Client, crew: Crew, roll: Roll) {
    let store = client.connect();
    let members = || roll.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let wanted: Vec<Wanted> = members().wanted.values().cloned().collect();
        let is_so = {
            let crew = lock(&crew);
            let members = &crew.state().membership().members;
            let are = members.iter().map(|member| (member.id.0, member.voter));
            are.eq(wanted.iter().map(|node| (node.id, node.voter)))
        };
        if !is_so {
            let draft = {
                let mut crew = lock(&crew);
                crew.now(SystemClock.wall().0);
                crew.membership(&wanted)
            };
            let voters = wanted.iter().filter(|node| node.voter);
            let voters = voters.map(|node| node.id).collect();
            members().open.push(voters);
            if client.propose(&store, &draft).await != Told::Nothing {
                members().open.pop();
            }
            see(&client, &store, &crew).await;
        }
        madsim::time::sleep(REGISTRAR_EVERY).await;
    }
}

/// Halts every rollout that runs, and tells again until the store has said what came of it; what
/// was refused for good, as after a change of keys, is signed anew.
pub(crate) async fn halt(client: Client, crew: Crew) {
    let store = client.connect();
    let mut is_done = false;
    while !is_done {
        see(&client, &store, &crew).await;
        let halts = {
            let mut crew = lock(&crew);
            crew.now(SystemClock.wall().0);
            crew.halts()
        };
        is_done = true;
        for draft in halts {
            let mut told = client.propose(&store, &draft).await;
            while told == Told::Nothing {
                madsim::time::sleep(REGISTRAR_EVERY).await;
                told = client.propose(&store, &draft).await;
            }
            is_done &= told == Told::Outcome;
        }
    }
}

/// Asks for read points and snapshots, at any node.
pub(crate) async fn read(client: Client, load: Load, mut dice: Dice) {
    let store = client.connect();
    loop {
        pause(&mut dice, load.reader_pause_ms).await;
        if dice.one_in(8) {
            client.snapshot(&store).await;
        } else {
            client.rows(&store).await;
        }
    }
}
