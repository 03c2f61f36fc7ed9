//! What the voters' wall clocks say, so that a leader with a wrong clock cannot run log time away.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tidegate_runtime::WallMs;

use crate::types::NodeId;

/// How far ahead of the median of the voters' clocks a stamp may be, in ms.
pub const STAMP_AHEAD_MAX_MS: u64 = 60_000;

/// How much each peer's clock is ahead of ours, as last heard.
///
/// Every frame between nodes carries its sender's clock; the time on the way makes a peer look
/// behind by at most that much, which does not matter against a minute.
#[derive(Debug, Default)]
pub(crate) struct PeerClocks {
    /// Peer's clock less ours when its last frame came, in ms.
    ahead_ms: Mutex<BTreeMap<NodeId, i64>>,
}

impl PeerClocks {
    /// Notes what a peer's clock said when ours said `ours`.
    pub(crate) fn heard(&self, peer: NodeId, theirs: WallMs, ours: WallMs) {
        let ahead = signed(theirs.0).saturating_sub(signed(ours.0));
        let mut clocks = self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.insert(peer, ahead);
    }

    /// How much the median of the voters' clocks is ahead of ours, in ms. Voters that were never
    /// heard of don't count; among an even number, the lower middle one is taken.
    pub(crate) fn median_ahead_ms(&self, me: NodeId, voters: &[NodeId]) -> i64 {
        let clocks = self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ahead: Vec<i64> = voters
            .iter()
            .filter_map(|id| {
                if *id == me {
                    Some(0)
                } else {
                    clocks.get(id).copied()
                }
            })
            .collect();
        ahead.sort_unstable();
        let middle = ahead.len().saturating_sub(1) / 2;
        ahead.get(middle).copied().unwrap_or(0)
    }

    /// The stamp that this node may propose as leader: its own clock, held back to
    /// [`STAMP_AHEAD_MAX_MS`] ahead of the median.
    pub(crate) fn stamp(&self, me: NodeId, voters: &[NodeId], now: WallMs) -> u64 {
        let median = signed(now.0).saturating_add(self.median_ahead_ms(me, voters));
        let latest = median.saturating_add(signed(STAMP_AHEAD_MAX_MS));
        now.0.min(u64::try_from(latest).unwrap_or(0))
    }
}

/// Clocks past the year 292,277,026 count as that year.
fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn stamp(peers: &[(NodeId, i64)], voters: &[NodeId]) -> i64 {
        let clocks = PeerClocks::default();
        for (peer, ahead) in peers {
            clocks.heard(
                *peer,
                WallMs(NOW.saturating_add_signed(*ahead)),
                WallMs(NOW),
            );
        }
        signed(clocks.stamp(1, voters, WallMs(NOW))) - signed(NOW)
    }

    #[test]
    fn a_good_clock_stamps_its_own_time() {
        assert_eq!(stamp(&[], &[1]), 0);
        assert_eq!(stamp(&[(2, -30_000), (3, 40_000)], &[1, 2, 3]), 0);
    }

    #[test]
    fn a_clock_far_ahead_is_held_back_to_a_minute_past_the_median() {
        assert_eq!(stamp(&[(2, -600_000), (3, -610_000)], &[1, 2, 3]), -540_000);
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
    fn a_clock_behind_stamps_its_own_time() {
        // Log time never runs back all the same: `apply` takes the larger stamp.
        assert_eq!(stamp(&[(2, 600_000), (3, 600_000)], &[1, 2, 3]), 0);
    }
}
