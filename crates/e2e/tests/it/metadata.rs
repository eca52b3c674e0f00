//! The metadata log: what becomes of a cluster whose metadata is damaged, lost, someone else's, or kept in snapshots.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ottla_e2e::{Closed, RawClient, body};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::MetadataRecord;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::messages::create_topics_request::{CreateTopicsRequest, Topic as NewTopic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterResponse;
use ottla_protocol::messages::metadata_request::MetadataRequest;
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::records::{Batches, RecordIter};

use super::{batch, connect, create_topic, fetch, options, produce};

const FIRST_SEGMENT: &str = "__cluster_metadata-0/00000000000000000000.log";

#[test]
fn a_damaged_metadata_log_stops_the_start_and_costs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    create_topic(&mut connect(&broker), "t");
    produce(&mut connect(&broker), "t", 1, &batch(b"kept")).expect("it is answered");
    let options = broker.kill();
    let path = options.data().join(FIRST_SEGMENT);
    let whole = fs::read(&path).expect("it was written");
    let mut damaged = whole.clone();
    damaged[whole.len() / 3] ^= 1;
    fs::write(&path, &damaged).expect("the folder is ours");
    let (status, stderr) = options.try_start().expect_err("it is damaged");
    assert!(!status.success() && stderr.contains("damaged") && stderr.contains("00000.log"), "{stderr}");
    assert_eq!(fs::read(&path).expect("it is there"), damaged, "nothing was touched");
    fs::write(&path, [&whole[..], &whole[..70]].concat()).expect("the folder is ours");
    let broker = options.start();
    let (error, records) = fetch(&mut connect(&broker), "t", 0, 0).expect("it is answered");
    assert!(error == 0 && !records.is_empty(), "a torn end is cut off, and the topic is still there");
}

#[test]
fn the_listener_for_controllers_serves_those_who_ask_controllers() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
    let broker = options(folder.path()).with(both).with("controller.listener.names=CONTROLLER").start();
    let address = broker.controller_address();
    let controller = || RawClient::connect(&address).expect("it listens");
    let versions = |client: &mut RawClient| {
        let answer = client.ask(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()).expect("it is answered");
        let response: ApiVersionsResponse<'_> = body(&answer, ApiKey::ApiVersions, 0);
        response.api_keys.iter().map(|api| api.api_key).collect::<Vec<_>>()
    };
    let told = versions(&mut controller());
    assert!(told.contains(&ApiKey::CreateTopics.code()) && told.contains(&ApiKey::DescribeQuorum.code()));
    assert!(!told.contains(&ApiKey::Metadata.code()) && !told.contains(&ApiKey::Fetch.code()));
    assert!(versions(&mut connect(&broker)).contains(&ApiKey::Metadata.code()));

    create_topic(&mut controller(), "t");
    let every = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(controller().ask(ApiKey::Metadata, 9, &every), Err(Closed), "it is for brokers");
    assert!(fetch(&mut controller(), "t", 0, 0).is_err(), "it holds no records");
    assert_eq!(fetch(&mut connect(&broker), "t", 0, 0).expect("it is answered").0, 0, "the topic is there");

    let describe = |client: &mut RawClient, endpoint_type| {
        let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
        let answer = client.ask(ApiKey::DescribeCluster, 1, &request).expect("it is answered");
        let response: DescribeClusterResponse<'_> = body(&answer, ApiKey::DescribeCluster, 1);
        let nodes = response.brokers.iter().map(|node| format!("{}:{}", node.host, node.port)).collect::<Vec<_>>();
        (response.error_code, response.endpoint_type, nodes.join(","))
    };
    assert_eq!(describe(&mut controller(), 2), (0, 2, address.clone()));
    assert_eq!(describe(&mut connect(&broker), 1), (0, 1, broker.address.clone()));
    let mismatched = ErrorCode::MismatchedEndpointType.code();
    assert_eq!(describe(&mut controller(), 1), (mismatched, 1, String::new()));
    assert_eq!(describe(&mut connect(&broker), 2), (mismatched, 1, String::new()));
}

#[test]
fn a_lost_metadata_log_does_not_cost_the_partitions() {
    let folder = tempfile::tempdir().expect("a folder");
    let metadata = folder.path().join("metadata");
    let options = options(folder.path()).with(&format!("metadata.log.dir={}", metadata.display()));
    let broker = options.start();
    create_topic(&mut connect(&broker), "t");
    let other = tempfile::tempdir().expect("a folder");
    let with_its_metadata = super::options(other.path()).with(&format!("metadata.log.dir={}", metadata.display()));
    let (_, stderr) = with_its_metadata.try_start().expect_err("the directory is in use");
    assert!(stderr.contains(&*metadata.to_string_lossy()), "{stderr}");
    broker.stop();
    super::options(other.path()).start().stop();
    let (_, stderr) = with_its_metadata.try_start().expect_err("it is the directory of another cluster");
    assert!(stderr.contains("cluster"), "{stderr}");
    fs::rename(&metadata, folder.path().join("away")).expect("the folder is ours");
    let (_, stderr) = options.try_start().expect_err("the metadata is not there");
    assert!(stderr.contains("metadata.log.dir") && stderr.contains("meta.properties"), "{stderr}");
    fs::copy(folder.path().join("away/meta.properties"), metadata.join("meta.properties")).expect("it is there");
    // Whatever restarts it tries again.
    for _ in 0..2 {
        let (_, stderr) = options.try_start().expect_err("there are partitions without metadata");
        assert!(stderr.contains("metadata.log.dir") && stderr.contains("t-0"), "{stderr}");
    }
    assert!(options.data().join("t-0").exists());
    fs::remove_dir_all(&metadata).expect("the folder is ours");
    fs::rename(folder.path().join("away"), &metadata).expect("the folder is ours");
    let broker = options.start();
    assert_eq!(fetch(&mut connect(&broker), "t", 0, 0).expect("it is answered").0, 0);
}

#[test]
fn a_log_directory_that_is_not_mounted_is_not_taken_for_a_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let with = |names: &[&str]| {
        let log_dirs: Vec<String> = names.iter().map(|name| path(name).display().to_string()).collect();
        options(folder.path()).with(&format!("log.dirs={}", log_dirs.join(",")))
    };
    let broker = with(&["a", "b"]).start();
    create_topic(&mut connect(&broker), "t");
    create_topic(&mut connect(&broker), "u");
    produce(&mut connect(&broker), "u", 1, &batch(b"kept")).expect("it is answered");
    broker.stop();
    assert!(path("b").join("u-0").exists());
    for _ in 0..2 {
        let (_, stderr) = with(&["b", "a"]).try_start().expect_err("the metadata is in the first");
        assert!(stderr.contains("unexpected metadata location") && stderr.contains("/a "), "{stderr}");
    }
    fs::rename(path("b"), path("away")).expect("the folder is ours");
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        let (_, stderr) = with(names).try_start().expect_err("a directory is not there");
        assert!(stderr.contains("mounted") && stderr.contains("/b has no meta.properties"), "{stderr}");
        assert!(!path("b").join("meta.properties").exists(), "nothing was begun there");
    }
    fs::remove_dir_all(path("b")).expect("the folder is ours");
    fs::rename(path("away"), path("b")).expect("the folder is ours");
    let broker = with(&["a", "b", "c"]).start();
    let (error, records) = fetch(&mut connect(&broker), "u", 0, 0).expect("it is answered");
    assert!(error == 0 && !records.is_empty() && path("c").join("meta.properties").exists(), "one more is welcome");
    broker.stop();
    fs::rename(path("b"), path("away")).expect("the folder is ours");
    with(&["a", "c"]).start().stop();
    let (_, stderr) = with(&["a", "b", "c"]).try_start().expect_err("a partition still lies there");
    assert!(stderr.contains("ottla storage format"), "{stderr}");
    let papers = fs::read_to_string(path("a").join("meta.properties")).expect("it is there");
    let of_a_new_one = papers.lines().map(|line| match line.starts_with("directory.id=") {
        true => "directory.id=AAAAAAAAAAAAAAAAAAAA_w",
        false => line,
    });
    let formatted = of_a_new_one.collect::<Vec<_>>().join("\n");
    fs::create_dir_all(path("b")).expect("the folder is ours");
    fs::write(path("b").join("meta.properties"), formatted).expect("the folder is ours");
    with(&["a", "b", "c"]).start().stop();
}

#[test]
fn a_log_directory_that_has_failed_and_is_not_mounted_is_not_taken_for_a_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let log_dirs = format!("log.dirs={},{}", path("a").display(), path("b").display());
    let options = options(folder.path()).with(&log_dirs).with("log.flush.offset.checkpoint.interval.ms=250");
    let broker = options.start();
    create_topic(&mut connect(&broker), "t");
    create_topic(&mut connect(&broker), "u");
    let lies_in_b = |name: &str| path("b").join(format!("{name}-0")).exists();
    let there = ["t", "u"].into_iter().find(|name| lies_in_b(name)).expect("they are spread");
    fs::rename(path("b"), path("away")).expect("the folder is ours");
    let deadline = Instant::now() + Duration::from_secs(60);
    // Directories that cannot be written to any more fail, and their partitions with them.
    while produce(&mut connect(&broker), there, 1, &batch(b"lost")).expect("it is answered").error_code == 0 {
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::sleep(Duration::from_millis(100));
    }
    broker.stop();
    let (_, stderr) = options.try_start().expect_err("a partition lies there");
    assert!(stderr.contains("mounted") && stderr.contains("/b has no meta.properties"), "{stderr}");
    assert!(!path("b").join("meta.properties").exists(), "nothing was begun there");
    fs::remove_dir_all(path("b")).expect("the folder is ours");
    fs::rename(path("away"), path("b")).expect("the folder is ours");
    let broker = options.start();
    assert_eq!(produce(&mut connect(&broker), there, 1, &batch(b"kept")).expect("it is answered").error_code, 0);
}

#[test]
fn a_command_that_cannot_be_written_is_refused_and_the_next_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    // Every append begins a new segment, and with it a snapshot of the producers.
    let mut broker = options(folder.path()).with("metadata.log.segment.ms=1").start();
    let mut client = connect(&broker);
    create_topic(&mut client, "before");
    let log = broker.options().data().join("__cluster_metadata-0");
    let end = || {
        let bytes = fs::read_dir(&log).expect("it is there").filter_map(|entry| {
            let path = entry.expect("it is there").path();
            path.extension().is_some_and(|extension| extension == "log").then(|| fs::read(path).expect("it is there"))
        });
        let ends = bytes.flat_map(|bytes| {
            Batches::new(&bytes).map(|batch| batch.expect("it is whole").header().next_offset()).collect::<Vec<_>>()
        });
        ends.max().expect("there are batches")
    };
    let obstacle = log.join(format!("{:020}.snapshot", end().0));
    fs::create_dir(&obstacle).expect("the folder is ours");
    let topic = NewTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let answer = client.ask(ApiKey::CreateTopics, 7, &request).expect("it is answered");
    let response: CreateTopicsResponse<'_> = body(&answer, ApiKey::CreateTopics, 7);
    assert_eq!(response.topics[0].error_code, -1, "{response:?}");
    assert!(response.topics[0].error_message.as_ref().is_some_and(|message| message.contains("disk")), "{response:?}");
    assert!(broker.is_alive() && fetch(&mut client, "before", 0, 0).expect("it is answered").0 == 0);
    fs::remove_dir(&obstacle).expect("the folder is ours");
    create_topic(&mut client, "t");
    let broker = broker.stop().0.start();
    assert_eq!(fetch(&mut connect(&broker), "t", 0, 0).expect("it is answered").0, 0);
}

/// Whether the last record of a broker's registration says that it is fenced.
fn is_fenced(data: &Path) -> bool {
    let bytes = fs::read(data.join(FIRST_SEGMENT)).expect("it was written");
    let mut fenced = None;
    for batch in Batches::new(&bytes).map(|batch| batch.expect("it is whole")) {
        if batch.header().attributes.is_control() {
            continue;
        }
        for record in RecordIter::new(batch.header(), batch.records()) {
            let value = record.expect("it is whole").value.expect("it has a value");
            match MetadataRecord::decode(value).expect("it is a record of metadata") {
                MetadataRecord::RegisterBroker(record) => fenced = Some(record.fenced),
                MetadataRecord::BrokerRegistrationChange(record) if record.fenced != 0 => {
                    fenced = Some(record.fenced > 0);
                }
                _ => {}
            }
        }
    }
    fenced.expect("it was registered")
}

#[test]
fn a_broker_that_was_stopped_is_fenced_until_it_is_started_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    create_topic(&mut connect(&broker), "t");
    for stopped in [true, false, true] {
        assert!(!is_fenced(&broker.options().data()));
        produce(&mut connect(&broker), "t", 1, &batch(b"kept")).expect("it is answered");
        let options = if stopped { broker.stop().0 } else { broker.kill() };
        assert_eq!(is_fenced(&options.data()), stopped);
        broker = options.start();
    }
}

#[test]
fn topics_are_read_back_from_a_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let often = "metadata.log.max.record.bytes.between.snapshots=2000";
    let mut broker = options(folder.path()).with(often).start();
    let mut expected = Vec::new();
    for life in 0..3 {
        for number in 0..20 {
            let name = format!("topic-{life}-{number}");
            create_topic(&mut connect(&broker), &name);
            expected.push(name);
        }
        broker = if life == 1 { broker.stop().0.start() } else { broker.kill().start() };
    }
    expected.sort();
    let all = MetadataRequest { topics: None, ..Default::default() };
    let answer = connect(&broker).ask(ApiKey::Metadata, 12, &all).expect("it is answered");
    let response: MetadataResponse<'_> = body(&answer, ApiKey::Metadata, 12);
    let mut names: Vec<String> =
        response.topics.iter().map(|topic| topic.name.clone().unwrap_or_default().into()).collect();
    names.sort();
    assert_eq!(names, expected);
    let log = broker.options().data().join("__cluster_metadata-0");
    let files = fs::read_dir(log).expect("it is there").map(|file| file.expect("it is there").file_name());
    let snapshots = files.filter(|name| name.to_string_lossy().ends_with(".checkpoint")).count();
    assert!(snapshots > 0, "there is a snapshot");
}
