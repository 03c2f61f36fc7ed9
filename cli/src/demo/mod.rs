//! `tidegate demo`: the main job from end to end, told as it goes. Real stores, real decision nodes,
//! real connections, real bytes; only time runs fast.
mod agent;
mod agents;
mod clock;
mod cluster;
mod decisions;
mod desk;
mod keyring;
mod observe;
mod payload;
mod proof;
mod report;
mod rollouts;
mod setup;
mod story;

use crate::fleet::Totals;
use anyhow::Context;
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

/// What the demo is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How many devices, the agents with real slots included.
    pub(crate) devices: u64,
    /// Where everything is left; made if missing, refused if it holds anything else's files.
    pub(crate) out: PathBuf,
    /// What is brought to the devices; the running binary if absent.
    pub(crate) payload: Option<PathBuf>,
    /// How many hours of log time pass in a second.
    pub(crate) hours_per_second: u64,
    /// Tells nothing on the terminal; the summary is printed as JSON by the caller.
    pub(crate) quiet: bool,
    /// Whether the terminal shows colour.
    pub(crate) colour: bool,
}

/// `summary.json`: what came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Devices that checked in.
    pub(crate) devices: u64,
    /// Check-ins that were answered.
    pub(crate) check_ins: u64,
    /// Offers made.
    pub(crate) offers: u64,
    /// Installs that devices verified after a boot.
    pub(crate) verified: u64,
    /// Installs that failed.
    pub(crate) failed: u64,
    /// Devices that went back to the rollback target.
    pub(crate) returned: u64,
    /// Rollouts that were halted.
    pub(crate) halted_rollouts: u64,
    /// Offers of a halted release later than the halt bound allows.
    pub(crate) offers_after_halt_bound: u64,
    /// Time from the halt's entry to the last offer of the halted release, in ms; 0 if none came
    /// after it.
    pub(crate) last_offer_after_halt_ms: u64,
    /// The halt bound, in ms: the lease.
    pub(crate) halt_bound_ms: u64,
    /// Commands that were refused for a floor.
    pub(crate) floor_refusals: u64,
    /// Times that the leader was killed.
    pub(crate) leader_kills: u64,
    /// Longest time, in ms, that a command took while there was no leader.
    pub(crate) leaderless_ms: u64,
    /// Commands that were acknowledged.
    pub(crate) commands_acknowledged: u64,
    /// Commands that were acknowledged and are not in the log.
    pub(crate) acknowledged_commands_lost: u64,
    /// Payloads that agents fetched, checked and wrote to a slot.
    pub(crate) payloads_installed: u64,
    /// Bytes that agents fetched.
    pub(crate) payload_bytes: u64,
    /// Downloads that were cut and went on with a range request.
    pub(crate) downloads_resumed: u64,
    /// 99th percentile of the answer time of check-ins, in ms.
    pub(crate) check_in_p99_ms: f64,
    /// Entries in the exported log.
    pub(crate) audit_entries: u64,
    /// Whether the export was verified under its policy.
    pub(crate) audit_verified: bool,
    /// The index that the verifier named after one byte of a copy was flipped.
    pub(crate) tamper_detected_at: Option<u64>,
    /// How long it all took, in seconds.
    pub(crate) seconds: f64,
    /// Whether every expectation held.
    pub(crate) ok: bool,
}

/// The summary, and the lines of the table at the end.
pub(crate) struct Ending {
    /// The summary.
    pub(crate) summary: Summary,
    /// Label and value of each row.
    pub(crate) table: Vec<(&'static str, String)>,
}

/// Counts that the acts add to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    leader_kills: u64,
    leaderless_ms: u64,
    floor_refusals: u64,
    halted_rollouts: u64,
    offers_after_halt_bound: u64,
    last_offer_after_halt_ms: u64,
    halt_bound_ms: u64,
}

/// Runs the demo. `Ok` with `summary.ok == false` if it ran and something was not as expected.
pub(crate) async fn run(options: Options) -> anyhow::Result<Ending> {
    setup::check_out_dir(&options.out)?;
    let mut stage = setup::raise(&options).await?;
    rollouts::good(&mut stage).await?;
    rollouts::bad(&mut stage).await?;
    rollouts::floor(&mut stage).await?;
    let totals = stage.fleet_totals();
    let work = stage.work();
    stage.still().await?;
    let proof = proof::prove(&mut stage).await?;
    let summary = summarize(&stage, totals, &work, &proof);
    let table = table(&summary);
    write_report(stage, &summary, &table)?;
    let text = serde_json::to_string_pretty(&summary)?;
    std::fs::write(options.out.join("summary.json"), text + "\n").context("summary.json")?;
    Ok(Ending { summary, table })
}

fn summarize(
    stage: &setup::Stage,
    totals: Totals,
    work: &agent::Work,
    proof: &proof::Proof,
) -> Summary {
    use std::sync::atomic::Ordering::Relaxed;
    let p99 = stage.counters.latency(990_000);
    Summary {
        devices: stage.options.devices,
        check_ins: totals.check_ins,
        offers: totals.offers,
        verified: totals.verified,
        failed: totals.failed,
        returned: totals.returned,
        halted_rollouts: stage.tally.halted_rollouts,
        offers_after_halt_bound: stage.tally.offers_after_halt_bound,
        last_offer_after_halt_ms: stage.tally.last_offer_after_halt_ms,
        halt_bound_ms: stage.tally.halt_bound_ms,
        floor_refusals: stage.tally.floor_refusals,
        leader_kills: stage.tally.leader_kills,
        leaderless_ms: stage.tally.leaderless_ms,
        commands_acknowledged: stage.desk.acknowledged().len() as u64,
        acknowledged_commands_lost: proof.lost,
        payloads_installed: work.installs.load(Relaxed),
        payload_bytes: work.bytes.load(Relaxed),
        downloads_resumed: work.resumed.load(Relaxed),
        check_in_p99_ms: p99.as_secs_f64() * 1_000.0,
        audit_entries: proof.entries,
        audit_verified: proof.verified,
        tamper_detected_at: proof.tamper_detected_at,
        seconds: stage.story.began().elapsed().as_secs_f64(),
        ok: stage
            .story
            .expectations()
            .iter()
            .all(|expectation| expectation.held),
    }
}

fn table(summary: &Summary) -> Vec<(&'static str, String)> {
    let s = summary;
    vec![
        ("devices", s.devices.to_string()),
        ("check-ins answered", s.check_ins.to_string()),
        (
            "answer time, 99th percentile",
            format!("{:.1} ms", s.check_in_p99_ms),
        ),
        ("offers", s.offers.to_string()),
        ("verified after boot", s.verified.to_string()),
        ("failed", s.failed.to_string()),
        ("went back", s.returned.to_string()),
        (
            "payloads written to slots",
            s.payloads_installed.to_string(),
        ),
        ("leader kills", s.leader_kills.to_string()),
        (
            "longest wait without a leader",
            format!("{} ms", s.leaderless_ms),
        ),
        ("commands acknowledged", s.commands_acknowledged.to_string()),
        (
            "acknowledged commands lost",
            s.acknowledged_commands_lost.to_string(),
        ),
        ("rollouts halted", s.halted_rollouts.to_string()),
        (
            "last offer after the halt",
            format!("{} ms", s.last_offer_after_halt_ms),
        ),
        ("halt bound", format!("{} ms", s.halt_bound_ms)),
        ("refused for a floor", s.floor_refusals.to_string()),
        ("audit entries", s.audit_entries.to_string()),
        (
            "audit verified",
            if s.audit_verified { "yes" } else { "no" }.to_owned(),
        ),
        (
            "tampering found at entry",
            s.tamper_detected_at
                .map_or_else(|| "not found".to_owned(), |at| at.to_string()),
        ),
        ("seconds", format!("{:.1}", s.seconds)),
    ]
}

fn write_report(
    stage: setup::Stage,
    summary: &Summary,
    table: &[(&'static str, String)],
) -> anyhow::Result<()> {
    let (lines, expectations) = (stage.story.lines(), stage.story.expectations());
    let end_ms = stage.story.elapsed_ms();
    let (samples, waves) = stage.observer.finish();
    let report = report::Report {
        lead: format!(
            "{} devices, three store nodes in three regions and two decision nodes in one \
             process, over real connections; {} hours of log time pass in a second. {} seconds \
             in all.",
            summary.devices, stage.options.hours_per_second, summary.seconds as u64
        ),
        // The lead says those already.
        tiles: table
            .iter()
            .filter(|(label, _)| !["devices", "seconds"].contains(label))
            .cloned()
            .collect(),
        end_ms,
        samples,
        waves,
        story: &lines,
        expectations: &expectations,
    };
    let path = stage.options.out.join("report.html");
    std::fs::write(&path, report.render()).with_context(|| path.display().to_string())
}

/// What the acts share.
type Shared<T> = Arc<T>;
