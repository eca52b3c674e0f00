//! The metadata log `__cluster_metadata-0` of a quorum with a single voter: Kafka's format, Kafka's files.
//!
//! ```text
//!   __cluster_metadata-0/00000000000000000000.log                 batches of records, epoch by epoch
//!                        00000000000000001234-0000000005.checkpoint   a snapshot of all before offset 1234 (KIP-630)
//!                        quorum-state                             who leads, in which epoch, and how far the log reached
//! ```
//!
//! A single voter has won every election it stands for: each start is a new epoch, which begins with a LeaderChange record.
//! A record is committed when it is on the disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_base::{BrokerId, LeaderEpoch, Offset, Timestamp, TopicPartition};
use ottla_metadata::image::Image;
use ottla_metadata::records::{self, OwnedRecord};
use ottla_metadata::version::MetadataVersion;
use ottla_protocol::internal::control::LeaderChangeMessage;
use ottla_protocol::internal::control::leader_change_message::Voter;
use ottla_protocol::internal::metadata::MetadataRecord;
use ottla_protocol::records::batch::Batches;
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::{Batch, BatchBuilder, RecordIter};
use ottla_protocol::{Message, Writer};
use ottla_storage::{Error as StorageError, Left, Log, LogConfig, OpenLog, ProducerCount, os, read_file, replace_file};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{intact, reserve, snapshot};
use crate::config::Config;
use crate::error::{Error, Result};

/// The name of the topic.
pub const TOPIC: &str = "__cluster_metadata";
/// Where the voter's state is.
const QUORUM_STATE: &str = "quorum-state";
/// So much of the log is read at once.
const READ_BYTES: u32 = 1 << 20;
/// How often, and how soon, flushes are tried again for which the process has no files left, until one succeeds. The controller
/// does nothing else meanwhile: all that it could do has to be flushed too.
const FLUSHED_AGAIN_MAX: usize = 20;
const FLUSHED_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The log, and this node's leadership of it.
pub struct MetadataLog {
    log: Log,
    node: BrokerId,
    epoch: LeaderEpoch,
    /// Where the newest snapshot ends, and how much was appended since.
    snapshot_end: Offset,
    bytes_since_snapshot: u64,
    /// How often flushes may still be tried again, before one succeeds.
    flushes_left: usize,
    /// Whether it ends with what was not decided.
    is_ahead: bool,
}

/// How large the log is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogExtent {
    /// Bytes of its segments.
    pub size_bytes: u64,
    /// How many those are.
    pub segments: usize,
    /// Its first offset.
    pub start: Offset,
    /// The offset of the next record.
    pub end: Offset,
}

/// What there is, or may be, in the log directories that only metadata can give to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A log of this partition.
    Partition(TopicPartition),
    /// A directory that cannot be read, of a node that was formatted before this start: that it can be listed, or that nothing is in
    /// the list, is no proof that nothing lies there, as of a disk that is not mounted.
    Unread {
        /// Which one.
        directory: PathBuf,
        /// Why not.
        failure: String,
    },
}

impl MetadataLog {
    /// Opens the log, reads all of it, and begins a new epoch.
    ///
    /// # Errors
    /// `LostMetadata` where there is none, or nothing in it, though there are partitions, of which `found` is one: they would be
    /// taken for strays. `UnreadBesideBlank` where there may be some. Nothing is written into it then.
    pub fn open(config: &Config, cluster_id: &str, found: Option<&Found>, now_ms: Timestamp) -> Result<(Self, Image)> {
        let folder = config.metadata_log_dir.join(TopicPartition::new(TOPIC, 0).to_string());
        if !os::exists(&folder).map_err(StorageError::io("look for", &folder))? {
            check_not_lost(&folder, found)?;
        }
        os::create_folder(&folder)
            .map_err(|source| Error::Io { what: format!("create {}", folder.display()), source })?;
        let opened = reserve::with_reserve(&folder, || Self::open_in(&folder, config, cluster_id, found, now_ms))?;
        reserve::keep(&folder);
        Ok(opened)
    }

    fn open_in(
        folder: &Path,
        config: &Config,
        cluster_id: &str,
        found: Option<&Found>,
        now_ms: Timestamp,
    ) -> Result<(Self, Image)> {
        let extent = intact::check(folder)?;
        // What a new cluster begins with is not yet part of it.
        let newest = snapshot::newest(folder)?.filter(|newest| newest.end > Offset(0));
        let snapshot_end = newest.as_ref().map_or(Offset(0), |snapshot| snapshot.end);
        let voter = read_quorum_state(folder)?;
        let end = extent.map_or(snapshot_end, |extent| extent.end.max(snapshot_end));
        if end < voter.applied_offset {
            return Err(Error::ShortMetadata { path: folder.to_owned(), end, noted: voter.applied_offset });
        }
        if let Some(start) = extent.map(|extent| extent.start).filter(|start| *start > snapshot_end) {
            return Err(Error::LostSnapshot { path: folder.to_owned(), start });
        }
        let log_config = LogConfig {
            segment_bytes: config.metadata_log_segment_bytes,
            segment_ms: config.metadata_log_segment_ms,
            retention_ms: None,
            retention_bytes: None,
            delete: false,
            ..LogConfig::default()
        };
        // Always checked from its beginning: it is short, and the cluster depends on every bit of it.
        let options = OpenLog {
            topic_partition: TopicPartition::new(TOPIC, 0),
            left: Left::Unknown,
            recovery_point: Offset(0),
            log_start_offset: snapshot_end,
            now_ms,
            producers: ProducerCount::default(),
        };
        let (log, recovery) = Log::open(folder, log_config, options)?;
        if let Some(cut) = recovery.cut {
            info!(end = %cut.end_offset, bytes = cut.bytes, "cut off what was being written to the metadata log at its end");
        }
        let mut image = match newest {
            Some(newest) => snapshot::load(&newest, cluster_id)?,
            None => Image::new(cluster_id),
        };
        replay(&log, &mut image)?;
        if is_blank(&image) {
            check_not_lost(folder, found)?;
        }
        let last_epoch = voter.epoch.max(image.epoch());
        let epoch = LeaderEpoch(last_epoch.0 + 1);
        let bytes_since_snapshot = log.size_bytes();
        let (node, flushes_left) = (config.node_id, FLUSHED_AGAIN_MAX);
        let mut opened = Self { log, node, epoch, snapshot_end, bytes_since_snapshot, flushes_left, is_ahead: false };
        // What a kill left may lie in the page cache alone; what is noted as the end must be there after a power cut, too.
        opened.flush(now_ms)?;
        opened.write_quorum_state()?;
        opened.begin_epoch(&mut image, now_ms)?;
        Ok((opened, image))
    }

    /// Appends `records` as one batch, written for `metadata_version`, and waits until they are on the disk. Gives the offset of the
    /// first.
    pub fn append(
        &mut self,
        records: &[OwnedRecord],
        metadata_version: MetadataVersion,
        now_ms: Timestamp,
    ) -> Result<Offset> {
        assert!(!records.is_empty(), "a batch holds records");
        let first = self.log.end_offset();
        let mut batch = BatchBuilder::new().base_offset(first).leader_epoch(self.epoch);
        for record in records {
            let mut value = Writer::new();
            record.encode(records::version(record, metadata_version), &mut value);
            batch.push(now_ms, None, Some(&value.buffer), &[]);
        }
        self.append_batch(&batch, now_ms)?;
        Ok(first)
    }

    /// The epoch that this node leads in.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The offset of the next record.
    pub fn end(&self) -> Offset {
        self.log.end_offset()
    }

    /// How large it is.
    pub fn extent(&self) -> LogExtent {
        let log = &self.log;
        let (size_bytes, segments) = (log.size_bytes(), log.segments().count());
        LogExtent { size_bytes, segments, start: log.start_offset(), end: log.end_offset() }
    }

    /// Whether it takes more, after an append that failed.
    pub fn is_usable(&self) -> bool {
        self.log.check_usable().is_ok() && !self.is_ahead
    }

    /// The bytes appended since the last snapshot.
    pub fn bytes_since_snapshot(&self) -> u64 {
        self.bytes_since_snapshot
    }

    /// Writes `image`, which must be that of the whole log, as a snapshot; then the log before it and older snapshots may go.
    pub fn take_snapshot(&mut self, image: &Image, now_ms: Timestamp) -> Result<()> {
        assert_eq!(image.end(), self.end(), "a snapshot holds all that is committed");
        let folder = self.log.folder().to_owned();
        snapshot::write(&folder, image, now_ms)?;
        self.snapshot_end = image.end();
        self.bytes_since_snapshot = 0;
        self.log.roll(now_ms)?;
        self.log.advance_start_offset(self.snapshot_end)?;
        self.log.enforce_retention(now_ms, self.snapshot_end)?;
        // Segments of before the last snapshots; what cannot be unlinked now is tried again with the next one.
        let mut deleted = self.log.take_deleted(now_ms);
        if let Err(error) = deleted.unlink() {
            warn!(%error, "cannot remove old segments of the metadata log");
            self.log.put_back_deleted(deleted, now_ms);
        }
        snapshot::remove_before(&folder, self.snapshot_end)?;
        self.write_quorum_state()
    }

    /// Closes the log, and notes where it ends: a start that finds less of it must not go on.
    pub fn close(self, now_ms: Timestamp) -> Result<()> {
        if self.is_usable()
            && let Err(error) = self.write_quorum_state()
        {
            warn!(%error, "cannot note where the metadata log ends");
        }
        Ok(self.log.close(now_ms)?)
    }

    fn begin_epoch(&mut self, image: &mut Image, now_ms: Timestamp) -> Result<()> {
        let voter = || Voter { voter_id: self.node.0, ..Voter::default() };
        let message = LeaderChangeMessage {
            version: 0,
            leader_id: self.node.0,
            voters: vec![voter()],
            granting_voters: vec![voter()],
        };
        let mut value = Writer::new();
        message.encode(&mut value, 0);
        let mut batch = BatchBuilder::new().base_offset(self.end()).leader_epoch(self.epoch).control();
        batch.push(now_ms, Some(&ControlType::LeaderChange.key()), Some(&value.buffer), &[]);
        self.append_batch(&batch, now_ms)?;
        image.advance(self.end(), self.epoch);
        Ok(())
    }

    fn append_batch(&mut self, batch: &BatchBuilder, now_ms: Timestamp) -> Result<()> {
        let bytes = batch.build().map_err(|source| Error::Io { what: "build a batch".to_owned(), source })?;
        let end = self.log.end_offset();
        self.log.append_follower(&bytes, now_ms)?;
        if let Err(error) = self.flush(now_ms) {
            if self.is_usable() {
                self.take_back(end, now_ms)?;
            }
            return Err(error.into());
        }
        self.bytes_since_snapshot += bytes.len() as u64;
        Ok(())
    }

    /// Cuts off what comes after `end`: nobody acts on what is not known to be on the disk. Where that fails, it is still in the log
    /// and not in the image, and no more is written behind it.
    fn take_back(&mut self, end: Offset, now_ms: Timestamp) -> Result<()> {
        let cut = self.log.truncate_to(end, now_ms);
        self.is_ahead = cut.is_err();
        cut?;
        Ok(())
    }

    /// Waits until all is on the disk; for a while also where the process has no files left to open what is to be flushed. What
    /// comes behind one for which that was too short fails at once, so that those who ask, or stop the broker, do not wait in turn.
    fn flush(&mut self, now_ms: Timestamp) -> ottla_storage::Result<()> {
        flush_patiently(&mut self.flushes_left, || self.log.flush(now_ms), || std::thread::sleep(FLUSHED_AGAIN_AFTER))
    }

    /// The state of a static quorum (kraft.version 0), on the disk before the epoch begins.
    ///
    /// Kafka writes an applied offset of 0 and never reads it. Here it is an offset up to which all is on the disk.
    fn write_quorum_state(&self) -> Result<()> {
        let state = json!({
            "clusterId": "",
            "leaderId": self.node.0,
            "leaderEpoch": self.epoch.0,
            "votedId": -1,
            "appliedOffset": self.log.end_offset().0,
            "currentVoters": [{"voterId": self.node.0}],
            "data_version": 0,
        });
        Ok(replace_file(&self.log.folder().join(QUORUM_STATE), state.to_string().as_bytes())?)
    }
}

fn flush_patiently(
    left: &mut usize,
    mut flush: impl FnMut() -> ottla_storage::Result<()>,
    wait: impl Fn(),
) -> ottla_storage::Result<()> {
    loop {
        match flush() {
            Err(error) if error.lacks_files() && *left > 0 => {
                warn!(%error, "the metadata log waits for a file");
                *left -= 1;
                wait();
            }
            Err(error) => return Err(error),
            Ok(()) => {
                *left = FLUSHED_AGAIN_MAX;
                return Ok(());
            }
        }
    }
}

/// What a voter remembers beside the log.
struct VoterState {
    /// The last epoch it knew.
    epoch: LeaderEpoch,
    /// The log reached at least so far.
    applied_offset: Offset,
}

/// The voter's state; zeros where there is none.
///
/// # Errors
/// It is there and cannot be read: it may say that the log is too short, or which epochs are used up.
fn read_quorum_state(folder: &Path) -> Result<VoterState> {
    let path = folder.join(QUORUM_STATE);
    let Some(text) = read_file(&path)? else {
        return Ok(VoterState { epoch: LeaderEpoch(0), applied_offset: Offset(0) });
    };
    let state: Value = serde_json::from_slice(&text).unwrap_or_default();
    let epoch = state.get("leaderEpoch").and_then(Value::as_i64).and_then(|epoch| i32::try_from(epoch).ok());
    let epoch = epoch.ok_or_else(|| {
        let path = path.display();
        let detail =
            format!("{path} names no leaderEpoch. Restore that file from a copy, or remove it to start without");
        Error::Metadata { detail }
    })?;
    // Only this broker and older versions of Kafka note it.
    let applied_offset = state.get("appliedOffset").and_then(Value::as_i64).unwrap_or(0);
    Ok(VoterState { epoch: LeaderEpoch(epoch), applied_offset: Offset(applied_offset) })
}

/// Checks, as Kafka does, that no log directory but the configured one holds the metadata: the settings would name the wrong one.
///
/// # Errors
/// `MetadataElsewhere`.
pub fn check_location<'d>(config: &Config, directories: impl Iterator<Item = &'d Path>) -> Result<()> {
    let configured = &config.metadata_log_dir;
    let folder_in = |path: &Path| path.join(TopicPartition::new(TOPIC, 0).to_string());
    for path in directories.filter(|path| path != configured) {
        let folder = folder_in(path);
        let says_anything = match intact::says_anything(&folder) {
            Err(error) if error.is_of_disk() => {
                warn!(directory = %path.display(), %error, "cannot look for a metadata log");
                continue;
            }
            known => known?,
        };
        if says_anything {
            let is_there_too = intact::says_anything(&folder_in(configured))?;
            let configured = configured.clone();
            return Err(Error::MetadataElsewhere { path: path.to_owned(), configured, is_there_too });
        }
        if os::exists(&folder).is_ok_and(|exists| exists) {
            warn!(folder = %folder.display(), "nothing is in this metadata log, and nobody uses it: it can be removed");
        }
    }
    Ok(())
}

fn check_not_lost(folder: &Path, found: Option<&Found>) -> Result<()> {
    let path = folder.to_owned();
    match found {
        Some(Found::Partition(partition)) => Err(Error::LostMetadata { path, partition: partition.to_string() }),
        Some(Found::Unread { directory, failure }) => {
            Err(Error::UnreadBesideBlank { path, directory: directory.clone(), failure: failure.clone() })
        }
        None => Ok(()),
    }
}

/// Whether no broker was ever registered with it, and none has made a topic: the log may still have epochs, each of a start, and the
/// features that it was formatted with.
fn is_blank(image: &Image) -> bool {
    image.brokers().next().is_none() && image.topics().is_empty()
}

/// Applies what the log holds to `image`, from where the image ends.
fn replay(log: &Log, image: &mut Image) -> Result<()> {
    let end = log.end_offset();
    let mut buffer = Vec::new();
    while image.end() < end {
        let slice = log.read(image.end(), READ_BYTES, end, true)?;
        buffer.resize(slice.length as usize, 0);
        os::read_exact_at(&slice.file, &mut buffer, slice.position)
            .map_err(|source| Error::read(log.folder(), source))?;
        let before = image.end();
        for batch in Batches::new(&buffer) {
            let batch = batch.map_err(|error| damaged(log.folder(), image.end(), &error))?;
            apply(&batch, image).map_err(|detail| damaged(log.folder(), batch.header().base_offset, &detail))?;
        }
        if image.end() == before {
            return Err(damaged(log.folder(), before, &"nothing can be read from here on"));
        }
    }
    Ok(())
}

/// Applies the records of one batch; those of control batches only take up offsets.
pub fn apply(batch: &Batch<'_>, image: &mut Image) -> std::result::Result<(), String> {
    let header = batch.header();
    if header.next_offset() <= image.end() {
        return Ok(());
    }
    if !header.attributes.is_control() {
        for record in RecordIter::new(header, batch.records()) {
            let record = record.map_err(|error| error.to_string())?;
            let value = record.value.ok_or("a record without a value")?;
            let decoded = MetadataRecord::decode(value).map_err(|error| error.to_string())?;
            image.apply(record.offset, &decoded).map_err(|error| error.to_string())?;
        }
    }
    image.advance(header.next_offset(), header.partition_leader_epoch);
    Ok(())
}

fn damaged(folder: &Path, at: Offset, detail: &dyn std::fmt::Display) -> Error {
    let folder: PathBuf = folder.to_owned();
    Error::Metadata { detail: format!("{} at offset {at}: {detail}", folder.display()) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use ottla_base::Uuid;
    use ottla_protocol::internal::metadata::{FeatureLevelRecord, NoOpRecord, RegisterBrokerRecord, TopicRecord};
    use ottla_storage::Error as StorageError;

    use super::*;
    use crate::config::Written;

    fn config(folder: &Path) -> Config {
        let folder = folder.display();
        let text = format!("process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:0\nlog.dirs={folder}\n");
        Config::new(Written::from_text("server.properties", &text).expect("it is well formed")).expect("it is valid").0
    }

    fn open(folder: &Path) -> Result<(MetadataLog, Image)> {
        MetadataLog::open(&config(folder), "cluster", None, 1)
    }

    #[test]
    fn no_end_is_noted_that_a_power_cut_could_take_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, mut image) = open(folder.path()).expect("it is new");
        append(&mut log, &mut image, 2);
        let (path, end) = (log.log.folder().to_owned(), log.end());
        // As after a batch that could neither be flushed nor cut off.
        log.is_ahead = true;
        log.close(1).expect("it is closed");
        assert!(read_quorum_state(&path).expect("it is there").applied_offset < end, "it may end sooner");
    }

    #[test]
    fn what_cannot_be_cut_off_again_is_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, mut image) = open(folder.path()).expect("it is new");
        append(&mut log, &mut image, 2);
        let (end, mark) = (log.end(), log.log.folder().join("ottla-cutting"));
        std::fs::create_dir(&mark).expect("the folder is ours");
        log.take_back(Offset(end.0 - 1), 1).expect_err("the mark cannot be made");
        assert!(log.end() == end && !log.is_usable(), "it would be written behind");
        std::fs::remove_dir(&mark).expect("it is there");
        log.take_back(Offset(end.0 - 1), 1).expect("the mark can be made");
        assert!(log.end() < end && log.is_usable());
    }

    #[test]
    fn a_second_metadata_log_is_refused_unless_nothing_is_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let [own, other] = ["own", "other"].map(|name| folder.path().join(name));
        let check = || check_location(&config(&own), [own.as_path(), other.as_path()].into_iter());
        let refused = || match check() {
            Err(Error::MetadataElsewhere { is_there_too, .. }) => Some(is_there_too),
            other => other.map(|()| None).expect("it can be read"),
        };
        check().expect("there is none at all");
        let open_in = |folder: &Path| {
            std::fs::create_dir_all(folder).expect("the folder is ours");
            open(folder).expect("it is new")
        };
        let (mut log, mut image) = open_in(&other);
        assert_eq!(refused(), None, "an epoch has begun there, and no more");
        append(&mut log, &mut image, 1);
        assert_eq!(refused(), Some(false));
        let (mut log, mut image) = open_in(&own);
        assert_eq!(refused(), Some(false));
        append(&mut log, &mut image, 1);
        assert_eq!(refused(), Some(true));
    }

    #[test]
    fn where_there_are_partitions_a_log_that_says_nothing_is_lost_at_every_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("__cluster_metadata-0");
        let partition = Found::Partition(TopicPartition::new("t", 0));
        let open_beside = |found| MetadataLog::open(&config(folder.path()), "cluster", found, 1).map(drop);
        for _ in 0..2 {
            assert!(matches!(open_beside(Some(&partition)), Err(Error::LostMetadata { .. })));
            assert!(!path.exists(), "or the next start would find it");
        }
        std::fs::create_dir(&path).expect("the folder is ours");
        for _ in 0..2 {
            assert!(matches!(open_beside(Some(&partition)), Err(Error::LostMetadata { .. })));
        }
        let mut formatted = Image::new("cluster");
        let feature = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 29 };
        formatted.apply(Offset(0), &OwnedRecord::FeatureLevel(feature)).expect("it can be applied");
        snapshot::write(&path, &formatted, 1).expect("the folder is ours");
        for _ in 0..2 {
            let error = open_beside(Some(&partition)).expect_err("it was formatted, and no more");
            assert!(matches!(error, Error::LostMetadata { .. }), "{error}");
        }
        let unread = Found::Unread { directory: "/data/b".into(), failure: "it is not mounted".to_owned() };
        let error = open_beside(Some(&unread)).expect_err("nobody knows what lies there");
        assert!(error.to_string().contains("/data/b cannot be read (it is not mounted)"), "{error}");
        open_beside(None).expect("a new cluster");
        let error = open_beside(Some(&partition)).expect_err("an epoch has begun, and nothing else is there");
        assert!(matches!(error, Error::LostMetadata { .. }), "{error}");
    }

    #[test]
    fn a_log_with_a_broker_or_a_topic_is_not_lost() {
        let broker = OwnedRecord::RegisterBroker(RegisterBrokerRecord { broker_id: 1, ..Default::default() });
        let topic = OwnedRecord::Topic(TopicRecord { name: "u".into(), topic_id: Uuid(5) });
        for record in [broker, topic] {
            let folder = tempfile::tempdir().expect("a folder");
            let open = |found| MetadataLog::open(&config(folder.path()), "cluster", found, 1);
            let (mut log, image) = open(None).expect("a new cluster");
            log.append(std::slice::from_ref(&record), image.metadata_version(), 1).expect("it is written");
            log.close(1).expect("it is closed");
            // All topics were deleted, or it is another program's.
            open(Some(&Found::Partition(TopicPartition::new("t", 0)))).expect("something was decided in it");
        }
    }

    fn append(log: &mut MetadataLog, image: &mut Image, count: usize) {
        for _ in 0..count {
            let record = OwnedRecord::NoOp(NoOpRecord {});
            let at = log.append(std::slice::from_ref(&record), image.metadata_version(), 1).expect("it is written");
            image.apply(at, &record).expect("it can be applied");
            image.advance(log.end(), log.epoch());
        }
    }

    /// Cuts the last batch off the only segment in `log`.
    fn cut_last_batch(log: &Path) {
        let path = log.join("00000000000000000000.log");
        let bytes = std::fs::read(&path).expect("it was written");
        let last = Batches::new(&bytes).last().expect("there are batches").expect("they are whole").bytes().len();
        std::fs::write(&path, &bytes[..bytes.len() - last]).expect("the folder is ours");
    }

    #[test]
    fn a_log_that_ends_before_what_was_noted_is_not_opened() {
        for is_stopped in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let (mut log, mut image) = open(folder.path()).expect("it is new");
            append(&mut log, &mut image, 3);
            let path = log.log.folder().to_owned();
            match is_stopped {
                true => log.close(2).expect("it is closed"),
                false => drop(log),
            }
            cut_last_batch(&path);
            let opened = open(folder.path()).map(|(log, ..)| log.end());
            if !is_stopped {
                assert_eq!(opened.expect("nothing was noted"), Offset(4), "what was cut off, and a new epoch");
                continue;
            }
            let error = opened.expect_err("it is short").to_string();
            assert!(error.contains("ends at offset 3") && error.contains("up to offset 4"), "{error}");
            std::fs::remove_file(path.join(QUORUM_STATE)).expect("it is there");
            let (log, ..) = open(folder.path()).expect("that was the advice");
            assert_eq!((log.end(), log.epoch()), (Offset(4), LeaderEpoch(2)));
        }
    }

    #[test]
    fn those_who_come_behind_a_flush_that_found_no_files_do_not_wait_in_turn() {
        let (mut left, waits, files) = (FLUSHED_AGAIN_MAX, Cell::new(0), Cell::new(usize::MAX));
        let mut flush = || {
            let lacking = || StorageError::io("open", Path::new("log"))(io::Error::from_raw_os_error(24));
            let flush = || if waits.get() < files.get() { Err(lacking()) } else { Ok(()) };
            let before = waits.get();
            let done = flush_patiently(&mut left, flush, || waits.set(waits.get() + 1));
            (done.is_ok(), waits.get() - before)
        };
        assert_eq!(flush(), (false, FLUSHED_AGAIN_MAX));
        assert_eq!([flush(), flush()], [(false, 0); 2]);
        files.set(0);
        assert_eq!(flush(), (true, 0));
        files.set(waits.get() + 3);
        assert_eq!(flush(), (true, 3), "there are files again, so the next lack is waited for");
    }

    #[test]
    fn a_state_of_the_voter_that_cannot_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, ..) = open(folder.path()).expect("it is new");
        let path = log.log.folder().join(QUORUM_STATE);
        log.close(1).expect("it is closed");
        let state = std::fs::read(&path).expect("it was written");
        let why = || open(folder.path()).map(|(log, ..)| log.end()).expect_err("it cannot be read").to_string();
        for wrong in [&b""[..], &b"\xff"[..], &state[..state.len() / 2], &b"{\"leaderEpoch\": \"1\"}"[..]] {
            std::fs::write(&path, wrong).expect("the folder is ours");
            let error = why();
            assert!(error.contains(&*path.to_string_lossy()) && error.contains("from a copy"), "{error}");
        }
        std::fs::remove_file(&path).expect("it is there");
        std::fs::create_dir(&path).expect("the folder is ours");
        assert!(why().starts_with("cannot read "), "{}", why());
        std::fs::remove_dir(&path).expect("it is there");
        // That of a cluster with a dynamic quorum.
        std::fs::write(&path, r#"{"leaderId":1,"leaderEpoch":7,"votedId":1,"data_version":1}"#)
            .expect("the folder is ours");
        let (log, ..) = open(folder.path()).expect("it can be read");
        assert_eq!(log.epoch(), LeaderEpoch(8));
    }

    #[test]
    fn a_log_that_is_gone_but_for_its_snapshot_is_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, mut image) = open(folder.path()).expect("it is new");
        append(&mut log, &mut image, 3);
        log.take_snapshot(&image, 2).expect("it is written");
        append(&mut log, &mut image, 1);
        let path = log.log.folder().to_owned();
        log.close(3).expect("it is closed");
        for entry in os::list(&path).expect("it is there") {
            if entry.name.ends_with(".log") {
                std::fs::remove_file(path.join(entry.name)).expect("the folder is ours");
            }
        }
        let error = open(folder.path()).map(|(log, ..)| log.end()).expect_err("it is short").to_string();
        assert!(error.contains("ends at offset 4") && error.contains("up to offset 5"), "{error}");
    }

    #[test]
    fn a_snapshot_that_is_lost_or_damaged_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, mut image) = open(folder.path()).expect("it is new");
        append(&mut log, &mut image, 3);
        log.take_snapshot(&image, 2).expect("it is written");
        let path = log.log.folder().to_owned();
        log.close(3).expect("it is closed");
        for name in os::list(&path).expect("it is there").into_iter().map(|entry| entry.name) {
            // What retention had only renamed.
            if name.starts_with("00000000000000000000.") {
                std::fs::remove_file(path.join(name)).expect("the folder is ours");
            }
        }
        let snapshot = snapshot::newest(&path).expect("it can be listed").expect("it was taken").path;
        let bytes = std::fs::read(&snapshot).expect("it is there");
        let why = |what| open(folder.path()).map(|(log, ..)| log.end()).expect_err(what).to_string();
        std::fs::write(&snapshot, &bytes[..bytes.len() - 1]).expect("the folder is ours");
        let error = why("it is damaged");
        assert!(error.contains(&*snapshot.to_string_lossy()) && error.contains("from a copy"), "{error}");
        std::fs::remove_file(&snapshot).expect("the folder is ours");
        let error = why("it is lost");
        assert!(
            error.contains("offset 4") && error.contains(".checkpoint") && error.contains("from a copy"),
            "{error}"
        );
        std::fs::write(&snapshot, &bytes).expect("the folder is ours");
        open(folder.path()).expect("it is whole again");
    }
}
