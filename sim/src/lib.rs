//! The simulator: the whole system under every fault, with an oracle for every invariant.
//!
//! | Module | What | Where it runs |
//! |---|---|---|
//! | [`schedule`] | a run as data: world, load, every fault at its time | everywhere |
//! | [`generate`] | from a seed to a schedule | everywhere |
//! | [`scenario`] | from a file that an SRE writes to a schedule and expectations | everywhere |
//! | [`expect`] | whether what was expected held, measured on the records | everywhere |
//! | [`story`] | records as spans and calls: who led, who was down | everywhere |
//! | [`view`] | the story as text and as an HTML timeline | everywhere |
//! | [`corpus`], [`shrink`] | failures as files, and made smaller | everywhere |
//! | [`record`] | what happened, as data, and its hash | everywhere |
//! | [`oracle`] | what must never happen, one file per invariant | everywhere |
//! | [`coverage`] | which states faults struck in, and what happened sometimes | everywhere |
//! | [`load`] | what operators ask for, honest and hostile | everywhere |
//! | [`dice`] | random numbers that follow from a seed for ever | everywhere |
//! | `world` | the machines: production code, unmodified, on simulated network, clocks and disks | simulator |
//! | `nemesis` | brings the schedule's faults about | simulator |
//! | `run` | one run from a schedule to its trace | simulator |
//! | `search` | fresh seeds until the time is up | simulator |
//! | `hunt` | known bugs, each looked for with seed after seed | simulator |
//!
//! Architecture invariant: an oracle sees only what the world tells it, never what a fault was.

#[cfg(madsim)]
mod aborts;
pub mod corpus;
pub mod coverage;
pub mod dice;
pub mod expect;
pub mod generate;
#[cfg(madsim)]
pub mod hunt;
pub mod load;
#[cfg(madsim)]
mod meter;
pub mod oracle;
pub mod record;
pub mod scenario;
pub mod schedule;
pub mod shrink;
pub mod story;
pub mod view;

/// What decision nodes make pseudonyms with in every run.
const PSEUDONYMS: [u8; 32] = [4; 32];

#[cfg(madsim)]
mod nemesis;
#[cfg(madsim)]
pub mod run;
#[cfg(madsim)]
pub mod search;
#[cfg(madsim)]
mod world;
