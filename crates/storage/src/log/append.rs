//! Adding batches at the end: those of clients, whose offsets the leader gives, and those that a leader already gave.
//!
//! ```text
//!   as it came   | base offset | length | epoch | .. | attributes, timestamps .. | records ...                 |
//!   written      | a new header of 61 bytes, from the stack                      | from where the records lie  |
//! ```
//!
//! The records are neither copied nor unpacked: one vectored write takes the new header and the old rest.

use ottla_base::{LeaderEpoch, Offset, Random, Timestamp};
use ottla_protocol::records::batch::crc_of;
use ottla_protocol::records::{Batch, BatchHeader, HEADER_BYTES, TimestampChange, patched_header};

use super::leftovers::remove_segment;
use super::{Log, new_segment};
use crate::aborted::AbortedTransaction;
use crate::error::{Error, Result};
use crate::os;
use crate::segment::scan::header_of;
use crate::segment::{Active, BatchAt, Segment};

/// What the leader adds to a client's batch.
#[derive(Clone, Copy, Debug)]
pub struct LeaderAppend {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The time.
    pub now_ms: Timestamp,
    /// Whether the records get the time of the append instead of their own (`message.timestamp.type=LogAppendTime`).
    pub log_append_time: bool,
    /// The largest timestamp of the records, found by whoever checked them: the batch's own word is not trusted.
    pub max_timestamp: Timestamp,
}

/// What was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The time given to all records, or -1 where they keep their own.
    pub log_append_time_ms: Timestamp,
}

impl Log {
    /// Appends a client's batch, with the next offsets. It was checked, its producer's sequence included.
    ///
    /// # Errors
    /// `Io` if it could not be written; nothing is left of it then, unless the log takes no more from then on. `Unusable`
    /// if that is so already. `InvalidRecords` if there are not as many offsets left as it has records.
    pub fn append_leader(&mut self, batch: &Batch<'_>, assign: LeaderAppend) -> Result<Appended> {
        self.check_usable()?;
        let base_offset = self.end_offset();
        let timestamps = match assign.log_append_time {
            true => TimestampChange::LogAppendTime(assign.now_ms),
            false => TimestampChange::CreateTime { max_timestamp: assign.max_timestamp },
        };
        let patched = patched_header(batch, base_offset, assign.leader_epoch, timestamps);
        let header = BatchHeader::parse(&patched).expect("the header of a checked batch was only given other values");
        let delta = i64::from(header.last_offset_delta);
        // There is to be one more, the log's end then. Past the largest number, offsets would begin anew below 0.
        if base_offset.0.checked_add(delta).is_none_or(|last| last == i64::MAX) {
            let detail = format!("the log ends at {base_offset}, and there are no offsets left for them");
            return Err(Error::InvalidRecords { detail });
        }
        let last_offset = header.last_offset();
        let size = header.size_bytes();
        self.roll_if_due(size, base_offset, last_offset, header.max_timestamp, assign.now_ms)?;
        let records = batch.records();
        let batch = BatchAt { position: self.active.size(), size: size as u32, header };
        let aborted = self.note_aborted(std::iter::once((&batch, records)))?;
        self.write(&patched, records, std::slice::from_ref(&batch), &aborted)?;
        assert_eq!(self.note(&batch, records), aborted.first().copied(), "it was foretold");
        self.snapshot_if_due();
        self.owe_flush();
        let log_append_time_ms = if assign.log_append_time { assign.now_ms } else { -1 };
        Ok(Appended { base_offset, last_offset, log_append_time_ms })
    }

    /// Appends batches as a leader sent them: with offsets, which may leave a gap, and epochs. All of them or none.
    ///
    /// # Errors
    /// `InvalidRecords` if they are not whole, intact batches whose offsets rise, the first from the log's end on; else as
    /// for [`Log::append_leader`].
    pub fn append_follower(&mut self, bytes: &[u8], now_ms: Timestamp) -> Result<Appended> {
        self.check_usable()?;
        let mut batches = parse_batches(bytes).map_err(|detail| Error::InvalidRecords { detail })?;
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Err(Error::InvalidRecords { detail: "there is no batch".to_owned() });
        };
        let (base_offset, last_offset, end) = (first.base_offset(), last.last_offset(), self.end_offset());
        if base_offset < end {
            return Err(Error::InvalidRecords { detail: format!("offset {base_offset} comes before the end, {end}") });
        }
        let max_timestamp = batches.iter().map(BatchAt::max_timestamp).max().unwrap_or(-1);
        self.roll_if_due(bytes.len(), base_offset, last_offset, max_timestamp, now_ms)?;
        let position = self.active.size();
        batches.iter_mut().for_each(|batch| batch.position += position);
        let with_records = batches.iter().map(|batch| {
            let from = (batch.position - position) as usize;
            (batch, &bytes[from + HEADER_BYTES..from + batch.size as usize])
        });
        let aborted = self.note_aborted(with_records.clone())?;
        self.write(bytes, &[], &batches, &aborted)?;
        let noted: Vec<_> = with_records.filter_map(|(batch, records)| self.note(batch, records)).collect();
        assert_eq!(noted, aborted, "they were foretold");
        self.snapshot_if_due();
        self.owe_flush();
        Ok(Appended { base_offset, last_offset, log_append_time_ms: -1 })
    }

    /// Begins a new segment at the log's end, unless the active one is empty.
    pub fn roll(&mut self, now_ms: Timestamp) -> Result<()> {
        self.check_usable()?;
        self.roll_at(self.end_offset(), now_ms)
    }

    /// Begins a new segment at `base_offset`, where the log's end is or before which all from there on was compacted away.
    pub fn roll_to(&mut self, base_offset: Offset, now_ms: Timestamp) -> Result<()> {
        self.check_usable()?;
        let (log_start, log_end) = (self.start_offset, self.end_offset());
        if base_offset < log_end {
            return Err(Error::OffsetOutOfRange { offset: base_offset, log_start, log_end });
        }
        self.roll_at(base_offset, now_ms)?;
        // Where it had no records, it begins there too.
        self.start_offset = self.start_offset.max(self.segment(0).base_offset());
        Ok(())
    }

    fn roll_if_due(
        &mut self,
        size_bytes: usize,
        base_offset: Offset,
        last_offset: Offset,
        max_timestamp: Timestamp,
        now_ms: Timestamp,
    ) -> Result<()> {
        let (size, limit) = (u64::from(self.active.size()), self.config.segment_bytes_max());
        // The positions in an index are 31 bits long; no batch or fetch comes near that on its own.
        assert!(size_bytes <= i32::MAX as usize, "{size_bytes} bytes are more than a segment can have");
        let too_large = size + size_bytes as u64 > limit.min(i32::MAX as u64);
        let too_old = self.active.age_ms(now_ms, max_timestamp) > self.config.segment_ms - self.jitter_ms();
        // Differs from Kafka: retention takes whole segments, so that a long one would keep its oldest records for as long
        // again as it took to fill.
        let filling_ms = now_ms.saturating_sub(self.active.filling_since_ms());
        let too_long = self.config.retention_part_ms().is_some_and(|part_ms| filling_ms > part_ms);
        let due = size > 0 && (too_large || too_old || too_long || self.active.is_index_full());
        if due || !self.active.fits(base_offset, last_offset) {
            // As Kafka does: where offsets are missing before the batch, because it was copied from a log that was compacted, that is
            // inside of the new segment. Between two segments it would look as if records were lost.
            let nearest = Offset(last_offset.0 - i64::from(i32::MAX)).max(self.end_offset());
            let base_offset = if size > 0 { nearest.min(base_offset) } else { base_offset };
            self.roll_at(base_offset, now_ms)?;
        }
        self.active.begin_filling(now_ms);
        Ok(())
    }

    /// Begins a new segment at `base_offset`. If that fails, the old one goes on.
    fn roll_at(&mut self, base_offset: Offset, now_ms: Timestamp) -> Result<()> {
        let old_base = self.active.base_offset();
        if self.active.size() == 0 {
            if old_base != base_offset {
                self.active = self.create_segment(base_offset, now_ms)?;
                remove_segment(&self.folder, old_base)?;
            }
            return Ok(());
        }
        self.active.trim()?;
        self.snapshot_producers(base_offset)?;
        let fresh = self.create_segment(base_offset, now_ms)?;
        self.sealed.push(std::mem::replace(&mut self.active, fresh).seal());
        self.unflushed.sealed.insert(old_base);
        self.has_rolled = true;
        self.keep_few_open(old_base);
        Ok(())
    }

    /// Makes a segment without records. If that fails, nothing is left of it: the next start would take it for the end of
    /// the log, behind which the segment before it has gone on.
    fn create_segment(&mut self, base_offset: Offset, now_ms: Timestamp) -> Result<Active> {
        self.unflushed.names += 1;
        let made = new_segment(&self.folder, base_offset, &self.config, now_ms);
        // It takes the place of the one before, if that is open.
        let kept = if self.active.opened_file().is_some() { os::Kept::Another } else { os::Kept::More };
        let kept = made.and_then(|active| active.keep_open(kept).map(|()| active));
        kept.or_else(|error| {
            let removed = remove_segment(&self.folder, base_offset);
            self.for_good("removing a segment that was only half made", removed)?;
            Err(error)
        })
    }

    /// How much earlier than `segment.ms` this segment rolls: always the same for one segment, so that a restart does
    /// not change it.
    fn jitter_ms(&self) -> i64 {
        let most = self.config.segment_jitter_ms.min(self.config.segment_ms);
        if most <= 0 {
            return 0;
        }
        let topic = u64::from(crc32c::crc32c(self.topic_partition.topic.as_bytes()));
        let segment = self.active.base_offset().0 as u64 ^ (self.topic_partition.partition.0 as u64) << 32;
        Random::new(topic ^ segment).below(most as u64) as i64
    }

    /// Notes which transactions batches abort that are about to be written, and gives them. Behind the write it would be too late
    /// where there is no room, or no file: readers would be shown what was aborted.
    fn note_aborted<'a>(
        &mut self,
        batches: impl Iterator<Item = (&'a BatchAt, &'a [u8])> + Clone,
    ) -> Result<Vec<AbortedTransaction>> {
        let aborted = self.replayed.foretell(batches);
        if aborted.is_empty() {
            return Ok(aborted);
        }
        let noted = self.replayed.note_aborted(&self.folder, self.active.base_offset(), &aborted);
        match noted {
            Err(error) if error.is_full() || error.lacks_files() => Err(error),
            noted => self.for_good("noting an aborted transaction", noted).map(|()| aborted),
        }
    }

    /// Writes batches to the active segment, which abort these transactions.
    fn write(&mut self, first: &[u8], rest: &[u8], batches: &[BatchAt], aborted: &[AbortedTransaction]) -> Result<()> {
        let written = self.active.append(first, rest, batches);
        if self.active.is_broken() {
            return self.for_good("taking a failed write back", written);
        }
        if let (Err(_), Some(first)) = (&written, aborted.first()) {
            let taken_back = self.replayed.truncate(first.last_offset);
            self.for_good("taking back that a transaction was aborted", taken_back)?;
        }
        written
    }

    /// Notes what follows from a batch that was written; gives the transaction that it aborted.
    fn note(&mut self, batch: &BatchAt, records: &[u8]) -> Option<AbortedTransaction> {
        self.unflushed.records += batch.header.last_offset_delta as u64 + 1;
        self.snapshots.bytes_since += u64::from(batch.size);
        self.snapshots.batches_since += 1;
        self.epochs.assign(batch.leader_epoch(), batch.base_offset());
        self.replayed.note(batch, records)
    }

    /// The append that reaches `flush.messages` is to wait for the disk, as in Kafka; `flush.ms` is for the log's owner,
    /// who has a clock.
    fn owe_flush(&mut self) {
        let is_many = self.config.flush_messages.is_some_and(|limit| self.unflushed.records >= limit);
        if is_many || self.config.flush_before_ack {
            self.unflushed.owed = self.end_offset();
        }
    }
}

/// The batches in `bytes`, with their positions in it, if all of them are whole and intact.
fn parse_batches(bytes: &[u8]) -> std::result::Result<Vec<BatchAt>, String> {
    let (mut batches, mut position, mut last_offset): (Vec<BatchAt>, usize, _) = (Vec::new(), 0, None);
    while position < bytes.len() {
        let rest = &bytes[position..];
        let (header, size) = header_of(rest, rest.len(), last_offset)?;
        if crc_of(&rest[..size as usize]) != header.crc {
            return Err(format!("the batch of offset {} has a wrong checksum", header.base_offset));
        }
        let batch = BatchAt { position: position as u32, size, header };
        last_offset = Some(batch.last_offset());
        position += size as usize;
        batches.push(batch);
    }
    Ok(batches)
}
