//! Trees and proofs: published vectors, the definitions of the RFC executed as they are written,
//! and another library.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use proptest::prelude::*;
use sha2::Sha256;
use support::{dumb_consistency, dumb_path, dumb_root};
use tidegate_audit_log::NodeHash;
use tidegate_audit_log::tiles::{TILE_BYTES, TileId};
use tidegate_audit_log::tree::{
    CompactRange, MemoryHashes, ProofError, TileHashes, TileSource, consistency_proof,
    inclusion_proof, root_at, verify_consistency, verify_inclusion,
};

/// The tree of the Certificate Transparency project's own tests, which every implementation of
/// RFC 6962 repeats (merkletree/merkle_tree_test.cc).
const CT_LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const CT_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const L1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const N23: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const N47: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const L4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const N67: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const N45: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

fn node(hex_digits: &str) -> NodeHash {
    NodeHash(hex::decode(hex_digits).unwrap().try_into().unwrap())
}

struct Tree {
    leaves: Vec<NodeHash>,
    range: CompactRange,
    hashes: MemoryHashes,
}

impl Tree {
    fn of(leaves: impl IntoIterator<Item = NodeHash>) -> Self {
        let leaves: Vec<_> = leaves.into_iter().collect();
        let (mut range, mut hashes) = (CompactRange::new(), MemoryHashes::default());
        for leaf in &leaves {
            range.append(*leaf, |id, hash| hashes.push(id, hash));
        }
        Self {
            leaves,
            range,
            hashes,
        }
    }

    fn of_size(size: u64) -> Self {
        Self::of((0..size).map(|i| NodeHash::leaf(&i.to_be_bytes())))
    }

    fn prefix(&self, size: u64) -> &[NodeHash] {
        &self.leaves[..usize::try_from(size).unwrap()]
    }
}

fn ct_tree() -> Tree {
    Tree::of(
        CT_LEAVES
            .iter()
            .map(|leaf| NodeHash::leaf(&hex::decode(leaf).unwrap())),
    )
}

#[test]
fn published_roots() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(CompactRange::new().root(), node(empty));
    let tree = ct_tree();
    for (size, root) in (1u64..).zip(CT_ROOTS) {
        assert_eq!(root_at(&tree.hashes, size).unwrap(), node(root));
        assert_eq!(
            Tree::of(tree.prefix(size).to_vec()).range.root(),
            node(root)
        );
    }
}

#[test]
fn published_inclusion_proofs() {
    let tree = ct_tree();
    let vectors: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[L1, N23, N47]),
        (5, 8, &[L4, N67, CT_ROOTS[3]]),
        (2, 3, &[CT_ROOTS[1]]),
        (1, 5, &[CT_ROOTS[0], N23, L4]),
    ];
    for (index, size, path) in vectors {
        let path: Vec<_> = path.iter().map(|hash| node(hash)).collect();
        assert_eq!(
            inclusion_proof(&tree.hashes, index, size).unwrap(),
            path,
            "{index} in {size}"
        );
    }
}

#[test]
fn published_consistency_proofs() {
    let tree = ct_tree();
    let vectors: [(u64, u64, &[&str]); 4] = [
        (1, 1, &[]),
        (1, 8, &[L1, N23, N47]),
        (6, 8, &[N45, N67, CT_ROOTS[3]]),
        (2, 5, &[N23, L4]),
    ];
    for (old, new, proof) in vectors {
        let proof: Vec<_> = proof.iter().map(|hash| node(hash)).collect();
        assert_eq!(
            consistency_proof(&tree.hashes, old, new).unwrap(),
            proof,
            "{old} to {new}"
        );
    }
}

#[test]
fn every_proof_of_every_small_tree_is_the_definitions_and_holds() {
    let tree = Tree::of_size(70);
    for size in 0..=70u64 {
        let leaves = tree.prefix(size);
        let root = root_at(&tree.hashes, size).unwrap();
        assert_eq!(root, dumb_root(leaves));
        for index in 0..size {
            let path = inclusion_proof(&tree.hashes, index, size).unwrap();
            let place = usize::try_from(index).unwrap();
            assert_eq!(path, dumb_path(place, leaves));
            assert_eq!(
                verify_inclusion(leaves[place], index, size, &path, &root),
                Ok(())
            );
        }
        for old in 0..=size {
            let proof = consistency_proof(&tree.hashes, old, size).unwrap();
            let old_root = dumb_root(tree.prefix(old));
            if old > 0 {
                let dumb = dumb_consistency(usize::try_from(old).unwrap(), leaves, true);
                assert_eq!(proof, dumb, "{old} to {size}");
            }
            assert_eq!(
                verify_consistency((old, &old_root), (size, &root), &proof),
                Ok(())
            );
        }
    }
}

#[test]
fn a_proof_holds_for_nothing_but_what_it_proves() {
    let tree = Tree::of_size(33);
    let roots: Vec<_> = (0..=33)
        .map(|size| root_at(&tree.hashes, size).unwrap())
        .collect();
    let root = |size: u64| &roots[usize::try_from(size).unwrap()];
    for size in 1..=33u64 {
        for index in 0..size {
            let path = inclusion_proof(&tree.hashes, index, size).unwrap();
            for other in (0..size + 2).filter(|other| *other != index) {
                let leaf = tree.leaves[usize::try_from(index).unwrap()];
                assert!(verify_inclusion(leaf, other, size, &path, root(size)).is_err());
            }
        }
        for old in 1..size {
            let proof = consistency_proof(&tree.hashes, old, size).unwrap();
            for other in (1..=size).filter(|other| *other != old) {
                let claim = verify_consistency((other, root(old)), (size, root(size)), &proof);
                assert!(claim.is_err(), "{old} as {other} in {size}");
                let forged = verify_consistency((old, root(other)), (size, root(size)), &proof);
                assert!(forged.is_err());
            }
        }
    }
}

proptest! {
    #[test]
    fn a_proof_with_anything_changed_fails(
        size in 1u64..2000, place: prop::sample::Index, hash: prop::sample::Index,
        bit in 0usize..256, cut: bool,
    ) {
        let tree = Tree::of_size(size);
        let root = tree.range.root();
        let index = u64::try_from(place.index(tree.leaves.len())).unwrap();
        let leaf = tree.leaves[place.index(tree.leaves.len())];
        let good = inclusion_proof(&tree.hashes, index, size).unwrap();
        let longer = [good.as_slice(), &[leaf]].concat();
        prop_assert_eq!(
            verify_inclusion(leaf, index, size, &longer, &root), Err(ProofError::Length)
        );
        let old = index + 1;
        let old_root = root_at(&tree.hashes, old).unwrap();
        let consistency = consistency_proof(&tree.hashes, old, size).unwrap();
        for proof in [&good, &consistency] {
            if proof.is_empty() { continue }
            let mut bad = proof.clone();
            let at = hash.index(bad.len());
            if cut { bad.remove(at); } else { bad[at].0[bit / 8] ^= 1 << (bit % 8); }
            if std::ptr::eq(proof, &good) {
                prop_assert!(verify_inclusion(leaf, index, size, &bad, &root).is_err());
            } else {
                let claim = verify_consistency((old, &old_root), (size, &root), &bad);
                prop_assert!(claim.is_err());
            }
        }
    }

    /// Tiles give the same proofs as all hashes do, across tile borders.
    #[test]
    fn proofs_from_tiles_are_those_from_all_hashes(
        size in 1u64..70_000, index: prop::sample::Index, old: prop::sample::Index,
    ) {
        let tree = Tree::of_size(size);
        let tiles = TileHashes::new(TilesOf(&tree), size);
        let index = u64::try_from(index.index(tree.leaves.len())).unwrap();
        let old = 1 + u64::try_from(old.index(tree.leaves.len())).unwrap();
        prop_assert_eq!(root_at(&tiles, size).unwrap(), tree.range.root());
        prop_assert_eq!(
            inclusion_proof(&tiles, index, size).unwrap(),
            inclusion_proof(&tree.hashes, index, size).unwrap()
        );
        prop_assert_eq!(
            consistency_proof(&tiles, old, size).unwrap(),
            consistency_proof(&tree.hashes, old, size).unwrap()
        );
        prop_assert_eq!(CompactRange::from_reader(&tiles, size).unwrap(), tree.range);
    }

    #[test]
    fn ct_merkle_makes_and_accepts_the_same_proofs(
        size in 1usize..600, index: prop::sample::Index, old: prop::sample::Index,
    ) {
        let mut theirs = MemoryBackedTree::<Sha256, [u8; 8]>::new();
        (0..size).for_each(|i| theirs.push(u64::try_from(i).unwrap().to_be_bytes()));
        let size = u64::try_from(size).unwrap();
        let ours = Tree::of_size(size);
        prop_assert_eq!(theirs.root().as_bytes()[..].to_vec(), ours.range.root().0.to_vec());

        let place = index.index(ours.leaves.len());
        let index = u64::try_from(place).unwrap();
        let path = inclusion_proof(&ours.hashes, index, size).unwrap();
        let bytes: Vec<u8> = path.iter().flat_map(|hash| hash.0).collect();
        let same = theirs.prove_inclusion(place).as_bytes() == bytes.as_slice();
        prop_assert!(same);
        let proof = InclusionProof::<Sha256>::try_from_bytes(bytes).unwrap();
        prop_assert!(theirs.root().verify_inclusion(&index.to_be_bytes(), index, &proof).is_ok());

        let old = old.index(ours.leaves.len()) + 1;
        let additions = ours.leaves.len() - old;
        let proof = consistency_proof(&ours.hashes, u64::try_from(old).unwrap(), size).unwrap();
        let bytes: Vec<u8> = proof.iter().flat_map(|hash| hash.0).collect();
        if additions > 0 {
            let same = theirs.prove_consistency(additions).as_bytes() == bytes.as_slice();
            prop_assert!(same);
            let mut prefix = MemoryBackedTree::<Sha256, [u8; 8]>::new();
            (0..old).for_each(|i| prefix.push(u64::try_from(i).unwrap().to_be_bytes()));
            let proof = ConsistencyProof::<Sha256>::try_from_bytes(bytes).unwrap();
            prop_assert!(theirs.root().verify_consistency(&prefix.root(), &proof).is_ok());
        }
    }

    #[test]
    fn a_compact_range_survives_storage(size in 0u64..3000) {
        let tree = Tree::of_size(size);
        let stored = tree.range.to_bytes();
        prop_assert_eq!(stored.len(), 8 + 32 * usize::try_from(size.count_ones()).unwrap());
        prop_assert_eq!(CompactRange::from_bytes(&stored).unwrap(), tree.range);
        for wrong in [&stored[1..], &stored[..stored.len() - 1]] {
            prop_assert!(CompactRange::from_bytes(wrong).is_err());
        }
    }
}

/// Cuts tiles out of a tree that has all hashes.
struct TilesOf<'a>(&'a Tree);

impl TileSource for TilesOf<'_> {
    type Error = std::convert::Infallible;

    fn tile(&self, tile: TileId) -> Result<Vec<u8>, Self::Error> {
        use tidegate_audit_log::tree::{HashReader as _, NodeId};
        let hash = |i: u64| {
            let id = NodeId {
                level: 8 * tile.level,
                index: 256 * tile.index + i,
            };
            self.0.hashes.node(id).unwrap().0
        };
        let bytes: Vec<u8> = (0..u64::from(tile.width)).flat_map(hash).collect();
        assert!(bytes.len() <= TILE_BYTES);
        Ok(bytes)
    }
}
