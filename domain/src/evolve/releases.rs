//! Folds of releases, variants and channels.
use super::{Inconsistent, revision, row};
use crate::{
    id::{Channel, PublicKey, ReleaseName, SignatureBytes},
    release::{Release, ReleaseStatus},
    state::State,
    variant::Variant,
};
use std::collections::BTreeMap;

pub(super) fn registered(state: &mut State, release: &Release) -> Result<(), Inconsistent> {
    if state.releases.contains(release.name()) {
        return Err(Inconsistent::Conflict("the release is registered"));
    }
    state
        .releases
        .insert(release.name().clone(), release.clone());
    Ok(())
}

pub(super) fn signed(
    state: &mut State,
    name: &ReleaseName,
    signatures: &BTreeMap<PublicKey, SignatureBytes>,
) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let release = row(&mut state.releases, name, "release")?;
    release.signatures.extend(signatures);
    release.revision = revision;
    Ok(())
}

pub(super) fn withdrawn(
    state: &mut State,
    name: &ReleaseName,
    status: ReleaseStatus,
) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let release = row(&mut state.releases, name, "release")?;
    let withdraws = match (release.status, status) {
        (ReleaseStatus::Registered, ReleaseStatus::Retired | ReleaseStatus::Revoked)
        | (ReleaseStatus::Retired, ReleaseStatus::Revoked) => true,
        (_, ReleaseStatus::Registered | ReleaseStatus::Retired)
        | (ReleaseStatus::Revoked, ReleaseStatus::Revoked) => false,
    };
    if !withdraws {
        return Err(Inconsistent::Conflict("the release is withdrawn"));
    }
    release.status = status;
    release.revision = revision;
    Ok(())
}

pub(super) fn variant_registered(state: &mut State, variant: &Variant) -> Result<(), Inconsistent> {
    if state.variants.contains(&variant.id) {
        return Err(Inconsistent::Conflict("the variant is registered"));
    }
    let meta = state.meta.get_mut();
    meta.last_variant = meta.last_variant.max(variant.id);
    let by_traits = &mut state.derived.variant_by_traits;
    by_traits.insert(variant.traits.clone(), variant.id);
    state.variants.insert(variant.id, variant.clone());
    Ok(())
}

pub(super) fn channel_registered(state: &mut State, channel: &Channel) -> Result<(), Inconsistent> {
    if channel.is_default() || state.channels.contains(channel) {
        return Err(Inconsistent::Conflict("the channel is registered"));
    }
    let revision = revision(state);
    state.channels.insert(channel.clone(), revision);
    Ok(())
}
