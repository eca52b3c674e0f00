//! One answer on its way out: encoded bytes, with pieces of log files between them.
//!
//! ```text
//!   size, header, fields | piece 0 of a log file | fields | piece 1 | fields
//! ```

use std::io;
use std::time::Duration;

use ottla_protocol::{ErrorCounts, Splice, Writer};
use ottla_storage::LogSlice;

use super::transport::{Taken, Transport};

/// An encoded answer, its size prefix included.
#[derive(Debug)]
pub struct Answer {
    encoded: Writer,
    slices: Vec<LogSlice>,
    taken: Taken,
    /// How long the client is to hold back; the connection is not read meanwhile (KIP-219).
    pub throttle: Duration,
}

impl Answer {
    /// The encoded frame, whose regions are `slices`, by index.
    pub fn new(encoded: Writer, slices: Vec<LogSlice>) -> Self {
        Self { encoded, slices, taken: Taken::default(), throttle: Duration::ZERO }
    }

    /// What errors it tells of.
    pub fn errors(&self) -> &ErrorCounts {
        &self.encoded.errors
    }

    /// The bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.encoded.buffer.capacity()
            + self.encoded.regions.capacity() * size_of::<Splice>()
            + self.slices.capacity() * size_of::<LogSlice>()
    }

    /// The bytes that are not in files.
    #[cfg(test)]
    pub fn encoded(&self) -> &[u8] {
        &self.encoded.buffer
    }

    /// Sends it.
    pub async fn send(&self, transport: &Transport) -> io::Result<()> {
        let (bytes, mut sent) = (&self.encoded.buffer, 0);
        for splice in &self.encoded.regions {
            let slice = &self.slices[splice.region.index as usize];
            assert_eq!(slice.length, splice.region.length, "the answer announces what the file gives");
            transport.write_all(&bytes[sent..splice.at], true, &self.taken).await?;
            transport.send_slice(slice, &self.taken).await?;
            sent = splice.at;
        }
        transport.write_all(&bytes[sent..], false, &self.taken).await
    }

    /// How much of it has been sent.
    pub fn taken_bytes(&self) -> u64 {
        self.taken.bytes()
    }
}
