//! READ-1: a linearizable read covers every command acknowledged before the read began.

use std::collections::BTreeMap;

use super::{Chain, Oracle, Seen, Verdict};

/// Notes what was acknowledged when each read began.
#[derive(Debug, Default)]
pub(super) struct Read1 {
    /// One more than the greatest index that was acknowledged, or covered by a finished read.
    known: u64,
    began: BTreeMap<u64, u64>,
}

impl Oracle for Read1 {
    fn id(&self) -> &'static str {
        "READ-1"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, _: &Chain) -> Verdict {
        match seen {
            Seen::Began { op, .. } => {
                self.began.insert(*op, self.known);
            }
            Seen::Acknowledged { op, index, .. } => {
                self.began.remove(op);
                self.known = self.known.max(index + 1);
            }
            Seen::Read { op, entries, .. } => {
                let least = self.began.remove(op).unwrap_or(0);
                if *entries < least {
                    return Err(format!(
                        "#{op} began when {least} entries were known to be committed, and covers \
                         {entries}"
                    ));
                }
                // Reads are linearizable among each other, too.
                self.known = self.known.max(*entries);
            }
            _ => {}
        }
        Ok(())
    }
}
