//! What a partition knows beside its records: where epochs end, who produced; and records that are deleted.

use ottla_protocol::messages::delete_records_request::{self as delete, DeleteRecordsRequest};
use ottla_protocol::messages::delete_records_response::DeleteRecordsResponse;
use ottla_protocol::messages::describe_producers_request::{DescribeProducersRequest, Topic};
use ottla_protocol::messages::describe_producers_response::DescribeProducersResponse;
use ottla_protocol::messages::offset_for_leader_epoch_request::{self as epochs, OffsetForLeaderEpochRequest};
use ottla_protocol::messages::offset_for_leader_epoch_response::OffsetForLeaderEpochResponse;

use super::{Conversation, Session, exchange};

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("delete-records", delete_records),
    Conversation::new("offset-for-leader-epoch", offset_for_leader_epoch),
    Conversation::new("describe-producers", describe_producers),
];

fn fill(session: &mut Session, topic: &str) {
    session.append(topic, 0, &[(1, "a"), (2, "b"), (3, "c")]);
    session.append(topic, 0, &[(4, "d"), (5, "e")]);
}

fn delete_records(session: &mut Session) {
    session.topic("deleted-records", 1, &[]);
    session.topic("deleted-compacted", 1, &[("cleanup.policy", "compact")]);
    session.topic("deleted-both", 1, &[("cleanup.policy", "compact,delete")]);
    for topic in ["deleted-records", "deleted-compacted", "deleted-both"] {
        fill(session, topic);
    }
    let request = |name: &'static str, partition_index, offset| DeleteRecordsRequest {
        topics: vec![delete::Topic {
            name: name.into(),
            partitions: vec![delete::Partition { partition_index, offset }],
        }],
        timeout_ms: 5000,
    };
    for version in 0..=2 {
        for offset in [i64::from(version) + 1, 1, 99, -2, i64::MAX] {
            let request = request("deleted-records", 0, offset);
            exchange!(session, format!("before {offset}"), DeleteRecords version, &request => DeleteRecordsResponse<'_>);
        }
    }
    for (what, request) in [
        ("all", request("deleted-records", 0, -1)),
        ("all again", request("deleted-records", 0, -1)),
        ("of a compacted topic", request("deleted-compacted", 0, 1)),
        ("of a topic that is compacted and deleted", request("deleted-both", 0, 1)),
        ("of a partition that is not there", request("deleted-records", 3, 1)),
        ("of a topic that is not there", request("deleted-none", 0, 1)),
        ("of no topics", DeleteRecordsRequest { topics: vec![], timeout_ms: 5000 }),
    ] {
        exchange!(session, what, DeleteRecords 2, &request => DeleteRecordsResponse<'_>);
    }
}

fn offset_for_leader_epoch(session: &mut Session) {
    session.topic("epochs", 2, &[]);
    fill(session, "epochs");
    for version in 2..=4 {
        for (what, partition, current_leader_epoch, leader_epoch) in [
            ("this epoch", 0, -1, 0),
            ("this epoch, of an empty log", 1, -1, 0),
            ("a later epoch", 0, -1, 3),
            ("no epoch", 0, -1, -1),
            ("epoch -2", 0, -1, -2),
            ("as a client of a later epoch", 0, 5, 0),
            ("as a client of this epoch", 0, 0, 0),
            ("a partition that is not there", 4, -1, 0),
        ] {
            let partition = epochs::Partition { partition, current_leader_epoch, leader_epoch };
            let topics = vec![epochs::Topic { topic: "epochs".into(), partitions: vec![partition] }];
            let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
            exchange!(session, what, OffsetForLeaderEpoch version, &request => OffsetForLeaderEpochResponse<'_>);
        }
        let partition = epochs::Partition { partition: 0, current_leader_epoch: -1, leader_epoch: 0 };
        let topics = vec![epochs::Topic { topic: "epochs-none".into(), partitions: vec![partition] }];
        let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
        exchange!(session, "no topic", OffsetForLeaderEpoch version, &request => OffsetForLeaderEpochResponse<'_>);
    }
}

fn describe_producers(session: &mut Session) {
    session.topic("producers", 1, &[]);
    let sent: &[(i64, i16, i32, usize)] = &[(4_200_000, 0, 0, 2), (4_200_000, 0, 2, 1), (4_200_001, 3, 0, 1)];
    for &(id, epoch, sequence, count) in sent {
        let batch = super::producing::sequenced(id, epoch, sequence, count);
        session.append_batch("producers", 0, &batch);
        for (name, index) in [("producers", 0), ("producers", 4), ("producers-none", 0), ("producers bad", 0)] {
            let topics = vec![Topic { name: name.into(), partition_indexes: vec![index] }];
            let request = DescribeProducersRequest { topics };
            let what = format!("{name}-{index} after {id}, {sequence}");
            exchange!(session, what, DescribeProducers 0, &request => DescribeProducersResponse<'_>);
        }
    }
}
