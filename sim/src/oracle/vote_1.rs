//! VOTE-1: each term has one leader at most, and a majority of voters whose disks would remember
//! that they voted for it.

use std::collections::BTreeMap;

use super::{Chain, Oracle, Seen, Verdict};

/// Remembers who won which term.
#[derive(Debug, Default)]
pub(super) struct Vote1 {
    won: BTreeMap<u64, String>,
}

impl Oracle for Vote1 {
    fn id(&self) -> &'static str {
        "VOTE-1"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, _: &Chain) -> Verdict {
        let Seen::Elected {
            lane,
            term,
            voters,
            forgetful,
        } = seen
        else {
            return Ok(());
        };
        let first = self.won.entry(*term).or_insert_with(|| (*lane).to_owned());
        if first != lane {
            return Err(format!("{lane} leads term {term}, and so did {first}"));
        }
        for voters in *voters {
            let remember = voters.difference(forgetful).count();
            if remember * 2 <= voters.len() {
                return Err(format!(
                    "{lane} leads term {term}, and only {remember} of {} voters would remember it \
                     after a loss of power: {forgetful:?} would not",
                    voters.len()
                ));
            }
        }
        Ok(())
    }
}
