//! OffsetForLeaderEpoch (key 23, versions 2-4): where the records of a leader's epoch end (KIP-101, KIP-320).
//!
//! v2 leader epochs are checked. v3 replica id. v4 flexible.
//! Differs from Kafka: of epochs below -1 nothing is known, where Kafka says that they end at offset 0.

use std::borrow::Cow;

use ottla_base::LeaderEpoch;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::offset_for_leader_epoch_request::{self, OffsetForLeaderEpochRequest};
use ottla_protocol::messages::offset_for_leader_epoch_response::{OffsetForLeaderEpochResponse, Partition, Topic};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// OffsetForLeaderEpoch.
pub const API: Api = Api { key: ApiKey::OffsetForLeaderEpoch, versions: 2..=4, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: OffsetForLeaderEpochRequest<'_> = request.decode()?;
    let topics = asked.topics.iter().map(|topic| Topic {
        topic: Cow::Borrowed(&*topic.topic),
        partitions: topic.partitions.iter().map(|partition| look_up(request, &topic.topic, partition)).collect(),
    });
    request.reply(OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
}

fn look_up(request: &Request<'_>, topic: &str, asked: &offset_for_leader_epoch_request::Partition) -> Partition {
    let unknown = Partition { partition: asked.partition, leader_epoch: -1, end_offset: -1, ..Default::default() };
    let end = match request.may(Operation::Describe, Resource::Topic(topic)) {
        true => request.node.partitions.find(topic, asked.partition),
        false => Err(ErrorCode::TopicAuthorizationFailed),
    };
    let epochs = (LeaderEpoch(asked.current_leader_epoch), LeaderEpoch(asked.leader_epoch));
    match end.and_then(|partition| partition.end_of_epoch(epochs.0, epochs.1)) {
        Ok(Some((epoch, end))) => Partition { leader_epoch: epoch.0, end_offset: end.0, ..unknown },
        Ok(None) => unknown,
        Err(code) => Partition { error_code: code.code(), ..unknown },
    }
}
