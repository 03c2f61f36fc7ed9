//! Folds of sessions, budgets and tallies.
use super::Inconsistent;
use crate::{event::Event, state::State};

pub(super) fn fold(_state: &mut State, _event: &Event) -> Result<(), Inconsistent> {
    Err(Inconsistent::Missing("session"))
}
