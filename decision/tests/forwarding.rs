//! Outcomes on their way to their owner, and measurements on their way to their tally.
// Pure, so that the simulator can change nothing.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
use ed25519_dalek::SigningKey;
use std::time::Duration;
use tidegate_decision::{
    engine::{
        CheckIn, DeviceId, Network, Power, PseudonymKey, Running, Token, VariantClaim, Verified,
    },
    ledger::{Comparisons, Fate, Fingerprint, Forwarding, Metrics, Owners, Queued},
};
use tidegate_domain::{
    command::RegisterVariant,
    id::{
        Channel, Component, LogTime, PublicKey, ReleaseName, RolloutId, SecurityVersion, SessionId,
        VariantId, WaveIndex,
    },
    tally::{Arm, LATENCY_BUCKETS, MEASURED_MAX},
    testing::{Fleet, release, rollout, stratum, traits},
};
use tidegate_runtime::BootInstant;

const FOREVER: LogTime = LogTime(u64::MAX);

fn at(seconds: u64) -> BootInstant {
    BootInstant::from_boot(Duration::from_secs(seconds))
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn token(rollout: RolloutId, device: &str) -> Token {
    let device = DeviceId::new(device).unwrap();
    Token {
        session: SessionId(1),
        rollout: Some(rollout),
        wave: WaveIndex(0),
        stratum: stratum(1),
        cohort: LogTime(1_795_219_200_000).cohort(),
        arm: Arm::Treatment,
        device: PseudonymKey::new([1; 32]).pseudonym(&device),
        attempt: 1,
        expires: FOREVER,
        component: Component::new("os").unwrap(),
        release: ReleaseName::new("r-2").unwrap(),
        stepping_stone: false,
        signer: SessionId(1),
        original: None,
    }
}

fn id(device: &str) -> (Fingerprint, Fate) {
    (
        Fingerprint::of(&token(RolloutId(1), device)),
        Fate::Verified,
    )
}

fn queues(max: usize) -> Forwarding<&'static str> {
    Forwarding::new(max, (Duration::from_secs(1), Duration::from_secs(4)))
}

#[test]
fn an_outcome_stays_uncertain_until_its_owner_has_counted_it() {
    let mut queues = queues(10);
    let to = SessionId(2);
    assert_eq!(queues.push(to, id("a"), "a", FOREVER), Queued::Waits);
    assert_eq!(queues.push(to, id("a"), "a", FOREVER), Queued::WaitsAlready);
    assert_eq!(queues.due(at(0))[0].outcomes, [(id("a"), "a")]);
    assert_eq!(queues.due(at(0)), [], "one request at a time");
    queues.push(to, id("b"), "b", FOREVER);
    queues.failed(to, at(0));
    assert_eq!((queues.uncertain(), queues.due(at(0))), (2, vec![]));
    assert_eq!(queues.due(at(1))[0].outcomes.len(), 2);
    queues.push(to, id("c"), "c", FOREVER);
    queues.counted(to);
    assert_eq!(queues.uncertain(), 1, "c was not in the request");
    assert_eq!(queues.due(at(1))[0].outcomes, [(id("c"), "c")]);
}

#[test]
fn a_node_that_does_not_answer_is_left_alone_for_longer_and_longer() {
    let mut queues = queues(10);
    queues.push(SessionId(2), id("a"), "a", FOREVER);
    let mut tries = Vec::new();
    for second in 0..16 {
        if !queues.due(at(second)).is_empty() {
            tries.push(second);
            queues.failed(SessionId(2), at(second));
        }
    }
    assert_eq!(tries, [0, 1, 3, 7, 11, 15]);
}

#[test]
fn queues_are_bounded_and_what_is_of_no_more_use_is_given_up() {
    let mut queues = queues(2);
    queues.push(SessionId(2), id("a"), "a", LogTime(5));
    queues.push(SessionId(3), id("b"), "b", LogTime(9));
    assert_eq!(
        queues.push(SessionId(3), id("c"), "c", FOREVER),
        Queued::Full
    );
    queues.expire(LogTime(5));
    assert_eq!((queues.uncertain(), queues.counters().expired), (1, 1));
    assert_eq!(
        queues.push(SessionId(3), id("c"), "c", FOREVER),
        Queued::Waits
    );
}

#[test]
fn what_waits_for_a_session_that_is_over_is_judged_again() {
    let mut fleet = Fleet::new();
    let (own, other) = (fleet.open_session(), fleet.open_session());
    let mut queues = queues(10);
    queues.push(other, id("a"), "a", FOREVER);
    queues.push(SessionId(99), id("b"), "b", FOREVER);
    let owners = Owners::of(&fleet.state, own);
    assert_eq!(queues.orphans(&owners), ["b"]);
    assert_eq!(queues.uncertain(), 1);
}

#[test]
fn metrics_that_contradict_themselves_are_refused() {
    let good = |errors, correct, latency: &[u64]| {
        Metrics::new((errors, 10), (correct, 10), latency).is_ok()
    };
    assert!(good(10, 10, &[1; LATENCY_BUCKETS]) && good(0, 0, &[]));
    assert!(!good(11, 0, &[]) && !good(0, 11, &[]));
    assert!(!good(0, 0, &[1; LATENCY_BUCKETS - 1]));
    assert!(Metrics::new((0, MEASURED_MAX + 1), (0, 0), &[]).is_err());
    assert!(
        Metrics::new((0, 0), (0, 0), &[0; LATENCY_BUCKETS])
            .unwrap()
            .is_empty()
    );
}

fn check_in(running: &str, echo: Option<Token>) -> CheckIn {
    let device = DeviceId::new("device-1").unwrap();
    let pseudonym = PseudonymKey::new([1; 32]).pseudonym(&device);
    let public = PublicKey(key().verifying_key().to_bytes());
    let verified =
        |token: Token| Verified::check(&token.sign(&key()), &pseudonym, |_| Some(public)).unwrap();
    CheckIn {
        device,
        pseudonym,
        variant: VariantClaim::Id(VariantId(1)),
        channel: Channel::new("stable").unwrap(),
        region: None,
        components: vec![Running {
            component: Component::new("os").unwrap(),
            version: running.parse().unwrap(),
            security_version: SecurityVersion(1),
            floor: None,
        }],
        battery_percent: None,
        power: Power::Mains,
        network: Network::Wifi,
        storage_free: None,
        boot_id: "boot".into(),
        sequence: 1,
        echoes: echo.map(verified).into_iter().collect(),
        attempts: Vec::new(),
    }
}

#[test]
fn measurements_speak_for_what_runs() {
    let mut fleet = Fleet::new();
    fleet.accept(RegisterVariant {
        traits: traits("m1/r1/eu/none"),
    });
    fleet.register(release("r-1").version("1.0.0"));
    fleet.register(release("r-2").version("2.0.0"));
    let id = fleet.launch(rollout("r-2").wave(100, 1).back_to("r-1"));
    let comparisons = Comparisons::of(&fleet.state);
    let arms = |running: &str, echo: Option<Token>, component: &str| {
        let component = Component::new(component).unwrap();
        let check_in = check_in(running, echo);
        let keys = comparisons.tallied_under(&check_in, VariantId(1), &component, fleet.now);
        keys.iter().map(|key| key.arm).collect::<Vec<_>>()
    };
    let echo = || Some(token(id, "device-1"));
    assert_eq!(arms("2.0.0", echo(), "os"), [Arm::Treatment]);
    assert_eq!(arms("1.0.0", None, "os"), [Arm::Control]);
    assert_eq!(arms("1.0.0", echo(), "os"), [], "let in, and not there yet");
    assert_eq!(arms("2.0.0", None, "os"), [], "nobody offered it");
    assert_eq!(arms("0.9.0", None, "os"), [], "it would not return to that");
    assert_eq!(arms("1.0.0", None, "modem"), []);
}
