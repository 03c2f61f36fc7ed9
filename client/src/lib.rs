//! Client of the store, for whoever needs the cluster's state or wants to change it.
//!
//! | Item | What for |
//! |---|---|
//! | [`StoreClient`] | one call to whichever node answers, retried safely |
//! | [`View`] | the state, held equal to the cluster's: snapshot, then events, root checked |
//! | [`Follower`] | keeps a view current and its [`Lease`] renewed, for as long as it runs |
//! | [`HighWater`] | remembers the highest position ever seen, so that no view goes back |
//!
//! Architecture invariant: nothing here depends on Raft. A client sees signed commands, outcomes,
//! positions and rows.

mod connect;
mod error;
mod follow;
mod high_water;
mod lease;
mod position;
mod store;
mod view;
mod watch;

pub use connect::ClientConfig;
pub use error::ClientError;
pub use follow::{Follower, FollowerConfig, Observer};
pub use high_water::HighWater;
pub use lease::{Lease, LeaseTerms, SharedLease};
pub use position::{Position, ReadPoint};
pub use store::{Manifest, Proposed, Rows, SnapshotRows, StoreClient};
pub use view::{View, ViewError};
pub use watch::WatchStream;
