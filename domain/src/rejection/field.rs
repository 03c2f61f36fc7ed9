//! Fields of commands, by number.
use minicbor::{Decode, Encode};

/// Declares the fields: number, and path as operators know it.
macro_rules! fields {
    ($($number:tt $name:ident $path:literal,)+) => {
        /// A field of a command whose value was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Field {
            $(#[doc = concat!("`", $path, "`.")] #[n($number)] $name,)+
        }

        impl Field {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its path; `[]` stands after a list of which it is in one member.
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)+ }
            }
        }
    };
}

fields! {
    0 ExpectedRevision "expected_revision",
    1 Signatures "signatures",
    2 Roles "roles",
    3 RoleKeys "roles[].keys",
    4 Key "key",

    10 Manifest "manifest",
    11 ManifestOrigin "manifest.origin",
    12 Payloads "manifest.payloads",
    13 PayloadSelector "manifest.payloads[].selector",
    14 PayloadSize "manifest.payloads[].size",
    15 PayloadUrls "manifest.payloads[].urls",
    16 DeltaSize "manifest.payloads[].delta.size",
    17 DeltaUrls "manifest.payloads[].delta.urls",
    18 Requires "manifest.requires",

    30 Rollout "rollout",
    31 Variant "variant",
    32 Wave "wave",
    33 StartAt "start_at",
    34 AudienceSelectors "audience.selectors",
    35 AudienceChannels "audience.channels",
    36 Waves "waves",
    37 WaveName "waves[].name",
    38 WaveTarget "waves[].target",
    39 WaveCap "waves[].cap",
    40 WaveSoak "waves[].soak",
    41 WaveLatency "waves[].criteria.latency_p99_max_ms",
    42 WavePacing "waves[].pacing.admissions_per_hour",
    43 RollbackAuto "rollback.auto",
    44 HealthCheckInterval "rollback.health_check_interval",
    45 Control "control",
    46 OnStale "on_stale",
    47 OfferTtl "offer_ttl",
    48 RetryAttempts "retry.attempts",
    49 RetryBackoff "retry.backoff",
    50 SampleMin "sample_min",
    51 Credit "credit",
    52 Maintenance "maintenance",
    53 Freezes "freezes",
    54 CompleteAfter "complete_after",
    55 Channel "channel",

    60 PolicyBattery "policy.battery_min_percent",
    61 PolicyMaintenance "policy.maintenance",
    62 PolicyFreezes "policy.freezes",
    63 Expires "expires",

    70 Address "address",
    71 PoolArm "pool.arm",
    72 Wanted "wanted",
    73 Tallies "tallies",
    74 AnchorOrigin "anchor.origin",
    75 AnchorRoot "anchor.root",
    76 PoolChannel "pool.stratum.channel",

    80 Lease "lease",
    81 DriftMargin "drift_margin",
    82 StaleMax "stale_max",
    83 SilenceFirmware "silence.firmware",
    84 SilenceModel "silence.model",
    85 SilenceConfig "silence.config",
    86 ReportInterval "report_interval",
    87 Holdout "holdout",
    88 PollInterval "poll_interval",
    89 RootInterval "root_interval",
    90 ReleasesMax "limits.releases_max",
    91 RolloutsMax "limits.rollouts_max",
    92 WavesMax "limits.waves_max",
    93 VariantsMax "limits.variants_max",
    94 SessionsMax "limits.sessions_max",
    95 HoldsMax "limits.holds_max",
    96 StopsMax "limits.stops_max",
    97 CommandsMax "limits.commands_max",
    98 ScopesMax "limits.scopes_max",
    99 ReportTalliesMax "limits.report_tallies_max",
}

impl Field {
    /// Its path, with the member of the list that it is in.
    pub fn place(self, at: Option<u32>) -> String {
        match at {
            None => self.path().to_owned(),
            Some(at) if self.path().contains("[]") => self.path().replace("[]", &format!("[{at}]")),
            Some(at) => format!("{}[{at}]", self.path()),
        }
    }
}
