//! The segment that grows: the last one of a log.
//!
//! An append is one positioned write of the batch, and a note of where it lies: in the indexes (which keep new entries
//! in memory and write them in bunches) and in the [`Tail`]. A write that fails is taken back; if even that fails, the
//! segment is broken and the log takes no more.
//!
//! Its log file is open, unless it was closed because others need files. What was written through a file has to be flushed
//! before that is closed: with the last one that is open, the system may forget what it could not write.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use ottla_base::{Offset, Timestamp};

use super::scan::{LOOKUP_CHUNK_BYTES, Scan};
use super::tail::{Found, Tail};
use super::{BatchAt, Place, Sealed, Segment, file_path};
use crate::error::{Error, Result};
use crate::offset_index::{OffsetIndex, OffsetPosition};
use crate::os;
use crate::time_index::{TimeIndex, TimestampOffset};

mod recovery;

pub(crate) use recovery::{Intact, Torn};

/// How large an index may become, and how dense it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexLimits {
    pub max_bytes: u32,
    pub interval_bytes: u32,
}

/// The segment that grows.
#[derive(Debug)]
pub(crate) struct Active {
    base_offset: Offset,
    path: PathBuf,
    /// None where it was closed, until somebody needs it.
    file: OnceLock<Arc<File>>,
    /// Whether anybody has needed it since that was last asked.
    is_used: AtomicBool,
    /// The bytes of whole batches; the file may be longer where room was reserved.
    size: u32,
    end_offset: Offset,
    limits: IndexLimits,
    offset_index: OffsetIndex,
    time_index: TimeIndex,
    /// Whether the index files have the length they may grow to.
    indexes_prepared: bool,
    bytes_since_entry: u32,
    largest: TimestampOffset,
    /// The largest timestamp of the first batch, or -1.
    first_timestamp: Timestamp,
    created_ms: Timestamp,
    /// When its first batch came.
    filling_since_ms: Timestamp,
    tail: Tail,
    broken: bool,
}

impl Active {
    /// Makes a segment without records. What lay under its name is gone.
    pub fn create(
        folder: &Path,
        base_offset: Offset,
        limits: IndexLimits,
        preallocate_bytes: u32,
        now_ms: Timestamp,
    ) -> Result<Self> {
        let path = file_path(folder, base_offset, "log");
        let file = os::create(&path).map_err(Error::io("create", &path))?;
        if preallocate_bytes > 0 {
            os::set_length(&file, u64::from(preallocate_bytes)).map_err(Error::io("lengthen", &path))?;
        }
        let index_path = |kind: &str| file_path(folder, base_offset, kind);
        Self::with_empty_indexes(path, file, index_path, base_offset, limits, now_ms)
    }

    /// Makes the segment that compaction writes, which is never active. Its files end with `.cleaned`, until they take the
    /// place of others.
    pub fn create_cleaned(folder: &Path, base_offset: Offset, limits: IndexLimits) -> Result<Self> {
        let path = |kind: &str| file_path(folder, base_offset, &format!("{kind}.cleaned"));
        let log = path("log");
        let file = os::create(&log).map_err(Error::io("create", &log))?;
        Self::with_empty_indexes(log, file, path, base_offset, limits, 0)
    }

    /// Opens the last segment after a clean shutdown: only what lies behind the last index entry is read.
    ///
    /// # Errors
    /// `Corrupt` if an index or the end of the log is not as a clean shutdown leaves it: [`Active::recover`] then.
    pub fn open(folder: &Path, base_offset: Offset, limits: IndexLimits, now_ms: Timestamp) -> Result<Self> {
        let path = file_path(folder, base_offset, "log");
        let file = os::open(&path).map_err(Error::io("open", &path))?;
        let size = length_of(&file, &path)?;
        let index_path = |kind| file_path(folder, base_offset, kind);
        let offset_index = OffsetIndex::open(&index_path("index"), base_offset, limits.max_bytes)?;
        let time_index = TimeIndex::open(&index_path("timeindex"), base_offset, limits.max_bytes)?;
        let mut this = Self::indexed(path, file, limits, offset_index, time_index, now_ms)?;
        let indexed = this.offset_index.last();
        if indexed.position >= size.max(1) {
            return Err(this.no_batch_there());
        }
        let (file, path) = (Segment::file(&this)?, this.path.clone());
        let mut scan = Scan::new(&file, &path, indexed.position, size, LOOKUP_CHUNK_BYTES);
        while let Some(batch) = scan.next()? {
            if batch.position == indexed.position && batch.position > 0 && batch.last_offset() != indexed.offset {
                return Err(this.no_batch_there());
            }
            this.note(&batch)?;
        }
        this.guess_age(now_ms);
        Ok(this)
    }

    /// The segment up to the batch of the last index entry.
    fn indexed(
        path: PathBuf,
        file: File,
        limits: IndexLimits,
        offset_index: OffsetIndex,
        time_index: TimeIndex,
        now_ms: Timestamp,
    ) -> Result<Self> {
        let (base_offset, size, largest) =
            (offset_index.base_offset(), offset_index.last().position, time_index.last());
        let first_timestamp = match size {
            0 => -1,
            _ => match Scan::new(&file, &path, 0, length_of(&file, &path)?, LOOKUP_CHUNK_BYTES).next() {
                Ok(first) => first.map_or(-1, |batch| batch.max_timestamp()),
                // It is for its readers to find out. What lies behind it is not to go for a time.
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::error!(%error, "the first batch of a log's last segment is damaged");
                    -1
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Self {
            base_offset,
            path,
            file: OnceLock::from(Arc::new(file)),
            is_used: AtomicBool::new(false),
            size,
            end_offset: base_offset,
            limits,
            offset_index,
            time_index,
            indexes_prepared: false,
            bytes_since_entry: 0,
            largest,
            first_timestamp,
            created_ms: now_ms,
            filling_since_ms: now_ms,
            tail: Tail::default(),
            broken: false,
        })
    }

    /// The time of the first batch is the nearest to when it came that the files tell.
    fn guess_age(&mut self, now_ms: Timestamp) {
        if (0..=now_ms).contains(&self.first_timestamp) {
            self.filling_since_ms = self.first_timestamp;
        }
    }

    fn no_batch_there(&self) -> Error {
        Error::corrupt(self.offset_index.path(), "its last entry points to no batch of the log")
    }

    /// As [`Active::open`], or where that finds something wrong, [`Active::recover`], with what is `intact`; but not where it cannot
    /// look, because too much is open.
    pub fn open_or_recover(
        folder: &Path,
        base_offset: Offset,
        limits: IndexLimits,
        now_ms: Timestamp,
        intact: Intact,
    ) -> Result<(Self, Option<Torn>)> {
        match Self::open(folder, base_offset, limits, now_ms) {
            Ok(active) => Ok((active, None)),
            Err(error) if matches!(error, Error::WrongFormat { .. }) || error.lacks_files() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "reading the whole of a log's last segment");
                Self::recover(folder, base_offset, limits, now_ms, intact, &mut |_| Ok(()))
            }
        }
    }

    fn with_empty_indexes(
        path: PathBuf,
        file: File,
        index_path: impl Fn(&str) -> PathBuf,
        base_offset: Offset,
        limits: IndexLimits,
        now_ms: Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            base_offset,
            path,
            file: OnceLock::from(Arc::new(file)),
            is_used: AtomicBool::new(false),
            size: 0,
            end_offset: base_offset,
            limits,
            offset_index: OffsetIndex::create(&index_path("index"), base_offset, limits.max_bytes)?,
            time_index: TimeIndex::create(&index_path("timeindex"), base_offset, limits.max_bytes)?,
            indexes_prepared: true,
            bytes_since_entry: 0,
            largest: TimestampOffset { timestamp: -1, offset: base_offset },
            first_timestamp: -1,
            created_ms: now_ms,
            filling_since_ms: now_ms,
            tail: Tail::default(),
            broken: false,
        })
    }

    /// The offset after the last record.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Whether another batch with these offsets can be part of this segment.
    pub fn fits(&self, base_offset: Offset, last_offset: Offset) -> bool {
        base_offset >= self.end_offset && last_offset.0 - self.base_offset.0 <= i64::from(i32::MAX)
    }

    /// Whether an index has no room for another entry.
    pub fn is_index_full(&self) -> bool {
        self.offset_index.is_full() || self.time_index.is_full()
    }

    /// How long the segment has been filling at `now_ms`, when records as late as `max_timestamp` come: by the records'
    /// own time if the first batch has one, so that a log that is being copied rolls where the first one did.
    pub fn age_ms(&self, now_ms: Timestamp, max_timestamp: Timestamp) -> i64 {
        if self.first_timestamp >= 0 {
            max_timestamp.saturating_sub(self.first_timestamp)
        } else {
            now_ms.saturating_sub(self.created_ms)
        }
    }

    /// Since when it has had records, as far as that is known.
    pub fn filling_since_ms(&self) -> Timestamp {
        self.filling_since_ms
    }

    /// A batch is about to come.
    pub fn begin_filling(&mut self, now_ms: Timestamp) {
        if self.size == 0 {
            self.filling_since_ms = now_ms;
        }
    }

    /// Writes `first` and then `rest`, together the whole batches of `batches`, whose positions are those they will
    /// have. Nothing is left of them on an error, unless the segment [is broken](Self::is_broken) from then on.
    pub fn append(&mut self, first: &[u8], rest: &[u8], batches: &[BatchAt]) -> Result<()> {
        assert!(!self.broken, "a log with a broken segment takes no more");
        self.open_to_write()?;
        self.prepare_indexes()?;
        let before = (self.size, self.end_offset, self.largest, self.bytes_since_entry, self.first_timestamp);
        let written = os::write_two_at(self.opened(), first, rest, u64::from(self.size))
            .map_err(Error::io("append to", &self.path))
            .and_then(|()| batches.iter().try_for_each(|batch| self.note(batch)));
        let Err(error) = written else { return Ok(()) };
        (self.size, self.end_offset, self.largest, self.bytes_since_entry, self.first_timestamp) = before;
        self.tail.clear();
        let taken_back = os::set_length(self.opened(), u64::from(self.size))
            .map_err(Error::io("take a failed write back from", &self.path))
            .and_then(|()| self.offset_index.truncate_to(self.end_offset))
            .and_then(|()| self.time_index.truncate_to(self.end_offset));
        if let Err(error) = taken_back {
            tracing::error!(%error, "what is left of a failed write could not be removed");
            self.broken = true;
        }
        Err(error)
    }

    /// Asks whether its file may stay open, for `kept`.
    ///
    /// # Errors
    /// It [lacks files](Error::lacks_files).
    pub fn keep_open(&self, kept: os::Kept) -> Result<()> {
        self.file.get().map_or(Ok(()), |file| os::keep(file, kept)).map_err(Error::io("open", &self.path))
    }

    /// The log file, if it is open.
    pub fn opened_file(&self) -> Option<Arc<File>> {
        self.file.get().cloned()
    }

    /// Whether nobody has used the open file since this was last asked, and nobody holds it.
    pub fn is_idle(&mut self) -> bool {
        let was_used = std::mem::take(self.is_used.get_mut());
        !was_used && self.file.get().is_some_and(|file| Arc::strong_count(file) == 1)
    }

    /// Closes the file until somebody needs it. All that was written was flushed.
    pub fn close_file(&mut self) {
        self.file.take();
    }

    /// Whether the log file is still in a folder.
    pub fn is_there(&self) -> Result<bool> {
        let found = self.file.get().map_or_else(|| os::exists(&self.path), |file| os::has_name(file));
        found.map_err(Error::io("look at", &self.path))
    }

    /// Whether a write failed and could not be taken back.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Cuts off all batches that end with `offset` or later, for good.
    pub fn truncate_to(&mut self, offset: Offset, now_ms: Timestamp) -> Result<()> {
        let Some(place) = self.locate(offset)? else { return Ok(()) };
        let file = Segment::file(self)?;
        os::set_length(&file, u64::from(place.position)).map_err(Error::io("cut", &self.path))?;
        os::sync_data(&file).map_err(Error::io("flush", &self.path))?;
        self.offset_index.truncate_to(offset)?;
        self.time_index.truncate_to(offset)?;
        self.trim_indexes()?;
        let folder = self.path.parent().expect("a segment lies in a folder");
        // What is known about the end (its largest timestamp, its last batches) is learnt again from the files.
        *self = Self::open(folder, self.base_offset, self.limits, now_ms)?;
        Ok(())
    }

    /// Cuts the log file behind the last whole batch.
    pub fn cut(&mut self) -> Result<()> {
        os::set_length(&*Segment::file(self)?, u64::from(self.size)).map_err(Error::io("cut", &self.path))
    }

    /// Makes the log file as old as what it was written from.
    pub fn set_modified_ms(&self, modified_ms: Timestamp) -> Result<()> {
        os::set_modified_ms(&*Segment::file(self)?, modified_ms).map_err(Error::io("set the time of", &self.path))
    }

    /// Returns when the log file is on the disk, with its length.
    pub fn flush_log(&self) -> Result<()> {
        os::sync_data(&*Segment::file(self)?).map_err(Error::io("flush", &self.path))
    }

    /// Brings the files into the shape in which a segment is left: indexes with their final entry and without spare
    /// room, the log without reserved room.
    pub fn trim(&mut self) -> Result<()> {
        self.finish_indexes()?;
        let length = self.file.get().map_or_else(|| os::length_of(&self.path), |file| os::length(file));
        if length.map_err(Error::io("read the length of", &self.path))? != u64::from(self.size) {
            self.cut()?;
        }
        Ok(())
    }

    /// Brings the indexes alone into that shape.
    pub fn finish_indexes(&mut self) -> Result<()> {
        self.time_index.maybe_append(self.largest.timestamp, self.largest.offset)?;
        self.trim_indexes()
    }

    /// Ends the growth of this segment, which was trimmed.
    pub fn seal(self) -> Sealed {
        let Self { base_offset, path, file, size, limits, offset_index, time_index, .. } = self;
        Sealed::from_active(path, file.into_inner(), size, limits, offset_index, time_index, base_offset)
    }

    pub(super) fn into_indexes(self) -> (OffsetIndex, TimeIndex) {
        (self.offset_index, self.time_index)
    }

    /// Returns when both indexes are on the disk.
    pub fn flush_indexes(&mut self) -> Result<()> {
        self.time_index.flush()?;
        self.offset_index.flush()
    }

    /// Takes new limits; the index files keep the length they have.
    pub fn set_limits(&mut self, limits: IndexLimits) {
        self.limits = limits;
        self.offset_index.set_max_bytes(limits.max_bytes);
        self.time_index.set_max_bytes(limits.max_bytes);
    }

    /// Notes that the folder was renamed.
    pub fn moved(&mut self, folder: &Path) {
        self.path = file_path(folder, self.base_offset, "log");
        self.offset_index.moved(&file_path(folder, self.base_offset, "index"));
        self.time_index.moved(&file_path(folder, self.base_offset, "timeindex"));
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        assert!(self.end_offset >= self.base_offset);
        assert!(self.size > 0 || self.end_offset == self.base_offset, "offsets without bytes");
        assert!(self.offset_index.last().position <= self.size, "the index points behind the log");
        assert!(self.largest.timestamp >= self.time_index.last().timestamp, "the time index is ahead");
        assert!(self.largest.offset <= self.end_offset);
    }

    /// The log file, opened if it was closed; and why it may not stay open for `kept`, if that is so.
    fn open_again(&self, kept: os::Kept) -> Result<(Arc<File>, Result<()>)> {
        self.is_used.store(true, Ordering::Relaxed);
        if let Some(file) = self.file.get() {
            return Ok((Arc::clone(file), Ok(())));
        }
        let file = Arc::new(os::open(&self.path).map_err(Error::io("open", &self.path))?);
        match os::keep(&file, kept).map_err(Error::io("open", &self.path)) {
            Ok(()) => Ok((Arc::clone(self.file.get_or_init(|| file)), Ok(()))),
            refused => Ok((file, refused)),
        }
    }

    /// Opens the log file for what is to be written, unless it is open.
    fn open_to_write(&mut self) -> Result<()> {
        *self.is_used.get_mut() = true;
        if self.file.get().is_some() { Ok(()) } else { self.open_again(os::Kept::More)?.1 }
    }

    fn opened(&self) -> &File {
        self.file.get().expect("it was opened before, and is not closed meanwhile")
    }

    /// Counts a batch that lies at the end in.
    fn note(&mut self, batch: &BatchAt) -> Result<()> {
        assert_eq!(batch.position, self.size, "batches lie one behind the other");
        let (last_offset, max_timestamp) = (batch.last_offset(), batch.max_timestamp());
        if max_timestamp > self.largest.timestamp {
            self.largest = TimestampOffset { timestamp: max_timestamp, offset: last_offset };
        }
        if self.size == 0 {
            self.first_timestamp = max_timestamp;
        }
        if self.bytes_since_entry > self.limits.interval_bytes {
            if self.offset_index.is_write_due() {
                // The files of a killed process lack no time in front of the last offset that is in them.
                self.time_index.write()?;
            }
            self.offset_index.append(last_offset, batch.position)?;
            // The last place is for the final entry, also where all batches of a segment come without a roll in between:
            // when it is read anew, or from a leader.
            if !self.time_index.is_full() {
                self.time_index.maybe_append(self.largest.timestamp, self.largest.offset)?;
            }
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(batch.size);
        self.size = batch.end();
        self.end_offset = last_offset.plus(1);
        self.tail.push(Place::from(batch));
        Ok(())
    }

    /// Gives the index files their full length, as Kafka does: not when the log is opened, since most logs of a broker
    /// are not written to before it stops.
    fn prepare_indexes(&mut self) -> Result<()> {
        if !self.indexes_prepared {
            self.offset_index.preallocate()?;
            self.time_index.preallocate()?;
            self.indexes_prepared = true;
        }
        Ok(())
    }

    fn trim_indexes(&mut self) -> Result<()> {
        self.time_index.trim()?;
        self.offset_index.trim()?;
        self.indexes_prepared = false;
        Ok(())
    }
}

impl Segment for Active {
    fn base_offset(&self) -> Offset {
        self.base_offset
    }

    fn size(&self) -> u32 {
        self.size
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self) -> Result<Arc<File>> {
        Ok(self.open_again(os::Kept::Reading)?.0)
    }

    fn file_to_lend(&self) -> Result<Arc<File>> {
        let (file, kept) = self.open_again(os::Kept::Reading)?;
        kept.map(|()| file)
    }

    fn index_floor(&self, offset: Offset) -> Result<OffsetPosition> {
        self.offset_index.lookup(offset)
    }

    fn distrust_index(&self, OffsetPosition { offset, position }: OffsetPosition) {
        let index = self.offset_index.path().display();
        tracing::error!(%index, %offset, position, "an index entry points to no batch; searching from the segment's start");
    }

    fn bound_of(&self, position: u32) -> Result<Option<Offset>> {
        self.offset_index.bound_of(position)
    }

    fn time_floor(&self, timestamp: Timestamp) -> Result<Offset> {
        Ok(self.time_index.lookup(timestamp)?.offset)
    }

    fn largest(&self) -> Result<TimestampOffset> {
        Ok(self.largest)
    }

    fn locate(&self, offset: Offset) -> Result<Option<Place>> {
        match self.tail.find(offset) {
            Found::At(place) => return Ok(Some(place)),
            Found::Behind => return Ok(None),
            Found::Unknown => {}
        }
        self.locate_by_index(offset)
    }
}

fn length_of(file: &File, path: &Path) -> Result<u32> {
    let length = os::length(file).map_err(Error::io("read the length of", path))?;
    u32::try_from(length)
        .ok()
        .filter(|length| *length <= i32::MAX as u32)
        .ok_or_else(|| Error::corrupt(path, format!("{length} bytes are more than a segment can have")))
}
