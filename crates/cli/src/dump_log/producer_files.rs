//! `.snapshot` and `.txnindex` files: the producers of a partition, and which of their transactions were aborted.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use ottla_protocol::Reader;
use ottla_storage::producer_snapshot::{SnapshotEntry, decode_snapshot};

use super::failure::{Failure, Result};
use super::log_file::offset_of;
use super::segment::optional_long;

/// The only version of a snapshot.
const SNAPSHOT_VERSION: i16 = 1;
/// The version and the checksum itself are not part of what is summed.
const CRC_FROM: usize = 6;
/// The bytes of a producer in a snapshot.
const ENTRY_BYTES: usize = 46;
/// The bytes of an aborted transaction.
const ABORTED_BYTES: usize = 34;
/// The last version of an aborted transaction that is known.
const ABORTED_VERSION: i16 = 0;
/// What Kafka shows of one that is negative.
const NO_VERSION: i16 = -1;

/// Shows the producers. What is wrong with the file is said in `notes`.
pub fn dump_producers(path: &Path, out: &mut impl Write, notes: &mut impl Write) -> Result<()> {
    let bytes = fs::read(path).map_err(Failure::unreadable(path))?;
    match read_producers(path, &bytes) {
        Ok(entries) => {
            for entry in entries {
                writeln!(out, "{}", producer(&entry))?;
            }
        }
        Err(message) => writeln!(notes, "{message}")?,
    }
    Ok(())
}

fn read_producers(path: &Path, bytes: &[u8]) -> std::result::Result<Vec<SnapshotEntry>, String> {
    let invalid = |what: String| format!("Snapshot failed schema validation: {what}");
    let mut reader = Reader::new(bytes);
    // Kafka's buffer says no more of its end.
    let version = reader.int16().map_err(|_| invalid("null".to_owned()))?;
    if version != SNAPSHOT_VERSION {
        return Err(invalid(format!("Snapshot contained an unknown file version {version}")));
    }
    let stored = reader.uint32().map_err(|_| invalid("null".to_owned()))?;
    let count = reader.int32().map_err(|_| invalid("null".to_owned()))?;
    let left = reader.remaining().len();
    match usize::try_from(count) {
        Err(_) => return Err(invalid("non-nullable field producerEntries was serialized as null".to_owned())),
        Ok(count) if count > left => {
            return Err(invalid(format!(
                "Tried to allocate a collection of size {count}, but there are only {left} bytes remaining."
            )));
        }
        Ok(count) if count > left / ENTRY_BYTES => return Err(invalid("null".to_owned())),
        Ok(_) => {}
    }
    let computed = crc32c::crc32c(&bytes[CRC_FROM..]);
    decode_snapshot(path, bytes).map_err(|error| match stored == computed {
        true => invalid(error.to_string()),
        false => {
            format!("Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}")
        }
    })
}

fn producer(entry: &SnapshotEntry) -> String {
    let mut line = format!(
        "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {}",
        entry.producer_id,
        entry.producer_epoch,
        entry.coordinator_epoch,
        optional_long(entry.transaction_first_offset.map(|offset| offset.0)),
        entry.timestamp
    );
    if entry.last_offset.0 >= 0 {
        line += &format!(
            " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
            sequence_before(entry.last_sequence, entry.offset_delta),
            entry.last_sequence,
            entry.last_offset,
            entry.offset_delta,
            entry.timestamp
        );
    }
    line
}

/// The sequence number `delta` records before `last`.
fn sequence_before(last: i32, delta: i32) -> i32 {
    // Before 0 comes the greatest.
    if last < delta { i32::MAX - (delta - last) + 1 } else { last.wrapping_sub(delta) }
}

/// Shows the aborted transactions; nothing where there is no file.
pub fn dump_aborted(path: &Path, out: &mut impl Write) -> Result<()> {
    offset_of(&path.file_name().unwrap_or_default().to_string_lossy())?;
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(Failure::unreadable(path))?,
    };
    let (entries, _) = bytes.as_chunks::<ABORTED_BYTES>();
    let mut lines = String::new();
    for entry in entries {
        let version = i16::from_be_bytes(*entry.first_chunk().expect("an entry has 34 bytes"));
        // What cannot be one is shown as the nearest.
        let version = version.clamp(NO_VERSION, ABORTED_VERSION);
        let number = |index: usize| {
            i64::from_be_bytes(*entry[2 + 8 * index..].first_chunk().expect("an entry has four numbers"))
        };
        lines += &format!(
            "version: {version} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}\n",
            number(0),
            number(1),
            number(2),
            number(3)
        );
    }
    Ok(out.write_all(lines.as_bytes())?)
}
