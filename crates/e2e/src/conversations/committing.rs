//! Offsets that groups commit, fetch and delete.

use ottla_base::Uuid;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::offset_commit_request::{OffsetCommitRequest, Partition, Topic};
use ottla_protocol::messages::offset_commit_response::OffsetCommitResponse;
use ottla_protocol::messages::offset_delete_request::{self, OffsetDeleteRequest};
use ottla_protocol::messages::offset_delete_response::OffsetDeleteResponse;
use ottla_protocol::messages::offset_fetch_request::{self, Group, GroupTopic, OffsetFetchRequest};
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponse;

use super::membership::{Member, coordinate, describe};
use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("offset-commit", commits),
    Conversation::new("offset-commit-errors", commit_errors),
    Conversation::new("offset-fetch", fetches),
    Conversation::new("offset-delete", deletes),
    Conversation::new("offsets-of-deleted-topics", deleted_topics),
];

/// Commits one offset as `member`.
pub(super) fn commit(session: &mut Session, what: &str, member: &Member, topic: &str, partition: i32, offset: i64) {
    let request = OffsetCommitRequest {
        group_instance_id: member.instance.map(Into::into),
        generation_id_or_member_epoch: member.generation,
        member_id: member.id.as_str().into(),
        ..of_nobody(member.group, vec![of_topic(topic, &[(partition, offset, Some("noted"))])])
    };
    for version in [8, 9] {
        exchange!(session, what, OffsetCommit version, &request => OffsetCommitResponse<'_>);
    }
}

fn of_nobody<'a>(group: &'a str, topics: Vec<Topic<'a>>) -> OffsetCommitRequest<'a> {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        member_id: "".into(),
        group_instance_id: None,
        retention_time_ms: -1,
        topics,
    }
}

fn of_topic<'a>(name: &'a str, offsets: &[(i32, i64, Option<&'a str>)]) -> Topic<'a> {
    let partition = |&(partition_index, committed_offset, metadata): &(i32, i64, Option<&'a str>)| Partition {
        partition_index,
        committed_offset,
        committed_leader_epoch: 0,
        commit_timestamp: -1,
        committed_metadata: metadata.map(Into::into),
    };
    Topic { name: name.into(), topic_id: Uuid::ZERO, partitions: offsets.iter().map(partition).collect() }
}

/// A group, and the partitions of topics that are wanted of it; all of them, where there is nothing.
type Wanted<'t> = (&'t str, Option<&'t [(&'t str, &'t [i32])]>);

fn fetch<'t>(session: &mut Session, what: &str, version: i16, wanted: &[Wanted<'t>]) {
    let mut of_topic = |&(name, partitions): &(&'t str, &'t [i32])| GroupTopic {
        name: name.into(),
        topic_id: session.id_of(name),
        partition_indexes: partitions.to_vec(),
    };
    let of_group = |&(group, topics): &Wanted<'t>| Group {
        group_id: group.into(),
        member_id: None,
        member_epoch: -1,
        topics: topics.map(|topics| topics.iter().map(&mut of_topic).collect()),
    };
    let groups: Vec<Group<'t>> = wanted.iter().map(of_group).collect();
    let request = if version >= 8 {
        OffsetFetchRequest { groups, ..Default::default() }
    } else {
        let topic = |topic: &GroupTopic<'t>| offset_fetch_request::Topic {
            name: topic.name.clone(),
            partition_indexes: topic.partition_indexes.clone(),
        };
        OffsetFetchRequest {
            group_id: groups[0].group_id.clone(),
            topics: groups[0].topics.as_ref().map(|topics| topics.iter().map(topic).collect()),
            require_stable: version >= 7,
            ..Default::default()
        }
    };
    let Some(answer) = session.ask(what, ApiKey::OffsetFetch, version, &request) else { return };
    let mut response: OffsetFetchResponse<'_> = body(&answer, ApiKey::OffsetFetch, version);
    // Topics and partitions of "all" come in no order of their own.
    response.topics.sort_by(|a, b| a.name.cmp(&b.name));
    response.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|partition| partition.partition_index));
    for group in &mut response.groups {
        group.topics.sort_by(|a, b| (&a.name, a.partitions.len()).cmp(&(&b.name, b.partitions.len())));
        group.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|it| it.partition_index));
    }
    session.note(&response);
}

fn commits(session: &mut Session) {
    const GROUP: &str = "committing";
    session.topic("committed", 3, &[]);
    session.topic("committed-too", 1, &[]);
    coordinate(session, GROUP);
    for version in 2..=10 {
        let offset = 100 + i64::from(version);
        let mut topics = vec![
            of_topic("committed", &[(0, offset, Some("metadata")), (2, offset + 1, Some("")), (1, offset, None)]),
            of_topic("committed-too", &[(0, offset, Some("\u{1f600}"))]),
        ];
        if version >= 10 {
            topics[0].topic_id = session.id_of("committed");
            topics[1].topic_id = session.id_of("committed-too");
        }
        let mut request = of_nobody(GROUP, topics);
        request.retention_time_ms = if version <= 4 { 60_000 } else { -1 };
        exchange!(session, "without a member", OffsetCommit version, &request => OffsetCommitResponse<'_>);
        fetch(session, "all", 8, &[(GROUP, None)]);
    }
    let odd = [(0, -1, Some("")), (1, -5, Some("")), (2, i64::MAX, Some(""))];
    let request = of_nobody(GROUP, vec![of_topic("committed", &odd)]);
    exchange!(session, "odd offsets", OffsetCommit 9, &request => OffsetCommitResponse<'_>);
    fetch(session, "odd offsets", 8, &[(GROUP, None)]);
    let twice = of_nobody(GROUP, vec![of_topic("committed", &[(0, 7, None), (0, 8, None)])]);
    exchange!(session, "a partition twice", OffsetCommit 9, &twice => OffsetCommitResponse<'_>);
    let twice = of_nobody(GROUP, vec![of_topic("committed", &[(1, 7, None)]), of_topic("committed", &[(1, 8, None)])]);
    exchange!(session, "a topic twice", OffsetCommit 9, &twice => OffsetCommitResponse<'_>);
    exchange!(session, "nothing", OffsetCommit 9, &of_nobody(GROUP, Vec::new()) => OffsetCommitResponse<'_>);
    fetch(session, "at last", 8, &[(GROUP, None)]);
    describe(session, "with offsets alone", GROUP);
}

fn commit_errors(session: &mut Session) {
    const GROUP: &str = "refused-commits";
    session.topic("refused-commits", 1, &[]);
    coordinate(session, GROUP);
    coordinate(session, "never-there");
    coordinate(session, "");
    let long = "m".repeat(4097);
    let most = "m".repeat(4096);
    let wide = "\u{1f600}".repeat(2049);
    for version in [2, 5, 8, 9] {
        let topics = || {
            vec![
                of_topic("refused-commits", &[(0, 1, Some("")), (1, 1, Some("")), (-1, 1, Some(""))]),
                of_topic("no-such-topic", &[(0, 1, Some(""))]),
                of_topic("", &[(0, 1, Some(""))]),
                of_topic("not a name", &[(0, 1, Some(""))]),
            ]
        };
        let request = of_nobody(GROUP, topics());
        exchange!(session, "what is not there", OffsetCommit version, &request => OffsetCommitResponse<'_>);
        let topics = vec![of_topic("refused-commits", &[]), of_topic("no-such-topic", &[])];
        let request = of_nobody(GROUP, topics);
        exchange!(session, "no partitions", OffsetCommit version, &request => OffsetCommitResponse<'_>);
        let of = |partition| of_topic("refused-commits", &[(partition, 1, Some(""))]);
        let request = of_nobody(GROUP, vec![of(0), of(7), of(0), of(7)]);
        exchange!(session, "a topic again and again", OffsetCommit version, &request => OffsetCommitResponse<'_>);
        for (what, metadata) in [("too much", &long), ("the most", &most), ("too wide", &wide)] {
            let request = of_nobody(GROUP, vec![of_topic("refused-commits", &[(0, 1, Some(metadata))])]);
            let what = format!("{what} metadata");
            exchange!(session, what, OffsetCommit version, &request => OffsetCommitResponse<'_>);
        }
        let known = || vec![of_topic("refused-commits", &[(0, 1, Some(""))])];
        let request = OffsetCommitRequest { generation_id_or_member_epoch: 3, ..of_nobody("never-there", known()) };
        exchange!(session, "a generation of no group", OffsetCommit version, &request => OffsetCommitResponse<'_>);
        let request = OffsetCommitRequest { member_id: "who".into(), ..of_nobody("never-there", known()) };
        exchange!(session, "a member of no group", OffsetCommit version, &request => OffsetCommitResponse<'_>);
        let request = OffsetCommitRequest {
            member_id: "who".into(),
            generation_id_or_member_epoch: 0,
            ..of_nobody(GROUP, known())
        };
        exchange!(session, "a member of an empty group", OffsetCommit version, &request => OffsetCommitResponse<'_>);
        let request = of_nobody("", known());
        exchange!(session, "no group", OffsetCommit version, &request => OffsetCommitResponse<'_>);
    }
    let mut unknown = of_topic("", &[(0, 1, Some(""))]);
    unknown.topic_id = Uuid(77);
    let request = of_nobody(GROUP, vec![unknown.clone(), of_topic("refused-commits", &[(0, 1, Some(""))])]);
    exchange!(session, "unknown ids", OffsetCommit 10, &request => OffsetCommitResponse<'_>);
    let request = of_nobody(GROUP, vec![unknown.clone(), unknown]);
    exchange!(session, "an unknown id twice", OffsetCommit 10, &request => OffsetCommitResponse<'_>);
}

fn fetches(session: &mut Session) {
    const GROUP: &str = "fetching";
    session.topic("fetched-offsets", 2, &[]);
    session.topic("not-fetched-offsets", 1, &[]);
    for group in [GROUP, "never-there", ""] {
        coordinate(session, group);
    }
    let request = of_nobody(GROUP, vec![of_topic("fetched-offsets", &[(0, 7, Some("m")), (1, 8, None)])]);
    exchange!(session, "to be fetched", OffsetCommit 9, &request => OffsetCommitResponse<'_>);
    for version in 1..=10 {
        let some: &[(&str, &[i32])] = &[("fetched-offsets", &[1, 0, 9, 1]), ("not-fetched-offsets", &[0])];
        fetch(session, "some", version, &[(GROUP, Some(some))]);
        fetch(session, "some of a group that is not there", version, &[("never-there", Some(some))]);
        fetch(session, "of no group", version, &[("", Some(some))]);
        fetch(session, "no topics", version, &[(GROUP, Some(&[]))]);
        fetch(session, "no partitions", version, &[(GROUP, Some(&[("fetched-offsets", &[])]))]);
        fetch(session, "a topic that is not there", version, &[(GROUP, Some(&[("no-such-topic", &[0])]))]);
        if version >= 2 {
            fetch(session, "all", version, &[(GROUP, None)]);
            fetch(session, "all of a group that is not there", version, &[("never-there", None)]);
        }
        if version >= 8 {
            let several = [(GROUP, Some(some)), ("never-there", None), (GROUP, None)];
            fetch(session, "several groups", version, &several);
            fetch(session, "no groups", version, &[]);
        }
    }
}

fn delete(session: &mut Session, what: &str, group: &str, topics: &[(&str, &[i32])]) {
    let partition = |&partition_index: &i32| offset_delete_request::Partition { partition_index };
    let of_topic = |&(name, partitions): &(&str, &[i32])| offset_delete_request::Topic {
        name: name.to_owned().into(),
        partitions: partitions.iter().map(partition).collect(),
    };
    let request = OffsetDeleteRequest { group_id: group.into(), topics: topics.iter().map(of_topic).collect() };
    exchange!(session, what, OffsetDelete 0, &request => OffsetDeleteResponse<'_>);
}

fn deletes(session: &mut Session) {
    const GROUP: &str = "deleting-offsets";
    session.topic("deleted-offsets", 2, &[]);
    session.topic("deleted-offsets-subscribed", 1, &[]);
    for group in [GROUP, "never-there", ""] {
        coordinate(session, group);
    }
    delete(session, "no group", "", &[("deleted-offsets", &[0])]);
    delete(session, "a group that is not there", "never-there", &[("deleted-offsets", &[0])]);
    delete(session, "nothing of a group that is not there", "never-there", &[]);
    let offsets = || {
        let first = of_topic("deleted-offsets", &[(0, 1, None), (1, 2, None)]);
        of_nobody(GROUP, vec![first, of_topic("deleted-offsets-subscribed", &[(0, 1, None)])])
    };
    exchange!(session, "to be deleted", OffsetCommit 9, &offsets() => OffsetCommitResponse<'_>);
    let some: &[(&str, &[i32])] = &[("deleted-offsets", &[0, 7]), ("no-such-topic", &[0])];
    delete(session, "some", GROUP, some);
    delete(session, "some again", GROUP, some);
    delete(session, "no partitions", GROUP, &[("deleted-offsets", &[]), ("no-such-topic-either", &[])]);
    delete(session, "a topic twice", GROUP, &[("deleted-offsets", &[0]), ("deleted-offsets", &[0])]);
    let (known, unknown): (&[i32], &[i32]) = (&[0], &[7]);
    let again = ["deleted-offsets"; 4].into_iter().zip([known, unknown, known, unknown]).collect::<Vec<_>>();
    delete(session, "a topic again and again", GROUP, &again);
    fetch(session, "what is left", 8, &[(GROUP, None)]);
    // As the Java consumer says what it subscribes to: version, topics, no user data.
    let mut member = Member::new("member", GROUP);
    member.protocols = vec![("range", b"\0\0\0\0\0\x01\0\x1adeleted-offsets-subscribed\xff\xff\xff\xff")];
    member.join(session, "subscribed");
    let all: &[(&str, &[i32])] = &[("deleted-offsets", &[1]), ("deleted-offsets-subscribed", &[0])];
    delete(session, "while there are members", GROUP, all);
    member.sync(session, "subscribed", &[(&member, b"")]);
    delete(session, "while members read", GROUP, all);
    member.leave(session, "to end");
    delete(session, "in the end", GROUP, all);
    fetch(session, "nothing is left", 8, &[(GROUP, None)]);
    // Another kind of group than consumers.
    describe(session, "in the end", GROUP);
}

fn deleted_topics(session: &mut Session) {
    const GROUP: &str = "of-deleted-topics";
    const TOPIC: &str = "deleted-with-offsets";
    coordinate(session, GROUP);
    session.topic(TOPIC, 1, &[]);
    let offsets = of_nobody(GROUP, vec![of_topic(TOPIC, &[(0, 5, Some("m"))])]);
    exchange!(session, "before", OffsetCommit 9, &offsets => OffsetCommitResponse<'_>);
    fetch(session, "before", 8, &[(GROUP, None)]);
    session.delete(TOPIC);
    fetch(session, "after", 8, &[(GROUP, None)]);
    let request = of_nobody(GROUP, vec![of_topic(TOPIC, &[(0, 5, Some("m"))])]);
    exchange!(session, "after", OffsetCommit 9, &request => OffsetCommitResponse<'_>);
    session.topic(TOPIC, 1, &[]);
    fetch(session, "of another topic of the name", 8, &[(GROUP, Some(&[(TOPIC, &[0])]))]);
}
