//! Which store nodes suffice, and what they must come to.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft_rt::watch::WatchReceiver as _;
use tidegate_domain::State;

use super::{LOOK_EVERY, World};
use crate::oracle::Seen;
use crate::world::store::Store;

impl World {
    /// The voters, as operators want them, as changes on their way would have them, and as each node
    /// that runs has them in its state and in Raft.
    pub(crate) fn voter_groups(&self) -> Vec<BTreeSet<u64>> {
        let roll = self.roll();
        let voters = roll.wanted.iter().filter(|(_, wanted)| wanted.voter);
        let mut groups = vec![voters.map(|(id, _)| *id).collect()];
        groups.extend(roll.open.iter().cloned());
        drop(roll);
        for store in self.members() {
            let of_node = store.machine.with(|node| {
                let metrics = node.raft().metrics();
                let metrics = metrics.borrow_watched();
                let membership = metrics.membership_config.membership();
                let mut groups = membership.get_joint_config().clone();
                groups.push(node.state().read(voters_of));
                groups
            });
            groups.extend(of_node.into_iter().flatten());
        }
        // A node that knows nothing yet knows of no voters.
        groups.retain(|voters| !voters.is_empty());
        groups
    }

    /// Waits until every member but those left out has as many entries.
    pub(crate) async fn agree(&self, entries: u64, left_out: &BTreeSet<u64>, patience: Duration) {
        let has = |store: &Store| store.position().is_some_and(|at| at.entries >= entries);
        let reached = || {
            let members = self.members();
            let mut core = members
                .iter()
                .filter(|store| !left_out.contains(&store.spec.id));
            core.all(has)
        };
        let waiting = async {
            while !reached() {
                madsim::time::sleep(LOOK_EVERY).await;
            }
        };
        // Whether they got there is for LIVE-1 to say.
        if madsim::time::timeout(patience, waiting).await.is_ok() {
            self.witness.see(&Seen::Progress { what: "agreement" });
        }
    }
}

fn voters_of(state: &State) -> BTreeSet<u64> {
    let members = state.membership().members.iter();
    let voters = members.filter(|member| member.voter);
    voters.map(|member| member.id.0).collect()
}
