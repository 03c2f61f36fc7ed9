//! Is a body deterministic CBOR? (RFC 8949 §4.2.1, as `docs/formats.md` restricts it.)
//!
//! The check walks the raw bytes once, allocates nothing, and never decodes into values: hashes
//! are taken over the bytes received, so the bytes are what must be in form.

/// Deepest nesting of arrays and maps in a body.
pub const NESTING_MAX: usize = 16;

/// Checks that `bytes` are exactly one data item in deterministic form.
///
/// Allowed: integers in their shortest form, definite-length byte and text strings, arrays, maps
/// with integer keys in the bytewise order of their encodings (0, 1, …, then −1, −2, …) without
/// duplicates, `false`, `true` and `null`. Refused: everything else.
///
/// # Errors
/// [`CanonicalError`] with the offset of the first byte at fault and the reason.
pub fn check(bytes: &[u8]) -> Result<(), CanonicalError> {
    let mut open = Open::default();
    let mut offset = 0usize;
    let mut started = false;
    while !(started && open.depth == 0) {
        started = true;
        let at = |reason| CanonicalError { offset, reason };
        let head = Head::read(bytes, offset)?;
        open.admit(&head).map_err(at)?;
        let next = offset.saturating_add(head.bytes);
        let end = match head.major {
            Major::Unsigned | Major::Negative | Major::Simple => next,
            Major::Bytes | Major::Text => {
                let end = usize::try_from(head.value)
                    .ok()
                    .and_then(|len| next.checked_add(len));
                let end = end.filter(|end| *end <= bytes.len());
                let end = end.ok_or_else(|| at(Reason::Truncated))?;
                let content = bytes.get(next..end).unwrap_or_default();
                if matches!(head.major, Major::Text) && std::str::from_utf8(content).is_err() {
                    return Err(at(Reason::NotUtf8));
                }
                end
            }
            Major::Array | Major::Map => {
                open.push(&head).map_err(at)?;
                next
            }
        };
        open.close_finished();
        offset = end;
    }
    if offset == bytes.len() {
        Ok(())
    } else {
        Err(CanonicalError {
            offset,
            reason: Reason::TrailingBytes,
        })
    }
}

/// Where bytes leave the deterministic form, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {reason}")]
pub struct CanonicalError {
    /// Offset of the data item at fault, in bytes from the start of the body.
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What a data item does that deterministic form forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes end inside an item.
    #[error("the bytes end inside an item")]
    Truncated,
    /// Bytes follow the one item.
    #[error("bytes follow the item")]
    TrailingBytes,
    /// A length or integer in more bytes than needed.
    #[error("an integer or length is not in its shortest form")]
    NotShortest,
    /// An item of indefinite length, or a stray break.
    #[error("indefinite lengths are not allowed")]
    IndefiniteLength,
    /// Additional information 28 to 30.
    #[error("reserved additional information")]
    Reserved,
    /// A tag.
    #[error("tags are not allowed")]
    Tag,
    /// A floating-point number.
    #[error("floats are not allowed")]
    Float,
    /// A simple value other than `false`, `true`, `null`.
    #[error("simple values other than false, true and null are not allowed")]
    SimpleValue,
    /// A map key that is not an integer.
    #[error("a map key is not an integer")]
    KeyNotInteger,
    /// A map key that does not follow the one before it.
    #[error("map keys are not in ascending order, or repeat")]
    KeyOrder,
    /// Text that is not UTF-8.
    #[error("a text string is not UTF-8")]
    NotUtf8,
    /// More than [`NESTING_MAX`] arrays and maps inside one another.
    #[error("nested deeper than {NESTING_MAX}")]
    TooDeep,
}

#[derive(Clone, Copy)]
enum Major {
    Unsigned,
    Negative,
    Bytes,
    Text,
    Array,
    Map,
    Simple,
}

struct Head {
    major: Major,
    value: u64,
    /// Bytes that the head itself takes: 1 to 9.
    bytes: usize,
}

impl Head {
    fn read(bytes: &[u8], offset: usize) -> Result<Self, CanonicalError> {
        let fail = |reason| Err(CanonicalError { offset, reason });
        let Some((initial, rest)) = bytes.get(offset..).and_then(<[u8]>::split_first) else {
            return fail(Reason::Truncated);
        };
        let info = initial & 0x1f;
        let major = match initial >> 5 {
            0 => Major::Unsigned,
            1 => Major::Negative,
            2 => Major::Bytes,
            3 => Major::Text,
            4 => Major::Array,
            5 => Major::Map,
            6 => return fail(Reason::Tag),
            _ => {
                return match info {
                    20..=22 => Ok(Self {
                        major: Major::Simple,
                        value: 0,
                        bytes: 1,
                    }),
                    25..=27 => fail(Reason::Float),
                    31 => fail(Reason::IndefiniteLength),
                    _ => fail(Reason::SimpleValue),
                };
            }
        };
        // (length of the argument, least value that needs it)
        let (argument, least) = match info {
            0..=23 => {
                return Ok(Self {
                    major,
                    value: u64::from(info),
                    bytes: 1,
                });
            }
            24 => (1usize, 24u64),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            31 if !matches!(major, Major::Unsigned | Major::Negative) => {
                return fail(Reason::IndefiniteLength);
            }
            _ => return fail(Reason::Reserved),
        };
        let Some(argument_bytes) = rest.get(..argument) else {
            return fail(Reason::Truncated);
        };
        let value = argument_bytes
            .iter()
            .fold(0u64, |v, b| (v << 8) | u64::from(*b));
        if value < least {
            return fail(Reason::NotShortest);
        }
        Ok(Self {
            major,
            value,
            bytes: argument.saturating_add(1),
        })
    }

    /// Place of an integer key in the bytewise order of shortest encodings.
    fn key(&self) -> Option<(Keys, u64)> {
        match self.major {
            Major::Unsigned => Some((Keys::Unsigned, self.value)),
            Major::Negative => Some((Keys::Negative, self.value)),
            Major::Bytes | Major::Text | Major::Array | Major::Map | Major::Simple => None,
        }
    }
}

/// An array or map whose items are still being read.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// Items left; keys and values of a map count one each.
    left: u64,
    /// The last key's argument, if `keys` says that there was one.
    last_key: u64,
    keys: Keys,
}

/// What keys an array or map had so far. In the bytewise order of encodings, all negative
/// integers come after all others.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Keys {
    #[default]
    Array,
    EmptyMap,
    Unsigned,
    Negative,
}

#[derive(Default)]
struct Open {
    frames: [Frame; NESTING_MAX],
    depth: usize,
}

impl Open {
    fn top(&mut self) -> Option<&mut Frame> {
        self.frames.get_mut(self.depth.checked_sub(1)?)
    }

    /// Counts an item in the innermost array or map, and checks it if it is a key.
    fn admit(&mut self, head: &Head) -> Result<(), Reason> {
        let Some(frame) = self.top() else {
            return Ok(());
        };
        if frame.keys != Keys::Array && frame.left.is_multiple_of(2) {
            let key = head.key().ok_or(Reason::KeyNotInteger)?;
            // A map that has none yet sorts before every key.
            if (frame.keys, frame.last_key) >= key {
                return Err(Reason::KeyOrder);
            }
            (frame.keys, frame.last_key) = key;
        }
        frame.left = frame.left.saturating_sub(1);
        Ok(())
    }

    fn push(&mut self, head: &Head) -> Result<(), Reason> {
        let map = matches!(head.major, Major::Map);
        // A count that overflows could never be filled by the bytes that are left.
        let left = head
            .value
            .checked_mul(if map { 2 } else { 1 })
            .ok_or(Reason::Truncated)?;
        let frame = self.frames.get_mut(self.depth).ok_or(Reason::TooDeep)?;
        let keys = if map { Keys::EmptyMap } else { Keys::Array };
        *frame = Frame {
            left,
            last_key: 0,
            keys,
        };
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    fn close_finished(&mut self) {
        while self.top().is_some_and(|frame| frame.left == 0) {
            self.depth = self.depth.saturating_sub(1);
        }
    }
}
