//! What each kind of command says, in words; every field is taken apart by name, so that a new one
//! cannot be left out.
use super::{command::Wording, rollout, time, window};
use tidegate_domain::{
    canonical,
    command::{
        AdvanceSession, DeclareRecoveryImage, Operation, RaiseFloor, RegisterRelease, RevokeKey,
        RotateKeys, SetHold, SetRegionPolicy, Signature, Tally,
    },
    config::Member,
    guard::{HoldKey, HoldKind, RecoveryImage, RegionPolicy, Scope, StopCovers, StopScope},
    key::{ProposedKey, ProposedRole},
    node::{Anchor, PoolKey},
    release::{Delta, Manifest, Payload},
    tally::{Arm, Counts, Stratum, TallyKey},
};

pub(super) fn rotate_keys(arguments: &RotateKeys) -> Wording {
    let RotateKeys {
        epoch,
        roles,
        strand,
    } = arguments;
    let mut wording = Wording::new(format!(
        "begin key epoch {epoch}: these keys are trusted from then on, and no others"
    ));
    for ProposedRole {
        role,
        threshold,
        keys,
    } in roles
    {
        wording = wording.with(
            role.name(),
            format!("{threshold} of {} make a quorum", keys.len()),
        );
        for ProposedKey { key, name } in keys {
            wording = wording.with(role.name(), format!("{name} {key}"));
        }
    }
    wording.maybe("override", strand.then_some(STRANDS))
}

const STRANDS: &str = "go on although registered releases are left without enough signatures";

pub(super) fn revoke_key(arguments: &RevokeKey) -> Wording {
    let RevokeKey {
        key,
        reason,
        strand,
    } = arguments;
    Wording::new(format!("take all trust from key {key}"))
        .with("reason", reason)
        .maybe("override", strand.then_some(STRANDS))
}

pub(super) fn signer(signature: &Signature) -> String {
    let Signature { key, signature: _ } = signature;
    key.to_string()
}

pub(super) fn register_release(arguments: &RegisterRelease) -> Wording {
    let RegisterRelease {
        manifest,
        signatures,
    } = arguments;
    let wording = match canonical::decode::<Manifest>(manifest) {
        Ok(manifest) => described(&manifest),
        Err(error) => Wording::new("register a release whose manifest cannot be read")
            .with("manifest", format!("{} bytes: {error}", manifest.len())),
    };
    wording.each("signed by", signatures.iter().map(signer))
}

pub(super) fn described(manifest: &Manifest) -> Wording {
    let Manifest {
        origin,
        name,
        kind,
        component,
        version,
        security_version,
        payloads,
        upgradable_from,
        requires,
        critical_security,
        audience,
    } = manifest;
    let requires = requires
        .iter()
        .map(|requirement| format!("{} {}", requirement.component, requirement.range));
    let wording = Wording::new(format!("register the {kind} release {name}"))
        .with("cluster", origin)
        .with("component", component)
        .with("version", version)
        .with("security", security_version)
        .maybe(
            "critical",
            critical_security.then_some("it closes a hole that is being used"),
        )
        .with("audience", audience)
        .maybe("from", upgradable_from.as_ref())
        .each("requires", requires);
    payloads.iter().fold(wording, |wording, part| {
        let Payload {
            sha256,
            size,
            urls,
            delta,
        } = &part.payload;
        let wording = wording
            .with(
                "payload",
                format!("{}: {size} bytes, SHA-256 {sha256}", part.selector),
            )
            .each("url", urls);
        let Some(Delta {
            base_sha256,
            sha256,
            size,
            urls,
        }) = delta
        else {
            return wording;
        };
        let difference = format!("from SHA-256 {base_sha256}: {size} bytes, SHA-256 {sha256}");
        wording.with("delta", difference).each("delta url", urls)
    })
}

pub(super) fn scope_name(scope: &Scope) -> String {
    let Scope {
        component,
        selector,
    } = scope;
    format!("{component} on {selector}")
}

pub(super) fn recovery_image(arguments: &DeclareRecoveryImage) -> Wording {
    let DeclareRecoveryImage {
        scope,
        image:
            RecoveryImage {
                release,
                security_version,
                revision: _,
            },
    } = arguments;
    Wording::new(format!(
        "{release} is what {} falls back to when nothing else boots",
        scope_name(scope)
    ))
    .with("security", security_version)
}

pub(super) fn raise_floor(arguments: &RaiseFloor) -> Wording {
    let RaiseFloor {
        scope,
        security_version,
        reason,
        retire,
    } = arguments;
    let retires = "halt and retire in the same step whatever stands below";
    Wording::new(format!(
        "raise the floor of {} to {security_version}, for good",
        scope_name(scope)
    ))
    .with("reason", reason)
    .maybe("retire", retire.then_some(retires))
}

/// Which answers an emergency stop bars.
pub(crate) const fn stop_covers(covers: StopCovers) -> &'static str {
    match covers {
        StopCovers::Offers => "offers",
        StopCovers::Returns => "returns",
        StopCovers::Both => "offers and returns",
    }
}

/// Whom an emergency stop covers.
pub(crate) fn stop_scope(scope: &StopScope) -> String {
    match scope {
        StopScope::Fleet => "to the whole fleet".to_owned(),
        StopScope::Region(region) => format!("in region {region}"),
        StopScope::Variants(selector) => format!("to variants {selector}"),
    }
}

pub(super) fn region_policy(arguments: &SetRegionPolicy) -> Wording {
    let SetRegionPolicy {
        region,
        policy:
            RegionPolicy {
                offers_allowed,
                metered_allowed,
                battery_min_percent,
                maintenance,
                freezes,
                revision: _,
            },
    } = arguments;
    let yes = |yes: &bool| if *yes { "yes" } else { "no" };
    Wording::new(format!("set the policy of region {region}"))
        .with("offers", yes(offers_allowed))
        .with("metered", yes(metered_allowed))
        .with("battery", format!("at least {battery_min_percent} %"))
        .each("installs", maintenance.iter().map(window))
        .each("frozen", freezes.iter().map(rollout::freeze))
}

pub(super) fn set_hold(arguments: &SetHold) -> Wording {
    let SetHold {
        key: HoldKey { device, component },
        kind,
        reason,
        expires,
    } = arguments;
    let wording = match kind {
        None => Wording::new("let a device go that is held"),
        Some(HoldKind::Legal) => Wording::new("hold a device as it is"),
        Some(HoldKind::Pin(release)) => Wording::new(format!("keep a device on {release}")),
    };
    wording
        .with("device", device)
        .maybe("component", component.as_ref())
        .with("until", time(*expires))
        .with("reason", reason)
}

const fn arm_name(arm: Arm) -> &'static str {
    match arm {
        Arm::Treatment => "offers",
        Arm::Control => "control",
        Arm::Return => "returns",
    }
}

pub(super) fn pool_name(pool: &PoolKey) -> String {
    let PoolKey {
        rollout,
        wave,
        stratum: Stratum { variant, channel },
        arm,
    } = pool;
    format!(
        "rollout {rollout}, wave {wave}, variant {variant}, channel {channel}, {}",
        arm_name(*arm)
    )
}

pub(super) fn advance_session(envelope: &AdvanceSession) -> Wording {
    let AdvanceSession {
        session,
        instance,
        sequence,
        operations,
    } = envelope;
    let wording = Wording::new(format!("do what session {session} asks for"))
        .with("instance", instance)
        .with("envelope", sequence);
    operations.iter().fold(wording, operation)
}

fn operation(wording: Wording, operation: &Operation) -> Wording {
    match operation {
        Operation::Grant { pool, wanted } => {
            let place = pool_name(pool);
            wording.with("grant", format!("up to {wanted} admissions to {place}"))
        }
        Operation::Return { pool, unused } => {
            let place = pool_name(pool);
            wording.with("return", format!("{unused} unused admissions to {place}"))
        }
        Operation::Report { tallies, anchor } => wording
            .each("tally", tallies.iter().map(tally))
            .maybe("anchor", anchor.as_ref().map(anchor_name)),
        Operation::Close => wording.with("close", "the session, all of which is told"),
    }
}

fn anchor_name(anchor: &Anchor) -> String {
    let Anchor {
        origin,
        size,
        root,
        frame_chain,
    } = anchor;
    format!("{origin}: {size} records, root {root}, frames {frame_chain}")
}

fn tally(tally: &Tally) -> String {
    let Tally { key, counts } = tally;
    let TallyKey {
        rollout,
        wave,
        stratum,
        cohort,
        arm,
    } = key;
    let Counts {
        exposed,
        downloaded,
        installed,
        verified,
        failed,
        reverted,
        silent,
        errors,
        operations,
        correct,
        predictions,
        latency,
    } = counts;
    let pool = pool_name(&PoolKey {
        rollout: *rollout,
        wave: *wave,
        stratum: stratum.clone(),
        arm: *arm,
    });
    format!(
        "{pool}, hour {cohort}: {exposed} exposed, {downloaded} downloaded, {installed} installed, \
         {verified} verified, {failed} failed, {reverted} reverted, {silent} silent, \
         {errors} of {operations} operations failed, {correct} of {predictions} predictions correct, \
         latencies {latency:?}"
    )
}

pub(super) fn member(member: &Member) -> String {
    let Member {
        id,
        address,
        region,
        voter,
        checkpoint_key,
    } = member;
    let role = if *voter { "voter" } else { "learner" };
    let key = checkpoint_key.map_or_else(
        || "cosigns nothing".to_owned(),
        |key| format!("cosigns with {key}"),
    );
    format!("{id} at {address} in {region}, {role}, {key}")
}
