//! Reads a log file batch by batch, with their bytes: in pieces of one size, or of the size of a batch that is larger.

use std::fs::File;
use std::path::Path;

use ottla_base::Offset;
use ottla_protocol::records::{HEADER_BYTES, crc_of};

use crate::error::{Error, Result};
use crate::os;
use crate::segment::BatchAt;
use crate::segment::scan::header_of;

/// The batches of a sealed segment, whole.
#[derive(Debug)]
pub struct Reading<'a> {
    file: &'a File,
    path: &'a Path,
    /// Where the next batch begins, and all end.
    position: u32,
    end: u32,
    last_offset: Option<Offset>,
    piece_bytes: usize,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_position: u32,
    /// What was read from the file since somebody asked.
    fresh_bytes: usize,
}

impl<'a> Reading<'a> {
    /// Of the first `end` bytes of a file, in pieces of `piece_bytes`.
    pub fn new(file: &'a File, path: &'a Path, end: u32, piece_bytes: usize) -> Self {
        let (position, buffer_position) = (0, 0);
        let piece_bytes = piece_bytes.max(HEADER_BYTES);
        Self {
            file,
            path,
            position,
            end,
            last_offset: None,
            piece_bytes,
            buffer: Vec::new(),
            buffer_position,
            fresh_bytes: 0,
        }
    }

    /// The next batch and its bytes, whose checksum holds; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` if no whole batch begins here: compaction must not copy damage.
    pub fn next(&mut self) -> Result<Option<(BatchAt, &[u8])>> {
        if self.is_at_end() {
            return Ok(None);
        }
        let position = self.position;
        let remaining = (self.end - position) as usize;
        self.fill(HEADER_BYTES.min(remaining))?;
        let found = header_of(self.rest(), remaining, self.last_offset);
        let (header, size) = found.map_err(|detail| self.corrupt(&detail))?;
        self.fill(size as usize)?;
        let batch = BatchAt { position, size, header };
        if crc_of(&self.rest()[..size as usize]) != header.crc {
            return Err(self.corrupt(&format!("the batch of offset {} has a wrong checksum", header.base_offset)));
        }
        self.position = batch.end();
        self.last_offset = Some(batch.last_offset());
        let from = (position - self.buffer_position) as usize;
        Ok(Some((batch, &self.buffer[from..from + size as usize])))
    }

    /// How many bytes were read from the file since this was asked last.
    pub fn take_fresh_bytes(&mut self) -> usize {
        std::mem::take(&mut self.fresh_bytes)
    }

    /// Whether the last batch was read.
    pub fn is_at_end(&self) -> bool {
        self.position == self.end
    }

    /// What of the buffer was not read yet.
    fn rest(&self) -> &[u8] {
        &self.buffer[(self.position - self.buffer_position) as usize..]
    }

    /// Reads on until `wanted` bytes are there.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        let kept = self.rest().len();
        if kept >= wanted {
            return Ok(());
        }
        let from = self.buffer.len() - kept;
        self.buffer.copy_within(from.., 0);
        self.buffer_position = self.position;
        let length = wanted.max(self.piece_bytes).min((self.end - self.position) as usize);
        self.buffer.resize(length, 0);
        // A batch that was larger than a piece is behind us.
        self.buffer.shrink_to(self.piece_bytes);
        let read = os::read_at_most(self.file, &mut self.buffer[kept..], u64::from(self.position) + kept as u64);
        let count = read.map_err(Error::io("read", self.path))?;
        self.buffer.truncate(kept + count);
        self.fresh_bytes += count;
        match kept + count < wanted {
            true => Err(self.corrupt("the file ends before the segment does")),
            false => Ok(()),
        }
    }

    fn corrupt(&self, detail: &str) -> Error {
        Error::corrupt(self.path, format!("at position {}: {detail}", self.position))
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::records::BatchBuilder;

    use super::*;

    fn batch(base: i64, value_bytes: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(Offset(base));
        builder.push(0, Some(b"key"), Some(&vec![b'v'; value_bytes]), &[]);
        builder.build().unwrap()
    }

    fn read(bytes: &[u8], piece_bytes: usize) -> Result<Vec<Vec<u8>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        let mut reading = Reading::new(&file, &path, bytes.len() as u32, piece_bytes);
        let mut found = Vec::new();
        while let Some((_, bytes)) = reading.next()? {
            found.push(bytes.to_vec());
        }
        assert!(reading.is_at_end());
        Ok(found)
    }

    #[test]
    fn batches_come_whole_in_pieces_of_any_size() {
        let batches: Vec<Vec<u8>> = [10, 5000, 0, 300, 70].iter().zip(0..).map(|(&size, at)| batch(at, size)).collect();
        for piece_bytes in [0, 1, 61, 100, 400, 5000, 1 << 20] {
            assert_eq!(read(&batches.concat(), piece_bytes).unwrap(), batches, "{piece_bytes}");
        }
        assert!(read(&[], 100).unwrap().is_empty());
    }

    #[test]
    fn damage_is_an_error_that_says_where() {
        let good = [batch(0, 10), batch(1, 10)].concat();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let backwards = [batch(5, 10), batch(5, 10)].concat();
        for bytes in [&flipped[..], &backwards, &good[..good.len() - 1], &good[..good.len() / 2 + 20]] {
            let error = read(bytes, 100).unwrap_err();
            assert!(error.to_string().contains(&format!("at position {}", good.len() / 2)), "{error}");
        }
    }
}
