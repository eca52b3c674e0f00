//! One log directory: who holds it, how it was left, and which partitions lie in it.
//!
//! ```text
//!   .lock                                   held while the broker runs
//!   .kafka_cleanshutdown                    there only after a clean stop, until the next start
//!   ottla-boot                              in which boot of the machine all logs were last opened
//!   meta.properties                         see meta_properties.rs
//!   *-checkpoint                            see checkpoint.rs
//!   orders-0/                               a partition
//!   orders-0.<32 hex digits>-future/        a copy that is being moved here from another directory
//!   orders-0.<32 hex digits>-delete/        a partition that was deleted and goes soon
//!   orders-0.<32 hex digits>-stray/         a partition that the cluster does not know or put elsewhere
//! ```
//!
//! This is not where logs are loaded, nor where is decided what becomes of a folder.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ottla_base::{TopicPartition, Uuid};

use crate::error::{Error, Result};
use crate::log::is_of_log;
use crate::{os, small_file};

const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const BOOT: &str = "ottla-boot";
/// The hint of the lock file while the page cache may be believed, and what the mark says where that could be set.
const MOUNTED: u64 = 5;
const MOUNTED_LINE: &str = "mounted=5\n";
/// No file system that matters takes longer names.
const NAME_BYTES_MAX: usize = 255;
const ID_DIGITS: usize = 32;
/// How often a lock file that another broker removed meanwhile is made again, before that is an error.
const LOCK_ATTEMPTS_MAX: usize = 10;

/// A log directory that this process holds alone. Dropping it lets go, but leaves the lock file, as a kill does.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    /// Which folder it is, whatever its name.
    identity: (u64, u64),
    lock: File,
}

/// A folder of a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionFolder {
    /// The name in the log directory.
    pub name: String,
    /// Whose it is. The topic of one that is deleted or stray may be cut short.
    pub partition: TopicPartition,
    /// What it is there for.
    pub kind: FolderKind,
}

/// What a partition's folder is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FolderKind {
    /// It is the partition's log.
    Current,
    /// It will be the log once it has caught up.
    Future,
    /// It was deleted and can be removed.
    Deleted,
    /// It is not known to the cluster. Nobody but its owner can tell whether it is missed: as in Kafka, it stays.
    Stray,
}

/// Gives a folder of a log directory another name there, on the disk when this returns.
pub fn rename_folder(from: &Path, to: &Path) -> Result<()> {
    os::rename(from, to).map_err(Error::io("rename", from))?;
    let parent = to.parent().expect("a folder of a partition lies in a log directory");
    os::sync_folder(parent).map_err(Error::io("flush", parent))
}

/// Removes a partition's folder and all in it. Where it is a symbolic link, the files of the log go from where that leads to, as
/// in Kafka, and then the link; what else lies there is not ours, and stays.
///
/// # Errors
/// What the operating system says, as if it were one call.
pub fn remove_log_folder(path: &Path) -> std::io::Result<()> {
    if os::is_link(path)? {
        let entries = match os::list(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let files = entries.iter().filter(|entry| !entry.is_folder && is_of_log(&entry.name));
        files.map(|file| path.join(&file.name)).try_for_each(|file| os::remove(&file))?;
    }
    os::remove_folder(path)
}

/// What the last clean stop left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The broker's epoch in that life, for its next registration (KIP-966); unknown if an older Kafka stopped.
    pub broker_epoch: Option<i64>,
}

impl LogDirectory {
    /// Makes the directory if need be, and takes its lock.
    ///
    /// # Errors
    /// `Locked` if another process holds it, `NotDirectory` if there is a file in its place.
    pub fn lock(path: &Path) -> Result<Self> {
        os::create_folders(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => Error::NotDirectory { path: path.to_owned() },
            _ => Error::io("create", path)(error),
        })?;
        let lock_path = path.join(LOCK);
        for _ in 0..LOCK_ATTEMPTS_MAX {
            let lock = os::open_or_create(&lock_path).map_err(Error::io("open", &lock_path))?;
            if !os::try_lock(&lock).map_err(Error::io("lock", &lock_path))? {
                return Err(Error::Locked { path: lock_path });
            }
            // A broker that was just stopping may have removed the file between our opening it and locking it. What we
            // hold then has no name, and would keep nobody out.
            if os::has_name(&lock).map_err(Error::io("look at", &lock_path))? {
                let identity = os::identity_of(path).map_err(Error::io("look at", path))?;
                return Ok(Self { path: path.to_owned(), identity, lock });
            }
        }
        Err(Error::Locked { path: lock_path })
    }

    /// As [`Self::lock`], beside others that this process holds.
    ///
    /// # Errors
    /// `SameDirectory` if it is one of them.
    pub fn lock_beside<'a>(path: &Path, held: impl IntoIterator<Item = &'a Self>) -> Result<Self> {
        Self::lock(path).map_err(|error| {
            let identity = os::identity_of(path).ok().filter(|_| matches!(error, Error::Locked { .. }));
            match held.into_iter().find(|held| Some(held.identity) == identity) {
                Some(held) => Error::SameDirectory { path: path.to_owned(), other: held.path.clone() },
                None => error,
            }
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still there: not removed, and no other one has its name, as where its volume was unmounted.
    ///
    /// # Errors
    /// It is not, as the operating system would say of a file that is not there.
    pub fn check_there(&self) -> Result<()> {
        let there = os::identity_of(&self.path).map_err(Error::io("find", &self.path))?;
        let gone = || Error::io("find", &self.path)(rustix::io::Errno::NOENT.into());
        if there == self.identity { Ok(()) } else { Err(gone()) }
    }

    /// Removes the lock file and lets go: the last step of a clean stop.
    pub fn unlock(self) -> Result<()> {
        // Removed while it is still held, so that nobody else's file is removed.
        small_file::remove(&self.path.join(LOCK))?;
        drop(self.lock);
        Ok(())
    }

    /// Notes that everything is flushed, and in which life of the broker.
    pub fn write_clean_shutdown(&self, broker_epoch: i64) -> Result<()> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        small_file::replace(&self.path.join(CLEAN_SHUTDOWN), text.as_bytes())
    }

    /// What a clean stop left, or `None` if the last stop was none. It is gone afterwards: should this start fail half
    /// way, the next one must not trust it.
    pub fn take_clean_shutdown(&self) -> Result<Option<CleanShutdown>> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let Some(bytes) = small_file::read(&path)? else { return Ok(None) };
        small_file::remove(&path)?;
        Ok(Some(CleanShutdown { broker_epoch: broker_epoch(&bytes) }))
    }

    /// Whether the machine has not stopped since [`Self::mark_boot`], nor the file system been unmounted, so that all that was
    /// written since is in the page cache. A copy of the directory has no such mark.
    pub fn is_of_this_boot(&self) -> Result<bool> {
        let path = self.path.join(BOOT);
        let Some(written) = small_file::read(&path)? else { return Ok(false) };
        let file = os::open_read_only(&path).map_err(Error::io("open", &path))?;
        let Some(expected) = boot_mark(&file).map_err(Error::io("look at", &path))? else { return Ok(false) };
        let Some(rest) = written.strip_prefix(expected.as_bytes()) else { return Ok(false) };
        let is_mounted = || os::life_hint(&self.lock).is_ok_and(|hint| hint == MOUNTED);
        Ok(rest.is_empty() || (rest == MOUNTED_LINE.as_bytes() && is_mounted()))
    }

    /// Notes that all logs were opened in this boot of the machine: what was torn before is cut off.
    pub fn mark_boot(&self) -> Result<()> {
        let (path, temporary) = (self.path.join(BOOT), self.path.join(format!("{BOOT}.tmp")));
        let file = os::create(&temporary).map_err(Error::io("create", &temporary))?;
        let mut mark = boot_mark(&file).map_err(Error::io("look at", &temporary))?.unwrap_or_default();
        if os::set_life_hint(&self.lock, MOUNTED).is_ok() {
            mark += MOUNTED_LINE;
        }
        // Not flushed: after a power cut it says nothing anyway.
        os::write_all_at(&file, mark.as_bytes(), 0).map_err(Error::io("write", &temporary))?;
        os::rename(&temporary, &path).map_err(Error::io("put the new file in the place of", &path))
    }

    /// All folders of partitions, sorted by name. Other folders are not ours to touch and left out.
    pub fn partitions(&self) -> Result<Vec<PartitionFolder>> {
        Self::partitions_in(&self.path)
    }

    /// The same, of a directory that is not held: it may change at any time.
    pub fn partitions_in(path: &Path) -> Result<Vec<PartitionFolder>> {
        let entries = os::list(path).map_err(Error::io("list", path))?;
        let mut folders = Vec::new();
        for entry in entries {
            let (is_folder, Some(folder)) = (entry.is_folder, PartitionFolder::parse(entry.name)) else { continue };
            if is_folder {
                folders.push(folder);
            } else if folder.kind == FolderKind::Current {
                check_not_dangling(&path.join(&folder.name))?;
            }
        }
        Ok(folders)
    }
}

impl PartitionFolder {
    /// Reads the name of a folder; `None` if it is not one of a partition.
    pub fn parse(name: String) -> Option<Self> {
        for kind in [FolderKind::Future, FolderKind::Deleted, FolderKind::Stray] {
            let Some(rest) = name.strip_suffix(kind.suffix()) else { continue };
            let (partition, id) = rest.rsplit_once('.')?;
            let is_id = id.len() == ID_DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit());
            let partition = TopicPartition::parse(partition).filter(|_| is_id)?;
            return Some(Self { name, partition, kind });
        }
        let partition = TopicPartition::parse(&name)?;
        Some(Self { name, partition, kind: FolderKind::Current })
    }

    /// The name of a folder of `partition`. `id` tells several of the same kind apart; a current one has none.
    ///
    /// Names longer than a file system takes are shortened by cutting the topic, except for a current folder: the
    /// longest topic name still fits there.
    pub fn name_of(partition: &TopicPartition, kind: FolderKind, id: Uuid) -> String {
        if kind == FolderKind::Current {
            return partition.to_string();
        }
        let TopicPartition { topic, partition } = partition;
        let end = format!("-{partition}.{:032x}{}", id.0, kind.suffix());
        let kept = topic.floor_char_boundary(NAME_BYTES_MAX - end.len());
        format!("{}{end}", &topic[..kept])
    }
}

impl FolderKind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Current => "",
            Self::Future => "-future",
            Self::Deleted => "-delete",
            Self::Stray => "-stray",
        }
    }
}

/// A partition whose folder is a link to what is not there is not a new one: its volume is not mounted.
fn check_not_dangling(path: &Path) -> Result<()> {
    let is_dangling = || Ok(os::is_link(path)? && !os::exists(path)?);
    let gone = || Error::io("find where the link leads", path)(rustix::io::Errno::NOENT.into());
    if is_dangling().map_err(Error::io("look at", path))? { Err(gone()) } else { Ok(()) }
}

/// The disk has failed under a log directory: the page cache may no longer hold what was written there.
pub fn distrust_page_cache(directory: &Path) {
    let path = directory.join(BOOT);
    match os::remove(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            // That takes no disk.
            let forgotten = os::open_read_only(&directory.join(LOCK)).and_then(|lock| os::set_life_hint(&lock, 0));
            if forgotten.is_ok() {
                return;
            }
            tracing::error!(%error, file = %path.display(), "remove it before the next start, or too little is checked then");
        }
        _ => {}
    }
}

/// What the file holds, if it was written in this boot; nothing where the system does not tell boots apart.
fn boot_mark(file: &File) -> std::io::Result<Option<String>> {
    let (device, number) = os::identity(file)?;
    Ok(os::boot_id().ok().map(|boot| format!("boot={boot}\nfile={device}:{number}\n")))
}

/// The number in `{"version":0,"brokerEpoch":N}`; `None` for the empty marker of older Kafkas, and all else.
fn broker_epoch(bytes: &[u8]) -> Option<i64> {
    let text: String = std::str::from_utf8(bytes).ok()?.split_whitespace().collect();
    let fields: Vec<(&str, &str)> =
        text.strip_prefix('{')?.strip_suffix('}')?.split(',').filter_map(|field| field.split_once(':')).collect();
    let value_of = |key: &str| fields.iter().find(|field| field.0 == key).map(|field| field.1);
    value_of("\"version\"").filter(|version| *version == "0")?;
    value_of("\"brokerEpoch\"")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_a_directory_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/demand");
        let held = LogDirectory::lock(&path).unwrap();
        let error = LogDirectory::lock(&path).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }) && error.to_string().contains("made/on/demand/.lock"), "{error}");
        drop(held);
        assert!(path.join(LOCK).exists(), "as after a kill");
        let held = LogDirectory::lock(&path).unwrap();
        held.unlock().unwrap();
        assert!(!path.join(LOCK).exists());
    }

    #[test]
    fn a_directory_that_is_named_twice_is_told_from_one_that_another_process_holds() {
        let folder = tempfile::tempdir().unwrap();
        let [first, other, link] = ["first", "other", "link"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let held = [&first, &other].map(|path| LogDirectory::lock(path).unwrap());
        let error = LogDirectory::lock_beside(&link, &held).unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, Error::SameDirectory { .. }) && !error.is_of_disk(), "{error:?}");
        assert!([&first, &link].iter().all(|path| told.contains(&*path.to_string_lossy())), "{told}");
        assert!(matches!(LogDirectory::lock_beside(&link, &held[1..]), Err(Error::Locked { .. })));
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        std::fs::write(&file, "").unwrap();
        for path in [&file, &file.join("in/it")] {
            let error = LogDirectory::lock(path).unwrap_err();
            assert!(matches!(error, Error::NotDirectory { .. }) && error.to_string().contains("log.dirs"), "{error}");
        }
    }

    #[test]
    fn a_directory_that_is_gone_or_not_the_same_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("data"), folder.path().join("aside"));
        let held = LogDirectory::lock(&path).unwrap();
        held.check_there().unwrap();
        std::fs::remove_file(path.join(LOCK)).unwrap();
        held.check_there().unwrap();
        std::fs::rename(&path, &aside).unwrap();
        for makes_another in [false, true] {
            if makes_another {
                std::fs::create_dir(&path).unwrap();
            }
            let error = held.check_there().unwrap_err();
            assert!(error.is_of_disk() && error.to_string().contains("cannot find"), "{error}");
        }
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        held.check_there().unwrap();
    }

    #[test]
    fn the_marker_of_a_clean_stop_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let directory = LogDirectory::lock(folder.path()).unwrap();
        let path = folder.path().join(CLEAN_SHUTDOWN);
        assert_eq!(directory.take_clean_shutdown().unwrap(), None);
        directory.write_clean_shutdown(42).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"version":0,"brokerEpoch":42}"#);
        assert_eq!(directory.take_clean_shutdown().unwrap(), Some(CleanShutdown { broker_epoch: Some(42) }));
        assert_eq!(directory.take_clean_shutdown().unwrap(), None);
        for (text, broker_epoch) in [
            ("", None),
            ("{ \"brokerEpoch\" : 7 ,\n \"version\" : 0 }\n", Some(7)),
            (r#"{"version":1,"brokerEpoch":42}"#, None),
            (r#"{"version":0,"brokerEpoch":"x"}"#, None),
            ("{{{", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(directory.take_clean_shutdown().unwrap(), Some(CleanShutdown { broker_epoch }), "{text:?}");
        }
    }

    #[test]
    fn a_folder_has_its_new_name_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["t-0", "t-0.0-delete"].map(|name| folder.path().join(name));
        std::fs::create_dir(&from).unwrap();
        let (renamed, calls) = os::trace::calls_of(|| rename_folder(&from, &to));
        renamed.unwrap();
        let parent = folder.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(calls, ["rename t-0".to_owned(), format!("sync-folder {parent}")]);
        assert!(to.exists() && !from.exists());
    }

    #[test]
    fn a_boot_is_known_again_and_nothing_else_is_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let directory = LogDirectory::lock(&path).unwrap();
        assert!(!directory.is_of_this_boot().unwrap());
        directory.mark_boot().unwrap();
        directory.mark_boot().unwrap();
        assert!(directory.is_of_this_boot().unwrap());
        let lock = std::fs::File::open(path.join(LOCK)).unwrap();
        assert_eq!(os::life_hint(&lock).unwrap(), MOUNTED);
        os::set_life_hint(&lock, 0).unwrap();
        assert!(!directory.is_of_this_boot().unwrap(), "the file system was unmounted");
        directory.mark_boot().unwrap();

        let copy = LogDirectory::lock(&folder.path().join("copy")).unwrap();
        std::fs::copy(path.join(BOOT), copy.path().join(BOOT)).unwrap();
        assert!(!copy.is_of_this_boot().unwrap(), "a copy of a running broker's directory may lack anything");

        let written = std::fs::read_to_string(path.join(BOOT)).unwrap();
        let boot = os::boot_id().unwrap();
        std::fs::write(path.join(BOOT), written.replace(&boot, "c0ffee00-0000-4000-8000-000000000000")).unwrap();
        assert!(!directory.is_of_this_boot().unwrap(), "the machine has started anew");
        std::fs::write(path.join(BOOT), "").unwrap();
        assert!(!directory.is_of_this_boot().unwrap());

        directory.mark_boot().unwrap();
        distrust_page_cache(&path);
        assert!(!directory.is_of_this_boot().unwrap());
        distrust_page_cache(&path);
    }

    #[test]
    fn folders_of_partitions_are_told_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let directory = LogDirectory::lock(folder.path()).unwrap();
        let partition = TopicPartition::new("web-log.v2", 3);
        let kinds = [FolderKind::Current, FolderKind::Deleted, FolderKind::Future, FolderKind::Stray];
        let names = kinds.map(|kind| PartitionFolder::name_of(&partition, kind, Uuid(0xab)));
        assert_eq!(names[0], "web-log.v2-3");
        assert_eq!(names[1], "web-log.v2-3.000000000000000000000000000000ab-delete");
        for name in
            names.iter().map(String::as_str).chain(["lost+found", "x", "t-1.ab-delete", "t-x", "-1", "t-delete"])
        {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("file-0"), "").unwrap();
        let expected: Vec<_> = names
            .into_iter()
            .zip(kinds)
            .map(|(name, kind)| PartitionFolder { name, partition: partition.clone(), kind })
            .collect();
        assert_eq!(directory.partitions().unwrap(), expected);
    }

    #[test]
    fn a_folder_behind_a_link_counts_and_its_removal_takes_what_is_of_the_log_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [data, elsewhere] = ["data", "elsewhere"].map(|name| folder.path().join(name));
        [&data, &elsewhere].iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, data.join(name)).unwrap();
        link(&elsewhere, "t-0");
        link(&folder.path().join("nowhere"), "t-1");
        std::fs::write(folder.path().join("file"), "").unwrap();
        link(&folder.path().join("file"), "t-2");
        let error = LogDirectory::partitions_in(&data).unwrap_err();
        assert!(error.is_of_disk() && error.to_string().contains("data/t-1"), "{error}");
        remove_log_folder(&data.join("t-1")).unwrap();
        let found = || LogDirectory::partitions_in(&data).unwrap().into_iter().map(|found| found.name);
        assert_eq!(found().collect::<Vec<_>>(), ["t-0"]);

        let ours = ["00000000000000000000.log", "00000000000000000007.snapshot.deleted", "partition.metadata"];
        ours.iter().for_each(|name| std::fs::write(elsewhere.join(name), "").unwrap());
        std::fs::create_dir(elsewhere.join("photographs")).unwrap();
        std::fs::write(elsewhere.join("will.txt"), "").unwrap();
        let doomed = data.join(format!("t-0.{:032x}-delete", 7));
        rename_folder(&data.join("t-0"), &doomed).unwrap();
        remove_log_folder(&doomed).unwrap();
        assert_eq!(found().count(), 0);
        let left: Vec<String> = os::list(&elsewhere).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(left, ["photographs", "will.txt"]);
        assert_eq!(remove_log_folder(&doomed).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn long_names_are_cut_in_the_topic_and_stay_readable() {
        for topic in ["x".repeat(249), "é".repeat(124)] {
            let partition = TopicPartition::new(topic, i32::MAX);
            let name = PartitionFolder::name_of(&partition, FolderKind::Deleted, Uuid(u128::MAX));
            assert!((254..=255).contains(&name.len()), "{name}");
            let parsed = PartitionFolder::parse(name).unwrap();
            assert_eq!((parsed.partition.partition, parsed.kind), (partition.partition, FolderKind::Deleted));
            assert!(partition.topic.starts_with(&parsed.partition.topic));
        }
    }
}
