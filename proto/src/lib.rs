//! Wire messages and services of Tidegate, generated from `proto/tidegate/v1` at build time; the
//! fields' meaning, units and limits stand there.
//!
//! These are wire types only. Every crate converts them into its own types at its edge; none stores
//! them, and none passes them on as domain values.
//!
//! Under `--cfg madsim` the same services run over the simulated network.

#![allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    clippy::all,
    reason = "generated code"
)]

tonic::include_proto!("tidegate.v1");
