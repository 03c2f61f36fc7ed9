//! WAVE-3: admissions to a wave never exceed its cap, counted over what devices were told; and no
//! node reports more exposures than it was granted, but one that lies.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_domain::id::{RolloutId, SessionId};
use tidegate_domain::{Event, Rejection};

use super::{Chain, Oracle, Seen, Verdict};
use crate::load::LIAR;

/// Knows the wave of every device that was ever offered a rollout.
#[derive(Debug, Default)]
pub(super) struct Wave3 {
    told: BTreeMap<RolloutId, BTreeMap<String, u32>>,
    /// Entries of the chain that were looked at.
    looked: u64,
    /// Sessions of which nothing is expected.
    liars: BTreeSet<SessionId>,
}

impl Oracle for Wave3 {
    fn id(&self) -> &'static str {
        "WAVE-3"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        if matches!(seen, Seen::Entries { .. }) {
            return self.follow(chain);
        }
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

impl Wave3 {
    fn follow(&mut self, chain: &Chain) -> Verdict {
        while let Some(link) = chain.link(self.looked) {
            self.looked += 1;
            for event in link.body.applied.events() {
                match event {
                    Event::SessionOpened(session) if session.address == LIAR => {
                        self.liars.insert(session.id);
                    }
                    Event::OperationRefused(refused) if !self.liars.contains(&refused.session) => {
                        if let Rejection::ReportExceedsGrants { .. } = &*refused.rejection {
                            let (session, why) = (refused.session, &refused.rejection);
                            return Err(format!("session {session}: {why}"));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
