//! draft
use anyhow::Result;
use std::{path::Path, sync::Arc};
use tidegate_client::StoreClient;
pub(super) struct Decisions;
impl Decisions {
    pub(super) async fn start(_: &Path, _: &StoreClient, _: &[ed25519_dalek::SigningKey], _: &Arc<dyn tidegate_runtime::Clock>) -> Result<Self> { todo!() }
    pub(super) fn urls(&self) -> Vec<String> { todo!() }
    pub(super) async fn stop(self) -> Result<()> { todo!() }
}
