//! What somebody does to the files of a store node while it is down.

use std::collections::BTreeMap;

use tidegate_raft_store::storage::is_log_file;
use tidegate_runtime::disk::SimDisk;

use super::{LOG, Nemesis, ms};
use crate::schedule::Fault;
use crate::world::machine::Breakable as _;
use crate::world::store::Store;

/// Bytes of a page: what file systems lose as a whole.
const PAGE: usize = 4_096;

impl Nemesis {
    pub(super) fn strike_files(&self, fault: Fault) {
        match fault {
            Fault::EmptyFile { at, file, for_ms } => self.at(&at, |store| {
                self.world.spoil(&store);
                self.while_down(&store, for_ms, |files| {
                    set(files, &file, |bytes| bytes.clear())
                });
            }),
            Fault::CutFile {
                at,
                file,
                kept_ppm,
                for_ms,
            } => self.at(&at, |store| {
                store.machine.ruin();
                let kept = usize::try_from(kept_ppm).unwrap_or(0);
                self.while_down(&store, for_ms, |files| {
                    set(files, &file, |bytes| {
                        bytes.truncate(bytes.len() * kept / 1_000_000 / PAGE * PAGE);
                    });
                });
            }),
            Fault::SwapFile {
                at,
                file,
                with,
                for_ms,
            } => self.at(&at, |store| {
                let other = self.world.store(&with);
                let name = name_in(&store.machine.disk().copy(), &file);
                let theirs = other.and_then(|other| other.machine.disk().copy().remove(&name));
                // A node that is gone has no file to give.
                let Some(theirs) = theirs else {
                    return;
                };
                self.world.spoil(&store);
                self.while_down(&store, for_ms, |files| {
                    set(files, &file, |bytes| *bytes = theirs)
                });
            }),
            Fault::OldCopy {
                at,
                file,
                age_ms,
                for_ms,
            } => self.at(&at, |store| self.put_back(store, file, (age_ms, for_ms))),
            other => unreachable!("{other} is no fault of files"),
        }
    }

    /// Kills the node, changes its files, and starts it again after a while.
    fn while_down(
        &self,
        store: &Store,
        for_ms: u64,
        change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
    ) {
        let machine = &store.machine;
        machine.kill();
        self.stopped(machine.lane(), "killed, and somebody is at its files");
        let mut files = machine.disk().copy();
        change(&mut files);
        for (name, bytes) in files {
            machine.disk().put(&name, bytes);
        }
        machine.back_after(for_ms);
    }

    /// Copies one file or all of them now, and puts them back when the node has gone on for a while.
    fn put_back(&self, store: Store, file: Option<String>, (age_ms, for_ms): (u64, u64)) {
        let mut old = store.machine.disk().copy();
        if let Some(file) = file {
            old.retain(|name, _| *name == file || (file == LOG && is_log_file(name)));
        }
        let nemesis = self.clone();
        self.world.errands.spawn(async move {
            madsim::time::sleep(ms(age_ms)).await;
            if nemesis.is_over() {
                return;
            }
            store.machine.ruin();
            nemesis.while_down(&store, for_ms, |files| files.extend(old));
        });
    }
}

/// Changes a file if it is there.
fn set(files: &mut BTreeMap<String, Vec<u8>>, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let name = name_in(files, file);
    files.get_mut(&name).map(change).unwrap_or_default();
}

/// The file that is meant: of Raft's log the one that is written to.
fn name_in(files: &BTreeMap<String, Vec<u8>>, file: &str) -> String {
    let newest = || files.keys().rfind(|name| is_log_file(name)).cloned();
    let name = if file == LOG { newest() } else { None };
    name.unwrap_or_else(|| file.to_owned())
}

/// The file and place in it that a fault means, if there is such a file.
pub(super) fn place_in(disk: &SimDisk, file: &str, place_ppm: u32) -> Option<(String, usize)> {
    let is_meant = |name: &str| name == file || (file == LOG && is_log_file(name));
    let mut files = disk.files();
    files.retain(|(name, _)| is_meant(name));
    let length: usize = files.iter().map(|(_, len)| len).sum();
    let mut place = length * usize::try_from(place_ppm).unwrap_or(0) / 1_000_000;
    files.into_iter().find_map(|(name, len)| {
        if place < len {
            return Some((name, place));
        }
        place -= len;
        None
    })
}
