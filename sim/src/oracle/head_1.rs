//! HEAD-1: a node whose chain is another one than that of a majority of the voters stops within the
//! time that LIVE-1 allows, and no other node does.

use std::collections::BTreeSet;

use super::{Chain, Oracle, Seen, Verdict};

/// Knows which chains are other ones, and waits until their nodes have stopped or are replaced.
#[derive(Debug, Default)]
pub(super) struct Head1 {
    /// Those that go on.
    diverged: BTreeSet<String>,
    deadline_us: Option<u64>,
}

impl Oracle for Head1 {
    fn id(&self) -> &'static str {
        "HEAD-1"
    }

    fn see(&mut self, at_us: u64, seen: &Seen<'_>, _: &Chain) -> Verdict {
        match seen {
            Seen::Healed { deadline_us, .. } => self.deadline_us = Some(*deadline_us),
            Seen::Diverged { lane } => drop(self.diverged.insert((*lane).to_owned())),
            Seen::Outvoted {
                lane,
                ruined: false,
            } => {
                return Err(format!(
                    "{lane} stopped, and nothing is wrong with its chain"
                ));
            }
            Seen::Outvoted { lane, .. } | Seen::WrittenOff { lane } => {
                let late = self.deadline_us.filter(|deadline| *deadline < at_us);
                if self.diverged.remove(*lane)
                    && let Some(deadline_us) = late
                {
                    let late_ms = (at_us - deadline_us) / 1_000;
                    return Err(format!(
                        "{lane}, whose chain is another one, stopped {late_ms} ms too late"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: u64, _: &Chain) -> Verdict {
        match (self.diverged.first(), self.deadline_us) {
            (Some(lane), Some(_)) => Err(format!("{lane} goes on, and its chain is another one")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a run in which node 4 diverges, this is seen, and the deadline is at 20 µs.
    fn after(seen: &[(u64, Seen<'_>)]) -> Verdict {
        let chain = Chain::new("a/b", 1);
        let mut oracle = Head1::default();
        oracle.see(1, &Seen::Diverged { lane: "s4" }, &chain)?;
        let healed = Seen::Healed {
            deadline_us: 20,
            awaited: &[],
        };
        oracle.see(10, &healed, &chain)?;
        for (at_us, seen) in seen {
            oracle.see(*at_us, seen, &chain)?;
        }
        oracle.end(30, &chain)
    }

    #[test]
    fn who_diverged_must_stop_in_time_and_nobody_else_may() {
        let stopped = |lane, ruined| Seen::Outvoted { lane, ruined };
        assert_eq!(after(&[(15, stopped("s4", true))]), Ok(()));
        assert_eq!(after(&[(15, Seen::WrittenOff { lane: "s4" })]), Ok(()));
        let again = [(15, stopped("s4", true)), (25, stopped("s4", true))];
        assert_eq!(after(&again), Ok(()), "its disk did not remember");
        assert!(after(&[]).is_err(), "it goes on");
        assert!(after(&[(25, stopped("s4", true))]).is_err(), "too late");
        let other = [(15, stopped("s4", true)), (16, stopped("s2", false))];
        assert!(after(&other).is_err(), "another one stopped");
    }
}
