//! Decisions on sessions, budgets and reports.
use super::{Decision, undecided};
use crate::{
    apply::Context,
    command::{CloseSession, GrantBudget, OpenSession, Report, ReturnBudget, WriteOffBudget},
    id::PublicKey,
    state::State,
};

pub(super) fn open_session(
    _state: &State,
    _arguments: &OpenSession,
    _key: Option<&PublicKey>,
    _context: &Context,
) -> Decision {
    Err(undecided())
}

pub(super) fn close_session(
    _state: &State,
    _arguments: &CloseSession,
    _context: &Context,
) -> Decision {
    Err(undecided())
}

pub(super) fn grant(_state: &State, _arguments: &GrantBudget, _context: &Context) -> Decision {
    Err(undecided())
}

pub(super) fn return_unused(
    _state: &State,
    _arguments: &ReturnBudget,
    _context: &Context,
) -> Decision {
    Err(undecided())
}

pub(super) fn write_off(
    _state: &State,
    _arguments: &WriteOffBudget,
    _context: &Context,
) -> Decision {
    Err(undecided())
}

pub(super) fn report(_state: &State, _arguments: &Report, _context: &Context) -> Decision {
    Err(undecided())
}
