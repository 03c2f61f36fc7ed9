//! `tidegate stop` and `tidegate lift`: the big red button, and the way back from it.
use crate::{
    context::{Context, reason},
    describe,
    failure::Failure,
    signing::Signing,
};
use clap::{Args, ValueEnum};
use tidegate_domain::{
    command::{EmergencyStop, LiftStop},
    guard::{StopCovers, StopScope},
    id::{Reason, Region, StopId},
    variant::Selector,
};

/// Stops offers to the fleet, a region or some variants, at once. One operator suffices.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate stop --fleet --reason 'devices report boot loops'
  tidegate stop --region eu-west --covers both --reason 'power grid alert'
  tidegate stop --variants 'gw-200/b2/*/*' --reason 'modem firmware suspected'")]
pub(crate) struct Stop {
    #[command(flatten)]
    scope: Scope,
    /// Which answers to stop.
    #[arg(long, value_enum, default_value_t = Covers::Offers)]
    covers: Covers,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    signing: Signing,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Scope {
    /// Everyone.
    #[arg(long)]
    fleet: bool,
    /// One region.
    #[arg(long)]
    region: Option<Region>,
    /// Some variants: `model/revision/region/carrier` with `*` for any.
    #[arg(long, value_name = "SELECTOR")]
    variants: Option<Selector>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Covers {
    /// Offers only: devices may still go back.
    Offers,
    /// Returns only.
    Returns,
    /// Offers and returns.
    Both,
}

/// Lifts an emergency stop. Takes the operators' quorum.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate lift 3 --reason 'cause found and mended' --collect lift.command")]
pub(crate) struct Lift {
    /// Number of the stop, as `tidegate cluster status` shows it.
    stop: u64,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    signing: Signing,
}

impl Stop {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let scope = match self.scope {
            Scope {
                region: Some(region),
                ..
            } => StopScope::Region(region),
            Scope {
                variants: Some(selector),
                ..
            } => StopScope::Variants(selector),
            Scope { .. } => StopScope::Fleet,
        };
        let covers = match self.covers {
            Covers::Offers => StopCovers::Offers,
            Covers::Returns => StopCovers::Returns,
            Covers::Both => StopCovers::Both,
        };
        let done = format!(
            "{} {} stop within the halt bound",
            describe::stop_covers(covers),
            describe::stop_scope(&scope)
        );
        let command = EmergencyStop {
            scope,
            covers,
            reason: self.reason,
        };
        context.submit(&self.signing, command, &done).await
    }
}

impl Lift {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let command = LiftStop {
            stop: StopId(self.stop),
            reason: self.reason,
        };
        let done = format!("emergency stop {} is lifted", self.stop);
        context.submit(&self.signing, command, &done).await
    }
}
