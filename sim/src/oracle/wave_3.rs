//! WAVE-3: admissions to a wave never exceed its cap, counted over what devices were told.

use std::collections::BTreeMap;

use tidegate_domain::id::RolloutId;

use super::{Chain, Oracle, Seen, Verdict};

/// Knows the wave of every device that was ever offered a rollout.
#[derive(Debug, Default)]
pub(super) struct Wave3 {
    told: BTreeMap<RolloutId, BTreeMap<String, u32>>,
}

impl Oracle for Wave3 {
    fn id(&self) -> &'static str {
        "WAVE-3"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        let Seen::Told { device, answer, .. } = seen else {
            return Ok(());
        };
        let (true, Some(id), Some(wave)) = (answer.is_offer, answer.rollout, answer.wave) else {
            return Ok(());
        };
        let id = RolloutId(id);
        let told = self.told.entry(id).or_default();
        if told.contains_key(*device) {
            return Ok(());
        }
        told.insert((*device).to_owned(), wave);
        let Some(rollout) = chain.state().rollouts().get(&id) else {
            return Err(format!("{device} was offered {id}, which no log speaks of"));
        };
        // Caps are cumulative: each covers its wave and those before it.
        for (number, wave) in (0..).zip(&rollout.spec.waves) {
            let Some(cap) = wave.cap else { continue };
            let admitted = told.values().filter(|wave| **wave <= number).count() as u64;
            if admitted > cap {
                return Err(format!(
                    "{admitted} devices were let into wave {number} of {id}, its cap is {cap}"
                ));
            }
        }
        Ok(())
    }
}
