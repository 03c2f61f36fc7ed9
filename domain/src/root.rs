//! The state root: a BLAKE3 tree over 65,536 buckets of rows. Only what changed is hashed again.
use crate::id::Hash;
use std::sync::Arc;

/// Children of a node: what four bits of a bucket's number can say.
const WIDTH: usize = 16;
/// Stands for what has no rows.
const EMPTY: Hash = Hash([0; 32]);
/// Above what has no rows.
const BARE: Node = Node {
    hash: EMPTY,
    touched: false,
};

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
/// Its 16 levels stand in pages of 4 each. What has no rows has no page, and a clone shares each
/// page until one of the two changes it.
#[derive(Clone, Debug)]
pub(crate) struct RootTree {
    keys: Keys,
    top: Option<Arc<Page>>,
}

#[derive(Clone, Copy, Debug)]
struct Keys {
    row: [u8; 32],
    bucket: [u8; 32],
    node: [u8; 32],
}

/// Four levels of nodes, and what hangs below the lowest.
#[derive(Clone, Debug)]
struct Page {
    below: Below,
    /// By heap position: 1 is the highest, `WIDTH..2 * WIDTH` are the lowest.
    nodes: [Node; 2 * WIDTH],
}

#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a page is three times as large anyway, and half of all pages hold buckets"
)]
enum Below {
    Pages([Option<Arc<Page>>; WIDTH]),
    /// The rows of each bucket, sorted by key.
    Buckets([Vec<Row>; WIDTH]),
}

#[derive(Clone, Debug)]
struct Row {
    key: Box<[u8]>,
    hash: Hash,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    hash: Hash,
    /// It is to be hashed again. The highest one of a page is so whenever any is.
    touched: bool,
}

impl Default for RootTree {
    fn default() -> Self {
        let keys = Keys {
            row: blake3::derive_key("tidegate 2026-11 state row v1", b""),
            bucket: blake3::derive_key("tidegate 2026-11 state bucket v1", b""),
            node: blake3::derive_key("tidegate 2026-11 state node v1", b""),
        };
        Self { keys, top: None }
    }
}

impl RootTree {
    /// Sets the value of a row, or removes it.
    pub(crate) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let hash = value.map(|value| self.keys.row_hash(key, value));
        let [high, low, ..] = *blake3::hash(key).as_bytes();
        let way = [high >> 4, high & 15, low >> 4, low & 15].map(usize::from);
        page(&mut self.top, &way).set(&way, key, hash);
    }

    /// The root over all rows set so far.
    pub(crate) fn root(&mut self) -> Hash {
        self.top.as_mut().map_or(EMPTY, |top| root(top, &self.keys))
    }
}

/// The page in a place for change, on the way to a bucket from there.
fn page<'a>(place: &'a mut Option<Arc<Page>>, way: &[usize]) -> &'a mut Page {
    let empty = || {
        let below = match way {
            [_] => Below::Buckets(Default::default()),
            _ => Below::Pages(Default::default()),
        };
        Arc::new(Page {
            below,
            nodes: [BARE; 2 * WIDTH],
        })
    };
    Arc::make_mut(place.get_or_insert_with(empty))
}

/// The root over a page and all below it. One that did not change stays shared.
fn root(page: &mut Arc<Page>, keys: &Keys) -> Hash {
    if !page.node(1).touched {
        return page.node(1).hash;
    }
    let page = Arc::make_mut(page);
    page.follow(keys);
    page.rise(keys);
    page.node(1).hash
}

impl Page {
    fn set(&mut self, way: &[usize], key: &[u8], hash: Option<Hash>) {
        let Some((at, way)) = way.split_first() else {
            return;
        };
        for position in [1, at | WIDTH] {
            if let Some(node) = self.nodes.get_mut(position) {
                node.touched = true;
            }
        }
        match &mut self.below {
            Below::Pages(pages) => {
                if let Some(below) = pages.get_mut(*at) {
                    page(below, way).set(way, key, hash);
                }
            }
            Below::Buckets(buckets) => {
                if let Some(rows) = buckets.get_mut(*at) {
                    set_row(rows, key, hash);
                }
            }
        }
    }

    /// Hashes the lowest nodes again whose pages or buckets changed.
    fn follow(&mut self, keys: &Keys) {
        let lowest = self.nodes.iter_mut().skip(WIDTH);
        match &mut self.below {
            Below::Pages(pages) => {
                for (node, page) in lowest.zip(pages).filter(|(node, _)| node.touched) {
                    node.hash = page.as_mut().map_or(EMPTY, |page| root(page, keys));
                }
            }
            Below::Buckets(buckets) => {
                for (node, rows) in lowest.zip(buckets).filter(|(node, _)| node.touched) {
                    node.hash = keys.bucket_hash(rows);
                }
            }
        }
    }

    /// Hashes the nodes above again.
    fn rise(&mut self, keys: &Keys) {
        for position in (1..WIDTH).rev() {
            let (left, right) = (self.node(position << 1), self.node(position << 1 | 1));
            let touched = left.touched || right.touched;
            if let Some(node) = self.nodes.get_mut(position).filter(|_| touched) {
                let hash = keys.node_hash(left.hash, right.hash);
                *node = Node { hash, touched };
            }
        }
        self.nodes.iter_mut().for_each(|node| node.touched = false);
    }

    fn node(&self, position: usize) -> Node {
        self.nodes.get(position).copied().unwrap_or(BARE)
    }
}

fn set_row(rows: &mut Vec<Row>, key: &[u8], hash: Option<Hash>) {
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
