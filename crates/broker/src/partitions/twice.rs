//! Two logs of one partition, in two log directories: a crash or a failure has interrupted a move between them, which left a mark.
//! Which one counts?
//!
//! ```text
//!   both can be read     the longer one, which was written to last; of two that are as long, the one with the mark
//!   only one can         neither: the other one may have been written to since. KAFKA_STORAGE_ERROR until both can be read, or the
//!                        directory of the other one is taken out of log.dirs
//!   neither has a mark   nobody knows: the broker does not start, as Kafka does not
//! ```
//!
//! The mark does not prove that a log has all that the other one has: it is written before the exchange, which may fail, and may
//! outlast the move, and the one back.
//!
//! The one that does not count is removed by the next start; its folder gets the name for that only once it is known that the
//! directory of the other one is still online when all is open. A copy that is not finished (`-future`) never counts.
//!
//! Differs from Kafka: it starts with no two logs that it can read, and of two takes the one that it can, if the metadata says that
//! the replica lies there; that is told before a move ends there, and after it here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use ottla_base::{Offset, TopicPartition, Uuid};
use ottla_storage::{FolderKind, Left, Log, LogConfig, OpenLog, PartitionFolder, read_file};
use tracing::{error, warn};

use super::moving::{MOVED, forget_mark};
use super::startup::{Offline, Unopened};
use crate::error::{Error, Result};
use crate::node::entropy;

/// The second log of a partition that has one in the directory `first` too.
pub(super) struct Twice<'a> {
    pub first: &'a Path,
    pub second: Unopened<'a>,
}

/// What became of the pairs.
#[derive(Default)]
pub(super) struct Settled {
    superfluous: Vec<Superfluous>,
    /// The partitions of which it is not known which log counts.
    pub doubtful: BTreeMap<TopicPartition, Doubt>,
}

/// Why what can be read of a partition is not served: there may be a better log of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// One of its two logs cannot be read.
    Unreadable,
    /// There is no room to open both of them.
    NoRoom,
    /// The metadata says that it lies in a directory that is offline, and it was found in another one.
    Elsewhere,
}

/// A log that does not count, while the one in `better` does.
struct Superfluous {
    log: Log,
    options: OpenLog,
    better: PathBuf,
}

impl<'a> Twice<'a> {
    /// # Errors
    /// `TwoLogs` where no move was interrupted, and nobody knows which one counts.
    pub fn new(first: &'a Path, second: Unopened<'a>, offline: &mut Offline<'_>) -> Result<Self> {
        let this = Self { first, second };
        for directory in this.directories() {
            // Where it cannot be looked at, it is not a pair that can be read.
            if offline.unless_of_disk(directory, source(&this.folder_in(directory)))?.is_none_or(|from| from.is_some())
            {
                return Ok(this);
            }
        }
        let directories = this.directories().map(Path::to_owned);
        Err(Error::TwoLogs { partition: this.second.partition, directories })
    }

    fn directories(&self) -> [&'a Path; 2] {
        [self.first, self.second.directory]
    }

    fn folder_in(&self, directory: &Path) -> PathBuf {
        directory.join(self.second.partition.to_string())
    }

    /// The second log, if it can be opened now.
    fn open_second(&self, offline: &mut Offline<'_>) -> Result<Option<Log>> {
        let Unopened { directory, partition, options } = &self.second;
        if offline.has(directory) {
            return Ok(None);
        }
        match Log::open(&self.folder_in(directory), LogConfig::default(), options.clone()) {
            Err(error) if error.is_full() => {
                warn!(log = %partition, %error, "there is no room to open one of two logs of a partition");
                Ok(None)
            }
            opened => Ok(offline.unless_of_disk(directory, opened)?.map(|(log, _)| log)),
        }
    }
}

/// Decides for each pair which log counts: that one is in `logs` then, and the other one is not. The first of each pair was opened
/// already; `offline` knows of those that could not be, and `unopened` of those for which there was no room.
pub(super) fn settle(
    twice: &[Twice<'_>],
    logs: &mut BTreeMap<TopicPartition, Log>,
    unopened: &mut BTreeMap<TopicPartition, OpenLog>,
    offline: &mut Offline<'_>,
) -> Result<Settled> {
    let mut settled = Settled::default();
    for pair in twice {
        let Unopened { partition, options, .. } = &pair.second;
        let second = pair.open_second(offline)?;
        let first = logs.remove(partition).filter(|log| !offline.has(directory_of(log)));
        let start = [&first, &second].into_iter().flatten().map(Log::start_offset).min();
        let counts = match (first, second) {
            _ if settled.doubtful.contains_key(partition) => None,
            (Some(first), Some(second)) => {
                let (counts, log) = later_first(first, second, offline)?;
                let better = directory_of(&counts).to_owned();
                settled.superfluous.push(Superfluous { log, options: options.clone(), better });
                Some(counts)
            }
            // The other one may have been written to last, also where this one has a mark.
            _ => None,
        };
        match counts {
            Some(counts) => _ = logs.insert(partition.clone(), counts),
            None => settled.doubt(options, start, pair.directories(), unopened, offline),
        }
    }
    Ok(settled)
}

impl Settled {
    /// Nothing is served of it. What is known of what lies there is written down again, and that it has to be read in full.
    fn doubt(
        &mut self,
        options: &OpenLog,
        start: Option<Offset>,
        directories: [&Path; 2],
        unopened: &mut BTreeMap<TopicPartition, OpenLog>,
        offline: &Offline<'_>,
    ) {
        let partition = options.topic_partition.clone();
        let [one, other] = directories.map(Path::display);
        let unreadable = directories.into_iter().filter(|directory| offline.has(directory));
        let unreadable: Vec<String> = unreadable.map(|directory| directory.display().to_string()).collect();
        let doubt = if unreadable.is_empty() { Doubt::NoRoom } else { Doubt::Unreadable };
        match *self.doubtful.entry(partition.clone()).or_insert(doubt) {
            Doubt::NoRoom => error!(
                log = %partition, %one, %other,
                "{doubt}: it answers KAFKA_STORAGE_ERROR, also when there is room again. Make room, and start the broker again"
            ),
            _ => error!(
                log = %partition, %one, %other, offline = %unreadable.join(", "),
                "{doubt}: it answers KAFKA_STORAGE_ERROR. Start the broker again when both can be read; or, if the log directory that \
                 is offline is lost, without it in log.dirs: then the other one is served, with the records that it has"
            ),
        }
        let known = unopened.get(&partition).map(|known| known.log_start_offset);
        let log_start_offset = start.into_iter().chain(known).min().unwrap_or(options.log_start_offset);
        let options = OpenLog { left: Left::Unknown, recovery_point: Offset(0), log_start_offset, ..options.clone() };
        unopened.insert(partition, options);
    }

    /// Gives the logs that do not count the name of what is to be removed, now that all directories were looked at. Where the better
    /// one is in a directory that is offline by now, it may be the last: it stays, and is not served.
    pub fn remove_superfluous(
        &mut self,
        logs: &mut BTreeMap<TopicPartition, Log>,
        unopened: &mut BTreeMap<TopicPartition, OpenLog>,
        offline: &mut Offline<'_>,
    ) -> Result<()> {
        for Superfluous { mut log, options, better } in std::mem::take(&mut self.superfluous) {
            let partition = log.topic_partition().clone();
            let directory = directory_of(&log).to_owned();
            if offline.has(&directory) || self.doubtful.contains_key(&partition) {
                continue;
            }
            if offline.has(&better) {
                logs.remove(&partition);
                self.doubt(&options, Some(log.start_offset()), [&directory, &better], unopened, offline);
                continue;
            }
            let name = PartitionFolder::name_of(&partition, FolderKind::Deleted, Uuid::random(entropy));
            let (to, kept) = (directory.join(name), better.join(partition.to_string()));
            warn!(
                log = %partition, kept = %kept.display(), removed = %log.folder().display(),
                "a move between log directories was interrupted"
            );
            if offline.unless_of_disk(&directory, log.rename_folder(&to))?.is_some() {
                forget_mark(&kept);
            }
        }
        Ok(())
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "one of two logs of a partition cannot be read, and may have records that the other one has not",
            Self::NoRoom => "there is no room to open both logs of a partition, and it is not known which one has all of its records",
            Self::Elsewhere => {
                "the metadata says that a replica lies in a log directory that is not online, and it was found in another one"
            }
        })
    }
}

/// Of two logs that can be read the one that counts, and the other one.
fn later_first(first: Log, second: Log, offline: &mut Offline<'_>) -> Result<(Log, Log)> {
    let (first_end, second_end) = (first.end_offset(), second.end_offset());
    let mut marked = || offline.unless_of_disk(directory_of(&second), source(second.folder()));
    let is_later = second_end > first_end || second_end == first_end && marked()?.flatten().is_some();
    Ok(if is_later { (second, first) } else { (first, second) })
}

/// From which directory the log in a folder was moved, if a move was interrupted.
fn source(folder: &Path) -> ottla_storage::Result<Option<PathBuf>> {
    let path = read_file(&folder.join(MOVED))?;
    Ok(path.map(|path| OsString::from_vec(path).into()))
}

fn directory_of(log: &Log) -> &Path {
    log.folder().parent().expect("a log lies in a log directory")
}
