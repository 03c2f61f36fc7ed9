//! `key revoke`.
use crate::{
    context::{Context, reason},
    failure::Failure,
    signing::Signing,
};
use clap::Args;
use tidegate_domain::{
    State,
    command::RevokeKey,
    id::{PublicKey, Reason},
    key::{KeyStatus, Role},
};

/// Takes all trust from a key: nothing that it signed is offered or counted. Takes the operators'
/// quorum.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate key revoke bob --reason 'laptop stolen' --dry-run
  tidegate key revoke 8a88e3dd… --reason 'laptop stolen' --collect revoke.command")]
pub(crate) struct Revoke {
    /// The key: its 64 hexadecimal digits, or its holder's name if only one trusted key has it.
    key: String,
    /// Go on although registered releases are left without enough signatures.
    #[arg(long = "override")]
    strand: bool,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    signing: Signing,
}

impl Revoke {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let key = find(view.state(), &self.key)?;
        let command = RevokeKey {
            key,
            reason: self.reason,
            strand: self.strand,
        };
        let done = format!("key {key} is revoked");
        let desk = context.desk(&cluster, &view);
        desk.submit(&self.signing, command, &done).await
    }
}

/// The key that is meant.
pub(crate) fn find(state: &State, meant: &str) -> Result<PublicKey, Failure> {
    let mut bytes = [0; 32];
    if hex::decode_to_slice(meant, &mut bytes).is_ok() {
        return Ok(PublicKey(bytes));
    }
    let mut named = Vec::new();
    for role in Role::ALL {
        for (key, entry) in state.keys().role(role).iter().flat_map(|keys| &keys.keys) {
            if entry.name.as_str() == meant && entry.status != KeyStatus::Revoked {
                named.push(*key);
            }
        }
    }
    match named.as_slice() {
        [only] => Ok(*only),
        several => Err(
            Failure::usage(format!("{} keys are named {meant:?}", several.len()))
                .next("name one by its 64 hexadecimal digits; `tidegate key list` shows them"),
        ),
    }
}
