//! A store node whose chain becomes another one than its peers': at most one in a run, which then
//! ruins no disk.

use super::{RUINED_MAX, STORM_MS, Storm, ruin};
use crate::dice::Dice;
use crate::schedule::{Fault, Spot, Timed};

/// Of the runs that ruin no disk, one in so many has it.
const ONE_IN: u64 = 2;
/// When it begins, in ms: there is a chain, and time for what follows.
const WHEN_MS: std::ops::Range<u64> = 3_000..STORM_MS - 6_000;

impl Storm {
    /// The divergence of this run, if there is one. The draw is one of its own: the storm is the same
    /// without.
    pub(super) fn divergence(&mut self, dice: Dice) -> Option<Timed> {
        self.dice = dice;
        if self.ruined >= RUINED_MAX || !self.dice.one_in(ONE_IN) {
            return None;
        }
        let at_ms = self.dice.within(WHEN_MS);
        diverge(self).map(|fault| Timed { at_ms, fault })
    }
}

/// A leader is as likely as any other: it must stop nobody.
pub(super) fn diverge(storm: &mut Storm) -> Option<Fault> {
    let named = ruin(storm)?;
    let at = if storm.dice.one_in(4) {
        Spot(Spot::LEADER.to_owned())
    } else {
        named
    };
    Some(Fault::Diverge { at })
}
