//! Decisions to the wire.
use crate::engine::{Because, Decision, Index, Mode, Offer, Verdict};
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::v1;

/// A decision with what it cites, ready to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// The index that it was made from; none in mode `blind`.
    pub index: Option<&'a Index>,
    /// The exposure token of what is given.
    pub token: Option<&'a [u8]>,
}

/// The message for a device.
pub fn response(device_id: &str, sequence: u64, answer: Answer<'_>) -> v1::CheckInResponse {
    let Answer {
        decision,
        index,
        token,
    } = answer;
    let reasons = decision.reasons.as_slice().iter();
    v1::CheckInResponse {
        device_id: device_id.to_owned(),
        sequence,
        verdict: verdict(decision.verdict).into(),
        reasons: reasons.map(|because| reason(because, index)).collect(),
        mode: mode(decision.mode).into(),
        offer: index.and_then(|index| offer(decision, index, token)),
        retry_after_ms: decision.retry_after.0,
        incarnation: index.map(|index| index.cited().incarnation.0),
        snapshot_entries: index.map(|index| index.cited().entries.0),
        journal_index: None,
    }
}

fn offer(decision: &Decision, index: &Index, token: Option<&[u8]>) -> Option<v1::Offer> {
    let grant = decision.grant.as_ref()?;
    let Offer {
        release,
        component,
        version,
        security_version,
        payload,
        manifest,
        signatures,
        critical_security: _,
    } = index.offer(grant)?;
    let rollout = grant.exposure.rollout;
    let signature = |(key, signature): &(_, _)| sign(key, signature);
    Some(v1::Offer {
        release: release.to_string(),
        component: component.to_string(),
        version: version.to_string(),
        security_version: security_version.0,
        floor: if is_on(Mutant::FloorNotTold) {
            0
        } else {
            grant.floor.0
        },
        payload: Some(v1::Payload {
            urls: payload.urls.clone(),
            sha256: payload.sha256.0.to_vec(),
            size: payload.size,
        }),
        delta: payload.delta.as_ref().map(|delta| v1::Payload {
            urls: delta.urls.clone(),
            sha256: delta.sha256.0.to_vec(),
            size: delta.size,
        }),
        manifest: manifest.to_vec(),
        signatures: signatures.iter().map(signature).collect(),
        rollout: rollout.map(|id| id.to_string()).unwrap_or_default(),
        wave: rollout.map(|_| u32::from(grant.exposure.wave.0)),
        exposure_token: token.unwrap_or_default().to_vec(),
        expires_at_ms: grant.expires.0,
    })
}

fn sign(
    key: &tidegate_domain::id::PublicKey,
    signature: &tidegate_domain::id::SignatureBytes,
) -> v1::ManifestSignature {
    v1::ManifestSignature {
        public_key: key.0.to_vec(),
        signature: signature.0.to_vec(),
    }
}

/// A reason with everything that it speaks of.
pub fn reason(because: &Because, index: Option<&Index>) -> v1::Reason {
    let mut params = Vec::new();
    let mut param = |name: &str, value: String| {
        params.push(v1::ReasonParam {
            name: name.to_owned(),
            value,
        });
    };
    if let Some(rollout) = because.rollout {
        param("rollout", rollout.to_string());
    }
    let component = because.component.zip(index);
    if let Some(name) = component.and_then(|(slot, index)| index.component(slot)) {
        param("component", name.to_string());
    }
    because
        .reason
        .params(|name, value| param(name, value.to_string()));
    v1::Reason {
        code: because.reason.code().to_owned(),
        params,
    }
}

/// The verdict on the wire.
pub const fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Offer => v1::Verdict::Offer,
        Verdict::Wait => v1::Verdict::Wait,
        Verdict::None => v1::Verdict::None,
        Verdict::Return => v1::Verdict::Return,
    }
}

/// The mode on the wire.
pub const fn mode(mode: Mode) -> v1::DecisionMode {
    match mode {
        Mode::Fresh => v1::DecisionMode::Fresh,
        Mode::Stale => v1::DecisionMode::Stale,
        Mode::Blind => v1::DecisionMode::Blind,
    }
}
