//! The state root: a BLAKE3 tree over 65,536 buckets of rows. Only what changed is hashed again.
use crate::id::Hash;
use std::sync::Arc;

/// Buckets of a page, and pages under the top: 8 levels each.
const WIDTH: usize = 256;
/// Stands for what has no rows.
const EMPTY: Hash = Hash([0; 32]);

/// The tree over all rows of a state.
///
/// ```text
/// bucket(key)  = first two bytes of BLAKE3(key), big-endian
/// row          = keyed(K_ROW,    u32be(len(key)) ‖ key ‖ value)
/// bucket hash  = keyed(K_BUCKET, the row hashes of the bucket in key order)   32 zeros if empty
/// node         = keyed(K_NODE,   left ‖ right)                                32 zeros if both are
/// K_x          = BLAKE3 derive_key("tidegate 2026-11 state x v1", "")
/// ```
///
/// The upper 8 of its 16 levels are the top, the lower ones stand in pages. A clone shares each
/// page until one of the two changes it.
#[derive(Clone, Debug)]
pub(crate) struct RootTree {
    keys: Keys,
    /// By the first byte of a bucket's number.
    pages: Vec<Arc<Page>>,
    /// The roots of the pages, and what is above them.
    top: Arc<Levels>,
}

#[derive(Clone, Copy, Debug)]
struct Keys {
    row: [u8; 32],
    bucket: [u8; 32],
    node: [u8; 32],
}

/// 256 buckets, by the second byte of their number, and the nodes above them.
#[derive(Clone, Debug)]
struct Page {
    /// The rows of each bucket, sorted by key.
    buckets: Vec<Vec<Row>>,
    levels: Levels,
    /// Buckets that are to be hashed again.
    touched: [bool; WIDTH],
    /// Whether any is.
    is_touched: bool,
}

#[derive(Clone, Debug)]
struct Row {
    key: Box<[u8]>,
    hash: Hash,
}

/// 256 hashes and the 8 levels of nodes above them, by heap position: 1 is the highest,
/// `WIDTH..2 * WIDTH` are the lowest.
#[derive(Clone, Debug)]
struct Levels([Hash; 2 * WIDTH]);

impl Default for RootTree {
    fn default() -> Self {
        let keys = Keys {
            row: blake3::derive_key("tidegate 2026-11 state row v1", b""),
            bucket: blake3::derive_key("tidegate 2026-11 state bucket v1", b""),
            node: blake3::derive_key("tidegate 2026-11 state node v1", b""),
        };
        let empty = Arc::new(Page {
            buckets: vec![Vec::new(); WIDTH],
            levels: Levels([EMPTY; 2 * WIDTH]),
            touched: [false; WIDTH],
            is_touched: false,
        });
        Self {
            keys,
            pages: vec![empty; WIDTH],
            top: Arc::new(Levels([EMPTY; 2 * WIDTH])),
        }
    }
}

impl RootTree {
    /// Sets the value of a row, or removes it.
    pub(crate) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let hash = value.map(|value| self.keys.row_hash(key, value));
        let [page, bucket, ..] = *blake3::hash(key).as_bytes();
        if let Some(page) = self.pages.get_mut(usize::from(page)) {
            Arc::make_mut(page).set(usize::from(bucket), key, hash);
        }
    }

    /// The root over all rows set so far.
    pub(crate) fn root(&mut self) -> Hash {
        let mut roots = Vec::new();
        for (at, page) in self.pages.iter_mut().enumerate() {
            if page.is_touched {
                roots.push((at, Arc::make_mut(page).root(&self.keys)));
            }
        }
        if roots.is_empty() {
            return self.top.root();
        }
        let top = Arc::make_mut(&mut self.top);
        top.put(&roots, &self.keys);
        top.root()
    }
}

impl Page {
    fn set(&mut self, bucket: usize, key: &[u8], hash: Option<Hash>) {
        let touched = self.touched.get_mut(bucket);
        let (Some(rows), Some(touched)) = (self.buckets.get_mut(bucket), touched) else {
            return;
        };
        (*touched, self.is_touched) = (true, true);
        match (rows.binary_search_by(|row| (*row.key).cmp(key)), hash) {
            (Ok(at), Some(hash)) => {
                if let Some(row) = rows.get_mut(at) {
                    row.hash = hash;
                }
            }
            (Ok(at), None) => {
                rows.remove(at);
            }
            (Err(at), Some(hash)) => rows.insert(
                at,
                Row {
                    key: key.into(),
                    hash,
                },
            ),
            (Err(_), None) => {}
        }
    }

    /// The root over all buckets.
    fn root(&mut self, keys: &Keys) -> Hash {
        let mut hashes = Vec::new();
        let buckets = self.buckets.iter().zip(&mut self.touched).enumerate();
        for (at, (rows, touched)) in buckets {
            if std::mem::take(touched) {
                hashes.push((at, keys.bucket_hash(rows)));
            }
        }
        self.is_touched = false;
        self.levels.put(&hashes, keys);
        self.levels.root()
    }
}

impl Levels {
    /// Puts lowest hashes in place, in ascending order, and hashes the nodes above them again.
    fn put(&mut self, lowest: &[(usize, Hash)], keys: &Keys) {
        let mut level = Vec::with_capacity(lowest.len());
        for (at, hash) in lowest {
            let position = *at | WIDTH;
            if let Some(place) = self.0.get_mut(position) {
                *place = *hash;
            }
            level.push(position);
        }
        while level.first().is_some_and(|position| *position > 1) {
            level.iter_mut().for_each(|position| *position >>= 1);
            level.dedup();
            for position in &level {
                let hash = keys.node_hash(self.get(position << 1), self.get(position << 1 | 1));
                if let Some(place) = self.0.get_mut(*position) {
                    *place = hash;
                }
            }
        }
    }

    fn root(&self) -> Hash {
        self.get(1)
    }

    fn get(&self, position: usize) -> Hash {
        self.0.get(position).copied().unwrap_or(EMPTY)
    }
}

/// Inputs are put together first: one call over all bytes costs half of a hasher fed bit by bit.
impl Keys {
    fn row_hash(&self, key: &[u8], value: &[u8]) -> Hash {
        let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        let row = [&len.to_be_bytes(), key, value].concat();
        Hash(blake3::keyed_hash(&self.row, &row).into())
    }

    fn bucket_hash(&self, rows: &[Row]) -> Hash {
        if rows.is_empty() {
            return EMPTY;
        }
        let hashes: Vec<[u8; 32]> = rows.iter().map(|row| row.hash.0).collect();
        Hash(blake3::keyed_hash(&self.bucket, hashes.as_flattened()).into())
    }

    fn node_hash(&self, left: Hash, right: Hash) -> Hash {
        if left == EMPTY && right == EMPTY {
            return EMPTY;
        }
        let both = [left.0, right.0];
        Hash(blake3::keyed_hash(&self.node, both.as_flattened()).into())
    }
}
