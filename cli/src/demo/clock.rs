//! A wall clock that runs fast, so that a rollout of days fits into a minute.
use tidegate_runtime::{BootInstant, Clock, SystemClock, WallMs};

/// Wall time runs `factor` times as fast as it does; the boot clock, and with it leases and
/// time-outs, is the machine's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct FastClock {
    began: WallMs,
    factor: u64,
}

impl FastClock {
    /// A clock that agrees with the machine's now and then runs ahead of it.
    pub(super) fn starting_now(factor: u64) -> Self {
        Self {
            began: SystemClock.wall(),
            factor,
        }
    }
}

impl Clock for FastClock {
    fn wall(&self) -> WallMs {
        let passed = SystemClock.wall().0.saturating_sub(self.began.0);
        WallMs(
            self.began
                .0
                .saturating_add(passed.saturating_mul(self.factor)),
        )
    }

    fn boot(&self) -> BootInstant {
        SystemClock.boot()
    }
}
