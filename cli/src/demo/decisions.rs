//! The demo's decision nodes.
use super::{cluster::free_address, keyring::draw_key, setup::ORIGIN};
use anyhow::Context;
use std::{path::Path, sync::Arc};
use tidegate_decision::{
    config::NodeConfig,
    engine::PseudonymKey,
    node::{Node, Secrets},
};
use tidegate_domain::id::Region;
use tidegate_runtime::{Clock, Host, disk::DirDisk};

/// Where the decision nodes stand.
const REGIONS: [&str; 2] = ["eu", "us"];

/// Running decision nodes.
pub(super) struct Decisions {
    nodes: Vec<Node>,
}

impl Decisions {
    /// Starts one node for each region, with what it must not forget below `dir`.
    pub(super) async fn start(
        dir: &Path,
        stores: &[String],
        keys: &[ed25519_dalek::SigningKey],
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        // All nodes of a fleet hide device ids with the same secret.
        let pseudonyms = PseudonymKey::new(draw_key()?.to_bytes());
        let mut nodes = Vec::new();
        for (region, key) in REGIONS.iter().zip(keys) {
            let stands = Region::new(*region)?;
            let config = NodeConfig::new(ORIGIN, stores.to_vec(), stands, free_address()?);
            let secrets = Secrets {
                signing: key.clone(),
                pseudonyms: pseudonyms.clone(),
            };
            let host = Host {
                clock: Arc::clone(clock),
                ..Host::system(DirDisk::open(dir.join(region))?)
            };
            nodes.push(Node::start(config, secrets, host).await?);
        }
        Ok(Self { nodes })
    }

    /// The nodes as `http://host:port`, for gRPC.
    pub(super) fn urls(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| format!("http://{}", node.address()))
            .collect()
    }

    /// Stops all nodes; their last reports are in the log when this returns.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        for node in self.nodes {
            node.shutdown()
                .await
                .context("a decision node could not close its session")?;
        }
        Ok(())
    }
}
