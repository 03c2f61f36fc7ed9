//! A leader whose build lets forged commands by.

use bytes::Bytes;
use tidegate_raft_store::Proposal;

use super::World;
use super::store::Store;

impl World {
    /// This node proposes a command of which no signature is good, past its door. What comes of it is
    /// for every replica to judge; who does not lead proposes nothing.
    pub(crate) fn forge(&self, store: &Store) {
        let node = store.machine.with(|node| {
            let time = node.state().position().log_time_ms;
            (node.raft().clone(), time)
        });
        let (Some((raft, stamp_ms)), Some(crew)) = (node, &self.crew) else {
            return;
        };
        let command = super::client::lock(crew).forged();
        store.machine.spawn(async move {
            let command = Bytes::from(command).into();
            let proposal = Proposal { stamp_ms, command };
            // Nobody waits for the outcome.
            let _ = raft.client_write(proposal).await;
        });
    }
}
