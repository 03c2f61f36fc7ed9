//! LOG-1: every command is exactly one chain entry; all nodes' chains are prefixes of one chain.

use std::collections::BTreeMap;

use tidegate_audit_log::Entry;

use super::{Chain, Oracle, Seen, Verdict};

/// Compares every node's chain with the first one seen at that length, and every stored entry with
/// the first one seen at that index.
#[derive(Debug, Default)]
pub(super) struct Log1 {
    /// Chain by number of entries, and who had it first.
    chains: BTreeMap<u64, ([u8; 32], String)>,
    /// The Raft entry of the last audit entry looked at, by audit index.
    last_raft: Option<(u64, u64)>,
}

impl Oracle for Log1 {
    fn id(&self) -> &'static str {
        "LOG-1"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Position { lane, position } => self.same(lane, position.entries, position.chain),
            Seen::Entries { lane, entries } => {
                for entry in *entries {
                    let bytes = &entry.bytes;
                    let known = chain.link(entry.index).map(|link| link.bytes.as_slice());
                    if known != Some(bytes.as_ref()) {
                        return Err(format!("{lane} has another entry {}", entry.index));
                    }
                    let parsed = Entry::parse(bytes).map_err(|error| error.to_string())?;
                    self.same(lane, entry.index + 1, parsed.chain().0)?;
                }
                self.raft_indices_rise(chain)
            }
            _ => Ok(()),
        }
    }
}

impl Log1 {
    fn same(&mut self, lane: &str, entries: u64, chain: [u8; 32]) -> Verdict {
        let (known, first) = self
            .chains
            .entry(entries)
            .or_insert_with(|| (chain, lane.to_owned()));
        if *known == chain {
            return Ok(());
        }
        Err(format!(
            "after {entries} entries {lane} and {first} have different chains"
        ))
    }

    /// One Raft entry makes one audit entry.
    fn raft_indices_rise(&mut self, chain: &Chain) -> Verdict {
        loop {
            let next = self.last_raft.map_or(0, |(index, _)| index + 1);
            let Some(link) = chain.link(next) else {
                return Ok(());
            };
            let raft = link.body.raft_index;
            if let Some((_, last)) = self.last_raft
                && raft <= last
            {
                return Err(format!(
                    "entry {next} is of Raft entry {raft}, the one before it of {last}"
                ));
            }
            self.last_raft = Some((next, raft));
        }
    }
}
