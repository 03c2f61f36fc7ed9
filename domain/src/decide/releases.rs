//! Decisions on releases, variants and channels.
use super::{Decision, check_limit, invalid};
use crate::{
    apply::Context,
    canonical,
    command::{
        AddReleaseSignatures, RegisterChannel, RegisterRelease, RegisterVariant, RevokeRelease,
        SIGNATURES_MAX, Signature,
    },
    event::Event,
    id::{Channel, PublicKey, SignatureBytes, VariantId},
    key::{KeyStatus, Role},
    rejection::{Field, Limit, Rejection, SignatureFault, ValueFault},
    release::{
        MANIFEST_PAYLOAD_TYPE, Manifest, NotOfferable, Release, ReleaseStatus, offerable_under,
    },
    signature::verify,
    state::State,
    variant::Variant,
};
use std::collections::BTreeMap;

/// Most release channels besides the default one. Strata are variants times channels.
const CHANNELS_MAX: u32 = 63;

pub(super) fn register(state: &State, arguments: &RegisterRelease, context: &Context) -> Decision {
    let RegisterRelease {
        manifest: manifest_bytes,
        signatures,
    } = arguments;
    let manifest: Manifest = canonical::decode(manifest_bytes)
        .map_err(|_| invalid(Field::Manifest, ValueFault::NotCanonical))?;
    if manifest.origin != state.meta().origin {
        let fault = ValueFault::OtherOrigin {
            existing: state.meta().origin.clone(),
            requested: manifest.origin,
        };
        return Err(invalid(Field::ManifestOrigin, fault));
    }
    if state.releases().contains(&manifest.name) {
        return Err(Rejection::ReleaseExists {
            name: manifest.name,
        });
    }
    manifest.check().map_err(Rejection::from)?;
    check_limit(
        Limit::Releases,
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
        let max = SIGNATURES_MAX as u64;
        let (value, min) = (0, 1);
        let fault = ValueFault::Range { value, min, max };
        return Err(invalid(Field::Signatures, fault));
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
        let refuse = |fault| Err(Rejection::ReleaseSignatureRefused { key: *key, fault });
        match keys.and_then(|keys| keys.status(key)) {
            Some(KeyStatus::Trusted) => {}
            Some(KeyStatus::Retired) => return refuse(SignatureFault::Retired),
            Some(KeyStatus::Revoked) => return refuse(SignatureFault::Revoked),
            None => return refuse(SignatureFault::NoReleaseKey),
        }
        if known.contains_key(key) || accepted.insert(*key, *signature).is_some() {
            return refuse(SignatureFault::Twice);
        }
    }
    // The keys are known and distinct: no more verifications than there are release keys.
    for signature in signatures {
        verify(signature, MANIFEST_PAYLOAD_TYPE, manifest).map_err(|bad| {
            Rejection::ReleaseSignatureRefused {
                key: bad.key,
                fault: SignatureFault::DoesNotVerify,
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
        reason: Some(reason.clone()),
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
        Limit::Variants,
        state.variants().len(),
        state.config().limits.variants_max,
    )?;
    Ok(vec![Event::VariantRegistered(Variant {
        id: VariantId(state.meta().last_variant.0.saturating_add(1)),
        traits: traits.clone(),
        revision: context.revision(),
    })])
}

pub(super) fn register_channel(
    state: &State,
    arguments: &RegisterChannel,
    _context: &Context,
) -> Decision {
    let RegisterChannel { channel } = arguments;
    if is_registered(state, channel) {
        return Err(invalid(Field::Channel, ValueFault::ChannelExists));
    }
    check_limit(Limit::Channels, state.channels().len(), CHANNELS_MAX)?;
    Ok(vec![Event::ChannelRegistered(channel.clone())])
}

/// Whether a channel is the default one, or was registered.
pub(super) fn is_registered(state: &State, channel: &Channel) -> bool {
    channel.is_default() || state.channels().contains(channel)
}

/// What is wrong with a channel that nobody registered. Who could make channels up could make up
/// strata, each with a credit and rows of its own.
pub(super) fn unknown_channel(state: &State, channel: &Channel) -> Option<ValueFault> {
    let channel = channel.clone();
    (!is_registered(state, &channel)).then_some(ValueFault::UnknownChannel { channel })
}
