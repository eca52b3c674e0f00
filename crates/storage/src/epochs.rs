//! Which leader wrote which part of a log: the leader epochs of one partition, and their `leader-epoch-checkpoint` file.
//!
//! ```text
//!   epoch 0        epoch 3              epoch 4
//!   |--------------|--------------------|-----------...
//!   start 0        start 120            start 450            log end
//! ```
//!
//! A follower or consumer asks where an epoch ended to learn whether its copy of the log still agrees with the leader's
//! (KIP-101, KIP-279, KIP-320). Epochs and start offsets both rise strictly.
//!
//! What is forgotten because the log was cut is on the disk when it returns. A new epoch is written with the next flush of the
//! log, and the recovery point does not pass its first batch before: a start finds it again in the batches. So it does with what
//! is forgotten because the log begins later, and no producer waits for the disk. The file is never written over: it is whole,
//! and lacks at most the latest changes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_base::{LeaderEpoch, Offset};

use crate::checkpoint::{lines, number, read_lines};
use crate::error::{Error, Result};
use crate::small_file::{self, Replacement};

/// The name of the file, in the partition's folder.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// The leader epochs of one log, oldest first.
#[derive(Debug)]
pub struct LeaderEpochs {
    entries: Vec<EpochStart>,
    file: Arc<EpochsFile>,
    /// How often an epoch was added, or the file written.
    changes: u64,
    /// No epoch that begins before this was added since the file had them all.
    unwritten_from: Offset,
    /// The file still holds what lies before the log's start.
    is_file_behind: bool,
}

/// The file, which a flush writes while nobody holds the log.
#[derive(Debug)]
struct EpochsFile {
    /// Where it lies; held while it is written.
    path: Mutex<PathBuf>,
    /// Up to which of the changes it has them.
    written: AtomicU64,
}

/// Epochs that the file lacks, with those that it has.
#[derive(Debug)]
pub(crate) struct UnwrittenEpochs {
    file: Arc<EpochsFile>,
    changes: u64,
    text: String,
}

/// Where the records of one leader begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The offset of its first record.
    pub start_offset: Offset,
}

/// Where the records of one leader, or of the last one before it, end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The greatest known epoch not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

impl LeaderEpochs {
    /// Reads the checkpoint in a partition's folder; without one, no epoch is known.
    ///
    /// # Errors
    /// `Corrupt` or `WrongFormat` if it is malformed; the epochs can then be rebuilt from the batches.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(LEADER_EPOCH_CHECKPOINT);
        let entries = read_lines(&path, |line| {
            let (epoch, start_offset) = line.split_once(' ')?;
            let epoch = LeaderEpoch(i32::try_from(number(epoch)?).ok()?);
            Some(EpochStart { epoch, start_offset: Offset(number(start_offset)?) })
        })?;
        if entries.windows(2).any(|pair| !pair[1].follows(pair[0])) {
            return Err(Error::corrupt(&path, "epochs and start offsets do not both rise"));
        }
        let file = Arc::new(EpochsFile { path: Mutex::new(path), written: AtomicU64::new(0) });
        Ok(Self { entries, file, changes: 0, unwritten_from: Offset(0), is_file_behind: false })
    }

    /// No epochs, where the checkpoint is damaged: it stays as it is until they are written.
    pub fn unknown(folder: &Path) -> Self {
        let path = folder.join(LEADER_EPOCH_CHECKPOINT);
        let file = Arc::new(EpochsFile { path: Mutex::new(path), written: AtomicU64::new(0) });
        Self { entries: Vec::new(), file, changes: 1, unwritten_from: Offset(0), is_file_behind: false }
    }

    /// The latest leader's epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// All epochs, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// Notes that a batch of `epoch` begins at `start_offset`, which matters if no later one is known: an epoch that would
    /// begin there or behind it goes.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        if epoch <= self.latest().unwrap_or(LeaderEpoch::NONE) {
            return;
        }
        assert!(start_offset.0 >= 0, "epoch {epoch} from {start_offset} is no epoch of a leader");
        self.unwritten_from = self.unwritten_from().map_or(start_offset, |from| from.min(start_offset));
        self.changes += 1;
        while self.entries.pop_if(|last| last.start_offset >= start_offset).is_some() {}
        self.entries.push(EpochStart { epoch, start_offset });
        self.check();
    }

    /// Where `epoch`, or the greatest known one below it, ends; `log_end` ends the latest. `None` if `epoch` is none, or
    /// later than all that are known. An epoch before all known ones ends where the first of these starts.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if epoch < LeaderEpoch(0) || epoch > latest {
            return None;
        }
        if epoch == latest {
            return Some(EpochEnd { epoch, end_offset: log_end });
        }
        let next = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let found = next.checked_sub(1).map_or(epoch, |index| self.entries[index].epoch);
        Some(EpochEnd { epoch: found, end_offset: self.entries[next].start_offset })
    }

    /// The epoch that wrote `offset`; `None` below the first known epoch.
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Forgets the epochs that start at `end_offset` or above: the log was cut there.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> Result<()> {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        if kept == self.entries.len() {
            return Ok(());
        }
        self.write(self.entries[..kept].to_vec())
    }

    /// Forgets what lies before `start_offset`: the log begins there now. The epoch that it lies in begins there too. The file
    /// follows with the next other change, or with [`Self::catch_up`].
    pub fn truncate_from_start(&mut self, start_offset: Offset) {
        let after = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(current) = after.checked_sub(1) else { return };
        if current == 0 && self.entries[0].start_offset == start_offset {
            return;
        }
        self.entries.drain(..current);
        self.entries[0].start_offset = start_offset;
        self.is_file_behind = true;
        self.check();
    }

    /// From which offset on epochs may be missing in the file, if any are.
    pub fn unwritten_from(&self) -> Option<Offset> {
        (self.file.written.load(Ordering::Acquire) < self.changes).then_some(self.unwritten_from)
    }

    /// What is to be written before the records up to `end_offset` may be called safe; nothing if the file has that.
    pub(crate) fn unwritten(&self, end_offset: Offset) -> Option<UnwrittenEpochs> {
        self.unwritten_from().filter(|from| *from < end_offset)?;
        Some(UnwrittenEpochs { file: Arc::clone(&self.file), changes: self.changes, text: text_of(&self.entries) })
    }

    /// Writes the file if it does not say what is known here.
    pub fn catch_up(&mut self) -> Result<()> {
        let is_behind = self.is_file_behind || self.unwritten_from().is_some();
        if is_behind { self.write(self.entries.clone()) } else { Ok(()) }
    }

    /// Notes that the partition's folder was renamed.
    pub fn moved(&mut self, folder: &Path) {
        *self.file.lock() = folder.join(LEADER_EPOCH_CHECKPOINT);
    }

    /// Memory follows the disk, so that a failed write leaves both as they were.
    fn write(&mut self, entries: Vec<EpochStart>) -> Result<()> {
        let path = self.file.lock();
        small_file::replace(&path, text_of(&entries).as_bytes())?;
        // What a flush is about to write is out of date.
        self.changes += 1;
        self.file.written.store(self.changes, Ordering::Release);
        drop(path);
        self.entries = entries;
        self.is_file_behind = false;
        self.check();
        Ok(())
    }

    fn check(&self) {
        assert!(self.entries.windows(2).all(|pair| pair[1].follows(pair[0])), "epochs rise: {:?}", self.entries);
    }
}

impl EpochsFile {
    // Nothing is changed under the lock but the path itself.
    fn lock(&self) -> MutexGuard<'_, PathBuf> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnwrittenEpochs {
    /// Writes them, and returns when they are on the disk; or, for want of room or of files, leaves that to the next flush. That
    /// writes another file: what an fsync of this one has lost is not missed.
    ///
    /// # Errors
    /// The disk is to blame.
    pub fn write(&self) -> Result<()> {
        let path = self.file.lock();
        if self.file.written.load(Ordering::Acquire) >= self.changes {
            return Ok(());
        }
        match small_file::stage(&path, self.text.as_bytes()).and_then(Replacement::finish) {
            Ok(()) => self.file.written.store(self.changes, Ordering::Release),
            // The folder may have another name meanwhile, because its topic was deleted.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.is_of_disk() => return Err(error),
            Err(error) => tracing::warn!(%error, "leader epochs are to be written with the next flush"),
        }
        Ok(())
    }
}

fn text_of(entries: &[EpochStart]) -> String {
    lines(entries, |text, entry| writeln!(text, "{} {}", entry.epoch, entry.start_offset))
}

impl EpochStart {
    /// Whether both rise.
    pub(crate) fn follows(self, earlier: Self) -> bool {
        self.epoch > earlier.epoch && self.start_offset > earlier.start_offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs 1, 3 and 4 from offsets 10, 120 and 450.
    fn sample(folder: &Path) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::open(folder).unwrap();
        for (epoch, start) in [(1, 10), (3, 120), (4, 450)] {
            epochs.assign(LeaderEpoch(epoch), Offset(start));
        }
        epochs.catch_up().unwrap();
        epochs
    }

    fn check(epochs: &LeaderEpochs, expected: &[(i32, i64)]) {
        let entries: Vec<_> = epochs.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect();
        assert_eq!(entries, expected);
        let read = LeaderEpochs::open(epochs.file.lock().parent().unwrap()).unwrap();
        assert_eq!(read.entries(), epochs.entries(), "the file says the same");
    }

    #[test]
    fn the_file_is_byte_for_byte_kafkas() {
        let folder = tempfile::tempdir().unwrap();
        sample(folder.path());
        let text = std::fs::read_to_string(folder.path().join(LEADER_EPOCH_CHECKPOINT)).unwrap();
        assert_eq!(text, "0\n3\n1 10\n3 120\n4 450\n");
        let mut epochs = LeaderEpochs::unknown(folder.path());
        epochs.catch_up().unwrap();
        check(&epochs, &[]);
        for bad in ["0\n1\n1 10 5\n", "0\n1\n1\n", "0\n2\n1 10\n1 20\n", "0\n2\n1 10\n2 10\n", "0\n1\n4294967296 0\n"] {
            std::fs::write(folder.path().join(LEADER_EPOCH_CHECKPOINT), bad).unwrap();
            assert!(matches!(LeaderEpochs::open(folder.path()), Err(Error::Corrupt { .. })), "{bad:?}");
        }
    }

    #[test]
    fn an_epoch_that_is_not_the_latest_changes_nothing() {
        for (epoch, start, expected) in [
            (4, 450, &[(1, 10), (3, 120), (4, 450)][..]),
            (4, 500, &[(1, 10), (3, 120), (4, 450)]),
            (-1, 500, &[(1, 10), (3, 120), (4, 450)]),
            (3, 500, &[(1, 10), (3, 120), (4, 450)]),
            (5, 500, &[(1, 10), (3, 120), (4, 450), (5, 500)]),
            (5, 450, &[(1, 10), (3, 120), (5, 450)]),
            (5, 0, &[(5, 0)]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut epochs = sample(folder.path());
            epochs.assign(LeaderEpoch(epoch), Offset(start));
            epochs.catch_up().unwrap();
            check(&epochs, expected);
        }
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_starts() {
        let folder = tempfile::tempdir().unwrap();
        let epochs = sample(folder.path());
        let end =
            |epoch| epochs.end_offset_for(LeaderEpoch(epoch), Offset(600)).map(|end| (end.epoch.0, end.end_offset.0));
        let expected = [None, Some((0, 10)), Some((1, 120)), Some((1, 120)), Some((3, 450)), Some((4, 600)), None];
        assert_eq!([-1, 0, 1, 2, 3, 4, 5].map(end), expected);

        let of = |offset| epochs.epoch_for(Offset(offset)).map(|epoch| epoch.0);
        let expected = [None, Some(1), Some(1), Some(3), Some(3), Some(4), Some(4)];
        assert_eq!([9, 10, 119, 120, 449, 450, 9999].map(of), expected);
    }

    #[test]
    fn epochs_are_truncated_with_the_log_from_both_ends() {
        for (end, expected) in [(450, &[(1, 10), (3, 120)][..]), (451, &[(1, 10), (3, 120), (4, 450)]), (0, &[])] {
            let folder = tempfile::tempdir().unwrap();
            let mut epochs = sample(folder.path());
            epochs.truncate_from_end(Offset(end)).unwrap();
            check(&epochs, expected);
        }
        for (start, expected) in [
            (0, &[(1, 10), (3, 120), (4, 450)][..]),
            (10, &[(1, 10), (3, 120), (4, 450)]),
            (50, &[(1, 50), (3, 120), (4, 450)]),
            (120, &[(3, 120), (4, 450)]),
            (9999, &[(4, 9999)]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut epochs = sample(folder.path());
            epochs.truncate_from_start(Offset(start));
            epochs.catch_up().unwrap();
            check(&epochs, expected);
        }
    }

    #[test]
    fn what_a_flush_was_to_write_never_undoes_what_was_written_since() {
        let folder = tempfile::tempdir().unwrap();
        let mut epochs = sample(folder.path());
        epochs.assign(LeaderEpoch(5), Offset(500));
        assert!(epochs.unwritten(Offset(500)).is_none(), "it begins behind what is flushed");
        let early = epochs.unwritten(Offset(501)).unwrap();
        epochs.assign(LeaderEpoch(7), Offset(600));
        assert_eq!(epochs.unwritten_from(), Some(Offset(500)));
        let late = epochs.unwritten(Offset(601)).unwrap();
        late.write().unwrap();
        assert_eq!(epochs.unwritten_from(), None);
        check(&epochs, &[(1, 10), (3, 120), (4, 450), (5, 500), (7, 600)]);
        early.write().unwrap();
        check(&epochs, &[(1, 10), (3, 120), (4, 450), (5, 500), (7, 600)]);
        epochs.assign(LeaderEpoch(8), Offset(700));
        let cut_off = epochs.unwritten(Offset(701)).unwrap();
        epochs.truncate_from_end(Offset(600)).unwrap();
        cut_off.write().unwrap();
        check(&epochs, &[(1, 10), (3, 120), (4, 450), (5, 500)]);
    }

    #[test]
    fn a_flush_writes_into_the_folder_that_the_log_has_by_then() {
        let parent = tempfile::tempdir().unwrap();
        let (from, to) = (parent.path().join("t-0"), parent.path().join("t-0.0-delete"));
        std::fs::create_dir(&from).unwrap();
        let mut epochs = sample(&from);
        epochs.assign(LeaderEpoch(5), Offset(500));
        let unwritten = epochs.unwritten(Offset(501)).unwrap();
        std::fs::rename(&from, &to).unwrap();
        unwritten.write().unwrap();
        assert_eq!(epochs.unwritten_from(), Some(Offset(500)), "it was not found");
        epochs.moved(&to);
        // Another topic of the same name.
        std::fs::create_dir(&from).unwrap();
        unwritten.write().unwrap();
        check(&epochs, &[(1, 10), (3, 120), (4, 450), (5, 500)]);
        assert_eq!(std::fs::read_dir(&from).unwrap().count(), 0);
    }
}
