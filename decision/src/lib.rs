//! Decision nodes: they answer devices from a leased snapshot of the store.
//!
//! [`engine`] is the pure part: from a snapshot and a check-in to a decision. [`ledger`] is pure,
//! too: what a session holds and counts.

pub mod engine;
pub mod ledger;
