//! Classes of faults of which one blow is enough.

use super::{Storm, ruin};
use crate::schedule::Fault;

/// Fewest voters that operators leave.
const VOTERS_MIN: usize = 3;

pub(super) fn snapshot_twice(storm: &mut Storm) -> Option<Fault> {
    let at = storm.store();
    let apart_ms = storm.dice.within(1..400);
    Some(Fault::SnapshotTwice { at, apart_ms })
}

pub(super) fn fail_io(storm: &mut Storm) -> Option<Fault> {
    let (at, reads) = (storm.store(), storm.dice.one_in(2));
    let after = storm.dice.below(60);
    Some(Fault::FailIo { at, reads, after })
}

pub(super) fn misdirect(storm: &mut Storm) -> Option<Fault> {
    let at = ruin(storm)?;
    let after = storm.dice.below(60);
    let sectors = u32::try_from(storm.dice.within(1..64)).ok()?;
    Some(Fault::Misdirect { at, after, sectors })
}

pub(super) fn disconnect(storm: &mut Storm) -> Option<Fault> {
    let at = storm.store();
    Some(Fault::Disconnect { at })
}

pub(super) fn duplicate(storm: &mut Storm) -> Option<Fault> {
    let for_ms = storm.dice.within(2_000..12_000);
    Some(Fault::Duplicate { for_ms })
}

/// A decision node hears nothing from the store for longer than its lease, and devices still reach
/// it: the case for which leases are there.
pub(super) fn strand(storm: &mut Storm) -> Option<Fault> {
    let node = storm.dice.pick(&storm.decisions).cloned()?;
    let for_ms = storm.dice.within(9_000..18_000);
    Some(Fault::Cut {
        from: storm.stores.clone(),
        to: vec![node],
        for_ms,
    })
}

/// A store node hears nothing from its peers and goes on talking with everybody else, who may take
/// its word for the cluster's.
pub(super) fn strand_store(storm: &mut Storm) -> Option<Fault> {
    let at = storm.store();
    let peers = storm.stores.iter().filter(|peer| **peer != at);
    Some(Fault::Cut {
        from: peers.cloned().collect(),
        to: vec![at],
        for_ms: storm.dice.within(2_000..16_000),
    })
}

/// Operators demote a voter, or promote a node that learns; a machine that was replaced meanwhile
/// is neither.
pub(super) fn vote(storm: &mut Storm) -> Option<Fault> {
    let at = storm.named();
    let voter = !storm.voters.contains(&at);
    if voter {
        storm.voters.push(at.clone());
    } else if storm.voters.len() > VOTERS_MIN {
        storm.voters.retain(|other| *other != at);
    } else {
        return None;
    }
    Some(Fault::Vote { at, voter })
}
