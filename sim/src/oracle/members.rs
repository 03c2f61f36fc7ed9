//! LOG-1, for membership: every node believes the membership that the log had as far as the node
//! has applied it, and no older one.

use tidegate_raft_store::storage::Asked;

use super::{Chain, Oracle, Seen, Verdict};

/// Compares what nodes believe with the membership changes in the chain.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Raft indices of the membership changes in the chain, and the entry to look at next.
    changes: Vec<u64>,
    looked: u64,
}

impl Oracle for Members {
    fn id(&self) -> &'static str {
        "LOG-1"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Entries { .. } => {
                while let Some(link) = chain.link(self.looked) {
                    self.looked += 1;
                    if matches!(link.body.asked, Asked::Membership(_)) {
                        self.changes.push(link.body.raft_index);
                    }
                }
                Ok(())
            }
            Seen::Membership {
                lane,
                applied,
                believed,
            } => {
                let last = self.changes.iter().rev().find(|at| *at <= applied);
                match last {
                    Some(last) if last > believed => Err(format!(
                        "{lane} has applied Raft entry {applied} and believes the membership of \
                         {believed}; it changed at {last}"
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
