//! The path that answers `none` does not allocate.
// Pure, so that the simulator can change nothing.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod support;

use allocation_counter::measure;
use support::{NOW, Plenty, check_in, random};
use tidegate_decision::engine::{Index, Mode, TableOnly, Verdict, decide};

#[test]
fn the_counter_counts() {
    let counted = measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn answering_none_allocates_nothing() {
    let index = Index::build(&random::large(250, 40));
    let mut check_ins: Vec<_> = (0..2_000)
        .map(|seed| random::large_check_in(seed, "9.0.0"))
        .collect();
    check_ins.push(check_in("d", 999_999, "os", "1.0.0"));
    let mut nothing = 0;
    for asked in &check_ins {
        let mut verdict = Verdict::Offer;
        let counted = measure(|| {
            let mut budgets = Plenty::default();
            verdict = decide(&index, NOW, Mode::Fresh, asked, &TableOnly, &mut budgets).verdict;
        });
        assert_eq!((verdict, counted.count_total), (Verdict::None, 0));
        nothing += 1;
    }
    assert_eq!(nothing, check_ins.len());
}
