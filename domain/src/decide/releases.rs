//! Decisions on releases and variants.
use super::{Decision, check_limit, invalid};
use crate::{
    apply::Context,
    canonical,
    command::{AddReleaseSignatures, RegisterRelease, RegisterVariant, RevokeRelease, Signature},
    event::Event,
    id::{PublicKey, SignatureBytes, VariantId},
    key::{KeyStatus, Role},
    rejection::Rejection,
    release::{
        MANIFEST_PAYLOAD_TYPE, Manifest, NotOfferable, Release, ReleaseStatus, offerable_under,
    },
    signature::verify,
    state::State,
    variant::Variant,
};
use std::collections::BTreeMap;

pub(super) fn register(state: &State, arguments: &RegisterRelease, context: &Context) -> Decision {
    let RegisterRelease {
        manifest: manifest_bytes,
        signatures,
    } = arguments;
    let manifest: Manifest =
        canonical::decode(manifest_bytes).map_err(|why| invalid("manifest", why.to_string()))?;
    if manifest.origin != state.meta().origin {
        let detail = format!(
            "is {:?}, this is {:?}",
            manifest.origin,
            state.meta().origin
        );
        return Err(invalid("manifest.origin", detail));
    }
    if state.releases().contains(&manifest.name) {
        return Err(Rejection::ReleaseExists {
            name: manifest.name,
        });
    }
    manifest
        .check()
        .map_err(|fault| invalid(format!("manifest.{}", fault.field), fault.detail))?;
    check_limit(
        "releases",
        state.releases().len(),
        state.config().limits.releases_max,
    )?;
    let release = Release {
        signatures: accept_signatures(state, &BTreeMap::new(), manifest_bytes, signatures)?,
        manifest,
        manifest_bytes: manifest_bytes.clone(),
        status: ReleaseStatus::Registered,
        registered_at: context.time,
        revision: context.revision(),
    };
    match offerable_under(state.keys(), &release) {
        Ok(()) => Ok(vec![Event::ReleaseRegistered(Box::new(release))]),
        Err(NotOfferable::UnderSigned { needed, found }) => Err(Rejection::ReleaseUnderSigned {
            name: release.manifest.name,
            needed,
            found,
        }),
        Err(NotOfferable::Withdrawn(_)) => Err(Rejection::ReleaseWithdrawn {
            name: release.manifest.name,
        }),
    }
}

pub(super) fn add_signatures(
    state: &State,
    arguments: &AddReleaseSignatures,
    _context: &Context,
) -> Decision {
    let AddReleaseSignatures {
        release: name,
        signatures,
    } = arguments;
    let release = state
        .releases()
        .get(name)
        .ok_or_else(|| Rejection::UnknownRelease { name: name.clone() })?;
    if release.status != ReleaseStatus::Registered {
        return Err(Rejection::ReleaseWithdrawn { name: name.clone() });
    }
    if signatures.is_empty() {
        return Err(invalid("signatures", "at least one"));
    }
    let known = &release.signatures;
    let signatures = accept_signatures(state, known, &release.manifest_bytes, signatures)?;
    Ok(vec![Event::ReleaseSigned {
        release: name.clone(),
        signatures,
    }])
}

/// Takes signatures by distinct trusted release keys that have not signed before, all valid.
fn accept_signatures(
    state: &State,
    known: &BTreeMap<PublicKey, SignatureBytes>,
    manifest: &[u8],
    signatures: &[Signature],
) -> Result<BTreeMap<PublicKey, SignatureBytes>, Rejection> {
    let keys = state.keys().role(Role::Release);
    let mut accepted = BTreeMap::new();
    for Signature { key, signature } in signatures {
        let refuse = |detail: &str| {
            Err(Rejection::ReleaseSignatureRefused {
                key: *key,
                detail: detail.to_owned(),
            })
        };
        match keys.and_then(|keys| keys.status(key)) {
            Some(KeyStatus::Trusted) => {}
            Some(KeyStatus::Retired) => return refuse("the key is retired"),
            Some(KeyStatus::Revoked) => return refuse("the key is revoked"),
            None => return refuse("it is no release key"),
        }
        if known.contains_key(key) || accepted.insert(*key, *signature).is_some() {
            return refuse("the key signs twice");
        }
    }
    // The keys are known and distinct: no more verifications than there are release keys.
    for signature in signatures {
        verify(signature, MANIFEST_PAYLOAD_TYPE, manifest).map_err(|bad| {
            Rejection::ReleaseSignatureRefused {
                key: bad.key,
                detail: "it does not verify over the manifest".to_owned(),
            }
        })?;
    }
    Ok(accepted)
}

pub(super) fn revoke(state: &State, arguments: &RevokeRelease, _context: &Context) -> Decision {
    let RevokeRelease {
        release: name,
        reason,
    } = arguments;
    let release = state
        .releases()
        .get(name)
        .ok_or_else(|| Rejection::UnknownRelease { name: name.clone() })?;
    if release.status == ReleaseStatus::Revoked {
        return Err(Rejection::ReleaseWithdrawn { name: name.clone() });
    }
    Ok(vec![Event::ReleaseWithdrawn {
        release: name.clone(),
        status: ReleaseStatus::Revoked,
        reason: reason.clone(),
    }])
}

pub(super) fn register_variant(
    state: &State,
    arguments: &RegisterVariant,
    context: &Context,
) -> Decision {
    let RegisterVariant { traits } = arguments;
    if let Some(variant) = state.derived.variant_by_traits.get(traits) {
        return Err(Rejection::VariantExists { variant: *variant });
    }
    check_limit(
        "variants",
        state.variants().len(),
        state.config().limits.variants_max,
    )?;
    Ok(vec![Event::VariantRegistered(Variant {
        id: VariantId(state.meta().last_variant.0.saturating_add(1)),
        traits: traits.clone(),
        revision: context.revision(),
    })])
}
