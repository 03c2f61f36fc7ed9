//! What time it is, as an argument.

use std::fmt::Debug;
use std::time::Duration;

/// The two times that Tidegate's code may ask for.
///
/// They differ in what may be trusted of them: the wall clock is comparable between machines but
/// jumps; the boot clock never jumps but means nothing elsewhere. Leases and time-outs count on
/// the boot clock, stamps and expiries on the wall clock.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch, as this machine believes. May jump either way.
    fn wall(&self) -> WallMs;

    /// Time since boot, suspended time included. Never runs back within one boot.
    fn boot(&self) -> BootInstant;
}

/// Wall-clock time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMs(pub u64);

/// A point on one machine's boot clock; comparable only with points of the same boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootInstant(Duration);

impl BootInstant {
    /// The instant `since_boot` after boot.
    #[must_use]
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// Time from boot to this instant.
    #[must_use]
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant `by` later; the far end of time on overflow, so that a deadline never wraps.
    #[must_use]
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

/// The clocks of the machine, or of the simulated node that asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(not(madsim))]
impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn wall(&self) -> WallMs {
        // A clock before 1970 is a broken clock; zero makes every expiry check refuse.
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        WallMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn boot(&self) -> BootInstant {
        // Not std's `Instant`: on Linux that is CLOCK_MONOTONIC, which stands still in suspend, so
        // a laptop that slept for an hour would still call its lease fresh.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const SUSPEND_AWARE: rustix::time::ClockId = rustix::time::ClockId::Boottime;
        // Elsewhere (macOS) CLOCK_MONOTONIC itself counts suspended time.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const SUSPEND_AWARE: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

        let now = rustix::time::clock_gettime(SUSPEND_AWARE);
        let secs = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
        BootInstant(Duration::new(secs, nanos))
    }
}

#[cfg(madsim)]
impl Clock for SystemClock {
    fn wall(&self) -> WallMs {
        crate::sim::wall()
    }

    fn boot(&self) -> BootInstant {
        crate::sim::boot()
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "real time must pass")]
    fn the_boot_clock_moves_and_counts_from_boot() {
        let first = SystemClock.boot();
        std::thread::sleep(Duration::from_millis(5));
        let elapsed = SystemClock.boot().since(first);
        assert!(elapsed >= Duration::from_millis(5), "{elapsed:?}");
        assert!(first.since_boot() > Duration::ZERO);
    }

    #[test]
    fn the_wall_clock_counts_milliseconds_since_1970() {
        let y2024 = WallMs(1_704_067_200_000);
        let y2100 = WallMs(4_102_444_800_000);
        assert!((y2024..y2100).contains(&SystemClock.wall()));
    }

    #[test]
    fn instants_saturate_instead_of_wrapping() {
        let early = BootInstant::from_boot(Duration::from_secs(1));
        let late = early.after(Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(late.after(Duration::MAX).since_boot(), Duration::MAX);
    }
}
