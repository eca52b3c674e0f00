//! AlterReplicaLogDirs (key 34, versions 1-2, KIP-113): moves replicas to other log directories. It is answered when a move has
//! begun; DescribeLogDirs tells how far it is.
//!
//! A wish for a replica that is not on this broker yet is refused, and remembered for when it is made.
//!
//! v2 flexible. A directory that is cordoned takes nothing (KIP-1066), not even what lies there.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use ottla_base::TopicPartition;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirsResponse, AlterReplicaLogDirsResult, Partition,
};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::node::clock;
use crate::request::Request;

/// AlterReplicaLogDirs.
pub const API: Api = Api { key: ApiKey::AlterReplicaLogDirs, versions: 1..=2, handle };

/// The longest name of a folder.
const FOLDER_NAME_MAX: usize = 255;
/// A dot, 32 digits and `-future`.
const MOVING_SUFFIX_LENGTH: usize = 40;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: AlterReplicaLogDirsRequest<'_> = request.decode()?;
    let allowed = request.may(Operation::Alter, Resource::Cluster);
    // Of several directories for one partition the last counts.
    let mut wanted: BTreeMap<&str, BTreeMap<i32, &str>> = BTreeMap::new();
    for dir in &asked.dirs {
        for topic in &dir.topics {
            let targets = topic.partitions.iter().map(|&index| (index, &*dir.path));
            if !topic.partitions.is_empty() {
                wanted.entry(&topic.name).or_default().extend(targets);
            }
        }
    }
    let results = wanted.into_iter().map(|(topic, targets)| {
        let partition = |(partition_index, path)| {
            let code = match allowed {
                true => alter(request, topic, partition_index, path),
                false => ErrorCode::ClusterAuthorizationFailed,
            };
            Partition { partition_index, error_code: code.code() }
        };
        AlterReplicaLogDirsResult {
            topic_name: Cow::Owned(topic.to_owned()),
            partitions: targets.into_iter().map(partition).collect(),
        }
    });
    request.reply(AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() })
}

fn alter(request: &Request<'_>, topic: &str, index: i32, path: &str) -> ErrorCode {
    // As in Kafka, where the folder of a log that moves has a longer name than another.
    if format!("{topic}-{index}").len() + MOVING_SUFFIX_LENGTH > FOLDER_NAME_MAX {
        return ErrorCode::InvalidTopicException;
    }
    let partitions = &request.node.partitions;
    let Some(target) = partitions.directories().iter().find(|directory| directory.path() == Path::new(path)) else {
        return ErrorCode::LogDirNotFound;
    };
    if target.is_cordoned() {
        return ErrorCode::InvalidReplicaAssignment;
    }
    match partitions.find(topic, index) {
        Ok(partition) => match partitions.move_to(&partition, target, clock::now_ms()) {
            Ok(()) => ErrorCode::None,
            Err(code) => code,
        },
        Err(code @ (ErrorCode::NotLeaderOrFollower | ErrorCode::UnknownTopicOrPartition)) => {
            match partitions.wish_for(TopicPartition::new(topic, index), target) {
                Ok(()) if code == ErrorCode::NotLeaderOrFollower => ErrorCode::ReplicaNotAvailable,
                Ok(()) => code,
                Err(offline) => offline,
            }
        }
        Err(code) => code,
    }
}
