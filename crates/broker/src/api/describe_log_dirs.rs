//! DescribeLogDirs (key 35, versions 1-5): what lies in each log directory, and how much room is left (KIP-113, KIP-827).
//!
//! v2 flexible. v3 an error for all. v4 total and usable bytes. v5 cordoned directories (KIP-1066), where
//! the metadata.version knows of them.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::controller::may_cordon;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsResponse, DescribeLogDirsResult, Partition, Topic,
};
use ottla_storage::os;

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::partitions::directories::Directory;
use crate::request::Request;

/// DescribeLogDirs.
pub const API: Api = Api { key: ApiKey::DescribeLogDirs, versions: 1..=5, handle };

/// Where it is not known how large a volume is.
const UNKNOWN: i64 = -1;

/// What was asked for; `None` asks for all.
type Wanted<'a> = Option<BTreeSet<(&'a str, i32)>>;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeLogDirsRequest<'_> = request.decode()?;
    if !request.may(Operation::Describe, Resource::Cluster) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return request.reply(DescribeLogDirsResponse { error_code, ..Default::default() });
    }
    let wanted: Wanted<'_> = asked.topics.as_ref().map(|topics| {
        topics.iter().flat_map(|topic| topic.partitions.iter().map(|&index| (&*topic.topic, index))).collect()
    });
    let results = request.node.partitions.directories().iter().map(|directory| describe(request, directory, &wanted));
    request.reply(DescribeLogDirsResponse { results: results.collect(), ..Default::default() })
}

fn describe(request: &Request<'_>, directory: &Directory, wanted: &Wanted<'_>) -> DescribeLogDirsResult<'static> {
    let log_dir = || Cow::Owned(directory.path().to_string_lossy().into_owned());
    let is_cordoned = || directory.is_cordoned() && may_cordon(&request.node.image());
    if !directory.is_online() {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir: log_dir(),
            total_bytes: UNKNOWN,
            usable_bytes: UNKNOWN,
            is_cordoned: is_cordoned(),
            ..Default::default()
        };
    }
    let mut topics: BTreeMap<String, Vec<Partition>> = BTreeMap::new();
    for partition in request.node.partitions.all() {
        let name = &partition.name;
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&(&*name.topic, name.partition.0))) {
            continue;
        }
        let mut add = |size_bytes: u64, offset_lag, is_future_key| {
            topics.entry(name.topic.to_string()).or_default().push(Partition {
                partition_index: name.partition.0,
                partition_size: i64::try_from(size_bytes).unwrap_or(i64::MAX),
                offset_lag,
                is_future_key,
            });
        };
        let (is_here, size_bytes) = partition.with_log(|log, _| (directory.holds(log.folder()), log.size_bytes()));
        if is_here {
            // The high watermark is never past the end of the leader's log, so nothing lags.
            add(size_bytes, 0, false);
        }
        if let Some(moving) = partition.moving().filter(|moving| moving.home.path() == directory.path()) {
            add(moving.size_bytes, moving.lag, true);
        }
    }
    let (total_bytes, usable_bytes) = match os::volume_bytes(directory.path()) {
        Ok((total, usable)) => (i64::try_from(total).unwrap_or(i64::MAX), i64::try_from(usable).unwrap_or(i64::MAX)),
        Err(error) => {
            tracing::warn!(directory = %directory.path().display(), %error, "it is not known how much room is left");
            (UNKNOWN, UNKNOWN)
        }
    };
    let topic = |(name, mut partitions): (String, Vec<Partition>)| {
        partitions.sort_by_key(|partition| (partition.partition_index, partition.is_future_key));
        Topic { name: Cow::Owned(name), partitions }
    };
    DescribeLogDirsResult {
        error_code: ErrorCode::None.code(),
        log_dir: log_dir(),
        topics: topics.into_iter().map(topic).collect(),
        total_bytes,
        usable_bytes,
        is_cordoned: is_cordoned(),
    }
}
