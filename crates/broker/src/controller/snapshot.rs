//! Snapshots of the metadata (KIP-630): an image as a file of batches, so that the log before it may go.
//!
//! ```text
//!   <end offset, 20 digits>-<epoch, 10 digits>.checkpoint
//!   control batch: SnapshotHeader | batches of records ... | control batch: SnapshotFooter
//! ```
//!
//! Written beside, as `.tmp`, batch by batch, and renamed when it is whole and on the disk: nothing as large as the image is made
//! in memory, neither for writing nor for reading.

use std::path::{Path, PathBuf};

use ottla_base::{LeaderEpoch, Offset, Timestamp};
use ottla_metadata::image::Image;
use ottla_metadata::records;
use ottla_metadata::version::MetadataVersion;
use ottla_protocol::internal::control::{SnapshotFooterRecord, SnapshotHeaderRecord};
use ottla_protocol::internal::metadata::MetadataRecord;
use ottla_protocol::records::batch::LENGTH_OVERHEAD_BYTES;
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::{Batch, BatchBuilder, RecordIter};
use ottla_protocol::{Message, Writer};
use ottla_storage::{Replacement, os};

use crate::error::{Error, Result};

/// The end of a snapshot's name.
const SUFFIX: &str = ".checkpoint";
/// The end of the name of one that is not finished.
const UNFINISHED: &str = ".checkpoint.tmp";
/// Records in one batch ...
const BATCH_RECORDS: usize = 1000;
/// ... which is ended sooner where it has so many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// No batch of another writer is larger: Kafka's controller keeps to 8 MiB.
pub const BATCH_BYTES_MAX: u64 = 64 << 20;

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

/// Removes the snapshots that end before `end`, and what is left of those that were never finished.
pub fn remove_before(folder: &Path, end: Offset) -> Result<()> {
    for entry in entries(folder)? {
        let path = folder.join(&entry.name);
        if parse(folder, &entry.name).is_some_and(|snapshot| snapshot.end < end) || entry.name.ends_with(UNFINISHED) {
            os::remove(&path).map_err(|source| Error::remove(&path, source))?;
        }
    }
    Ok(())
}

/// Writes `image` into the metadata log's folder, with what its metadata.version has.
pub fn write(folder: &Path, image: &Image, now_ms: Timestamp) -> Result<()> {
    let file = Snapshot::at(folder, image.end(), image.epoch());
    write_records(&file, image.snapshot(), image.metadata_version(), now_ms)
}

/// Writes a snapshot of these records.
pub fn write_records<'r>(
    snapshot: &Snapshot,
    all: impl Iterator<Item = MetadataRecord<'r>>,
    metadata_version: MetadataVersion,
    now_ms: Timestamp,
) -> Result<()> {
    let file = Replacement::begin(&snapshot.path)?;
    let mut writing = Writing { file, offset: Offset(0), epoch: snapshot.epoch, now_ms };
    let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: now_ms };
    writing.push_control(ControlType::SnapshotHeader, &header)?;
    let mut batch = writing.batch();
    for record in all {
        let mut value = Writer::new();
        record.encode(records::version(&record, metadata_version), &mut value);
        batch.push(now_ms, None, Some(&value.buffer), &[]);
        if batch.count() >= BATCH_RECORDS || batch.size_bytes() >= BATCH_BYTES {
            writing.push(&batch)?;
            batch = writing.batch();
        }
    }
    if batch.count() > 0 {
        writing.push(&batch)?;
    }
    writing.push_control(ControlType::SnapshotFooter, &SnapshotFooterRecord { version: 0 })?;
    Ok(writing.file.finish()?)
}

/// Reads a snapshot.
pub fn load(snapshot: &Snapshot, cluster_id: &str) -> Result<Image> {
    let mut image = Image::new(cluster_id);
    // The records of a snapshot have no offsets of the log.
    read(&snapshot.path, |record| image.apply(Offset(-1), &record).map_err(|error| error.to_string()))?;
    image.advance(snapshot.end, snapshot.epoch);
    Ok(image)
}

/// Gives each record of the file at `path` to `take`, which may refuse it.
pub fn read(path: &Path, mut take: impl FnMut(MetadataRecord<'_>) -> std::result::Result<(), String>) -> Result<()> {
    let failed = |detail: String| {
        let path = path.display();
        Error::Metadata { detail: format!("the snapshot {path} is damaged: {detail}. Restore that file from a copy") }
    };
    let io = |source| Error::read(path, source);
    let file = os::open_read_only(path).map_err(io)?;
    let (length, mut position) = (os::length(&file).map_err(io)?, 0);
    let (mut whole, mut bytes) = (false, Vec::new());
    while position < length {
        let mut start = [0; LENGTH_OVERHEAD_BYTES];
        let read = os::read_at_most(&file, &mut start, position).map_err(io)?;
        let size = batch_bytes(&start[..read]).filter(|size| *size <= BATCH_BYTES_MAX.min(length - position));
        let size = size.ok_or_else(|| failed(format!("no whole batch is at {position}")))?;
        bytes.resize(usize::try_from(size).expect("it is below the limit"), 0);
        os::read_exact_at(&file, &mut bytes, position).map_err(io)?;
        let (batch, _) = Batch::parse(&bytes).map_err(|error| failed(error.to_string()))?;
        if !batch.is_crc_valid() {
            return Err(failed(format!("the batch at offset {} has a wrong CRC", batch.header().base_offset)));
        }
        whole |= give(&batch, &mut take).map_err(failed)?;
        position += size;
    }
    if !whole {
        return Err(failed("it has no end".to_owned()));
    }
    Ok(())
}

impl Snapshot {
    /// The one of all before `end`, in this folder.
    pub fn at(folder: &Path, end: Offset, epoch: LeaderEpoch) -> Self {
        Self { path: folder.join(format!("{:020}-{:010}{SUFFIX}", end.0, epoch.0)), end, epoch }
    }
}

/// How many bytes the batch has that begins with `start`.
fn batch_bytes(start: &[u8]) -> Option<u64> {
    let length = start.last_chunk::<4>().filter(|_| start.len() == LENGTH_OVERHEAD_BYTES)?;
    Some(u64::try_from(i32::from_be_bytes(*length)).ok()? + LENGTH_OVERHEAD_BYTES as u64)
}

/// Gives away the records of a batch, and says whether one of them ends the snapshot.
fn give(
    batch: &Batch<'_>,
    take: &mut impl FnMut(MetadataRecord<'_>) -> std::result::Result<(), String>,
) -> std::result::Result<bool, String> {
    let mut ends = false;
    for record in RecordIter::new(batch.header(), batch.records()) {
        let record = record.map_err(|error| error.to_string())?;
        if batch.header().attributes.is_control() {
            ends |= record.key.and_then(ControlType::from_key) == Some(ControlType::SnapshotFooter);
            continue;
        }
        let value = record.value.ok_or("a record without a value")?;
        take(MetadataRecord::decode(value).map_err(|error| error.to_string())?)?;
    }
    Ok(ends)
}

fn list(folder: &Path) -> Result<Vec<Snapshot>> {
    Ok(entries(folder)?.into_iter().filter_map(|entry| parse(folder, &entry.name)).collect())
}

fn entries(folder: &Path) -> Result<Vec<os::Entry>> {
    os::list(folder).map_err(|source| Error::Io { what: format!("list {}", folder.display()), source })
}

fn parse(folder: &Path, name: &str) -> Option<Snapshot> {
    let (end, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let (end, epoch) = (Offset(end.parse().ok()?), LeaderEpoch(epoch.parse().ok()?));
    Some(Snapshot { path: folder.join(name), end, epoch })
}

/// A snapshot that is being written.
struct Writing {
    file: Replacement,
    offset: Offset,
    epoch: LeaderEpoch,
    now_ms: Timestamp,
}

impl Writing {
    /// The next batch, without records.
    fn batch(&self) -> BatchBuilder {
        BatchBuilder::new().base_offset(self.offset).leader_epoch(self.epoch)
    }

    fn push(&mut self, batch: &BatchBuilder) -> Result<()> {
        let bytes = batch.build().map_err(|source| Error::Io { what: "build a batch".to_owned(), source })?;
        self.file.write(&bytes)?;
        self.offset = self.offset.plus(batch.count() as i64);
        Ok(())
    }

    fn push_control<'m, M: Message<'m>>(&mut self, kind: ControlType, message: &M) -> Result<()> {
        let mut value = Writer::new();
        message.encode(&mut value, 0);
        let mut batch = self.batch().control();
        batch.push(self.now_ms, Some(&kind.key()), Some(&value.buffer), &[]);
        self.push(&batch)
    }
}

#[cfg(test)]
mod tests {
    use ottla_base::Uuid;
    use ottla_protocol::internal::metadata::{ConfigRecord, MetadataRecord, TopicRecord};
    use ottla_protocol::records::batch::Batches;

    use super::*;

    /// Topics with one config of so many bytes each.
    fn image(topics: u32, config_bytes: usize) -> Image {
        let mut image = Image::new("c");
        for number in 0..topics {
            let name = format!("topic-{number}");
            let topic = TopicRecord { name: name.as_str().into(), topic_id: Uuid(u128::from(number) + 1) };
            let config = ConfigRecord {
                resource_type: 2,
                resource_name: name.as_str().into(),
                name: "follower.replication.throttled.replicas".into(),
                value: Some("9".repeat(config_bytes).into()),
            };
            for record in [MetadataRecord::Topic(topic), MetadataRecord::Config(config)] {
                image.apply(Offset(i64::from(number)), &record).expect("it can be applied");
            }
        }
        image.advance(Offset(5_000_000), LeaderEpoch(3));
        image
    }

    #[test]
    fn an_image_is_written_in_small_batches_and_read_back() {
        for (topics, config_bytes) in [(0, 0), (5000, 10), (300, 32_000)] {
            let folder = tempfile::tempdir().expect("a folder");
            let image = image(topics, config_bytes);
            write(folder.path(), &image, 7).expect("it is written");
            let snapshot = newest(folder.path()).expect("it can be listed").expect("it is there");
            assert_eq!((snapshot.end, snapshot.epoch), (Offset(5_000_000), LeaderEpoch(3)));
            assert_eq!(load(&snapshot, "c").expect("it can be read"), image);
            let left = folder.path().join("00000000000000000042-0000000001.checkpoint.tmp");
            std::fs::write(&left, "by a kill").expect("the folder is ours");
            remove_before(folder.path(), image.end()).expect("they can be removed");
            assert_eq!((left.exists(), snapshot.path.exists()), (false, true));
            let bytes = std::fs::read(&snapshot.path).expect("it is there");
            let sizes: Vec<_> = Batches::new(&bytes).map(|batch| batch.expect("whole").bytes().len()).collect();
            let largest = *sizes.iter().max().expect("a header and a footer");
            assert!(largest < BATCH_BYTES + 64 * 1024, "all that is made in memory at a time: {largest}");
            assert!(sizes.len() >= bytes.len() / (BATCH_BYTES + 64 * 1024), "{}", sizes.len());
        }
    }

    #[test]
    fn a_snapshot_that_is_cut_short_or_damaged_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &image(20, 10), 7).expect("it is written");
        let snapshot = newest(folder.path()).expect("it can be listed").expect("it is there");
        let whole = std::fs::read(&snapshot.path).expect("it is there");
        for length in 0..whole.len() {
            std::fs::write(&snapshot.path, &whole[..length]).expect("the folder is ours");
            load(&snapshot, "c").expect_err("it is cut short");
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x40;
            std::fs::write(&snapshot.path, &damaged).expect("the folder is ours");
            // No CRC covers the offset and the epoch of a batch, which say nothing here.
            let _ = load(&snapshot, "c").map(|loaded| assert_eq!(loaded.topics().iter().count(), 20));
        }
    }
}
