//! A segment that no longer grows. Its files are opened when they are needed, so that a start with many segments costs
//! one `stat` each, and an old log costs neither memory nor file handles.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ottla_base::{Offset, Timestamp};

use super::scan::{LOOKUP_CHUNK_BYTES, Scan};
use super::{Active, IndexLimits, Intact, Segment, Torn, file_path};
use crate::error::{Error, Result};
use crate::offset_index::{OffsetIndex, OffsetPosition};
use crate::os;
use crate::time_index::{TimeIndex, TimestampOffset};

/// A segment that no longer grows.
#[derive(Debug)]
pub(crate) struct Sealed {
    base_offset: Offset,
    path: PathBuf,
    size: u32,
    limits: IndexLimits,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    file: Option<Arc<File>>,
    /// The same, as long as anybody reads from it: many slow readers are to need no more than one.
    lent: Weak<File>,
    indexes: Option<Box<Indexes>>,
    /// An entry was wrong: the files are not to be believed again.
    distrusted: bool,
    /// Once they were looked up: whoever looks for what is due asks again and again.
    first_timestamp: Option<Timestamp>,
    largest: Option<TimestampOffset>,
}

#[derive(Debug)]
struct Indexes {
    offset: OffsetIndex,
    time: TimeIndex,
}

impl Sealed {
    /// The segment with the name `base_offset` in `folder`; only the length of its log file is looked at.
    pub fn find(folder: &Path, base_offset: Offset, limits: IndexLimits) -> Result<Self> {
        let path = file_path(folder, base_offset, "log");
        let length = os::length_of(&path).map_err(Error::io("read the length of", &path))?;
        let size = u32::try_from(length)
            .ok()
            .filter(|size| *size <= i32::MAX as u32)
            .ok_or_else(|| Error::corrupt(&path, format!("{length} bytes are more than a segment can have")))?;
        Ok(Self { base_offset, path, size, limits, opened: Mutex::default() })
    }

    /// The same segment, that was active until now.
    pub(super) fn from_active(
        path: PathBuf,
        file: Option<Arc<File>>,
        size: u32,
        limits: IndexLimits,
        offset: OffsetIndex,
        time: TimeIndex,
        base_offset: Offset,
    ) -> Self {
        let indexes = Some(Box::new(Indexes { offset, time }));
        let lent = file.as_ref().map_or_else(Weak::new, Arc::downgrade);
        let opened = Opened { file, lent, indexes, ..Opened::default() };
        Self { base_offset, path, size, limits, opened: Mutex::new(opened) }
    }

    /// Lets go of all that was opened; readers that still hold the log file keep it.
    pub fn close(&self) {
        let mut opened = self.opened();
        (opened.file, opened.indexes) = (None, None);
        if opened.lent.strong_count() == 0 {
            opened.lent = Weak::new();
        }
    }

    /// The offset after the last record, which is read from the file.
    pub fn end_offset(&self) -> Result<Offset> {
        let last = self.batch_near(Offset(i64::MAX))?;
        Ok(last.map_or(self.base_offset, |batch| batch.last_offset().plus(1)))
    }

    /// The largest timestamp of the first batch, or -1.
    pub fn first_timestamp(&self) -> Result<Timestamp> {
        if let Some(known) = self.opened().first_timestamp {
            return Ok(known);
        }
        let file = self.file()?;
        let first = Scan::new(&file, &self.path, 0, self.size, LOOKUP_CHUNK_BYTES).next()?;
        let found = first.map_or(-1, |batch| batch.max_timestamp());
        self.opened().first_timestamp = Some(found);
        Ok(found)
    }

    /// Whether the log file is open.
    pub fn is_open(&self) -> bool {
        self.opened().file.is_some()
    }

    /// The log file, if it is open.
    pub fn opened_file(&self) -> Option<Arc<File>> {
        self.opened().file.clone()
    }

    /// Takes other limits, for indexes that have to be built anew.
    pub fn set_limits(&mut self, limits: IndexLimits) {
        self.limits = limits;
    }

    /// Notes that the folder was renamed.
    pub fn moved(&mut self, folder: &Path) {
        self.path = file_path(folder, self.base_offset, "log");
        self.opened.get_mut().unwrap_or_else(PoisonError::into_inner).indexes = None;
    }

    fn folder(&self) -> &Path {
        self.path.parent().expect("a segment lies in a folder")
    }

    // A panic while the lock was held left at worst nothing opened, which is a good state.
    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log file; and why it may not stay open, if that is so.
    fn open_file(&self) -> Result<(Arc<File>, Result<()>)> {
        let mut opened = self.opened();
        if opened.file.is_none() {
            opened.file = opened.lent.upgrade();
        }
        if let Some(file) = &opened.file {
            return Ok((Arc::clone(file), Ok(())));
        }
        let file = Arc::new(os::open_read_only(&self.path).map_err(Error::io("open", &self.path))?);
        let kept = os::keep(&file, os::Kept::Reading).map_err(Error::io("open", &self.path));
        if kept.is_ok() {
            opened.lent = Arc::downgrade(&file);
            opened.file = Some(Arc::clone(&file));
        }
        Ok((file, kept))
    }

    fn with_indexes<T>(&self, ask: impl FnOnce(&Indexes) -> Result<T>) -> Result<T> {
        let mut opened = self.opened();
        if opened.indexes.is_none() {
            opened.indexes = Some(Box::new(self.open_indexes(opened.distrusted)?));
            opened.distrusted = false;
        }
        ask(opened.indexes.as_ref().expect("they were opened just now"))
    }

    /// Opens the indexes, or builds them anew where they are missing or damaged, or `distrusted`.
    fn open_indexes(&self, distrusted: bool) -> Result<Indexes> {
        let open = || -> Result<Indexes> {
            if distrusted {
                return Err(Error::corrupt(&file_path(self.folder(), self.base_offset, "index"), "an entry is wrong"));
            }
            let path = |kind| file_path(self.folder(), self.base_offset, kind);
            let offset = OffsetIndex::open(&path("index"), self.base_offset, self.limits.max_bytes)?;
            let time = TimeIndex::open(&path("timeindex"), self.base_offset, self.limits.max_bytes)?;
            if offset.last().position >= self.size.max(1) {
                return Err(Error::corrupt(offset.path(), "it points behind the end of the log"));
            }
            self.check_largest(&offset, &time)?;
            Ok(Indexes { offset, time })
        };
        open().or_else(|error| {
            // They may be well.
            if error.lacks_files() {
                return Err(error);
            }
            tracing::warn!(%error, segment = %self.path.display(), "building the indexes of a segment anew");
            let (folder, base_offset, limits) = (self.folder(), self.base_offset, self.limits);
            let (mut active, torn) = Active::recover(folder, base_offset, limits, 0, Intact::ALL, &mut |_| Ok(()))?;
            if let Some(Torn { detail, .. }) = torn {
                // The start after a clean shutdown did not read this far, and only a recovery may cut. What lies before can
                // be read; whoever comes to the end of that finds the damage, without reading all of it again.
                tracing::error!(segment = %self.path.display(), detail, "a segment is damaged");
            }
            active.finish_indexes()?;
            active.flush_indexes()?;
            let (offset, time) = active.into_indexes();
            Ok(Indexes { offset, time })
        })
    }

    /// Retention deletes by the largest timestamp, so that the index is not believed without the batch that it names.
    fn check_largest(&self, offset: &OffsetIndex, time: &TimeIndex) -> Result<()> {
        let file = os::open_read_only(&self.path).map_err(Error::io("open", &self.path))?;
        let largest = time.last();
        let position = if largest.timestamp < 0 { 0 } else { offset.lookup(largest.offset)?.position };
        let mut scan = Scan::new(&file, &self.path, position, self.size, LOOKUP_CHUNK_BYTES);
        while let Some(batch) = scan.next()? {
            if batch.last_offset() >= largest.offset {
                let is_named = largest.timestamp < 0 || batch.base_offset() <= largest.offset;
                if is_named && batch.max_timestamp() == largest.timestamp {
                    return Ok(());
                }
                break;
            }
        }
        match self.size {
            0 => Ok(()),
            _ => Err(Error::corrupt(time.path(), "its last entry is not the time of the batch that it names")),
        }
    }
}

impl Segment for Sealed {
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
        Ok(self.open_file()?.0)
    }

    fn file_to_lend(&self) -> Result<Arc<File>> {
        let (file, kept) = self.open_file()?;
        kept.map(|()| file)
    }

    fn index_floor(&self, offset: Offset) -> Result<OffsetPosition> {
        self.with_indexes(|indexes| indexes.offset.lookup(offset))
    }

    fn distrust_index(&self, OffsetPosition { offset, position }: OffsetPosition) {
        tracing::warn!(segment = %self.path.display(), %offset, position, "an index entry points to no batch");
        let mut opened = self.opened();
        (opened.indexes, opened.distrusted, opened.largest) = (None, true, None);
    }

    fn bound_of(&self, position: u32) -> Result<Option<Offset>> {
        self.with_indexes(|indexes| indexes.offset.bound_of(position))
    }

    fn time_floor(&self, timestamp: Timestamp) -> Result<Offset> {
        self.with_indexes(|indexes| Ok(indexes.time.lookup(timestamp)?.offset))
    }

    fn largest(&self) -> Result<TimestampOffset> {
        if let Some(known) = self.opened().largest {
            return Ok(known);
        }
        let found = self.with_indexes(|indexes| Ok(indexes.time.last()))?;
        self.opened().largest = Some(found);
        Ok(found)
    }
}
