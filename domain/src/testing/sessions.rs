//! Random commands of decision nodes.
use super::{Fleet, dice::Dice, reason, region};
use crate::{
    command::*,
    id::{Hash, SessionId, WaveIndex},
    node::{Anchor, PoolKey, SessionStatus},
    tally::{Arm, Counts, TallyKey},
};

impl Fleet {
    pub(super) fn session_command(&self, what: u8, dice: &mut Dice) -> Command {
        let open = self.state.sessions().iter();
        let open: Vec<SessionId> = open
            .filter(|(_, session)| session.status == SessionStatus::Open)
            .map(|(id, _)| *id)
            .collect();
        let any = SessionId(1 + dice.roll(self.state.meta().last_session.0 + 1));
        let session = dice
            .pick(&open)
            .copied()
            .filter(|_| !dice.one_in(6))
            .unwrap_or(any);
        match what % 64 {
            48..=49 => OpenSession {
                region: region("eu"),
                address: "decide.example:7443".to_owned(),
            }
            .into(),
            50..=57 => self.some_envelope(session, dice).into(),
            _ => WriteOffBudget {
                session,
                reason: reason(),
            }
            .into(),
        }
    }

    /// A pool of a budget that is there, or of any rollout.
    fn some_pool(&self, dice: &mut Dice) -> PoolKey {
        let pools: Vec<&PoolKey> = self
            .state
            .budgets()
            .iter()
            .map(|(key, _)| &key.pool)
            .collect();
        if let Some(pool) = dice.pick(&pools).filter(|_| !pools.is_empty()) {
            return (*pool).clone();
        }
        PoolKey {
            rollout: self.some_rollout(dice),
            wave: WaveIndex(u16::from(dice.small(2))),
            stratum: super::stratum(1 + u32::from(dice.small(3))),
            arm: if dice.one_in(4) {
                Arm::Return
            } else {
                Arm::Treatment
            },
        }
    }

    /// Mostly the session's next envelope, of a few operations.
    fn some_envelope(&self, session: SessionId, dice: &mut Dice) -> AdvanceSession {
        let operations = (0..dice.roll(4)).map(|_| self.some_operation(session, dice));
        let operations: Vec<Operation> = operations.collect();
        let mut envelope = self.envelope(session, operations);
        match dice.roll(16) {
            0 => envelope.sequence.0 = envelope.sequence.0.saturating_sub(1),
            1 => envelope.sequence.0 += 1,
            2 => envelope.instance.0 += 1,
            _ => {}
        }
        envelope
    }

    fn some_operation(&self, session: SessionId, dice: &mut Dice) -> Operation {
        match dice.roll(16) {
            0..=6 => Operation::Grant {
                pool: self.some_pool(dice),
                wanted: dice.roll(300),
            },
            7..=8 => Operation::Return {
                pool: self.some_pool(dice),
                unused: dice.roll(100),
            },
            9..=14 => self.some_report(session, dice),
            _ => Operation::Close,
        }
    }

    fn some_report(&self, session: SessionId, dice: &mut Dice) -> Operation {
        let pool = self.some_pool(dice);
        let exposed = dice.roll(20);
        let verified = dice.roll(exposed + 1);
        let failed = dice.roll(exposed - verified + 1);
        let tally = Tally {
            key: TallyKey {
                rollout: pool.rollout,
                wave: pool.wave,
                stratum: pool.stratum,
                cohort: self.now.cohort(),
                arm: pool.arm,
            },
            counts: Counts {
                exposed,
                verified,
                failed,
                ..Counts::default()
            },
        };
        let row = self.state.sessions().get(&session);
        let size = 64 * (row.map_or(0, |row| row.sequence.0) + 1);
        Operation::Report {
            tallies: vec![tally],
            anchor: dice.one_in(3).then(|| Anchor {
                origin: "fleet.example/journal/1".to_owned(),
                size,
                root: Hash([dice.small(255); 32]),
                frame_chain: Hash([dice.small(255); 32]),
            }),
        }
    }
}
