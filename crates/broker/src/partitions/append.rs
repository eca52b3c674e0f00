//! Appending to a partition: what its leader, its settings and its producers' state say of a batch, and the write.
//!
//! ```text
//!   check (side by side) --> turn --> write --> batches that others left meanwhile --> leave
//!                        \-> somebody writes, and goes on writing: leave a copy of the batch with it, the answer comes later
//! ```

use std::sync::Arc;

use ottla_base::{Offset, Timestamp};
use ottla_metadata::settings::topic::{CompressionType, TimestampType, TopicSettings};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::records::compression::ZstdWindow;
use ottla_protocol::records::repack::Target;
use ottla_protocol::records::validate::{Depth, Rules, Validated};
use ottla_protocol::records::{Batch, Compression};
use ottla_storage::{Error as StorageError, LeaderAppend, SequenceError, Verdict};
use tokio::sync::oneshot;

use super::leader::Acks;
use super::partition::Partition;
use crate::api::produce::Failed;
use crate::net::memory::{FrameMemory, Share};

/// Where an appended batch went.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// The time the broker gave it, or that a duplicate was given, else -1.
    pub log_append_time_ms: Timestamp,
    /// The log's first offset.
    pub log_start_offset: Offset,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Appending {
    /// Where it is, or where to wait for that.
    pub outcome: Outcome,
    /// Batches of others are left: [`Partition::append_left`] is to be called soon.
    pub leaves_others: bool,
}

/// See [`Appending`].
#[derive(Debug)]
pub enum Outcome {
    /// It is in the log, or refused.
    Done(Result<Placed, Failed>),
    /// Another connection appends it.
    Queued(oneshot::Receiver<Result<Placed, Failed>>),
}

/// A batch that was checked, and left with another connection's thread.
#[derive(Debug)]
pub(super) struct Queued {
    batch: Vec<u8>,
    terms: Terms,
    done: oneshot::Sender<Result<Placed, Failed>>,
    /// What pays for the batch.
    _share: Share,
}

/// What was decided when the batch was checked.
#[derive(Clone, Copy, Debug)]
struct Terms {
    now_ms: Timestamp,
    log_append_time: bool,
    max_timestamp: Timestamp,
    /// As it was sent.
    received_bytes: usize,
    /// It was packed anew.
    is_repacked: bool,
}

impl Partition {
    /// Appends a batch of a client, after asking the leader, `check` for the records, and the producer's state. A batch
    /// that is already there is answered with the place it got the first time (KIP-98).
    ///
    /// The records are checked side by side. With acks=0 nobody waits for an outcome, so it is always done when this
    /// returns; else it may be left with another connection, as far as `memory` allows.
    pub fn append(
        self: &Arc<Self>,
        batch: &Batch<'_>,
        acks: Acks,
        now_ms: Timestamp,
        memory: &Arc<FrameMemory>,
        check: impl FnOnce(&Rules<'_>) -> Result<Validated, Failed>,
    ) -> Appending {
        let checked = self.check_room().and_then(|()| self.check(batch, acks, now_ms, check));
        let (terms, repacked) = match checked {
            Ok(checked) => checked,
            Err(failed) => {
                self.count_not_tried(&failed, batch.bytes().len());
                return Appending { outcome: Outcome::Done(Err(failed)), leaves_others: false };
            }
        };
        let mut queued = None;
        let turn = self.turns.enter(|| {
            // A copy, in any case: it is dropped where the turn is free by now.
            let bytes = repacked.as_deref().unwrap_or(batch.bytes());
            let share = (acks != Acks::None).then(|| memory.try_share(bytes.len())).flatten()?;
            let (done, outcome) = oneshot::channel();
            queued = Some(outcome);
            let batch = bytes.to_vec();
            Some(Queued { batch, terms, done, _share: share })
        });
        let Some(mut turn) = turn else {
            let outcome = Outcome::Queued(queued.expect("what was left was made"));
            return Appending { outcome, leaves_others: false };
        };
        turn.waiting().into_iter().for_each(|queued| self.write_queued(queued));
        let placed = match &repacked {
            Some(repacked) => self.write(&whole(repacked), terms),
            None => self.write(batch, terms),
        };
        while let Some(queued) = turn.next() {
            self.write_queued(queued);
        }
        let leaves_others = turn.leave();
        self.after_writing();
        Appending { outcome: Outcome::Done(placed), leaves_others }
    }

    /// How long a batch in `codec` may become, where it has to be packed anew.
    pub fn packed_max_bytes(&self, codec: Compression) -> Option<usize> {
        let settings = self.settings();
        target(&settings).filter(|target| target.codec != codec).map(|_| settings.max_message_bytes as usize)
    }

    /// Appends a batch of the broker's own, built by it, and waits for its turn where others write. Their batches that are
    /// left meanwhile are appended too.
    ///
    /// It is written, and may still wait for a flush. Where there is little room left on the disk it is written nevertheless.
    pub fn append_own(self: &Arc<Self>, batch: &Batch<'_>, now_ms: Timestamp) -> Result<Placed, ErrorCode> {
        let max_timestamp = batch.header().max_timestamp;
        self.traffic.asked_to_append();
        let no_check = |_: &Rules<'_>| Ok(Validated { max_timestamp, repacked: None });
        let checked = self.check(batch, Acks::All, now_ms, no_check);
        let checked = checked.inspect_err(|failed| self.count_not_tried(failed, batch.bytes().len()));
        let (terms, _) = checked.map_err(|failed| failed.code())?;
        let mut turn = self.turns.enter(|| None).expect("who leaves nothing is let in");
        turn.waiting().into_iter().for_each(|queued| self.write_queued(queued));
        let placed = self.write(batch, terms);
        let mut leaves_others = turn.leave();
        while leaves_others {
            leaves_others = self.append_left();
        }
        self.after_writing();
        placed.map_err(|failed| failed.code())
    }

    /// Appends what was left by others, and says whether there is still more.
    pub fn append_left(self: &Arc<Self>) -> bool {
        // Whoever has the turn now answers for what is left.
        let Some(mut turn) = self.turns.try_enter() else { return false };
        while let Some(queued) = turn.next() {
            self.write_queued(queued);
        }
        let leaves_others = turn.leave();
        self.after_writing();
        leaves_others
    }

    /// Readers see what was written; or it is forced to the disk first.
    fn after_writing(self: &Arc<Self>) {
        let (owes_flush, is_changed) = self.leading().take_changes();
        if owes_flush {
            self.want_flush();
        }
        if is_changed {
            self.wake_all();
        }
    }

    /// Where there is too little room on the disk, a client is told to try again: with an error after which all clients do,
    /// and none asks for the metadata each time. See docs/decisions/0008.
    fn check_room(&self) -> Result<(), Failed> {
        match self.is_full() {
            true => Err(self.no_room()),
            false => Ok(()),
        }
    }

    fn no_room(&self) -> Failed {
        let home = self.home();
        let message = format!("The log directory {} is full: too little of it is free", home.path().display());
        Failed::new(ErrorCode::NotEnoughReplicas, message)
    }

    /// What a client is told whose batch could not be written.
    fn not_written(&self, error: &StorageError) -> Failed {
        match (self.broken(error), error.is_full()) {
            (_, true) => self.no_room(),
            (code, false) => code.into(),
        }
    }

    fn check(
        &self,
        batch: &Batch<'_>,
        acks: Acks,
        now_ms: Timestamp,
        check: impl FnOnce(&Rules<'_>) -> Result<Validated, Failed>,
    ) -> Result<(Terms, Option<Vec<u8>>), Failed> {
        let settings = self.settings();
        let log_start_offset = {
            let leading = self.leading();
            let refuse = |code: ErrorCode| Failed::from(code).at(leading.log_start());
            leading.leader.may_append(acks, settings.min_insync_replicas).map_err(refuse)?;
            leading.log_start()
        };
        let validated = self.check_batch(batch, &settings, now_ms, check).map_err(|failed| match failed.code() {
            // As in Kafka, which finds this out before it looks at the log.
            ErrorCode::CorruptMessage | ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => failed,
            _ => failed.at(log_start_offset),
        })?;
        let log_append_time = settings.message_timestamp_type == TimestampType::LogAppendTime;
        let terms = Terms {
            now_ms,
            log_append_time,
            max_timestamp: validated.max_timestamp,
            received_bytes: batch.bytes().len(),
            is_repacked: validated.repacked.is_some(),
        };
        Ok((terms, validated.repacked))
    }

    fn write_queued(&self, queued: Queued) {
        // Where nobody waits any more, its connection has ended: as if the answer had been lost on the way.
        let _ = queued.done.send(self.write(&whole(&queued.batch), queued.terms));
    }

    fn write(&self, batch: &Batch<'_>, terms: Terms) -> Result<Placed, Failed> {
        self.try_write(batch, terms).inspect_err(|failed| self.count_failed(failed))
    }

    /// Counts what was wrong with a batch of so many bytes that was not even tried to be written.
    fn count_not_tried(&self, failed: &Failed, received_bytes: usize) {
        if failed.code() == ErrorCode::MessageTooLarge {
            self.traffic.rejected(received_bytes as u64);
        }
        if let Some(flaw) = failed.flaw() {
            self.traffic.flawed(flaw);
        }
        self.count_failed(failed);
    }

    /// Counts those failures that Kafka does not expect.
    fn count_failed(&self, failed: &Failed) {
        let is_expected = matches!(
            failed.code(),
            ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::MessageTooLarge
                | ErrorCode::RecordListTooLarge
                | ErrorCode::CorruptMessage
                | ErrorCode::KafkaStorageError
        );
        if !is_expected {
            self.traffic.failed();
        }
    }

    fn try_write(&self, batch: &Batch<'_>, terms: Terms) -> Result<Placed, Failed> {
        let mut state = self.serving()?;
        state.log.check_usable().map_err(|error| self.broken(&error))?;
        let log_start_offset = state.log.start_offset();
        let verdict = state.log.check_producer(batch.header());
        match verdict.map_err(|refused| Failed::from(refused).at(log_start_offset))? {
            Verdict::Append => {}
            Verdict::Duplicate { base_offset, last_offset, timestamp } => {
                let next_offset = last_offset.plus(1);
                // As in Kafka, what is there already has come in once more.
                let messages = next_offset.0.abs_diff(base_offset.0);
                self.traffic.came(messages, terms.received_bytes as u64);
                if terms.is_repacked {
                    self.traffic.converted(messages);
                }
                return Ok(Placed { base_offset, next_offset, log_append_time_ms: timestamp, log_start_offset });
            }
        }
        let assign = LeaderAppend {
            leader_epoch: self.leading().leader.epoch(),
            now_ms: terms.now_ms,
            log_append_time: terms.log_append_time,
            max_timestamp: terms.max_timestamp,
        };
        let appended = state.log.append_leader(batch, assign).map_err(|error| self.not_written(&error))?;
        self.leading().note(&mut state.log);
        self.touch();
        let messages = appended.last_offset.plus(1).0.abs_diff(appended.base_offset.0);
        self.traffic.came(messages, terms.received_bytes as u64);
        if terms.is_repacked {
            self.traffic.converted(messages);
        }
        self.note_written(batch.bytes().len());
        Ok(Placed {
            base_offset: appended.base_offset,
            next_offset: appended.last_offset.plus(1),
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset,
        })
    }

    fn check_batch(
        &self,
        batch: &Batch<'_>,
        settings: &TopicSettings,
        now_ms: Timestamp,
        check: impl FnOnce(&Rules<'_>) -> Result<Validated, Failed>,
    ) -> Result<Validated, Failed> {
        let size_bytes = batch.bytes().len();
        if size_bytes > settings.max_message_bytes as usize {
            let name = &self.name;
            let limit = settings.max_message_bytes;
            let message = format!(
                "The record batch size in the append to {name} is {size_bytes} bytes which exceeds the maximum configured \
                 value of {limit}."
            );
            return Err(Failed::new(ErrorCode::MessageTooLarge, message));
        }
        let validated = check(&Rules {
            topic_partition: &self.name,
            compacted: settings.compact,
            log_append_time: settings.message_timestamp_type == TimestampType::LogAppendTime,
            now_ms,
            before_max_ms: settings.message_timestamp_before_max_ms,
            after_max_ms: settings.message_timestamp_after_max_ms,
            max_decompressed_record_bytes: settings.max_decompressed_message_bytes as usize,
            depth: Depth::Header,
            zstd_window: ZstdWindow::Usual,
            target: target(settings),
            size_max_bytes: settings.max_message_bytes as usize,
        })?;
        let size_bytes = validated.repacked.as_ref().map_or(size_bytes, Vec::len);
        if size_bytes > settings.segment_bytes as usize {
            let message = format!(
                "Message batch size is {size_bytes} bytes in append to partition {}, which exceeds the maximum configured \
                 segment size of {}.",
                self.name, settings.segment_bytes
            );
            return Err(Failed::new(ErrorCode::RecordListTooLarge, message));
        }
        Ok(validated)
    }
}

/// How the topic wants its batches packed, unless as they were sent.
fn target(settings: &TopicSettings) -> Option<Target> {
    let (codec, level) = match settings.compression_type {
        CompressionType::Producer => return None,
        CompressionType::Uncompressed => (Compression::None, None),
        CompressionType::Gzip => (Compression::Gzip, settings.compression_gzip_level),
        CompressionType::Snappy => (Compression::Snappy, None),
        CompressionType::Lz4 => (Compression::Lz4, Some(settings.compression_lz4_level)),
        CompressionType::Zstd => (Compression::Zstd, Some(settings.compression_zstd_level)),
    };
    Some(Target { codec, level })
}

/// What was a batch when it was checked.
fn whole(bytes: &[u8]) -> Batch<'_> {
    Batch::parse(bytes).expect("it was whole when it was checked").0
}

impl From<SequenceError> for Failed {
    fn from(refused: SequenceError) -> Self {
        let code = match refused {
            SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
            SequenceError::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            SequenceError::NotTransactional { .. } => ErrorCode::InvalidTxnState,
        };
        Self::new(code, refused.to_string())
    }
}
