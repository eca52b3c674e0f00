//! Partitions over logs in a temporary folder, without a network.

mod disks;
mod durability;
mod hosting;
mod move_histories;
mod moving;
mod twice;

use std::fs;
use std::path::Path;

use ottla_base::{LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId};
use ottla_protocol::internal::metadata::{MetadataRecord, PartitionRecord, TopicRecord};
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::validate::{Rules, Validated};
use ottla_protocol::records::{Batch, BatchBuilder};
use ottla_storage::checkpoint::{self, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use ottla_storage::{Left, LogConfig, LogDirectory, MetaProperties, write_partition_metadata};

use super::append::{Outcome, Placed};
use super::closing::PATIENCE;
use super::leader::{Acks, Reader};
use super::partition::{Found, Read};
use super::*;
use crate::api::produce::Failed;
use crate::config::Written;
use crate::net::memory::FrameMemory;

const LOCAL: BrokerId = BrokerId(1);
const HOME: Uuid = Uuid(4711);

pub(super) fn config(folder: &Path) -> Config {
    let folder = folder.display();
    let text =
        format!("process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\nlog.dirs={folder}\n");
    Config::new(Written::from_text("server.properties", &text).unwrap()).unwrap().0
}

pub(super) fn open_log(folder: &Path, config: LogConfig) -> Log {
    let topic_partition = TopicPartition::new("t", 0);
    let (recovery_point, log_start_offset) = (Offset(0), Offset(0));
    let producers = ProducerCount::default();
    let options =
        OpenLog { topic_partition, left: Left::Cleanly, recovery_point, log_start_offset, now_ms: 0, producers };
    os::create_folders(folder).unwrap();
    Log::open(&folder.join("t-0"), config, options).unwrap().0
}

/// The only replica of `t-0`, over `log`.
pub(super) fn lead(folder: &Path, log: Log) -> Arc<Partition> {
    let nothing = BTreeMap::new();
    let settings = TopicSettings::new(&nothing, &config(folder).values(&nothing, &nothing));
    let home = Arc::new(Directory::unheld(folder.to_owned(), Some(HOME), Arc::default()));
    Arc::new(Partition::lead(Uuid(7), log, home, Arc::new(settings), LOCAL, &registration(), Offset(0)))
}

fn registration() -> ottla_metadata::image::Partition {
    ottla_metadata::image::Partition {
        replicas: vec![LOCAL],
        isr: vec![LOCAL],
        leader: Some(LOCAL),
        ..Default::default()
    }
}

fn append(partition: &Arc<Partition>, builder: &BatchBuilder) -> Result<Placed, Failed> {
    let bytes = builder.build().unwrap();
    let (batch, _) = Batch::parse(&bytes).unwrap();
    let memory = FrameMemory::new(1 << 20);
    let max_timestamp = batch.header().max_timestamp;
    let check = |_: &Rules<'_>| Ok(Validated { max_timestamp, repacked: None });
    let appending = partition.append(&batch, Acks::All, 0, &memory, check);
    match appending.outcome {
        Outcome::Done(placed) => placed,
        Outcome::Queued(_) => panic!("nobody else appends"),
    }
}

fn one_record(builder: BatchBuilder) -> BatchBuilder {
    let mut builder = builder;
    builder.push(1000, None, Some(b"value"), &[]);
    builder
}

fn read_from(partition: &Partition, reader: Reader, offset: i64) -> Found {
    let (none, offset) = (LeaderEpoch::NONE, Offset(offset));
    let read = Read {
        reader,
        offset,
        max_bytes: u32::MAX,
        at_least_one: true,
        current_leader_epoch: none,
        last_fetched_epoch: none,
        is_sent: true,
    };
    partition.read(read).unwrap()
}

#[test]
fn a_batch_whose_flush_failed_is_never_answered_as_if_it_were_safe() {
    let folder = tempfile::tempdir().unwrap();
    let log =
        open_log(folder.path(), LogConfig { flush_messages: Some(1), segment_bytes: 100, ..LogConfig::default() });
    let partition = lead(folder.path(), log);
    let numbered = |sequence| one_record(BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), sequence));
    append(&partition, &numbered(0)).unwrap();
    partition.flush(0);
    let placed = append(&partition, &numbered(1)).unwrap();
    // A folder in the place of a file of the sealed segment, which is flushed too: it cannot be opened.
    let obstacle = folder.path().join("t-0/00000000000000000001.snapshot");
    fs::remove_file(&obstacle).unwrap();
    fs::create_dir(&obstacle).unwrap();
    assert_eq!(partition.is_acknowledged(Acks::Leader, placed.next_offset), Ok(false));
    partition.flush(0);
    for acks in [Acks::Leader, Acks::All] {
        assert_eq!(partition.is_acknowledged(acks, placed.next_offset), Err(ErrorCode::KafkaStorageError));
        assert_eq!(partition.is_acknowledged(acks, Offset(1)), Ok(true), "what was safe is safe");
    }
    fs::remove_dir(&obstacle).unwrap();
    for sequence in [1, 0, 2] {
        let failed = append(&partition, &numbered(sequence)).unwrap_err();
        assert_eq!(failed.code(), ErrorCode::KafkaStorageError, "sequence {sequence}");
    }
    // The housekeeping looks after it as after any other.
    partition.with_log(|_, _| ());
    let positions = partition.positions();
    assert_eq!((positions.high_watermark, positions.log_end), (Offset(1), Offset(2)), "nobody sees what failed");
    assert!(read_from(&partition, Reader::Uncommitted, 0).slice.is_some(), "what is there may be read");
}

#[test]
fn readers_of_committed_records_get_past_ended_transactions_and_are_told_of_aborted_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path(), LogConfig::default());
    let producer = |id| BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(0), 0).transactional();
    let marker = |id, kind: ControlType, offset| {
        let mut builder = BatchBuilder::new().base_offset(Offset(offset)).leader_epoch(LeaderEpoch(0));
        builder = builder.producer(ProducerId(id), ProducerEpoch(0), -1).transactional().control();
        builder.push(2000, Some(&kind.key()), Some(&[0; 6]), &[]);
        builder.build().unwrap()
    };
    let data = |id, offset| one_record(producer(id).base_offset(Offset(offset)).leader_epoch(LeaderEpoch(0)));
    for bytes in [
        data(1, 0).build().unwrap(),
        data(2, 1).build().unwrap(),
        marker(1, ControlType::Abort, 2),
        marker(2, ControlType::Commit, 3),
    ] {
        log.append_follower(&bytes, 0).unwrap();
    }
    let partition = lead(folder.path(), log);
    let positions = partition.positions();
    assert_eq!((positions.high_watermark, positions.last_stable), (Offset(4), Offset(4)));
    let first_offsets = |found: &Found| found.aborted.iter().map(|aborted| aborted.first_offset.0).collect::<Vec<_>>();
    assert_eq!(first_offsets(&read_from(&partition, Reader::Committed, 0)), [0]);
    assert_eq!(first_offsets(&read_from(&partition, Reader::Committed, 3)), [0i64; 0]);
    assert_eq!(first_offsets(&read_from(&partition, Reader::Uncommitted, 0)), [0i64; 0]);

    let open = append(&partition, &one_record(producer(3))).unwrap();
    append(&partition, &one_record(BatchBuilder::new())).unwrap();
    assert_eq!(partition.positions().last_stable, open.base_offset, "an open transaction holds readers up");
    partition.with_log(|log, _| log.append_follower(&marker(3, ControlType::Abort, 6), 0).unwrap());
    assert_eq!(partition.positions().last_stable, Offset(7), "until its marker is replicated");
    assert_eq!(first_offsets(&read_from(&partition, Reader::Committed, 4)), [4]);
}

/// What a start finds in an empty folder.
fn partitions(folder: &Path) -> Partitions {
    let config = config(folder);
    let loaded = open_directories(&config, || 4).unwrap();
    Partitions::new(&config, loaded)
}

/// The topic `t` with one partition.
fn topic(folder: &Path) -> (Topic, Arc<TopicSettings>) {
    let nothing = BTreeMap::new();
    let settings = Arc::new(TopicSettings::new(&nothing, &config(folder).values(&nothing, &nothing)));
    let mut topic = Topic { name: "t".into(), id: Uuid(7), partitions: Default::default() };
    topic.partitions.insert(PartitionIndex(0), Arc::new(registration()));
    (topic, settings)
}

impl Partitions {
    /// All that hosting a topic takes.
    fn host(&self, topic: &Topic, settings: &Arc<TopicSettings>, now_ms: Timestamp) -> ottla_storage::Result<()> {
        let changes = self.announce(&Arc::new(topic.clone()), settings);
        let done = changes.into_iter().map(|change| self.carry_out(change, now_ms)).collect();
        self.settle(done, now_ms)
    }

    fn purge_doomed(&self, now_ms: Timestamp) -> ottla_storage::Result<()> {
        self.directories().iter().try_for_each(|directory| self.purge_doomed_in(directory, now_ms))
    }

    fn drop_topic(&self, topic: &str, now_ms: Timestamp) {
        let done = self.withdraw(topic).into_iter().map(|change| self.carry_out(change, now_ms)).collect();
        self.settle(done, now_ms).unwrap();
    }
}

/// Writes the checkpoints of all directories.
fn write_checkpoints(all: &Partitions) {
    all.directories().iter().for_each(|directory| checkpoints::write(all, directory));
}

/// Hosts it.
fn host(partitions: &Partitions, folder: &Path) -> Arc<Partition> {
    let (topic, settings) = topic(folder);
    partitions.host(&topic, &settings, 0).unwrap();
    partitions.find("t", 0).unwrap()
}

#[test]
fn the_epoch_of_a_leader_who_has_not_written_yet_ends_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let (mut topic, settings) = topic(folder.path());
    let led_in = |leader_epoch| ottla_metadata::image::Partition { leader_epoch, ..registration() };
    topic.partitions.insert(PartitionIndex(0), Arc::new(led_in(LeaderEpoch(2))));
    all.host(&topic, &settings, 0).unwrap();
    let partition = all.find("t", 0).unwrap();
    let end_of = |epoch| partition.end_of_epoch(LeaderEpoch::NONE, LeaderEpoch(epoch)).unwrap();
    let fetched_in = |epoch| {
        let reader = Reader::Uncommitted;
        let (none, offset) = (LeaderEpoch::NONE, partition.positions().log_end);
        let read = Read {
            reader,
            offset,
            max_bytes: 1,
            at_least_one: true,
            current_leader_epoch: none,
            last_fetched_epoch: LeaderEpoch(epoch),
            is_sent: true,
        };
        partition.read(read).map(|found| found.diverging)
    };
    let at = |epoch, end| Some((LeaderEpoch(epoch), Offset(end)));
    assert_eq!([0, 1, 2, 3].map(end_of), [at(0, 0), at(1, 0), at(2, 0), None]);
    assert_eq!(fetched_in(2), Ok(None));
    assert_eq!(fetched_in(3), Err(ErrorCode::OffsetOutOfRange));
    partition.with_log(|log, _| {
        let batch = one_record(BatchBuilder::new().leader_epoch(LeaderEpoch(0))).build().unwrap();
        log.append_follower(&batch, 0).unwrap();
    });
    assert_eq!([0, 1, 2, 3].map(end_of), [at(0, 1), at(0, 1), at(2, 1), None], "of an earlier leader");
    assert_eq!(fetched_in(0), Ok(None));
    assert_eq!(fetched_in(1), Ok(at(0, 1)), "it parts where the last known epoch ends");
}

#[test]
fn a_partition_that_a_request_still_holds_is_closed_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let held = host(&all, folder.path());
    append(&held, &one_record(BatchBuilder::new())).unwrap();
    assert_eq!(close(all).unwrap().len(), 1);
    assert!(folder.path().join("t-0/00000000000000000001.snapshot").exists());
    let points = checkpoint::read_offsets(&folder.path().join(RECOVERY_POINT_CHECKPOINT)).unwrap();
    assert_eq!(points[&held.name], Offset(1));
    let late = append(&held, &one_record(BatchBuilder::new())).unwrap_err();
    assert_eq!(late.code(), ErrorCode::KafkaStorageError);
}

#[test]
fn a_log_that_cannot_be_closed_keeps_the_directory_from_being_taken_for_clean() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let held = host(&all, folder.path());
    append(&held, &one_record(BatchBuilder::new())).unwrap();
    fs::create_dir(folder.path().join("t-0/00000000000000000001.snapshot")).unwrap();
    assert!(close(all).is_err());
    assert!(!folder.path().join(RECOVERY_POINT_CHECKPOINT).exists());
}

#[test]
fn a_folder_that_cannot_be_removed_is_tried_again_and_does_not_hold_up_others() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let (file, other) = (folder.path().join("no-folder"), folder.path().join("other"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&other).unwrap();
    for path in [&file, &folder.path().join("gone"), &other] {
        all.doom(path.clone(), 5);
    }
    all.purge_doomed(4).unwrap();
    assert!(other.exists(), "its time has not come");
    all.purge_doomed(5).unwrap_err();
    assert!(!other.exists());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    all.purge_doomed(5 + REMOVED_AGAIN_AFTER_MS).unwrap();
    assert!(!file.exists());
}

#[test]
fn files_of_deleted_segments_are_unlinked() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_log(folder.path(), LogConfig { retention_bytes: Some(0), ..LogConfig::default() });
    let partition = lead(folder.path(), log);
    append(&partition, &one_record(BatchBuilder::new())).unwrap();
    partition.with_log(|log, high_watermark| log.enforce_retention(0, high_watermark)).unwrap();
    let is_left = || folder.path().join("t-0/00000000000000000000.log.deleted").exists();
    partition.purge_deleted(59_999).unwrap();
    assert!(is_left());
    partition.purge_deleted(60_000).unwrap();
    assert!(!is_left());
}

#[test]
fn what_is_left_of_a_deleted_topic_makes_room_for_a_new_one_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    // Its folder could not be renamed when it was deleted.
    fs::create_dir(folder.path().join("t-0")).unwrap();
    write_partition_metadata(&folder.path().join("t-0"), Uuid(77)).unwrap();
    fs::write(folder.path().join("t-0/00000000000000000000.log"), b"of the deleted topic").unwrap();
    assert_eq!(host(&all, folder.path()).positions().log_end, Offset(0));
    let names: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with("-stray")).count(), 1, "{names:?}");
}

#[test]
fn logs_that_no_topic_has_are_set_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_log(folder.path(), LogConfig::default());
    log.close(0).unwrap();
    let strays = || {
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("t-0")).collect::<Vec<_>>()
    };
    let papers = MetaProperties { cluster_id: "c".to_owned(), node_id: LOCAL, directory_id: Uuid(1234) };
    papers.write(folder.path()).unwrap();
    let all = partitions(folder.path());
    all.set_strays_aside(&Image::new("c"));
    all.purge_doomed(i64::MAX).unwrap();
    let names = strays();
    assert!(names.len() == 1 && names[0].ends_with("-stray"), "{names:?}");
    for directory in close(all).unwrap() {
        directory.unlock().unwrap();
    }
    drop(partitions(folder.path()));
    assert_eq!(strays(), names, "the next start leaves it alone too");
}

#[test]
fn the_partitions_of_a_topic_are_spread_over_the_log_directories() {
    let folder = tempfile::tempdir().unwrap();
    let directories = ["a", "b", "c"].map(|name| folder.path().join(name));
    let log_dirs = directories.each_ref().map(|path| path.display().to_string()).join(",");
    let all = partitions(Path::new(&log_dirs));
    let (mut topic, settings) = topic(Path::new(&log_dirs));
    let logs = || {
        directories.each_ref().map(|path| {
            let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("t-")).count()
        })
    };
    for (until, expected) in [(4, [2, 1, 1]), (12, [4, 4, 4]), (13, [5, 4, 4])] {
        for index in 0..until {
            topic.partitions.insert(PartitionIndex(index), Arc::new(registration()));
        }
        all.host(&topic, &settings, 0).unwrap();
        assert_eq!(logs(), expected);
    }
}

#[test]
fn a_partition_whose_log_cannot_be_opened_says_that_storage_is_at_fault() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    fs::write(folder.path().join("t-0"), b"a file where a folder is to be").unwrap();
    let (topic, settings) = topic(folder.path());
    assert!(all.host(&topic, &settings, 0).is_err());
    assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
    fs::remove_file(folder.path().join("t-0")).unwrap();
    all.host(&topic, &settings, 0).unwrap();
    assert!(all.find("t", 0).is_ok());
}

/// What a start finds in two folders of one.
fn in_two_directories(folder: &Path) -> crate::error::Result<Partitions> {
    in_directories(folder, &["a", "b"])
}

fn in_directories(folder: &Path, names: &[&str]) -> crate::error::Result<Partitions> {
    let mut config = config(folder);
    config.log_dirs = names.iter().map(|name| folder.join(name)).collect();
    config.metadata_log_dir = config.log_dirs[0].clone();
    let mut random = 4;
    let random = || {
        random += 1;
        random
    };
    Ok(Partitions::new(&config, open_directories(&config, random)?))
}

/// Closes all; gives back the directories in which that went well.
fn close(all: Partitions) -> crate::error::Result<Vec<LogDirectory>> {
    let (tell, left) = std::sync::mpsc::channel();
    let leave = move |directory| {
        tell.send(directory).unwrap();
        Ok(())
    };
    Arc::new(all).close(0, PATIENCE, |_| true, leave).map(|()| left.try_iter().collect())
}

/// One record of `t-0` in the folder `b`, after a clean stop.
fn one_record_in_b(folder: &Path) {
    let all = in_two_directories(folder).unwrap();
    fs::create_dir(folder.join("b/t-0")).unwrap();
    append(&host(&all, folder), &one_record(BatchBuilder::new())).unwrap();
    close(all).unwrap();
    assert!(folder.join("b/t-0/00000000000000000001.snapshot").exists());
}

#[test]
fn a_log_that_cannot_be_claimed_is_not_replaced_by_an_empty_one_in_another_directory() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let all = in_two_directories(folder.path()).unwrap();
    let metadata = folder.path().join("b/t-0/partition.metadata");
    let whole = fs::read(&metadata).unwrap();
    // What the disk would say of a sector that cannot be read.
    fs::remove_file(&metadata).unwrap();
    fs::create_dir(&metadata).unwrap();
    let (topic, settings) = topic(folder.path());
    for _ in 0..2 {
        assert!(all.host(&topic, &settings, 0).is_err());
        assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
    }
    assert!(!folder.path().join("a/t-0").exists());
    let points = || checkpoint::read_offsets(&folder.path().join("b").join(RECOVERY_POINT_CHECKPOINT)).unwrap();
    // The segment that is written to is read after a kill, as its indexes are flushed when it is rolled.
    let known = |offset| BTreeMap::from([(TopicPartition::new("t", 0), Offset(offset))]);
    write_checkpoints(&all);
    assert_eq!(points(), known(0), "it is not forgotten");
    close(all).unwrap();
    assert_eq!(points(), known(1), "it counts as left cleanly");
    let all = in_two_directories(folder.path()).unwrap();
    assert!(all.host(&topic, &settings, 0).is_err());
    fs::remove_dir(&metadata).unwrap();
    fs::write(&metadata, whole).unwrap();
    assert_eq!(host(&all, folder.path()).positions().log_end, Offset(1));
}

/// Copies a partition's folder. (A program that did it would hold the locks of log directories until it has begun.)
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn two_logs_of_one_partition_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    fs::create_dir(folder.path().join("a/t-0")).unwrap();
    let error = in_two_directories(folder.path()).err().unwrap().to_string();
    assert!(error.contains("/a and ") && error.contains("/b hold a log of t-0"), "{error}");
}

#[test]
fn of_two_logs_of_one_name_the_one_of_the_topic_counts_and_the_other_is_set_aside() {
    for (ours, theirs) in [("a", "b"), ("b", "a")] {
        let folder = tempfile::tempdir().unwrap();
        one_record_in_b(folder.path());
        let [in_a, in_b] = ["a", "b"].map(|name| folder.path().join(name).join("t-0"));
        copy_folder(&in_b, &in_a);
        // A topic of that name was deleted while its disk was away.
        let stray = folder.path().join(theirs).join("t-0");
        fs::remove_file(stray.join("partition.metadata")).unwrap();
        write_partition_metadata(&stray, Uuid(70)).unwrap();
        let all = in_two_directories(folder.path()).unwrap();
        all.settle_rivals(&image_of_t()).unwrap();
        all.set_strays_aside(&image_of_t());
        let partition = host(&all, folder.path());
        assert_eq!(partition.home().path(), folder.path().join(ours));
        assert_eq!(partition.positions().log_end, Offset(1));
        let names = |name: &str| {
            let names = fs::read_dir(folder.path().join(name)).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("t-0")).collect::<Vec<_>>()
        };
        assert_eq!(names(ours), ["t-0"]);
        assert!(names(theirs).len() == 1 && names(theirs)[0].ends_with("-stray"), "{:?}", names(theirs));
    }
}

#[test]
fn of_a_deleted_topics_log_and_both_ends_of_an_interrupted_move_one_end_serves() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c"];
    one_record_in_b(folder.path());
    fs::create_dir(folder.path().join("c")).unwrap();
    let papers = fs::read_to_string(folder.path().join("b/meta.properties")).unwrap();
    let of_c = papers.lines().map(|line| match line.starts_with("directory.id=") {
        true => "directory.id=AAAAAAAAAAAAAAAAAAAA_w",
        false => line,
    });
    fs::write(folder.path().join("c/meta.properties"), of_c.collect::<Vec<_>>().join("\n")).unwrap();
    let [in_a, in_b, in_c] = names.map(|name| folder.path().join(name).join("t-0"));
    copy_folder(&in_b, &in_c);
    copy_folder(&in_b, &in_a);
    fs::remove_file(in_a.join("partition.metadata")).unwrap();
    write_partition_metadata(&in_a, Uuid(70)).unwrap();
    let all = in_directories(folder.path(), &names).unwrap();
    all.settle_rivals(&image_of_t()).unwrap();
    all.set_strays_aside(&image_of_t());
    assert_eq!(host(&all, folder.path()).positions().log_end, Offset(1));
    assert_eq!([in_a, in_b, in_c].iter().filter(|folder| folder.exists()).count(), 1);
}

#[test]
fn two_logs_of_one_name_whose_topics_are_gone_are_both_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    fs::create_dir(folder.path().join("a/t-0")).unwrap();
    write_partition_metadata(&folder.path().join("a/t-0"), Uuid(70)).unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    all.settle_rivals(&Image::new("c")).unwrap();
    all.set_strays_aside(&Image::new("c"));
    assert!(["a", "b"].iter().all(|name| !folder.path().join(name).join("t-0").exists()));
}

#[test]
fn a_damaged_log_does_not_keep_strays_from_being_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    drop(partitions(folder.path()));
    for name in ["stray-0", "stray-1", "t-0", "u-0"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["stray-0", "t-0"] {
        fs::write(folder.path().join(name).join("partition.metadata"), "damaged").unwrap();
    }
    let all = partitions(folder.path());
    all.set_strays_aside(&image_of_t());
    let left: Vec<String> = all.found().keys().map(ToString::to_string).collect();
    assert_eq!(left, ["t-0"]);
}

/// The metadata of the topic `t` with one partition here.
fn image_of_t() -> Image {
    image_with(Uuid::ZERO)
}

/// The same, where that lies in this directory.
fn image_with(directory: Uuid) -> Image {
    let mut image = Image::default();
    let (id, replicas) = (Uuid(7), vec![LOCAL.0]);
    let records: [MetadataRecord<'_>; 2] = [
        TopicRecord { name: "t".into(), topic_id: id }.into(),
        PartitionRecord {
            partition_id: 0,
            topic_id: id,
            isr: replicas.clone(),
            leader: LOCAL.0,
            directories: vec![directory],
            replicas,
            ..Default::default()
        }
        .into(),
    ];
    records.iter().for_each(|record| image.apply(Offset(1), record).unwrap());
    image
}

/// A partition with three records, of which two were deleted, and its line in the checkpoint.
fn begun_at_two(folder: &Path) -> Partitions {
    let all = in_two_directories(folder).unwrap();
    let held = host(&all, folder);
    (0..3).for_each(|_| _ = append(&held, &one_record(BatchBuilder::new())).unwrap());
    held.delete_records(Some(Offset(2))).unwrap();
    write_checkpoints(&all);
    all
}

#[test]
fn a_topic_that_is_made_again_does_not_begin_where_the_deleted_one_did() {
    let folder = tempfile::tempdir().unwrap();
    let all = begun_at_two(folder.path());
    all.drop_topic("t", 0);
    let (topic, settings) = topic(folder.path());
    let topic = Topic { id: Uuid(77), ..topic };
    all.host(&topic, &settings, 0).unwrap();
    let held = all.find("t", 0).unwrap();
    append(&held, &one_record(BatchBuilder::new())).unwrap();
    // Killed before anything else is written down.
    drop((all, held));
    let all = in_two_directories(folder.path()).unwrap();
    all.host(&topic, &settings, 0).unwrap();
    let positions = all.find("t", 0).unwrap().positions();
    assert_eq!((positions.log_start, positions.log_end), (Offset(0), Offset(1)));
}

#[test]
fn what_is_known_of_a_log_is_not_forgotten_while_it_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    drop(begun_at_two(folder.path()));
    let all = in_two_directories(folder.path()).unwrap();
    let (topic, settings) = topic(folder.path());
    let changes = all.announce(&Arc::new(topic), &settings);
    let done: Vec<_> = changes.into_iter().map(|change| all.carry_out(change, 0)).collect();
    write_checkpoints(&all);
    // Killed just then.
    drop((all, done));
    let all = in_two_directories(folder.path()).unwrap();
    assert_eq!(host(&all, folder.path()).positions().log_start, Offset(2));
}
