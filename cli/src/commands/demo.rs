//! `tidegate demo`.
use crate::{
    context::Context,
    demo::{self, Options},
    failure::{Failure, Kind},
    terminal::table,
};
use clap::Args;
use std::path::PathBuf;

/// Shows the main job from end to end, on real bytes and real connections.
///
/// Three store nodes in three regions, two decision nodes and a fleet run in this process. A release
/// goes out in waves, the leader is killed in the middle, a later release fails on one hardware
/// model and is halted, a floor rises, and the log is exported, verified and tampered with. It
/// takes less than two minutes and leaves a report to look at.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate demo --devices 20000 --out demo-out
  tidegate demo --payload firmware.bin --out demo-out
  tidegate --json demo --devices 12000 --out demo-out")]
pub(crate) struct Demo {
    /// How many devices check in; at least 12,000, since gates judge on 100 devices of each variant
    /// in a wave of 5 %. Fifty of them fetch and install for real.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(12_000..=1_000_000))]
    devices: u64,
    /// Where everything is left: the stores' data, the devices' slots, the exported log,
    /// summary.json and report.html. What an earlier demo left there is replaced.
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    out: PathBuf,
    /// What is brought to the devices, instead of the running binary.
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// How many hours of log time pass in a second.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=4))]
    hours_per_second: u64,
}

impl Demo {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal;
        let options = Options {
            devices: self.devices,
            out: self.out.clone(),
            payload: self.payload,
            hours_per_second: self.hours_per_second,
            quiet: terminal.json,
            colour: terminal.colour,
        };
        let ending = demo::run(options)
            .await
            .map_err(|error| Failure::refused(format!("the demo stopped: {error:#}")))?;
        let rows: Vec<Vec<String>> = ending
            .table
            .into_iter()
            .map(|(label, value)| vec![label.to_owned(), value])
            .collect();
        let report = self.out.join("report.html");
        let text = format!(
            "\n{}\n{}\nLook at {}",
            table(&["what", "how much"], &rows),
            if ending.summary.ok {
                "Every expectation held."
            } else {
                "An expectation did NOT hold: see above."
            },
            report.display()
        );
        let json = serde_json::to_value(&ending.summary).map_err(Failure::refused)?;
        terminal.show(text, json);
        if ending.summary.ok {
            Ok(())
        } else {
            Err(Failure::reported(Kind::Refused))
        }
    }
}
