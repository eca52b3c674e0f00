//! What follows from the batches: the producers that wrote them, and the transactions that were aborted.
//!
//! Both are noted as batches are appended, and found out again when a log is opened or cut: from the newest producer
//! snapshot, and the headers of the batches behind it. Of a batch that ends a transaction the record is read too.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use ottla_base::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::{BatchHeader, HEADER_BYTES, RecordIter};

use super::leftovers::remove;
use super::{Log, LogSlice};
use crate::aborted::{AbortedIndex, AbortedTransaction};
use crate::error::{Error, Result};
use crate::producer_snapshot::{SnapshotEntry, encode_snapshot, load_latest_of, snapshot_path};
use crate::producers::{EndMarker, ProducerBatch, Producers, SequenceError, Verdict};
use crate::segment::scan::{LOOKUP_CHUNK_BYTES, Scan, read_batch};
use crate::segment::{BatchAt, Segment, file_path};
use crate::{os, small_file};

/// A snapshot holds the last batch of each producer only. After a crash, a producer sends up to five again that it has not seen
/// answered, and the log has to know them all: so much is read again, if there is a snapshot in front of it.
const READ_AGAIN_BYTES: u64 = 8 << 20;
/// And so many batches for each producer, where they are large; but no more than this in all.
const UNANSWERED_BATCHES_A_PRODUCER: usize = 5;
const READ_AGAIN_BATCHES_MAX: usize = 4096;
/// A snapshot is taken whenever so much was appended, so that not all of a large segment is read after a kill; less often where
/// there are so many producers that a snapshot would be a large part of that.
const SNAPSHOT_EVERY_BYTES: u64 = 16 << 20;
const SNAPSHOT_EVERY_BYTES_A_PRODUCER: u64 = 4 << 10;
/// How many of these are kept: the last but one has at least `READ_AGAIN_BYTES` behind it.
const SNAPSHOTS_KEPT: usize = 2;

/// What a snapshot says, and of before which offset.
type Snapshot = (Offset, Vec<SnapshotEntry>);

/// The snapshots that were taken between two rolls.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// How much was appended since the last one.
    pub bytes_since: u64,
    /// In how many batches.
    pub batches_since: usize,
    /// Their offsets, rising.
    pub taken: VecDeque<Offset>,
}

/// What follows from the batches of a log.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub producers: Producers,
    /// The aborted transactions of the segments that have any, by the segments' base offsets.
    pub aborted: BTreeMap<Offset, AbortedIndex>,
}

impl Log {
    /// What is to be done with a batch that a client sent: asked before [`Log::append_leader`], and after
    /// [`Log::check_usable`], since a batch is remembered although its flush failed.
    pub fn check_producer(&self, header: &BatchHeader) -> std::result::Result<Verdict, SequenceError> {
        match producer_batch(header) {
            batch if batch.producer_id < ProducerId(0) => Ok(Verdict::Append),
            batch => self.replayed.producers.check(&batch),
        }
    }

    /// The first offset that a reader of committed records must not see, when all is replicated up to `high_watermark`.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.replayed.producers.first_unstable_offset().map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Notes how far the log is replicated.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.replayed.producers.on_high_watermark(high_watermark);
    }

    /// Forgets producers that have not written for `producer.id.expiration.ms`, and says how many.
    pub fn expire_producers(&mut self, now_ms: Timestamp) -> usize {
        self.replayed.producers.expire(now_ms, self.config.producer_id_expiration_ms)
    }

    /// The aborted transactions that a reader of committed records has to skip in `slice`, which was read up to
    /// `bound`: by rising first offset.
    pub fn aborted_transactions(&self, slice: &LogSlice, bound: Offset) -> Result<Vec<AbortedTransaction>> {
        let mut found = Vec::new();
        let index = self.segment_floor(slice.first_offset);
        let segment = self.segment(index);
        let mut later = self.replayed.aborted.range(segment.base_offset()..).map(|(_, index)| index).peekable();
        if later.peek().is_none() {
            return Ok(found);
        }
        // Those behind the slice are told when the reader gets there.
        let end = segment.bound_of((slice.position + u64::from(slice.length)) as u32)?.unwrap_or(bound);
        let end = end.min(bound).min(self.segment_end(index));
        if index < self.sealed.len() {
            self.keep_few_open(segment.base_offset());
        }
        _ = later.any(|index| index.collect(slice.first_offset, end, &mut found));
        found.sort_unstable_by_key(|transaction| transaction.first_offset);
        Ok(found)
    }

    /// Writes what is known about the producers to the snapshot at `offset`, the log's end. It is flushed together with
    /// the segment before it; should a crash tear it, its checksum tells.
    pub(super) fn snapshot_producers(&self, offset: Offset) -> Result<()> {
        let path = snapshot_path(&self.folder, offset);
        let file = os::create(&path).map_err(Error::io("create", &path))?;
        let bytes = encode_snapshot(self.replayed.producers.entries());
        os::write_all_at(&file, &bytes, 0).map_err(Error::io("write", &path))
    }

    /// Takes a snapshot at the log's end, if much was appended since the last.
    pub(super) fn snapshot_if_due(&mut self) {
        let producers = self.replayed.producers.entries().len();
        let every_bytes = SNAPSHOT_EVERY_BYTES.max(producers as u64 * SNAPSHOT_EVERY_BYTES_A_PRODUCER);
        if self.snapshots.bytes_since < every_bytes || self.snapshots.batches_since < unanswered_batches(producers) {
            return;
        }
        (self.snapshots.bytes_since, self.snapshots.batches_since) = (0, 0);
        let end = self.end_offset();
        if let Err(error) = self.snapshot_producers(end) {
            // Without it, the next start may take longer.
            tracing::warn!(%error, "a snapshot of the producers could not be taken");
            return;
        }
        self.snapshots.taken.push_back(end);
        while self.snapshots.taken.len() > SNAPSHOTS_KEPT {
            let oldest = self.snapshots.taken.pop_front().expect("there are more than are kept");
            if self.segments().any(|segment| segment.base_offset == oldest) {
                continue;
            }
            if let Err(error) = remove(&snapshot_path(&self.folder, oldest)) {
                tracing::warn!(%error, "an old snapshot of the producers stays until the next start");
            }
        }
    }

    /// Removes those of `snapshots`, which are in the folder, that no start will want. One stays at the base of each segment,
    /// and above the last base the latest and the one that a start after a crash begins with.
    pub(super) fn remove_stray_snapshots(&mut self, snapshots: &[Offset]) -> Result<()> {
        let last_base = self.active.base_offset();
        let mut later = snapshots[snapshots.partition_point(|offset| *offset <= last_base)..].to_vec();
        if later.len() > SNAPSHOTS_KEPT {
            let read_again = self.offset_in_front_of(READ_AGAIN_BYTES)?;
            let before = later.partition_point(|offset| *offset <= read_again).checked_sub(1).map(|at| later[at]);
            later.drain(..later.len() - 1);
            later.splice(..0, before.filter(|before| *before < later[0]));
        }
        self.snapshots.taken = later.into();
        let is_at_a_base = |offset| self.segments().any(|segment| segment.base_offset == offset);
        let is_stray = |offset: &&Offset| !self.snapshots.taken.contains(offset) && !is_at_a_base(**offset);
        for offset in snapshots.iter().filter(is_stray) {
            small_file::remove(&snapshot_path(&self.folder, *offset))?;
        }
        Ok(())
    }

    /// An offset that has about so many bytes behind it, or the first one of the log.
    fn offset_in_front_of(&self, bytes: u64) -> Result<Offset> {
        let mut left = bytes;
        for index in (0..self.segment_count()).rev() {
            let segment = self.segment(index);
            let size = u64::from(segment.size());
            if size < left {
                left -= size;
                continue;
            }
            let bound = segment.bound_of((size - left) as u32);
            if index < self.sealed.len() {
                self.keep_few_open(segment.base_offset());
            }
            return Ok(bound?.unwrap_or(segment.base_offset()));
        }
        Ok(self.segment(0).base_offset())
    }

    /// Finds the producers out again. Transactions aborted from `aborted_from` on, which no index holds, are found out
    /// too. `crashed` is whether producers may not have seen the last answers; `snapshots` are those in the folder, and only
    /// those that are no later than the log's end are left.
    pub(super) fn replay(&mut self, aborted_from: Offset, crashed: bool, snapshots: &mut Vec<Offset>) -> Result<()> {
        let end = self.end_offset();
        for offset in snapshots.extract_if(.., |offset| *offset > end) {
            small_file::remove(&snapshot_path(&self.folder, offset))?;
        }
        // What happened between an older snapshot and the first segment is not known any more: transactions may have ended.
        let first = self.segment(0).base_offset();
        let latest =
            |target| Ok(load_latest_of(&self.folder, snapshots, target)?.filter(|(offset, _)| *offset >= first));
        let target = aborted_from.min(end);
        let mut snapshot = if crashed { self.early_snapshot(target, latest)? } else { None };
        if snapshot.is_none() {
            snapshot = latest(target)?;
        }
        let (from, entries) = snapshot.unwrap_or((first, Vec::new()));
        let mut replayed = std::mem::take(&mut self.replayed);
        let count = replayed.producers.count_of_all().clone();
        // Those of before go first, so that nobody is counted twice.
        replayed.producers = Producers::default();
        replayed.producers = Producers::from_snapshot(entries, count);
        let done = self.replay_from(from, aborted_from, &mut replayed);
        self.replayed = replayed;
        done
    }

    /// The snapshot that a start after a crash begins with: all that may be unanswered lies behind it. `latest` gives the latest
    /// one up to an offset.
    fn early_snapshot(
        &self,
        target: Offset,
        latest: impl Fn(Offset) -> Result<Option<Snapshot>>,
    ) -> Result<Option<Snapshot>> {
        let first = self.segment(0).base_offset();
        let at = |offset| match latest(offset)? {
            // Nothing lies before the log that a snapshot could tell of.
            None if first == Offset(0) => Ok(Some((first, Vec::new()))),
            found => Ok(found),
        };
        let mut found: Option<Snapshot> = at(target.min(self.offset_in_front_of(READ_AGAIN_BYTES)?))?;
        // Few batches may be many bytes. Behind the oldest of those that are taken between two rolls there are enough.
        for _ in 0..=SNAPSHOTS_KEPT {
            let Some((offset, producers)) = &found else { break };
            if *offset <= first || self.has_batches(*offset, unanswered_batches(producers.len()))? {
                break;
            }
            let Some(earlier) = at(Offset(offset.0 - 1))? else { break };
            found = Some(earlier);
        }
        Ok(found)
    }

    /// Whether there are so many batches from an offset on, as far as they can be read.
    fn has_batches(&self, from: Offset, count: usize) -> Result<bool> {
        let mut left = count;
        for index in self.segment_floor(from)..self.segment_count() {
            if left == 0 {
                break;
            }
            let segment = self.segment(index);
            let file = segment.file()?;
            match segment.position_of(from) {
                Ok(position) => {
                    let mut scan = Scan::new(&file, segment.path(), position, segment.size(), LOOKUP_CHUNK_BYTES);
                    while left > 0
                        && let Ok(Some(batch)) = scan.next()
                    {
                        left -= usize::from(batch.last_offset() >= from);
                    }
                }
                // Damage is left to its readers.
                Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
            if index < self.sealed.len() {
                self.keep_few_open(segment.base_offset());
            }
        }
        Ok(left == 0)
    }

    fn replay_from(&self, from: Offset, aborted_from: Offset, replayed: &mut Replayed) -> Result<()> {
        if from < self.end_offset() {
            for index in self.segment_floor(from)..self.segment_count() {
                let segment = self.segment(index);
                let done = self.replay_segment(segment, from, aborted_from, replayed);
                if index < self.sealed.len() {
                    self.keep_few_open(segment.base_offset());
                }
                match done {
                    // Damage in a segment that recovery does not read is left to its readers.
                    Err(error @ Error::Corrupt { .. }) => {
                        tracing::warn!(%error, "producers and aborted transactions may be missing");
                    }
                    done => done?,
                }
            }
        }
        Ok(())
    }

    fn replay_segment(
        &self,
        segment: &dyn Segment,
        from: Offset,
        aborted_from: Offset,
        replayed: &mut Replayed,
    ) -> Result<()> {
        let (file, position) = (segment.file()?, segment.position_of(from)?);
        let mut scan = Scan::new(&file, segment.path(), position, segment.size(), LOOKUP_CHUNK_BYTES);
        while let Some(batch) = scan.next()? {
            if batch.last_offset() < from {
                continue;
            }
            let bytes = match batch.header.attributes.is_control() {
                true => read_batch(&file, segment.path(), &batch)?,
                false => vec![],
            };
            let records = bytes.get(HEADER_BYTES..).unwrap_or_default();
            let aborted = replayed.note(&batch, records).filter(|_| batch.base_offset() >= aborted_from);
            if let Some(aborted) = aborted {
                replayed.note_aborted(&self.folder, segment.base_offset(), &[aborted])?;
            }
        }
        Ok(())
    }
}

impl Replayed {
    /// Notes a batch that lies in the log now; gives the transaction that it aborted, if it did. `records` are the
    /// bytes behind its header, which only a control batch needs.
    pub fn note(&mut self, batch: &BatchAt, records: &[u8]) -> Option<AbortedTransaction> {
        let header = &batch.header;
        if !header.attributes.is_control() {
            self.producers.update(&producer_batch(header));
            return None;
        }
        let (is_abort, coordinator_epoch) = end_marker(header, records)?;
        let ended = self.producers.end_transaction(&EndMarker {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            coordinator_epoch,
            offset: batch.last_offset(),
            timestamp: header.max_timestamp,
        })?;
        is_abort.then_some(AbortedTransaction {
            producer_id: ended.producer_id,
            first_offset: ended.first_offset,
            last_offset: ended.last_offset,
            last_stable_offset: ended.last_stable_offset,
        })
    }

    /// The transactions that batches abort which are to be written: those that [`Self::note`] gives when they lie in the log. Each
    /// batch comes with the bytes behind its header.
    pub fn foretell<'a>(
        &self,
        batches: impl Iterator<Item = (&'a BatchAt, &'a [u8])> + Clone,
    ) -> Vec<AbortedTransaction> {
        let ends = |(batch, records): (&BatchAt, &[u8])| match batch.header.attributes.is_control() {
            true => end_marker(&batch.header, records).map(|(is_abort, _)| is_abort),
            false => None,
        };
        if !batches.clone().any(|batch| ends(batch) == Some(true)) {
            return Vec::new();
        }
        let (mut ongoing, mut aborted) = (self.producers.ongoing().clone(), Vec::new());
        // The open transactions of those who wrote these batches, as they will be.
        let mut open: BTreeMap<ProducerId, Option<Offset>> = BTreeMap::new();
        for (batch, records) in batches {
            let header = &batch.header;
            let (producer_id, last_offset) = (header.producer_id, batch.last_offset());
            let first = open.entry(producer_id).or_insert_with(|| self.producers.open_transaction(producer_id));
            if !header.attributes.is_control() {
                let begins = header.attributes.is_transactional() && first.is_none();
                if begins && producer_id >= ProducerId(0) && header.producer_epoch >= ProducerEpoch(0) {
                    *first = Some(batch.base_offset());
                    ongoing.insert(batch.base_offset(), producer_id);
                }
                continue;
            }
            let Some(is_abort) = ends((batch, records)) else { continue };
            let Some(first_offset) = first.take() else { continue };
            ongoing.remove(&first_offset);
            if is_abort {
                let last_stable_offset = ongoing.keys().next().copied().unwrap_or(last_offset.plus(1));
                aborted.push(AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset });
            }
        }
        aborted
    }

    /// Notes aborted transactions whose markers lie in the segment with the base offset `segment`, or are about to.
    pub fn note_aborted(&mut self, folder: &Path, segment: Offset, aborted: &[AbortedTransaction]) -> Result<()> {
        let index = match self.aborted.entry(segment) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(AbortedIndex::open(&file_path(folder, segment, "txnindex"))?),
        };
        let noted = index.append_all(aborted);
        if index.is_empty() {
            self.aborted.remove(&segment);
        }
        noted
    }

    /// Forgets the aborted transactions whose marker is at `end` or behind.
    pub fn truncate(&mut self, end: Offset) -> Result<()> {
        self.aborted.values_mut().try_for_each(|index| index.truncate_to(end))?;
        self.aborted.retain(|_, index| !index.is_empty());
        Ok(())
    }

    /// Notes that the folder was renamed.
    pub fn moved(&mut self, folder: &Path) {
        for (&segment, index) in &mut self.aborted {
            index.moved(&file_path(folder, segment, "txnindex"));
        }
    }
}

/// How many batches so many producers may send again.
fn unanswered_batches(producers: usize) -> usize {
    producers.saturating_mul(UNANSWERED_BATCHES_A_PRODUCER).min(READ_AGAIN_BATCHES_MAX)
}

fn producer_batch(header: &BatchHeader) -> ProducerBatch {
    ProducerBatch {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        base_offset: header.base_offset,
        last_offset_delta: header.last_offset_delta,
        max_timestamp: header.max_timestamp,
        is_transactional: header.attributes.is_transactional(),
    }
}

/// Whether the record of a control batch ends a transaction by aborting it, and the epoch of the coordinator that wrote
/// it; `None` for other control records, that have nothing to do with transactions.
fn end_marker(header: &BatchHeader, records: &[u8]) -> Option<(bool, i32)> {
    let record = RecordIter::new(header, records).next()?.ok()?;
    let is_abort = match ControlType::from_key(record.key?)? {
        ControlType::Abort => true,
        ControlType::Commit => false,
        _ => return None,
    };
    // The value is a version, all of which are read as 0, and the epoch.
    let coordinator_epoch = i32::from_be_bytes(*record.value?.get(2..)?.first_chunk()?);
    Some((is_abort, coordinator_epoch))
}
