//! Groups, as the process keeps them: through kills, stops and crowds.

use std::time::{Duration, Instant};

use ottla_e2e::{Broker, Closed, RawClient, body};
use ottla_protocol::internal::offsets::group_metadata_value::MemberMetadata;
use ottla_protocol::internal::offsets::{GroupMetadataKey, GroupMetadataValue};
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::{DescribeGroupsResponse, Group};
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, Protocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::offset_commit_request::{self, OffsetCommitRequest};
use ottla_protocol::messages::offset_commit_response::OffsetCommitResponse;
use ottla_protocol::messages::offset_fetch_request::{self, OffsetFetchRequest};
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponse;
use ottla_protocol::messages::sync_group_request::{Assignment, SyncGroupRequest};
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::records::{Batch, BatchBuilder, RecordIter};
use ottla_protocol::{ApiKey, Message, Writer};

use super::dynamic::alter;
use super::{connect, create_topic, fetch_as, options, produce};

const LOADING: i16 = 14;
const NOT_COORDINATOR: i16 = 16;
const REBALANCING: i16 = 27;

/// Has the topic of the groups made, and says where their coordinator is.
pub fn coordinator(client: &mut RawClient, group: &str) -> i32 {
    let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
    let answer = client.ask(ApiKey::FindCoordinator, 4, &request).expect("it is answered");
    let response: FindCoordinatorResponse<'_> = body(&answer, ApiKey::FindCoordinator, 4);
    assert_eq!(response.coordinators[0].error_code, 0, "{response:?}");
    response.coordinators[0].node_id
}

pub fn join_request<'a>(group: &'a str, member: &'a str) -> JoinGroupRequest<'a> {
    let protocol = Protocol { name: "range".into(), metadata: b"metadata"[..].into() };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

/// Becomes the only member of a stable group: its id, and its generation.
fn join_alone(client: &mut RawClient, group: &str) -> (String, i32) {
    join_alone_with(client, &join_request(group, ""))
}

fn join_alone_with(client: &mut RawClient, request: &JoinGroupRequest<'_>) -> (String, i32) {
    let answer = client.ask(ApiKey::JoinGroup, 3, request).expect("it is answered");
    let joined: JoinGroupResponse<'_> = body(&answer, ApiKey::JoinGroup, 3);
    assert_eq!(joined.error_code, 0, "{joined:?}");
    let assignment = Assignment { member_id: joined.member_id.clone(), assignment: b"all"[..].into() };
    let request = SyncGroupRequest {
        group_id: request.group_id.clone(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: vec![assignment],
        ..Default::default()
    };
    let answer = client.ask(ApiKey::SyncGroup, 2, &request).expect("it is answered");
    let synced: SyncGroupResponse<'_> = body(&answer, ApiKey::SyncGroup, 2);
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"all"[..]));
    (joined.member_id.to_string(), joined.generation_id)
}

fn heartbeat(client: &mut RawClient, group: &str, member: &str, generation_id: i32) -> i16 {
    let request =
        HeartbeatRequest { group_id: group.into(), generation_id, member_id: member.into(), group_instance_id: None };
    let answer = client.ask(ApiKey::Heartbeat, 2, &request).expect("it is answered");
    body::<HeartbeatResponse>(&answer, ApiKey::Heartbeat, 2).error_code
}

fn commit(client: &mut RawClient, group: &str, member: &str, generation: i32, offset: i64) -> i16 {
    let partition =
        offset_commit_request::Partition { partition_index: 0, committed_offset: offset, ..Default::default() };
    let topic = offset_commit_request::Topic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![topic],
        ..Default::default()
    };
    let answer = client.ask(ApiKey::OffsetCommit, 7, &request).expect("it is answered");
    body::<OffsetCommitResponse<'_>>(&answer, ApiKey::OffsetCommit, 7).topics[0].partitions[0].error_code
}

/// The committed offset, once the groups are loaded.
fn committed(client: &mut RawClient, group: &str) -> i64 {
    loop {
        let topic = offset_fetch_request::Topic { name: "t".into(), partition_indexes: vec![0] };
        let request = OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
        let answer = client.ask(ApiKey::OffsetFetch, 5, &request).expect("it is answered");
        let response: OffsetFetchResponse<'_> = body(&answer, ApiKey::OffsetFetch, 5);
        if response.error_code != LOADING {
            assert_eq!(response.error_code, 0, "{response:?}");
            return response.topics[0].partitions[0].committed_offset;
        }
    }
}

fn start(folder: &std::path::Path) -> Broker {
    let options = options(folder).with("group.initial.rebalance.delay.ms=0");
    options.with("group.min.session.timeout.ms=100").start()
}

#[test]
fn members_and_offsets_survive_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = start(folder.path());
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    assert_eq!(coordinator(&mut client, "g"), 1);
    let (member, generation) = join_alone(&mut client, "g");
    for offset in 1..=5 {
        for step in 0..20 {
            assert_eq!(commit(&mut client, "g", &member, generation, 100 * offset + step), 0);
        }
        broker = broker.kill().start();
        client = connect(&broker);
        // While its group is loaded a member is told to stay, and afterwards it still is one.
        assert_eq!(heartbeat(&mut client, "g", &member, generation), 0);
        assert_eq!(committed(&mut client, "g"), 100 * offset + 19);
        assert_eq!(heartbeat(&mut client, "g", &member, generation), 0);
        assert_eq!(commit(&mut client, "g", &member, generation, 0), 0, "it may go back");
    }
}

/// Puts a group into the log that is larger than any would become: two members, each with so long an assignment.
fn write_group(client: &mut RawClient, group: &str, assignment: &[u8]) {
    let member = |id: &'static str| MemberMetadata {
        member_id: id.into(),
        session_timeout: 60_000,
        assignment: assignment.into(),
        ..Default::default()
    };
    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 1,
        protocol: Some("range".into()),
        leader: Some("a".into()),
        members: vec![member("a"), member("b")],
        ..Default::default()
    };
    let bytes = |number: i16, encode: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        writer.int16(number);
        encode(&mut writer);
        writer.into_bytes()
    };
    let key = GroupMetadataKey { group: group.into() };
    let key = bytes(GroupMetadataKey::KEY, &|writer| key.encode(writer, 0));
    let value = bytes(3, &|writer| value.encode(writer, 3));
    let mut batch = BatchBuilder::new();
    batch.push(1, Some(&key), Some(&value), &[]);
    let produced = produce(client, "__consumer_offsets", 1, &batch.build().expect("memory"));
    assert_eq!(produced.expect("it is answered").error_code, 0);
}

#[test]
fn a_group_that_is_too_large_for_an_answer_is_refused_and_others_are_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path()).with("offsets.topic.num.partitions=1");
    let broker = options.with("group.initial.rebalance.delay.ms=0").start();
    let mut client = RawClient::connect_as("__admin_client", &broker.address).expect("the broker listens");
    coordinator(&mut client, "large");
    alter(&mut client, 2, "__consumer_offsets", "max.message.bytes", Some("33554432"));
    write_group(&mut client, "large", &vec![7; 9 << 20]);
    join_alone(&mut client, "small");
    let broker = broker.kill().start();
    let mut client = connect(&broker);
    let mut describe = |groups: [&'static str; 2]| {
        let groups = groups.map(Into::into).to_vec();
        let request = DescribeGroupsRequest { groups, ..Default::default() };
        let answer = client.ask(ApiKey::DescribeGroups, 6, &request).expect("it is answered");
        let response: DescribeGroupsResponse<'_> = body(&answer, ApiKey::DescribeGroups, 6);
        let group = |group: &Group<'_>| (group.error_code, group.members.len());
        response.groups.iter().map(group).collect::<Vec<_>>()
    };
    while describe(["small", "none"])[0].0 == LOADING {}
    assert_eq!(describe(["small", "large"]), [(0, 1), (LOADING, 0)], "it does not fit beside the other");
    assert_eq!(describe(["large", "small"]), [(-1, 0), (0, 1)], "nor alone");
}

#[test]
fn a_thousand_who_join_and_never_sync_disturb_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = start(folder.path());
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    coordinator(&mut client, "honest");
    let (member, generation) = join_alone(&mut client, "honest");
    let mut crowd: Vec<RawClient> = (0..1000).map(|_| connect(&broker)).collect();
    for joiner in &mut crowd {
        let frame = joiner.frame_of(ApiKey::JoinGroup, 3, &join_request("crowd", ""));
        joiner.send_frame(&frame).expect("it is open");
    }
    let begun = Instant::now();
    for offset in 0..200 {
        assert_eq!(commit(&mut client, "honest", &member, generation, offset), 0);
        assert_eq!(heartbeat(&mut client, "honest", &member, generation), 0);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(broker.peak_resident_bytes() < 256 << 20, "{} bytes", broker.peak_resident_bytes());
}

#[test]
fn a_stop_tells_those_who_wait_for_a_generation() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = start(folder.path());
    let mut first = connect(&broker);
    coordinator(&mut first, "g");
    let (member, generation) = join_alone(&mut first, "g");
    let mut second = connect(&broker);
    let frame = second.frame_of(ApiKey::JoinGroup, 3, &join_request("g", ""));
    second.send_frame(&frame).expect("it is open");
    while heartbeat(&mut first, "g", &member, generation) != REBALANCING {}
    let begun = Instant::now();
    let (_, status) = broker.stop();
    assert!(status.success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    match second.answer() {
        Ok(answer) => {
            let told: JoinGroupResponse<'_> = body(&answer, ApiKey::JoinGroup, 3);
            assert_eq!(told.error_code, NOT_COORDINATOR);
        }
        Err(Closed) => panic!("it is told before the connection is closed"),
    }
}

/// Some groups are told, and then clients are to ask for the others once more.
fn assert_some_told(codes: impl Iterator<Item = i16>, some: std::ops::Range<usize>) {
    let codes: Vec<i16> = codes.collect();
    let told = codes.iter().take_while(|code| **code == 0).count();
    assert!(some.contains(&told), "{told}");
    assert!(codes[told..].iter().all(|code| *code == LOADING));
}

#[test]
fn what_is_asked_for_over_and_over_is_not_answered_without_a_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = start(folder.path());
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    coordinator(&mut client, "g");
    let (member, generation) = join_alone(&mut client, "g");
    let metadata = "\u{20ac}".repeat(4096);
    let partition = offset_commit_request::Partition {
        committed_offset: 1,
        committed_metadata: Some(metadata.as_str().into()),
        ..Default::default()
    };
    let topic = offset_commit_request::Topic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: generation,
        member_id: member.as_str().into(),
        topics: vec![topic],
        ..Default::default()
    };
    client.ask(ApiKey::OffsetCommit, 7, &request).expect("it is answered");
    // Much of one partition, and much of one group.
    let topic = offset_fetch_request::Topic { name: "t".into(), partition_indexes: vec![0; 1_000_000] };
    let fetch = OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
    assert_eq!(connect(&broker).ask(ApiKey::OffsetFetch, 5, &fetch), Err(Closed));
    let group =
        offset_fetch_request::Group { group_id: "g".into(), member_epoch: -1, topics: None, ..Default::default() };
    let fetch = OffsetFetchRequest { groups: vec![group; 3000], ..Default::default() };
    let answer = connect(&broker).ask(ApiKey::OffsetFetch, 8, &fetch).expect("it is told in pieces");
    let response: OffsetFetchResponse<'_> = body(&answer, ApiKey::OffsetFetch, 8);
    assert!(answer.len() > 3000 * metadata.len() && response.groups.iter().all(|group| group.error_code == 0));
    let large: Vec<String> = (0..20).map(|number| format!("large{number}")).collect();
    for group in &large {
        let protocols = vec![Protocol { name: "range".into(), metadata: vec![7; 900_000].into() }];
        join_alone_with(&mut client, &JoinGroupRequest { protocols, ..join_request(group, "") });
    }
    let named = |groups: &[String]| DescribeGroupsRequest {
        groups: groups.iter().map(|group| group.clone().into()).collect(),
        ..Default::default()
    };
    let describe = named(&large);
    let answer = connect(&broker).ask(ApiKey::DescribeGroups, 0, &describe).expect("what fits is told");
    let response: DescribeGroupsResponse<'_> = body(&answer, ApiKey::DescribeGroups, 0);
    assert_some_told(response.groups.iter().map(|group| group.error_code), 15..20);
    let describe = named(&vec!["large0".to_owned(); 3000]);
    let answer = connect(&broker).ask(ApiKey::DescribeGroups, 0, &describe).expect("what fits is told");
    let response: DescribeGroupsResponse<'_> = body(&answer, ApiKey::DescribeGroups, 0);
    assert_eq!(response.groups.len(), 3000, "Kafka describes each");
    assert_some_told(response.groups.iter().map(|group| group.error_code), 15..20);
    let describe = named(&(0..200_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(connect(&broker).ask(ApiKey::DescribeGroups, 0, &describe), Err(Closed));
    assert_eq!(committed(&mut client, "g"), 1);
    assert!(broker.peak_resident_bytes() < 256 << 20, "{} bytes", broker.peak_resident_bytes());
}

#[test]
fn members_with_too_many_protocols_or_too_much_metadata_are_refused() {
    const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
    const UNKNOWN_SERVER_ERROR: i16 = -1;
    let folder = tempfile::tempdir().expect("a folder");
    let broker = start(folder.path());
    let mut client = connect(&broker);
    coordinator(&mut client, "g");
    let names: Vec<String> = (0..300_000).map(|number| number.to_string()).collect();
    let protocol = |name: &'_ str| Protocol { name: name.to_owned().into(), metadata: b"m"[..].into() };
    let many = names.iter().map(|name| protocol(name)).collect();
    let large = vec![Protocol { name: "range".into(), metadata: vec![7; 8 << 20].into() }];
    for (protocols, expected) in [(many, INCONSISTENT_GROUP_PROTOCOL), (large, UNKNOWN_SERVER_ERROR)] {
        let request = JoinGroupRequest { protocols, ..join_request("g", "") };
        let answer = connect(&broker).ask(ApiKey::JoinGroup, 3, &request).expect("it is answered");
        assert_eq!(body::<JoinGroupResponse<'_>>(&answer, ApiKey::JoinGroup, 3).error_code, expected);
    }
    assert_eq!(join_alone(&mut client, "g").1, 1, "nobody has joined before");
}

#[test]
fn members_who_say_more_than_fits_into_an_answer_are_refused_and_their_leader_stays() {
    const GROUP_MAX_SIZE_REACHED: i16 = 81;
    const SAID_BYTES: usize = 1_000_000;
    let folder = tempfile::tempdir().expect("a folder");
    let broker = start(folder.path());
    let mut leader = connect(&broker);
    coordinator(&mut leader, "g");
    let (member, _) = join_alone(&mut leader, "g");
    let protocol = Protocol { name: "range".into(), metadata: vec![7; SAID_BYTES].into() };
    let request = JoinGroupRequest { protocols: vec![protocol], ..join_request("g", "") };
    let mut joiners: Vec<RawClient> = (0..20).map(|_| connect(&broker)).collect();
    for joiner in &mut joiners {
        let frame = joiner.frame_of(ApiKey::JoinGroup, 3, &request);
        joiner.send_frame(&frame).expect("it is open");
    }
    let mut asking = connect(&broker);
    let describe = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    loop {
        let answer = asking.ask(ApiKey::DescribeGroups, 0, &describe).expect("it is answered");
        let described: DescribeGroupsResponse<'_> = body(&answer, ApiKey::DescribeGroups, 0);
        // Eight fit beside the leader into 8 MiB.
        if described.groups[0].members.len() >= 9 {
            break;
        }
    }
    let answer = leader.ask(ApiKey::JoinGroup, 3, &join_request("g", &member)).expect("it is answered");
    let joined: JoinGroupResponse<'_> = body(&answer, ApiKey::JoinGroup, 3);
    assert_eq!((joined.error_code, joined.members.len()), (0, 9));
    let told = |joiner: &mut RawClient| {
        let answer = joiner.answer().expect("it is answered");
        body::<JoinGroupResponse<'_>>(&answer, ApiKey::JoinGroup, 3).error_code
    };
    let told: Vec<i16> = joiners.iter_mut().map(told).collect();
    let refused = told.iter().filter(|code| **code == GROUP_MAX_SIZE_REACHED).count();
    assert_eq!((told.iter().filter(|code| **code == 0).count(), refused), (8, 12));
    assert!(broker.peak_resident_bytes() < 256 << 20, "{} bytes", broker.peak_resident_bytes());
}

#[test]
fn only_old_readers_of_commits_are_given_them_in_an_old_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).with("offsets.topic.num.partitions=1").start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    coordinator(&mut client, "g");
    assert_eq!(commit(&mut client, "g", "", -1, 42), 0);
    // The version of the value, and the offset in it.
    for (version, expected) in [(4, [3, 42]), (11, [3, 42]), (12, [4, 42])] {
        let (error, bytes) = fetch_as(version, &mut client, "__consumer_offsets", 0, 0).expect("it is answered");
        assert_eq!(error, 0);
        let (batch, rest) = Batch::parse(&bytes).expect("a batch");
        assert!(rest.is_empty() && batch.is_crc_valid());
        let record = RecordIter::new(batch.header(), batch.records()).next().expect("a record").expect("well formed");
        let value = record.value.expect("a commit");
        assert_eq!([value[1], value[9]], expected, "Fetch version {version}");
    }
}

#[test]
fn an_old_reader_that_waits_for_commits_has_them_with_its_next_request_at_the_latest() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).with("offsets.topic.num.partitions=1").start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    coordinator(&mut client, "g");
    let mut reader = connect(&broker);
    let fetch = |reader: &mut RawClient| fetch_as(11, reader, "__consumer_offsets", 0, 30_000).expect("it is answered");
    let found = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| [fetch(&mut reader), fetch(&mut reader)]);
        assert_eq!(commit(&mut client, "g", "", -1, 42), 0);
        waiting.join().expect("it does not panic")
    });
    assert!(found.iter().all(|(error, _)| *error == 0));
    assert!(Batch::parse(&found[1].1).is_ok(), "a batch");
}
