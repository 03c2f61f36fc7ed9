//! The members of the store, and the keys that machines keep whatever people do with theirs.

use std::collections::BTreeSet;

use tidegate_domain::command::{ChangeMembership, RotateKeys};
use tidegate_domain::config::Member;
use tidegate_domain::id::{NodeId, Region};
use tidegate_domain::key::Role;
use tidegate_domain::testing::{Fleet, proposed_keys, region};

use super::{Draft, Operators};

/// Numbers of the keys with which store nodes sign what they have: enough for all members at once,
/// and one more while one takes another's place. The ring's last one is the log's.
const CHECKPOINT_KEYS: [u8; 7] = [0, 1, 2, 3, 4, 5, 6];
/// Numbers of the keys of other machines.
const MACHINE_KEYS: [u8; 3] = [0, 1, 2];

/// A member of the store as operators want it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its number.
    pub id: u64,
    /// `host:port`.
    pub address: String,
    /// The region that it counts for.
    pub region: String,
    /// Whether it votes.
    pub voter: bool,
}

/// The number of the key with which a store node signs what it has.
pub(crate) fn checkpoint_key(node: u64) -> u8 {
    let at = usize::try_from(node).unwrap_or(0) % CHECKPOINT_KEYS.len();
    CHECKPOINT_KEYS[at]
}

/// Machines have the same keys in every epoch.
pub(super) fn with_machine_keys(fleet: &Fleet, rotation: &mut RotateKeys) {
    for proposed in &mut rotation.roles {
        let numbers: &[u8] = match proposed.role {
            Role::Checkpoint => &CHECKPOINT_KEYS,
            Role::Decision | Role::Node => &MACHINE_KEYS,
            Role::Root | Role::Release | Role::Operator => continue,
        };
        proposed.keys = proposed_keys(&fleet.keys, proposed.role, numbers);
    }
}

impl Operators {
    /// Who shall be a member of the store. Of two nodes that would have the same key, the later one
    /// has none.
    pub fn membership(&mut self, wanted: &[Wanted]) -> Draft {
        let mut given = BTreeSet::new();
        let keys = &self.fleet.keys;
        let member = |node: &Wanted| Member {
            id: NodeId(node.id),
            address: node.address.clone(),
            region: Region::new(node.region.as_str()).unwrap_or_else(|_| region("a")),
            voter: node.voter,
            checkpoint_key: {
                let key = keys.public(Role::Checkpoint, checkpoint_key(node.id));
                given.insert(key).then_some(key)
            },
        };
        let members = wanted.iter().map(member).collect();
        self.draft("members", ChangeMembership { members })
    }
}
