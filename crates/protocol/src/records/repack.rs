//! A batch packed in another way than it was sent, as a topic's `compression.type` asks.
//!
//! The records go from one codec to the other as they come out, byte for byte: they are held nowhere, and only as much as may
//! be stored is kept. The header stays but for the codec, the length and the checksum; and for the bits that a producer does not
//! set. Only records whose offsets do not rise one by one are unpacked into memory, to be numbered anew.

use std::io::{self, Read, Write};

use super::batch::{Attributes, Batch, BatchHeader, DELETE_HORIZON_BIT, HEADER_BYTES, KNOWN_BITS};
use super::batch::{LENGTH_OVERHEAD_BYTES, set_crc};
use super::builder::{Header, length, write_record};
use super::compression::{Compression, Compressor, Decompressor, ZstdWindow};
use crate::wire::Writer;

/// Records that have to be numbered anew are held in memory, and take so much at the most. No client is known that sends any.
const NUMBERED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// More than this is packed by zstd at no higher level than ...
const QUICK_FROM_BYTES: u64 = 4 * 1024 * 1024;
/// ... this: higher ones would take many seconds and hundreds of MiB.
const QUICK_LEVEL: i32 = 9;

/// How a topic's batches are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The codec.
    pub codec: Compression,
    /// Its level, or `None` for its own default.
    pub level: Option<i32>,
}

/// What is known of a batch whose records were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// What its records take.
    pub size_bytes: u64,
    /// Their offsets do not rise one by one from 0.
    pub has_gap: bool,
}

/// Why a batch was not packed anew.
#[derive(Debug)]
pub enum RepackError {
    /// What is inside cannot be read.
    Unpack(io::Error),
    /// It would be longer than is allowed.
    TooLarge {
        /// How long it would be at least.
        size_bytes: u64,
    },
}

/// What packs and unpacks.
#[derive(Debug, Default)]
pub struct Repacker {
    compressor: Compressor,
}

impl Repacker {
    /// `batch` packed as `target` says, from `unpacked`.
    ///
    /// # Errors
    /// What is inside is damaged, or not as large as was said; or the new batch would be longer than `size_max_bytes`.
    pub fn repack(
        &mut self,
        batch: &Batch<'_>,
        unpacked: Unpacked,
        target: Target,
        size_max_bytes: usize,
        (decompressor, window): (&mut Decompressor, ZstdWindow),
    ) -> Result<Vec<u8>, RepackError> {
        let codec = batch.header().compression().unwrap_or(Compression::None);
        let plain_bytes = HEADER_BYTES as u64 + unpacked.size_bytes;
        if target.codec == Compression::None && plain_bytes > size_max_bytes as u64 {
            return Err(RepackError::TooLarge { size_bytes: plain_bytes });
        }
        let mut out = Bounded { bytes: vec![0; HEADER_BYTES], size_bytes: HEADER_BYTES as u64, size_max_bytes };
        let packed = if unpacked.has_gap {
            let records = numbered(batch, unpacked.size_bytes, decompressor)?;
            self.pack(&records[..], target, records.len() as u64, &mut out)
        } else {
            let records = decompressor.reader_within(codec, batch.records(), window).map_err(RepackError::Unpack)?;
            self.pack(records, target, unpacked.size_bytes, &mut out)
        };
        if out.size_bytes > size_max_bytes as u64 {
            return Err(RepackError::TooLarge { size_bytes: out.size_bytes });
        }
        packed?;
        let mut bytes = out.bytes;
        // It may wait for its turn, and is counted by its length.
        bytes.shrink_to_fit();
        let attributes = batch.header().attributes.with_compression(target.codec);
        let header = BatchHeader {
            length: length(bytes.len() - LENGTH_OVERHEAD_BYTES),
            attributes: Attributes(attributes.0 & KNOWN_BITS & !DELETE_HORIZON_BIT),
            ..*batch.header()
        };
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        set_crc(&mut bytes);
        Ok(bytes)
    }

    fn pack(
        &mut self,
        mut records: impl Read,
        target: Target,
        size_bytes: u64,
        out: &mut Bounded,
    ) -> Result<(), RepackError> {
        let level = match target.codec {
            Compression::Zstd if size_bytes > QUICK_FROM_BYTES => target.level.map(|level| level.min(QUICK_LEVEL)),
            _ => target.level,
        };
        let packing = self.compressor.packing(target.codec, level, size_bytes, out);
        let packed = packing.and_then(|mut packing| {
            io::copy(&mut records, &mut packing)?;
            packing.finish()
        });
        packed.map_err(RepackError::Unpack)
    }

    /// Gives back what memory it has beyond `kept_bytes`.
    pub fn trim(&mut self, kept_bytes: usize) {
        self.compressor.trim(kept_bytes);
    }
}

/// The records as they are stored when the log numbers them, one by one from 0.
fn numbered(batch: &Batch<'_>, size_bytes: u64, decompressor: &mut Decompressor) -> Result<Vec<u8>, RepackError> {
    let damaged = |error: &dyn std::error::Error| RepackError::Unpack(io::Error::other(error.to_string()));
    let size_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX);
    if size_bytes > NUMBERED_BYTES_MAX {
        let message =
            format!("records that have to be numbered anew take {size_bytes} bytes, and may {NUMBERED_BYTES_MAX}");
        return Err(RepackError::Unpack(io::Error::other(message)));
    }
    let mut unpacked = Vec::new();
    let mut out = Writer::default();
    let records = decompressor.records(batch, size_bytes, &mut unpacked).map_err(|error| damaged(&error))?;
    for (offset_delta, record) in (0..).zip(records) {
        let record = record.map_err(|error| damaged(&error))?;
        let timestamp_delta = record.timestamp.wrapping_sub(batch.header().base_timestamp);
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        write_record(&mut out, timestamp_delta, offset_delta, record.key, record.value, &headers);
    }
    Ok(out.buffer)
}

/// Keeps what fits, and fails where more comes.
struct Bounded {
    bytes: Vec<u8>,
    size_bytes: u64,
    size_max_bytes: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size_bytes += bytes.len() as u64;
        if self.size_bytes > self.size_max_bytes as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            let wanted = (2 * self.bytes.len()).clamp(self.bytes.len() + bytes.len(), self.size_max_bytes);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ottla_base::{ProducerEpoch, ProducerId};

    use super::super::{BatchBuilder, RecordIter};
    use super::*;

    /// More than one block of any codec.
    const VALUE_BYTES: usize = 50_000;

    fn batch(codec: Compression) -> Vec<u8> {
        let mut builder =
            BatchBuilder::new().compression(codec, None).producer(ProducerId(7), ProducerEpoch(3), 5).transactional();
        for timestamp in [100, 40, 70] {
            let value: Vec<u8> = (0..VALUE_BYTES).map(|at| (at * at / 64) as u8).collect();
            builder.push(timestamp, Some(b"key"), Some(&value), &[(b"h", Some(b"x")), (b"h", None)]);
        }
        builder.build().expect("memory")
    }

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let (batch, _) = Batch::parse(bytes).expect("whole");
        let mut out = Vec::new();
        let codec = batch.header().compression().expect("known");
        Decompressor::default().decompress(codec, batch.records(), 1 << 20, &mut out).expect("well packed");
        out
    }

    fn repacked(bytes: &[u8], target: Target, size_max_bytes: usize) -> Result<Vec<u8>, RepackError> {
        let unpacked = Unpacked { size_bytes: unpacked(bytes).len() as u64, has_gap: false };
        let (batch, _) = Batch::parse(bytes).expect("whole");
        let decompressor = (&mut Decompressor::default(), ZstdWindow::Usual);
        Repacker::default().repack(&batch, unpacked, target, size_max_bytes, decompressor)
    }

    #[test]
    fn no_more_memory_is_taken_than_a_batch_may_be_long() {
        let mut out = Bounded { bytes: Vec::new(), size_bytes: 0, size_max_bytes: 1000 };
        for _ in 0..10 {
            out.write_all(&[7; 99]).expect("there is room");
            assert!(out.bytes.capacity() <= 1000, "{} bytes", out.bytes.capacity());
        }
        assert!(out.write_all(&[7; 99]).is_err());
        let bytes = repacked(&batch(Compression::None), Target { codec: Compression::Gzip, level: None }, 1 << 30);
        let bytes = bytes.expect("well packed");
        assert_eq!(bytes.capacity(), bytes.len());
    }

    #[test]
    fn every_codec_becomes_every_other_one_and_all_else_stays() {
        for from in Compression::ALL {
            for codec in Compression::ALL {
                let before = batch(from);
                let after = repacked(&before, Target { codec, level: None }, 1 << 20).expect("well packed");
                let (before, _) = Batch::parse(&before).expect("whole");
                let (batch, rest) = Batch::parse(&after).expect("whole");
                assert!(rest.is_empty() && batch.is_crc_valid(), "{from:?} {codec:?}");
                let attributes = before.header().attributes.with_compression(codec);
                let (length, crc) = (batch.header().length, batch.header().crc);
                assert_eq!(*batch.header(), BatchHeader { attributes, length, crc, ..*before.header() });
                assert_eq!(unpacked(&after), unpacked(before.bytes()), "{from:?} {codec:?}");
                let plain = unpacked(&after);
                let times = RecordIter::new(batch.header(), &plain).map(|record| record.expect("whole").timestamp);
                assert_eq!(times.collect::<Vec<_>>(), [100, 40, 70]);
            }
        }
    }

    #[test]
    fn a_level_is_taken() {
        for codec in [Compression::Gzip, Compression::Zstd] {
            let size =
                |level| repacked(&batch(Compression::None), Target { codec, level }, 1 << 20).expect("memory").len();
            assert!(size(Some(9)) < size(Some(1)), "{codec:?}");
        }
    }

    #[test]
    fn what_would_be_too_long_is_refused_with_its_size() {
        let target = Target { codec: Compression::None, level: None };
        let packed = batch(Compression::Zstd);
        let plain = repacked(&packed, target, 1 << 20).expect("it fits").len();
        assert!(packed.len() < plain);
        assert_eq!(repacked(&packed, target, plain).expect("it just fits").len(), plain);
        match repacked(&packed, target, plain - 1) {
            Err(RepackError::TooLarge { size_bytes }) => assert_eq!(size_bytes, plain as u64),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bits_that_no_producer_sets_are_not_kept() {
        let mut bytes = batch(Compression::None);
        let mut header = BatchHeader::parse(&bytes).expect("whole");
        header.attributes.0 |= DELETE_HORIZON_BIT | 1 << 9;
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        let after = repacked(&bytes, Target { codec: Compression::Lz4, level: None }, 1 << 20).expect("memory");
        let expected = BatchHeader::parse(&batch(Compression::Lz4)).expect("whole").attributes;
        assert_eq!(BatchHeader::parse(&after).expect("whole").attributes, expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_packed() {
        let mut bytes = batch(Compression::Gzip);
        bytes[HEADER_BYTES + 30] ^= 0xff;
        let (batch, _) = Batch::parse(&bytes).expect("whole");
        let (target, decompressor) = (Target { codec: Compression::Lz4, level: None }, &mut Decompressor::default());
        for has_gap in [false, true] {
            let unpacked = Unpacked { size_bytes: 1 << 20, has_gap };
            let mut repacker = Repacker::default();
            let after = repacker.repack(&batch, unpacked, target, 1 << 20, (&mut *decompressor, ZstdWindow::Usual));
            assert!(matches!(after, Err(RepackError::Unpack(_))), "{after:?}");
        }
    }

    #[test]
    fn records_are_numbered_anew_where_they_have_to_be() {
        let mut builder = BatchBuilder::new();
        builder.push(7, Some(b"k"), Some(b"v"), &[(b"h", None)]).push(5, None, None, &[]);
        let plain = builder.build().expect("memory");
        let mut odd = plain.clone();
        // The delta of the second record's offset: it follows its length, its attributes and its time.
        let second = HEADER_BYTES + 1 + usize::from(odd[HEADER_BYTES] / 2);
        odd[second + 3] = 2 * 9;
        set_crc(&mut odd);
        let (batch, _) = Batch::parse(&odd).expect("whole");
        let (target, mut decompressor) = (Target { codec: Compression::Lz4, level: None }, Decompressor::default());
        let mut repack = |size_bytes| {
            let (unpacked, unpacking) =
                (Unpacked { size_bytes, has_gap: true }, (&mut decompressor, ZstdWindow::Usual));
            Repacker::default().repack(&batch, unpacked, target, 1 << 20, unpacking)
        };
        let after = repack(batch.records().len() as u64).expect("well formed");
        assert_eq!(unpacked(&after), plain[HEADER_BYTES..]);
        assert!(matches!(repack(NUMBERED_BYTES_MAX as u64 + 1), Err(RepackError::Unpack(_))));
    }
}
