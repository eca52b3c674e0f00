//! Two logs of one partition, in two log directories: a crash or a failure has interrupted a move between them, which left a mark.
//! Which one counts?
//!
//! ```text
//!   both can be read     the longer one, which was written to last; of two that are as long, the one with the mark
//!   only one can         neither: the other one may have been written to since. KAFKA_STORAGE_ERROR until both can be read, or the
//!                        directory of the other one is taken out of log.dirs
//!   neither has a mark   nobody knows: the broker does not start, as Kafka does not
//!   there is no room, or are no files, to find that out, or to give the other one its name: KAFKA_STORAGE_ERROR, until there are
//! ```
//!
//! The mark does not prove that a log has all that the other one has: it is written before the exchange, which may fail, and may
//! outlast the move, and the one back.
//!
//! The last is tried again by whoever hosts the partition, which happens when there is room, or are files, again: nobody serves or
//! makes a log of that partition meanwhile.
//!
//! The one that does not count is removed by the next start; its folder gets the name for that only once it is known that the
//! directory of the other one is still online when all is open. A copy that is not finished (`-future`) never counts.
//!
//! Differs from Kafka: it starts with no two logs that it can read, and of two takes the one that it can, if the metadata says that
//! the replica lies there; that is told before a move ends there, and after it here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_base::{Offset, TopicPartition, Uuid};
use ottla_storage::{Error as StorageError, FolderKind, Left, Log, LogConfig, OpenLog, PartitionFolder, os, read_file};
use tracing::{error, info, warn};

use super::Partitions;
use super::directories::Directory;

use super::moving::{MOVED, forget_mark};
use super::startup::{Offline, Unopened};
use crate::error::{Error, Result};
use crate::node::entropy;

/// The second log of a partition that has one in the directory `first` too.
pub(super) struct Twice<'a> {
    pub first: &'a Path,
    pub second: Unopened<'a>,
}

/// One of the logs of a partition, as it is to be opened when there is room.
#[derive(Clone, Debug)]
pub struct Candidate {
    directory: PathBuf,
    options: OpenLog,
}

/// What became of the pairs.
#[derive(Default)]
pub(super) struct Settled {
    superfluous: Vec<Superfluous>,
    /// The partitions of which it is not known which log counts.
    pub doubtful: BTreeMap<TopicPartition, Doubt>,
}

/// Why what can be read of a partition is not served: there may be a better log of it.
#[derive(Clone, Debug)]
pub enum Doubt {
    /// One of its two logs cannot be read.
    Unreadable,
    /// There was no room, or were no files, to open all of them, or to give one its new name. They are these.
    NoRoom(Vec<Candidate>),
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
            let looked = match source(&this.folder_in(directory)) {
                // It is looked for again when there are files.
                Err(error) if error.lacks_files() => None,
                looked => offline.unless_of_disk(directory, looked)?,
            };
            // Where it cannot be looked at, it is not a pair that can be read.
            if looked.is_none_or(|from| from.is_some()) {
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
            Err(error) if is_passing(&error) => {
                warn!(log = %partition, %error, "one of two logs of a partition cannot be opened now");
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
            (Some(first), Some(second)) => match later_first(first, second) {
                Ok((counts, log)) => {
                    let better = directory_of(&counts).to_owned();
                    settled.superfluous.push(Superfluous { log, options: options.clone(), better });
                    Some(counts)
                }
                Err(error) if is_passing(&error) => None,
                Err(error) => offline.unless_of_disk(pair.second.directory, Err(error))?,
            },
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
        let doubt = if unreadable.is_empty() { Doubt::NoRoom(Vec::new()) } else { Doubt::Unreadable };
        let doubt = self.doubtful.entry(partition.clone()).or_insert(doubt);
        match doubt {
            Doubt::NoRoom(_) => error!(
                log = %partition, %one, %other,
                "{doubt}: it answers KAFKA_STORAGE_ERROR until there is room, and is served then"
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
            match log.rename_folder(&to) {
                Err(error) if is_passing(&error) => {
                    warn!(log = %partition, %error, "the log that does not count cannot be renamed now");
                    logs.remove(&partition);
                    self.doubt(&options, Some(log.start_offset()), [&directory, &better], unopened, offline);
                }
                renamed => {
                    if offline.unless_of_disk(&directory, renamed)?.is_some() {
                        forget_mark(&kept);
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes all logs of the partitions that are to be looked at again when there is room.
    pub fn note_candidates(&mut self, twice: &[Twice<'_>], firsts: &[Unopened<'_>]) {
        for (partition, doubt) in &mut self.doubtful {
            let Doubt::NoRoom(candidates) = doubt else { continue };
            let first = firsts.iter().filter(|first| first.partition == *partition);
            let others = twice.iter().map(|pair| &pair.second).filter(|second| second.partition == *partition);
            candidates.extend(first.chain(others).map(Candidate::of));
        }
    }
}

impl Candidate {
    fn of(Unopened { directory, options, .. }: &Unopened<'_>) -> Self {
        let options = OpenLog { left: Left::Unknown, recovery_point: Offset(0), ..options.clone() };
        Self { directory: directory.to_path_buf(), options }
    }
}

/// What comes of looking again at the logs of a partition.
pub(super) enum Again {
    /// This one counts, and the others have these folders, with the names of what is to be removed.
    Counts(Box<Log>, Vec<PathBuf>),
    /// There is still no room, or are no files, in this directory.
    NotYet(Arc<Directory>, StorageError),
    /// One of them cannot be read.
    Unreadable(StorageError),
}

impl Partitions {
    /// Looks again at the logs of a partition for which there was no room, if it is one: the one that counts is found then. Only
    /// one who makes logs of its topic does so at a time. Gives the folders of the others, if it is: they stay until it is served.
    ///
    /// # Errors
    /// There is no room yet; or it is found out now that one of them cannot be read.
    pub(super) fn settle_again(&self, partition: &TopicPartition) -> ottla_storage::Result<Option<Vec<PathBuf>>> {
        let candidates = match self.doubtful().get(partition) {
            Some(Doubt::NoRoom(candidates)) => candidates.clone(),
            _ => return Ok(None),
        };
        match self.look_again(partition, &candidates) {
            Again::Counts(log, superfluous) => {
                info!(log = %partition, kept = %log.folder().display(), "there was room to find out which of its logs counts");
                // As ever, it is in one of these at any time.
                self.found().insert(partition.clone(), *log);
                self.unopened().remove(partition);
                self.doubtful().remove(partition);
                Ok(Some(superfluous))
            }
            Again::NotYet(directory, error) => {
                directory.on_error(&error);
                Err(error)
            }
            Again::Unreadable(error) => {
                error!(log = %partition, %error, "{}: it answers KAFKA_STORAGE_ERROR", Doubt::Unreadable);
                // Where its topic was deleted meanwhile, there is no doubt any more.
                self.doubtful().entry(partition.clone()).and_modify(|doubt| *doubt = Doubt::Unreadable);
                Err(error)
            }
        }
    }

    fn look_again(&self, partition: &TopicPartition, candidates: &[Candidate]) -> Again {
        let mut logs: Vec<(Arc<Directory>, Log)> = Vec::new();
        for Candidate { directory: path, options } in candidates {
            let folder = path.join(partition.to_string());
            let home = self.directories().iter().find(|directory| directory.path() == path && directory.is_online());
            let Some(home) = home else {
                let detail = format!("{} is offline", path.display());
                return Again::Unreadable(StorageError::Unusable { path: folder, detail });
            };
            match is_still_there(home, &folder) {
                Ok(true) => {}
                Ok(false) => {
                    warn!(log = %partition, folder = %folder.display(), "one of two logs of a partition is not there any more");
                    continue;
                }
                Err(error) => return Again::of(home, error),
            }
            match Log::open(&folder, LogConfig::default(), options.clone()) {
                Ok((log, _)) => logs.push((home.clone(), log)),
                Err(error) => return Again::of(home, error),
            }
        }
        settle_opened(partition, logs)
    }
}

/// Which of the logs of a partition counts, of those that are open; the others get the names of what is to be removed. Opening them
/// may have taken minutes: where the directory of the better one is offline by now, the other one may be the last, and stays.
pub(super) fn settle_opened(partition: &TopicPartition, logs: Vec<(Arc<Directory>, Log)>) -> Again {
    let mut logs = logs.into_iter();
    let Some(mut counts) = logs.next() else {
        let detail = "none of its logs is there any more".to_owned();
        return Again::Unreadable(StorageError::Unusable { path: partition.to_string().into(), detail });
    };
    let mut removed = Vec::new();
    for other in logs {
        let home = other.0.clone();
        let superfluous = match is_later(&counts.1, &other.1) {
            Ok(true) => std::mem::replace(&mut counts, other),
            Ok(false) => other,
            Err(error) => return Again::of(&home, error),
        };
        let (home, log) = &counts;
        if let Err(error) = check_online(home) {
            return Again::of(home, error);
        }
        match remove_beside(log, superfluous) {
            Ok(folder) => removed.extend(folder),
            Err(again) => return again,
        }
    }
    Again::Counts(Box::new(counts.1), removed)
}

impl Again {
    fn of(home: &Arc<Directory>, error: StorageError) -> Self {
        if is_passing(&error) {
            return Self::NotYet(home.clone(), error);
        }
        home.on_error(&error);
        Self::Unreadable(error)
    }
}

/// Whether a log that was found at the start is still in its folder: its owner may have taken it away, or what was looked at before
/// have its new name already. An empty one would be made in its place, and could count.
///
/// # Errors
/// Its directory, or what the folder is a link to, is not there: nobody knows what became of it.
fn is_still_there(home: &Directory, folder: &Path) -> ottla_storage::Result<bool> {
    home.check_there()?;
    if os::exists(folder).map_err(StorageError::io("look for", folder))? {
        return Ok(true);
    }
    match os::is_link(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageError::io("look for", folder)(error)),
        Ok(_) => {
            let detail = "what it is a link to is not there".to_owned();
            Err(StorageError::Unusable { path: folder.to_owned(), detail })
        }
    }
}

/// Whether what lies in a directory is served.
///
/// # Errors
/// It has failed, or is not there any more.
fn check_online(home: &Directory) -> ottla_storage::Result<()> {
    let offline = |failure: &str| StorageError::Unusable { path: home.path().to_owned(), detail: failure.to_owned() };
    home.failure().map_or(Ok(()), |failure| Err(offline(failure)))?;
    home.check_there()
}

/// Gives the log that does not count the name of what is to be removed, and says where it lies then. Where its disk fails, it is left
/// as a start leaves it.
fn remove_beside(counts: &Log, (home, mut log): (Arc<Directory>, Log)) -> std::result::Result<Option<PathBuf>, Again> {
    let name = PartitionFolder::name_of(counts.topic_partition(), FolderKind::Deleted, Uuid::random(entropy));
    let (removed, to) = (log.folder().to_owned(), home.path().join(name));
    match log.rename_folder(&to) {
        Ok(()) => {
            warn!(
                log = %counts.topic_partition(), kept = %counts.folder().display(), removed = %removed.display(),
                "a move between log directories was interrupted"
            );
            forget_mark(counts.folder());
            Ok(Some(to))
        }
        Err(error) if is_passing(&error) => Err(Again::NotYet(home, error)),
        Err(error) => {
            home.on_error(&error);
            Ok(None)
        }
    }
}

/// Whether another time it may go well, and the disk is not to blame.
pub(super) fn is_passing(error: &StorageError) -> bool {
    error.is_full() || error.lacks_files()
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "one of two logs of a partition cannot be read, and may have records that the other one has not",
            Self::NoRoom(_) => {
                "there is no room, or are no files, to open both logs of a partition, and it is not known which one has all of its \
                 records"
            }
            Self::Elsewhere => {
                "the metadata says that a replica lies in a log directory that is not online, and it was found in another one"
            }
        })
    }
}

/// Of two logs that can be read the one that counts, and the other one.
fn later_first(first: Log, second: Log) -> ottla_storage::Result<(Log, Log)> {
    Ok(if is_later(&first, &second)? { (second, first) } else { (first, second) })
}

/// Whether the second of two logs that can be read counts.
fn is_later(first: &Log, second: &Log) -> ottla_storage::Result<bool> {
    let (first_end, second_end) = (first.end_offset(), second.end_offset());
    Ok(second_end > first_end || second_end == first_end && source(second.folder())?.is_some())
}

/// From which directory the log in a folder was moved, if a move was interrupted.
fn source(folder: &Path) -> ottla_storage::Result<Option<PathBuf>> {
    let path = read_file(&folder.join(MOVED))?;
    Ok(path.map(|path| OsString::from_vec(path).into()))
}

fn directory_of(log: &Log) -> &Path {
    log.folder().parent().expect("a log lies in a log directory")
}
