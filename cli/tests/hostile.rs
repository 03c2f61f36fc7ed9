//! A store node that really runs, and somebody with a key who means ill: whatever is replayed, signed
//! again or made up is answered clearly, and costs no more than it was worth the first time.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
#[path = "hostile/streams.rs"]
mod streams;
mod support;

use std::{fs, io::Write as _, net::TcpStream, path::Path, time::Duration};

use support::fleet::{Fleet, Process, wait};
use tidegate_client::{ClientConfig, Position, Proposed, StoreClient, View};
use tidegate_domain::{
    Command, Event, Outcome, SignedCommand, State,
    apply::access::{Demand, demand},
    command::{AdvanceSession, Base, OpenSession, Operation, Proposal, Tally, seal},
    event::refused_operations,
    id::{CommandId, Epoch, Instance, LogTime, Sequence, SessionId, VariantId, WaveIndex},
    signature::SigningKey,
    tally::{Arm, Counts, Stratum, TallyKey},
    testing::{self, every_kind},
};
use tidegate_runtime::{Clock as _, SystemClock};

const ORIGIN: &str = "fleet.example";
/// How often each command is sent again.
const REPLAYS: usize = 40;
/// Memory of the process, whatever strangers do, in bytes.
const MEMORY_MAX: u64 = 400 << 20;

/// The keys of the cluster, in wrong hands.
struct Thief<'a> {
    folder: &'a Path,
    client: StoreClient,
    runtime: tokio::runtime::Runtime,
    made: u8,
}

impl<'a> Thief<'a> {
    fn new(folder: &'a Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let endpoints = vec![address(folder)];
        let _inside = runtime.enter();
        let client = StoreClient::new(ClientConfig::new(endpoints)).unwrap();
        drop(_inside);
        Self {
            folder,
            client,
            runtime,
            made: 0,
        }
    }

    fn key(&self, name: &str) -> SigningKey {
        let file = self.folder.join(format!("fleet/keys/{name}.key"));
        let text = fs::read_to_string(file).unwrap();
        let seed = text.lines().find_map(|line| line.strip_prefix("seed: "));
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed.unwrap(), &mut bytes).unwrap();
        SigningKey::from_bytes(&bytes)
    }

    fn state(&self) -> State {
        let snapshot = self.client.snapshot(Position::default());
        let (manifest, rows) = self.runtime.block_on(snapshot).unwrap();
        View::new(ORIGIN, &manifest, rows).unwrap().state().clone()
    }

    fn entries(&self) -> u64 {
        let point = self.runtime.block_on(self.client.read_index()).unwrap();
        point.position.entries
    }

    /// A command that is valid for so long from now on, signed as its kind demands.
    fn signed(&mut self, command: &Command, id: CommandId, valid: Duration) -> SignedCommand {
        let names: &[&str] = match demand(&self.state(), command) {
            Demand::Decision | Demand::Session(_) => &["decision-1"],
            Demand::Node => &["node-1"],
            _ => &["operator-1", "operator-2"],
        };
        let keys: Vec<SigningKey> = names.iter().map(|name| self.key(name)).collect();
        let now = now_ms();
        let proposal = Proposal {
            origin: ORIGIN.to_owned(),
            id,
            epoch: Epoch(1),
            not_before: LogTime(now - 60_000),
            not_after: LogTime(now + u64::try_from(valid.as_millis()).unwrap()),
            base: Base::genesis(ORIGIN),
            command: command.clone(),
            expected_revision: None,
        };
        seal(&proposal, &keys.iter().collect::<Vec<_>>())
    }

    fn id(&mut self) -> CommandId {
        self.made += 1;
        CommandId([self.made; 16])
    }

    fn send(&self, command: &SignedCommand) -> Result<Proposed, String> {
        let sent = self.client.propose(command.to_bytes());
        self.runtime
            .block_on(sent)
            .map_err(|error| error.to_string())
    }

    /// What came of a session's next envelope, which must be accepted.
    fn envelope(&mut self, session: SessionId, operations: Vec<Operation>) -> Vec<Event> {
        let row = self.state().sessions().get(&session).unwrap().clone();
        let command = Command::from(AdvanceSession {
            session,
            instance: Instance(1),
            sequence: Sequence(row.sequence.0 + 1),
            operations,
        });
        let id = self.id();
        let signed = self.signed(&command, id, Duration::from_secs(600));
        match self.send(&signed).unwrap().outcome {
            Outcome::Accepted(events) => events,
            Outcome::Rejected(rejection) => panic!("{rejection}"),
        }
    }
}

fn now_ms() -> u64 {
    SystemClock.wall().0
}

/// Where the node listens.
fn address(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("fleet/node-1.toml")).unwrap();
    let listen = text.lines().find_map(|line| line.strip_prefix("listen = "));
    listen.unwrap().trim_matches('"').to_owned()
}

/// Bytes of all files of the node.
fn on_disk(folder: &Path) -> u64 {
    let files = fs::read_dir(folder.join("fleet/data/node-1")).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

/// Resident memory of a process, in bytes (proc(5)).
fn memory(process: &Process) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", process.id())).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

/// Commands of every kind that may be applied without ending the cluster.
fn harmless() -> Vec<Command> {
    let fatal = [
        "RotateKeys",
        "RevokeKey",
        "ChangeMembership",
        "SetClusterConfig",
    ];
    let kinds = every_kind(&testing::Fleet::new());
    let harmless = kinds
        .into_iter()
        .filter(|kind| !fatal.contains(&kind.name()));
    harmless.collect()
}

#[test]
fn what_is_replayed_costs_no_disk_before_it_expires_nor_after() {
    let folder = tempfile::tempdir().unwrap();
    let (_fleet, node) = Fleet::single(folder.path());
    let mut thief = Thief::new(folder.path());
    let valid = Duration::from_secs(20);
    let mut sent = Vec::new();
    for command in harmless() {
        let id = thief.id();
        let signed = thief.signed(&command, id, valid);
        // Refused by the state, or accepted: either way it is dealt with.
        sent.push((command, id, thief.send(&signed), signed));
    }
    let expired_ms = now_ms() + u64::try_from(valid.as_millis()).unwrap() + 2_000;
    let (entries, bytes) = (thief.entries(), on_disk(folder.path()));
    for _ in 0..REPLAYS {
        for (command, _, first, signed) in &sent {
            match (first, thief.send(signed)) {
                (Ok(first), Ok(again)) => {
                    assert!(again.duplicate, "{}", command.name());
                    assert_eq!(again.index, first.index, "{}", command.name());
                }
                (Err(before), Err(again)) => assert_eq!(&again, before, "{}", command.name()),
                (Ok(_), Err(said)) => panic!("{} is applied, and then {said}", command.name()),
                (Err(said), Ok(again)) => panic!("{said}, and then {again:?}"),
            }
        }
    }
    let applied = sent.iter().filter(|(_, _, first, _)| first.is_ok()).count();
    assert!(applied >= 20, "only {applied} were applied");
    // Another body under an id that is spent is told so, and is not recorded.
    for (command, id, first, _) in sent.iter().take(8) {
        let other = thief.signed(command, *id, valid + Duration::from_secs(1));
        if let (Ok(_), Err(said)) = (first, thief.send(&other)) {
            assert!(
                said.contains("another command"),
                "{}: {said}",
                command.name()
            );
        } else {
            assert!(first.is_err(), "{} under a spent id", command.name());
        }
    }
    wait(Duration::from_millis(expired_ms.saturating_sub(now_ms())));
    for (command, _, first, signed) in &sent {
        match thief.send(signed) {
            // Its session remembers it.
            Ok(told) => assert!(told.duplicate, "{} after it expired", command.name()),
            Err(said) => {
                let (over, never) = (said.contains("log time is"), first.is_err());
                assert!(over || never, "{}: {said}", command.name());
            }
        }
    }
    // Ticks come by themselves; nothing else did.
    let more = thief.entries() - entries;
    assert!(more <= 60, "{more} entries, of {} commands", sent.len());
    let grown = on_disk(folder.path()).saturating_sub(bytes);
    assert!(grown < 4 << 20, "{grown} bytes more");
    assert!(
        memory(&node) < MEMORY_MAX,
        "{} bytes of memory",
        memory(&node)
    );
}

#[test]
fn a_decision_key_is_told_what_it_may_not_say() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, _node) = Fleet::single(folder.path());
    fleet.done(&["variant", "register", "cam/r1/eu-west/none"]);
    fleet.release("detector-1", "1.0.0", "1");
    let spec = "rollout:\n  model_version: detector-1\n  stages:\n    - name: all\n      \
                target_percent: 100\n      duration_hours: 24\n  rollback:\n    auto_rollback: false\n    \
                to: fix_forward_only\n";
    fs::write(folder.path().join("all.yaml"), spec).unwrap();
    fleet.done(&["rollout", "apply", "all.yaml", "--approve"]);
    let mut thief = Thief::new(folder.path());
    let open = Command::from(OpenSession {
        region: testing::region("eu-west"),
        address: "nobody.example:7443".to_owned(),
    });
    let id = thief.id();
    let signed = thief.signed(&open, id, Duration::from_secs(600));
    thief.send(&signed).unwrap();
    let state = thief.state();
    let session = state.meta().last_session;
    let (rollout, _) = state.rollouts().last().unwrap();
    let key = |channel: &str| TallyKey {
        rollout: *rollout,
        wave: WaveIndex(0),
        stratum: Stratum {
            variant: VariantId(1),
            channel: testing::channel(channel),
        },
        cohort: LogTime(now_ms()).cohort(),
        arm: Arm::Treatment,
    };
    let report = |channel: &str, counts: Counts| Operation::Report {
        tallies: vec![Tally {
            key: key(channel),
            counts,
        }],
        anchor: None,
    };
    let measured = Counts {
        errors: 1_000,
        operations: 1_000,
        ..Counts::default()
    };
    let exposed = Counts {
        exposed: 5,
        ..Counts::default()
    };
    let lies = vec![
        report("made-up", measured.clone()),
        report("stable", exposed),
        report("stable", measured),
    ];
    let events = thief.envelope(session, lies);
    let refused: Vec<String> = refused_operations(&events)
        .map(|(at, rejection)| format!("{at}: {rejection}"))
        .collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("no such channel"), "{refused:?}");
    assert!(refused[1].contains("granted"), "{refused:?}");
    let state = thief.state();
    assert!(
        state.cohorts().is_empty(),
        "what was measured of nobody counts for nothing"
    );
    fleet.refused(&["channel", "register", "stable"], "it is there already");
    fleet.done(&["channel", "register", "beta"]);
    let channels = fleet.done(&["channel", "list"]);
    assert_eq!(channels["channels"].as_array().unwrap().len(), 2);
}

#[test]
fn strangers_who_send_garbage_or_nothing_keep_nobody_away() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, node) = Fleet::single(folder.path());
    let address = address(folder.path());
    let mut open = Vec::new();
    for number in 0..400_u32 {
        let mut stream = TcpStream::connect(&address).unwrap();
        match number % 4 {
            // Nothing at all.
            0 => {}
            // No HTTP/2.
            1 => drop(stream.write_all(&number.to_be_bytes().repeat(4_096))),
            // The preface of HTTP/2, and a frame that promises 16 MiB.
            2 => {
                let frame = [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1];
                let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
                drop(stream.write_all(&[&preface[..], &frame[..]].concat()));
            }
            // Half of a preface.
            _ => drop(stream.write_all(b"PRI * HTTP/2.0\r\n\r\nS")),
        }
        open.push(stream);
    }
    let began = now_ms();
    fleet.done(&["variant", "register", "a/b/c/d"]);
    fleet.done(&["cluster", "status"]);
    let took = now_ms().saturating_sub(began);
    assert!(took < 20_000, "{took} ms");
    assert!(
        memory(&node) < MEMORY_MAX,
        "{} bytes of memory",
        memory(&node)
    );
}
