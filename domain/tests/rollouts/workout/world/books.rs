//! What the nodes of a workout report, true or not.
use super::{Dice, World};
use std::collections::BTreeMap;
use tidegate_domain::{
    command::*,
    id::{Cohort, SessionId, VariantId},
    node::PoolKey,
    tally::{Arm, Counts, TallyKey},
};

impl World {
    /// What a session reports next: exposures out of what it holds, and fates of older ones. One
    /// variant fails more often than a gate allows.
    pub(super) fn honest_report(&mut self, session: SessionId, dice: &mut Dice) -> Report {
        let state = &self.fleet.state;
        let budgets = state
            .budgets()
            .iter()
            .filter(|(key, budget)| key.session == session && !budget.is_settled());
        let held: Vec<(PoolKey, u64)> = budgets
            .map(|(key, b)| (key.pool.clone(), b.held()))
            .collect();
        let seq = state.sessions().get(&session).map_or(0, |s| s.report_seq) + 1;
        let mut tallies = BTreeMap::new();
        for (pool, held) in held {
            let key = TallyKey {
                rollout: pool.rollout,
                wave: pool.wave,
                stratum: pool.stratum.clone(),
                cohort: self.fleet.now.cohort(),
                arm: pool.arm,
            };
            let book = self
                .books
                .get(&(session, key.clone()))
                .cloned()
                .unwrap_or_default();
            tallies.insert(
                key,
                Counts {
                    exposed: book.exposed + dice.roll(held + 1),
                    ..book
                },
            );
        }
        for ((of, key), book) in &self.books {
            if *of == session && state.cohorts().contains(key) {
                tallies.entry(key.clone()).or_insert_with(|| book.clone());
            }
        }
        for (key, counts) in &mut tallies {
            let open = counts.unresolved();
            let spoken = dice.roll(open + 1);
            let odds = if key.stratum.variant == VariantId(3) {
                2
            } else {
                40
            };
            let failed = (0..spoken).filter(|_| dice.roll(odds) == 0).count() as u64;
            counts.failed += failed;
            counts.verified += spoken - failed;
        }
        self.measure(session, &mut tallies, dice);
        let mut tallies: Vec<Tally> = tallies
            .into_iter()
            .map(|(key, counts)| Tally { key, counts })
            .collect();
        tallies.sort_by(|a, b| a.key.cmp(&b.key));
        Report {
            session,
            seq,
            tallies,
            anchor: None,
        }
    }

    pub(super) fn report(&mut self, dice: &mut Dice) {
        let Some(session) = dice.pick(&self.open()) else {
            return;
        };
        let mut report = self.honest_report(session, dice);
        let liar = dice.roll(4) == 0;
        if liar {
            lie(&mut report, dice);
        }
        if self.run(report.clone()) {
            for tally in report.tallies {
                // What was passed over stays unknown.
                if self.fleet.state.cohorts().contains(&tally.key) {
                    self.books.insert((session, tally.key), tally.counts);
                }
            }
        } else {
            assert!(
                liar,
                "an honest report was refused: {:?}",
                self.fleet.log.last().unwrap().2
            );
        }
    }

    /// Adds what devices measured: those that run the releases, and others beside them.
    fn measure(
        &self,
        session: SessionId,
        tallies: &mut BTreeMap<TallyKey, Counts>,
        dice: &mut Dice,
    ) {
        let offered =
            |(key, counts): &(&TallyKey, &Counts)| key.arm == Arm::Treatment && counts.exposed > 0;
        let treated = tallies.iter().filter(offered).map(|(key, _)| key.clone());
        for key in treated.collect::<Vec<_>>() {
            for arm in [Arm::Treatment, Arm::Control] {
                let key = TallyKey { arm, ..key.clone() };
                let percent = accuracy(&key);
                let book = self.books.get(&(session, key.clone()));
                let counts = tallies.entry(key);
                let counts = counts.or_insert_with(|| book.cloned().unwrap_or_default());
                let predictions = 100 * dice.roll(3);
                counts.predictions += predictions;
                counts.correct += predictions * percent / 100;
            }
        }
    }
}

/// Correct predictions of a hundred: every fourth rollout is worse than a gate allows, half of them
/// for one variant only.
fn accuracy(key: &TallyKey) -> u64 {
    let (rollout, variant) = (key.rollout.0, key.stratum.variant);
    match key.arm {
        Arm::Treatment if rollout.is_multiple_of(8) => 60,
        Arm::Treatment if rollout.is_multiple_of(4) && variant == VariantId(2) => 60,
        Arm::Treatment => 86,
        Arm::Control | Arm::Return => 90,
    }
}

/// Makes a report one that must not count.
fn lie(report: &mut Report, dice: &mut Dice) {
    match dice.roll(6) {
        0 => report.seq -= 1,
        1 => report.session = SessionId(999),
        2 => report.tallies.reverse(),
        kind => {
            let Some(tally) = report.tallies.first_mut() else {
                return;
            };
            match kind {
                3 => tally.counts.exposed += 1_000,
                4 => tally.counts.silent = 1,
                _ => tally.key.cohort = Cohort(tally.key.cohort.0 + 5),
            }
        }
    }
}
