//! Snapshots of the metadata (KIP-630): an image as a file of batches, so that the log before it may go.
//!
//! ```text
//!   <end offset, 20 digits>-<epoch, 10 digits>.checkpoint
//!   control batch: SnapshotHeader | batches of records ... | control batch: SnapshotFooter
//! ```
//!
//! Written beside, as `.part`, and renamed when it is whole and on the disk.

use std::path::{Path, PathBuf};

use ottla_base::{LeaderEpoch, Offset, Timestamp};
use ottla_metadata::image::Image;
use ottla_metadata::records;
use ottla_protocol::internal::control::{SnapshotFooterRecord, SnapshotHeaderRecord};
use ottla_protocol::internal::metadata::MetadataRecord;
use ottla_protocol::records::batch::Batches;
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::{BatchBuilder, RecordIter};
use ottla_protocol::{Message, Writer};
use ottla_storage::{os, replace_file};

use crate::error::{Error, Result};

/// The end of a snapshot's name.
const SUFFIX: &str = ".checkpoint";
/// Records in one batch.
const BATCH_RECORDS: usize = 1000;

/// A snapshot on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The file.
    pub path: PathBuf,
    /// All before this offset is in it.
    pub end: Offset,
    /// The epoch of the last record in it.
    pub epoch: LeaderEpoch,
}

/// The newest snapshot in the metadata log's folder.
pub fn newest(folder: &Path) -> Result<Option<Snapshot>> {
    Ok(list(folder)?.into_iter().max_by_key(|snapshot| snapshot.end))
}

/// Removes the snapshots that end before `end`.
pub fn remove_before(folder: &Path, end: Offset) -> Result<()> {
    for old in list(folder)?.into_iter().filter(|snapshot| snapshot.end < end) {
        std::fs::remove_file(&old.path).map_err(|source| Error::remove(&old.path, source))?;
    }
    Ok(())
}

/// Writes `image` into the metadata log's folder.
pub fn write(folder: &Path, image: &Image, now_ms: Timestamp) -> Result<()> {
    let name = format!("{:020}-{:010}{SUFFIX}", image.end().0, image.epoch().0);
    let mut file = Vec::new();
    let mut offset = Offset(0);
    let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: now_ms };
    push_control(&mut file, &mut offset, image.epoch(), now_ms, ControlType::SnapshotHeader, &header)?;
    let mut records = image.snapshot().peekable();
    while records.peek().is_some() {
        let mut batch = BatchBuilder::new().base_offset(offset).leader_epoch(image.epoch());
        for record in records.by_ref().take(BATCH_RECORDS) {
            let mut value = Writer::new();
            record.encode(records::version(&record), &mut value);
            batch.push(now_ms, None, Some(&value.buffer), &[]);
        }
        push(&mut file, &mut offset, &batch)?;
    }
    let footer = SnapshotFooterRecord { version: 0 };
    push_control(&mut file, &mut offset, image.epoch(), now_ms, ControlType::SnapshotFooter, &footer)?;
    Ok(replace_file(&folder.join(name), &file)?)
}

/// Reads a snapshot.
pub fn load(snapshot: &Snapshot, cluster_id: &str) -> Result<Image> {
    let failed = |detail: String| {
        let path = snapshot.path.display();
        Error::Metadata { detail: format!("the snapshot {path} is damaged: {detail}. Restore that file from a copy") }
    };
    let what = || format!("read {}", snapshot.path.display());
    let bytes = std::fs::read(&snapshot.path).map_err(|source| Error::Io { what: what(), source })?;
    let mut records = Vec::new();
    let mut whole = false;
    for batch in Batches::new(&bytes) {
        let batch = batch.map_err(|error| failed(error.to_string()))?;
        if !batch.is_crc_valid() {
            return Err(failed(format!("the batch at offset {} has a wrong CRC", batch.header().base_offset)));
        }
        for record in RecordIter::new(batch.header(), batch.records()) {
            let record = record.map_err(|error| failed(error.to_string()))?;
            if batch.header().attributes.is_control() {
                whole |= record.key.and_then(ControlType::from_key) == Some(ControlType::SnapshotFooter);
                continue;
            }
            let value = record.value.ok_or_else(|| failed("a record without a value".to_owned()))?;
            records.push(MetadataRecord::decode(value).map_err(|error| failed(error.to_string()))?);
        }
    }
    if !whole {
        return Err(failed("it has no end".to_owned()));
    }
    let image = Image::from_snapshot(cluster_id, snapshot.end, snapshot.epoch, records);
    image.map_err(|error| failed(error.to_string()))
}

fn list(folder: &Path) -> Result<Vec<Snapshot>> {
    let what = || format!("list {}", folder.display());
    let entries = os::list(folder).map_err(|source| Error::Io { what: what(), source })?;
    Ok(entries.into_iter().filter_map(|entry| parse(folder, &entry.name)).collect())
}

fn parse(folder: &Path, name: &str) -> Option<Snapshot> {
    let (end, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let (end, epoch) = (Offset(end.parse().ok()?), LeaderEpoch(epoch.parse().ok()?));
    Some(Snapshot { path: folder.join(name), end, epoch })
}

fn push_control<'m, M: Message<'m>>(
    file: &mut Vec<u8>,
    offset: &mut Offset,
    epoch: LeaderEpoch,
    now_ms: Timestamp,
    kind: ControlType,
    message: &M,
) -> Result<()> {
    let mut value = Writer::new();
    message.encode(&mut value, 0);
    let mut batch = BatchBuilder::new().base_offset(*offset).leader_epoch(epoch).control();
    batch.push(now_ms, Some(&kind.key()), Some(&value.buffer), &[]);
    push(file, offset, &batch)
}

fn push(file: &mut Vec<u8>, offset: &mut Offset, batch: &BatchBuilder) -> Result<()> {
    let bytes = batch.build().map_err(|source| Error::Io { what: "build a batch".to_owned(), source })?;
    file.extend_from_slice(&bytes);
    *offset = offset.plus(batch.count() as i64);
    Ok(())
}
