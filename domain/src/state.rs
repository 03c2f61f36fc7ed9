//! The state: typed tables of rows. [`crate::apply()`] is the only way to change it.
use crate::{
    canonical::{self, CanonicalError},
    config::{ClusterConfig, Membership, Meta},
    derived::Derived,
    guard::{
        Baseline, BaselineKey, Floor, Hold, HoldKey, RecoveryImage, RegionPolicy, Scope, Stop,
    },
    id::{
        Channel, CommandId, Hash, Incarnation, Index, LogTime, Region, ReleaseName, Revision,
        RolloutId, SessionId, StateVersion, StopId, VariantId,
    },
    key::KeySet,
    node::{Budget, BudgetKey, Pool, PoolKey, Session},
    release::Release,
    rollout::{HaltBar, Rollout},
    root::RootTree,
    table::{Single, Table},
    tally::{Counts, ExposuresKey, Sum, SumKey, TallyKey},
    variant::Variant,
};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use tidegate_mutant::{Mutant, is_on};

/// The version of the rules that this build knows best.
pub const STATE_VERSION: StateVersion = StateVersion(1);

/// Declares the state: one catalogue says the tag, the key and the value of every stored row.
macro_rules! catalogue {
    (
        singles { $($(#[$smeta:meta])* $single:ident: $sty:ty = $stag:literal,)* }
        tables { $($(#[$tmeta:meta])* $table:ident: $key:ty => $value:ty = $ttag:literal,)* }
    ) => {
        /// Everything that the cluster knows, as of one log index.
        #[derive(Clone, Debug)]
        pub struct State {
            $($(#[$smeta])* pub(crate) $single: Single<$sty>,)*
            $($(#[$tmeta])* pub(crate) $table: Table<$key, $value>,)*
            pub(crate) derived: Derived,
            root: RootTree,
            pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        }

        /// Two states are equal when their rows are.
        impl PartialEq for State {
            fn eq(&self, other: &Self) -> bool {
                $(self.$single == other.$single)&&* $(&& self.$table == other.$table)*
            }
        }

        impl State {
            $($(#[$smeta])*
            pub fn $single(&self) -> &$sty { self.$single.get() })*
            $($(#[$tmeta])*
            pub fn $table(&self) -> &Table<$key, $value> { &self.$table })*

            fn empty(meta: Meta, config: ClusterConfig) -> Self {
                Self {
                    meta: Single::new(meta),
                    config: Single::new(config),
                    keys: Single::default(),
                    membership: Single::default(),
                    $($table: Table::default(),)*
                    derived: Derived::default(),
                    root: RootTree::default(),
                    pending: BTreeMap::new(),
                }
            }

            /// The names of the tables and single rows in which two states differ.
            pub(crate) fn tables_that_differ(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$single != other.$single {
                    names.push(stringify!($single));
                })*
                $(if self.$table != other.$table {
                    names.push(stringify!($table));
                })*
                names
            }

            /// Moves what was touched into the root tree and the pending rows.
            fn settle(&mut self) {
                $(if self.$single.take_touched() {
                    let value = canonical::encode(self.$single.get());
                    self.root.set(&[$stag], Some(&value));
                    self.pending.insert(vec![$stag], Some(value));
                })*
                $(self.$table.settle(|key, value| {
                    let row = row_key($ttag, key);
                    let value = value.map(canonical::encode);
                    self.root.set(&row, value.as_deref());
                    self.pending.insert(row, value);
                });)*
            }

            /// Puts one stored row back.
            fn restore_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowError> {
                let (tag, rest) = key.split_first().ok_or(RowError::UnknownTable { tag: None })?;
                let bad = |source| RowError::Row { tag: *tag, source };
                match *tag {
                    $($stag if rest.is_empty() => {
                        self.$single.restore(canonical::decode(value).map_err(bad)?);
                    })*
                    $($ttag => {
                        let key = canonical::decode(rest).map_err(bad)?;
                        self.$table.restore(key, canonical::decode(value).map_err(bad)?);
                    })*
                    tag => return Err(RowError::UnknownTable { tag: Some(tag) }),
                }
                self.root.set(key, Some(value));
                Ok(())
            }

            /// The stored value of the row with this key ([`row`] makes keys), if there is one.
            ///
            /// # Errors
            /// It is no key of a table that this build knows.
            pub fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
                let (tag, rest) = key.split_first().ok_or(RowError::UnknownTable { tag: None })?;
                let bad = |source| RowError::Row { tag: *tag, source };
                match *tag {
                    $($stag if rest.is_empty() => Ok(Some(canonical::encode(self.$single.get()))),)*
                    $($ttag => {
                        let key = canonical::decode(rest).map_err(bad)?;
                        Ok(self.$table.get(&key).map(canonical::encode))
                    })*
                    tag => Err(RowError::UnknownTable { tag: Some(tag) }),
                }
            }

            /// Every row as `(key, value)` bytes, table by table, each in its key's order.
            pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
                let singles = [$((vec![$stag], canonical::encode(self.$single.get())),)*];
                singles.into_iter()
                    $(.chain(self.$table.iter().map(
                        |(key, value)| (row_key($ttag, key), canonical::encode(value)),
                    )))*
            }
        }

        /// Keys of stored rows, by table.
        pub mod row {
            use super::*;

            $($(#[$smeta])*
            pub fn $single() -> Vec<u8> { vec![$stag] })*
            $($(#[$tmeta])*
            pub fn $table(key: &$key) -> Vec<u8> { row_key($ttag, key) })*
        }
    };
}

catalogue! {
    singles {
        /// What the cluster is, and where its log stands.
        meta: Meta = 1,
        /// Replicated settings.
        config: ClusterConfig = 2,
        /// The trusted keys.
        keys: KeySet = 3,
        /// The store nodes that operators approved.
        membership: Membership = 4,
    }
    tables {
        /// Releases by name.
        releases: ReleaseName => Release = 16,
        /// Variants by number.
        variants: VariantId => Variant = 17,
        /// Rollouts by number.
        rollouts: RolloutId => Rollout = 18,
        /// Bars of halted rollouts.
        bars: RolloutId => HaltBar = 19,
        /// Floors. They only rise.
        floors: Scope => Floor = 20,
        /// Baselines.
        baselines: BaselineKey => Baseline = 21,
        /// Recovery images.
        recovery_images: Scope => RecoveryImage = 22,
        /// Emergency stops in force.
        stops: StopId => Stop = 23,
        /// Holds, expired ones included until they are pruned.
        holds: HoldKey => Hold = 24,
        /// What regions allow.
        region_policies: Region => RegionPolicy = 25,
        /// Sessions that are open, still have budgets or untold exposures, or whose last envelope its
        /// sender may still ask about.
        sessions: SessionId => Session = 26,
        /// Admissions granted, per session and pool.
        budgets: BudgetKey => Budget = 27,
        /// Admissions granted, per pool.
        pools: PoolKey => Pool = 28,
        /// Exposures of an open cohort whose fate nobody told yet, by the session that made them.
        /// There is no row of none.
        untold: ExposuresKey => u64 = 29,
        /// The sum of all sessions' tallies of one open cohort.
        cohorts: TallyKey => Counts = 30,
        /// What gates judge.
        sums: SumKey => Sum = 31,
        /// Command ids that are spent, until they may be forgotten.
        spent: CommandId => Spent = 32,
        /// Release channels that were registered, by the entry that did; the default one is not
        /// among them.
        channels: Channel => Revision = 33,
    }
}

/// A command id that is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SpentId {
    /// The id.
    #[n(0)]
    pub id: CommandId,
    /// The last log time at which the command could be applied; after it the id is forgotten.
    #[n(1)]
    pub not_after: LogTime,
    /// Digest of the body that was signed under it.
    #[n(2)]
    pub digest: Hash,
}

/// Where a spent command id was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Spent {
    /// The entry.
    #[n(0)]
    pub index: Index,
    /// The last log time at which the command could be applied.
    #[n(1)]
    pub not_after: LogTime,
    /// Digest of the body that was signed under the id.
    #[n(2)]
    pub digest: Hash,
}

/// Why bytes are no row of the state. Among stored ones always a reason to stop.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A row of a table that this build doesn't know: written by a newer one, or damaged.
    #[error("a state row of unknown table {tag:?}")]
    UnknownTable {
        /// The tag found, if any.
        tag: Option<u8>,
    },
    /// A row that does not decode.
    #[error("a damaged state row of table {tag}: {source}")]
    Row {
        /// The table.
        tag: u8,
        /// What is wrong.
        source: CanonicalError,
    },
    /// There are no rows of what every state has.
    #[error("the state has no meta row")]
    NoMeta,
}

impl State {
    /// The state of a new cluster, before entry 0.
    pub fn new(origin: impl Into<String>, incarnation: Incarnation) -> Self {
        let meta = Meta {
            origin: origin.into(),
            incarnation,
            time: LogTime(0),
            next: Index(0),
            version: STATE_VERSION,
            last_rollout: RolloutId(0),
            last_session: SessionId(0),
            last_stop: StopId(0),
            last_variant: VariantId(0),
            last_root: None,
        };
        Self::empty(meta, ClusterConfig::initial())
    }

    /// The state that rows make up, as [`Self::rows`] or [`Self::drain_changes`] gave them.
    ///
    /// # Errors
    /// A row is damaged or of an unknown table, or there is no meta row.
    pub fn from_rows<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, RowError> {
        let mut state = Self::new(String::new(), Incarnation(0));
        state.forget_touched();
        for (key, value) in rows {
            state.restore_row(key.as_ref(), value.as_ref())?;
        }
        if state.meta().origin.is_empty() {
            return Err(RowError::NoMeta);
        }
        state.derived = Derived::of(&state);
        if is_on(Mutant::LookUpsLost) {
            state.derived.live_rollouts.clear();
        }
        Ok(state)
    }

    /// The version of the rules that this state follows, if this build does not know it: then
    /// nothing more may be applied until the node runs a newer build.
    pub fn unknown_version(&self) -> Option<StateVersion> {
        let version = self.meta().version;
        (version > STATE_VERSION).then_some(version)
    }

    /// Rows that changed since the last call, in key order: the new value, or `None` for removed.
    pub fn drain_changes(&mut self) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        self.settle();
        std::mem::take(&mut self.pending)
    }

    /// The state root: a hash over all rows (`docs/formats.md`, "State root").
    pub fn root(&mut self) -> Hash {
        self.settle();
        self.root.root()
    }

    fn forget_touched(&mut self) {
        self.settle();
        self.pending.clear();
        self.root = RootTree::default();
    }
}

fn row_key<K: Encode<()>>(tag: u8, key: &K) -> Vec<u8> {
    let mut row = vec![tag];
    row.extend(canonical::encode(key));
    row
}
