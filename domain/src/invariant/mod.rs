//! The domain's invariants as checks on one transition: for property tests, and for the oracles of
//! the simulator. Each is written from its sentence, not from the code that upholds it.
mod accounts;
mod authority;
mod control;
mod floors;
mod keys;
mod log;
mod waves;

use crate::{
    apply::{Applied, Outcome},
    event::Event,
    state::State,
};

/// One entry's work: the state before and after, what was applied, and what is said to have come
/// of it.
#[derive(Clone, Copy, Debug)]
pub struct Transition<'a> {
    /// The state before the entry.
    pub before: &'a State,
    /// The signed command; absent for a membership entry of Raft's own.
    pub envelope: Option<&'a [u8]>,
    /// What came of it.
    pub applied: &'a Applied,
    /// The state after the entry.
    pub after: &'a State,
}

impl Transition<'_> {
    /// The events besides the recording of the entry.
    fn events(&self) -> &[Event] {
        match &self.applied.outcome {
            Outcome::Accepted(events) => events,
            Outcome::Rejected(_) => &[],
        }
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id} is broken: {detail}")]
pub struct Violation {
    /// The invariant, as in `docs/INVARIANTS.md`.
    pub id: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Checks every invariant of the domain on one transition.
///
/// # Errors
/// The first that is broken.
pub fn check(transition: &Transition<'_>) -> Result<(), Violation> {
    check_entry(transition)?;
    let mut folded = transition.before.clone();
    log::events_tell_all(
        &mut folded,
        transition.applied,
        &mut transition.after.clone(),
    )
}

/// Checks entry after entry of one log. Its own state is moved by events alone, so that none is
/// copied.
#[derive(Clone, Debug)]
pub struct Fold(State);

impl Fold {
    /// Begins with the state before the first entry.
    pub fn new(state: State) -> Self {
        Self(state)
    }

    /// Checks the next entry as [`check`] does: what led from the state before it to `after`. What
    /// is broken is forgotten: the next entry is checked on its own.
    ///
    /// # Errors
    /// The first invariant that is broken.
    pub fn check(
        &mut self,
        envelope: Option<&[u8]>,
        applied: &Applied,
        after: &mut State,
    ) -> Result<(), Violation> {
        let transition = Transition {
            before: &self.0,
            envelope,
            applied,
            after,
        };
        let checked = check_entry(&transition)
            .and_then(|()| log::events_tell_all(&mut self.0, applied, after));
        if checked.is_err() {
            self.0 = after.clone();
        }
        // Nobody stores these rows.
        self.0.drain_changes();
        checked
    }
}

/// Everything that can be told without folding the events.
fn check_entry(transition: &Transition<'_>) -> Result<(), Violation> {
    log::position_moves_by_one(transition)?;
    log::nothing_is_applied_twice(transition)?;
    log::refusals_change_nothing(transition)?;
    log::look_ups_follow_the_rows(transition)?;
    authority::changes_were_signed_for(transition)?;
    floors::never_fall(transition)?;
    floors::never_pass_the_way_back(transition)?;
    keys::epoch_rises_by_one(transition)?;
    keys::revoked_is_for_ever(transition)?;
    keys::running_releases_are_signed(transition)?;
    keys::stops_are_lifted_by_quorum(transition)?;
    waves::open_in_order(transition)?;
    waves::evidence_is_enough(transition)?;
    control::is_heeded(transition)?;
    waves::membership_is_stable(transition)?;
    waves::caps_hold(transition)?;
    waves::credit_bounds_grants(transition)?;
    waves::bars_hold(transition)?;
    waves::grants_come_from_open_waves(transition)?;
    accounts::sums_add_up(transition)?;
    accounts::measurements_have_exposures(transition)?;
    accounts::what_was_given_up_is_lost(transition)?;
    accounts::budgets_add_up(transition)
}

/// Breaks an invariant unless `holds`.
fn ensure(holds: bool, id: &'static str, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        return Ok(());
    }
    Err(Violation {
        id,
        detail: detail(),
    })
}
