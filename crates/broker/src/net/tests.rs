//! Connections of a whole broker, whose inside is at hand.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_base::Uuid;
use ottla_protocol::frame::{self, RequestHeader};
use ottla_protocol::messages::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use ottla_protocol::messages::alter_partition_reassignments_response::AlterPartitionReassignmentsResponse;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::create_partitions_request::{CreatePartitionsRequest, Topic as MorePartitions};
use ottla_protocol::messages::create_partitions_response::CreatePartitionsResponse;
use ottla_protocol::messages::create_topics_request::{CreateTopicsRequest, Topic as NewTopic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::DeleteTopicsResponse;
use ottla_protocol::messages::describe_client_quotas_request::{Component, DescribeClientQuotasRequest};
use ottla_protocol::messages::describe_client_quotas_response::DescribeClientQuotasResponse;
use ottla_protocol::messages::describe_producers_request::DescribeProducersRequest;
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::messages::elect_leaders_response::ElectLeadersResponse;
use ottla_protocol::messages::fetch_request::{FetchRequest, Partition, Topic};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::incremental_alter_configs_request::{self, IncrementalAlterConfigsRequest};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, Protocol as JoinProtocol};
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::list_partition_reassignments_response::ListPartitionReassignmentsResponse;
use ottla_protocol::messages::metadata_request::{MetadataRequest, Topic as AskedTopic};
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;
use ottla_protocol::records::BatchBuilder;
use ottla_protocol::{ApiKey, ErrorCode, Message, Reader, Records, Writer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection_quotas::{Admission, Limits};
use super::long_turns::LongTurns;
use super::{connection, transport};
use crate::access::{Asker, Principal};
use crate::config::{Config, ListenerType, Written};
use crate::node::Node;
use crate::request;
use crate::start::Broker;

/// More than there are workers on any machine that runs this.
const CLIENTS: usize = 300;

pub(super) struct Client(TcpStream);

impl Client {
    pub(super) fn new(broker: &Broker) -> Self {
        let stream = TcpStream::connect(&broker.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    fn send<'m, M: Message<'m>>(&mut self, api: (ApiKey, i16), correlation_id: i32, message: &M) {
        self.0.write_all(&framed(api, correlation_id, message)).unwrap();
    }

    pub(super) fn create(&mut self, topic: NewTopic<'_>) {
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
        self.send((ApiKey::CreateTopics, 7), 0, &request);
        let answer = self.answer();
        let answer = CreateTopicsResponse::decode(&mut Reader::new(&answer[5..]), 7).unwrap();
        assert_eq!(answer.topics[0].error_code, 0);
    }

    /// Which request is answered next.
    fn answered(&mut self) -> i32 {
        i32::from_be_bytes(*self.answer().first_chunk().unwrap())
    }

    fn answer(&mut self) -> Vec<u8> {
        let mut number = [0; 4];
        self.0.read_exact(&mut number).unwrap();
        let mut frame = vec![0; i32::from_be_bytes(number) as usize];
        self.0.read_exact(&mut frame).unwrap();
        frame
    }
}

fn framed<'m, M: Message<'m>>((key, api_version): (ApiKey, i16), correlation_id: i32, message: &M) -> Vec<u8> {
    let mut writer = Writer::default();
    let header = RequestHeader { api_key: key.code(), api_version, correlation_id, client_id: None };
    header.encode(&mut writer);
    message.encode(&mut writer, api_version);
    let bytes = writer.into_bytes();
    [&(bytes.len() as i32).to_be_bytes()[..], &bytes].concat()
}

pub(super) async fn start(folder: &Path) -> Broker {
    start_with(folder, "").await
}

async fn start_with(folder: &Path, settings: &str) -> Broker {
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\nottla.http.listener=\nlog.dirs={}\n\
         {settings}",
        folder.display()
    );
    let config = Config::new(Written::from_text("server.properties", &text).unwrap()).unwrap().0;
    Broker::start(config).await.unwrap()
}

pub(super) fn new_topic(name: &str) -> NewTopic<'_> {
    NewTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() }
}

/// Waits so long for a record of `topic`.
fn long_poll(topic: &str, max_wait_ms: i32) -> FetchRequest<'_> {
    let partition = Partition { partition_max_bytes: 1, ..Default::default() };
    let topics = vec![Topic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    FetchRequest { session_epoch: -1, topics, max_wait_ms, min_bytes: 1, max_bytes: 1, ..Default::default() }
}

/// A Produce of one batch for the only partition of the topic `t`.
pub(super) fn produce(batch: &[u8], acks: i16, number: i32) -> Vec<u8> {
    let partition_data = vec![PartitionData { index: 0, records: Records::Bytes(batch) }];
    let topic_data = vec![TopicData { name: "t".into(), topic_id: Uuid::ZERO, partition_data }];
    let request = ProduceRequest { transactional_id: None, acks, timeout_ms: 10_000, topic_data };
    framed((ApiKey::Produce, 9), number, &request)
}

/// Whether their answers leave together or not.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_at_once_are_all_answered_in_their_order() {
    const PRODUCES: i32 = 40;
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);
    client.create(new_topic("t"));
    let batch = BatchBuilder::new().push(1, None, Some(&[7; 3000]), &[]).build().unwrap();
    let produce = |acks, number| produce(&batch, acks, number);
    let other = |number| framed((ApiKey::ApiVersions, 0), number, &ApiVersionsRequest::default());
    let mut sent: Vec<u8> = (1..=PRODUCES).flat_map(|number| produce(-1, number)).collect();
    sent.extend(other(41));
    sent.extend([produce(1, 42), produce(0, 99), produce(1, 43)].concat());
    let last = produce(-1, 44);
    let (half, rest) = last.split_at(last.len() / 2);
    sent.extend(half);
    client.0.write_all(&sent).unwrap();
    for number in 1..=43_i32 {
        let answer = client.answer();
        assert_eq!(answer.first_chunk(), Some(&number.to_be_bytes()));
        if number != 41 {
            let answer = ProduceResponse::decode(&mut Reader::new(&answer[5..]), 9).unwrap();
            let placed = &answer.responses[0].partition_responses[0];
            // Number 41 was no batch, and the one before 43 wanted no answer.
            let offset = i64::from(number) - 1 - i64::from(number > 41) + i64::from(number > 42);
            assert_eq!((placed.error_code, placed.base_offset), (0, offset), "{number}");
        }
    }
    client.0.write_all(rest).unwrap();
    assert_eq!(client.answered(), 44);
    // Behind them comes what closes the connection: they are answered nevertheless.
    let mut unknown = produce(1, 9);
    unknown[6..8].copy_from_slice(&99_i16.to_be_bytes());
    for refused in [(-1_i32).to_be_bytes().to_vec(), unknown] {
        let mut client = Client::new(&broker);
        let sent = [produce(1, 1), produce(-1, 2), produce(1, 3), refused].concat();
        client.0.write_all(&sent).unwrap();
        assert_eq!([client.answered(), client.answered(), client.answered()], [1, 2, 3]);
        assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "it is closed");
    }
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_wait_for_each_other_and_nobody_waits_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let turn = broker.node.budgets.try_large_turn().expect("nobody has it");
    let (large, small) = (DescribeProducersRequest::default(), ApiVersionsRequest::default());
    let mut waiting: Vec<Client> = (0..CLIENTS).map(|_| Client::new(&broker)).collect();
    for client in &mut waiting {
        client.send((ApiKey::ApiVersions, 0), 1, &small);
        client.send((ApiKey::DescribeProducers, 0), 2, &large);
        client.send((ApiKey::ApiVersions, 0), 3, &small);
        assert_eq!(client.answered(), 1);
    }
    // One of them goes away.
    drop(waiting.pop());
    for _ in 0..CLIENTS {
        let mut client = Client::new(&broker);
        client.send((ApiKey::ApiVersions, 0), 7, &small);
        assert_eq!(client.answered(), 7, "every worker has time");
    }
    drop(turn);
    for client in &mut waiting {
        assert_eq!([client.answered(), client.answered()], [2, 3], "in the order of the requests");
    }
    drop(waiting);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_large_answer_to_a_small_request_waits_for_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let turn = broker.node.budgets.try_large_turn().expect("nobody has it");
    let topic = |number| NewTopic {
        name: format!("t{number}").into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let topics =
        |count| CreateTopicsRequest { topics: (0..count).map(topic).collect(), timeout_ms: 1000, validate_only: true };
    let [mut many, mut few] = [Client::new(&broker), Client::new(&broker)];
    many.send((ApiKey::CreateTopics, 7), 1, &topics(100));
    for _ in 0..5 {
        few.send((ApiKey::CreateTopics, 7), 2, &topics(99));
        assert_eq!(few.answered(), 2);
        few.send((ApiKey::CreateTopics, 4), 3, &topics(100));
        assert_eq!(few.answered(), 3, "there are no settings in this version");
    }
    many.0.set_nonblocking(true).unwrap();
    assert_eq!(many.0.peek(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    many.0.set_nonblocking(false).unwrap();
    drop(turn);
    assert_eq!(many.answered(), 1);
    drop((many, few));
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_long_for_an_answer_was_not_idle() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start_with(folder.path(), "connections.max.idle.ms=3000").await;
    let mut client = Client::new(&broker);
    client.create(new_topic("t"));
    client.send((ApiKey::Fetch, 12), 2, &long_poll("t", 2500));
    assert_eq!(client.answered(), 2);
    // Longer than what is left of the time since the request.
    assert!(!gone_within(&client, Duration::from_millis(1500)));
    client.send((ApiKey::ApiVersions, 0), 3, &ApiVersionsRequest::default());
    assert_eq!(client.answered(), 3);
    assert!(gone_within(&client, Duration::from_secs(60)), "now it is idle");
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_more_is_answered_and_then_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);
    let create = CreateTopicsRequest { topics: vec![new_topic("u")], timeout_ms: 1000, validate_only: false };
    client.create(new_topic("t"));
    client.send((ApiKey::Fetch, 12), 2, &long_poll("t", HOUR_MS));
    client.send((ApiKey::CreateTopics, 7), 3, &create);
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!([client.answered(), client.answered()], [2, 3]);
    assert!(broker.node.image().topic("u").is_some());
    assert!(gone_within(&client, Duration::from_secs(60)));
    drop(client);
    broker.stop().await.unwrap();
}

/// Longer than what is waited for in these tests, whose connections have a clock that only goes on where nothing else does.
const MAX_IDLE: Duration = Duration::from_secs(600);
const HOUR_MS: i32 = 3_600_000;

/// Starts a broker with topics `t`, which holds one batch of so many bytes, and `none`, which holds none.
async fn start_with_batch(folder: &Path, batch_bytes: usize) -> Broker {
    let settings = format!(
        "connections.max.idle.ms={}\ngroup.initial.rebalance.delay.ms={HOUR_MS}\ngroup.max.session.timeout.ms={HOUR_MS}",
        MAX_IDLE.as_millis()
    );
    let broker = start_with(folder, &settings).await;
    let mut client = Client::new(&broker);
    client.create(new_topic("t"));
    client.create(new_topic("none"));
    let batch = BatchBuilder::new().push(1, None, Some(&vec![7; batch_bytes]), &[]).build().unwrap();
    let partition_data = vec![PartitionData { index: 0, records: Records::Bytes(&batch) }];
    let topic_data = vec![TopicData { name: "t".into(), topic_id: Uuid::ZERO, partition_data }];
    let produce = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data };
    client.send((ApiKey::Produce, 9), 1, &produce);
    assert_eq!(client.answered(), 1);
    broker
}

/// Runs `test` on a thread whose clock only goes on where nothing else does.
async fn with_own_clock<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let run = move || {
        let mut paused = tokio::runtime::Builder::new_current_thread();
        paused.enable_all().start_paused(true).build().unwrap().block_on(test());
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

/// What the broker knows of a client that has just come.
pub(super) fn newcomer(node: &Node) -> request::Client {
    let (name, host): (Arc<str>, _) = ("PLAINTEXT".into(), Ipv4Addr::LOCALHOST.into());
    let Admission::Admitted(counted) = node.connections.arrive(&name, host, Limits::NONE, 0) else {
        panic!("there is no limit");
    };
    let asker = Asker { principal: Principal::anonymous(), host, listener: name };
    request::Client::new(asker, 1, ListenerType::Broker, counted)
}

/// A connection that this thread serves, and what tells it to stop.
async fn served(node: &Arc<Node>) -> (tokio::net::TcpStream, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let (transport, client) = transport::tests::pair().await;
    let (stop, stopping) = watch::channel(false);
    let serving = connection::serve(node.clone(), transport, newcomer(node), LongTurns::default(), stopping);
    (client, stop, tokio::spawn(serving))
}

/// A long poll, and behind it so many fetches of the batch.
fn fetches(count: i32) -> Vec<u8> {
    let fetch = FetchRequest { max_bytes: i32::MAX, ..long_poll("t", 0) };
    let behind = (2..count + 2).flat_map(|number| framed((ApiKey::Fetch, 12), number, &fetch));
    framed((ApiKey::Fetch, 12), 1, &long_poll("none", i32::MAX)).into_iter().chain(behind).collect()
}

/// The number of the next answer, and how long that is.
async fn next_answer(client: &mut (impl AsyncRead + Unpin)) -> (i32, usize) {
    let mut frame = vec![0; client.read_i32().await.unwrap() as usize];
    client.read_exact(&mut frame).await.unwrap();
    (i32::from_be_bytes(*frame.first_chunk().unwrap()), frame.len())
}

/// However slowly it is read.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_before_the_last_that_comes_is_answered_whole() {
    const FETCHES: i32 = 24;
    const BATCH_BYTES: usize = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let broker = start_with_batch(folder.path(), BATCH_BYTES).await;
    let mut unknown = framed((ApiKey::ApiVersions, 0), 99, &ApiVersionsRequest::default());
    unknown[4..6].copy_from_slice(&999_i16.to_be_bytes());
    let mut too_large = (90_i32 << 20).to_be_bytes().to_vec();
    too_large.extend(ApiKey::ApiVersions.code().to_be_bytes());
    let half = unknown[..9].to_vec();
    let with_more = |frame: &[u8]| [frame, &[0; 3 << 20]].concat();
    let lasts = [
        (Vec::new(), true),
        (half, true),
        (with_more(&unknown), false),
        (unknown, false),
        (with_more(&too_large), false),
        (too_large, false),
        (vec![0xFF; 4], false),
    ];
    let node = broker.node.clone();
    let test = async move |last: Vec<u8>, shuts: bool| {
        let (client, _going_on, serving) = served(&node).await;
        let (mut client, mut sender) = client.into_split();
        let sent = [fetches(FETCHES), last.clone()].concat();
        let sending = tokio::spawn(async move {
            sender.write_all(&sent).await.unwrap();
            if !shuts {
                sender.forget();
            }
        });
        for number in 1..FETCHES + 2 {
            // Much less than it may be idle, and in all much longer.
            tokio::time::sleep(MAX_IDLE / 6).await;
            let (answered, bytes) = next_answer(&mut client).await;
            assert_eq!((answered, bytes > BATCH_BYTES), (number, number > 1), "{} bytes behind", last.len());
        }
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it is closed");
        sending.await.unwrap();
        drop(client);
        serving.await.unwrap();
    };
    with_own_clock(|| async move {
        for (last, shuts) in lasts {
            test(last, shuts).await;
        }
    })
    .await;
    broker.stop().await.unwrap();
}

/// What a member waits for may take for ever. Neither a stop nor the limit on idle connections does.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_group_and_sends_no_more_is_let_go_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start_with_batch(folder.path(), 1_000_000).await;
    let mut client = Client::new(&broker);
    // The first to ask for a coordinator has the topic of the offsets made, of which the coordinator reads its partition.
    let coordinator = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    let heartbeat = HeartbeatRequest { group_id: "g".into(), member_id: "nobody".into(), ..Default::default() };
    let begun = Instant::now();
    let mut is_there = false;
    while !is_there {
        assert!(begun.elapsed() < Duration::from_secs(60), "there is no coordinator");
        client.send((ApiKey::FindCoordinator, 0), 1, &coordinator);
        client.answer();
        client.send((ApiKey::Heartbeat, 0), 1, &heartbeat);
        is_there = client.answer().ends_with(&ErrorCode::UnknownMemberId.code().to_be_bytes());
    }
    let node = broker.node.clone();
    with_own_clock(|| async move {
        // First it takes so many answers slowly, in all longer than it may be idle, and as many as do not fit a socket at once.
        for (slow, at_once, stops, within) in
            [(0, 0, true, Duration::from_secs(2)), (0, 0, false, MAX_IDLE * 2), (12, 24, false, MAX_IDLE * 2)]
        {
            let (mut client, stop, serving) = served(&node).await;
            let join = JoinGroupRequest {
                group_id: "g".into(),
                session_timeout_ms: HOUR_MS,
                rebalance_timeout_ms: HOUR_MS,
                protocol_type: "consumer".into(),
                protocols: vec![JoinProtocol { name: "range".into(), metadata: Vec::new().into() }],
                ..Default::default()
            };
            let (fetch, join) = (fetches(slow + at_once), framed((ApiKey::JoinGroup, 3), 1, &join));
            client.write_all(&[&fetch[..], &join].concat()).await.unwrap();
            client.shutdown().await.unwrap();
            for number in 1..slow + at_once + 2 {
                if number <= slow {
                    tokio::time::sleep(MAX_IDLE / 6).await;
                }
                assert_eq!(next_answer(&mut client).await.0, number);
            }
            // Until the member waits.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let begun = Instant::now();
            let expired = || node.connections.of("PLAINTEXT").expired;
            let before = expired();
            stop.send_replace(stops);
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it is closed");
            serving.await.unwrap();
            assert!(begun.elapsed() < within && (stops || begun.elapsed() > MAX_IDLE / 2), "{:?}", begun.elapsed());
            assert_eq!(expired() - before, u64::from(!stops));
        }
    })
    .await;
    broker.stop().await.unwrap();
}

/// Only what it was sent could get lost by closing at once, and who wants no answers waits for the end alone.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_sent_anything_and_who_wants_no_answers_is_let_go_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start_with_batch(folder.path(), 1).await;
    let node = broker.node.clone();
    let answered = framed((ApiKey::ApiVersions, 0), 1, &ApiVersionsRequest::default());
    let mut unknown = answered.clone();
    unknown[4..6].copy_from_slice(&999_i16.to_be_bytes());
    let partition_data = vec![PartitionData { index: 99, records: Records::Null }];
    let topic_data = vec![TopicData { name: "t".into(), topic_id: Uuid::ZERO, partition_data }];
    let produce = ProduceRequest { transactional_id: None, acks: 0, timeout_ms: 10_000, topic_data };
    let unacknowledged = framed((ApiKey::Produce, 9), 2, &produce);
    let both = |last: &[u8]| [&answered, last].concat();
    let cases = [
        (both(&unknown), true),
        (both(&unacknowledged), false),
        (unknown.clone(), false),
        (unacknowledged.clone(), false),
    ];
    with_own_clock(|| async move {
        for (sent, lingers) in cases {
            let (mut client, _going_on, serving) = served(&node).await;
            let begun = Instant::now();
            client.write_all(&sent).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            serving.await.unwrap();
            assert_eq!(begun.elapsed() > Duration::from_secs(4), lingers, "{} bytes", sent.len());
        }
    })
    .await;
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_frame_keeps_no_memory_while_what_was_asked_before_is_answered() {
    const HALF_BYTES: usize = 3 << 20;
    let folder = tempfile::tempdir().unwrap();
    let broker = start_with_batch(folder.path(), 1_000_000).await;
    let node = broker.node.clone();
    with_own_clock(|| async move {
        let (mut client, _going_on, serving) = served(&node).await;
        let mut half = (2 * HALF_BYTES as i32).to_be_bytes().to_vec();
        half.resize(HALF_BYTES, 0);
        let is_held = || node.frame_memory.used_bytes() > HALF_BYTES / 2;
        client.write_all(&[fetches(24), half].concat()).await.unwrap();
        while !is_held() {
            assert!(!serving.is_finished(), "it reads what comes");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        client.shutdown().await.unwrap();
        assert_eq!(next_answer(&mut client).await.0, 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!is_held() && !serving.is_finished());
        for _ in 0..24 {
            next_answer(&mut client).await;
        }
        serving.await.unwrap();
    })
    .await;
    broker.stop().await.unwrap();
}

/// Whether the broker closes the connection within that time.
fn gone_within(client: &Client, time: Duration) -> bool {
    client.0.set_read_timeout(Some(time)).unwrap();
    let gone = client.0.peek(&mut [0]).is_ok_and(|count| count == 0);
    client.0.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    gone
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_a_fetch_that_waits_for_its_turn_goes_on_once() {
    const FETCH: (ApiKey, i16) = (ApiKey::Fetch, 12);
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);
    let partitions = (0..5000).map(|partition| Partition { partition, ..Default::default() }).collect();
    let topic = Topic { topic: "t".into(), partitions, ..Default::default() };
    let mut request = FetchRequest { session_epoch: 0, topics: vec![topic], ..Default::default() };
    let fetched = |client: &mut Client| {
        let answer = client.answer();
        let mut reader = Reader::new(&answer);
        frame::read_response_header(&mut reader, FETCH.0, FETCH.1).unwrap();
        let response = FetchResponse::decode(&mut reader, FETCH.1).unwrap();
        (response.error_code, response.session_id)
    };
    client.send(FETCH, 1, &request);
    let (code, session_id) = fetched(&mut client);
    assert!(code == 0 && session_id != 0, "{code} {session_id}");
    let turn = broker.node.budgets.try_large_turn().expect("nobody has it");
    (request.session_id, request.topics) = (session_id, Vec::new());
    for epoch in 1..4 {
        request.session_epoch = epoch;
        client.send(FETCH, epoch, &request);
    }
    drop(turn);
    assert_eq!([(); 3].map(|()| fetched(&mut client)), [(0, session_id); 3]);
    drop(client);
    broker.stop().await.unwrap();
}

/// Asks for something in a flexible version, and gives the body of the answer.
fn ask<'m, M: Message<'m>>(client: &mut Client, api: (ApiKey, i16), request: &M) -> Vec<u8> {
    client.send(api, 1, request);
    // Behind the correlation id and no tagged fields.
    client.answer().split_off(5)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_kafka_says_nothing_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);

    let api = (ApiKey::ListPartitionReassignments, 0);
    let answer = ask(&mut client, api, &ListPartitionReassignmentsRequest::default());
    let answer = ListPartitionReassignmentsResponse::decode(&mut Reader::new(&answer), api.1).unwrap();
    assert_eq!((answer.error_code, answer.error_message), (0, None));

    // But here it says something, of no length.
    let api = (ApiKey::AlterPartitionReassignments, 0);
    let answer = ask(&mut client, api, &AlterPartitionReassignmentsRequest::default());
    let answer = AlterPartitionReassignmentsResponse::decode(&mut Reader::new(&answer), api.1).unwrap();
    assert_eq!((answer.error_code, answer.error_message.as_deref()), (0, Some("")));

    let api = (ApiKey::ElectLeaders, 2);
    let request = |topic_partitions| ElectLeadersRequest { election_type: 7, topic_partitions, timeout_ms: 1000 };
    for (topics, code) in [(Some(Vec::new()), 0), (None, 42)] {
        let answer = ask(&mut client, api, &request(topics));
        let answer = ElectLeadersResponse::decode(&mut Reader::new(&answer), api.1).unwrap();
        assert_eq!(answer.error_code, code);
    }

    let api = (ApiKey::UpdateFeatures, 2);
    let answer = ask(&mut client, api, &UpdateFeaturesRequest { validate_only: true, ..Default::default() });
    let answer = UpdateFeaturesResponse::decode(&mut Reader::new(&answer), api.1).unwrap();
    assert_eq!((answer.error_code, answer.error_message), (0, None));

    let api = (ApiKey::DescribeClientQuotas, 1);
    let component = Component { entity_type: "nothing".into(), match_type: 2, r#match: None };
    let request = DescribeClientQuotasRequest { components: vec![component], strict: false };
    let answer = ask(&mut client, api, &request);
    let answer = DescribeClientQuotasResponse::decode(&mut Reader::new(&answer), api.1).unwrap();
    assert_eq!((answer.error_code, answer.entries), (35, None));
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_to_be_created_in_no_time_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);
    let api = (ApiKey::CreateTopics, 7);
    let mut create = |timeout_ms| {
        let topics = vec![new_topic("t")];
        let answer = ask(&mut client, api, &CreateTopicsRequest { topics, timeout_ms, validate_only: false });
        let answer = CreateTopicsResponse::decode(&mut Reader::new(&answer), api.1).unwrap();
        answer.topics[0].error_code
    };
    assert_eq!([-1, 0, 10_000].map(&mut create), [7, 7, 0]);
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_done_in_no_time_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);
    client.create(new_topic("t"));
    for (timeout_ms, code) in [(-1, 7), (0, 7), (10_000, 0)] {
        let topics = vec![MorePartitions { name: "t".into(), count: 2, assignments: None }];
        let request = CreatePartitionsRequest { topics, timeout_ms, validate_only: false };
        let answer = ask(&mut client, (ApiKey::CreatePartitions, 3), &request);
        let answer = CreatePartitionsResponse::decode(&mut Reader::new(&answer), 3).unwrap();
        assert_eq!(answer.results[0].error_code, code);

        let request = ElectLeadersRequest { election_type: 0, topic_partitions: None, timeout_ms };
        let answer = ask(&mut client, (ApiKey::ElectLeaders, 2), &request);
        assert_eq!(ElectLeadersResponse::decode(&mut Reader::new(&answer), 2).unwrap().error_code, code);
    }
    for (timeout_ms, code) in [(-1, 7), (0, 7), (10_000, 0)] {
        let request = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms, ..Default::default() };
        let answer = ask(&mut client, (ApiKey::DeleteTopics, 5), &request);
        let answer = DeleteTopicsResponse::decode(&mut Reader::new(&answer), 5).unwrap();
        assert_eq!(answer.responses[0].error_code, code);
    }
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_alter_configs_that_contradicts_itself_is_refused_before_it_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);
    client.create(new_topic("t"));
    let set = |value: Option<&'static str>, config_operation| incremental_alter_configs_request::Config {
        name: "retention.ms".into(),
        config_operation,
        value: value.map(Into::into),
    };
    let (good, none, unknown) = (set(Some("1000"), 0), set(None, 0), set(Some("1"), 4));
    let of = |resource_type, name: &'static str, configs: &[&incremental_alter_configs_request::Config<'static>]| {
        let configs = configs.iter().map(|&config| config.clone()).collect();
        incremental_alter_configs_request::Resource { resource_type, resource_name: name.into(), configs }
    };
    let mut seen = String::new();
    for resources in [
        vec![of(2, "t", &[&good]), of(2, "t", &[&good, &good]), of(2, "none", &[&good])],
        vec![of(8, "1", &[&good]), of(8, "1", &[&good])],
        vec![of(4, "x", &[&good, &good]), of(4, "7", &[&none]), of(99, "t", &[&none]), of(4, "x", &[&good])],
        vec![of(2, "t", &[&unknown]), of(2, "none", &[&good])],
        vec![of(99, "t", &[&unknown]), of(4, "x", &[&unknown]), of(4, "1", &[&unknown]), of(2, "t", &[&good])],
    ] {
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
        let answer = ask(&mut client, (ApiKey::IncrementalAlterConfigs, 1), &request);
        let answer = IncrementalAlterConfigsResponse::decode(&mut Reader::new(&answer), 1).unwrap();
        for one in answer.responses {
            let (kind, name, words) = (one.resource_type, one.resource_name, one.error_message.unwrap_or("-".into()));
            seen += &format!("{kind} {name}: {} {words}\n", one.error_code);
        }
    }
    expect_test::expect![[r#"
        2 none: 3 The topic 'none' does not exist.
        2 t: 42 Each resource must appear at most once.
        2 t: 42 Each resource must appear at most once.
        8 1: 42 Each resource must appear at most once.
        8 1: 42 Each resource must appear at most once.
        4 x: 42 Each resource must appear at most once.
        4 7: 42 Null value not supported for : retention.ms
        99 t: 42 Null value not supported for : retention.ms
        4 x: 42 Each resource must appear at most once.
        2 t: -1 -
        2 none: -1 -
        2 t: 0 -
        99 t: 42 Unknown resource type 99
        4 x: 42 Node id must be an integer, but it is: x
        4 1: 42 Unknown operations type 4
    "#]]
    .assert_eq(&seen);
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn less_than_no_bytes_fail_for_the_first_partition_that_has_some() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);
    client.create(NewTopic { num_partitions: 3, ..new_topic("t") });
    let batch = BatchBuilder::new().push(1, None, Some(b"value"), &[]).build().unwrap();
    let partition_data = [0, 1].map(|index| PartitionData { index, records: Records::Bytes(&batch) }).into();
    let topic_data = vec![TopicData { name: "t".into(), topic_id: Uuid::ZERO, partition_data }];
    let produce = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data };
    ask(&mut client, (ApiKey::Produce, 9), &produce);
    let mut codes = |max_bytes, of_partitions: [i32; 3], isolation_level| {
        let of_partition =
            |(partition, partition_max_bytes)| Partition { partition, partition_max_bytes, ..Default::default() };
        let partitions = (0..).zip(of_partitions).map(of_partition).collect();
        let topics = vec![Topic { topic: "t".into(), partitions, ..Default::default() }];
        let request = FetchRequest { session_epoch: -1, topics, max_bytes, isolation_level, ..Default::default() };
        let answer = ask(&mut client, (ApiKey::Fetch, 12), &request);
        let answer = FetchResponse::decode(&mut Reader::new(&answer), 12).unwrap();
        let codes = answer.responses[0].partitions.iter().map(|partition| partition.error_code).collect::<Vec<_>>();
        (answer.error_code, codes)
    };
    assert_eq!(codes(1000, [1000, -1, -1], 0), (0, vec![0, -1, 0]));
    assert_eq!(codes(-1, [1000, 1000, 1000], 1), (0, vec![-1, 0, 0]));
    assert_eq!(codes(1000, [1000; 3], 2), (-1, vec![-1; 3]), "no such isolation level");
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_internal_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = Client::new(&broker);
    let topic = |name: &'static str| AskedTopic { name: Some(name.into()), ..Default::default() };
    let topics = ["__transaction_state", "__share_group_state", "__other"].map(topic).into();
    let answer = ask(
        &mut client,
        (ApiKey::Metadata, 9),
        &MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false, ..Default::default() },
    );
    let answer = MetadataResponse::decode(&mut Reader::new(&answer), 9).unwrap();
    let seen: Vec<_> = answer.topics.iter().map(|topic| (topic.error_code, topic.is_internal)).collect();
    assert_eq!(seen, [(3, true), (3, true), (3, false)]);
    drop(client);
    broker.stop().await.unwrap();
}
