//! A segment that no longer grows. Its files are opened when they are needed, so that a start with many segments costs
//! one `stat` each, and an old log costs neither memory nor file handles.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_base::{Offset, Timestamp};

use super::scan::{LOOKUP_CHUNK_BYTES, Scan};
use super::{Active, IndexLimits, Segment, Torn, file_path};
use crate::error::{Error, Result};
use crate::offset_index::OffsetIndex;
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
    indexes: Option<Box<Indexes>>,
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
        file: Arc<File>,
        size: u32,
        limits: IndexLimits,
        offset: OffsetIndex,
        time: TimeIndex,
        base_offset: Offset,
    ) -> Self {
        let opened = Opened { file: Some(file), indexes: Some(Box::new(Indexes { offset, time })) };
        Self { base_offset, path, size, limits, opened: Mutex::new(opened) }
    }

    /// Lets go of all that was opened; readers that still hold the log file keep it.
    pub fn close(&self) {
        *self.opened() = Opened::default();
    }

    /// The offset after the last record, which is read from the file.
    pub fn end_offset(&self) -> Result<Offset> {
        let (file, position) = (self.file()?, self.with_indexes(|indexes| Ok(indexes.offset.last().position))?);
        let mut scan = Scan::new(&file, &self.path, position, self.size, LOOKUP_CHUNK_BYTES);
        let mut end = self.base_offset;
        while let Some(batch) = scan.next()? {
            end = batch.last_offset().plus(1);
        }
        Ok(end)
    }

    /// Whether the log file is open.
    pub fn is_open(&self) -> bool {
        self.opened().file.is_some()
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

    fn with_indexes<T>(&self, ask: impl FnOnce(&Indexes) -> Result<T>) -> Result<T> {
        let mut opened = self.opened();
        if opened.indexes.is_none() {
            opened.indexes = Some(Box::new(self.open_indexes()?));
        }
        ask(opened.indexes.as_ref().expect("they were opened just now"))
    }

    /// Opens the indexes, or builds them anew where they are missing or damaged.
    fn open_indexes(&self) -> Result<Indexes> {
        let open = || -> Result<Indexes> {
            let path = |kind| file_path(self.folder(), self.base_offset, kind);
            let offset = OffsetIndex::open(&path("index"), self.base_offset, self.limits.max_bytes)?;
            let time = TimeIndex::open(&path("timeindex"), self.base_offset, self.limits.max_bytes)?;
            if offset.last().position >= self.size.max(1) {
                return Err(Error::corrupt(offset.path(), "it points behind the end of the log"));
            }
            Ok(Indexes { offset, time })
        };
        open().or_else(|error| {
            tracing::warn!(%error, segment = %self.path.display(), "building the indexes of a segment anew");
            let (mut active, torn) = Active::recover(self.folder(), self.base_offset, self.limits, 0, &mut |_| Ok(()))?;
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
        let mut opened = self.opened();
        if let Some(file) = &opened.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(os::open_read_only(&self.path).map_err(Error::io("open", &self.path))?);
        opened.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn position_floor(&self, offset: Offset) -> Result<u32> {
        self.with_indexes(|indexes| Ok(indexes.offset.lookup(offset)?.position))
    }

    fn bound_of(&self, position: u32) -> Result<Option<Offset>> {
        self.with_indexes(|indexes| indexes.offset.bound_of(position))
    }

    fn time_floor(&self, timestamp: Timestamp) -> Result<Offset> {
        self.with_indexes(|indexes| Ok(indexes.time.lookup(timestamp)?.offset))
    }

    fn largest(&self) -> Result<TimestampOffset> {
        self.with_indexes(|indexes| Ok(indexes.time.last()))
    }
}
