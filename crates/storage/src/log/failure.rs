//! A log that failed goes on being read and takes no more.
//!
//! Two failures are for good. An fsync that failed: the system reports lost bytes once, and the next fsync succeeds
//! although they are still lost. And a change of several files that failed half way: what is known here and what is on the
//! disk are no longer the same. Only a start, which reads the files again, finds out what is left.

use super::Log;
use crate::directory::distrust_page_cache;
use crate::error::{Error, Result};

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
            tracing::error!(log = %self.topic_partition, %error, "{what} failed; the log takes no more");
            self.folder.parent().inspect(|directory| distrust_page_cache(directory));
            self.unusable = Some(match error {
                Error::Unusable { detail, .. } => detail.clone(),
                error => format!("{what} failed: {error}"),
            });
        }
        done
    }
}
