//! AUTH-1, from the other side: it looks at what changed, not at what was asked, and counts
//! signatures by itself.
use super::{Transition, Violation, ensure};
use crate::{
    command::{COMMAND_PAYLOAD_TYPE, SignedCommand},
    event::Event,
    id::PublicKey,
    key::{KeySet, KeyStatus, Role},
    signature::verify,
    wave::OpenedBy,
};
use std::collections::BTreeSet;

/// Who must have signed for an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs<'a> {
    /// Both root quorums.
    RootQuorums(&'a KeySet),
    /// The threshold of operators.
    OperatorQuorum,
    /// One operator.
    Operator,
    /// One decision node.
    DecisionNode,
    /// Anyone who may sign commands at all: a consequence.
    Anyone,
}

/// AUTH-1: every effect carries the signatures that it takes, under the keys before it.
pub(super) fn changes_were_signed_for(t: &Transition<'_>) -> Result<(), Violation> {
    let events = t.events();
    if events.is_empty() {
        return Ok(());
    }
    let Some(envelope) = t.envelope else {
        return ensure(false, "AUTH-1", || {
            "a membership entry changed something".to_owned()
        });
    };
    let signers = signers(envelope);
    let keys = t.before.keys();
    for event in events {
        let needs = needs(event);
        ensure(satisfied(needs, keys, &signers), "AUTH-1", || {
            format!(
                "{} signer(s) are not {needs:?}, and yet: {event:?}",
                signers.len()
            )
        })?;
    }
    Ok(())
}

/// The distinct keys whose signatures verify over the body.
fn signers(envelope: &[u8]) -> BTreeSet<PublicKey> {
    let Ok(signed) = SignedCommand::from_bytes(envelope) else {
        return BTreeSet::new();
    };
    let valid = signed
        .signatures
        .iter()
        .filter(|signature| verify(signature, COMMAND_PAYLOAD_TYPE, &signed.body).is_ok());
    valid.map(|signature| signature.key).collect()
}

fn satisfied(needs: Needs<'_>, keys: &KeySet, signers: &BTreeSet<PublicKey>) -> bool {
    let any = |role| trusted(keys, role, signers) > 0;
    match needs {
        Needs::RootQuorums(next) => {
            (keys.epoch.0 == 0 || quorum(keys, Role::Root, signers))
                && quorum(next, Role::Root, signers)
        }
        Needs::OperatorQuorum => quorum(keys, Role::Operator, signers),
        Needs::Operator => any(Role::Operator),
        Needs::DecisionNode => any(Role::Decision),
        Needs::Anyone => {
            any(Role::Root) || any(Role::Operator) || any(Role::Decision) || any(Role::Node)
        }
    }
}

fn trusted(keys: &KeySet, role: Role, signers: &BTreeSet<PublicKey>) -> usize {
    let status = |key: &&PublicKey| keys.role(role).and_then(|keys| keys.status(key));
    let trusted = signers
        .iter()
        .filter(|key| status(key) == Some(KeyStatus::Trusted));
    trusted.count()
}

fn quorum(keys: &KeySet, role: Role, signers: &BTreeSet<PublicKey>) -> bool {
    // Counted by itself: this is the other side of what it checks.
    let threshold = keys.role(role).map_or(u16::MAX, |keys| keys.threshold);
    threshold > 0 && trusted(keys, role, signers) >= usize::from(threshold)
}

fn needs(event: &Event) -> Needs<'_> {
    match event {
        Event::KeysRotated(next) => Needs::RootQuorums(next),
        Event::WaveOpened { opening, .. } if opening.by == OpenedBy::Override => {
            Needs::OperatorQuorum
        }
        Event::KeyRevoked { .. }
        | Event::GateOverridden { .. }
        | Event::FloorRaised { .. }
        | Event::RecoveryImageRetired { .. }
        | Event::RolloutApproved { .. }
        | Event::HaltLifted { .. }
        | Event::RolloutExpedited { .. }
        | Event::StopLifted { .. }
        | Event::SessionWrittenOff { .. }
        | Event::MembershipChanged { .. }
        | Event::ClusterConfigSet(_)
        | Event::StateVersionRaised { .. } => Needs::OperatorQuorum,
        Event::ReleaseRegistered(_)
        | Event::ReleaseSigned { .. }
        | Event::ReleaseWithdrawn { .. }
        | Event::VariantRegistered(_)
        | Event::ChannelRegistered(_)
        | Event::RecoveryImageDeclared { .. }
        | Event::RolloutCreated(_)
        | Event::RolloutPaused { .. }
        | Event::RolloutResumed { .. }
        | Event::RolloutAmended { .. }
        | Event::StopRaised(_)
        | Event::RegionPolicySet { .. }
        | Event::HoldSet { .. }
        | Event::HoldReleased { .. } => Needs::Operator,
        Event::SessionOpened(_)
        | Event::BudgetGranted { .. }
        | Event::SessionAdvanced(_)
        | Event::OperationRefused(_)
        | Event::JournalAnchored(_)
        | Event::SessionClosed { .. }
        | Event::Tallied { .. } => Needs::DecisionNode,
        Event::EntryRecorded { .. }
        | Event::BaselineSet { .. }
        | Event::WaveOpened { .. }
        | Event::WavePassed { .. }
        | Event::GateJudged { .. }
        | Event::RolloutHalted { .. }
        | Event::RollbackStarted { .. }
        | Event::RolledBack { .. }
        | Event::RolloutCompleted { .. }
        | Event::VariantExcluded { .. }
        | Event::CohortMatured { .. }
        | Event::CreditGrown { .. }
        | Event::RolloutFolded { .. }
        | Event::BudgetLost { .. }
        | Event::BudgetReturned { .. }
        | Event::RolloutStarted { .. }
        | Event::RolloutSuperseded { .. }
        | Event::RolloutForgotten { .. } => Needs::Anyone,
    }
}
