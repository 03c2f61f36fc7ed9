//! APPLY-1: the same commands give the same state root on every node, byte for byte.

use std::collections::VecDeque;

use super::{Chain, Oracle, Seen, Verdict};

/// Compares every state root with the oracles' own replay, as soon as that got there.
#[derive(Debug, Default)]
pub(super) struct Apply1 {
    waiting: VecDeque<Claim>,
}

#[derive(Debug)]
struct Claim {
    who: String,
    entries: u64,
    root: [u8; 32],
}

impl Oracle for Apply1 {
    fn id(&self) -> &'static str {
        "APPLY-1"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Position { lane, position } => self.waiting.push_back(Claim {
                who: (*lane).to_owned(),
                entries: position.entries,
                root: position.root,
            }),
            Seen::Read {
                op,
                entries,
                root: Some(root),
            } => self.waiting.push_back(Claim {
                who: format!("the answer to #{op}"),
                entries: *entries,
                root: *root,
            }),
            Seen::Damaged { lane, what } => return Err(format!("{lane}: {what}")),
            Seen::Entries { .. } => {}
            _ => return Ok(()),
        }
        self.settle(chain)
    }

    fn end(&mut self, _: u64, chain: &Chain) -> Verdict {
        self.settle(chain)?;
        match self.waiting.front() {
            None => Ok(()),
            Some(Claim { who, entries, .. }) => Err(format!(
                "{who} spoke of {entries} entries, and no node has more than {}",
                chain.len()
            )),
        }
    }
}

impl Apply1 {
    fn settle(&mut self, chain: &Chain) -> Verdict {
        let mut wrong = None;
        self.waiting.retain(|claim| {
            let Some((_, root)) = chain.after(claim.entries) else {
                return true;
            };
            if root != claim.root {
                wrong = Some(format!(
                    "after {} entries {} has another state root than the replay",
                    claim.entries, claim.who
                ));
            }
            false
        });
        wrong.map_or(Ok(()), Err)
    }
}
