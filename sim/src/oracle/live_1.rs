//! LIVE-1: once faults heal, commands commit and leases renew within a stated time.

use std::collections::BTreeMap;

use super::{Chain, Oracle, Seen, Verdict};

/// Waits for progress after healing.
#[derive(Debug, Default)]
pub(super) struct Live1 {
    deadline_us: Option<u64>,
    awaited: Vec<String>,
    /// When each first happened after healing.
    happened: BTreeMap<String, u64>,
}

impl Oracle for Live1 {
    fn id(&self) -> &'static str {
        "LIVE-1"
    }

    fn see(&mut self, at_us: u64, seen: &Seen<'_>, _: &Chain) -> Verdict {
        match seen {
            Seen::Healed {
                deadline_us,
                awaited,
            } => {
                self.deadline_us = Some(*deadline_us);
                self.awaited = awaited.to_vec();
            }
            Seen::Progress { what } if self.deadline_us.is_some() => {
                self.happened.entry((*what).to_owned()).or_insert(at_us);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: u64, _: &Chain) -> Verdict {
        let Some(deadline_us) = self.deadline_us else {
            return Ok(());
        };
        for what in &self.awaited {
            match self.happened.get(what) {
                Some(at_us) if *at_us <= deadline_us => {}
                Some(at_us) => {
                    let late = (at_us - deadline_us) / 1_000;
                    return Err(format!("{what} came {late} ms too late after healing"));
                }
                None => return Err(format!("{what} never came after healing")),
            }
        }
        Ok(())
    }
}
