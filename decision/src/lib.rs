//! Decision nodes: they answer devices from a leased snapshot of the store.
//!
//! [`engine`] is the pure part: from a snapshot and a check-in to a decision. [`ledger`] is pure,
//! too: what a session holds and counts. [`node`] runs both: it follows the store, opens a session,
//! and answers devices over gRPC and HTTP. [`wire`] stands between messages and the engine's types.

pub mod config;
pub mod engine;
pub mod ledger;
pub mod node;
pub mod wire;
