//! Groups over logs in a temporary folder, without a network.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ottla_base::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use ottla_coordinator::group::{
    Answer, CommittedOffset, DeleteGroups, GroupFilter, GroupState, Heartbeat, JoinGroup, OffsetCommit, OffsetToCommit,
    Protocol, Record,
};
use ottla_metadata::settings::topic::TopicSettings;
use ottla_protocol::internal::metadata::{MetadataRecord, TopicRecord};
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::{Batch, BatchBuilder};
use ottla_storage::{Left, Log, LogConfig, OpenLog};

use super::*;
use crate::config::Written;
use crate::partitions::directories::Directory;
use crate::partitions::partition::Partition;

/// One partition of `__consumer_offsets`, and what coordinates its groups.
struct Fixture {
    config: Arc<Config>,
    shared: Arc<Shared>,
    loader: Loader,
    threads: Option<JoinHandle<()>>,
}

impl Fixture {
    fn new(folder: &Path) -> Self {
        Self::with(folder, "")
    }

    fn with(folder: &Path, settings: &str) -> Self {
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\nlog.dirs={}\n\
             group.initial.rebalance.delay.ms=0\n{settings}\n",
            folder.display()
        );
        let config = Config::new(Written::from_text("server.properties", &text).unwrap()).unwrap().0;
        // Small, so that it takes several reads.
        let (loader, thread) = Loader::start(100).unwrap();
        let fixture = Self { config: Arc::new(config), shared: Arc::default(), loader, threads: Some(thread) };
        fixture.publish(&["t"]);
        fixture
    }

    /// With an empty log, and who coordinates its groups.
    fn ready(folder: &Path, overrides: &[(&str, &str)]) -> (Self, Arc<Partition>, Arc<Shard>) {
        let fixture = Self::new(folder);
        let partition = fixture.partition(folder, overrides);
        let shard = fixture.shard(&partition);
        shard.loaded(true);
        (fixture, partition, shard)
    }

    /// These topics are all that there are from now on.
    fn publish(&self, topics: &[&'static str]) {
        let mut image = Image::new("c");
        for (number, &name) in (1..).zip(topics) {
            let record = TopicRecord { name: name.into(), topic_id: Uuid(number) };
            image.apply(Offset(0), &MetadataRecord::Topic(record)).unwrap();
        }
        self.shared.newest.set(Arc::new(image));
    }

    fn settings(&self, overrides: &[(&str, &str)]) -> Arc<TopicSettings> {
        let own = overrides.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let nothing = BTreeMap::new();
        Arc::new(TopicSettings::new(&own, &self.config.values(&nothing, &nothing)))
    }

    fn partition(&self, folder: &Path, overrides: &[(&str, &str)]) -> Arc<Partition> {
        self.partition_with(folder, overrides, |_| ())
    }

    fn partition_with(&self, folder: &Path, overrides: &[(&str, &str)], fill: impl FnOnce(&mut Log)) -> Arc<Partition> {
        let options = OpenLog {
            topic_partition: TopicPartition::new(offsets_topic::NAME, 0),
            left: Left::Cleanly,
            recovery_point: Offset(0),
            log_start_offset: Offset(0),
            now_ms: 0,
            producers: ottla_storage::ProducerCount::default(),
        };
        let (mut log, _) = Log::open(&folder.join("__consumer_offsets-0"), LogConfig::default(), options).unwrap();
        fill(&mut log);
        let registration = ottla_metadata::image::Partition {
            replicas: vec![BrokerId(1)],
            isr: vec![BrokerId(1)],
            leader: Some(BrokerId(1)),
            ..Default::default()
        };
        let home = Arc::new(Directory::unheld(folder.to_owned(), None, Arc::default()));
        let settings = self.settings(overrides);
        Arc::new(Partition::lead(Uuid::ZERO, log, home, settings, BrokerId(1), &registration, Offset(0)))
    }

    fn shard(&self, partition: &Arc<Partition>) -> Arc<Shard> {
        Arc::new(Shard::new(Arc::clone(partition), &self.config, Arc::clone(&self.shared)))
    }

    /// A shard whose log was read to its end.
    fn loaded(&mut self, partition: &Arc<Partition>) -> Arc<Shard> {
        let shard = self.shard(partition);
        self.loader.load(Arc::clone(&shard));
        // The thread ends once it has done what it was given.
        self.loader.finish();
        self.threads.take().expect("one load a test").join().unwrap();
        shard
    }
}

fn commit(group: &str, partition: i32, offset: i64) -> Request {
    commit_of(group, "t", partition, offset)
}

fn commit_of(group: &str, topic: &str, partition: i32, offset: i64) -> Request {
    Request::OffsetCommit(OffsetCommit {
        group_id: group.into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_time_ms: -1,
        knows_group_id_not_found: true,
        offsets: vec![OffsetToCommit {
            topic: topic.into(),
            topic_id: Uuid::ZERO,
            partition,
            offset,
            leader_epoch: -1,
            metadata: None,
            is_topic_gone: false,
        }],
        metadata_room: MetadataRoom { bytes: usize::MAX, reserved_bytes: 0 },
    })
}

fn join(group: &str, fresh_id: u128) -> Request {
    Request::JoinGroup(JoinGroup {
        group_id: group.into(),
        member_id: "".into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: Some(10_000),
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: [1, 2, 3][..].into() }],
        requires_member_id: false,
        may_skip_assignment: false,
        fresh_id: Uuid(fresh_id),
        room_bytes: usize::MAX,
    })
}

fn answer(shard: &Shard, request: Request) -> Answer {
    shard.ask(request).unwrap().now().unwrap().expect("it is answered at once")
}

fn offset(shard: &Shard, group: &str, partition: i32) -> Option<i64> {
    offset_of(shard, group, "t", partition)
}

fn offset_of(shard: &Shard, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let offsets = shard.read(|groups| groups.offsets(group)).unwrap();
    offsets.get(topic, partition).map(|committed| committed.offset)
}

#[test]
fn groups_and_offsets_are_found_again_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (mut fixture, partition, shard) = Fixture::ready(folder.path(), &[]);
    for offset in 0..50 {
        assert_eq!(answer(&shard, commit("a", 0, offset)), Answer::OffsetCommit(vec![ErrorCode::None]));
    }
    assert_eq!(answer(&shard, commit("b", 3, 7)), Answer::OffsetCommit(vec![ErrorCode::None]));
    let joining = shard.ask(join("c", 1)).unwrap();
    shard.run_due();
    let Ok(Ok(Answer::JoinGroup(joined))) = joining.now() else { panic!("it joins") };
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, 1));

    let again = fixture.loaded(&partition);
    assert_eq!((offset(&again, "a", 0), offset(&again, "b", 3), offset(&again, "b", 0)), (Some(49), Some(7), None));
    let listed = again.read(|groups| groups.list_groups(&GroupFilter::default())).unwrap();
    let listed: Vec<_> = listed.iter().map(|group| (&*group.group_id, group.state)).collect();
    // What "c" agreed on was never written, for its leader brought no assignment.
    assert_eq!(listed, [("a", GroupState::Empty), ("b", GroupState::Empty), ("c", GroupState::Empty)]);
}

#[test]
fn groups_of_long_names_leave_room_in_a_list_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, _, shard) = Fixture::ready(folder.path(), &[]);
    let refused = |group: &str| shard.ask(commit(group, 0, 1)).err();
    let long = |number: usize| format!("{number}-{}", "x".repeat(30_000));
    let made = (0..1000).take_while(|&number| refused(&long(number)).is_none()).count();
    assert_eq!(made, LISTED_BYTES_MAX / 2 / (30_000 + 128 + 4));
    assert_eq!(refused(&long(0)), None, "it is there");
    assert_eq!(refused("short"), None);
    assert_eq!(refused(&long(made)), Some(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(fixture.shared.refusals.counts().last(), Some(("list", 2)));
    shard.unload();
    assert_eq!(fixture.shared.listed_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn what_a_transaction_commits_counts_from_its_marker_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path());
    let partition = fixture.partition_with(folder.path(), &[], append_transactions);
    let shard = fixture.loaded(&partition);
    assert_eq!([1, 2, 3].map(|partition| offset(&shard, "g", partition)), [Some(11), None, None]);
}

/// Offsets of a transaction that was committed, of one that was aborted, and of one that is open.
fn append_transactions(log: &mut Log) {
    let mut append = |builder: BatchBuilder| {
        let end = log.end_offset();
        log.append_follower(&builder.base_offset(end).leader_epoch(LeaderEpoch(0)).build().unwrap(), 0).unwrap();
    };
    for (id, marker) in [(1, Some(ControlType::Commit)), (2, Some(ControlType::Abort)), (3, None)] {
        let producer = || BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(0), 0).transactional();
        let committed = CommittedOffset {
            offset: 10 + id,
            leader_epoch: -1,
            metadata: "".into(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: Uuid::ZERO,
        };
        let partition = i32::try_from(id).unwrap();
        let record = Record::Offset { group: "g".into(), topic: "t".into(), partition, value: Some(committed) };
        let (key, value) = record.encode();
        let mut batch = producer();
        batch.push(0, Some(&key), value.as_deref(), &[]);
        append(batch);
        if let Some(marker) = marker {
            let mut batch =
                BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(0), -1).transactional().control();
            batch.push(0, Some(&marker.key()), Some(&[0; 6]), &[]);
            append(batch);
        }
    }
}

#[test]
fn until_the_log_is_read_members_are_told_to_stay_and_others_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(folder.path());
    let shard = fixture.shard(&fixture.partition(folder.path(), &[]));
    let heartbeat = || {
        let (group_id, member_id) = ("g".into(), "m".into());
        Request::Heartbeat(Heartbeat { group_id, generation: 1, member_id, instance_id: None })
    };
    assert_eq!(answer(&shard, heartbeat()), Answer::Heartbeat(ErrorCode::None));
    assert_eq!(shard.ask(commit("g", 0, 1)).unwrap_err(), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(shard.read(|_| ()).unwrap_err(), ErrorCode::CoordinatorLoadInProgress);
    shard.loaded(true);
    assert_eq!(answer(&shard, heartbeat()), Answer::Heartbeat(ErrorCode::UnknownMemberId));
    shard.unload();
    assert_eq!(shard.ask(heartbeat()).unwrap_err(), ErrorCode::NotCoordinator);
}

#[test]
fn what_is_wrong_in_any_group_is_said_where_there_is_no_coordinator_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = Arc::clone(&Fixture::new(folder.path()).config);
    let (coordinators, _threads) = GroupCoordinators::start(config).unwrap();
    let heartbeat = |group: &str| {
        let (group_id, member_id) = (group.into(), "m".into());
        Request::Heartbeat(Heartbeat { group_id, generation: 1, member_id, instance_id: None })
    };
    let answer = coordinators.ask("", heartbeat("")).unwrap().now().unwrap().unwrap();
    assert_eq!(answer, Answer::Heartbeat(ErrorCode::InvalidGroupId));
    assert_eq!(coordinators.ask("g", heartbeat("g")).unwrap_err(), ErrorCode::NotCoordinator);
}

#[test]
fn who_waits_is_told_when_the_groups_go_to_another_broker() {
    let folder = tempfile::tempdir().unwrap();
    let (_fixture, _, shard) = Fixture::ready(folder.path(), &[]);
    let _joining = shard.ask(join("g", 1)).unwrap();
    shard.run_due();
    // A second member waits for the first one to come again.
    let Ok(Err(waiting)) = shard.ask(join("g", 2)).unwrap().now() else { panic!("it waits") };
    shard.unload();
    let Ok(Ok(Answer::JoinGroup(told))) = waiting.now() else { panic!("it is told") };
    assert_eq!(told.error, ErrorCode::NotCoordinator);
}

/// Groups whose answers wait for a flush.
fn flushing(folder: &Path, settings: &str) -> (Fixture, Arc<Partition>, Arc<Shard>) {
    let fixture = Fixture::with(folder, settings);
    let flush_before_ack = LogConfig { flush_before_ack: true, ..LogConfig::default() };
    let partition = fixture.partition_with(folder, &[], |log| log.configure(flush_before_ack));
    let shard = fixture.shard(&partition);
    shard.loaded(true);
    (fixture, partition, shard)
}

#[tokio::test(start_paused = true)]
async fn what_is_not_committed_in_time_is_answered_that_the_coordinator_is_not_available() {
    let folder = tempfile::tempdir().unwrap();
    let (_fixture, partition, shard) = flushing(folder.path(), "offsets.commit.timeout.ms=1");
    let Ok(Err(early)) = shard.ask(commit("g", 0, 1)).unwrap().now() else { panic!("it waits") };
    assert_eq!(early.answer().await, Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(offset(&shard, "g", 0), Some(1), "it was written all the same");

    // A heartbeat rests on what was written before it.
    let heartbeat = Heartbeat { group_id: "g".into(), generation: 1, member_id: "m".into(), instance_id: None };
    let behind = shard.ask(Request::Heartbeat(heartbeat)).unwrap();
    assert_eq!(behind.answer().await, Err(ErrorCode::CoordinatorNotAvailable));

    let late = shard.ask(commit("g", 0, 2)).unwrap();
    partition.home().flusher.run_one();
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(late.answer().await, Ok(Answer::OffsetCommit(vec![ErrorCode::None])), "it is there, whoever looks late");
}

#[test]
fn nothing_is_committed_of_a_topic_that_was_deleted_since_it_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, _, shard) = Fixture::ready(folder.path(), &[]);
    fixture.publish(&["t", "u"]);
    let with_id = |topic, id| {
        let Request::OffsetCommit(mut commit) = commit_of("g", topic, 0, 1) else { unreachable!("it is one") };
        commit.offsets[0].topic_id = Uuid(id);
        Request::OffsetCommit(commit)
    };
    assert_eq!(answer(&shard, with_id("u", 2)), Answer::OffsetCommit(vec![ErrorCode::None]));
    fixture.publish(&["t"]);
    shard.forget_topics(&deleted("u"));
    // A handler may have looked before that; or have found another topic of the name.
    for request in [with_id("u", 2), with_id("t", 9)] {
        assert_eq!(answer(&shard, request), Answer::OffsetCommit(vec![ErrorCode::UnknownTopicOrPartition]));
    }
    assert_eq!((offset_of(&shard, "g", "u", 0), offset_of(&shard, "g", "t", 0)), (None, None));
}

#[test]
fn a_log_whose_start_moves_while_it_is_read_is_read_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, partition, before) = Fixture::ready(folder.path(), &[]);
    (0..3).for_each(|number| drop(answer(&before, commit("g", number, 1))));
    partition.delete_records(Some(Offset(2))).unwrap();
    let shard = fixture.shard(&partition);
    loading::load_from(&shard, Offset(0), 100, &AtomicBool::new(false));
    assert_eq!([0, 1, 2].map(|partition| offset(&shard, "g", partition)), [None, None, Some(1)]);
}

#[tokio::test]
async fn a_commit_is_answered_after_its_flush_where_the_topic_asks_for_that() {
    let folder = tempfile::tempdir().unwrap();
    let (_fixture, partition, shard) = flushing(folder.path(), "");
    let Ok(Err(first)) = shard.ask(commit("g", 0, 1)).unwrap().now() else { panic!("it waits") };
    let Ok(Err(first)) = first.now() else { panic!("it still waits") };
    let Ok(Err(second)) = shard.ask(commit("g", 0, 2)).unwrap().now() else { panic!("it waits") };
    let waiting = tokio::spawn(first.answer());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let flusher = &partition.home().flusher;
    assert!(flusher.run_one() && !flusher.run_one(), "one flush for both");
    assert_eq!(waiting.await.unwrap(), Ok(Answer::OffsetCommit(vec![ErrorCode::None])));
    assert_eq!(second.answer().await, Ok(Answer::OffsetCommit(vec![ErrorCode::None])));

    // What it read is of before; and nothing is flushed for that.
    let heartbeat = Heartbeat { group_id: "g".into(), generation: 1, member_id: "m".into(), instance_id: None };
    assert_eq!(answer(&shard, Request::Heartbeat(heartbeat)), Answer::Heartbeat(ErrorCode::UnknownMemberId));

    let lost = shard.ask(commit("g", 0, 3)).unwrap();
    let error = ottla_storage::Error::io("flush", folder.path())(rustix::io::Errno::IO.into());
    partition.broken(&error);
    assert_eq!(lost.answer().await, Err(ErrorCode::NotCoordinator), "nobody knows whether it is there");
}

#[test]
fn many_tombstones_are_written_in_several_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (_fixture, partition, shard) = Fixture::ready(folder.path(), &[("max.message.bytes", "500")]);
    for partition in 0..30 {
        answer(&shard, commit("g", partition, 1));
    }
    let before = partition.positions().log_end;
    let Answer::DeleteGroups(deleted) =
        answer(&shard, Request::DeleteGroups(DeleteGroups { group_ids: vec!["g".into()] }))
    else {
        panic!("it is answered")
    };
    assert_eq!(deleted[0].error, ErrorCode::None);
    assert_eq!(partition.positions().log_end, before.plus(31), "one for each offset, and one for the group");
    assert_eq!(offset(&shard, "g", 7), None);
}

#[test]
fn offsets_that_expired_before_others_could_not_be_forgotten_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::with(folder.path(), "offsets.retention.check.interval.ms=1");
    let partition = fixture.partition(folder.path(), &[]);
    let shard = fixture.shard(&partition);
    shard.loaded(true);
    let long = "long".repeat(100);
    for group in ["a", "b", &long] {
        let Request::OffsetCommit(request) = commit(group, 0, 1) else { panic!("it commits") };
        // Its time is over already.
        answer(&shard, Request::OffsetCommit(OffsetCommit { retention_time_ms: 0, ..request }));
    }
    partition.configure(fixture.settings(&[("max.message.bytes", "200")]), LogConfig::default());
    let begun = std::time::Instant::now();
    while offset(&shard, "b", 0).is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing expires");
        shard.run_due();
    }
    assert_eq!(offset(&shard, &long, 0), Some(1), "there is no room for its tombstone");
    assert_eq!(fixture.shared.expired_offsets.load(Ordering::Relaxed), 2);
}

#[test]
fn what_cannot_be_written_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_fixture, partition, shard) = Fixture::ready(folder.path(), &[("max.message.bytes", "200")]);
    let long = "g".repeat(200);
    assert_eq!(answer(&shard, commit(&long, 0, 1)), Answer::OffsetCommit(vec![ErrorCode::UnknownServerError]));
    assert_eq!(shard.read(GroupCoordinator::group_count).unwrap(), 0);
    partition.close(0).unwrap();
    assert_eq!(answer(&shard, commit("g", 0, 1)), Answer::OffsetCommit(vec![ErrorCode::NotCoordinator]));
}

/// A header of Kafka's has that, though there is no producer.
#[test]
fn what_is_written_has_a_first_sequence_of_zero() {
    let folder = tempfile::tempdir().unwrap();
    let (_fixture, partition, shard) = Fixture::ready(folder.path(), &[]);
    let at = partition.positions().log_end;
    answer(&shard, commit("g", 0, 1));
    let bytes = partition.with_log(|log, _| {
        let slice = log.read(at, 1 << 20, log.end_offset(), true).unwrap();
        let mut bytes = vec![0; slice.length as usize];
        ottla_storage::os::read_exact_at(&slice.file, &mut bytes, slice.position).unwrap();
        bytes
    });
    let header = *Batch::parse(&bytes).unwrap().0.header();
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (ProducerId::NONE, ProducerEpoch(-1), 0)
    );
}

fn deleted(name: &str) -> [DeletedTopic; 1] {
    [DeletedTopic { name: name.to_owned(), id: Uuid::ZERO }]
}

#[test]
fn offsets_of_a_topic_that_is_deleted_while_groups_are_loaded_go_once_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path());
    fixture.publish(&["t", "u"]);
    let partition = fixture.partition(folder.path(), &[]);
    let before = fixture.shard(&partition);
    before.loaded(true);
    answer(&before, commit_of("g", "t", 0, 1));
    answer(&before, commit_of("g", "u", 0, 2));

    let shard = fixture.shard(&partition);
    fixture.publish(&["t"]);
    shard.forget_topics(&deleted("u"));
    fixture.loader.load(Arc::clone(&shard));
    fixture.loader.finish();
    fixture.threads.take().unwrap().join().unwrap();
    assert_eq!((offset_of(&shard, "g", "t", 0), offset_of(&shard, "g", "u", 0)), (Some(1), None));
    assert_eq!(partition.positions().log_end, Offset(3), "a tombstone is written");
}

#[test]
fn offsets_of_a_deleted_topic_whose_tombstones_were_not_written_go_with_the_next_image() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, partition, shard) = Fixture::ready(folder.path(), &[]);
    fixture.publish(&["t", "u"]);
    answer(&shard, commit_of("g", "t", 0, 1));
    answer(&shard, commit_of("g", "u", 0, 2));
    let configure = |bytes| {
        partition.configure(fixture.settings(&[("max.message.bytes", bytes)]), LogConfig::default());
    };
    configure("70");
    fixture.publish(&["t"]);
    shard.forget_topics(&deleted("u"));
    assert_eq!(offset_of(&shard, "g", "u", 0), Some(2), "nothing can be written");
    shard.forget_topics(&[]);
    assert_eq!(offset_of(&shard, "g", "u", 0), Some(2), "still");
    configure("1000");
    shard.forget_topics(&[]);
    assert_eq!((offset_of(&shard, "g", "t", 0), offset_of(&shard, "g", "u", 0)), (Some(1), None));
}

#[test]
fn what_members_take_is_counted_over_all_groups() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, _, shard) = Fixture::ready(folder.path(), &[]);
    let used_bytes = || fixture.shared.members_bytes.load(Ordering::Relaxed);
    assert_eq!(used_bytes(), 0);
    let _first = shard.ask(join("a", 1)).unwrap();
    let one_bytes = used_bytes();
    assert!(one_bytes > 0, "a JoinGroup that waits is counted");
    let _second = shard.ask(join("b", 2)).unwrap();
    assert_eq!(used_bytes(), 2 * one_bytes);
    shard.unload();
    assert_eq!(used_bytes(), 0);
}

#[test]
fn what_groups_write_to_themselves_is_counted_over_all_groups() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, _, shard) = Fixture::ready(folder.path(), &[]);
    let used_bytes = || fixture.shared.metadata_bytes.load(Ordering::Relaxed);
    let with_metadata = |group, metadata: &str| {
        let Request::OffsetCommit(mut commit) = commit(group, 0, 1) else { unreachable!("it is one") };
        commit.offsets[0].metadata = Some(metadata.into());
        Request::OffsetCommit(commit)
    };
    answer(&shard, with_metadata("a", "five."));
    answer(&shard, with_metadata("b", "three"));
    assert_eq!(used_bytes(), 10);
    answer(&shard, with_metadata("a", ""));
    assert_eq!(used_bytes(), 5);
    shard.unload();
    assert_eq!(used_bytes(), 0);
}

#[test]
fn threads_that_are_dropped_leave_nobody_behind() {
    let folder = tempfile::tempdir().unwrap();
    let config = Arc::clone(&Fixture::new(folder.path()).config);
    let (coordinators, threads) = GroupCoordinators::start(config).unwrap();
    drop(threads);
    assert_eq!(Arc::strong_count(&coordinators), 1, "its threads have ended");
}
