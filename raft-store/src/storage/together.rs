//! Whether log and state of a directory are of one age.
//!
//! Either may have been put back from an older copy, which is sound in itself. The state remembers
//! with each sync how far the log was durable then, and what the node had voted: a log that is behind
//! that has forgotten something. A state that is behind the beginning of its log cannot be led on.
//! Two old copies of the same age tell nothing here; whoever counted on what was lost may.

use tidegate_mutant::{Mutant, is_on};

use super::{LogStore, STATE_FILE, StateStore};
use crate::types::{LogId, Vote};

/// What a log had for certain at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMark {
    /// The last vote.
    pub vote: Option<Vote>,
    /// The last entry that was in it and committed: what is not may be replaced, by a leader that
    /// never had it.
    pub committed: Option<LogId>,
}

/// Why log and state do not belong together. What a node does next is the same in all cases.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TogetherError {
    /// What lies between state and log is gone.
    #[error(
        "{STATE_FILE} ends with {state}, and the log begins after that: what lies between is not on \
         this disk any more. {STATE_FILE} is an older copy, or lost its end. {NEXT}"
    )]
    StateBehind {
        /// The last entry in the state.
        state: String,
    },
    /// The log lost entries.
    #[error(
        "the log ends with {log}, and {STATE_FILE} remembers that {mark} was committed with it: the \
         log is an older copy, or lost its end. {NEXT}"
    )]
    LogBehind {
        /// The last entry in the log.
        log: String,
        /// The last entry that was there.
        mark: String,
    },
    /// The log lost a vote.
    #[error(
        "the log remembers {log}, and {STATE_FILE} remembers {mark}: the log is an older copy, and \
         the node would vote twice. {NEXT}"
    )]
    VoteForgotten {
        /// The vote in the log.
        log: String,
        /// The vote that was there.
        mark: String,
    },
}

const NEXT: &str = "If files were moved just now and nothing ran since, put them back as they were; \
                    otherwise remove the node from the cluster and add this machine under a new \
                    number, with an empty directory";

/// Checks that a node can start on log and state.
///
/// # Errors
/// One of them is older than the other allows.
pub(crate) fn check(log: &LogStore, state: &StateStore) -> Result<(), TogetherError> {
    if is_on(Mutant::EmptiedLogAccepted) {
        return Ok(());
    }
    let applied = state.position().applied;
    if log.has_purged(applied.as_ref()) {
        return Err(TogetherError::StateBehind {
            state: entry(applied.as_ref()),
        });
    }
    state.log_mark().check(log.vote(), log.last())
}

impl LogMark {
    /// Checks that a log with this vote and this last entry has forgotten nothing.
    fn check(&self, after: Option<Vote>, last: Option<LogId>) -> Result<(), TogetherError> {
        let before = self.vote;
        // Votes only rise. Two of one term for different candidates are in no order, unless one of them
        // leads: whoever voted for the other one follows it.
        let goes_on = after >= before;
        if !goes_on {
            return Err(TogetherError::VoteForgotten {
                log: voted(after.as_ref()),
                mark: voted(before.as_ref()),
            });
        }
        if last < self.committed {
            return Err(TogetherError::LogBehind {
                log: entry(last.as_ref()),
                mark: entry(self.committed.as_ref()),
            });
        }
        Ok(())
    }
}

fn entry(id: Option<&LogId>) -> String {
    id.map_or_else(
        || "nothing".to_owned(),
        |id| format!("entry {} of term {}", id.index, id.leader_id.term),
    )
}

fn voted(vote: Option<&Vote>) -> String {
    vote.map_or_else(
        || "no vote".to_owned(),
        |vote| {
            let candidate = vote.leader_id;
            format!(
                "a vote for node {} in term {}",
                candidate.voted_for, candidate.term
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::rig::{at, vote};

    const MARK: LogMark = LogMark {
        vote: Some(vote(3)),
        committed: Some(at(2, 20)),
    };

    #[test]
    fn a_log_goes_on_from_its_mark() {
        for (term, last) in [(3, at(2, 20)), (3, at(3, 21)), (4, at(4, 21))] {
            assert_eq!(MARK.check(Some(vote(term)), Some(last)), Ok(()));
        }
        assert_eq!(LogMark::default().check(None, None), Ok(()));
        assert_eq!(LogMark::default().check(Some(vote(1)), None), Ok(()));
    }

    /// A state that is synced between an election and the first word of its winner notes a vote that the
    /// log rightly replaces within the term.
    #[test]
    fn whoever_won_the_term_is_followed_whomever_the_vote_was_for() {
        let won = vote(3);
        let mut lost = won;
        (lost.leader_id.voted_for, lost.committed) = (9, false);
        let mark = LogMark {
            vote: Some(lost),
            committed: None,
        };
        assert_eq!(mark.check(Some(won), None), Ok(()));
        let mut again = won;
        again.committed = false;
        let twice = mark.check(Some(again), None);
        assert!(twice.is_err(), "it voted for another candidate");
        let before = MARK.check(Some(again), MARK.committed);
        assert!(before.is_err(), "it had followed node 1 before");
    }

    #[test]
    fn a_log_that_is_behind_its_mark_is_refused_with_what_is_gone() {
        let check = |vote, last, says: &str| {
            let refused = MARK.check(vote, last).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
            assert!(refused.contains("under a new number"), "{refused}");
        };
        let last = MARK.committed;
        check(
            Some(vote(3)),
            Some(at(2, 19)),
            "ends with entry 19 of term 2",
        );
        check(Some(vote(4)), None, "ends with nothing");
        check(
            Some(vote(2)),
            last,
            "the log remembers a vote for node 1 in term 2",
        );
        check(None, last, "the log remembers no vote");
        let mut twice = vote(3);
        twice.leader_id.voted_for = 9;
        check(Some(twice), last, "a vote for node 9");
    }
}
