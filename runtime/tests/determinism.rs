//! A canary: every source of chance that the simulator must hold still. If a dependency finds a new
//! way to the operating system's clock or randomness, this fails before any seed does.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, reason = "every unwrap of a test is an assertion")]

use std::collections::HashMap;
use std::time::Duration;

use madsim::runtime::Runtime;
use openraft_rt::watch::{WatchReceiver as _, WatchSender as _};
use openraft_rt::{AsyncRuntime as _, Watch as _};
use tidegate_runtime::{Clock as _, Entropy, Rt, SystemClock, SystemEntropy, Watch};
use tokio::sync::mpsc;

/// What a run under a seed sees of chance.
async fn observe() -> String {
    let hashed: Vec<u32> = (0..32)
        .map(|n| (n, n))
        .collect::<HashMap<_, _>>()
        .into_keys()
        .collect();
    let source: &dyn Entropy = &SystemEntropy;
    let random: [u8; 16] = source.array().unwrap();
    let began = SystemClock.boot();
    Rt::sleep(Duration::from_millis(1_234)).await;
    let slept = SystemClock.boot().since(began);
    let wall = SystemClock.wall();
    let rng = rand::Rng::next_u64(&mut Rt::thread_rng());
    format!(
        "{hashed:?} {random:?} {slept:?} {wall:?} {rng} {:?}",
        wake_order().await
    )
}

/// The order in which ten watchers of one channel wake.
async fn wake_order() -> Vec<u64> {
    let (sender, receiver) = Watch::channel(0);
    let (woken, mut order) = mpsc::unbounded_channel();
    for number in 0..10 {
        let (mut receiver, woken) = (receiver.clone(), woken.clone());
        let _task = Rt::spawn(async move {
            receiver.changed().await.unwrap();
            woken.send(number).unwrap();
        });
    }
    drop(woken);
    Rt::sleep(Duration::from_millis(10)).await;
    sender.send(1).unwrap();
    let mut seen = Vec::new();
    while let Some(number) = order.recv().await {
        seen.push(number);
    }
    seen
}

#[expect(
    clippy::disallowed_methods,
    reason = "outside the simulator: a fresh thread per run"
)]
fn run(seed: u64) -> String {
    let simulation =
        move || Runtime::with_seed_and_config(seed, madsim::Config::default()).block_on(observe());
    std::thread::spawn(simulation).join().unwrap()
}

#[test]
fn a_seed_repeats_and_seeds_differ() {
    let first = run(1);
    assert_eq!(run(1), first);
    assert_ne!(run(2), first);
}
