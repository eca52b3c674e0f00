//! Fetch (key 1, versions 4-18): reads committed records, waiting until there are enough.
//!
//! v4 isolation level. v5 log start offset. v7 sessions (KIP-227). v9 leader epochs. v11 racks. v12 flexible, diverging
//! epochs (KIP-595). v13 topic ids. v16 leader hints.
//! Differs from Kafka: nothing known for consumers, but that a wait may end early where memory is short, and that old
//! readers get the log of groups in a form they know (`coordinators/old_readers.rs`); followers are not served yet.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use ottla_base::{LeaderEpoch, Offset, Uuid};
use ottla_metadata::image::Image;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::fetch_request::{self, FetchRequest};
use ottla_protocol::messages::fetch_response::{self, DivergingEpoch, FetchResponse, Response};
use ottla_protocol::{ApiKey, Records, Region};
use ottla_storage::{AbortedTransaction, LogSlice};

use super::Api;
use super::fetch_sessions::{Opened, Said, TopicKey, Wanted};
use crate::access::{Operation, Resource};
use crate::coordinators::{offsets_topic, old_readers};
use crate::dispatch::{Refused, Reply};
use crate::metrics::Traffic;
use crate::net::memory::Share;
use crate::partitions::Partitions;
use crate::partitions::leader::Reader;
use crate::partitions::parked::Parked;
use crate::partitions::partition::{Found, Partition, Read};
use crate::request::{ANSWER_MAX_BYTES, Request, Responder};

/// Fetch.
pub const API: Api = Api { key: ApiKey::Fetch, versions: 4..=18, handle };

/// The first version that knows KAFKA_STORAGE_ERROR.
const STORAGE_ERROR_FROM: i16 = 6;
/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;
/// The first version in which a replica names itself in a field of its own.
const REPLICA_STATE_FROM: i16 = 15;
/// The replica id of a debugging consumer, which may read up to the log's end.
const DEBUG_CONSUMER: i32 = -2;
/// Those that exist: uncommitted, and committed.
const ISOLATION_LEVELS: [i8; 2] = [0, 1];
/// No request waits longer, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// From so many partitions on, a Fetch is a large request.
const LARGE_FROM: usize = 5000;
/// So many bytes of records fit into a frame, whose size is a positive number of 32 bits, beside the rest of the answer.
const RECORDS_MAX_BYTES: u32 = i32::MAX as u32 - ANSWER_MAX_BYTES as u32;
/// About what a Fetch takes while it waits: itself, and for each partition what is wanted, where it is, and the registration.
const PARKED_BYTES: usize = 1024;
const PARKED_PARTITION_BYTES: usize = size_of::<Wanted>() + size_of::<Result<Arc<Partition>, ErrorCode>>() + 8;

/// One fetch, with all that is needed to look again.
struct Fetch {
    opened: Opened,
    /// The partitions wanted, found and authorised, or why not; in the order of `opened.wanted`.
    partitions: Vec<Result<Arc<Partition>, ErrorCode>>,
    reader: Reader,
    /// It may not know the form in which commits are written today.
    is_old_reader: bool,
    max_bytes: u32,
    /// It asked for less than no bytes.
    is_negative: bool,
    min_bytes: u32,
}

/// What a fetch has while it waits.
struct Waiting {
    parked: Arc<Parked>,
    /// The connection wants an answer now.
    hurry: Arc<AtomicBool>,
    _share: Share,
}

/// What one look found.
struct Look {
    results: Vec<Result<Found, ErrorCode>>,
    bytes: u32,
    answer_now: bool,
}

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let fetch: FetchRequest<'_> = request.decode()?;
    let version = request.version();
    let by_id = version >= TOPIC_IDS_FROM;
    let image = request.node.image();
    let wanted = wanted_of(&fetch, by_id, &image);
    let forgotten = fetch.forgotten_topics_data.iter().flat_map(|topic| {
        let key = topic_key(by_id, &topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |&partition| (key.clone(), partition))
    });
    let session = (fetch.session_id, fetch.session_epoch);
    let is_wanted_of_groups = |wanted: &Wanted| wanted.topic.is_named(offsets_topic::NAME);
    let is_old_reader = version < old_readers::FLEXIBLE_FETCH_FROM
        && (wanted.iter().any(is_wanted_of_groups)
            || request.node.fetch_sessions.any(fetch.session_id, is_wanted_of_groups));
    // Before the session is opened, whose epoch goes on with that.
    if is_old_reader {
        // What it is given may have to be unpacked.
        request.is_large()?;
    }
    if wanted.len() + request.node.fetch_sessions.remembered(fetch.session_id) >= LARGE_FROM {
        request.is_large()?;
    }
    let mut opened = match request.node.fetch_sessions.open(Instant::now(), session, by_id, wanted, forgotten) {
        Ok(opened) => opened,
        Err(code) => {
            return request.reply(FetchResponse { error_code: code.code(), ..Default::default() });
        }
    };
    opened.name_unknown(|id| image.topic_by_id(id).map(|topic| topic.name.clone()));
    let replica_id = if version >= REPLICA_STATE_FROM { fetch.replica_state.replica_id } else { fetch.replica_id };
    let reader = match (replica_id, fetch.isolation_level) {
        (DEBUG_CONSUMER, _) => Reader::Debug,
        (_, 1) => Reader::Committed,
        _ => Reader::Uncommitted,
    };
    let records_max_bytes = |asked| records_max_bytes(asked, request.node.config.fetch_max_bytes, is_old_reader);
    // An old reader is given nothing when it has waited, so it does not wait for more of what is there.
    let min_bytes = if is_old_reader { fetch.min_bytes.min(1) } else { fetch.min_bytes };
    let partitions: Vec<_> = opened.wanted.iter().map(|wanted| find_partition(request, wanted, replica_id)).collect();
    if !ISOLATION_LEVELS.contains(&fetch.isolation_level) && partitions.iter().any(asks_a_log) {
        return request.reply(failed(&fetch, version));
    }
    let looking = Fetch {
        partitions,
        opened,
        reader,
        is_old_reader,
        max_bytes: records_max_bytes(fetch.max_bytes),
        is_negative: fetch.max_bytes < 0,
        min_bytes: records_max_bytes(min_bytes),
    };
    looking.count(&request.node.partitions);
    let max_wait = Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or(0)).min(LONGEST_WAIT);
    let responder = request.responder();
    let parked = (!max_wait.is_zero()).then(|| looking.park());
    let mut look = looking.look();
    if let Some(parked) = parked
        && !look.answer_now
        && let Some(share) = request.node.budgets.parked.try_share(looking.parked_bytes())
    {
        let waiting = Waiting { parked, hurry: request.client.hurry.clone(), _share: share };
        return Ok(Reply::Parked(Box::pin(async move { looking.wait(waiting, max_wait, responder).await })));
    }
    let rewritten = looking.rewrite(&mut look);
    looking.answer(look, &rewritten, responder).map(Reply::Ready)
}

/// Whether the log is asked, or would be.
fn asks_a_log(found: &Result<Arc<Partition>, ErrorCode>) -> bool {
    !matches!(found, Err(code) if is_of_request(*code))
}

/// What Kafka answers where it fails: nothing but the code, and to old versions the code for each partition.
fn failed<'a>(fetch: &'a FetchRequest<'_>, version: i16) -> FetchResponse<'a> {
    let error_code = ErrorCode::UnknownServerError.code();
    let partition = |asked: &fetch_request::Partition| fetch_response::Partition {
        partition_index: asked.partition,
        error_code,
        high_watermark: -1,
        aborted_transactions: Some(Vec::new()),
        records: Records::Bytes(&[]),
        ..Default::default()
    };
    let responses = fetch.topics.iter().filter(|_| version < TOPIC_IDS_FROM).map(|topic| Response {
        topic: Cow::Borrowed(&*topic.topic),
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    });
    FetchResponse { error_code, responses: responses.collect(), ..Default::default() }
}

fn topic_key(by_id: bool, name: &str, id: Uuid) -> TopicKey {
    if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.into()) }
}

/// The partitions that a request names.
fn wanted_of(fetch: &FetchRequest<'_>, by_id: bool, image: &Image) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for topic in &fetch.topics {
        let key = topic_key(by_id, &topic.topic, topic.topic_id);
        let known = if by_id { image.topic_by_id(topic.topic_id) } else { None };
        wanted.extend(topic.partitions.iter().map(|partition| Wanted {
            topic: key.clone(),
            name: known.map(|topic| topic.name.clone()),
            partition: partition.partition,
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        }));
    }
    once_each(wanted)
}

/// Each partition once, where it was named first and as it was named last; as Kafka does.
fn once_each(wanted: Vec<Wanted>) -> Vec<Wanted> {
    if wanted.len() < 2 {
        return wanted;
    }
    let mut places = HashMap::with_capacity(wanted.len());
    let mut once: Vec<Wanted> = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        match places.entry((wanted.topic.clone(), wanted.partition)) {
            Entry::Vacant(place) => {
                place.insert(once.len());
                once.push(wanted);
            }
            Entry::Occupied(place) => once[*place.get()] = wanted,
        }
    }
    once
}

/// Whether Kafka counts a read that fails so as one that was asked for in vain, and not as one that the broker failed in.
fn is_expected(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::OffsetOutOfRange
    )
}

fn find_partition(request: &Request<'_>, wanted: &Wanted, replica_id: i32) -> Result<Arc<Partition>, ErrorCode> {
    let is_replica = replica_id >= 0;
    if is_replica && !request.may(Operation::ClusterAction, Resource::Cluster) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let name = wanted.topic_name().ok_or(ErrorCode::UnknownTopicId)?;
    if !is_replica && !request.may(Operation::Read, Resource::Topic(name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let partition = request.node.partitions.find(name, wanted.partition)?;
    if matches!(wanted.topic, TopicKey::Id(id) if partition.topic_id != id) {
        return Err(ErrorCode::InconsistentTopicId);
    }
    // There are no other replicas yet, so whoever claims to be one is not.
    if is_replica { Err(partition.refuse_replica(epoch_or_none(wanted.current_leader_epoch))) } else { Ok(partition) }
}

impl Fetch {
    /// Counts each partition that the logs are asked for: once, however often it is looked at. As in Kafka.
    fn count(&self, partitions: &Partitions) {
        for (wanted, found) in self.opened.wanted.iter().zip(&self.partitions) {
            match (found, wanted.topic_name()) {
                (Ok(partition), _) => partition.traffic.asked_to_read(),
                (Err(code), Some(topic)) if !is_of_request(*code) => {
                    partitions.count_unserved(topic, Traffic::asked_to_read);
                }
                _ => {}
            }
        }
    }

    /// Registers with every partition, so that the next change of any of them is noticed.
    fn park(&self) -> Arc<Parked> {
        let parked = Parked::new();
        for partition in self.partitions.iter().flatten() {
            partition.parked.register(&parked);
        }
        parked
    }

    fn parked_bytes(&self) -> usize {
        let names = self.opened.wanted.iter().map(Wanted::name_bytes).sum::<usize>();
        PARKED_BYTES + self.partitions.len() * PARKED_PARTITION_BYTES + names
    }

    async fn wait(
        self,
        mut waiting: Waiting,
        max_wait: Duration,
        responder: Responder,
    ) -> Result<super::Answer, Refused> {
        let deadline = tokio::time::Instant::now() + max_wait;
        loop {
            let over = tokio::select! {
                biased;
                () = hurried(&waiting.hurry) => true,
                changed = tokio::time::timeout_at(deadline, waiting.parked.changed()) => changed.is_err(),
            };
            if !over {
                waiting.parked = self.park();
            }
            let mut look = self.look();
            if look.answer_now || over {
                self.hold_back(&mut look);
                return self.answer(look, &[], responder);
            }
        }
    }

    /// Reads every partition once, under the limits on bytes.
    fn look(&self) -> Look {
        let mut look = Look { results: Vec::with_capacity(self.partitions.len()), bytes: 0, answer_now: false };
        let mut is_negative = self.is_negative;
        for (wanted, partition) in self.opened.wanted.iter().zip(&self.partitions) {
            let left = self.max_bytes.saturating_sub(look.bytes);
            let result = match partition {
                Err(code) => Err(*code),
                Ok(partition) => {
                    // As Kafka counts, less than no bytes are left for the first log only.
                    let is_negative = std::mem::take(&mut is_negative) || wanted.max_bytes < 0;
                    let read = Read {
                        reader: self.reader,
                        offset: Offset(wanted.offset),
                        max_bytes: u32::try_from(wanted.max_bytes).unwrap_or(0).min(left),
                        at_least_one: look.bytes == 0 || is_negative,
                        current_leader_epoch: epoch_or_none(wanted.current_leader_epoch),
                        last_fetched_epoch: epoch_or_none(wanted.last_fetched_epoch),
                        is_sent: true,
                    };
                    partition.read(read).and_then(|found| match found.slice.is_some() && is_negative {
                        // Kafka fails only where there is something to read.
                        true => Err(ErrorCode::UnknownServerError),
                        false => Ok(found),
                    })
                }
            };
            match &result {
                Ok(found) => {
                    look.bytes += found.slice.as_ref().map_or(0, |slice| slice.length);
                    look.answer_now |= found.diverging.is_some() || found.ends_segment;
                }
                Err(code) => {
                    look.answer_now = true;
                    if let (Ok(partition), false) = (partition, is_expected(*code)) {
                        partition.traffic.failed_to_read();
                    }
                }
            }
            look.results.push(result);
        }
        look.answer_now |= look.bytes >= self.min_bytes || self.partitions.is_empty();
        look
    }

    fn answer(
        &self,
        look: Look,
        rewritten: &[Option<Vec<u8>>],
        responder: Responder,
    ) -> Result<super::Answer, Refused> {
        let said: Vec<Said> = look.results.iter().map(said).collect();
        let carried = self.opened.say(&said);
        let mut response = FetchResponse { session_id: self.opened.session_id, ..Default::default() };
        let mut slices = Vec::new();
        let read_committed = self.reader == Reader::Committed;
        let looked = self.opened.wanted.iter().zip(&self.partitions).zip(look.results);
        for (index, ((wanted, partition), result)) in looked.enumerate().filter(|(index, _)| carried[*index]) {
            if let (Ok(partition), Ok(Found { slice: Some(slice), .. })) = (partition, &result) {
                partition.traffic.went(slice.length.into());
            }
            let mut data = partition_data(wanted.partition, result, read_committed, &mut slices);
            if data.error_code == ErrorCode::KafkaStorageError.code() && responder.version() < STORAGE_ERROR_FROM {
                // Readers from before that code look for another leader.
                data.error_code = ErrorCode::NotLeaderOrFollower.code();
            }
            if let Some(Some(bytes)) = rewritten.get(index) {
                data.records = Records::Bytes(bytes);
            }
            topic_response(&mut response, &wanted.topic).partitions.push(data);
        }
        responder.answer_with(response, slices)
    }

    /// The records that are not given as they lie in their files, by the number of the partition.
    fn rewrite(&self, look: &mut Look) -> Vec<Option<Vec<u8>>> {
        if !self.is_old_reader {
            return Vec::new();
        }
        let mut room = old_readers::Room::default();
        let rewrite = |(result, partition): (&mut Result<Found, ErrorCode>, &Result<Arc<Partition>, ErrorCode>)| {
            let found = result.as_mut().ok().filter(|_| partition.as_ref().is_ok_and(is_of_groups))?;
            match room.batches(found.slice.as_ref()?) {
                Ok(bytes) if bytes.is_empty() => {
                    found.slice = None;
                    None
                }
                Ok(bytes) => Some(bytes),
                Err(_) => {
                    *result = Err(ErrorCode::KafkaStorageError);
                    None
                }
            }
        };
        look.results.iter_mut().zip(&self.partitions).map(rewrite).collect()
    }

    /// Takes away what would have to be rewritten: many may have waited for it, and they are answered all at once. An old
    /// reader finds it with its next request, which has its turn.
    fn hold_back(&self, look: &mut Look) {
        for (result, partition) in look.results.iter_mut().zip(&self.partitions) {
            if let (true, Ok(found), true) = (self.is_old_reader, result, partition.as_ref().is_ok_and(is_of_groups)) {
                found.slice = None;
            }
        }
    }
}

fn is_of_groups(partition: &Arc<Partition>) -> bool {
    &*partition.name.topic == offsets_topic::NAME
}

/// Every negative epoch says that the client knows none.
fn epoch_or_none(epoch: i32) -> LeaderEpoch {
    LeaderEpoch(epoch.max(LeaderEpoch::NONE.0))
}

/// Waits until the connection is in a hurry. Whoever says so is the task that polls this, so that nobody needs waking.
async fn hurried(hurry: &AtomicBool) {
    poll_fn(|_| if hurry.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// The last topic of the response if it is the one of `key`, else a new one: consecutive partitions share a topic.
fn topic_response<'a, 'b>(response: &'a mut FetchResponse<'b>, key: &TopicKey) -> &'a mut Response<'b> {
    let (name, id) = match key {
        TopicKey::Name(name) => (name.to_string(), Uuid::ZERO),
        TopicKey::Id(id) => (String::new(), *id),
    };
    if response.responses.last().is_none_or(|last| last.topic != name || last.topic_id != id) {
        let topic = Response { topic: Cow::Owned(name), topic_id: id, ..Default::default() };
        response.responses.push(topic);
    }
    response.responses.last_mut().expect("one was just pushed if there was none")
}

fn said(result: &Result<Found, ErrorCode>) -> Said {
    match result {
        Ok(found) => Said {
            high_watermark: found.positions.high_watermark.0,
            log_start_offset: found.positions.log_start.0,
            has_records: found.slice.is_some(),
            is_news: found.diverging.is_some(),
        },
        Err(_) => Said { high_watermark: -1, log_start_offset: -1, has_records: false, is_news: true },
    }
}

fn to_wire(aborted: &AbortedTransaction) -> fetch_response::AbortedTransaction {
    fetch_response::AbortedTransaction { producer_id: aborted.producer_id.0, first_offset: aborted.first_offset.0 }
}

/// Whether the log was not even asked. As in Kafka, where the list is empty then, and absent where the log refused.
fn is_of_request(code: ErrorCode) -> bool {
    use ErrorCode::{TopicAuthorizationFailed, UnknownTopicId, UnknownTopicOrPartition};
    matches!(code, TopicAuthorizationFailed | UnknownTopicId | UnknownTopicOrPartition)
}

fn partition_data(
    partition_index: i32,
    result: Result<Found, ErrorCode>,
    read_committed: bool,
    slices: &mut Vec<LogSlice>,
) -> fetch_response::Partition<'static> {
    let found = match result {
        Ok(found) => found,
        Err(code) => {
            return fetch_response::Partition {
                partition_index,
                error_code: code.code(),
                high_watermark: -1,
                aborted_transactions: is_of_request(code).then(Vec::new),
                records: Records::Bytes(&[]),
                ..Default::default()
            };
        }
    };
    let records = match found.slice {
        None => Records::Bytes(&[]),
        Some(slice) => {
            let region = Region { index: slices.len() as u32, length: slice.length };
            slices.push(slice);
            Records::Region(region)
        }
    };
    let diverging = found.diverging.map(|(epoch, end)| DivergingEpoch { epoch: epoch.0, end_offset: end.0 });
    fetch_response::Partition {
        partition_index,
        high_watermark: found.positions.high_watermark.0,
        last_stable_offset: found.positions.last_stable.0,
        log_start_offset: found.positions.log_start.0,
        diverging_epoch: diverging.unwrap_or_default(),
        aborted_transactions: read_committed.then(|| found.aborted.iter().map(to_wire).collect()),
        records,
        ..Default::default()
    }
}

/// How many bytes of records one is given who asks for so many.
fn records_max_bytes(asked: i32, of_broker: u32, is_old_reader: bool) -> u32 {
    let most = if is_old_reader { old_readers::FETCH_MAX_BYTES } else { RECORDS_MAX_BYTES };
    u32::try_from(asked).unwrap_or(0).min(of_broker).min(most)
}

#[cfg(test)]
mod tests {
    use super::super::fetch_sessions::FetchSessions;
    use super::*;

    #[test]
    fn what_is_fetched_fits_into_a_frame() {
        let most = i32::MAX as u32;
        assert_eq!(records_max_bytes(i32::MAX, most, false) as usize + ANSWER_MAX_BYTES, most as usize);
        assert_eq!(records_max_bytes(i32::MAX, 55 << 20, false), 55 << 20);
        assert_eq!(records_max_bytes(i32::MAX, 55 << 20, true), old_readers::FETCH_MAX_BYTES);
        assert_eq!((records_max_bytes(7, most, false), records_max_bytes(-1, most, false)), (7, 0));
    }

    #[test]
    fn the_names_of_topics_are_counted_while_a_fetch_waits() {
        let parked_bytes = |topic: TopicKey| {
            let wanted = (0..100).map(|partition| Wanted {
                topic: topic.clone(),
                name: None,
                partition,
                offset: 0,
                max_bytes: 1,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
            });
            let opened = FetchSessions::new(0, 1).open(Instant::now(), (0, -1), false, wanted.collect(), []);
            let fetch = Fetch {
                opened: opened.expect("it asks for no session"),
                partitions: vec![Err(ErrorCode::UnknownTopicId); 100],
                reader: Reader::Uncommitted,
                is_old_reader: false,
                max_bytes: 1,
                is_negative: false,
                min_bytes: 1,
            };
            fetch.parked_bytes()
        };
        let by_id = parked_bytes(TopicKey::Id(Uuid(1)));
        assert_eq!(parked_bytes(TopicKey::Name("n".repeat(249).into())), by_id + 100 * 249);
    }
}
