//! Hardware variants and selectors over them.
use crate::id::{Carrier, HardwareRevision, Model, Region, Revision, VariantId};
use minicbor::{Decode, Encode};
use std::{fmt, str::FromStr};

/// What makes a variant: hardware model × revision × region × carrier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct VariantTraits {
    /// Hardware model.
    #[n(0)]
    pub model: Model,
    /// Hardware revision.
    #[n(1)]
    pub revision: HardwareRevision,
    /// Region where it is sold and used.
    #[n(2)]
    pub region: Region,
    /// Mobile carrier, `none` without one.
    #[n(3)]
    pub carrier: Carrier,
}

impl fmt::Display for VariantTraits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}",
            self.model, self.revision, self.region, self.carrier
        )
    }
}

/// A registered variant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Variant {
    /// Its number.
    #[n(0)]
    pub id: VariantId,
    /// What it is; unique.
    #[n(1)]
    pub traits: VariantTraits,
    /// The entry that registered it.
    #[n(2)]
    pub revision: Revision,
}

/// A set of variants: those that agree with every trait that is named. Written
/// `model/revision/region/carrier` with `*` for any; `*` alone is the whole fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Selector {
    /// Only this hardware model.
    #[n(0)]
    pub model: Option<Model>,
    /// Only this hardware revision.
    #[n(1)]
    pub revision: Option<HardwareRevision>,
    /// Only this region.
    #[n(2)]
    pub region: Option<Region>,
    /// Only this carrier.
    #[n(3)]
    pub carrier: Option<Carrier>,
}

impl Selector {
    /// The selector that matches every variant.
    pub const ALL: Self = Self {
        model: None,
        revision: None,
        region: None,
        carrier: None,
    };

    /// The selector of exactly one variant.
    pub fn exactly(traits: &VariantTraits) -> Self {
        let VariantTraits {
            model,
            revision,
            region,
            carrier,
        } = traits.clone();
        Self {
            model: Some(model),
            revision: Some(revision),
            region: Some(region),
            carrier: Some(carrier),
        }
    }

    /// Whether the set holds the variant.
    pub fn matches(&self, variant: &VariantTraits) -> bool {
        let Self {
            model,
            revision,
            region,
            carrier,
        } = self;
        allows(model, &variant.model)
            && allows(revision, &variant.revision)
            && allows(region, &variant.region)
            && allows(carrier, &variant.carrier)
    }

    /// Whether some variant, registered or not, can be in both sets.
    pub fn overlaps(&self, other: &Self) -> bool {
        let Self {
            model,
            revision,
            region,
            carrier,
        } = self;
        meets(model, &other.model)
            && meets(revision, &other.revision)
            && meets(region, &other.region)
            && meets(carrier, &other.carrier)
    }

    /// Whether every variant of `other`, registered or not, is in this set too.
    pub fn covers(&self, other: &Self) -> bool {
        let Self {
            model,
            revision,
            region,
            carrier,
        } = self;
        includes(model, &other.model)
            && includes(revision, &other.revision)
            && includes(region, &other.region)
            && includes(carrier, &other.carrier)
    }
}

impl Selector {
    /// The variants that are in both sets; `None` if there can be none.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        fn both<T: Clone>(a: &Option<T>, b: &Option<T>) -> Option<T> {
            a.as_ref().or(b.as_ref()).cloned()
        }
        self.overlaps(other).then(|| Self {
            model: both(&self.model, &other.model),
            revision: both(&self.revision, &other.revision),
            region: both(&self.region, &other.region),
            carrier: both(&self.carrier, &other.carrier),
        })
    }
}

fn allows<T: PartialEq>(wanted: &Option<T>, found: &T) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted == found)
}

fn meets<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    matches!((a, b), (None, _) | (_, None)) || a == b
}

fn includes<T: PartialEq>(outer: &Option<T>, inner: &Option<T>) -> bool {
    outer.is_none() || outer == inner
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn part<T: fmt::Display>(part: &Option<T>) -> String {
            part.as_ref()
                .map_or_else(|| "*".to_owned(), ToString::to_string)
        }
        if *self == Self::ALL {
            return f.write_str("*");
        }
        let Self {
            model,
            revision,
            region,
            carrier,
        } = self;
        write!(
            f,
            "{}/{}/{}/{}",
            part(model),
            part(revision),
            part(region),
            part(carrier)
        )
    }
}

/// Why a text is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Not four parts.
    #[error("a selector is '*' or model/revision/region/carrier with '*' for any, not {0:?}")]
    Shape(String),
    /// One part is not a name.
    #[error(transparent)]
    Name(#[from] crate::id::NameError),
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        fn part<T: FromStr<Err = crate::id::NameError>>(
            text: &str,
        ) -> Result<Option<T>, SelectorError> {
            if text == "*" {
                Ok(None)
            } else {
                Ok(Some(text.parse()?))
            }
        }
        if text == "*" {
            return Ok(Self::ALL);
        }
        let parts: Vec<&str> = text.split('/').collect();
        let [model, revision, region, carrier] = parts.as_slice() else {
            return Err(SelectorError::Shape(text.to_owned()));
        };
        Ok(Self {
            model: part(model)?,
            revision: part(revision)?,
            region: part(region)?,
            carrier: part(carrier)?,
        })
    }
}

impl FromStr for VariantTraits {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let Selector {
            model,
            revision,
            region,
            carrier,
        } = text.parse()?;
        let (Some(model), Some(revision), Some(region), Some(carrier)) =
            (model, revision, region, carrier)
        else {
            return Err(SelectorError::Shape(text.to_owned()));
        };
        Ok(Self {
            model,
            revision,
            region,
            carrier,
        })
    }
}
