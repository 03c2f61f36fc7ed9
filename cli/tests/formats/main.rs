//! The pages for those who write a verifier in another language say what the code does.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cddl;

use cddl::Schema;
use std::collections::BTreeMap;
use tidegate_domain::{
    Command, Outcome, SignedCommand, canonical,
    command::{CommandBody, RaiseFloor},
    event::Event,
    guard::{Stop, StopCovers, StopScope},
    id::{LogTime, Reason, Revision, SecurityVersion, StopId},
    rejection::Rejection,
    testing::{Fleet, Step, every_kind, every_refusal, region, release, scope},
};

const SCHEMA: &str = include_str!("../../../docs/schema/audit.cddl");
const PAGE: &str = include_str!("../../../docs/formats.md");

fn schema() -> Schema {
    Schema::parse(SCHEMA)
}

fn holds(schema: &Schema, rule: &str, bytes: &[u8]) {
    if let Err(why) = schema.check(rule, bytes) {
        panic!("{rule}: {why}: {bytes:02x?}");
    }
}

/// `RaiseFloor` as the schema names it: `raise-floor`.
fn rule_of(name: &str) -> String {
    let mut rule = String::new();
    for (at, c) in name.chars().enumerate() {
        if at > 0 && c.is_ascii_uppercase() {
            rule.push('-');
        }
        rule.push(c.to_ascii_lowercase());
    }
    rule
}

/// The number and the name of an enum's value.
fn variant<T: minicbor::Encode<()> + std::fmt::Debug>(value: &T) -> (u64, String) {
    let bytes = canonical::encode(value);
    let mut decoder = minicbor::Decoder::new(&bytes);
    decoder.array().unwrap();
    let number = decoder.u64().unwrap();
    let shown = format!("{value:?}");
    let name = shown.split([' ', '(', '{']).next().unwrap();
    (number, name.to_owned())
}

/// The arguments of every kind are what the schema says, and nothing more or less.
#[test]
fn the_schema_holds_for_every_kind_of_command() {
    let schema = schema();
    for command in every_kind(&Fleet::new()) {
        let (rule, bytes) = (rule_of(command.name()), command.arguments());
        holds(&schema, &rule, &bytes);
        let heading = format!("; {:#06x} {}: ", command.kind(), command.name());
        assert!(SCHEMA.contains(&heading), "no {heading:?}");
        // One field more: the head of a short map counts its fields.
        let mut more = bytes.clone();
        more[0] += 1;
        more.extend([0x17, 0x00]);
        assert!(schema.check(&rule, &more).is_err(), "{rule} takes anything");
        if bytes[0] > 0xa0 {
            // The last field gone: an empty map in the place of a map of one.
            let fewer = fewer(&bytes);
            assert!(schema.check(&rule, &fewer).is_err(), "{rule} takes less");
        }
    }
}

/// A map without its last field.
fn fewer(map: &[u8]) -> Vec<u8> {
    let mut decoder = minicbor::Decoder::new(map);
    let fields = decoder.map().unwrap().unwrap();
    for _ in 1..fields {
        decoder.skip().unwrap();
        decoder.skip().unwrap();
    }
    [&[map[0] - 1], &map[1..decoder.position()]].concat()
}

/// What operators, nodes and liars did to a cluster: commands, events, outcomes.
#[test]
fn the_schema_and_the_page_hold_for_whatever_happens() {
    let schema = schema();
    let (mut events, mut refusals) = (BTreeMap::new(), BTreeMap::new());
    for seed in 0..40_u64 {
        let mut fleet = Fleet::furnished();
        for step in 0..60_u64 {
            // A cheap walk over all choices; what matters is that it is always the same.
            let dice = (seed * 60 + step + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            fleet.take(Step {
                what: (dice >> 56) as u8,
                dice,
            });
        }
        for (envelope, _, applied) in &fleet.log {
            let command = SignedCommand::from_bytes(envelope).ok();
            if let Some((_, command)) = command.and_then(|signed| signed.parse().ok()) {
                holds(&schema, "signed-command", envelope);
                holds(&schema, &rule_of(command.name()), &command.arguments());
            }
            holds(&schema, "event", &canonical::encode(&applied.recorded));
            holds(&schema, "outcome", &canonical::encode(&applied.outcome));
            match &applied.outcome {
                Outcome::Accepted(accepted) => events.extend(accepted.iter().map(variant)),
                Outcome::Rejected(refused) => refusals.extend([variant(refused)]),
            }
        }
    }
    assert!(events.len() > 30, "{events:?}");
    assert!(refusals.len() > 20, "{refusals:?}");
    for (number, name) in events.iter().chain(&refusals) {
        let row = format!("| {number} | `{name}` |");
        assert!(PAGE.contains(&row), "no row {row}");
        let comment = format!("; {name}");
        assert!(SCHEMA.contains(&comment), "no {comment}");
    }
}

/// The schema holds for every refusal, and names what is in it.
#[test]
fn the_schema_and_the_page_hold_for_every_refusal() {
    let schema = schema();
    for refusal in every_refusal() {
        let (number, name) = variant(&refusal);
        let outcome = Outcome::Rejected(refusal);
        holds(&schema, "outcome", &canonical::encode(&outcome));
        let row = format!("| {number} | `{name}` |");
        assert!(PAGE.contains(&row), "no row {row}");
        assert!(SCHEMA.contains(&format!("; {name}")), "no {name}");
    }
}

/// The body of an audit entry as the store builds it.
#[test]
fn the_schema_holds_for_bodies_of_entries() {
    use tidegate_raft_store::storage::{Asked, AuditBody};
    let schema = schema();
    let mut fleet = Fleet::new();
    fleet.register(release("os-1"));
    for (envelope, _, applied) in &fleet.log {
        for asked in [
            Asked::command(envelope.clone().into()),
            Asked::Oversized {
                bytes: 9 << 20,
                blake3: [7; 32],
            },
        ] {
            let body = AuditBody {
                raft_index: 3,
                asked,
                applied: applied.clone(),
            };
            holds(&schema, "entry-body", &body.to_bytes());
        }
    }
}

/// Every type that a command is made of has its row on the page, and its rule in the schema.
#[test]
fn the_page_names_every_type_of_the_schema() {
    let from = SCHEMA.find("What commands are made of").unwrap();
    let to = SCHEMA.find("What came of a command").unwrap();
    let rules = SCHEMA[from..to].lines().filter_map(|line| {
        let (rule, _) = line.split_once(" = ")?;
        rule.starts_with(|c: char| c.is_ascii_lowercase())
            .then_some(rule)
    });
    let rules: Vec<&str> = rules.collect();
    assert!(rules.len() > 40, "{rules:?}");
    for rule in rules {
        let named = PAGE.lines().any(|line| {
            let cell = line.strip_prefix("| `").and_then(|l| l.split('`').next());
            cell.is_some_and(|cell| rule_of(cell) == rule)
        });
        assert!(named, "{rule} has no row");
    }
}

/// The bytes at the beginning of each line of a block of the page, after `heading`.
fn example(beginning: &str) -> Vec<u8> {
    let from = PAGE.find(beginning).unwrap();
    let block = PAGE[from..].split("```").next().unwrap();
    let mut bytes = Vec::new();
    for line in block.lines() {
        // Runs of bytes stand between words for people.
        let runs = line.split("   ").map(str::trim).filter(|run| {
            let mut tokens = run.split_whitespace();
            tokens.all(|t| t.len() % 2 == 0 && t.bytes().all(|b| b.is_ascii_hexdigit()))
        });
        for run in runs {
            bytes.extend(hex::decode(run.replace(' ', "")).unwrap());
        }
    }
    bytes
}

#[test]
fn the_examples_of_the_page_are_what_the_code_writes() {
    let floor = RaiseFloor {
        scope: scope("os", "m1/*/*/*"),
        security_version: SecurityVersion(7),
        reason: Reason::new("CVE").unwrap(),
        retire: false,
    };
    let mut fleet = Fleet::new();
    let written = fleet.proposal(floor.clone()).unsigned().body;
    let body = example("a9 01 6d");
    // The signers of the page had seen another log.
    let seen: CommandBody = canonical::decode(&body).unwrap();
    let ours = CommandBody {
        base_chain: fleet.chain,
        ..seen
    };
    assert_eq!(hex::encode(canonical::encode(&ours)), hex::encode(&written));
    holds(&schema(), "command-body", &body);
    let decoded: CommandBody = canonical::decode(&body).unwrap();
    assert_eq!(decoded.kind, Command::from(floor).kind());

    let block = example("82 00 81 81  82");
    let refused = Outcome::Rejected(Rejection::UnknownStop { stop: StopId(9) });
    let refused = canonical::encode(&refused);
    let accepted = block.strip_suffix(refused.as_slice()).unwrap();
    let stop = Stop {
        id: StopId(1),
        scope: StopScope::Region(region("eu")),
        covers: StopCovers::Both,
        reason: Reason::new("smoke").unwrap(),
        since: LogTime(1_795_219_200_000),
        revision: Revision(1),
    };
    let outcome: Outcome = canonical::decode(accepted).unwrap();
    assert_eq!(outcome, Outcome::Accepted(vec![Event::StopRaised(stop)]));
}
