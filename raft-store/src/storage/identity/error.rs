//! Why a data directory cannot be used: what is wrong, why that matters, and what to do.

use std::io;

use tidegate_runtime::EntropyError;

use super::{FORMAT_VERSION, IDENTITY_FILE};
use crate::types::NodeId;

/// What a node that has forgotten something is replaced by.
const REPLACE: &str = "and add this machine under a new number, with an empty directory";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The directory holds another cluster's data.
    #[error("the data directory belongs to cluster {existing:?}, this node is of {requested:?}")]
    OtherCluster {
        /// In the directory.
        existing: String,
        /// In the configuration.
        requested: String,
    },
    /// The directory holds another life of the same cluster.
    #[error(
        "the data directory belongs to incarnation {existing} of the cluster, this node is of \
         {requested}; a restored cluster needs fresh directories"
    )]
    OtherIncarnation {
        /// In the directory.
        existing: u64,
        /// In the configuration.
        requested: u64,
    },
    /// The directory holds another node's data.
    #[error("the data directory belongs to node {existing}, this is node {requested}")]
    OtherNode {
        /// In the directory.
        existing: NodeId,
        /// In the configuration.
        requested: NodeId,
    },
    /// A newer build wrote the directory.
    #[error(
        "the data directory has format {existing}, this build knows up to {FORMAT_VERSION}; \
         use the newer build"
    )]
    NewerFormat {
        /// In the directory.
        existing: u32,
    },
    /// The node joined a cluster before, and its files are gone.
    #[error(
        "node {node} joined the cluster before but {missing} is gone: it must not vote again \
         under this number. Remove node {node} from the cluster {REPLACE}"
    )]
    Wiped {
        /// The node.
        node: NodeId,
        /// The first file that is missing.
        missing: &'static str,
    },
    /// The node joined a cluster before, and nothing is left in one of its files.
    #[error(
        "node {node} joined the cluster before but {file} is empty: what it held is lost, and the \
         node must not vote again under this number. Put the file back if it was moved away just \
         now and nothing ran since; otherwise remove node {node} from the cluster {REPLACE}"
    )]
    Emptied {
        /// The node.
        node: NodeId,
        /// The file.
        file: String,
    },
    /// A file is another node's, or of another directory of this node.
    #[error(
        "{file} belongs to {existing}, and this directory is of {requested}: the node must not \
         vote with what another directory remembers. Put its own file back if it was moved away \
         just now and nothing ran since; otherwise remove node {node} from the cluster {REPLACE}"
    )]
    OtherFile {
        /// The node.
        node: NodeId,
        /// The file.
        file: String,
        /// Whose the file is.
        existing: String,
        /// Whose the directory is.
        requested: String,
    },
    /// A file does not say whose it is.
    #[error(
        "{file} does not begin with whose it is: it is damaged, or no file of Tidegate's. What it \
         held is not to be trusted, and the node must not vote without it: remove node {node} from \
         the cluster {REPLACE}"
    )]
    NoOwner {
        /// The node.
        node: NodeId,
        /// The file.
        file: String,
    },
    /// A sync failed here, something is gone that was acknowledged, or the chain is not the others'.
    #[error(
        "the data directory is not to be trusted: {why}. Remove node {node} from the cluster and \
         add this machine under a new number, with an empty directory on a sound disk"
    )]
    Unsound {
        /// The node.
        node: NodeId,
        /// What happened.
        why: String,
    },
    /// There is data but no identity: the identity was lost, or the directory is not ours.
    #[error(
        "the data directory has {found} but no {IDENTITY_FILE} file; refusing to guess. Put the \
         file back if it was moved away; otherwise remove node {node} from the cluster {REPLACE}"
    )]
    Unidentified {
        /// The node of the configuration.
        node: NodeId,
        /// The first file found.
        found: String,
    },
    /// The identity file is not what this code writes.
    #[error(
        "the {IDENTITY_FILE} file is damaged: {reason}. Nothing tells any more whose the directory \
         is: remove node {node} from the cluster {REPLACE}"
    )]
    Damaged {
        /// The node of the configuration.
        node: NodeId,
        /// What is wrong with it.
        reason: String,
    },
    /// No random number for the directory.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The disk failed.
    #[error("cannot read or write in the data directory: {0}")]
    Io(#[from] io::Error),
}
