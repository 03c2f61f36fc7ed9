use super::*;
use tidegate_domain::command::RegisterVariant;
use tidegate_domain::testing::{Fleet, traits};

use crate::watch::Batch;
use crate::{Manifest, Position};
use tidegate_proto::v1::ResyncReason;

/// A view of the fleet as it is now.
fn view(fleet: &mut Fleet) -> View {
    let rows: Vec<_> = fleet.state.rows().collect();
    let meta = fleet.state.meta();
    let manifest = Manifest {
        origin: meta.origin.clone(),
        position: Position {
            incarnation: meta.incarnation,
            entries: meta.next.0,
        },
        state_root: fleet.state.clone().root(),
        chain_head: fleet.chain,
        log_time: meta.time,
        rows: rows.len() as u64,
        age_ms: None,
    };
    let rows = rows
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()));
    View::new(Fleet::ORIGIN, &manifest, rows.collect()).unwrap()
}

/// So many small commits, each as a batch of its own.
fn commits(fleet: &mut Fleet, numbers: std::ops::Range<u32>) -> Vec<Batch> {
    let one = |number| {
        let from = fleet.state.meta().next.0;
        let traits = traits(&format!("m{number}/r1/eu/c"));
        let applied = fleet.run(RegisterVariant { traits });
        Batch {
            from,
            to: from + 1,
            entries: vec![applied.events().cloned().collect()],
            bytes: 100,
            state_root: Some(fleet.state.root()),
        }
    };
    numbers.map(one).collect()
}

fn all_events(batches: &[Batch]) -> Vec<Event> {
    let entries = batches.iter().flat_map(|batch| &batch.entries);
    entries.flatten().cloned().collect()
}

type Said = Result<WatchUpdate, Interruption>;

/// Gathers from what is there already; answers what is left, too.
fn gathered(view: &mut View, mut there: Vec<Said>) -> (Result<Gathered, ViewError>, usize) {
    let Ok(first) = there.remove(0) else {
        unreachable!("the first was waited for");
    };
    let mut rest = there.into_iter();
    let gathered = gather(view, first, || rest.next());
    (gathered, rest.len())
}

#[test]
fn all_that_has_arrived_is_folded_at_once() {
    let mut fleet = Fleet::new();
    let mut view = view(&mut fleet);
    let batches = commits(&mut fleet, 0..20);
    let expected = all_events(&batches);
    let mut there: Vec<Said> = batches
        .into_iter()
        .map(|b| Ok(WatchUpdate::Batch(b)))
        .collect();
    there.insert(7, Ok(WatchUpdate::Idle));
    let (got, left) = gathered(&mut view, there);
    let got = got.unwrap();
    assert_eq!((got.events, left), (expected, 0));
    assert!(got.interrupted.is_none());
    assert_eq!(view.position().entries, fleet.state.meta().next.0);
}

/// HALT-1: what came first is shown before the rest of a long queue is folded.
#[test]
fn a_long_queue_is_folded_in_pieces() {
    let mut fleet = Fleet::new();
    let mut by_entries = view(&mut fleet);
    let mut by_bytes = view(&mut fleet);
    let entries = u32::try_from(SHOWN_ENTRIES).unwrap();
    let mut batches = commits(&mut fleet, 0..entries + 5);
    let there = |batches: &[Batch]| -> Vec<Said> {
        let update = |batch: &Batch| Ok(WatchUpdate::Batch(batch.clone()));
        batches.iter().map(update).collect()
    };
    let (got, left) = gathered(&mut by_entries, there(&batches));
    assert_eq!(got.unwrap().events, all_events(&batches[..SHOWN_ENTRIES]));
    assert_eq!(left, 5);
    for batch in &mut batches {
        batch.bytes = SHOWN_BYTES / 3 + 1;
    }
    let (got, left) = gathered(&mut by_bytes, there(&batches));
    assert_eq!(got.unwrap().events, all_events(&batches[..3]));
    assert_eq!(left, batches.len() - 3);
}

/// READ-2: the view is past what was folded, so that another node will not send it again.
#[test]
fn what_was_folded_before_an_interruption_is_handed_over() {
    let ends: [fn() -> Said; 2] = [
        || Err(Interruption::Ended("a node".to_owned())),
        || Ok(WatchUpdate::Resync(ResyncReason::TooSlow)),
    ];
    for end in ends {
        let mut fleet = Fleet::new();
        let mut view = view(&mut fleet);
        let batches = commits(&mut fleet, 0..3);
        let expected = all_events(&batches);
        let mut there: Vec<Said> = batches
            .into_iter()
            .map(|b| Ok(WatchUpdate::Batch(b)))
            .collect();
        there.push(end());
        there.push(Err(Interruption::Ended("not asked any more".to_owned())));
        let (got, left) = gathered(&mut view, there);
        let got = got.unwrap();
        assert_eq!((got.events, left), (expected, 1));
        let keeps = end().is_err();
        assert_eq!(got.interrupted.unwrap().keeps_view(), keeps);
    }
}

#[test]
fn a_gap_among_what_has_arrived_is_an_error() {
    let mut fleet = Fleet::new();
    let mut view = view(&mut fleet);
    let mut batches = commits(&mut fleet, 0..3);
    batches.remove(1);
    let there = batches
        .into_iter()
        .map(|b| Ok(WatchUpdate::Batch(b)))
        .collect();
    let (got, _) = gathered(&mut view, there);
    assert!(matches!(got, Err(ViewError::NotNext { .. })), "{got:?}");
}
