//! Other people's code reads what we write: signed_note and tlog_tiles.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use signed_note::{Note, StandardVerifier, VerifierList};
use support::{ExampleLog, cosigned, export, log_key, plain_body, voter_key};
use tidegate_audit_log::directory::MemoryDirectory;
use tidegate_audit_log::note::VerifierKey;
use tidegate_audit_log::{Export, NodeHash, SignedCheckpoint};
use tlog_tiles::{
    Checkpoint, Hash, HashReader as _, Tile, TileHashReader, TileReader, check_record, check_tree,
    prove_record, prove_tree, record_hash, stored_hash_index,
};

#[test]
fn signed_note_accepts_our_checkpoints() {
    let log = ExampleLog::with_entries(5, plain_body);
    let bytes = cosigned(log.checkpoint()).to_string().into_bytes();
    let note = Note::from_bytes(&bytes).unwrap();
    assert_eq!(note.to_bytes(), bytes);
    let verifier = StandardVerifier::new(&log_key().verifier().to_string()).unwrap();
    let (verified, unverified) = note
        .verify(&VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 3));
    assert_eq!(verified[0].id(), log_key().verifier().id().0);

    // Key ids of cosigners are computed as it computes them, over type byte and key.
    let voter = voter_key(1);
    let typed = [&[0x04], voter.verifier().public().as_slice()].concat();
    let name = voter.verifier().name().as_str();
    assert_eq!(voter.verifier().id().0, signed_note::key_id(name, &typed));
    assert_eq!(unverified[0].id(), voter.verifier().id().0);
}

#[test]
fn we_accept_the_examples_of_the_c2sp_pages() {
    // c2sp.org/signed-note and c2sp.org/tlog-checkpoint; the key of the latter is not published.
    let vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let key = VerifierKey::parse(vkey).unwrap();
    assert_eq!(key.to_string(), vkey);
    let parsed = tidegate_audit_log::note::Note::parse(note.as_bytes()).unwrap();
    assert_eq!(key.verify(parsed.text(), &parsed.signatures()[0]), Ok(None));
    assert_eq!(parsed.to_string(), note);

    let checkpoint = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let parsed = SignedCheckpoint::parse(checkpoint.as_bytes()).unwrap();
    assert_eq!(parsed.unverified_claim().size, 20_852_163);
    assert_eq!(parsed.to_string(), checkpoint);
}

/// Gives tlog_tiles the files of an export.
struct ExportTiles(MemoryDirectory);

impl TileReader for ExportTiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let files = self.0.files();
        // Its paths begin with the height, which tlog-tiles fixes at 8 and leaves out.
        let path = |tile: &Tile| tile.path().replacen("tile/8/", "tile/", 1);
        Ok(tiles
            .iter()
            .map(|tile| files[&path(tile)].clone())
            .collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[test]
fn tlog_tiles_reads_our_exports_and_makes_the_same_proofs() {
    // Past the first tile of level 1, so that all three levels of tiles are there.
    let log = ExampleLog::with_entries(66_000, plain_body);
    let directory = export(&log);
    let ours = Export::new(&directory);
    let files = directory.files();

    let text = ours.checkpoint().unwrap();
    let checkpoint = Checkpoint::from_bytes(text.note().text().as_bytes()).unwrap();
    assert_eq!(
        (checkpoint.origin(), checkpoint.size()),
        (support::ORIGIN, 66_000)
    );
    assert_eq!(checkpoint.hash().0, log.head.root().0);
    assert!(files.contains_key("tile/2/000.p/1"));

    let tiles = ExportTiles(MemoryDirectory::from(files));
    let reader = TileHashReader::new(checkpoint.size(), *checkpoint.hash(), &tiles);
    for index in [0, 1, 255, 256, 65_535, 65_536, 65_999] {
        let leaf = reader.read_hashes(&[stored_hash_index(0, index)]).unwrap();
        let entry = ours.entry(index, 66_000).unwrap();
        assert_eq!(leaf, [record_hash(&entry)]);

        let theirs = prove_record(66_000, index, &reader).unwrap();
        let receipt = ours.receipt(index, None).unwrap();
        let same: Vec<NodeHash> = theirs.iter().map(|hash| NodeHash(hash.0)).collect();
        assert_eq!(receipt.path, same);
        check_record(&theirs, 66_000, *checkpoint.hash(), index, leaf[0]).unwrap();
    }
    for old in [1, 255, 256, 300, 65_536, 65_537] {
        let theirs = prove_tree(66_000, old, &reader).unwrap();
        let proof = ours.consistency(old, 66_000).unwrap();
        assert_eq!(
            proof,
            theirs
                .iter()
                .map(|hash| NodeHash(hash.0))
                .collect::<Vec<_>>()
        );
        let root = tidegate_audit_log::tree::root_at(&log.hashes, old).unwrap();
        check_tree(&theirs, 66_000, *checkpoint.hash(), old, Hash(root.0)).unwrap();
    }
}
