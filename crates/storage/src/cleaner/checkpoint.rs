//! `cleaner-offset-checkpoint`: up to where each log of a directory is compacted.
//!
//! A log has a line from before it is first changed. A start after a crash goes by that: in a log without one, offsets that are
//! missing between segments were lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ottla_base::{Offset, TopicPartition};

use crate::checkpoint::{CLEANER_CHECKPOINT, read_offsets, write_offsets};
use crate::error::{Error, Result};

/// The checkpoint of one log directory.
#[derive(Debug)]
pub struct CleanerCheckpoint {
    path: PathBuf,
    offsets: BTreeMap<TopicPartition, Offset>,
}

impl CleanerCheckpoint {
    /// Reads that of `directory`. One that is damaged is taken for an empty one: all is compacted again.
    ///
    /// # Errors
    /// `Io` if it cannot be read.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(CLEANER_CHECKPOINT);
        let offsets = match read_offsets(&path) {
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "all logs are taken for never compacted");
                BTreeMap::new()
            }
            Ok(offsets) => offsets,
        };
        Ok(Self { path, offsets })
    }

    /// Up to where a log is compacted; `None` if it never was.
    pub fn get(&self, log: &TopicPartition) -> Option<Offset> {
        self.offsets.get(log).copied()
    }

    /// Notes how far a log is compacted. It is on the disk when this returns.
    pub fn set(&mut self, log: &TopicPartition, offset: Offset) -> Result<()> {
        let before = self.offsets.insert(log.clone(), offset);
        if before == Some(offset) {
            return Ok(());
        }
        write_offsets(&self.path, &self.offsets).inspect_err(|_| {
            // It is written the next time.
            match before {
                Some(before) => self.offsets.insert(log.clone(), before),
                None => self.offsets.remove(log),
            };
        })
    }

    /// Forgets a log, if it is known: it was deleted, or lies in another directory.
    pub fn remove(&mut self, log: &TopicPartition) -> Result<()> {
        let Some(before) = self.offsets.remove(log) else { return Ok(()) };
        write_offsets(&self.path, &self.offsets).inspect_err(|_| {
            // Whoever tries it again is to find that it is still there.
            self.offsets.insert(log.clone(), before);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kafkas_file_and_written_where_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CLEANER_CHECKPOINT);
        std::fs::write(&path, "0\n2\nt 0 7\nt 1 9\n").unwrap();
        let mut checkpoint = CleanerCheckpoint::open(folder.path()).unwrap();
        let log = |partition| TopicPartition::new("t", partition);
        assert_eq!((checkpoint.get(&log(1)), checkpoint.get(&log(2))), (Some(Offset(9)), None));
        checkpoint.set(&log(2), Offset(0)).unwrap();
        checkpoint.set(&log(0), Offset(12)).unwrap();
        checkpoint.remove(&log(1)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n2\nt 0 12\nt 2 0\n");
        std::fs::remove_file(&path).unwrap();
        checkpoint.set(&log(2), Offset(0)).unwrap();
        checkpoint.remove(&log(1)).unwrap();
        assert!(!path.exists(), "nothing has changed");
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(CleanerCheckpoint::open(folder.path()).unwrap().get(&log(0)), None);
    }

    #[test]
    fn what_could_not_be_forgotten_is_still_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CLEANER_CHECKPOINT);
        let (log, obstacle) = (TopicPartition::new("t", 0), path.with_extension("tmp"));
        std::fs::write(&path, "0\n1\nt 0 7\n").unwrap();
        let mut checkpoint = CleanerCheckpoint::open(folder.path()).unwrap();
        std::fs::create_dir(&obstacle).unwrap();
        checkpoint.remove(&log).unwrap_err();
        assert_eq!(checkpoint.get(&log), Some(Offset(7)));
        std::fs::remove_dir(&obstacle).unwrap();
        checkpoint.remove(&log).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n0\n");
    }
}
