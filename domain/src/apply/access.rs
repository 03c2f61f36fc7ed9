//! Who may ask for what: one table, used by `apply`, by the door, and by whoever collects approvals.
use crate::{
    command::{AmendRollout, Command, ResumeRollout},
    decide::amend,
    id::SessionId,
    rollout::Life,
    state::State,
};

/// Whose signatures a command takes. Keys count when they are trusted in the current epoch, and
/// each distinct raw key once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Thresholds of the root keys of the current epoch and of the one that would begin. For
    /// epoch 1, which nothing precedes, the new ones alone.
    RootQuorums,
    /// One `operator` key.
    Operator,
    /// The threshold of `operator` keys.
    OperatorQuorum,
    /// One `decision` key.
    Decision,
    /// The `decision` key that opened the session.
    Session(SessionId),
    /// One `node` key.
    Node,
    /// No signature: of benches only.
    #[cfg(feature = "bench")]
    Nobody,
}

/// Whose signatures a command takes, in a state. An operator alone may stop, narrow, or prepare;
/// what lifts, widens, overrides or cannot be undone takes the quorum.
pub fn demand(state: &State, command: &Command) -> Demand {
    match command {
        Command::RotateKeys(_) => Demand::RootQuorums,
        Command::RegisterRelease(_)
        | Command::AddReleaseSignatures(_)
        | Command::RevokeRelease(_)
        | Command::RegisterVariant(_)
        | Command::RegisterChannel(_)
        | Command::DeclareRecoveryImage(_)
        | Command::CreateRollout(_)
        | Command::StartRollout(_)
        | Command::PauseRollout(_)
        | Command::HaltRollout(_)
        | Command::RollBack(_)
        | Command::CompleteRollout(_)
        | Command::ExcludeVariant(_)
        | Command::EmergencyStop(_)
        | Command::SetRegionPolicy(_)
        | Command::SetHold(_) => Demand::Operator,
        Command::RevokeKey(_)
        | Command::RaiseFloor(_)
        | Command::ApproveRollout(_)
        | Command::AdvanceWave(_)
        | Command::ExpediteRollout(_)
        | Command::LiftStop(_)
        | Command::WriteOffBudget(_)
        | Command::ChangeMembership(_)
        | Command::SetClusterConfig(_)
        | Command::RaiseStateVersion(_) => Demand::OperatorQuorum,
        // HALT-2: as long as a halt bars its release, and be the rollout itself forgotten.
        Command::ResumeRollout(ResumeRollout { rollout, reason: _ }) => {
            quorum_if(state.bars().contains(rollout))
        }
        Command::AmendRollout(AmendRollout { rollout, spec }) => {
            let before = state.rollouts().get(rollout);
            quorum_if(before.is_some_and(|before| {
                // Nobody has approved a draft yet.
                before.life != Life::Draft && amend::widens(&before.spec, spec)
            }))
        }
        Command::OpenSession(_) => Demand::Decision,
        Command::AdvanceSession(envelope) => Demand::Session(envelope.session),
        Command::Tick(_) => Demand::Node,
        #[cfg(feature = "bench")]
        Command::BenchFiller(_) => Demand::Nobody,
    }
}

const fn quorum_if(quorum: bool) -> Demand {
    if quorum {
        Demand::OperatorQuorum
    } else {
        Demand::Operator
    }
}
