//! Identifiers, counts and measures: one newtype per concept, so that none is taken for another.
mod name;

pub use name::{
    Carrier, Channel, Component, HardwareRevision, KeyName, Model, NameError, Reason, Region,
    ReleaseName, WaveName,
};

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
    /// Number of a decision node's life under one session, from 1.
    Instance(u64)
}
number! {
    /// Number of an envelope of a session's operations, gapless from 1.
    Sequence(u64)
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

/// A share in parts per million, 0 to 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct Ppm(#[n(0)] u32);

impl Ppm {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Everything: 1,000,000 parts.
    pub const ALL: Self = Self(1_000_000);

    /// Half: 500,000 parts.
    pub const HALF: Self = Self(500_000);

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

impl RolloutId {
    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
