//! What every file of a data directory begins with: whose it is.
//!
//! A file that was emptied, cut at its first page, or put here from elsewhere is known by its
//! beginning, before anything else in it is looked at.

use std::fmt;
use std::str::FromStr;

use super::{FORMAT_VERSION, Identity, IdentityError};

/// First line of what a file begins with.
const HEADING: &str = "tidegate file";

/// Number of a directory, random, drawn when a node takes it: tells apart two directories of one
/// node, of which the older must not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryId(pub [u8; 16]);

/// Whose a file is: of which node, and in which of its directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The node.
    pub identity: Identity,
    /// Its directory.
    pub directory: DirectoryId,
}

impl Owner {
    /// What a file begins with: text with its own checksum, at most 1 KiB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            identity:
                Identity {
                    origin,
                    incarnation,
                    node,
                },
            directory,
        } = self;
        let body = format!(
            "{HEADING}\nformat {FORMAT_VERSION}\norigin {origin}\nincarnation {incarnation}\n\
             node {node}\ndirectory {directory}\n"
        );
        sealed(body).into_bytes()
    }

    /// Checks that `file` begins as a file of this owner does. More may follow in `beginning`.
    ///
    /// # Errors
    /// It is another node's or another directory's, or does not say whose it is.
    pub fn check(&self, file: &str, beginning: &[u8]) -> Result<(), IdentityError> {
        if beginning.starts_with(&self.to_bytes()) {
            return Ok(());
        }
        let node = self.identity.node;
        let file = file.to_owned();
        Err(match Self::found(beginning) {
            Some(found) => IdentityError::OtherFile {
                node,
                file,
                existing: found.to_string(),
                requested: self.to_string(),
            },
            None => IdentityError::NoOwner { node, file },
        })
    }

    /// Whose a file is that begins so, if that can be read.
    fn found(beginning: &[u8]) -> Option<Self> {
        let end = beginning.iter().position(|byte| *byte == 0);
        let text = beginning.get(..end.unwrap_or(beginning.len()))?;
        // What follows the checksum is not ours, and need not be text.
        let text = String::from_utf8_lossy(text);
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name);
        if !field(HEADING)?.is_empty() {
            return None;
        }
        field("format ")?;
        let owner = Self {
            identity: Identity {
                origin: field("origin ")?.to_owned(),
                incarnation: field("incarnation ")?.parse().ok()?,
                node: field("node ")?.parse().ok()?,
            },
            directory: field("directory ")?.parse().ok()?,
        };
        beginning.starts_with(&owner.to_bytes()).then_some(owner)
    }
}

/// A text with its checksum after it.
pub(super) fn sealed(body: String) -> String {
    let checksum = blake3::hash(body.as_bytes());
    body + &format!("checksum {checksum}\n")
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            identity:
                Identity {
                    origin,
                    incarnation,
                    node,
                },
            directory,
        } = self;
        write!(
            f,
            "node {node} of {origin:?}, incarnation {incarnation}, directory {directory}"
        )
    }
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for DirectoryId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = u128::from_str_radix(text, 16)?;
        Ok(Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(node: u64, directory: u8) -> Owner {
        Owner {
            identity: Identity {
                origin: "a.example/fleet".to_owned(),
                incarnation: 1,
                node,
            },
            directory: DirectoryId([directory; 16]),
        }
    }

    /// What is said of a file of node 4 that begins so.
    fn refused(beginning: &[u8]) -> String {
        let checked = owner(4, 7).check("state.redb", beginning);
        checked.unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_its_owners_whatever_follows() {
        let bytes = owner(4, 7).to_bytes();
        owner(4, 7).check("state.redb", &bytes).unwrap();
        let followed = [&bytes[..], &[0, 0, 0xff]].concat();
        owner(4, 7).check("state.redb", &followed).unwrap();
    }

    #[test]
    fn whose_a_file_is_instead_is_said() {
        let other = refused(&owner(5, 9).to_bytes());
        assert!(other.contains("belongs to node 5 of"), "{other}");
        assert!(other.contains("directory 09090909"), "{other}");
        let earlier = refused(&[owner(4, 8).to_bytes(), vec![0; 99]].concat());
        assert!(earlier.contains("belongs to node 4 of"), "{earlier}");
        assert!(earlier.contains("state.redb"), "{earlier}");
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = owner(4, 7).to_bytes();
        for len in 0..bytes.len() {
            let cut = refused(&bytes[..len]);
            assert!(cut.contains("does not begin"), "{len}: {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(&flipped);
        }
    }
}
