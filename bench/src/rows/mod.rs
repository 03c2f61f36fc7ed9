//! The rows of the table.

mod closed;
mod fanout;
mod fleet;
mod follow;
mod gaps;
mod restart;
mod sessions;

use std::time::Duration;

use anyhow::Result;

use crate::contest::Contest;
use crate::load::Task;
use crate::probe::{Head, Probe};
use crate::report::{Missing, Row};
use crate::system::Work;
use closed::{BesideWriters, BytesWritten, Closed};
use fanout::Fanout;
pub(crate) use gaps::LOOPBACK_GAP;
use gaps::{Gap, Loss};
use restart::Restart;
use sessions::Doing;

/// What to measure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Only rows of these names; all if empty.
    pub(crate) names: Vec<String>,
    /// Only rows of so many clients; all if empty.
    pub(crate) clients: Vec<usize>,
}

impl Choice {
    /// Whether rows of this name are asked for.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|chosen| chosen == name)
    }

    fn has(&self, head: Head) -> bool {
        let clients = self.clients.is_empty() || self.clients.contains(&head.clients);
        clients && self.has_name(head.name)
    }

    /// The first name that no row has.
    pub(crate) fn unknown(&self) -> Option<&str> {
        let known = names();
        self.names
            .iter()
            .map(String::as_str)
            .find(|name| !known.contains(name))
    }
}

/// Every way to measure, in the order of the table: those that fill the logs come first, so that a
/// restart has something to read.
enum Any {
    Closed(Closed),
    Bytes(BytesWritten),
    Beside(BesideWriters),
    Fanout(Fanout),
    Gap(Gap),
    Restart(Restart),
}

impl Any {
    fn head(&self) -> Head {
        match self {
            Self::Closed(probe) => probe.head(),
            Self::Bytes(probe) => probe.head(),
            Self::Beside(probe) => probe.head(),
            Self::Fanout(probe) => probe.head(),
            Self::Gap(probe) => probe.head(),
            Self::Restart(probe) => probe.head(),
        }
    }

    async fn compare(&self, contest: &mut Contest) -> Result<Row> {
        match self {
            Self::Closed(probe) => contest.compare(probe).await,
            Self::Bytes(probe) => contest.compare(probe).await,
            Self::Beside(probe) => contest.compare(probe).await,
            Self::Fanout(probe) => contest.compare(probe).await,
            Self::Gap(probe) if probe.loopback => contest.compare_loopback(probe).await,
            Self::Gap(probe) => contest.compare(probe).await,
            Self::Restart(probe) => contest.compare(probe).await,
        }
    }
}

fn probes(lasts: Duration) -> Vec<Any> {
    let closed = |name, task, clients: &[usize]| {
        let probe = |clients: &usize| {
            Any::Closed(Closed {
                name,
                task,
                clients: *clients,
                lasts,
            })
        };
        clients.iter().map(probe).collect::<Vec<_>>()
    };
    let mut probes = closed("write", Task::Write(Work::Plain), &[1, 16, 64, 256]);
    probes.push(Any::Bytes(BytesWritten { lasts }));
    probes.extend(closed(
        "write_signed",
        Task::Write(Work::Signed),
        &[64, 256],
    ));
    probes.extend(closed("linearizable_read", Task::Read, &[64, 256]));
    probes.push(Any::Beside(BesideWriters { lasts }));
    probes.extend([1, 100, 1_000].map(|watchers| Any::Fanout(Fanout { watchers, lasts })));
    let gaps = [
        (Loss::Killed, false),
        (Loss::Killed, true),
        (Loss::Planned, false),
    ];
    probes.extend(gaps.map(|(loss, loopback)| Any::Gap(Gap { loss, loopback })));
    probes.push(Any::Restart(Restart));
    probes
}

/// The names of all rows.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = probes(Duration::ZERO)
        .iter()
        .map(|p| p.head().name)
        .collect();
    names.dedup();
    names.push(follow::HEAD.name);
    names.extend(Doing::ALL.map(|doing| doing.head().name));
    names
}

/// Measures what was chosen. A row that fails is missing, and does not keep others from being
/// measured.
pub(crate) async fn run(
    contest: &mut Contest,
    choice: &Choice,
    lasts: Duration,
) -> (Vec<Row>, Vec<Missing>) {
    let (mut rows, mut missing) = (Vec::new(), Vec::new());
    let mut keep = |head: Head, result: Result<Row>| match result {
        Ok(row) => {
            eprintln!(
                "{} at {}: {:.2} {}",
                head.name, head.clients, row.ours.value, head.unit
            );
            rows.push(row);
        }
        Err(error) => {
            eprintln!("{} at {} failed: {error:#}", head.name, head.clients);
            missing.push(Missing {
                name: format!("{} at {}", head.name, head.clients),
                why: format!("{error:#}"),
            });
        }
    };
    for probe in probes(lasts) {
        if choice.has(probe.head()) {
            keep(probe.head(), probe.compare(contest).await);
        }
    }
    if choice.has(follow::HEAD) {
        keep(follow::HEAD, follow::row(contest, lasts).await);
    }
    for doing in Doing::ALL {
        if choice.has(doing.head()) {
            keep(doing.head(), sessions::row(contest, doing, lasts).await);
        }
    }
    (rows, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_that_is_asked_for_has_its_place() {
        let names = names();
        for name in [
            "write",
            "write_signed",
            "session_rows",
            "session_grants",
            "linearizable_read",
            "read_beside_writers",
            "watch_fanout",
            "leader_kill_gap",
            "leader_kill_gap_loopback",
            "planned_transfer",
            "restart",
            "follow_view",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn one_chooses_by_name_and_clients() {
        let choice = |names: &[&str], clients: &[usize]| Choice {
            names: names.iter().map(ToString::to_string).collect(),
            clients: clients.to_vec(),
        };
        let chosen = |choice: &Choice| {
            let probes = probes(Duration::ZERO);
            probes.iter().filter(|p| choice.has(p.head())).count()
        };
        assert_eq!(chosen(&choice(&["write"], &[])), 4);
        assert_eq!(chosen(&choice(&["write", "restart"], &[64])), 1);
        assert_eq!(chosen(&choice(&[], &[1_000])), 1);
        assert_eq!(choice(&["write", "wrote"], &[]).unknown(), Some("wrote"));
        assert_eq!(choice(&["session_rows"], &[]).unknown(), None);
    }
}
