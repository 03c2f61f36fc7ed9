//! Operators with all keys in one hand.
use super::{store_client, trace::Trace};
use std::time::Duration;
use tidegate_client::{Position, Proposed, View};
use tidegate_domain::{
    Outcome,
    command::{Base, Command, Proposal, seal},
    id::LogTime,
    testing::Fleet,
};
use tidegate_runtime::{Clock as _, SystemClock};

/// They know the cluster only by what they asked for themselves, and sign on top of its genesis.
pub(crate) struct Operators {
    fleet: Fleet,
    trace: Trace,
}

impl Operators {
    pub(crate) fn new(trace: Trace) -> Self {
        let fleet = Fleet::unborn();
        Self { fleet, trace }
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Asks for something until the store acknowledges it.
    pub(crate) async fn ask(&mut self, command: impl Into<Command>) {
        // A little in the past: the leader's stamp must not come before it.
        self.fleet.now = LogTime(SystemClock.wall().0 - 60_000);
        let command = command.into();
        let signers = self.fleet.signers(&command);
        let proposal = Proposal {
            base: Base::genesis(Fleet::ORIGIN),
            ..self.fleet.proposal(command)
        };
        let sealed = seal(&proposal, &signers.iter().collect::<Vec<_>>()).to_bytes();
        self.fleet.apply(&sealed);
        let client = store_client();
        loop {
            match client.propose(sealed.clone()).await {
                Ok(Proposed { index, outcome, .. }) => {
                    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
                    let what = proposal.command.name();
                    return self
                        .trace
                        .note(&format!("{what} is acknowledged as {index}"));
                }
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            madsim::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The store's state.
    pub(crate) async fn look(&self) -> View {
        loop {
            if let Ok((manifest, rows)) = store_client().snapshot(Position::default()).await {
                return View::new(Fleet::ORIGIN, &manifest, rows).unwrap();
            }
        }
    }
}
