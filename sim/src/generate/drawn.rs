//! Faults of classes that somebody names, as a scenario does.

use super::divergence::diverge;
use super::files::FILE_CLASSES;
use super::forgery::forge;
use super::{CLASSES, Make, Storm};
use crate::dice::Dice;
use crate::schedule::{Timed, WorldSpec};

/// The classes of faults that can be drawn, by their names.
#[must_use]
pub fn classes() -> Vec<&'static str> {
    let mut names: Vec<&str> = makes().filter_map(class).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// All that make faults.
fn makes() -> impl Iterator<Item = Make> {
    let storm = CLASSES.iter().map(|(_, make)| *make);
    storm.chain(FILE_CLASSES).chain([diverge as Make, forge])
}

/// The class of the faults that a function makes.
fn class(make: Make) -> Option<&'static str> {
    let mut storm = Storm::new(Dice::new(0, "classes"), &WorldSpec::five_voters());
    make(&mut storm).map(|fault| fault.class())
}

/// Faults of some classes in a span of time, about so often; both in ms.
#[must_use]
pub fn of_classes(
    seed: u64,
    name: &str,
    world: &WorldSpec,
    classes: &[&str],
    (mut at_ms, until_ms): (u64, u64),
    every_ms: u64,
) -> Vec<Timed> {
    let mut storm = Storm::new(Dice::new(seed, name), world);
    let wanted = |make| class(make).is_some_and(|class| classes.contains(&class));
    let makes: Vec<Make> = makes().filter(|make| wanted(*make)).collect();
    let mut faults = Vec::new();
    while at_ms < until_ms {
        let make = storm.dice.pick(&makes).copied();
        if let Some(fault) = make.and_then(|make| make(&mut storm)) {
            faults.push(Timed { at_ms, fault });
        }
        at_ms += storm.dice.within(every_ms / 2..every_ms * 3 / 2).max(1);
    }
    faults
}
