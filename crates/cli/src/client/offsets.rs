//! Where partitions begin and end, and what their offset was at a time: ListOffsets.

use ottla_base::TopicPartition;
use ottla_protocol::messages::list_offsets_request::{ListOffsetsRequest, Partition, Topic};
use ottla_protocol::messages::list_offsets_response::ListOffsetsResponse;
use ottla_protocol::{ApiKey, ErrorCode, Str};

use super::by_topic::by_topic;
use super::connection::Answer;
use super::leaders::{ByPartition, on_leaders};
use super::{Cluster, Error};

/// The timestamps that stand for a place in the log. This is its end.
pub const LATEST: i64 = -1;
/// The first offset.
pub const EARLIEST: i64 = -2;
/// The record with the largest timestamp.
pub const MAX_TIMESTAMP: i64 = -3;
/// The first offset on the broker's own disk.
pub const EARLIEST_LOCAL: i64 = -4;
/// The last offset in remote storage.
pub const LATEST_TIERED: i64 = -5;
/// The first offset that is not in remote storage yet.
pub const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Asks for the offsets of partitions at `timestamp`; `None` where there is no such record.
pub fn list(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    timestamp: i64,
) -> Result<ByPartition<Option<i64>>, Error> {
    let timeout_ms = i32::try_from(cluster.request_timeout().as_millis()).unwrap_or(i32::MAX);
    on_leaders(
        cluster,
        partitions,
        |connection, partitions| {
            if connection.version_of(ApiKey::ListOffsets) < Some(first_version_with(timestamp)) {
                return Err(Error::of_code(ErrorCode::UnsupportedVersion.code(), None));
            }
            let partition =
                |of: &TopicPartition| Partition { partition_index: of.partition.0, timestamp, ..Partition::default() };
            let topics = by_topic(partitions.iter().map(|of| (of.topic.as_str(), partition(of)))).into_iter();
            let topics = topics.map(|(name, partitions)| Topic { name: Str::Borrowed(name), partitions }).collect();
            let request = ListOffsetsRequest { topics, timeout_ms, ..ListOffsetsRequest::default() };
            connection.send(ApiKey::ListOffsets, i16::MAX, &request)
        },
        read,
    )
}

/// Older versions would take the special timestamp for a time.
fn first_version_with(timestamp: i64) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => 0,
    }
}

fn read(answer: &Answer) -> Result<ByPartition<Option<i64>>, Error> {
    let response: ListOffsetsResponse<'_> = answer.read()?;
    let mut found = ByPartition::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let offset = match partition.error_code {
                0 => Ok(Some(partition.offset).filter(|offset| *offset >= 0)),
                code => Err(Error::of_code(code, None)),
            };
            found.insert(TopicPartition::new(&*topic.name, partition.partition_index), offset);
        }
    }
    Ok(found)
}
