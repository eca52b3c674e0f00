//! A partition that this node hosts: the leader machine and the log, each behind a lock, and who waits for changes.
//!
//! Synchronous: appending (in [`super::append`]) and reading block on nothing but the page cache. The log is locked before
//! the leader where both are.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockWriteGuard};

use ottla_base::{BrokerId, LeaderEpoch, Offset, Timestamp, TopicPartition, Uuid};
use ottla_metadata::settings::topic::TopicSettings;
use ottla_protocol::error::ErrorCode;
use ottla_storage::producer_snapshot::SnapshotEntry;
use ottla_storage::{
    AbortedTransaction, Error as StorageError, Flush, FoundRecord, Log, LogConfig, LogSlice, Sought, TimeSearch,
    UnpackBudget,
};

use super::append::Queued;
use super::directories::Directory;
use super::flusher::Flushing;
use super::leader::{Acks, Leader, Reader};
use super::moving::Move;
use super::parked::{Parked, ParkingLot};
use super::turns::Turns;
use crate::metrics::Traffic;

/// See [`Partition::retention_at_ms`].
const UNDECIDED: i64 = -1;

/// One hosted partition.
pub struct Partition {
    /// Its topic's name and its number.
    pub name: TopicPartition,
    /// Its topic's id.
    pub topic_id: Uuid,
    /// Requests that wait for more to read.
    pub parked: ParkingLot,
    /// Requests that wait until what they appended is safe.
    pub unacknowledged: ParkingLot,
    /// What came in and went out.
    pub traffic: Traffic,
    /// Who appends, and what waits to be appended.
    pub(super) turns: Turns<Queued>,
    /// Whether it waits to be forced to the disk.
    pub(super) flushing: Flushing,
    /// The log directory that it lies in.
    home: RwLock<Arc<Directory>>,
    /// Its move to another log directory; locked before the log.
    pub(super) move_state: Move,
    /// The log was written to since the housekeeping looked last, or there is something ahead.
    touched: AtomicBool,
    /// Records were deleted on request, or the log was moved, since the housekeeping has written down where logs start.
    start_moved: AtomicBool,
    /// When retention is to be enforced next, by the housekeeping's clock; it has not decided yet where this is negative.
    retention_at_ms: AtomicI64,
    settings: RwLock<Arc<TopicSettings>>,
    state: Mutex<State>,
    leading: Mutex<Leading>,
}

/// The log, which is locked for as long as a write takes.
pub(super) struct State {
    pub log: Log,
    /// The topic was deleted.
    is_gone: bool,
}

/// A flush that was begun, and the directory in which that was: the log may lie in another one when it ends.
pub(super) struct BegunFlush {
    home: Arc<Directory>,
    flush: ottla_storage::Result<Flush>,
}

/// What can be known without the log, as of its last change.
pub(super) struct Leading {
    pub leader: Leader,
    log_start: Offset,
    log_end: Offset,
    /// Up to where records are as safe on this broker as its settings ask for: all of them, or those that were flushed.
    safe_end: Offset,
    first_unstable: Option<Offset>,
    /// The log takes no more.
    is_broken: bool,
    /// The topic was deleted.
    is_gone: bool,
    /// Something has changed that requests may wait for.
    is_changed: bool,
}

/// What a read found.
#[derive(Debug)]
pub struct Found {
    /// The records, as a piece of a log file; empty where there are none to show.
    pub slice: Option<LogSlice>,
    /// The positions that go with every answer.
    pub positions: Positions,
    /// Where the reader's log parts from this one (KIP-595).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The aborted transactions that a reader of committed records has to skip in `slice`, by rising first offset.
    pub aborted: Vec<AbortedTransaction>,
    /// Whether more records follow that no larger limit would have given: they are in the next segment.
    pub ends_segment: bool,
}

/// The offsets that describe a log.
#[derive(Clone, Copy, Debug)]
pub struct Positions {
    /// First offset.
    pub log_start: Offset,
    /// After the last record.
    pub log_end: Offset,
    /// After the last committed record.
    pub high_watermark: Offset,
    /// After the last record that is in no open transaction.
    pub last_stable: Offset,
}

/// What a read asks for.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Who reads.
    pub reader: Reader,
    /// The first offset wanted.
    pub offset: Offset,
    /// At most this many bytes, but for a first batch that is larger.
    pub max_bytes: u32,
    /// Whether a first batch is given whole, however large (KIP-74).
    pub at_least_one: bool,
    /// The leader epoch the client believes in, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record the client has, or -1.
    pub last_fetched_epoch: LeaderEpoch,
    /// Whether what is found is sent to a client, which may take long: the last files are not for that.
    pub is_sent: bool,
}

/// What ListOffsets can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeQuery {
    /// The first record of this time or later.
    At(Timestamp),
    /// After the last record that the reader may see.
    Latest,
    /// The first record there is.
    Earliest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record that is on this broker's disk (KIP-405): without tiers, the first there is.
    EarliestLocal,
    /// The last record in the remote tier (KIP-1005): without tiers, none.
    LatestTiered,
    /// The first record still to be copied to the remote tier (KIP-1023): without tiers, none.
    EarliestPendingUpload,
}

/// What ListOffsets found; offset and time are -1 where there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAt {
    /// The offset.
    pub offset: Offset,
    /// The record's time, where a record was looked for.
    pub timestamp: Timestamp,
    /// The epoch of the leader that wrote it.
    pub leader_epoch: LeaderEpoch,
}

impl TimeQuery {
    /// From the number in a request of `version`; `None` where that version does not know it.
    pub fn from_wire(timestamp: Timestamp, version: i16) -> Option<Self> {
        let (query, since) = match timestamp {
            0.. => (Self::At(timestamp), 0),
            -1 => (Self::Latest, 0),
            -2 => (Self::Earliest, 0),
            -3 => (Self::MaxTimestamp, 7),
            -4 => (Self::EarliestLocal, 8),
            -5 => (Self::LatestTiered, 9),
            -6 => (Self::EarliestPendingUpload, 11),
            _ => return None,
        };
        (version >= since).then_some(query)
    }
}

impl From<FoundRecord> for OffsetAt {
    fn from(found: FoundRecord) -> Self {
        let FoundRecord { offset, timestamp, leader_epoch } = found;
        Self { offset, timestamp, leader_epoch }
    }
}

impl OffsetAt {
    /// Nothing was found, which is no error.
    pub const NOTHING: Self = Self { offset: Offset(-1), timestamp: -1, leader_epoch: LeaderEpoch::NONE };
}

impl Partition {
    /// Leads `log` from now on.
    pub fn lead(
        topic_id: Uuid,
        mut log: Log,
        home: Arc<Directory>,
        settings: Arc<TopicSettings>,
        local: BrokerId,
        registration: &ottla_metadata::image::Partition,
        checkpointed_high_watermark: Offset,
    ) -> Self {
        let leader = Leader::new(
            local,
            registration.leader_epoch,
            registration.isr.clone(),
            registration.replicas.len(),
            checkpointed_high_watermark,
            if log.config().flush_before_ack { log.flushed_offset() } else { log.end_offset() },
        );
        let mut leading = Leading {
            leader,
            log_start: Offset(0),
            log_end: Offset(0),
            safe_end: Offset(0),
            first_unstable: None,
            is_broken: false,
            is_gone: false,
            is_changed: false,
        };
        leading.note(&mut log);
        Self {
            name: log.topic_partition().clone(),
            topic_id,
            parked: ParkingLot::default(),
            unacknowledged: ParkingLot::default(),
            traffic: Traffic::default(),
            turns: Turns::default(),
            flushing: Flushing::default(),
            home: RwLock::new(home),
            move_state: Move::default(),
            touched: AtomicBool::new(true),
            start_moved: AtomicBool::new(false),
            retention_at_ms: AtomicI64::new(UNDECIDED),
            settings: RwLock::new(settings),
            state: Mutex::new(State { log, is_gone: false }),
            leading: Mutex::new(leading),
        }
    }

    /// The topic's settings, as they are now.
    pub fn settings(&self) -> Arc<TopicSettings> {
        self.settings.read().expect("nobody panics while holding this lock").clone()
    }

    /// Takes over changed settings.
    pub fn configure(&self, settings: Arc<TopicSettings>, log: LogConfig) {
        *self.settings.write().expect("nobody panics while holding this lock") = settings;
        self.lock().log.configure(log);
        self.retention_at_ms.store(UNDECIDED, Ordering::Relaxed);
    }

    /// Leads on as the metadata says now: it may have been without a leader meanwhile.
    pub fn lead_on(&self, registration: &ottla_metadata::image::Partition) {
        let ottla_metadata::image::Partition { leader_epoch, isr, replicas, .. } = registration;
        self.leading().leader.go_on(*leader_epoch, isr.clone(), replicas.len());
    }

    /// The log directory that it lies in.
    pub fn home(&self) -> Arc<Directory> {
        self.home.read().expect("nobody panics while holding this lock").clone()
    }

    /// Whether that is `directory`.
    pub(super) fn lies_in(&self, directory: &Directory) -> bool {
        self.home.read().expect("nobody panics while holding this lock").path() == directory.path()
    }

    /// The log directories in which it has to be written down where the log starts: the one that it lies in, and the one in which
    /// it is about to arrive, where that was written down before.
    pub fn start_directories(&self) -> Vec<Arc<Directory>> {
        // In this order: a log that arrives meanwhile has written down what holds now.
        let (arriving, home) = (self.move_state.arriving_in(), self.home());
        let arriving = arriving.filter(|directory| directory.path() != home.path());
        arriving.into_iter().chain([home]).collect()
    }

    pub(super) fn home_mut(&self) -> RwLockWriteGuard<'_, Arc<Directory>> {
        self.home.write().expect("nobody panics while holding this lock")
    }

    /// Whether its log directory has not failed.
    pub fn is_online(&self) -> bool {
        self.home.read().expect("nobody panics while holding this lock").is_online()
    }

    /// Whether its log directory takes no records of clients for want of room.
    pub(super) fn is_full(&self) -> bool {
        self.home.read().expect("nobody panics while holding this lock").is_full()
    }

    /// Notes in its log directory how much was written to it.
    pub(super) fn note_written(&self, bytes: usize) {
        self.home.read().expect("nobody panics while holding this lock").on_written(bytes);
    }

    /// Whether the producer of a batch that ends before `next_offset` may be told that it is safe.
    ///
    /// # Errors
    /// It cannot become safe any more.
    pub fn is_acknowledged(&self, acks: Acks, next_offset: Offset) -> Result<bool, ErrorCode> {
        let leading = self.leading();
        let reached = match acks {
            Acks::None => return Ok(true),
            Acks::Leader => leading.safe_end,
            Acks::All => leading.leader.high_watermark(),
        };
        if reached >= next_offset {
            return Ok(true);
        }
        if leading.is_gone {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        match leading.is_broken || !self.is_online() {
            true => Err(ErrorCode::KafkaStorageError),
            false => Ok(false),
        }
    }

    /// Waits until [`Partition::is_acknowledged`].
    pub async fn acknowledged(&self, acks: Acks, next_offset: Offset) -> Result<(), ErrorCode> {
        while !self.is_acknowledged(acks, next_offset)? {
            let parked = Parked::new();
            self.unacknowledged.register(&parked);
            if self.is_acknowledged(acks, next_offset)? {
                break;
            }
            parked.changed().await;
        }
        Ok(())
    }

    /// See [`Leader::refuse_replica`].
    pub fn refuse_replica(&self, believed: LeaderEpoch) -> ErrorCode {
        self.leading().leader.refuse_replica(believed)
    }

    /// Wakes the requests that wait for what has changed since this was last called.
    pub(super) fn wake(&self) {
        if self.leading().take_changes().1 {
            self.wake_all();
        }
    }

    /// Wakes all requests that wait for it.
    pub fn wake_all(&self) {
        self.parked.wake_all();
        self.unacknowledged.wake_all();
    }

    /// Finds records to send. On an error, the positions are told where the log is known.
    pub fn read(&self, read: Read) -> Result<Found, ErrorCode> {
        let state = self.serving()?;
        let (log, bound, positions, leader_epoch) = {
            let leading = self.leading();
            leading.leader.check_epoch(read.current_leader_epoch)?;
            (&state.log, leading.bound(read.reader), leading.positions(), leading.leader.epoch())
        };
        if read.last_fetched_epoch != LeaderEpoch::NONE
            && let Some(diverging) = state.divergence(read.offset, read.last_fetched_epoch, leader_epoch)?
        {
            let diverging = Some(diverging);
            return Ok(Found { slice: None, positions, diverging, aborted: Vec::new(), ends_segment: false });
        }
        let found = match read.is_sent {
            true => log.lend(read.offset, read.max_bytes, bound, read.at_least_one),
            false => log.read(read.offset, read.max_bytes, bound, read.at_least_one).map(Some),
        };
        match found.map(|slice| slice.filter(|slice| slice.length > 0)) {
            Ok(slice) => {
                let ends_segment = slice.as_ref().is_some_and(|slice| log.continues_after(slice, bound));
                let aborted = match &slice {
                    Some(slice) if read.reader == Reader::Committed => log.aborted_transactions(slice, bound),
                    _ => Ok(Vec::new()),
                };
                let aborted = aborted.map_err(|error| self.broken(&error))?;
                Ok(Found { slice, positions, diverging: None, aborted, ends_segment })
            }
            Err(StorageError::OffsetOutOfRange { .. }) => Err(ErrorCode::OffsetOutOfRange),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Answers ListOffsets.
    pub fn offset_at(
        &self,
        query: TimeQuery,
        reader: Reader,
        current_leader_epoch: LeaderEpoch,
        budget: &mut UnpackBudget,
    ) -> Result<OffsetAt, ErrorCode> {
        let state = self.serving()?;
        let (bound, positions, epoch) = {
            let leading = self.leading();
            leading.leader.check_epoch(current_leader_epoch)?;
            (leading.bound(reader), leading.positions(), leading.leader.epoch())
        };
        let without_time = |offset: Offset, leader_epoch: LeaderEpoch| OffsetAt { offset, timestamp: -1, leader_epoch };
        let search = match query {
            TimeQuery::Latest => return Ok(without_time(bound, epoch)),
            TimeQuery::Earliest | TimeQuery::EarliestLocal => {
                // The log knows no epoch before the first record of this leader.
                let epoch = state.log.epochs().epoch_for(positions.log_start).unwrap_or(epoch);
                return Ok(without_time(positions.log_start, epoch));
            }
            TimeQuery::LatestTiered | TimeQuery::EarliestPendingUpload => return Ok(OffsetAt::NOTHING),
            TimeQuery::MaxTimestamp => TimeSearch::largest(),
            TimeQuery::At(timestamp) => TimeSearch::at(timestamp, bound),
        };
        drop(state);
        self.search(search, budget)
    }

    /// Makes `to` the first offset that may be read; the high watermark, if none is given. Gives the first offset now.
    pub fn delete_records(&self, to: Option<Offset>) -> Result<Offset, ErrorCode> {
        let settings = self.settings();
        if settings.compact && !settings.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let mut state = self.serving()?;
        let high_watermark = self.leading().leader.high_watermark();
        let to = to.unwrap_or(high_watermark);
        if to < Offset(0) || to > high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        state.log.advance_start_offset(to).map_err(|error| self.broken(&error))?;
        self.leading().note(&mut state.log);
        let log_start = state.log.start_offset();
        drop(state);
        self.start_moves();
        self.parked.wake_all();
        Ok(log_start)
    }

    /// Where the records of the largest epoch up to `epoch` end, and which that is; `None` if there is none.
    pub fn end_of_epoch(
        &self,
        current_leader_epoch: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
        let state = self.serving()?;
        let leader_epoch = {
            let leading = self.leading();
            leading.leader.check_epoch(current_leader_epoch)?;
            leading.leader.epoch()
        };
        Ok(state.end_of_epoch(epoch, leader_epoch))
    }

    /// What it remembers of producers.
    pub fn producers(&self) -> Result<Vec<SnapshotEntry>, ErrorCode> {
        let state = self.serving()?;
        Ok(state.log.producers().entries().collect())
    }

    /// Looks for a record by its time. The log is locked for looking at some headers only: others go on in between, and while a
    /// batch is unpacked.
    fn search(&self, mut search: TimeSearch, budget: &mut UnpackBudget) -> Result<OffsetAt, ErrorCode> {
        loop {
            let sought = {
                let state = self.serving()?;
                state.log.next_late_batch(&mut search).map_err(|error| self.broken(&error))?
            };
            let found = match sought {
                Sought::Batch(batch) => search.take(batch.find(budget).map_err(|error| self.broken(&error))?),
                Sought::More => continue,
                Sought::Nothing => return Ok(search.rest().map_or(OffsetAt::NOTHING, OffsetAt::from)),
            };
            if let Some(found) = found {
                return Ok(found.into());
            }
        }
    }

    /// From now on the housekeeping has something to look after here.
    pub fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Whether the housekeeping has something to look after; asking takes note of it.
    pub fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    /// Has the housekeeping write down where the log starts, in the directory that it lies in by now.
    pub fn start_moves(&self) {
        self.start_moved.store(true, Ordering::Relaxed);
    }

    /// Whether records were deleted on request, or the log was moved; asking takes note of it.
    pub fn take_start_moved(&self) -> bool {
        self.start_moved.swap(false, Ordering::Relaxed)
    }

    /// When retention is to be enforced next; `None` if that was not decided since the settings changed.
    pub fn retention_at_ms(&self) -> Option<i64> {
        Some(self.retention_at_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms != UNDECIDED)
    }

    /// Decides when retention is to be enforced next: after `most_ms`, or earlier where a short `retention.ms` asks for it.
    pub fn retain_again(&self, now_ms: i64, most_ms: i64) {
        let check_ms = self.lock().log.config().retention_check_ms();
        self.retention_at_ms.store(now_ms + check_ms.map_or(most_ms, |ms| ms.min(most_ms)), Ordering::Relaxed);
    }

    /// Whether other brokers hold replicas of it.
    pub fn is_replicated(&self) -> bool {
        self.leading().leader.is_replicated()
    }

    /// Whether fewer replicas are in sync than there are.
    pub fn is_under_replicated(&self) -> bool {
        self.leading().leader.is_under_replicated()
    }

    /// How many replicas are in sync, beside what `min.insync.replicas` asks for.
    pub fn in_sync(&self) -> std::cmp::Ordering {
        let min_insync_replicas = self.settings().min_insync_replicas;
        self.leading().leader.in_sync(min_insync_replicas)
    }

    /// The offsets that describe the log now.
    pub fn positions(&self) -> Positions {
        self.leading().positions()
    }

    /// Runs `work` on the log, and wakes the requests that wait for what it has changed.
    pub fn with_log<T>(&self, work: impl FnOnce(&mut Log, Offset) -> T) -> T {
        let mut state = self.lock();
        let high_watermark = self.leading().leader.high_watermark();
        let done = work(&mut state.log, high_watermark);
        self.leading().note(&mut state.log);
        drop(state);
        self.wake();
        done
    }

    /// Has it forced to the disk soon, with what is in it now, on another thread.
    pub fn want_flush(self: &Arc<Self>) {
        self.home().flusher.want(self);
    }

    /// Forces to the disk what is in the page cache, without holding the lock meanwhile. Whoever waits for that is woken; so
    /// they are where it fails, after which the log takes no more. Says whether it is to be tried again, since it lacked files.
    pub(super) fn flush(&self, now_ms: Timestamp) -> bool {
        self.begin_flush().is_some_and(|begun| self.finish_flush(begun, now_ms))
    }

    /// Forces the segments to the disk that are no longer written to, without holding the lock meanwhile.
    pub fn flush_sealed(&self, now_ms: Timestamp) {
        let begun = {
            let state = self.lock();
            BegunFlush { home: self.home(), flush: state.log.begin_flush_sealed() }
        };
        self.finish_flush(begun, now_ms);
    }

    pub(super) fn begin_flush(&self) -> Option<BegunFlush> {
        let state = self.lock();
        let is_due = !state.is_gone && !state.log.is_flushed() && self.is_online();
        is_due.then(|| BegunFlush { home: self.home(), flush: state.log.begin_flush() })
    }

    /// Says whether it is to be tried again, since it lacked files.
    pub(super) fn finish_flush(&self, BegunFlush { home, flush }: BegunFlush, now_ms: Timestamp) -> bool {
        let done = flush.and_then(|flush| {
            let ran = flush.run();
            self.with_log(|log, _| log.finish_flush(&flush, ran, now_ms))
        });
        if let Err(error) = &done {
            self.blame(&home, error);
        }
        self.wake();
        done.is_err_and(|error| error.lacks_files())
    }

    /// Stops serving: the topic is deleted. Requests that still hold the partition are told that it is gone.
    pub fn end(&self) {
        self.lock().is_gone = true;
        self.leading().is_gone = true;
        self.wake_all();
    }

    /// Gives the folder of one that has ended another name. It is on the disk when the log directory is flushed.
    pub fn rename_folder(&self, name: &str) -> ottla_storage::Result<PathBuf> {
        let mut state = self.lock();
        assert!(state.is_gone, "the folder of a partition that is served keeps its name");
        let to = state.log.folder().with_file_name(name);
        state.log.rename_folder_unflushed(&to).map(|()| to)
    }

    /// Whether its topic was deleted.
    pub fn is_gone(&self) -> bool {
        self.lock().is_gone
    }

    /// Unlinks the files of segments that were deleted long enough ago, without holding the lock meanwhile; all of them where
    /// the disk is full, which has no time for those that are still reading.
    pub fn purge_deleted(&self, now_ms: Timestamp) -> ottla_storage::Result<()> {
        let due_ms = if self.is_full() { Timestamp::MAX } else { now_ms };
        let mut deleted = self.lock().log.take_deleted(due_ms);
        if deleted.is_empty() {
            return Ok(());
        }
        let done = deleted.unlink();
        if !deleted.is_empty() {
            self.lock().log.put_back_deleted(deleted, now_ms);
        }
        done
    }

    /// Closes the log, although requests may still hold the partition: they may read, and are refused what they want to
    /// append. Gives the positions that are final now, or `None` if the topic was deleted.
    pub fn close(&self, now_ms: Timestamp) -> ottla_storage::Result<Option<Positions>> {
        let mut state = self.lock();
        if state.is_gone {
            return Ok(None);
        }
        state.log.close_for_good(now_ms)?;
        let mut leading = self.leading();
        leading.note(&mut state.log);
        Ok(Some(leading.positions()))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding this lock")
    }

    pub(super) fn leading(&self) -> MutexGuard<'_, Leading> {
        self.leading.lock().expect("nobody panics while holding this lock")
    }

    /// The log, if it is served.
    pub(super) fn serving(&self) -> Result<MutexGuard<'_, State>, ErrorCode> {
        if !self.is_online() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let state = self.lock();
        if state.is_gone { Err(ErrorCode::UnknownTopicOrPartition) } else { Ok(state) }
    }

    /// The disk failed or a file is damaged: the operator is told what and where, the client that storage is at fault. If the
    /// disk is to blame, the whole log directory goes offline.
    pub fn broken(&self, error: &StorageError) -> ErrorCode {
        self.blame(&self.home(), error)
    }

    /// As [`Partition::broken`], of the directory that the log lay in when it was asked for what failed.
    pub(super) fn blame(&self, home: &Directory, error: &StorageError) -> ErrorCode {
        match error {
            // A stop closes logs that are still at work. Whoever asks more of one hears of it, and nothing has failed.
            StorageError::Closed { .. } => tracing::debug!(partition = %self.name, %error, "the broker ends"),
            error if error.lacks_files() => {
                if let Some(failures_since_start) = home.on_lacking_files() {
                    tracing::warn!(
                        partition = %self.name, %error, failures_since_start,
                        "too many files are open. What needs one more fails until segments are flushed and closed; clients try \
                         again. Where this is told for long, there are too many logs for the limit: raise it"
                    );
                }
            }
            error if error.is_limited() => {
                if let Some(failures_since_start) = home.on_limited() {
                    tracing::error!(
                        partition = %self.name, %error, failures_since_start,
                        "a file may not grow: what is written to it fails, and clients try again"
                    );
                }
            }
            error if home.is_online() => tracing::error!(partition = %self.name, %error, "storage failed"),
            _ => {}
        }
        home.on_error(error);
        ErrorCode::KafkaStorageError
    }
}

impl State {
    /// Whether the topic was deleted.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Where the log of a reader, whose last record at `offset - 1` is of `epoch`, parts from this one (KIP-595).
    fn divergence(
        &self,
        offset: Offset,
        epoch: LeaderEpoch,
        leader_epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
        let (known, end) = self.end_of_epoch(epoch, leader_epoch).ok_or(ErrorCode::OffsetOutOfRange)?;
        Ok((known < epoch || end < offset).then_some((known, end)))
    }

    /// Where the records of the largest epoch up to `epoch` end, and which that is. The log knows no epoch before its first
    /// record: that of a leader who has not written yet begins at the end.
    fn end_of_epoch(&self, epoch: LeaderEpoch, leader_epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let log_end = self.log.end_offset();
        if epoch == leader_epoch {
            return Some((epoch, log_end));
        }
        let epochs = self.log.epochs();
        match epochs.end_offset_for(epoch, log_end) {
            Some(known) => Some((known.epoch, known.end_offset)),
            None if (LeaderEpoch(0)..leader_epoch).contains(&epoch) => {
                Some((epochs.latest().unwrap_or(epoch), log_end))
            }
            None => None,
        }
    }
}

impl Leading {
    /// Takes over what a change of the log has made different, and tells the log how far it is replicated now: transactions
    /// are over once their marker is. What a log ends with that takes no more is not shown: its producer was told that it
    /// failed.
    ///
    /// Where a flush is owed, records are safe up to where the last one reached; and no replica, this one included, lets the
    /// high watermark pass what is not safe.
    pub fn note(&mut self, log: &mut Log) {
        let before = (self.log_start, self.safe_end, self.leader.high_watermark(), self.first_unstable, self.is_broken);
        self.log_start = log.start_offset();
        self.is_broken = log.check_usable().is_err();
        if !self.is_broken {
            self.log_end = log.end_offset();
            self.safe_end = match log.owes_flush() {
                true => self.safe_end.max(log.flushed_offset()).min(self.log_end),
                false => self.log_end,
            };
            self.leader.on_appended(self.safe_end);
            self.leader.check(self.log_end);
            log.on_high_watermark(self.leader.high_watermark());
            self.first_unstable = log.producers().first_unstable_offset();
        }
        let after = (self.log_start, self.safe_end, self.leader.high_watermark(), self.first_unstable, self.is_broken);
        self.is_changed |= before != after;
    }

    /// The log's first offset.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Whether records wait for a flush before they are safe; and whether something has changed since this was asked last.
    pub fn take_changes(&mut self) -> (bool, bool) {
        let owes_flush = self.safe_end < self.log_end && !self.is_broken;
        (owes_flush, std::mem::take(&mut self.is_changed))
    }

    fn bound(&self, reader: Reader) -> Offset {
        self.leader.bound(reader, self.log_end, self.first_unstable)
    }

    fn positions(&self) -> Positions {
        Positions {
            log_start: self.log_start,
            log_end: self.log_end,
            high_watermark: self.leader.high_watermark(),
            last_stable: self.leader.last_stable_offset(self.first_unstable),
        }
    }
}
