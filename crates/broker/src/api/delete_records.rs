//! DeleteRecords (key 21, versions 0-2): everything before an offset goes (KIP-107).
//!
//! v2 flexible. Whole segments are removed by the next retention; until then the log begins inside of one. Internal topics
//! are the coordinators' own.

use std::borrow::Cow;

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

/// Stands for the high watermark.
const ALL: i64 = -1;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DeleteRecordsRequest<'_> = request.decode()?;
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let done = delete(request, &topic.name, partition.partition_index, partition.offset);
            Partition {
                partition_index: partition.partition_index,
                low_watermark: done.map_or(-1, |low_watermark| low_watermark.0),
                error_code: done.err().unwrap_or(ErrorCode::None).code(),
            }
        });
        Topic { name: Cow::Borrowed(&*topic.name), partitions: partitions.collect() }
    });
    request.reply(DeleteRecordsResponse { topics: topics.collect(), ..Default::default() })
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
