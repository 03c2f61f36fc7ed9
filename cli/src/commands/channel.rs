//! `tidegate channel`.
use crate::{context::Context, failure::Failure, signing::Signing, terminal::table};
use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_domain::{command::RegisterChannel, id};

/// Release channels: which of the devices of a variant take new releases first.
#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    Register(Register),
    List(List),
}

/// Registers a release channel. Devices on a channel that is not registered are offered nothing;
/// `stable`, which devices are on that name none, is always there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate channel register beta")]
pub(crate) struct Register {
    /// Its name.
    channel: id::Channel,
    #[command(flatten)]
    signing: Signing,
}

/// Lists the release channels.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tidegate channel list --json")]
pub(crate) struct List {}

impl Channel {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Register(register) => register.run(context).await,
            Self::List(List {}) => list(context).await,
        }
    }
}

impl Register {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let done = format!("the channel {} is registered", self.channel);
        let channel = self.channel;
        let command = RegisterChannel { channel };
        context.submit(&self.signing, command, &done).await
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let view = context.view().await?;
    let mut rows = vec![vec![
        id::Channel::DEFAULT.to_owned(),
        "always there".to_owned(),
    ]];
    let mut json = vec![json!({ "channel": id::Channel::DEFAULT })];
    for (channel, revision) in view.state().channels().iter() {
        rows.push(vec![channel.to_string(), format!("by entry {revision}")]);
        json.push(json!({ "channel": channel.as_str(), "revision": revision.0 }));
    }
    let text = table(&["CHANNEL", "REGISTERED"], &rows);
    context.terminal.show(text, json!({ "channels": json }));
    Ok(())
}
