//! What operators say of a fleet beside whose turn it is: who is held, which regions are closed,
//! what a rollout shall be from now on, and which releases nobody may have any more.

use tidegate_decision::engine::{DeviceId, PseudonymKey};
use tidegate_domain::command::{
    AddReleaseSignatures, AmendRollout, DeclareRecoveryImage, ExcludeVariant, ExpediteRollout,
    RevokeRelease, SetHold, SetRegionPolicy,
};
use tidegate_domain::guard::{HoldKey, HoldKind, RecoveryImage, RegionPolicy};
use tidegate_domain::id::{
    Millis, Region, ReleaseName, Revision, RolloutId, SecurityVersion, VariantId,
};
use tidegate_domain::key::Role;
use tidegate_domain::release::MANIFEST_PAYLOAD_TYPE;
use tidegate_domain::signature::sign;
use tidegate_domain::testing::{component, reason, region, scope};

use super::{Draft, Operators};

/// Devices of one gateway, and a few that there are not.
const DEVICES: u64 = 32;
/// Least that a device is held, until it is let go: the clocks of nodes may be off by a week, and
/// what one of them decided depends on nothing that DEC-1 cannot know.
const HELD_MS: u64 = 30 * 86_400_000;

impl Operators {
    pub(super) fn policy(&mut self) -> Draft {
        match self.dice.below(9) {
            0 | 1 => self.hold(),
            2 | 3 => self.region_policy(),
            4 => self.recovery_image(),
            5 => self.more_signatures(),
            6 if self.dice.one_in(3) => self.release_revocation(),
            _ => self.amendment(),
        }
    }

    /// A device that nothing may change on for a while, or only one release may be on.
    fn hold(&mut self) -> Draft {
        let id = format!("p{}-{}", 1 + self.dice.below(2), self.dice.below(DEVICES));
        let Ok(id) = DeviceId::new(id) else {
            unreachable!("it is short, and not empty");
        };
        let device = PseudonymKey::new(crate::PSEUDONYMS).pseudonym(&id);
        let kind = match self.dice.below(4) {
            0 => None,
            1 => self.some_release().map(HoldKind::Pin),
            _ => Some(HoldKind::Legal),
        };
        let length = Millis(HELD_MS + self.dice.below(HELD_MS));
        let expires = self.fleet.now.after(length);
        let hold = SetHold {
            key: HoldKey {
                device,
                component: self.dice.one_in(2).then(|| component("os")),
            },
            kind,
            reason: reason(),
            expires,
        };
        self.draft("hold", hold)
    }

    fn region_policy(&mut self) -> Draft {
        let region = region(&self.place());
        let offers_allowed = self.dice.one_in(3);
        self.policy_of(region, offers_allowed)
    }

    /// A closed region is opened again, since nothing is offered there meanwhile.
    pub(super) fn reopening(&mut self) -> Option<Draft> {
        let policies = self.fleet.state.region_policies().iter();
        let closed = policies.filter(|(_, policy)| !policy.offers_allowed);
        let closed: Vec<_> = closed.map(|(name, _)| name.clone()).collect();
        let region = self.dice.pick(&closed).cloned()?;
        Some(self.policy_of(region, true))
    }

    fn policy_of(&mut self, region: Region, offers_allowed: bool) -> Draft {
        let policy = RegionPolicy {
            offers_allowed,
            metered_allowed: self.dice.one_in(2),
            battery_min_percent: 0,
            maintenance: Vec::new(),
            freezes: Vec::new(),
            revision: Revision(0),
        };
        self.draft("region policy", SetRegionPolicy { region, policy })
    }

    fn recovery_image(&mut self) -> Draft {
        let Some(release) = self.some_release() else {
            return self.release();
        };
        let image = RecoveryImage {
            release,
            security_version: SecurityVersion(self.dice.below(5)),
            revision: Revision(0),
        };
        let scope = scope("os", "*");
        self.draft("recovery image", DeclareRecoveryImage { scope, image })
    }

    /// More release keys sign what is registered already: it survives the loss of others.
    fn more_signatures(&mut self) -> Draft {
        let release = self.some_release();
        let registered = release.and_then(|name| {
            let release = self.fleet.state.releases().get(&name)?;
            Some((name, release.manifest_bytes.clone()))
        });
        let Some((release, manifest)) = registered else {
            return self.release();
        };
        let keys = self.fleet.state.keys();
        let keys = self.fleet.keys.trusted(keys, Role::Release, usize::MAX);
        let signatures = keys
            .iter()
            .map(|key| sign(key, MANIFEST_PAYLOAD_TYPE, &manifest))
            .collect();
        let more = AddReleaseSignatures {
            release,
            signatures,
        };
        self.draft("signatures", more)
    }

    fn release_revocation(&mut self) -> Draft {
        let Some(release) = self.some_release() else {
            return self.release();
        };
        let revocation = RevokeRelease {
            release,
            reason: reason(),
        };
        self.draft("release revocation", revocation)
    }

    /// A rollout becomes a little narrower, wider, faster or slower.
    fn amendment(&mut self) -> Draft {
        let rollouts = self.fleet.state.rollouts().iter();
        let live = rollouts.filter(|(_, rollout)| !rollout.life.is_final());
        let live: Vec<(RolloutId, _)> = live
            .map(|(id, rollout)| (*id, rollout.spec.clone()))
            .collect();
        let Some((rollout, mut spec)) = self.dice.pick(&live).cloned() else {
            return self.creation();
        };
        let reason = reason();
        match self.dice.below(6) {
            0 | 1 => {
                let variants = self.fleet.state.variants().iter();
                let variants: Vec<VariantId> = variants.map(|(id, _)| *id).collect();
                let Some(variant) = self.dice.pick(&variants).copied() else {
                    return self.variant();
                };
                let exclusion = ExcludeVariant {
                    rollout,
                    variant,
                    reason,
                };
                return self.draft("exclusion", exclusion);
            }
            2 => return self.draft("expedition", ExpediteRollout { rollout, reason }),
            3 => spec.credit = 1 + self.dice.below(400),
            4 => spec.sample_min = 1 + self.dice.below(20),
            _ => {
                if let Some(last) = spec.waves.last_mut() {
                    last.soak = Millis(self.dice.below(4_000));
                }
            }
        }
        self.draft("amendment", AmendRollout { rollout, spec })
    }

    fn some_release(&mut self) -> Option<ReleaseName> {
        let releases = self.fleet.state.releases().iter();
        let names: Vec<ReleaseName> = releases.map(|(name, _)| name.clone()).collect();
        self.dice.pick(&names).cloned()
    }
}
