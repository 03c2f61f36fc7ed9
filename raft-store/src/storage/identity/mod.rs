//! Whose data a directory holds. Checked before anything else in it is opened.
//!
//! A node that lost its disk must not come back under its old number: it would vote without
//! remembering how it voted. So the identity also remembers whether the node ever joined, and a
//! directory whose files are gone, empty or another's although it joined is refused
//! ([ADR 0009](../../../../docs/adr/0009-every-file-says-whose-it-is.md)).

mod error;
mod owner;

use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::Entropy;
use tidegate_runtime::disk::Disk;

pub use self::error::IdentityError;
pub use self::owner::{DirectoryId, Owner};
use super::{STATE_FILE, is_log_file, unsound};
use crate::types::NodeId;

/// File that holds the identity: text, so that a tired human can read it.
pub const IDENTITY_FILE: &str = "identity";
/// Version of the layout of a data directory that this build reads and writes.
pub const FORMAT_VERSION: u32 = 1;

const HEADING: &str = "tidegate data directory";

/// Which node of which cluster a data directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's origin, which is in every signature.
    pub origin: String,
    /// Number of the cluster's life, from 1: a restore begins the next one.
    pub incarnation: u64,
    /// The node's number.
    pub node: NodeId,
}

/// A directory that a node may use, and what its files must begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The directory was empty and now belongs to the node: its files are still to be made.
    New(Owner),
    /// The node was here before: its files must be there.
    Returning(Owner),
}

impl Claim {
    /// Whose the directory is.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        let (Self::New(owner) | Self::Returning(owner)) = self;
        owner
    }

    /// Checks what a file of the directory begins with before anything else in it is looked at;
    /// `beginning` is empty if the file is, or was made just now. Answers whether it is to be begun,
    /// with [`Owner::to_bytes`].
    ///
    /// # Errors
    /// The file is empty and must not be, or another's, or does not say whose it is.
    pub fn begins(&self, file: &str, beginning: &[u8]) -> Result<bool, IdentityError> {
        match self {
            Self::New(_) if beginning.is_empty() => Ok(true),
            Self::Returning(_) if beginning.is_empty() && is_on(Mutant::EmptiedLogAccepted) => {
                Ok(true)
            }
            Self::Returning(owner) if beginning.is_empty() => Err(IdentityError::Emptied {
                node: owner.identity.node,
                file: file.to_owned(),
            }),
            Self::New(owner) | Self::Returning(owner) => {
                owner.check(file, beginning)?;
                Ok(false)
            }
        }
    }

    /// Remembers that all files stand, so that their loss is noticed from now on. Call it before
    /// the node may vote.
    ///
    /// # Errors
    /// The disk failed.
    pub fn mark_joined(&self, disk: &dyn Disk) -> Result<(), IdentityError> {
        disk.replace(IDENTITY_FILE, to_text(self.owner(), true).as_bytes())?;
        if is_on(Mutant::NamesUnsynced) {
            return Ok(());
        }
        Ok(disk.sync_names()?)
    }

    /// What the identity on `disk` says of whoever was here last, for an observer; nothing if
    /// nobody was.
    ///
    /// # Errors
    /// The identity cannot be read.
    pub fn found(disk: &dyn Disk, node: NodeId) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = disk.read(IDENTITY_FILE)? else {
            return Ok(None);
        };
        let (owner, joined) = from_text(&bytes, node)?;
        Ok(Some(if joined {
            Self::Returning(owner)
        } else {
            Self::New(owner)
        }))
    }
}

impl Identity {
    /// Takes `disk` for this node, or finds that the node has it already. What an interrupted
    /// first start left behind is removed. `entropy` gives a directory that is new its number.
    ///
    /// # Errors
    /// [`IdentityError`] says whose the directory is, or what is missing from it.
    pub fn claim(&self, disk: &dyn Disk, entropy: &dyn Entropy) -> Result<Claim, IdentityError> {
        let (names, node) = (disk.names()?, self.node);
        if let Some(why) = unsound::found(disk)? {
            return Err(IdentityError::Unsound { node, why });
        }
        let holds_data = |name: &&String| is_log_file(name) || *name == STATE_FILE;
        let Some(claim) = Claim::found(disk, node)? else {
            if let Some(found) = names.iter().find(holds_data) {
                let found = found.clone();
                return Err(IdentityError::Unidentified { node, found });
            }
            let owner = Owner {
                identity: self.clone(),
                directory: DirectoryId(entropy.array()?),
            };
            disk.replace(IDENTITY_FILE, to_text(&owner, false).as_bytes())?;
            disk.sync_names()?;
            return Ok(Claim::New(owner));
        };
        self.check_same(&claim.owner().identity)?;
        match &claim {
            Claim::New(_) => {
                // Power failed during the first start. Nothing was promised yet, and a database
                // whose creation was cut short cannot be opened.
                for name in names.iter().filter(holds_data) {
                    disk.remove(name)?;
                }
            }
            Claim::Returning(_) => {
                if !names.iter().any(|name| is_log_file(name)) {
                    let missing = "its log (log-00000001 and on)";
                    return Err(IdentityError::Wiped { node, missing });
                }
                if !names.iter().any(|name| name == STATE_FILE) {
                    let missing = STATE_FILE;
                    return Err(IdentityError::Wiped { node, missing });
                }
            }
        }
        Ok(claim)
    }

    fn check_same(&self, existing: &Self) -> Result<(), IdentityError> {
        let Self {
            origin,
            incarnation,
            node,
        } = existing;
        if *origin != self.origin {
            return Err(IdentityError::OtherCluster {
                existing: origin.clone(),
                requested: self.origin.clone(),
            });
        }
        if *node != self.node {
            return Err(IdentityError::OtherNode {
                existing: *node,
                requested: self.node,
            });
        }
        if *incarnation != self.incarnation {
            return Err(IdentityError::OtherIncarnation {
                existing: *incarnation,
                requested: self.incarnation,
            });
        }
        Ok(())
    }
}

fn to_text(owner: &Owner, joined: bool) -> String {
    let Owner {
        identity:
            Identity {
                origin,
                incarnation,
                node,
            },
        directory,
    } = owner;
    owner::sealed(format!(
        "{HEADING}\nformat {FORMAT_VERSION}\norigin {origin}\nincarnation {incarnation}\n\
         node {node}\ndirectory {directory}\njoined {joined}\n"
    ))
}

/// Reads an identity; `node` is for the error only.
fn from_text(bytes: &[u8], node: NodeId) -> Result<(Owner, bool), IdentityError> {
    let damaged = |reason: &str| IdentityError::Damaged {
        node,
        reason: reason.to_owned(),
    };
    if bytes.is_empty() {
        return Err(damaged("it is empty"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADING) {
        return Err(damaged("it does not begin as an identity does"));
    }
    let mut field = |name: &str| {
        let line = lines
            .next()
            .and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.ok_or_else(|| damaged(&format!("no {name} where it should stand")))
    };
    let format = field("format")?
        .parse()
        .map_err(|_| damaged("format is not a number"))?;
    // Before anything else, since a newer format may differ in all the rest.
    if format > FORMAT_VERSION {
        return Err(IdentityError::NewerFormat { existing: format });
    }
    let origin = field("origin")?.to_owned();
    let incarnation = field("incarnation")?
        .parse()
        .map_err(|_| damaged("incarnation is not a number"))?;
    let number = field("node")?
        .parse()
        .map_err(|_| damaged("node is not a number"))?;
    let directory = field("directory")?
        .parse()
        .map_err(|_| damaged("directory is not a number"))?;
    let joined = field("joined")?
        .parse()
        .map_err(|_| damaged("joined is not a truth value"))?;
    let owner = Owner {
        identity: Identity {
            origin,
            incarnation,
            node: number,
        },
        directory,
    };
    if to_text(&owner, joined) != text {
        return Err(damaged("the checksum does not fit"));
    }
    Ok((owner, joined))
}

#[cfg(test)]
mod tests;
