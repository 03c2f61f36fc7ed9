//! A client that follows the store as a decision node does, and tells what it sees.

use std::sync::Arc;

use tidegate_client::{Follower, FollowerConfig, HighWater, Observer, View};
use tidegate_domain::Event;
use tidegate_domain::testing::Fleet;
use tidegate_runtime::SystemClock;
use tidegate_runtime::disk::SimDisk;

use super::client::Client;
use super::witness::Witness;
use crate::oracle::{NEWS, Seen};
use crate::record::Kind;

/// Follows the store as a decision node does.
pub(crate) async fn follow(client: Client) {
    let Ok(high_water) = HighWater::open(Arc::new(SimDisk::new().mount())).await else {
        unreachable!("the disk is new and has no faults");
    };
    let witness = Onlooker {
        lane: client.lane().to_owned(),
        witness: client.witness().clone(),
    };
    let _follower = Follower::start(
        client.connect(),
        FollowerConfig::new(Fleet::ORIGIN),
        Arc::new(SystemClock),
        high_water,
        witness,
    );
    std::future::pending::<()>().await;
}

/// Tells the oracles of every move of a view.
struct Onlooker {
    lane: String,
    witness: Witness,
}

impl Onlooker {
    fn note(&self, view: &View, replaced: bool) {
        let entries = view.position().entries;
        self.witness
            .note(&self.lane, Kind::View { entries, replaced });
        let what = &format!("{NEWS}{}", self.lane);
        self.witness.see(&Seen::Progress { what });
    }
}

impl Observer for Onlooker {
    fn replaced(&mut self, view: &View) {
        self.note(view, true);
        self.witness.see(&Seen::Replaced {
            lane: &self.lane,
            entries: view.position().entries,
        });
    }

    fn advanced(&mut self, view: &View, events: &[Event]) {
        self.note(view, false);
        self.witness.see(&Seen::Advanced {
            lane: &self.lane,
            entries: view.position().entries,
            events,
        });
    }
}
