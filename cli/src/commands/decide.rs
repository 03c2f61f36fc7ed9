//! `tidegate decide`: a decision node.
use super::serve::read_key;
use crate::{
    context::Context,
    failure::{Failure, Kind},
    keys,
    process::{Ending, start_logs},
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tidegate_decision::{
    config::DecideFile,
    engine::PseudonymKey,
    node::{Node, Secrets},
};
use tidegate_domain::key::Role;
use tidegate_runtime::{Host, disk::DirDisk};

/// Runs a decision node until it is told to stop (SIGTERM or Ctrl-C).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate decide --config fleet/decide.toml

`tidegate init` writes a configuration to start from. Relative paths in it are taken from its folder.")]
pub(crate) struct Decide {
    /// The node's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Decide {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        start_logs();
        let mut ending = Ending::listen()?;
        let file = DecideFile::read(&self.config).map_err(Failure::usage)?;
        let secret = keys::read_secret_hex(&file.pseudonym_key).map_err(Failure::refused)?;
        let secrets = Secrets {
            signing: read_key(&file.key, Role::Decision)?,
            pseudonyms: PseudonymKey::new(secret),
        };
        let disk = DirDisk::open(&file.data_dir).map_err(Failure::refused)?;
        let origin = file.node.origin.clone();
        let node = Node::start(file.node, secrets, Host::system(disk))
            .await
            .map_err(|error| Failure::refused(format!("the node does not start: {error}")))?;
        let address = node.address();
        let http = node.http_address().map(|http| http.to_string());
        let mut text = format!("a decision node of {origin} answers gRPC on {address}");
        if let Some(http) = &http {
            text.push_str(&format!(" and HTTP on {http}"));
        }
        let json = json!({ "origin": origin, "address": address.to_string(), "http": http });
        context.terminal.show(text, json);
        ending.asked().await;
        context
            .terminal
            .note("the decision node stops: it reports and closes its session");
        node.shutdown().await.map_err(|error| {
            Failure::new(Kind::OutcomeUnknown, format!("the session was not closed: {error}")).next(
                "if the node does not come back, `tidegate budget list` and `tidegate budget writeoff` settle it",
            )
        })
    }
}
