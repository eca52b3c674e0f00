//! Opening the log directories: locking, identity, recovery of every log, in several threads.
//!
//! ```text
//!   lock --> meta.properties --> clean-shutdown marker --> checkpoints --> each partition's log
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ottla_base::{Offset, TopicPartition, Uuid};
use ottla_storage::checkpoint::{self, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use ottla_storage::{Error as StorageError, FolderKind, Log, LogConfig, LogDirectory, MetaProperties, OpenLog, os};
use tracing::{info, warn};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::node::clock;

/// The log of the metadata itself; the controller opens it.
const METADATA_FOLDER: &str = "__cluster_metadata-0";

/// What the log directories held.
pub struct Loaded {
    /// The directories, locked.
    pub directories: Vec<LogDirectory>,
    /// The directory of the metadata log, locked, where it is none of those.
    pub metadata_directory: Option<LogDirectory>,
    /// Their ids, in the same order.
    pub directory_ids: Vec<Uuid>,
    /// The cluster they belong to.
    pub cluster_id: String,
    /// Every partition's log.
    pub logs: BTreeMap<TopicPartition, Log>,
    /// The high watermarks that were written last.
    pub high_watermarks: BTreeMap<TopicPartition, Offset>,
    /// The broker's epoch in its last life, where that ended cleanly in every directory (KIP-966).
    pub previous_broker_epoch: Option<i64>,
}

/// A log to be opened.
struct Unopened<'a> {
    directory: &'a Path,
    partition: TopicPartition,
    options: OpenLog,
}

/// Opens all of `log.dirs`, formatting those that are new.
pub fn open_directories(config: &Config, mut random: impl FnMut() -> u64) -> Result<Loaded> {
    let mut directories = Vec::new();
    for path in &config.log_dirs {
        directories.push(LogDirectory::lock(path)?);
    }
    let metadata_path = &config.metadata_log_dir;
    let has_its_own = !config.log_dirs.contains(metadata_path);
    let metadata_directory = has_its_own.then(|| LogDirectory::lock(metadata_path)).transpose()?;
    let all_directories: Vec<_> = directories.iter().chain(&metadata_directory).collect();
    let (cluster_id, mut directory_ids) = identify(config, &all_directories, &mut random)?;
    directory_ids.truncate(directories.len());
    let begun = Instant::now();
    let mut unopened = Vec::new();
    let mut high_watermarks = BTreeMap::new();
    let mut previous_broker_epoch = None;
    let mut all_clean = true;
    for directory in &directories {
        let clean = directory.take_clean_shutdown()?;
        all_clean &= clean.is_some();
        previous_broker_epoch = clean.as_ref().and_then(|clean| clean.broker_epoch).or(previous_broker_epoch);
        let recovery_points = read_checkpoint(directory.path(), RECOVERY_POINT_CHECKPOINT);
        let log_starts = read_checkpoint(directory.path(), LOG_START_CHECKPOINT);
        high_watermarks.extend(read_checkpoint(directory.path(), HIGH_WATERMARK_CHECKPOINT));
        for folder in directory.partitions()? {
            match folder.kind {
                FolderKind::Current if folder.name == METADATA_FOLDER => {}
                FolderKind::Current => unopened.push(Unopened {
                    directory: directory.path(),
                    options: OpenLog {
                        topic_partition: folder.partition.clone(),
                        clean: clean.is_some(),
                        recovery_point: recovery_points.get(&folder.partition).copied().unwrap_or_default(),
                        log_start_offset: log_starts.get(&folder.partition).copied().unwrap_or_default(),
                        now_ms: clock::now_ms(),
                    },
                    partition: folder.partition,
                }),
                FolderKind::Deleted => {
                    let folder = directory.path().join(&folder.name);
                    os::remove_folder(&folder).map_err(|source| Error::remove(&folder, source))?;
                }
                FolderKind::Stray => {
                    let folder = directory.path().join(&folder.name);
                    warn!(folder = %folder.display(), "no topic has this log: remove the folder if nobody misses it");
                }
                FolderKind::Future => {
                    let folder = directory.path().join(&folder.name);
                    warn!(folder = %folder.display(), "left alone: moving logs between directories comes later");
                }
            }
        }
    }
    let count = unopened.len();
    let threads = config.num_recovery_threads_per_data_dir * directories.len();
    let logs = open_logs(&unopened, threads)?;
    if count > 0 {
        info!(logs = count, clean = all_clean, took = ?begun.elapsed(), "opened the logs");
    }
    let previous_broker_epoch = previous_broker_epoch.filter(|_| all_clean);
    Ok(Loaded {
        directories,
        metadata_directory,
        directory_ids,
        cluster_id,
        logs,
        high_watermarks,
        previous_broker_epoch,
    })
}

/// Checks that all directories belong to this node and one cluster, and gives new ones their papers.
fn identify(
    config: &Config,
    directories: &[&LogDirectory],
    random: &mut impl FnMut() -> u64,
) -> Result<(String, Vec<Uuid>)> {
    let mut known = Vec::new();
    for directory in directories {
        known.push(MetaProperties::read(directory.path())?);
    }
    let first = known.iter().flatten().next().cloned();
    let cluster_id =
        first.as_ref().map_or_else(|| Uuid::random(&mut *random).to_string(), |first| first.cluster_id.clone());
    let mut ids = Vec::new();
    for (directory, papers) in directories.iter().zip(known) {
        let path = directory.path().to_owned();
        let papers = match papers {
            Some(papers) if papers.node_id != config.node_id => {
                return Err(Error::WrongNode { path, theirs: papers.node_id, ours: config.node_id });
            }
            Some(papers) if papers.cluster_id != cluster_id => {
                return Err(Error::WrongCluster { path, theirs: papers.cluster_id, ours: cluster_id });
            }
            Some(papers) => papers,
            None => {
                if let Some(folder) = directory.partitions()?.into_iter().next() {
                    return Err(Error::UnformattedWithLogs { path, folder: folder.name });
                }
                let directory_id = Uuid::random(&mut *random);
                let papers = MetaProperties { cluster_id: cluster_id.clone(), node_id: config.node_id, directory_id };
                papers.write(directory.path())?;
                info!(directory = %path.display(), cluster = %cluster_id, "formatted a new log directory");
                papers
            }
        };
        ids.push(papers.directory_id);
    }
    Ok((cluster_id, ids))
}

/// A checkpoint that cannot be read costs time, not data: the logs are checked from their beginning.
fn read_checkpoint(directory: &Path, name: &str) -> BTreeMap<TopicPartition, Offset> {
    checkpoint::read_offsets(&directory.join(name)).unwrap_or_else(|error| {
        warn!(%error, "taken as empty");
        BTreeMap::new()
    })
}

fn open_logs(unopened: &[Unopened<'_>], threads: usize) -> Result<BTreeMap<TopicPartition, Log>> {
    let next = AtomicUsize::new(0);
    let opened = Mutex::new((BTreeMap::new(), None::<StorageError>));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(unopened.len()) {
            scope.spawn(|| {
                while let Some(todo) = unopened.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = todo.directory.join(todo.partition.to_string());
                    let result = Log::open(&folder, LogConfig::default(), todo.options.clone());
                    let mut opened = opened.lock().expect("nobody panics while holding this lock");
                    match result {
                        Ok((log, recovery)) => {
                            if let Some(cut) = recovery.cut {
                                warn!(
                                    log = %todo.partition, end = %cut.end_offset, bytes = cut.bytes,
                                    removed_segments = cut.removed_segments, because = %cut.detail,
                                    "cut off what was written last, before the broker was killed"
                                );
                            }
                            opened.0.insert(todo.partition.clone(), log);
                        }
                        Err(error) => {
                            opened.1.get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    let (logs, failed) = opened.into_inner().expect("nobody panics while holding this lock");
    failed.map_or(Ok(logs), |error| Err(error.into()))
}
