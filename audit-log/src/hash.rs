//! The hashes of the log and the only place that knows how each is computed: BLAKE3 for the
//! chain, SHA-256 (RFC 6962) for the tree.

use std::fmt;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// BLAKE3 `derive_key` context of [`ChainHash::genesis`]. Context strings are never reused.
pub const GENESIS_CONTEXT: &str = "tidegate 2026-11 audit genesis v1";
/// BLAKE3 `derive_key` context of [`EntryHash::of`].
pub const ENTRY_CONTEXT: &str = "tidegate 2026-11 audit entry v1";
/// BLAKE3 `derive_key` context of [`ChainHash::next`].
pub const CHAIN_CONTEXT: &str = "tidegate 2026-11 audit chain v1";
/// BLAKE3 `derive_key` context of a detached body's commitment.
pub const DETACHED_CONTEXT: &str = "tidegate 2026-11 audit detached body v1";
/// Length of every hash in the log, in bytes.
pub const HASH_BYTES: usize = 32;

/// A `derive_key` context whose own hash is computed once per process, not once per entry.
struct Context(LazyLock<ContextKey>);

impl Context {
    fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_from_context_key(&self.0)
    }

    fn derive(&self, input: &[u8]) -> [u8; HASH_BYTES] {
        *self.hasher().update(input).finalize().as_bytes()
    }
}

static ENTRY: Context = Context(LazyLock::new(|| hash_derive_key_context(ENTRY_CONTEXT)));
static CHAIN: Context = Context(LazyLock::new(|| hash_derive_key_context(CHAIN_CONTEXT)));

macro_rules! hash_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; HASH_BYTES]);

        impl $name {
            /// The bytes of the hash.
            pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hash_newtype! {
    /// A hash of the Merkle tree: SHA-256 with RFC 6962 prefixes.
    NodeHash
}
hash_newtype! {
    /// A link of the chain: covers every entry up to and including its own.
    ChainHash
}
hash_newtype! {
    /// BLAKE3 of one whole entry, header included.
    EntryHash
}

impl EntryHash {
    /// `DK("tidegate 2026-11 audit entry v1", entry)`.
    pub fn of(entry: &[u8]) -> Self {
        Self(ENTRY.derive(entry))
    }
}

impl ChainHash {
    /// `chain[-1]`: the value that the first entry of the log with this origin cites.
    pub fn genesis(origin: &str) -> Self {
        Self(blake3::derive_key(GENESIS_CONTEXT, origin.as_bytes()))
    }

    /// `chain[i]` from `chain[i-1]` (self) and the hash of entry `i`.
    #[must_use]
    pub fn next(&self, entry: &EntryHash) -> Self {
        let mut link = [0u8; 2 * HASH_BYTES];
        link[..HASH_BYTES].copy_from_slice(&self.0);
        link[HASH_BYTES..].copy_from_slice(&entry.0);
        Self(CHAIN.derive(&link))
    }
}

/// Bytes that SHA-256 compresses at a time. Leaves and nodes go to the compression function
/// directly: the streaming interface copies into a buffer of its own, and costs a verifier, which
/// hashes both once per entry, a tenth of its time.
const BLOCK_BYTES: usize = 64;
/// The SHA-256 initial state (FIPS 180-4 §5.3.3).
const SHA256_INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

impl NodeHash {
    /// The root of the tree without entries: SHA-256 of nothing (RFC 9162 §2.1.1).
    pub fn empty_tree() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// `SHA-256(0x00 ‖ entry)`.
    pub fn leaf(entry: &[u8]) -> Self {
        let mut first = [0u8; BLOCK_BYTES];
        let Some((begin, rest)) = entry.split_first_chunk::<{ BLOCK_BYTES - 1 }>() else {
            return Self(
                Sha256::new()
                    .chain_update([0x00])
                    .chain_update(entry)
                    .finalize()
                    .into(),
            );
        };
        first[1..].copy_from_slice(begin);
        let mut state = SHA256_INITIAL;
        compress256(&mut state, &[first]);
        let (blocks, tail) = rest.as_chunks::<BLOCK_BYTES>();
        compress256(&mut state, blocks);
        finish(state, tail, entry.len().saturating_add(1))
    }

    /// `SHA-256(0x01 ‖ left ‖ right)`: 65 bytes, so always the same two blocks.
    #[must_use]
    pub fn node(left: &NodeHash, right: &NodeHash) -> Self {
        const MESSAGE_BITS: u64 = 8 * (1 + 2 * HASH_BYTES as u64);
        let mut blocks = [[0u8; BLOCK_BYTES]; 2];
        let [first, second] = &mut blocks;
        first[0] = 0x01;
        first[1..33].copy_from_slice(&left.0);
        first[33..].copy_from_slice(&right.0[..31]);
        second[0] = right.0[31];
        second[1] = 0x80;
        second[BLOCK_BYTES - 8..].copy_from_slice(&MESSAGE_BITS.to_be_bytes());
        let mut state = SHA256_INITIAL;
        compress256(&mut state, &blocks);
        Self::of_state(state)
    }

    fn of_state(state: [u32; 8]) -> Self {
        let mut out = [0u8; HASH_BYTES];
        for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        Self(out)
    }
}

/// Bytes that BLAKE3 hashes one block after the other; of longer input it takes parts side by side.
const BLAKE3_CHUNK_BYTES: usize = 1024;

/// Blocks of either hash in one turn of [`leaf_and_entry_hash`]. Measured: one costs more calls than
/// it gains, more overlap less.
const TURN_BLOCKS: usize = 2;

/// The leaf and the hash of an entry that stands right after a byte 0x00: nothing needs to be moved.
///
/// Each step of either hash waits for the step before it, and leaves much of a core idle. Taken in
/// turns, one begins while the other waits: a verifier, which needs both, gets them in nine tenths
/// of the time.
pub(crate) fn leaf_and_entry_hash(prefixed: &[u8]) -> (NodeHash, EntryHash) {
    debug_assert_eq!(prefixed.first(), Some(&0x00));
    let mut entry = prefixed.get(1..).unwrap_or_default();
    let mut hasher = ENTRY.hasher();
    let mut state = SHA256_INITIAL;
    let (blocks, tail) = prefixed.as_chunks::<BLOCK_BYTES>();
    let takes_turns = entry.len() <= BLAKE3_CHUNK_BYTES;
    let (turns, rest) = blocks.as_chunks::<TURN_BLOCKS>();
    for turn in turns {
        compress256(&mut state, turn);
        let next = entry.split_first_chunk::<{ TURN_BLOCKS * BLOCK_BYTES }>();
        if let Some((now, later)) = next.filter(|_| takes_turns) {
            hasher.update(now);
            entry = later;
        }
    }
    compress256(&mut state, rest);
    let leaf = finish(state, tail, prefixed.len());
    (leaf, EntryHash(*hasher.update(entry).finalize().as_bytes()))
}

/// SHA-256's padding (FIPS 180-4 §5.1.1) after the last `tail` bytes of a message of
/// `message_bytes`; `tail` is shorter than a block.
fn finish(mut state: [u32; 8], tail: &[u8], message_bytes: usize) -> NodeHash {
    let bits = u64::try_from(message_bytes)
        .unwrap_or(u64::MAX)
        .saturating_mul(8);
    let mut blocks = [[0u8; BLOCK_BYTES]; 2];
    let padded = blocks.as_flattened_mut().get_mut(..=tail.len());
    if let Some((mark, before)) = padded.and_then(<[u8]>::split_last_mut) {
        before.copy_from_slice(tail);
        *mark = 0x80;
    }
    let length_fits = tail.len() < BLOCK_BYTES - 8;
    let [one, two] = &mut blocks;
    let last = if length_fits { &mut *one } else { two };
    last[BLOCK_BYTES - 8..].copy_from_slice(&bits.to_be_bytes());
    let used = if length_fits {
        &blocks[..1]
    } else {
        &blocks[..]
    };
    compress256(&mut state, used);
    NodeHash::of_state(state)
}

/// Writes lower-case hex.
pub(crate) fn write_hex(f: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_hashed_ahead_give_what_derive_key_gives() {
        for len in [0usize, 1, 63, 64, 65, 1024, 5000] {
            let entry = vec![7u8; len];
            assert_eq!(
                EntryHash::of(&entry).0,
                blake3::derive_key(ENTRY_CONTEXT, &entry)
            );
        }
        let link = ChainHash([1; 32]).next(&EntryHash([2; 32]));
        assert_eq!(
            link.0,
            blake3::derive_key(CHAIN_CONTEXT, &[[1u8; 32], [2; 32]].concat())
        );
    }

    #[test]
    fn direct_compression_is_sha256() {
        let bytes: Vec<u8> = (0..1_400u32)
            .map(|i| i.wrapping_mul(167).to_le_bytes()[1])
            .collect();
        for len in 0..bytes.len() {
            let entry = bytes.get(..len).unwrap();
            let plain = Sha256::digest([&[0u8], entry].concat());
            assert_eq!(NodeHash::leaf(entry).0[..], plain[..], "{len} bytes");
            let (leaf, hash) = leaf_and_entry_hash(&[&[0u8], entry].concat());
            assert_eq!(leaf.0[..], plain[..], "{len} bytes");
            assert_eq!(hash, EntryHash::of(entry), "{len} bytes");
        }
        let (left, right) = (NodeHash([0xab; 32]), NodeHash([0x17; 32]));
        let plain = Sha256::digest([&[1u8][..], &left.0, &right.0].concat());
        assert_eq!(NodeHash::node(&left, &right).0[..], plain[..]);
    }
}
