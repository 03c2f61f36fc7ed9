//! What clients may ask of a node, behind the gRPC services.
//!
//! | File | What |
//! |---|---|
//! | `write` | commits signed commands, wherever they arrive |
//! | `read` | read points confirmed by a quorum, many reads to a round |
//! | `rows` | rows of the state by key, as of a confirmed read point |
//! | `watch` | the feed of applied entries, gapless or resync |
//! | `paced` | snapshots and exports: few at once, none that is read too slowly |
//! | `store` | the `Store` service |
//! | `audit` | the `Audit` service |
//! | `admin` | the `Admin` service |
//! | `status` | what a node says of itself |
//! | `door` | what is not proposed at all |
//! | `slots` | how much may be under way at once |
//! | `in_flight` | what is under way, each command once |
//! | `proposed` | what became of a command |
//! | `proposer` | sees what was let in to its end |
//! | `error` | every error's gRPC status |

pub(crate) mod admin;
pub(crate) mod audit;
mod door;
mod error;
mod in_flight;
mod paced;
mod proposed;
mod proposer;
mod read;
mod rows;
mod slots;
mod status;
pub(crate) mod store;
mod watch;
mod write;

pub(crate) use paced::PacedStreams;
pub use proposed::{ProposeError, Proposed};
pub use read::ReadError;
pub(crate) use read::ReadIndexes;
pub use watch::WatchError;
pub(crate) use watch::Watches;
pub(crate) use write::Writes;
