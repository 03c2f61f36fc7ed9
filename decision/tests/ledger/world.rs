//! Nodes with a purse and a ledger each, devices that ask and tell them, and the store's real rules.
use tidegate_decision::{
    engine::{Draw, Token},
    ledger::{
        Carried, Counted, Fate, Ledger, LedgerLimits, Metrics, Owner, Owners, Purse, PurseLimits,
    },
};
use tidegate_domain::{
    Outcome, State,
    command::{Operation, RegisterVariant, Tally},
    event::refused_operations,
    id::{
        Component, LogTime, Millis, Pseudonym, ReleaseName, RolloutId, Sequence, SessionId,
        WaveIndex,
    },
    node::PoolKey,
    rejection::Rejection,
    tally::{Arm, Counts},
    testing::{Fleet, release, rollout, stratum, traits},
};
use tidegate_runtime::BootInstant;

pub const CAP: u64 = 60;

pub struct Node {
    pub session: SessionId,
    pub purse: Purse,
    pub ledger: Ledger,
    /// The node's view, as old as it may be.
    pub view: State,
    pub in_flight: Option<Envelope>,
}

/// A signed envelope of which the node does not know what became of it.
pub struct Envelope {
    pub operations: Vec<Operation>,
    pub sequence: Sequence,
    pub bytes: Vec<u8>,
}

impl Node {
    pub fn start(fleet: &mut Fleet) -> Self {
        let session = fleet.open_session();
        Self {
            session,
            purse: Purse::new(session, PurseLimits::default()),
            ledger: Ledger::new(session, LedgerLimits::default()),
            view: fleet.state.clone(),
            in_flight: None,
        }
    }

    pub fn follow(&mut self, fleet: &Fleet, now: BootInstant) {
        self.view = fleet.state.clone();
        self.purse.follow(&self.view, now);
        self.ledger.follow(&self.view);
        let row = self.view.sessions().get(&self.session).unwrap();
        let shown = |envelope: &mut Envelope| row.sequence == envelope.sequence;
        let Some(envelope) = self.in_flight.take_if(shown) else {
            return;
        };
        let refused = row.last.as_ref().unwrap().refused.iter();
        let refused: Vec<_> = refused.map(|place| (*place, None)).collect();
        self.learn(&envelope, &refused, now);
    }

    /// Learns what became of an envelope: the operations that were refused, and why if that is known.
    fn learn(
        &mut self,
        envelope: &Envelope,
        refused: &[(u32, Option<Rejection>)],
        now: BootInstant,
    ) {
        for (place, operation) in (0..).zip(&envelope.operations) {
            let refused = refused.iter().find(|(at, _)| *at == place);
            match (operation, refused) {
                (Operation::Report { .. }, None) => self.ledger.acknowledged(),
                (Operation::Grant { pool, .. }, Some((_, Some(why)))) => {
                    self.purse.refused(pool, why, now);
                }
                (Operation::Grant { .. }, None | Some((_, None))) => {}
                (Operation::Return { .. } | Operation::Close, None) => {}
                (operation, Some((_, why))) => panic!("{operation:?} was refused: {why:?}"),
            }
        }
    }
}

/// A device that was offered the release, and what it has to tell.
pub struct Device {
    pub token: Token,
    pub told: Option<Fate>,
}

pub struct World {
    pub fleet: Fleet,
    pub rollout: RolloutId,
    pub nodes: Vec<Node>,
    pub devices: Vec<Device>,
    pub boot: BootInstant,
    pub sums: Counts,
}

impl World {
    pub fn new(nodes: usize) -> Self {
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

    pub fn pool(&self, variant: u32) -> PoolKey {
        PoolKey {
            rollout: self.rollout,
            wave: WaveIndex(0),
            stratum: stratum(variant),
            arm: Arm::Treatment,
        }
    }

    /// A new device checks in and is offered the release if there is an admission.
    pub fn draw(&mut self, node: usize, variant: u32) -> Draw {
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

    /// Signs operations as the session's next envelope. There is none on its way.
    pub fn seal(&mut self, at: usize, operations: Vec<Operation>) {
        let node = &mut self.nodes[at];
        assert!(node.in_flight.is_none());
        let envelope = self.fleet.envelope(node.session, operations.clone());
        let sequence = envelope.sequence;
        let sealed = self.fleet.sealed(envelope);
        let is_report = |operation: &Operation| matches!(operation, Operation::Report { .. });
        if let Some(place) = operations.iter().position(is_report) {
            node.ledger.carried(Carried {
                sequence,
                digest: sealed.digest(),
                place: u32::try_from(place).unwrap(),
            });
        }
        node.in_flight = Some(Envelope {
            operations,
            sequence,
            bytes: sealed.to_bytes(),
        });
    }

    /// All that there is to say and to ask, if nothing is on its way.
    pub fn send(&mut self, at: usize, report_last: bool) {
        let node = &mut self.nodes[at];
        if node.in_flight.is_some() {
            return;
        }
        let report = node.ledger.report(None);
        let returns = node.purse.take_returns(&self.fleet.state, self.boot);
        let returns = returns.into_iter();
        let returns = returns.map(|(pool, unused)| Operation::Return { pool, unused });
        let wanted = node.purse.wanted(self.boot).into_iter();
        let mut operations: Vec<_> = returns.collect();
        operations.extend(wanted.map(|(pool, wanted)| Operation::Grant { pool, wanted }));
        let place = if report_last { operations.len() } else { 0 };
        operations.splice(place..place, report);
        if !operations.is_empty() {
            self.seal(at, operations);
        }
    }

    /// Asks for admissions alone.
    pub fn ask(&mut self, at: usize) {
        self.finish(at);
        let wanted = self.nodes[at].purse.wanted(self.boot).into_iter();
        let grants = wanted.map(|(pool, wanted)| Operation::Grant { pool, wanted });
        let grants: Vec<_> = grants.collect();
        if !grants.is_empty() {
            self.seal(at, grants);
            self.finish(at);
        }
    }

    /// A device tells a node something, so often; the node finds the owner, as far as it knows.
    pub fn tell(&mut self, device: usize, fate: Fate, via: usize, times: u8) {
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

    /// The envelope on its way reaches the store; its reply may be lost, and it may come again when
    /// all is known. What was not applied in time is signed anew.
    pub fn deliver(&mut self, at: usize, reply_is_lost: bool, again: bool) {
        let Some(envelope) = self.nodes[at].in_flight.take() else {
            return;
        };
        // A repeat gets its first outcome, as from the real store.
        let mut log = self.fleet.log.iter();
        let first = log.find(|(bytes, ..)| *bytes == envelope.bytes);
        let outcome = match first {
            Some((.., applied)) => applied.outcome.clone(),
            None => self.fleet.apply(&envelope.bytes).outcome.clone(),
        };
        let events = match outcome {
            Outcome::Accepted(events) => events,
            Outcome::Rejected(Rejection::OutsideValidity { .. }) => {
                return self.seal(at, envelope.operations);
            }
            Outcome::Rejected(rejection) => panic!("refused: {rejection}"),
        };
        if reply_is_lost {
            self.nodes[at].in_flight = Some(envelope);
            return;
        }
        let refused = refused_operations(&events);
        let refused: Vec<_> = refused.map(|(at, why)| (at, Some(why.clone()))).collect();
        self.nodes[at].learn(&envelope, &refused, self.boot);
        if again {
            let again = self.fleet.apply(&envelope.bytes);
            assert!(matches!(again.outcome, Outcome::Rejected(_)));
        }
    }

    pub fn finish(&mut self, node: usize) {
        while self.nodes[node].in_flight.is_some() {
            self.deliver(node, false, false);
        }
    }

    /// A node restarts in good order.
    pub fn restart(&mut self, at: usize) {
        self.finish(at);
        let node = &mut self.nodes[at];
        let last = node.ledger.final_report(None).unwrap();
        self.seal(at, vec![last, Operation::Close]);
        self.finish(at);
        self.nodes[at] = Node::start(&mut self.fleet);
    }

    pub fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            self.finish(at);
            self.nodes[at].follow(&self.fleet, self.boot);
            while let Some(report) = self.nodes[at].ledger.report(None) {
                self.seal(at, vec![report]);
                self.finish(at);
            }
            let node = &self.nodes[at];
            assert_eq!(node.ledger.due_len(), 0);
            assert!(!node.ledger.urgent());
        }
    }

    pub fn cohorts(&self) -> Counts {
        let cohorts = self.fleet.state.cohorts().iter();
        cohorts.fold(Counts::default(), |sum, (_, counts)| sum.plus(counts))
    }
}

pub fn token(pool: &PoolKey, session: SessionId, device: Pseudonym, now: LogTime) -> Token {
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

pub fn tallies(report: &Operation) -> &[Tally] {
    let Operation::Report { tallies, .. } = report else {
        panic!("{report:?} is no report");
    };
    tallies
}

/// Draws until some are granted.
pub fn expose(world: &mut World, node: usize, count: usize) {
    for _ in 0..count {
        while world.draw(node, 1) != Draw::Granted {
            world.ask(node);
            world.nodes[node].follow(&world.fleet, world.boot);
        }
    }
}
