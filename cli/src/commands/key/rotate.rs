//! `key rotate`: the next key epoch, and the ceremony of the first.
use super::{list::read_either, revoke::find};
use crate::{
    command_file,
    context::Context,
    failure::Failure,
    keys::{PublicKeyFile, SecretKeyFile},
    signing::{self, Signing},
};
use clap::Args;
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tidegate_domain::{
    State,
    command::{Base, Proposal, RotateKeys},
    id::{CommandId, Epoch, PublicKey},
    key::{KeyStatus, ProposedKey, ProposedRole, Role},
};
use tidegate_runtime::{Clock, Entropy, SystemClock, SystemEntropy};

/// Begins the next key epoch. Takes thresholds of the old and of the new root keys.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The first epoch is a ceremony; nobody needs a network for it:
  tidegate key new --role root --name root-1 root-1.key         # each holder, on their own machine
  tidegate key rotate --first fleet.example --add root-*.pub operator-*.pub release.pub \\
      --threshold root=2 --threshold operator=2 --key root-1.key --collect epoch-1.command
  tidegate approval sign epoch-1.command --key root-2.key       # each further holder
  tidegate approval submit epoch-1.command                      # anybody
  # Later epochs change what the current one has:
  tidegate key rotate --add carol.pub --drop bob --key root-1.key --collect epoch-2.command")]
pub(crate) struct Rotate {
    /// Public key files of keys that shall be trusted from then on.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    add: Vec<PathBuf>,
    /// Keys that shall be retired: hexadecimal digits, or the holder's name.
    #[arg(long, value_name = "KEY", num_args = 1..)]
    drop: Vec<String>,
    /// How many keys of a role must sign what takes its quorum; else as it is, or 1.
    #[arg(long, value_name = "ROLE=COUNT", value_parser = threshold)]
    threshold: Vec<(Role, u16)>,
    /// Hold the first ceremony of the cluster of this name, without asking it.
    #[arg(
        long,
        value_name = "ORIGIN",
        requires = "collect",
        conflicts_with = "drop"
    )]
    first: Option<String>,
    /// Go on although registered releases are left without enough signatures.
    #[arg(long = "override")]
    strand: bool,
    #[command(flatten)]
    signing: Signing,
}

impl Rotate {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(origin) = &self.first {
            return self.first(context, origin);
        }
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let keys = self.proposed(Some(view.state()))?;
        let epoch = Epoch(view.state().keys().epoch.0.saturating_add(1));
        let command = RotateKeys {
            epoch,
            roles: keys,
            strand: self.strand,
        };
        let desk = context.desk(&cluster, &view);
        let done = format!("key epoch {epoch} begins");
        desk.submit(&self.signing, command, &done).await
    }

    /// The ceremony: nothing is known of the cluster but its name.
    fn first(&self, context: &Context, origin: &str) -> Result<(), Failure> {
        let file = self.signing.collect_file();
        let file = file.ok_or_else(|| Failure::usage("--first takes --collect FILE"))?;
        let roles = self.proposed(None)?;
        let root = roles.iter().find(|role| role.role == Role::Root);
        let needed = root.map_or(0, |root| root.threshold);
        let proposal = ceremony(origin, roles, self.signing.valid_for())?;
        let mut signed = proposal.unsigned();
        for path in self.signing.key_files() {
            let key = SecretKeyFile::read(path).map_err(Failure::refused)?;
            if key.role != Role::Root {
                let what = format!("{} is a key of role {}", path.display(), key.role);
                return Err(Failure::usage(what).next("the ceremony takes root keys"));
            }
            signed.sign(&key.signing);
        }
        command_file::create(file, &signed)?;
        let (name, has) = (file.display(), signed.signatures.len());
        let text = format!(
            "wrote {name}: key epoch 1 of {origin}, {has} of {needed} root signature(s)\n  next: the other holders run `tidegate approval sign {name} --key FILE`, then anybody `tidegate approval submit {name}`"
        );
        let json = json!({ "file": name.to_string(), "signatures": has, "needed": needed });
        context.terminal.show(text, json);
        Ok(())
    }

    /// The keys of every role as they shall be.
    fn proposed(&self, state: Option<&State>) -> Result<Vec<ProposedRole>, Failure> {
        let mut roles = state.map(current).unwrap_or_default();
        for meant in &self.drop {
            let state = state.ok_or_else(|| Failure::usage("--drop needs the cluster"))?;
            let key = find(state, meant)?;
            for keys in roles.values_mut() {
                keys.1.remove(&key);
            }
        }
        let added: Result<Vec<_>, Failure> =
            self.add.iter().map(|file| read_either(file)).collect();
        for PublicKeyFile { role, key, name } in added? {
            let keys = roles.entry(role).or_insert((1, BTreeMap::new()));
            keys.1.insert(key, ProposedKey { key, name });
        }
        for (role, count) in &self.threshold {
            roles.entry(*role).or_insert((1, BTreeMap::new())).0 = *count;
        }
        if !roles.contains_key(&Role::Root) {
            return Err(Failure::usage("the new epoch has no root key")
                .next("--add the public keys of everybody who shall be trusted"));
        }
        Ok(sorted(roles))
    }
}

type Roles = BTreeMap<Role, (u16, BTreeMap<PublicKey, ProposedKey>)>;

fn current(state: &State) -> Roles {
    let mut roles = Roles::new();
    for role in Role::ALL {
        let Some(keys) = state.keys().role(role) else {
            continue;
        };
        let trusted = keys
            .keys
            .iter()
            .filter(|(_, entry)| entry.status == KeyStatus::Trusted)
            .map(|(key, entry)| {
                let name = entry.name.clone();
                (*key, ProposedKey { key: *key, name })
            });
        roles.insert(role, (keys.threshold, trusted.collect()));
    }
    roles
}

fn sorted(roles: Roles) -> Vec<ProposedRole> {
    let proposed = roles
        .into_iter()
        .map(|(role, (threshold, keys))| ProposedRole {
            role,
            threshold,
            keys: keys.into_values().collect(),
        });
    proposed.filter(|role| !role.keys.is_empty()).collect()
}

/// The proposal of epoch 1, on top of the empty log.
pub(crate) fn ceremony(
    origin: &str,
    roles: Vec<ProposedRole>,
    valid_for: Duration,
) -> Result<Proposal, Failure> {
    let entropy: &dyn Entropy = &SystemEntropy;
    let command = RotateKeys {
        epoch: Epoch(1),
        roles,
        strand: false,
    };
    let (not_before, not_after) = signing::validity(SystemClock.wall(), valid_for)?;
    Ok(Proposal {
        origin: origin.to_owned(),
        id: CommandId(entropy.array().map_err(Failure::refused)?),
        epoch: Epoch(0),
        not_before,
        not_after,
        base: Base::genesis(origin),
        command: command.into(),
        expected_revision: None,
    })
}

fn threshold(text: &str) -> Result<(Role, u16), String> {
    let (role, count) = text.split_once('=').ok_or("expected ROLE=COUNT")?;
    let role = role.parse().map_err(|error| format!("{error}"))?;
    let count = count.parse().ok().filter(|count| *count > 0);
    Ok((role, count.ok_or("expected a count of at least 1")?))
}
