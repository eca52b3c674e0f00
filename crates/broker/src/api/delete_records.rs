//! DeleteRecords (key 21, versions 0-2): everything before an offset goes (KIP-107).
//!
//! v2 flexible. Whole segments are removed by the next retention; until then the log begins inside of one. Internal topics
//! are the coordinators' own.
//!
//! Differs from Kafka: where the log begins is on the disk before the answer, so that no kill brings records back.

use std::borrow::Cow;
use std::collections::BTreeMap;
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
    let topics = offsets.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, offset)| {
            let done = delete(request, name, partition_index, offset);
            Partition {
                partition_index,
                low_watermark: done.map_or(-1, |low_watermark| low_watermark.0),
                error_code: done.err().unwrap_or(ErrorCode::None).code(),
            }
        });
        Topic { name: Cow::Owned(name.to_owned()), partitions: partitions.collect() }
    });
    let response = DeleteRecordsResponse { topics: topics.collect(), ..Default::default() };
    let is_done = |partition: &Partition| partition.error_code == ErrorCode::None.code();
    if !response.topics.iter().flat_map(|topic| &topic.partitions).any(is_done) {
        return request.reply(response);
    }
    let (partitions, responder) = (Arc::clone(&request.node.partitions), request.responder());
    let limit = Duration::from_millis(asked.timeout_ms.max(TIMEOUT_MS_MIN) as u64);
    // On its own: nobody looks after a request that is parked while its client takes earlier answers, and others wait for it.
    let written = tokio::spawn(async move {
        let written = partitions.starts_moved.write(&partitions);
        tokio::time::timeout(limit, written).await.is_ok()
    });
    Ok(Reply::Parked(Box::pin(async move {
        let mut response = response;
        if !written.await.unwrap_or(false) {
            let deleted = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions).filter(|one| is_done(one));
            deleted.for_each(|partition| {
                (partition.low_watermark, partition.error_code) = (-1, ErrorCode::RequestTimedOut.code());
            });
        }
        responder.answer(response)
    })))
}

fn delete(request: &Request<'_>, topic: &str, index: i32, offset: i64) -> Result<Offset, ErrorCode> {
    if !request.may(Operation::Delete, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let partition = request.node.partitions.find(topic, index)?;
    if names::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    partition.delete_records((offset != ALL).then_some(Offset(offset)))
}
