//! Scenarios: what an SRE writes to rehearse an outage. A scenario compiles into a [`Schedule`] and
//! expectations, so that it replays and shrinks like any other run.
//!
//! A scenario is one round of some minutes. A longer run repeats the round, and what is expected
//! must hold in each.

mod file;
mod problem;
mod strike;
#[cfg(test)]
mod tests;
mod units;

use serde_saphyr::{Location, Spanned};

pub use problem::{Problem, nearest};
pub use units::{Length, Share};

use crate::expect::{Expectation, What};
use crate::generate;
use crate::schedule::{LinkSpec, Load, RegionSpec, Schedule, Timed, WorldSpec};
use file::{Expect, File, LoadFile, Name, Random, Topology};

/// How long the run goes on after the last round, when everything is healed: LIVE-1 and a little
/// more.
const CALM_MS: u64 = 12_000;
/// Most machines of a kind: each has an address.
const MACHINES_MAX: usize = 100;

/// A scenario that was read and is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// One line: what is rehearsed.
    pub summary: String,
    /// How long one round takes, in ms.
    pub round_ms: u64,
    world: WorldSpec,
    load: Load,
    faults: Vec<Timed>,
    random: Vec<Drawn>,
    expect: Vec<Expectation>,
}

/// Faults that chance picks in each round.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Drawn {
    span_ms: (u64, u64),
    every_ms: u64,
    classes: Vec<&'static str>,
}

/// A run that a scenario asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is done.
    pub schedule: Schedule,
    /// What must come of it.
    pub expect: Vec<Expectation>,
}

type Read<T> = Result<T, Problem>;

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| Problem::of_yaml(&error))?;
        let world = match &file.topology {
            Some(topology) => world(topology)?,
            None => WorldSpec::five_voters(),
        };
        let load = load(file.load.as_ref(), &world)?;
        let (place, round_ms) = (file.length.referenced, file.length.value.0);
        if round_ms == 0 {
            return Err(Problem::at(place, "a round takes time"));
        }
        let mut faults = Vec::new();
        for strike in &file.faults {
            faults.extend(strike::faults(strike, &world, round_ms)?);
        }
        faults.sort_by_key(|timed| timed.at_ms);
        let drawn = |random| drawn(random, round_ms);
        let expectation = |expect| expectation(expect, round_ms);
        Ok(Self {
            summary: file.summary,
            round_ms,
            random: file.random.iter().map(drawn).collect::<Read<_>>()?,
            expect: file.expect.iter().map(expectation).collect::<Read<_>>()?,
            world,
            load,
            faults,
        })
    }

    /// The run of a seed: as many rounds as begin within a time, or one.
    #[must_use]
    pub fn plan(&self, seed: u64, for_ms: Option<u64>) -> Plan {
        let rounds = for_ms.map_or(1, |length| length.div_ceil(self.round_ms).max(1));
        let (mut faults, mut expect) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let begins_ms = round * self.round_ms;
            let mut all = self.faults.clone();
            for (number, drawn) in self.random.iter().enumerate() {
                let name = format!("scenario {round} {number}");
                all.extend(generate::of_classes(
                    seed,
                    &name,
                    &self.world,
                    &drawn.classes,
                    drawn.span_ms,
                    drawn.every_ms,
                ));
            }
            all.sort_by_key(|timed| timed.at_ms);
            faults.extend(all.into_iter().map(|timed| Timed {
                at_ms: timed.at_ms + begins_ms,
                ..timed
            }));
            expect.extend(self.expect.iter().map(|one| one.shifted(begins_ms)));
        }
        let schedule = Schedule {
            seed,
            world: self.world.clone(),
            load: self.load.clone(),
            faults,
            heal_at_ms: rounds * self.round_ms,
            left_out: 0,
            calm_ms: CALM_MS,
        };
        Plan { schedule, expect }
    }
}

fn world(topology: &Topology) -> Read<WorldSpec> {
    let usual = WorldSpec::five_voters();
    let region = |region: &file::RegionFile| RegionSpec {
        name: region.name.value.clone(),
        voters: region.voters,
        learners: region.learners,
        decision_nodes: region.decision_nodes,
    };
    let mut world = WorldSpec {
        regions: topology.regions.iter().map(region).collect(),
        links: Vec::new(),
        snapshot_every: snapshot_every(topology)?.unwrap_or(usual.snapshot_every),
        watch_backlog: usual.watch_backlog,
        sync_us: topology
            .disk_sync
            .map_or(usual.sync_us, |sync| sync.0 * 1_000),
        heartbeat_ms: heartbeat_ms(topology)?.unwrap_or(usual.heartbeat_ms),
    };
    let names: Vec<&str> = world.regions.iter().map(|r| r.name.as_str()).collect();
    for (at, region) in topology.regions.iter().enumerate() {
        let Spanned {
            value, referenced, ..
        } = &region.name;
        if tidegate_domain::id::Region::new(value.as_str()).is_err() {
            let message = format!("`{value}` is no name of a region");
            return Err(Problem::at(*referenced, message));
        }
        if names[..at].contains(&value.as_str()) {
            let message = format!("the region `{value}` stands twice");
            return Err(Problem::at(*referenced, message));
        }
    }
    let first = topology
        .regions
        .first()
        .map(|region| region.name.referenced);
    let place = first.unwrap_or(Location::UNKNOWN);
    if !world.stores().iter().any(|store| store.voter) {
        return Err(Problem::at(place, "no region has voters"));
    }
    let decisions = topology
        .regions
        .iter()
        .map(|r| usize::from(r.decision_nodes));
    if world.stores().len() > MACHINES_MAX || decisions.sum::<usize>() > MACHINES_MAX {
        let message = format!("more than {MACHINES_MAX} nodes of one kind");
        return Err(Problem::at(place, message));
    }
    for link in &topology.links {
        for end in &link.between {
            known(end, "region", &names)?;
        }
        let spec = LinkSpec {
            between: link.between.each_ref().map(|end| end.value.clone()),
            one_way_us: link.one_way.0 * 1_000,
            jitter_us: link
                .jitter
                .map_or(link.one_way.0 * 100, |jitter| jitter.0 * 1_000),
        };
        bears(&world, &spec).map_err(|message| Problem::at(link.between[0].referenced, message))?;
        world.links.push(spec);
    }
    Ok(world)
}

fn snapshot_every(topology: &Topology) -> Read<Option<u64>> {
    match &topology.snapshot_every {
        Some(every) if every.value == 0 => Err(Problem::at(
            every.referenced,
            "a snapshot covers 1 entry or more",
        )),
        every => Ok(every.as_ref().map(|every| every.value)),
    }
}

fn heartbeat_ms(topology: &Topology) -> Read<Option<u64>> {
    let Some(heartbeat) = &topology.heartbeat else {
        return Ok(None);
    };
    match heartbeat.value.0 {
        length_ms @ 10..=10_000 => Ok(Some(length_ms)),
        _ => Err(Problem::at(
            heartbeat.referenced,
            "a heartbeat takes 10ms to 10s",
        )),
    }
}

/// An answer that takes longer than three quarters of a heartbeat counts as none
/// (`RaftTimers::heartbeat`), so that a cluster on such a link would stand still without any fault.
fn bears(world: &WorldSpec, link: &LinkSpec) -> Result<(), String> {
    let round_trip_ms = (2 * (link.one_way_us + link.jitter_us)).div_ceil(1_000);
    let least_ms = (round_trip_ms * 4).div_ceil(3) + 1;
    if world.heartbeat_ms >= least_ms {
        return Ok(());
    }
    let [a, b] = &link.between;
    Err(format!(
        "from `{a}` to `{b}` and back takes up to {round_trip_ms}ms, too long for a heartbeat of {}ms: \
         set `heartbeat: {least_ms}ms` or more in `topology`, and as much in the nodes' own settings",
        world.heartbeat_ms
    ))
}

/// Checks a name against those that there are.
fn known(name: &Name, what: &str, known: &[&str]) -> Read<()> {
    if known.contains(&name.value.as_str()) {
        return Ok(());
    }
    Err(Problem::unknown(name.referenced, what, &name.value, known))
}

fn load(file: Option<&Spanned<LoadFile>>, world: &WorldSpec) -> Read<Load> {
    let usual = LoadFile::default();
    let said = file.map_or(&usual, |file| &file.value);
    let ms = |length: Option<Length>, usual| length.map_or(usual, |length| length.0.max(1));
    let has_nodes = world.decision_nodes() > 0;
    let load = Load {
        operators: said.operators.unwrap_or(3),
        operator_pause_ms: ms(said.command_every, 600),
        readers: said.readers.unwrap_or(2),
        reader_pause_ms: ms(said.read_every, 800),
        followers: said.followers.unwrap_or(1),
        devices: said.devices.unwrap_or(if has_nodes { 60 } else { 0 }),
        check_in_ms: ms(said.check_in_every, 1_500),
        operators_do: said.operators_do.unwrap_or_default(),
    };
    let place = file.map_or(Location::UNKNOWN, |file| file.referenced);
    if load.devices > 0 && !has_nodes {
        let message = "devices check in at decision nodes, and no region has any";
        return Err(Problem::at(place, message));
    }
    let crowd = [load.operators, load.readers, load.followers].map(usize::from);
    if crowd.iter().sum::<usize>() > MACHINES_MAX {
        let message = format!("more than {MACHINES_MAX} operators, readers and followers");
        return Err(Problem::at(place, message));
    }
    Ok(load)
}

fn drawn(random: &Spanned<Random>, round_ms: u64) -> Read<Drawn> {
    let Random {
        from,
        until,
        about_every,
        classes,
    } = &random.value;
    span(random.referenced, from.0, until.0, round_ms)?;
    if about_every.0 == 0 {
        return Err(Problem::at(random.referenced, "`about-every` is no time"));
    }
    if classes.is_empty() {
        return Err(Problem::at(random.referenced, "no `classes` to draw from"));
    }
    let all = generate::classes();
    let words: Vec<String> = all.iter().map(|class| strike::word(class)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut wanted = Vec::new();
    for name in classes {
        known(name, "fault", &words)?;
        let both = all.iter().zip(&words);
        wanted.extend(both.filter_map(|(class, word)| (*word == name.value).then_some(*class)));
    }
    Ok(Drawn {
        span_ms: (from.0, until.0),
        every_ms: about_every.0,
        classes: wanted,
    })
}

fn span(place: Location, from_ms: u64, until_ms: u64, round_ms: u64) -> Read<()> {
    if from_ms < until_ms && until_ms <= round_ms {
        return Ok(());
    }
    let message = format!(
        "from {} until {} is no span of a round of {}",
        Length(from_ms),
        Length(until_ms),
        Length(round_ms)
    );
    Err(Problem::at(place, message))
}

/// Whether some shares lie within the bounds, and some do not.
fn sound(bounds: &file::Bounds) -> Result<(), &'static str> {
    match (&bounds.at_least, &bounds.at_most) {
        (None, None) => Err("a share needs `at-least`, `at-most` or both"),
        (Some(Share(0)), None) => Err("every share is `at-least` 0%"),
        (Some(least), Some(most)) if least.0 > most.0 => Err("`at-least` is more than `at-most`"),
        _ => Ok(()),
    }
}

fn expectation(expect: &Spanned<Expect>, round_ms: u64) -> Read<Expectation> {
    let (place, expect) = (expect.referenced, &expect.value);
    let shares = [
        &expect.commands_answered,
        &expect.reads_answered,
        &expect.check_ins_answered,
    ];
    for bounds in shares.into_iter().flatten() {
        sound(bounds).map_err(|message| Problem::at(place, message))?;
    }
    let bounds = |bounds: &file::Bounds| {
        let least = bounds.at_least.map_or(0, |share| share.0);
        (least, bounds.at_most.map_or(1_000_000, |share| share.0))
    };
    let named: Vec<What> = [
        expect.commands_answered.as_ref().map(|b| {
            let (at_least_ppm, at_most_ppm) = bounds(b);
            What::CommandsAnswered {
                at_least_ppm,
                at_most_ppm,
            }
        }),
        expect.reads_answered.as_ref().map(|b| {
            let (at_least_ppm, at_most_ppm) = bounds(b);
            What::ReadsAnswered {
                at_least_ppm,
                at_most_ppm,
            }
        }),
        expect.check_ins_answered.as_ref().map(|b| {
            let (at_least_ppm, at_most_ppm) = bounds(b);
            What::CheckInsAnswered {
                at_least_ppm,
                at_most_ppm,
            }
        }),
        expect
            .commit_latency
            .as_ref()
            .map(|latency| What::CommitLatency {
                p99_ms: latency.p99.0,
            }),
        expect.leaderless.as_ref().map(|bound| What::Leaderless {
            at_most_ms: bound.at_most.0,
        }),
        expect.command_within.map(|length| What::CommandWithin {
            within_ms: length.0,
        }),
        expect.halt_bound.as_ref().map(|bound| What::HaltBound {
            at_most_ms: bound.at_most.0,
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    let [what] = <[What; 1]>::try_from(named).map_err(|named| {
        Problem::at(place, format!("{} expectations here, not one", named.len()))
    })?;
    let from_ms = expect.from.map_or(0, |from| from.0);
    let until_ms = expect.until.map_or(round_ms, |until| until.0);
    span(place, from_ms, until_ms, round_ms)?;
    Ok(Expectation {
        what,
        from_ms,
        until_ms,
    })
}
