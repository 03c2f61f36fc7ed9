//! What a device says of itself, parsed: nothing here is longer than its limit or malformed.
use super::token::{Token, Verified};
use std::fmt;
use tidegate_domain::{
    id::{Channel, Component, LogTime, Pseudonym, Region, ReleaseName, SecurityVersion, VariantId},
    release::Version,
};

/// Most components in one check-in.
pub const COMPONENTS_MAX: usize = 32;
/// Most releases that a device may tell earlier failures of.
pub const ATTEMPTS_MAX: usize = 32;

/// A device's id: 1 to [`DeviceId::MAX`] bytes of printable ASCII. Never logged, never stored: what
/// leaves the node is its [`Pseudonym`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Box<str>);

/// Why a text is not a device id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceIdError {
    /// It has no characters.
    #[error("a device id may not be empty")]
    Empty,
    /// It is too long.
    #[error("a device id has at most {max} bytes, this one has {len}", max = DeviceId::MAX)]
    TooLong {
        /// The length found, in bytes.
        len: usize,
    },
    /// Something that is not printable ASCII.
    #[error("a device id has only printable ASCII characters")]
    BadCharacter,
}

impl DeviceId {
    /// The longest accepted id, in bytes.
    pub const MAX: usize = 128;

    /// Checks and wraps an id.
    ///
    /// # Errors
    /// Empty, longer than [`Self::MAX`] bytes, or not printable ASCII.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, DeviceIdError> {
        let text = text.into();
        if text.is_empty() {
            return Err(DeviceIdError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(DeviceIdError::TooLong { len: text.len() });
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(DeviceIdError::BadCharacter);
        }
        Ok(Self(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shows the length only: ids are personal data, and debug output ends up in logs.
impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({} bytes)", self.0.len())
    }
}

/// Which variant a device says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariantClaim {
    /// By its number.
    Id(VariantId),
    /// By its traits, `model/revision/region/carrier`.
    Traits(Box<str>),
}

/// One component that runs on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which.
    pub component: Component,
    /// Its version.
    pub version: Version,
    /// Its security version.
    pub security_version: SecurityVersion,
    /// The least security version that the device itself still accepts.
    pub floor: Option<SecurityVersion>,
}

/// What feeds a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Power {
    /// It did not say; counts as a battery.
    #[default]
    Unknown,
    /// A battery.
    Battery,
    /// A battery that is being charged.
    Charging,
    /// The mains.
    Mains,
}

/// What a device would download over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// It did not say.
    #[default]
    Unknown,
    /// Wireless LAN.
    Wifi,
    /// A cable.
    Ethernet,
    /// A mobile network.
    Cellular,
    /// A mobile network abroad.
    Roaming,
}

impl Network {
    /// Whether bytes cost money.
    pub const fn is_metered(self) -> bool {
        matches!(self, Self::Cellular | Self::Roaming)
    }
}

/// What went wrong before with one release on this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// The release.
    pub release: ReleaseName,
    /// How often it failed.
    pub failures: u16,
    /// When it last did.
    pub last_failed: LogTime,
}

/// A check-in.
#[derive(Clone, Debug)]
pub struct CheckIn {
    /// The device.
    pub device: DeviceId,
    /// The device as the log knows it.
    pub pseudonym: Pseudonym,
    /// What it says it is.
    pub variant: VariantClaim,
    /// Its release channel.
    pub channel: Channel,
    /// Where it says it is; the variant's own region counts besides.
    pub region: Option<Region>,
    /// What runs on it, at most [`COMPONENTS_MAX`], each component once.
    pub components: Vec<Running>,
    /// State of charge, 0 to 100; absent without a battery.
    pub battery_percent: Option<u8>,
    /// What feeds it.
    pub power: Power,
    /// What it would download over.
    pub network: Network,
    /// Free bytes for a payload; absent when unknown.
    pub storage_free: Option<u64>,
    /// Changes with every boot; at most 64 bytes.
    pub boot_id: Box<str>,
    /// Counts the device's check-ins.
    pub sequence: u64,
    /// Exposures that it still holds, each verified to be its own.
    pub echoes: Vec<Verified<Token>>,
    /// Earlier failures, at most [`ATTEMPTS_MAX`], each release once.
    pub attempts: Vec<Attempts>,
}

impl CheckIn {
    /// How a release fared on this device before.
    pub fn attempts_of(&self, release: &ReleaseName) -> Option<&Attempts> {
        self.attempts.iter().find(|a| a.release == *release)
    }
}

/// The secret under which device ids become pseudonyms: one for the whole fleet.
#[derive(Clone)]
pub struct PseudonymKey([u8; 32]);

impl PseudonymKey {
    /// Wraps 32 secret bytes.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The pseudonym of a device: BLAKE3 keyed with the secret. Who has no key cannot tell which
    /// device an entry speaks of; who destroys it has erased every device from the log.
    pub fn pseudonym(&self, device: &DeviceId) -> Pseudonym {
        Pseudonym(*blake3::keyed_hash(&self.0, device.0.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(secret)")
    }
}
