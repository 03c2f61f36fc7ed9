//! Random entries, honest and hostile, each made from a few numbers: a failing run shrinks well,
//! and a simulator can draw the numbers from its own source.
use super::{
    Fleet, channel, component, dice::Dice, proposed_keys, reason, region, release, rollout,
    selector, traits,
};
use crate::{
    command::*,
    config::{ClusterConfig, Member},
    guard::{HoldKey, HoldKind, RecoveryImage, RegionPolicy, Scope, StopCovers, StopScope},
    id::{
        Epoch, Millis, NodeId, Pseudonym, ReleaseName, Revision, RolloutId, SecurityVersion,
        StateVersion, StopId, VariantId, WaveIndex,
    },
    key::{ProposedRole, Role},
    rollout::RolloutSpec,
    signature::{SigningKey, sign},
};

/// What makes one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Chooses the command; any number will do.
    pub what: u8,
    /// Chooses everything else.
    pub dice: u64,
}

const SELECTORS: [&str; 5] = ["*", "*", "m1/*/*/*", "m1/r1/eu/none", "*/*/us/*"];
const VARIANTS: [&str; 3] = ["m1/r1/eu/none", "m1/r2/us/none", "m2/r1/eu/none"];
const CHANNELS: [&str; 3] = ["stable", "beta", "canary"];
const COMPONENTS: [&str; 4] = ["os", "os", "os", "app"];
const RELEASES: [&str; 7] = ["r-0", "r-1", "r-2", "r-3", "r-4", "r-5", "r-6"];

impl Fleet {
    /// A fleet with something to work with: variants, releases, a rollout that runs, a session.
    pub fn furnished() -> Self {
        let mut fleet = Self::new();
        for variant in VARIANTS {
            let traits = traits(variant);
            fleet.accept(RegisterVariant { traits });
        }
        for (at, name) in RELEASES.iter().enumerate().take(4) {
            let security_version = u64::try_from(at).unwrap_or(0) / 2 + 1;
            fleet.register(release(name).security_version(security_version));
        }
        let first = rollout(RELEASES[1]).back_to(RELEASES[0]);
        fleet.launch(first.wave(5, 1).wave(50, 1).wave(100, 2).auto_rollback());
        fleet.open_session();
        fleet
    }

    /// Applies the entry that a step makes. Log time moves, now and then by hours.
    pub fn take(&mut self, step: Step) {
        let mut dice = Dice(step.dice);
        let pause = match dice.roll(8) {
            0 => 3_600_000 * dice.roll(30),
            1 => 60_000 * dice.roll(60),
            _ => dice.roll(2_000),
        };
        self.wait(Millis(pause));
        let command = self.command(step.what, &mut dice);
        let envelope = if dice.one_in(3) {
            self.hostile(command, &mut dice)
        } else {
            self.sealed(command).to_bytes()
        };
        self.apply(&envelope);
    }

    /// An honest command about something that may or may not be there.
    fn command(&self, what: u8, dice: &mut Dice) -> Command {
        match what % 64 {
            0..=4 => self.some_registration(dice).into(),
            5..=6 => self.some_release_signatures(dice).into(),
            7 => RevokeRelease {
                release: some_release(dice),
                reason: reason(),
            }
            .into(),
            8 => RegisterVariant {
                traits: traits(dice.text(&VARIANTS)),
            }
            .into(),
            9 => RegisterChannel {
                channel: channel(dice.text(&CHANNELS)),
            }
            .into(),
            10..=11 => some_recovery_image(dice).into(),
            12..=13 => RaiseFloor {
                scope: some_scope(dice),
                security_version: SecurityVersion(dice.roll(6)),
                reason: reason(),
                retire: dice.one_in(3),
            }
            .into(),
            14..=15 => self.some_membership(dice).into(),
            16 => self.some_rotation(dice).into(),
            17 => self.some_revocation(dice).into(),
            18..=19 => some_stop(dice).into(),
            20 => LiftStop {
                stop: StopId(1 + dice.roll(self.state.meta().last_stop.0 + 1)),
                reason: reason(),
            }
            .into(),
            21 => some_region_policy(dice).into(),
            22..=23 => self.some_hold(dice).into(),
            24..=25 => self.some_config(dice).into(),
            // Never the next one: no build of this test could go on.
            26 => RaiseStateVersion {
                version: StateVersion(2 * u32::from(dice.small(3)) + 1),
            }
            .into(),
            27..=47 => self.rollout_command(what, dice),
            48..=58 => self.session_command(what, dice),
            _ => Tick {}.into(),
        }
    }

    fn rollout_command(&self, what: u8, dice: &mut Dice) -> Command {
        let rollout = self.some_rollout(dice);
        let reason = reason();
        match what % 64 {
            27..=31 => CreateRollout {
                spec: self.some_spec(dice),
            }
            .into(),
            32..=34 => ApproveRollout { rollout }.into(),
            35..=37 => StartRollout { rollout }.into(),
            38 => {
                let wave = WaveIndex(u16::from(dice.small(3)));
                AdvanceWave {
                    rollout,
                    wave,
                    reason,
                }
                .into()
            }
            39 => PauseRollout { rollout, reason }.into(),
            40..=41 => ResumeRollout { rollout, reason }.into(),
            42 => HaltRollout { rollout, reason }.into(),
            43 => RollBack { rollout, reason }.into(),
            44 => CompleteRollout { rollout }.into(),
            45 => AmendRollout {
                rollout,
                spec: self.some_amendment(rollout, dice),
            }
            .into(),
            46 => ExcludeVariant {
                rollout,
                variant: VariantId(1 + u32::from(dice.small(3))),
                reason,
            }
            .into(),
            _ => ExpediteRollout { rollout, reason }.into(),
        }
    }

    fn some_registration(&self, dice: &mut Dice) -> RegisterRelease {
        let mut release = release(some_release(dice).as_str())
            .component(dice.text(&COMPONENTS))
            .security_version(dice.roll(7));
        if dice.one_in(8) {
            release.manifest.origin = "elsewhere.example".to_owned();
        }
        if dice.one_in(8) {
            release = release.only_for(&["*", "m1/r1/eu/none"]);
        }
        let mut registration = match dice.roll(4) {
            0 => release.signed_by(&self.some_keys(Role::Release, dice)),
            1 => release.signed_by(&self.some_keys(Role::Operator, dice)),
            _ => self.registration(release),
        };
        if dice.one_in(8) {
            registration.manifest.push(0);
        }
        registration
    }

    fn some_release_signatures(&self, dice: &mut Dice) -> AddReleaseSignatures {
        let names: Vec<&ReleaseName> = self.state.releases().iter().map(|(n, _)| n).collect();
        let name = dice
            .pick(&names)
            .map_or_else(|| some_release(dice), |n| (*n).clone());
        let release = self.state.releases().get(&name);
        let manifest = release.map_or_else(Vec::new, |release| release.manifest_bytes.clone());
        let payload_type = crate::release::MANIFEST_PAYLOAD_TYPE;
        let keys = self.some_keys(Role::Release, dice);
        AddReleaseSignatures {
            release: name,
            signatures: keys
                .iter()
                .map(|k| sign(k, payload_type, &manifest))
                .collect(),
        }
    }

    /// Mostly a release that is registered.
    fn known_release(&self, dice: &mut Dice) -> ReleaseName {
        let names: Vec<&ReleaseName> = self.state.releases().iter().map(|(n, _)| n).collect();
        match dice.pick(&names) {
            Some(name) if !dice.one_in(8) => (*name).clone(),
            Some(_) | None => some_release(dice),
        }
    }

    fn some_rotation(&self, dice: &mut Dice) -> RotateKeys {
        let first = dice.small(6);
        let mut rotation = self.rotation(&[first, first + 1, first + 2]);
        if dice.one_in(4) {
            rotation.epoch = Epoch(rotation.epoch.0 + 1);
        }
        rotation.strand = dice.one_in(2);
        if dice.one_in(4) {
            // An operator's key as a release key, too.
            let keys = proposed_keys(&self.keys, Role::Operator, &[first]);
            let at = usize::from(dice.small(6));
            if let Some(ProposedRole { keys: proposed, .. }) = rotation.roles.get_mut(at) {
                proposed.extend(keys);
                proposed.sort_by_key(|proposed| proposed.key);
            }
        }
        rotation
    }

    fn some_revocation(&self, dice: &mut Dice) -> RevokeKey {
        let role = dice.pick(&Role::ALL).copied().unwrap_or(Role::Release);
        RevokeKey {
            key: self.keys.public(role, dice.small(5)),
            reason: reason(),
            strand: dice.one_in(2),
        }
    }

    fn some_hold(&self, dice: &mut Dice) -> SetHold {
        let kind = match dice.roll(4) {
            0 => None,
            1 => Some(HoldKind::Pin(some_release(dice))),
            _ => Some(HoldKind::Legal),
        };
        SetHold {
            key: HoldKey {
                device: Pseudonym([dice.small(4); 32]),
                component: dice.one_in(2).then(|| component("os")),
            },
            kind,
            reason: reason(),
            expires: self.now.after(Millis(3_600_000 * dice.roll(10))),
        }
    }

    fn some_membership(&self, dice: &mut Dice) -> ChangeMembership {
        let first = dice.roll(4);
        let member = |id: u64| Member {
            id: NodeId(id),
            address: format!("node-{id}.example:7000"),
            region: region("eu"),
            voter: id.is_multiple_of(2),
            checkpoint_key: Some(self.keys.public(Role::Checkpoint, 0)).filter(|_| id == 2),
        };
        ChangeMembership {
            members: (first..first + 1 + dice.roll(3)).map(member).collect(),
        }
    }

    fn some_config(&self, dice: &mut Dice) -> SetClusterConfig {
        let mut config: ClusterConfig = self.state.config().clone();
        match dice.roll(6) {
            0 => config.lease = Millis(dice.roll(100_000)),
            1 => config.silence.firmware = Millis(3_600_000 * dice.roll(100)),
            2 => config.root_interval = dice.roll(50),
            3 => config.limits.releases_max = u32::from(dice.small(8)),
            4 => config.limits.stops_max = u32::from(dice.small(4)),
            _ => config.credit = dice.roll(1_000),
        }
        SetClusterConfig { config }
    }

    pub(super) fn some_rollout(&self, dice: &mut Dice) -> RolloutId {
        let last = self.state.meta().last_rollout.0;
        // Those that are not final are the ones that something can happen to.
        let live = self.state.rollouts().iter();
        let live: Vec<RolloutId> = live
            .filter(|(_, rollout)| !rollout.life.is_final())
            .map(|(id, _)| *id)
            .collect();
        let any = RolloutId(1 + dice.roll(last + 1));
        match dice.pick(&live) {
            Some(live) if !dice.one_in(6) => *live,
            Some(_) | None => any,
        }
    }

    fn some_spec(&self, dice: &mut Dice) -> RolloutSpec {
        let name = self.known_release(dice);
        let mut rollout = rollout(name.as_str()).audience(&[dice.text(&SELECTORS)]);
        let waves = 1 + dice.roll(3);
        for wave in 1..=waves {
            let percent = u32::try_from(100 * wave / waves).unwrap_or(100);
            rollout = rollout.wave(percent, dice.roll(12));
            if dice.one_in(3) {
                rollout = rollout.cap(100 * wave);
            }
        }
        if dice.one_in(2) {
            rollout = rollout.back_to(self.known_release(dice).as_str());
        }
        if dice.one_in(3) {
            rollout = rollout.auto_rollback();
        }
        if dice.one_in(4) {
            rollout = rollout.on_channels(&[dice.text(&CHANNELS)]);
        }
        if dice.one_in(3) {
            rollout = rollout.supersedes(self.some_rollout(dice));
        }
        if dice.one_in(3) {
            rollout = rollout.priority(u32::from(dice.small(3)));
        }
        rollout.spec()
    }

    /// What a rollout says, a little narrower or wider; or something else altogether.
    fn some_amendment(&self, rollout: RolloutId, dice: &mut Dice) -> RolloutSpec {
        let rollout = self.state.rollouts().get(&rollout);
        let Some(rollout) = rollout.filter(|_| !dice.one_in(6)) else {
            return self.some_spec(dice);
        };
        let mut spec = rollout.spec.clone();
        match dice.roll(4) {
            0 => spec.credit = 1 + dice.roll(400),
            1 => spec.audience.selectors = [selector(dice.text(&SELECTORS))].into(),
            2 => spec.sample_min = 1 + dice.roll(20),
            _ => {
                if let Some(last) = spec.waves.last_mut() {
                    last.soak = Millis(3_600_000 * dice.roll(6));
                }
            }
        }
        spec
    }

    pub(super) fn some_keys(&self, role: Role, dice: &mut Dice) -> Vec<SigningKey> {
        let mut keys: Vec<SigningKey> = (0..=dice.small(3))
            .map(|_| self.keys.key(role, dice.small(5)).clone())
            .collect();
        keys.sort_by_key(crate::signature::public_key);
        keys
    }
}

fn some_release(dice: &mut Dice) -> ReleaseName {
    ReleaseName::new(dice.text(&RELEASES)).expect("a release name")
}

fn some_scope(dice: &mut Dice) -> Scope {
    Scope {
        component: component(dice.text(&COMPONENTS)),
        selector: selector(dice.text(&SELECTORS)),
    }
}

fn some_recovery_image(dice: &mut Dice) -> DeclareRecoveryImage {
    DeclareRecoveryImage {
        scope: some_scope(dice),
        image: RecoveryImage {
            release: ReleaseName::new("factory").expect("a release name"),
            security_version: SecurityVersion(dice.roll(8)),
            revision: Revision(0),
        },
    }
}

fn some_stop(dice: &mut Dice) -> EmergencyStop {
    let scope = match dice.roll(3) {
        0 => StopScope::Fleet,
        1 => StopScope::Region(region("eu")),
        _ => StopScope::Variants(selector(dice.text(&SELECTORS))),
    };
    EmergencyStop {
        scope,
        covers: StopCovers::Offers,
        reason: reason(),
    }
}

fn some_region_policy(dice: &mut Dice) -> SetRegionPolicy {
    SetRegionPolicy {
        region: region(dice.text(&["eu", "us"])),
        policy: RegionPolicy {
            offers_allowed: dice.one_in(2),
            metered_allowed: dice.one_in(2),
            battery_min_percent: dice.small(120),
            maintenance: Vec::new(),
            freezes: Vec::new(),
            revision: Revision(0),
        },
    }
}
