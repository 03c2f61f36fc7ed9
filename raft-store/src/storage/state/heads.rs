//! This node's chain heads, as far back as its audit log goes: what other voters' are compared with.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_audit_log::ChainHash;

use super::{StateError, StateStore};

impl StateStore {
    /// How many audit entries there are, and the chain after them. Cheap.
    pub(crate) fn head(&self) -> (u64, [u8; 32]) {
        let position = self.position();
        (
            position.entries,
            self.told(position.entries, position.chain),
        )
    }

    /// The chain after so many audit entries, for each of these numbers that is reached. Reads the
    /// disk: one entry for each.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn heads_after(
        &self,
        numbers: &BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, [u8; 32]>, StateError> {
        let view = self.view()?;
        let reached = numbers.range(..=view.position().entries);
        let heads = reached.map(|entries| {
            let chain = view.chain_after(*entries)?;
            let chain = chain.unwrap_or_else(|| ChainHash::genesis(self.origin()));
            Ok((*entries, self.told(*entries, chain.0)))
        });
        heads.collect()
    }

    /// The head as this node takes it to be.
    #[cfg(not(madsim))]
    const fn told(&self, _: u64, chain: [u8; 32]) -> [u8; 32] {
        chain
    }

    /// The head as this node takes it to be: wrong from where its memory failed.
    #[cfg(madsim)]
    fn told(&self, entries: u64, mut chain: [u8; 32]) -> [u8; 32] {
        let from = self.shared.diverged.get();
        if from.is_some_and(|from| *from <= entries) {
            chain[0] ^= 1;
        }
        chain
    }

    /// From the head after `entries` on, this node's chain is another one than its peers'. What it
    /// stores and serves stays right, so that only the comparison of heads can tell.
    #[cfg(madsim)]
    pub fn diverge(&self, entries: u64) {
        // It keeps the first place at which that happened.
        let _ = self.shared.diverged.set(entries);
    }
}
