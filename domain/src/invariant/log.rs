//! LOG-1 and LOG-2 as far as one entry shows them, and what a watcher relies on (APPLY-1).
use super::{Transition, Violation, ensure};
use crate::{
    apply::{Applied, Outcome},
    derived::Derived,
    event::{Event, SpentId},
    evolve::evolve,
    rejection::Rejection,
    state::State,
};

/// LOG-1: every entry takes the next index, and log time never runs back.
pub(super) fn position_moves_by_one(t: &Transition<'_>) -> Result<(), Violation> {
    let (was, is) = (t.before.meta(), t.after.meta());
    let holds = was.next.0.checked_add(1) == Some(is.next.0) && was.time <= is.time;
    ensure(holds, "LOG-1", || {
        format!(
            "entry {} at {} became {} at {}",
            was.next, was.time, is.next, is.time
        )
    })
}

/// LOG-2: a command that is accepted had not been, and its id is spent from then on.
pub(super) fn nothing_is_applied_twice(t: &Transition<'_>) -> Result<(), Violation> {
    let Event::EntryRecorded { spent, .. } = &t.applied.recorded else {
        return ensure(false, "LOG-1", || "the entry was not recorded".to_owned());
    };
    match spent {
        Some(SpentId { id, not_after, .. }) => {
            let fresh = !t.before.spent().contains(id);
            let kept = t.after.spent().contains(id) && *not_after >= t.after.meta().time;
            ensure(fresh && kept, "LOG-2", || {
                format!("command {id} may be applied twice")
            })
        }
        None => ensure(
            t.events().is_empty() || is_next_envelope(t),
            "LOG-2",
            || "a command without an id changed something".to_owned(),
        ),
    }
}

/// LOG-2 for envelopes: the session's number rose by exactly one, and the row says which entry it
/// was, so that this one is not applied again.
fn is_next_envelope(t: &Transition<'_>) -> bool {
    let Some(Event::SessionAdvanced(advance)) = t.events().first() else {
        return false;
    };
    let before = t.before.sessions().get(&advance.session);
    let after = t.after.sessions().get(&advance.session);
    let next = before.and_then(|before| before.sequence.0.checked_add(1));
    let last = after.and_then(|after| after.last.as_ref());
    next == Some(advance.sequence.0)
        && after.is_some_and(|after| after.sequence == advance.sequence)
        && last
            .is_some_and(|last| last.index == t.before.meta().next && last.digest == advance.digest)
}

/// AUTH-1: a refusal changes nothing but the log's position and time, ids, and what expires.
pub(super) fn refusals_change_nothing(t: &Transition<'_>) -> Result<(), Violation> {
    let Outcome::Rejected(rejection) = &t.applied.outcome else {
        return Ok(());
    };
    let unchanged = same_but_for_the_log(t.before, t.after);
    ensure(unchanged, "AUTH-1", || {
        format!("refused, and yet changed: {rejection}")
    })?;
    let Rejection::Unauthorized(reason) = rejection else {
        return Ok(());
    };
    let spent = t
        .after
        .spent()
        .iter()
        .all(|(id, _)| t.before.spent().contains(id));
    ensure(spent, "AUTH-1", || {
        format!("unauthorized, and yet spends an id: {reason}")
    })
}

/// Compares all rows except those that any entry touches.
fn same_but_for_the_log(before: &State, after: &State) -> bool {
    let held = after.holds().iter();
    let mut held = held.map(|(key, hold)| before.holds().get(key) == Some(hold));
    let sessions = after.sessions().iter();
    let mut sessions = sessions.map(|(id, row)| before.sessions().get(id) == Some(row));
    let touched_by_any = ["meta", "spent", "holds", "sessions"];
    let differ = before.tables_that_differ(after);
    held.all(|same| same)
        && sessions.all(|same| same)
        && differ.iter().all(|table| touched_by_any.contains(table))
}

/// APPLY-1: what is looked up is what the rows say, so that a restart changes nothing.
pub(super) fn look_ups_follow_the_rows(t: &Transition<'_>) -> Result<(), Violation> {
    let holds = t.after.derived == Derived::of(t.after);
    ensure(holds, "APPLY-1", || {
        format!("{:?} is not {:?}", t.after.derived, Derived::of(t.after))
    })
}

/// APPLY-1: the events alone lead from the state before, which moves on with them, to the state
/// after.
pub(super) fn events_tell_all(
    folded: &mut State,
    applied: &Applied,
    after: &mut State,
) -> Result<(), Violation> {
    for event in applied.events() {
        let result = evolve(folded, event);
        ensure(result.is_ok(), "APPLY-1", || {
            format!("{event:?}: {result:?}")
        })?;
    }
    ensure(*folded == *after, "APPLY-1", || {
        "the fold of the events is another state".to_owned()
    })?;
    ensure(folded.root() == after.root(), "APPLY-1", || {
        "the fold of the events has another root".to_owned()
    })
}
