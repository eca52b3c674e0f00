//! One answer on its way out: encoded bytes, with pieces of log files between them; or, where these would be very many bytes,
//! what they are made from while they are sent.
//!
//! ```text
//!   size, header, fields | piece 0 of a log file | fields | piece 1 | fields
//!   size, header, fields | fields | fields                                      each made when those before it are gone
//! ```

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use ottla_protocol::{ErrorCounts, Splice, Writer};
use ottla_storage::LogSlice;

use super::transport::{Taken, Transport};
use crate::metrics::Trip;

/// Answers that are sent together have no more bytes than this.
const TOGETHER_BYTES: usize = 16 * 1024;

/// An encoded answer, its size prefix included.
#[derive(Debug)]
pub struct Answer {
    encoded: Writer,
    slices: Vec<LogSlice>,
    /// What is sent instead, where there is nothing encoded.
    in_pieces: Option<(Box<dyn InPieces>, usize)>,
    taken: Taken,
    /// How long the client is to hold back; the connection is not read meanwhile (KIP-219).
    pub throttle: Duration,
    /// The way of its request so far.
    pub trip: Option<Trip>,
}

/// A frame that is encoded while it is sent.
pub trait InPieces: Debug + Send + Sync {
    /// All its bytes, its size prefix included: each time the same.
    fn pieces(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_>;

    /// The memory that it takes until it is sent, one piece included.
    fn memory_bytes(&self) -> usize;
}

impl Answer {
    /// The encoded frame, whose regions are `slices`, by index.
    pub fn new(encoded: Writer, slices: Vec<LogSlice>) -> Self {
        Self { encoded, slices, in_pieces: None, taken: Taken::default(), throttle: Duration::ZERO, trip: None }
    }

    /// A frame of `length` bytes, its size prefix included, that tells of `errors`.
    pub fn in_pieces(pieces: Box<dyn InPieces>, length: usize, errors: ErrorCounts) -> Self {
        let mut encoded = Writer::new();
        encoded.errors = errors;
        Self { in_pieces: Some((pieces, length)), ..Self::new(encoded, Vec::new()) }
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
            + self.in_pieces.as_ref().map_or(0, |(pieces, _)| pieces.memory_bytes())
    }

    /// It may wait for long, behind a request that does: it keeps no more memory than it needs.
    pub fn settle_down(&mut self) {
        self.encoded.buffer.shrink_to_fit();
    }

    /// Whether it is one of those that can be sent together: short, and without anything else.
    pub fn is_short(&self) -> bool {
        self.slices.is_empty()
            && self.in_pieces.is_none()
            && self.throttle.is_zero()
            && self.encoded.buffer.len() <= TOGETHER_BYTES
    }

    /// Whether `next` can be sent together with this one.
    pub fn takes_along(&self, next: &Answer) -> bool {
        let bytes = self.encoded.buffer.len() + next.encoded.buffer.len();
        self.is_short() && next.is_short() && bytes <= TOGETHER_BYTES
    }

    /// Lets `next` follow right behind this one, and gives back the way of its request.
    pub fn take_along(&mut self, next: &Answer) -> Option<Trip> {
        self.encoded.buffer.extend_from_slice(&next.encoded.buffer);
        next.trip
    }

    /// The bytes that are not in files.
    #[cfg(test)]
    pub fn encoded(&self) -> &[u8] {
        &self.encoded.buffer
    }

    /// What it is made from while it is sent, if it is.
    #[cfg(test)]
    pub fn lazily(&self) -> Option<&dyn InPieces> {
        self.in_pieces.as_ref().map(|(pieces, _)| &**pieces)
    }

    /// Sends it.
    pub async fn send(&self, transport: &Transport) -> io::Result<()> {
        if let Some((pieces, length)) = &self.in_pieces {
            return self.send_pieces(&**pieces, *length, transport).await;
        }
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

    async fn send_pieces(&self, pieces: &dyn InPieces, length: usize, transport: &Transport) -> io::Result<()> {
        let mut left = length;
        for piece in pieces.pieces() {
            left = left.checked_sub(piece.len()).expect("the pieces are as long as was announced");
            transport.write_all(&piece, left > 0, &self.taken).await?;
            // A client that takes all at once is not to keep the worker from its other connections.
            tokio::task::yield_now().await;
        }
        assert_eq!(left, 0, "the pieces are as long as was announced");
        Ok(())
    }

    /// How much of it has been sent.
    pub fn taken_bytes(&self) -> u64 {
        self.taken.bytes()
    }
}
