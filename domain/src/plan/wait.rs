//! Reasons for which a rollout stands still, typed for programs and worded for people.
use crate::{
    gate::Missing,
    id::{LogTime, Millis, StopId, VariantId, WaveIndex},
    rejection::{AdmissionLimit, Rejection},
    rollout::HaltCause,
    tally::Stratum,
    wave::Breach,
};
use std::fmt;

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// A quorum's approval.
    Approval,
    /// Somebody who starts it.
    Start,
    /// Its time.
    StartAt {
        /// When.
        at: LogTime,
        /// In how long.
        remaining: Millis,
    },
    /// Something that stands in its way.
    Barrier(Box<Rejection>),
    /// The least duration of a wave.
    Soak {
        /// Which wave.
        wave: WaveIndex,
        /// When it is over, if nothing pauses it.
        until: LogTime,
        /// In how long.
        remaining: Millis,
    },
    /// Evidence over all variants.
    Samples {
        /// Whose gate.
        wave: WaveIndex,
        /// What is missing.
        missing: Missing,
    },
    /// Evidence of one variant, which may not be left to the pool.
    VariantSamples {
        /// Whose gate.
        wave: WaveIndex,
        /// Which variant.
        variant: VariantId,
        /// What is missing.
        missing: Missing,
    },
    /// The silence horizon of the oldest devices: only then is their success known.
    Horizon {
        /// When it is reached.
        until: LogTime,
        /// In how long.
        remaining: Millis,
    },
    /// The gate fails as things stand; the next report halts the rollout.
    Failing {
        /// Whose gate.
        wave: WaveIndex,
        /// On what.
        breach: Breach,
    },
    /// The next time that gates are judged.
    HealthCheck {
        /// When.
        at: LogTime,
        /// In how long.
        remaining: Millis,
    },
    /// Somebody who resumes it.
    Paused {
        /// For how long it has been paused.
        lasted: Millis,
    },
    /// A quorum that lifts its halt, or somebody who rolls it back.
    Halted {
        /// Why it was halted.
        cause: HaltCause,
    },
    /// An emergency stop that covers its whole audience.
    Stopped {
        /// Which.
        stop: StopId,
    },
    /// Devices that have to return.
    Returning {
        /// So many have.
        returned: u64,
        /// Of so many at least.
        of: u64,
    },
    /// Somebody who completes it.
    Completion,
    /// The time at which it completes by itself.
    CompleteAt {
        /// When.
        at: LogTime,
        /// In how long.
        remaining: Millis,
    },
    /// Nothing: it moves with the next tick.
    NextTick,
    /// A cap that a gate can't be satisfied under: raise it, lower the sample, or override.
    CapBelowSamples {
        /// Whose cap.
        wave: WaveIndex,
        /// Devices that the wave lets in.
        cap: u64,
        /// Samples that its gate needs.
        need: u64,
    },
    /// A stratum to which nothing more is granted now.
    NoRoom {
        /// Which.
        stratum: Stratum,
        /// What binds.
        what: AdmissionLimit,
    },
    /// A stratum under an emergency stop.
    StratumStopped {
        /// Which.
        stratum: Stratum,
        /// Which stop.
        stop: StopId,
    },
}

impl Wait {
    /// The log time at which time alone ends the wait.
    pub const fn until(&self) -> Option<LogTime> {
        match self {
            Self::StartAt { at, .. }
            | Self::HealthCheck { at, .. }
            | Self::CompleteAt { at, .. } => Some(*at),
            Self::Soak { until, .. } => Some(*until),
            // Cohorts mature by themselves; the plan counts them once for all rollouts.
            Self::Horizon { .. }
            | Self::Approval
            | Self::Start
            | Self::Barrier(_)
            | Self::Samples { .. }
            | Self::VariantSamples { .. }
            | Self::Failing { .. }
            | Self::Paused { .. }
            | Self::Halted { .. }
            | Self::Stopped { .. }
            | Self::Returning { .. }
            | Self::Completion
            | Self::NextTick
            | Self::CapBelowSamples { .. }
            | Self::NoRoom { .. }
            | Self::StratumStopped { .. } => None,
        }
    }
}

impl fmt::Display for Wait {
    #[expect(clippy::too_many_lines, reason = "one arm for each reason")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval => write!(f, "needs approval by a quorum of operators"),
            Self::Start => write!(f, "approved; somebody has to start it"),
            Self::StartAt { remaining, .. } => write!(f, "starts in {}", Plain(*remaining)),
            Self::Barrier(rejection) => write!(f, "blocked: {rejection}"),
            Self::Soak {
                wave, remaining, ..
            } => write!(f, "wave {wave} soaks for another {}", Plain(*remaining)),
            Self::Samples { wave, missing } => {
                write!(
                    f,
                    "the gate of wave {wave} has too little evidence: {missing}"
                )
            }
            Self::VariantSamples {
                wave,
                variant,
                missing,
            } => write!(
                f,
                "the gate of wave {wave} has too little evidence of variant {variant}: {missing}"
            ),
            Self::Horizon { remaining, .. } => write!(
                f,
                "silence counts only after the silence horizon: the first devices reach it in {}",
                Plain(*remaining)
            ),
            Self::Failing { wave, breach } => {
                write!(
                    f,
                    "the gate of wave {wave} fails: {breach}; the next report halts it"
                )
            }
            Self::HealthCheck { remaining, .. } => {
                write!(f, "gates are judged in {}", Plain(*remaining))
            }
            Self::Paused { lasted } => {
                write!(f, "paused for {}; resume it to go on", Plain(*lasted))
            }
            Self::Halted { cause } => write!(
                f,
                "halted: {}; lift the halt (a quorum) or roll it back",
                Why(cause)
            ),
            Self::Stopped { stop } => {
                write!(f, "emergency stop {stop} covers the whole audience")
            }
            Self::Returning { returned, of } => {
                write!(f, "{returned} of at least {of} devices have returned")
            }
            Self::Completion => write!(f, "all waves passed; somebody has to complete it"),
            Self::CompleteAt { remaining, .. } => {
                write!(
                    f,
                    "all waves passed; completes by itself in {}",
                    Plain(*remaining)
                )
            }
            Self::NextTick => write!(f, "moves with the next tick"),
            Self::CapBelowSamples { wave, cap, need } => write!(
                f,
                "wave {wave} lets {cap} devices in, but its gate needs {need}: raise the cap, \
                 lower min_sample, or override the gate"
            ),
            Self::NoRoom { stratum, what } => write!(
                f,
                "variant {} on {} gets no more admissions: {what} is used up",
                stratum.variant, stratum.channel
            ),
            Self::StratumStopped { stratum, stop } => write!(
                f,
                "variant {} on {} is under emergency stop {stop}",
                stratum.variant, stratum.channel
            ),
        }
    }
}

/// The cause of a halt in words.
struct Why<'a>(&'a HaltCause);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            HaltCause::Operator(reason) => write!(f, "by an operator ({reason})"),
            HaltCause::Gate(evidence) => match &evidence.breach {
                Some(breach) => write!(f, "{breach}"),
                None => write!(f, "its gate failed"),
            },
            HaltCause::ReleaseRevoked => write!(f, "its release was revoked"),
            HaltCause::FloorRaised => {
                write!(
                    f,
                    "a floor was raised over its release or its rollback target"
                )
            }
            HaltCause::KeyRevoked => {
                write!(
                    f,
                    "its release has too few signatures by keys that are trusted"
                )
            }
        }
    }
}

/// A length of time in the two units that matter most: `3 h 20 min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain(pub Millis);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0.div_ceil(1_000);
        let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
        let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
        let (large, small) = match (days, hours, minutes) {
            (0, 0, 0) => return write!(f, "{rest} s"),
            (0, 0, minutes) => ((minutes, "min"), (rest, "s")),
            (0, hours, minutes) => ((hours, "h"), (minutes, "min")),
            (days, hours, _) => ((days, "d"), (hours, "h")),
        };
        write!(f, "{} {}", large.0, large.1)?;
        if small.0 > 0 {
            write!(f, " {} {}", small.0, small.1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_like_lengths() {
        let check = |ms, expected: &str| assert_eq!(Plain(Millis(ms)).to_string(), expected);
        check(0, "0 s");
        check(1, "1 s");
        check(59_000, "59 s");
        check(60_000, "1 min");
        check(61_000, "1 min 1 s");
        check(12_000_000, "3 h 20 min");
        check(86_400_000, "1 d");
        check(90_000_000, "1 d 1 h");
    }
}
