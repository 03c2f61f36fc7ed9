//! The fold: how each event changes the state. Servers and watchers share it, so that a watcher's
//! view has the same root as the state that it follows.
mod budgets;
mod cluster;
mod exposures;
mod guards;
mod keys;
mod releases;
mod rollouts;
mod sessions;
mod sums;

pub use rollouts::FOLD_MAX;

pub(crate) use budgets::{stratum_credit, waves_of};
pub(crate) use exposures::{untold_by, untold_by_ended};
pub(crate) use sessions::{has_rows, kept_until};
pub(crate) use sums::of_variant;

use crate::{
    event::Event,
    id::{Index, LogTime, Revision},
    state::State,
    table::Table,
};

/// Why an event does not fit the state that it is folded into. On a server a fault of the build;
/// on a watcher a reason to fetch a new snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Inconsistent {
    /// An entry is missing, or comes twice.
    #[error("entry {expected} is next, not {found}")]
    OutOfOrder {
        /// The next entry.
        expected: Index,
        /// The one that came.
        found: Index,
    },
    /// Log time would run back.
    #[error("log time {existing} ms would run back to {found} ms")]
    TimeRunsBack {
        /// Log time.
        existing: LogTime,
        /// The entry's.
        found: LogTime,
    },
    /// An event changes what is not there.
    #[error("no such {0}")]
    Missing(&'static str),
    /// An event makes what is there already, or lowers what only rises.
    #[error("{0} already")]
    Conflict(&'static str),
}

/// Folds one event into the state.
///
/// # Errors
/// The event does not follow from this state: events were lost, doubled, or of another log.
#[expect(clippy::too_many_lines, reason = "one arm for each event")]
pub fn evolve(state: &mut State, event: &Event) -> Result<(), Inconsistent> {
    match event {
        Event::EntryRecorded {
            index,
            time,
            spent,
            carries_root,
        } => cluster::entry_recorded(state, *index, *time, *spent, *carries_root),
        Event::KeysRotated(keys) => keys::rotated(state, keys),
        Event::KeyRevoked { key, reason: _ } => keys::revoked(state, key),
        Event::ReleaseRegistered(release) => releases::registered(state, release),
        Event::ReleaseSigned {
            release,
            signatures,
        } => releases::signed(state, release, signatures),
        Event::ReleaseWithdrawn {
            release,
            status,
            reason: _,
        } => releases::withdrawn(state, release, *status),
        Event::VariantRegistered(variant) => releases::variant_registered(state, variant),
        Event::ChannelRegistered(channel) => releases::channel_registered(state, channel),
        Event::RecoveryImageDeclared { scope, image } => {
            guards::recovery_image_declared(state, scope, image)
        }
        Event::RecoveryImageRetired { scope } => guards::recovery_image_retired(state, scope),
        Event::FloorRaised {
            scope,
            floor,
            reason: _,
        } => guards::floor_raised(state, scope, *floor),
        Event::BaselineSet { key, baseline } => guards::baseline_set(state, key, baseline),
        Event::StopRaised(stop) => guards::stop_raised(state, stop),
        Event::StopLifted { stop, reason: _ } => guards::stop_lifted(state, *stop),
        Event::RegionPolicySet { region, policy } => {
            guards::region_policy_set(state, region, policy)
        }
        Event::HoldSet { key, hold } => guards::hold_set(state, key, hold),
        Event::HoldReleased { key } => guards::hold_released(state, key),
        Event::MembershipChanged { members } => cluster::membership_changed(state, members),
        Event::ClusterConfigSet(config) => cluster::config_set(state, config),
        Event::StateVersionRaised { version } => cluster::version_raised(state, *version),
        Event::RolloutCreated(_)
        | Event::RolloutApproved { .. }
        | Event::RolloutStarted { .. }
        | Event::WaveOpened { .. }
        | Event::WavePassed { .. }
        | Event::GateJudged { .. }
        | Event::RolloutPaused { .. }
        | Event::RolloutResumed { .. }
        | Event::RolloutHalted { .. }
        | Event::HaltLifted { .. }
        | Event::RollbackStarted { .. }
        | Event::RolledBack { .. }
        | Event::RolloutCompleted { .. }
        | Event::RolloutSuperseded { .. }
        | Event::RolloutAmended { .. }
        | Event::VariantExcluded { .. }
        | Event::RolloutExpedited { .. }
        | Event::GateOverridden { .. }
        | Event::RolloutFolded { .. }
        | Event::RolloutForgotten { .. } => rollouts::fold(state, event),
        Event::SessionOpened(session) => sessions::opened(state, session),
        Event::SessionAdvanced(advance) => sessions::advanced(state, advance),
        Event::OperationRefused(refused) => sessions::operation_refused(state, refused),
        Event::JournalAnchored(anchored) => sessions::anchored(state, anchored),
        Event::SessionClosed { session } => sessions::closed(state, *session),
        Event::SessionWrittenOff { session, reason: _ } => sessions::written_off(state, *session),
        Event::BudgetGranted { .. }
        | Event::BudgetReturned { .. }
        | Event::Tallied { .. }
        | Event::CohortMatured { .. }
        | Event::CreditGrown { .. }
        | Event::BudgetLost { .. } => budgets::fold(state, event),
    }
}

/// The revision that rows changed by the entry under way get.
fn revision(state: &State) -> Revision {
    Revision(state.meta().next.0.saturating_sub(1))
}

/// The row at a key for change.
fn row<'a, K: Ord + Clone, V>(
    table: &'a mut Table<K, V>,
    key: &K,
    what: &'static str,
) -> Result<&'a mut V, Inconsistent> {
    table.get_mut(key).ok_or(Inconsistent::Missing(what))
}
