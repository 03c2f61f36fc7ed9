//! What a grant means in names and bytes, and the token that goes with it.
use super::{
    checkin::CheckIn,
    decide::Grant,
    index::Index,
    token::{Token, Verified},
};
use std::sync::Arc;
use tidegate_domain::{
    id::{
        Component, PublicKey, ReleaseName, SecurityVersion, SessionId, SignatureBytes, VariantId,
    },
    release::{Payload, Version},
    tally::Stratum,
};

/// A grant, looked up.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The release's name.
    pub release: &'a ReleaseName,
    /// The component that it replaces.
    pub component: &'a Component,
    /// Its version.
    pub version: &'a Version,
    /// Its security version.
    pub security_version: SecurityVersion,
    /// What the device fetches.
    pub payload: &'a Payload,
    /// The manifest as it was signed.
    pub manifest: &'a Arc<[u8]>,
    /// The signatures over it.
    pub signatures: &'a [(PublicKey, SignatureBytes)],
    /// Whether it closes a hole that is being used.
    pub critical_security: bool,
}

impl Index {
    /// Looks a grant of this index up. `None` only for the grant of another index.
    pub fn offer(&self, grant: &Grant) -> Option<Offer<'_>> {
        let release = self.release(grant.release)?;
        Some(Offer {
            release: &release.name,
            component: self.component(release.component)?,
            version: &release.version,
            security_version: release.security_version,
            payload: release.payload(grant.payload)?,
            manifest: release.manifest(),
            signatures: release.signatures(),
            critical_security: release.critical_security,
        })
    }

    /// The token for a grant: a new exposure's, or the next one of an exposure that the device
    /// holds, which then keeps the session, the cohort and the attempt that it was counted in.
    pub fn grant_token(
        &self,
        grant: &Grant,
        check_in: &CheckIn,
        variant: VariantId,
        session: SessionId,
    ) -> Option<Token> {
        let exposure = &grant.exposure;
        let echoed = exposure.echo.and_then(|at| check_in.echoes.get(at));
        let release = self.release(grant.release)?;
        Some(Token {
            session: echoed.map_or(session, |token| token.session),
            rollout: exposure.rollout,
            wave: exposure.wave,
            stratum: Stratum {
                variant,
                channel: check_in.channel.clone(),
            },
            cohort: exposure.cohort,
            arm: exposure.arm,
            device: check_in.pseudonym,
            attempt: exposure.attempt,
            expires: grant.expires,
            component: self.component(release.component)?.clone(),
            release: release.name.clone(),
            stepping_stone: grant.stepping_stone,
            signer: session,
            original: echoed
                .filter(|token| token.session != session)
                .map(Verified::original),
        })
    }
}
