//! What people name, and what they write: checked text with a limit.
use minicbor::{Decode, Encode};
use std::{fmt, sync::Arc};

/// Declares a checked name: 1 to `max` bytes of ASCII letters, digits, `.`, `-`, `_`, `+`. The keys
/// of most rows hold one and are copied with every event, so copies share the text.
macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest accepted name, in bytes.
            pub const MAX: usize = $max;

            /// Checks and wraps a name.
            ///
            /// # Errors
            /// Empty, longer than [`Self::MAX`] bytes, or with a character outside the set.
            pub fn new(text: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, NameError> {
                check_name($what, Self::MAX, text.as_ref())?;
                Ok(Self(text.into()))
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

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
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

impl Channel {
    /// The channel of devices that name none. It is always there; all others are registered.
    pub const DEFAULT: &'static str = "stable";

    /// Whether it is the channel of devices that name none.
    pub fn is_default(&self) -> bool {
        self.as_str() == Self::DEFAULT
    }

    /// The name that sorts before all others, for the start of ranges.
    pub(crate) fn first() -> Self {
        Self("+".into())
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
