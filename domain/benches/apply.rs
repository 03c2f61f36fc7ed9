//! What `apply` costs: without signatures, with them, with rows and root, and after how much history.
//!
//! `cargo xtask bench apply`. The work is what a busy cluster sees: reports of decision nodes,
//! budget grants, holds, a tick for every thousand of them, over 2,500 variants and 100 rollouts under way.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_domain::{
    Outcome, Stamp, State,
    apply::{Terms, Verified},
    command::{Command, GrantBudget, RegisterVariant, Report, SetHold, Tally, Tick, VALIDITY_MAX},
    guard::{HoldKey, HoldKind},
    id::{CommandId, Hash, Index, LogTime, Millis, Pseudonym, RolloutId, SessionId, WaveIndex},
    key::Role,
    node::PoolKey,
    tally::{Arm, Counts, TallyKey},
    testing::{Fleet, apply_authorized, reason, release, rollout, stratum, traits},
};

const VARIANTS: u32 = 2_500;
const ROLLOUTS: u64 = 100;
const SESSIONS: u64 = 16;
/// Commands of one measurement.
const SAMPLE: u64 = 50_000;
/// Log time between two commands: 500 commands a second, so that ids expire as they do.
const PACE: Millis = Millis(2);

fn main() {
    let mut bench = Bench::new();
    println!("{VARIANTS} variants, {ROLLOUTS} rollouts under way, {SESSIONS} sessions\n");
    println!("| what | commands/s | µs each |\n|---|---|---|");
    bench.advance(1_000);
    let young = bench.measure(SAMPLE);
    row("apply, after 1,000 commands", young, SAMPLE);
    bench.advance(1_000_000 - bench.number);
    bench.by_kind.clear();
    let old = bench.measure(SAMPLE);
    row("apply, after 1,000,000 commands", old, SAMPLE);
    for (kind, (took, count)) in &bench.by_kind {
        row(&format!("… {kind} ({count} of them)"), *took, *count);
    }
    let stored = bench.measure_with_rows(SAMPLE);
    row("apply + changed rows and root each 256", stored, SAMPLE);
    let (signed, authorize) = bench.measure_signed(SAMPLE / 5);
    row("apply with one signature each", signed, SAMPLE / 5);
    row("… of which authorize", authorize, SAMPLE / 5);
    println!(
        "\nspent ids held: {}, holds: {}",
        bench.state.spent().len(),
        bench.state.holds().len()
    );
    println!("accepted: {} of {}", bench.accepted, bench.number);
}

fn row(what: &str, took: Duration, commands: u64) {
    let seconds = took.as_secs_f64();
    let rate = commands as f64 / seconds;
    println!(
        "| {what} | {rate:.0} | {:.2} |",
        1e6 * seconds / commands as f64
    );
}

struct Bench {
    state: State,
    keys: Fleet,
    now: LogTime,
    number: u64,
    accepted: u64,
    /// Time and number of each kind.
    by_kind: BTreeMap<&'static str, (Duration, u64)>,
}

impl Bench {
    fn new() -> Self {
        let mut fleet = Fleet::new();
        for variant in 0..VARIANTS {
            let traits = traits(&format!("m{}/r{}/eu/none", variant / 10, variant % 10));
            fleet.accept(RegisterVariant { traits });
        }
        for number in 0..ROLLOUTS {
            let name = format!("release-{number}");
            fleet.register(release(&name).component(&format!("component-{number}")));
            fleet.launch(rollout(&name).wave(10, 24).wave(100, 24));
        }
        for _ in 0..SESSIONS {
            fleet.open_session();
        }
        for number in 0..ROLLOUTS {
            let (session, pool) = pool_of(number);
            fleet.accept(GrantBudget {
                session,
                pool,
                wanted: 100,
            });
        }
        Self {
            state: fleet.state.clone(),
            now: fleet.now,
            keys: fleet,
            number: 0,
            accepted: 0,
            by_kind: BTreeMap::new(),
        }
    }

    /// The next command of the mix.
    fn command(&self, number: u64) -> (Command, Role) {
        match number % 1_000 {
            0 => (Tick {}.into(), Role::Node),
            1..=150 => {
                let (session, pool) = pool_of(number % ROLLOUTS);
                let wanted = 1;
                let grant = GrantBudget {
                    session,
                    pool,
                    wanted,
                };
                (grant.into(), Role::Decision)
            }
            151..=390 => (self.hold(number), Role::Operator),
            _ => (self.report(number), Role::Decision),
        }
    }

    fn report(&self, number: u64) -> Command {
        let (session, pool) = pool_of(number % ROLLOUTS);
        let counts = Counts {
            exposed: 50,
            verified: 40,
            failed: 0,
            operations: 100 * number,
            errors: number / 1_000,
            ..Counts::default()
        };
        let key = TallyKey {
            rollout: pool.rollout,
            wave: pool.wave,
            stratum: pool.stratum,
            cohort: self.keys.now.cohort(),
            arm: pool.arm,
        };
        let tallies = vec![Tally { key, counts }];
        Report {
            session,
            seq: number + 1,
            tallies,
            anchor: None,
        }
        .into()
    }

    fn hold(&self, number: u64) -> Command {
        let mut device = [0; 32];
        device[..8].copy_from_slice(&(number % 100_000).to_be_bytes());
        SetHold {
            key: HoldKey {
                device: Pseudonym(device),
                component: None,
            },
            kind: Some(HoldKind::Legal),
            reason: reason(),
            expires: self.now.after(VALIDITY_MAX),
        }
        .into()
    }

    fn next(&mut self) -> (Verified<Command>, Stamp) {
        let (command, role) = self.command(self.number);
        let mut id = [1; 16];
        id[8..].copy_from_slice(&blake3::hash(&self.number.to_be_bytes()).as_bytes()[..8]);
        let terms = Terms {
            id: CommandId(id),
            not_before: self.now,
            not_after: self.now.after(Millis(600_000)),
            expected_revision: None,
        };
        let signers = vec![self.keys.keys.public(role, 0)];
        let stamp = Stamp {
            time: self.now,
            index: Index(self.state.meta().next.0),
            chain: Hash(*blake3::hash(&id).as_bytes()),
        };
        self.number += 1;
        self.now = self.now.after(PACE);
        (Verified::assume(command, terms, signers), stamp)
    }

    fn advance(&mut self, commands: u64) {
        for at in 0..commands {
            self.one();
            if at % 256 == 0 {
                self.state.drain_changes();
            }
        }
        self.state.drain_changes();
    }

    /// Applies one command; the time that applying it took.
    fn one(&mut self) -> Duration {
        let (command, stamp) = self.next();
        let start = Instant::now();
        let applied = apply_authorized(&mut self.state, &command, stamp);
        let took = start.elapsed();
        let (sum, count) = self.by_kind.entry(command.get().name()).or_default();
        *sum += took;
        *count += 1;
        self.accepted += u64::from(matches!(applied.outcome, Outcome::Accepted(_)));
        took
    }

    fn measure(&mut self, commands: u64) -> Duration {
        let mut took = Duration::ZERO;
        for at in 0..commands {
            took += self.one();
            if at % 256 == 255 {
                self.state.drain_changes();
            }
        }
        took
    }

    fn measure_with_rows(&mut self, commands: u64) -> Duration {
        let mut took = Duration::ZERO;
        for at in 0..commands {
            took += self.one();
            if at % 256 == 255 {
                let start = Instant::now();
                std::hint::black_box(self.state.drain_changes());
                std::hint::black_box(self.state.root());
                took += start.elapsed();
            }
        }
        took
    }

    /// Applies signed envelopes, and authorizes them once more apart.
    fn measure_signed(&mut self, commands: u64) -> (Duration, Duration) {
        let mut fleet = self.keys.clone();
        fleet.state = self.state.clone();
        fleet.now = self.now;
        let envelopes: Vec<Vec<u8>> = (0..commands)
            .map(|at| {
                let command = self.hold(at);
                let mut proposal = fleet.proposal(command);
                proposal.base = tidegate_domain::command::Base::genesis(Fleet::ORIGIN);
                proposal.not_after = fleet.now.after(Millis(3_600_000));
                let operator = fleet.keys.key(Role::Operator, 0);
                tidegate_domain::command::seal(&proposal, &[operator]).to_bytes()
            })
            .collect();
        let stamp = |state: &State| Stamp {
            time: self.now,
            index: state.meta().next,
            chain: Hash([0; 32]),
        };
        let start = Instant::now();
        for envelope in &envelopes {
            let verified =
                tidegate_domain::apply::authorize(&fleet.state, envelope, stamp(&fleet.state));
            std::hint::black_box(verified).expect("signed");
        }
        let authorize = start.elapsed();
        let start = Instant::now();
        for envelope in &envelopes {
            let stamp = stamp(&fleet.state);
            std::hint::black_box(tidegate_domain::apply(&mut fleet.state, envelope, stamp));
        }
        (start.elapsed(), authorize)
    }
}

fn pool_of(number: u64) -> (SessionId, PoolKey) {
    let pool = PoolKey {
        rollout: RolloutId(number + 1),
        wave: WaveIndex(0),
        stratum: stratum(u32::try_from(number).unwrap_or(0) * 25 + 1),
        arm: Arm::Treatment,
    };
    (SessionId(number % SESSIONS + 1), pool)
}
