//! Trusted keys: roles, thresholds, and the epoch that numbers their generations.
use crate::id::{Epoch, KeyName, LogTime, PublicKey, Revision};
use minicbor::{Decode, Encode};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Key rotations.
    #[n(0)]
    Root,
    /// Release manifests.
    #[n(1)]
    Release,
    /// Operators' commands.
    #[n(2)]
    Operator,
    /// Decision nodes' sessions, budgets, reports, and exposure tokens.
    #[n(3)]
    Decision,
    /// Store nodes' ticks.
    #[n(4)]
    Node,
    /// Checkpoints of the audit log.
    #[n(5)]
    Checkpoint,
}

impl Role {
    /// Every role, in order.
    pub const ALL: [Self; 6] = [
        Self::Root,
        Self::Release,
        Self::Operator,
        Self::Decision,
        Self::Node,
        Self::Checkpoint,
    ];

    /// The role's name as written in files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Release => "release",
            Self::Operator => "operator",
            Self::Decision => "decision",
            Self::Node => "node",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: root, release, operator, decision, node or checkpoint")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// How far a key is trusted. Only falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyStatus {
    /// It signs.
    #[n(0)]
    Trusted,
    /// It signs no more; what it signed and was registered stays good.
    #[n(1)]
    Retired,
    /// Nothing that it signed is offered or counted.
    #[n(2)]
    Revoked,
}

/// A public key and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyEntry {
    /// Its holder's name, for people.
    #[n(0)]
    pub name: KeyName,
    /// How far it is trusted.
    #[n(1)]
    pub status: KeyStatus,
    /// The epoch that brought it.
    #[n(2)]
    pub since: Epoch,
}

/// The keys of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RoleKeys {
    /// How many distinct trusted keys must sign what needs the role's quorum. At least 1.
    #[n(0)]
    pub threshold: u16,
    /// The keys by their raw public bytes: thresholds count these, never key ids.
    #[cbor(n(1), with = "crate::canonical::pairs")]
    pub keys: BTreeMap<PublicKey, KeyEntry>,
}

impl RoleKeys {
    /// The status of a key in this role.
    pub fn status(&self, key: &PublicKey) -> Option<KeyStatus> {
        self.keys.get(key).map(|entry| entry.status)
    }

    /// How many keys are trusted.
    pub fn trusted(&self) -> usize {
        self.keys
            .values()
            .filter(|entry| entry.status == KeyStatus::Trusted)
            .count()
    }
}

/// The trusted key set of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeySet {
    /// Its generation.
    #[n(0)]
    pub epoch: Epoch,
    /// The keys of each role. One raw key serves one role only.
    #[cbor(n(1), with = "crate::canonical::pairs")]
    pub roles: BTreeMap<Role, RoleKeys>,
    /// When the epoch began.
    #[n(2)]
    pub since: LogTime,
    /// The entry that last changed it.
    #[n(3)]
    pub revision: Revision,
}

impl KeySet {
    /// Most keys of one role, retired and revoked ones included.
    pub const KEYS_MAX: usize = 1_024;

    /// The keys of a role, if it has any.
    pub fn role(&self, role: Role) -> Option<&RoleKeys> {
        self.roles.get(&role)
    }
}

/// One key of a proposed key set.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ProposedKey {
    /// The raw public key.
    #[n(0)]
    pub key: PublicKey,
    /// Its holder's name.
    #[n(1)]
    pub name: KeyName,
}

/// One role of a proposed key set: the keys that are trusted from the new epoch on. Keys of the
/// old epoch that it leaves out become `retired`; revocation is a command of its own.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ProposedRole {
    /// The role.
    #[n(0)]
    pub role: Role,
    /// Its threshold.
    #[n(1)]
    pub threshold: u16,
    /// Its keys, sorted by raw public key.
    #[n(2)]
    pub keys: Vec<ProposedKey>,
}
