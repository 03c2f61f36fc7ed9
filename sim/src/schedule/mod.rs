//! A whole run as data: the world, the load and every fault at its time. Executable without the
//! generator, so that a failure can be kept, replayed and shrunk.

mod fault;
mod shown;

pub use fault::{Fault, Spot};

use serde::{Deserialize, Serialize};
use tidegate_raft_store::config::RaftTimers;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// What all random choices of the run follow from: latencies, task order, what a power loss
    /// takes.
    pub seed: u64,
    /// What there is.
    pub world: WorldSpec,
    /// What is asked of it.
    pub load: Load,
    /// What goes wrong, by time.
    pub faults: Vec<Timed>,
    /// When everything is mended, in ms; from then on LIVE-1 runs.
    pub heal_at_ms: u64,
    /// Most store nodes that are not mended but broken for good then, in a way and of a choice that
    /// follow from the seed. A majority of the voters is always left.
    #[serde(default)]
    pub left_out: u8,
    /// How long the run goes on after that, in ms; at least what LIVE-1 allows.
    pub calm_ms: u64,
}

/// A fault and when it strikes, in ms from the start of the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timed {
    /// When.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
}

/// The machines and what lies between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSpec {
    /// Where machines stand. Store nodes are called `s1`, `s2`, … over all regions, voters first;
    /// decision nodes `d1`, `d2`, ….
    pub regions: Vec<RegionSpec>,
    /// How far regions are apart; pairs that are not named are next door.
    pub links: Vec<LinkSpec>,
    /// Entries between two snapshots of a store node, after which its log is purged.
    pub snapshot_every: u64,
    /// Entries by which a watcher may be behind before it must take a snapshot anew.
    pub watch_backlog: u32,
    /// What a sync of a store node's disk takes, in µs.
    pub sync_us: u64,
    /// Between two heartbeats of a leader, in ms. Elections begin after five to ten of silence.
    #[serde(default = "usual_heartbeat_ms")]
    pub heartbeat_ms: u64,
}

/// What a node has whose settings do not say otherwise.
fn usual_heartbeat_ms() -> u64 {
    let usual = RaftTimers::default().heartbeat.as_millis();
    u64::try_from(usual).unwrap_or(u64::MAX)
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSpec {
    /// Its name.
    pub name: String,
    /// Store nodes that vote.
    pub voters: u8,
    /// Store nodes that learn.
    pub learners: u8,
    /// Decision nodes.
    pub decision_nodes: u8,
}

/// The way between two regions, the same in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// The two regions.
    pub between: [String; 2],
    /// Least time for one way, in µs.
    pub one_way_us: u64,
    /// How much longer it may take, in µs.
    pub jitter_us: u64,
}

/// What is asked of the system, all the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Operators, each of which proposes one command after the other.
    pub operators: u8,
    /// Longest pause of an operator between two commands, in ms; at least 1.
    pub operator_pause_ms: u64,
    /// Clients that take snapshots and read indices.
    pub readers: u8,
    /// Longest pause of a reader between two reads, in ms; at least 1.
    pub reader_pause_ms: u64,
    /// Clients that follow the store and hold a lease.
    pub followers: u8,
    /// Devices, over all regions.
    pub devices: u32,
    /// About how often a device checks in, in ms; at least 1.
    pub check_in_ms: u64,
    /// What operators ask for.
    #[serde(default)]
    pub operators_do: Work,
}

/// What operators ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Everything that operators can, whatever it breaks, and what nobody may.
    #[default]
    Everything,
    /// Releases, and what comes next in each rollout; one that does not get on is paused.
    Rollouts,
}

impl Schedule {
    /// The schedule as JSON, for the corpus.
    ///
    /// # Panics
    /// Never: a schedule is made of numbers and text.
    #[must_use]
    pub fn to_json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(json) => json + "\n",
            Err(error) => unreachable!("a schedule is plain data: {error}"),
        }
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// It is no schedule that this build knows.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl WorldSpec {
    /// Five voters over three regions (2-2-1) and a learner, a continent apart.
    #[must_use]
    pub fn five_voters() -> Self {
        let region = |name: &str, voters, learners, decision_nodes| RegionSpec {
            name: name.to_owned(),
            voters,
            learners,
            decision_nodes,
        };
        let link = |a: &str, b: &str, one_way_us| LinkSpec {
            between: [a.to_owned(), b.to_owned()],
            one_way_us,
            jitter_us: one_way_us / 10,
        };
        Self {
            regions: vec![
                region("a", 2, 0, 1),
                region("b", 2, 1, 1),
                region("c", 1, 0, 0),
            ],
            links: vec![
                link("a", "b", 10_000),
                link("a", "c", 30_000),
                link("b", "c", 25_000),
            ],
            snapshot_every: 100,
            watch_backlog: 65_536,
            sync_us: 1_000,
            heartbeat_ms: usual_heartbeat_ms(),
        }
    }

    /// How many decision nodes there are.
    #[must_use]
    pub fn decision_nodes(&self) -> u8 {
        self.regions
            .iter()
            .map(|region| region.decision_nodes)
            .sum()
    }

    /// The store nodes with their regions, in the order of their numbers: voters, then learners.
    #[must_use]
    pub fn stores(&self) -> Vec<StoreSpec> {
        let of = |voter: bool| {
            self.regions.iter().flat_map(move |region| {
                let count = if voter {
                    region.voters
                } else {
                    region.learners
                };
                (0..count).map(move |_| (region.name.clone(), voter))
            })
        };
        let numbered = of(true).chain(of(false)).zip(1..);
        numbered
            .map(|((region, voter), id)| StoreSpec { id, region, voter })
            .collect()
    }
}

/// A store node of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// Its number.
    pub id: u64,
    /// Where it stands.
    pub region: String,
    /// Whether it votes from the start.
    pub voter: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_of_five_has_two_two_and_one_and_then_the_learner() {
        let stores = WorldSpec::five_voters().stores();
        let told: Vec<_> = stores
            .iter()
            .map(|store| (store.id, store.region.as_str(), store.voter))
            .collect();
        let expected = [
            (1, "a", true),
            (2, "a", true),
            (3, "b", true),
            (4, "b", true),
            (5, "c", true),
            (6, "b", false),
        ];
        assert_eq!(told, expected);
    }
}
