//! Reads the entries of a bundle one by one through a buffer of fixed size.

use std::io::{self, Read};

use crate::entry::ENTRY_BYTES_MAX;

/// Size of the buffer: holds the largest entry, and reads an ordinary bundle in one go.
pub(super) const FRAME_BUFFER_BYTES: usize = 128 * 1024;
const LENGTH_BYTES: usize = 2;
const _: () = assert!(FRAME_BUFFER_BYTES >= LENGTH_BYTES + ENTRY_BYTES_MAX);

/// A buffer that is used for one bundle after the other.
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Bytes in the buffer that are read but not yet given out: `start..end`.
    start: usize,
    end: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; FRAME_BUFFER_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// Forgets what is left of the bundle before.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// The next entry with a byte 0x00 before it, which makes it the input of its leaf hash (the
    /// byte was the end of its length); or `None` if the bundle ends before the end of one.
    pub(super) fn next(&mut self, file: &mut dyn Read) -> io::Result<Option<&[u8]>> {
        if !self.fill(file, LENGTH_BYTES)? {
            return Ok(None);
        }
        let length = self
            .pending()
            .first_chunk()
            .map_or(0, |length| u16::from_be_bytes(*length));
        let frame = LENGTH_BYTES.saturating_add(usize::from(length));
        if !self.fill(file, frame)? {
            return Ok(None);
        }
        let prefix = self.start.saturating_add(LENGTH_BYTES - 1);
        self.start = self.start.saturating_add(frame);
        if let Some(byte) = self.buffer.get_mut(prefix) {
            *byte = 0x00;
        }
        Ok(self.buffer.get(prefix..self.start))
    }

    /// Whether the bundle has no more bytes.
    pub(super) fn is_at_end(&mut self, file: &mut dyn Read) -> io::Result<bool> {
        Ok(!self.fill(file, 1)?)
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until at least `bytes` are pending; false if the file ends before.
    fn fill(&mut self, file: &mut dyn Read, bytes: usize) -> io::Result<bool> {
        if self.pending().len() >= bytes {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        while self.end < bytes {
            let Some(room) = self.buffer.get_mut(self.end..) else {
                return Ok(false);
            };
            match file.read(room) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end = self.end.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
