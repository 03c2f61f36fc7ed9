//! Whether a manifest makes sense. Its signatures are another matter.
use super::{Delta, Manifest, Payload, Requirement};
use crate::{
    rejection::{Field, Rejection, ValueFault},
    variant::Selector,
};
use std::{collections::BTreeSet, ops::RangeInclusive};

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", .field.place(*.at).trim_start_matches("manifest."))]
pub struct ManifestFault {
    /// The field.
    pub field: Field,
    /// Of which payload or requirement, counted from 0.
    pub at: Option<u32>,
    /// What is wrong, with what is accepted.
    pub fault: ValueFault,
}

impl From<ManifestFault> for Rejection {
    fn from(ManifestFault { field, at, fault }: ManifestFault) -> Self {
        Self::InvalidValue { field, at, fault }
    }
}

impl ManifestFault {
    const fn new(field: Field, at: Option<u32>, fault: ValueFault) -> Self {
        Self { field, at, fault }
    }
}

/// Refuses a number that is not accepted.
fn check_range(
    field: Field,
    at: Option<u32>,
    value: usize,
    accepted: RangeInclusive<usize>,
) -> Result<(), ManifestFault> {
    if accepted.contains(&value) {
        return Ok(());
    }
    let fault = ValueFault::Range {
        value: value as u64,
        min: *accepted.start() as u64,
        max: *accepted.end() as u64,
    };
    Err(ManifestFault::new(field, at, fault))
}

impl Manifest {
    /// Checks limits, and that each part can be reached. Asked before signing, and by `apply`.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), ManifestFault> {
        let count = self.payloads.len();
        check_range(Field::Payloads, None, count, 1..=Self::PAYLOADS_MAX)?;
        let mut seen = BTreeSet::new();
        for (at, part) in (0..).zip(&self.payloads) {
            if wider_or_same(&part.selector).any(|wider| seen.contains(&wider)) {
                let (field, fault) = (Field::PayloadSelector, ValueFault::Unreachable);
                return Err(ManifestFault::new(field, Some(at), fault));
            }
            seen.insert(part.selector.clone());
            check_payload(&part.payload, at)?;
        }
        self.check_requirements()
    }

    fn check_requirements(&self) -> Result<(), ManifestFault> {
        let count = self.requires.len();
        check_range(Field::Requires, None, count, 0..=Self::REQUIRES_MAX)?;
        let mut seen = BTreeSet::from([&self.component]);
        for Requirement {
            component,
            range: _,
        } in &self.requires
        {
            if !seen.insert(component) {
                let component = component.clone();
                let fault = ValueFault::RequiredTwice { component };
                return Err(ManifestFault::new(Field::Requires, None, fault));
            }
        }
        Ok(())
    }
}

fn check_payload(payload: &Payload, at: u32) -> Result<(), ManifestFault> {
    let Payload {
        sha256: _,
        size,
        urls,
        delta,
    } = payload;
    check_fetch(*size, urls, at, (Field::PayloadSize, Field::PayloadUrls))?;
    let Some(Delta {
        base_sha256: _,
        sha256: _,
        size,
        urls,
    }) = delta
    else {
        return Ok(());
    };
    check_fetch(*size, urls, at, (Field::DeltaSize, Field::DeltaUrls))
}

fn check_fetch(
    size: u64,
    urls: &[String],
    at: u32,
    (size_field, urls_field): (Field, Field),
) -> Result<(), ManifestFault> {
    if size == 0 {
        let (value, min, max) = (size, 1, u64::MAX);
        let fault = ValueFault::Range { value, min, max };
        return Err(ManifestFault::new(size_field, Some(at), fault));
    }
    check_range(urls_field, Some(at), urls.len(), 1..=Payload::URLS_MAX)?;
    let accepted = 1..=Payload::URL_BYTES_MAX;
    match urls.iter().find(|url| !accepted.contains(&url.len())) {
        Some(url) => {
            let fault = ValueFault::Bytes {
                value: url.len() as u64,
                min: 1,
                max: Payload::URL_BYTES_MAX as u64,
            };
            Err(ManifestFault::new(urls_field, Some(at), fault))
        }
        None => Ok(()),
    }
}

/// The sixteen selectors that cover one because they name its traits or fewer: looking each of
/// them up beats comparing all payloads with each other.
fn wider_or_same(selector: &Selector) -> impl Iterator<Item = Selector> {
    (0..16_u8).map(move |keep| {
        let Selector {
            model,
            revision,
            region,
            carrier,
        } = selector.clone();
        let kept = |trait_: u8| keep & trait_ != 0;
        Selector {
            model: model.filter(|_| kept(1)),
            revision: revision.filter(|_| kept(2)),
            region: region.filter(|_| kept(4)),
            carrier: carrier.filter(|_| kept(8)),
        }
    })
}
