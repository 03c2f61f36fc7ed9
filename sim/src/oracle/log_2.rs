//! LOG-2: no acknowledged command is lost, and none is applied twice. And linearizability of all
//! clients' operations, in the order of real time: a command that was proposed after another was
//! acknowledged, or after a read was answered, stands after what they cover. That goes for commands
//! of unknown outcome too, once they turn up in the log; what was said to have no effect has none.

use std::collections::BTreeMap;

use tidegate_domain::Outcome;
use tidegate_raft_store::storage::Asked;

use super::{Chain, Oracle, Seen, Verdict};

/// Remembers every acknowledgement, and looks for it in the log.
#[derive(Debug, Default)]
pub(super) struct Log2 {
    /// Entries that were acknowledged when a command was first proposed, by its hash: it must
    /// stand after them.
    began: BTreeMap<[u8; 32], u64>,
    /// Attempts of each command that may still have an effect.
    open: BTreeMap<[u8; 32], u32>,
    /// One more than the greatest index that was acknowledged, or that a read covered.
    acknowledged: u64,
    /// Acknowledgements that the log is not known to hold yet.
    waiting: BTreeMap<u64, Promise>,
    /// Entries of the chain that were looked at.
    looked: u64,
}

#[derive(Debug)]
struct Promise {
    command: Vec<u8>,
    outcome: Outcome,
}

impl Oracle for Log2 {
    fn id(&self) -> &'static str {
        "LOG-2"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Began { command, .. } => {
                if let Some(command) = command {
                    let key = *blake3::hash(command).as_bytes();
                    self.began.entry(key).or_insert(self.acknowledged);
                    *self.open.entry(key).or_insert(0) += 1;
                }
            }
            Seen::Failed {
                command,
                without_effect: true,
            } => {
                let key = *blake3::hash(command).as_bytes();
                if let Some(open) = self.open.get_mut(&key) {
                    *open = open.saturating_sub(1);
                }
            }
            Seen::Read { entries, .. } => self.acknowledged = self.acknowledged.max(*entries),
            Seen::Acknowledged {
                op,
                command,
                index,
                outcome,
            } => {
                let key = *blake3::hash(command).as_bytes();
                let floor = self.began.get(&key).copied().unwrap_or(0);
                if *index < floor {
                    return Err(format!(
                        "#{op} began when entry {} was acknowledged, and became entry {index}",
                        floor - 1
                    ));
                }
                self.acknowledged = self.acknowledged.max(index + 1);
                let promise = Promise {
                    command: command.to_vec(),
                    outcome: (*outcome).clone(),
                };
                if let Some(other) = self.waiting.insert(*index, promise)
                    && other.command != *command
                {
                    return Err(format!("two commands were acknowledged as entry {index}"));
                }
            }
            Seen::Entries { .. } => self.follow(chain)?,
            _ => return Ok(()),
        }
        self.settle(chain)
    }

    fn end(&mut self, _: u64, chain: &Chain) -> Verdict {
        self.settle(chain)?;
        match self.waiting.keys().next() {
            None => Ok(()),
            Some(index) => Err(format!(
                "entry {index} was acknowledged, and the log has {} entries",
                chain.len()
            )),
        }
    }
}

impl Log2 {
    fn settle(&mut self, chain: &Chain) -> Verdict {
        while let Some(first) = self.waiting.first_entry() {
            let Some(link) = chain.link(*first.key()) else {
                return Ok(());
            };
            let (index, promise) = first.remove_entry();
            let Asked::Command(stands) = &link.body.asked else {
                return Err(format!("entry {index} was acknowledged, and is no command"));
            };
            if *stands != promise.command {
                return Err(format!(
                    "another command stands as acknowledged entry {index}"
                ));
            }
            if link.body.applied.outcome != promise.outcome {
                let (told, stands) = (&promise.outcome, &link.body.applied.outcome);
                return Err(format!("entry {index}: told {told:?}, stands {stands:?}"));
            }
        }
        Ok(())
    }

    /// Looks at what the log has become.
    fn follow(&mut self, chain: &Chain) -> Verdict {
        while let Some(link) = chain.link(self.looked) {
            let index = self.looked;
            self.looked += 1;
            let Asked::Command(command) = &link.body.asked else {
                continue;
            };
            if matches!(link.body.applied.outcome, Outcome::Accepted(_)) {
                nothing_twice(command, index, chain)?;
                self.in_its_time(command, index)?;
            }
        }
        Ok(())
    }

    /// A command has its effect after everything that was known when it was first proposed, and
    /// only while some attempt may still have one.
    fn in_its_time(&self, command: &[u8], index: u64) -> Verdict {
        let key = *blake3::hash(command).as_bytes();
        let Some(known) = self.began.get(&key) else {
            return Ok(());
        };
        if index < *known {
            return Err(format!(
                "entry {index} was first proposed when {known} entries were known"
            ));
        }
        if self.open.get(&key) == Some(&0) {
            return Err(format!(
                "entry {index} took effect after its proposer was told that it has none"
            ));
        }
        Ok(())
    }
}

/// The same bytes a second time are refused.
fn nothing_twice(command: &[u8], index: u64, chain: &Chain) -> Verdict {
    let first = chain.index_of(command).unwrap_or(index);
    let first_accepted = chain
        .link(first)
        .is_some_and(|link| matches!(link.body.applied.outcome, Outcome::Accepted(_)));
    if first != index && first_accepted {
        return Err(format!(
            "the command of entry {first} was applied again as entry {index}"
        ));
    }
    Ok(())
}
