//! The `.snapshot` files of a partition: its producers as they were just before an offset, so that a start need not read
//! the whole log to know them.
//!
//! ```text
//!   00000000000000001250.snapshot            state before offset 1250
//!   | version (int16) 1 | crc32c of all that follows (uint32) | count (int32) | entries, 46 bytes each |
//!
//!   | producer id (int64) | epoch (int16) | last sequence (int32) | last offset (int64) | offset delta (int32)
//!   | timestamp (int64) | coordinator epoch (int32) | first offset of the open transaction (int64), or -1 |
//! ```
//!
//! There is one at the base offset of each segment but the first, taken when the log rolled, one at the log's end
//! after a clean stop, and the last two that were taken in between. Only the last batch of each producer is kept, so that right after a start duplicates of the one
//! before it are refused as out of order. One that does not hold what it should is removed, and an older one serves.

use std::path::{Path, PathBuf};

use ottla_base::{Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::error::{Error, Result};
use crate::{os, small_file};

const SUFFIX: &str = ".snapshot";
const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;
/// The version and the checksum itself are not part of what is summed.
const CRC_FROM: usize = 6;

/// What a snapshot holds of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its latest incarnation.
    pub producer_epoch: ProducerEpoch,
    /// The number of its last record, or -1.
    pub last_sequence: i32,
    /// The offset of its last record, or -1.
    pub last_offset: Offset,
    /// How much further the last record of its last batch is than the first.
    pub offset_delta: i32,
    /// The largest timestamp of its last batch, or of a marker after it.
    pub timestamp: Timestamp,
    /// The epoch of the coordinator that last ended one of its transactions, or -1.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub transaction_first_offset: Option<Offset>,
}

/// The path of the snapshot at `offset`.
pub fn snapshot_path(folder: &Path, offset: Offset) -> PathBuf {
    folder.join(format!("{:020}{SUFFIX}", offset.0))
}

/// The bytes of a snapshot.
pub fn encode_snapshot(entries: impl ExactSizeIterator<Item = SnapshotEntry>) -> Vec<u8> {
    let count = i32::try_from(entries.len()).expect("the producers of a partition are limited");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&count.to_be_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.producer_id.0.to_be_bytes());
        bytes.extend_from_slice(&entry.producer_epoch.0.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence.to_be_bytes());
        bytes.extend_from_slice(&entry.last_offset.0.to_be_bytes());
        bytes.extend_from_slice(&entry.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&entry.timestamp.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.transaction_first_offset.map_or(-1, |offset| offset.0).to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads the bytes of a snapshot; `path` is for the error.
///
/// # Errors
/// `WrongFormat` for another version, `Corrupt` if the checksum or the count does not fit.
pub fn decode_snapshot(path: &Path, bytes: &[u8]) -> Result<Vec<SnapshotEntry>> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Error::corrupt(path, format!("{} bytes are too few for a snapshot", bytes.len())));
    };
    let mut header = Fields(header);
    let version = i16::from_be_bytes(header.take());
    if version != VERSION {
        return Err(Error::wrong_format(path, format!("snapshot version {version} is not known, only {VERSION}")));
    }
    let (expected, actual) = (u32::from_be_bytes(header.take()), crc32c::crc32c(&bytes[CRC_FROM..]));
    if expected != actual {
        return Err(Error::corrupt(path, format!("the checksum is {actual:#010x} and should be {expected:#010x}")));
    }
    let count = i32::from_be_bytes(header.take());
    let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || usize::try_from(count) != Ok(entries.len()) {
        return Err(Error::corrupt(path, format!("{count} entries were announced in {} bytes", body.len())));
    }
    Ok(entries.iter().map(|bytes| decode_entry(Fields(bytes))).collect())
}

fn decode_entry(mut fields: Fields<'_>) -> SnapshotEntry {
    SnapshotEntry {
        producer_id: ProducerId(i64::from_be_bytes(fields.take())),
        producer_epoch: ProducerEpoch(i16::from_be_bytes(fields.take())),
        last_sequence: i32::from_be_bytes(fields.take()),
        last_offset: Offset(i64::from_be_bytes(fields.take())),
        offset_delta: i32::from_be_bytes(fields.take()),
        timestamp: i64::from_be_bytes(fields.take()),
        coordinator_epoch: i32::from_be_bytes(fields.take()),
        transaction_first_offset: Some(i64::from_be_bytes(fields.take())).filter(|&first| first >= 0).map(Offset),
    }
}

/// Of the `snapshots` in the folder, that with the greatest offset not above `target`, and that offset. Damaged ones on the
/// way are removed; those of another version are not ours to remove, and passed over.
pub(crate) fn load_latest_of(
    folder: &Path,
    snapshots: &[Offset],
    target: Offset,
) -> Result<Option<(Offset, Vec<SnapshotEntry>)>> {
    for offset in snapshots.iter().copied().rev().filter(|offset| *offset <= target) {
        let path = snapshot_path(folder, offset);
        let Some(bytes) = small_file::read(&path)? else { continue };
        match decode_snapshot(&path, &bytes) {
            Ok(entries) => return Ok(Some((offset, entries))),
            Err(error @ Error::WrongFormat { .. }) => tracing::warn!("{error}; an older snapshot is taken"),
            Err(error) => {
                tracing::warn!("{error}; it is removed and an older snapshot is taken");
                small_file::remove(&path)?;
            }
        }
    }
    Ok(None)
}

/// The offsets of all snapshots in a partition's folder, rising.
pub fn list_snapshots(folder: &Path) -> Result<Vec<Offset>> {
    let entries = os::list(folder).map_err(Error::io("list", folder))?;
    let offset_of = |name: &str| {
        let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten().map(Offset)
    };
    // Names of equally many digits are sorted like the numbers.
    Ok(entries.iter().filter(|entry| !entry.is_folder).filter_map(|entry| offset_of(&entry.name)).collect())
}

/// Removes the snapshots whose offset `is_unwanted`: those below the log's start, or above where it was cut. They are gone
/// from the disk when this returns.
pub fn remove_snapshots(folder: &Path, is_unwanted: impl Fn(Offset) -> bool) -> Result<()> {
    for offset in list_snapshots(folder)?.into_iter().filter(|offset| is_unwanted(*offset)) {
        small_file::remove(&snapshot_path(folder, offset))?;
    }
    Ok(())
}

/// Takes numbers off the front of bytes whose length was checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the caller gave as many bytes as there are fields");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(producer_id: i64) -> SnapshotEntry {
        SnapshotEntry {
            producer_id: ProducerId(producer_id),
            producer_epoch: ProducerEpoch(3),
            last_sequence: 42,
            last_offset: Offset(100),
            offset_delta: 4,
            timestamp: 0x0102_0304_0506,
            coordinator_epoch: -1,
            transaction_first_offset: None,
        }
    }

    #[test]
    fn the_bytes_are_kafkas() {
        let bytes = encode_snapshot([entry(7)].into_iter());
        let body = [
            &[0, 0, 0, 1][..],
            &[0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 3],
            &[0, 0, 0, 42],
            &[0, 0, 0, 0, 0, 0, 0, 100],
            &[0, 0, 0, 4],
            &[0, 0, 1, 2, 3, 4, 5, 6],
            &[255; 4],
            &[255; 8],
        ]
        .concat();
        assert_eq!(bytes[..2], [0, 1]);
        assert_eq!(bytes[2..6], crc32c::crc32c(&body).to_be_bytes());
        assert_eq!(bytes[6..], body);
    }

    fn write(folder: &Path, offset: Offset, bytes: &[u8]) {
        small_file::replace(&snapshot_path(folder, offset), bytes).unwrap();
    }

    fn latest(folder: &Path, target: Offset) -> Option<(Offset, Vec<SnapshotEntry>)> {
        load_latest_of(folder, &list_snapshots(folder).unwrap(), target).unwrap()
    }

    #[test]
    fn the_latest_sound_snapshot_is_loaded_and_damaged_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(latest(folder, Offset(i64::MAX)), None);
        for offset in [0, 100, 200, 300] {
            write(folder, Offset(offset), &encode_snapshot([entry(offset)].into_iter()));
        }
        std::fs::write(folder.join("12.snapshot"), "not one of ours").unwrap();
        std::fs::write(folder.join("00000000000000000100.log"), "").unwrap();
        let whole = std::fs::read(snapshot_path(folder, Offset(200))).unwrap();
        std::fs::write(snapshot_path(folder, Offset(200)), &whole[..whole.len() - 1]).unwrap();

        assert_eq!(latest(folder, Offset(299)), Some((Offset(100), vec![entry(100)])));
        assert_eq!(list_snapshots(folder).unwrap(), [Offset(0), Offset(100), Offset(300)]);
        assert_eq!(latest(folder, Offset(300)), Some((Offset(300), vec![entry(300)])));
    }

    #[test]
    fn a_snapshot_of_another_version_is_passed_over_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        for offset in [100, 200] {
            write(folder.path(), Offset(offset), &encode_snapshot([entry(offset)].into_iter()));
        }
        let mut bytes = std::fs::read(snapshot_path(folder.path(), Offset(200))).unwrap();
        bytes[1] = 2;
        std::fs::write(snapshot_path(folder.path(), Offset(200)), &bytes).unwrap();
        let loaded = latest(folder.path(), Offset(300));
        assert_eq!(loaded, Some((Offset(100), vec![entry(100)])));
        assert_eq!(std::fs::read(snapshot_path(folder.path(), Offset(200))).unwrap(), bytes);
    }

    proptest! {
        #[test]
        fn a_snapshot_reads_back_and_one_wrong_byte_is_noticed(
            ids in prop::collection::btree_set(any::<i64>(), 0..20),
            open in prop::option::of(0..1000i64),
            (place, flip) in (any::<prop::sample::Index>(), 1..=255u8),
        ) {
            let path = Path::new("x.snapshot");
            let entries: Vec<_> =
                ids.iter().map(|id| SnapshotEntry { transaction_first_offset: open.map(Offset), ..entry(*id) }).collect();
            let mut bytes = encode_snapshot(entries.iter().copied());
            prop_assert_eq!(decode_snapshot(path, &bytes).unwrap(), entries);
            for end in 0..bytes.len() {
                prop_assert!(decode_snapshot(path, &bytes[..end]).is_err());
            }
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            prop_assert!(decode_snapshot(path, &bytes).is_err());
        }
    }
}
