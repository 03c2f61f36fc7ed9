//! Which release a device would really get, as plain as can be.
use super::*;

impl<'a> Scan<'a> {
    fn allowed(&self, given: &Release, running: &Running, offers: bool) -> bool {
        let manifest = &given.manifest;
        let (traits, own) = (&self.variant.traits, manifest.security_version);
        let barred = self.state.bars().iter().any(|(_, bar)| {
            let channels = &bar.audience.channels;
            bar.release == manifest.name
                && bar.audience.matches(traits)
                && (channels.is_empty() || channels.contains(&self.check_in.channel))
        });
        !barred
            && offerable(self.state, given).is_ok()
            && own >= floor_of(self.state, &manifest.component, traits)
            && running.floor.is_none_or(|floor| own >= floor)
            && (!offers || own >= running.security_version)
    }

    pub(super) fn way(
        &self,
        candidate: &Candidate<'a>,
        running: &Running,
    ) -> Result<(&'a Release, &'a Payload), Skip> {
        let offers = candidate.kind != Kind::Return;
        let wanted = candidate.given;
        let reaches = |release: &Release| {
            let range = release.manifest.upgradable_from.as_ref();
            range.is_none_or(|range| range.contains(&running.version))
        };
        let given = if !offers || reaches(wanted) {
            wanted
        } else {
            self.stone(wanted, running).ok_or(NOTHING)?
        };
        if !self.allowed(wanted, running, offers) || !self.allowed(given, running, offers) {
            return Err(NOTHING);
        }
        let payload = given.payload_for(&self.variant.traits).ok_or(NOTHING)?;
        Ok((given, payload))
    }

    /// The first hop of the shortest path; of several, the newest release.
    fn stone(&self, target: &Release, running: &Running) -> Option<&'a Release> {
        let stock = || {
            let all = self.state.releases().iter().map(|(_, release)| release);
            all.filter(|r| {
                r.manifest.component == target.manifest.component
                    && r.status == tidegate_domain::release::ReleaseStatus::Registered
            })
        };
        let leads = |from: &Release, to: &Release| {
            let range = to.manifest.upgradable_from.as_ref();
            from.manifest.version < to.manifest.version
                && range.is_some_and(|range| range.contains(&from.manifest.version))
        };
        let mut frontier = vec![target];
        for _ in 0..8 {
            let mut hop: Vec<&'a Release> = stock()
                .filter(|r| frontier.iter().any(|to| leads(r, to)))
                .collect();
            hop.sort_by_key(|release| Reverse(release.manifest.version.clone()));
            let first = hop.iter().find(|stone| {
                let range = stone.manifest.upgradable_from.as_ref();
                stone.manifest.version > running.version
                    && range.is_none_or(|range| range.contains(&running.version))
            });
            if let Some(first) = first {
                return Some(first);
            }
            frontier = hop;
        }
        None
    }
}
