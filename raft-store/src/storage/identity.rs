//! Whose data a directory holds. Checked before anything else in it is opened.
//!
//! A node that lost its disk must not come back under its old number: it would vote without
//! remembering how it voted. So the identity also remembers whether the node ever joined, and a
//! directory whose databases are gone although it joined is refused.

use std::io;

use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::disk::Disk;

use super::{LOG_FILE, STATE_FILE, unsound};
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

/// What was found when the directory was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The directory was empty and now belongs to the node.
    New,
    /// The node was here before.
    Returning,
}

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
    /// The node joined a cluster before, and its databases are gone.
    #[error(
        "node {node} joined the cluster before but {missing} is gone: it must not vote again \
         under this number. Remove node {node} from the cluster and add this machine under a \
         new number with an empty directory"
    )]
    Wiped {
        /// The node.
        node: NodeId,
        /// The first file that is missing.
        missing: &'static str,
    },
    /// A sync failed here, or something is gone that was acknowledged.
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
    /// There are databases but no identity: the identity was lost, or the directory is not ours.
    #[error("the data directory has {found} but no {IDENTITY_FILE} file; refusing to guess")]
    Unidentified {
        /// The first database found.
        found: &'static str,
    },
    /// The identity file is not what this code writes.
    #[error("the {IDENTITY_FILE} file is damaged: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The disk failed.
    #[error("cannot read or write the {IDENTITY_FILE} file: {0}")]
    Io(#[from] io::Error),
}

impl Identity {
    /// Takes `disk` for this node, or finds that the node has it already. What an interrupted
    /// first start left behind is removed.
    ///
    /// # Errors
    /// [`IdentityError`] says whose the directory is, or what is missing from it.
    pub fn claim(&self, disk: &dyn Disk) -> Result<Claim, IdentityError> {
        let names = disk.names()?;
        if let Some(why) = unsound::found(disk)? {
            let node = self.node;
            return Err(IdentityError::Unsound { node, why });
        }
        let databases = [LOG_FILE, STATE_FILE];
        let present = |name: &&str| names.iter().any(|found| found == name);
        let Some(bytes) = disk.read(IDENTITY_FILE)? else {
            if let Some(found) = databases.into_iter().find(present) {
                return Err(IdentityError::Unidentified { found });
            }
            disk.replace(IDENTITY_FILE, self.to_text(false).as_bytes())?;
            disk.sync_names()?;
            return Ok(Claim::New);
        };
        let (existing, joined) = Self::from_text(&bytes)?;
        self.check_same(existing)?;
        if !joined {
            // Power failed during the first start. Nothing was promised yet, and a database whose
            // creation was cut short cannot be opened.
            for name in databases {
                disk.remove(name)?;
            }
            return Ok(Claim::New);
        }
        match databases.into_iter().find(|name| !present(name)) {
            Some(missing) => Err(IdentityError::Wiped {
                node: self.node,
                missing,
            }),
            None => Ok(Claim::Returning),
        }
    }

    /// Remembers that both databases stand, so that their loss is noticed from now on. Call it
    /// before the node may vote.
    ///
    /// # Errors
    /// The disk failed.
    pub fn mark_joined(&self, disk: &dyn Disk) -> Result<(), IdentityError> {
        disk.replace(IDENTITY_FILE, self.to_text(true).as_bytes())?;
        if is_on(Mutant::NamesUnsynced) {
            return Ok(());
        }
        Ok(disk.sync_names()?)
    }

    fn check_same(&self, existing: Self) -> Result<(), IdentityError> {
        let Self {
            origin,
            incarnation,
            node,
        } = existing;
        if origin != self.origin {
            let requested = self.origin.clone();
            return Err(IdentityError::OtherCluster {
                existing: origin,
                requested,
            });
        }
        if node != self.node {
            return Err(IdentityError::OtherNode {
                existing: node,
                requested: self.node,
            });
        }
        if incarnation != self.incarnation {
            let requested = self.incarnation;
            return Err(IdentityError::OtherIncarnation {
                existing: incarnation,
                requested,
            });
        }
        Ok(())
    }

    fn to_text(&self, joined: bool) -> String {
        let Self {
            origin,
            incarnation,
            node,
        } = self;
        let body = format!(
            "{HEADING}\nformat {FORMAT_VERSION}\norigin {origin}\nincarnation {incarnation}\n\
             node {node}\njoined {joined}\n"
        );
        let checksum = blake3::hash(body.as_bytes());
        format!("{body}checksum {checksum}\n")
    }

    fn from_text(bytes: &[u8]) -> Result<(Self, bool), IdentityError> {
        let damaged = |reason: &str| IdentityError::Damaged {
            reason: reason.to_owned(),
        };
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
        let node = field("node")?
            .parse()
            .map_err(|_| damaged("node is not a number"))?;
        let joined = field("joined")?
            .parse()
            .map_err(|_| damaged("joined is not a truth value"))?;
        let found = Self {
            origin,
            incarnation,
            node,
        };
        if found.to_text(joined) != text {
            return Err(damaged("the checksum does not fit"));
        }
        Ok((found, joined))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::disk::SimDisk;

    fn node(origin: &str, node: NodeId) -> Identity {
        Identity {
            origin: origin.to_owned(),
            incarnation: 7,
            node,
        }
    }

    fn joined_directory() -> SimDisk {
        let disk = SimDisk::new();
        let mount = disk.mount();
        assert_eq!(
            node("a.example/fleet", 1).claim(&mount).unwrap(),
            Claim::New
        );
        mount.open(LOG_FILE).unwrap();
        mount.open(STATE_FILE).unwrap();
        node("a.example/fleet", 1).mark_joined(&mount).unwrap();
        disk
    }

    fn check_refused(who: &Identity, disk: &SimDisk, says: &str) {
        let refused = who.claim(&disk.mount()).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused:?} does not say {says:?}");
    }

    #[test]
    fn a_node_finds_its_own_directory_again() {
        let disk = joined_directory();
        let claim = node("a.example/fleet", 1).claim(&disk.mount()).unwrap();
        assert_eq!(claim, Claim::Returning);
    }

    #[test]
    fn other_owners_are_refused_by_name() {
        let disk = joined_directory();
        check_refused(
            &node("b.example/fleet", 1),
            &disk,
            "belongs to cluster \"a.example/fleet\"",
        );
        check_refused(
            &node("a.example/fleet", 2),
            &disk,
            "belongs to node 1, this is node 2",
        );
        let restored = Identity {
            incarnation: 8,
            ..node("a.example/fleet", 1)
        };
        check_refused(
            &restored,
            &disk,
            "incarnation 7 of the cluster, this node is of 8",
        );
    }

    #[test]
    fn a_newer_format_is_refused() {
        let disk = joined_directory();
        let text = disk.mount().read(IDENTITY_FILE).unwrap().unwrap();
        let text = String::from_utf8(text)
            .unwrap()
            .replace("format 1", "format 2");
        disk.mount()
            .replace(IDENTITY_FILE, text.as_bytes())
            .unwrap();
        check_refused(
            &node("a.example/fleet", 1),
            &disk,
            "format 2, this build knows up to 1",
        );
    }

    #[test]
    fn a_node_that_joined_and_lost_a_database_may_not_return() {
        for lost in [LOG_FILE, STATE_FILE] {
            let disk = joined_directory();
            disk.mount().remove(lost).unwrap();
            check_refused(&node("a.example/fleet", 1), &disk, "under a new number");
        }
    }

    #[test]
    fn a_first_start_that_was_cut_short_may_begin_again() {
        let disk = SimDisk::new();
        let who = node("a.example/fleet", 1);
        assert_eq!(who.claim(&disk.mount()).unwrap(), Claim::New);
        disk.mount().open(LOG_FILE).unwrap();
        assert_eq!(who.claim(&disk.mount()).unwrap(), Claim::New);
        assert_eq!(
            disk.mount().names().unwrap(),
            [IDENTITY_FILE],
            "half a database is no use"
        );
    }

    #[test]
    fn databases_without_an_identity_are_refused() {
        let disk = joined_directory();
        disk.mount().remove(IDENTITY_FILE).unwrap();
        check_refused(
            &node("a.example/fleet", 1),
            &disk,
            "has log.redb but no identity",
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let len = joined_directory()
            .mount()
            .read(IDENTITY_FILE)
            .unwrap()
            .unwrap()
            .len();
        for bit in 0..len * 8 {
            let disk = joined_directory();
            assert!(disk.flip_bit(IDENTITY_FILE, bit / 8, (bit % 8) as u8));
            assert!(
                node("a.example/fleet", 1).claim(&disk.mount()).is_err(),
                "bit {bit}"
            );
        }
    }
}
