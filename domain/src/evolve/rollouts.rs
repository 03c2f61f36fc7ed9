//! Folds of rollouts, waves, gates and halts.
use super::Inconsistent;
use crate::{event::Event, state::State};

pub(super) fn fold(_state: &mut State, _event: &Event) -> Result<(), Inconsistent> {
    Err(Inconsistent::Missing("rollout"))
}
