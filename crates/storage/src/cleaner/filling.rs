//! Fills the map of newest offsets from the part of the log that is dirty, until all was read or the map is full.

use std::fs::File;
use std::path::PathBuf;

use ottla_base::Offset;
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::validate::{UNPACKED_BYTES_MAX, UNPACKED_RATIO_MAX};
use ottla_protocol::records::{Batch, BatchHeader, Decompressor, HEADER_BYTES, RecordIter};

use super::groups::Source;
use super::offset_map::OffsetMap;
use super::reading::Reading;
use super::transactions::Transactions;
use super::{Begun, NotCleaned, Owner, Pace};
use crate::error::Error;
use crate::os;
use crate::segment::file_path;

/// Fills `map` from the offset `from` on, and says up to where it knows all keys: to the end of the sources, or to the first
/// record for which there was no room.
pub fn fill(
    map: &mut OffsetMap,
    begun: &Begun,
    from: Offset,
    io_bytes: usize,
    pace: &Pace<'_, impl Owner>,
) -> Result<Offset, NotCleaned> {
    let first = begun.sources.partition_point(|source| source.end_offset <= from);
    let Some(source) = begun.sources.get(first) else { return Ok(from) };
    let mut transactions = Transactions::new(source.base_offset, &begun.aborted);
    let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
    let mut end = from;
    for source in &begun.sources[first..] {
        let (file, path) = open(begun, source)?;
        let mut reading = Reading::new(&file, &path, source.size_bytes, io_bytes);
        loop {
            pace.note(reading.take_fresh_bytes())?;
            let Some((batch, bytes)) = reading.next()? else { break };
            if batch.last_offset() < from {
                // Only what it says of transactions counts.
                see(&mut transactions, &batch.header, bytes);
                continue;
            }
            if !see(&mut transactions, &batch.header, bytes) {
                let (batch, _) = Batch::parse(bytes).expect("it was read whole");
                let wrong =
                    |detail: String| Error::corrupt(&path, format!("at {}: {detail}", batch.header().base_offset));
                let records = decompressor.records(&batch, unpacked_bytes_max(bytes.len()), &mut unpacked);
                for record in records.map_err(|error| wrong(error.to_string()))? {
                    let record = record.map_err(|error| wrong(error.to_string()))?;
                    match record.key {
                        Some(key) if record.offset >= from && !map.put(key, record.offset) => return Ok(record.offset),
                        _ => {}
                    }
                }
            }
            end = batch.last_offset().plus(1);
        }
        end = end.max(source.end_offset);
    }
    Ok(end)
}

/// Shows a batch to the transactions, and says whether its records do not count: they were aborted, or are none of clients.
fn see(transactions: &mut Transactions, header: &BatchHeader, bytes: &[u8]) -> bool {
    if header.attributes.is_control() {
        transactions.marker(header, control_type(header, bytes));
        return true;
    }
    transactions.is_aborted(header)
}

/// What kind of marker a control batch is; `None` if its record was removed. A record that cannot be understood counts as one
/// that has to stay.
pub fn control_type(header: &BatchHeader, bytes: &[u8]) -> Option<ControlType> {
    if header.record_count == 0 {
        return None;
    }
    let record = RecordIter::new(header, &bytes[HEADER_BYTES..]).next().and_then(Result::ok);
    record.and_then(|record| ControlType::from_key(record.key?)).or(Some(ControlType::LeaderChange))
}

/// The log file of a source.
pub fn open(begun: &Begun, source: &Source) -> Result<(File, PathBuf), Error> {
    let path = file_path(&begun.folder, source.base_offset, "log");
    let file = os::open_read_only(&path).map_err(Error::io("open", &path))?;
    Ok((file, path))
}

/// What a batch may unpack to, as where it was taken in.
pub fn unpacked_bytes_max(batch_bytes: usize) -> usize {
    UNPACKED_BYTES_MAX.max(batch_bytes as u64 * UNPACKED_RATIO_MAX) as usize
}
