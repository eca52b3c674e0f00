//! A batch with other values in it: for readers who cannot take the values as they were written.
//!
//! All else stays as it was: every record at its offset, and the batch from its first offset to its last, so that whoever
//! reads it goes on where it would have gone on. What was packed comes out unpacked.

use std::borrow::Cow;

use super::batch::{Attributes, Batch, BatchHeader, COMPRESSION_BITS, HEADER_BYTES, LENGTH_OVERHEAD_BYTES, set_crc};
use super::builder::{Header, length, write_record};
use super::compression::Decompressor;
use super::record::Record;
use crate::wire::Writer;

/// The whole batch, with the values that `value_of` gives; none where its records cannot be read, or would unpack to more
/// than `unpacked_bytes_max`.
pub fn with_values(
    batch: &Batch<'_>,
    decompressor: &mut Decompressor,
    unpacked_bytes_max: usize,
    value_of: impl for<'r> Fn(&Record<'r>) -> Option<Cow<'r, [u8]>>,
) -> Option<Vec<u8>> {
    let header = batch.header();
    let mut unpacked = Vec::new();
    let mut records = Writer::default();
    records.buffer.resize(HEADER_BYTES, 0);
    for record in decompressor.records(batch, unpacked_bytes_max, &mut unpacked).ok()? {
        let record = record.ok()?;
        let timestamp_delta = record.timestamp.wrapping_sub(header.base_timestamp);
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        let value = value_of(&record);
        write_record(&mut records, timestamp_delta, record.offset_delta, record.key, value.as_deref(), &headers);
    }
    let mut out = records.buffer;
    let header = BatchHeader {
        length: length(out.len() - LENGTH_OVERHEAD_BYTES),
        attributes: Attributes(header.attributes.0 & !COMPRESSION_BITS),
        ..*header
    };
    out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    set_crc(&mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use ottla_base::{Offset, ProducerEpoch, ProducerId};

    use super::super::{BatchBuilder, Compression};
    use super::*;

    const UNPACKED_BYTES_MAX: usize = 1 << 10;

    fn longer<'r>(record: &Record<'r>) -> Option<Cow<'r, [u8]>> {
        record.value.map(|value| [value, b"!"].concat().into())
    }

    fn batch(compression: Compression, values: [Option<&[u8]>; 3]) -> Vec<u8> {
        let builder = BatchBuilder::new().base_offset(Offset(40)).compression(compression, None);
        let mut builder = builder.producer(ProducerId(7), ProducerEpoch(3), 5).transactional();
        for (timestamp, value) in (100..).zip(values) {
            builder.push(timestamp, Some(b"key"), value, &[(b"h", Some(b"x")), (b"h", None)]);
        }
        builder.build().expect("memory")
    }

    fn rewritten(bytes: &[u8], unpacked_bytes_max: usize) -> Option<Vec<u8>> {
        let (batch, _) = Batch::parse(bytes).expect("whole");
        with_values(&batch, &mut Decompressor::default(), unpacked_bytes_max, longer)
    }

    #[test]
    fn only_the_values_are_others() {
        let expected = batch(Compression::None, [Some(b"one!"), None, Some(b"three!")]);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let bytes = batch(compression, [Some(b"one"), None, Some(b"three")]);
            assert_eq!(rewritten(&bytes, UNPACKED_BYTES_MAX).as_ref(), Some(&expected));
        }
    }

    #[test]
    fn a_batch_of_which_records_were_compacted_away_keeps_its_offsets() {
        let mut bytes = batch(Compression::None, [Some(b"one"), None, Some(b"three")]);
        let mut header = BatchHeader::parse(&bytes).expect("whole");
        (header.base_offset, header.last_offset_delta) = (Offset(30), 9);
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        let bytes = rewritten(&bytes, UNPACKED_BYTES_MAX).expect("well formed");
        let (batch, _) = Batch::parse(&bytes).expect("whole");
        assert_eq!((batch.header().base_offset, batch.header().next_offset()), (Offset(30), Offset(40)));
        assert!(batch.is_crc_valid());
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let mut bytes = batch(Compression::Gzip, [Some(&[0; 100]), None, None]);
        assert_eq!(rewritten(&bytes, 99), None);
        bytes[HEADER_BYTES] = 0;
        assert_eq!(rewritten(&bytes, UNPACKED_BYTES_MAX), None);
    }
}
