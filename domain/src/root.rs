//! The state root: a BLAKE3 tree over 65,536 buckets of rows. Only touched buckets are hashed again.
use crate::id::Hash;
use std::collections::{BTreeMap, BTreeSet};

/// Levels between a bucket and the root.
const DEPTH: u32 = 16;
/// Number of buckets.
const BUCKETS: u32 = 1 << DEPTH;

/// The tree over all rows of a state.
///
/// ```text
/// bucket(key)  = first two bytes of BLAKE3(key), big-endian
/// row          = keyed(K_ROW,    u32be(len(key)) ‖ key ‖ value)
/// bucket hash  = keyed(K_BUCKET, the row hashes of the bucket in key order)   32 zeros if empty
/// node         = keyed(K_NODE,   left ‖ right)                                32 zeros if both are
/// K_x          = BLAKE3 derive_key("tidegate 2026-11 state x v1", "")
/// ```
#[derive(Clone, Debug)]
pub(crate) struct RootTree {
    keys: Keys,
    /// Row hashes of the buckets that have rows.
    buckets: BTreeMap<u32, BTreeMap<Vec<u8>, Hash>>,
    /// Hashes by heap position: 1 is the root, `BUCKETS..2 * BUCKETS` are buckets. Zeros are absent.
    nodes: BTreeMap<u32, Hash>,
    dirty: BTreeSet<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Keys {
    row: [u8; 32],
    bucket: [u8; 32],
    node: [u8; 32],
}

impl Default for RootTree {
    fn default() -> Self {
        let keys = Keys {
            row: blake3::derive_key("tidegate 2026-11 state row v1", b""),
            bucket: blake3::derive_key("tidegate 2026-11 state bucket v1", b""),
            node: blake3::derive_key("tidegate 2026-11 state node v1", b""),
        };
        Self {
            keys,
            buckets: BTreeMap::new(),
            nodes: BTreeMap::new(),
            dirty: BTreeSet::new(),
        }
    }
}

impl RootTree {
    /// Sets the value of a row, or removes it.
    pub(crate) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let bucket = bucket_of(key);
        self.dirty.insert(bucket);
        match value {
            Some(value) => {
                let hash = self.row_hash(key, value);
                self.buckets
                    .entry(bucket)
                    .or_default()
                    .insert(key.to_vec(), hash);
            }
            None => {
                if let Some(rows) = self.buckets.get_mut(&bucket) {
                    rows.remove(key);
                    if rows.is_empty() {
                        self.buckets.remove(&bucket);
                    }
                }
            }
        }
    }

    /// The root over all rows set so far.
    pub(crate) fn root(&mut self) -> Hash {
        let mut level: BTreeSet<u32> = BTreeSet::new();
        for bucket in std::mem::take(&mut self.dirty) {
            let position = bucket | BUCKETS;
            let hash = self.bucket_hash(bucket);
            self.put(position, hash);
            level.insert(position >> 1);
        }
        while !level.is_empty() {
            let mut above = BTreeSet::new();
            for position in level {
                let hash = self.node_hash(position);
                self.put(position, hash);
                if position > 1 {
                    above.insert(position >> 1);
                }
            }
            level = above;
        }
        self.node(1)
    }

    fn row_hash(&self, key: &[u8], value: &[u8]) -> Hash {
        let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        let mut hasher = blake3::Hasher::new_keyed(&self.keys.row);
        hasher.update(&len.to_be_bytes()).update(key).update(value);
        Hash(hasher.finalize().into())
    }

    fn bucket_hash(&self, bucket: u32) -> Option<Hash> {
        let rows = self.buckets.get(&bucket)?;
        let mut hasher = blake3::Hasher::new_keyed(&self.keys.bucket);
        rows.values().for_each(|row| {
            hasher.update(&row.0);
        });
        Some(Hash(hasher.finalize().into()))
    }

    fn node_hash(&self, position: u32) -> Option<Hash> {
        let left = position << 1;
        let right = left | 1;
        if !self.nodes.contains_key(&left) && !self.nodes.contains_key(&right) {
            return None;
        }
        let mut hasher = blake3::Hasher::new_keyed(&self.keys.node);
        hasher
            .update(&self.node(left).0)
            .update(&self.node(right).0);
        Some(Hash(hasher.finalize().into()))
    }

    fn node(&self, position: u32) -> Hash {
        self.nodes.get(&position).copied().unwrap_or(Hash([0; 32]))
    }

    fn put(&mut self, position: u32, hash: Option<Hash>) {
        match hash {
            Some(hash) => self.nodes.insert(position, hash),
            None => self.nodes.remove(&position),
        };
    }
}

fn bucket_of(key: &[u8]) -> u32 {
    let [high, low, ..] = *blake3::hash(key).as_bytes();
    u32::from(u16::from_be_bytes([high, low]))
}
