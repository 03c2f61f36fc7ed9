//! What is asked for seldom: keys that leaked, nodes that were lost, and what nobody may do, whoever
//! signs it.

use tidegate_domain::command::{RaiseStateVersion, RevokeKey, WriteOffBudget};
use tidegate_domain::id::{PublicKey, ReleaseName, SessionId, StateVersion};
use tidegate_domain::key::{KeyStatus, Role};
use tidegate_domain::node::SessionStatus;
use tidegate_domain::state::STATE_VERSION;
use tidegate_domain::testing::reason;

use super::{Draft, Operators};

impl Operators {
    /// A release key leaked. The threshold must be left: nothing could be released any more.
    pub(super) fn revocation(&mut self) -> Draft {
        let role = self.fleet.state.keys().role(Role::Release);
        let keys = role.into_iter().flat_map(|role| &role.keys);
        let trusted: Vec<PublicKey> = keys
            .filter(|(_, entry)| entry.status == KeyStatus::Trusted)
            .map(|(key, _)| *key)
            .collect();
        let needed = role.map_or(1, |role| usize::from(role.threshold));
        let leaked = self.dice.pick(&trusted).copied();
        let Some(key) = leaked.filter(|_| trusted.len() > needed) else {
            return self.release();
        };
        let revocation = RevokeKey {
            key,
            reason: reason(),
            strand: true,
        };
        self.draft("revocation", revocation)
    }

    /// A decision node is believed to be lost, rightly or not.
    pub(super) fn write_off(&mut self) -> Draft {
        let sessions = self.fleet.state.sessions().iter();
        let mut lost: Vec<SessionId> = sessions
            .filter(|(_, session)| session.status == SessionStatus::Open)
            .map(|(id, _)| *id)
            .collect();
        if !self.dice.one_in(4) {
            // What is written off are the admissions that a session holds.
            let budgets = self.fleet.state.budgets().iter();
            let holders = budgets.filter(|(_, budget)| budget.held() > 0);
            let holders: Vec<SessionId> = holders.map(|(key, _)| key.session).collect();
            lost.retain(|session| holders.contains(session));
        }
        let Some(session) = self.dice.pick(&lost).copied() else {
            return self.release();
        };
        let write_off = WriteOffBudget {
            session,
            reason: reason(),
        };
        self.draft("write off", write_off)
    }

    /// All root keys in one hand, and a number that is left out.
    pub(super) fn skipped_epoch(&mut self) -> Draft {
        let mut draft = self.rotation(2);
        draft.what = "skipped epoch";
        draft
    }

    /// Rules that no build knows, or that are in force already.
    pub(super) fn unknown_rules(&mut self) -> Draft {
        let ahead = u32::from(self.dice.one_in(2));
        let version = StateVersion(STATE_VERSION.0 + ahead);
        self.draft("unknown rules", RaiseStateVersion { version })
    }

    pub(super) fn is_critical(&self, release: &str) -> bool {
        let name = ReleaseName::new(release).ok();
        let release = name.and_then(|name| self.fleet.state.releases().get(&name));
        release.is_some_and(|release| release.manifest.critical_security)
    }
}
