//! Reads the log of groups to its end, so that their coordinator knows them: on a thread of its own, one log at a time.
//!
//! Offsets that a transaction committed count from its marker on; those of a transaction that was aborted never do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Instant;

use ottla_base::{LeaderEpoch, Offset, ProducerId};
use ottla_coordinator::group::Record;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::records::batch::Batches;
use ottla_protocol::records::control::EndMarker;
use ottla_protocol::records::{Batch, Decompressor};
use ottla_storage::os;
use tracing::{error, info, warn};

use super::shard::Shard;
use crate::partitions::leader::Reader;
use crate::partitions::partition::{Partition, Read};

/// What a batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Loading that takes longer is told of.
const WORTH_TELLING_MS: u128 = 100;

/// The way to the thread that loads.
pub struct Loader {
    waiting: Sender<Option<Arc<Shard>>>,
    is_stopping: Arc<AtomicBool>,
}

/// What happens when a log is read.
struct Reading {
    records: usize,
    /// The records of transactions that are not over yet.
    pending: HashMap<ProducerId, Vec<(Offset, Record)>>,
    decompressor: Decompressor,
    unpacked: Vec<u8>,
}

impl Loader {
    /// Reads `buffer_bytes` at once.
    pub fn start(buffer_bytes: u32) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (waiting, shards) = mpsc::channel::<Option<Arc<Shard>>>();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_stopping);
        let thread = std::thread::Builder::new().name("ottla-group-loader".to_owned());
        let running = thread.spawn(move || {
            while let Ok(Some(shard)) = shards.recv() {
                load(&shard, buffer_bytes, &stopped);
            }
        })?;
        Ok((Self { waiting, is_stopping }, running))
    }

    /// Loads the groups of `shard`: at once, where there are none.
    pub fn load(&self, shard: Arc<Shard>) {
        let positions = shard.partition().positions();
        if positions.log_start == positions.log_end {
            shard.loaded(true);
            return;
        }
        // Without a thread nothing is loaded any more: the broker stops.
        let _ = self.waiting.send(Some(shard));
    }

    /// The thread ends once it has loaded what it was given.
    pub fn finish(&self) {
        let _ = self.waiting.send(None);
    }

    /// The thread ends as soon as it can.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.finish();
    }
}

fn load(shard: &Shard, buffer_bytes: u32, is_stopping: &AtomicBool) {
    load_from(shard, shard.partition().positions().log_start, buffer_bytes, is_stopping);
}

/// Loads what the log holds from `at` on.
pub(super) fn load_from(shard: &Shard, at: Offset, buffer_bytes: u32, is_stopping: &AtomicBool) {
    let begun = Instant::now();
    let partition = shard.partition();
    let mut reading =
        Reading { records: 0, pending: HashMap::new(), decompressor: Decompressor::default(), unpacked: Vec::new() };
    match reading.read(shard, at, buffer_bytes, is_stopping) {
        Ok(is_wanted) => {
            let (partition, records, took) = (&partition.name, reading.records, begun.elapsed());
            if is_wanted && took.as_millis() >= WORTH_TELLING_MS {
                info!(%partition, records, ?took, "loaded groups");
            }
            shard.loaded(is_wanted);
        }
        Err(detail) => {
            error!(partition = %partition.name, detail, "cannot read its groups: nobody coordinates them");
            shard.loaded(false);
        }
    }
}

impl Reading {
    /// Reads from `at` on. Says whether the groups are still wanted.
    fn read(
        &mut self,
        shard: &Shard,
        mut at: Offset,
        buffer_bytes: u32,
        is_stopping: &AtomicBool,
    ) -> Result<bool, String> {
        let partition = shard.partition();
        let end = partition.positions().high_watermark;
        let mut buffer = Vec::new();
        while at < end {
            if is_stopping.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let before = at;
            match read_some(partition, at, buffer_bytes, &mut buffer)? {
                Found::Records => {}
                // The last records were compacted away.
                Found::End => return Ok(true),
                Found::Gone => {
                    at = at.max(partition.positions().log_start);
                    buffer.clear();
                }
            }
            for batch in Batches::new(&buffer) {
                let batch = batch.map_err(|error| format!("at offset {at}: {error}"))?;
                if !batch.is_crc_valid() {
                    return Err(format!("the batch at offset {at} is damaged"));
                }
                if batch.header().next_offset() > at && !self.take(shard, &batch)? {
                    return Ok(false);
                }
                at = at.max(batch.header().next_offset());
            }
            if at == before {
                return Err(format!("nothing can be read from offset {at} on"));
            }
        }
        Ok(true)
    }

    fn take(&mut self, shard: &Shard, batch: &Batch<'_>) -> Result<bool, String> {
        let header = *batch.header();
        let unpacked = self.decompressor.records(batch, UNPACKED_BYTES_MAX, &mut self.unpacked);
        for record in unpacked.map_err(|error| format!("at offset {}: {error}", header.base_offset))? {
            let record = record.map_err(|error| format!("at offset {}: {error}", header.base_offset))?;
            if header.attributes.is_control() {
                let finished = self.pending.remove(&header.producer_id).unwrap_or_default();
                if EndMarker::from_record(&record).is_some_and(|marker| marker.is_commit) {
                    self.records += finished.len();
                    if !finished.iter().all(|(at, record)| shard.load(*at, record)) {
                        return Ok(false);
                    }
                }
                continue;
            }
            let decoded = Record::decode(record.key.unwrap_or_default(), record.value);
            match decoded {
                Ok(Some(decoded)) if header.attributes.is_transactional() => {
                    self.pending.entry(header.producer_id).or_default().push((record.offset, decoded));
                }
                Ok(Some(decoded)) => {
                    self.records += 1;
                    if !shard.load(record.offset, &decoded) {
                        return Ok(false);
                    }
                }
                // Of another kind of group.
                Ok(None) => {}
                Err(error) => {
                    let partition = &shard.partition().name;
                    warn!(%partition, offset = %record.offset, %error, "left out a record that cannot be read");
                }
            }
        }
        Ok(true)
    }
}

/// What there is at an offset.
enum Found {
    Records,
    /// Nothing, and nothing after it.
    End,
    /// Nothing any more: the log begins later by now.
    Gone,
}

fn read_some(partition: &Partition, at: Offset, max_bytes: u32, buffer: &mut Vec<u8>) -> Result<Found, String> {
    let read = Read {
        reader: Reader::Uncommitted,
        offset: at,
        max_bytes,
        at_least_one: true,
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
        is_sent: false,
    };
    let found = match partition.read(read) {
        Ok(found) => found,
        Err(ErrorCode::OffsetOutOfRange) => return Ok(Found::Gone),
        Err(code) => return Err(format!("at offset {at}: {}", code.name())),
    };
    let Some(slice) = found.slice else { return Ok(Found::End) };
    buffer.resize(slice.length as usize, 0);
    os::read_exact_at(&slice.file, buffer, slice.position).map_err(|error| format!("at offset {at}: {error}"))?;
    Ok(Found::Records)
}
