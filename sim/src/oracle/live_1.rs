//! LIVE-1: once faults heal, commands commit and leases renew within a stated time. News reach whoever
//! follows as long after the first entry that there is to hear of.

use std::collections::BTreeMap;

use super::{Chain, Oracle, Seen, Verdict};

/// How what followers hear of is called.
pub(crate) const NEWS: &str = "news at ";

/// Waits for progress after healing.
#[derive(Debug, Default)]
pub(super) struct Live1 {
    deadline_us: Option<u64>,
    /// How long after healing that is.
    patience_us: u64,
    awaited: Vec<String>,
    /// Entries at healing, and when there first were more.
    entries: u64,
    first_entry_us: Option<u64>,
    /// When each first happened after healing.
    happened: BTreeMap<String, u64>,
}

impl Oracle for Live1 {
    fn id(&self) -> &'static str {
        "LIVE-1"
    }

    fn see(&mut self, at_us: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Healed {
                deadline_us,
                awaited,
            } => {
                self.deadline_us = Some(*deadline_us);
                self.patience_us = deadline_us.saturating_sub(at_us);
                self.entries = chain.len();
                self.awaited = awaited.to_vec();
            }
            Seen::Entries { .. } if self.deadline_us.is_some() && chain.len() > self.entries => {
                self.first_entry_us.get_or_insert(at_us);
            }
            Seen::Progress { what } if self.deadline_us.is_some() => {
                self.happened.entry((*what).to_owned()).or_insert(at_us);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, now_us: u64, _: &Chain) -> Verdict {
        let Some(deadline_us) = self.deadline_us else {
            return Ok(());
        };
        for what in &self.awaited {
            let due_us = if what.starts_with(NEWS) {
                // Whether anything is committed is another thing to wait for.
                let Some(first_us) = self.first_entry_us else {
                    continue;
                };
                deadline_us.max(first_us + self.patience_us)
            } else {
                deadline_us
            };
            match self.happened.get(what) {
                Some(at_us) if *at_us <= due_us => {}
                None if what.starts_with(NEWS) && due_us > now_us => {}
                Some(at_us) => {
                    let late = (at_us - due_us) / 1_000;
                    return Err(format!("{what} came {late} ms too late after healing"));
                }
                None => return Err(format!("{what} never came after healing")),
            }
        }
        Ok(())
    }
}
