//! `tidegate fleet`.
use crate::{
    context::Context,
    failure::{Failure, Kind},
    fleet::{Counters, Fleet as Running, Healthy, Plan, Running as Runs},
    rollout_file::time::parse_duration,
    terminal::table,
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tidegate_domain::{id::Component, variant::VariantTraits};

/// Simulated devices, for rehearsals and load.
#[derive(Debug, Subcommand)]
pub(crate) enum Fleet {
    Simulate(Simulate),
}

/// Lets simulated devices check in at decision nodes, over real connections.
///
/// The devices install what they are offered (in no time, with no payload) and report it verified.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate fleet simulate --node localhost:7200 --variant gw-200/b1/eu/none --component os
  tidegate fleet simulate --node localhost:7200 --devices 50000 --interval 10s --for 1m \\
      --variant gw-200/b1/eu/none --component os --version 1.0.0")]
pub(crate) struct Simulate {
    /// Decision nodes, `host:port`; say it again for more.
    #[arg(long = "node", required = true, value_name = "HOST:PORT")]
    nodes: Vec<String>,
    /// How many devices.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    devices: u64,
    /// Connections to each node; each carries one stream of check-ins.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    connections: u64,
    /// How often each device checks in.
    #[arg(long, default_value = "10s", value_parser = length, value_name = "LENGTH")]
    interval: Duration,
    /// For how long.
    #[arg(long = "for", default_value = "1m", value_parser = length, value_name = "LENGTH")]
    length: Duration,
    /// The variants of the devices, `model/revision/region/carrier`; say it again for more.
    #[arg(long = "variant", required = true, value_name = "VARIANT")]
    variants: Vec<VariantTraits>,
    /// The component that they update.
    #[arg(long)]
    component: Component,
    /// The version that they run at first.
    #[arg(long, default_value = "0.0.1")]
    version: String,
    /// The security version that they run at first.
    #[arg(long, default_value_t = 0)]
    security_version: u64,
}

fn length(text: &str) -> Result<Duration, String> {
    let millis = parse_duration(text).ok_or("say a length like 30s, 5m or 2h")?;
    Ok(Duration::from_millis(millis.0))
}

impl Fleet {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self::Simulate(simulate) = self;
        simulate.run(context).await
    }
}

impl Simulate {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let plan = Plan {
            devices: self.devices,
            first: 0,
            nodes: self
                .nodes
                .iter()
                .map(|node| format!("http://{node}"))
                .collect(),
            connections_per_node: self.connections,
            interval: self.interval,
            install_time: Duration::ZERO,
            variants: Arc::new(self.variants),
            component: self.component.as_str().into(),
            running: Runs {
                version: self.version,
                security_version: self.security_version,
            },
            behaviour: Arc::new(Healthy),
        };
        let counters = Arc::new(Counters::default());
        let fleet = Running::start(&plan, &counters);
        let seconds = self.length.as_secs();
        let bar = context.terminal.bar("devices check in", seconds, "seconds");
        let passing = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                bar.inc(1);
            }
        };
        let _ = tokio::time::timeout(self.length, passing).await;
        bar.finish_and_clear();
        fleet.stop().await;
        report(context, &counters, self.length)
    }
}

fn report(context: &Context, counters: &Counters, length: Duration) -> Result<(), Failure> {
    let totals = counters.totals();
    let per_second = totals.check_ins as f64 / length.as_secs_f64().max(f64::EPSILON);
    let ms = |share_ppm| counters.latency(share_ppm).as_secs_f64() * 1_000.0;
    let (p50, p99) = (ms(500_000), ms(990_000));
    let mut rows = vec![
        vec![
            "check-ins answered".to_owned(),
            totals.check_ins.to_string(),
        ],
        vec!["… per second".to_owned(), format!("{per_second:.0}")],
        vec!["answer time, median".to_owned(), format!("{p50:.2} ms")],
        vec![
            "answer time, 99th percentile".to_owned(),
            format!("{p99:.2} ms"),
        ],
        vec!["offers".to_owned(), totals.offers.to_string()],
        vec!["returns".to_owned(), totals.returns.to_string()],
        vec!["verified".to_owned(), totals.verified.to_string()],
        vec![
            "answers that were not fresh".to_owned(),
            totals.not_fresh.to_string(),
        ],
        vec![
            "connections made again".to_owned(),
            totals.reconnects.to_string(),
        ],
    ];
    let reasons = counters.reasons();
    rows.extend(
        reasons
            .iter()
            .map(|(code, count)| vec![format!("first reason {code}"), count.to_string()]),
    );
    let json = json!({
        "check_ins": totals.check_ins,
        "check_ins_per_second": per_second,
        "p50_ms": p50,
        "p99_ms": p99,
        "offers": totals.offers,
        "returns": totals.returns,
        "verified": totals.verified,
        "not_fresh": totals.not_fresh,
        "reconnects": totals.reconnects,
        "first_reasons": reasons,
    });
    if totals.check_ins == 0 {
        return Err(Failure::new(Kind::Unreachable, "no check-in was answered")
            .next("ask the nodes: `tidegate checkin --help` shows how"));
    }
    context
        .terminal
        .show(table(&["what", "how much"], &rows), json);
    Ok(())
}
