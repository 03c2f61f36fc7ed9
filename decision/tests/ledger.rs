//! The ledger against the real store's rules: whatever is lost, repeated or overtaken, no report is
//! refused, and the sums in the state are what devices did.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
use proptest::prelude::*;
use std::time::Duration;
use tidegate_decision::{
    engine::{Draw, Token},
    ledger::{Counted, Fate, Ledger, LedgerLimits, Metrics, Owner, Owners, Purse, PurseLimits},
};
use tidegate_domain::{
    Event, Outcome, State,
    command::{CloseSession, GrantBudget, RegisterVariant, Report, ReturnBudget},
    evolve,
    id::{Component, LogTime, Millis, Pseudonym, ReleaseName, RolloutId, SessionId, WaveIndex},
    node::PoolKey,
    rejection::Rejection,
    tally::{Arm, Counts, TallyKey},
    testing::{Fleet, release, rollout, stratum, traits},
};
use tidegate_runtime::BootInstant;

const CAP: u64 = 60;

struct Node {
    session: SessionId,
    purse: Purse,
    ledger: Ledger,
    /// The node's view, as old as it may be.
    view: State,
    in_flight: Vec<Report>,
}

impl Node {
    fn start(fleet: &mut Fleet) -> Self {
        let session = fleet.open_session();
        Self {
            session,
            purse: Purse::new(session, PurseLimits::default()),
            ledger: Ledger::new(session, LedgerLimits::default()),
            view: fleet.state.clone(),
            in_flight: Vec::new(),
        }
    }

    fn follow(&mut self, fleet: &Fleet, now: BootInstant) {
        self.view = fleet.state.clone();
        self.purse.follow(&self.view, now);
        self.ledger.follow(&self.view);
    }
}

/// A device that was offered the release, and what it has to tell.
struct Device {
    token: Token,
    told: Option<Fate>,
}

struct World {
    fleet: Fleet,
    rollout: RolloutId,
    nodes: Vec<Node>,
    devices: Vec<Device>,
    boot: BootInstant,
    sums: Counts,
}

impl World {
    fn new(nodes: usize) -> Self {
        let mut fleet = Fleet::new();
        for variant in ["m1/r1/eu/none", "m2/r1/eu/none"] {
            fleet.accept(RegisterVariant {
                traits: traits(variant),
            });
        }
        fleet.register(release("r-1"));
        let rollout = fleet.launch(rollout("r-1").wave(100, 1).cap(CAP));
        let nodes = (0..nodes).map(|_| Node::start(&mut fleet)).collect();
        Self {
            fleet,
            rollout,
            nodes,
            devices: Vec::new(),
            boot: BootInstant::default(),
            sums: Counts::default(),
        }
    }

    fn pool(&self, variant: u32) -> PoolKey {
        PoolKey {
            rollout: self.rollout,
            wave: WaveIndex(0),
            stratum: stratum(variant),
            arm: Arm::Treatment,
        }
    }

    /// A new device checks in and is offered the release if there is an admission.
    fn draw(&mut self, node: usize, variant: u32) -> Draw {
        let pool = self.pool(variant);
        let now = self.fleet.now;
        let node = &mut self.nodes[node];
        let draw = node.purse.try_spend(&pool);
        if draw == Draw::Granted {
            let device = Pseudonym(*blake3::hash(&self.devices.len().to_be_bytes()).as_bytes());
            let token = token(&pool, node.session, device, now);
            node.ledger.exposed(&token);
            self.sums.exposed += 1;
            self.devices.push(Device { token, told: None });
        }
        draw
    }

    fn ask(&mut self, node: usize) {
        let (session, boot) = (self.nodes[node].session, self.boot);
        for (pool, wanted) in self.nodes[node].purse.wanted(boot) {
            let grant = GrantBudget {
                session,
                pool: pool.clone(),
                wanted,
            };
            if let Outcome::Rejected(rejection) = self.fleet.run(grant).outcome {
                self.nodes[node].purse.refused(&pool, &rejection, boot);
            }
        }
    }

    fn give_back(&mut self, node: usize) {
        let session = self.nodes[node].session;
        for (pool, unused) in self.nodes[node]
            .purse
            .take_returns(&self.fleet.state, self.boot)
        {
            self.fleet.accept(ReturnBudget {
                session,
                pool,
                unused,
            });
        }
    }

    /// A device tells a node something, so often; the node finds the owner, as far as it knows.
    fn tell(&mut self, device: usize, fate: Fate, via: usize, times: u8) {
        let token = self.devices[device].token.clone();
        let owners = Owners::of(&self.nodes[via].view, self.nodes[via].session);
        let owner = match owners.owner(&token) {
            Owner::Here => Some(via),
            Owner::There { session, .. } => self.nodes.iter().position(|n| n.session == session),
            Owner::Nobody => None,
        };
        let Some(owner) = owner else { return };
        let node = &mut self.nodes[owner];
        let own = node.session == token.session;
        if !own && self.devices[device].told.is_some() {
            return; // It had its answer: heirs hear only of those that had none.
        }
        if Owners::of(&node.view, node.session).owner(&token) != Owner::Here {
            return; // Uncertain: the device tells it again some other time.
        }
        let metrics = Metrics::new((1, 10), (0, 0), &[]).unwrap();
        let first = node.ledger.outcome(&token, fate, Some(&metrics));
        for _ in 0..times {
            assert_ne!(node.ledger.outcome(&token, fate, None), Counted::Counted);
        }
        if first != Counted::Counted {
            return;
        }
        let told = &mut self.devices[device].told;
        assert_eq!(*told, None, "something after the end");
        *told = fate.is_final().then_some(fate);
        assert!(own || fate.is_final());
        self.sums.errors += 1;
        self.sums.operations += 10;
        *match fate {
            Fate::Downloaded => &mut self.sums.downloaded,
            Fate::Installed => &mut self.sums.installed,
            Fate::Verified => &mut self.sums.verified,
            Fate::Failed => &mut self.sums.failed,
            Fate::Reverted => &mut self.sums.reverted,
        } += 1;
    }

    /// One of a node's reports reaches the store, in any order; its reply may be lost.
    fn deliver(&mut self, node: usize, which: usize, reply_is_lost: bool, again: bool) {
        let node = &mut self.nodes[node];
        if node.in_flight.is_empty() {
            return;
        }
        let which = which % node.in_flight.len();
        let report = match again {
            true => node.in_flight[which].clone(),
            false => node.in_flight.remove(which),
        };
        let seq = report.seq;
        match self.fleet.run(report).outcome {
            Outcome::Accepted(_) if !reply_is_lost => node.ledger.acknowledged(seq),
            Outcome::Rejected(Rejection::ReportNotNewer { .. }) if !reply_is_lost => {
                node.ledger.refused(seq);
            }
            Outcome::Accepted(_) | Outcome::Rejected(Rejection::ReportNotNewer { .. }) => {}
            Outcome::Rejected(rejection) => panic!("report {seq} refused: {rejection}"),
        }
    }

    /// A node restarts in good order.
    fn restart(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let session = node.session;
        let last = node.ledger.final_report(None).unwrap();
        self.fleet.accept(CloseSession { session, last });
        self.nodes[at] = Node::start(&mut self.fleet);
    }

    fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            node.follow(&self.fleet, self.boot);
            while let Some(report) = node.ledger.report(None) {
                let seq = report.seq;
                self.fleet.accept(report);
                node.ledger.acknowledged(seq);
            }
            assert_eq!(node.ledger.due_len(), 0);
            assert!(!node.ledger.urgent());
        }
    }

    fn cohorts(&self) -> Counts {
        let cohorts = self.fleet.state.cohorts().iter();
        cohorts.fold(Counts::default(), |sum, (_, counts)| sum.plus(counts))
    }
}

fn token(pool: &PoolKey, session: SessionId, device: Pseudonym, now: LogTime) -> Token {
    Token {
        session,
        rollout: Some(pool.rollout),
        wave: pool.wave,
        stratum: pool.stratum.clone(),
        cohort: now.cohort(),
        arm: pool.arm,
        device,
        attempt: 1,
        expires: now.after(Millis(86_400_000)),
        component: Component::new("os").unwrap(),
        release: ReleaseName::new("r-1").unwrap(),
        stepping_stone: false,
        signer: session,
        original: None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Draw {
        node: usize,
        variant: u32,
    },
    Ask {
        node: usize,
    },
    Return {
        node: usize,
    },
    Tell {
        device: usize,
        fate: Fate,
        via: usize,
        times: u8,
    },
    Follow {
        node: usize,
    },
    Report {
        node: usize,
    },
    Deliver {
        node: usize,
        which: usize,
        lost: bool,
        again: bool,
    },
    Restart {
        node: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..3_usize;
    let fate = prop_oneof![
        1 => Just(Fate::Downloaded),
        1 => Just(Fate::Installed),
        3 => Just(Fate::Verified),
        1 => Just(Fate::Failed),
        1 => Just(Fate::Reverted),
    ];
    let tell = (any::<usize>(), fate, node(), 0..3_u8);
    let deliver = (node(), any::<usize>(), any::<bool>(), any::<bool>());
    prop_oneof![
        12 => (node(), 1..3_u32).prop_map(|(node, variant)| Step::Draw { node, variant }),
        4 => node().prop_map(|node| Step::Ask { node }),
        1 => node().prop_map(|node| Step::Return { node }),
        10 => tell.prop_map(|(device, fate, via, times)| Step::Tell { device, fate, via, times }),
        6 => node().prop_map(|node| Step::Follow { node }),
        4 => node().prop_map(|node| Step::Report { node }),
        5 => deliver.prop_map(|(node, which, lost, again)| Step::Deliver {
            node, which, lost, again,
        }),
        1 => node().prop_map(|node| Step::Restart { node }),
        2 => (1..600_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Draw { node, variant } => {
            world.draw(node, variant);
        }
        Step::Ask { node } => world.ask(node),
        Step::Return { node } => world.give_back(node),
        Step::Tell {
            device,
            fate,
            via,
            times,
        } => {
            if let Some(device) = device.checked_rem(world.devices.len()) {
                world.tell(device, fate, via, times);
            }
        }
        Step::Follow { node } => world.nodes[node].follow(&world.fleet, world.boot),
        Step::Report { node } => {
            let node = &mut world.nodes[node];
            node.in_flight.extend(node.ledger.report(None));
        }
        Step::Deliver {
            node,
            which,
            lost,
            again,
        } => world.deliver(node, which, lost, again),
        Step::Restart { node } => world.restart(node),
        Step::Wait { seconds } => {
            world.fleet.wait(Millis(1_000 * seconds));
            world.boot = world.boot.after(Duration::from_secs(seconds));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(96)
    })]

    #[test]
    fn no_report_is_refused_and_the_sums_are_what_devices_did(
        steps in proptest::collection::vec(step(), 1..160),
    ) {
        let mut world = World::new(3);
        for step in steps {
            take(&mut world, step);
            prop_assert!(world.sums.exposed <= CAP, "WAVE-3");
        }
        world.settle();
        prop_assert_eq!(world.cohorts(), world.sums.clone());
        for node in 0..world.nodes.len() {
            world.restart(node);
        }
        prop_assert_eq!(world.cohorts(), world.sums);
    }
}

/// Draws until some are granted.
fn expose(world: &mut World, node: usize, count: usize) {
    for _ in 0..count {
        while world.draw(node, 1) != Draw::Granted {
            world.ask(node);
            world.nodes[node].follow(&world.fleet, world.boot);
        }
    }
}

#[test]
fn exposures_of_a_node_that_was_cut_off_too_long_count_in_the_present_hour() {
    let mut world = World::new(1);
    expose(&mut world, 0, 7);
    world.tell(0, Fate::Verified, 0, 0);
    world.fleet.wait(Millis(80 * 3_600_000));
    world.fleet.tick();
    world.settle();
    let present = TallyKey {
        rollout: world.rollout,
        wave: WaveIndex(0),
        stratum: stratum(1),
        cohort: world.fleet.now.cohort(),
        arm: Arm::Treatment,
    };
    let counts = world.fleet.state.cohorts().get(&present).unwrap();
    assert_eq!((counts.exposed, counts.verified), (7, 1));
    let budget = world.fleet.state.budgets().iter().next().unwrap().1;
    assert_eq!(budget.spent, 7);
}

#[test]
fn what_arrived_without_a_reply_is_not_counted_again_once_it_is_folded_away() {
    let mut world = World::new(1);
    expose(&mut world, 0, 7);
    let report = world.nodes[0].ledger.report(None).unwrap();
    let key = report.tallies[0].key.clone();
    world.fleet.accept(report);
    world.fleet.wait(Millis(80 * 3_600_000));
    world.fleet.tick();
    if world.fleet.state.cohorts().contains(&key) {
        evolve(&mut world.fleet.state, &Event::CohortMatured { key }).unwrap();
    }
    world.settle();
    assert_eq!(world.cohorts(), Counts::default());
    let budget = world.fleet.state.budgets().iter().next().unwrap().1;
    assert_eq!(budget.spent, 7);
    world.tell(3, Fate::Verified, 0, 0);
    assert_eq!(world.sums.verified, 0, "it was resolved as silent");
}

#[test]
fn a_failure_does_not_wait_for_the_interval() {
    let mut world = World::new(1);
    expose(&mut world, 0, 2);
    assert!(!world.nodes[0].ledger.urgent());
    world.tell(0, Fate::Failed, 0, 0);
    assert!(world.nodes[0].ledger.urgent());
    let report = world.nodes[0].ledger.report(None).unwrap();
    assert!(!world.nodes[0].ledger.urgent(), "it is on its way");
    world.nodes[0].ledger.refused(report.seq);
    assert!(world.nodes[0].ledger.urgent(), "it is not");
}

#[test]
fn a_clock_far_ahead_of_the_stores_delays_its_own_cohorts_only() {
    let mut world = World::new(1);
    expose(&mut world, 0, 2);
    let behind = world.fleet.now;
    world.fleet.wait(Millis(5 * 3_600_000));
    let pool = world.pool(1);
    let (session, now) = (world.nodes[0].session, world.fleet.now);
    let early = token(&pool, session, Pseudonym([9; 32]), now);
    world.fleet.now = behind;
    while world.nodes[0].purse.try_spend(&pool) != Draw::Granted {
        world.ask(0);
        world.nodes[0].follow(&world.fleet, world.boot);
    }
    world.nodes[0].ledger.exposed(&early);
    let report = world.nodes[0].ledger.report(None).unwrap();
    assert!(matches!(
        world.fleet.refuse(report.clone()),
        Rejection::TallyInconsistent { .. }
    ));
    world.nodes[0].ledger.refused(report.seq);
    let last = world.nodes[0].ledger.final_report(None);
    assert_eq!(last, None, "WAVE-3");
    let report = world.nodes[0].ledger.report(None).unwrap();
    assert_eq!(report.tallies[0].counts.exposed, 2);
    world.fleet.accept(report.clone());
    world.nodes[0].ledger.acknowledged(report.seq);
    world.fleet.wait(Millis(5 * 3_600_000));
    world.settle();
    assert_eq!(world.cohorts().exposed, 3);
}
