//! Classes of faults of which one blow is enough.

use super::{Storm, ruin};
use crate::schedule::{Fault, Spot};

/// Fewest voters that operators leave.
const VOTERS_MIN: usize = 3;

pub(super) fn transfer(storm: &mut Storm) -> Option<Fault> {
    let to = storm.named();
    Some(Fault::Transfer { to })
}

pub(super) fn device_power(storm: &mut Storm) -> Option<Fault> {
    let one_in = storm.dice.within(1..6);
    Some(Fault::DevicePower { one_in })
}

pub(super) fn snapshot(storm: &mut Storm) -> Option<Fault> {
    let at = storm.store();
    Some(Fault::Snapshot { at })
}

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
    Some(strand_node(storm, node))
}

fn strand_node(storm: &mut Storm, node: Spot) -> Fault {
    let for_ms = storm.dice.within(9_000..18_000);
    Fault::Cut {
        from: storm.stores.clone(),
        to: vec![node],
        for_ms,
    }
}

/// A store node hears nothing from its peers and goes on talking with everybody else, who may take
/// its word for the cluster's.
pub(super) fn strand_store(storm: &mut Storm) -> Option<Fault> {
    let (at, peers, for_ms) = store_alone(storm);
    Some(Fault::Cut {
        from: peers,
        to: vec![at],
        for_ms,
    })
}

/// As `strand_store`, and its peers hear nothing from it: they may go on without it.
pub(super) fn part_store(storm: &mut Storm) -> Option<Fault> {
    let (at, peers, for_ms) = store_alone(storm);
    Some(Fault::Isolate {
        these: vec![at],
        from: peers,
        for_ms,
    })
}

/// A store node, all others, and for how long the two are apart.
fn store_alone(storm: &mut Storm) -> (Spot, Vec<Spot>, u64) {
    let at = storm.store();
    let peers = storm.stores.iter().filter(|peer| **peer != at);
    let peers = peers.cloned().collect();
    (at, peers, storm.dice.within(2_000..16_000))
}

/// A store node stands still with its clocks: when it goes on, it believes that no time has passed,
/// and whoever asks it may be there before its peers. Decision nodes are spared: their leases rest
/// on a clock that runs.
pub(super) fn suspend(storm: &mut Storm) -> Option<Fault> {
    let at = storm.store();
    let lengths = [500..2_000, 2_000..5_000, 5_000..12_000];
    let length = storm.dice.pick(&lengths)?.clone();
    let for_ms = storm.dice.within(length);
    Some(Fault::Suspend {
        at,
        for_ms,
        apart_ms: storm.dice.below(2_000),
    })
}

/// What a machine hears is old when it comes. What a store node hears comes in time, more often than
/// not, to keep its peers believing in it. A decision node may hear nothing more after that: what it
/// is told last comes when it is no longer true.
pub(super) fn lag(storm: &mut Storm) -> Option<Fault> {
    let (at, extra) = if storm.dice.one_in(3) {
        (storm.store(), 10_000..500_000)
    } else {
        let node = storm.dice.pick(&storm.decisions)?.clone();
        if storm.dice.one_in(2) {
            storm.next = Some(strand_node(storm, node.clone()));
        }
        (node, 100_000..2_600_000)
    };
    Some(Fault::Lag {
        at,
        extra_us: storm.dice.within(extra),
        for_ms: storm.dice.within(3_000..15_000),
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
