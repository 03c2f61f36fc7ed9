//! The stages of a rollout file: the waves of a rollout.
use super::{
    COUNT_MAX,
    fields::{Fields, Found, items, text, whole},
    keys,
    node::Node,
    percent,
    problem::Problem,
    share,
    time::hours,
};
use tidegate_domain::{
    id::{Millis, Ppm, WaveName},
    variant::Selector,
    wave::{Criteria, Pacing, WaveSpec},
};

/// Most stages of one rollout; a cluster may allow fewer.
pub(super) const STAGES_MAX: usize = 32;

/// Reads the stages. `pacing` is that of stages which have none of their own.
pub(super) fn read(
    node: &Node,
    pacing: Option<Pacing>,
    found: &mut Found,
) -> Option<Vec<WaveSpec>> {
    let items = items(node, "stages", 1..=STAGES_MAX, found)?;
    let mut waves: Vec<WaveSpec> = Vec::with_capacity(items.len());
    let mut complete = true;
    for item in items {
        match stage(item, waves.last(), pacing, found) {
            Some(wave) => {
                check_order(item, &waves, &wave, found);
                waves.push(wave);
            }
            None => complete = false,
        }
    }
    complete.then_some(waves)
}

fn stage(
    node: &Node,
    before: Option<&WaveSpec>,
    pacing_of_rollout: Option<Pacing>,
    found: &mut Found,
) -> Option<WaveSpec> {
    let fields = Fields::of(node, &keys::STAGE, found)?;
    let name = fields.must("name", found);
    let name = name.and_then(|n| text::<WaveName>(n, "name", "the name of the stage", found));
    let target = fields
        .get("target_percent")
        .map(|n| percent(n, "target_percent", found));
    let cap = fields
        .get("cap")
        .map(|n| whole(n, "cap", 1..=COUNT_MAX, found));
    let ring = fields.get("ring").map(|n| {
        let expected = "a selector `model/revision/region/carrier` with `*` for any";
        text::<Selector>(n, "ring", expected, found)
    });
    let soak = match fields.get("duration_hours") {
        Some(node) => hours(node, "duration_hours", found),
        None => Some(Millis(0)),
    };
    let criteria = fields.get("success_criteria").map(|n| criteria(n, found));
    let own_pacing = fields.get("pacing").map(|n| pacing(n, found));
    let target = match (target, &cap, &ring) {
        (Some(target), ..) => target?,
        // Only a cap: everybody, up to it. Only a ring: nobody else than before.
        (None, Some(_), _) => Ppm::ALL,
        (None, None, Some(_)) => before.map_or(Ppm::ZERO, |wave| wave.target),
        (None, None, None) => {
            let problem = Problem::new(node.place, "this stage does not say whom it is for");
            found.push(problem.expected("`target_percent`, `cap` or `ring`"));
            return None;
        }
    };
    Some(WaveSpec {
        name: name?,
        target,
        cap: cap.flatten(),
        soak: soak?,
        criteria: criteria.flatten(),
        pacing: own_pacing.flatten().or(pacing_of_rollout),
        ring: ring.flatten(),
    })
}

/// Names are unique; targets and caps never fall.
fn check_order(node: &Node, waves: &[WaveSpec], wave: &WaveSpec, found: &mut Found) {
    let Some(fields) = Fields::of(node, &keys::STAGE, &mut Found::new()) else {
        return;
    };
    if waves.iter().any(|before| before.name == wave.name) {
        let message = format!("two stages are named `{}`", wave.name);
        let problem = Problem::new(fields.place_of("name"), message);
        found.push(problem.expected("a name of its own for every stage"));
    }
    let Some(before) = waves.last() else {
        return;
    };
    if wave.target < before.target {
        let message = format!(
            "the target falls from {} in `{}` to {} in `{}`",
            before.target, before.name, wave.target, wave.name
        );
        let problem = Problem::new(fields.place_of("target_percent"), message);
        found.push(
            problem
                .expected(format!("at least {}", before.target))
                .help("targets are cumulative: each stage holds the ones before it"),
        );
    }
    if let (Some(previous), Some(cap)) = (before.cap, wave.cap)
        && cap < previous
    {
        let message = format!(
            "the cap falls from {previous} in `{}` to {cap} in `{}`",
            before.name, wave.name
        );
        let problem = Problem::new(fields.place_of("cap"), message);
        found.push(
            problem
                .expected(format!("at least {previous}"))
                .help("caps are cumulative: devices of earlier stages count"),
        );
    }
}

fn criteria(node: &Node, found: &mut Found) -> Option<Criteria> {
    let fields = Fields::of(node, &keys::CRITERIA, found)?;
    let mut rate = |key| fields.get(key).and_then(|n| share(n, key, found));
    let criteria = Criteria {
        accuracy_drop_max: rate("accuracy_drop_max"),
        error_rate_max: rate("error_rate_max"),
        failure_rate_max: rate("failure_rate_max"),
        latency_p99_max_ms: None,
    };
    let latency = fields.get("latency_p99_max_ms");
    let latency = latency.and_then(|n| whole(n, "latency_p99_max_ms", 1..=3_600_000, found));
    Some(Criteria {
        latency_p99_max_ms: latency.and_then(|latency| u32::try_from(latency).ok()),
        ..criteria
    })
}

/// How fast devices are let in.
pub(super) fn pacing(node: &Node, found: &mut Found) -> Option<Pacing> {
    let fields = Fields::of(node, &keys::PACING, found)?;
    let rate = fields.must("admissions_per_hour", found)?;
    let admissions_per_hour = whole(rate, "admissions_per_hour", 1..=COUNT_MAX, found)?;
    Some(Pacing {
        admissions_per_hour,
    })
}
