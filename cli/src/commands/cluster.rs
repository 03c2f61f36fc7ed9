//! `tidegate cluster`.
mod config;
mod version;

use crate::{
    cluster::asked,
    context::Context,
    describe,
    failure::{Failure, Kind},
    terminal::{Terminal, Tone, table},
};
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use tidegate_client::{ClientError, View};
use tidegate_domain::id::LogTime;
use tidegate_proto::v1::{DiskState, NodeRole, StatusResponse};

/// The store nodes, and what must be the same at all of them.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    Status(Status),
    #[command(subcommand)]
    Config(config::Config),
    RaiseVersion(version::RaiseVersion),
}

/// Shows what each node says of itself, whether a quorum answers, and what is stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate cluster status
  tidegate cluster status --store a:7001,b:7001,c:7001 --json

Ends with 3 when no quorum answers.")]
pub(crate) struct Status {}

impl Cluster {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Status(status) => status.run(context).await,
            Self::Config(config) => config.run(context).await,
            Self::RaiseVersion(raise) => raise.run(context).await,
        }
    }
}

impl Status {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self {} = self;
        let cluster = context.cluster()?;
        let terminal = context.terminal;
        let statuses = cluster.statuses().await;
        let quorum = cluster.read_point().await;
        let view = match &quorum {
            Ok(_) => Some(cluster.view().await?),
            Err(_) => None,
        };
        let mut text = nodes(terminal, &statuses);
        text.push_str(&alarms(terminal, &statuses));
        let mut json = json!({
            "nodes": statuses.iter().map(node_json).collect::<Vec<_>>(),
            "quorum": quorum.is_ok(),
        });
        if let Some(view) = &view {
            text.push_str(&summary(terminal, view));
            json["cluster"] = summary_json(view);
        }
        match quorum {
            Ok(_) => {
                terminal.show(text, json);
                Ok(())
            }
            Err(failure) => {
                terminal.note(text);
                Err(Failure::new(Kind::Unreachable, "no quorum answers")
                    .details(json)
                    .next(failure.to_text().trim_start_matches("error: ")))
            }
        }
    }
}

type Answer = (String, Result<StatusResponse, ClientError>);

fn nodes(terminal: Terminal, statuses: &[Answer]) -> String {
    let row = |(endpoint, status): &Answer| match status {
        Ok(status) => {
            let member = status
                .members
                .iter()
                .find(|member| member.node_id == status.node_id);
            let (tone, role) = role(status.role());
            vec![
                endpoint.clone(),
                status.node_id.to_string(),
                terminal.paint(tone, role),
                member.map_or_else(|| "-".to_owned(), |member| member.region.clone()),
                status.term.to_string(),
                status.entries.to_string(),
                disk(terminal, status),
                if status.ready {
                    "yes".to_owned()
                } else {
                    terminal.paint(Tone::Warning, "no")
                },
            ]
        }
        Err(error) => {
            let why = terminal.paint(Tone::Bad, error.refusal());
            vec![endpoint.clone(), "-".to_owned(), why]
        }
    };
    let rows: Vec<_> = statuses.iter().map(row).collect();
    let header = [
        "ADDRESS", "NODE", "ROLE", "REGION", "TERM", "ENTRIES", "DISK", "READY",
    ];
    table(&header, &rows)
}

/// Why a node is not ready, and what helps.
const fn not_ready(disk: DiskState) -> &'static str {
    match disk {
        DiskState::Full => {
            "its disk is full, and it takes no entries until there is room; make room, and it catches up \
             by itself"
        }
        DiskState::Failed => {
            "its disk failed; what the node says of it in its log tells what to do"
        }
        DiskState::Writable | DiskState::Unspecified => {
            "it has not heard for 5 s from a majority that it is not behind: it has just started, catches \
             up, or does not reach a majority"
        }
    }
}

/// What nodes say of themselves that somebody should look at: that they are not ready, and that a
/// leader's stamps have run away from their clocks.
fn alarms(terminal: Terminal, statuses: &[Answer]) -> String {
    let mut text = String::new();
    let answered = statuses
        .iter()
        .filter_map(|(_, status)| status.as_ref().ok());
    for status in answered.filter(|status| !status.ready) {
        let line = format!(
            "node {} is not ready: {}",
            status.node_id,
            not_ready(status.disk())
        );
        text.push_str(&terminal.paint(Tone::Warning, line));
        text.push('\n');
    }
    for (_, status) in statuses {
        if let Ok(status) = status
            && let Some(ahead) = status.log_time_ahead_ms
        {
            let line = format!(
                "node {}: log time is {} s ahead of the voters' clocks; it cosigns no checkpoint until they have caught up",
                status.node_id,
                ahead / 1_000
            );
            text.push_str(&terminal.paint(Tone::Bad, line));
            text.push('\n');
        }
    }
    text
}

const fn role(role: NodeRole) -> (Tone, &'static str) {
    match role {
        NodeRole::Leader => (Tone::Good, "leader"),
        NodeRole::Follower => (Tone::Good, "follower"),
        NodeRole::Learner => (Tone::Faint, "learner"),
        NodeRole::Candidate => (Tone::Warning, "candidate"),
        NodeRole::Stopped => (Tone::Bad, "stopped"),
        NodeRole::Unspecified => (Tone::Warning, "?"),
    }
}

fn disk(terminal: Terminal, status: &StatusResponse) -> String {
    let word = disk_word(status.disk());
    match status.disk() {
        DiskState::Writable | DiskState::Unspecified => word.to_owned(),
        DiskState::Failed => terminal.paint(Tone::Bad, word),
        DiskState::Full => {
            let free = status.disk_free_bytes >> 20;
            terminal.paint(Tone::Bad, format!("{word}, {free} MiB left"))
        }
    }
}

const fn disk_word(disk: DiskState) -> &'static str {
    match disk {
        DiskState::Writable => "ok",
        DiskState::Full => "full",
        DiskState::Failed => "failed",
        DiskState::Unspecified => "?",
    }
}

fn node_json((endpoint, status): &Answer) -> Json {
    match status {
        Ok(status) => json!({
            "address": endpoint,
            "node": status.node_id,
            "role": role(status.role()).1,
            "leader": status.leader,
            "term": status.term,
            "entries": status.entries,
            "disk": disk_word(status.disk()),
            "log_time_ahead_ms": status.log_time_ahead_ms,
            "disk_free_bytes": status.disk_free_bytes,
            "disk_reserve_bytes": status.disk_reserve_bytes,
            "ready": status.ready,
            "state_root": hex::encode(&status.state_root),
            "watchers": status.watchers,
            "proposals_in_flight": status.proposals_in_flight,
        }),
        Err(error) => json!({
            "address": endpoint,
            "error": asked(error.clone()).to_json()["error"],
        }),
    }
}

fn summary(terminal: Terminal, view: &View) -> String {
    let state = view.state();
    let meta = state.meta();
    let mut text = format!(
        "\ncluster {}, life {}, key epoch {}, rules of version {}, log time {}\n{} entries, {} releases, {} rollouts, {} variants, {} sessions\n",
        meta.origin,
        meta.incarnation,
        state.keys().epoch,
        meta.version,
        if meta.time == LogTime(0) {
            "not begun".to_owned()
        } else {
            describe::time(meta.time)
        },
        view.position().entries,
        state.releases().len(),
        state.rollouts().len(),
        state.variants().len(),
        state.sessions().len(),
    );
    if state.keys().epoch.0 == 0 {
        let hint = "no keys are trusted yet: hold the key ceremony (`tidegate key rotate --help`)";
        text.push_str(&terminal.paint(Tone::Warning, hint));
        text.push('\n');
    }
    for (id, stop) in state.stops().iter() {
        let line = format!(
            "emergency stop {id}: {} {} since {}: {}",
            describe::stop_covers(stop.covers),
            describe::stop_scope(&stop.scope),
            describe::time(stop.since),
            stop.reason
        );
        text.push_str(&terminal.paint(Tone::Bad, line));
        text.push('\n');
    }
    text
}

fn summary_json(view: &View) -> Json {
    let state = view.state();
    let meta = state.meta();
    json!({
        "origin": meta.origin,
        "incarnation": meta.incarnation.0,
        "key_epoch": state.keys().epoch.0,
        "state_version": meta.version.0,
        "log_time_ms": meta.time.0,
        "entries": view.position().entries,
        "releases": state.releases().len(),
        "rollouts": state.rollouts().len(),
        "variants": state.variants().len(),
        "sessions": state.sessions().len(),
        "stops": state.stops().iter().map(|(id, stop)| json!({
            "stop": id.0,
            "covers": describe::stop_covers(stop.covers),
            "scope": describe::stop_scope(&stop.scope),
            "since_ms": stop.since.0,
            "reason": stop.reason.as_str(),
        })).collect::<Vec<_>>(),
    })
}
