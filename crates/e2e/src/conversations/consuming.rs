//! Fetching: what is given, what is refused, and sessions.

use ottla_base::Uuid;
use ottla_protocol::messages::fetch_request::{FetchRequest, ForgottenTopic, Partition, Topic};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::records::Batches;
use ottla_protocol::{ApiKey, Records};

use super::{Conversation, Session};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("fetch-versions", versions),
    Conversation::new("fetch-offsets", offsets),
    Conversation::new("fetch-limits", limits),
    Conversation::new("fetch-epochs", epochs),
    Conversation::new("fetch-sessions", sessions),
    Conversation::new("fetch-ids", ids),
    Conversation::new("fetch-as-a-replica", as_a_replica),
    Conversation::new("fetch-deleted", deleted),
];

const ENOUGH: i32 = 1 << 20;

fn from(partition: i32, fetch_offset: i64) -> Partition {
    Partition { partition, fetch_offset, partition_max_bytes: ENOUGH, current_leader_epoch: -1, ..Default::default() }
}

fn of(topic: &str, partitions: Vec<Partition>) -> FetchRequest<'_> {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: ENOUGH,
        session_epoch: -1,
        topics: vec![Topic { topic: topic.into(), partitions, ..Default::default() }],
        ..Default::default()
    }
}

/// Fetches, writes the answer down with a line for each batch, and gives the session's id.
fn fetch(session: &mut Session, what: &str, version: i16, request: &FetchRequest<'_>) -> i32 {
    let Some(answer) = session.ask(what, ApiKey::Fetch, version, request) else { return 0 };
    let mut response: FetchResponse<'_> = body(&answer, ApiKey::Fetch, version);
    let mut records = Vec::new();
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let Records::Bytes(bytes) = std::mem::take(&mut partition.records) else { continue };
        records.push((partition.partition_index, bytes));
    }
    session.note(&response);
    for (partition, bytes) in records {
        session.line(&format!("  partition {partition}: {} bytes", bytes.len()));
        for batch in Batches::new(bytes) {
            match batch {
                Ok(batch) => session.line(&format!("    {:?}", batch.header())),
                Err(error) => session.line(&format!("    cut off: {error:?}")),
            }
        }
    }
    response.session_id
}

fn fill(session: &mut Session, topic: &str, partition: i32) {
    for number in 0..5 {
        let value = format!("{number}").repeat(100);
        session.append(topic, partition, &[(1000 + number, &value), (1000, "second")]);
    }
}

fn versions(session: &mut Session) {
    session.topic("fetch-v", 2, &[]);
    fill(session, "fetch-v", 0);
    let id = session.id_of("fetch-v");
    for version in 4..=18 {
        let mut request = of("fetch-v", vec![from(0, 4), from(1, 0), from(5, 0)]);
        if version >= 13 {
            request.topics[0].topic_id = id;
        }
        fetch(session, "three partitions", version, &request);
    }
    let mut none = of("fetch-v-none", vec![from(0, 0)]);
    for version in [4, 12] {
        fetch(session, "a topic that is not there", version, &none);
    }
    for id in [Uuid(0), Uuid(9)] {
        none.topics[0].topic_id = id;
        fetch(session, "an unknown id", 13, &none);
    }
}

fn offsets(session: &mut Session) {
    session.topic("fetch-o", 1, &[]);
    fill(session, "fetch-o", 0);
    for offset in [0, 1, 2, 9, 10, 11, -1, -2, i64::MAX] {
        for version in [11, 12] {
            fetch(session, &format!("offset {offset}"), version, &of("fetch-o", vec![from(0, offset)]));
        }
    }
    for (what, request) in [
        ("committed only", FetchRequest { isolation_level: 1, ..of("fetch-o", vec![from(0, 8)]) }),
        ("isolation 7", FetchRequest { isolation_level: 7, ..of("fetch-o", vec![from(0, 8)]) }),
        ("as a debugger", FetchRequest { replica_id: -2, ..of("fetch-o", vec![from(0, 8)]) }),
        ("as replica 77", FetchRequest { replica_id: 77, ..of("fetch-o", vec![from(0, 8)]) }),
        ("with a rack", FetchRequest { rack_id: "r1".into(), ..of("fetch-o", vec![from(0, 8)]) }),
        ("for another cluster", FetchRequest { cluster_id: Some("other".into()), ..of("fetch-o", vec![from(0, 8)]) }),
        ("one partition twice", of("fetch-o", vec![from(0, 8), from(0, 6)])),
        ("nothing", FetchRequest { topics: vec![], ..of("fetch-o", vec![]) }),
        ("a long poll that ends", FetchRequest { max_wait_ms: 300, ..of("fetch-o", vec![from(0, 10)]) }),
        (
            "more bytes than there are",
            FetchRequest { max_wait_ms: 200, min_bytes: 100_000, ..of("fetch-o", vec![from(0, 8)]) },
        ),
        (
            "an error ends a long poll",
            FetchRequest { max_wait_ms: 20_000, ..of("fetch-o", vec![from(0, 10), from(7, 0)]) },
        ),
    ] {
        fetch(session, what, 12, &request);
    }
}

fn limits(session: &mut Session) {
    session.topic("fetch-l", 2, &[]);
    fill(session, "fetch-l", 0);
    fill(session, "fetch-l", 1);
    for bytes in [0, 1, 10, 100, 185, 200, 400, -1, i32::MIN] {
        let limited = Partition { partition_max_bytes: bytes, ..from(0, 0) };
        fetch(session, &format!("{bytes} bytes of a partition"), 12, &of("fetch-l", vec![limited]));
        let request = FetchRequest { max_bytes: bytes, ..of("fetch-l", vec![from(0, 0), from(1, 0)]) };
        fetch(session, &format!("{bytes} bytes in all"), 12, &request);
    }
    let small = || Partition { partition_max_bytes: 1, ..from(1, 0) };
    fetch(session, "a small limit for the second partition", 12, &of("fetch-l", vec![from(0, 0), small()]));
    fetch(session, "a small limit, after one that has nothing", 12, &of("fetch-l", vec![from(0, 10), small()]));
}

fn epochs(session: &mut Session) {
    session.topic("fetch-e", 1, &[]);
    fill(session, "fetch-e", 0);
    for (what, current_leader_epoch, last_fetched_epoch, offset) in [
        ("this epoch", 0, -1, 8),
        ("a later epoch", 5, -1, 8),
        ("epoch -2", -2, -1, 8),
        ("the last record of this epoch", -1, 0, 8),
        ("the last record of this epoch, behind the end", -1, 0, 60),
        ("the last record of a later epoch", -1, 7, 8),
        ("both", 0, 0, 10),
    ] {
        for version in [11, 12] {
            let partition = Partition { current_leader_epoch, last_fetched_epoch, ..from(0, offset) };
            fetch(session, what, version, &of("fetch-e", vec![partition]));
        }
    }
}

fn sessions(session: &mut Session) {
    session.topic("fetch-s", 3, &[]);
    fill(session, "fetch-s", 0);
    let full = FetchRequest { session_epoch: 0, ..of("fetch-s", vec![from(0, 8), from(1, 0)]) };
    let id = fetch(session, "a new session", 12, &full);
    let next = |session_epoch: i32, topics: Vec<Topic<'static>>| FetchRequest {
        session_id: id,
        session_epoch,
        topics,
        ..of("fetch-s", vec![])
    };
    let topic = |partitions| vec![Topic { topic: "fetch-s".into(), partitions, ..Default::default() }];
    fetch(session, "nothing new", 12, &next(1, vec![]));
    fetch(session, "the same epoch again", 12, &next(1, vec![]));
    fetch(session, "an epoch too far", 12, &next(9, vec![]));
    fetch(session, "on from the end", 12, &next(2, topic(vec![from(0, 10)])));
    session.append("fetch-s", 1, &[(1, "new")]);
    fetch(session, "something new in the other partition", 12, &next(3, vec![]));
    fetch(session, "one more partition", 12, &next(4, topic(vec![from(2, 0), from(1, 1)])));
    let forget =
        |partitions: Vec<i32>| vec![ForgottenTopic { topic: "fetch-s".into(), partitions, ..Default::default() }];
    let forgetting = FetchRequest { forgotten_topics_data: forget(vec![1, 2]), ..next(5, vec![]) };
    fetch(session, "without two of them", 12, &forgetting);
    fetch(session, "out of range", 12, &next(6, topic(vec![from(0, 99)])));
    fetch(session, "out of range still", 12, &next(7, vec![]));
    fetch(session, "in range again", 12, &next(8, topic(vec![from(0, 10)])));
    let last = FetchRequest { forgotten_topics_data: forget(vec![0]), ..next(9, vec![]) };
    fetch(session, "without the last one", 12, &last);
    fetch(session, "the session that is gone", 12, &next(10, vec![]));
    let id = fetch(session, "another session", 12, &full);
    let closing = FetchRequest { session_id: id, session_epoch: -1, ..of("fetch-s", vec![from(0, 8)]) };
    fetch(session, "closed", 12, &closing);
    let closed = FetchRequest { session_id: id, session_epoch: 1, ..of("fetch-s", vec![]) };
    fetch(session, "the session that was closed", 12, &closed);
    let unknown = FetchRequest { session_id: 123, session_epoch: 1, ..of("fetch-s", vec![]) };
    fetch(session, "a session that never was", 12, &unknown);
    for version in [7, 8] {
        let id = fetch(session, "a new session", version, &full);
        let next = FetchRequest { session_id: id, session_epoch: 1, topics: vec![], ..of("fetch-s", vec![]) };
        fetch(session, "nothing new", version, &next);
    }
    let empty = FetchRequest { session_epoch: 0, topics: vec![], ..of("fetch-s", vec![]) };
    fetch(session, "a new session without partitions", 12, &empty);
}

fn ids(session: &mut Session) {
    session.topic("fetch-i", 1, &[]);
    fill(session, "fetch-i", 0);
    let id = session.id_of("fetch-i");
    let by_id = |topic_id, partitions| vec![Topic { topic: "".into(), topic_id, partitions }];
    let full = FetchRequest { session_epoch: 0, topics: by_id(id, vec![from(0, 8)]), ..of("fetch-i", vec![]) };
    let number = fetch(session, "a new session", 17, &full);
    let next = FetchRequest { session_id: number, session_epoch: 1, topics: vec![], ..of("fetch-i", vec![]) };
    fetch(session, "by name, in a session of ids", 12, &next);
    let number = fetch(session, "a new session", 17, &full);
    let unknown = FetchRequest {
        session_id: number,
        session_epoch: 1,
        topics: by_id(Uuid(77), vec![from(0, 0)]),
        ..of("fetch-i", vec![])
    };
    fetch(session, "with an unknown id", 17, &unknown);
}

fn as_a_replica(session: &mut Session) {
    session.topic("fetch-r", 1, &[]);
    fill(session, "fetch-r", 0);
    for (what, topic, partition, current_leader_epoch) in [
        ("no epoch", "fetch-r", 0, -1),
        ("this epoch", "fetch-r", 0, 0),
        ("a later epoch", "fetch-r", 0, 5),
        ("a partition that is not there", "fetch-r", 7, 0),
        ("a topic that is not there", "fetch-none", 0, 0),
    ] {
        let partition = Partition { current_leader_epoch, ..from(partition, 8) };
        fetch(session, what, 12, &FetchRequest { replica_id: 5, ..of(topic, vec![partition]) });
    }
    let id = session.id_of("fetch-r");
    for (what, topic_id) in [("by id", id), ("by an unknown id", Uuid(77))] {
        let topic = Topic { topic: "".into(), topic_id, partitions: vec![from(0, 8)] };
        let request = FetchRequest { replica_id: 5, topics: vec![topic], ..of("fetch-r", vec![]) };
        fetch(session, what, 14, &request);
    }
}

fn deleted(session: &mut Session) {
    session.topic("fetch-d", 1, &[]);
    let id = session.id_of("fetch-d");
    let topic = |partitions| vec![Topic { topic: "".into(), topic_id: id, partitions }];
    let full = FetchRequest { session_epoch: 0, topics: topic(vec![from(0, 0)]), ..of("fetch-d", vec![]) };
    let session_id = fetch(session, "a new session", 17, &full);
    let next = |session_epoch, partitions| FetchRequest {
        session_id,
        session_epoch,
        topics: if partitions { topic(vec![from(0, 1)]) } else { vec![] },
        ..of("fetch-d", vec![])
    };
    session.delete("fetch-d");
    fetch(session, "the topic is deleted", 17, &next(1, false));
    fetch(session, "it is wanted once more", 17, &next(2, true));
    session.topic("fetch-d", 1, &[]);
    fetch(session, "there is another one of its name", 17, &next(3, false));
    fetch(session, "the old one is wanted once more", 17, &next(4, true));
    fetch(session, "the old one, without a session", 17, &FetchRequest { session_epoch: -1, ..full });
}
