//! Keys that follow from their role and number, so that tests repeat.
use crate::{
    id::PublicKey,
    key::{KeySet, KeyStatus, Role},
    signature::{SigningKey, public_key},
};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Every key that a test may use, by its public half.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: BTreeMap<PublicKey, SigningKey>,
    by_number: BTreeMap<(Role, u8), PublicKey>,
}

impl Default for Keyring {
    /// The one ring that there is; it is made once in a process.
    fn default() -> Self {
        static RING: OnceLock<Keyring> = OnceLock::new();
        RING.get_or_init(Self::forge).clone()
    }
}

impl Keyring {
    /// How many keys there are for each role.
    pub const PER_ROLE: u8 = 8;

    fn forge() -> Self {
        let numbers = Role::ALL
            .into_iter()
            .flat_map(|role| (0..Self::PER_ROLE).map(move |number| (role, number)));
        let mut ring = Self {
            keys: BTreeMap::new(),
            by_number: BTreeMap::new(),
        };
        for (role, number) in numbers {
            let seed = format!("{role} {number}");
            let secret = blake3::derive_key("tidegate 2026-11 test key v1", seed.as_bytes());
            let key = SigningKey::from_bytes(&secret);
            ring.by_number.insert((role, number), public_key(&key));
            ring.keys.insert(public_key(&key), key);
        }
        ring
    }

    /// The key of a role with a number below [`Self::PER_ROLE`].
    pub fn key(&self, role: Role, number: u8) -> &SigningKey {
        &self.keys[&self.public(role, number)]
    }

    /// The public half of the key of a role with a number below [`Self::PER_ROLE`].
    pub fn public(&self, role: Role, number: u8) -> PublicKey {
        self.by_number[&(role, number)]
    }

    /// The key with a public half.
    pub fn get(&self, key: &PublicKey) -> Option<SigningKey> {
        self.keys.get(key).cloned()
    }

    /// The first `count` trusted keys of a role.
    pub fn trusted(&self, keys: &KeySet, role: Role, count: usize) -> Vec<SigningKey> {
        let keys = keys.role(role).into_iter().flat_map(|role| &role.keys);
        let trusted = keys.filter(|(_, entry)| entry.status == KeyStatus::Trusted);
        trusted
            .filter_map(|(key, _)| self.get(key))
            .take(count)
            .collect()
    }
}
