//! The highest position ever seen, kept across restarts.

use std::io;
use std::sync::Arc;

use tidegate_domain::id::Incarnation;
use tidegate_runtime::disk::Disk;
use tidegate_runtime::{AsyncRuntime as _, Rt, blocking};

use crate::Position;

/// File that holds the mark.
const FILE: &str = "high-water";
const HEADING: &str = "tidegate high water v1";

/// Remembers the highest position whose state was ever used, so that after a restart nothing below
/// it is accepted: a halt once seen stays seen.
#[derive(Clone, Debug)]
pub struct HighWater {
    disk: Arc<dyn Disk>,
    mark: Option<Position>,
}

impl HighWater {
    /// Reads the mark from `disk`.
    ///
    /// # Errors
    /// The disk failed, or the file is not what this code writes; deleting it gives up the promise
    /// that no older state is accepted.
    pub async fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let reader = Arc::clone(&disk);
        let bytes = blocking(move || reader.read(FILE)).await??;
        let mark = bytes.map(|bytes| parse(&bytes)).transpose()?;
        Ok(Self { disk, mark })
    }

    /// The highest position seen, if any.
    #[must_use]
    pub const fn mark(&self) -> Option<Position> {
        self.mark
    }

    /// Whether a state at `position` may be used.
    #[must_use]
    pub fn allows(&self, position: Position) -> bool {
        self.mark.is_none_or(|mark| position >= mark)
    }

    /// Raises the mark, durable on return; a lower position changes nothing.
    ///
    /// Never further than to what is about to be used. A mark raised ahead would save writes, but
    /// after a crash nobody could tell it from one that was reached: either the node refuses honest
    /// state until the cluster gets there, or it takes state below what it used. Who follows a busy
    /// store folds much, and raises the mark once for all of it.
    ///
    /// # Errors
    /// The disk failed; the mark is then as it was.
    pub async fn raise(&mut self, position: Position) -> io::Result<()> {
        if self.mark.is_some_and(|mark| mark >= position) {
            return Ok(());
        }
        Rt::sleep(self.disk.sync_delay()).await;
        let writer = Arc::clone(&self.disk);
        blocking(move || {
            writer.replace(FILE, print(position).as_bytes())?;
            writer.sync_names()
        })
        .await??;
        self.mark = Some(position);
        Ok(())
    }
}

fn print(position: Position) -> String {
    let Position {
        incarnation,
        entries,
    } = position;
    format!("{HEADING}\nincarnation {incarnation}\nentries {entries}\n")
}

fn parse(bytes: &[u8]) -> io::Result<Position> {
    let damaged = || {
        let what = format!("the file `{FILE}` is damaged");
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let number = |name| {
        let line = text.lines().find_map(|line: &str| line.strip_prefix(name));
        line.and_then(|value| value.parse().ok())
            .ok_or_else(damaged)
    };
    let position = Position {
        incarnation: Incarnation(number("incarnation ")?),
        entries: number("entries ")?,
    };
    if print(position) == text {
        return Ok(position);
    }
    Err(damaged())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::disk::SimDisk;

    fn at(life: u64, entries: u64) -> Position {
        Position {
            incarnation: Incarnation(life),
            entries,
        }
    }

    #[tokio::test]
    async fn the_mark_only_rises_and_survives_a_restart() {
        let disk = SimDisk::new();
        let mut mark = HighWater::open(Arc::new(disk.mount())).await.unwrap();
        assert!(mark.allows(at(1, 0)));
        mark.raise(at(1, 7)).await.unwrap();
        mark.raise(at(1, 5)).await.unwrap();
        let mark = HighWater::open(Arc::new(disk.mount())).await.unwrap();
        assert_eq!(mark.mark(), Some(at(1, 7)));
        assert!(!mark.allows(at(1, 6)));
        assert!(mark.allows(at(1, 7)));
        assert!(mark.allows(at(2, 0)), "a restored cluster may be shorter");
    }

    #[tokio::test]
    async fn a_damaged_mark_is_refused() {
        let disk = SimDisk::new();
        for text in [
            "",
            "entries 7",
            "tidegate high water v1\nincarnation 1\nentries 07\n",
        ] {
            disk.mount().replace(FILE, text.as_bytes()).unwrap();
            let opened = HighWater::open(Arc::new(disk.mount())).await;
            assert!(opened.is_err(), "{text:?}");
        }
    }
}
