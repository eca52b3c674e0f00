//! Which leader wrote which part of a log: the leader epochs of one partition, and their `leader-epoch-checkpoint` file.
//!
//! ```text
//!   epoch 0        epoch 3              epoch 4
//!   |--------------|--------------------|-----------...
//!   start 0        start 120            start 450            log end
//! ```
//!
//! A follower or consumer asks where an epoch ended to learn whether its copy of the log still agrees with the leader's
//! (KIP-101, KIP-279, KIP-320). Epochs and start offsets both rise strictly. Every change is on the disk when it returns, but
//! for what is forgotten because the log begins later: a start finds that out again, and nobody waits for the disk for it.

use std::fmt::Write as _;
use std::path::Path;

use ottla_base::{LeaderEpoch, Offset};

use crate::checkpoint::{number, read_lines, write_lines};
use crate::error::{Error, Result};

/// The name of the file, in the partition's folder.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// The leader epochs of one log, oldest first.
#[derive(Debug)]
pub struct LeaderEpochs {
    path: Box<Path>,
    entries: Vec<EpochStart>,
    /// The file still holds what lies before the log's start.
    is_file_behind: bool,
    /// The file still names epochs whose batches could not be written.
    is_file_ahead: bool,
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
        Ok(Self { path: path.into(), entries, is_file_behind: false, is_file_ahead: false })
    }

    /// These epochs, which were found in the batches, in the place of a checkpoint that is damaged.
    pub fn rebuilt(folder: &Path, entries: Vec<EpochStart>) -> Result<Self> {
        let path = folder.join(LEADER_EPOCH_CHECKPOINT).into();
        let mut this = Self { path, entries: Vec::new(), is_file_behind: false, is_file_ahead: false };
        this.write(entries)?;
        Ok(this)
    }

    /// The latest leader's epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// All epochs, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// Notes that the records from `start_offset` on are of `epoch`. Entries that contradict it (a later epoch or start)
    /// go: the log was truncated and is written by another leader. Nothing happens if `epoch` is the latest already.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> Result<()> {
        assert!(epoch.0 >= 0 && start_offset.0 >= 0, "epoch {epoch} from {start_offset} is no epoch of a leader");
        let known = |last: &EpochStart| last.epoch == epoch && last.start_offset <= start_offset;
        if self.entries.last().is_some_and(known) {
            return Ok(());
        }
        let new = EpochStart { epoch, start_offset };
        let mut entries = self.entries.clone();
        while entries.last().is_some_and(|last| !new.follows(*last)) {
            entries.pop();
        }
        entries.push(new);
        self.write(entries)
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
            return self.settle();
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

    /// Forgets the epochs that start at `end_offset` or above, because their batches could not be written. The file follows
    /// with [`Self::settle`]: where a batch finds no room on the disk, the file would not either.
    pub fn take_back(&mut self, end_offset: Offset) {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        self.is_file_ahead |= kept < self.entries.len();
        self.entries.truncate(kept);
    }

    /// Writes the file if it names epochs that were taken back: before a batch comes to lie where they began.
    pub fn settle(&mut self) -> Result<()> {
        if self.is_file_ahead { self.write(self.entries.clone()) } else { Ok(()) }
    }

    /// Writes the file if it does not say what is known here.
    pub fn catch_up(&mut self) -> Result<()> {
        if self.is_file_behind { self.write(self.entries.clone()) } else { self.settle() }
    }

    /// Notes that the partition's folder was renamed.
    pub fn moved(&mut self, folder: &Path) {
        self.path = folder.join(LEADER_EPOCH_CHECKPOINT).into();
    }

    /// Memory follows the disk, so that a failed write leaves both as they were.
    fn write(&mut self, entries: Vec<EpochStart>) -> Result<()> {
        write_lines(&self.path, &entries, |text, entry| writeln!(text, "{} {}", entry.epoch, entry.start_offset))?;
        self.entries = entries;
        (self.is_file_behind, self.is_file_ahead) = (false, false);
        self.check();
        Ok(())
    }

    fn check(&self) {
        assert!(self.entries.windows(2).all(|pair| pair[1].follows(pair[0])), "epochs rise: {:?}", self.entries);
    }
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
            epochs.assign(LeaderEpoch(epoch), Offset(start)).unwrap();
        }
        epochs
    }

    fn check(epochs: &LeaderEpochs, expected: &[(i32, i64)]) {
        let entries: Vec<_> = epochs.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect();
        assert_eq!(entries, expected);
        let read = LeaderEpochs::open(epochs.path.parent().unwrap()).unwrap();
        assert_eq!(read.entries(), epochs.entries(), "the file says the same");
    }

    #[test]
    fn the_file_is_byte_for_byte_kafkas() {
        let folder = tempfile::tempdir().unwrap();
        sample(folder.path());
        let text = std::fs::read_to_string(folder.path().join(LEADER_EPOCH_CHECKPOINT)).unwrap();
        assert_eq!(text, "0\n3\n1 10\n3 120\n4 450\n");
        let epochs = LeaderEpochs::rebuilt(folder.path(), Vec::new()).unwrap();
        check(&epochs, &[]);
        for bad in ["0\n1\n1 10 5\n", "0\n1\n1\n", "0\n2\n1 10\n1 20\n", "0\n2\n1 10\n2 10\n", "0\n1\n4294967296 0\n"] {
            std::fs::write(folder.path().join(LEADER_EPOCH_CHECKPOINT), bad).unwrap();
            assert!(matches!(LeaderEpochs::open(folder.path()), Err(Error::Corrupt { .. })), "{bad:?}");
        }
    }

    #[test]
    fn an_assignment_removes_what_contradicts_it() {
        for (epoch, start, expected) in [
            (4, 450, &[(1, 10), (3, 120), (4, 450)][..]),
            (4, 500, &[(1, 10), (3, 120), (4, 450)]),
            (4, 400, &[(1, 10), (3, 120), (4, 400)]),
            (5, 500, &[(1, 10), (3, 120), (4, 450), (5, 500)]),
            (5, 450, &[(1, 10), (3, 120), (5, 450)]),
            (5, 0, &[(5, 0)]),
            (2, 500, &[(1, 10), (2, 500)]),
            (3, 130, &[(1, 10), (3, 130)]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut epochs = sample(folder.path());
            epochs.assign(LeaderEpoch(epoch), Offset(start)).unwrap();
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
}
