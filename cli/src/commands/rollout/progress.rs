//! How far a rollout has come: numbers that `show`, `watch` and `why` draw alike.
use crate::describe;
use serde_json::{Value as Json, json};
use tidegate_domain::{
    State,
    id::{LogTime, Millis, Ppm, RolloutId, WaveIndex},
    rollout::{Life, Rollout},
    tally::{Arm, Counts, Sum, SumKey},
};

/// How far one rollout has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progress {
    pub(super) id: RolloutId,
    pub(super) release: String,
    pub(super) life: Life,
    /// Log time of the state.
    pub(super) at: LogTime,
    pub(super) waves: Vec<WaveProgress>,
    /// Devices told to go back, and what became of them.
    pub(super) returns: Counts,
    pub(super) excluded: usize,
}

/// How far one wave has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WaveProgress {
    pub(super) name: String,
    pub(super) target: Ppm,
    pub(super) cap: Option<u64>,
    pub(super) stage: Stage,
    /// Admissions granted to decision nodes.
    pub(super) admitted: u64,
    pub(super) counts: Counts,
}

/// Where a wave stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not open yet.
    Waiting,
    /// Open; so much of its soak is left.
    Soaking(Millis),
    /// Open and soaked; its gate has not passed.
    AtGate,
    /// Its gate passed.
    Passed,
    /// A quorum overrode its gate.
    Overridden,
}

impl Stage {
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Soaking(_) => "soaking",
            Self::AtGate => "at its gate",
            Self::Passed => "passed",
            Self::Overridden => "overridden",
        }
    }
}

impl Progress {
    /// The progress of a rollout in a state.
    pub(super) fn of(state: &State, rollout: &Rollout) -> Self {
        let at = state.meta().time;
        let waves = rollout.spec.waves.iter().zip(&rollout.waves).zip(0_u16..);
        let waves = waves.map(|((spec, wave), index)| {
            let sum = pooled(state, rollout.id, WaveIndex(index), Arm::Treatment);
            WaveProgress {
                name: spec.name.to_string(),
                target: spec.target,
                cap: spec.cap,
                stage: stage(rollout, WaveIndex(index), at),
                admitted: wave.admitted,
                counts: sum.all(),
            }
        });
        let waves: Vec<WaveProgress> = waves.collect();
        let returns = (0_u16..).take(waves.len()).map(|index| {
            let sum = pooled(state, rollout.id, WaveIndex(index), Arm::Return);
            sum.all()
        });
        Self {
            id: rollout.id,
            release: rollout.spec.release.to_string(),
            life: rollout.life.clone(),
            at,
            returns: returns.fold(Counts::default(), |sum, counts| sum.plus(&counts)),
            waves,
            excluded: rollout.excluded.len(),
        }
    }

    /// The same, standing still: without log time and what is left of soaks, which always move.
    pub(super) fn at_rest(&self) -> Self {
        let mut rest = self.clone();
        rest.at = LogTime(0);
        for wave in &mut rest.waves {
            if let Stage::Soaking(left) = &mut wave.stage {
                *left = Millis(0);
            }
        }
        rest
    }

    pub(super) fn to_json(&self) -> Json {
        json!({
            "rollout": self.id.0,
            "release": self.release,
            "life": describe::life_word(&self.life),
            "log_time_ms": self.at.0,
            "excluded_variants": self.excluded,
            "returns": counts_json(&self.returns),
            "waves": self.waves.iter().map(|wave| json!({
                "name": wave.name,
                "target_ppm": wave.target.get(),
                "cap": wave.cap,
                "stage": wave.stage.word(),
                "soak_left_ms": match wave.stage { Stage::Soaking(left) => left.0, _ => 0 },
                "admitted": wave.admitted,
                "counts": counts_json(&wave.counts),
            })).collect::<Vec<_>>(),
        })
    }
}

fn counts_json(counts: &Counts) -> Json {
    json!({
        "exposed": counts.exposed,
        "verified": counts.verified,
        "failed": counts.failed,
        "reverted": counts.reverted,
        "silent": counts.silent,
        "unresolved": counts.unresolved(),
    })
}

fn stage(rollout: &Rollout, index: WaveIndex, at: LogTime) -> Stage {
    let Some((spec, wave)) = rollout.wave(index) else {
        return Stage::Waiting;
    };
    if wave.opened.is_none() {
        return Stage::Waiting;
    }
    if wave.overridden {
        return Stage::Overridden;
    }
    if wave.passed.is_some() {
        return Stage::Passed;
    }
    let soaked = rollout.soaked(index, at);
    match spec.soak.0.saturating_sub(soaked.0) {
        left if left > 0 && !rollout.expedited => Stage::Soaking(Millis(left)),
        _ => Stage::AtGate,
    }
}

/// The tallies of a wave over all strata.
fn pooled(state: &State, rollout: RolloutId, wave: WaveIndex, arm: Arm) -> Sum {
    let key = SumKey {
        rollout,
        wave,
        arm,
        stratum: None,
    };
    state.sums().get(&key).cloned().unwrap_or_default()
}
