use super::*;

/// Reads `exposed=100 verified=98 failed=2 latency=50:99,5000:1` into counts.
fn counts(text: &str) -> Counts {
    let mut counts = Counts::default();
    for field in text.split_whitespace() {
        let (name, value) = field.split_once('=').unwrap();
        if name == "latency" {
            counts.latency = histogram(value);
            continue;
        }
        let value = value.parse().unwrap();
        match name {
            "exposed" => counts.exposed = value,
            "verified" => counts.verified = value,
            "failed" => counts.failed = value,
            "reverted" => counts.reverted = value,
            "silent" => counts.silent = value,
            "errors" => counts.errors = value,
            "operations" => counts.operations = value,
            "correct" => counts.correct = value,
            "predictions" => counts.predictions = value,
            name => panic!("no counter {name}"),
        }
    }
    counts
}

fn histogram(text: &str) -> Vec<u64> {
    let mut buckets = vec![0; crate::tally::LATENCY_BUCKETS];
    for part in text.split(',') {
        let (bound, count) = part.split_once(':').unwrap();
        let at = match bound {
            "more" => LATENCY_BOUNDS_MS.len(),
            bound => {
                let bound: u32 = bound.parse().unwrap();
                LATENCY_BOUNDS_MS.iter().position(|b| *b == bound).unwrap()
            }
        };
        buckets[at] = count.parse().unwrap();
    }
    buckets
}

fn ppm(parts: u32) -> Option<Ppm> {
    Some(Ppm::new(parts).unwrap())
}

fn gate(criteria: Criteria) -> Gate {
    Gate {
        criteria,
        silent_max: Ppm::new(50_000).unwrap(),
        sample_min: 100,
    }
}

fn show(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Fails(breach) => format!("fails: {breach}"),
        Judgement::Waits(missing) => {
            let parts: Vec<String> = missing.iter().map(ToString::to_string).collect();
            format!("waits: {}", parts.join("; "))
        }
        Judgement::Passes => "passes".to_owned(),
    }
}

/// One row of a golden table: `young | mature | control -> judgement`.
#[track_caller]
fn check(gate: &Gate, young: &str, mature: &str, control: &str, expected: &str) {
    let sum = Sum {
        mature: counts(mature),
        young: counts(young),
        cohorts_resolved: 0,
    };
    let control = Sum {
        mature: counts(control),
        ..Sum::default()
    };
    assert_eq!(show(&gate.judge(&sum, &control, false)), expected);
}

#[test]
fn failures_speak_at_once_and_success_only_past_the_horizon() {
    let g = gate(Criteria::default());
    check(&g, "", "", "", "waits: no resolved devices yet, 100 needed");
    check(
        &g,
        "exposed=500 verified=500",
        "",
        "",
        "waits: no resolved devices yet, 100 needed",
    );
    check(&g, "", "exposed=100 verified=99 silent=1", "", "passes");
    check(
        &g,
        "",
        "exposed=99 verified=99",
        "",
        "waits: 99 of 100 resolved devices",
    );
    // Two of a hundred are allowed, also before there are a hundred; the third is a breach.
    check(
        &g,
        "failed=2",
        "",
        "",
        "waits: no resolved devices yet, 100 needed",
    );
    check(
        &g,
        "failed=3",
        "",
        "",
        "fails: 3 % of installs failed, at most 2 % may",
    );
    check(
        &g,
        "failed=2 reverted=1",
        "",
        "",
        "fails: 3 % of installs failed, at most 2 % may",
    );
    check(
        &g,
        "failed=1",
        "verified=98 failed=2",
        "",
        "fails: 2.9703 % of installs failed, at most 2 % may",
    );
    check(&g, "", "verified=98 failed=2", "", "passes");
    // Fresh successes don't outshine what is known in full.
    check(
        &g,
        "verified=500",
        "verified=98 failed=3",
        "",
        "fails: 2.9703 % of installs failed, at most 2 % may",
    );
}

#[test]
fn silence_counts_when_it_is_known_to_be_silence() {
    let g = gate(Criteria::default());
    check(&g, "exposed=1000", "verified=95 silent=5", "", "passes");
    check(
        &g,
        "",
        "verified=94 silent=6",
        "",
        "fails: 6 % of devices fell silent, at most 5 % may",
    );
    check(
        &g,
        "",
        "silent=6",
        "",
        "fails: 6 % of devices fell silent, at most 5 % may",
    );
    check(&g, "", "silent=5", "", "waits: 5 of 100 resolved devices");
}

#[test]
fn no_failures_allowed_means_none() {
    let g = gate(Criteria {
        failure_rate_max: ppm(0),
        ..Criteria::default()
    });
    check(
        &g,
        "failed=1",
        "verified=1000000",
        "",
        "fails: 0.0001 % of installs failed, at most 0 % may",
    );
    check(&g, "", "verified=1000000", "", "passes");
}

#[test]
fn error_rates_need_operations() {
    let g = gate(Criteria {
        error_rate_max: ppm(1_000),
        ..Criteria::default()
    });
    check(
        &g,
        "",
        "verified=100",
        "",
        "waits: no reported operations yet, 100 needed",
    );
    check(
        &g,
        "",
        "verified=100 operations=1000 errors=1",
        "",
        "passes",
    );
    check(
        &g,
        "",
        "verified=100 operations=1000 errors=2",
        "",
        "fails: 0.2 % of operations failed, at most 0.1 % may",
    );
    check(
        &g,
        "operations=50 errors=50",
        "verified=100",
        "",
        "waits: no reported operations yet, 100 needed",
    );
    check(
        &g,
        "operations=100 errors=50",
        "verified=100",
        "",
        "fails: 50 % of operations failed, at most 0.1 % may",
    );
}

#[test]
fn latency_is_judged_by_the_bucket_of_its_99th_percentile() {
    let g = gate(Criteria {
        latency_p99_max_ms: Some(50),
        ..Criteria::default()
    });
    check(
        &g,
        "",
        "verified=100",
        "",
        "waits: no reported latencies yet, 100 needed",
    );
    check(&g, "", "verified=100 latency=50:99,5000:1", "", "passes");
    check(
        &g,
        "",
        "verified=100 latency=50:98,5000:2",
        "",
        "fails: latency p99 is up to 5000 ms, at most 50 ms may be",
    );
    check(
        &g,
        "",
        "verified=100 latency=50:98,more:2",
        "",
        "fails: latency p99 is above 5000 ms, at most 50 ms may be",
    );
    // A limit between two bounds: the bucket that holds it does not pass.
    let g = gate(Criteria {
        latency_p99_max_ms: Some(60),
        ..Criteria::default()
    });
    check(
        &g,
        "",
        "verified=100 latency=75:100",
        "",
        "fails: latency p99 is up to 75 ms, at most 60 ms may be",
    );
}

#[test]
fn accuracy_is_judged_against_control() {
    let g = gate(Criteria {
        accuracy_drop_max: ppm(20_000),
        ..Criteria::default()
    });
    let well = "verified=100 predictions=1000 correct=900";
    check(
        &g,
        "",
        "verified=100",
        "",
        "waits: no reported predictions yet, 100 needed; no predictions of devices without the release yet, 100 needed",
    );
    check(
        &g,
        "",
        well,
        "predictions=99 correct=99",
        "waits: 99 of 100 predictions of devices without the release",
    );
    check(&g, "", well, "predictions=1000 correct=920", "passes");
    check(
        &g,
        "",
        well,
        "predictions=1000 correct=921",
        "fails: accuracy fell by 2.1 %, at most 2 % may",
    );
    check(&g, "", well, "predictions=1000 correct=500", "passes");
}

#[test]
fn the_greatest_counters_do_not_run_over() {
    let g = gate(Criteria {
        accuracy_drop_max: ppm(999_999),
        ..Criteria::default()
    });
    let most = format!("verified=100 predictions={COUNT_MAX} correct=0");
    let control = format!("predictions={COUNT_MAX} correct={COUNT_MAX}");
    check(
        &g,
        "",
        &most,
        &control,
        "fails: accuracy fell by 100 %, at most 99.9999 % may",
    );
}

#[test]
fn an_expedited_rollout_is_judged_on_what_was_said() {
    let g = gate(Criteria::default());
    let sum = Sum {
        young: counts("exposed=500 verified=100"),
        ..Sum::default()
    };
    let control = Sum::default();
    assert_eq!(g.judge(&sum, &control, true), Judgement::Passes);
    assert!(matches!(
        g.judge(&sum, &control, false),
        Judgement::Waits(_)
    ));
}

proptest::proptest! {
    /// Cross multiplication agrees with exact fractions, done the slow way.
    #[test]
    fn shares_are_exact(part in 0..5_000_u64, whole in 1..5_000_u64, max in 0..=1_000_000_u32) {
        let max = Ppm::new(max).unwrap();
        let over = part * 1_000_000 > u64::from(max.get()) * whole;
        proptest::prop_assert_eq!(exceeds(part, whole, max).is_some(), over);
        if let Some(rate) = exceeds(part, whole, max) {
            proptest::prop_assert!(rate > max || rate == Ppm::ALL);
        }
    }

    /// An accuracy is judged as exact fractions say, done the slow way, and only on enough of both
    /// sides; worse predictions, or a better control, never help.
    #[test]
    fn accuracy_falls_by_no_more_than_is_allowed(
        sizes in (0..300_u64, 0..300_u64),
        correct in (0..=300_u64, 0..=300_u64),
        worse in (0..50_u64, 0..50_u64),
        max in 0..=1_000_000_u32,
    ) {
        let (treated, compared) = sizes;
        let g = gate(Criteria { accuracy_drop_max: ppm(max), ..Criteria::default() });
        let judge = |right: u64, control: u64| {
            let side = |predictions: u64, correct: u64| Sum {
                mature: Counts { verified: 100, predictions, correct: correct.min(predictions), ..Counts::default() },
                ..Sum::default()
            };
            g.judge(&side(treated, right), &side(compared, control), false)
        };
        let (right, control) = (correct.0.min(treated), correct.1.min(compared));
        let enough = treated >= 100 && compared >= 100;
        // control / compared − right / treated, over their common denominator.
        let fell = i128::from(control * treated) - i128::from(right * compared);
        let too_far = fell * 1_000_000 > i128::from(max) * i128::from(treated * compared);
        let before = judge(right, control);
        proptest::prop_assert_eq!(matches!(before, Judgement::Waits(_)), !enough);
        proptest::prop_assert_eq!(matches!(before, Judgement::Fails(_)), enough && too_far);
        let after = judge(right.saturating_sub(worse.0), control + worse.1);
        if before != Judgement::Passes {
            proptest::prop_assert!(after != Judgement::Passes);
        }
    }

    /// More failures never turn a failing gate into a passing one.
    #[test]
    fn failures_only_hurt(verified in 0..400_u64, failed in 0..40_u64, more in 1..40_u64) {
        let g = gate(Criteria::default());
        let sum = |failed| Sum { mature: Counts { verified, failed, ..Counts::default() }, ..Sum::default() };
        let before = g.judge(&sum(failed), &Sum::default(), false);
        let after = g.judge(&sum(failed + more), &Sum::default(), false);
        if matches!(before, Judgement::Fails(_)) {
            proptest::prop_assert!(matches!(after, Judgement::Fails(_)));
        }
    }
}
