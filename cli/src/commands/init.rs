//! `tidegate init`: everything that a first cluster on one machine needs.
use crate::{
    command_file,
    commands::key::{ceremony, create},
    context::Context,
    failure::Failure,
    keys::{self, PublicKeyFile, SecretKeyFile},
};
use clap::Args;
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tidegate_domain::{
    Command, SignedCommand,
    command::{ChangeMembership, Proposal, seal},
    config::Member,
    id::{CommandId, Epoch, KeyName, NodeId, PublicKey, Region},
    key::{ProposedKey, ProposedRole, Role},
};
use tidegate_runtime::{Entropy, SystemEntropy};

/// How long the ceremony's commands stay valid: as long as ids are kept, less a minute.
const VALID_FOR: Duration = Duration::from_secs(7 * 24 * 3_600 - 60);

/// Makes keys and configurations of a new cluster on this machine, to try it and to start from.
///
/// All keys lie in one folder then. A cluster that matters holds its key ceremony with the holders
/// of its root keys instead: see `tidegate key rotate --help`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate init fleet --origin fleet.example
  tidegate init fleet --origin fleet.example --regions eu-west,us-east,ap-south --port 7001")]
pub(crate) struct Init {
    /// The folder to make.
    directory: PathBuf,
    /// Name of the cluster, in every signature and checkpoint: best a domain name of yours.
    #[arg(long)]
    origin: String,
    /// Regions of the store nodes, one node each.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "eu-west,us-east,ap-south"
    )]
    regions: Vec<Region>,
    /// Port of the first store node; the others follow, then the decision node's two.
    #[arg(long, default_value_t = 7_001)]
    port: u16,
}

/// Who is to have keys: role, names, and how many of them make a quorum.
fn holders(nodes: usize) -> Vec<(Role, Vec<String>, u16)> {
    let numbered = |name: &str, count| (1..=count).map(|n| format!("{name}-{n}")).collect();
    let mut checkpoint: Vec<String> = numbered("checkpoint", nodes);
    checkpoint.push("log".to_owned());
    vec![
        (Role::Root, numbered("root", 3), 2),
        (Role::Release, numbered("release", 1), 1),
        (Role::Operator, numbered("operator", 2), 2),
        (Role::Decision, numbered("decision", 1), 1),
        (Role::Node, numbered("node", nodes), 1),
        (Role::Checkpoint, checkpoint, 1),
    ]
}

impl Init {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        if !(1..=9).contains(&self.regions.len()) {
            return Err(Failure::usage(
                "a cluster has 1 to 9 voters, each with its region",
            ));
        }
        if self.directory.exists() {
            let what = format!("{} exists", self.directory.display());
            return Err(Failure::refused(what).next("name a folder that does not exist yet"));
        }
        let made = self.make_keys()?;
        self.write_nodes()?;
        self.write_decide()?;
        self.write_profile()?;
        let epoch = self.epoch(&made)?;
        let members = self.members(&made)?;
        command_file::create(&self.directory.join("epoch-1.command"), &epoch)?;
        command_file::create(&self.directory.join("members.command"), &members)?;
        self.show(context);
        Ok(())
    }

    fn key_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("keys/{name}.key"))
    }

    fn make_keys(&self) -> Result<BTreeMap<String, PublicKeyFile>, Failure> {
        let folder = self.directory.join("keys");
        std::fs::create_dir_all(&folder).map_err(|error| {
            Failure::refused(format!("cannot make {}: {error}", folder.display()))
        })?;
        let mut made = BTreeMap::new();
        for (role, names, _) in holders(self.regions.len()) {
            for name in names {
                let holder = KeyName::new(name.clone()).map_err(Failure::usage)?;
                made.insert(name.clone(), create(&self.key_path(&name), role, holder)?);
            }
        }
        let entropy: &dyn Entropy = &SystemEntropy;
        let secret: [u8; 32] = entropy.array().map_err(Failure::refused)?;
        let line = format!("{}\n", hex::encode(secret));
        self.write("keys/pseudonym.secret", 0o600, &line)?;
        Ok(made)
    }

    fn address(&self, offset: usize) -> Result<String, Failure> {
        let port = u16::try_from(offset)
            .ok()
            .and_then(|offset| self.port.checked_add(offset));
        let port = port.ok_or_else(|| Failure::usage("--port is too high for so many nodes"))?;
        Ok(format!("127.0.0.1:{port}"))
    }

    fn store(&self) -> Result<Vec<String>, Failure> {
        (0..self.regions.len())
            .map(|node| self.address(node))
            .collect()
    }

    fn write_nodes(&self) -> Result<(), Failure> {
        let addresses = self.store()?;
        for (at, region) in self.regions.iter().enumerate() {
            let id = at + 1;
            let mut text = format!(
                "# A store node: `tidegate serve --config` runs it. Relative paths are taken from this folder.\n\
                 node_id = {id}\norigin = \"{}\"\nregion = \"{region}\"\nlisten = \"{}\"\n\
                 data_dir = \"data/node-{id}\"\n\
                 # Exactly one node of a new cluster founds it: the last to start, when its peers listen.\nfound_cluster = {}\n\
                 # How far apart the nodes are: \"loopback\", \"region\" (round trips of 75 ms at most), \"wan\" (300 ms).\n\
                 # raft.profile = \"region\"\n\n\
                 [keys]\nnode = \"keys/node-{id}.key\"\nlog = \"keys/log.key\"\ncheckpoint = \"keys/checkpoint-{id}.key\"\n",
                self.origin,
                addresses[at],
                id == self.regions.len()
            );
            for (peer, (address, region)) in addresses.iter().zip(&self.regions).enumerate() {
                text.push_str(&format!(
                    "\n[[peers]]\nnode_id = {}\naddress = \"{address}\"\nregion = \"{region}\"\n",
                    peer + 1
                ));
            }
            self.write(&format!("node-{id}.toml"), 0o644, &text)?;
        }
        Ok(())
    }

    fn write_decide(&self) -> Result<(), Failure> {
        let nodes = self.regions.len();
        let text = format!(
            "# A decision node: `tidegate decide --config` runs it. Relative paths are taken from this folder.\n\
             origin = \"{}\"\nstore = [{}]\nregion = \"{}\"\nlisten = \"{}\"\nhttp = \"{}\"\n\
             data_dir = \"data/decide\"\nkey = \"keys/decision-1.key\"\npseudonym_key = \"keys/pseudonym.secret\"\n",
            self.origin,
            quoted(&self.store()?),
            self.regions[0],
            self.address(nodes)?,
            self.address(nodes + 1)?,
        );
        self.write("decide.toml", 0o644, &text)
    }

    fn write_profile(&self) -> Result<(), Failure> {
        let operators = ["keys/operator-1.key", "keys/operator-2.key"].map(str::to_owned);
        let text = format!(
            "# Profiles of the command line: `export TIDEGATE_SETTINGS=…/tidegate.toml`.\n\
             [default]\norigin = \"{}\"\nstore = [{}]\ndecide = [\"{}\"]\nkeys = [{}]\n",
            self.origin,
            quoted(&self.store()?),
            self.address(self.regions.len())?,
            quoted(&operators),
        );
        self.write("tidegate.toml", 0o644, &text)
    }

    fn write(&self, name: &str, mode: u32, text: &str) -> Result<(), Failure> {
        let path = self.directory.join(name);
        keys::create_durably(&path, mode, text.as_bytes())
            .map_err(|error| Failure::refused(format!("cannot write {}: {error}", path.display())))
    }

    /// Key epoch 1, signed by all root keys.
    fn epoch(&self, made: &BTreeMap<String, PublicKeyFile>) -> Result<SignedCommand, Failure> {
        let roles = holders(self.regions.len())
            .into_iter()
            .map(|(role, names, threshold)| {
                let keys = names.iter().filter_map(|name| made.get(name));
                let keys = keys.map(|public| ProposedKey {
                    key: public.key,
                    name: public.name.clone(),
                });
                let mut keys: Vec<ProposedKey> = keys.collect();
                keys.sort_by_key(|key| key.key);
                ProposedRole {
                    role,
                    threshold,
                    keys,
                }
            });
        let proposal = ceremony(&self.origin, roles.collect(), VALID_FOR)?;
        self.sealed(&proposal, &["root-1", "root-2", "root-3"])
    }

    /// The store nodes with the keys that they cosign with, signed by the operators. Its base is
    /// the empty log, so that it can be made before the cluster runs.
    fn members(&self, made: &BTreeMap<String, PublicKeyFile>) -> Result<SignedCommand, Failure> {
        let addresses = self.store()?.into_iter();
        let members = (1_u64..).zip(addresses.zip(&self.regions));
        let members = members.map(|(id, (address, region))| Member {
            id: NodeId(id),
            address,
            region: region.clone(),
            voter: true,
            checkpoint_key: checkpoint_key(made, id),
        });
        let command: Command = ChangeMembership {
            members: members.collect(),
        }
        .into();
        let entropy: &dyn Entropy = &SystemEntropy;
        let proposal = Proposal {
            id: CommandId(entropy.array().map_err(Failure::refused)?),
            epoch: Epoch(1),
            command,
            ..ceremony(&self.origin, Vec::new(), VALID_FOR)?
        };
        self.sealed(&proposal, &["operator-1", "operator-2"])
    }

    fn sealed(&self, proposal: &Proposal, names: &[&str]) -> Result<SignedCommand, Failure> {
        let read =
            |name: &&str| SecretKeyFile::read(&self.key_path(name)).map_err(Failure::refused);
        let keys: Vec<SecretKeyFile> = names.iter().map(read).collect::<Result<_, _>>()?;
        let keys: Vec<_> = keys.iter().map(|key| &key.signing).collect();
        Ok(seal(proposal, &keys))
    }

    fn show(&self, context: &Context) {
        let (name, nodes) = (self.directory.display(), self.regions.len());
        let mut text = format!(
            "made {name}: keys, configurations of {nodes} store node(s) and a decision node, and a profile\n\
             all keys lie in {name}/keys: good for trying, not for a fleet that matters\n\nnext, each in a terminal of its own, in this order:\n"
        );
        for node in 1..=nodes {
            text.push_str(&format!(
                "  tidegate serve --config {name}/node-{node}.toml\n"
            ));
        }
        text.push_str(&format!(
            "when they all serve, the key ceremony, for until then nobody is trusted:\n  \
             export TIDEGATE_SETTINGS={name}/tidegate.toml\n  \
             tidegate approval submit {name}/epoch-1.command\n  tidegate approval submit {name}/members.command\n  \
             tidegate cluster status\nand then, in one more terminal:\n  tidegate decide --config {name}/decide.toml"
        ));
        let json = json!({
            "directory": name.to_string(),
            "origin": self.origin,
            "nodes": (1..=nodes).map(|node| format!("{name}/node-{node}.toml")).collect::<Vec<_>>(),
            "decide": format!("{name}/decide.toml"),
            "settings": format!("{name}/tidegate.toml"),
            "commands": [format!("{name}/epoch-1.command"), format!("{name}/members.command")],
        });
        context.terminal.show(text, json);
    }
}

fn checkpoint_key(made: &BTreeMap<String, PublicKeyFile>, node: u64) -> Option<PublicKey> {
    made.get(&format!("checkpoint-{node}"))
        .map(|public| public.key)
}

fn quoted<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| format!("\"{}\"", text.as_ref()))
        .collect();
    quoted.join(", ")
}
