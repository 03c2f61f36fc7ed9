//! Looks into bodies: detached ones against their commitments, known kinds for their form, and
//! what they mean through the caller's [`BodyVerifier`].

use std::collections::BTreeMap;

use super::report::{DetachedCount, Fault, OPAQUE_KINDS_MAX, OpaqueKind, Report};
use super::walk::bundle;
use super::{Body, BodyFault, BodyVerifier, Stop, file};
use crate::canonical;
use crate::detached::{BODY_BYTES_MAX, Commitment, DetachedBody, DetachedError, PREFIX_BYTES};
use crate::directory::Directory;
use crate::entry::{Entry, Kind, VERSION};
use crate::tiles::{LevelTiles, TILE_WIDTH};

pub(super) struct Contents<'a, D: ?Sized> {
    pub(super) directory: &'a D,
    /// Where entries stand.
    bundles: LevelTiles,
    allow_absent: bool,
    bodies: &'a mut dyn BodyVerifier,
    opaque: BTreeMap<(u8, Kind), OpaqueKind>,
    detached: DetachedCount,
}

impl<'a, D: Directory + ?Sized> Contents<'a, D> {
    pub(super) fn new(
        directory: &'a D,
        bundles: LevelTiles,
        allow_absent: bool,
        bodies: &'a mut dyn BodyVerifier,
    ) -> Self {
        let (opaque, detached) = (BTreeMap::new(), DetachedCount::default());
        Self {
            directory,
            bundles,
            allow_absent,
            bodies,
            opaque,
            detached,
        }
    }

    /// Checks the body of an entry whose hashes were checked; `bundle` is where it stands.
    pub(super) fn check(&mut self, entry: &Entry<'_>, bundle: &str) -> Result<(), Stop> {
        let index = entry.header.index;
        let bad = |fault: Fault| Stop::bad(index, bundle, fault);
        let detached = if entry.header.detached {
            let commitment = Commitment::decode(entry.body).map_err(|error| bad(error.into()))?;
            self.fetch(index, &commitment)?
        } else {
            None
        };
        let body = match &detached {
            Some(detached) => Body::Detached(detached.body()),
            None if entry.header.detached => Body::Absent,
            None => Body::Inline(entry.body),
        };
        let form = match body {
            Body::Inline(bytes) | Body::Detached(bytes) => canonical::check(bytes),
            Body::Absent => Ok(()),
        };
        if !self.bodies.knows(entry.header.kind) {
            self.count_opaque(VERSION, entry.header.kind, form.is_err());
            return Ok(());
        }
        form.map_err(|error| bad(error.into()))?;
        let checked = self.bodies.check(entry, body);
        checked.map_err(|fault| self.refused(fault))
    }

    /// Checks what was kept for later.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        let finished = self.bodies.finish();
        finished.map_err(|fault| self.refused(fault))
    }

    fn refused(&self, fault: BodyFault) -> Stop {
        let bundle = bundle(self.bundles, fault.index / TILE_WIDTH);
        Stop::bad(fault.index, bundle.path(), fault.into())
    }

    fn fetch(&mut self, index: u64, commitment: &Commitment) -> Result<Option<DetachedBody>, Stop> {
        let path = commitment.path();
        let bad = |fault: Fault| Stop::bad(index, &path, fault);
        let limit = PREFIX_BYTES.saturating_add(BODY_BYTES_MAX);
        let Some(bytes) = file(self.directory, &path, limit)? else {
            self.detached.absent = self.detached.absent.saturating_add(1);
            return if self.allow_absent {
                Ok(None)
            } else {
                Err(bad(Fault::Missing))
            };
        };
        let body = DetachedBody::from_file(bytes).map_err(|error| bad(error.into()))?;
        if body.commitment() != commitment {
            return Err(bad(DetachedError::Mismatch.into()));
        }
        self.detached.present = self.detached.present.saturating_add(1);
        Ok(Some(body))
    }

    pub(super) fn count_opaque(&mut self, version: u8, kind: Kind, not_deterministic: bool) {
        let key = (version, kind);
        if self.opaque.len() >= OPAQUE_KINDS_MAX && !self.opaque.contains_key(&key) {
            return;
        }
        let none = OpaqueKind {
            version,
            kind,
            entries: 0,
            not_deterministic: 0,
        };
        let opaque = self.opaque.entry(key).or_insert(none);
        opaque.entries = opaque.entries.saturating_add(1);
        opaque.not_deterministic = opaque
            .not_deterministic
            .saturating_add(u64::from(not_deterministic));
    }

    pub(super) fn count_into(self, report: &mut Report) {
        report.opaque = self.opaque.into_values().collect();
        report.detached = self.detached;
    }
}
