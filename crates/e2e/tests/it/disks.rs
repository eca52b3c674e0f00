//! Several log directories, of which one fails; logs that move between them; a disk that fills up, and one that is waited for.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ottla_e2e::{Broker, RawClient, SmallDisk, body, skip};
use ottla_protocol::messages::alter_replica_log_dirs_request::{self, AlterReplicaLogDirsRequest, Dir};
use ottla_protocol::messages::alter_replica_log_dirs_response::AlterReplicaLogDirsResponse;
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResponse;
use ottla_protocol::messages::metadata_request::{self, MetadataRequest};
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::{BatchBuilder, Batches};
use ottla_protocol::{ApiKey, Records};

use super::dynamic::alter;
use super::{
    PRODUCE, connect, create_code, create_topic, create_topic_with, fetch, fetch_as, fetch_partition, options, produce,
    until, until_told,
};

const KAFKA_STORAGE_ERROR: i16 = 56;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const LEADER_NOT_AVAILABLE: i16 = 5;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const PARTITIONS: i32 = 4;

/// A batch of now: none that retention takes for an old one.
fn batch(value: &[u8]) -> Vec<u8> {
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_millis();
    let mut builder = BatchBuilder::new();
    builder.push(now_ms as i64, None, Some(value), &[]);
    builder.build().expect("memory")
}

/// The error and the offset.
fn produce_to(client: &mut RawClient, partition: i32, value: &[u8]) -> (i16, i64) {
    let bytes = batch(value);
    let data = PartitionData { index: partition, records: Records::Bytes(&bytes) };
    let topic = TopicData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data: vec![topic] };
    let answer = client.ask(ApiKey::Produce, PRODUCE, &request).expect("it is answered");
    let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

/// Of each partition: its error, its leader, and whether its replica is offline.
fn described(client: &mut RawClient) -> Vec<(i16, i32, bool)> {
    let topic = metadata_request::Topic { name: Some(Cow::Borrowed("t")), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let answer = client.ask(ApiKey::Metadata, 12, &request).expect("it is answered");
    let response: MetadataResponse<'_> = body(&answer, ApiKey::Metadata, 12);
    let mut partitions: Vec<_> = response.topics[0].partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions.iter().map(|p| (p.error_code, p.leader_id, !p.offline_replicas.is_empty())).collect()
}

/// Of each directory: its error, and its partitions, each with whether it is a copy on its way there.
fn directories(client: &mut RawClient) -> Vec<(i16, Vec<(i32, bool)>)> {
    let answer = client.ask(ApiKey::DescribeLogDirs, 4, &DescribeLogDirsRequest { topics: None }).expect("an answer");
    let response: DescribeLogDirsResponse<'_> = body(&answer, ApiKey::DescribeLogDirs, 4);
    let partitions = |topics: &[ottla_protocol::messages::describe_log_dirs_response::Topic<'_>]| {
        let of_topic = topics.iter().filter(|topic| topic.name == "t").flat_map(|topic| &topic.partitions);
        of_topic.map(|partition| (partition.partition_index, partition.is_future_key)).collect()
    };
    response.results.iter().map(|result| (result.error_code, partitions(&result.topics))).collect()
}

fn two_directories(folder: &Path) -> ottla_e2e::Options {
    let [a, b] = ["a", "b"].map(|name| folder.join(name).display().to_string());
    options(folder).with(&format!("log.dirs={a},{b}")).with("metadata.log.dir=").with("log.initial.task.delay.ms=0")
}

/// Partitions that lie in `folder`.
fn lying_in(folder: &Path) -> Vec<i32> {
    let names = fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it is there").file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_prefix("t-")?.parse().ok());
    let mut numbers: Vec<i32> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_log_directory_that_fails_takes_only_its_own_partitions_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = two_directories(folder.path()).start();
    let mut client = connect(&broker);
    create_topic_with(&mut client, "t", PARTITIONS, &[]);
    for partition in 0..PARTITIONS {
        assert_eq!(produce_to(&mut client, partition, b"before"), (0, 0));
    }
    let lost = lying_in(&folder.path().join("b"));
    assert_eq!(lost.len(), 2);

    // As if its disk had been pulled out.
    fs::rename(folder.path().join("b"), folder.path().join("away")).expect("the folder is ours");
    let is_lost = |index: i32| lost.contains(&index);
    let expected: Vec<_> = (0..PARTITIONS)
        .map(|index| if is_lost(index) { (LEADER_NOT_AVAILABLE, -1, true) } else { (0, 1, false) })
        .collect();
    until("the directory is offline", || described(&mut client) == expected);
    for partition in 0..PARTITIONS {
        let expected = if is_lost(partition) { KAFKA_STORAGE_ERROR } else { 0 };
        assert_eq!(produce_to(&mut client, partition, b"while").0, expected);
        assert_eq!(fetch_partition(&mut client, "t", partition, 0).0, expected);
    }
    if let Some(0) = lost.first() {
        let (code, _) = fetch_as(5, &mut client, "t", 0, 0).expect("it is answered");
        assert_eq!(code, NOT_LEADER_OR_FOLLOWER, "that version does not know the other");
    }
    let codes: Vec<i16> = directories(&mut client).iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0, KAFKA_STORAGE_ERROR]);
    let log = broker.log();
    assert!(log.contains("is offline") && log.contains(&*folder.path().join("b").to_string_lossy()), "{log}");

    // It cannot be read at the next start either, which the others do not mind; no empty logs take the place of those there.
    let (options, status) = broker.stop();
    assert!(status.success());
    let unreadable = folder.path().join("b/meta.properties");
    fs::create_dir(folder.path().join("b")).expect("the folder is ours");
    std::os::unix::fs::symlink("meta.properties", &unreadable).expect("the folder is ours");
    let broker = options.start();
    let mut client = connect(&broker);
    assert_eq!(described(&mut client), expected);
    for partition in 0..PARTITIONS {
        let expected = if is_lost(partition) { (KAFKA_STORAGE_ERROR, -1) } else { (0, 2) };
        assert_eq!(produce_to(&mut client, partition, b"without"), expected);
    }

    // It is back, with all that was in it.
    let options = broker.kill();
    fs::remove_dir_all(folder.path().join("b")).expect("it is there");
    fs::rename(folder.path().join("away"), folder.path().join("b")).expect("it was kept");
    let broker = options.start();
    let mut client = connect(&broker);
    assert!(described(&mut client).iter().all(|partition| *partition == (0, 1, false)));
    for partition in 0..PARTITIONS {
        let next = if is_lost(partition) { 1 } else { 3 };
        assert_eq!(produce_to(&mut client, partition, b"after"), (0, next));
    }
}

#[test]
fn a_broker_ends_and_says_why_when_no_directory_or_not_that_of_the_metadata_is_left() {
    let of_metadata = "the log directory of the metadata has failed";
    for (lost, sentence) in [("a", of_metadata), ("data", of_metadata), ("only", "no log directory is left")] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name| folder.path().join(name).display().to_string();
        let options = match lost {
            "a" => two_directories(folder.path()),
            "data" => options(folder.path()),
            _ => {
                let options = options(folder.path()).with(&format!("log.dirs={}", path(lost)));
                options.with(&format!("metadata.log.dir={}", path("metadata")))
            }
        };
        let mut broker = options.start();
        create_topic(&mut connect(&broker), "t");
        fs::rename(folder.path().join(lost), folder.path().join("away")).expect("the folder is ours");
        let log = until_told(|| if broker.is_alive() { Err(broker.log()) } else { Ok(broker.log()) });
        assert!(log.contains(sentence) && log.contains("os error 2"), "{log}");
    }
}

#[test]
fn nothing_is_acknowledged_into_files_that_were_removed() {
    for is_replaced in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(folder.path());
        let mut broker = options.start();
        let mut client = connect(&broker);
        create_topic(&mut client, "t");
        assert_eq!(produce_to(&mut client, 0, b"before"), (0, 0));
        match is_replaced {
            // As where its volume is unmounted.
            true => {
                fs::rename(options.data(), folder.path().join("away")).expect("the folder is ours");
                fs::create_dir(options.data()).expect("the folder is ours");
            }
            false => fs::remove_dir_all(options.data().join("t-0")).expect("the folder is ours"),
        }
        until("the broker ends", || {
            let _ = RawClient::connect(&broker.address).map(|mut client| {
                let _ = produce(&mut client, "t", -1, &batch(b"after"));
            });
            !broker.is_alive()
        });
        assert!(broker.log().contains("os error 2"), "{}", broker.log());
    }
}

fn move_to(client: &mut RawClient, partition: i32, path: &Path) -> i16 {
    let path = path.to_string_lossy();
    let topics = vec![alter_replica_log_dirs_request::Topic { name: "t".into(), partitions: vec![partition] }];
    let request = AlterReplicaLogDirsRequest { dirs: vec![Dir { path, topics }] };
    let answer = client.ask(ApiKey::AlterReplicaLogDirs, 2, &request).expect("it is answered");
    let response: AlterReplicaLogDirsResponse<'_> = body(&answer, ApiKey::AlterReplicaLogDirs, 2);
    response.results[0].partitions[0].error_code
}

/// The first offsets of all batches, whose values are their offsets.
fn all_offsets(client: &mut RawClient, partition: i32) -> Vec<i64> {
    let (mut offsets, mut from) = (Vec::new(), 0);
    loop {
        let (code, bytes) = fetch_partition(client, "t", partition, from);
        assert_eq!(code, 0);
        if bytes.is_empty() {
            return offsets;
        }
        for batch in Batches::new(&bytes) {
            let batch = batch.expect("whole");
            offsets.push(batch.header().base_offset.0);
            from = batch.header().next_offset().0;
        }
    }
}

#[test]
fn a_partition_moves_to_another_directory_while_it_is_written_to_and_through_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let options = two_directories(folder.path()).with("log.segment.bytes=1048576");
    let mut broker = options.start();
    let mut client = connect(&broker);
    create_topic_with(&mut client, "t", PARTITIONS, &[]);
    let mut next = 0;
    let write = |client: &mut RawClient, next: &mut i64, count: usize| {
        for _ in 0..count {
            assert_eq!(produce_to(client, 0, &[7; 20_000]), (0, *next));
            *next += 1;
        }
    };
    write(&mut client, &mut next, 200);
    assert_eq!(move_to(&mut client, 0, Path::new("/nowhere")), 57, "LOG_DIR_NOT_FOUND");
    assert_eq!(move_to(&mut client, 99, &a), 3, "UNKNOWN_TOPIC_OR_PARTITION");
    let mut here = if lying_in(&a).contains(&0) { [&a, &b] } else { [&b, &a] };
    for round in 0..6 {
        let [from, to] = here;
        assert_eq!(move_to(&mut client, 0, to), 0);
        if round % 2 == 1 {
            // At some point of it.
            write(&mut client, &mut next, round);
            broker = broker.kill().start();
            client = connect(&broker);
        }
        until("it has moved", || {
            write(&mut client, &mut next, 1);
            lying_in(to).contains(&0) && !lying_in(from).contains(&0)
        });
        assert!(all_offsets(&mut client, 0).into_iter().eq(0..next), "round {round}");
        here = [to, from];
    }
    let moved = directories(&mut client);
    let place = usize::from(here[0] == &b);
    assert!(moved[place].1.contains(&(0, false)), "{moved:?}");
    // A move that is taken back leaves nothing behind.
    assert_eq!(move_to(&mut client, 0, here[1]), 0);
    assert_eq!(move_to(&mut client, 0, here[0]), 0);
    let (options, status) = broker.stop();
    assert!(status.success());
    let broker = options.start();
    let mut client = connect(&broker);
    assert!(all_offsets(&mut client, 0).into_iter().eq(0..next));
    write(&mut client, &mut next, 1);
}

#[test]
fn what_a_move_has_left_is_served_once_the_directory_that_cannot_be_read_is_taken_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let [metadata, a, b] = ["metadata", "a", "b"].map(|name| folder.path().join(name));
    let on = |options: ottla_e2e::Options, directories: &[&Path]| {
        let directories: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
        options
            .with(&format!("log.dirs={}", directories.join(",")))
            .with(&format!("metadata.log.dir={}", metadata.display()))
            .with("log.initial.task.delay.ms=0")
    };
    let broker = on(options(folder.path()), &[&a, &b]).start();
    let mut client = connect(&broker);
    assert_eq!(move_to(&mut client, 0, &a), 3, "UNKNOWN_TOPIC_OR_PARTITION");
    create_topic_with(&mut client, "t", 1, &[]);
    assert_eq!(produce_to(&mut client, 0, b"copied"), (0, 0));
    // A copy that has its place, with its mark, and the log it was made of goes on.
    let (options, _) = broker.stop();
    fs::create_dir(b.join("t-0")).expect("the folder is ours");
    for entry in fs::read_dir(a.join("t-0")).expect("it lies there").map(|entry| entry.expect("it is there")) {
        fs::copy(entry.path(), b.join("t-0").join(entry.file_name())).expect("the folder is ours");
    }
    fs::rename(b.join("t-0"), folder.path().join("kept")).expect("the folder is ours");
    let broker = options.start();
    assert_eq!(produce_to(&mut connect(&broker), 0, b"acknowledged"), (0, 1));
    let (options, _) = broker.stop();
    fs::rename(folder.path().join("kept"), b.join("t-0")).expect("the folder is ours");
    fs::write(b.join("t-0/ottla-moved"), a.to_string_lossy().as_bytes()).expect("the folder is ours");

    let log = a.join("t-0/00000000000000000000.log");
    fs::rename(&log, folder.path().join("log")).expect("it is there");
    std::os::unix::fs::symlink("00000000000000000000.log", &log).expect("the folder is ours");
    let broker = options.start();
    let mut client = connect(&broker);
    assert_eq!(produce_to(&mut client, 0, b"refused"), (KAFKA_STORAGE_ERROR, -1));
    assert_eq!(fetch_partition(&mut client, "t", 0, 0).0, KAFKA_STORAGE_ERROR);
    let told = broker.log();
    assert!(told.contains("without it in log.dirs"), "{told}");
    let (options, _) = broker.stop();
    let broker = on(options, &[&b]).start();
    let mut client = connect(&broker);
    assert_eq!(described(&mut client), [(0, 1, false)]);
    assert_eq!(produce_to(&mut client, 0, b"with what is left"), (0, 1));
}

#[test]
fn two_logs_of_a_partition_are_settled_when_their_disk_has_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let test = "two_logs_of_a_partition_are_settled_when_their_disk_has_room_again";
    let Some(disk) = small_disk(folder.path(), test) else { return };
    let [metadata, a, b] = ["metadata", "a", "data/b"].map(|name| folder.path().join(name).display().to_string());
    let options = options(folder.path()).on(&disk).with(&format!("log.dirs={a},{b}"));
    let broker = options.with(&format!("metadata.log.dir={metadata}")).with("ottla.disk.reserve.bytes=0").start();
    let mut client = connect(&broker);
    assert_eq!(move_to(&mut client, 0, Path::new(&a)), 3, "UNKNOWN_TOPIC_OR_PARTITION");
    create_topic(&mut client, "t");
    assert_eq!(produce_to(&mut client, 0, b"moved"), (0, 0));
    // A copy that has its place, with its mark, beside the log it was made of; to open it, a file is to be written.
    let options = broker.kill();
    disk.run(&format!("cp -r {a}/t-0 $0/b/t-0 && printf %s {a} > $0/b/t-0/ottla-moved"));
    disk.run("echo damaged > $0/b/t-0/leader-epoch-checkpoint");
    disk.fill();
    let broker = options.start();
    let mut client = connect(&broker);
    let looks = Instant::now();
    // Longer than from one look at the disk to the next.
    while looks.elapsed() < Duration::from_secs(3) {
        assert_eq!(produce_to(&mut client, 0, b"refused"), (KAFKA_STORAGE_ERROR, -1));
        std::thread::sleep(Duration::from_millis(50));
    }
    disk.free();
    until("it is served", || produce_to(&mut client, 0, b"served").0 == 0);
    assert_eq!(all_offsets(&mut client, 0), [0, 1]);
    assert_eq!(directories(&mut client), [(0, vec![]), (0, vec![(0, false)])], "the one with the mark counts");
    let told = broker.log();
    for once in ["it answers KAFKA_STORAGE_ERROR until there is room", "there was room to find out which"] {
        assert_eq!(told.matches(once).count(), 1, "{once}: {told}");
    }
    assert!(told.lines().filter(|line| line.contains("t-0")).count() < 10, "{told}");
    let (_, status) = broker.stop();
    assert!(status.success());
}

#[test]
fn a_node_that_was_formatted_does_not_begin_anew_beside_a_directory_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let [metadata, a, b] = ["metadata", "a", "b"].map(|name| folder.path().join(name));
    let options = options(folder.path())
        .with(&format!("log.dirs={},{}", a.display(), b.display()))
        .with(&format!("metadata.log.dir={}", metadata.display()));
    // A new cluster, of which one disk is not well from the beginning.
    fs::create_dir(&b).expect("the folder is ours");
    std::os::unix::fs::symlink("meta.properties", b.join("meta.properties")).expect("the folder is ours");
    let broker = options.start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    assert_eq!(produce_to(&mut client, 0, b"kept"), (0, 0));
    let (options, _) = broker.stop();
    fs::remove_dir_all(metadata.join("__cluster_metadata-0")).expect("it is there");
    fs::rename(a.join("t-0"), folder.path().join("kept")).expect("it is there");
    for _ in 0..2 {
        let (_, refused) = options.try_start().map(drop).expect_err("there may be partitions");
        assert!(refused.contains("cannot be read") && refused.contains("or without it in log.dirs"), "{refused}");
    }
    fs::remove_file(b.join("meta.properties")).expect("it is there");
    options.start();
}

/// Of each directory, whether it takes no new partitions.
fn cordoned(client: &mut RawClient) -> Vec<bool> {
    let answer = client.ask(ApiKey::DescribeLogDirs, 5, &DescribeLogDirsRequest { topics: None }).expect("an answer");
    let response: DescribeLogDirsResponse<'_> = body(&answer, ApiKey::DescribeLogDirs, 5);
    response.results.iter().map(|result| result.is_cordoned).collect()
}

#[test]
fn cordoned_directories_take_no_new_partitions_and_those_that_lie_there_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let cordon = |client: &mut RawClient, path: Option<&Path>| {
        alter(client, 4, "1", "cordoned.log.dirs", path.map(|path| path.to_str().expect("it is a text")));
    };
    let broker = two_directories(folder.path()).with("cordoned.log.dirs=*").start();
    let mut client = connect(&broker);
    assert_eq!(cordoned(&mut client), [true, true]);
    assert_eq!(create_code(&mut client, "none", 1, &[]), INVALID_REPLICATION_FACTOR);
    cordon(&mut client, Some(&a));
    assert_eq!(cordoned(&mut client), [true, false]);
    create_topic_with(&mut client, "t", PARTITIONS, &[]);
    assert_eq!(lying_in(&b), (0..PARTITIONS).collect::<Vec<_>>());
    assert_eq!(move_to(&mut client, 0, &a), INVALID_REPLICA_ASSIGNMENT);
    cordon(&mut client, Some(&b));
    assert_eq!(produce_to(&mut client, 0, b"there"), (0, 0));
    assert_eq!(move_to(&mut client, 0, &a), 0);
    until("it has moved", || lying_in(&a) == [0]);
    assert_eq!(move_to(&mut client, 1, &b), INVALID_REPLICA_ASSIGNMENT, "it lies there, which is no reason");
    // What was set while it ran holds after a restart too.
    let (options, _) = broker.stop();
    let broker = options.start();
    let mut client = connect(&broker);
    assert_eq!(cordoned(&mut client), [false, true]);
    assert_eq!(produce_to(&mut client, 0, b"still there"), (0, 1));
    cordon(&mut client, None);
    assert_eq!(cordoned(&mut client), [true, true], "as it was started");
    assert_eq!(create_code(&mut client, "none", 1, &[]), INVALID_REPLICATION_FACTOR);
}

#[test]
fn partitions_are_made_where_somebody_has_asked_for_them_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = two_directories(folder.path()).start();
    let mut client = connect(&broker);
    let b = folder.path().join("b");
    for partition in 0..PARTITIONS {
        assert_eq!(move_to(&mut client, partition, &b), 3, "UNKNOWN_TOPIC_OR_PARTITION");
    }
    create_topic_with(&mut client, "t", PARTITIONS, &[]);
    assert_eq!(lying_in(&b), (0..PARTITIONS).collect::<Vec<_>>());
    assert_eq!(produce_to(&mut client, 0, b"there"), (0, 0));
}

#[test]
fn producers_that_ask_for_the_disk_share_it_and_lose_nothing() {
    const PRODUCERS: usize = 8;
    const EACH: usize = 25;
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).with("ottla.flush.before.ack=true").start();
    create_topic(&mut connect(&broker), "t");
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (broker, acks) = (&broker, if producer % 2 == 0 { 1 } else { -1 });
            scope.spawn(move || {
                let mut client = connect(broker);
                for _ in 0..EACH {
                    let placed = produce(&mut client, "t", acks, &batch(b"safe")).expect("it is answered");
                    assert_eq!(placed.error_code, 0);
                    let (code, records) = fetch(&mut client, "t", placed.base_offset, 0).expect("it is answered");
                    assert!(code == 0 && !records.is_empty(), "what is acknowledged is shown");
                }
            });
        }
    });
    let broker = broker.kill().start();
    assert_eq!(all_offsets(&mut connect(&broker), 0).len(), PRODUCERS * EACH);
}

const SMALL_DISK_MIB: u32 = 64;
const VALUE_BYTES: usize = 256 << 10;

/// Produces until it is refused, and says what was taken.
fn fill(client: &mut RawClient) -> i64 {
    let large = batch(&vec![7; VALUE_BYTES]);
    for taken in 0.. {
        let placed = produce(client, "t", -1, &large).expect("it is answered");
        if placed.error_code != 0 {
            assert_eq!(placed.error_code, NOT_ENOUGH_REPLICAS);
            return taken;
        }
    }
    unreachable!("the disk is small")
}

fn small_disk(folder: &Path, test: &str) -> Option<SmallDisk> {
    match SmallDisk::mount(&folder.join("data"), SMALL_DISK_MIB) {
        Ok(disk) => Some(disk),
        Err(error) => {
            let why = format!("no small disk can be mounted here, as root or in a namespace: {error}");
            skip(Path::new(env!("CARGO_TARGET_TMPDIR")), test, &why);
            None
        }
    }
}

fn delete_old(client: &mut RawClient, broker: &Broker) {
    alter(client, 2, "t", "retention.bytes", Some("1048576"));
    let large = batch(&vec![7; VALUE_BYTES]);
    until("there is room again", || produce(client, "t", -1, &large).expect("it is answered").error_code == 0);
    let log = broker.log();
    assert!(log.contains("the disk is full") && log.contains("there is room again"), "{log}");
}

#[test]
fn a_disk_that_fills_up_is_read_from_and_written_to_again_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) =
        small_disk(folder.path(), "a_disk_that_fills_up_is_read_from_and_written_to_again_when_there_is_room")
    else {
        return;
    };
    let options =
        options(folder.path()).on(&disk).with("log.segment.bytes=1048576").with("ottla.disk.reserve.bytes=16777216");
    let broker = options.start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let taken = fill(&mut client);
    let mib = (taken * VALUE_BYTES as i64) >> 20;
    assert!((30..=i64::from(SMALL_DISK_MIB) - 8).contains(&mib), "{mib} MiB were taken");
    let (code, records) = fetch(&mut client, "t", 0, 0).expect("it is answered");
    assert!(code == 0 && records.len() > VALUE_BYTES);
    assert_eq!(all_offsets(&mut client, 0).len() as i64, taken);
    // Topics can be made and deleted, and metadata is written.
    create_topic(&mut client, "other");
    delete_old(&mut client, &broker);
    let (_, status) = broker.stop();
    assert!(status.success());
}

#[test]
fn a_disk_without_any_room_harms_no_log_and_no_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = small_disk(folder.path(), "a_disk_without_any_room_harms_no_log_and_no_start") else { return };
    let options = options(folder.path()).on(&disk).with("log.segment.bytes=1048576").with("ottla.disk.reserve.bytes=0");
    let broker = options.start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let mut taken = fill(&mut client);
    disk.fill();
    taken += fill(&mut client);
    assert_eq!(all_offsets(&mut client, 0).len() as i64, taken);
    // There is no room for what a clean stop writes, which it says, and so does the next start.
    let (options, status) = broker.stop();
    assert!(!status.success());
    // What was kept for a start is all the room that there is from now on, and nobody else is to take it.
    let mut broker = options.with("ottla.disk.reserve.bytes=4194304").start();
    let log = broker.log();
    assert!(log.contains("there was no clean stop"), "{log}");
    for _ in 0..3 {
        broker = broker.kill().start();
        let mut client = connect(&broker);
        until("the log is read", || fetch(&mut client, "t", 0, 0).expect("it is answered").0 == 0);
        assert_eq!(all_offsets(&mut client, 0).len() as i64, taken, "what was acknowledged is there, and no more");
        assert_eq!(fill(&mut client), 0, "there is still no room");
    }
    disk.free();
    let mut client = connect(&broker);
    delete_old(&mut client, &broker);
}
