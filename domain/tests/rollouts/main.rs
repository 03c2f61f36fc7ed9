//! Rollouts, budgets and gates: a workout of honest and lying nodes, a walk through every life
//! and out of memory, and transcripts of what operators see.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod forgotten;
mod life;
mod transcript;
mod workout;
