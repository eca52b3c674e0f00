//! DeleteRecords (key 21, versions 0-2): everything before an offset goes (KIP-107).
//!
//! v2 flexible. Whole segments are removed by the next retention; until then the log begins inside of one. Internal topics
//! are the coordinators' own.
//!
//! Differs from Kafka: where the log begins is on the disk before the answer, so that no kill brings records back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_base::Offset;
use ottla_metadata::names;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::delete_records_request::DeleteRecordsRequest;
use ottla_protocol::messages::delete_records_response::{DeleteRecordsResponse, Partition, Topic};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::partitions::Partitions;
use crate::partitions::directories::Directory;
use crate::request::Request;

/// DeleteRecords.
pub const API: Api = Api { key: ApiKey::DeleteRecords, versions: 0..=2, handle };

/// A disk has so long to note where logs begin, whatever the client says.
const TIMEOUT_MS_MIN: i32 = 1000;

/// Stands for the high watermark.
const ALL: i64 = -1;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DeleteRecordsRequest<'_> = request.decode()?;
    // Of a partition that is named twice, the last offset counts, and a topic without partitions is not in the answer.
    let mut offsets: BTreeMap<&str, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in asked.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let partitions = topic.partitions.iter().map(|partition| (partition.partition_index, partition.offset));
        offsets.entry(&topic.name).or_default().extend(partitions);
    }
    // Of each partition of which something was deleted, the directories that have to know.
    let mut places: Vec<Vec<PathBuf>> = Vec::new();
    let mut writing = BTreeMap::new();
    let limit = Duration::from_millis(asked.timeout_ms.max(TIMEOUT_MS_MIN) as u64);
    let topics = offsets.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, offset)| {
            let done = delete(request, name, partition_index, offset);
            if let Ok((_, directories)) = &done {
                places.push(directories.iter().map(|directory| directory.path().to_owned()).collect());
                writing.extend(directories.iter().map(|directory| (directory.path().to_owned(), directory.clone())));
            }
            Partition {
                partition_index,
                low_watermark: done.as_ref().map_or(-1, |(low_watermark, _)| low_watermark.0),
                error_code: done.err().unwrap_or(ErrorCode::None).code(),
            }
        });
        Topic { name: Cow::Owned(name.to_owned()), partitions: partitions.collect() }
    });
    let response = DeleteRecordsResponse { topics: topics.collect(), ..Default::default() };
    if places.is_empty() {
        return request.reply(response);
    }
    let begin = |(path, directory): (PathBuf, Arc<Directory>)| {
        let partitions = Arc::clone(&request.node.partitions);
        // On its own: nobody looks after a request that is parked while its client takes earlier answers, and others wait for it.
        (path, tokio::spawn(async move { write_down(&partitions, &directory, limit).await }))
    };
    let writing: Vec<_> = writing.into_iter().map(begin).collect();
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move {
        let mut response = response;
        let mut failed = BTreeMap::new();
        for (path, written) in writing {
            if let Err(code) = written.await.unwrap_or(Err(ErrorCode::KafkaStorageError)) {
                failed.insert(path, code);
            }
        }
        let all = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let deleted = all.filter(|partition| partition.error_code == ErrorCode::None.code());
        for (partition, places) in deleted.zip(places) {
            if let Some(code) = places.iter().find_map(|place| failed.get(place)) {
                (partition.low_watermark, partition.error_code) = (-1, code.code());
            }
        }
        responder.answer(response)
    })))
}

/// Has it on the disk where the logs of a directory start.
///
/// # Errors
/// REQUEST_TIMED_OUT where the disk does not answer in time, KAFKA_STORAGE_ERROR where it has no room, or has failed: clients ask
/// again after both.
async fn write_down(
    partitions: &Arc<Partitions>,
    directory: &Arc<Directory>,
    limit: Duration,
) -> Result<(), ErrorCode> {
    match tokio::time::timeout(limit, directory.starts_moved.write(partitions, directory)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(ErrorCode::KafkaStorageError),
        Err(_) => Err(ErrorCode::RequestTimedOut),
    }
}

/// Gives the first offset from now on, and the directories in which it has to be written down.
fn delete(
    request: &Request<'_>,
    topic: &str,
    index: i32,
    offset: i64,
) -> Result<(Offset, Vec<Arc<Directory>>), ErrorCode> {
    if !request.may(Operation::Delete, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let partition = request.node.partitions.find(topic, index)?;
    if names::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let log_start = partition.delete_records((offset != ALL).then_some(Offset(offset)))?;
    Ok((log_start, partition.start_directories()))
}
