//! What the nodes of a workout report, true or not.
use super::{Dice, World};
use std::collections::BTreeMap;
use tidegate_domain::{
    Outcome,
    command::*,
    id::{Cohort, SessionId, VariantId},
    node::{PoolKey, SessionStatus},
    tally::{Arm, Counts, TallyKey},
};

/// A report without an anchor.
pub(in super::super) fn report(tallies: Vec<Tally>) -> Operation {
    Operation::Report {
        tallies,
        anchor: None,
    }
}

impl World {
    /// What a session tells next: exposures out of what it holds, fates of older ones, and some of
    /// those that sessions which are over left untold. One variant fails more often than a gate
    /// allows.
    pub(in super::super) fn honest_tallies(
        &self,
        session: SessionId,
        dice: &mut Dice,
    ) -> Vec<Tally> {
        let state = &self.fleet.state;
        let budgets = state
            .budgets()
            .iter()
            .filter(|(key, budget)| key.session == session && !budget.is_settled());
        let held: Vec<(PoolKey, u64)> = budgets
            .map(|(key, b)| (key.pool.clone(), b.held()))
            .collect();
        let mut tallies: BTreeMap<TallyKey, Counts> = BTreeMap::new();
        for (pool, held) in held {
            let key = TallyKey {
                rollout: pool.rollout,
                wave: pool.wave,
                stratum: pool.stratum.clone(),
                cohort: self.fleet.now.cohort(),
                arm: pool.arm,
            };
            tallies.entry(key).or_default().exposed = dice.roll(held + 1);
        }
        let known =
            |of: &SessionId, key: &TallyKey| *of == session && state.cohorts().contains(key);
        for (_, key) in self.books.keys().filter(|(of, key)| known(of, key)) {
            tallies.entry(key.clone()).or_default();
        }
        for (key, counts) in &mut tallies {
            let book = self.book(session, key);
            let open = book.unresolved() + counts.exposed;
            *counts = counts.plus(&fates(key, dice.roll(open + 1), dice));
        }
        self.inherit(&mut tallies, dice);
        self.measure(session, &mut tallies, dice);
        tallies
            .into_iter()
            .map(|(key, counts)| Tally { key, counts })
            .collect()
    }

    /// What a session has said so far of the exposures of a cohort, and others of it after its end.
    fn book(&self, session: SessionId, key: &TallyKey) -> Counts {
        let book = self.books.get(&(session, key.clone()));
        book.cloned().unwrap_or_default()
    }

    /// Adds fates of exposures that a session made which is over. Others may have told them, too.
    fn inherit(&self, tallies: &mut BTreeMap<TallyKey, Counts>, dice: &mut Dice) {
        let state = &self.fleet.state;
        let is_over = |id: &SessionId| {
            let row = state.sessions().get(id);
            row.is_none_or(|row| row.status != SessionStatus::Open)
        };
        for ((of, key), book) in &self.books {
            if is_over(of) && state.cohorts().contains(key) && dice.roll(8) == 0 {
                let told = fates(key, dice.roll(book.unresolved() + 1), dice);
                let counts = tallies.entry(key.clone()).or_default();
                *counts = counts.plus(&told);
            }
        }
    }

    pub(super) fn report(&mut self, dice: &mut Dice) {
        let Some(session) = dice.pick(&self.open()) else {
            return;
        };
        let mut tallies = self.honest_tallies(session, dice);
        let lies = dice.roll(4) == 0 && lie(&mut tallies, dice);
        let mut envelope = self.fleet.envelope(session, [report(tallies.clone())]);
        let out_of_turn = dice.roll(12) == 0;
        if out_of_turn {
            turn(&mut envelope, dice);
        }
        let done = self.run(envelope);
        let outcome = &self.fleet.log.last().unwrap().2.outcome;
        if out_of_turn {
            assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
        } else {
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
            assert!(done || lies, "an honest report was refused: {outcome:?}");
        }
        if done {
            self.note(session, tallies);
        }
    }

    /// Tells the rest, and closes; a session that tells a lie with it stays open.
    pub(super) fn close(&mut self, session: SessionId, dice: &mut Dice) {
        let mut tallies = self.honest_tallies(session, dice);
        let lies = dice.roll(4) == 0 && lie(&mut tallies, dice);
        let done = self.operate(session, [report(tallies.clone()), Operation::Close]);
        assert!(done || lies, "an honest end was refused");
        assert_eq!(self.open().contains(&session), !done);
        let known = self.fleet.state.sessions().contains(&session);
        assert!(known, "its sender may still ask");
        if done {
            self.note(session, tallies);
        }
    }

    /// Adds what was told to the book of the session that told it.
    fn note(&mut self, session: SessionId, tallies: Vec<Tally>) {
        for Tally { key, counts } in tallies {
            // What was passed over stays unknown.
            if self.fleet.state.cohorts().contains(&key) {
                let book = self.books.entry((session, key)).or_default();
                *book = book.plus(&counts);
            }
        }
    }

    /// Adds what devices measured: those that run the releases, and others beside them.
    fn measure(
        &self,
        session: SessionId,
        tallies: &mut BTreeMap<TallyKey, Counts>,
        dice: &mut Dice,
    ) {
        let offered = |(key, counts): &(&TallyKey, &Counts)| {
            key.arm == Arm::Treatment && self.book(session, key).exposed + counts.exposed > 0
        };
        let treated = tallies.iter().filter(offered).map(|(key, _)| key.clone());
        for key in treated.collect::<Vec<_>>() {
            for arm in [Arm::Treatment, Arm::Control] {
                let key = TallyKey { arm, ..key.clone() };
                let percent = accuracy(&key);
                let counts = tallies.entry(key).or_default();
                let predictions = 100 * dice.roll(3);
                counts.predictions += predictions;
                counts.correct += predictions * percent / 100;
            }
        }
    }
}

/// Fates of so many devices.
fn fates(key: &TallyKey, spoken: u64, dice: &mut Dice) -> Counts {
    let odds = if key.stratum.variant == VariantId(3) {
        2
    } else {
        40
    };
    let failed = (0..spoken).filter(|_| dice.roll(odds) == 0).count() as u64;
    Counts {
        failed,
        verified: spoken - failed,
        ..Counts::default()
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

/// Makes a report one that must not count, if there is anything in it.
fn lie(tallies: &mut [Tally], dice: &mut Dice) -> bool {
    if dice.roll(4) == 0 {
        tallies.reverse();
        return tallies.len() > 1;
    }
    let Some(tally) = tallies.first_mut() else {
        return false;
    };
    match dice.roll(3) {
        0 => tally.counts.exposed += 1_000,
        1 => tally.counts.silent = 1,
        _ => tally.key.cohort = Cohort(tally.key.cohort.0 + 5),
    }
    true
}

/// Makes an envelope one that is not its session's next.
fn turn(envelope: &mut AdvanceSession, dice: &mut Dice) {
    match dice.roll(4) {
        0 => envelope.sequence.0 -= 1,
        1 => envelope.sequence.0 += 1 + dice.roll(2),
        2 => envelope.instance.0 += 1,
        _ => envelope.session = SessionId(999),
    }
}
