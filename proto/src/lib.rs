//! Wire messages and services of Tidegate, and how errors travel.
//!
//! [`v1`] is generated from `proto/tidegate/v1` at build time; the fields' meaning, units and
//! limits stand there. These are wire types only: every crate converts them into its own types at
//! its edge; none stores them, and none passes them on as domain values.
//!
//! Under `--cfg madsim` the same services run over the simulated network.

mod watch;
mod wire_error;

pub use wire_error::{Effect, Refusal, WireError};

/// The messages and services, generated.
#[allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("tidegate.v1");
}
