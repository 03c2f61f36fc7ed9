//! `tidegate serve`: a store node.
use crate::{
    context::Context,
    failure::Failure,
    keys::SecretKeyFile,
    process::{Ending, start_logs},
};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use tidegate_domain::{key::Role, signature::SigningKey};
use tidegate_raft_store::{
    Listener, Node, NodeKeys,
    config::{ConfigError, NodeConfig},
};
use tidegate_runtime::{Host, disk::DirDisk};

/// What to do after a failure of the disk.
const LOOK: &str = "look at the disk, and start it again: it goes on, or says why it must not";

/// Runs a store node until it is told to stop (SIGTERM or Ctrl-C).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate serve --config fleet/node-1.toml
  RUST_LOG=debug tidegate serve --config fleet/node-1.toml

`tidegate init` writes configurations to start from. Relative paths in one are taken from its folder.")]
pub(crate) struct Serve {
    /// The node's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Serve {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        start_logs();
        let mut ending = Ending::listen()?;
        let config = read(&self.config)?;
        let keys = keys(&config)?;
        // The address comes first: whoever lacks it must not touch the data.
        let listener = Listener::bind(config.listen).map_err(Failure::refused)?;
        let disk = DirDisk::open(&config.data_dir).map_err(Failure::refused)?;
        let (id, origin) = (config.node_id, config.origin.clone());
        let data = config.data_dir.display().to_string();
        let node = Node::start(config, keys, listener, Host::system(disk))
            .await
            .map_err(|error| Failure::refused(format!("node {id} does not start: {error}")))?;
        let address = node.address();
        context.terminal.show(
            format!("node {id} of {origin} serves on {address}, with its data in {data}"),
            json!({ "node": id, "origin": origin, "address": address.to_string(), "data_dir": data }),
        );
        let failed = tokio::select! {
            biased;
            () = ending.asked() => None,
            why = node.failed() => Some(why),
        };
        if let Some(why) = failed {
            // In order would mean to write what cannot be written, and to lead while trying.
            node.kill().await;
            return Err(Failure::refused(format!("node {id} cannot go on: {why}")).next(LOOK));
        }
        context.terminal.note(format!("node {id} stops"));
        node.stop().await.map_err(|error| {
            Failure::refused(format!("the last writes did not become durable: {error}")).next(LOOK)
        })
    }
}

fn read(path: &Path) -> Result<NodeConfig, Failure> {
    let mut config = NodeConfig::read(path).map_err(|error| {
        let failure = Failure::usage(format!("{}: {error}", path.display()));
        match error {
            ConfigError::Read { .. } => failure.next("`tidegate init` writes configurations"),
            _ => failure,
        }
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    config.data_dir = folder.join(&config.data_dir);
    for file in [
        &mut config.keys.node,
        &mut config.keys.log,
        &mut config.keys.checkpoint,
    ] {
        *file = file.as_ref().map(|file| folder.join(file));
    }
    Ok(config)
}

fn keys(config: &NodeConfig) -> Result<NodeKeys, Failure> {
    Ok(NodeKeys {
        node: key(config.keys.node.as_deref(), Role::Node)?,
        log: key(config.keys.log.as_deref(), Role::Checkpoint)?,
        checkpoint: key(config.keys.checkpoint.as_deref(), Role::Checkpoint)?,
    })
}

fn key(file: Option<&Path>, role: Role) -> Result<Option<SigningKey>, Failure> {
    file.map(|file| read_key(file, role)).transpose()
}

/// Reads a key that a node is to hold, and refuses one of another role: it would sign in vain.
pub(super) fn read_key(file: &Path, role: Role) -> Result<SigningKey, Failure> {
    let key = SecretKeyFile::read(file).map_err(Failure::refused)?;
    if key.role == role {
        return Ok(key.signing);
    }
    let what = format!(
        "{} is a key of role {}, not {role}",
        file.display(),
        key.role
    );
    Err(Failure::usage(what))
}
