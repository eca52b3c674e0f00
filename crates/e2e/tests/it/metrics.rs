//! What people look at, over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ottla_base::{ProducerEpoch, ProducerId};
use ottla_e2e::RawClient;
use ottla_e2e::conversations::{batch_of, produce_request};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::fetch_request::{self, FetchRequest};
use ottla_protocol::messages::offset_commit_request::{OffsetCommitRequest, Partition, Topic};
use ottla_protocol::messages::produce_request::PartitionData;
use ottla_protocol::records::{BatchBuilder, crc_of};

use super::groups::{coordinator, join_request};
use super::{connect, create_topic, create_topic_with, fetch, options, until_told};

/// The status line, and the body.
pub fn get(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it is open");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers in text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn metrics_tell_of_requests_logs_and_lag() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let http = broker.http_address();
    let mut client = connect(&broker);
    create_topic(&mut client, "measured");
    let batch = batch_of(&[(1, "a"), (2, "b"), (3, "c")]);
    client.ask(ApiKey::Produce, 9, &produce_request("measured", 0, 1, &batch)).expect("it is answered");
    let (mut wrong, count_at) = (batch.clone(), 57);
    wrong[count_at] = 1;
    let crc = crc_of(&wrong);
    wrong[17..21].copy_from_slice(&crc.to_be_bytes());
    client.ask(ApiKey::Produce, 9, &produce_request("measured", 0, 1, &wrong)).expect("it is answered");
    coordinator(&mut client, "readers");
    let partition = Partition { partition_index: 0, committed_offset: 1, ..Default::default() };
    let topic = Topic { name: "measured".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "readers".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    client.ask(ApiKey::OffsetCommit, 8, &request).expect("it is answered");
    client.ask(ApiKey::Fetch, 4, &FetchRequest::default()).expect("it is answered");

    let (status, page) = get(&http, "GET /metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"measured\"} 3",
        &format!("kafka_server_brokertopicmetrics_bytesin_total{{topic=\"measured\"}} {}", batch.len()),
        &format!("kafka_log_log_size{{topic=\"measured\",partition=\"0\"}} {}", batch.len()),
        "kafka_server_brokertopicmetrics_failedproducerequests_total{topic=\"measured\"} 1",
        "kafka_server_brokertopicmetrics_failedfetchrequests_total 0",
        "kafka_network_requestmetrics_errors_total{request=\"Produce\",error=\"NONE\"} 1",
        "kafka_network_requestmetrics_errors_total{request=\"Produce\",error=\"INVALID_RECORD\"} 1",
        "kafka_network_requestmetrics_errors_total{request=\"OffsetCommit\",error=\"NONE\"} 1",
        "kafka_server_group_coordinator_metrics_group_completed_rebalance_count 0",
        "kafka_log_log_logendoffset{topic=\"measured\",partition=\"0\"} 3",
        "kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"9\"} 2",
        "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 2",
        "kafka_consumergroup_lag{consumergroup=\"readers\",topic=\"measured\",partition=\"0\"} 2",
        "kafka_consumergroup_lag_sum{consumergroup=\"readers\",topic=\"measured\"} 2",
        "kafka_topic_partition_current_offset{topic=\"measured\",partition=\"0\"} 3",
        "kafka_coordinator_group_groupmetadatamanager_numgroups 1",
        "kafka_server_group_coordinator_metrics_group_count{protocol=\"classic\"} 1",
        "kafka_server_group_coordinator_metrics_classic_group_count{state=\"Empty\"} 1",
        "kafka_server_group_coordinator_metrics_offset_expiration_count 0",
        "kafka_log_log_numlogsegments{topic=\"__cluster_metadata\",partition=\"0\"} 1",
        "kafka_log_log_logstartoffset{topic=\"__cluster_metadata\",partition=\"0\"} 0",
        "kafka_server_replicamanager_reassigningpartitions 0",
        "kafka_server_replicamanager_underminisrpartitioncount 0",
        "kafka_controller_kafkacontroller_preferredreplicaimbalancecount 0",
        "kafka_network_requestmetrics_requestbytes_count{request=\"Produce\"} 2",
        "kafka_log_logcleanermanager_max_dirty_percent 0",
        "ottla_metrics_groups_left_out 0",
        "ottla_groups_members_bytes 0",
        "ottla_groups_members_bytes_max 67108864",
        "ottla_groups_refused_total{reason=\"list\"} 0",
        "kafka_server_group_coordinator_metrics_offset_commit_count 1",
        "kafka_network_requestmetrics_requests_total{request=\"FetchConsumer\",version=\"4\"} 1",
        "kafka_network_requestmetrics_requests_total{request=\"Fetch\",version=\"4\"} 1",
        "# TYPE kafka_network_requestmetrics_requests_total counter",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
    assert_eq!(get(&http, "GET /health/live").0, "HTTP/1.1 200 OK");
    assert_eq!(get(&http, "GET /health/ready"), ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned()));
    assert_eq!(get(&http, "GET /elsewhere").0, "HTTP/1.1 404 Not Found");
    assert_eq!(get(&http, "DELETE /metrics").0, "HTTP/1.1 405 Method Not Allowed");
}

/// A batch of an idempotent producer.
fn idempotent_batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), 0);
    for value in ["a", "b"] {
        builder.push(1, None, Some(value.as_bytes()), &[]);
    }
    builder.build().expect("memory")
}

/// What the page tells of `topic`, without what is 0.
fn of_topic(page: &str, topic: &str) -> String {
    let label = format!("{{topic=\"{topic}\"}}");
    let samples = page.lines().filter_map(|line| line.strip_prefix("kafka_server_brokertopicmetrics_"));
    let samples = samples.filter(|line| line.contains(&label) && !line.ends_with(" 0"));
    samples.map(|line| format!("{}\n", line.replace(&label, ""))).collect()
}

#[test]
fn partitions_are_counted_and_not_requests_and_what_is_sent_again_once_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic_with(&mut client, "two", 2, &[("max.message.bytes", "1000")]);
    let (batch, large) = (idempotent_batch(), batch_of(&[(1, &"x".repeat(2000))]));
    let mut request = produce_request("two", 0, -1, &batch);
    let second = PartitionData { index: 1, ..request.topic_data[0].partition_data[0].clone() };
    request.topic_data[0].partition_data.push(second);
    for _ in 0..2 {
        client.ask(ApiKey::Produce, 9, &request).expect("it is answered");
    }
    client.ask(ApiKey::Produce, 9, &produce_request("two", 0, 1, &large)).expect("it is answered");
    client.ask(ApiKey::Produce, 9, &produce_request("two", 2, 1, &batch)).expect("it is answered");
    let partition =
        |partition| fetch_request::Partition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic =
        fetch_request::Topic { topic: "two".into(), partitions: (0..3).map(partition).collect(), ..Default::default() };
    let fetch = FetchRequest { max_bytes: 1 << 20, session_epoch: -1, topics: vec![topic], ..Default::default() };
    client.ask(ApiKey::Fetch, 12, &fetch).expect("it is answered");
    // The same, as Kafka 4.4 counts it.
    let (_, page) = get(&broker.http_address(), "GET /metrics");
    let (size, rejected) = (batch.len(), large.len());
    assert_eq!(
        of_topic(&page, "two"),
        format!(
            "bytesin_total {}\nbytesout_total {}\nbytesrejected_total {rejected}\nmessagesin_total 8\n\
             totalfetchrequests_total 2\ntotalproducerequests_total 5\n",
            4 * size,
            2 * size
        )
    );
}

#[test]
fn connections_are_told_by_listener_and_those_that_were_idle() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
    let options = options(folder.path()).with(both).with("controller.listener.names=CONTROLLER");
    let broker = options.with("connections.max.idle.ms=500").start();
    let (idle, closed) = (connect(&broker), connect(&broker));
    let _controller = RawClient::connect(&broker.controller_address()).expect("it listens");
    drop(closed);
    let lines = |page: &str, name: &str| {
        let lines = page.lines().filter_map(|line| line.strip_prefix(name)).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let page = until_told(|| {
        let (_, page) = get(&broker.http_address(), "GET /metrics");
        let open = lines(&page, "kafka_server_socket_server_metrics_connection_count");
        let none = ["{listener=\"PLAINTEXT\"} 0", "{listener=\"CONTROLLER\"} 0"];
        if open == none { Ok(page) } else { Err(page) }
    });
    drop(idle);
    let of = |name: &str| lines(&page, &format!("kafka_server_socket_server_metrics_{name}"));
    let expected = |clients: u64, controllers: u64| {
        [format!("{{listener=\"PLAINTEXT\"}} {clients}"), format!("{{listener=\"CONTROLLER\"}} {controllers}")]
    };
    assert_eq!(of("connection_creation_total"), expected(2, 1));
    assert_eq!(of("connection_close_total"), expected(2, 1));
    assert_eq!(of("expired_connections_killed_count"), expected(1, 1));
    assert_eq!(lines(&page, "kafka_network_socketserver_expiredconnectionskilledcount"), [" 2"]);
}

#[test]
fn a_long_poll_is_remote_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "awaited");
    let waited_ms = 300;
    fetch(&mut client, "awaited", 0, waited_ms).expect("it is answered");
    // The times of a request are told when its answer has left, which is before the next one is read.
    create_topic(&mut client, "next");
    let (_, page) = get(&broker.http_address(), "GET /metrics");
    let sum = |part: &str| {
        let name = format!("kafka_network_requestmetrics_{part}_sum{{request=\"Fetch\"}} ");
        let sum = page.lines().find_map(|line| line.strip_prefix(&name));
        sum.unwrap_or_else(|| panic!("{name} is not in\n{page}")).parse::<f64>().expect("a number")
    };
    let [total, local, remote, sending] = ["totaltimems", "localtimems", "remotetimems", "responsesendtimems"].map(sum);
    assert!(remote >= f64::from(waited_ms) - 1.0 && remote > local, "{remote} of {total}");
    assert!(total >= remote + local && total >= sending, "{remote} of {total}");
}

#[test]
fn requests_are_counted_that_fail_unanswered_or_are_of_no_known_version_or_whose_client_has_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path()).with("group.initial.rebalance.delay.ms=60000");
    let broker = options.with("connections.max.idle.ms=500").start();
    let mut client = connect(&broker);
    let unknown = [&[0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0][..], b"?????"].concat();
    client.send_frame(&unknown).expect("it is open");
    client.receive().expect("it is answered");
    assert!(connect(&broker).ask(ApiKey::Produce, 9, &produce_request("none", 0, 0, b"no batch")).is_err());
    coordinator(&mut connect(&broker), "g");
    let mut gone = connect(&broker);
    let join = gone.frame_of(ApiKey::JoinGroup, 3, &join_request("g", ""));
    gone.send_frame(&join).expect("it is open");
    drop(gone);
    let joined = "kafka_network_requestmetrics_requests_total{request=\"JoinGroup\",version=\"3\"} 1";
    let page = until_told(|| {
        let (_, page) = get(&broker.http_address(), "GET /metrics");
        if page.contains(joined) { Ok(page) } else { Err(format!("{joined} is not in\n{page}")) }
    });
    for line in [
        "kafka_network_requestmetrics_requests_total{request=\"ApiVersions\",version=\"other\"} 1",
        "kafka_network_requestmetrics_errors_total{request=\"ApiVersions\",error=\"UNSUPPORTED_VERSION\"} 1",
        "kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"9\"} 1",
        "kafka_network_requestmetrics_errors_total{request=\"Produce\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 1",
        "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 1",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
}

#[test]
fn clients_of_the_metrics_that_say_nothing_do_not_keep_the_broker_from_stopping() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let silent: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(broker.http_address()).expect("it listens")).collect();
    let mut client = connect(&broker);
    create_topic(&mut client, "served-meanwhile");
    let begun = Instant::now();
    let (_, status) = broker.stop();
    assert!(status.success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(silent);
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound");
    let options = options(folder.path()).with(&format!("ottla.http.listener={address}"));
    let (_, stderr) = options.try_start().expect_err("the port is taken");
    assert!(stderr.contains(&format!("ottla.http.listener={address}")), "{stderr}");
}
