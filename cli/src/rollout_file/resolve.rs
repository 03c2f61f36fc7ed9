//! What a rollout file leaves out, filled in from what the cluster knows.
use super::{RolloutFile, Supersedes};
use std::collections::BTreeSet;
use tidegate_domain::{
    State,
    id::{Component, ReleaseName, RolloutId},
    release::{ArtifactKind, Manifest},
    rollout::{Audience, OnStale, RolloutSpec},
    variant::Selector,
};

/// Why a file does not fit the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ResolveError {
    /// The release is not registered.
    #[error(
        "no release named {release} is registered{}; `tidegate release list` shows those that are",
        .nearest.as_ref().map_or_else(String::new, |near| format!(", but {near} is"))
    )]
    UnknownRelease {
        /// As the file names it.
        release: ReleaseName,
        /// The registered name that is nearest to it.
        nearest: Option<ReleaseName>,
    },
    /// The release is of another kind.
    #[error(
        "{release} is a {existing} release; write `{existing}_version` instead of `{requested}_version`"
    )]
    OtherKind {
        /// The release.
        release: ReleaseName,
        /// What it is.
        existing: ArtifactKind,
        /// What the file says.
        requested: ArtifactKind,
    },
    /// The release updates another component.
    #[error("{release} updates component {existing}, the file says {requested}")]
    OtherComponent {
        /// The release.
        release: ReleaseName,
        /// What it updates.
        existing: Component,
        /// What the file says.
        requested: Component,
    },
    /// The file and the signed manifest disagree on `critical_security`.
    #[error(
        "`critical_security` is {requested} in the file and {existing} in the signed manifest of {release}; only a newly signed release can change that"
    )]
    OtherUrgency {
        /// The release.
        release: ReleaseName,
        /// What the manifest says.
        existing: bool,
        /// What the file says.
        requested: bool,
    },
    /// Only critical security releases go on while stale.
    #[error(
        "`on_stale: continue` needs a release that is signed as critical_security; {release} is not"
    )]
    MayNotContinue {
        /// The release.
        release: ReleaseName,
    },
    /// There is no rollout to supersede, or several.
    #[error(
        "`supersedes: {release}` fits {found} rollouts that are under way; name one by its number"
    )]
    SupersedesUnclear {
        /// The release.
        release: ReleaseName,
        /// How many are under way.
        found: usize,
    },
}

impl RolloutFile {
    /// The rollout that the file asks for in a cluster.
    ///
    /// # Errors
    /// The file does not fit what the cluster knows.
    pub(crate) fn resolve(&self, state: &State) -> Result<RolloutSpec, ResolveError> {
        let manifest = self.manifest(state)?;
        self.check_manifest(manifest)?;
        let supersedes = self
            .supersedes
            .as_ref()
            .map(|named| superseded(named, state))
            .transpose()?;
        let config = state.config();
        Ok(RolloutSpec {
            release: self.release.clone(),
            audience: Audience {
                selectors: self.selectors(&manifest.audience),
                channels: self.audience.channels.clone(),
                from_versions: self.audience.from_versions.clone(),
            },
            waves: self.waves.clone(),
            rollback: self.rollback.clone(),
            start_at: self.start_at,
            supersedes,
            priority: self.priority,
            control: self.control,
            gate_scope: self.gate_scope,
            on_inconclusive: self.on_inconclusive,
            on_stale: self.on_stale,
            offer_ttl: self.offer_ttl.unwrap_or(config.offer_ttl),
            retry: self.retry,
            silent_max: self.silent_max,
            sample_min: self.sample_min,
            credit: self.credit.unwrap_or(config.credit),
            maintenance: self.maintenance.clone(),
            freezes: self.freezes.clone(),
            complete_after: self.complete_after,
        })
    }

    fn manifest<'a>(&self, state: &'a State) -> Result<&'a Manifest, ResolveError> {
        let registered = state.releases().get(&self.release);
        registered.map(|release| &release.manifest).ok_or_else(|| {
            let names = state.releases().iter().map(|(name, _)| name.as_str());
            let nearest = super::keys::nearest(self.release.as_str(), names);
            ResolveError::UnknownRelease {
                release: self.release.clone(),
                nearest: nearest.and_then(|name| name.parse().ok()),
            }
        })
    }

    fn check_manifest(&self, manifest: &Manifest) -> Result<(), ResolveError> {
        let release = self.release.clone();
        if manifest.kind != self.kind {
            let (existing, requested) = (manifest.kind, self.kind);
            return Err(ResolveError::OtherKind {
                release,
                existing,
                requested,
            });
        }
        if let Some(requested) = self.component.clone()
            && requested != manifest.component
        {
            let existing = manifest.component.clone();
            return Err(ResolveError::OtherComponent {
                release,
                existing,
                requested,
            });
        }
        let existing = manifest.critical_security;
        if let Some(requested) = self.critical_security
            && requested != existing
        {
            return Err(ResolveError::OtherUrgency {
                release,
                existing,
                requested,
            });
        }
        if self.on_stale == OnStale::Continue && !existing {
            return Err(ResolveError::MayNotContinue { release });
        }
        Ok(())
    }

    /// The selectors of the audience. What lists leave open is the release's; what is written out
    /// stands as it is written.
    fn selectors(&self, of_release: &Selector) -> BTreeSet<Selector> {
        let fill = |selector: &Selector| {
            let Selector {
                model,
                revision,
                region,
                carrier,
            } = selector.clone();
            Selector {
                model: model.or_else(|| of_release.model.clone()),
                revision: revision.or_else(|| of_release.revision.clone()),
                region: region.or_else(|| of_release.region.clone()),
                carrier: carrier.or_else(|| of_release.carrier.clone()),
            }
        };
        let mut selectors: BTreeSet<Selector> =
            self.audience.combinations.iter().map(fill).collect();
        selectors.extend(self.audience.variants.iter().cloned());
        if selectors.is_empty() {
            selectors.insert(of_release.clone());
        }
        selectors
    }
}

fn superseded(named: &Supersedes, state: &State) -> Result<RolloutId, ResolveError> {
    let release = match named {
        Supersedes::Rollout(id) => return Ok(*id),
        Supersedes::Release(release) => release,
    };
    let underway: Vec<RolloutId> = state
        .rollouts()
        .iter()
        .filter(|(_, rollout)| rollout.spec.release == *release && rollout.life.is_underway())
        .map(|(id, _)| *id)
        .collect();
    match underway.as_slice() {
        [only] => Ok(*only),
        several => Err(ResolveError::SupersedesUnclear {
            release: release.clone(),
            found: several.len(),
        }),
    }
}
