//! The replicated configuration, setting by setting.
use super::length;
use serde_json::{Value as Json, json};
use std::fmt;
use tidegate_domain::{
    config::{ClusterConfig, Limits},
    id::{Millis, Ppm},
    release::SilenceHorizons,
};

/// One setting, under the name that refusals call it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) name: &'static str,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Time(Millis),
    Share(Ppm),
    Count(u64),
}

impl Setting {
    /// Its value, for people.
    pub(crate) fn value(&self) -> String {
        match self.value {
            Value::Time(time) => length(time),
            Value::Share(share) => share.to_string(),
            Value::Count(count) => count.to_string(),
        }
    }

    /// Its name with the unit, and its value, for programs.
    pub(crate) fn to_json(self) -> (String, Json) {
        let name = self.name;
        match self.value {
            Value::Time(time) => (format!("{name}_ms"), json!(time.0)),
            Value::Share(share) => (format!("{name}_ppm"), json!(share.get())),
            Value::Count(count) => (name.to_owned(), json!(count)),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.value())
    }
}

/// All settings of a configuration.
pub(crate) fn settings(config: &ClusterConfig) -> impl Iterator<Item = Setting> + use<> {
    let ClusterConfig {
        lease,
        drift_margin,
        stale_max,
        silence:
            SilenceHorizons {
                firmware,
                model,
                config,
            },
        report_interval,
        offer_ttl,
        credit,
        holdout,
        poll_interval,
        root_interval,
        limits,
        revision: _,
    } = *config;
    let settings = [
        ("lease", Value::Time(lease)),
        ("drift_margin", Value::Time(drift_margin)),
        ("stale_max", Value::Time(stale_max)),
        ("silence.firmware", Value::Time(firmware)),
        ("silence.model", Value::Time(model)),
        ("silence.config", Value::Time(config)),
        ("report_interval", Value::Time(report_interval)),
        ("offer_ttl", Value::Time(offer_ttl)),
        ("credit", Value::Count(credit)),
        ("holdout", Value::Share(holdout)),
        ("poll_interval", Value::Time(poll_interval)),
        ("root_interval", Value::Count(root_interval)),
    ];
    let limits = limit_settings(limits).map(|(name, count)| (name, Value::Count(count)));
    settings
        .into_iter()
        .chain(limits)
        .map(|(name, value)| Setting { name, value })
}

fn limit_settings(limits: Limits) -> [(&'static str, u64); 10] {
    let Limits {
        releases_max,
        rollouts_max,
        waves_max,
        variants_max,
        sessions_max,
        holds_max,
        stops_max,
        commands_max,
        scopes_max,
        report_tallies_max,
    } = limits;
    [
        ("limits.releases_max", releases_max.into()),
        ("limits.rollouts_max", rollouts_max.into()),
        ("limits.waves_max", waves_max.into()),
        ("limits.variants_max", variants_max.into()),
        ("limits.sessions_max", sessions_max.into()),
        ("limits.holds_max", holds_max.into()),
        ("limits.stops_max", stops_max.into()),
        ("limits.commands_max", commands_max.into()),
        ("limits.scopes_max", scopes_max.into()),
        ("limits.report_tallies_max", report_tallies_max.into()),
    ]
}

/// What differs from one configuration to another, such as `lease 10 s → 5 s`.
pub(super) fn changes(before: &ClusterConfig, after: &ClusterConfig) -> Vec<String> {
    settings(before)
        .zip(settings(after))
        .filter(|(before, after)| before != after)
        .map(|(before, after)| format!("{} {} → {}", before.name, before.value(), after.value()))
        .collect()
}
