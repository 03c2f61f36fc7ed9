//! What is not mended: LIVE-1 holds for a quorum that is healthy, whatever becomes of the others.

use std::collections::BTreeSet;

use super::Nemesis;
use crate::dice::Dice;
use crate::schedule::{Fault, Schedule, Spot};
use crate::world::machine::Breakable as _;

/// How long what is left out stays so, in ms: longer than any run goes on after healing.
const FOR_GOOD_MS: u64 = 3_600_000;

impl Nemesis {
    /// Breaks some store nodes for good, after everything was healed: as many as the schedule says,
    /// if that leaves a majority of all voters healthy. Answers which.
    pub(crate) fn leave_out(&self, schedule: &Schedule) -> BTreeSet<u64> {
        let mut dice = Dice::new(schedule.seed, "core");
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
        for id in &left_out {
            self.strike(&self.for_good(*id, &mut dice));
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
