//! The rollout domain: what a cluster knows, what can be asked of it, and what comes of asking.
//!
//! Pure: no IO, no clock, no randomness, no floating point, no order that varies. The same commands
//! give the same state on every node, build and machine (APPLY-1).
//!
//! Architecture invariant: [`State`] changes only through `apply`, which folds events with
//! `evolve`; watchers fold the same events with the same function.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests may panic"
    )
)]

pub mod apply;
pub mod baseline;
pub mod bucket;
pub mod canonical;
pub mod command;
pub mod config;
mod decide;
mod derived;
pub mod event;
pub mod evolve;
pub mod floor;
pub mod gate;
pub mod guard;
pub mod id;
pub mod invariant;
pub mod key;
pub mod node;
pub mod plan;
pub mod rejection;
pub mod release;
pub mod rollout;
mod root;
pub mod signature;
pub mod state;
mod table;
pub mod tally;
#[cfg(feature = "testing")]
pub mod testing;
pub mod variant;
pub mod wave;

pub use apply::{
    Applied, Context, Examined, Outcome, Stamp, admit, admit_claim, apply, preview,
    record_membership, try_out,
};
pub use command::{Command, CommandBody, SignedCommand};
pub use event::Event;
pub use evolve::{Inconsistent, evolve};
pub use rejection::{Rejection, Unauthorized};
pub use state::State;
pub use table::Table;
