//! What `apply` costs: without signatures, with them, with rows and root, and after how much history.
//!
//! `cargo xtask bench apply`. The work is what a busy cluster sees: reports of decision nodes,
//! budget grants, holds, a tick for every thousand of them, over 2,500 variants and 100 rollouts under way.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

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

/// Which commands of the mix are measured.
type Wanted = fn(&Command) -> bool;

fn main() {
    let mut bench = Bench::new();
    println!("{VARIANTS} variants, {ROLLOUTS} rollouts under way, {SESSIONS} sessions\n");
    println!("| what | commands/s | µs each |\n|---|---|---|");
    bench.advance(1_000);
    row(
        "apply, after 1,000 commands",
        bench.measure(SAMPLE, |_| true),
    );
    bench.advance(1_000_000 - bench.number);
    row(
        "apply, after 1,000,000 commands",
        bench.measure(SAMPLE, |_| true),
    );
    let kinds: [(&str, Wanted); 4] = [
        ("… Report", |c| matches!(c, Command::Report(_))),
        ("… GrantBudget", |c| matches!(c, Command::GrantBudget(_))),
        ("… SetHold", |c| matches!(c, Command::SetHold(_))),
        ("… Tick", |c| matches!(c, Command::Tick(_))),
    ];
    for (kind, wanted) in kinds {
        row(kind, bench.measure(SAMPLE, wanted));
    }
    let what = "apply + changed rows and root each 256";
    row(what, bench.measure_with_rows(SAMPLE));
    let (signed, authorize) = bench.measure_signed(SAMPLE / 5);
    row("apply with one signature each", signed);
    row("… of which authorize", authorize);
    println!(
        "\nspent ids held: {}, holds: {}",
        bench.state.spent().len(),
        bench.state.holds().len()
    );
    println!("accepted: {} of {}", bench.accepted, bench.applied);
}

fn row(what: &str, (took, commands): (Duration, u64)) {
    let seconds = took.as_secs_f64();
    let rate = commands as f64 / seconds;
    let each = 1e6 * seconds / commands as f64;
    println!("| {what} | {rate:.0} | {each:.2} |");
}

/// Time on the processor where Linux tells it, so that a busy machine does not count; else time.
struct Clock(Duration, Instant);

impl Clock {
    fn start() -> Self {
        Self(Self::on_processor().unwrap_or_default(), Instant::now())
    }

    fn read(&self) -> Duration {
        match Self::on_processor() {
            Some(now) => now.saturating_sub(self.0),
            None => self.1.elapsed(),
        }
    }

    fn on_processor() -> Option<Duration> {
        // Giving way makes the scheduler account for what ran so far.
        std::thread::yield_now();
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let nanos = text.split_whitespace().next()?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    }
}

struct Bench {
    state: State,
    keys: Fleet,
    now: LogTime,
    number: u64,
    applied: u64,
    accepted: u64,
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
            applied: 0,
            accepted: 0,
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
            // Set when it is applied.
            index: Index(0),
            chain: Hash(*blake3::hash(&id).as_bytes()),
        };
        self.number += 1;
        self.now = self.now.after(PACE);
        (Verified::assume(command, terms, signers), stamp)
    }

    /// Applies commands of the mix without measuring.
    fn advance(&mut self, commands: u64) {
        for _ in 0..commands / 1_000 {
            self.measure(1_000, |_| true);
        }
    }

    /// Applies those of the next commands that are wanted, and tells what that cost.
    fn measure(&mut self, commands: u64, wanted: Wanted) -> (Duration, u64) {
        let next: Vec<_> = (0..commands).map(|_| self.next()).collect();
        let next: Vec<_> = next.iter().filter(|(c, _)| wanted(c.get())).collect();
        let mut took = Duration::ZERO;
        for batch in next.chunks(256) {
            let clock = Clock::start();
            for (command, stamp) in batch {
                let index = self.state.meta().next;
                let applied = apply_authorized(&mut self.state, command, Stamp { index, ..*stamp });
                self.accepted += u64::from(matches!(applied.outcome, Outcome::Accepted(_)));
            }
            took += clock.read();
            self.state.drain_changes();
        }
        self.applied += next.len() as u64;
        (took, next.len() as u64)
    }

    /// The same with what storage asks for after each batch: the changed rows, and the root.
    fn measure_with_rows(&mut self, commands: u64) -> (Duration, u64) {
        let next: Vec<_> = (0..commands).map(|_| self.next()).collect();
        let clock = Clock::start();
        for batch in next.chunks(256) {
            for (command, stamp) in batch {
                let index = self.state.meta().next;
                apply_authorized(&mut self.state, command, Stamp { index, ..*stamp });
            }
            std::hint::black_box(self.state.drain_changes());
            std::hint::black_box(self.state.root());
        }
        (clock.read(), commands)
    }

    /// Applies signed envelopes, and authorizes them once more apart.
    fn measure_signed(&mut self, commands: u64) -> ((Duration, u64), (Duration, u64)) {
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
        let clock = Clock::start();
        for envelope in &envelopes {
            let verified =
                tidegate_domain::apply::authorize(&fleet.state, envelope, stamp(&fleet.state));
            std::hint::black_box(verified).expect("signed");
        }
        let authorize = clock.read();
        let clock = Clock::start();
        for envelope in &envelopes {
            let stamp = stamp(&fleet.state);
            std::hint::black_box(tidegate_domain::apply(&mut fleet.state, envelope, stamp));
        }
        ((clock.read(), commands), (authorize, commands))
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
