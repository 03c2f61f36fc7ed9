//! From the faults that a file names to those of a schedule.

use serde_saphyr::{Location, Spanned};

use super::file::{Access, Clock, Database, Halt, Name, OneFor, Strike};
use super::units::Length;
use super::{Problem, Read, known};
use crate::schedule::{Fault, Spot, Timed, WorldSpec};

/// Bytes that a full disk has left.
const FREE_BYTES: u64 = 16_384;
/// A disk that fails does so at the sync after so many.
const AFTER_SYNCS: u64 = 3;
/// Power fails, or a read or write does, at the one after so many.
const AFTER_CHANGES: u64 = 40;
/// A misdirected write lands so many sectors further back.
const SECTORS_BACK: u32 = 8;

/// A fault of a machine that lasts some ms.
type Lasting = fn(Spot, u64) -> Fault;
/// A single blow to a machine.
type Single = fn(Spot) -> Fault;

/// The word for a class of faults, as entries with a time have it.
pub(super) fn word(class: &str) -> String {
    match class {
        "crash" => "power-loss".to_owned(),
        "failed I/O" => "failed-io".to_owned(),
        other => other.replace(' ', "-"),
    }
}

/// The faults of one entry: one, or several that strike at once.
pub(super) fn faults(
    strike: &Spanned<Strike>,
    world: &WorldSpec,
    round_ms: u64,
) -> Read<Vec<Timed>> {
    let (place, strike) = (strike.referenced, &strike.value);
    let names = Names::of(world);
    let named = named(strike, &names, place)?;
    let [faults] = <[Vec<Fault>; 1]>::try_from(named)
        .map_err(|named| Problem::at(place, format!("{} faults here, not one", named.len())))?;
    let at_ms = strike.at.0;
    if faults.iter().any(does_nothing) {
        return Err(Problem::at(place, "it changes nothing, or lasts no time"));
    }
    if let Some(late) = faults
        .iter()
        .find(|fault| at_ms + fault.for_ms() > round_ms)
    {
        let (ends, round) = (Length(at_ms + late.for_ms()), Length(round_ms));
        let message = format!("it would end at {ends}, after the round of {round}");
        return Err(Problem::at(place, message));
    }
    let timed = |fault| Timed { at_ms, fault };
    Ok(faults.into_iter().map(timed).collect())
}

/// Whether a fault could as well be left out.
fn does_nothing(fault: &Fault) -> bool {
    match fault {
        // A process that starts again at once is another one.
        Fault::Crash { .. } | Fault::Kill { .. } | Fault::Restart { .. } => false,
        Fault::Loss { ppm: 0, .. }
        | Fault::Delay { extra_us: 0, .. }
        | Fault::Lag { extra_us: 0, .. } => true,
        Fault::Clock {
            rate_ppm: 1_000_000,
            wall_ms: 0,
            ..
        } => true,
        // The end of the file has no bit.
        Fault::FlipBit { place_ppm, .. } => *place_ppm >= 1_000_000,
        other => other.clone().length_mut().is_some_and(|ms| *ms == 0),
    }
}

/// What there is to name.
struct Names<'a> {
    world: &'a WorldSpec,
    nodes: Vec<String>,
}

impl<'a> Names<'a> {
    fn of(world: &'a WorldSpec) -> Self {
        let stores = world.stores();
        let mut nodes = vec![Spot::LEADER.to_owned()];
        nodes.extend(stores.iter().map(|store| Spot::store(store.id).0));
        nodes.extend((1..=world.decision_nodes()).map(|number| Spot::decision(number).0));
        Self { world, nodes }
    }

    fn node(&self, name: &Name) -> Read<Spot> {
        let all: Vec<&str> = self.nodes.iter().map(String::as_str).collect();
        known(name, "node", &all)?;
        Ok(Spot(name.value.clone()))
    }

    fn store(&self, name: &Name) -> Read<Spot> {
        let stores = self.nodes.iter().filter(|name| !name.starts_with('d'));
        let stores: Vec<&str> = stores.map(String::as_str).collect();
        known(name, "store node", &stores)?;
        Ok(Spot(name.value.clone()))
    }

    fn nodes(&self, names: &[Name]) -> Read<Vec<Spot>> {
        names.iter().map(|name| self.node(name)).collect()
    }

    /// All nodes of a region.
    fn region(&self, name: &Name) -> Read<Vec<Spot>> {
        let regions = &self.world.regions;
        let all: Vec<&str> = regions.iter().map(|r| r.name.as_str()).collect();
        known(name, "region", &all)?;
        let stores = self.world.stores().into_iter();
        let stores = stores.filter(|store| store.region == name.value);
        let mut spots: Vec<Spot> = stores.map(|store| Spot::store(store.id)).collect();
        let mut number = 0;
        for region in regions {
            for _ in 0..region.decision_nodes {
                number += 1;
                if region.name == name.value {
                    spots.push(Spot::decision(number));
                }
            }
        }
        if spots.is_empty() {
            let message = format!("the region `{}` has no nodes", name.value);
            return Err(Problem::at(name.referenced, message));
        }
        Ok(spots)
    }

    fn group(&self, nodes: &[Name], region: Option<&Name>, place: Location) -> Read<Vec<Spot>> {
        match (nodes, region) {
            ([], Some(region)) => self.region(region),
            ([_, ..], None) => self.nodes(nodes),
            _ => Err(Problem::at(place, "name either `nodes` or a `region`")),
        }
    }
}

/// Every fault that the entry names.
fn named(strike: &Strike, names: &Names<'_>, place: Location) -> Read<Vec<Vec<Fault>>> {
    let mut all = of_machines(strike, names)?;
    all.extend(single_blows(strike, names)?);
    all.extend(of_stores(strike, names)?);
    all.extend(of_files(strike, names)?);
    all.extend(of_everywhere(strike).map(|fault| vec![fault]));
    if let Some(outage) = &strike.region_outage {
        let for_ms = outage.length.0;
        let crash = |at| Fault::Crash { at, for_ms };
        all.push(
            names
                .region(&outage.region)?
                .into_iter()
                .map(crash)
                .collect(),
        );
    }
    if let Some(group) = &strike.partition {
        let these = names.group(&group.nodes, group.region.as_ref(), place)?;
        let for_ms = group.length.0;
        all.push(vec![Fault::Isolate {
            these,
            from: Vec::new(),
            for_ms,
        }]);
    }
    if let Some(cut) = &strike.one_way_cut {
        let (from, to) = (names.nodes(&cut.from)?, names.nodes(&cut.to)?);
        let for_ms = cut.length.0;
        if !from.iter().any(|from| to.iter().any(|to| from != to)) {
            let message = "a cut goes `from` some nodes `to` others";
            return Err(Problem::at(place, message));
        }
        all.push(vec![Fault::Cut { from, to, for_ms }]);
    }
    if let Some(flap) = &strike.flapping {
        all.push(vec![Fault::Flap {
            these: names.group(&flap.nodes, flap.region.as_ref(), place)?,
            period_ms: flap.period.0.max(2),
            for_ms: flap.length.0,
        }]);
    }
    if let Some(power) = &strike.device_power {
        let one_in = power.one_in;
        if one_in == 0 {
            return Err(Problem::at(place, "one device in 0 is none"));
        }
        all.push(vec![Fault::DevicePower { one_in }]);
    }
    if let Some(Halt::Running) = strike.halt {
        all.push(vec![Fault::Halt]);
    }
    Ok(all)
}

/// Faults of no place.
fn of_everywhere(strike: &Strike) -> impl Iterator<Item = Fault> {
    let loss = strike.loss.as_ref().map(|loss| Fault::Loss {
        ppm: loss.share.0,
        for_ms: loss.length.0,
    });
    let delay = strike.delay.as_ref().map(|delay| Fault::Delay {
        extra_us: delay.up_to.0 * 1_000,
        for_ms: delay.length.0,
    });
    let duplication = strike.duplication.as_ref();
    let duplication = duplication.map(|duplication| Fault::Duplicate {
        for_ms: duplication.length.0,
    });
    [loss, delay, duplication].into_iter().flatten()
}

/// Faults of one machine.
fn of_machines(strike: &Strike, names: &Names<'_>) -> Read<Vec<Vec<Fault>>> {
    let mut all = Vec::new();
    let lasting: [(_, Lasting); 4] = [
        (&strike.power_loss, |at, for_ms| Fault::Crash { at, for_ms }),
        (&strike.kill, |at, for_ms| Fault::Kill { at, for_ms }),
        (&strike.restart, |at, for_ms| Fault::Restart { at, for_ms }),
        (&strike.pause, |at, for_ms| Fault::Pause { at, for_ms }),
    ];
    for (one, make) in lasting {
        if let Some(OneFor { node, length }) = one {
            all.push(vec![make(names.node(node)?, length.0)]);
        }
    }
    let stores: [(_, Lasting); 3] = [
        (&strike.suspension, |at, for_ms| Fault::Suspend {
            at,
            for_ms,
            apart_ms: 0,
        }),
        (&strike.full_disk, |at, for_ms| Fault::FullDisk {
            at,
            free_bytes: FREE_BYTES,
            for_ms,
        }),
        (&strike.torn_write, |at, for_ms| Fault::TearPower {
            at,
            after: AFTER_CHANGES,
            for_ms,
        }),
    ];
    for (one, make) in stores {
        if let Some(OneFor { node, length }) = one {
            all.push(vec![make(names.store(node)?, length.0)]);
        }
    }
    if let Some(slow) = &strike.slow_disk {
        all.push(vec![Fault::SlowDisk {
            at: names.store(&slow.node)?,
            sync_us: slow.sync.0 * 1_000,
            for_ms: slow.length.0,
        }]);
    }
    if let Some(lag) = &strike.lag {
        all.push(vec![Fault::Lag {
            at: names.node(&lag.node)?,
            extra_us: lag.by.0 * 1_000,
            for_ms: lag.length.0,
        }]);
    }
    if let Some(clock) = &strike.clock {
        all.push(vec![skew(clock, names.node(&clock.node)?)?]);
    }
    Ok(all)
}

/// Single blows to one store node.
fn single_blows(strike: &Strike, names: &Names<'_>) -> Read<Vec<Vec<Fault>>> {
    let mut all = Vec::new();
    let single: [(_, Single); 8] = [
        (&strike.replace, |at| Fault::Replace { at }),
        (&strike.failed_sync, |at| Fault::FailSync {
            at,
            after: AFTER_SYNCS,
        }),
        (&strike.transfer, |to| Fault::Transfer { to }),
        (&strike.snapshot, |at| Fault::Snapshot { at }),
        (&strike.disconnect, |at| Fault::Disconnect { at }),
        (&strike.divergence, |at| Fault::Diverge { at }),
        (&strike.forgery, |at| Fault::Forge { at }),
        (&strike.misdirected_write, |at| Fault::Misdirect {
            at,
            after: AFTER_CHANGES,
            sectors: SECTORS_BACK,
        }),
    ];
    for (one, make) in single {
        if let Some(one) = one {
            all.push(vec![make(names.store(&one.node)?)]);
        }
    }
    Ok(all)
}

/// Faults of one store node that need more to be said.
fn of_stores(strike: &Strike, names: &Names<'_>) -> Read<Vec<Vec<Fault>>> {
    let mut all = Vec::new();
    if let Some(flip) = &strike.bit_flip {
        all.push(vec![Fault::FlipBit {
            at: names.store(&flip.node)?,
            file: file(flip.of),
            place_ppm: flip.at.map_or(500_000, |share| share.0),
            bit: 0,
        }]);
    }
    if let Some(failed) = &strike.failed_io {
        all.push(vec![Fault::FailIo {
            at: names.store(&failed.node)?,
            reads: matches!(failed.of, Access::Reads),
            after: AFTER_CHANGES,
        }]);
    }
    if let Some(two) = &strike.two_snapshots {
        all.push(vec![Fault::SnapshotTwice {
            at: names.store(&two.node)?,
            apart_ms: two.apart.0,
        }]);
    }
    if let Some(membership) = &strike.membership {
        all.push(vec![Fault::Vote {
            at: names.store(&membership.node)?,
            voter: membership.voter,
        }]);
    }
    Ok(all)
}

/// What somebody does to a store node's files.
fn of_files(strike: &Strike, names: &Names<'_>) -> Read<Vec<Vec<Fault>>> {
    let mut all = Vec::new();
    if let Some(emptied) = &strike.emptied_file {
        all.push(vec![Fault::EmptyFile {
            at: names.store(&emptied.node)?,
            file: file(emptied.of),
            for_ms: emptied.length.0,
        }]);
    }
    if let Some(shortened) = &strike.shortened_file {
        all.push(vec![Fault::CutFile {
            at: names.store(&shortened.node)?,
            file: file(shortened.of),
            kept_ppm: shortened.to.0,
            for_ms: shortened.length.0,
        }]);
    }
    if let Some(swapped) = &strike.swapped_file {
        let (at, with) = (names.store(&swapped.node)?, names.store(&swapped.with)?);
        if at == with {
            let message = "a file is swapped `with` another node's";
            return Err(Problem::at(swapped.with.referenced, message));
        }
        all.push(vec![Fault::SwapFile {
            at,
            file: file(swapped.of),
            with,
            for_ms: swapped.length.0,
        }]);
    }
    if let Some(old) = &strike.older_copy {
        all.push(vec![Fault::OldCopy {
            at: names.store(&old.node)?,
            file: old.of.map(file),
            age_ms: old.age.0,
            for_ms: old.length.0,
        }]);
    }
    Ok(all)
}

/// The file of a database.
fn file(of: Database) -> String {
    match of {
        Database::Log => "log",
        Database::State => "state.redb",
    }
    .to_owned()
}

fn skew(clock: &Clock, at: Spot) -> Read<Fault> {
    let (jump, drift) = (clock.jump.map(|jump| jump.0), clock.drift.map(|d| d.0));
    if jump.is_none() && drift.is_none() {
        let message = "a clock needs a `jump`, a `drift` or both";
        return Err(Problem::at(clock.node.referenced, message));
    }
    Ok(Fault::Clock {
        at,
        rate_ppm: 1_000_000_u32.saturating_add_signed(drift.unwrap_or(0)),
        wall_ms: jump.unwrap_or(0),
        for_ms: clock.length.0,
    })
}
