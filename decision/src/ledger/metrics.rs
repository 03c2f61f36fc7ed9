//! What devices measure of what runs, and for which side of which comparison it speaks.
use crate::engine::{CheckIn, Token};
use std::collections::{BTreeMap, BTreeSet};
use tidegate_domain::{
    State,
    baseline::baselines,
    guard::BaselineKey,
    id::{Component, LogTime, Pseudonym, ReleaseName, Revision, RolloutId, VariantId},
    release::Version,
    rollout::{Audience, Life, RollbackRule},
    tally::{Arm, Counts, LATENCY_BUCKETS, MEASURED_MAX, Stratum, TallyKey},
    variant::VariantTraits,
};

/// What a device measured since its last check-in. Sound: no part is greater than its whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics(Counts);

/// Why numbers are no metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// A count is beyond what one device can have measured.
    #[error("a count of {found}, at most {MEASURED_MAX} are believed of one device")]
    TooMany {
        /// The count.
        found: u64,
    },
    /// More errors than operations, or more correct predictions than predictions.
    #[error("{part} of {whole}: a part is greater than its whole")]
    PartBeyondWhole {
        /// The part.
        part: u64,
        /// The whole.
        whole: u64,
    },
    /// Another histogram.
    #[error("a latency histogram has {LATENCY_BUCKETS} buckets, not {found}")]
    OtherHistogram {
        /// The buckets found.
        found: usize,
    },
}

impl Metrics {
    /// Checks what a device says: `errors` of `operations`, `correct` of `predictions`, and counts
    /// per bucket of [`tidegate_domain::tally::LATENCY_BOUNDS_MS`] (or none at all).
    ///
    /// # Errors
    /// Numbers that contradict each other, or beyond belief.
    pub fn new(
        (errors, operations): (u64, u64),
        (correct, predictions): (u64, u64),
        latency: &[u64],
    ) -> Result<Self, MetricsError> {
        if !latency.is_empty() && latency.len() != LATENCY_BUCKETS {
            let found = latency.len();
            return Err(MetricsError::OtherHistogram { found });
        }
        let wholes = [operations, predictions].into_iter();
        let greatest = wholes.chain(latency.iter().copied()).max().unwrap_or(0);
        if greatest > MEASURED_MAX {
            return Err(MetricsError::TooMany { found: greatest });
        }
        for (part, whole) in [(errors, operations), (correct, predictions)] {
            if part > whole {
                return Err(MetricsError::PartBeyondWhole { part, whole });
            }
        }
        let counts = Counts {
            errors,
            operations,
            correct,
            predictions,
            latency: latency.to_vec(),
            ..Counts::default()
        };
        // Adding drops a histogram of zeros, so that equal measurements are equal values.
        Ok(Self(counts.plus(&Counts::default())))
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0 == Counts::default()
    }

    pub(super) const fn counts(&self) -> &Counts {
        &self.0
    }
}

/// For whom measurements speak, as one snapshot has it. Built with the snapshot's index.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Comparisons {
    variants: BTreeMap<VariantId, VariantTraits>,
    by_component: BTreeMap<Component, Compared>,
}

#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
struct Compared {
    rollouts: BTreeMap<RolloutId, Comparison>,
    baselines: Vec<Settled>,
}

/// One rollout, compared with what its devices would run without it.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
struct Comparison {
    release: ReleaseName,
    version: Version,
    /// The wave under way, while control is measured.
    control: Option<tidegate_domain::id::WaveIndex>,
    audience: Audience,
    excluded: BTreeSet<VariantId>,
    /// Where devices return to, and which version that is; the first rule that matches counts.
    targets: Vec<(RollbackRule, Version)>,
}

/// A baseline.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
struct Settled {
    key: BaselineKey,
    excluded: BTreeSet<VariantId>,
    revision: Revision,
    version: Version,
}

impl Comparisons {
    /// What a state compares.
    pub fn of(state: &State) -> Self {
        let mut all = Self::default();
        for (id, rollout) in state.rollouts().iter() {
            let control = match rollout.life {
                Life::Running | Life::Paused { .. } => rollout.current_wave(),
                Life::Halted { .. } | Life::RollingBack { .. } => None,
                _ => continue,
            };
            let Some(release) = state.releases().get(&rollout.spec.release) else {
                continue;
            };
            let version = |name: &ReleaseName| {
                let release = state.releases().get(name);
                release.map(|release| release.manifest.version.clone())
            };
            let targets = rollout.rollback.targets.iter().filter_map(|rule| {
                let version = version(&rule.release)?;
                Some((rule.clone(), version))
            });
            let comparison = Comparison {
                release: rollout.spec.release.clone(),
                version: release.manifest.version.clone(),
                control,
                audience: rollout.spec.audience.clone(),
                excluded: rollout.excluded.keys().copied().collect(),
                targets: targets.collect(),
            };
            let component = release.manifest.component.clone();
            let entry = all.by_component.entry(component).or_default();
            entry.rollouts.insert(*id, comparison);
        }
        all.settle(state);
        if !all.by_component.is_empty() {
            let variants = state.variants().iter();
            all.variants = variants.map(|(id, v)| (*id, v.traits.clone())).collect();
        }
        all
    }

    fn settle(&mut self, state: &State) {
        for (component, of) in &mut self.by_component {
            for (key, baseline) in baselines(state, component) {
                let Some(release) = state.releases().get(&baseline.release) else {
                    continue;
                };
                of.baselines.push(Settled {
                    key: key.clone(),
                    excluded: baseline.excluded.iter().copied().collect(),
                    revision: baseline.revision,
                    version: release.manifest.version.clone(),
                });
            }
        }
    }

    /// Where the measurements of one component in a check-in are tallied.
    ///
    /// Under the exposure whose token the device echoes, once the offered release runs; else, for a
    /// device that was let into no wave and runs what it would return to (or the baseline), in the
    /// control arm of each running rollout whose audience it is in, in the wave under way and the
    /// present hour. Empty when it speaks for nobody.
    pub fn tallied_under(
        &self,
        check_in: &CheckIn,
        variant: VariantId,
        component: &Component,
        now: LogTime,
    ) -> Vec<TallyKey> {
        let running = check_in.components.iter();
        let running = running.clone().find(|r| r.component == *component);
        let (Some(running), Some(of)) = (running, self.by_component.get(component)) else {
            return Vec::new();
        };
        let echoes = || {
            let echoes = check_in.echoes.iter().map(|token| &**token);
            echoes.filter(|token| token.component == *component)
        };
        let treated = echoes().find(|token| of.runs(token, &running.version));
        if let Some(key) = treated.and_then(Token::tally) {
            return vec![key];
        }
        let Some(traits) = self.variants.get(&variant) else {
            return Vec::new();
        };
        let admitted = |id: RolloutId| echoes().any(|token| token.rollout == Some(id));
        let stratum = Stratum {
            variant,
            channel: check_in.channel.clone(),
        };
        let compared = of.rollouts.iter().filter(|(id, _)| !admitted(**id));
        let keys = compared.filter_map(|(id, comparison)| {
            let wave = comparison.control?;
            let fits = comparison.holds(&stratum, traits, &running.version)
                && of.is_without(comparison, &stratum, traits, &running.version);
            fits.then(|| TallyKey {
                rollout: *id,
                wave,
                stratum: stratum.clone(),
                cohort: now.cohort(),
                arm: Arm::Control,
            })
        });
        keys.collect()
    }
}

impl Compared {
    /// Whether the release that a token offered is what runs.
    fn runs(&self, token: &Token, running: &Version) -> bool {
        let comparison = token.rollout.and_then(|id| self.rollouts.get(&id));
        comparison.is_some_and(|comparison| match token.arm {
            Arm::Treatment => token.release == comparison.release && *running == comparison.version,
            Arm::Return => comparison
                .targets
                .iter()
                .any(|(rule, version)| rule.release == token.release && version == running),
            Arm::Control => false,
        })
    }

    /// Whether a version is what a stratum would run without the rollout.
    fn is_without(
        &self,
        comparison: &Comparison,
        stratum: &Stratum,
        traits: &VariantTraits,
        running: &Version,
    ) -> bool {
        let mut targets = comparison.targets.iter();
        let channel = &stratum.channel;
        let own = |(rule, _): &&(RollbackRule, Version)| {
            rule.is_on(channel) && rule.selector.matches(traits)
        };
        if let Some((_, version)) = targets.find(|target| own(target)) {
            return version == running;
        }
        let settled = self.baselines.iter().filter(|settled| {
            settled.key.matches(traits, channel) && !settled.excluded.contains(&stratum.variant)
        });
        let latest = settled.max_by_key(|settled| settled.revision);
        latest.is_some_and(|settled| settled.version == *running)
    }
}

impl Comparison {
    fn holds(&self, stratum: &Stratum, traits: &VariantTraits, running: &Version) -> bool {
        let Audience {
            selectors: _,
            channels,
            from_versions,
        } = &self.audience;
        self.audience.matches(traits)
            && (channels.is_empty() || channels.contains(&stratum.channel))
            && from_versions
                .as_ref()
                .is_none_or(|range| range.contains(running))
            && !self.excluded.contains(&stratum.variant)
    }
}

/// The last check-in of each device whose measurements were counted, so that a retried check-in
/// does not count twice. Bounded: two generations, the older of which is dropped when the newer is
/// full.
#[derive(Debug)]
pub(super) struct Seen {
    newer: BTreeMap<Pseudonym, u64>,
    older: BTreeMap<Pseudonym, u64>,
    max: usize,
}

impl Seen {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            newer: BTreeMap::new(),
            older: BTreeMap::new(),
            max,
        }
    }

    /// Whether a check-in comes after all that were counted of its device; it is counted then.
    pub(super) fn is_new(&mut self, device: Pseudonym, sequence: u64) -> bool {
        let last = self.newer.get(&device).or_else(|| self.older.get(&device));
        if last.is_some_and(|last| sequence <= *last) {
            return false;
        }
        if self.newer.len() >= self.max {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(device, sequence);
        true
    }
}
