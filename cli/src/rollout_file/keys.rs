//! The keys that each map of a rollout file may hold: one list for reading, for suggestions, and
//! for the test that compares them with the JSON Schema.

/// A map of the file and its keys, in the order in which they are usually written.
pub(crate) struct MapKeys {
    /// What the map is called in messages.
    pub(crate) what: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [&'static str],
}

pub(crate) const FILE: MapKeys = MapKeys {
    what: "the file",
    keys: &["version", "rollout"],
};
pub(crate) const ROLLOUT: MapKeys = MapKeys {
    what: "`rollout`",
    keys: &[
        "model_version",
        "firmware_version",
        "config_version",
        "component",
        "audience",
        "regions",
        "from_versions",
        "stages",
        "rollback",
        "credit",
        "pacing",
        "maintenance_windows",
        "freezes",
        "start_at",
        "supersedes",
        "priority",
        "control_percent",
        "gate_scope",
        "on_inconclusive",
        "on_stale",
        "offer_ttl",
        "retry",
        "critical_security",
        "max_silent",
        "min_sample",
        "complete_after_hours",
    ],
};
pub(crate) const STAGE: MapKeys = MapKeys {
    what: "a stage",
    keys: &[
        "name",
        "target_percent",
        "cap",
        "ring",
        "duration_hours",
        "success_criteria",
        "pacing",
    ],
};
pub(crate) const CRITERIA: MapKeys = MapKeys {
    what: "`success_criteria`",
    keys: &[
        "accuracy_drop_max",
        "error_rate_max",
        "latency_p99_max_ms",
        "failure_rate_max",
    ],
};
pub(crate) const ROLLBACK: MapKeys = MapKeys {
    what: "`rollback`",
    keys: &["auto_rollback", "health_check_interval_sec", "to"],
};
pub(crate) const AUDIENCE: MapKeys = MapKeys {
    what: "`audience`",
    keys: &[
        "models",
        "revisions",
        "regions",
        "carriers",
        "variants",
        "channels",
        "from_versions",
    ],
};
pub(crate) const PACING: MapKeys = MapKeys {
    what: "`pacing`",
    keys: &["admissions_per_hour"],
};
pub(crate) const WINDOW: MapKeys = MapKeys {
    what: "a maintenance window",
    keys: &["days", "opens", "closes"],
};
pub(crate) const FREEZE: MapKeys = MapKeys {
    what: "a freeze",
    keys: &["from", "until"],
};
pub(crate) const RETRY: MapKeys = MapKeys {
    what: "`retry`",
    keys: &["attempts", "backoff"],
};

/// Every map of the file.
pub(crate) const ALL: [&MapKeys; 10] = [
    &FILE, &ROLLOUT, &STAGE, &CRITERIA, &ROLLBACK, &AUDIENCE, &PACING, &WINDOW, &FREEZE, &RETRY,
];

/// Of some words, the one that was probably meant by another.
pub(crate) fn nearest<'a>(
    meant: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |word: &str| word.to_ascii_lowercase().replace(['-', ' '], "_");
    let meant = plain(meant);
    let distance = |word: &'a str| (strsim::damerau_levenshtein(&meant, &plain(word)), word);
    let (distance, word) = words.into_iter().map(distance).min_by_key(|(d, _)| *d)?;
    let bound = (word.chars().count() / 3).max(1);
    (distance <= bound).then_some(word)
}

impl MapKeys {
    /// What to do about a key that the map does not hold.
    pub(crate) fn advice(&self, unknown: &str) -> Option<String> {
        if let Some(near) = nearest(unknown, self.keys.iter().copied()) {
            return Some(format!("did you mean `{near}`?"));
        }
        let home = ALL.iter().find(|map| map.keys.contains(&unknown))?;
        Some(format!("`{unknown}` is a key of {}", home.what))
    }
}
