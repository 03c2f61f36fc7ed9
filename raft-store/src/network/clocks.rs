//! What the voters' wall clocks say, so that a leader with a wrong clock cannot run log time away.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_runtime::{BootInstant, Clock, WallMs};

use crate::types::NodeId;

/// How far ahead of the median of the voters' clocks a stamp may be, in ms: a voter that sees one
/// further ahead raises an alarm.
pub const STAMP_AHEAD_MAX_MS: u64 = 60_000;
/// What a leader stays below that, in ms: other voters hear of the clocks at other times, and must
/// not take its stamps for a lie.
const STAMP_MARGIN_MS: u64 = 5_000;
/// How far behind it a stamp may be, in ms: a leader whose clock is wrong or was set back holds up
/// what is due by no more than that.
const STAMP_BEHIND_MAX_MS: u64 = 60_000;

/// What each peer's clock said, as last heard, against our boot clock: our own wall clock may jump,
/// and must not take what we know of theirs along.
///
/// Every frame between nodes carries its sender's clock; the time on the way makes a peer look
/// behind by at most that much, which does not matter against a minute.
#[derive(Debug, Default)]
pub(crate) struct PeerClocks {
    /// What the peer's clock said when this machine booted, in ms, if it has run evenly since.
    at_boot_ms: Mutex<BTreeMap<NodeId, i64>>,
}

impl PeerClocks {
    /// Notes what a peer's clock said when our boot clock said `at`.
    pub(crate) fn heard(&self, peer: NodeId, theirs: WallMs, at: BootInstant) {
        let at_boot = signed(theirs.0).saturating_sub(since_boot_ms(at));
        self.at_boot_ms().insert(peer, at_boot);
    }

    /// How much the median of the voters' clocks is ahead of ours, in ms. Voters that were never
    /// heard of don't count; among an even number, the lower middle one is taken.
    pub(crate) fn median_ahead_ms(&self, me: NodeId, voters: &[NodeId], clock: &dyn Clock) -> i64 {
        let ours = signed(clock.wall().0);
        self.median_ms(me, voters, ours, clock.boot())
            .saturating_sub(ours)
    }

    /// The stamp that this node proposes as leader: its own clock, held within
    /// [`STAMP_AHEAD_MAX_MS`], less the margin, and [`STAMP_BEHIND_MAX_MS`] of the median.
    pub(crate) fn stamp(&self, me: NodeId, voters: &[NodeId], clock: &dyn Clock) -> u64 {
        let ours = clock.wall().0;
        let median = self.median_ms(me, voters, signed(ours), clock.boot());
        let latest = median.saturating_add(signed(STAMP_AHEAD_MAX_MS - STAMP_MARGIN_MS));
        let earliest = median.saturating_sub(signed(STAMP_BEHIND_MAX_MS));
        let unsigned = |ms: i64| u64::try_from(ms).unwrap_or(0);
        ours.clamp(unsigned(earliest), unsigned(latest))
    }

    /// How far log time `time_ms` is ahead of the median, in ms, if that is further than any stamp
    /// of an honest leader.
    pub(crate) fn too_far_ahead_ms(
        &self,
        (me, voters): (NodeId, &[NodeId]),
        clock: &dyn Clock,
        time_ms: u64,
    ) -> Option<u64> {
        let median = self.median_ms(me, voters, signed(clock.wall().0), clock.boot());
        let ahead = u64::try_from(signed(time_ms).saturating_sub(median)).ok()?;
        (ahead > STAMP_AHEAD_MAX_MS).then_some(ahead)
    }

    /// The median of the voters' clocks now.
    fn median_ms(&self, me: NodeId, voters: &[NodeId], ours: i64, now: BootInstant) -> i64 {
        let at_boot = self.at_boot_ms();
        let theirs = |id| Some(at_boot.get(id)?.saturating_add(since_boot_ms(now)));
        let known = voters.iter();
        let known = known.filter_map(|id| if *id == me { Some(ours) } else { theirs(id) });
        let mut clocks: Vec<i64> = known.collect();
        clocks.sort_unstable();
        let middle = clocks.len().saturating_sub(1) / 2;
        clocks.get(middle).copied().unwrap_or(ours)
    }

    fn at_boot_ms(&self) -> MutexGuard<'_, BTreeMap<NodeId, i64>> {
        self.at_boot_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn since_boot_ms(at: BootInstant) -> i64 {
    i64::try_from(at.since_boot().as_millis()).unwrap_or(i64::MAX)
}

/// Clocks past the year 292,277,026 count as that year.
fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: u64 = 1_800_000_000_000;
    const BOOTED_MS_AGO: u64 = 86_400_000;

    /// A clock whose owner booted [`BOOTED_MS_AGO`] before [`NOW`].
    #[derive(Debug)]
    struct At {
        wall: u64,
        since_now_ms: u64,
    }

    impl Clock for At {
        fn wall(&self) -> WallMs {
            WallMs(self.wall)
        }

        fn boot(&self) -> BootInstant {
            BootInstant::from_boot(Duration::from_millis(BOOTED_MS_AGO + self.since_now_ms))
        }
    }

    fn heard(peers: &[(NodeId, i64)]) -> PeerClocks {
        let clocks = PeerClocks::default();
        let at = BootInstant::from_boot(Duration::from_millis(BOOTED_MS_AGO));
        for (peer, ahead) in peers {
            clocks.heard(*peer, WallMs(NOW.saturating_add_signed(*ahead)), at);
        }
        clocks
    }

    fn stamp(peers: &[(NodeId, i64)], voters: &[NodeId]) -> i64 {
        let now = At {
            wall: NOW,
            since_now_ms: 0,
        };
        signed(heard(peers).stamp(1, voters, &now)) - signed(NOW)
    }

    #[test]
    fn a_jump_of_our_own_clock_does_not_move_the_median() {
        let clocks = heard(&[(2, 0), (3, 0)]);
        for jump_ms in [-7_200_000_i64, 7_200_000] {
            // Two seconds later; nothing was heard since.
            let jumped = At {
                wall: (NOW + 2_000).saturating_add_signed(jump_ms),
                since_now_ms: 2_000,
            };
            let median = clocks.median_ahead_ms(1, &[1, 2, 3], &jumped);
            assert_eq!(median, -jump_ms, "the others' clocks did not jump");
            let stamp = clocks.stamp(1, &[1, 2, 3], &jumped);
            let earliest = NOW + 2_000 - STAMP_BEHIND_MAX_MS;
            let latest = NOW + 2_000 + STAMP_AHEAD_MAX_MS - STAMP_MARGIN_MS;
            assert_eq!(stamp, jumped.wall.clamp(earliest, latest));
        }
    }

    #[test]
    fn a_good_clock_stamps_its_own_time() {
        assert_eq!(stamp(&[], &[1]), 0);
        assert_eq!(stamp(&[(2, -30_000), (3, 40_000)], &[1, 2, 3]), 0);
    }

    #[test]
    fn a_clock_far_ahead_is_held_back_to_a_minute_past_the_median() {
        assert_eq!(stamp(&[(2, -600_000), (3, -610_000)], &[1, 2, 3]), -545_000);
    }

    #[test]
    fn only_what_no_honest_leader_stamps_is_too_far_ahead() {
        let clocks = heard(&[(2, 1_000), (3, 2_000)]);
        let now = At {
            wall: NOW,
            since_now_ms: 0,
        };
        let too_far = |ahead| clocks.too_far_ahead_ms((1, &[1, 2, 3]), &now, NOW + ahead);
        assert_eq!(too_far(0), None);
        assert_eq!(too_far(1_000 + STAMP_AHEAD_MAX_MS), None);
        assert_eq!(too_far(1_001 + STAMP_AHEAD_MAX_MS), Some(60_001));
    }

    #[test]
    fn one_wrong_peer_moves_nothing() {
        assert_eq!(stamp(&[(2, -9_000_000), (3, 10)], &[1, 2, 3]), 0);
    }

    #[test]
    fn learners_have_no_say() {
        assert_eq!(stamp(&[(4, -600_000), (5, -600_000)], &[1, 2, 3]), 0);
    }

    #[test]
    fn a_clock_far_behind_is_pulled_up_to_a_minute_before_the_median() {
        assert_eq!(stamp(&[(2, 600_000), (3, 610_000)], &[1, 2, 3]), 540_000);
    }

    #[test]
    fn one_peer_alone_pulls_nobody_up() {
        assert_eq!(stamp(&[(2, 600_000)], &[1, 2, 3]), 0);
    }
}
