//! What a session asks for and tells, operation by operation.
use crate::{
    node::{Anchor, PoolKey},
    tally::{Counts, TallyKey},
};
use minicbor::{Decode, Encode};

/// Most operations in one envelope.
pub const OPERATIONS_MAX: usize = 1_024;

/// One thing that a session asks for or tells.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Operation {
    /// Asks for admissions.
    #[n(0)]
    Grant {
        /// Where they will be spent.
        #[n(0)]
        pool: PoolKey,
        /// How many are asked for; fewer may be granted. At least 1.
        #[n(1)]
        wanted: u64,
    },
    /// Gives admissions back that nobody used.
    #[n(1)]
    Return {
        /// Where they were to be spent.
        #[n(0)]
        pool: PoolKey,
        /// How many come back, never to be used: at most granted − returned − spent.
        #[n(1)]
        unused: u64,
    },
    /// Tells what became of exposures since the session's last envelope.
    #[n(2)]
    Report {
        /// What was counted since then, sorted by key.
        #[n(0)]
        tallies: Vec<Tally>,
        /// Where the node's journal stands.
        #[n(1)]
        anchor: Option<Anchor>,
    },
    /// Closes the session: all that it did has been told. Refused after an operation of the same
    /// envelope that was refused, since what the session holds comes back as unused.
    #[n(3)]
    Close,
}

arguments! {
    /// One tally of a report.
    Tally {
        /// What is counted.
        #[n(0)] key: TallyKey,
        /// What comes to the counts; `silent` is zero.
        #[n(1)] counts: Counts,
    }
}
