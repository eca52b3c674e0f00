//! Why a broker cannot start, or has to end: always with what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_base::{BrokerId, Offset, TopicPartition, Uuid};
use ottla_storage::Error as StorageError;

/// What the broker answers.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug)]
pub enum Error {
    /// A log directory or a log.
    Storage(StorageError),
    /// A log directory of another node.
    WrongNode {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: BrokerId,
        /// Who we are.
        ours: BrokerId,
    },
    /// A log directory of another cluster.
    WrongCluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
        /// The cluster of the other directories.
        ours: String,
    },
    /// Logs without a `meta.properties` beside them.
    UnformattedWithLogs {
        /// The directory.
        path: PathBuf,
        /// One of the logs.
        folder: String,
    },
    /// Two directories hold a log of the same partition.
    TwoLogs {
        /// The partition.
        partition: TopicPartition,
        /// The directories.
        directories: [PathBuf; 2],
    },
    /// An empty log directory where one with partitions may belong.
    MissingDirectory {
        /// The empty directory.
        path: PathBuf,
        /// The id of the one that is not there.
        id: Uuid,
    },
    /// An empty log directory where the log of a partition may belong that is nowhere else.
    UnplacedPartition {
        /// The empty directory.
        path: PathBuf,
        /// The partition.
        partition: TopicPartition,
    },
    /// The directory of the metadata log is empty, and others are not.
    MissingMetadataDirectory {
        /// The empty directory.
        path: PathBuf,
    },
    /// Another log directory than the one that is configured for it holds a metadata log.
    MetadataElsewhere {
        /// That directory.
        path: PathBuf,
        /// The one that is configured.
        configured: PathBuf,
        /// Whether that holds one, too.
        is_there_too: bool,
    },
    /// A listener cannot be bound.
    Bind {
        /// As in the settings: `PLAINTEXT://host:port`.
        listener: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The metadata log does not hold what it must.
    Metadata {
        /// What is wrong, and where.
        detail: String,
    },
    /// The metadata log is damaged in front of its end.
    DamagedMetadata {
        /// The segment.
        path: PathBuf,
        /// Where the first batch lies that is not as it must be.
        position: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// The metadata log ends before what was known to be in it.
    ShortMetadata {
        /// Its folder.
        path: PathBuf,
        /// Where it ends.
        end: Offset,
        /// Where it ended.
        noted: Offset,
    },
    /// The metadata log begins after its beginning, and no snapshot holds what came before.
    LostSnapshot {
        /// Its folder.
        path: PathBuf,
        /// Where it begins.
        start: Offset,
    },
    /// There are partitions, but no metadata log.
    LostMetadata {
        /// Where it was looked for.
        path: PathBuf,
        /// One of the partitions.
        partition: String,
    },
    /// There is no metadata log, or nothing in it, and a log directory that cannot be read may hold partitions.
    UnreadBesideBlank {
        /// Where the metadata log was looked for.
        path: PathBuf,
        /// The log directory.
        directory: PathBuf,
        /// Why it cannot be read.
        failure: String,
    },
    /// A file or thread could not be made.
    Io {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// Reading `path` failed.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("read {}", path.display()), source }
    }

    /// Removing `path` failed.
    pub(crate) fn remove(path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("remove {}", path.display()), source }
    }

    /// Whether a disk is to blame.
    pub(crate) fn is_of_disk(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_of_disk())
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::WrongNode { path, theirs, ours } => write!(
                f,
                "log directory {} belongs to node {theirs}, and this is node {ours}. Set node.id={theirs}, or log.dirs to \
                 another directory",
                path.display()
            ),
            Self::WrongCluster { path, theirs, ours } => write!(
                f,
                "log directory {} belongs to cluster {theirs}, the other directories to {ours}. Take it out of log.dirs",
                path.display()
            ),
            Self::UnformattedWithLogs { path, folder } => write!(
                f,
                "log directory {} holds logs ({folder}) but no meta.properties, so it is not known whose they are. Restore \
                 that file, or set log.dirs to an empty directory",
                path.display()
            ),
            Self::TwoLogs { partition, directories: [one, other] } => write!(
                f,
                "both {} and {} hold a log of {partition}, and it is not known which one counts. Move the folder of one of them \
                 out of its log directory: the one with less in it, as a rule",
                one.display(),
                other.display()
            ),
            Self::MissingDirectory { path, id } => write!(
                f,
                "log directory {} has no meta.properties, and the directory {id} of this broker, which may hold partitions, \
                 is not there. Is a disk not mounted? If this is a new disk, format it: ottla storage format \
                 --ignore-formatted; partitions that lay on the one that is missing are offline until their topics are deleted",
                path.display()
            ),
            Self::UnplacedPartition { path, partition } => write!(
                f,
                "log directory {} has no meta.properties, and no log of {partition} is found, of which the metadata does not \
                 say where it lies. Is a disk not mounted? If this is a new disk, format it: ottla storage format \
                 --ignore-formatted",
                path.display()
            ),
            Self::MissingMetadataDirectory { path } => write!(
                f,
                "metadata.log.dir {} has no meta.properties, and other directories of this node do: the cluster's metadata \
                 is not there. Is metadata.log.dir set to the right directory, and mounted? To begin a new cluster, set \
                 log.dirs to empty directories",
                path.display()
            ),
            Self::MetadataElsewhere { path, configured, is_there_too } => {
                let (path, configured) = (path.display(), configured.display());
                write!(
                    f,
                    "found unexpected metadata location in log directory {path} (the configured metadata directory is \
                     {configured}: metadata.log.dir, or else the first of log.dirs). "
                )?;
                match is_there_too {
                    true => {
                        write!(f, "Both hold a __cluster_metadata-0: move away the one that is not of this cluster")
                    }
                    false => write!(f, "Set metadata.log.dir={path}"),
                }
            }
            Self::Bind { listener, source } => {
                write!(f, "cannot listen on {listener}: {source}. {}", bind_advice(listener, source.kind()))
            }
            Self::Metadata { detail } => write!(f, "the cluster's metadata cannot be read: {detail}"),
            Self::DamagedMetadata { path, position, detail } => write!(
                f,
                "the metadata log is damaged at byte {position} of {}: {detail}. Topics would be lost with what follows, so \
                 nothing was touched. Restore the folder from a copy; to start without what followed, cut the file at that \
                 byte and remove quorum-state and later segments from its folder",
                path.display()
            ),
            Self::ShortMetadata { path, end, noted } => write!(
                f,
                "the metadata log in {} ends at offset {end}, and it held all up to offset {noted}. Topics would be lost \
                 with what is missing, so nothing was touched. Restore the folder from a copy; to start without what is \
                 missing, remove quorum-state from it",
                path.display()
            ),
            Self::LostSnapshot { path, start } => write!(
                f,
                "the metadata log in {} begins at offset {start}, and no snapshot there holds what came before: a file \
                 {:020}-<epoch>.checkpoint or a later one. Topics would be lost with it, so nothing was touched. Restore \
                 the folder from a copy",
                path.display(),
                start.0
            ),
            Self::LostMetadata { path, partition } => write!(
                f,
                "there is no metadata log in {}, but log.dirs holds partitions ({partition}), which would be removed as \
                 strays. Is metadata.log.dir set to the right directory, and mounted? To begin a new cluster, set log.dirs \
                 to an empty directory",
                path.display()
            ),
            Self::UnreadBesideBlank { path, directory, failure } => write!(
                f,
                "nothing is in the metadata log in {}, though this node was formatted before, and {} cannot be read ({failure}): if \
                 it holds partitions, a cluster that begins anew would set them aside as strays. Is metadata.log.dir set to the \
                 right directory, and mounted? If this cluster has no records yet, start it when that log directory can be read, \
                 or without it in log.dirs",
                path.display(),
                directory.display()
            ),
            Self::Io { what, source } => write!(f, "cannot {what}: {source}"),
        }
    }
}

/// What to do where nobody can listen there.
fn bind_advice(listener: &str, kind: io::ErrorKind) -> String {
    let key = listener.split_once('=').map_or("listeners", |(key, _)| key);
    match kind {
        io::ErrorKind::AddrInUse => {
            format!("Is another broker running there? Set {key} to a free port, or to port 0 for any")
        }
        io::ErrorKind::PermissionDenied => {
            format!("Set {key} to a port above 1023, or let this user listen on ports below")
        }
        _ => format!("Set {key} to an address of this machine, or to a name of one"),
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_where_nobody_can_listen_depends_on_why() {
        let advice = |listener: &str, kind: io::ErrorKind| {
            let error = Error::Bind { listener: listener.to_owned(), source: io::Error::from(kind) };
            error.to_string().rsplit_once(". ").expect("the advice is a sentence").1.to_owned()
        };
        assert_eq!(
            advice("A://:1", io::ErrorKind::PermissionDenied).split(',').next(),
            Some("Set listeners to a port above 1023")
        );
        assert_eq!(
            advice("A://x:1", io::ErrorKind::AddrNotAvailable).split(',').next(),
            Some("Set listeners to an address of this machine")
        );
        let http = advice("ottla.http.listener=:9644", io::ErrorKind::AddrInUse);
        assert_eq!(
            http,
            "Is another broker running there? Set ottla.http.listener to a free port, or to port 0 for any"
        );
    }
}
