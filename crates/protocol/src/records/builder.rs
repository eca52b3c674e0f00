//! Makes batches: for the metadata log, for clients, for tests.

use std::io;

use ottla_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::batch::{
    Attributes, BatchHeader, CONTROL_BIT, HEADER_BYTES, LENGTH_OVERHEAD_BYTES, TRANSACTIONAL_BIT, set_crc,
};
use super::compression::{Compression, Compressor};
use super::varint::{VARINT_BYTES_MAX, varint_size, varlong_size};
use crate::wire::Writer;

/// The attributes of a record.
const ATTRIBUTES_BYTES: usize = 1;

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
        Self { flags: self.flags | TRANSACTIONAL_BIT, ..self }
    }

    /// Holds control records.
    #[must_use]
    pub fn control(self) -> Self {
        Self { flags: self.flags | CONTROL_BIT, ..self }
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
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        write_record(&mut self.records, timestamp_delta, self.count, key, value, headers);
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
    /// The codec failed, which none does for bytes in memory.
    pub fn build(&self) -> io::Result<Vec<u8>> {
        self.build_with(&mut Compressor::default())
    }

    /// The whole batch, with the memory of a compressor that was used before.
    ///
    /// # Errors
    /// Those of [`BatchBuilder::build`].
    pub fn build_with(&self, compressor: &mut Compressor) -> io::Result<Vec<u8>> {
        let mut out = vec![0; HEADER_BYTES];
        compressor.compress(self.compression, self.level, &self.records.buffer, &mut out)?;
        let header = BatchHeader {
            base_offset: self.base_offset,
            length: length(out.len() - LENGTH_OVERHEAD_BYTES),
            partition_leader_epoch: self.leader_epoch,
            crc: 0,
            attributes: Attributes(self.flags | i16::from(self.compression.id())),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            base_sequence: self.producer.2,
            record_count: self.count,
        };
        out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        set_crc(&mut out);
        Ok(out)
    }
}

/// Writes one record of a batch.
pub(super) fn write_record(
    records: &mut Writer,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) {
    let headers_size: usize = headers.iter().map(|(key, value)| field_size(Some(key)) + field_size(*value)).sum();
    let header_count = length(headers.len());
    let size = ATTRIBUTES_BYTES
        + varlong_size(timestamp_delta)
        + varint_size(offset_delta)
        + field_size(key)
        + field_size(value)
        + varint_size(header_count)
        + headers_size;
    records.buffer.reserve(size + VARINT_BYTES_MAX as usize);
    records.varint(length(size));
    let start = records.buffer.len();
    records.int8(0);
    records.varlong(timestamp_delta);
    records.varint(offset_delta);
    field(records, key);
    field(records, value);
    records.varint(header_count);
    for (key, value) in headers {
        field(records, Some(key));
        field(records, *value);
    }
    assert_eq!(records.buffer.len() - start, size, "a record is as long as it says");
}

fn field(writer: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            writer.varint(length(bytes.len()));
            writer.buffer.extend_from_slice(bytes);
        }
        None => writer.varint(-1),
    }
}

fn field_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_size(length(bytes.len())) + bytes.len())
}

pub(super) fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a batch is smaller than 2 GiB")
}
