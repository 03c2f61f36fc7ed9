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

impl VariantTraits {
    /// The traits in the order in which they are written.
    fn parts(&self) -> [&str; 4] {
        let Self {
            model,
            revision,
            region,
            carrier,
        } = self;
        [
            model.as_str(),
            revision.as_str(),
            region.as_str(),
            carrier.as_str(),
        ]
    }
}

impl fmt::Display for VariantTraits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().join("/"))
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
        self.includes(variant.parts().map(Some))
    }

    /// Whether every variant of `other`, registered or not, is in this set too.
    pub fn covers(&self, other: &Self) -> bool {
        self.includes(other.parts())
    }

    /// Whether some variant, registered or not, can be in both sets.
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut pairs = self.parts().into_iter().zip(other.parts());
        pairs.all(|pair| matches!(pair, (None, _) | (_, None)) || pair.0 == pair.1)
    }

    fn includes(&self, inner: [Option<&str>; 4]) -> bool {
        let mut pairs = self.parts().into_iter().zip(inner);
        pairs.all(|(outer, inner)| outer.is_none() || outer == inner)
    }

    /// What each trait has to be, if it is named, in the order in which they are written.
    fn parts(&self) -> [Option<&str>; 4] {
        let Self {
            model,
            revision,
            region,
            carrier,
        } = self;
        [
            model.as_ref().map(Model::as_str),
            revision.as_ref().map(HardwareRevision::as_str),
            region.as_ref().map(Region::as_str),
            carrier.as_ref().map(Carrier::as_str),
        ]
    }

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

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("*");
        }
        f.write_str(&self.parts().map(|part| part.unwrap_or("*")).join("/"))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text of four parts that are one of these.
    fn texts(parts: &[&str]) -> Vec<String> {
        let mut texts: Vec<String> = parts.iter().map(ToString::to_string).collect();
        for _ in 1..4 {
            let shorter = std::mem::take(&mut texts);
            for text in &shorter {
                texts.extend(parts.iter().map(|part| format!("{text}/{part}")));
            }
        }
        texts
    }

    /// Exhaustively, over two values of each trait: sets of variants are sets.
    #[test]
    fn selectors_relate_as_their_variants_do() {
        let parsed = |text: &String| text.parse::<VariantTraits>().unwrap();
        let variants: Vec<VariantTraits> = texts(&["a", "b"]).iter().map(parsed).collect();
        let parsed = |text: &String| text.parse::<Selector>().unwrap();
        let selectors: Vec<Selector> = texts(&["*", "a", "b"]).iter().map(parsed).collect();
        assert_eq!((variants.len(), selectors.len()), (16, 81));
        for one in &selectors {
            assert_eq!(one.to_string().parse(), Ok(one.clone()));
            for other in &selectors {
                let both = |v: &&VariantTraits| one.matches(v) && other.matches(v);
                let shared: Vec<_> = variants.iter().filter(both).collect();
                let others: Vec<_> = variants.iter().filter(|v| other.matches(v)).collect();
                assert_eq!(one.overlaps(other), !shared.is_empty(), "{one} and {other}");
                assert_eq!(one.covers(other), shared == others, "{one} and {other}");
                let met = one.meet(other);
                let in_meet = |v: &&VariantTraits| met.as_ref().is_some_and(|met| met.matches(v));
                assert_eq!(shared, variants.iter().filter(in_meet).collect::<Vec<_>>());
            }
        }
    }
}
