//! Looking up offsets.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_offsets_request::{ListOffsetsRequest, Partition, Topic};
use ottla_protocol::messages::list_offsets_response::ListOffsetsResponse;

use super::{Conversation, Session, exchange};
use crate::raw::{RawClient, body};

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("list-offsets", list),
    Conversation::new("list-offsets-versions", versions),
    Conversation::new("list-offsets-empty", empty),
];

fn at(partition_index: i32, timestamp: i64) -> Partition {
    Partition { partition_index, current_leader_epoch: -1, timestamp, max_num_offsets: 1 }
}

fn of<'a>(name: &'a str, partitions: Vec<Partition>) -> ListOffsetsRequest<'a> {
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 0,
        topics: vec![Topic { name: name.into(), partitions }],
        timeout_ms: 1000,
    }
}

/// The end of a partition, or the error.
pub(super) fn latest(client: &mut RawClient, topic: &str, partition: i32) -> Result<i64, i16> {
    let answer = client.ask(ApiKey::ListOffsets, 6, &of(topic, vec![at(partition, -1)])).expect("it is answered");
    let response: ListOffsetsResponse<'_> = body(&answer, ApiKey::ListOffsets, 6);
    let partition = &response.topics[0].partitions[0];
    if partition.error_code == 0 { Ok(partition.offset) } else { Err(partition.error_code) }
}

fn fill(session: &mut Session, topic: &str) {
    session.append(topic, 0, &[(1000, "a"), (3000, "b"), (2000, "c")]);
    session.append(topic, 0, &[(5000, "d"), (4000, "e")]);
    session.append(topic, 0, &[(5000, "f"), (100, "g")]);
}

fn list(session: &mut Session) {
    session.topic("offsets", 2, &[]);
    fill(session, "offsets");
    for time in [0, 100, 999, 1000, 1001, 2500, 3001, 4500, 5000, 5001, i64::MAX, -1, -2, -3, -4, -5, -6, -7, -99] {
        let request = of("offsets", vec![at(0, time), at(1, time)]);
        exchange!(session, format!("time {time}"), ListOffsets 11, &request => ListOffsetsResponse<'_>);
    }
    let cases = vec![
        ("a partition that is not there", of("offsets", vec![at(2, -1)])),
        ("partition -1", of("offsets", vec![at(-1, -1)])),
        ("a topic that is not there", of("offsets-none", vec![at(0, -1)])),
        ("a bad name", of("offsets bad", vec![at(0, -1)])),
        ("one partition twice", of("offsets", vec![at(0, -1), at(0, -2), at(1, -1)])),
        ("no partitions", of("offsets", vec![])),
        ("an old epoch", of("offsets", vec![Partition { current_leader_epoch: 5, ..at(0, -1) }])),
        ("this epoch", of("offsets", vec![Partition { current_leader_epoch: 0, ..at(0, -1) }])),
        ("epoch -2", of("offsets", vec![Partition { current_leader_epoch: -2, ..at(0, -1) }])),
        ("committed only", ListOffsetsRequest { isolation_level: 1, ..of("offsets", vec![at(0, -1)]) }),
        ("isolation 7", ListOffsetsRequest { isolation_level: 7, ..of("offsets", vec![at(0, -1)]) }),
        ("as a debugger", ListOffsetsRequest { replica_id: -2, ..of("offsets", vec![at(0, -1)]) }),
        ("as replica 77", ListOffsetsRequest { replica_id: 77, ..of("offsets", vec![at(0, -1)]) }),
    ];
    for (what, request) in cases {
        exchange!(session, what, ListOffsets 11, &request => ListOffsetsResponse<'_>);
    }
}

fn versions(session: &mut Session) {
    session.topic("offsets-v", 1, &[]);
    fill(session, "offsets-v");
    for version in 1..=11 {
        for time in [-1, -2, -3, -4, -5, -6, 2500] {
            let request = of("offsets-v", vec![at(0, time)]);
            exchange!(session, format!("time {time}"), ListOffsets version, &request => ListOffsetsResponse<'_>);
        }
    }
}

fn empty(session: &mut Session) {
    session.topic("offsets-e", 1, &[]);
    for time in [-1, -2, -3, -4, -5, 0, 1000] {
        let request = of("offsets-e", vec![at(0, time)]);
        exchange!(session, format!("time {time}"), ListOffsets 11, &request => ListOffsetsResponse<'_>);
    }
}
