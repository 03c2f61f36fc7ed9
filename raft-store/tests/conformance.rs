//! openraft's own suite for log stores and state machines, against ours, in both worlds.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tidegate_raft_store::TypeConfig;
use tidegate_raft_store::storage::{
    Claim, DirectoryId, Identity, LogOptions, LogStore, Owner, StateOptions, StateStore,
};
use tidegate_runtime::disk::{Disk, SimDisk};
use tidegate_runtime::{AsyncRuntime as _, Rt};

struct OnSimDisk;

impl StoreBuilder<TypeConfig, LogStore, StateStore, ()> for OnSimDisk {
    async fn build(&self) -> Result<((), LogStore, StateStore), StorageError<TypeConfig>> {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new().mount());
        let claim = Claim::New(Owner {
            identity: Identity {
                origin: "suite.example/fleet".to_owned(),
                incarnation: 1,
                node: 1,
            },
            directory: DirectoryId([1; 16]),
        });
        let log = LogOptions {
            cache_bytes_max: 1_000,
            message_bytes_max: 1 << 20,
            segment_bytes: 64 << 10,
        };
        let state = StateOptions {
            page_cache_bytes: 1 << 20,
            unsynced_bytes_max: 1 << 20,
            feed_bytes_max: 1 << 20,
        };
        let log = LogStore::open(Arc::clone(&disk), &claim, log)
            .await
            .expect("an empty disk opens");
        let state = StateStore::open(disk, &claim, state)
            .await
            .expect("an empty disk opens");
        Ok(((), log, state))
    }
}

#[test]
fn the_stores_are_what_openraft_assumes() {
    Rt::new(1).block_on(Suite::test_all(OnSimDisk)).unwrap();
}
