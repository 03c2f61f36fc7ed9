//! What `apply` costs: by how much is live and how much is history, without signatures, with them,
//! and with rows and root.
//!
//! `cargo xtask bench apply`. The work is what a busy cluster sees: envelopes of decision nodes that
//! report or ask for a grant, holds, a tick for every thousand of them, over 2,500 variants and 100
//! rollouts under way. Ids and holds expire, and cohorts mature, as fast as new ones come: what was before
//! the live state is history, of which nothing is left.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tidegate_domain::{
    Examined, Outcome, Stamp, State,
    apply::{Terms, Verified},
    command::{
        AdvanceSession, Base, Command, Operation, RegisterVariant, SetHold, Tally, Tick, seal,
    },
    event::refused_operations,
    guard::{HoldKey, HoldKind},
    id::{
        CommandId, Hash, Index, Instance, LogTime, Millis, Pseudonym, RolloutId, Sequence,
        SessionId, WaveIndex,
    },
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
/// Admissions that each session begins with: more than one batch grants, since a measurement may
/// apply a batch's reports before its grants.
const HELD: u64 = 100;
/// What storage applies at once.
const BATCH: usize = 256;

/// How much is live: each hold, and each id that is kept (of envelopes none is), ends after this
/// many further commands.
struct Load {
    live: u64,
    /// Log time between two commands, such that cohorts mature within the shorter history.
    pace: Millis,
    /// Commands before the first and before the second measurement.
    histories: [u64; 2],
}

const SMALL: Load = Load {
    live: 1_000,
    pace: Millis(20_000),
    histories: [20_000, 1_000_000],
};
const LARGE: Load = Load {
    live: 300_000,
    pace: Millis(2_000),
    histories: [320_000, 1_300_000],
};

/// Which commands of the mix are measured.
type Wanted = fn(&Command) -> bool;

fn main() {
    println!("{VARIANTS} variants, {ROLLOUTS} rollouts under way, {SESSIONS} sessions\n");
    println!("| what | commands/s | µs each |\n|---|---|---|");
    for load in [SMALL, LARGE] {
        let mut bench = Bench::new(&load);
        for history in load.histories {
            bench.advance(history);
            let size = bench.size();
            let measured = bench.measure(SAMPLE, |_| true);
            row(&format!("{size}, after {history} commands"), measured);
        }
        if load.live == LARGE.live {
            bench.details();
        }
    }
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

/// A command of the mix, and who signs it.
type Asked = (Command, Terms, Role);

struct Bench {
    state: State,
    keys: Fleet,
    now: LogTime,
    pace: Millis,
    validity: Millis,
    number: u64,
    /// Granted since the last report, by pool.
    held: BTreeMap<RolloutId, u64>,
    /// The last envelope of each session.
    sequences: BTreeMap<SessionId, Sequence>,
}

impl Bench {
    fn new(load: &Load) -> Self {
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
            let wanted = HELD;
            fleet.does(session, Operation::Grant { pool, wanted });
        }
        let sessions = fleet.state.sessions().iter();
        let sequences = sessions.map(|(id, row)| (*id, row.sequence)).collect();
        Self {
            state: fleet.state.clone(),
            now: fleet.now,
            keys: fleet,
            pace: load.pace,
            validity: Millis(load.live * load.pace.0),
            number: 0,
            held: BTreeMap::new(),
            sequences,
        }
    }

    /// The live state, which is what a cost may depend on.
    fn size(&self) -> String {
        let (ids, holds) = (self.state.spent().len(), self.state.holds().len());
        let (mut rows, mut bytes) = (0, 0);
        for (key, value) in self.state.rows() {
            rows += 1;
            bytes += key.len() + value.len();
        }
        let cohorts = self.state.cohorts().len();
        let megabytes = bytes as f64 / 1e6;
        format!("{rows} rows of {megabytes:.1} MB ({ids} ids, {holds} holds, {cohorts} cohorts)")
    }

    /// The next command of the mix.
    fn command(&mut self, number: u64) -> (Command, Role) {
        match number % 1_000 {
            0 => (Tick {}.into(), Role::Node),
            1..=150 => (self.grant(number), Role::Decision),
            151..=390 => (self.hold(number), Role::Operator),
            _ => (self.report(number), Role::Decision),
        }
    }

    fn grant(&mut self, number: u64) -> Command {
        let (session, pool) = pool_of(number % ROLLOUTS);
        *self.held.entry(pool.rollout).or_default() += 1;
        envelope(session, Operation::Grant { pool, wanted: 1 })
    }

    /// Whatever was granted since the last report is exposed and verified.
    fn report(&mut self, number: u64) -> Command {
        let (session, pool) = pool_of(number % ROLLOUTS);
        let exposed = self.held.remove(&pool.rollout).unwrap_or(0);
        let counts = Counts {
            exposed,
            verified: exposed,
            operations: 100,
            ..Counts::default()
        };
        let key = TallyKey {
            rollout: pool.rollout,
            wave: pool.wave,
            stratum: pool.stratum,
            cohort: self.now.cohort(),
            arm: pool.arm,
        };
        let tallies = vec![Tally { key, counts }];
        let anchor = None;
        envelope(session, Operation::Report { tallies, anchor })
    }

    fn hold(&self, number: u64) -> Command {
        SetHold {
            key: HoldKey {
                device: Pseudonym(*blake3::hash(&number.to_be_bytes()).as_bytes()),
                component: None,
            },
            kind: Some(HoldKind::Legal),
            reason: reason(),
            expires: self.now.after(self.validity),
        }
        .into()
    }

    fn next(&mut self) -> Asked {
        let (command, signer) = self.command(self.number);
        let mut id = [1; 16];
        id[8..].copy_from_slice(&blake3::hash(&self.number.to_be_bytes()).as_bytes()[..8]);
        let terms = Terms {
            digest: Hash([0; 32]),
            id: CommandId(id),
            not_before: self.now,
            not_after: self.now.after(self.validity),
            expected_revision: None,
        };
        self.number += 1;
        self.now = self.now.after(self.pace);
        (command, terms, signer)
    }

    /// A command as it is applied, in the order of the calls: envelopes get their numbers here.
    fn in_turn(&mut self, (mut command, terms, signer): Asked) -> (Verified<Command>, Stamp) {
        if let Command::AdvanceSession(envelope) = &mut command {
            let last = self.sequences.entry(envelope.session).or_default();
            last.0 += 1;
            envelope.sequence = *last;
        }
        let stamp = Stamp {
            time: terms.not_before,
            // Set when it is applied.
            index: Index(0),
            chain: Hash(*blake3::hash(&terms.id.0).as_bytes()),
        };
        let signers = vec![self.keys.keys.public(signer, 0)];
        (Verified::assume(command, terms, signers), stamp)
    }

    fn apply(&mut self, (command, stamp): &(Verified<Command>, Stamp)) {
        let index = self.state.meta().next;
        let applied = apply_authorized(&mut self.state, command, Stamp { index, ..*stamp });
        let done = match &applied.outcome {
            Outcome::Accepted(events) => refused_operations(events).next().is_none(),
            Outcome::Rejected(_) => false,
        };
        assert!(done, "a command of the mix: {:?}", applied.outcome);
    }

    /// Applies commands of the mix without measuring, until there were so many.
    fn advance(&mut self, commands: u64) {
        while self.number < commands {
            self.measure(1_000, |_| true);
        }
    }

    /// Applies the next commands, and tells what those that are wanted cost.
    fn measure(&mut self, commands: u64, wanted: Wanted) -> (Duration, u64) {
        let next: Vec<_> = (0..commands).map(|_| self.next()).collect();
        let (mut took, mut measured, mut next) = (Duration::ZERO, 0, next.into_iter());
        while next.len() > 0 {
            let batch = next.by_ref().take(BATCH);
            let (timed, others): (Vec<_>, Vec<_>) = batch.partition(|(c, ..)| wanted(c));
            for asked in others {
                let entry = self.in_turn(asked);
                self.apply(&entry);
            }
            let timed: Vec<_> = timed.into_iter().map(|a| self.in_turn(a)).collect();
            measured += timed.len() as u64;
            let clock = Clock::start();
            timed.iter().for_each(|entry| self.apply(entry));
            took += clock.read();
            self.state.drain_changes();
        }
        (took, measured)
    }

    /// Each kind apart, and what comes on top of `apply`.
    fn details(&mut self) {
        let kinds: [(&str, Wanted); 4] = [
            ("… AdvanceSession that reports", |c| {
                matches!(operations(c), [Operation::Report { .. }])
            }),
            ("… AdvanceSession that asks for a grant", |c| {
                matches!(operations(c), [Operation::Grant { .. }])
            }),
            ("… SetHold", |c| matches!(c, Command::SetHold(_))),
            ("… Tick", |c| matches!(c, Command::Tick(_))),
        ];
        for (kind, wanted) in kinds {
            row(kind, self.measure(SAMPLE, wanted));
        }
        let what = format!("apply + changed rows and root each {BATCH}");
        row(&what, self.measure_with_rows(SAMPLE));
        let (signed, authorize) = self.measure_signed(SAMPLE / 5);
        row("apply with one signature each", signed);
        row("… of which authorize", authorize);
    }

    /// The same with what storage asks for after each batch: the changed rows, and the root.
    fn measure_with_rows(&mut self, commands: u64) -> (Duration, u64) {
        let next: Vec<_> = (0..commands).map(|_| self.next()).collect();
        let next: Vec<_> = next.into_iter().map(|a| self.in_turn(a)).collect();
        let clock = Clock::start();
        for batch in next.chunks(BATCH) {
            batch.iter().for_each(|entry| self.apply(entry));
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
                let command = self.hold(u64::MAX - at);
                let mut proposal = fleet.proposal(command);
                proposal.base = Base::genesis(Fleet::ORIGIN);
                proposal.not_after = fleet.now.after(Millis(3_600_000));
                let operator = fleet.keys.key(Role::Operator, 0);
                seal(&proposal, &[operator]).to_bytes()
            })
            .collect();
        let stamp = |state: &State| Stamp {
            time: self.now,
            index: state.meta().next,
            chain: Hash([0; 32]),
        };
        let clock = Clock::start();
        for envelope in &envelopes {
            let verified = Examined::of(envelope).authorize(&fleet.state, stamp(&fleet.state));
            std::hint::black_box(verified).expect("signed");
        }
        let authorize = clock.read();
        let clock = Clock::start();
        for envelope in &envelopes {
            let stamp = stamp(&fleet.state);
            std::hint::black_box(tidegate_domain::apply(
                &mut fleet.state,
                Examined::of(envelope),
                stamp,
            ));
        }
        ((clock.read(), commands), (authorize, commands))
    }
}

/// An envelope of one operation, which has no number yet.
fn envelope(session: SessionId, operation: Operation) -> Command {
    AdvanceSession {
        session,
        instance: Instance(1),
        sequence: Sequence(0),
        operations: vec![operation],
    }
    .into()
}

fn operations(command: &Command) -> &[Operation] {
    match command {
        Command::AdvanceSession(envelope) => &envelope.operations,
        _ => &[],
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
