//! Rollouts, budgets and gates: a workout of honest and lying nodes, a walk through every life,
//! and transcripts of what operators see.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod life;
mod transcript;
mod workout;
