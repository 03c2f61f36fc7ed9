//! Real nodes on loopback, in one process: what they promise, and what happens when they die.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod audit;
mod cluster;
mod door;
mod full_disk;
mod ingress;
mod proxy;
mod reach;
mod start;
mod support;
mod time;
mod watch;
