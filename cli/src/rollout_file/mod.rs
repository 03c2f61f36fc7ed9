//! The rollout file: what a release engineer writes, as `docs/rollout-file.md` describes it.
//!
//! [`parse`] reads the text and finds everything that the text alone can get wrong. What also takes
//! the cluster's knowledge (the release's component, the default audience) is settled by
//! [`RolloutFile::resolve`].
mod audience;
mod fields;
mod keys;
mod node;
pub(crate) mod number;
mod problem;
mod resolve;
#[cfg(test)]
mod resolve_tests;
mod rollback;
mod stages;
#[cfg(test)]
mod tests;
pub(crate) mod time;

pub(crate) use problem::Problems;

use audience::AudienceFile;
use fields::{Fields, Found, text, truth, units, whole, word};
use node::Node;
use problem::Problem;
use tidegate_domain::{
    id::{Component, LogTime, Millis, Ppm, ReleaseName, RolloutId},
    release::ArtifactKind,
    rollout::{
        Freeze, GateScope, MaintenanceWindow, OnInconclusive, OnStale, RetryPolicy, RollbackSpec,
    },
    wave::WaveSpec,
};

/// The JSON Schema of the format, as published.
pub(crate) const SCHEMA: &str = include_str!("../../../docs/schema/rollout-v1.schema.json");

/// Least share of silence that fails a gate when the file does not say: 10 %.
const SILENT_MAX: Ppm = match Ppm::new(100_000) {
    Some(share) => share,
    None => Ppm::ALL,
};
/// Fewest samples that a gate judges on when the file does not say.
const SAMPLE_MIN: u64 = 100;
/// Greatest counts that a file may name.
const COUNT_MAX: u64 = 1_000_000_000;

/// A rollout as written, before the cluster has filled in what it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RolloutFile {
    /// The release to bring.
    pub(crate) release: ReleaseName,
    /// What kind of thing the release has to be.
    pub(crate) kind: ArtifactKind,
    /// The component that the release has to update; absent: whichever it does.
    pub(crate) component: Option<Component>,
    /// What the release has to say about itself; absent: whatever it does.
    pub(crate) critical_security: Option<bool>,
    /// To whom.
    pub(crate) audience: AudienceFile,
    /// In which waves.
    pub(crate) waves: Vec<WaveSpec>,
    /// What happens when it goes wrong.
    pub(crate) rollback: RollbackSpec,
    /// Not before this time.
    pub(crate) start_at: Option<LogTime>,
    /// The rollout whose place it takes.
    pub(crate) supersedes: Option<Supersedes>,
    /// Which of two overlapping rollouts a device follows.
    pub(crate) priority: Option<u32>,
    /// Share that is tallied but never offered.
    pub(crate) control: Ppm,
    /// What gates look at.
    pub(crate) gate_scope: GateScope,
    /// What gates do without enough samples of a variant.
    pub(crate) on_inconclusive: OnInconclusive,
    /// What stale decision nodes do.
    pub(crate) on_stale: OnStale,
    /// How long an offer stands; absent: as the cluster is configured.
    pub(crate) offer_ttl: Option<Millis>,
    /// How often a device may try.
    pub(crate) retry: RetryPolicy,
    /// Largest share of silence.
    pub(crate) silent_max: Ppm,
    /// Fewest samples.
    pub(crate) sample_min: u64,
    /// Most unresolved exposures of a stratum in the first wave; absent: as configured.
    pub(crate) credit: Option<u64>,
    /// When devices may install.
    pub(crate) maintenance: Vec<MaintenanceWindow>,
    /// When nothing new is offered.
    pub(crate) freezes: Vec<Freeze>,
    /// How long after its last wave passed it completes by itself.
    pub(crate) complete_after: Option<Millis>,
}

/// The rollout whose place another takes, as a file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Supersedes {
    /// By its number.
    Rollout(RolloutId),
    /// As the one rollout of that release that is under way.
    Release(ReleaseName),
}

/// Reads a rollout file.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines.
pub(crate) fn parse(file: &str, source: &str) -> Result<RolloutFile, Problems> {
    let mut found = Found::new();
    let read = match node::parse(source) {
        Ok(root) => read_file(&root, &mut found),
        Err(problem) => {
            found.push(problem);
            None
        }
    };
    if let (Some(read), true) = (read, found.is_empty()) {
        return Ok(read);
    }
    found.sort_by_key(|problem| (problem.place.line, problem.place.column));
    Err(Problems {
        file: file.to_owned(),
        lines: source.lines().map(str::to_owned).collect(),
        list: found,
    })
}

fn read_file(root: &Node, found: &mut Found) -> Option<RolloutFile> {
    let fields = Fields::of(root, &keys::FILE, found)?;
    if let Some(version) = fields.get("version") {
        let before = found.len();
        if whole(version, "version", 1..=u64::MAX, found) != Some(1) && found.len() == before {
            let problem = Problem::new(version.place, format!("`version` is {}", version.kind()));
            found.push(problem.expected("`1`: this build reads no other version of the format"));
        }
    }
    let rollout = fields.must("rollout", found)?;
    let fields = Fields::of(rollout, &keys::ROLLOUT, found)?;
    read_rollout(&Rollout { fields }, found)
}

/// The fields of `rollout`, with the reading of each.
struct Rollout<'a> {
    fields: Fields<'a>,
}

fn read_rollout(rollout: &Rollout<'_>, found: &mut Found) -> Option<RolloutFile> {
    let fields = &rollout.fields;
    let release = rollout.release(found);
    let pacing = fields.get("pacing").map(|n| stages::pacing(n, found));
    let waves = fields.must("stages", found);
    let waves = waves.and_then(|node| stages::read(node, pacing.flatten(), found));
    let audience = audience::read(fields, found);
    let rollback = rollback::read(rollout, found);
    let retry = rollout.retry(found);
    let (component, critical_security) = (
        rollout.name("component", "the name of a component, such as `os`", found),
        rollout.or_none("critical_security", truth, found),
    );
    let start_at = rollout.or_none("start_at", time::instant, found);
    let supersedes = rollout.or_none("supersedes", supersedes, found);
    let control = rollout.or("control_percent", Ppm::ZERO, control, found);
    let silent_max = rollout.or("max_silent", SILENT_MAX, share, found);
    let words = rollout.words(found);
    let (offer_ttl, complete_after) = (
        rollout.or_none("offer_ttl", time::duration, found),
        rollout.or_none("complete_after_hours", time::hours, found),
    );
    let priority = rollout.count("priority", 0..=u64::from(u32::MAX), found);
    let (sample_min, credit) = (
        rollout.count("min_sample", 1..=COUNT_MAX, found),
        rollout.count("credit", 1..=COUNT_MAX, found),
    );
    let (windows, freezes) = (
        fields
            .get("maintenance_windows")
            .map(|n| time::windows(n, found)),
        fields.get("freezes").map(|n| time::freezes(n, found)),
    );
    let (kind, release) = release?;
    let (gate_scope, on_inconclusive, on_stale) = words;
    Some(RolloutFile {
        release,
        kind,
        component,
        critical_security,
        audience: audience?,
        waves: waves?,
        rollback: rollback?,
        start_at,
        supersedes,
        priority: priority.and_then(|priority| u32::try_from(priority).ok()),
        control,
        gate_scope,
        on_inconclusive,
        on_stale,
        offer_ttl,
        retry: retry?,
        silent_max,
        sample_min: sample_min.unwrap_or(SAMPLE_MIN),
        credit,
        maintenance: windows.flatten().unwrap_or_default(),
        freezes: freezes.flatten().unwrap_or_default(),
        complete_after,
    })
}

impl Rollout<'_> {
    fn or_none<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Node, &str, &mut Found) -> Option<T>,
        found: &mut Found,
    ) -> Option<T> {
        read(self.fields.get(key)?, key, found)
    }

    fn or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Node, &str, &mut Found) -> Option<T>,
        found: &mut Found,
    ) -> T {
        self.or_none(key, read, found).unwrap_or(default)
    }

    fn count(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
        found: &mut Found,
    ) -> Option<u64> {
        whole(self.fields.get(key)?, key, range, found)
    }

    fn name<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        key: &str,
        expected: &str,
        found: &mut Found,
    ) -> Option<T> {
        text(self.fields.get(key)?, key, expected, found)
    }

    /// The release, named by the key of its kind: exactly one of three.
    fn release(&self, found: &mut Found) -> Option<(ArtifactKind, ReleaseName)> {
        const KINDS: [(&str, ArtifactKind); 3] = [
            ("model_version", ArtifactKind::Model),
            ("firmware_version", ArtifactKind::Firmware),
            ("config_version", ArtifactKind::Config),
        ];
        const EXPECTED: &str = "one of `model_version`, `firmware_version`, `config_version`";
        let mut named = KINDS
            .iter()
            .filter_map(|(key, kind)| self.fields.get(key).map(|node| (key, kind, node)));
        let Some((key, kind, node)) = named.next() else {
            let problem = Problem::new(self.fields.place_of(""), "`rollout` names no release");
            found.push(
                problem
                    .expected(EXPECTED)
                    .help("write the release's name, such as `model_version: \"detector-v3.2\"`"),
            );
            return None;
        };
        if let Some((other, ..)) = named.next() {
            let message = format!("`rollout` names two releases: `{key}` and `{other}`");
            let problem = Problem::new(self.fields.place_of(other), message);
            found.push(problem.expected(EXPECTED));
            return None;
        }
        let name = text(node, key, "the unique name of a release, in quotes", found)?;
        Some((*kind, name))
    }

    fn words(&self, found: &mut Found) -> (GateScope, OnInconclusive, OnStale) {
        let scopes = [
            ("variant_and_pooled", GateScope::VariantAndPooled),
            ("pooled", GateScope::Pooled),
        ];
        let inconclusive = [
            ("hold", OnInconclusive::Hold),
            ("pool", OnInconclusive::Pool),
        ];
        let stale = [("wait", OnStale::Wait), ("continue", OnStale::Continue)];
        (
            self.or(
                "gate_scope",
                scopes[0].1,
                |n, k, f| word(n, k, &scopes, f),
                found,
            ),
            self.or(
                "on_inconclusive",
                inconclusive[0].1,
                |n, k, f| word(n, k, &inconclusive, f),
                found,
            ),
            self.or(
                "on_stale",
                stale[0].1,
                |n, k, f| word(n, k, &stale, f),
                found,
            ),
        )
    }

    fn retry(&self, found: &mut Found) -> Option<RetryPolicy> {
        let mut policy = RetryPolicy {
            attempts: 3,
            backoff: Millis(3_600_000),
        };
        let Some(node) = self.fields.get("retry") else {
            return Some(policy);
        };
        let retry = Rollout {
            fields: Fields::of(node, &keys::RETRY, found)?,
        };
        if let Some(attempts) = retry.count("attempts", 1..=1_000, found) {
            policy.attempts = u16::try_from(attempts).unwrap_or(policy.attempts);
        }
        policy.backoff = retry.or("backoff", policy.backoff, time::duration, found);
        Some(policy)
    }
}

/// A share from 0 to 1, exact in parts per million.
fn share(node: &Node, key: &str, found: &mut Found) -> Option<Ppm> {
    ppm(units(
        node,
        key,
        (1_000_000, 1),
        "parts per million",
        found,
    )?)
}

/// A percentage from 0 to 100, exact in parts per million.
fn percent(node: &Node, key: &str, found: &mut Found) -> Option<Ppm> {
    ppm(units(node, key, (10_000, 100), "parts per million", found)?)
}

/// The control group: less than everybody.
fn control(node: &Node, key: &str, found: &mut Found) -> Option<Ppm> {
    match percent(node, key, found)? {
        Ppm::ALL => fields::refuse(
            node,
            key,
            "less than 100: nobody would be offered it",
            found,
        ),
        share => Some(share),
    }
}

fn ppm(parts: u64) -> Option<Ppm> {
    u32::try_from(parts).ok().and_then(Ppm::new)
}

fn supersedes(node: &Node, key: &str, found: &mut Found) -> Option<Supersedes> {
    let expected = "the number of a rollout, or the name of the release that it brings";
    let (written, quoted) = fields::scalar(node, key, expected, found)?;
    if !quoted && written.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = whole(node, key, 1..=COUNT_MAX, found)?;
        return Some(Supersedes::Rollout(RolloutId(number)));
    }
    text(node, key, expected, found).map(Supersedes::Release)
}
