//! EPOCH-2: nothing is given to a device without a threshold of release signatures by distinct keys
//! that are trusted or retired, never revoked, in the epoch of the cited snapshot.
//!
//! Counted here from what the device was told, not with the domain's own count.

use std::collections::BTreeSet;

use tidegate_domain::key::{KeySet, KeyStatus, Role};

use super::{Chain, Oracle, Seen, Verdict};

/// Keeps the keys whenever they change.
#[derive(Debug, Default)]
pub(super) struct Epoch2 {
    /// Key sets by the entries that they cover.
    history: Vec<(u64, KeySet)>,
}

impl Oracle for Epoch2 {
    fn id(&self) -> &'static str {
        "EPOCH-2"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Entries { .. } => {
                let keys = chain.state().keys();
                let last = self.history.last();
                if last.is_none_or(|(_, last)| last.revision != keys.revision) {
                    self.history.push((chain.len(), keys.clone()));
                }
                Ok(())
            }
            Seen::Told {
                lane,
                device,
                answer,
                ..
            } => {
                let (Some(release), Some(entries)) = (&answer.release, answer.entries) else {
                    return Ok(());
                };
                let covers = |(from, _): &&(u64, KeySet)| *from <= entries;
                let Some((_, keys)) = self.history.iter().rev().find(covers) else {
                    return Ok(());
                };
                enough(keys, &answer.signers)
                    .map_err(|why| format!("{lane} gave {device} {release} at {entries}: {why}"))
            }
            _ => Ok(()),
        }
    }
}

fn enough(keys: &KeySet, signers: &[[u8; 32]]) -> Verdict {
    let Some(role) = keys.role(Role::Release) else {
        return Err("there are no release keys".to_owned());
    };
    let distinct: BTreeSet<&[u8; 32]> = signers.iter().collect();
    let good = distinct.iter().filter(|signer| {
        let status = role.keys.iter().find(|(key, _)| key.0 == ***signer);
        status.is_some_and(|(_, entry)| match entry.status {
            KeyStatus::Trusted | KeyStatus::Retired => true,
            KeyStatus::Revoked => false,
        })
    });
    let (good, needed) = (good.count(), usize::from(role.threshold));
    if good >= needed {
        return Ok(());
    }
    Err(format!(
        "{good} of {} signers count, epoch {} takes {needed}",
        distinct.len(),
        keys.epoch
    ))
}

#[cfg(test)]
mod tests {
    use tidegate_domain::command::RevokeKey;
    use tidegate_domain::testing::{Fleet, reason};

    use super::*;

    #[test]
    fn distinct_keys_count_that_are_not_revoked() {
        let mut fleet = Fleet::new();
        let key = |number| fleet.keys.public(Role::Release, number);
        let (a, b, stranger) = (key(0), key(1), key(7));
        assert_eq!(enough(fleet.state.keys(), &[a.0, b.0]), Ok(()));
        assert!(enough(fleet.state.keys(), &[a.0, a.0]).is_err());
        assert!(enough(fleet.state.keys(), &[a.0, stranger.0]).is_err());
        fleet.accept(RevokeKey {
            key: b,
            reason: reason(),
            strand: true,
        });
        assert!(enough(fleet.state.keys(), &[a.0, b.0]).is_err());
    }
}
