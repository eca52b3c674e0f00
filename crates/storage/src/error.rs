//! What can go wrong in storage, always with the file it went wrong in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_base::Offset;
use rustix::io::Errno;

/// The process has as many files open as it may, or the machine has.
const TOO_MANY_FILES: [Errno; 2] = [Errno::MFILE, Errno::NFILE];

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
    /// Where a log directory is to be, or above it, there is something else.
    NotDirectory {
        /// Where it is to be.
        path: PathBuf,
    },
    /// The log directory is used by another process.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The log directory is used by this process already, under another name.
    SameDirectory {
        /// The name.
        path: PathBuf,
        /// The other one.
        other: PathBuf,
    },
    /// The log takes no more, for the broker ends: nothing is wrong with it.
    Closed {
        /// The log's folder.
        path: PathBuf,
    },
    /// The log takes no more: an earlier failure left unknown what is on the disk.
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

    /// Whether there was no room on the disk: another time there may be, and the disk is well.
    pub fn is_full(&self) -> bool {
        self.errno().is_some_and(|errno| [Errno::NOSPC, Errno::DQUOT].contains(&errno))
    }

    /// Whether something could not be opened because the process, or the machine, has too much open already: nothing is known
    /// about the disk, and another time it may be opened.
    pub fn lacks_files(&self) -> bool {
        let is_opening = matches!(self, Self::Io { operation: "open" | "create", .. });
        // Flushing may also find no memory, and then something is lost.
        self.errno().is_some_and(|errno| TOO_MANY_FILES.contains(&errno) || (is_opening && errno == Errno::NOMEM))
    }

    /// Whether a file may not grow any more: the process has a limit on that, or the file system.
    pub fn is_limited(&self) -> bool {
        self.errno() == Some(Errno::FBIG)
    }

    /// Whether the disk failed, or what holds it: nothing on it can be trusted from now on. What the process itself lacks,
    /// files, memory or leave to write long ones, says nothing about its disk, and what lies in the way of one file nothing about the others.
    pub fn is_of_disk(&self) -> bool {
        const OF_PROCESS: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::FBIG];
        const IN_THE_WAY: [Errno; 5] = [Errno::ISDIR, Errno::NOTDIR, Errno::EXIST, Errno::NOTEMPTY, Errno::NAMETOOLONG];
        let is_other = |errno| !OF_PROCESS.contains(&errno) && !IN_THE_WAY.contains(&errno);
        !self.is_full() && self.errno().is_some_and(is_other)
    }

    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io { source, .. } => Errno::from_io_error(source),
            _ => None,
        }
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
            Self::Io { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}", path.display())?;
                match self.errno() {
                    Some(Errno::MFILE) => f.write_str(
                        ". Let the process open more files: ulimit -n, or LimitNOFILE= in its systemd unit (Kafka asks for 100000)",
                    ),
                    Some(Errno::FBIG) => f.write_str(
                        ". Let the process write longer files: ulimit -f unlimited, or LimitFSIZE=infinity in its systemd unit",
                    ),
                    Some(Errno::NFILE) => f.write_str(". Let the machine open more files: sysctl fs.file-max"),
                    _ => Ok(()),
                }
            }
            Self::Corrupt { path, detail } => write!(f, "{} is damaged: {detail}", path.display()),
            Self::WrongFormat { path, detail } => write!(f, "{}: {detail}", path.display()),
            Self::NotDirectory { path } => write!(
                f,
                "{} is no directory, or lies in none: take away what is there, or let log.dirs (metadata.log.dir) name another place",
                path.display()
            ),
            Self::Locked { path } => write!(
                f,
                "{} is locked: another broker uses this log directory. Stop it, or set another log.dirs",
                path.display()
            ),
            Self::SameDirectory { path, other } => write!(
                f,
                "{} and {} are the same directory, as by a link: name it once in log.dirs and metadata.log.dir",
                other.display(),
                path.display()
            ),
            Self::Closed { path } => write!(f, "the log {} takes no more, because it was closed", path.display()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_well_and_a_process_without_files_says_nothing_of_its_disk() {
        let of = |errno: Errno| Error::io("append to", Path::new("/d/t-0/0.log"))(errno.into());
        let known = |error: &Error| (error.is_full(), error.is_of_disk());
        for errno in [Errno::IO, Errno::ROFS, Errno::NOENT, Errno::ACCESS, Errno::NODEV, Errno::STALE] {
            assert_eq!(known(&of(errno)), (false, true), "{errno:?}");
        }
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(known(&of(errno)), (true, false), "{errno:?}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::ISDIR, Errno::EXIST] {
            assert_eq!(known(&of(errno)), (false, false), "{errno:?}");
        }
        let limited = of(Errno::FBIG);
        assert_eq!((known(&limited), limited.is_limited(), limited.lacks_files()), ((false, false), true, false));
        assert!(limited.to_string().contains("ulimit -f unlimited"), "{limited}");
        let lacks_files = |error: &Error| error.lacks_files();
        assert!(lacks_files(&of(Errno::MFILE)) && lacks_files(&of(Errno::NFILE)) && !lacks_files(&of(Errno::IO)));
        assert!(of(Errno::MFILE).to_string().contains("ulimit -n"), "{}", of(Errno::MFILE));
        let no_memory = |operation| Error::io(operation, Path::new("/d/t-0/0.log"))(Errno::NOMEM.into());
        assert!(
            lacks_files(&no_memory("open")) && lacks_files(&no_memory("create")) && !lacks_files(&no_memory("flush"))
        );
        let torn = Error::io("read", Path::new("/d/t-0/0.log"))(io::ErrorKind::UnexpectedEof.into());
        assert_eq!(known(&torn), (false, false), "a file that is too short is damaged");
    }
}
