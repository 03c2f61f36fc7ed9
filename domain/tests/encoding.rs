//! The canonical encoding: golden bytes, so that no change goes unnoticed, and one form only.
use proptest::prelude::*;
use std::fmt::Write as _;
use tidegate_domain::{
    canonical,
    command::{
        Arguments, Command, CommandBody, EmergencyStop, EnvelopeError, PAE_BYTES_MAX, RaiseFloor,
        SignedCommand, Tick, pae, seal,
    },
    guard::{StopCovers, StopScope},
    id::{Hash, Reason, SecurityVersion},
    key::Role,
    signature::sha256,
    testing::{Fleet, Step, every_kind, reason, release, scope},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The body of a command, byte by byte as `docs/formats.md` explains it.
#[test]
fn the_body_of_a_command_is_these_bytes() {
    let mut fleet = Fleet::new();
    let floor = RaiseFloor {
        scope: scope("os", "m1/*/*/*"),
        security_version: SecurityVersion(7),
        reason: Reason::new("CVE").unwrap(),
        retire: false,
    };
    let signed = fleet.proposal(floor).unsigned();
    let expected = concat!(
        "a9", // nine fields
        "01",
        "6d",
        "666c6565742e6578616d706c65", // 1 origin: "fleet.example"
        "02",
        "50",
        "00000000000000000000000000000002", // 2 command id
        "03",
        "01", // 3 key epoch
        "04",
        "1b",
        "000001a1fb671800", // 4 not_before ms
        "05",
        "1b",
        "000001a1fb9e0680", // 5 not_after ms
        "06",
        "00", // 6 base index
        "07",
        "5820",
        "CHAIN", // 7 base chain
        "08",
        "1832", // 8 kind: RaiseFloor
        "09",
        "a4", // 9 arguments
        "00",
        "a2",
        "00",
        "626f73", //   scope: component "os",
        "01",
        "a1",
        "00",
        "626d31", //     selector: model "m1"
        "01",
        "07", //   security version
        "02",
        "63435645", //   reason
        "03",
        "f4", //   retire: no
    );
    let chain = hex(&fleet.chain.0);
    assert_eq!(hex(&signed.body), expected.replace("CHAIN", &chain));
}

/// One digest over the arguments of each kind; the bytes of a kind change only with a reason.
#[test]
fn the_arguments_of_each_kind_have_their_golden_digest() {
    let line = |command: &Command| {
        let digest = hex(&sha256(&command.arguments()).0);
        format!(
            "{:#06x} {} {}",
            command.kind(),
            command.name(),
            &digest[..16]
        )
    };
    let listed: Vec<String> = every_kind(&Fleet::new()).iter().map(line).collect();
    assert_eq!(listed, GOLDEN);
}

const GOLDEN: [&str; 32] = [
    "0x0012 RotateKeys a75bc4086b60479b",
    "0x0011 RevokeKey ab0a1fc2e45f7879",
    "0x0020 RegisterRelease 4cabfeee106e530f",
    "0x0021 AddReleaseSignatures c1ce832ae4999525",
    "0x0022 RevokeRelease 807b264ad70bb01b",
    "0x0030 RegisterVariant 7047ce35c422958d",
    "0x0031 DeclareRecoveryImage 0214a79f57afd1b6",
    "0x0032 RaiseFloor 3f0c8cb8805ed5a4",
    "0x0033 RegisterChannel 5661f1e0eb5652b1",
    "0x0040 CreateRollout 2e3e5f8de83b22cf",
    "0x0041 ApproveRollout 682904d2e1979cc1",
    "0x0042 StartRollout 682904d2e1979cc1",
    "0x0043 AdvanceWave b94f6494578cdeab",
    "0x0044 PauseRollout 2ffdfddc01b5c4a2",
    "0x0045 ResumeRollout 2ffdfddc01b5c4a2",
    "0x0046 HaltRollout 2ffdfddc01b5c4a2",
    "0x0047 RollBack 2ffdfddc01b5c4a2",
    "0x0048 CompleteRollout 682904d2e1979cc1",
    "0x0049 AmendRollout e3880b00ca2578ff",
    "0x004a ExcludeVariant 220aa1968c282738",
    "0x004b ExpediteRollout 2ffdfddc01b5c4a2",
    "0x0050 EmergencyStop 49ac9215a5a2be4a",
    "0x0051 LiftStop 2ffdfddc01b5c4a2",
    "0x0052 SetRegionPolicy b1d40fe02a9d13ae",
    "0x0053 SetHold a868e59ee5486ce6",
    "0x0060 OpenSession 7b86c55a81a4de98",
    "0x0064 WriteOffBudget 2ffdfddc01b5c4a2",
    "0x0066 AdvanceSession db6b05be64ed4790",
    "0x0070 Tick c19a797fa1fd590c",
    "0x0080 ChangeMembership 10968e270199fde3",
    "0x0081 SetClusterConfig 947531db00cc1036",
    "0x0082 RaiseStateVersion dfd554f33af69b98",
];

/// The table for verifiers in other languages names every kind, under its number.
#[test]
fn the_formats_page_lists_every_kind() {
    let page = include_str!("../../docs/formats.md");
    for command in every_kind(&Fleet::new()) {
        let row = format!("| {:#06x} | `{}` |", command.kind(), command.name());
        assert!(page.contains(&row), "no row {row}");
    }
}

#[test]
fn arguments_too_long_to_sign_stand_beside_the_body() {
    let mut fleet = Fleet::new();
    let selectors: Vec<String> = (0..200).map(|n| format!("model-{n}/*/*/*")).collect();
    let selectors: Vec<&str> = selectors.iter().map(String::as_str).collect();
    let registration = fleet.registration(release("os-1").only_for(&selectors));
    let signed = fleet.sealed(registration);
    let (body, _) = signed.parse().unwrap();
    let detached = signed.detached.clone().unwrap();
    assert_eq!(body.arguments, Arguments::Detached(sha256(&detached)));
    assert!(pae("application/vnd.tidegate.command.v1+cbor", &signed.body).len() <= PAE_BYTES_MAX);
    let mut missing = signed.clone();
    missing.detached = None;
    assert!(matches!(missing.parse(), Err(EnvelopeError::NoArguments)));
    let mut other = signed.clone();
    other.detached = Some([detached.as_slice(), &[0]].concat());
    assert!(matches!(other.parse(), Err(EnvelopeError::OtherArguments)));
    let mut twice = fleet.sealed(Tick {});
    twice.detached = Some(vec![0xa0]);
    assert!(matches!(twice.parse(), Err(EnvelopeError::ArgumentsTwice)));
    fleet.apply(&signed.to_bytes());
    assert_eq!(fleet.state.releases().len(), 1);
}

/// DSSE's own example, from its protocol page.
#[test]
fn the_pae_is_that_of_dsse() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
}

/// What a lenient decoder would take for the same command is refused.
#[test]
fn there_is_one_form_only() {
    let mut fleet = Fleet::new();
    let stop = EmergencyStop {
        scope: StopScope::Fleet,
        covers: StopCovers::Both,
        reason: reason(),
    };
    let proposal = fleet.proposal(stop);
    let bytes = seal(&proposal, &[fleet.keys.key(Role::Operator, 0)]).to_bytes();
    assert!(SignedCommand::from_bytes(&bytes).is_ok());
    let trailing = [bytes.as_slice(), &[0]].concat();
    // The map of two fields written with a longer length, and with no length.
    let long = [&[0xb8, 0x02], &bytes[1..]].concat();
    let indefinite = [&[0xbf], &bytes[1..], &[0xff]].concat();
    // An unknown third field.
    let unknown = [&[0xa3], &bytes[1..], &[0x07, 0x00]].concat();
    for other in [trailing, long, indefinite, unknown] {
        assert!(
            SignedCommand::from_bytes(&other).is_err(),
            "{}",
            hex(&other)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes decode are the very bytes that the value encodes to.
    #[test]
    fn decoding_is_the_inverse_of_encoding(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(body) = canonical::decode::<CommandBody>(&bytes) {
            prop_assert_eq!(canonical::encode(&body), bytes.clone());
        }
        if let Ok(signed) = SignedCommand::from_bytes(&bytes) {
            prop_assert_eq!(signed.to_bytes(), bytes);
        }
    }

    /// Every command that the generator makes survives its encoding, and so does what came of it.
    #[test]
    fn commands_and_outcomes_survive_their_encoding(what in any::<u8>(), dice in any::<u64>()) {
        let mut fleet = Fleet::new();
        fleet.take(Step { what, dice });
        let (envelope, _, applied) = fleet.log.last().unwrap();
        let outcome = canonical::encode(&applied.outcome);
        prop_assert_eq!(&canonical::decode::<tidegate_domain::Outcome>(&outcome).unwrap(), &applied.outcome);
        if let Ok((body, command)) = SignedCommand::from_bytes(envelope).map_err(|_| ()).and_then(|s| s.parse().map_err(|_| ())) {
            let again = Command::from_arguments(body.kind, &command.arguments()).unwrap();
            prop_assert_eq!(again, command);
            prop_assert_ne!(body.base_chain, Hash([0; 32]));
        }
    }
}
