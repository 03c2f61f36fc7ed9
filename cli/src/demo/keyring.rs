//! The demo's keys. In earnest they live in separate hands; here one process holds them all.
use anyhow::Context;
use ed25519_dalek::SigningKey;
use tidegate_domain::{
    id::{KeyName, PublicKey},
    key::{ProposedKey, ProposedRole, Role},
};

/// Keys by role, and how many of each must sign together.
pub(super) struct Keyring {
    roles: Vec<(Role, u16, Vec<SigningKey>)>,
}

impl Keyring {
    /// Draws all keys: two of three for what needs a quorum.
    pub(super) fn draw(stores: usize, decisions: usize) -> anyhow::Result<Self> {
        let plan = [
            (Role::Root, 2, 3),
            (Role::Release, 2, 3),
            (Role::Operator, 2, 3),
            (Role::Decision, 1, decisions),
            (Role::Node, 1, stores),
            // The log's own key, then one for each voter.
            (Role::Checkpoint, 1, stores + 1),
        ];
        let roles = plan
            .into_iter()
            .map(|(role, threshold, count)| {
                let keys = (0..count)
                    .map(|_| draw_key())
                    .collect::<anyhow::Result<Vec<_>>>()?;
                Ok((role, threshold, keys))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { roles })
    }

    /// The keys of a role.
    pub(super) fn of(&self, role: Role) -> &[SigningKey] {
        let found = self.roles.iter().find(|(of, _, _)| *of == role);
        found.map_or(&[], |(_, _, keys)| keys.as_slice())
    }

    /// As many keys of a role as its quorum takes.
    pub(super) fn quorum(&self, role: Role) -> Vec<&SigningKey> {
        let found = self.roles.iter().find(|(of, _, _)| *of == role);
        found.map_or_else(Vec::new, |(_, threshold, keys)| {
            keys.iter().take(usize::from(*threshold)).collect()
        })
    }

    /// The key that signs checkpoints in the log's name.
    pub(super) fn log_key(&self) -> Option<&SigningKey> {
        self.of(Role::Checkpoint).first()
    }

    /// The keys with which voters cosign checkpoints, in the order of their nodes.
    pub(super) fn voter_checkpoint_keys(&self) -> &[SigningKey] {
        self.of(Role::Checkpoint).get(1..).unwrap_or_default()
    }

    /// All roles as a key rotation proposes them, sorted.
    pub(super) fn proposed(&self) -> anyhow::Result<Vec<ProposedRole>> {
        let role = |(role, threshold, keys): &(Role, u16, Vec<SigningKey>)| {
            let mut keys = keys
                .iter()
                .enumerate()
                .map(|(number, key)| {
                    let name = KeyName::new(format!("{role}-{}", number + 1))?;
                    Ok(ProposedKey {
                        key: public(key),
                        name,
                    })
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            keys.sort_by_key(|key| key.key);
            Ok(ProposedRole {
                role: *role,
                threshold: *threshold,
                keys,
            })
        };
        self.roles.iter().map(role).collect()
    }
}

/// The raw public key of a signing key.
pub(super) fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// Draws one key from the system's randomness.
pub(super) fn draw_key() -> anyhow::Result<SigningKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no randomness")?;
    Ok(SigningKey::from_bytes(&seed))
}
