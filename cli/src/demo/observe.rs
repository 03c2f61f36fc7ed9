//! Watches the cluster as an operator would, and keeps what the report draws.
use super::{
    desk::Desk,
    report::{Sample, WaveBar},
    story::{Mark, Story},
};
use crate::{describe, fleet::Counters};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tidegate_client::{Follower, FollowerConfig, HighWater, View};
use tidegate_domain::{
    State,
    event::Event,
    id::{RolloutId, VariantId},
    rollout::{Life, Rollout},
};
use tidegate_runtime::Clock;
use tokio::{sync::watch, task::JoinHandle};

/// How often the fleet's counters are noted.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Follows the cluster's events from its beginning to the end of the demo.
pub(super) struct Observer {
    seen: Arc<Mutex<Seen>>,
    state: watch::Receiver<Option<Arc<State>>>,
    _follower: Follower,
    sampler: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    samples: Vec<Sample>,
    waves: BTreeMap<(RolloutId, usize), WaveBar>,
    lives: BTreeMap<RolloutId, &'static str>,
    excluded: BTreeSet<(RolloutId, VariantId)>,
    halts: BTreeMap<RolloutId, Instant>,
}

/// What the follower calls.
struct Witness {
    seen: Arc<Mutex<Seen>>,
    story: Arc<Story>,
    state: watch::Sender<Option<Arc<State>>>,
}

impl tidegate_client::Observer for Witness {
    fn replaced(&mut self, view: &View) {
        self.advanced(view, &[]);
    }

    #[allow(clippy::disallowed_methods, reason = "the demo runs on real time only")]
    fn advanced(&mut self, view: &View, events: &[Event]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if let Event::RolloutHalted { rollout, .. } = event {
                seen.halts.entry(*rollout).or_insert_with(Instant::now);
            }
        }
        seen.note(view.state(), &self.story);
        drop(seen);
        self.state
            .send_replace(Some(Arc::new(view.state().clone())));
    }
}

impl Observer {
    /// Starts following.
    pub(super) async fn start(
        desk: &Desk,
        clock: Arc<dyn Clock>,
        high_water: HighWater,
        story: Arc<Story>,
        counters: Arc<Counters>,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (sender, state) = watch::channel(None);
        let witness = Witness {
            seen: Arc::clone(&seen),
            story: Arc::clone(&story),
            state: sender,
        };
        let config = FollowerConfig::new(desk.origin.clone());
        let follower = Follower::start(desk.client.clone(), config, clock, high_water, witness);
        let noted = Arc::clone(&seen);
        let sampler = tokio::spawn(async move {
            loop {
                let sample = sample(&story, &counters);
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .samples
                    .push(sample);
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
        });
        Self {
            seen,
            state,
            _follower: follower,
            sampler,
        }
    }

    /// When the halt of a rollout was seen to be committed.
    pub(super) fn halted_at(&self, rollout: RolloutId) -> Option<Instant> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .halts
            .get(&rollout)
            .copied()
    }

    /// Waits until the state is as wanted; `false` if it never was within `limit`.
    #[allow(clippy::disallowed_methods, reason = "the demo runs on real time only")]
    pub(super) async fn until(&self, limit: Duration, wanted: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.state.clone();
        loop {
            if state
                .borrow_and_update()
                .as_ref()
                .is_some_and(|state| wanted(state))
            {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !matches!(
                tokio::time::timeout(left, state.changed()).await,
                Ok(Ok(()))
            ) {
                return false;
            }
        }
    }

    /// The state as it was last seen.
    pub(super) fn state(&self) -> Option<Arc<State>> {
        self.state.borrow().clone()
    }

    /// Ends the looking and gives what was seen.
    pub(super) fn finish(self) -> (Vec<Sample>, Vec<WaveBar>) {
        self.sampler.abort();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waves = std::mem::take(&mut seen.waves).into_values().collect();
        (std::mem::take(&mut seen.samples), waves)
    }
}

fn sample(story: &Story, counters: &Counters) -> Sample {
    let totals = counters.totals();
    Sample {
        t_ms: story.elapsed_ms(),
        log_time: story.log_time(),
        check_ins: totals.check_ins,
        offered: totals.offers,
        verified: totals.verified,
        failed: totals.failed,
        returned: totals.returned,
    }
}

impl Seen {
    fn note(&mut self, state: &State, story: &Story) {
        for (_, rollout) in state.rollouts().iter() {
            self.note_waves(rollout, story);
            self.note_excluded(state, rollout, story);
            self.note_life(rollout, story);
        }
    }

    fn note_waves(&mut self, rollout: &Rollout, story: &Story) {
        let now = story.elapsed_ms();
        for (at, (spec, wave)) in rollout.spec.waves.iter().zip(&rollout.waves).enumerate() {
            if wave.opened.is_none() {
                continue;
            }
            let bar = self.waves.entry((rollout.id, at)).or_insert_with(|| {
                story.tell(format!(
                    "{}: wave '{}' is open, {} of the fleet",
                    rollout.spec.release, spec.name, spec.target
                ));
                WaveBar {
                    rollout: rollout.spec.release.to_string(),
                    name: spec.name.to_string(),
                    opened_ms: now,
                    ended_ms: None,
                    ending: None,
                }
            });
            if bar.ending.is_some() {
                continue;
            }
            if let Some(evidence) = &wave.passed {
                (bar.ended_ms, bar.ending) = (Some(now), Some("passed"));
                story.tell(format!(
                    "{}: wave '{}' passed its gate, judged on {} devices: {} verified, {} failed, {} silent",
                    rollout.spec.release,
                    spec.name,
                    evidence.counts.exposed,
                    evidence.counts.verified,
                    evidence.counts.failed,
                    evidence.counts.silent
                ));
            } else if matches!(rollout.life, Life::Halted { .. } | Life::RollingBack { .. }) {
                (bar.ended_ms, bar.ending) = (Some(now), Some("halted"));
            } else if rollout.life.is_final() {
                (bar.ended_ms, bar.ending) = (Some(now), Some("closed"));
            }
        }
    }

    fn note_excluded(&mut self, state: &State, rollout: &Rollout, story: &Story) {
        for variant in rollout.excluded.keys() {
            if self.excluded.insert((rollout.id, *variant)) {
                let name = state.variants().get(variant).map(|v| v.traits.to_string());
                story.tell(format!(
                    "{}: variant {} failed its gate and is taken out",
                    rollout.spec.release,
                    name.unwrap_or_default()
                ));
            }
        }
    }

    fn note_life(&mut self, rollout: &Rollout, story: &Story) {
        let name = rollout.life.name();
        if self.lives.insert(rollout.id, name) == Some(name) {
            return;
        }
        let release = &rollout.spec.release;
        match &rollout.life {
            Life::Halted { cause, .. } | Life::RollingBack { cause, .. } => {
                let text = format!("{release} is {name}: {}", describe::halt_cause(cause));
                story.mark(
                    Mark::Halt,
                    if name == "halted" {
                        "halt"
                    } else {
                        "halt, return"
                    },
                    text,
                );
            }
            Life::Completed { .. } => {
                story.mark(
                    Mark::Info,
                    "completed",
                    format!("{release} is complete: the new baseline"),
                );
            }
            Life::Draft => story.tell(format!("{release} is written down")),
            Life::Approved
            | Life::Running
            | Life::Paused { .. }
            | Life::RolledBack { .. }
            | Life::Superseded { .. } => story.tell(format!("{release} is {name}")),
        }
    }
}
