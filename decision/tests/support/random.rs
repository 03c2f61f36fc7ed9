//! Random states and check-ins, dense enough that every rule meets every other.
use super::*;

const MODELS: [&str; 3] = ["cam", "hub", "lock"];
const REVISIONS: [&str; 2] = ["r1", "r2"];
const REGIONS: [&str; 3] = ["eu", "us", "jp"];
pub(super) const COMPONENTS: [&str; 3] = ["os", "modem", "detector"];
const CHANNELS: [&str; 2] = ["stable", "beta"];

fn any_selector(n: &mut Numbers) -> String {
    let mut part = |of: &[&str]| {
        if n.one_in(2) {
            "*".to_owned()
        } else {
            (*n.pick(of)).to_owned()
        }
    };
    let text = format!(
        "{}/{}/{}/*",
        part(&MODELS),
        part(&REVISIONS),
        part(&REGIONS)
    );
    if text == "*/*/*/*" {
        "*".to_owned()
    } else {
        text
    }
}

fn version(minor: u64) -> String {
    format!("1.{minor}.0")
}

fn any_time(n: &mut Numbers) -> LogTime {
    LogTime(NOW.0 - 7_200_000 + n.below(4) * 3_600_000)
}

/// A state with a little of everything.
pub fn state(seed: u64) -> State {
    let n = &mut Numbers(seed);
    let mut rows = Rows::default();
    let mut config = ClusterConfig::initial();
    if n.one_in(4) {
        config.holdout = Ppm::new(200_000).unwrap();
    }
    rows.config(&config);
    let mut id = 0;
    for model in MODELS {
        for revision in REVISIONS {
            for region in REGIONS {
                id += 1;
                if !n.one_in(6) {
                    rows.variant(id, &format!("{model}/{revision}/{region}/none"));
                }
            }
        }
    }
    if !n.one_in(4) {
        rows.channel("beta");
    }
    for component in COMPONENTS {
        for minor in 0..6 {
            rows.release(&any_release(n, component, minor));
        }
    }
    for id in 1..=8 {
        let rollout = any_rollout(n, id);
        let barred = matches!(
            rollout.life,
            Life::Halted { .. } | Life::RollingBack { .. } | Life::RolledBack { .. }
        );
        if barred && !n.one_in(8) {
            rows.bar(&rollout);
        }
        rows.rollout(&rollout);
    }
    guards(n, &mut rows);
    rows.state()
}

fn any_release(n: &mut Numbers, component: &str, minor: u64) -> Release {
    let mut builder = testing::release(&format!("{component}-{minor}"))
        .component(component)
        .version(&version(minor))
        .security_version(minor / 2 + n.below(2));
    if n.one_in(3) {
        builder = builder.upgradable_from(&format!(">=1.{}.0", minor.saturating_sub(1)));
    }
    if n.one_in(8) {
        builder = builder.requires(*n.pick(&COMPONENTS), &format!(">=1.{}.0", n.below(3)));
    }
    if n.one_in(5) {
        builder = builder.critical();
    }
    if n.one_in(3) {
        let texts: Vec<String> = (0..4).map(|_| any_selector(n)).collect();
        builder = builder.only_for(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let keys: &[u8] = *n.pick(&[&[1, 2][..], &[1, 2], &[1, 3], &[2, 3], &[1, 4], &[1]]);
    let mut release = signed(builder, keys);
    release.status = match n.below(12) {
        0 => ReleaseStatus::Retired,
        1 => ReleaseStatus::Revoked,
        _ => ReleaseStatus::Registered,
    };
    release
}

fn any_rollout(n: &mut Numbers, id: u64) -> Rollout {
    let component = *n.pick(&COMPONENTS);
    let mut builder = testing::rollout(&format!("{component}-{}", 1 + n.below(5)));
    let selectors = [any_selector(n), any_selector(n)];
    builder = builder.audience(&[selectors[0].as_str(), &selectors[1]]);
    let percents: &[u32] = *n.pick(&[&[100][..], &[30, 100], &[10, 40, 100], &[20, 60]]);
    for percent in percents {
        builder = builder.wave(*percent, 1);
    }
    let mut rollout = rollout(id, builder, n.below(percents.len() as u64 + 1) as usize);
    let spec = &mut rollout.spec;
    spec.priority = n.one_in(2).then(|| n.below(3) as u32);
    if n.one_in(3) {
        spec.audience.channels = BTreeSet::from([Channel::new(*n.pick(&CHANNELS)).unwrap()]);
    }
    if n.one_in(4) {
        spec.audience.from_versions = Some(format!("<1.{}.0", 1 + n.below(5)).parse().unwrap());
    }
    if n.one_in(3) {
        spec.control = Ppm::new(300_000).unwrap();
    }
    if n.one_in(2) {
        spec.on_stale = OnStale::Continue;
    }
    if n.one_in(4) {
        spec.waves[0].ring = Some(selector(&any_selector(n)));
    }
    if n.one_in(8) {
        spec.freezes.push(Freeze {
            from: any_time(n),
            until: any_time(n),
        });
    }
    if n.one_in(8) {
        spec.maintenance.push(MaintenanceWindow {
            days: 0x7f,
            opens_minute: n.below(1_440) as u16,
            length_minutes: 720,
        });
    }
    let cause = HaltCause::ReleaseRevoked;
    rollout.life = match n.below(16) {
        0 => Life::Draft,
        1 => Life::Approved,
        2 => Life::Paused { since: NOW },
        3 | 4 => Life::Halted { since: NOW, cause },
        5 | 6 => Life::RollingBack { since: NOW, cause },
        7 => Life::RolledBack { at: NOW },
        8 => Life::Completed { at: NOW },
        _ => Life::Running,
    };
    for _ in 0..n.below(3) {
        let target = format!("{component}-{}", n.below(5));
        rollout = back_to(rollout, &any_selector(n), &target);
        for rule in &mut rollout.rollback.targets {
            rule.channel = any_channel(n);
        }
    }
    if n.one_in(4) {
        let cause = ExclusionCause::Operator(testing::reason());
        rollout
            .excluded
            .insert(VariantId(1 + n.below(18) as u32), cause);
    }
    rollout
}

fn any_channel(n: &mut Numbers) -> Option<Channel> {
    let named = n.one_in(3);
    named.then(|| testing::channel(*n.pick(&CHANNELS)))
}

fn guards(n: &mut Numbers, rows: &mut Rows) {
    for _ in 0..n.below(4) {
        rows.floor(*n.pick(&COMPONENTS), &any_selector(n), n.below(3));
    }
    for revision in 0..n.below(4) {
        let component = *n.pick(&COMPONENTS);
        let key = BaselineKey {
            component: testing::component(component),
            selector: selector(&any_selector(n)),
            channel: any_channel(n),
        };
        rows.baseline_of(&key, &format!("{component}-{}", n.below(5)), revision);
    }
    if n.one_in(3) {
        let scope = match n.below(3) {
            0 => StopScope::Fleet,
            1 => StopScope::Region(Region::new(*n.pick(&REGIONS)).unwrap()),
            _ => StopScope::Variants(selector(&any_selector(n))),
        };
        let covers = *n.pick(&[StopCovers::Offers, StopCovers::Returns, StopCovers::Both]);
        rows.stop(1, scope, covers);
    }
    for region in REGIONS {
        if n.one_in(3) {
            let freezes = vec![Freeze {
                from: any_time(n),
                until: any_time(n),
            }];
            let policy = RegionPolicy {
                offers_allowed: !n.one_in(4),
                metered_allowed: n.one_in(2),
                battery_min_percent: 40,
                maintenance: Vec::new(),
                freezes: if n.one_in(4) { freezes } else { Vec::new() },
                revision: Revision(0),
            };
            rows.region_policy(region, &policy);
        }
    }
    for device in 0..4 {
        if n.one_in(4) {
            let component = n.one_in(2).then(|| *n.pick(&COMPONENTS));
            let kind = match n.below(2) {
                0 => HoldKind::Legal,
                _ => HoldKind::Pin(ReleaseName::new("os-3").unwrap()),
            };
            rows.hold(&format!("device-{device}"), component, kind, any_time(n));
        }
    }
}

/// A check-in of one of 40 devices.
pub fn any_check_in(seed: u64) -> CheckIn {
    let n = &mut Numbers(seed);
    let device = format!("device-{}", n.below(40));
    let variant = 1 + n.below(19) as u32;
    let mut check_in = check_in(&device, variant, "os", &version(n.below(6)));
    check_in.components.clear();
    for component in COMPONENTS {
        if !n.one_in(5) {
            let mut running = running(component, &version(n.below(6)), n.below(3));
            running.floor = n.one_in(4).then(|| SecurityVersion(n.below(3)));
            check_in.components.push(running);
        }
    }
    check_in.channel = Channel::new(*n.pick(&["stable", "stable", "beta", "alpha"])).unwrap();
    check_in.region = n.one_in(3).then(|| Region::new(*n.pick(&REGIONS)).unwrap());
    check_in.battery_percent = n.one_in(2).then(|| n.below(101) as u8);
    check_in.power = *n.pick(&[
        Power::Unknown,
        Power::Battery,
        Power::Charging,
        Power::Mains,
    ]);
    check_in.network = *n.pick(&[Network::Wifi, Network::Cellular, Network::Unknown]);
    check_in.storage_free = n.one_in(4).then(|| n.below(4 << 20));
    if n.one_in(4) {
        check_in.attempts.push(Attempts {
            release: ReleaseName::new(format!("{}-{}", n.pick(&COMPONENTS), n.below(6))).unwrap(),
            failures: n.below(4) as u16,
            last_failed: LogTime(NOW.0 - n.below(8) * 3_600_000),
        });
    }
    if n.one_in(3) {
        let token = any_token(n, &check_in, VariantId(variant));
        check_in.echoes.push(verified(&token));
    }
    check_in
}

fn any_token(n: &mut Numbers, check_in: &CheckIn, variant: VariantId) -> Token {
    let component = *n.pick(&COMPONENTS);
    Token {
        session: SESSION,
        rollout: (!n.one_in(4)).then(|| RolloutId(1 + n.below(8))),
        wave: WaveIndex(n.below(2) as u16),
        stratum: Stratum {
            variant,
            channel: check_in.channel.clone(),
        },
        cohort: NOW.cohort(),
        arm: *n.pick(&[Arm::Treatment, Arm::Treatment, Arm::Return]),
        device: check_in.pseudonym,
        attempt: 1 + n.below(2) as u16,
        expires: any_time(n),
        component: Component::new(component).unwrap(),
        release: ReleaseName::new(format!("{component}-{}", n.below(6))).unwrap(),
        stepping_stone: false,
        signer: SESSION,
        original: None,
    }
}

/// A token as it comes back from a device.
pub fn verified(token: &Token) -> Verified<Token> {
    let key = PublicKey(session_key().verifying_key().to_bytes());
    Verified::check(&token.sign(&session_key()), &token.device, |_| Some(key)).unwrap()
}

/// A snapshot as large as the largest fleet that the design speaks of.
pub fn large(variants: u32, rollouts: u64) -> State {
    const PARTS: [&str; 10] = [
        "os",
        "bootloader",
        "modem",
        "detector",
        "planner",
        "radio",
        "sensor",
        "ui",
        "maps",
        "voice",
    ];
    let mut rows = Rows::default();
    for id in 1..=variants {
        let (model, rest) = (id % 100, id / 100);
        let text = format!(
            "m{model}/r{}/{}/c{}",
            rest % 5,
            REGIONS[rest as usize % 3],
            rest / 5
        );
        rows.variant(id, &text);
    }
    for id in 1..=rollouts {
        let component = PARTS[id as usize % PARTS.len()];
        // Of 400 rollouts, 40 share a component; each has 5 of 100 models for itself, and every
        // second one overlaps with another by priority.
        let first = (id / 10 * 5) % 100;
        let selectors: Vec<String> = (first..first + 5).map(|m| format!("m{m}/*/*/*")).collect();
        let selectors: Vec<&str> = selectors.iter().map(String::as_str).collect();
        let name = format!("{component}-{id}");
        let builder = testing::release(&name)
            .component(component)
            .version(&format!("2.{id}.0"))
            .security_version(2)
            .only_for(&selectors);
        rows.release(&release(builder));
        let builder = testing::rollout(&name)
            .audience(&selectors)
            .priority(id as u32);
        let builder = builder.wave(5, 24).wave(25, 24).wave(100, 0);
        rows.rollout(&rollout(id, builder, 1 + id as usize % 3));
    }
    for part in PARTS {
        let name = format!("{part}-base");
        rows.release(&release(
            testing::release(&name).component(part).security_version(1),
        ));
        rows.baseline(part, "*", &name, 1);
        rows.floor(part, "*", 1);
    }
    rows.state()
}

/// The components that [`large`] knows, as a device runs them.
pub fn large_check_in(seed: u64, version: &str) -> CheckIn {
    let n = &mut Numbers(seed);
    let device = format!("device-{seed:012x}");
    let variant = 1 + n.below(2_500) as u32;
    let mut check_in = check_in(&device, variant, "os", version);
    for part in ["bootloader", "modem", "detector"] {
        check_in.components.push(running(part, version, 2));
    }
    check_in.components[0].security_version = SecurityVersion(2);
    check_in
}
