//! The machines: production code, unmodified, on simulated network, clocks and disks.

mod auditor;
mod ballots;
mod client;
mod copies;
mod core;
mod decision;
mod device;
mod devices;
mod disks;
mod divergence;
mod errands;
mod follower;
mod forgery;
pub(crate) mod machine;
pub(crate) mod network;
mod probe;
pub(crate) mod settle;
pub(crate) mod store;
mod watcher;
pub(crate) mod witness;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::task::NodeId;
use tidegate_runtime::sim::set_way;

use self::client::{Client, Crew, Members, Roll};
use self::decision::Decision;
use self::devices::Pool;
use self::disks::Disks;
use self::errands::Errands;
use self::machine::{Breakable, Machine};
use self::network::Network;
use self::store::Store;
use self::witness::Witness;
use crate::dice::Dice;
use crate::load::{Operators, Wanted};
use crate::oracle::Seen;
use crate::record::Kind;
use crate::schedule::{LinkSpec, Load, Schedule, Spot, StoreSpec, WorldSpec};

/// Between two looks at every machine.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Everything that there is. Cheap to clone; clones are the same world.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) witness: Witness,
    pub(crate) network: Network,
    spec: Arc<WorldSpec>,
    /// Store machines by number; those that were replaced stay, switched off.
    stores: Arc<Mutex<BTreeMap<u64, Store>>>,
    roll: Roll,
    disks: Disks,
    decisions: Arc<Mutex<Vec<Decision>>>,
    pools: Vec<Pool>,
    clients: Vec<Client>,
    /// Operators send every command twice.
    twice: Arc<AtomicBool>,
    pub(crate) errands: Errands,
    crew: Option<Crew>,
}

impl World {
    /// Switches everything on; returns when the cluster is founded and load runs.
    pub(crate) async fn start(schedule: &Schedule, witness: Witness) -> Self {
        let (spec, seed) = (schedule.world.clone(), schedule.seed);
        for LinkSpec {
            between: [a, b],
            one_way_us,
            jitter_us,
        } in &spec.links
        {
            set_way([a, b], *one_way_us, *jitter_us);
        }
        let specs = spec.stores();
        let founders: Vec<StoreSpec> = specs.iter().filter(|store| store.voter).cloned().collect();
        let disks = Disks::default();
        let build = |store: &StoreSpec| {
            let built = Store::build(store.clone(), &spec, &founders, (&witness, &disks));
            (store.id, built)
        };
        let stores = specs.iter().map(build).collect();
        let roll = Members {
            wanted: specs
                .iter()
                .map(|store| (store.id, wanted(store)))
                .collect(),
            open: Vec::new(),
        };
        let mut world = Self {
            network: Network::new(),
            stores: Arc::new(Mutex::new(stores)),
            roll: Arc::new(Mutex::new(roll)),
            disks,
            decisions: Arc::default(),
            pools: Vec::new(),
            clients: Vec::new(),
            twice: Arc::default(),
            errands: Errands::default(),
            crew: None,
            spec: Arc::new(spec),
            witness,
        };
        world.errands.spawn(look_after(world.clone()));
        let places: Vec<String> = world.spec.regions.iter().map(|r| r.name.clone()).collect();
        let operators = Operators::new(seed).of_places(&places, schedule.load.operators_do);
        let crew = Arc::clone(world.crew.insert(Arc::new(Mutex::new(operators))));
        world.found(&crew).await;
        world.decide();
        world.put_under_load(schedule, &crew);
        world
    }

    async fn found(&mut self, crew: &Crew) {
        let registrar = self.client("reg");
        let founding = client::found(registrar.clone(), Arc::clone(crew));
        // A task that fails takes the run down with it.
        if let Err(error) = registrar.machine().spawn(founding).await {
            unreachable!("nobody cancels the founding: {error}");
        }
        let roll = Arc::clone(&self.roll);
        registrar.run(|client| client::register(client, Arc::clone(crew), roll));
    }

    fn put_under_load(&mut self, schedule: &Schedule, crew: &Crew) {
        let load = &schedule.load;
        let dice = |lane: &str| Dice::new(schedule.seed, lane);
        for number in 1..=load.operators {
            let lane = format!("o{number}");
            let (crew, dice) = (Arc::clone(crew), dice(&lane));
            let client = self.client(&lane);
            let twice = Arc::clone(&self.twice);
            client.run(|client| client::operate(client, (crew, twice), load.clone(), dice));
        }
        for number in 1..=load.readers {
            let lane = format!("r{number}");
            let dice = dice(&lane);
            let client = self.client(&lane);
            client.run(|client| client::read(client, load.clone(), dice));
        }
        for number in 1..=load.followers {
            let client = self.client(&format!("f{number}"));
            client.run(follower::follow);
        }
        let stores: Vec<u64> = self.lock().keys().copied().collect();
        for lane in ["w1", "w2"] {
            let (client, stores) = (self.client(lane), stores.clone());
            client.run(|client| watcher::watch(client, stores, dice(lane)));
        }
        let (machine, lane) = (self.client("a1"), "a1");
        machine.run(|client| auditor::audit(client, stores, dice(lane)));
        self.connect_devices(schedule);
    }

    /// Switches the decision nodes on.
    fn decide(&mut self) {
        let mut places = Vec::new();
        for region in &self.spec.regions {
            places.extend((0..region.decision_nodes).map(|_| region.name.clone()));
        }
        let stores: Vec<StoreSpec> = self.spec.stores();
        for (number, place) in (1..).zip(places) {
            let near = stores.iter().filter(|store| store.region == place);
            let far = stores.iter().filter(|store| store.region != place);
            let known = near.chain(far).map(|store| store::member(store).addr);
            let decision = Decision::build(number, &place, known.collect(), &self.witness);
            lock(&self.decisions).push(decision);
        }
    }

    /// Two gateways, each with half of the devices and a stream to every decision node.
    fn connect_devices(&mut self, schedule: &Schedule) {
        let Load {
            devices,
            check_in_ms,
            ..
        } = schedule.load;
        let places: Vec<String> = self.spec.regions.iter().map(|r| r.name.clone()).collect();
        let nodes: Vec<_> = (1..=self.spec.decision_nodes())
            .map(|number| (format!("d{number}"), decision::address(number)))
            .collect();
        for (name, devices) in [("p1", devices - devices / 2), ("p2", devices / 2)] {
            let dice = Dice::new(schedule.seed, name);
            let (places, nodes) = (&places, nodes.clone());
            let pool = Pool::new(name, devices, places, nodes, dice, &self.witness);
            self.pools.push(pool.clone());
            self.client(name).run(|_| pool.run(check_in_ms));
        }
    }

    /// Whether operators send every command twice, to two nodes at the same time.
    pub(crate) fn send_twice(&self, twice: bool) {
        self.twice.store(twice, Ordering::Relaxed);
    }

    /// Operators halt every rollout that runs.
    pub(crate) fn halt(&self) {
        let registrar = self.clients.first();
        if let (Some(crew), Some(registrar)) = (&self.crew, registrar) {
            registrar.run(|client| client::halt(client, Arc::clone(crew)));
        }
    }

    /// One device in so many loses power.
    pub(crate) fn cut_device_power(&self, one_in: u64) {
        self.pools.iter().for_each(|pool| pool.cut_power(one_in));
    }

    /// Another client machine. Each begins at another store node.
    fn client(&mut self, lane: &str) -> Client {
        let mut known: Vec<u64> = self.lock().keys().copied().collect();
        let places = known.len().max(1);
        known.rotate_left(self.clients.len() % places);
        let number = u8::try_from(self.clients.len() + 1).unwrap_or(u8::MAX);
        let regions = &self.spec.regions;
        let region = regions.get(self.clients.len() % regions.len().max(1));
        let region = region.map_or("a", |region| region.name.as_str());
        let client = Client::build(lane, number, region, &known, &self.witness);
        self.clients.push(client.clone());
        client
    }

    /// The store machine at a spot, if there is one that is not written off.
    pub(crate) fn store(&self, at: &Spot) -> Option<Store> {
        if at.0 == Spot::LEADER {
            return self.leader();
        }
        let id: u64 = at.0.strip_prefix('s')?.parse().ok()?;
        self.member(id)
    }

    /// The machine at a spot, whatever runs on it.
    pub(crate) fn machine(&self, at: &Spot) -> Option<Box<dyn Breakable + Send>> {
        if let Some(store) = self.store(at) {
            return Some(Box::new(store.machine));
        }
        let machine = self.decisions().into_iter().find(|m| m.lane() == at.0)?;
        Some(Box::new(machine))
    }

    /// All machines with a decision node.
    pub(crate) fn decisions(&self) -> Vec<Machine<tidegate_decision::node::Node>> {
        let decisions = lock(&self.decisions);
        decisions.iter().map(|node| node.machine.clone()).collect()
    }

    pub(crate) fn leader(&self) -> Option<Store> {
        let members = self.members();
        members.into_iter().find(Store::leads)
    }

    /// Store machines that operators want as members.
    pub(crate) fn members(&self) -> Vec<Store> {
        let roll = self.roll().wanted.clone();
        let stores = self.lock();
        let member = |id: &u64| stores.get(id).cloned();
        roll.keys().filter_map(member).collect()
    }

    /// All other members than this one.
    pub(crate) fn peers(&self, of: u64) -> Vec<Spot> {
        let roll = self.roll();
        let others = roll.wanted.keys().copied().filter(|id| *id != of);
        others.map(Spot::store).collect()
    }

    fn member(&self, id: u64) -> Option<Store> {
        let wanted = self.roll().wanted.contains_key(&id);
        self.lock().get(&id).filter(|_| wanted).cloned()
    }

    /// Makes a voter of a learner, or the reverse.
    pub(crate) fn set_voter(&self, id: u64, voter: bool) {
        if let Some(wanted) = self.roll().wanted.get_mut(&id) {
            wanted.voter = voter;
        }
    }

    /// Writes a machine off: a new one in the same region takes its place, under a new number.
    pub(crate) fn replace(&self, store: &Store) {
        store.machine.kill();
        store.machine.ruin();
        store.machine.disk().wipe();
        let spec = {
            let mut roll = self.roll();
            let voter = roll
                .wanted
                .remove(&store.spec.id)
                .is_some_and(|node| node.voter);
            let last = self.lock().keys().next_back().copied().unwrap_or(0);
            let spec = StoreSpec {
                id: last + 1,
                region: store.spec.region.clone(),
                voter,
            };
            roll.wanted.insert(spec.id, wanted(&spec));
            spec
        };
        let observers = (&self.witness, &self.disks);
        let new = Store::build(spec.clone(), &self.spec, &[], observers);
        self.lock().insert(spec.id, new);
        let why = format!("lost its disk; s{} takes its place", spec.id);
        let lane = store.machine.lane();
        self.witness.note(lane, Kind::Stopped { why });
        self.witness.see(&Seen::WrittenOff { lane });
    }

    /// Notes that somebody was at a node's files, and that it must refuse them.
    pub(crate) fn spoil(&self, store: &Store) {
        store.machine.spoil();
        self.disks.spoil(store.spec.id);
    }

    /// What a sync takes on a sound disk.
    pub(crate) fn sync_delay(&self) -> Duration {
        Duration::from_micros(self.spec.sync_us)
    }

    /// The machines that the network connects to these store machines from outside.
    pub(crate) fn everyone_but(&self, these: &[NodeId]) -> Vec<NodeId> {
        let stores: Vec<NodeId> = self.lock().values().map(|s| s.machine.id()).collect();
        let decisions = self.decisions();
        let decisions = decisions.iter().map(Breakable::id);
        let clients = self.clients.iter().map(|client| client.machine().id());
        let all = stores.into_iter().chain(decisions).chain(clients);
        all.filter(|id| !these.contains(id)).collect()
    }

    /// Shows the oracles the whole audit log of every node that runs.
    pub(crate) fn show_logs(&self) {
        for store in self.members() {
            if let Some(state) = store.machine.with(|node| node.state().clone()) {
                let machine = (store.machine.lane(), store.machine.id());
                store::show_entries(&self.witness, machine, &state, 0);
            }
        }
    }

    /// Switches everything off. Without it a run's tasks keep each other, and its disks, for ever:
    /// whatever still waits when the executor goes is queued once more, and nobody takes it.
    pub(crate) async fn end(&self) {
        self.errands.end();
        let stores: Vec<Store> = self.lock().values().cloned().collect();
        stores.iter().for_each(|store| store.machine.kill());
        self.decisions().iter().for_each(Breakable::kill);
        for client in &self.clients {
            madsim::runtime::Handle::current().kill(client.machine().id());
        }
        // Tasks are dropped when their turn comes.
        madsim::time::sleep(LOOK_EVERY * 2).await;
    }

    fn roll(&self) -> MutexGuard<'_, Members> {
        lock(&self.roll)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Store>> {
        lock(&self.stores)
    }
}

// Plain data, valid at every step: a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wanted(store: &StoreSpec) -> Wanted {
    Wanted {
        id: store.id,
        address: store::member(store).addr,
        region: store.region.clone(),
        voter: store.voter,
    }
}

/// Looks after every machine, for as long as the run lasts.
async fn look_after(world: World) {
    loop {
        for store in world.members() {
            store.look_after(&world.witness);
            if store.machine.refused() && store.machine.is_ruined() {
                world.replace(&store);
            }
        }
        let decisions = lock(&world.decisions).clone();
        for decision in decisions {
            decision.look_after(&world.witness);
        }
        madsim::time::sleep(LOOK_EVERY).await;
    }
}
