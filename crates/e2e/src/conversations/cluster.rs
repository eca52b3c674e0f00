//! What administrators ask of a cluster: leaders, replicas, the quorum, features, directories.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, Partition as Reassigned, Topic as ReassignedTopic,
};
use ottla_protocol::messages::alter_partition_reassignments_response::AlterPartitionReassignmentsResponse;
use ottla_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDirsRequest, Dir, Topic as MovedTopic};
use ottla_protocol::messages::alter_replica_log_dirs_response::AlterReplicaLogDirsResponse;
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResponse;
use ottla_protocol::messages::describe_quorum_request::{
    DescribeQuorumRequest, Partition as Asked, Topic as AskedTopic,
};
use ottla_protocol::messages::describe_quorum_response::DescribeQuorumResponse;
use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartition};
use ottla_protocol::messages::elect_leaders_response::ElectLeadersResponse;
use ottla_protocol::messages::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, Topic as ListedTopic,
};
use ottla_protocol::messages::list_partition_reassignments_response::ListPartitionReassignmentsResponse;
use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_protocol::messages::update_features_request::{FeatureUpdate, UpdateFeaturesRequest};
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;

use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("elect-leaders", elect_leaders),
    Conversation::new("partition-reassignments", reassign),
    Conversation::new("describe-quorum", describe_quorum),
    Conversation::new("update-features", update_features),
    Conversation::new("update-features-down", update_features_down),
    Conversation::new("replica-log-dirs", replica_log_dirs),
    Conversation::new("unregister-broker", unregister),
];

/// Topics with some of their partitions.
type Topics<'a> = &'a [(&'a str, &'a [i32])];

fn elect_leaders(session: &mut Session) {
    session.topic("elected", 2, &[]);
    let cases: &[(&str, i8, Option<Topics<'_>>)] = &[
        ("preferred", 0, Some(&[("elected", &[0, 1])])),
        ("unclean", 1, Some(&[("elected", &[0, 1])])),
        ("preferred of all", 0, None),
        ("unclean of all", 1, None),
        ("an unknown type", 2, Some(&[("elected", &[0])])),
        ("an unknown type of all", 7, None),
        ("a partition that is not there", 0, Some(&[("elected", &[7, 0])])),
        ("a negative partition", 0, Some(&[("elected", &[-1])])),
        ("a topic that is not there", 0, Some(&[("elected-none", &[0])])),
        ("a topic that is not there, unclean", 1, Some(&[("elected-none", &[0])])),
        ("a bad name", 0, Some(&[("elected none", &[0])])),
        ("a partition twice", 0, Some(&[("elected", &[0, 0])])),
        ("a topic twice", 0, Some(&[("elected", &[0]), ("elected", &[0])])),
        ("no topics", 0, Some(&[])),
        ("no partitions", 0, Some(&[("elected", &[])])),
    ];
    for version in 0..=2 {
        for (what, election_type, topics) in cases {
            if version == 0 && *election_type != 0 {
                continue;
            }
            let topic = |&(topic, partitions): &(&str, &[i32])| TopicPartition {
                topic: topic.to_owned().into(),
                partitions: partitions.to_vec(),
            };
            let topic_partitions = topics.map(|topics| topics.iter().map(topic).collect());
            let request = ElectLeadersRequest { election_type: *election_type, topic_partitions, timeout_ms: 10_000 };
            let Some(answer) = session.ask(what, ApiKey::ElectLeaders, version, &request) else { continue };
            let mut response: ElectLeadersResponse<'_> = body(&answer, ApiKey::ElectLeaders, version);
            // Of all, those of this conversation: others hold theirs before.
            let is_ours = |topic: &str| topic.starts_with("elected");
            response.replica_election_results.retain(|topic| is_ours(&topic.topic));
            response.replica_election_results.sort_by(|a, b| a.topic.cmp(&b.topic));
            for topic in &mut response.replica_election_results {
                topic.partition_result.sort_by_key(|partition| partition.partition_id);
            }
            session.note(&response);
        }
    }
}

fn reassign(session: &mut Session) {
    session.topic("reassigned", 2, &[]);
    type Partitions<'a> = &'a [(i32, Option<&'a [i32]>)];
    let cases: &[(&str, &[(&str, Partitions<'_>)])] = &[
        ("to where it is", &[("reassigned", &[(0, Some(&[1]))])]),
        ("to another broker", &[("reassigned", &[(0, Some(&[2]))])]),
        ("to two brokers", &[("reassigned", &[(0, Some(&[1, 2]))])]),
        ("to a negative broker", &[("reassigned", &[(0, Some(&[-1]))])]),
        ("to nobody", &[("reassigned", &[(0, Some(&[]))])]),
        ("to one twice", &[("reassigned", &[(0, Some(&[1, 1]))])]),
        ("cancel", &[("reassigned", &[(0, None)])]),
        ("cancel both", &[("reassigned", &[(0, None), (1, None)])]),
        ("a partition that is not there", &[("reassigned", &[(7, Some(&[1]))])]),
        ("a negative partition", &[("reassigned", &[(-1, Some(&[1]))])]),
        ("cancel one that is not there", &[("reassigned", &[(7, None)])]),
        ("a topic that is not there", &[("reassigned-none", &[(0, Some(&[1])), (1, None)])]),
        ("a bad name", &[("reassigned none", &[(0, Some(&[1]))])]),
        ("one good, one bad", &[("reassigned", &[(0, Some(&[1])), (1, Some(&[9]))])]),
        ("a partition twice", &[("reassigned", &[(0, Some(&[1])), (0, Some(&[9]))])]),
        ("a topic twice", &[("reassigned", &[(0, Some(&[1]))]), ("reassigned", &[(1, Some(&[9]))])]),
        ("no partitions", &[("reassigned", &[])]),
        ("no topics", &[]),
        ("the metadata", &[("__cluster_metadata", &[(0, Some(&[1]))])]),
    ];
    for version in 0..=1 {
        for allow_replication_factor_change in [true, false] {
            if version == 0 && !allow_replication_factor_change {
                continue;
            }
            for (what, topics) in cases {
                let partition = |&(partition_index, replicas): &(i32, Option<&[i32]>)| Reassigned {
                    partition_index,
                    replicas: replicas.map(<[i32]>::to_vec),
                };
                let topic = |&(name, partitions): &(&str, Partitions<'_>)| ReassignedTopic {
                    name: name.to_owned().into(),
                    partitions: partitions.iter().map(partition).collect(),
                };
                let topics = topics.iter().map(topic).collect();
                let request =
                    AlterPartitionReassignmentsRequest { timeout_ms: 10_000, allow_replication_factor_change, topics };
                let what = format!("{what}, factor may change: {allow_replication_factor_change}");
                exchange!(session, what, AlterPartitionReassignments version, &request => AlterPartitionReassignmentsResponse<'_>);
            }
        }
    }
    let cases: &[(&str, Option<Topics<'_>>)] = &[
        ("all", None),
        ("both", Some(&[("reassigned", &[0, 1])])),
        ("one that is not there", Some(&[("reassigned", &[7])])),
        ("a topic that is not there", Some(&[("reassigned-none", &[0])])),
        ("no partitions", Some(&[("reassigned", &[])])),
        ("none", Some(&[])),
    ];
    for (what, topics) in cases {
        let topic = |&(name, indexes): &(&str, &[i32])| ListedTopic {
            name: name.to_owned().into(),
            partition_indexes: indexes.to_vec(),
        };
        let topics = topics.map(|topics| topics.iter().map(topic).collect());
        let request = ListPartitionReassignmentsRequest { timeout_ms: 10_000, topics };
        exchange!(session, what, ListPartitionReassignments 0, &request => ListPartitionReassignmentsResponse<'_>);
    }
}

fn describe_quorum(session: &mut Session) {
    let cases: &[(&str, Topics<'_>)] = &[
        ("the metadata", &[("__cluster_metadata", &[0])]),
        ("another partition of it", &[("__cluster_metadata", &[1])]),
        ("two partitions of it", &[("__cluster_metadata", &[0, 1])]),
        ("it twice", &[("__cluster_metadata", &[0, 0])]),
        ("another topic", &[("described", &[0])]),
        ("it and another topic", &[("__cluster_metadata", &[0]), ("described", &[0])]),
        ("no partition", &[("__cluster_metadata", &[])]),
        ("nothing", &[]),
    ];
    for version in 0..=2 {
        for (what, topics) in cases {
            let topic = |&(topic_name, partitions): &(&str, &[i32])| AskedTopic {
                topic_name: topic_name.to_owned().into(),
                partitions: partitions.iter().map(|&partition_index| Asked { partition_index }).collect(),
            };
            let request = DescribeQuorumRequest { topics: topics.iter().map(topic).collect() };
            let Some(answer) = session.ask(what, ApiKey::DescribeQuorum, version, &request) else { continue };
            let mut response: DescribeQuorumResponse<'_> = body(&answer, ApiKey::DescribeQuorum, version);
            for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                // How far a log goes is another matter in every cluster.
                let ends =
                    partition.current_voters.iter().all(|voter| voter.log_end_offset >= partition.high_watermark);
                assert!(partition.error_code != 0 || ends && partition.high_watermark > 0);
                partition.high_watermark = partition.high_watermark.min(0);
                partition.leader_epoch = partition.leader_epoch.min(1);
                for voter in partition.current_voters.iter_mut().chain(&mut partition.observers) {
                    voter.log_end_offset = voter.log_end_offset.min(0);
                }
            }
            session.note(&response);
        }
    }
}

/// What becomes of a level that goes down.
const UPGRADE: i8 = 1;
const SAFE: i8 = 2;
const UNSAFE: i8 = 3;

fn update_features(session: &mut Session) {
    // Nothing of this changes anything: others hold their conversations with the same cluster.
    type Updates<'a> = &'a [(&'a str, i16, i8)];
    let cases: &[(&str, Updates<'_>)] = &[
        ("a feature that is not there", &[("no.such.feature", 1, UPGRADE)]),
        ("a feature that is not there, away", &[("no.such.feature", 0, SAFE)]),
        ("the level it has", &[("metadata.version", 33, UPGRADE)]),
        ("a level too high", &[("metadata.version", 99, UPGRADE)]),
        ("a level too low", &[("metadata.version", 1, UPGRADE)]),
        ("a level too low, down", &[("metadata.version", 1, SAFE)]),
        ("level 0", &[("metadata.version", 0, SAFE)]),
        ("level -1", &[("metadata.version", -1, SAFE)]),
        ("a higher level as a downgrade", &[("metadata.version", 99, SAFE)]),
        ("an unknown type", &[("metadata.version", 33, 7)]),
        ("type 0", &[("metadata.version", 33, 0)]),
        ("an empty name", &[("", 1, UPGRADE)]),
        ("a feature twice", &[("metadata.version", 33, UPGRADE), ("metadata.version", 33, UPGRADE)]),
        ("a feature twice, first wrong", &[("metadata.version", 99, UPGRADE), ("metadata.version", 33, UPGRADE)]),
        ("a feature twice, then wrong", &[("metadata.version", 33, UPGRADE), ("metadata.version", 99, UPGRADE)]),
        ("eligible leader replicas too high", &[("eligible.leader.replicas.version", 2, UPGRADE)]),
        ("eligible leader replicas as they are", &[("eligible.leader.replicas.version", 1, UPGRADE)]),
        ("eligible leader replicas away as an upgrade", &[("eligible.leader.replicas.version", 0, UPGRADE)]),
        ("one good, one bad", &[("eligible.leader.replicas.version", 1, UPGRADE), ("metadata.version", 99, UPGRADE)]),
        ("the quorum's version too high", &[("kraft.version", 2, UPGRADE)]),
        ("the quorum's version, down", &[("kraft.version", -1, SAFE)]),
        ("nothing", &[]),
    ];
    for version in 0..=2 {
        for (what, updates) in cases {
            let update = |&(feature, max_version_level, upgrade_type): &(&str, i16, i8)| FeatureUpdate {
                feature: feature.to_owned().into(),
                max_version_level,
                allow_downgrade: upgrade_type != UPGRADE,
                upgrade_type: if version == 0 { UPGRADE } else { upgrade_type },
            };
            for validate_only in [true, false] {
                if version == 0 && validate_only {
                    continue;
                }
                let feature_updates = updates.iter().map(update).collect();
                let request = UpdateFeaturesRequest { timeout_ms: 10_000, feature_updates, validate_only };
                let what = format!("{what}, only asked: {validate_only}");
                let Some(answer) = session.ask(&what, ApiKey::UpdateFeatures, version, &request) else { continue };
                let mut response: UpdateFeaturesResponse<'_> = body(&answer, ApiKey::UpdateFeatures, version);
                // Which levels there are is another matter in every version of a broker.
                if let Some(message) = &mut response.error_message
                    && let Some((before, _)) = message.split_once("only supports versions ")
                {
                    *message = format!("{before}only supports others").into();
                }
                session.note(&response);
            }
        }
    }
    for upgrade_type in [SAFE, UNSAFE] {
        let what = format!("eligible leader replicas away, type {upgrade_type}");
        ask_for_level(session, &what, "eligible.leader.replicas.version", 0, upgrade_type);
    }
}

fn update_features_down(session: &mut Session) {
    for (what, level, upgrade_type) in [
        ("as an upgrade", 30, UPGRADE),
        ("one level", 32, SAFE),
        ("to a level of before", 30, SAFE),
        ("far down", 7, SAFE),
        ("far down, unsafely", 7, UNSAFE),
    ] {
        ask_for_level(session, what, "metadata.version", level, upgrade_type);
    }
}

/// Asks whether a feature could get another level.
fn ask_for_level(session: &mut Session, what: &str, feature: &str, max_version_level: i16, upgrade_type: i8) {
    let feature = feature.to_owned().into();
    let feature = FeatureUpdate { feature, max_version_level, allow_downgrade: true, upgrade_type };
    let request = UpdateFeaturesRequest { timeout_ms: 10_000, feature_updates: vec![feature], validate_only: true };
    exchange!(session, what, UpdateFeatures 1, &request => UpdateFeaturesResponse<'_>);
}

fn replica_log_dirs(session: &mut Session) {
    session.topic("moved", 2, &[]);
    let request = DescribeLogDirsRequest { topics: None };
    let answer = session.client.ask(ApiKey::DescribeLogDirs, 4, &request).expect("it is answered");
    let response: DescribeLogDirsResponse<'_> = body(&answer, ApiKey::DescribeLogDirs, 4);
    let here = response.results[0].log_dir.to_string();
    let (longest, too_long) = ("m".repeat(213), "m".repeat(214));
    type Moves<'a> = &'a [(&'a str, &'a str, &'a [i32])];
    let cases: &[(&str, Moves<'_>)] = &[
        ("to where it is", &[(&here, "moved", &[0, 1])]),
        ("to a directory that is not there", &[("/none", "moved", &[0, 1])]),
        ("to a path that begins nowhere", &[("none", "moved", &[0])]),
        ("to no path", &[("", "moved", &[0])]),
        ("a partition that is not there", &[(&here, "moved", &[7])]),
        ("a negative partition", &[(&here, "moved", &[-1])]),
        ("a topic that is not there", &[(&here, "moved-none", &[0])]),
        ("a topic that is not there to a directory that is not", &[("/none", "moved-none", &[0])]),
        ("a bad name", &[(&here, "moved none", &[0])]),
        ("a name as long as may be", &[("/none", &longest, &[0])]),
        ("a name too long to be moved", &[("/none", &too_long, &[0])]),
        ("a partition twice", &[(&here, "moved", &[0, 0])]),
        ("here and there", &[(&here, "moved", &[0]), ("/none", "moved", &[1])]),
        ("one here and there", &[(&here, "moved", &[0]), ("/none", "moved", &[0])]),
        ("no partitions", &[(&here, "moved", &[])]),
        ("nothing", &[]),
    ];
    for version in 1..=2 {
        for (what, moves) in cases {
            let dir = |&(path, topic, partitions): &(&str, &str, &[i32])| Dir {
                path: path.to_owned().into(),
                topics: vec![MovedTopic { name: topic.to_owned().into(), partitions: partitions.to_vec() }],
            };
            let request = AlterReplicaLogDirsRequest { dirs: moves.iter().map(dir).collect() };
            let Some(answer) = session.ask(what, ApiKey::AlterReplicaLogDirs, version, &request) else { continue };
            let mut response: AlterReplicaLogDirsResponse<'_> = body(&answer, ApiKey::AlterReplicaLogDirs, version);
            response.results.sort_by(|a, b| a.topic_name.cmp(&b.topic_name));
            for topic in &mut response.results {
                topic.partitions.sort_by_key(|partition| partition.partition_index);
            }
            session.note(&response);
        }
    }
}

fn unregister(session: &mut Session) {
    for (what, broker_id) in [("one that is not there", 9), ("a negative one", -1)] {
        let request = UnregisterBrokerRequest { broker_id };
        exchange!(session, what, UnregisterBroker 0, &request => UnregisterBrokerResponse<'_>);
    }
}
