//! COPY-1: each copy of a committed entry that a leader counts outlives a loss of power.

use std::collections::BTreeMap;

use super::{Chain, Oracle, Seen, Verdict};

/// Remembers the last copy that any leader counted, by node: term and index.
#[derive(Debug, Default)]
pub(super) struct Copy1 {
    counted: BTreeMap<u64, (u64, u64)>,
}

impl Oracle for Copy1 {
    fn id(&self) -> &'static str {
        "COPY-1"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, _: &Chain) -> Verdict {
        match seen {
            Seen::Counted { copies } => {
                for (node, copy) in *copies {
                    let last = self.counted.entry(*node).or_default();
                    *last = (*last).max(*copy);
                }
                Ok(())
            }
            // What replaces entries, or covers them, is of a later term or index.
            Seen::Restarted { node, lane, left } => match self.counted.get(node) {
                Some(counted) if *left < Some(*counted) => Err(format!(
                    "a leader counted {lane}'s copy of entry {} of term {}, and after a restart it \
                     has nothing after {}",
                    counted.1,
                    counted.0,
                    left.map_or("the beginning".to_owned(), |(term, index)| format!(
                        "entry {index} of term {term}"
                    )),
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
