//! A file of equally long entries in rising order: what the offset index and the time index have in common.
//!
//! ```text
//!   on file                                    in memory
//!   | entry 0 | entry 1 | ... | entry written-1 |  pending[0] ... pending[n-1]  |      zeros up to max_bytes
//! ```
//!
//! The newest entries wait in memory and go to the file in bunches of [`PENDING_ENTRIES_MAX`], so that an append costs
//! no call to the operating system. They may be lost in a crash: a segment that was not flushed is read again and its
//! indexes are built anew. No file stays open, so an idle or old segment costs a few words. A lookup among the written
//! entries bisects the file, which the page cache holds where it is used, and keeps the entries around what it found: a
//! reader that goes through the log finds its next places among them.
//!
//! A file that is appended to is made `max_bytes` long beforehand, as Kafka does, and cut to its entries when its
//! segment is rolled or closed. This is not where entries are understood: the two indexes do that.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::os;

/// How many entries may wait in memory.
const PENDING_ENTRIES_MAX: usize = 128;
/// Bisecting stops at so few entries.
const BISECT_ENTRIES_MIN: u32 = 32;
/// Then so many are read at once and kept: one page of the offset index.
const KEPT_ENTRIES_MAX: u32 = 512;
/// When all are looked at, so many are read at once.
const CHECKED_ENTRIES: u32 = 8192;
/// No entry is longer.
const ENTRY_BYTES_MAX: usize = 16;

/// One entry of a file.
pub(crate) trait Entry: Copy {
    /// How many bytes it takes.
    const SIZE: usize;
    /// Reads it from exactly `SIZE` bytes.
    fn decode(bytes: &[u8]) -> Self;
    /// Appends its `SIZE` bytes.
    fn encode(self, out: &mut Vec<u8>);
}

/// Entries that were read from the file, the first of them being number `first`.
#[derive(Debug)]
struct Kept<E> {
    first: u32,
    entries: Vec<E>,
}

/// A file of entries.
#[derive(Debug)]
pub(crate) struct EntryFile<E> {
    path: Box<Path>,
    max_entries: u32,
    /// How many entries the file holds; what lies behind them in the file is void.
    written: u32,
    pending: Vec<E>,
    last: Option<E>,
    kept: Mutex<Kept<E>>,
    /// Whether the file was changed since it was last flushed.
    unsynced: bool,
}

impl<E: Entry> EntryFile<E> {
    /// Makes an empty file, `max_bytes` rounded down to whole entries long; one that exists is emptied.
    pub(crate) fn create(path: &Path, max_bytes: u32) -> Result<Self> {
        os::create(path).map_err(Error::io("create", path))?;
        let mut this = Self::over(path, max_bytes);
        this.preallocate()?;
        Ok(this)
    }

    /// Opens a file that was cut to its entries, and gives the first of them too.
    pub(crate) fn open(path: &Path, max_bytes: u32) -> Result<(Self, Option<E>)> {
        let file = os::open_read_only(path).map_err(Error::io("open", path))?;
        let mut this = Self { written: Self::entries_of(&file, path)?, ..Self::over(path, max_bytes) };
        this.last = this.read_last(&file)?;
        let first = if this.written > 1 { Some(this.read_one(&file, 0)?) } else { this.last };
        Ok((this, first))
    }

    /// Opens a file that nobody cut to its entries, and does that: void ones follow the last. All others are read, and each
    /// has to follow the one before it.
    ///
    /// # Errors
    /// `Corrupt` if they do not.
    pub(crate) fn reopen(
        path: &Path,
        max_bytes: u32,
        is_void: impl Fn(&E) -> bool,
        follows: impl Fn(&E, Option<&E>) -> bool,
    ) -> Result<Self> {
        let file = os::open(path).map_err(Error::io("open", path))?;
        let count = Self::entries_of(&file, path)?;
        let mut this = Self { written: count, ..Self::over(path, max_bytes) };
        // All entries before `low` are none, all from `high` on are void. Where a crash has left holes, some entries go.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_void(&this.read_one(&file, middle)?) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let mut entries = Vec::new();
        for first in (0..low).step_by(CHECKED_ENTRIES as usize) {
            entries.clear();
            this.read(&file, first, CHECKED_ENTRIES.min(low - first), &mut entries)?;
            for (index, entry) in entries.iter().enumerate() {
                if !follows(entry, this.last.as_ref()) {
                    return Err(Error::corrupt(path, format!("entry {} does not follow", first + index as u32)));
                }
                this.last = Some(*entry);
            }
        }
        if low < count {
            this.set_length(low)?;
        }
        this.written = low;
        Ok(this)
    }

    fn entries_of(file: &File, path: &Path) -> Result<u32> {
        let length = os::length(file).map_err(Error::io("read the length of", path))?;
        if !length.is_multiple_of(E::SIZE as u64) {
            let detail = format!("{length} bytes are no whole number of {}-byte entries", E::SIZE);
            return Err(Error::corrupt(path, detail));
        }
        u32::try_from(length / E::SIZE as u64)
            .map_err(|_| Error::corrupt(path, format!("{length} bytes are more than an index can have")))
    }

    fn over(path: &Path, max_bytes: u32) -> Self {
        let max_entries = Self::entries_in(max_bytes);
        let kept = Mutex::new(Kept { first: 0, entries: Vec::new() });
        Self { path: path.into(), max_entries, written: 0, pending: Vec::new(), last: None, kept, unsynced: false }
    }

    /// At least one: without what a time index says of the end of its segment, it would be built anew at each opening.
    fn entries_in(max_bytes: u32) -> u32 {
        (max_bytes / E::SIZE as u32).max(1)
    }

    /// Takes another limit. The file keeps its length, and the entries that are there stay, with room for one more: what a
    /// time index says of the end of its segment must not be left out.
    pub(crate) fn set_max_bytes(&mut self, max_bytes: u32) {
        self.max_entries = Self::entries_in(max_bytes).max(self.count() + 1);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn count(&self) -> u32 {
        self.written + self.pending.len() as u32
    }

    pub(crate) fn max_entries(&self) -> u32 {
        self.max_entries
    }

    pub(crate) fn last(&self) -> Option<E> {
        self.last
    }

    /// Whether the next entry has those written that wait.
    pub(crate) fn is_write_due(&self) -> bool {
        self.pending.len() >= PENDING_ENTRIES_MAX
    }

    /// Adds an entry behind all others.
    pub(crate) fn push(&mut self, entry: E) -> Result<()> {
        if self.is_write_due() {
            self.write_pending()?;
        }
        self.pending.push(entry);
        self.last = Some(entry);
        Ok(())
    }

    /// The last entry that fits, with its number. `fits` holds for some of the first entries and for none after them.
    pub(crate) fn last_where(&self, fits: impl Fn(&E) -> bool) -> Result<Option<(u32, E)>> {
        // A reader at the end of the log asks for the last entry, nearly always.
        match self.last {
            None => return Ok(None),
            Some(last) if fits(&last) => return Ok(Some((self.count() - 1, last))),
            Some(_) => {}
        }
        let pending = self.pending.partition_point(&fits);
        if pending > 0 {
            return Ok(Some((self.written + pending as u32 - 1, self.pending[pending - 1])));
        }
        if self.written == 0 {
            return Ok(None);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.last_where(self.written, &fits) {
            return Ok(Some(found));
        }
        let file = os::open_read_only(&self.path).map_err(Error::io("open", &self.path))?;
        // All entries before `low` fit, none from `high` on does.
        let (mut low, mut high) = (0, self.written);
        while high - low > BISECT_ENTRIES_MIN {
            let middle = low + (high - low) / 2;
            if fits(&self.read_one(&file, middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        // The entry before `low` is the answer if none in between fits, so it is read too; and then those that a reader
        // who goes on from there will ask for.
        let first = low.saturating_sub(1);
        kept.entries.clear();
        self.read(&file, first, KEPT_ENTRIES_MAX.min(self.written - first), &mut kept.entries)?;
        kept.first = first;
        let fitting = kept.entries.partition_point(fits);
        Ok(fitting.checked_sub(1).map(|index| (first + index as u32, kept.entries[index])))
    }

    /// The entry with this number, if there are as many.
    pub(crate) fn get(&self, number: u32) -> Result<Option<E>> {
        if number >= self.written {
            return Ok(self.pending.get((number - self.written) as usize).copied());
        }
        let file = os::open_read_only(&self.path).map_err(Error::io("open", &self.path))?;
        self.read_one(&file, number).map(Some)
    }

    /// All entries, read from the file.
    pub(crate) fn all(&self) -> Result<Vec<E>> {
        let file = os::open_read_only(&self.path).map_err(Error::io("open", &self.path))?;
        let mut entries = Vec::new();
        self.read(&file, 0, self.written, &mut entries)?;
        entries.extend_from_slice(&self.pending);
        Ok(entries)
    }

    /// Keeps the first `count` entries.
    pub(crate) fn truncate(&mut self, count: u32) -> Result<()> {
        if count >= self.count() {
            return Ok(());
        }
        if count > self.written {
            self.pending.truncate((count - self.written) as usize);
            self.last = self.pending.last().copied();
            return Ok(());
        }
        self.pending = Vec::new();
        self.forget_kept();
        // A start after a kill must not find them behind later ones.
        self.set_length(count)?;
        self.written = count;
        let file = os::open_read_only(&self.path).map_err(Error::io("open", &self.path))?;
        self.last = self.read_last(&file)?;
        Ok(())
    }

    /// Makes the file as long as it may become, before it is appended to again.
    pub(crate) fn preallocate(&mut self) -> Result<()> {
        let entries = self.max_entries.max(self.written);
        self.set_length(entries)
    }

    /// Writes what waits, cuts the file behind its last entry and gives memory back: it will not be appended to soon.
    pub(crate) fn trim(&mut self) -> Result<()> {
        self.write_pending()?;
        self.pending = Vec::new();
        self.forget_kept();
        self.set_length(self.written)
    }

    /// Writes what waits, and returns when the file is on the disk.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write_pending()?;
        if self.unsynced {
            let file = os::open(&self.path).map_err(Error::io("open", &self.path))?;
            os::sync_data(&file).map_err(Error::io("flush", &self.path))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Takes the name `to`, in the same folder or another.
    pub(crate) fn rename(&mut self, to: &Path) -> Result<()> {
        os::rename(&self.path, to).map_err(Error::io("rename", &self.path))?;
        self.moved(to);
        Ok(())
    }

    /// Notes that the file, or its folder, was renamed by somebody else.
    pub(crate) fn moved(&mut self, to: &Path) {
        self.path = to.into();
    }

    /// Writes what waits.
    pub(crate) fn write_pending(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.pending.len() * E::SIZE);
        for entry in &self.pending {
            entry.encode(&mut bytes);
        }
        let file = os::open(&self.path).map_err(Error::io("open", &self.path))?;
        let position = u64::from(self.written) * E::SIZE as u64;
        os::write_all_at(&file, &bytes, position).map_err(Error::io("append to", &self.path))?;
        self.written += self.pending.len() as u32;
        self.pending.clear();
        self.unsynced = true;
        Ok(())
    }

    fn set_length(&mut self, entries: u32) -> Result<()> {
        let file = os::open(&self.path).map_err(Error::io("open", &self.path))?;
        let length = u64::from(entries) * E::SIZE as u64;
        os::set_length(&file, length).map_err(Error::io("change the length of", &self.path))?;
        self.unsynced = true;
        Ok(())
    }

    fn read_last(&self, file: &File) -> Result<Option<E>> {
        self.written.checked_sub(1).map(|index| self.read_one(file, index)).transpose()
    }

    fn read_one(&self, file: &File, index: u32) -> Result<E> {
        assert!(index < self.written, "only written entries are read");
        let mut bytes = [0; ENTRY_BYTES_MAX];
        let bytes = &mut bytes[..E::SIZE];
        let position = u64::from(index) * E::SIZE as u64;
        os::read_exact_at(file, bytes, position).map_err(Error::io("read", &self.path))?;
        Ok(E::decode(bytes))
    }

    fn read(&self, file: &File, first: u32, count: u32, entries: &mut Vec<E>) -> Result<()> {
        assert!(first + count <= self.written, "only written entries are read");
        let mut bytes = vec![0; count as usize * E::SIZE];
        let position = u64::from(first) * E::SIZE as u64;
        os::read_exact_at(file, &mut bytes, position).map_err(Error::io("read", &self.path))?;
        entries.extend(bytes.chunks_exact(E::SIZE).map(E::decode));
        Ok(())
    }

    fn forget_kept(&mut self) {
        self.kept.get_mut().unwrap_or_else(PoisonError::into_inner).entries = Vec::new();
    }
}

impl<E: Entry> Kept<E> {
    /// The last of the `written` entries that fits, if it is certainly among these: where a later one does not fit, or
    /// there is no later one.
    fn last_where(&self, written: u32, fits: impl Fn(&E) -> bool) -> Option<(u32, E)> {
        let fitting = self.entries.partition_point(fits);
        let is_certain = fitting < self.entries.len() || self.first + fitting as u32 == written;
        let index = fitting.checked_sub(1).filter(|_| is_certain)?;
        Some((self.first + index as u32, self.entries[index]))
    }
}
