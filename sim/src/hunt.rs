//! The hunt for known bugs: each is switched on and looked for, seed after seed, by the general
//! load.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tidegate_mutant::Mutant;

use crate::corpus::Case;
use crate::generate;
use crate::run::run_with;
use crate::search::side_by_side;

/// What to hunt.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The known bugs, each by itself.
    pub mutants: Vec<Mutant>,
    /// The first seed; the same for all.
    pub first_seed: u64,
    /// Most seeds for each.
    pub seeds: u64,
    /// How many bugs are hunted side by side; at least one.
    pub threads: usize,
}

/// What became of the hunt for one bug.
#[derive(Clone, Debug)]
pub struct Hunted {
    /// The bug.
    pub mutant: Mutant,
    /// Seeds that were run.
    pub seeds: u64,
    /// The run that found it; none if it survived.
    pub case: Option<Case>,
}

impl std::fmt::Display for Hunted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            mutant,
            seeds,
            case,
        } = self;
        match case {
            Some(case) => {
                let broken = case.broken.as_deref().unwrap_or_default();
                write!(
                    f,
                    "{mutant:?}: {broken} after {seeds} seeds: {}",
                    case.cause
                )
            }
            None => write!(f, "{mutant:?}: SURVIVED {seeds} seeds"),
        }
    }
}

/// Hunts each bug until it is found or its seeds are used up. `tell` hears of each at once.
/// Answers whether all were found.
pub fn hunt(plan: Plan, tell: impl Fn(&Hunted) + Sync) -> bool {
    let Plan {
        mut mutants,
        first_seed,
        seeds,
        threads,
    } = plan;
    mutants.reverse();
    let (left, all_found) = (Mutex::new(mutants), Mutex::new(true));
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        while let Some(mutant) = next() {
            let hunted = hunt_one(mutant, first_seed, seeds);
            tell(&hunted);
            let mut all = all_found.lock().unwrap_or_else(PoisonError::into_inner);
            *all &= hunted.case.is_some();
        }
    };
    side_by_side(threads, work);
    all_found
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

fn hunt_one(mutant: Mutant, first_seed: u64, seeds: u64) -> Hunted {
    for tried in 0..seeds {
        let schedule = generate::schedule(first_seed.wrapping_add(tried));
        let report = run_with(schedule.clone(), Some(mutant));
        if let Some(violation) = report.violations.first() {
            let case = Case {
                mutant: Some(format!("{mutant:?}")),
                ..Case::broken(schedule, violation)
            };
            return Hunted {
                mutant,
                seeds: tried + 1,
                case: Some(case),
            };
        }
    }
    Hunted {
        mutant,
        seeds,
        case: None,
    }
}

/// Keeps a run that found a bug in a folder of kept runs, in the place of an earlier one.
///
/// # Errors
/// The folder cannot be read, or a file not written.
pub fn keep(case: &Case, folder: &Path) -> io::Result<PathBuf> {
    let kept = case.keep(folder)?;
    for file in std::fs::read_dir(folder)? {
        let file = file?.path();
        let earlier = std::fs::read_to_string(&file).ok();
        let earlier = earlier.and_then(|json| Case::from_json(&json).ok());
        if file != kept && earlier.is_some_and(|earlier| earlier.mutant == case.mutant) {
            std::fs::remove_file(file)?;
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(seed: u64, mutant: Option<&str>) -> Case {
        Case {
            cause: "it broke".to_owned(),
            broken: Some("LOG-2".to_owned()),
            scenario: None,
            mutant: mutant.map(str::to_owned),
            expect: Vec::new(),
            schedule: generate::schedule(seed),
        }
    }

    #[test]
    fn one_run_is_kept_for_each_bug_and_none_of_ours_is_lost() {
        let folder = std::env::temp_dir().join(format!("tidegate-hunt-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let ours = case(1, None);
        std::fs::write(folder.join(ours.file_name()), ours.to_json()).unwrap();
        std::fs::write(folder.join("README.md"), "no case").unwrap();
        for seed in [2, 3] {
            keep(&case(seed, Some("LeaseRead")), &folder).unwrap();
        }
        keep(&case(4, Some("LeaderRestore")), &folder).unwrap();
        let files = std::fs::read_dir(&folder).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        let expected = [
            "README.md",
            "log-2-leaderrestore-seed-4.json",
            "log-2-leaseread-seed-3.json",
            "log-2-seed-1.json",
        ];
        assert_eq!(names, expected);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_bug_that_every_run_shows_is_found_with_the_first_seed() {
        let plan = Plan {
            mutants: vec![Mutant::WavesShuffled, Mutant::SnapshotUnconfirmed],
            first_seed: 1,
            seeds: 3,
            threads: 2,
        };
        let found = Mutex::new(Vec::new());
        let all = hunt(plan, |hunted| {
            assert!(hunted.case.is_some(), "{hunted}");
            found.lock().unwrap().push(hunted.mutant);
        });
        assert!(all);
        assert_eq!(found.into_inner().unwrap().len(), 2);
    }
}
