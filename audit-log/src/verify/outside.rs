//! Compares the export with checkpoints that the auditor knows from elsewhere. The export's
//! tiles have been verified by now, so roots of its earlier sizes can be computed from them.

use super::report::{Fault, FirstBad};
use super::{Known, Stop};
use crate::checkpoint::Checkpoint;
use crate::directory::Directory;
use crate::export::{CHECKPOINT_PATH, Export, ExportError};
use crate::tree::{ReadError, root_at, verify_consistency};

pub(super) fn check<D: Directory + ?Sized>(
    directory: &D,
    checkpoint: &Checkpoint,
    known: &[Known],
) -> Result<(), Stop> {
    let mut by_size: Vec<&Known> = known.iter().collect();
    by_size.sort_by_key(|known| known.checkpoint.size);
    // Entries below this size are those of a known checkpoint: a fork can only lie after them.
    let mut agreed = 0u64;
    for Known {
        checkpoint: known,
        proof,
    } in by_size
    {
        let bad = |index, what| {
            let file = Some(CHECKPOINT_PATH.to_owned());
            Stop::Bad(Box::new(FirstBad { index, file, what }))
        };
        if known.origin != checkpoint.origin {
            return Err(bad(
                0,
                Fault::OtherLog {
                    known: known.origin.to_string(),
                },
            ));
        }
        let forked = Fault::Forked {
            known_size: known.size,
        };
        if known.size <= checkpoint.size {
            let root = root_at(&Export::new(directory).hashes(checkpoint.size), known.size);
            if root.map_err(changed_meanwhile)? != known.root {
                return Err(bad(agreed, forked));
            }
            agreed = known.size;
            continue;
        }
        let Some(proof) = proof else {
            return Err(bad(
                checkpoint.size,
                Fault::Truncated {
                    known_size: known.size,
                },
            ));
        };
        let (old, new) = (
            (checkpoint.size, &checkpoint.root),
            (known.size, &known.root),
        );
        if verify_consistency(old, new, proof).is_err() {
            return Err(bad(agreed, forked));
        }
    }
    Ok(())
}

/// The tiles were read and verified a moment ago: if they cannot be read now, someone is
/// changing the export, which says nothing about the log.
fn changed_meanwhile(error: ReadError<Box<ExportError>>) -> Stop {
    Stop::unreadable("tile", std::io::Error::other(error))
}
