//! A sorted map that remembers which of its rows changed.
use std::collections::{
    BTreeMap,
    btree_map::{Entry, OccupiedEntry, VacantEntry},
};

/// A sorted map with a record of touched keys, so that storage and the state root follow the
/// state row by row instead of by whole copies.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    rows: BTreeMap<K, Row<V>>,
    /// The keys of the rows that are marked, and of those that were removed; twice if a row was
    /// removed and made again.
    touched: Vec<K>,
}

#[derive(Clone, Debug)]
struct Row<V> {
    value: V,
    /// Whether its key is recorded, so that a row that every entry changes is recorded once.
    marked: bool,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            touched: Vec::new(),
        }
    }
}

/// Two tables are equal when their rows are; what was touched is no part of the state.
impl<K: PartialEq, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let mut others = other.rows.iter();
        self.rows.len() == other.rows.len()
            && self.rows.iter().all(|(key, row)| {
                others
                    .next()
                    .is_some_and(|other| (key, &row.value) == (other.0, &other.1.value))
            })
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// The row at `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(|row| &row.value)
    }

    /// Whether there is a row at `key`.
    pub fn contains(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// All rows in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, row)| (key, &row.value))
    }

    /// The rows of a key range in key order.
    pub fn range(
        &self,
        range: impl std::ops::RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(range).map(|(key, row)| (key, &row.value))
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
        self.iter().next_back()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.rows.entry(key) {
            Entry::Vacant(gap) => {
                made(gap, value, &mut self.touched);
            }
            Entry::Occupied(there) => *changed(there, &mut self.touched) = value,
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (key, removed) = self.rows.remove_entry(key)?;
        if !removed.marked {
            self.touched.push(key);
        }
        Some(removed.value)
    }

    /// The row at `key` for change.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let row = self.rows.get_mut(key)?;
        if !std::mem::replace(&mut row.marked, true) {
            self.touched.push(key.clone());
        }
        Some(&mut row.value)
    }

    /// The row at `key` for change, made with its default if there is none.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        match self.rows.entry(key) {
            Entry::Vacant(gap) => made(gap, V::default(), &mut self.touched),
            Entry::Occupied(there) => changed(there, &mut self.touched),
        }
    }

    /// Puts back a row that was read from storage: it is not marked as touched.
    pub(crate) fn restore(&mut self, key: K, value: V) {
        let marked = false;
        self.rows.insert(key, Row { value, marked });
    }

    /// Hands each touched row to `follow`, or `None` for one that is gone, and forgets that they
    /// were touched.
    pub(crate) fn settle(&mut self, mut follow: impl FnMut(&K, Option<&V>)) {
        for key in std::mem::take(&mut self.touched) {
            let row = self.rows.get_mut(&key);
            let value = row.map(|row| {
                row.marked = false;
                &row.value
            });
            follow(&key, value);
        }
    }
}

fn made<'a, K: Ord + Clone, V>(
    gap: VacantEntry<'a, K, Row<V>>,
    value: V,
    touched: &mut Vec<K>,
) -> &'a mut V {
    touched.push(gap.key().clone());
    let marked = true;
    &mut gap.insert(Row { value, marked }).value
}

fn changed<'a, K: Ord + Clone, V>(
    there: OccupiedEntry<'a, K, Row<V>>,
    touched: &mut Vec<K>,
) -> &'a mut V {
    if !there.get().marked {
        touched.push(there.key().clone());
    }
    let row = there.into_mut();
    row.marked = true;
    &mut row.value
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
