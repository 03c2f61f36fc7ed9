//! A data directory as a whole: claimed, opened, and checked, before its node may vote.

use std::sync::Arc;

use tidegate_runtime::{Host, blocking};

use super::{
    Claim, Identity, IdentityError, LogOptions, LogStore, OpenLogError, StateError, StateOptions,
    StateStore, TogetherError, together,
};

/// Why a data directory cannot be started on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The directory is another node's, or this node's with something gone.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log can't be opened.
    #[error("{0}{next}", next = after_log(.0))]
    Log(#[from] OpenLogError),
    /// The state can't be opened.
    #[error("{0}{next}", next = after_state(.0))]
    State(#[from] StateError),
    /// Log and state are not of one age.
    #[error(transparent)]
    Together(#[from] TogetherError),
}

const DISK: &str = ". Look at the disk, make room on it or mend it, and start the node again";
const DAMAGED: &str = ". The node must not vote without what is lost: remove it from the cluster and add \
                       this machine under a new number, with an empty directory on a sound disk";
/// It is said already.
const SAID: &str = "";

const fn after_log(error: &OpenLogError) -> &'static str {
    match error {
        OpenLogError::Identity(_) => SAID,
        OpenLogError::Io(_) => DISK,
        OpenLogError::Record(_)
        | OpenLogError::Damaged { .. }
        | OpenLogError::Missing(_)
        | OpenLogError::Gap { .. } => DAMAGED,
    }
}

const fn after_state(error: &StateError) -> &'static str {
    match error {
        StateError::Identity(_) | StateError::NewerRules(_) => SAID,
        StateError::Io(_) | StateError::Database(redb::Error::Io(_)) => DISK,
        StateError::Database(_)
        | StateError::Record(_)
        | StateError::Rows(_)
        | StateError::Damaged(_)
        | StateError::Refused(_)
        | StateError::Poisoned(_) => DAMAGED,
    }
}

/// Opens log and state of a node, or begins them in a directory that is new.
///
/// # Errors
/// [`StorageError`] says what is wrong with the directory. Nothing of it is open then.
pub async fn open(
    identity: &Identity,
    host: &Host,
    (log, state): (LogOptions, StateOptions),
) -> Result<(LogStore, StateStore), StorageError> {
    let claimed = {
        let (identity, disk) = (identity.clone(), Arc::clone(&host.disk));
        let entropy = Arc::clone(&host.entropy);
        blocking(move || identity.claim(disk.as_ref(), entropy.as_ref())).await
    };
    let claim = claimed.map_err(IdentityError::Io)??;
    let log = LogStore::open(Arc::clone(&host.disk), &claim, log).await?;
    let state = match StateStore::open(Arc::clone(&host.disk), &claim, state).await {
        Ok(state) => state,
        Err(error) => {
            log.abandon().await;
            return Err(error.into());
        }
    };
    if let Err(error) = join(claim, host, (&log, &state)).await {
        abandon(log, state).await;
        return Err(error);
    }
    Ok((log, state))
}

/// From now on the loss of anything here is noticed.
async fn join(
    claim: Claim,
    host: &Host,
    (log, state): (&LogStore, &StateStore),
) -> Result<(), StorageError> {
    together::check(log, state)?;
    state.remember(log.clone());
    let disk = Arc::clone(&host.disk);
    let marked = blocking(move || claim.mark_joined(disk.as_ref())).await;
    Ok(marked.map_err(IdentityError::Io)??)
}

/// Closes the files of a node that does not stop in order; nothing more is written to them.
pub(crate) async fn abandon(log: LogStore, state: StateStore) {
    state.abandon().await;
    log.abandon().await;
}

#[cfg(test)]
mod tests;
