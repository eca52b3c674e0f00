//! One answer on its way out: encoded bytes, with pieces of log files between them.
//!
//! ```text
//!   size, header, fields | piece 0 of a log file | fields | piece 1 | fields
//! ```

use std::io;
use std::time::Duration;

use ottla_protocol::Writer;
use ottla_storage::LogSlice;

use super::transport::Transport;

/// An encoded answer, its size prefix included.
#[derive(Debug)]
pub struct Answer {
    encoded: Writer,
    slices: Vec<LogSlice>,
    /// How long the client is to hold back; the connection is not read meanwhile (KIP-219).
    pub throttle: Duration,
}

impl Answer {
    /// The encoded frame, whose regions are `slices`, by index.
    pub fn new(encoded: Writer, slices: Vec<LogSlice>) -> Self {
        Self { encoded, slices, throttle: Duration::ZERO }
    }

    /// Sends it.
    pub async fn send(&self, transport: &Transport) -> io::Result<()> {
        let (bytes, mut sent) = (&self.encoded.buffer, 0);
        for splice in &self.encoded.regions {
            let slice = &self.slices[splice.region.index as usize];
            assert_eq!(slice.length, splice.region.length, "the answer announces what the file gives");
            transport.write_all(&bytes[sent..splice.at], true).await?;
            transport.send_slice(slice).await?;
            sent = splice.at;
        }
        transport.write_all(&bytes[sent..], false).await
    }
}
