//! Decisions: which events a command brings about, or why it is refused. They only read.
pub(crate) mod amend;
pub(crate) mod barriers;
pub(crate) mod budgets;
mod cluster;
pub(crate) mod completion;
mod guards;
mod heirs;
mod keys;
mod measured;
mod releases;
mod reports;
mod rollback;
pub(crate) mod rollouts;
pub(crate) mod sessions;
mod spec;

use crate::{
    apply::{Context, Verified},
    command::Command,
    event::Event,
    id::{Millis, Revision},
    rejection::{Field, Limit, Rejection, ValueFault},
    state::State,
};

/// What came of asking: events to fold, or a refusal that changes nothing.
pub(crate) type Decision = Result<Vec<Event>, Rejection>;

/// Decides a command whose signatures and terms are checked.
pub(crate) fn decide(state: &State, command: &Verified<Command>, context: &Context) -> Decision {
    match command.get() {
        Command::CreateRollout(arguments) => rollouts::create(state, arguments, context),
        Command::ApproveRollout(arguments) => rollouts::approve(state, arguments, context),
        Command::StartRollout(arguments) => rollouts::start(state, arguments, context),
        Command::AdvanceWave(arguments) => rollouts::advance(state, arguments, context),
        Command::PauseRollout(arguments) => rollouts::pause(state, arguments, context),
        Command::ResumeRollout(arguments) => rollouts::resume(state, arguments, context),
        Command::HaltRollout(arguments) => rollouts::halt(state, arguments, context),
        Command::RollBack(arguments) => rollouts::roll_back(state, arguments, context),
        Command::CompleteRollout(arguments) => rollouts::complete(state, arguments, context),
        Command::AmendRollout(arguments) => amend::amend(state, arguments, context),
        Command::ExcludeVariant(arguments) => rollouts::exclude(state, arguments, context),
        Command::ExpediteRollout(arguments) => rollouts::expedite(state, arguments, context),
        Command::OpenSession(arguments) => {
            let key = command.signers().first();
            sessions::open(state, arguments, key, context)
        }
        Command::AdvanceSession(arguments) => Ok(sessions::advance(arguments, command.terms())),
        Command::WriteOffBudget(arguments) => budgets::write_off(state, arguments, context),
        Command::Tick(_) => Ok(Vec::new()),
        #[cfg(feature = "bench")]
        Command::BenchFiller(_) => Ok(Vec::new()),
        Command::RotateKeys(arguments) => keys::rotate(state, arguments, context),
        Command::RevokeKey(arguments) => keys::revoke(state, arguments, context),
        Command::RegisterRelease(arguments) => releases::register(state, arguments, context),
        Command::AddReleaseSignatures(arguments) => {
            releases::add_signatures(state, arguments, context)
        }
        Command::RevokeRelease(arguments) => releases::revoke(state, arguments, context),
        Command::RegisterVariant(arguments) => {
            releases::register_variant(state, arguments, context)
        }
        Command::RegisterChannel(arguments) => {
            releases::register_channel(state, arguments, context)
        }
        Command::DeclareRecoveryImage(arguments) => {
            guards::declare_recovery_image(state, arguments, context)
        }
        Command::RaiseFloor(arguments) => guards::raise_floor(state, arguments, context),
        Command::EmergencyStop(arguments) => guards::emergency_stop(state, arguments, context),
        Command::LiftStop(arguments) => guards::lift_stop(state, arguments, context),
        Command::SetRegionPolicy(arguments) => guards::set_region_policy(state, arguments, context),
        Command::SetHold(arguments) => guards::set_hold(state, arguments, context),
        Command::ChangeMembership(arguments) => {
            cluster::change_membership(state, arguments, context)
        }
        Command::SetClusterConfig(arguments) => cluster::set_config(state, arguments, context),
        Command::RaiseStateVersion(arguments) => cluster::raise_version(state, arguments, context),
    }
}

/// The revision of what a command is about: 0 where it is not there yet.
///
/// # Errors
/// The command is about nothing that has a revision.
pub(crate) fn revision_of(state: &State, command: &Command) -> Result<Revision, Rejection> {
    let rollout = |id| state.rollouts().get(id).map(|rollout| rollout.revision);
    let release = |name| state.releases().get(name).map(|release| release.revision);
    let session = |id| state.sessions().get(id).map(|session| session.revision);
    let found = match command {
        Command::RotateKeys(_) | Command::RevokeKey(_) => Some(state.keys().revision),
        Command::AddReleaseSignatures(a) => release(&a.release),
        Command::RevokeRelease(a) => release(&a.release),
        Command::DeclareRecoveryImage(a) => {
            state.recovery_images().get(&a.scope).map(|i| i.revision)
        }
        Command::RaiseFloor(a) => state.floors().get(&a.scope).map(|floor| floor.revision),
        Command::ApproveRollout(a) => rollout(&a.rollout),
        Command::StartRollout(a) => rollout(&a.rollout),
        Command::AdvanceWave(a) => rollout(&a.rollout),
        Command::PauseRollout(a) => rollout(&a.rollout),
        Command::ResumeRollout(a) => rollout(&a.rollout),
        Command::HaltRollout(a) => rollout(&a.rollout),
        Command::RollBack(a) => rollout(&a.rollout),
        Command::CompleteRollout(a) => rollout(&a.rollout),
        Command::AmendRollout(a) => rollout(&a.rollout),
        Command::ExcludeVariant(a) => rollout(&a.rollout),
        Command::ExpediteRollout(a) => rollout(&a.rollout),
        Command::LiftStop(a) => state.stops().get(&a.stop).map(|stop| stop.revision),
        Command::SetRegionPolicy(a) => state.region_policies().get(&a.region).map(|p| p.revision),
        Command::SetHold(a) => state.holds().get(&a.key).map(|hold| hold.revision),
        Command::WriteOffBudget(a) => session(&a.session),
        Command::ChangeMembership(_) => Some(state.membership().revision),
        Command::SetClusterConfig(_) => Some(state.config().revision),
        Command::RegisterRelease(_)
        | Command::RegisterVariant(_)
        | Command::RegisterChannel(_)
        | Command::CreateRollout(_)
        | Command::EmergencyStop(_)
        | Command::OpenSession(_)
        | Command::AdvanceSession(_)
        | Command::Tick(_)
        | Command::RaiseStateVersion(_) => {
            return Err(changes_nothing_revised(command));
        }
        #[cfg(feature = "bench")]
        Command::BenchFiller(_) => return Err(changes_nothing_revised(command)),
    };
    Ok(found.unwrap_or_default())
}

fn changes_nothing_revised(command: &Command) -> Rejection {
    let kind = command.kind();
    invalid(Field::ExpectedRevision, ValueFault::NoRevision { kind })
}

/// Refuses a value.
pub(crate) fn invalid(field: Field, fault: ValueFault) -> Rejection {
    let at = None;
    Rejection::InvalidValue { field, at, fault }
}

/// Refuses a value in one member of a list.
pub(crate) fn invalid_at(field: Field, at: usize, fault: ValueFault) -> Rejection {
    // Every list that is looked through is far shorter.
    let at = Some(u32::try_from(at).unwrap_or(u32::MAX));
    Rejection::InvalidValue { field, at, fault }
}

/// Refuses a number outside its range.
pub(crate) fn check_range(field: Field, value: u64, min: u64, max: u64) -> Result<(), Rejection> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, ValueFault::Range { value, min, max }))
}

/// Refuses a length of time outside its range.
pub(crate) fn check_duration(
    field: Field,
    value: Millis,
    min: Millis,
    max: Millis,
) -> Result<(), Rejection> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, ValueFault::Duration { value, min, max }))
}

/// Refuses a text that is empty or too long.
pub(crate) fn check_text(field: Field, text: &str, max: usize) -> Result<(), Rejection> {
    if (1..=max).contains(&text.len()) {
        return Ok(());
    }
    let (value, max) = (text.len() as u64, max as u64);
    Err(invalid(field, ValueFault::Bytes { value, min: 1, max }))
}

/// Refuses one more of what there may be at most `max` of.
pub(crate) fn check_limit(what: Limit, existing: usize, max: u32) -> Result<(), Rejection> {
    let max = u64::from(max);
    if (existing as u64) < max {
        return Ok(());
    }
    Err(Rejection::LimitReached { what, max })
}
