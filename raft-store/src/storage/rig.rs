//! What the storage tests share: a node on a simulated disk, and a fleet whose operators sign.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use openraft::impls::leader_id_std::LeaderId;
use tidegate_domain::command::RaiseFloor;
use tidegate_domain::id::{Hash, SecurityVersion};
use tidegate_domain::testing::{Fleet, reason, release, scope};
use tidegate_domain::{Command, Outcome, canonical};
use tidegate_runtime::disk::{Disk, SimDisk};
use tidegate_runtime::{AsyncRuntime as _, Entropy, EntropyError, Rt};

use super::{Claim, DirectoryId, Identity, Owner, StateError, StateOptions, StateStore};
use crate::types::{Applied, CommittedLeader, Entry, EntryPayload, LogId, Proposal, Vote};

/// SplitMix64: a generator that is the same everywhere.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
}

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    Rt::new(1).block_on(test)
}

pub(super) fn identity() -> Identity {
    Identity {
        origin: Fleet::ORIGIN.to_owned(),
        incarnation: 7,
        node: 1,
    }
}

/// A claim under which files are made, and opened again.
pub(crate) fn claim() -> Claim {
    Claim::New(Owner {
        identity: identity(),
        directory: DirectoryId([7; 16]),
    })
}

/// Numbers for directories: 1, 2, ….
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicU8);

impl Entropy for Numbers {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.fill(self.0.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    }
}

pub(super) async fn open_state(disk: &SimDisk) -> Result<StateStore, StateError> {
    open_state_on(Arc::new(disk.mount())).await
}

pub(crate) async fn open_state_on(disk: Arc<dyn Disk>) -> Result<StateStore, StateError> {
    let options = StateOptions {
        page_cache_bytes: 1 << 20,
        unsynced_bytes_max: 20_000,
        feed_bytes_max: 4_096,
    };
    StateStore::open(disk, &claim(), options).await
}

/// The vote with which node 1 leads.
pub(crate) const fn vote(term: u64) -> Vote {
    Vote {
        leader_id: LeaderId { term, voted_for: 1 },
        committed: true,
    }
}

/// An entry's place.
pub(crate) const fn at(term: u64, index: u64) -> LogId {
    LogId {
        leader_id: CommittedLeader { term },
        index,
    }
}

pub(crate) const fn log_id(index: u64) -> LogId {
    at(1, index)
}

pub(crate) fn entry(index: u64, payload: EntryPayload) -> Entry {
    Entry {
        log_id: log_id(index),
        payload,
    }
}

/// A node whose only user is the fleet's operators.
pub(super) struct Rig {
    pub(super) disk: SimDisk,
    pub(super) store: StateStore,
    pub(super) fleet: Fleet,
    /// Everything that was applied, in order.
    pub(super) history: Vec<Entry>,
}

impl Rig {
    /// A node whose cluster has held its key ceremony.
    pub(super) async fn new() -> Self {
        let mut rig = Self::unborn().await;
        let ceremony = rig.fleet.rotation(&[0, 1, 2]);
        rig.ask(ceremony);
        rig
    }

    pub(super) async fn unborn() -> Self {
        let disk = SimDisk::new();
        let store = open_state(&disk).await.unwrap();
        Self {
            disk,
            store,
            fleet: Fleet::unborn(),
            history: Vec::new(),
        }
    }

    /// Signs a command as of the node's state, and applies it.
    pub(super) fn ask(&mut self, command: impl Into<Command>) -> Applied {
        self.look();
        let command = self.fleet.sealed(command).to_bytes();
        self.propose(command.into())
    }

    /// The operators look at where the node stands, and sign on top of it.
    fn look(&mut self) {
        self.fleet.state = self.store.read(Clone::clone);
        self.fleet.chain = Hash(self.store.position().chain);
    }

    /// Applies whatever bytes a leader might propose.
    pub(super) fn propose(&mut self, command: Bytes) -> Applied {
        let stamp_ms = self.fleet.now.0;
        let command = command.into();
        self.apply(EntryPayload::Normal(Proposal { stamp_ms, command }))
    }

    pub(super) fn apply(&mut self, payload: EntryPayload) -> Applied {
        let entry = entry(self.history.len() as u64, payload);
        self.history.push(entry.clone());
        self.store.apply(&[entry]).unwrap().remove(0)
    }

    /// Registers a release and raises a floor: two entries.
    pub(super) fn some_work(&mut self, number: u64) {
        let release = release(&format!("detector-v{number}")).security_version(number);
        self.look();
        let registration = self.fleet.registration(release);
        assert_accepted(&self.ask(registration));
        self.raise_floor(number);
    }

    pub(super) fn raise_floor(&mut self, to: u64) {
        let floor = RaiseFloor {
            scope: scope("detector-model", "*"),
            security_version: SecurityVersion(to),
            retire: false,
            reason: reason(),
        };
        assert_accepted(&self.ask(floor));
    }
}

/// Panics with the refusal if there is one.
pub(super) fn assert_accepted(applied: &Applied) {
    let Applied::Chained { outcome, .. } = applied else {
        panic!("not chained")
    };
    match canonical::decode::<Outcome>(outcome).unwrap() {
        Outcome::Accepted(_) => {}
        Outcome::Rejected(rejection) => panic!("refused: {rejection}"),
    }
}
