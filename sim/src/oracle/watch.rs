//! READ-2, below the client: a watch as it comes off the wire delivers each entry's events once, in
//! order, without gaps, and never says that a watcher has more than it got.
//!
//! The product's own client throws away what does not fit, so that a server which skips or repeats
//! would only be seen as one that is slow.

use std::collections::{BTreeMap, VecDeque};

use super::{Chain, Oracle, Seen, Verdict};

/// Follows every raw watch.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// Where each stands.
    at: BTreeMap<String, u64>,
    waiting: VecDeque<Delivery>,
}

#[derive(Debug)]
struct Delivery {
    lane: String,
    from: u64,
    events: Vec<Vec<u8>>,
}

impl Oracle for Watches {
    fn id(&self) -> &'static str {
        "READ-2"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::WatchBegan { lane, entries } => {
                self.at.insert((*lane).to_owned(), *entries);
                return Ok(());
            }
            Seen::WatchIdle { lane, entries } => {
                let at = self.at.get(*lane).copied().unwrap_or(0);
                if *entries > at {
                    return Err(format!(
                        "the watch of {lane} stands at {at} and was told that it has {entries}"
                    ));
                }
                return Ok(());
            }
            Seen::WatchBatch {
                lane,
                from,
                to,
                events,
            } => self.deliver(lane, (*from, *to), events)?,
            Seen::Entries { .. } => {}
            _ => return Ok(()),
        }
        self.settle(chain)
    }

    fn end(&mut self, _: u64, chain: &Chain) -> Verdict {
        self.settle(chain)
    }
}

impl Watches {
    fn deliver(&mut self, lane: &str, (from, to): (u64, u64), events: &[Vec<u8>]) -> Verdict {
        let at = self.at.entry(lane.to_owned()).or_insert(from);
        let stood = *at;
        if from != stood || to != from + events.len() as u64 {
            return Err(format!(
                "the watch of {lane} stands at {stood} and got {} entries from {from} to {to}",
                events.len()
            ));
        }
        *at = to;
        self.waiting.push_back(Delivery {
            lane: lane.to_owned(),
            from,
            events: events.to_vec(),
        });
        Ok(())
    }

    fn settle(&mut self, chain: &Chain) -> Verdict {
        let mut wrong = None;
        self.waiting.retain(|delivery| {
            let Delivery { lane, from, events } = delivery;
            let to = from + events.len() as u64;
            if chain.len() < to {
                return true;
            }
            let links = (*from..to).filter_map(|index| chain.link(index));
            let stands = links.map(|link| link.body.events());
            if !stands.eq(events.iter().map(Vec::as_slice)) {
                wrong = Some(format!(
                    "the events that the watch of {lane} got from {from} to {to} are not those of \
                     the log"
                ));
            }
            false
        });
        wrong.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_repeats_and_progress_ahead_of_events_are_found() {
        let chain = Chain::new("fleet.example", 1);
        let see = |seen: &[Seen<'_>]| {
            let mut watches = Watches::default();
            let mut verdicts = seen.iter().map(|seen| watches.see(0, seen, &chain));
            verdicts.find(Result::is_err)
        };
        let lane = "w1";
        let began = Seen::WatchBegan { lane, entries: 5 };
        let events = vec![vec![1], vec![2]];
        let batch = |from, to| Seen::WatchBatch {
            lane,
            from,
            to,
            events: &events,
        };
        let idle = |entries| Seen::WatchIdle { lane, entries };
        assert_eq!(see(&[began.clone(), batch(5, 7), idle(7)]), None);
        for wrong in [batch(6, 8), batch(4, 6), batch(5, 8), idle(6)] {
            assert!(see(&[began.clone(), wrong]).is_some());
        }
    }
}
