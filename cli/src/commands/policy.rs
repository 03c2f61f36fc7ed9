//! `tidegate policy`: what regions allow, whatever rollouts say.
use crate::{
    context::Context, describe, failure::Failure, rollout_file::time::Instant, signing::Signing,
    terminal::table,
};
use clap::{ArgAction, Args, Subcommand};
use serde_json::json;
use tidegate_domain::{
    command::SetRegionPolicy,
    guard::RegionPolicy,
    id::{Region, Revision},
    rollout::{Freeze, MaintenanceWindow},
};

/// What regions allow, whatever rollouts say.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    List(List),
    Set(Box<Set>),
}

/// Lists the regions' policies. A region without one allows everything.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tidegate policy list")]
pub(crate) struct List {}

/// Sets the policy of a region. What is not said stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate policy set eu-west --battery-min 40 --metered false
  tidegate policy set eu-west --window mon-fri@22:00-04:30 --window sat,sun@00:00-00:00
  tidegate policy set us-east --freeze 2026-12-23T00:00:00Z/2027-01-04T00:00:00Z
  tidegate policy set us-east --no-freezes")]
pub(crate) struct Set {
    /// The region.
    region: Region,
    /// Whether anything at all is offered there.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    offers: Option<bool>,
    /// Whether devices may fetch over a metered network.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    metered: Option<bool>,
    /// Least battery charge in percent at which devices may install.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    battery_min: Option<u8>,
    /// When devices may install, in UTC: DAYS@FROM-TO; replaces all windows. Repeat it for several.
    #[arg(long, value_name = "DAYS@FROM-TO", value_parser = window, conflicts_with = "no_windows")]
    window: Vec<MaintenanceWindow>,
    /// Devices may install at any time.
    #[arg(long)]
    no_windows: bool,
    /// When nothing new is offered: FROM/UNTIL; replaces all freezes. Repeat it for several.
    #[arg(long, value_name = "FROM/UNTIL", value_parser = freeze, conflicts_with = "no_freezes")]
    freeze: Vec<Freeze>,
    /// Nothing is frozen.
    #[arg(long)]
    no_freezes: bool,
    #[command(flatten)]
    signing: Signing,
}

impl Policy {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List(List {}) => list(context).await,
            Self::Set(set) => set.run(context).await,
        }
    }
}

impl Set {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let present = view.state().region_policies().get(&self.region).cloned();
        let mut policy = present.unwrap_or(RegionPolicy {
            offers_allowed: true,
            metered_allowed: true,
            battery_min_percent: 0,
            maintenance: Vec::new(),
            freezes: Vec::new(),
            revision: Revision(0),
        });
        policy.offers_allowed = self.offers.unwrap_or(policy.offers_allowed);
        policy.metered_allowed = self.metered.unwrap_or(policy.metered_allowed);
        policy.battery_min_percent = self.battery_min.unwrap_or(policy.battery_min_percent);
        if self.no_windows || !self.window.is_empty() {
            policy.maintenance = self.window;
        }
        if self.no_freezes || !self.freeze.is_empty() {
            policy.freezes = self.freeze;
        }
        let signing = self.signing.on_top_of(policy.revision);
        // It is set when the command is applied.
        policy.revision = Revision(0);
        let done = format!("region {} has a new policy", self.region);
        let command = SetRegionPolicy {
            region: self.region,
            policy,
        };
        let desk = context.desk(&cluster, &view);
        desk.submit(&signing, command, &done).await
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let view = context.view().await?;
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for (region, policy) in view.state().region_policies().iter() {
        let windows: Vec<String> = policy.maintenance.iter().map(describe::window).collect();
        let freezes: Vec<String> = policy.freezes.iter().map(describe::freeze).collect();
        let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
        rows.push(vec![
            region.to_string(),
            yes(policy.offers_allowed),
            yes(policy.metered_allowed),
            format!("{} %", policy.battery_min_percent),
            if windows.is_empty() {
                "any time".to_owned()
            } else {
                windows.join(" ")
            },
            if freezes.is_empty() {
                "-".to_owned()
            } else {
                freezes.join(", ")
            },
        ]);
        json.push(json!({
            "region": region.as_str(),
            "offers_allowed": policy.offers_allowed,
            "metered_allowed": policy.metered_allowed,
            "battery_min_percent": policy.battery_min_percent,
            "windows": windows,
            "freezes": policy.freezes.iter()
                .map(|freeze| json!({ "from_ms": freeze.from.0, "until_ms": freeze.until.0 }))
                .collect::<Vec<_>>(),
            "revision": policy.revision.0,
        }));
    }
    let header = [
        "REGION",
        "OFFERS",
        "METERED",
        "BATTERY",
        "INSTALLS (UTC)",
        "FROZEN",
    ];
    context
        .terminal
        .show(table(&header, &rows), json!({ "policies": json }));
    Ok(())
}

fn window(text: &str) -> Result<MaintenanceWindow, String> {
    let expected = || "expected DAYS@FROM-TO, such as mon-fri@22:00-04:30".to_owned();
    let (days, span) = text.split_once('@').ok_or_else(expected)?;
    let (opens, closes) = span.split_once('-').ok_or_else(expected)?;
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    let (opens, closes) = (
        minute(opens).ok_or_else(expected)?,
        minute(closes).ok_or_else(expected)?,
    );
    let length = (closes + 1_440 - opens) % 1_440;
    Ok(MaintenanceWindow {
        days: day_set(days)?,
        opens_minute: opens,
        length_minutes: if length == 0 { 1_440 } else { length },
    })
}

fn day_set(text: &str) -> Result<u8, String> {
    let day = |name: &str| {
        let found = describe::DAYS.iter().position(|day| *day == name);
        found.ok_or_else(|| format!("{name:?} is no day: {}", describe::DAYS.join(", ")))
    };
    let mut set = 0_u8;
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        // `sat-mon` goes over the end of the week.
        let length = (last + 7 - first) % 7;
        for offset in 0..=length {
            set |= 1 << ((first + offset) % 7);
        }
    }
    Ok(set)
}

fn freeze(text: &str) -> Result<Freeze, String> {
    let (from, until) = text.split_once('/').ok_or("expected FROM/UNTIL")?;
    let (from, until): (Instant, Instant) = (from.parse()?, until.parse()?);
    if from.0 >= until.0 {
        return Err("it ends before it begins".to_owned());
    }
    Ok(Freeze {
        from: from.0,
        until: until.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_back_as_they_are_shown() {
        for (text, shown) in [
            ("mon-fri@22:00-04:30", "mon,tue,wed,thu,fri@22:00-04:30"),
            ("sat-mon@01:00-02:00", "mon,sat,sun@01:00-02:00"),
            ("sun@00:00-00:00", "sun@00:00-00:00"),
        ] {
            let window = window(text).unwrap();
            assert_eq!(describe::window(&window), shown);
            assert_eq!(super::window(shown), Ok(window));
        }
        assert_eq!(window("sun@00:00-00:00").unwrap().length_minutes, 1_440);
        for bad in ["mon", "mon@22:00", "mon@24:00-01:00", "mo@22:00-23:00", ""] {
            assert!(window(bad).is_err(), "{bad}");
        }
    }
}
