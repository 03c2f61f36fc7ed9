//! Which candidates each stratum has, and in which order they are tried.
use super::{
    Bar, Candidate, Line, LineKind, ReleaseSlot, RolloutEntry, StratumSlot,
    build::{Building, Settled},
};
use std::cmp::Reverse;
use tidegate_domain::{
    id::{Channel, LogTime, Revision},
    rollout::{Life, Rollout},
    state::State,
};

impl Building<'_> {
    /// Lines in the order in which candidates are tried: the way back first, then what closes
    /// holes, then rollouts by priority, the newest first, then baselines by
    /// their component's name.
    pub(super) fn lines(&mut self, settled: &Settled) {
        let mut ranked = Vec::new();
        for (id, rollout) in self.state.rollouts().iter() {
            let kinds = line_kinds(self.state, rollout);
            if kinds.is_empty() {
                continue;
            }
            let Some(release) = self.release(&rollout.spec.release) else {
                continue;
            };
            for rule in &rollout.rollback.targets {
                self.release(&rule.release);
            }
            let at = u32::try_from(self.index.rollouts.len()).ok();
            self.index.rollouts.push(RolloutEntry {
                opened: rollout
                    .current_wave()
                    .map_or(0, |wave| usize::from(wave.0) + 1),
                rollout: without_progress(rollout),
            });
            let entry = &self.index.releases[release.0 as usize];
            let (component, critical) = (entry.component, entry.critical_security);
            for kind in kinds.iter().copied() {
                let tier = match kind {
                    LineKind::Return => 0,
                    LineKind::Offer | LineKind::Baseline if critical => 1,
                    LineKind::Offer | LineKind::Baseline => 2,
                };
                let priority = rollout.spec.priority.unwrap_or(0);
                let line = Line {
                    kind,
                    component,
                    release,
                    rollout: at,
                };
                ranked.push(((tier, Reverse(priority), Reverse(id.0)), line));
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        self.index.lines = ranked.into_iter().map(|(_, line)| line).collect();
        let mut last: Vec<_> = settled.keys().copied().collect();
        last.sort_by_key(|(component, release)| (self.index.component(*component), *release));
        let lines = last.into_iter().map(|(component, release)| Line {
            kind: LineKind::Baseline,
            component,
            release,
            rollout: None,
        });
        self.index.lines.extend(lines);
    }

    pub(super) fn bars(&mut self) {
        for (id, bar) in self.state.bars().iter() {
            let Some(release) = self.slots.get(&bar.release) else {
                continue;
            };
            let channels = bar.audience.channels.iter();
            let known = |channel: &Channel| self.index.channels.slot(channel.as_str());
            let known: Vec<_> = channels.filter_map(known).collect();
            if known.is_empty() && !bar.audience.channels.is_empty() {
                // Only channels that no device can be in.
                continue;
            }
            let members = self.selection.members(&bar.audience.selectors);
            let bars = self.index.bars.entry(release.0).or_default();
            bars.push(Bar {
                rollout: *id,
                members,
                channels: known,
            });
        }
    }

    pub(super) fn candidates(&mut self, settled: &Settled) {
        let width = self.index.channels.len();
        self.index.strata = vec![Vec::new(); width * self.index.variants.len()];
        let lines = std::mem::take(&mut self.index.lines);
        for (at, line) in (0_u32..).zip(&lines) {
            match line.rollout {
                Some(rollout) => self.rollout_candidates(at, line, rollout as usize),
                None => {
                    let strata = settled.get(&(line.component, line.release));
                    for stratum in strata.into_iter().flatten() {
                        self.candidate(at, line.release, *stratum, false);
                    }
                }
            }
        }
        self.index.lines = lines;
    }

    fn rollout_candidates(&mut self, at: u32, line: &Line, rollout: usize) {
        let rollout = &self.index.rollouts[rollout].rollout;
        let audience = &rollout.spec.audience;
        let channels: Vec<(u16, Channel)> = self
            .index
            .channels
            .iter()
            .filter(|(_, name)| audience.channels.is_empty() || audience.channels.contains(name))
            .map(|(slot, name)| (slot, name.clone()))
            .collect();
        let members = self.selection.members(&audience.selectors);
        let late = sends_back_late(self.state, rollout);
        let mut found = Vec::new();
        for variant in members.iter() {
            let Some(entry) = self.index.variants.get(variant as usize) else {
                continue;
            };
            let excluded = rollout.excluded.contains_key(&entry.id);
            let returns = rollout.returns(entry.id) || late;
            for (channel, name) in &channels {
                let release = match line.kind {
                    LineKind::Offer | LineKind::Baseline => Some(line.release),
                    LineKind::Return => {
                        let target = rollout.rollback.target(&entry.traits, name);
                        let target = target.filter(|_| returns);
                        target.and_then(|name| self.slots.get(name).copied())
                    }
                };
                let channel = *channel;
                let stratum = StratumSlot { variant, channel };
                found.extend(release.map(|release| (stratum, release, excluded)));
            }
        }
        for (stratum, release, excluded) in found {
            self.candidate(at, release, stratum, excluded);
        }
    }

    fn candidate(&mut self, line: u32, release: ReleaseSlot, at: StratumSlot, excluded: bool) {
        let coded = self.selection.variant(at.variant);
        let entry = self.index.releases.get(release.0 as usize);
        let payload = entry
            .zip(coded)
            .and_then(|(entry, coded)| entry.payload_of(coded));
        if let Some(payload) = payload {
            self.keep_payload(release, payload);
        }
        let barred = self.index.bar(release, at);
        let place = at.variant as usize * self.index.channels.len() + usize::from(at.channel);
        if let Some(stratum) = self.index.strata.get_mut(place) {
            stratum.push(Candidate {
                line,
                release,
                payload,
                barred,
                excluded,
            });
        }
    }
}

/// A rollout less what grants, reports and time alone change: no index is built for those, so no
/// decision may read it from one.
fn without_progress(rollout: &Rollout) -> Rollout {
    Rollout {
        waves: Vec::new(),
        judged_at: LogTime(0),
        revision: Revision(0),
        ..rollout.clone()
    }
}

/// What a rollout has to say to devices.
pub(super) fn line_kinds(state: &State, rollout: &Rollout) -> &'static [LineKind] {
    match &rollout.life {
        // Variants that a gate excluded may be sent back while the rest goes on.
        Life::Running | Life::Paused { .. } if !rollout.excluded.is_empty() => {
            &[LineKind::Return, LineKind::Offer]
        }
        Life::Running | Life::Paused { .. } | Life::Halted { .. } => &[LineKind::Offer],
        Life::RollingBack { .. } => &[LineKind::Return],
        Life::RolledBack { .. } if sends_back_late(state, rollout) => &[LineKind::Return],
        Life::RolledBack { .. }
        | Life::Draft
        | Life::Approved
        | Life::Superseded { .. }
        | Life::Completed { .. } => &[],
    }
}

/// Who comes back after the rollback is over is sent back too, as long as the release is barred.
fn sends_back_late(state: &State, rollout: &Rollout) -> bool {
    matches!(rollout.life, Life::RolledBack { .. }) && state.bars().contains(&rollout.id)
}
