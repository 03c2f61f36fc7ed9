//! Names as small numbers, so that a decision compares integers.
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// FNV-1a: faster than SipHash on short names. Only operators choose what stands in these maps, so
/// nobody can provoke collisions; devices only look up.
#[derive(Clone, Copy)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        // FNV mixes its low bits poorly and hash tables look at the high ones too.
        self.0 ^ (self.0 >> 29)
    }
}

/// A map with names as keys; never iterated.
pub(crate) type NameMap<V> = HashMap<Box<str>, V, BuildHasherDefault<Fnv>>;

/// Names in the order in which they were first seen, each with its number.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Names<T> {
    names: Vec<T>,
    slots: NameMap<u16>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            slots: NameMap::default(),
        }
    }
}

impl<T: Clone + std::fmt::Display> Names<T> {
    /// The number of a name, a new one if it was not seen before.
    ///
    /// # Panics
    /// After 65,535 names; the limits of the cluster configuration lie far below.
    pub(crate) fn add(&mut self, name: &T) -> u16 {
        let text = name.to_string().into_boxed_str();
        if let Some(slot) = self.slots.get(&text) {
            return *slot;
        }
        let slot = u16::try_from(self.names.len()).expect("scopes_max bounds the names");
        self.names.push(name.clone());
        self.slots.insert(text, slot);
        slot
    }

    /// The number of a name.
    pub(crate) fn slot(&self, name: &str) -> Option<u16> {
        self.slots.get(name).copied()
    }

    /// The name of a number.
    pub(crate) fn name(&self, slot: u16) -> Option<&T> {
        self.names.get(usize::from(slot))
    }

    /// The names with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        (0..).zip(&self.names)
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}
