//! Makes batches: for the metadata log, for clients, for tests.

use std::io;

use ottla_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::batch::{HEADER_BYTES, LENGTH_OVERHEAD_BYTES, MAGIC, crc_of};
use super::compression::{Compression, compress};
use crate::wire::Writer;

/// A batch in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer: (ProducerId, ProducerEpoch, i32),
    compression: Compression,
    level: Option<i32>,
    flags: i16,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    count: i32,
    records: Writer,
    record: Writer,
}

/// A header of a record: key and value.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch as a producer sends it: offset 0, no leader epoch, no producer id, uncompressed.
    pub fn new() -> Self {
        Self {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch::NONE,
            producer: (ProducerId::NONE, ProducerEpoch(-1), -1),
            compression: Compression::None,
            level: None,
            flags: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            count: 0,
            records: Writer::default(),
            record: Writer::default(),
        }
    }

    /// Begins at `offset`.
    #[must_use]
    pub fn base_offset(self, base_offset: Offset) -> Self {
        Self { base_offset, ..self }
    }

    /// Written by the leader of `epoch`.
    #[must_use]
    pub fn leader_epoch(self, leader_epoch: LeaderEpoch) -> Self {
        Self { leader_epoch, ..self }
    }

    /// From an idempotent producer; `base_sequence` is the sequence number of the first record.
    #[must_use]
    pub fn producer(self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        Self { producer: (id, epoch, base_sequence), ..self }
    }

    /// Packed with `codec`, at its own `level` or Kafka's default.
    #[must_use]
    pub fn compression(self, compression: Compression, level: Option<i32>) -> Self {
        Self { compression, level, ..self }
    }

    /// Part of a transaction.
    #[must_use]
    pub fn transactional(self) -> Self {
        Self { flags: self.flags | 1 << 4, ..self }
    }

    /// Holds control records.
    #[must_use]
    pub fn control(self) -> Self {
        Self { flags: self.flags | 1 << 5, ..self }
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> &mut Self {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let record = &mut self.record;
        record.buffer.clear();
        record.int8(0);
        record.varlong(timestamp.wrapping_sub(self.base_timestamp));
        record.varint(self.count);
        nullable(record, key);
        nullable(record, value);
        record.varint(length(headers.len()));
        for (key, value) in headers {
            nullable(record, Some(key));
            nullable(record, *value);
        }
        self.records.varint(length(record.buffer.len()));
        self.records.buffer.extend_from_slice(&record.buffer);
        self.count += 1;
        self
    }

    /// How many records it holds.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The bytes it has so far, before compression.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.buffer.len()
    }

    /// The whole batch.
    ///
    /// # Errors
    /// The codec failed, which none does for bytes in memory unless its level is impossible.
    pub fn build(&self) -> io::Result<Vec<u8>> {
        let mut out = vec![0; HEADER_BYTES];
        compress(self.compression, self.level, &self.records.buffer, &mut out)?;
        let length = length(out.len() - LENGTH_OVERHEAD_BYTES);
        let mut header = Writer::default();
        header.int64(self.base_offset.0);
        header.int32(length);
        header.int32(self.leader_epoch.0);
        header.int8(MAGIC);
        header.uint32(0);
        header.int16(self.flags | i16::from(self.compression.id()));
        header.int32(self.count - 1);
        header.int64(self.base_timestamp);
        header.int64(self.max_timestamp);
        header.int64(self.producer.0.0);
        header.int16(self.producer.1.0);
        header.int32(self.producer.2);
        header.int32(self.count);
        out[..HEADER_BYTES].copy_from_slice(&header.buffer);
        let crc = crc_of(&out);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        Ok(out)
    }
}

fn nullable(writer: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            writer.varint(length(bytes.len()));
            writer.buffer.extend_from_slice(bytes);
        }
        None => writer.varint(-1),
    }
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a batch is smaller than 2 GiB")
}
