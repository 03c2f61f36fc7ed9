//! The acts in the middle: a good release, a dead leader, a bad release, a floor.
use super::{
    desk::Desk,
    setup::{COMPONENT, Stage},
    story::Mark,
};
use crate::rollout_file;
use anyhow::{Context, bail};
use std::time::{Duration, Instant};
use tidegate_domain::{
    Rejection, State,
    command::{
        AdvanceWave, ApproveRollout, CompleteRollout, CreateRollout, RaiseFloor, RevokeRelease,
        StartRollout,
    },
    event::Event,
    guard::Scope,
    id::{Component, Reason, ReleaseName, RolloutId, SecurityVersion, WaveIndex},
    plan,
    rollout::{Life, RolloutSpec},
    variant::Selector,
};

/// The rollout that the README shows, as it stands there.
const GOOD: &str = include_str!("../../../examples/detector-v3.2.yaml");
/// The same for a release that does not boot on one model.
const BAD: &str = include_str!("../../../examples/detector-v3.3.yaml");
/// What the fleet left the factory with.
const FACTORY: &str = include_str!("../../../examples/detector-v3.1.yaml");
/// Nothing in the demo takes longer than this.
pub(super) const PATIENCE: Duration = Duration::from_secs(75);

/// The rollout that makes the factory release the baseline.
pub(super) fn factory_spec() -> anyhow::Result<&'static str> {
    Ok(FACTORY)
}

/// Creates, approves and starts what a rollout file says.
pub(super) async fn begin(desk: &Desk, yaml: &str) -> anyhow::Result<RolloutId> {
    let view = desk.look().await?;
    let spec = resolve(yaml, view.state())?;
    let events = desk.order(CreateRollout { spec }).await?;
    let created = events.iter().find_map(|event| match event {
        Event::RolloutCreated(rollout) => Some(rollout.id),
        _ => None,
    });
    let rollout = created.context("CreateRollout was accepted without a rollout")?;
    desk.resolve(ApproveRollout { rollout }).await?;
    desk.order(StartRollout { rollout }).await?;
    Ok(rollout)
}

/// Passes a rollout's only wave by a quorum's override and completes it.
pub(super) async fn complete_by_override(desk: &Desk, rollout: RolloutId) -> anyhow::Result<()> {
    let reason = Reason::new("all devices left the factory with this release")?;
    desk.resolve(AdvanceWave {
        rollout,
        wave: WaveIndex(0),
        reason,
    })
    .await?;
    desk.order(CompleteRollout { rollout }).await?;
    Ok(())
}

/// Act two: the good release goes out, and the leader dies in the middle.
pub(super) async fn good(stage: &mut Stage) -> anyhow::Result<()> {
    stage
        .story
        .act("2. A good release goes out in waves, and the leader dies in the middle");
    stage.publish("detector-v3.2", "3.2.0", 2).await?;
    let rollout = begin(&stage.desk, GOOD).await?;
    stage
        .story
        .tell("examples/detector-v3.2.yaml is applied and approved by two of three operators");
    let open = stage
        .observer
        .until(PATIENCE, |state| wave(state, rollout) >= Some(1))
        .await;
    stage
        .story
        .expect("the canary wave of v3.2 passes its gate", yes(open), open);
    explain(stage, rollout, open);
    kill_leader(stage).await?;
    let through = |state: &State| {
        state
            .rollouts()
            .get(&rollout)
            .is_some_and(|r| r.waves.iter().all(|w| w.passed.is_some()))
    };
    let passed = stage.observer.until(PATIENCE, through).await;
    stage
        .story
        .expect("all waves of v3.2 pass their gates", yes(passed), passed);
    explain(stage, rollout, passed);
    if passed {
        stage.desk.order(CompleteRollout { rollout }).await?;
    }
    let bytes = stage.work();
    let installs = settled(&bytes).await;
    let enough = installs >= 50;
    stage.story.expect(
        "at least 50 devices fetched the payload over HTTP, checked it and wrote it to a slot",
        installs.to_string(),
        enough,
    );
    let resumed = bytes.resumed.load(std::sync::atomic::Ordering::Relaxed);
    stage.story.expect(
        "a cut download went on with a range request",
        resumed.to_string(),
        resumed > 0,
    );
    Ok(())
}

/// How many payloads the agents have installed, once all have or the slowest has had its time.
async fn settled(work: &super::agent::Work) -> u64 {
    const EVERY: Duration = Duration::from_millis(100);
    let mut patience = 200;
    loop {
        let installs = work.installs.load(std::sync::atomic::Ordering::Relaxed);
        if installs >= 50 || patience == 0 {
            return installs;
        }
        patience -= 1;
        tokio::time::sleep(EVERY).await;
    }
}

#[allow(clippy::disallowed_methods, reason = "the demo runs on real time only")]
async fn kill_leader(stage: &mut Stage) -> anyhow::Result<()> {
    let before = stage.fleet_totals().check_ins;
    let (leader, region) = stage.cluster.kill_leader().await?;
    stage.tally.leader_kills += 1;
    stage.story.mark(
        Mark::Kill,
        "leader killed",
        format!("the leader, node {leader} in {region}, is killed without warning"),
    );
    let asked = Instant::now();
    let traits = "cam-x2/r2/us/none".parse()?;
    stage
        .desk
        .order(tidegate_domain::command::RegisterVariant { traits })
        .await?;
    let took = asked.elapsed();
    stage.tally.leaderless_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let answered = stage.fleet_totals().check_ins - before;
    stage.story.tell(format!(
        "the others elected a leader: the next command took {} ms; meanwhile {answered} check-ins \
         were answered",
        took.as_millis()
    ));
    stage.story.expect(
        "check-ins are answered while there is no leader",
        answered.to_string(),
        answered > 0,
    );
    stage.cluster.restart(leader).await?;
    stage.story.mark(
        Mark::Info,
        "node back",
        format!("node {leader} is back, on its old disk"),
    );
    Ok(())
}

/// Act three: a release that does not boot on one model.
pub(super) async fn bad(stage: &mut Stage) -> anyhow::Result<()> {
    stage
        .story
        .act("3. A later release does not boot on one hardware model");
    stage.publish("detector-v3.3", "3.3.0", 3).await?;
    let rollout = begin(&stage.desk, BAD).await?;
    let halted = |state: &State| {
        let life = state.rollouts().get(&rollout).map(|rollout| &rollout.life);
        matches!(
            life,
            Some(Life::Halted { .. } | Life::RollingBack { .. } | Life::RolledBack { .. })
        )
    };
    let caught = stage.observer.until(PATIENCE, halted).await;
    stage
        .story
        .expect("the gate catches v3.3 and halts it", yes(caught), caught);
    explain(stage, rollout, caught);
    if !caught {
        return Ok(());
    }
    stage.tally.halted_rollouts += 1;
    measure_halt(stage, rollout).await?;
    let target = stage.counters.totals();
    stage
        .story
        .tell(format!("{} devices have gone back so far", target.returned));
    let refused = refusal(stage, BAD).await?;
    let barred = matches!(refused, Some(Rejection::BarredByHalt { .. }));
    let seen = refused.map_or_else(|| "accepted".to_owned(), |why| why.to_string());
    stage.story.expect(
        "a new rollout of the halted release is refused",
        seen,
        barred,
    );
    Ok(())
}

/// Waits until the halt bound is over, and counts offers of the halted release beyond it.
#[allow(clippy::disallowed_methods, reason = "the demo runs on real time only")]
async fn measure_halt(stage: &mut Stage, rollout: RolloutId) -> anyhow::Result<()> {
    let state = stage.observer.state().context("nothing was observed")?;
    let bound = Duration::from_millis(state.config().lease.0);
    let committed = stage
        .observer
        .halted_at(rollout)
        .unwrap_or_else(Instant::now);
    stage.tally.halt_bound_ms = state.config().lease.0;
    tokio::time::sleep((bound + Duration::from_secs(1)).saturating_sub(committed.elapsed())).await;
    let last = stage.counters.last_offer("detector-v3.3");
    let late = last.map_or(Duration::ZERO, |last| {
        last.saturating_duration_since(committed)
    });
    stage.tally.last_offer_after_halt_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
    stage.tally.offers_after_halt_bound = stage
        .counters
        .offers_since("detector-v3.3", committed + bound);
    stage.story.expect(
        format!(
            "no offer of v3.3 later than {} s after its halt",
            bound.as_secs()
        ),
        format!("the last came {} ms after it", late.as_millis()),
        stage.tally.offers_after_halt_bound == 0,
    );
    let returned = stage.counters.totals().returned;
    stage
        .story
        .expect("devices return to v3.2", returned.to_string(), returned > 0);
    Ok(())
}

/// Act four: a floor rises, and what lies below is refused.
pub(super) async fn floor(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.act("4. A security floor rises");
    let revoke = RevokeRelease {
        release: ReleaseName::new("detector-v3.3")?,
        reason: Reason::new("does not boot on cam-z9")?,
    };
    stage.desk.order(revoke).await?;
    let raise = RaiseFloor {
        scope: Scope {
            component: Component::new(COMPONENT)?,
            selector: Selector::ALL,
        },
        security_version: SecurityVersion(2),
        reason: Reason::new("v3.1 can be made to leak frames")?,
        retire: false,
    };
    stage.desk.resolve(raise).await?;
    stage.story.mark(
        Mark::Floor,
        "floor raised",
        "a quorum raises the floor of detector-model to 2",
    );
    let refused = refusal(stage, FACTORY).await?;
    let below = matches!(refused, Some(Rejection::BelowFloor { .. }));
    stage.tally.floor_refusals += u64::from(below);
    let seen = refused.map_or_else(|| "accepted".to_owned(), |why| why.to_string());
    stage.story.expect(
        "a rollout of v3.1, which lies below the floor, is refused",
        seen,
        below,
    );
    Ok(())
}

/// What a rollout waits for, and what devices are told, when things are not as expected.
fn explain(stage: &Stage, rollout: RolloutId, as_expected: bool) {
    let Some(state) = stage.observer.state().filter(|_| !as_expected) else {
        return;
    };
    for wait in plan::waits(&state, rollout, state.meta().time) {
        stage.story.tell(format!("  it waits: {wait}"));
    }
    for (reason, count) in stage.counters.reasons() {
        stage
            .story
            .tell(format!("  devices were told {reason}: {count} times"));
    }
}

/// Why a rollout file is refused, if it is.
async fn refusal(stage: &Stage, yaml: &str) -> anyhow::Result<Option<Rejection>> {
    let view = stage.desk.look().await?;
    let spec = resolve(yaml, view.state())?;
    let answer = stage.desk.ask(CreateRollout { spec }).await?;
    if let Err(rejection) = &answer {
        stage.story.tell(format!("refused: {rejection}"));
    }
    Ok(answer.err())
}

fn resolve(yaml: &str, state: &State) -> anyhow::Result<RolloutSpec> {
    match rollout_file::parse("the demo's rollout file", yaml) {
        Ok(file) => Ok(file.resolve(state)?),
        Err(problems) => bail!("{problems}"),
    }
}

fn wave(state: &State, rollout: RolloutId) -> Option<u16> {
    state
        .rollouts()
        .get(&rollout)?
        .current_wave()
        .map(|wave| wave.0)
}

fn yes(seen: bool) -> &'static str {
    if seen { "yes" } else { "no" }
}
