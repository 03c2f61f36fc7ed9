//! Releases: what is offered, for which hardware, from where, and signed by whom.
mod check;
mod offerable;

pub use check::ManifestFault;
pub use offerable::{NotOfferable, offerable, offerable_under};

use crate::{
    canonical,
    id::{
        Component, Hash, LogTime, Millis, PublicKey, ReleaseName, Revision, SecurityVersion,
        SignatureBytes,
    },
    variant::Selector,
};
use minicbor::{Decode, Encode};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// The DSSE payload type of a release manifest.
pub const MANIFEST_PAYLOAD_TYPE: &str = "application/vnd.tidegate.release.v1+cbor";

/// A semantic version (semver 2.0.0).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub semver::Version);

/// A range of semantic versions, in Cargo's syntax (`>=1.2, <2`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VersionRange(pub semver::VersionReq);

/// Declares text form and canonical encoding for a wrapper of a parsed text.
macro_rules! as_text {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = semver::Error;
            fn from_str(text: &str) -> Result<Self, semver::Error> {
                text.parse().map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                canonical::text::encode(self, e, ctx)
            }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                ctx: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                canonical::text::decode(d, ctx)
            }
        }
    };
}
as_text!(Version);
as_text!(VersionRange);

impl VersionRange {
    /// Whether the range holds `version`.
    pub fn contains(&self, version: &Version) -> bool {
        self.0.matches(&version.0)
    }
}

/// What kind of thing a release is; decides the silence horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ArtifactKind {
    /// Code that a device boots.
    #[n(0)]
    Firmware,
    /// A trained model.
    #[n(1)]
    Model,
    /// Settings.
    #[n(2)]
    Config,
}

impl ArtifactKind {
    /// Every kind, in order.
    pub const ALL: [Self; 3] = [Self::Firmware, Self::Model, Self::Config];

    /// The kind's name as written in files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Model => "model",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for ArtifactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of release: firmware, model or config")]
pub struct UnknownKind(pub String);

impl FromStr for ArtifactKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// The bytes that a device fetches.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Payload {
    /// SHA-256 of the whole payload.
    #[n(0)]
    pub sha256: Hash,
    /// Length in bytes.
    #[n(1)]
    pub size: u64,
    /// Where to fetch it; tried in order. 1 to [`Payload::URLS_MAX`].
    #[n(2)]
    pub urls: Vec<String>,
    /// A smaller way to get there from a base that the device may hold.
    #[n(3)]
    pub delta: Option<Delta>,
}

impl Payload {
    /// Most URLs of one payload.
    pub const URLS_MAX: usize = 8;
    /// Longest URL, in bytes.
    pub const URL_BYTES_MAX: usize = 1_024;
}

/// A difference between two payloads.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Delta {
    /// SHA-256 of the payload that the difference applies to.
    #[n(0)]
    pub base_sha256: Hash,
    /// SHA-256 of the difference itself.
    #[n(1)]
    pub sha256: Hash,
    /// Length of the difference in bytes.
    #[n(2)]
    pub size: u64,
    /// Where to fetch it; tried in order.
    #[n(3)]
    pub urls: Vec<String>,
}

/// What another component must run before this release may be installed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Requirement {
    /// The other component.
    #[n(0)]
    pub component: Component,
    /// The versions of it that will do.
    #[n(1)]
    pub range: VersionRange,
}

/// What `release` keys sign, and devices check: everything about a release that may never change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// The cluster (fleet) that the release is for.
    #[n(0)]
    pub origin: String,
    /// Its unique name.
    #[n(1)]
    pub name: ReleaseName,
    /// What kind of thing it is.
    #[n(2)]
    pub kind: ArtifactKind,
    /// The component that it updates.
    #[n(3)]
    pub component: Component,
    /// Its semantic version.
    #[n(4)]
    pub version: Version,
    /// Its security version, compared with floors.
    #[n(5)]
    pub security_version: SecurityVersion,
    /// The payload for each part of the fleet; a device takes the first whose selector matches.
    #[n(6)]
    pub payloads: Vec<VariantPayload>,
    /// The versions that can go to this one directly; absent means any.
    #[n(7)]
    pub upgradable_from: Option<VersionRange>,
    /// What other components must run first.
    #[n(8)]
    pub requires: Vec<Requirement>,
    /// Whether it closes a hole that is being used: goes on while decision nodes are stale.
    #[n(9)]
    pub critical_security: bool,
    /// Where it runs when a rollout does not say: defaults of audience selector.
    #[n(10)]
    pub audience: Selector,
}

impl Manifest {
    /// Most payloads of one release.
    pub const PAYLOADS_MAX: usize = 4_096;
    /// Most requirements of one release.
    pub const REQUIRES_MAX: usize = 16;
}

/// A payload and the variants that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct VariantPayload {
    /// The variants.
    #[n(0)]
    pub selector: Selector,
    /// What they fetch.
    #[n(1)]
    pub payload: Payload,
}

/// Whether a release may be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ReleaseStatus {
    /// It may, as far as the release itself goes.
    #[n(0)]
    Registered,
    /// Below a floor that was raised with `retire`: never offered again.
    #[n(1)]
    Retired,
    /// Withdrawn by command: never offered again.
    #[n(2)]
    Revoked,
}

/// A registered release.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// The manifest, decoded from [`Release::manifest_bytes`].
    #[n(0)]
    pub manifest: Manifest,
    /// The manifest as it was signed, verbatim.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub manifest_bytes: Vec<u8>,
    /// Valid signatures by distinct `release` keys, over the PAE of the manifest bytes.
    #[cbor(n(2), with = "crate::canonical::pairs")]
    pub signatures: BTreeMap<PublicKey, SignatureBytes>,
    /// Whether it may be offered.
    #[n(3)]
    pub status: ReleaseStatus,
    /// When it was registered.
    #[n(4)]
    pub registered_at: LogTime,
    /// The entry that last changed it.
    #[n(5)]
    pub revision: Revision,
}

impl Release {
    /// The name, which is its key.
    pub fn name(&self) -> &ReleaseName {
        &self.manifest.name
    }

    /// The payload for a variant: the first whose selector matches.
    pub fn payload_for(&self, variant: &crate::variant::VariantTraits) -> Option<&Payload> {
        let fits = self
            .manifest
            .payloads
            .iter()
            .find(|p| p.selector.matches(variant));
        fits.map(|p| &p.payload)
    }
}

/// How long an exposure may go without a word before it counts as silent, per kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SilenceHorizons {
    /// For firmware.
    #[n(0)]
    pub firmware: Millis,
    /// For models.
    #[n(1)]
    pub model: Millis,
    /// For configuration.
    #[n(2)]
    pub config: Millis,
}

impl SilenceHorizons {
    /// The horizon of one kind.
    pub const fn of(&self, kind: ArtifactKind) -> Millis {
        match kind {
            ArtifactKind::Firmware => self.firmware,
            ArtifactKind::Model => self.model,
            ArtifactKind::Config => self.config,
        }
    }
}
