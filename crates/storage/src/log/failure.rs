//! A log that failed goes on being read and takes no more.
//!
//! Two failures are for good. An fsync that failed: the system reports lost bytes once, and the next fsync succeeds
//! although they are still lost. And a change of several files that failed half way: what is known here and what is on the
//! disk are no longer the same. Only a start, which reads the files again, finds out what is left.

use std::io::ErrorKind;

use super::Log;
use crate::directory::{FolderKind, PartitionFolder, distrust_page_cache};
use crate::error::{Error, Result};
use crate::os;

/// Why a log takes no more that was left as it should be.
pub(super) const CLOSED: &str = "it was closed";

impl Log {
    /// Whether the log takes records: asked before a producer is told that an earlier batch of its is safe.
    ///
    /// # Errors
    /// `Unusable` from the first failure on that is for good, and `Closed` after the log was closed.
    pub fn check_usable(&self) -> Result<()> {
        match &self.unusable {
            Some(detail) if detail == CLOSED => Err(Error::Closed { path: self.folder.clone() }),
            Some(detail) => Err(Error::Unusable { path: self.folder.clone(), detail: detail.clone() }),
            None => Ok(()),
        }
    }

    /// Passes `done` on, and takes no more if it failed: `what` left the log in a state that is not known.
    pub(super) fn for_good<T>(&mut self, what: &str, done: Result<T>) -> Result<T> {
        if let Err(error) = &done
            && self.unusable.is_none()
        {
            if self.was_taken_away(error) {
                tracing::debug!(log = %self.topic_partition, %error, "the move that this copy was of has ended");
            } else {
                tracing::error!(log = %self.topic_partition, %error, "{what} failed; the log takes no more");
                self.folder.parent().inspect(|directory| distrust_page_cache(directory));
            }
            self.unusable = Some(match error {
                Error::Unusable { detail, .. } => detail.clone(),
                error => format!("{what} failed: {error}"),
            });
        }
        done
    }

    /// Whether this is a copy for a move, of which the folder is gone: who ends the move renames it under who copies.
    fn was_taken_away(&self, error: &Error) -> bool {
        let is_missing = matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound);
        let name = || self.folder.file_name()?.to_str().map(str::to_owned);
        let is_copy = || name().and_then(PartitionFolder::parse).is_some_and(|name| name.kind == FolderKind::Future);
        is_missing && is_copy() && matches!(os::exists(&self.folder), Ok(false))
    }
}
