//! What needs no state is done ahead of an entry's turn, on all processors: decoding its body, and
//! verifying the signatures on its command.
use std::{collections::VecDeque, sync::mpsc};
use tidegate_audit_log::EntryHeader;
use tidegate_domain::Examined;
use tidegate_raft_store::storage::{Asked, AuditBody};

/// Larger messages never reach a log.
const OVERSIZED_BYTES_MAX: u64 = 256 << 20;
/// Entries that go to one processor at once.
const CHUNK_ENTRIES: usize = 64;
/// Bytes of bodies that do.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks under way for each processor, so that none waits for another.
const CHUNKS_EACH: usize = 4;
/// Bytes of bodies that are under way in all; one more chunk at most.
const BYTES_MAX: usize = 64 << 20;

/// An entry whose turn comes later.
pub(super) struct Noted {
    pub(super) header: EntryHeader,
    /// `None` if it is absent.
    pub(super) body: Option<Vec<u8>>,
}

/// An entry of which only is left what needs the state.
pub(super) struct Ready {
    pub(super) header: EntryHeader,
    pub(super) record: Record,
}

/// What an entry's body turned out to be.
pub(super) enum Record {
    Command(Box<AuditBody>, Examined),
    Membership(Box<AuditBody>),
    Absent,
    /// No record that a store writes, and why.
    Fault(String),
}

/// Entries under way, in their order.
#[derive(Default)]
pub(super) struct Ahead {
    under_way: VecDeque<Chunk>,
    filling: Vec<Noted>,
    filling_bytes: usize,
    /// Of all that is under way.
    bytes: usize,
}

struct Chunk {
    bytes: usize,
    done: mpsc::Receiver<Vec<Ready>>,
}

impl Ahead {
    /// Takes one more entry, and gives back the oldest ones once enough are under way.
    pub(super) fn push(&mut self, noted: Noted) -> Vec<Ready> {
        self.filling_bytes += noted.body.as_ref().map_or(0, Vec::len);
        self.filling.push(noted);
        if self.filling.len() < CHUNK_ENTRIES && self.filling_bytes < CHUNK_BYTES {
            return Vec::new();
        }
        self.send();
        let enough = CHUNKS_EACH * rayon::current_num_threads();
        if self.under_way.len() > enough || self.bytes > BYTES_MAX {
            return self.oldest().unwrap_or_default();
        }
        Vec::new()
    }

    /// Waits for the oldest entries under way; `None` if there are none.
    pub(super) fn next(&mut self) -> Option<Vec<Ready>> {
        if self.under_way.is_empty() && !self.filling.is_empty() {
            self.send();
        }
        self.oldest()
    }

    fn send(&mut self) {
        let (tell, done) = mpsc::sync_channel(1);
        let chunk = std::mem::take(&mut self.filling);
        let bytes = std::mem::take(&mut self.filling_bytes);
        self.bytes += bytes;
        self.under_way.push_back(Chunk { bytes, done });
        rayon::spawn(move || {
            let ready = chunk.into_iter().map(Noted::examine).collect();
            // Nobody waits any more once a fault was found.
            let _ = tell.send(ready);
        });
    }

    fn oldest(&mut self) -> Option<Vec<Ready>> {
        let chunk = self.under_way.pop_front()?;
        self.bytes -= chunk.bytes;
        let Ok(ready) = chunk.done.recv() else {
            unreachable!("a processor that panics ends the process");
        };
        Some(ready)
    }
}

impl Noted {
    fn examine(self) -> Ready {
        let Self { header, body } = self;
        let record = body.map_or(Record::Absent, |bytes| Record::read(&bytes));
        Ready { header, record }
    }
}

impl Record {
    fn read(bytes: &[u8]) -> Self {
        let body = match AuditBody::from_bytes(bytes) {
            Ok(body) => Box::new(body),
            Err(error) => {
                return Self::Fault(format!("the body is no record of a command: {error}"));
            }
        };
        let examined = match &body.asked {
            Asked::Command(command) => Examined::of(command),
            Asked::Membership(_) => return Self::Membership(body),
            // Refused by its length alone: any bytes of that length are refused alike.
            Asked::Oversized { bytes, .. } if *bytes <= OVERSIZED_BYTES_MAX => {
                let length = usize::try_from(*bytes).unwrap_or(usize::MAX);
                Examined::of(&vec![0; length])
            }
            Asked::Oversized { bytes, .. } => {
                return Self::Fault(format!("it records a command of {bytes} bytes"));
            }
        };
        Self::Command(body, examined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_audit_log::{ChainHash, Kind};

    fn noted(index: u64, bytes: usize) -> Noted {
        let header = EntryHeader {
            index,
            raft_term: 1,
            t_ms: 0,
            key_epoch: 0,
            kind: Kind(1),
            detached: false,
            prev_chain: ChainHash([0; 32]),
        };
        Noted {
            header,
            body: Some(vec![0xff; bytes]),
        }
    }

    #[test]
    fn entries_come_back_in_order_and_all_of_them() {
        for bytes in [0, 10, 100_000] {
            let mut ahead = Ahead::default();
            let mut came: Vec<u64> = Vec::new();
            for index in 0..3_000 {
                came.extend(
                    ahead
                        .push(noted(index, bytes))
                        .iter()
                        .map(|r| r.header.index),
                );
                assert!(ahead.bytes <= BYTES_MAX + CHUNK_BYTES + bytes);
            }
            while let Some(ready) = ahead.next() {
                assert!(ready.iter().all(|r| matches!(r.record, Record::Fault(_))));
                came.extend(ready.iter().map(|r| r.header.index));
            }
            assert!(came.iter().copied().eq(0..3_000), "{bytes}: {came:?}");
        }
    }
}
