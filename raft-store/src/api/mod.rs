//! What clients may ask of a node, behind the gRPC services.
//!
//! | File | What |
//! |---|---|
//! | `write` | commits signed commands, wherever they arrive |
//! | `read` | read points confirmed by a quorum, many reads to a round |
//! | `watch` | the feed of applied entries, gapless or resync |
//! | `store` | the `Store` service |
//! | `audit` | the `Audit` service |
//! | `admin` | the `Admin` service |
//! | `error` | every error's gRPC status |

mod error;
mod read;
mod write;

pub use read::ReadError;
pub(crate) use read::ReadIndexes;
pub(crate) use write::Writes;
pub use write::{ProposeError, Proposed};
