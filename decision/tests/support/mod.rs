//! Random snapshots and check-ins. A snapshot is made of stored rows, so that it can stand anywhere
//! in its life, also where commands would take long to bring it.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::explicit_auto_deref,
    reason = "each test binary uses its own part"
)]

pub mod naive;

use ed25519_dalek::SigningKey;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_decision::engine::{
    Attempts, Budgets, CheckIn, DeviceId, Draw, Network, Pool, Power, PseudonymKey, Running, Token,
    VariantClaim, Verified,
};
use tidegate_domain::{
    State, canonical,
    config::ClusterConfig,
    guard::{
        Baseline, BaselineKey, Floor, Hold, HoldKey, HoldKind, RegionPolicy, Scope, Stop,
        StopCovers, StopScope,
    },
    id::{
        Channel, Component, Epoch, Hash, Incarnation, Index, KeyName, LogTime, Millis, Ppm,
        PublicKey, Reason, Region, ReleaseName, Revision, RolloutId, SecurityVersion, SessionId,
        SignatureBytes, StopId, VariantId, WaveIndex, WaveName,
    },
    key::{KeyEntry, KeySet, KeyStatus, Role, RoleKeys},
    node::{Session, SessionStatus},
    release::{Payload, Release, ReleaseStatus, VariantPayload},
    rollout::{
        Audience, ExclusionCause, Freeze, HaltBar, HaltCause, Life, MaintenanceWindow, OnStale,
        RollbackPlan, RollbackRule, Rollout,
    },
    tally::{Arm, Stratum},
    testing::{self, selector, traits},
    variant::{Selector, Variant},
    wave::{OpenedBy, Opening, WaveState},
};

pub const NOW: LogTime = LogTime(1_795_219_200_000);
pub const PSEUDONYMS: PseudonymKey = PseudonymKey::new([3; 32]);
pub const SESSION: SessionId = SessionId(1);

/// The tables' tags in a stored row (docs/formats.md).
mod tag {
    pub(super) const CONFIG: u8 = 2;
    pub(super) const KEYS: u8 = 3;
    pub(super) const RELEASES: u8 = 16;
    pub(super) const VARIANTS: u8 = 17;
    pub(super) const ROLLOUTS: u8 = 18;
    pub(super) const BARS: u8 = 19;
    pub(super) const FLOORS: u8 = 20;
    pub(super) const BASELINES: u8 = 21;
    pub(super) const STOPS: u8 = 23;
    pub(super) const HOLDS: u8 = 24;
    pub(super) const REGION_POLICIES: u8 = 25;
    pub(super) const SESSIONS: u8 = 26;
    pub(super) const CHANNELS: u8 = 33;
}

/// Numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Rows on their way to a state.
#[derive(Clone, Debug)]
pub struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Default for Rows {
    fn default() -> Self {
        let mut rows = Self(
            State::new(testing::Fleet::ORIGIN, Incarnation(1))
                .rows()
                .collect(),
        );
        rows.single(tag::KEYS, &keys());
        rows.put(tag::SESSIONS, &SESSION, &session());
        rows
    }
}

impl Rows {
    fn single<V: minicbor::Encode<()>>(&mut self, tag: u8, value: &V) {
        self.0.insert(vec![tag], canonical::encode(value));
    }

    fn put<K: minicbor::Encode<()>, V: minicbor::Encode<()>>(
        &mut self,
        tag: u8,
        key: &K,
        value: &V,
    ) {
        let mut row = vec![tag];
        row.extend(canonical::encode(key));
        self.0.insert(row, canonical::encode(value));
    }

    pub fn config(&mut self, config: &ClusterConfig) {
        self.single(tag::CONFIG, config);
    }

    pub fn release(&mut self, release: &Release) {
        self.put(tag::RELEASES, release.name(), release);
    }

    pub fn variant(&mut self, number: u32, text: &str) {
        let id = VariantId(number);
        let variant = Variant {
            id,
            traits: traits(text),
            revision: Revision(0),
        };
        self.put(tag::VARIANTS, &id, &variant);
    }

    pub fn rollout(&mut self, rollout: &Rollout) {
        self.put(tag::ROLLOUTS, &rollout.id, rollout);
    }

    pub fn bar(&mut self, rollout: &Rollout) {
        let bar = HaltBar {
            rollout: rollout.id,
            release: rollout.spec.release.clone(),
            audience: rollout.spec.audience.clone(),
            since: NOW,
        };
        self.put(tag::BARS, &rollout.id, &bar);
    }

    pub fn floor(&mut self, component: &str, on: &str, floor: u64) {
        let floor = Floor {
            security_version: SecurityVersion(floor),
            since: NOW,
            revision: Revision(0),
        };
        self.put(tag::FLOORS, &testing::scope(component, on), &floor);
    }

    pub fn channel(&mut self, name: &str) {
        self.put(tag::CHANNELS, &testing::channel(name), &Revision(1));
    }

    pub fn baseline(&mut self, of: &str, on: &str, release: &str, revision: u64) {
        let key = BaselineKey {
            component: testing::component(of),
            selector: selector(on),
            channel: None,
        };
        self.baseline_of(&key, release, revision);
    }

    pub fn baseline_of(&mut self, key: &BaselineKey, release: &str, revision: u64) {
        let baseline = Baseline {
            release: ReleaseName::new(release).unwrap(),
            since: NOW,
            revision: Revision(revision),
            excluded: BTreeSet::new(),
        };
        self.put(tag::BASELINES, key, &baseline);
    }

    pub fn stop(&mut self, id: u64, scope: StopScope, covers: StopCovers) {
        let stop = Stop {
            id: StopId(id),
            scope,
            covers,
            reason: testing::reason(),
            since: NOW,
            revision: Revision(0),
        };
        self.put(tag::STOPS, &StopId(id), &stop);
    }

    pub fn hold(
        &mut self,
        device: &str,
        component: Option<&str>,
        kind: HoldKind,
        expires: LogTime,
    ) {
        let key = HoldKey {
            device: PSEUDONYMS.pseudonym(&DeviceId::new(device).unwrap()),
            component: component.map(testing::component),
        };
        let hold = Hold {
            kind,
            reason: testing::reason(),
            expires,
            revision: Revision(0),
        };
        self.put(tag::HOLDS, &key, &hold);
    }

    pub fn region_policy(&mut self, region: &str, policy: &RegionPolicy) {
        self.put(tag::REGION_POLICIES, &testing::region(region), policy);
    }

    pub fn state(&self) -> State {
        State::from_rows(&self.0).unwrap()
    }
}

pub fn session_key() -> SigningKey {
    SigningKey::from_bytes(&[21; 32])
}

fn session() -> Session {
    Session {
        id: SESSION,
        key: PublicKey(session_key().verifying_key().to_bytes()),
        region: testing::region("eu"),
        address: "decide-1.example:7443".to_owned(),
        status: SessionStatus::Open,
        instance: tidegate_domain::id::Instance(1),
        sequence: tidegate_domain::id::Sequence(0),
        last: None,
        anchor: None,
        opened_at: NOW,
        revision: Revision(0),
    }
}

/// Release keys 1 and 2 are trusted, 3 is retired, 4 revoked; two must sign.
fn keys() -> KeySet {
    let entry = |status| KeyEntry {
        name: KeyName::new("someone").unwrap(),
        status,
        since: Epoch(1),
    };
    let statuses = [
        KeyStatus::Trusted,
        KeyStatus::Trusted,
        KeyStatus::Retired,
        KeyStatus::Revoked,
    ];
    let keys = (1_u8..)
        .zip(statuses)
        .map(|(n, status)| (PublicKey([n; 32]), entry(status)));
    let release = RoleKeys {
        threshold: 2,
        keys: keys.collect(),
    };
    KeySet {
        epoch: Epoch(1),
        roles: BTreeMap::from([(Role::Release, release)]),
        since: NOW,
        revision: Revision(0),
    }
}

/// A release signed by release keys 1 and 2. The signatures are not looked at again: `apply`
/// checked them when the release was registered.
pub fn release(builder: testing::ReleaseBuilder) -> Release {
    signed(builder, &[1, 2])
}

pub fn signed(builder: testing::ReleaseBuilder, keys: &[u8]) -> Release {
    Release {
        manifest_bytes: canonical::encode(&builder.manifest),
        manifest: builder.manifest,
        signatures: keys
            .iter()
            .map(|n| (PublicKey([*n; 32]), SignatureBytes([0; 64])))
            .collect(),
        status: ReleaseStatus::Registered,
        registered_at: NOW,
        revision: Revision(0),
    }
}

/// A running rollout with its first `opened` waves open.
pub fn rollout(id: u64, builder: testing::RolloutBuilder, opened: usize) -> Rollout {
    let spec = builder.spec();
    let opening = Opening {
        at: NOW,
        by: OpenedBy::Start,
        index: Index(0),
    };
    let wave = |at: usize| WaveState {
        opened: (at < opened).then(|| opening.clone()),
        ..WaveState::default()
    };
    Rollout {
        id: RolloutId(id),
        life: Life::Running,
        salt: Hash(blake3::derive_key(
            "tidegate 2026-11 test salt v1",
            &id.to_be_bytes(),
        )),
        waves: (0..spec.waves.len()).map(wave).collect(),
        excluded: BTreeMap::new(),
        rollback: RollbackPlan {
            targets: Vec::new(),
            credit: spec.credit,
        },
        created_at: NOW,
        judged_at: NOW,
        expedited: false,
        ended: None,
        folded: false,
        revision: Revision(0),
        spec,
    }
}

pub fn back_to(mut rollout: Rollout, on: &str, release: &str) -> Rollout {
    rollout.rollback.targets.push(RollbackRule {
        selector: selector(on),
        release: ReleaseName::new(release).unwrap(),
        channel: None,
    });
    rollout
}

/// A check-in of a device on mains and cable that runs one component.
pub fn check_in(device: &str, variant: u32, component: &str, version: &str) -> CheckIn {
    let device = DeviceId::new(device).unwrap();
    CheckIn {
        pseudonym: PSEUDONYMS.pseudonym(&device),
        device,
        variant: VariantClaim::Id(VariantId(variant)),
        channel: Channel::new("stable").unwrap(),
        region: None,
        components: vec![running(component, version, 1)],
        battery_percent: None,
        power: Power::Mains,
        network: Network::Ethernet,
        storage_free: None,
        boot_id: "b1".into(),
        sequence: 1,
        echoes: Vec::new(),
        attempts: Vec::new(),
    }
}

pub fn running(component: &str, version: &str, security_version: u64) -> Running {
    Running {
        component: testing::component(component),
        version: version.parse().unwrap(),
        security_version: SecurityVersion(security_version),
        floor: None,
    }
}

/// Admissions without end, and a record of what was drawn.
#[derive(Clone, Debug, Default)]
pub struct Plenty(pub Vec<(Option<RolloutId>, WaveIndex, Arm)>);

impl Budgets for Plenty {
    fn draw(&mut self, pool: Pool<'_>, _: LogTime) -> Draw {
        self.0.push((pool.rollout, pool.wave, pool.arm));
        Draw::Granted
    }
}

/// Answers that follow from the pool alone.
#[derive(Clone, Copy, Debug)]
pub struct Whim(pub u64);

impl Budgets for Whim {
    fn draw(&mut self, pool: Pool<'_>, _: LogTime) -> Draw {
        let id = pool.rollout.map_or(0, |rollout| rollout.0);
        let seed = self.0 ^ id << 32 ^ u64::from(pool.wave.0) << 16 ^ u64::from(pool.variant.0);
        match Numbers(seed).below(8) {
            0 => Draw::Pending,
            1 => Draw::Exhausted,
            2 | 3 => Draw::CapReached,
            _ => Draw::Granted,
        }
    }
}

pub mod random;
