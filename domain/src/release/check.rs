//! Whether a manifest makes sense. Its signatures are another matter.
use super::{Delta, Manifest, Payload, Requirement};
use crate::variant::Selector;
use std::collections::BTreeSet;

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct ManifestFault {
    /// The field, as a path.
    pub field: String,
    /// What is wrong, with what is accepted.
    pub detail: String,
}

impl ManifestFault {
    fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            detail: detail.into(),
        }
    }
}

impl Manifest {
    /// Checks limits, and that each part can be reached. Asked before signing, and by `apply`.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), ManifestFault> {
        let count = self.payloads.len();
        if !(1..=Self::PAYLOADS_MAX).contains(&count) {
            let detail = format!("1 to {}, not {count}", Self::PAYLOADS_MAX);
            return Err(ManifestFault::new("payloads", detail));
        }
        let mut seen = BTreeSet::new();
        for (at, part) in self.payloads.iter().enumerate() {
            if wider_or_same(&part.selector).any(|wider| seen.contains(&wider)) {
                let detail = "never reached: an earlier payload is for the same variants";
                return Err(ManifestFault::new(
                    format!("payloads[{at}].selector"),
                    detail,
                ));
            }
            seen.insert(part.selector.clone());
            check_payload(&part.payload, at)?;
        }
        self.check_requirements()
    }

    fn check_requirements(&self) -> Result<(), ManifestFault> {
        let count = self.requires.len();
        if count > Self::REQUIRES_MAX {
            let detail = format!("at most {}, not {count}", Self::REQUIRES_MAX);
            return Err(ManifestFault::new("requires", detail));
        }
        let mut seen = BTreeSet::from([&self.component]);
        for Requirement {
            component,
            range: _,
        } in &self.requires
        {
            if !seen.insert(component) {
                let detail = format!("{component} stands twice, or is what the release updates");
                return Err(ManifestFault::new("requires", detail));
            }
        }
        Ok(())
    }
}

fn check_payload(payload: &Payload, at: usize) -> Result<(), ManifestFault> {
    let Payload {
        sha256: _,
        size,
        urls,
        delta,
    } = payload;
    check_fetch(*size, urls, &format!("payloads[{at}]"))?;
    let Some(Delta {
        base_sha256: _,
        sha256: _,
        size,
        urls,
    }) = delta
    else {
        return Ok(());
    };
    check_fetch(*size, urls, &format!("payloads[{at}].delta"))
}

fn check_fetch(size: u64, urls: &[String], field: &str) -> Result<(), ManifestFault> {
    if size == 0 {
        return Err(ManifestFault::new(format!("{field}.size"), "at least 1"));
    }
    if !(1..=Payload::URLS_MAX).contains(&urls.len()) {
        let detail = format!("1 to {}, not {}", Payload::URLS_MAX, urls.len());
        return Err(ManifestFault::new(format!("{field}.urls"), detail));
    }
    let fits = |url: &String| (1..=Payload::URL_BYTES_MAX).contains(&url.len());
    if !urls.iter().all(fits) {
        let detail = format!("1 to {} bytes each", Payload::URL_BYTES_MAX);
        return Err(ManifestFault::new(format!("{field}.urls"), detail));
    }
    Ok(())
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
