//! A fleet on a good day: releases are registered, and every rollout takes its next step.

use tidegate_domain::command::{AdvanceWave, CompleteRollout};
use tidegate_domain::id::{RolloutId, WaveIndex};
use tidegate_domain::rollout::Life;
use tidegate_domain::testing::reason;

use super::{Draft, FLEET_MAX, Operators};

/// Most rollouts that are under way at once.
const UNDER_WAY_MAX: usize = 4;

impl Operators {
    pub(super) fn onward(&mut self) -> Draft {
        let releases = self.fleet.state.releases().len();
        if releases < FLEET_MAX && self.dice.one_in(6) {
            return self.release();
        }
        let rollouts = self.fleet.state.rollouts().iter();
        let under_way = rollouts.filter(|(_, rollout)| {
            use Life::{Approved, Draft, Paused, Running};
            matches!(rollout.life, Draft | Approved | Running | Paused { .. })
        });
        let under_way: Vec<RolloutId> = under_way.map(|(id, _)| *id).collect();
        if under_way.len() < UNDER_WAY_MAX && self.dice.one_in(4) {
            return self.creation();
        }
        match self.dice.pick(&under_way).copied() {
            Some(rollout) => self.next_step(rollout),
            None => self.creation(),
        }
    }

    fn next_step(&mut self, rollout: RolloutId) -> Draft {
        let Some(known) = self.fleet.state.rollouts().get(&rollout) else {
            return self.creation();
        };
        let is_last = |wave: &WaveIndex| usize::from(wave.0) + 1 >= known.spec.waves.len();
        let current = known.current_wave();
        match known.life {
            Life::Draft => self.step(rollout, 0),
            Life::Approved => self.step(rollout, 1),
            Life::Running => match current.filter(|wave| !is_last(wave)) {
                Some(wave) => {
                    let advance = AdvanceWave {
                        rollout,
                        wave,
                        reason: reason(),
                    };
                    self.draft("advance", advance)
                }
                None => self.draft("complete", CompleteRollout { rollout }),
            },
            _ => self.step(rollout, 10),
        }
    }
}
