//! What can go wrong in storage, always with the file it went wrong in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_base::Offset;

/// What storage answers.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed, and where.
///
/// `Io`, `Corrupt` and `Unusable` mean that the log directory can no longer be trusted: its owner takes it offline. The
/// others answer a question that was wrong.
#[derive(Debug)]
pub enum Error {
    /// The operating system refused.
    Io {
        /// What was tried, as a verb: "open", "append to".
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file does not hold what its format promises.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which promise is broken, with the position where that is known.
        detail: String,
    },
    /// A file is whole but of a version or kind that is not ours to read; `detail` says what to do.
    WrongFormat {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, and what to do about it.
        detail: String,
    },
    /// The log directory is used by another process.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The log takes no more: an earlier failure left unknown what is on the disk, or it was closed.
    Unusable {
        /// The log's folder.
        path: PathBuf,
        /// What came before.
        detail: String,
    },
    /// The bytes to append are not what they should be; nothing of them was written.
    InvalidRecords {
        /// What is wrong with them.
        detail: String,
    },
    /// An offset lies outside of what the log holds.
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The first offset of the log.
        log_start: Offset,
        /// The offset after the last record.
        log_end: Offset,
    },
}

impl Error {
    /// A function for `map_err`: the operating system refused `operation` on `path`.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }

    /// The file at `path` does not hold what its format promises.
    pub(crate) fn corrupt(path: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), detail: detail.into() }
    }

    /// The file at `path` is not of a format that we read.
    pub(crate) fn wrong_format(path: &Path, detail: impl Into<String>) -> Self {
        Self::WrongFormat { path: path.to_owned(), detail: detail.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, path, source } => write!(f, "cannot {operation} {}: {source}", path.display()),
            Self::Corrupt { path, detail } => write!(f, "{} is damaged: {detail}", path.display()),
            Self::WrongFormat { path, detail } => write!(f, "{}: {detail}", path.display()),
            Self::Locked { path } => write!(
                f,
                "{} is locked: another broker uses this log directory. Stop it, or set another log.dirs",
                path.display()
            ),
            Self::Unusable { path, detail } => write!(
                f,
                "the log {} takes no more, because {detail}. Look after its disk, then start the broker again",
                path.display()
            ),
            Self::InvalidRecords { detail } => write!(f, "the records cannot be appended: {detail}"),
            Self::OffsetOutOfRange { offset, log_start, log_end } => {
                write!(f, "offset {offset} is outside of the log, which holds {log_start} to {log_end} (excluded)")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
