//! Produce (key 0, versions 3-13): appends one batch to each partition named.
//!
//! v7 zstd. v8 errors of single records (KIP-467). v9 flexible. v10 leader hints (KIP-951). v12 transactions version 2.
//! v13 topic ids. Versions 0-2 are advertised but refused: older librdkafka switches features off otherwise (KAFKA-18659).
//! Differs from Kafka: a batch without bytes (null records) gets INVALID_RECORD, where Kafka never answers. Compressed
//! batches are not all opened: see docs/decisions/0004.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ottla_base::{Offset, Uuid};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::{PartitionResponse, ProduceResponse, RecordError, Response};
use ottla_protocol::records::compression::ZstdWindow;
use ottla_protocol::records::validate::{self, Depth, Flaw, Invalid, Rules, Scratch};
use ottla_protocol::records::{Batch, BatchError, BatchHeader, Compression};
use ottla_protocol::{ApiKey, ErrorCounts, Records};
use tokio::sync::oneshot;

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::metrics::Traffic;
use crate::node::clock;
use crate::partitions::append::{Appending, Outcome, Placed};
use crate::partitions::leader::Acks;
use crate::partitions::partition::Partition;
use crate::request::{Client, Request};

/// Produce.
pub const API: Api = Api { key: ApiKey::Produce, versions: 3..=13, handle };

/// The first version in which zstd may be used (KIP-110).
const ZSTD_FROM: i16 = 7;
/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;
/// The compressed batches of a connection that are all opened, before only samples are.
const OPENED_AT_FIRST: u64 = 16;
/// One compressed batch in so many is opened later on.
const OPENED_ONE_IN: u64 = 256;
/// An answer lists so many records that are wrong, of all its partitions together.
const RECORD_ERRORS_MAX: usize = 10_000;
/// So many topics or partitions are compared each with each.
const COMPARED_MAX: usize = 32;
/// Where batches that are packed anew may become longer than this, one request at a time has that done.
const PACKED_LARGE_BYTES: usize = 4 * 1024 * 1024;
/// The client id that may write to topics which only the broker writes to otherwise.
const ADMIN_CLIENT: &str = "__admin_client";

thread_local! {
    /// For looking into batches: of each worker rather than of each connection, which are many more.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Why a partition's batch was not appended.
#[derive(Debug)]
pub struct Failed {
    code: ErrorCode,
    message: Option<String>,
    record_errors: Vec<(i32, String)>,
    log_start_offset: i64,
    flaw: Option<Flaw>,
}

/// Where in the answer a batch is answered, and which partition it went to.
struct Waiting {
    partition: Arc<Partition>,
    until: Until,
    topic_place: usize,
    partition_place: usize,
}

/// What an answer waits for.
enum Until {
    /// Another connection has appended the batch.
    Appended(oneshot::Receiver<Result<Placed, Failed>>),
    /// Everything before this offset is safe: with acks=all, on all in-sync replicas.
    Safe(Offset),
}

/// The answer of a partition, and what it still waits for.
type Told = (PartitionResponse<'static>, Option<(Arc<Partition>, Until)>);

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let mut produce: ProduceRequest<'_> = request.decode()?;
    once_each(&mut produce.topic_data);
    let zstd_window = zstd_window(&produce);
    if zstd_window == ZstdWindow::Large || may_become_large(request, &produce) {
        request.is_large()?;
    }
    let acks = Acks::from_wire(produce.acks);
    let mut waiting = Vec::new();
    let mut response = ProduceResponse::default();
    let mut failures = false;
    let mut record_errors_left = RECORD_ERRORS_MAX;
    SCRATCH.with_borrow_mut(|scratch| scratch.begin_request(request.body.len()));
    let allowed = check_for_transactions(request, &produce);
    // As in Kafka, a topic without partitions is not in the answer.
    for topic in produce.topic_data.iter().filter(|topic| !topic.partition_data.is_empty()) {
        let topic_place = response.responses.len();
        let name = allowed.and_then(|()| topic_name(request, &topic.name, topic.topic_id));
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for (partition_place, data) in topic.partition_data.iter().enumerate() {
            let appended = name
                .as_deref()
                .map_err(|&code| Failed::from(code))
                .and_then(|name| append(request, name, topic.topic_id, data, acks, zstd_window));
            let told = appended.and_then(|(partition, outcome)| tell(data.index, acks, partition, outcome));
            let (answer, later) = told.unwrap_or_else(|mut failed| {
                failures = true;
                failed.record_errors.truncate(record_errors_left);
                record_errors_left -= failed.record_errors.len();
                (failure(data.index, failed), None)
            });
            answers.push(answer);
            waiting.extend(later.map(|(partition, until)| Waiting { partition, until, topic_place, partition_place }));
        }
        response.responses.push(Response {
            name: Cow::Owned(topic.name.clone().into_owned()),
            topic_id: topic.topic_id,
            partition_responses: answers,
        });
    }
    match acks {
        Some(Acks::None) if failures => Err(Refused::UnacknowledgedFailure(errors_of(&response))),
        Some(Acks::None) => Ok(Reply::None),
        _ if waiting.is_empty() => request.reply(response),
        _ => {
            let timeout = Duration::from_millis(u64::try_from(produce.timeout_ms).unwrap_or(0));
            let responder = request.responder();
            let memory_bytes = memory_bytes(&response) + waiting.capacity() * size_of::<Waiting>();
            let finished = async move {
                finish(&mut response, waiting, acks.unwrap_or(Acks::Leader), timeout).await;
                responder.answer(response)
            };
            Ok(Reply::Holding(Box::pin(finished), memory_bytes))
        }
    }
}

/// What is told of a batch that went so far.
fn tell(index: i32, acks: Option<Acks>, partition: Arc<Partition>, outcome: Outcome) -> Result<Told, Failed> {
    match outcome {
        Outcome::Done(placed) => {
            let placed = placed?;
            let until = Until::Safe(placed.next_offset);
            let is_safe = partition.is_acknowledged(acks.unwrap_or(Acks::None), placed.next_offset)?;
            Ok((success(index, placed), (!is_safe).then_some((partition, until))))
        }
        Outcome::Queued(done) => {
            Ok((PartitionResponse { index, ..Default::default() }, Some((partition, Until::Appended(done)))))
        }
    }
}

fn topic_name<'t>(request: &Request<'_>, name: &'t str, id: Uuid) -> Result<Cow<'t, str>, ErrorCode> {
    if request.version() < TOPIC_IDS_FROM {
        return Ok(name.into());
    }
    let image = request.node.image();
    image.topic_by_id(id).map(|topic| Cow::Owned(topic.name.to_string())).ok_or(ErrorCode::UnknownTopicId)
}

fn append(
    request: &mut Request<'_>,
    topic: &str,
    topic_id: Uuid,
    data: &PartitionData<'_>,
    acks: Option<Acks>,
    zstd_window: ZstdWindow,
) -> Result<(Arc<Partition>, Outcome), Failed> {
    if !request.may(Operation::Write, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed.into());
    }
    // As in Kafka, whether a partition exists is looked at before the batch, and whether it can be written to behind it.
    let partition = match request.node.partitions.find(topic, data.index) {
        Err(code @ ErrorCode::UnknownTopicOrPartition) => return Err(code.into()),
        found => found,
    };
    let batch = only_batch(bytes_of(data))?;
    if batch.header().compression() == Some(Compression::Zstd) && request.version() < ZSTD_FROM {
        return Err(ErrorCode::UnsupportedCompressionType.into());
    }
    if batch.header().attributes.is_transactional() {
        // There are no transactions yet, so no partition was ever added to one.
        return Err(ErrorCode::InvalidTxnState.into());
    }
    let acks = acks.ok_or(ErrorCode::InvalidRequiredAcks)?;
    // From here on Kafka counts the partition, whatever becomes of its batch.
    match &partition {
        Ok(partition) => partition.traffic.asked_to_append(),
        Err(_) => request.node.partitions.count_unserved(topic, Traffic::asked_to_append),
    }
    if ottla_metadata::names::is_internal(topic) && request.client_id() != ADMIN_CLIENT {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let partition = partition?;
    if request.version() >= TOPIC_IDS_FROM && partition.topic_id != topic_id {
        return Err(ErrorCode::UnknownTopicId.into());
    }
    let Request { node, client, .. } = request;
    let Appending { outcome, leaves_others } =
        partition.append(&batch, acks, clock::now_ms(), &node.frame_memory, |rules| {
            check_records(client, node.config.validate_compressed_records, &batch, &Rules { zstd_window, ..*rules })
        });
    if leaves_others {
        let partition = partition.clone();
        // Whoever waits for these may be on another thread, so no connection can look after them. It belongs to this worker, and
        // ends with it: when all connections have ended that could wait.
        tokio::spawn(async move {
            while partition.append_left() {
                // This thread's own connections come between.
                tokio::task::yield_now().await;
            }
        });
    }
    Ok((partition, outcome))
}

/// The largest window of all batches: with one that is large, this is a large request, whether the batch is opened or not.
fn zstd_window(produce: &ProduceRequest<'_>) -> ZstdWindow {
    let is_large = |data: &PartitionData<'_>| {
        Batch::parse(bytes_of(data)).is_ok_and(|(batch, _)| {
            batch.header().compression() == Some(Compression::Zstd)
                && ZstdWindow::of(batch.records()) == ZstdWindow::Large
        })
    };
    match produce.topic_data.iter().flat_map(|topic| &topic.partition_data).any(is_large) {
        true => ZstdWindow::Large,
        false => ZstdWindow::Usual,
    }
}

/// Whether a compressed batch, which may be a short one, has to be packed anew and may then be too long for every worker to
/// hold one.
fn may_become_large(request: &Request<'_>, produce: &ProduceRequest<'_>) -> bool {
    let codec_of = |data: &PartitionData<'_>| {
        let codec = BatchHeader::parse(bytes_of(data)).ok().and_then(|header| header.compression());
        codec.filter(|codec| *codec != Compression::None)
    };
    produce.topic_data.iter().any(|topic| {
        let compressed = |data: &PartitionData<'_>| Some((data.index, codec_of(data)?));
        let mut compressed = topic.partition_data.iter().filter_map(compressed).peekable();
        // Where nothing is compressed, nothing is looked up.
        let name = compressed.peek().and_then(|_| topic_name(request, &topic.name, topic.topic_id).ok());
        let Some(name) = name else { return false };
        compressed.any(|(index, codec)| {
            let partition = request.node.partitions.find(&name, index).ok();
            partition.and_then(|it| it.packed_max_bytes(codec)).is_some_and(|bytes| bytes > PACKED_LARGE_BYTES)
        })
    })
}

/// The one batch of a partition's records. A tail after it is cut off silently, as Kafka does.
fn only_batch(bytes: &[u8]) -> Result<Batch<'_>, Failed> {
    let invalid = |message: &str| Failed::new(ErrorCode::InvalidRecord, message);
    if bytes.is_empty() {
        return Err(invalid("Produce requests must have exactly one record batch per partition"));
    }
    let refuse = |error: BatchError| Failed::new(error.code(), error.to_string());
    let (batch, rest) = Batch::parse(bytes).map_err(refuse)?;
    match Batch::parse(rest) {
        Ok(_) => return Err(invalid("Produce requests must have exactly one record batch per partition")),
        Err(BatchError::Truncated { .. }) => {}
        Err(error) => return Err(refuse(error)),
    }
    Ok(batch)
}

fn bytes_of<'a>(data: &PartitionData<'a>) -> &'a [u8] {
    match data.records {
        Records::Bytes(bytes) => bytes,
        _ => &[],
    }
}

/// A single batch of a transaction that the client may not write to refuses the whole request.
fn check_for_transactions(request: &Request<'_>, produce: &ProduceRequest<'_>) -> Result<(), ErrorCode> {
    let mut all = produce.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let is_transactional = |data: &PartitionData<'_>| {
        BatchHeader::parse(bytes_of(data)).is_ok_and(|header| header.attributes.is_transactional())
    };
    if !all.any(is_transactional) {
        return Ok(());
    }
    match produce.transactional_id.as_deref() {
        Some(id) if request.may(Operation::Write, Resource::TransactionalId(id)) => Ok(()),
        _ => Err(ErrorCode::TransactionalIdAuthorizationFailed),
    }
}

/// Leaves each partition in the request once: of several batches the last, unless one before it is none.
///
/// Differs from Kafka: where one of them is none, and that is answered, the others are not appended.
fn once_each(topics: &mut Vec<TopicData<'_>>) {
    let is_usual = !has_repeated(topics, |topic| (&*topic.name, topic.topic_id))
        && !topics.iter().any(|topic| has_repeated(&topic.partition_data, |data| data.index));
    if is_usual {
        return;
    }
    let mut merged = BTreeMap::new();
    for topic in topics.drain(..) {
        let partitions: &mut BTreeMap<i32, PartitionData<'_>> =
            merged.entry((topic.name, topic.topic_id)).or_insert_with(BTreeMap::new);
        for data in topic.partition_data {
            let is_kept = partitions.get(&data.index).is_some_and(|earlier| only_batch(bytes_of(earlier)).is_err());
            if !is_kept {
                partitions.insert(data.index, data);
            }
        }
    }
    topics.extend(merged.into_iter().map(|((name, topic_id), partitions)| TopicData {
        name,
        topic_id,
        partition_data: partitions.into_values().collect(),
    }));
}

/// Whether two items have the same key. Of few items, nothing is gathered.
fn has_repeated<'a, T, K: Eq + Hash>(items: &'a [T], key: impl Fn(&'a T) -> K) -> bool {
    if items.len() <= COMPARED_MAX {
        return (1..items.len()).any(|at| items[..at].iter().any(|earlier| key(earlier) == key(&items[at])));
    }
    let mut seen = HashSet::with_capacity(items.len());
    !items.iter().all(|item| seen.insert(key(item)))
}

/// Checks the records, opening a compressed batch only where that is called for.
fn check_records(
    client: &mut Client,
    open_all: bool,
    batch: &Batch<'_>,
    rules: &Rules<'_>,
) -> Result<validate::Validated, Failed> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut depth = Depth::Header;
        if batch.header().compression() != Some(Compression::None) {
            let count = client.compressed_batches;
            client.compressed_batches += 1;
            let sampled = count < OPENED_AT_FIRST || count.is_multiple_of(OPENED_ONE_IN);
            if open_all || (sampled && !scratch.is_spent()) || rules.compacted {
                depth = Depth::Records;
            }
        }
        validate::validate(batch, &Rules { depth, ..*rules }, scratch).map_err(Failed::from)
    })
}

fn success(index: i32, placed: Placed) -> PartitionResponse<'static> {
    PartitionResponse {
        index,
        base_offset: placed.base_offset.0,
        log_append_time_ms: placed.log_append_time_ms,
        log_start_offset: placed.log_start_offset.0,
        ..Default::default()
    }
}

fn failure(index: i32, failed: Failed) -> PartitionResponse<'static> {
    let record_error =
        |(batch_index, message)| RecordError { batch_index, batch_index_error_message: Some(Cow::Owned(message)) };
    PartitionResponse {
        index,
        error_code: failed.code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: failed.log_start_offset,
        record_errors: failed.record_errors.into_iter().map(record_error).collect(),
        error_message: failed.message.map(Cow::Owned),
        ..Default::default()
    }
}

/// What errors an answer tells of that is not encoded.
fn errors_of(response: &ProduceResponse<'_>) -> ErrorCounts {
    let mut errors = ErrorCounts::default();
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.for_each(|partition| errors.count(partition.error_code));
    errors
}

/// About what an answer takes that is not encoded yet.
fn memory_bytes(response: &ProduceResponse<'_>) -> usize {
    let text_bytes = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    let of_error =
        |error: &RecordError<'_>| size_of::<RecordError<'_>>() + text_bytes(&error.batch_index_error_message);
    let of_partition = |partition: &PartitionResponse<'_>| {
        let errors = partition.record_errors.iter().map(of_error).sum::<usize>();
        size_of::<PartitionResponse<'_>>() + text_bytes(&partition.error_message) + errors
    };
    let of_topic = |topic: &Response<'_>| {
        let partitions = topic.partition_responses.iter().map(of_partition).sum::<usize>();
        size_of::<Response<'_>>() + topic.name.len() + partitions
    };
    size_of::<ProduceResponse<'_>>() + response.responses.iter().map(of_topic).sum::<usize>()
}

/// Waits for what each of `waiting` waits for, and puts it into the answer.
async fn finish(response: &mut ProduceResponse<'_>, waiting: Vec<Waiting>, acks: Acks, timeout: Duration) {
    let deadline = tokio::time::Instant::now() + timeout;
    for Waiting { partition, until, topic_place, partition_place } in waiting {
        let answer = &mut response.responses[topic_place].partition_responses[partition_place];
        let next_offset = match until {
            Until::Safe(next_offset) => next_offset,
            Until::Appended(done) => {
                // The broker stops where nobody is left to append it.
                let appended = done.await.unwrap_or_else(|_| Err(ErrorCode::NotLeaderOrFollower.into()));
                let next_offset = appended.as_ref().ok().map(|placed| placed.next_offset);
                *answer = appended
                    .map_or_else(|failed| failure(answer.index, failed), |placed| success(answer.index, placed));
                match next_offset {
                    Some(next_offset) => next_offset,
                    None => continue,
                }
            }
        };
        let acknowledged = tokio::time::timeout_at(deadline, partition.acknowledged(acks, next_offset)).await;
        if let Err(code) = acknowledged.unwrap_or(Err(ErrorCode::RequestTimedOut)) {
            answer.error_code = code.code();
            answer.base_offset = -1;
        }
    }
}

impl Failed {
    /// Failed with a sentence for the client.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::from(code) }
    }

    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What was wrong with the batch, where that is counted.
    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    /// Failed after the log was found, which begins at `log_start_offset`.
    #[must_use]
    pub fn at(self, log_start_offset: Offset) -> Self {
        Self { log_start_offset: log_start_offset.0, ..self }
    }
}

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, record_errors: Vec::new(), log_start_offset: -1, flaw: None }
    }
}

impl From<Invalid> for Failed {
    fn from(invalid: Invalid) -> Self {
        Self {
            code: invalid.code,
            message: Some(invalid.message),
            record_errors: invalid.record_errors,
            log_start_offset: -1,
            flaw: invalid.flaw,
        }
    }
}
