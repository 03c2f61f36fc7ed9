//! One simulated file: what is durable, what the system reads, and the changes between the two.

#[derive(Debug, Default)]
pub(super) struct File {
    /// What survives a power loss for certain.
    pub(super) durable: Vec<u8>,
    /// What the running system reads.
    pub(super) view: Vec<u8>,
    /// What lies between the two, in order.
    pub(super) unsynced: Vec<Change>,
}

#[derive(Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// What the hardware keeps or loses as a whole.
pub(super) const SECTOR_BYTES: usize = 512;

impl File {
    /// A file of which nothing can be lost.
    pub(super) fn synced(bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            view: bytes,
            unsynced: Vec::new(),
        }
    }

    pub(super) fn persist(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { offset, bytes } => write_at(&mut self.durable, offset, &bytes),
                Change::SetLen(len) => self.durable.resize(len, 0),
            }
        }
    }

    pub(super) fn lose_unsynced(&mut self, survives: &mut dyn FnMut() -> bool) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::SetLen(len) if survives() => self.durable.resize(len, 0),
                Change::SetLen(_) => {}
                Change::Write { offset, bytes } => {
                    for (at, sector) in sectors(offset, &bytes) {
                        if survives() {
                            write_at(&mut self.durable, at, sector);
                        }
                    }
                }
            }
        }
        self.view.clone_from(&self.durable);
    }
}

/// Splits a write at the sector boundaries of the device.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let head = (SECTOR_BYTES - offset % SECTOR_BYTES).min(bytes.len());
    let (first, rest) = bytes.split_at(head);
    let tail = rest.chunks(SECTOR_BYTES).enumerate();
    let tail = tail.map(move |(n, sector)| (offset + head + n * SECTOR_BYTES, sector));
    std::iter::once((offset, first)).chain(tail)
}

pub(super) fn write_at(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[offset..end].copy_from_slice(bytes);
}
