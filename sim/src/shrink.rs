//! Makes a failing schedule smaller while it still fails the same way: fewer faults by delta
//! debugging, then less load, then shorter times.

use crate::schedule::{Schedule, Timed};

/// Shortest length that a fault is shortened to, in ms.
const FOR_MS_MIN: u64 = 50;
/// What is left of the storm after its last fault, in ms.
const TAIL_MS: u64 = 3_000;

/// Delta debugging (Zeller's ddmin): a part of the items that still fails, and of which no single
/// item can be left out. `fails` must hold for all items together.
pub fn ddmin<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = items.to_vec();
    if kept.is_empty() || fails(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while kept.len() > 1 {
        let size = kept.len().div_ceil(parts);
        // One part alone, or all but one part.
        let alone = kept.chunks(size).map(<[T]>::to_vec);
        let without = (0..kept.len()).step_by(size).map(|from| {
            let until = (from + size).min(kept.len());
            [&kept[..from], &kept[until..]].concat()
        });
        let smaller: Option<(Vec<T>, bool)> = alone
            .map(|part| (part, true))
            .chain(without.map(|part| (part, false)))
            .filter(|(part, _)| part.len() < kept.len())
            .find(|(part, _)| fails(part));
        match smaller {
            Some((part, is_alone)) => {
                parts = if is_alone { 2 } else { (parts - 1).max(2) };
                kept = part;
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    kept
}

/// Makes a schedule smaller. `fails` must hold for it, which takes one run to know: it is asked fewer
/// than `runs_max` times more.
pub fn shrink(
    schedule: &Schedule,
    runs_max: usize,
    mut fails: impl FnMut(&Schedule) -> bool,
) -> Schedule {
    let mut left = runs_max;
    let mut fails = |schedule: &Schedule| {
        left = left.saturating_sub(1);
        left > 0 && fails(schedule)
    };
    let mut best = sooner(schedule, &mut fails);
    let all = best.faults.clone();
    let faults = ddmin(&all, |faults| fails(&with(&best, faults)));
    best = sooner(&with(&best, &faults), &mut fails);
    best = lighter(best, &mut fails);
    shorter(best, &mut fails)
}

fn with(schedule: &Schedule, faults: &[Timed]) -> Schedule {
    Schedule {
        faults: faults.to_vec(),
        ..schedule.clone()
    }
}

/// Heals as soon as the last fault is over.
fn sooner(schedule: &Schedule, fails: &mut impl FnMut(&Schedule) -> bool) -> Schedule {
    let last = schedule
        .faults
        .iter()
        .map(|timed| timed.at_ms + timed.fault.for_ms())
        .max();
    let heal_at_ms = (last.unwrap_or(0) + TAIL_MS).min(schedule.heal_at_ms);
    let early = Schedule {
        heal_at_ms,
        ..schedule.clone()
    };
    if early != *schedule && fails(&early) {
        return early;
    }
    schedule.clone()
}

/// Less load, one kind after the other.
fn lighter(mut best: Schedule, fails: &mut impl FnMut(&Schedule) -> bool) -> Schedule {
    let steps: [fn(&mut Schedule); 6] = [
        |schedule| schedule.left_out = 0,
        |schedule| schedule.load.devices = 0,
        |schedule| schedule.load.devices /= 4,
        |schedule| schedule.load.readers = 0,
        |schedule| schedule.load.followers = 0,
        |schedule| schedule.load.operators = schedule.load.operators.min(1),
    ];
    for step in steps {
        let mut less = best.clone();
        step(&mut less);
        if less != best && fails(&less) {
            best = less;
        }
    }
    best
}

/// Faults that last half as long, as often as that still fails.
fn shorter(mut best: Schedule, fails: &mut impl FnMut(&Schedule) -> bool) -> Schedule {
    for number in 0..best.faults.len() {
        loop {
            let mut less = best.clone();
            let Some(length_ms) = less.faults[number].fault.length_mut() else {
                break;
            };
            *length_ms /= 2;
            if *length_ms < FOR_MS_MIN || !fails(&less) {
                break;
            }
            best = less;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;
    use crate::schedule::{Fault, Spot};

    #[test]
    fn what_matters_is_left_wherever_it_stands() {
        let items: Vec<u32> = (0..64).collect();
        for wanted in [&[5][..], &[0, 63], &[7, 8, 9], &[1, 20, 33, 60]] {
            let mut runs = 0;
            let kept = ddmin(&items, |part| {
                runs += 1;
                wanted.iter().all(|one| part.contains(one))
            });
            assert_eq!(kept, wanted);
            assert!(runs < 300, "{runs} runs for {wanted:?}");
        }
        assert!(ddmin(&items, |_| true).is_empty());
        assert_eq!(ddmin(&items, |part| part.len() == 64).len(), 64);
    }

    #[test]
    fn no_single_item_of_what_is_left_can_be_spared() {
        // Fails with any seven of the even items.
        let fails = |part: &[u32]| part.iter().filter(|n| **n % 2 == 0).count() >= 7;
        let items: Vec<u32> = (0..50).collect();
        let kept = ddmin(&items, fails);
        assert!(fails(&kept));
        for at in 0..kept.len() {
            let mut less = kept.clone();
            less.remove(at);
            assert!(!fails(&less), "{kept:?} can spare item {at}");
        }
    }

    #[test]
    fn a_schedule_keeps_the_fault_that_matters_as_short_as_it_can() {
        let mut schedule = generate::schedule(3);
        let at = Spot::store(2);
        let fault = Fault::Pause { at, for_ms: 8_000 };
        let at_ms = 4_321;
        schedule.faults.push(Timed { at_ms, fault });
        let matters = |schedule: &Schedule| {
            let long = |timed: &Timed| timed.at_ms == at_ms && timed.fault.for_ms() >= 900;
            schedule.faults.iter().any(long)
        };
        let small = shrink(&schedule, 500, matters);
        assert_eq!(small.faults.len(), 1);
        assert_eq!(small.faults[0].fault.for_ms(), 1_000);
        assert_eq!((small.load.devices, small.load.operators), (0, 1));
        assert_eq!(small.heal_at_ms, at_ms + 8_000 + TAIL_MS);
    }

    #[test]
    fn it_stops_when_it_has_run_often_enough() {
        let schedule = generate::schedule(3);
        let mut runs = 0;
        let small = shrink(&schedule, 5, |_| {
            runs += 1;
            false
        });
        assert_eq!((runs, small), (4, schedule));
    }
}
