//! Somebody with a decision key, who opens a session with it and lies in its reports.

use tidegate_domain::command::{OpenSession, Operation, Tally};
use tidegate_domain::id::{RolloutId, SessionId, VariantId, WaveIndex};
use tidegate_domain::node::{PoolKey, SessionStatus};
use tidegate_domain::rollout::Life;
use tidegate_domain::tally::{Arm, Counts, MEASURED_MAX, Stratum, TallyKey};
use tidegate_domain::testing::{channel, region};

use super::{Draft, Operators};

/// Where the liar's outcomes would be forwarded to.
pub(crate) const LIAR: &str = "nobody.example:7443";
/// Most operations of one envelope of lies.
const LIES_MAX: u64 = 4;

impl Operators {
    /// A session of a decision key that nobody watches, or what it says next: of grants it never
    /// had, of devices that nobody exposed, on channels that nobody registered.
    pub(super) fn lie(&mut self) -> Draft {
        let Some(session) = self.own_session() else {
            let open = OpenSession {
                region: region("a"),
                address: LIAR.to_owned(),
            };
            return self.draft("liar's session", open);
        };
        let count = 1 + self.dice.below(LIES_MAX);
        let lies: Vec<Operation> = (0..count).filter_map(|_| self.some_lie()).collect();
        let envelope = self.fleet.envelope(session, lies);
        self.draft("lies", envelope)
    }

    fn own_session(&self) -> Option<SessionId> {
        let mut sessions = self.fleet.state.sessions().iter();
        let own = sessions
            .find(|(_, session)| session.address == LIAR && session.status == SessionStatus::Open);
        own.map(|(id, _)| *id)
    }

    fn some_lie(&mut self) -> Option<Operation> {
        let rollouts = self.fleet.state.rollouts().iter();
        let running: Vec<RolloutId> = rollouts
            .filter(|(_, rollout)| rollout.life == Life::Running)
            .map(|(id, _)| *id)
            .collect();
        let rollout = *self.dice.pick(&running)?;
        let name = ["stable", "stable", "beta", "made-up"][self.below(4)];
        let stratum = Stratum {
            variant: VariantId(1 + u32::try_from(self.below(3)).unwrap_or(0)),
            channel: channel(name),
        };
        let (wave, arm) = (WaveIndex(0), [Arm::Treatment, Arm::Control][self.below(2)]);
        let key = TallyKey {
            rollout,
            wave,
            stratum: stratum.clone(),
            cohort: self.fleet.now.cohort(),
            arm,
        };
        let measured = |of: u64| Counts {
            errors: of / 2,
            operations: of,
            correct: of,
            predictions: of,
            ..Counts::default()
        };
        let counts = match self.dice.below(4) {
            0 => {
                let (arm, wanted) = (Arm::Treatment, 1 + self.dice.below(2));
                let pool = PoolKey {
                    rollout,
                    wave,
                    stratum,
                    arm,
                };
                return Some(Operation::Grant { pool, wanted });
            }
            1 => measured(1 + self.dice.below(100)),
            2 => measured(MEASURED_MAX),
            _ => Counts {
                exposed: 1 + self.dice.below(2),
                verified: 1,
                ..measured(MEASURED_MAX)
            },
        };
        Some(Operation::Report {
            tallies: vec![Tally { key, counts }],
            anchor: None,
        })
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.dice.below(bound)).unwrap_or(0)
    }
}
