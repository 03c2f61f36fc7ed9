//! Compares this node's chain with what the other voters sign of theirs.
//!
//! Replicas compute the same chain from the same entries; if one does not, its build, memory or disk
//! is at fault, and what it tells from then on is another history. Nobody can tell by itself whose
//! fault it is. So a node stops only when more than half of all voters contradict it, each under its
//! own key: a bad leader, or whoever pretends to be one, stops nobody. (HEAD-1)
//!
//! Architecture invariant: who said what is judged in [`opinions`], without IO.

mod opinions;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_domain::State;
use tidegate_domain::config::Member;
use tidegate_domain::id::PublicKey;
use tidegate_domain::key::{KeyStatus, Role};
use tidegate_domain::signature::{SigningKey, public_key};
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::blocking;

use self::opinions::{Opinions, Outvoted};
use self::statement::{Electorate, Uncounted};
use crate::api::store::Serving;
use crate::network::message::Call;
use crate::storage::{StateError, StateStore};
use crate::types::NodeId;

pub(crate) use self::statement::{Head, SignedHead};

/// How the reason begins for which a node stops that a majority contradicts.
pub const OUTVOTED: &str = "a majority of the voters signed another chain";

/// Between two rounds: each compares what was heard, and tells where this node stands.
const EVERY: Duration = Duration::from_secs(1);
/// How long a member may take to answer. No longer than a round: one that is down delays nobody.
const PATIENCE: Duration = EVERY;
/// Rounds after which a head that has not moved is told again, to those who were not there.
const AGAIN_AFTER: u32 = 5;

/// What this node heard of the others' heads, and signs its own with.
pub(crate) struct Heads {
    me: NodeId,
    state: StateStore,
    key: Option<SigningKey>,
    opinions: Mutex<Opinions>,
    /// Voters in whose names something came that they cannot have said, and nothing good since.
    doubted: Mutex<BTreeSet<NodeId>>,
}

/// What was last said to operators about who can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    /// There are too few voters for a majority that this node is not in.
    TooFewVoters,
    /// Too few of them have keys.
    TooFewKeys,
    Yes,
}

/// Runs for as long as the node does, which it ends if a majority contradicts it.
pub(crate) async fn watch(serving: Arc<Serving>) {
    let heads = &serving.heads;
    let (mut told, mut silent, mut compared) = (None, 0, Compared::TooFewVoters);
    loop {
        let electorate = heads.electorate();
        compared = say_whether(compared, heads.comparable(&electorate));
        match heads.compare(&electorate).await {
            Ok(Some(outvoted)) if !is_on(Mutant::HeadMismatchIgnored) => {
                return stop(&serving, &outvoted, electorate.voters.len()).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the others' chain heads cannot be compared now"),
        }
        let (entries, chain) = heads.state.head();
        let head = Head { entries, chain };
        silent += 1;
        let is_due = told != Some(head) || silent >= AGAIN_AFTER;
        if let Some(key) = heads.key_of(&electorate).filter(|_| is_due) {
            (told, silent) = (Some(head), 0);
            let call = Call::Head(Box::new(electorate.sign(head, key)));
            let members = serving.group.other_members();
            let tell = members.iter().map(|member| member.call(&call, PATIENCE));
            // Who does not hear it hears the next one.
            let telling = futures::future::join_all(tell);
            futures::future::join(telling, tokio::time::sleep(EVERY)).await;
        } else {
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Nobody starts on this directory again: what it holds is another history.
async fn stop(serving: &Serving, outvoted: &Outvoted, voters: usize) {
    let Outvoted { by, parting } = outvoted;
    let why = format!(
        "{OUTVOTED}: {} of {voters} voters (nodes {by:?}) contradict this node, and {parting}. \
         Keep this directory for whoever looks into it",
        by.len()
    );
    tracing::error!(
        "{why}: this node stops. Have another under a new number take its place \
         (docs/runbooks/lost-node.md)"
    );
    if let Err(error) = serving.log.distrust(why).await {
        tracing::error!(%error, "this could not be marked on the disk: do NOT start this node again");
    }
}

/// Tells operators when it begins or ceases that heads can be compared.
fn say_whether(before: Compared, now: Compared) -> Compared {
    match now {
        _ if now == before => {}
        Compared::Yes => tracing::info!("chain heads are compared with the other voters'"),
        Compared::TooFewKeys => tracing::warn!(
            "chain heads are not compared: without this node, less than a majority of the voters \
             have a checkpoint key. Have one entered for each with the next change of members"
        ),
        Compared::TooFewVoters => {}
    }
    now
}

impl Heads {
    pub(crate) fn new(me: NodeId, state: StateStore, key: Option<SigningKey>) -> Self {
        Self {
            me,
            state,
            key,
            opinions: Mutex::default(),
            doubted: Mutex::default(),
        }
    }

    /// A member says that its chain has this head.
    pub(crate) fn hear(&self, from: NodeId, said: &SignedHead) {
        let entries = said.head.entries;
        match self.count(from, said) {
            Ok(()) => {}
            Err(why @ (Uncounted::NoVoter | Uncounted::NoKey)) => {
                // As long as one of the two has not heard of a change of members.
                tracing::debug!(from, entries, %why, "a chain head was not counted");
            }
            Err(why @ (Uncounted::OtherIncarnation(_) | Uncounted::BadSignature)) => {
                // Once: whoever reaches this port could fill the log with it.
                if lock(&self.doubted).insert(from) {
                    tracing::warn!(
                        from,
                        entries,
                        %why,
                        "what came as the chain head of node {from} is not counted, and no other is \
                         told of until a good one comes"
                    );
                }
            }
        }
    }

    fn count(&self, from: NodeId, said: &SignedHead) -> Result<(), Uncounted> {
        if from == self.me {
            return Ok(());
        }
        let electorate = self.electorate();
        let key = electorate.key(from)?;
        // Before the signature, which takes longer.
        if self.opinions().is_news(from, key, &said.head) {
            electorate.check(key, said)?;
            self.opinions().hear(from, key, said.head);
            lock(&self.doubted).remove(&from);
        }
        Ok(())
    }

    /// Compares what was heard; answers who contradicts this node if they are a majority.
    async fn compare(&self, electorate: &Electorate) -> Result<Option<Outvoted>, StateError> {
        let wanted = {
            let mut opinions = self.opinions();
            opinions.retain(|id, key| electorate.key(id) == Ok(key));
            opinions.wanted()
        };
        let own = if wanted.is_empty() {
            BTreeMap::new()
        } else {
            let state = self.state.clone();
            blocking(move || state.heads_after(&wanted)).await??
        };
        let mut opinions = self.opinions();
        opinions.compare(&own);
        for (node, parting) in opinions.dissenters() {
            tracing::error!(
                node,
                "node {node} signed another chain than this node has: {parting}. One of the two is \
                 at fault, and stops when a majority of the voters contradicts it"
            );
        }
        Ok(opinions.outvoted(electorate.voters.len()))
    }

    fn electorate(&self) -> Electorate {
        let of = |state: &State| Electorate {
            origin: state.meta().origin.clone(),
            incarnation: state.meta().incarnation,
            voters: {
                let members = state.membership().members.iter();
                let voters = members.filter(|member| member.voter);
                let role = state.keys().role(Role::Checkpoint);
                let status = |key: &PublicKey| role.and_then(|role| role.status(key));
                let key = |voter: &Member| {
                    let key = voter.checkpoint_key;
                    key.filter(|key| status(key) != Some(KeyStatus::Revoked))
                };
                voters.map(|voter| (voter.id.0, key(voter))).collect()
            },
        };
        self.state.read(of)
    }

    /// The key that this node's head is signed with, if it is the one that is entered for it.
    fn key_of(&self, electorate: &Electorate) -> Option<&SigningKey> {
        let entered = electorate.key(self.me).ok()?;
        let key = self.key.as_ref();
        key.filter(|key| public_key(key) == entered)
    }

    fn comparable(&self, electorate: &Electorate) -> Compared {
        let others = || electorate.voters.iter().filter(|(id, _)| **id != self.me);
        let suffice = |count: usize| count.saturating_mul(2) > electorate.voters.len();
        if !suffice(others().count()) {
            Compared::TooFewVoters
        } else if !suffice(others().filter(|(_, key)| key.is_some()).count()) {
            Compared::TooFewKeys
        } else {
            Compared::Yes
        }
    }

    fn opinions(&self) -> MutexGuard<'_, Opinions> {
        lock(&self.opinions)
    }
}

// Plain data, valid at every step: a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
