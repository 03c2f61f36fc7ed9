//! The command line: one file per group of commands.
mod approval;
mod audit;
mod baseline;
mod budget;
mod channel;
mod checkin;
mod cluster;
mod completions;
mod decide;
mod demo;
mod device;
mod fleet;
mod floor;
mod init;
mod key;
mod policy;
mod release;
mod rollout;
mod serve;
mod stop;
#[cfg(test)]
mod tests;
mod variant;

use crate::{context::Context, failure::Failure, settings::Common, terminal::Terminal};
use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 refused or failed verification, 2 wrong use, 3 unreachable or outcome unknown.

A first cluster on this machine, and a rollout on it:
  tidegate init fleet --origin fleet.example --regions eu-west
  tidegate serve --config fleet/node-1.toml             # in a terminal of its own
  export TIDEGATE_SETTINGS=fleet/tidegate.toml
  tidegate approval submit fleet/epoch-1.command
  tidegate approval submit fleet/members.command
  tidegate decide --config fleet/decide.toml            # in one more
  tidegate rollout plan examples/detector-v3.2.yaml";

/// Rolls releases out to a fleet in waves, with every step signed, ordered and provable.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    group: Group,
}

#[derive(Debug, Subcommand)]
enum Group {
    Serve(serve::Serve),
    Decide(decide::Decide),
    Init(init::Init),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    Release(release::Release),
    #[command(subcommand)]
    Rollout(Box<rollout::Rollout>),
    #[command(subcommand)]
    Variant(variant::Variant),
    #[command(subcommand)]
    Channel(channel::Channel),
    #[command(subcommand)]
    Policy(policy::Policy),
    #[command(subcommand)]
    Device(device::Device),
    #[command(subcommand)]
    Baseline(baseline::Baseline),
    #[command(subcommand)]
    Approval(approval::Approval),
    #[command(subcommand)]
    Budget(budget::Budget),
    #[command(subcommand)]
    Floor(floor::Floor),
    Stop(stop::Stop),
    Lift(stop::Lift),
    Checkin(checkin::Checkin),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    Completions(completions::Completions),
    Demo(demo::Demo),
    #[command(subcommand)]
    Fleet(fleet::Fleet),
}

impl CommandLine {
    /// Does what was asked.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let context = Context {
            settings: self.common.settle()?,
            terminal: Terminal::new(self.common.json),
        };
        let context = &context;
        match self.group {
            Group::Serve(serve) => serve.run(context).await,
            Group::Decide(decide) => decide.run(context).await,
            Group::Init(init) => init.run(context),
            Group::Key(key) => key.run(context).await,
            Group::Release(release) => release.run(context).await,
            Group::Rollout(rollout) => rollout.run(context).await,
            Group::Variant(variant) => variant.run(context).await,
            Group::Channel(channel) => channel.run(context).await,
            Group::Policy(policy) => policy.run(context).await,
            Group::Device(device) => device.run(context).await,
            Group::Baseline(baseline) => baseline.run(context).await,
            Group::Approval(approval) => approval.run(context).await,
            Group::Budget(budget) => budget.run(context).await,
            Group::Floor(floor) => floor.run(context).await,
            Group::Stop(stop) => stop.run(context).await,
            Group::Lift(lift) => lift.run(context).await,
            Group::Checkin(checkin) => checkin.run(context).await,
            Group::Audit(audit) => audit.run(context).await,
            Group::Cluster(cluster) => cluster.run(context).await,
            Group::Completions(completions) => completions.run(context),
            Group::Demo(demo) => demo.run(context).await,
            Group::Fleet(fleet) => fleet.run(context).await,
        }
    }
}
