//! READ-2: a client's view never goes back; it gets each event once, in order, without gaps, or is
//! told to take its view anew.

use std::collections::{BTreeMap, VecDeque};

use tidegate_domain::Event;

use super::{Chain, Oracle, Seen, Verdict};

/// Follows every client's view.
#[derive(Debug, Default)]
pub(super) struct Read2 {
    /// Where each client's view stands.
    views: BTreeMap<String, u64>,
    waiting: VecDeque<Delivery>,
}

/// Events that a client got, to be compared with the log.
#[derive(Debug)]
struct Delivery {
    lane: String,
    from: u64,
    to: u64,
    events: Vec<Event>,
}

impl Oracle for Read2 {
    fn id(&self) -> &'static str {
        "READ-2"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Replaced { lane, entries } => self.moved(lane, *entries)?,
            Seen::Advanced {
                lane,
                entries,
                events,
            } => {
                let Some(from) = self.views.get(*lane).copied() else {
                    return Err(format!("{lane} got events before it had a view"));
                };
                self.moved(lane, *entries)?;
                self.waiting.push_back(Delivery {
                    lane: (*lane).to_owned(),
                    from,
                    to: *entries,
                    events: events.to_vec(),
                });
            }
            Seen::Entries { .. } => {}
            _ => return Ok(()),
        }
        self.settle(chain)
    }

    fn end(&mut self, _: u64, chain: &Chain) -> Verdict {
        self.settle(chain)?;
        match self.waiting.front() {
            None => Ok(()),
            Some(Delivery { lane, to, .. }) => Err(format!(
                "{lane} got events up to entry {to}, and no node has more than {}",
                chain.len()
            )),
        }
    }
}

impl Read2 {
    fn moved(&mut self, lane: &str, entries: u64) -> Verdict {
        let view = self.views.entry(lane.to_owned()).or_insert(0);
        if entries < *view {
            return Err(format!(
                "the view of {lane} went back from {view} to {entries}"
            ));
        }
        *view = entries;
        Ok(())
    }

    fn settle(&mut self, chain: &Chain) -> Verdict {
        let mut wrong = None;
        self.waiting.retain(|delivery| {
            if chain.len() < delivery.to {
                return true;
            }
            let links = (delivery.from..delivery.to).filter_map(|index| chain.link(index));
            let stands = links.flat_map(|link| link.body.applied.events());
            if !stands.eq(&delivery.events) {
                let Delivery { lane, from, to, .. } = delivery;
                wrong = Some(format!(
                    "the events that {lane} got from {from} to {to} are not those of the log"
                ));
            }
            false
        });
        wrong.map_or(Ok(()), Err)
    }
}
