//! `apply`: the only mutator. It authorizes a command, decides its events, folds them, and lets
//! gates and timers react.
pub mod access;
mod authorize;
mod changes;
mod examine;
mod judge;
mod react;
mod work;

pub use authorize::{Terms, Verified};
pub use changes::Context;
use examine::Said;
pub use examine::{Claim, Examined};

pub(crate) use changes::Changes;
pub(crate) use react::held_by;

use crate::{
    command::{Command, VALIDITY_MAX},
    decide::{decide, revision_of, sessions::check_turn},
    event::{Event, SpentId},
    id::{Hash, Index, LogTime},
    rejection::{Limit, Rejection},
    state::{STATE_VERSION, State},
};
use minicbor::{Decode, Encode};
use tidegate_mutant::{Mutant, is_on};

/// Applies one log entry: what was asked, after it was examined.
///
/// Every entry moves the log position and log time on (to its stamp, which the leader chose, never
/// to anything that the command says). Beyond that a refused entry changes nothing, except that a
/// command which was authorized, on time, and not applied before spends its id.
///
/// # Panics
/// `stamp.index` is not the next entry, or the state follows rules newer than this build: see
/// [`State::unknown_version`]. Nothing may go on from either.
pub fn apply(state: &mut State, asked: Examined, stamp: Stamp) -> Applied {
    match asked.authorize(state, stamp) {
        Ok(command) => apply_verified(state, &command, stamp),
        Err(unauthorized) => {
            let context = Context::new(state, stamp);
            let recorded = record(state, &context, None, false);
            refused(recorded, unauthorized.into())
        }
    }
}

/// Records a membership entry of Raft itself: it takes its place in the chain, and nothing else.
/// (What operators approved is [`Command::ChangeMembership`].)
///
/// # Panics
/// As [`apply`].
pub fn record_membership(state: &mut State, stamp: Stamp) -> Applied {
    let context = Context::new(state, stamp);
    Applied {
        recorded: record(state, &context, None, false),
        outcome: Outcome::Accepted(Vec::new()),
        state_root: None,
    }
}

/// What the door asks: whether a command would spend its id if it were applied now. Whatever would
/// not is not to be proposed, or the same bytes could be chained again and again.
///
/// # Errors
/// Why it would leave the state as it is.
pub fn admit(state: &State, asked: &Examined, stamp: Stamp) -> Result<(), Rejection> {
    admissible(state, asked.said()?, stamp)
}

/// As [`admit`], before any signature was verified: neither an outsider nor whoever sends again
/// what he overheard costs any curve arithmetic. That it passes proves nothing.
///
/// # Errors
/// As [`admit`].
pub fn admit_claim(state: &State, claim: &Claim, stamp: Stamp) -> Result<(), Rejection> {
    admissible(state, claim.said(), stamp)
}

fn admissible(state: &State, said: &Said, stamp: Stamp) -> Result<(), Rejection> {
    authorize::authorized(said, state, stamp)?;
    let (command, terms) = (&said.command, &said.terms);
    if let Command::RaiseStateVersion(raise) = command
        && raise.version > STATE_VERSION
    {
        // Only the door may say this: nodes of another build would not agree.
        return Err(Rejection::BadStateVersion {
            existing: state.meta().version,
            requested: raise.version,
        });
    }
    check_terms(state, command, terms, &Context::new(state, stamp))
}

/// What [`apply`] would decide, without changing anything: for dry runs. Consequences (gates,
/// automatic halts) are not shown.
///
/// # Errors
/// The refusal.
pub fn try_out(state: &State, asked: Examined, stamp: Stamp) -> Result<Vec<Event>, Rejection> {
    admit(state, &asked, stamp)?;
    let command = asked.authorize(state, stamp)?;
    check_revision(state, &command)?;
    decide(state, &command, &Context::new(state, stamp))
}

/// What [`apply`] would decide of a command if all who must had signed it, without changing
/// anything: for plans, which are made before anybody signs. Consequences are not shown.
///
/// # Errors
/// The refusal.
pub fn preview(state: &State, command: &Command, stamp: Stamp) -> Result<Vec<Event>, Rejection> {
    decide(
        state,
        &authorize::assumed(command.clone()),
        &Context::new(state, stamp),
    )
}

/// The part of [`apply`] after authorization.
pub(crate) fn apply_verified(
    state: &mut State,
    command: &Verified<Command>,
    stamp: Stamp,
) -> Applied {
    assert!(
        state.unknown_version().is_none(),
        "the state follows newer rules than this build knows"
    );
    let context = Context::new(state, stamp);
    if let Err(rejection) = check_terms(state, command.get(), command.terms(), &context) {
        return refused(record(state, &context, None, false), rejection);
    }
    let spent = spends_id(command.get()).then(|| SpentId {
        id: command.terms().id,
        digest: command.terms().digest,
        not_after: command.terms().not_after,
    });
    let decided = check_revision(state, command).and_then(|()| decide(state, command, &context));
    let events = match decided {
        Ok(events) => events,
        Err(rejection) => return refused(record(state, &context, spent, false), rejection),
    };
    let carries_root = matches!(command.get(), Command::Tick(_)) && root_is_due(state, &context);
    let recorded = record(state, &context, spent, carries_root);
    let mut changes = Changes::new(state, context);
    events.into_iter().for_each(|event| changes.emit(event));
    react::react(&mut changes, command.get());
    let events = changes.into_events();
    Applied {
        recorded,
        outcome: Outcome::Accepted(events),
        state_root: carries_root.then(|| state.root()),
    }
}

/// Whether a command's id is what makes it apply once. Of a session's envelopes the sequence is:
/// nothing has to be remembered of each, however many there are.
const fn spends_id(command: &Command) -> bool {
    !matches!(command, Command::AdvanceSession(_))
}

/// Folds what every entry does.
fn record(
    state: &mut State,
    context: &Context,
    spent: Option<SpentId>,
    carries_root: bool,
) -> Event {
    let recorded = Event::EntryRecorded {
        index: context.index,
        time: context.time,
        spent,
        carries_root,
    };
    changes::fold(state, &recorded);
    recorded
}

const fn refused(recorded: Event, rejection: Rejection) -> Applied {
    Applied {
        recorded,
        outcome: Outcome::Rejected(rejection),
        state_root: None,
    }
}

/// Whether a tick carries the state root: the first does, and then one every
/// [`root_interval`](crate::config::ClusterConfig::root_interval) entries at least, as far as
/// there are ticks.
fn root_is_due(state: &State, context: &Context) -> bool {
    let interval = state.config().root_interval;
    let last = state.meta().last_root;
    last.is_none_or(|last| context.index.0.saturating_sub(last.0) >= interval)
}

/// LOG-2, "at most once": refuses what was applied before, and what is not on time. None of these
/// refusals spends the id: it is spent already, or can never be applied, or (too early) is not to
/// be burned by whoever gets hold of an approval before its time.
fn check_terms(
    state: &State,
    command: &Command,
    terms: &Terms,
    context: &Context,
) -> Result<(), Rejection> {
    if let Command::AdvanceSession(envelope) = command {
        check_turn(state, envelope, terms)?;
        if terms.expected_revision.is_some() {
            revision_of(state, command)?;
        }
        return check_validity(terms, context);
    }
    check_id(state, terms)?;
    check_validity(terms, context)?;
    let max = u64::from(state.config().limits.commands_max);
    if state.spent().len() as u64 >= max && !is_urgent(command) {
        return Err(Rejection::LimitReached {
            what: Limit::CommandIds,
            max,
        });
    }
    Ok(())
}

fn check_id(state: &State, terms: &Terms) -> Result<(), Rejection> {
    let Terms { id, digest, .. } = *terms;
    if let Some(spent) = state
        .spent()
        .get(&id)
        .filter(|_| !is_on(Mutant::IdForgotten))
    {
        let index = spent.index;
        // Whoever overheard an id could spend it on a command of their own, and what it was drawn
        // for would be answered as if it had been applied.
        return Err(if spent.digest == digest || is_on(Mutant::IdUnbound) {
            Rejection::AlreadyApplied { index }
        } else {
            Rejection::IdOfAnother { index }
        });
    }
    Ok(())
}

fn check_validity(terms: &Terms, context: &Context) -> Result<(), Rejection> {
    let Terms {
        not_before,
        not_after,
        ..
    } = *terms;
    let requested = not_after.since(not_before);
    if requested > VALIDITY_MAX {
        return Err(Rejection::ValidityTooLong {
            requested,
            max: VALIDITY_MAX,
        });
    }
    if context.time < not_before || context.time > not_after {
        return Err(Rejection::OutsideValidity {
            not_before,
            not_after,
            now: context.time,
        });
    }
    Ok(())
}

/// Whether a command is accepted even when ids or a disk run out: what stops harm, lifts what was
/// stopped or takes trust away, and what moves time on.
pub const fn is_urgent(command: &Command) -> bool {
    matches!(
        command,
        Command::Tick(_)
            | Command::HaltRollout(_)
            | Command::PauseRollout(_)
            | Command::ExcludeVariant(_)
            | Command::EmergencyStop(_)
            | Command::ResumeRollout(_)
            | Command::LiftStop(_)
            | Command::RotateKeys(_)
            | Command::RevokeKey(_)
            | Command::RevokeRelease(_)
    )
}

/// Refuses a command whose target changed since its signers looked.
fn check_revision(state: &State, command: &Verified<Command>) -> Result<(), Rejection> {
    let Some(requested) = command.terms().expected_revision else {
        return Ok(());
    };
    let existing = revision_of(state, command.get())?;
    if existing == requested {
        return Ok(());
    }
    Err(Rejection::RevisionMismatch {
        existing,
        requested,
    })
}

/// What a log entry carries besides the command. The same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The leader's clock when it proposed the entry. Log time is the greatest stamp so far.
    pub time: LogTime,
    /// The index of the entry that is being built.
    pub index: Index,
    /// The chain head before the entry.
    pub chain: Hash,
}

/// What came of a command. Recorded either way.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// It was applied; what it changed stands in the events.
    #[n(0)]
    Accepted(#[n(0)] Vec<Event>),
    /// It was refused.
    #[n(1)]
    Rejected(#[n(0)] Rejection),
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What every entry does: log time, the next index, the spent command id.
    pub recorded: Event,
    /// What came of the command.
    pub outcome: Outcome,
    /// The state root after the entry, if the entry carries it.
    pub state_root: Option<Hash>,
}

impl Applied {
    /// All events in order: their fold over the state before is the state after.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        let accepted = match &self.outcome {
            Outcome::Accepted(events) => events.as_slice(),
            Outcome::Rejected(_) => &[],
        };
        std::iter::once(&self.recorded).chain(accepted)
    }
}
