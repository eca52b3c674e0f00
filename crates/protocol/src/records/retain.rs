//! What compaction leaves of a batch: some of its records, or its header alone.
//!
//! Offsets never change: the batch begins and ends where it did, each record stays at its own, and so does its number in the
//! order of its producer. What was packed is packed again with the same codec.
//!
//! A batch that was found to hold a deleted key, or a marker of a transaction without data, is given a *delete horizon*
//! (KIP-534): the time from which on that may go. It lies where the base timestamp was, and timestamps count from it then.

use std::io;

use ottla_base::Timestamp;

use super::batch::{
    Attributes, BatchHeader, DELETE_HORIZON_BIT, HEADER_BYTES, KNOWN_BITS, LENGTH_OVERHEAD_BYTES, set_crc,
};
use super::builder::{Header, length, write_record};
use super::compression::{Compression, Compressor};
use super::record::Record;
use crate::wire::Writer;

/// The time of a record that has none, and the base timestamp of a batch without records.
const NO_TIMESTAMP: Timestamp = -1;

/// The batch of `header` with `records` alone, which are some of its own. A delete horizon that it has stays; else it gets
/// `delete_horizon_ms`.
///
/// # Errors
/// The codec is not known, or failed, which none does for bytes in memory.
pub fn with_records<'r>(
    header: &BatchHeader,
    records: impl IntoIterator<Item = Record<'r>>,
    delete_horizon_ms: Option<Timestamp>,
    compressor: &mut Compressor,
) -> io::Result<Vec<u8>> {
    let codec = header.compression().ok_or(io::ErrorKind::InvalidData)?;
    let horizon_ms = header.delete_horizon_ms().or(delete_horizon_ms);
    let mut base_timestamp = horizon_ms;
    let (mut max_timestamp, mut record_count) = (NO_TIMESTAMP, 0);
    let mut plain = Writer::default();
    for record in records {
        let base_timestamp = *base_timestamp.get_or_insert(record.timestamp);
        let timestamp_delta = record.timestamp.wrapping_sub(base_timestamp);
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        write_record(&mut plain, timestamp_delta, record.offset_delta, record.key, record.value, &headers);
        max_timestamp = max_timestamp.max(record.timestamp);
        record_count += 1;
    }
    let mut out = vec![0; HEADER_BYTES];
    compressor.compress(codec, None, &plain.buffer, &mut out)?;
    let horizon_bit = if horizon_ms.is_some() { DELETE_HORIZON_BIT } else { 0 };
    let header = BatchHeader {
        length: length(out.len() - LENGTH_OVERHEAD_BYTES),
        attributes: Attributes(header.attributes.0 & KNOWN_BITS | horizon_bit),
        base_timestamp: base_timestamp.unwrap_or(NO_TIMESTAMP),
        max_timestamp,
        record_count,
        ..*header
    };
    out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    set_crc(&mut out);
    Ok(out)
}

/// The batch of `header` without records: what it says of its producer stays.
pub fn emptied(header: &BatchHeader) -> [u8; HEADER_BYTES] {
    let unpacked = header.attributes.with_compression(Compression::None);
    let header = BatchHeader {
        length: length(HEADER_BYTES - LENGTH_OVERHEAD_BYTES),
        attributes: Attributes(unpacked.0 & KNOWN_BITS & !DELETE_HORIZON_BIT),
        base_timestamp: NO_TIMESTAMP,
        record_count: 0,
        ..*header
    };
    let mut bytes = header.to_bytes();
    set_crc(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use ottla_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    use super::super::{Batch, BatchBuilder, Decompressor, TimestampChange, batch};
    use super::*;

    /// Offset, timestamp, value.
    type Found = (i64, Timestamp, Option<Vec<u8>>);

    fn original(codec: Compression) -> Vec<u8> {
        let builder = BatchBuilder::new().base_offset(Offset(40)).leader_epoch(LeaderEpoch(3)).compression(codec, None);
        let mut builder = builder.producer(ProducerId(7), ProducerEpoch(2), 5).transactional();
        for (timestamp, value) in [(100, Some(&b"one"[..])), (300, None), (200, Some(b"three"))] {
            builder.push(timestamp, Some(b"key"), value, &[(b"h", Some(b"x")), (b"h", None)]);
        }
        builder.build().expect("memory")
    }

    fn some_of(bytes: &[u8], kept: &[i64], horizon_ms: Option<Timestamp>) -> Vec<u8> {
        let (batch, _) = Batch::parse(bytes).expect("whole");
        let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
        let records = decompressor.records(&batch, 1 << 20, &mut unpacked).expect("whole");
        let records = records.map(|record| record.expect("whole")).filter(|record| kept.contains(&record.offset.0));
        with_records(batch.header(), records, horizon_ms, &mut Compressor::default()).expect("memory")
    }

    fn read(bytes: &[u8]) -> (BatchHeader, Vec<Found>) {
        let (batch, rest) = Batch::parse(bytes).expect("whole");
        assert!(rest.is_empty() && batch.is_crc_valid());
        let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
        let records = decompressor.records(&batch, 1 << 20, &mut unpacked).expect("whole");
        let found = records.map(|record| record.expect("whole")).map(|record| {
            assert_eq!((record.key, record.headers.len()), (Some(&b"key"[..]), 2));
            (record.offset.0, record.timestamp, record.value.map(<[u8]>::to_vec))
        });
        (*batch.header(), found.collect())
    }

    #[test]
    fn what_stays_keeps_offset_time_and_number() {
        for codec in Compression::ALL {
            let bytes = original(codec);
            let before = BatchHeader::parse(&bytes).expect("whole");
            let (header, found) = read(&some_of(&bytes, &[41, 42], None));
            assert_eq!(found, [(41, 300, None), (42, 200, Some(b"three".to_vec()))], "{codec:?}");
            let kept = |header: &BatchHeader| {
                let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
                (header.base_offset, header.last_offset(), header.attributes, producer, header.partition_leader_epoch)
            };
            assert_eq!(kept(&header), kept(&before));
            assert_eq!((header.base_timestamp, header.max_timestamp, header.record_count), (300, 300, 2));
        }
    }

    #[test]
    fn a_delete_horizon_takes_the_place_of_the_base_timestamp_once() {
        let bytes = some_of(&original(Compression::None), &[40, 41], Some(1_000_000));
        let (header, found) = read(&bytes);
        assert_eq!(header.delete_horizon_ms(), Some(1_000_000));
        assert_eq!(found, [(40, 100, Some(b"one".to_vec())), (41, 300, None)]);
        let (header, found) = read(&some_of(&bytes, &[41], Some(2_000_000)));
        assert_eq!((header.delete_horizon_ms(), header.max_timestamp), (Some(1_000_000), 300));
        assert_eq!(found, [(41, 300, None)]);
    }

    #[test]
    fn the_time_of_the_append_stays_that_of_all_records() {
        let mut bytes = original(Compression::None);
        batch::set_timestamps(&mut bytes, TimestampChange::LogAppendTime(7777));
        for horizon_ms in [None, Some(9999)] {
            let (header, found) = read(&some_of(&bytes, &[42], horizon_ms));
            assert_eq!((header.max_timestamp, found), (7777, vec![(42, 7777, Some(b"three".to_vec()))]));
        }
    }

    #[test]
    fn an_emptied_batch_is_a_header_that_still_says_who_wrote_what() {
        let bytes = some_of(&original(Compression::Zstd), &[41], Some(5000));
        let emptied = emptied(&BatchHeader::parse(&bytes).expect("whole"));
        let (header, found) = read(&emptied);
        assert_eq!((emptied.len(), found), (HEADER_BYTES, vec![]));
        assert_eq!((header.base_offset, header.last_offset(), header.last_sequence()), (Offset(40), Offset(42), 7));
        assert_eq!((header.base_timestamp, header.max_timestamp, header.record_count), (-1, 300, 0));
        assert!(header.attributes.is_transactional() && header.compression() == Some(Compression::None));
        assert_eq!(header.delete_horizon_ms(), None);
    }
}
