//! A fleet on a good day: releases are registered, every rollout takes its next step, and one that
//! does not get on is paused.

use tidegate_domain::command::{AdvanceWave, CompleteRollout};
use tidegate_domain::id::{RolloutId, WaveIndex};
use tidegate_domain::rollout::Life;
use tidegate_domain::testing::reason;

use super::{Draft, FLEET_MAX, Operators};

/// Most rollouts that are under way at once.
const UNDER_WAY_MAX: usize = 4;
/// One step in so many gives a rollout up that runs: gates that too few devices come to never pass.
const GIVEN_UP_ONE_IN: u64 = 40;

impl Operators {
    pub(super) fn onward(&mut self) -> Draft {
        let releases = self.fleet.state.releases().len();
        if releases < FLEET_MAX && self.dice.one_in(6) {
            return self.release();
        }
        let rollouts = self.fleet.state.rollouts().iter();
        let (mut under_way, mut paused) = (Vec::new(), Vec::new());
        for (id, rollout) in rollouts {
            match rollout.life {
                Life::Draft | Life::Approved | Life::Running => under_way.push(*id),
                Life::Paused { .. } => paused.push(*id),
                _ => {}
            }
        }
        if under_way.len() < UNDER_WAY_MAX && self.dice.one_in(4) {
            let again = self.dice.pick(&paused).copied();
            return match again.filter(|_| paused.len() >= FLEET_MAX) {
                Some(rollout) => self.step(rollout, 10),
                None => self.creation(),
            };
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
            Life::Running if self.dice.one_in(GIVEN_UP_ONE_IN) => self.step(rollout, 9),
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
            _ => self.creation(),
        }
    }
}
