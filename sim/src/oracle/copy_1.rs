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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a node whose copy of entry 61 of term 4 was counted, if this is left to it.
    fn after(left: Option<(u64, u64)>) -> Verdict {
        let chain = Chain::new("a/b", 1);
        let mut oracle = Copy1::default();
        for copy in [(4, 61), (3, 70)] {
            let copies = BTreeMap::from([(5, copy)]);
            oracle.see(0, &Seen::Counted { copies: &copies }, &chain)?;
        }
        let (node, lane) = (5, "s5");
        oracle.see(1, &Seen::Restarted { node, lane, left }, &chain)
    }

    #[test]
    fn a_copy_that_was_counted_must_be_left() {
        for left in [None, Some((4, 54)), Some((3, 70))] {
            assert!(after(left).is_err(), "{left:?}");
        }
        for left in [(4, 61), (4, 62), (5, 55)] {
            assert_eq!(after(Some(left)), Ok(()), "{left:?}");
        }
    }
}
