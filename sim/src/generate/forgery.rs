//! A leader that lets a forged command by: at most once in a run.

use super::{STORM_MS, Storm};
use crate::dice::Dice;
use crate::schedule::{Fault, Spot, Timed};

/// One run in so many has it.
const ONE_IN: u64 = 2;
/// When, in ms: there are keys by then.
const WHEN_MS: std::ops::Range<u64> = 3_000..STORM_MS;

impl Storm {
    /// The forgery of this run, if there is one. The draw is one of its own: the storm is the same
    /// without.
    pub(super) fn forgery(&mut self, dice: Dice) -> Option<Timed> {
        self.dice = dice;
        if !self.dice.one_in(ONE_IN) {
            return None;
        }
        let at_ms = self.dice.within(WHEN_MS);
        forge(self).map(|fault| Timed { at_ms, fault })
    }
}

/// Of whoever leads: nobody else can chain anything.
pub(super) fn forge(_: &mut Storm) -> Option<Fault> {
    let at = Spot(Spot::LEADER.to_owned());
    Some(Fault::Forge { at })
}
