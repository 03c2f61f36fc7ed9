//! A sorted map that remembers which of its rows changed.
use std::collections::{BTreeMap, BTreeSet};

/// A sorted map with a record of touched keys, so that storage and the state root follow the
/// state row by row instead of by whole copies.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    rows: BTreeMap<K, V>,
    touched: BTreeSet<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }
}

/// Two tables are equal when their rows are; what was touched is no part of the state.
impl<K: PartialEq, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// The row at `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// Whether there is a row at `key`.
    pub fn contains(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// All rows in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// The rows of a key range in key order.
    pub fn range(
        &self,
        range: impl std::ops::RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(range)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row with the greatest key.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.rows.last_key_value()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.touched.insert(key.clone());
        self.rows.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.rows.remove(key);
        if removed.is_some() {
            self.touched.insert(key.clone());
        }
        removed
    }

    /// The row at `key` for change.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let row = self.rows.get_mut(key);
        if row.is_some() {
            self.touched.insert(key.clone());
        }
        row
    }

    /// The row at `key` for change, made with its default if there is none.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.touched.insert(key.clone());
        self.rows.entry(key).or_default()
    }

    /// Puts back a row that was read from storage: it is not marked as touched.
    pub(crate) fn restore(&mut self, key: K, value: V) {
        self.rows.insert(key, value);
    }

    /// Takes the record of touched keys, in key order.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<K> {
        std::mem::take(&mut self.touched)
    }
}

/// One row that is always there, with a record of whether it was touched.
#[derive(Clone, Debug)]
pub(crate) struct Single<T> {
    value: T,
    touched: bool,
}

impl<T: Default> Default for Single<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: PartialEq> PartialEq for Single<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> Single<T> {
    /// A row that was not stored yet.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            value,
            touched: true,
        }
    }

    pub(crate) const fn get(&self) -> &T {
        &self.value
    }

    pub(crate) const fn get_mut(&mut self) -> &mut T {
        self.touched = true;
        &mut self.value
    }

    /// Puts back a row that was read from storage: it is not marked as touched.
    pub(crate) fn restore(&mut self, value: T) {
        *self = Self {
            value,
            touched: false,
        };
    }

    pub(crate) const fn take_touched(&mut self) -> bool {
        std::mem::replace(&mut self.touched, false)
    }
}
