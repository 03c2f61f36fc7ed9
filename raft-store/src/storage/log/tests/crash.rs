//! A crash at every operation of the disk, over random histories: whatever was acknowledged is
//! there afterwards, and nothing that was not asked for.

use std::collections::VecDeque;

use super::*;

/// What a log is asked for.
#[derive(Clone, Debug)]
enum Step {
    /// So many entries of this term, in one request each, so that they may share a group.
    Append { term: u64, sizes: Vec<usize> },
    /// Keeps so many of the entries that are not purged.
    Truncate { keep: u64 },
    /// Purges so many of them.
    Purge { count: u64 },
    /// Votes in this term.
    Vote { term: u64 },
    /// Notes the last entry as committed, and waits for nothing.
    Committed,
}

/// What a log should hold: written from what openraft documents, not from the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    term_voted: u64,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// Place and size.
    entries: VecDeque<(LogId, usize)>,
}

impl Model {
    fn next(&self) -> u64 {
        next_index(self.last.as_ref())
    }

    fn append(&mut self, term: u64, size: usize) {
        let id = at(term, self.next());
        self.entries.push_back((id, size));
        self.last = Some(id);
    }

    fn truncate(&mut self, keep: u64) -> Option<LogId> {
        self.entries.truncate(keep as usize);
        self.last = self.entries.back().map_or(self.purged, |(id, _)| Some(*id));
        self.last
    }

    fn purge(&mut self, count: u64) -> Option<LogId> {
        for _ in 0..count.min(self.entries.len() as u64) {
            self.purged = self.entries.pop_front().map(|(id, _)| id);
        }
        self.purged
    }

    async fn of(log: &mut LogStore) -> Self {
        let entries = log.try_get_log_entries(..).await.unwrap();
        let entry = |entry: &Entry| {
            let EntryPayload::Normal(proposal) = &entry.payload else {
                panic!("{entry:?}")
            };
            assert!(
                proposal
                    .command
                    .bytes()
                    .iter()
                    .all(|byte| *byte == fill(&entry.log_id))
            );
            (entry.log_id, proposal.command.bytes().len())
        };
        let state = log.get_log_state().await.unwrap();
        Self {
            term_voted: log.vote().map_or(0, |vote| vote.leader_id.term),
            purged: state.last_purged_log_id,
            last: state.last_log_id,
            entries: entries.iter().map(entry).collect(),
        }
    }
}

fn at(term: u64, index: u64) -> LogId {
    LogId {
        leader_id: CommittedLeader { term },
        index,
    }
}

fn fill(id: &LogId) -> u8 {
    (id.index * 7 + id.leader_id.term * 31 + 1) as u8
}

/// Steps of terms from this one on.
fn history(dice: &mut Dice, mut term: u64, steps: usize) -> Vec<Step> {
    let step = |_| match dice.below(16) {
        0 => {
            term += 1;
            Step::Vote { term }
        }
        1 => {
            // What replaces entries is of a later term.
            term += 1;
            Step::Truncate {
                keep: dice.below(12),
            }
        }
        2 => Step::Purge {
            count: dice.below(20),
        },
        3 => Step::Committed,
        _ => {
            let sizes = (0..=dice.below(3)).map(|_| match dice.below(12) {
                0 => dice.below(9_000) as usize,
                _ => dice.below(400) as usize,
            });
            let sizes = sizes.collect();
            Step::Append { term, sizes }
        }
    };
    (0..steps).map(step).collect()
}

/// Asks for one step. The states that it leads through go to `states`; it is acknowledged if this
/// answers `Ok`.
async fn ask(log: &mut LogStore, step: &Step, states: &mut Vec<Model>) -> io::Result<()> {
    let mut now = states.last().cloned().unwrap_or_default();
    match step {
        Step::Append { term, sizes } => {
            let mut waiting = Vec::new();
            for size in sizes {
                now.append(*term, *size);
                let log_id = now.last.unwrap();
                let command = Bytes::from(vec![fill(&log_id); *size]).into();
                let proposal = Proposal {
                    stamp_ms: log_id.index,
                    command,
                };
                let payload = EntryPayload::Normal(proposal);
                states.push(now.clone());
                let (done, flushed) = TypeConfig::oneshot();
                log.append([Entry { log_id, payload }], IOFlushed::signal(done))
                    .await?;
                waiting.push(flushed);
            }
            for flushed in waiting {
                flushed.await.map_err(io::Error::other)??;
            }
        }
        Step::Truncate { keep } => {
            let last = now.truncate(*keep);
            states.push(now);
            log.truncate_after(last).await?;
        }
        Step::Purge { count } => {
            if let Some(upto) = now.purge(*count) {
                let term = now.term_voted;
                states.push(now);
                log.purge(upto).await?;
                // It rides on what must be durable.
                vote(log, term).await?;
            }
        }
        Step::Vote { term } => {
            now.term_voted = *term;
            states.push(now);
            vote(log, *term).await?;
        }
        Step::Committed => log.save_committed(now.last).await?,
    }
    Ok(())
}

async fn vote(log: &mut LogStore, term: u64) -> io::Result<()> {
    let leader_id = LeaderId { term, voted_for: 1 };
    let committed = false;
    log.save_vote(&Vote {
        leader_id,
        committed,
    })
    .await
}

/// The states that the log may be in after a crash: as acknowledged last, or as asked for since.
struct Run {
    states: Vec<Model>,
    acknowledged: usize,
}

impl Run {
    async fn of(log: &mut LogStore, from: Model, history: &[Step]) -> Self {
        let mut run = Self {
            states: vec![from],
            acknowledged: 0,
        };
        for step in history {
            if ask(log, step, &mut run.states).await.is_err() {
                break;
            }
            run.acknowledged = run.states.len() - 1;
        }
        run
    }

    fn check(&self, found: &Model, context: &str) {
        let allowed = &self.states[self.acknowledged..];
        assert!(
            allowed.contains(found),
            "{context}: found {found:?}\nacknowledged {:?}\nof {} asked for",
            allowed[0],
            allowed.len() - 1
        );
    }
}

/// Starts until the power holds for so long.
async fn start_at_last(disk: &SimDisk, dice: &mut Dice, crashes: &mut u64) -> LogStore {
    loop {
        if dice.below(3) == 0 {
            disk.fail_power_after(dice.below(8));
        }
        match start(disk).await {
            Ok(log) => {
                disk.fail_power_never();
                return log;
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("power lost"), "{error}");
                disk.lose_power(&mut || dice.roll());
                *crashes += 1;
            }
        }
    }
}

/// Crashes at the `at`th change of the disk, and once more on the way on. Whether it came to that.
async fn crash(history: &[Step], at: u64, dice: &mut Dice, crashes: &mut u64) -> bool {
    let disk = SimDisk::new();
    let mut log = start(&disk).await.unwrap();
    disk.fail_power_after(at);
    let run = Run::of(&mut log, Model::default(), history).await;
    if run.acknowledged == run.states.len() - 1 {
        return false;
    }
    disk.lose_power(&mut || dice.roll());
    *crashes += 1;
    let mut log = start_at_last(&disk, dice, crashes).await;
    let found = Model::of(&mut log).await;
    run.check(&found, &format!("a crash at change {at}"));
    // The log goes on behind what was cut off.
    disk.fail_power_after(dice.below(30));
    let more = super::crash::history(dice, 1_000, 20);
    let run = Run::of(&mut log, found, &more).await;
    disk.lose_power(&mut || dice.roll());
    *crashes += 1;
    let mut log = start_at_last(&disk, dice, crashes).await;
    run.check(
        &Model::of(&mut log).await,
        &format!("a second crash after one at change {at}"),
    );
    true
}

#[test]
fn whatever_was_acknowledged_outlives_a_crash_at_every_operation() {
    let mut crashes = 0;
    for seed in 0..12 {
        run(async {
            let mut dice = Dice(seed);
            let history = history(&mut dice, 1, 60);
            for at in 0.. {
                if !crash(&history, at, &mut dice, &mut crashes).await {
                    assert!(at > 60, "seed {seed} has only {at} operations");
                    break;
                }
            }
        });
    }
    assert!(crashes > 1_500, "only {crashes} crashes happened");
}

/// A process that dies leaves what it wrote in the kernel's memory, where the next one finds it.
#[test]
fn what_a_killed_process_left_unsynced_is_durable_once_it_is_read() {
    run(async {
        let disk = SimDisk::new();
        let mut log = start(&disk).await.unwrap();
        append(&mut log, vec![entry(0, 300)]).await.unwrap();
        // The write is the next change, its sync is not reached.
        disk.fail_power_after(1);
        assert!(append(&mut log, vec![entry(1, 300)]).await.is_err());
        disk.kill();
        disk.fail_power_never();
        let mut log = start(&disk).await.unwrap();
        assert_eq!(indices(&mut log, 0..9).await, [0, 1]);
        disk.lose_power(&mut || 0);
        let mut log = start(&disk).await.unwrap();
        assert_eq!(indices(&mut log, 0..9).await, [0, 1]);
    });
}
