//! Walks the entries in order, each against its leaf, its place and the chain.

use super::contents::Contents;
use super::frames::Frames;
use super::report::{Fault, Report};
use super::tower::Tower;
use super::{BodyVerifier, Options, Stop};
use crate::checkpoint::Checkpoint;
use crate::directory::Directory;
use crate::entry::{Entry, EntryError, Kind};
use crate::export::CHECKPOINT_PATH;
use crate::hash::{ChainHash, EntryHash, leaf_and_entry_hash};
use crate::tiles::{BundleId, LevelTiles, tiles_at_level};

/// Bundles between two reports of progress.
const PROGRESS_BUNDLES: u64 = 64;

pub(super) fn walk<D: Directory + ?Sized>(
    directory: &D,
    checkpoint: &Checkpoint,
    options: &Options<'_>,
    bodies: &mut dyn BodyVerifier,
    report: &mut Report,
) -> Result<(), Stop> {
    let genesis = ChainHash::genesis(checkpoint.origin.as_str());
    let mut links = Links {
        chain: genesis,
        entries: 0,
        last: (0, 0, 0),
    };
    let bundles = tiles_at_level(checkpoint.size, 0);
    let mut contents = Contents::new(directory, bundles, options.allow_absent_detached, bodies);
    let mut tower = Tower::new(directory, checkpoint);
    let mut frames = Frames::new();
    let mut walked = Ok(());
    for index in 0..bundles.count() {
        let bundle = bundle(bundles, index);
        walked = walk_bundle(bundle, &mut tower, &mut frames, &mut links, &mut contents);
        report.entries = links.entries;
        if walked.is_err() {
            break;
        }
        if let Some(progress) = options
            .progress
            .filter(|_| index.is_multiple_of(PROGRESS_BUNDLES))
        {
            progress(report.entries);
        }
    }
    let walked = first(walked, contents.finish());
    if let Err(Stop::Bad(bad)) = &walked {
        report.entries = report.entries.min(bad.index.saturating_add(1));
    }
    report.head = Some(links.chain);
    contents.count_into(report);
    walked?;
    let computed = tower.root();
    if computed == checkpoint.root {
        Ok(())
    } else {
        // Signed, but not of these entries, which are sound among themselves.
        Err(Stop::bad(0, CHECKPOINT_PATH, Fault::Root { computed }))
    }
}

/// What to say of a walk if bodies that were kept for later were looked into after it: the first bad
/// entry, and before that of a disk that failed.
fn first(walked: Result<(), Stop>, later: Result<(), Stop>) -> Result<(), Stop> {
    match (walked, later) {
        (Ok(()), later) => later,
        (Err(Stop::Bad(bad)), Err(Stop::Bad(body))) if body.index < bad.index => {
            Err(Stop::Bad(body))
        }
        (walked, _) => walked,
    }
}

/// The bundle of this number.
pub(super) fn bundle(bundles: LevelTiles, index: u64) -> BundleId {
    BundleId {
        index,
        width: bundles.width(index).unwrap_or(0),
    }
}

fn walk_bundle<D: Directory + ?Sized>(
    bundle: BundleId,
    tower: &mut Tower<'_, D>,
    frames: &mut Frames,
    links: &mut Links,
    contents: &mut Contents<'_, D>,
) -> Result<(), Stop> {
    tower.enter(bundle.index)?;
    let path = bundle.path();
    let first = bundle.first_entry();
    let opened = contents.directory.open(&path);
    let opened = opened.map_err(|source| Stop::unreadable(&path, source))?;
    let mut opened = opened.ok_or_else(|| Stop::bad(first, &path, Fault::Missing))?;
    frames.clear();
    let mut index = first;
    for leaf in tower.leaves() {
        let frame = frames.next(&mut opened);
        let frame = frame.map_err(|source| Stop::unreadable(&path, source))?;
        let bad = |fault: Fault| Stop::bad(index, &path, fault);
        let prefixed = frame.ok_or_else(|| bad(Fault::BundleEnds))?;
        let bytes = prefixed.get(1..).unwrap_or_default();
        let entry = in_place(bytes, index).map_err(bad)?;
        let (own_leaf, hash) = leaf_and_entry_hash(prefixed);
        if own_leaf != *leaf {
            return Err(if tower.leaves_are_suspect() {
                Stop::bad(index, tower.leaves_path(), Fault::TileLeaf)
            } else {
                bad(match entry {
                    Place::Known(_) => Fault::Leaf,
                    Place::Opaque { version } => EntryError::Version { found: version }.into(),
                })
            });
        }
        links.follow(&entry, &hash).map_err(bad)?;
        match entry {
            Place::Known(entry) => contents.check(&entry, &path)?,
            Place::Opaque { version } => contents.count_opaque(version, Kind(0), false),
        }
        index = index.saturating_add(1);
    }
    let at_end = frames.is_at_end(&mut opened);
    if !at_end.map_err(|source| Stop::unreadable(&path, source))? {
        return Err(Stop::bad(index, &path, Fault::BundleTrailing));
    }
    tower.leave()
}

/// What stands in a place of the log.
enum Place<'a> {
    Known(Entry<'a>),
    /// An entry of a layout that this build does not know: hashes are all that can be checked.
    Opaque {
        version: u8,
    },
}

fn in_place(bytes: &[u8], index: u64) -> Result<Place<'_>, Fault> {
    match Entry::parse(bytes) {
        Ok(entry) if entry.header.index == index => Ok(Place::Known(entry)),
        Ok(entry) => Err(Fault::Index {
            found: entry.header.index,
        }),
        Err(EntryError::Version { found }) => Ok(Place::Opaque { version: found }),
        Err(error) => Err(error.into()),
    }
}

/// The chain, and the header fields that never fall.
struct Links {
    chain: ChainHash,
    entries: u64,
    /// Of the last entry: Raft term, log time, key epoch.
    last: (u64, u64, u32),
}

impl Links {
    fn follow(&mut self, entry: &Place<'_>, hash: &EntryHash) -> Result<(), Fault> {
        if let Place::Known(entry) = entry {
            let header = &entry.header;
            if header.prev_chain != self.chain {
                return Err(Fault::PrevChain {
                    expected: self.chain,
                });
            }
            let (raft_term, t_ms, key_epoch) = self.last;
            self.last = (header.raft_term, header.t_ms, header.key_epoch);
            if header.raft_term < raft_term {
                return Err(Fault::RanBack { field: "raft_term" });
            }
            if header.t_ms < t_ms {
                return Err(Fault::RanBack { field: "t_ms" });
            }
            if header.key_epoch < key_epoch {
                return Err(Fault::RanBack { field: "key_epoch" });
            }
        }
        self.chain = self.chain.next(hash);
        self.entries = self.entries.saturating_add(1);
        Ok(())
    }
}
