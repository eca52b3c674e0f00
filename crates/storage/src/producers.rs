//! What a partition remembers of the producers that number their batches: enough to recognise a batch that was sent
//! twice, and to refuse one that comes out of order (KIP-98).
//!
//! ```text
//!   producer id -> epoch, coordinator epoch, last timestamp, first offset of the open transaction
//!                  the last five batches:   sequences | offsets | timestamp
//! ```
//!
//! [`Producers::check`] decides and changes nothing; [`Producers::update`] notes what was appended, by a client, a leader
//! or read again from the log, and refuses nothing. The state also knows which transactions are open, and so up to where
//! the log is stable. It reads no log and writes no file: see [`crate::producer_snapshot`] for its form on disk.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_base::{Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::producer_snapshot::SnapshotEntry;

/// How many batches are remembered per producer: as many as a client may have in flight.
const BATCHES_MAX: usize = 5;
/// How many producers a partition remembers. Past it, those that wrote longest ago are forgotten: one that comes back
/// is then taken at its word, like one that expired. Those with an open transaction are kept in any case. Differs from Kafka: it
/// has no limit, and runs out of memory.
pub const PRODUCERS_MAX: usize = 65_536;
/// How many all partitions of a broker remember together, at about 250 bytes each. Past it, each one forgets its own first.
const PRODUCERS_OF_ALL_MAX: usize = 131_072;
/// But so many any partition may remember, whatever the others do.
const PRODUCERS_OF_EACH: usize = 16;
/// Of those that are remembered, one in so many is forgotten at once when there are too many, so that looking for them is rare.
const FORGOTTEN_ONE_IN: usize = 16;
/// Sequences count from 0 to this and then again from 0.
const SEQUENCE_MASK: i64 = i32::MAX as i64;

/// How many producers all partitions of a broker remember. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct ProducerCount {
    of_all: Arc<AtomicUsize>,
}

/// The part of one partition in that.
#[derive(Debug, Default)]
struct Counted {
    count: ProducerCount,
    own: usize,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub struct Producers {
    counted: Counted,
    producers: BTreeMap<ProducerId, Producer>,
    /// Open transactions, by their first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// First and last offsets of ended transactions whose marker is not known to be replicated.
    unreplicated: BTreeMap<Offset, Offset>,
}

#[derive(Debug)]
struct Producer {
    epoch: ProducerEpoch,
    /// Of the last marker, or -1.
    coordinator_epoch: i32,
    last_timestamp: Timestamp,
    transaction_first_offset: Option<Offset>,
    /// The newest last. Empty after a marker that raised the epoch.
    batches: VecDeque<BatchPlace>,
}

#[derive(Clone, Copy, Debug)]
struct BatchPlace {
    last_sequence: i32,
    last_offset: Offset,
    offset_delta: i32,
    timestamp: Timestamp,
}

/// What the header of a batch says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Who wrote it.
    pub producer_id: ProducerId,
    /// In which incarnation.
    pub producer_epoch: ProducerEpoch,
    /// The number of its first record, or -1.
    pub base_sequence: i32,
    /// The offset of its first record; not looked at by [`Producers::check`].
    pub base_offset: Offset,
    /// How much further the last record is than the first, in offsets and in sequences.
    pub last_offset_delta: i32,
    /// The largest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// Whether it is part of a transaction.
    pub is_transactional: bool,
}

/// What the marker that ends a transaction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    /// Whose transaction it ends.
    pub producer_id: ProducerId,
    /// The producer's epoch from now on.
    pub producer_epoch: ProducerEpoch,
    /// The epoch of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
    /// Where the marker lies.
    pub offset: Offset,
    /// When it was written.
    pub timestamp: Timestamp,
}

/// A transaction that has just ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its marker.
    pub last_offset: Offset,
    /// The first offset of the earliest transaction still open, or else the offset after the marker.
    pub last_stable_offset: Offset,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new.
    Append,
    /// It was appended before: the client is told where, and nothing is written.
    Duplicate {
        /// The offset its first record has.
        base_offset: Offset,
        /// The offset its last record has.
        last_offset: Offset,
        /// The timestamp it was stored with.
        timestamp: Timestamp,
    },
}

/// Why a batch must not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceError {
    /// Batches before this one are missing, or it repeats one that is no longer remembered (45).
    OutOfOrder {
        /// The sequence that would follow the last one.
        expected: i32,
        /// The sequence the batch begins with.
        found: i32,
    },
    /// A newer incarnation of the producer has written since (47).
    InvalidEpoch {
        /// The newest incarnation known.
        current: ProducerEpoch,
        /// The one that wrote the batch.
        found: ProducerEpoch,
    },
    /// The producer has an open transaction, of which the batch is no part (48).
    NotTransactional {
        /// Where the open transaction begins.
        first_offset: Offset,
    },
}

impl ProducerBatch {
    /// The number of its last record, or -1.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 { -1 } else { advance(self.base_sequence, i64::from(self.last_offset_delta)) }
    }
}

impl Producers {
    /// No producers, that are counted with those of others.
    pub fn new(count: ProducerCount) -> Self {
        Self { counted: Counted { count, own: 0 }, ..Self::default() }
    }

    /// The producers of a snapshot. The batches before the last one of each are not in it.
    pub fn from_snapshot(entries: impl IntoIterator<Item = SnapshotEntry>, count: ProducerCount) -> Self {
        let mut this = Self::new(count);
        for entry in entries {
            let has_batch = entry.last_offset >= Offset(0);
            let batch = BatchPlace {
                last_sequence: entry.last_sequence,
                last_offset: entry.last_offset,
                offset_delta: entry.offset_delta,
                timestamp: entry.timestamp,
            };
            let producer = Producer {
                epoch: entry.producer_epoch,
                coordinator_epoch: entry.coordinator_epoch,
                last_timestamp: entry.timestamp,
                transaction_first_offset: entry.transaction_first_offset,
                batches: has_batch.then_some(batch).into_iter().collect(),
            };
            this.producers.insert(entry.producer_id, producer);
        }
        let open = |(id, producer): (&ProducerId, &Producer)| Some((producer.transaction_first_offset?, *id));
        this.ongoing = this.producers.iter().filter_map(open).collect();
        this.recount();
        if this.is_full() {
            this.forget_surplus();
        }
        this.check_invariants();
        this
    }

    /// What a snapshot holds of each producer, by rising id.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = SnapshotEntry> {
        self.producers.iter().map(|(&producer_id, producer)| {
            let last = producer.batches.back();
            SnapshotEntry {
                producer_id,
                producer_epoch: producer.epoch,
                last_sequence: last.map_or(-1, |batch| batch.last_sequence),
                last_offset: last.map_or(Offset(-1), |batch| batch.last_offset),
                offset_delta: last.map_or(0, |batch| batch.offset_delta),
                timestamp: producer.last_timestamp,
                coordinator_epoch: producer.coordinator_epoch,
                transaction_first_offset: producer.transaction_first_offset,
            }
        })
    }

    /// How many producers are remembered.
    pub fn count(&self) -> usize {
        self.producers.len()
    }

    /// With which others they are counted.
    pub fn count_of_all(&self) -> &ProducerCount {
        &self.counted.count
    }

    /// Counts them with others from now on; gives back with whom they were counted.
    pub fn count_with(&mut self, count: ProducerCount) -> ProducerCount {
        let before = std::mem::replace(&mut self.counted, Counted { count, own: 0 });
        self.recount();
        before.count.clone()
    }

    /// Decides about a batch that a client sent, before it has offsets.
    ///
    /// A producer that is not known (it is new, expired or forgotten) may begin with any sequence. A batch with an id but
    /// without an epoch is not protected, as in Kafka.
    pub fn check(&self, batch: &ProducerBatch) -> Result<Verdict, SequenceError> {
        let Some(known) = self.producers.get(&batch.producer_id) else { return Ok(Verdict::Append) };
        let (epoch, base_sequence) = (batch.producer_epoch, batch.base_sequence);
        if epoch == known.epoch
            && let Some(place) = known.find(base_sequence, batch.last_sequence())
        {
            return Ok(Verdict::Duplicate {
                base_offset: place.last_offset.plus(-i64::from(place.offset_delta)),
                last_offset: place.last_offset,
                timestamp: place.timestamp,
            });
        }
        if epoch < known.epoch {
            return Err(SequenceError::InvalidEpoch { current: known.epoch, found: epoch });
        }
        let expected = match known.batches.back() {
            Some(last) if epoch == known.epoch => advance(last.last_sequence, 1),
            _ => 0,
        };
        if base_sequence != expected {
            return Err(SequenceError::OutOfOrder { expected, found: base_sequence });
        }
        match known.transaction_first_offset {
            Some(first_offset) if !batch.is_transactional => Err(SequenceError::NotTransactional { first_offset }),
            _ => Ok(Verdict::Append),
        }
    }

    /// Notes a batch of records that is in the log now. Batches without a producer's id or epoch leave no trace.
    pub fn update(&mut self, batch: &ProducerBatch) {
        if batch.producer_id < ProducerId(0) || batch.producer_epoch < ProducerEpoch(0) {
            return;
        }
        self.make_room_for(batch.producer_id);
        let producer = self.producers.entry(batch.producer_id).or_insert_with(|| Producer::new(batch.producer_epoch));
        producer.enter_epoch(batch.producer_epoch);
        if producer.batches.len() == BATCHES_MAX {
            producer.batches.pop_front();
        }
        producer.batches.push_back(BatchPlace {
            last_sequence: batch.last_sequence(),
            last_offset: batch.base_offset.plus(i64::from(batch.last_offset_delta)),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        producer.last_timestamp = batch.max_timestamp;
        if batch.is_transactional && producer.transaction_first_offset.is_none() {
            producer.transaction_first_offset = Some(batch.base_offset);
            self.ongoing.insert(batch.base_offset, batch.producer_id);
        }
        self.recount();
    }

    /// Notes a marker that is in the log now; gives the transaction it ended, if one was open.
    pub fn end_transaction(&mut self, marker: &EndMarker) -> Option<EndedTransaction> {
        self.make_room_for(marker.producer_id);
        let producer = self.producers.entry(marker.producer_id).or_insert_with(|| Producer::new(marker.producer_epoch));
        producer.enter_epoch(marker.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = marker.timestamp;
        let first_offset = producer.transaction_first_offset.take();
        self.recount();
        let first_offset = first_offset?;
        self.ongoing.remove(&first_offset);
        self.unreplicated.insert(first_offset, marker.offset);
        Some(EndedTransaction {
            producer_id: marker.producer_id,
            first_offset,
            last_offset: marker.offset,
            last_stable_offset: self.ongoing.keys().next().copied().unwrap_or(marker.offset.plus(1)),
        })
    }

    /// Where the open transaction of a producer begins, if it has one.
    pub fn open_transaction(&self, producer: ProducerId) -> Option<Offset> {
        self.producers.get(&producer)?.transaction_first_offset
    }

    /// The open transactions, by their first offset.
    pub fn ongoing(&self) -> &BTreeMap<Offset, ProducerId> {
        &self.ongoing
    }

    /// The first offset that a reader of committed records must not see yet: of the earliest transaction that is open,
    /// or whose marker is not below the high watermark as far as [`Self::on_high_watermark`] told.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let ongoing = self.ongoing.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        ongoing.into_iter().chain(unreplicated).min().copied()
    }

    /// Notes how far the log is replicated: transactions whose marker is below are over.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, last_offset| *last_offset >= high_watermark);
    }

    /// Notes that the log starts at `log_start` now. Producers are not forgotten with their records, only with time: a
    /// client that retries must not be refused because of retention (KIP-360).
    pub fn remove_before(&mut self, log_start: Offset) {
        self.on_high_watermark(log_start);
    }

    /// Forgets the producers that wrote nothing for `expiration_ms` and have no open transaction; says how many.
    pub fn expire(&mut self, now_ms: Timestamp, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, producer| {
            producer.transaction_first_offset.is_some()
                || now_ms.saturating_sub(producer.last_timestamp) < expiration_ms
        });
        self.recount();
        before - self.producers.len()
    }

    fn make_room_for(&mut self, producer_id: ProducerId) {
        if self.is_full() && !self.producers.contains_key(&producer_id) {
            self.forget_surplus();
        }
    }

    fn is_full(&self) -> bool {
        let own = self.producers.len();
        own >= PRODUCERS_MAX || (own >= PRODUCERS_OF_EACH && self.counted.count.get() >= PRODUCERS_OF_ALL_MAX)
    }

    /// Forgets those that are too many, and some more. By offset, not by timestamp: a client chooses its timestamps.
    fn forget_surplus(&mut self) {
        let own = self.producers.len();
        let of_all =
            self.counted.count.get().saturating_sub(PRODUCERS_OF_ALL_MAX).min(own.saturating_sub(PRODUCERS_OF_EACH));
        let surplus = own.saturating_sub(PRODUCERS_MAX).max(of_all);
        let forgotten = surplus + (own - surplus) / FORGOTTEN_ONE_IN;
        let mut idle: Vec<(Option<Offset>, ProducerId)> = self
            .producers
            .iter()
            .filter(|(_, producer)| producer.transaction_first_offset.is_none())
            .map(|(id, producer)| (producer.batches.back().map(|batch| batch.last_offset), *id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.iter().take(forgotten) {
            self.producers.remove(id);
        }
        self.recount();
    }

    fn recount(&mut self) {
        self.counted.set(self.producers.len());
    }

    fn check_invariants(&self) {
        let open = self.producers.values().filter(|producer| producer.transaction_first_offset.is_some()).count();
        assert!(open >= self.ongoing.len(), "an open transaction belongs to a producer that is known");
    }
}

impl ProducerCount {
    /// How many there are.
    pub fn get(&self) -> usize {
        self.of_all.load(Ordering::Relaxed)
    }
}

impl Counted {
    fn set(&mut self, own: usize) {
        if own != self.own {
            // The difference may be negative, which wraps around.
            self.count.of_all.fetch_add(own.wrapping_sub(self.own), Ordering::Relaxed);
            self.own = own;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Producer {
    fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            transaction_first_offset: None,
            batches: VecDeque::new(),
        }
    }

    /// A new incarnation counts from 0, so the batches of the old one are no use any more.
    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    fn find(&self, base_sequence: i32, last_sequence: i32) -> Option<&BatchPlace> {
        self.batches.iter().find(|batch| {
            batch.last_sequence == last_sequence
                && advance(batch.last_sequence, -i64::from(batch.offset_delta)) == base_sequence
        })
    }
}

impl fmt::Display for SequenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrder { expected, found } => write!(f, "the batch begins with sequence {found}, not {expected}"),
            Self::InvalidEpoch { current, found } => {
                write!(f, "the batch is of producer epoch {found}, and epoch {current} has written since")
            }
            Self::NotTransactional { first_offset } => {
                write!(f, "the batch is not part of the transaction that its producer began at offset {first_offset}")
            }
        }
    }
}

impl std::error::Error for SequenceError {}

/// The sequence `count` further on; after the largest one comes 0, and after -1 too.
fn advance(sequence: i32, count: i64) -> i32 {
    ((i64::from(sequence) + count) & SEQUENCE_MASK) as i32
}

#[cfg(test)]
mod tests;
