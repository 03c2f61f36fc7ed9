//! A fleet for tests: keys, clock, log and state in memory, with builders and a generator of
//! honest and hostile commands. Behind the feature `testing`; no production code depends on it.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "tests may panic, and say so by their name"
)]
mod build;
mod dice;
mod hostile;
mod keyring;
mod kinds;
mod refusals;
mod script;
mod sessions;

pub use build::{
    ReleaseBuilder, RolloutBuilder, channel, component, name, reason, region, release, rollout,
    scope, selector, stratum, traits,
};
pub use keyring::Keyring;
pub use kinds::every_kind;
pub use refusals::every_refusal;
pub use script::Step;

use crate::{
    apply::{
        Applied, Examined, Outcome, Stamp, Verified,
        access::{Demand, demand},
        apply, apply_verified,
    },
    command::{
        AdvanceSession, Base, Command, Operation, Proposal, RotateKeys, SignedCommand, Tick, seal,
    },
    event::{Event, refused_operations},
    id::{
        CommandId, Epoch, Hash, Incarnation, Index, Instance, LogTime, Millis, RolloutId, Sequence,
        SessionId,
    },
    key::{ProposedKey, ProposedRole, Role},
    rejection::Rejection,
    signature::SigningKey,
    state::State,
};

/// A cluster in memory, with all its keys in one hand.
///
/// ```
/// use tidegate_domain::testing::{Fleet, release};
/// let mut fleet = Fleet::new();
/// fleet.register(release("detector-v3.2").security_version(3));
/// fleet.wait_hours(2);
/// assert_eq!(fleet.state.releases().len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The state.
    pub state: State,
    /// The leader's clock.
    pub now: LogTime,
    /// The chain head: of this in-memory log, not the audit log's.
    pub chain: Hash,
    /// Every key that there is.
    pub keys: Keyring,
    /// Every entry so far: what was applied, under which stamp, and what came of it.
    pub log: Vec<(Vec<u8>, Stamp, Applied)>,
    ids: u64,
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new()
    }
}

impl Fleet {
    /// Its name.
    pub const ORIGIN: &'static str = "fleet.example";

    /// A cluster that has not held its key ceremony.
    pub fn unborn() -> Self {
        let state = State::new(Self::ORIGIN, Incarnation(7));
        Self {
            state,
            // 21 November 2026, 00:00 UTC: the start of an hour.
            now: LogTime(1_795_219_200_000),
            chain: Base::genesis(Self::ORIGIN).chain,
            keys: Keyring::default(),
            log: Vec::new(),
            ids: 0,
        }
    }

    /// A cluster in epoch 1: root, release and operator 2 of 3; decision, node and checkpoint 1 of
    /// 3; each by the first three keys of the keyring.
    pub fn new() -> Self {
        let mut fleet = Self::unborn();
        let ceremony = fleet.rotation(&[0, 1, 2]);
        fleet.accept(ceremony);
        fleet
    }

    /// A rotation to the next epoch, trusting the keys with these numbers in every role.
    pub fn rotation(&self, numbers: &[u8]) -> RotateKeys {
        let quorum = u16::try_from(numbers.len() / 2 + 1).expect("few keys");
        let role = |role: Role| ProposedRole {
            role,
            threshold: match role {
                Role::Root | Role::Release | Role::Operator => quorum,
                Role::Decision | Role::Node | Role::Checkpoint => 1,
            },
            keys: proposed_keys(&self.keys, role, numbers),
        };
        RotateKeys {
            epoch: Epoch(self.state.keys().epoch.0 + 1),
            roles: Role::ALL.map(role).to_vec(),
            strand: false,
        }
    }

    /// The command as it would be put to its approvers now: valid for an hour.
    pub fn proposal(&mut self, command: impl Into<Command>) -> Proposal {
        self.ids += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.ids.to_be_bytes());
        let last = self.state.meta().next.0.checked_sub(1);
        Proposal {
            origin: Self::ORIGIN.to_owned(),
            id: CommandId(id),
            epoch: self.state.keys().epoch,
            not_before: self.now,
            not_after: self.now.after(Millis(3_600_000)),
            base: Base {
                index: Index(last.unwrap_or(0)),
                chain: self.chain,
            },
            command: command.into(),
            expected_revision: None,
        }
    }

    /// The keys whose signatures a command takes, no more.
    pub fn signers(&self, command: &Command) -> Vec<SigningKey> {
        let keys = self.state.keys();
        let quorum = |role: Role| {
            let needed = keys.role(role).map_or(0, |role| role.threshold);
            self.keys.trusted(keys, role, usize::from(needed))
        };
        match demand(&self.state, command) {
            Demand::RootQuorums => {
                let Command::RotateKeys(RotateKeys { roles, .. }) = command else {
                    panic!("only RotateKeys takes root quorums");
                };
                let root = roles.iter().find(|proposed| proposed.role == Role::Root);
                let new = root.into_iter().flat_map(|root| {
                    let keys = root.keys.iter().take(usize::from(root.threshold));
                    keys.filter_map(|key| self.keys.get(&key.key))
                });
                let mut signers = quorum(Role::Root);
                signers.extend(new);
                signers
            }
            Demand::Operator => self.keys.trusted(keys, Role::Operator, 1),
            Demand::OperatorQuorum => quorum(Role::Operator),
            Demand::Decision => self.keys.trusted(keys, Role::Decision, 1),
            Demand::Session(session) => {
                let session = self.state.sessions().get(&session);
                let owner = session.and_then(|session| self.keys.get(&session.key));
                owner.into_iter().collect()
            }
            Demand::Node => self.keys.trusted(keys, Role::Node, 1),
            #[cfg(feature = "bench")]
            Demand::Nobody => Vec::new(),
        }
    }

    /// The command, signed by those it takes.
    pub fn sealed(&mut self, command: impl Into<Command>) -> SignedCommand {
        let proposal = self.proposal(command);
        let signers = self.signers(&proposal.command);
        seal(&proposal, &signers.iter().collect::<Vec<_>>())
    }

    /// Applies bytes as the next entry, whatever they are.
    pub fn apply(&mut self, envelope: &[u8]) -> &Applied {
        let stamp = self.stamp();
        let applied = apply(&mut self.state, Examined::of(envelope), stamp);
        let mut chain = blake3::Hasher::new_derive_key("tidegate 2026-11 test chain v1");
        chain.update(&self.chain.0).update(envelope);
        self.chain = Hash(chain.finalize().into());
        self.log.push((envelope.to_vec(), stamp, applied));
        &self.log[self.log.len() - 1].2
    }

    /// The stamp of the next entry.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            time: self.now,
            index: self.state.meta().next,
            chain: self.chain,
        }
    }

    /// Signs and applies a command.
    pub fn run(&mut self, command: impl Into<Command>) -> Applied {
        let envelope = self.sealed(command).to_bytes();
        self.apply(&envelope).clone()
    }

    /// Signs and applies a command that must be accepted.
    #[track_caller]
    pub fn accept(&mut self, command: impl Into<Command>) -> Vec<Event> {
        match self.run(command).outcome {
            Outcome::Accepted(events) => events,
            Outcome::Rejected(rejection) => panic!("refused: {rejection}"),
        }
    }

    /// Signs and applies a command that must be refused.
    #[track_caller]
    pub fn refuse(&mut self, command: impl Into<Command>) -> Rejection {
        match self.run(command).outcome {
            Outcome::Rejected(rejection) => rejection,
            Outcome::Accepted(events) => panic!("accepted: {events:?}"),
        }
    }

    /// Registers a release, signed by a threshold of release keys.
    #[track_caller]
    pub fn register(&mut self, release: ReleaseBuilder) -> Vec<Event> {
        let command = self.registration(release);
        self.accept(command)
    }

    /// The registration of a release, signed by a threshold of release keys.
    pub fn registration(&self, release: ReleaseBuilder) -> crate::command::RegisterRelease {
        let keys = self.state.keys();
        let needed = keys.role(Role::Release).map_or(0, |role| role.threshold);
        let signers = self.keys.trusted(keys, Role::Release, usize::from(needed));
        release.signed_by(&signers)
    }

    /// Creates, approves and starts a rollout.
    #[track_caller]
    pub fn launch(&mut self, rollout: RolloutBuilder) -> RolloutId {
        use crate::command::{ApproveRollout, CreateRollout, StartRollout};
        self.accept(CreateRollout {
            spec: rollout.spec(),
        });
        let rollout = self.state.meta().last_rollout;
        self.accept(ApproveRollout { rollout });
        self.accept(StartRollout { rollout });
        rollout
    }

    /// Opens a session of the first trusted decision key.
    #[track_caller]
    pub fn open_session(&mut self) -> SessionId {
        self.accept(crate::command::OpenSession {
            region: region("eu"),
            address: "decide-1.example:7443".to_owned(),
        });
        self.state.meta().last_session
    }

    /// A session's next envelope.
    pub fn envelope(
        &self,
        session: SessionId,
        operations: impl IntoIterator<Item = Operation>,
    ) -> AdvanceSession {
        let row = self.state.sessions().get(&session);
        AdvanceSession {
            session,
            instance: row.map_or(Instance(1), |row| row.instance),
            sequence: Sequence(row.map_or(0, |row| row.sequence.0) + 1),
            operations: operations.into_iter().collect(),
        }
    }

    /// Signs and applies a session's next envelope of one operation; answers what came of that.
    ///
    /// # Errors
    /// The operation, or the envelope as a whole, was refused.
    pub fn operate(
        &mut self,
        session: SessionId,
        operation: Operation,
    ) -> Result<Vec<Event>, Rejection> {
        let envelope = self.envelope(session, [operation]);
        match self.run(envelope).outcome {
            Outcome::Accepted(events) => {
                let refused = refused_operations(&events).next();
                let refused = refused.map(|(_, rejection)| rejection.clone());
                refused.map_or(Ok(events), Err)
            }
            Outcome::Rejected(rejection) => Err(rejection),
        }
    }

    /// As [`Self::operate`], of what must be done.
    #[track_caller]
    pub fn does(&mut self, session: SessionId, operation: Operation) -> Vec<Event> {
        match self.operate(session, operation) {
            Ok(events) => events,
            Err(rejection) => panic!("refused: {rejection}"),
        }
    }

    /// Moves the leader's clock on.
    pub fn wait(&mut self, length: Millis) {
        self.now = self.now.after(length);
    }

    /// Moves the leader's clock on by hours, ticking at the end of each.
    #[track_caller]
    pub fn wait_hours(&mut self, hours: u64) {
        for _ in 0..hours {
            self.wait(Millis(3_600_000));
            self.tick();
        }
    }

    /// Applies a tick.
    #[track_caller]
    pub fn tick(&mut self) -> Vec<Event> {
        self.accept(Tick {})
    }
}

/// Applies what was authorized before, or is assumed to be: what signatures don't cost.
pub fn apply_authorized(state: &mut State, command: &Verified<Command>, stamp: Stamp) -> Applied {
    apply_verified(state, command, stamp)
}

/// Keys as a rotation proposes them, sorted.
pub fn proposed_keys(keys: &Keyring, role: Role, numbers: &[u8]) -> Vec<ProposedKey> {
    let mut proposed: Vec<ProposedKey> = numbers
        .iter()
        .map(|number| ProposedKey {
            key: keys.public(role, *number),
            name: name(&format!("{role}-{number}")),
        })
        .collect();
    proposed.sort_by_key(|key| key.key);
    proposed
}
