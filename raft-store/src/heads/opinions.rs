//! What voters say of the chain, compared with this node's own, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tidegate_domain::id::PublicKey;

use super::statement::Head;
use crate::types::NodeId;

/// What each voter said last, and how that compares. Bounded: two heads a voter.
#[derive(Debug, Default)]
pub(super) struct Opinions(BTreeMap<NodeId, Opinion>);

#[derive(Debug)]
struct Opinion {
    /// The key that it speaks with. What was said with another one is nothing to go by.
    key: PublicKey,
    /// The most entries that it spoke of; before the first there is nothing to say.
    heard: u64,
    /// What is not compared yet: the first such head, which would never be reached if each later one
    /// took its place, and the last one.
    waiting: Vec<Head>,
    /// The most entries after which its chain was this node's.
    agrees: u64,
    /// The fewest after which it was not; none once it is again.
    differs: Option<u64>,
    /// The operators have been told.
    told: bool,
}

/// Where two chains part: they agree after so many entries, and differ after so many more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parting {
    pub(super) agrees: u64,
    pub(super) differs: u64,
}

/// More than half of all voters contradict this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outvoted {
    pub(super) by: Vec<NodeId>,
    pub(super) parting: Parting,
}

impl Opinions {
    /// Forgets who votes no more, or has another key.
    pub(super) fn retain(&mut self, is_voter: impl Fn(NodeId, PublicKey) -> bool) {
        self.0.retain(|id, opinion| is_voter(*id, opinion.key));
    }

    /// Whether the voter has not spoken of so many entries yet: otherwise it is nothing new.
    pub(super) fn is_news(&self, voter: NodeId, key: PublicKey, head: &Head) -> bool {
        let known = self.0.get(&voter).filter(|opinion| opinion.key == key);
        known.map_or(0, |opinion| opinion.heard) < head.entries
    }

    /// A voter said this, beyond doubt.
    pub(super) fn hear(&mut self, voter: NodeId, key: PublicKey, head: Head) {
        if !self.is_news(voter, key, &head) {
            return;
        }
        let opinion = self.0.entry(voter).or_insert(Opinion::new(key));
        if opinion.key != key {
            *opinion = Opinion::new(key);
        }
        opinion.heard = head.entries;
        opinion.waiting.truncate(1);
        opinion.waiting.push(head);
    }

    /// After how many entries this node's own heads are wanted.
    pub(super) fn wanted(&self) -> BTreeSet<u64> {
        let waiting = self.0.values().flat_map(|opinion| &opinion.waiting);
        waiting.map(|head| head.entries).collect()
    }

    /// Compares what waits with this node's own heads, as far as it has them.
    pub(super) fn compare(&mut self, own: &BTreeMap<u64, [u8; 32]>) {
        for opinion in self.0.values_mut() {
            let waiting = std::mem::take(&mut opinion.waiting);
            for head in waiting {
                match own.get(&head.entries) {
                    None => opinion.waiting.push(head),
                    Some(chain) if *chain == head.chain => opinion.agree(head.entries),
                    Some(_) => opinion.differ(head.entries),
                }
            }
        }
    }

    /// Who contradicts this node, if that is more than half of so many voters. The node itself is
    /// never among them, and counts among the voters.
    pub(super) fn outvoted(&self, voters: usize) -> Option<Outvoted> {
        let differing = || {
            let all = self.0.iter();
            all.filter_map(|(id, opinion)| Some((*id, opinion.parting()?)))
        };
        let by: Vec<NodeId> = differing().map(|(id, _)| id).collect();
        if by.len().saturating_mul(2) <= voters {
            return None;
        }
        let differs = differing().map(|(_, parting)| parting.differs).min()?;
        let agrees = differing().map(|(_, parting)| parting.agrees);
        let agrees = agrees.filter(|agrees| *agrees < differs).max()?;
        let parting = Parting { agrees, differs };
        Some(Outvoted { by, parting })
    }

    /// Voters who began to contradict this node since this was asked last.
    pub(super) fn dissenters(&mut self) -> Vec<(NodeId, Parting)> {
        let mut new = Vec::new();
        for (id, opinion) in &mut self.0 {
            if let Some(parting) = opinion.parting()
                && !std::mem::replace(&mut opinion.told, true)
            {
                new.push((*id, parting));
            }
        }
        new
    }
}

impl Opinion {
    const fn new(key: PublicKey) -> Self {
        Self {
            key,
            heard: 0,
            waiting: Vec::new(),
            agrees: 0,
            differs: None,
            told: false,
        }
    }

    fn agree(&mut self, entries: u64) {
        // A chain that is the same again was never another one: what was said between was wrong.
        self.differs = None;
        self.told = false;
        self.agrees = entries;
    }

    fn differ(&mut self, entries: u64) {
        self.differs.get_or_insert(entries);
    }

    fn parting(&self) -> Option<Parting> {
        Some(Parting {
            agrees: self.agrees,
            differs: self.differs?,
        })
    }
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agrees, differs } = *self;
        match (agrees, differs - 1) {
            (first, last) if first == last => write!(f, "entry {last} differs")?,
            (first, last) => write!(
                f,
                "one of the entries {first} to {last} is the first to differ"
            )?,
        }
        match agrees.checked_sub(1) {
            Some(last) => write!(f, ", entry {last} the last known to agree"),
            None => write!(f, ", none is known to agree"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: PublicKey = PublicKey([1; 32]);
    const OTHER_KEY: PublicKey = PublicKey([2; 32]);

    /// The chain after so many entries, as everybody has it, and as one has it whose chain parts
    /// from that after `fork` entries.
    fn head(entries: u64, fork: Option<u64>) -> Head {
        let parted = fork.is_some_and(|fork| entries > fork);
        let chain = [u8::from(parted); 32];
        Head { entries, chain }
    }

    /// This node's own heads after up to so many entries.
    fn own(entries: u64, fork: Option<u64>) -> BTreeMap<u64, [u8; 32]> {
        (0..=entries).map(|n| (n, head(n, fork).chain)).collect()
    }

    fn heard(said: &[(NodeId, Head)]) -> Opinions {
        let mut opinions = Opinions::default();
        for (voter, head) in said {
            opinions.hear(*voter, KEY, *head);
            opinions.compare(&own(100, None));
        }
        opinions
    }

    #[test]
    fn one_of_three_stops_nobody_and_two_of_three_do() {
        let forked = Some(11);
        let mut opinions = heard(&[(2, head(10, forked)), (2, head(14, forked))]);
        assert_eq!(opinions.outvoted(3), None);
        let parting = Parting {
            agrees: 10,
            differs: 14,
        };
        assert_eq!(opinions.dissenters(), [(2, parting)]);
        assert_eq!(opinions.dissenters(), [], "said once");
        opinions.hear(3, KEY, head(12, forked));
        opinions.compare(&own(100, None));
        let outvoted = Outvoted {
            by: vec![2, 3],
            parting: Parting {
                agrees: 10,
                differs: 12,
            },
        };
        assert_eq!(opinions.outvoted(3), Some(outvoted));
        assert_eq!(opinions.outvoted(4), None, "half is no majority");
        assert_eq!(
            parting.to_string(),
            "one of the entries 10 to 13 is the first to differ, entry 9 the last known to agree"
        );
        opinions.retain(|id, _| id != 3);
        assert_eq!(opinions.outvoted(3), None, "who left has no say");
    }

    #[test]
    fn what_was_said_before_changes_nothing() {
        let mut opinions = heard(&[(2, head(14, None)), (3, head(14, None))]);
        for voter in [2, 3] {
            opinions.hear(voter, KEY, head(14, Some(0)));
            opinions.hear(voter, KEY, head(13, Some(0)));
        }
        assert_eq!(opinions.wanted(), BTreeSet::new());
        assert_eq!(opinions.outvoted(3), None);
    }

    #[test]
    fn what_was_said_with_another_key_is_forgotten() {
        let mut opinions = heard(&[(2, head(14, Some(0))), (3, head(14, Some(0)))]);
        assert!(opinions.outvoted(3).is_some());
        // Whoever has stolen a key may have spoken of more entries than there will ever be.
        opinions.hear(3, KEY, head(u64::MAX, None));
        opinions.hear(3, OTHER_KEY, head(13, None));
        opinions.compare(&own(100, None));
        assert_eq!(opinions.outvoted(3), None);
        opinions.retain(|_, key| key == OTHER_KEY);
        opinions.hear(2, OTHER_KEY, head(13, None));
        opinions.compare(&own(100, None));
        assert_eq!(opinions.dissenters(), []);
    }

    #[test]
    fn what_is_ahead_waits_and_is_reached_although_more_follows() {
        let mut opinions = Opinions::default();
        for entries in 20..60 {
            for voter in [2, 3] {
                opinions.hear(voter, KEY, head(entries, Some(5)));
            }
            opinions.compare(&own(19, None));
            assert_eq!(opinions.outvoted(3), None);
        }
        assert_eq!(opinions.wanted(), BTreeSet::from([20, 59]));
        opinions.compare(&own(20, None));
        let outvoted = opinions.outvoted(3).expect("both differ after 20");
        assert_eq!(outvoted.parting.differs, 20);
        let parting = outvoted.parting.to_string();
        assert!(parting.ends_with("none is known to agree"), "{parting}");
    }

    proptest! {
        /// Whoever forks where, in whatever order they speak: a node stops exactly if more than half
        /// of the voters, without it, have spoken last of a head that is not its own.
        #[test]
        fn a_node_stops_for_a_majority_and_for_nobody_else(
            voters in 1..8_usize,
            forks in prop::collection::vec(prop::option::of(0..40_u64), 7),
            said in prop::collection::vec((2..8_u64, 0..40_u64), 0..60),
            reached in 0..40_u64,
        ) {
            let mut opinions = Opinions::default();
            let said = said.into_iter().filter(|(voter, _)| *voter <= voters as u64);
            let (mut heard, mut last) = (BTreeMap::new(), BTreeMap::new());
            for (voter, entries) in said {
                let fork = forks[usize::try_from(voter).unwrap() - 1];
                opinions.hear(voter, KEY, head(entries, fork));
                opinions.compare(&own(reached, None));
                let heard = heard.entry(voter).or_insert(0);
                if entries <= reached && entries > *heard {
                    last.insert(voter, fork.is_some_and(|fork| entries > fork));
                }
                *heard = entries.max(*heard);
            }
            let against = last.values().filter(|parted| **parted).count();
            // Beyond what is reached nothing is known.
            let outvoted = opinions.outvoted(voters);
            prop_assert_eq!(outvoted.is_some(), against * 2 > voters);
            prop_assert!(opinions.0.values().all(|opinion| opinion.waiting.len() <= 2));
            if let Some(Outvoted { by, parting: Parting { agrees, differs } }) = outvoted {
                prop_assert_eq!(by.len(), against);
                let first = by.iter().filter_map(|id| forks[usize::try_from(*id).unwrap() - 1]).min();
                let first = first.expect("who differs has forked");
                prop_assert!(agrees < differs && first < differs, "{first} {agrees} {differs}");
            }
        }
    }
}
