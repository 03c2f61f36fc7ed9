//! Wire messages and services, generated from `proto/` at build time.
#![allow(missing_docs, unreachable_pub, unnameable_types, clippy::all, reason = "generated code")]
tonic::include_proto!("tidegate.v1");
