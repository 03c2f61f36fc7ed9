//! What is not mended: LIVE-1 holds for a quorum that is healthy, whatever becomes of the others.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Nemesis;
use crate::dice::Dice;
use crate::schedule::{Fault, Schedule, Spot};
use crate::world::machine::Breakable as _;
use crate::world::settle::HELD_MAX;

/// How long a server may take for a call on its own machine.
const CALL_MAX: Duration = Duration::from_millis(200);
/// How often nodes are cut off for good before what that does to others is counted.
const CUTS_MAX: usize = 20;
/// How long what is left out stays so, in ms: longer than any run goes on after healing.
const FOR_GOOD_MS: u64 = 3_600_000;

impl Nemesis {
    /// Breaks some store nodes for good, after everything was healed: as many as the schedule says,
    /// if that leaves a majority of all voters healthy. Answers which.
    pub(crate) async fn leave_out(&self, schedule: &Schedule) -> BTreeSet<u64> {
        let mut dice = Dice::new(schedule.seed, "core");
        let left_out = self.choose(schedule, &mut dice);
        let faults = left_out.iter().map(|id| self.for_good(*id, &mut dice));
        let (crashes, cuts): (Vec<Fault>, Vec<Fault>) =
            faults.partition(|fault| matches!(fault, Fault::Crash { .. }));
        for crash in &crashes {
            self.strike(crash);
        }
        for left in (0..CUTS_MAX).rev() {
            for cut in &cuts {
                self.strike(cut);
            }
            // A cut between the begin of a connection and its first message is one to do over.
            let closed = !cuts.is_empty() && !self.world.settle(&left_out, CALL_MAX).await;
            if !closed || left == 0 {
                break;
            }
            self.world.network.heal();
            self.world.settle(&left_out, HELD_MAX).await;
        }
        left_out
    }

    /// Who is to be left out.
    fn choose(&self, schedule: &Schedule, dice: &mut Dice) -> BTreeSet<u64> {
        let members = self.world.members();
        let sound = members.iter().filter(|store| !store.machine.is_ruined());
        let mut core: BTreeSet<u64> = sound.map(|store| store.spec.id).collect();
        let groups = self.world.voter_groups();
        let mut left_out = BTreeSet::new();
        let order: Vec<u64> = core.iter().copied().collect();
        for id in dice.sample(&order, order.len()) {
            if left_out.len() >= usize::from(schedule.left_out) {
                break;
            }
            core.remove(&id);
            let mut pairs = groups
                .iter()
                .flat_map(|a| groups.iter().map(move |b| (a, b)));
            if pairs.all(|(from, to)| suffices(&core, from, to)) {
                left_out.insert(id);
            } else {
                core.insert(id);
            }
        }
        left_out
    }

    /// A machine without power, without all others, or without its peers alone, so that clients
    /// still reach what it cannot do. One-way cuts are not among them: simulated connections
    /// outlive them, and real ones miss their acknowledgements.
    fn for_good(&self, id: u64, dice: &mut Dice) -> Fault {
        let (at, for_ms) = (Spot::store(id), FOR_GOOD_MS);
        match dice.below(3) {
            0 => Fault::Crash { at, for_ms },
            1 => Fault::Isolate {
                these: vec![at],
                from: Vec::new(),
                for_ms,
            },
            _ => Fault::Isolate {
                these: vec![at],
                from: self.world.peers(id),
                for_ms,
            },
        }
    }
}

/// Whether these nodes are a majority of one group of voters, of the other, and of every group on
/// the way between the two: members change one by one, and some steps have fewer voters.
fn suffices(core: &BTreeSet<u64>, from: &BTreeSet<u64>, to: &BTreeSet<u64>) -> bool {
    let stay = from.intersection(to);
    let healthy = stay.filter(|id| core.contains(id)).count();
    // The worst step has none of the healthy ones that come or go, and all of the others.
    let others = from.union(to).filter(|id| !core.contains(id)).count();
    healthy > others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_a_majority_at_every_step_of_a_change() {
        let of = |ids: &[u64]| -> BTreeSet<u64> { ids.iter().copied().collect() };
        let five = of(&[1, 2, 3, 4, 5]);
        assert!(suffices(&of(&[1, 2, 3, 9]), &five, &five));
        assert!(!suffices(&of(&[1, 2, 9]), &five, &five));
        // Without node 1 there are four on the way, of which two are no majority.
        let other = of(&[2, 3, 4, 5, 6]);
        assert!(!suffices(&of(&[1, 2, 3, 6]), &five, &other));
        assert!(suffices(&of(&[1, 2, 3, 4, 6]), &five, &other));
    }
}
