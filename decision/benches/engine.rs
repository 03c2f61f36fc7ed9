//! How fast the engine decides, and how long its index takes: 2,500 variants, 400 rollouts.
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use support::{NOW, Plenty, random};
use tidegate_decision::engine::{Index, Mode, TableOnly, Verdict, decide};

/// So many that they don't fit the first cache, so few that memory is not what is measured: a
/// check-in was just parsed when it is decided.
const DEVICES: u64 = 2_000;

fn main() {
    let state = random::large(2_500, 400);
    let builds: Vec<_> = (0..15)
        .map(|_| timed(|| drop(black_box(Index::build(&state)))))
        .collect();
    println!(
        "index build, 2,500 variants, 400 rollouts: {:?}",
        least(builds)
    );
    let index = Index::build(&state);
    for (name, version) in [("up to date", "9.0.0"), ("behind", "1.5.0")] {
        let check_ins: Vec<_> = (0..DEVICES)
            .map(|seed| random::large_check_in(seed, version))
            .collect();
        let mut told = [0_u64; 4];
        let runs: Vec<_> = (0..40)
            .map(|_| {
                told = [0; 4];
                timed(|| {
                    for check_in in &check_ins {
                        let mut budgets = Plenty::default();
                        let answer =
                            decide(&index, NOW, Mode::Fresh, check_in, &TableOnly, &mut budgets);
                        told[answer.verdict as usize] += 1;
                    }
                })
            })
            .collect();
        let each = least(runs) / DEVICES as u32;
        let of = |verdict: Verdict| told[verdict as usize];
        println!(
            "decisions, {name}: {each:?} each, {:.2} M/s on one core (offer {}, wait {}, none {})",
            1e-6 / each.as_secs_f64(),
            of(Verdict::Offer),
            of(Verdict::Wait),
            of(Verdict::None),
        );
    }
}

fn timed(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// The least of many runs: what else the machine does only ever adds.
fn least(runs: Vec<Duration>) -> Duration {
    runs.into_iter().min().unwrap_or_default()
}
