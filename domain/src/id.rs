//! Identifiers, counts and measures: one newtype per concept, so that none is taken for another.
use minicbor::{Decode, Encode};
use std::fmt;

/// Declares a newtype over an unsigned integer with the traits that every count and number needs.
macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// Declares a newtype over fixed-size bytes, shown in hexadecimal.
macro_rules! bytes {
    ($(#[$meta:meta])* $name:ident[$len:literal]) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("a {what} may not be empty")]
    Empty {
        /// What was being named.
        what: &'static str,
    },
    /// The name is longer than its limit.
    #[error("a {what} has at most {max} bytes, this one has {len}")]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// The limit, in bytes.
        max: usize,
        /// The length found, in bytes.
        len: usize,
    },
    /// A character outside the accepted set.
    #[error("a {what} has only ASCII letters, digits, '.', '-', '_' and '+', not {found:?}")]
    BadCharacter {
        /// What was being named.
        what: &'static str,
        /// The first character that is not accepted.
        found: char,
    },
}

/// Checks the rule that all names share.
fn check_name(what: &'static str, max: usize, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > max {
        return Err(NameError::TooLong {
            what,
            max,
            len: text.len(),
        });
    }
    let accepted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    match text.chars().find(|c| !accepted(*c)) {
        Some(found) => Err(NameError::BadCharacter { what, found }),
        None => Ok(()),
    }
}

/// Declares a checked name: 1 to `max` bytes of ASCII letters, digits, `.`, `-`, `_`, `+`.
macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] String);

        impl $name {
            /// The longest accepted name, in bytes.
            pub const MAX: usize = $max;

            /// Checks and wraps a name.
            ///
            /// # Errors
            /// Empty, longer than [`Self::MAX`] bytes, or with a character outside the set.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check_name($what, Self::MAX, &text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let at = d.position();
                Self::new(d.str()?)
                    .map_err(|e| minicbor::decode::Error::message(e.to_string()).at(at))
            }
        }
    };
}

number! {
    /// Position in the audit log: the leaf index of an entry, gapless from 0.
    Index(u64)
}
number! {
    /// Log time: milliseconds since the Unix epoch as stamped by leaders; it never runs back.
    LogTime(u64)
}
number! {
    /// A length of time in milliseconds.
    Millis(u64)
}
number! {
    /// Generation number of the trusted key set. 0 means that no ceremony has been held.
    Epoch(u32)
}
number! {
    /// The security version of a release; compared with floors.
    SecurityVersion(u64)
}
number! {
    /// Number of a rollout, in the order of creation, from 1.
    RolloutId(u64)
}
number! {
    /// Position of a wave in its rollout, from 0.
    WaveIndex(u16)
}
number! {
    /// Number of an emergency stop, from 1.
    StopId(u64)
}
number! {
    /// Number of a decision node's session, from 1.
    SessionId(u64)
}
number! {
    /// Number of a registered variant, from 1.
    VariantId(u32)
}
number! {
    /// Version of an entity: the index of the entry that last changed it.
    Revision(u64)
}
number! {
    /// A cohort: hours of log time since the Unix epoch.
    Cohort(u32)
}
number! {
    /// Version of the rules that `apply` follows; raised by command once every node knows them.
    StateVersion(u32)
}
number! {
    /// Number of a raft node.
    NodeId(u64)
}
number! {
    /// Number of a cluster's life, from 1: a restore begins the next one.
    Incarnation(u64)
}

bytes! {
    /// A 32-byte hash; the field that holds it says which function made it.
    Hash[32]
}
bytes! {
    /// A raw ed25519 public key (RFC 8032).
    PublicKey[32]
}
bytes! {
    /// An ed25519 signature (RFC 8032).
    SignatureBytes[64]
}
bytes! {
    /// Identity of a command, drawn at random by whoever signs it; applied at most once.
    CommandId[16]
}
bytes! {
    /// A device's pseudonym: a keyed hash of its id, so that erasure stays possible.
    Pseudonym[32]
}

name! {
    /// Name of a release, unique in its cluster: `detector-v3.2`.
    ReleaseName, "release name", 96
}
name! {
    /// What is updated on a device: `os`, `bootloader`, `detector-model`.
    Component, "component", 48
}
name! {
    /// A hardware model.
    Model, "hardware model", 48
}
name! {
    /// A hardware revision.
    HardwareRevision, "hardware revision", 32
}
name! {
    /// A region, of devices and of nodes.
    Region, "region", 32
}
name! {
    /// A mobile carrier; `none` where there is none.
    Carrier, "carrier", 32
}
name! {
    /// A release channel: `stable`, `beta`.
    Channel, "channel", 32
}
name! {
    /// Name of a wave.
    WaveName, "wave name", 48
}
name! {
    /// Name of a key's holder, for people; never trusted.
    KeyName, "key name", 64
}

/// A share in parts per million, 0 to 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct Ppm(#[n(0)] u32);

impl Ppm {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Everything: 1,000,000 parts.
    pub const ALL: Self = Self(1_000_000);

    /// Wraps a share; `None` above 1,000,000.
    pub const fn new(parts: u32) -> Option<Self> {
        if parts <= Self::ALL.0 {
            Some(Self(parts))
        } else {
            None
        }
    }

    /// The share in parts per million.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole} %");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{} %", digits.trim_end_matches('0'))
    }
}

impl<'b, C> Decode<'b, C> for Ppm {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        Self::new(d.u32()?).ok_or_else(|| {
            minicbor::decode::Error::message("a share is at most 1,000,000 parts").at(at)
        })
    }
}

impl LogTime {
    /// This time plus `length`; stops at the end of time instead of running over.
    pub const fn after(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// How long `earlier` was before this; zero if it was later.
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// The cohort (hour) of this time.
    pub fn cohort(self) -> Cohort {
        Cohort(u32::try_from(self.0 / Cohort::LENGTH.0).unwrap_or(u32::MAX))
    }
}

impl Cohort {
    /// How much log time one cohort spans.
    pub const LENGTH: Millis = Millis(3_600_000);

    /// The first instant after this cohort.
    pub fn end(self) -> LogTime {
        LogTime(
            u64::from(self.0)
                .saturating_add(1)
                .saturating_mul(Self::LENGTH.0),
        )
    }
}

impl Channel {
    /// The name that sorts before all others, for the start of ranges.
    pub(crate) fn first() -> Self {
        Self("+".to_owned())
    }
}

impl RolloutId {
    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Text that people wrote for people: a reason or a remark, at most 1,024 bytes, never interpreted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct Reason(#[n(0)] String);

impl Reason {
    /// The longest accepted text, in bytes.
    pub const MAX: usize = 1_024;

    /// Checks and wraps a text.
    ///
    /// # Errors
    /// Blank, or longer than [`Self::MAX`] bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(NameError::Empty { what: "reason" });
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong {
                what: "reason",
                max: Self::MAX,
                len: text.len(),
            });
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'b, C> Decode<'b, C> for Reason {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        Self::new(d.str()?).map_err(|e| minicbor::decode::Error::message(e.to_string()).at(at))
    }
}
