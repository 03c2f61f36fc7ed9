//! Where the cluster is and who signs: the command line before the environment before a profile.
use crate::failure::Failure;
use clap::Args;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Prints results as one JSON document.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Store nodes to ask, nearest first: `host:port`, separated by commas.
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_STORE",
        value_name = "URL,URL",
        value_delimiter = ','
    )]
    store: Vec<String>,
    /// File of profiles [default: ~/.config/tidegate/config.toml].
    #[arg(long, global = true, env = "TIDEGATE_SETTINGS", value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Profile to use from the file of profiles.
    #[arg(long, global = true, env = "TIDEGATE_PROFILE", value_name = "NAME")]
    profile: Option<String>,
    /// How long the cluster may take to answer.
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// One profile of the settings file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    /// Store nodes to ask, nearest first.
    #[serde(default)]
    store: Vec<String>,
    /// Decision nodes' HTTP addresses, for `checkin`.
    #[serde(default)]
    decide: Vec<String>,
    /// The cluster's name, which every signature holds.
    origin: Option<String>,
    /// Secret key files to sign with, relative to the settings file.
    #[serde(default)]
    keys: Vec<PathBuf>,
}

/// What is settled for one run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Store nodes to ask as `host:port`, nearest first. May be empty: not every command asks.
    pub(crate) store: Vec<String>,
    /// Decision nodes as `host:port`.
    pub(crate) decide: Vec<String>,
    /// The cluster's name; absent: as the store says.
    pub(crate) origin: Option<String>,
    /// Secret key files to sign with.
    pub(crate) keys: Vec<PathBuf>,
    /// How long the cluster may take to answer.
    pub(crate) timeout: Duration,
}

impl Common {
    /// Settles what the flags, the environment and the profile say.
    pub(crate) fn settle(&self) -> Result<Settings, Failure> {
        let profile = self.profile()?;
        let store = if self.store.is_empty() {
            profile.store
        } else {
            self.store.clone()
        };
        Ok(Settings {
            store: addresses(&store)?,
            decide: addresses(&profile.decide)?,
            origin: profile.origin,
            keys: profile.keys,
            timeout: self.timeout,
        })
    }

    fn profile(&self) -> Result<Profile, Failure> {
        let (path, asked_for) = match &self.settings {
            Some(path) => (path.clone(), true),
            None => match default_path() {
                Some(path) => (path, self.profile.is_some()),
                None => return Ok(Profile::default()),
            },
        };
        if !asked_for && !path.exists() {
            return Ok(Profile::default());
        }
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::usage(format!("cannot read settings {}: {error}", path.display()))
                .next("name the file with --settings, or the nodes with --store")
        })?;
        let name = self.profile.as_deref().unwrap_or("default");
        profile_of(&path, &text, name, self.profile.is_some())
    }
}

fn profile_of(path: &Path, text: &str, name: &str, asked_for: bool) -> Result<Profile, Failure> {
    let profiles: BTreeMap<String, Profile> = toml::from_str(text)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let Some(mut profile) = profiles.get(name).cloned() else {
        if !asked_for {
            return Ok(Profile::default());
        }
        let names: Vec<&str> = profiles.keys().map(String::as_str).collect();
        let what = format!("{} has no profile named {name}", path.display());
        return Err(Failure::usage(what).next(format!("it has {}", names.join(", "))));
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    profile.keys = profile.keys.iter().map(|key| folder.join(key)).collect();
    Ok(profile)
}

fn default_path() -> Option<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    Some(config.or_else(home)?.join("tidegate/config.toml"))
}

/// Addresses as `host:port`, whether written so or as `http://host:port`.
pub(crate) fn addresses(written: &[String]) -> Result<Vec<String>, Failure> {
    let one = |text: &String| {
        let address = text
            .strip_prefix("http://")
            .unwrap_or(text)
            .trim_end_matches('/');
        let port = address
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        match port {
            Some((host, Ok(_))) if !host.is_empty() && !address.contains('/') => {
                Ok(address.to_owned())
            }
            _ => Err(Failure::usage(format!(
                "{text:?} is no address: expected `host:port` or `http://host:port`"
            ))),
        }
    };
    written.iter().map(one).collect()
}

/// A length of time on the command line, such as `10s` or `24h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    crate::rollout_file::time::parse_duration(text)
        .map(|length| Duration::from_millis(length.0))
        .ok_or_else(|| "expected a length of time such as `90s`, `15m`, `24h` or `7d`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port_with_or_without_scheme() {
        let written = ["a:1", "http://b:2", "http://c:3/", "[::1]:4"].map(str::to_owned);
        assert_eq!(
            addresses(&written).unwrap(),
            ["a:1", "b:2", "c:3", "[::1]:4"]
        );
        for bad in ["a", "a:", ":1", "https://a:1", "a:70000", "http://a:1/x"] {
            assert!(addresses(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn key_files_stand_relative_to_the_settings() {
        let text = "[default]\nstore = [\"a:1\"]\nkeys = [\"keys/alice.key\", \"/abs.key\"]\n";
        let profile = profile_of(Path::new("/etc/tg/config.toml"), text, "default", false).unwrap();
        let keys: Vec<_> = profile
            .keys
            .iter()
            .map(|key| key.to_str().unwrap())
            .collect();
        assert_eq!(keys, ["/etc/tg/keys/alice.key", "/abs.key"]);
    }

    #[test]
    fn unknown_profiles_and_keys_are_refused() {
        let path = Path::new("config.toml");
        let missing = profile_of(path, "[default]\n", "staging", true).unwrap_err();
        assert!(missing.to_text().contains("it has default"));
        let typo = profile_of(path, "[default]\nstoer = []\n", "default", false).unwrap_err();
        assert!(typo.to_text().contains("stoer"), "{}", typo.to_text());
    }
}
