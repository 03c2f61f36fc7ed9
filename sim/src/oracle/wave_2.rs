//! WAVE-2: who is in a wave is stable and nested, judged on what devices were told.
//!
//! The place of a device is computed here from the design's words: the first eight bytes of
//! `BLAKE3(salt ‖ device)`, as parts per million. Two things are wrong: an offer in a wave that the
//! device is not in, and the word that its wave is not open when one that it is in had been opened.

use std::collections::BTreeMap;

use tidegate_domain::id::RolloutId;
use tidegate_domain::rollout::Rollout;

use super::{Chain, Oracle, Seen, Verdict};

/// Knows when each wave was opened.
#[derive(Debug, Default)]
pub(super) struct Wave2 {
    /// Entries after which a wave stood open.
    opened: BTreeMap<(RolloutId, usize), u64>,
}

impl Oracle for Wave2 {
    fn id(&self) -> &'static str {
        "WAVE-2"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Entries { .. } => {
                for (id, rollout) in chain.state().rollouts().iter() {
                    for (wave, progress) in rollout.waves.iter().enumerate() {
                        if progress.opened.is_some() {
                            self.opened.entry((*id, wave)).or_insert(chain.len());
                        }
                    }
                }
                Ok(())
            }
            Seen::Told {
                lane,
                device,
                answer,
                ..
            } => {
                let rollout_of = |id: u64| chain.state().rollouts().get(&RolloutId(id));
                if let (true, Some(id), Some(wave)) = (answer.is_offer, answer.rollout, answer.wave)
                    && let Some(rollout) = rollout_of(id)
                    && !is_in(rollout, usize::try_from(wave).unwrap_or(usize::MAX), device)
                {
                    return Err(format!(
                        "{lane} offered rollout {id} to {device} in wave {wave}, and it is not in it"
                    ));
                }
                let entries = answer.entries.unwrap_or(0);
                for id in &answer.wave_not_open {
                    let Some(rollout) = rollout_of(*id) else {
                        continue;
                    };
                    let open = (0..rollout.spec.waves.len()).find(|wave| {
                        let opened = self.opened.get(&(RolloutId(*id), *wave));
                        opened.is_some_and(|at| *at <= entries) && is_in(rollout, *wave, device)
                    });
                    if let Some(wave) = open {
                        return Err(format!(
                            "{lane} told {device} that its wave of rollout {id} is not open; it is \
                             in wave {wave}, which is"
                        ));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn is_in(rollout: &Rollout, wave: usize, device: &str) -> bool {
    let Some(wave) = rollout.spec.waves.get(wave) else {
        return false;
    };
    let hash = blake3::Hasher::new()
        .update(&rollout.salt.0)
        .update(device.as_bytes())
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    let place = (u128::from(u64::from_be_bytes(first)) * 1_000_000) >> 64;
    place < u128::from(wave.target.get())
}

#[cfg(test)]
mod tests {
    use tidegate_domain::bucket;
    use tidegate_domain::testing::{Fleet, release, rollout, traits};

    use super::*;

    #[test]
    fn the_design_s_words_and_the_engine_s_buckets_agree() {
        let mut fleet = Fleet::new();
        fleet.register(release("r"));
        let id = fleet.launch(rollout("r").wave(10, 0).wave(60, 0));
        let rollout = fleet.state.rollouts().get(&id).unwrap();
        let mut seen = [0; 3];
        for device in (0..300).map(|number| format!("device-{number}")) {
            let place = bucket::bucket(&rollout.salt, &device);
            let waves = [0, 1].map(|wave| is_in(rollout, wave, &device));
            let spec = &rollout.spec.waves;
            let variant = traits("cam/r1/a/none");
            assert_eq!(waves[0], bucket::is_in(&spec[0], &variant, place));
            assert_eq!(waves[1], bucket::is_in(&spec[1], &variant, place));
            assert!(waves[1] || !waves[0], "waves are not nested");
            seen[usize::from(waves[0]) + usize::from(waves[1])] += 1;
        }
        assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
        assert!(!is_in(rollout, 2, "device-1"), "there is no such wave");
    }
}
