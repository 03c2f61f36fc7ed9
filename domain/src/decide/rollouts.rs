//! Decisions on rollouts: their life, waves, and changes.
use super::{Decision, undecided};
use crate::{
    apply::Context,
    command::{
        AdvanceWave, AmendRollout, ApproveRollout, CompleteRollout, CreateRollout, ExcludeVariant,
        ExpediteRollout, HaltRollout, PauseRollout, ResumeRollout, RollBack, StartRollout,
    },
    rollout::RolloutSpec,
    state::State,
};

pub(super) fn create(_state: &State, _arguments: &CreateRollout, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn approve(_state: &State, _arguments: &ApproveRollout, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn start(_state: &State, _arguments: &StartRollout, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn advance(_state: &State, _arguments: &AdvanceWave, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn pause(_state: &State, _arguments: &PauseRollout, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn resume(_state: &State, _arguments: &ResumeRollout, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn halt(_state: &State, _arguments: &HaltRollout, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn roll_back(_state: &State, _arguments: &RollBack, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn complete(
    _state: &State,
    _arguments: &CompleteRollout,
    _context: &Context,
) -> Decision {
    Err(undecided())
}

pub(super) fn amend(_state: &State, _arguments: &AmendRollout, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn exclude(_state: &State, _arguments: &ExcludeVariant, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn expedite(
    _state: &State,
    _arguments: &ExpediteRollout,
    _context: &Context,
) -> Decision {
    Err(undecided())
}

/// Whether a spec reaches devices, or lets harm through, that the one before did not: then an
/// amendment takes the quorum.
pub(crate) fn widens(_before: &RolloutSpec, _after: &RolloutSpec) -> bool {
    true
}
