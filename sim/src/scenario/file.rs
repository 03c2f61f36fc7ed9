//! The words of a scenario file. Every map refuses keys that it does not know.

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::schedule::Work;

use super::units::{Drift, Length, Offset, Share};

/// A name with the place at which it stands.
pub(super) type Name = Spanned<String>;

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    /// One line: what is rehearsed.
    pub(super) summary: String,
    /// How long one round takes; a longer run repeats it.
    #[serde(rename = "for")]
    pub(super) length: Spanned<Length>,
    #[serde(default)]
    pub(super) topology: Option<Topology>,
    #[serde(default)]
    pub(super) load: Option<Spanned<LoadFile>>,
    #[serde(default)]
    pub(super) faults: Vec<Spanned<Strike>>,
    #[serde(default)]
    pub(super) random: Vec<Spanned<Random>>,
    #[serde(default)]
    pub(super) expect: Vec<Spanned<Expect>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Topology {
    pub(super) regions: Vec<RegionFile>,
    #[serde(default)]
    pub(super) links: Vec<LinkFile>,
    #[serde(default)]
    pub(super) snapshot_every: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) disk_sync: Option<Length>,
    #[serde(default)]
    pub(super) heartbeat: Option<Spanned<Length>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RegionFile {
    pub(super) name: Name,
    #[serde(default)]
    pub(super) voters: u8,
    #[serde(default)]
    pub(super) learners: u8,
    #[serde(default)]
    pub(super) decision_nodes: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LinkFile {
    pub(super) between: [Name; 2],
    pub(super) one_way: Length,
    #[serde(default)]
    pub(super) jitter: Option<Length>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct LoadFile {
    pub(super) operators: Option<u8>,
    pub(super) command_every: Option<Length>,
    pub(super) operators_do: Option<Work>,
    pub(super) readers: Option<u8>,
    pub(super) read_every: Option<Length>,
    pub(super) followers: Option<u8>,
    pub(super) devices: Option<u32>,
    pub(super) check_in_every: Option<Length>,
}

/// What goes wrong at a time. Exactly one of the faults must be named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Strike {
    pub(super) at: Length,
    pub(super) power_loss: Option<OneFor>,
    pub(super) kill: Option<OneFor>,
    pub(super) restart: Option<OneFor>,
    pub(super) pause: Option<OneFor>,
    pub(super) suspension: Option<OneFor>,
    pub(super) replace: Option<One>,
    pub(super) region_outage: Option<RegionFor>,
    pub(super) partition: Option<Group>,
    pub(super) one_way_cut: Option<OneWay>,
    pub(super) flapping: Option<Flapping>,
    pub(super) loss: Option<Loss>,
    pub(super) delay: Option<Delay>,
    pub(super) lag: Option<Lag>,
    pub(super) slow_disk: Option<SlowDisk>,
    pub(super) full_disk: Option<OneFor>,
    pub(super) failed_sync: Option<One>,
    pub(super) torn_write: Option<OneFor>,
    pub(super) clock: Option<Clock>,
    pub(super) transfer: Option<One>,
    pub(super) snapshot: Option<One>,
    pub(super) bit_flip: Option<BitFlip>,
    pub(super) misdirected_write: Option<One>,
    pub(super) emptied_file: Option<Emptied>,
    pub(super) shortened_file: Option<Shortened>,
    pub(super) swapped_file: Option<Swapped>,
    pub(super) older_copy: Option<OldCopy>,
    pub(super) failed_io: Option<FailedIo>,
    pub(super) two_snapshots: Option<TwoSnapshots>,
    pub(super) disconnect: Option<One>,
    pub(super) duplication: Option<Lasting>,
    pub(super) membership: Option<Membership>,
    pub(super) device_power: Option<DevicePower>,
    pub(super) divergence: Option<One>,
    pub(super) forgery: Option<One>,
    pub(super) halt: Option<Halt>,
}

/// Somebody empties a database of a node that is down for so long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Emptied {
    pub(super) node: Name,
    #[serde(default)]
    pub(super) of: Database,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

/// Somebody cuts a database to a share of its length.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shortened {
    pub(super) node: Name,
    #[serde(default)]
    pub(super) of: Database,
    pub(super) to: Share,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

/// Somebody replaces a database by a copy of another node's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Swapped {
    pub(super) node: Name,
    #[serde(default)]
    pub(super) of: Database,
    pub(super) with: Name,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

/// Somebody puts a database, or the whole directory, back as it was.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OldCopy {
    pub(super) node: Name,
    pub(super) of: Option<Database>,
    pub(super) age: Length,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

/// One bit of a database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BitFlip {
    pub(super) node: Name,
    #[serde(default)]
    pub(super) of: Database,
    /// Where in the file; in the middle if absent.
    pub(super) at: Option<Share>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Database {
    #[default]
    Log,
    State,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailedIo {
    pub(super) node: Name,
    pub(super) of: Access,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Access {
    Reads,
    Writes,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TwoSnapshots {
    pub(super) node: Name,
    pub(super) apart: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lasting {
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Membership {
    pub(super) node: Name,
    pub(super) voter: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct One {
    pub(super) node: Name,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OneFor {
    pub(super) node: Name,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionFor {
    pub(super) region: Name,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

/// Some nodes, or all of a region.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    #[serde(default)]
    pub(super) nodes: Vec<Name>,
    pub(super) region: Option<Name>,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OneWay {
    pub(super) from: Vec<Name>,
    pub(super) to: Vec<Name>,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flapping {
    #[serde(default)]
    pub(super) nodes: Vec<Name>,
    pub(super) region: Option<Name>,
    pub(super) period: Length,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Loss {
    pub(super) share: Share,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Delay {
    pub(super) up_to: Length,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lag {
    pub(super) node: Name,
    pub(super) by: Length,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlowDisk {
    pub(super) node: Name,
    pub(super) sync: Length,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clock {
    pub(super) node: Name,
    pub(super) jump: Option<Offset>,
    pub(super) drift: Option<Drift>,
    #[serde(rename = "for")]
    pub(super) length: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DevicePower {
    pub(super) one_in: u64,
}

/// What is halted: `running` is every rollout that runs.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Halt {
    Running,
}

/// Faults that chance picks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Random {
    pub(super) from: Length,
    pub(super) until: Length,
    pub(super) about_every: Length,
    pub(super) classes: Vec<Name>,
}

/// What must be measured. Exactly one must be named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Expect {
    /// From this moment of each round; its begin if absent.
    pub(super) from: Option<Length>,
    /// Until this moment of each round; its end if absent.
    pub(super) until: Option<Length>,
    pub(super) commands_answered: Option<Bounds>,
    pub(super) reads_answered: Option<Bounds>,
    pub(super) check_ins_answered: Option<Bounds>,
    pub(super) commit_latency: Option<Latency>,
    pub(super) leaderless: Option<AtMost>,
    pub(super) command_within: Option<Length>,
    pub(super) halt_bound: Option<AtMost>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Bounds {
    pub(super) at_least: Option<Share>,
    pub(super) at_most: Option<Share>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Latency {
    pub(super) p99: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AtMost {
    pub(super) at_most: Length,
}
