//! The command that benches fill the log with.
use minicbor::{Decode, Encode};

arguments! {
    /// Arguments of [`Command::BenchFiller`](super::Command::BenchFiller).
    BenchFiller {
        /// As many bytes as another store is given to write.
        #[cbor(n(0), with = "minicbor::bytes")] payload: Vec<u8>,
    }
}
