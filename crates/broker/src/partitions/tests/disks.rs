//! Log directories that fail, or have no room.

use ottla_metadata::image::{MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY};
use rustix::io::Errno;
use std::time::{Duration, Instant};

use super::super::directories::Watch;
use super::super::disks::Room;
use super::super::housekeeping::Housekeeping;
use super::*;

fn failure(path: &Path, errno: Errno) -> StorageError {
    StorageError::io("append to", path)(errno.into())
}

fn in_directory(directory: Uuid) -> Arc<ottla_metadata::image::Partition> {
    Arc::new(ottla_metadata::image::Partition { directories: vec![directory], ..registration() })
}

/// The directory called `name`.
fn directory<'a>(all: &'a Partitions, name: &str) -> &'a Arc<Directory> {
    all.directories().iter().find(|directory| directory.path().ends_with(name)).unwrap()
}

#[test]
fn partitions_of_a_directory_that_failed_answer_that_storage_is_at_fault_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    let (mut topic, settings) = topic(folder.path());
    topic.partitions.insert(PartitionIndex(1), Arc::new(registration()));
    all.host(&topic, &settings, 0).unwrap();
    let [bad, good] = [0, 1].map(|index| all.find("t", index).unwrap());
    assert_ne!(bad.home().path(), good.home().path());
    append(&bad, &one_record(BatchBuilder::new())).unwrap();

    let code = bad.broken(&failure(&bad.home().path().join("t-0/0.log"), Errno::IO));
    assert_eq!(code, ErrorCode::KafkaStorageError);
    let failed = append(&bad, &one_record(BatchBuilder::new())).unwrap_err();
    assert_eq!(failed.code(), ErrorCode::KafkaStorageError);
    let none = LeaderEpoch::NONE;
    let read = Read {
        reader: Reader::Uncommitted,
        offset: Offset(0),
        max_bytes: 1,
        at_least_one: true,
        current_leader_epoch: none,
        last_fetched_epoch: none,
        is_sent: true,
    };
    assert_eq!(bad.read(read).err(), Some(ErrorCode::KafkaStorageError));
    assert_eq!(bad.delete_records(None), Err(ErrorCode::KafkaStorageError));
    assert_eq!(bad.producers().err(), Some(ErrorCode::KafkaStorageError));
    append(&good, &one_record(BatchBuilder::new())).unwrap();
    assert_eq!(all.offline_count(), 1);
    assert!(matches!(&all.led()[..], [led] if Arc::ptr_eq(led, &good)), "as many count as under-replicated, or not");
    assert_eq!(all.online_ids(), [good.home().id().unwrap()]);

    // New partitions go where they can.
    topic.partitions.insert(PartitionIndex(2), Arc::new(registration()));
    all.has_started();
    all.host(&topic, &settings, 0).unwrap();
    assert_eq!(all.find("t", 2).unwrap().home().path(), good.home().path());

    // Only the directory that is well is left cleanly.
    let (bad, good) = (bad.home(), good.home());
    let left = close(all).unwrap();
    assert_eq!(left.iter().map(|left| left.path()).collect::<Vec<_>>(), [good.path()]);
    assert!(good.path().join(RECOVERY_POINT_CHECKPOINT).exists());
    assert!(!bad.path().join(RECOVERY_POINT_CHECKPOINT).exists());
    assert!(!bad.path().join("t-0/00000000000000000001.snapshot").exists(), "nothing is written there any more");
}

/// Makes a file that whoever reads it waits for, as for a disk that does not answer, until it is given to [`go_on`].
fn hang(path: &Path) {
    let _ = fs::remove_file(path);
    let may = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, may, 0).unwrap();
}

fn go_on(path: &Path) {
    let held = fs::File::options().read(true).write(true).open(path).unwrap();
    fs::remove_file(path).unwrap();
    drop(held);
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A partition in each of the directories `a` and `b`.
fn one_in_each(folder: &Path) -> (Arc<Partitions>, [Arc<Partition>; 2]) {
    let all = in_two_directories(folder).unwrap();
    let (mut topic, settings) = topic(folder);
    topic.partitions.insert(PartitionIndex(1), Arc::new(registration()));
    all.host(&topic, &settings, 0).unwrap();
    let mut both = [0, 1].map(|index| all.find("t", index).unwrap());
    both.sort_by_key(|partition| partition.home().path().to_owned());
    (Arc::new(all), both)
}

#[test]
fn the_housekeeping_of_a_disk_that_does_not_answer_holds_up_that_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (all, [slow, fast]) = one_in_each(folder.path());
    let [a, b] = [&slow, &fast].map(|partition| partition.home());
    let mut config = config(folder.path());
    config.log_initial_task_delay = Duration::ZERO;
    config.log_flush_offset_checkpoint_interval = Duration::from_millis(1);
    let small =
        LogConfig { segment_bytes: 1, retention_bytes: Some(0), file_delete_delay_ms: 0, ..LogConfig::default() };
    fast.configure(fast.settings(), small);
    let fifo = a.path().join(LOG_START_CHECKPOINT);
    hang(&fifo);
    let housekeeping = Housekeeping::start(&all, &Arc::new(config)).unwrap();
    // More than one turn: in the first, `a` may come later.
    for turn in 1..4 {
        append(&fast, &one_record(BatchBuilder::new())).unwrap();
        append(&fast, &one_record(BatchBuilder::new())).unwrap();
        let doomed = b.path().join(format!("doomed{turn}"));
        fs::create_dir(&doomed).unwrap();
        all.doom(doomed.clone(), 0);
        wait_until("what was deleted is removed", || !doomed.exists());
        wait_until("retention goes on", || fast.positions().log_start == Offset(2 * turn));
        wait_until("checkpoints are written", || {
            let starts = checkpoint::read_offsets(&b.path().join(LOG_START_CHECKPOINT)).unwrap();
            starts.get(&fast.name) == Some(&Offset(2 * turn))
        });
    }
    assert!(fifo.exists(), "no checkpoint came into its place");
    go_on(&fifo);
    drop(housekeeping);
}

#[test]
fn a_directory_that_does_not_answer_keeps_no_other_from_being_left_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let (all, [slow, fast]) = one_in_each(folder.path());
    let [a, b] = [&slow, &fast].map(|partition| partition.home());
    for partition in [&slow, &fast] {
        append(partition, &one_record(BatchBuilder::new())).unwrap();
    }
    let (tell, told) = std::sync::mpsc::channel();
    let leave = move |directory: LogDirectory| {
        tell.send(directory.path().to_owned()).unwrap();
        Ok(())
    };
    // As whoever waits for its disk while it writes.
    let written_to = slow.lock();
    let error = all.close(0, Duration::from_millis(1), |_| true, leave).unwrap_err();
    assert!(error.to_string().contains("close the log directory"), "{error}");
    assert_eq!(told.recv_timeout(Duration::from_secs(30)).unwrap(), b.path());
    let points = |directory: &Directory| directory.path().join(RECOVERY_POINT_CHECKPOINT);
    assert_eq!(checkpoint::read_offsets(&points(&b)).unwrap()[&fast.name], Offset(1));
    assert!(!points(&a).exists());

    // Whoever comes late writes nothing over that.
    assert!(checkpoints::write_log_starts(&all, &b).is_err());
    checkpoints::write(&all, &b);
    assert_eq!(checkpoint::read_offsets(&points(&b)).unwrap()[&fast.name], Offset(1), "and not the offset before it");
    drop(written_to);
    assert_eq!(told.recv_timeout(Duration::from_secs(30)).unwrap(), a.path());
}

#[test]
fn the_directory_that_is_still_written_to_is_not_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (all, [first, second]) = one_in_each(folder.path());
    let [in_use, other] = [&first, &second].map(|partition| partition.home());
    let (tell, told) = std::sync::mpsc::channel();
    let leave = move |directory: LogDirectory| {
        tell.send(directory.path().to_owned()).unwrap();
        Ok(())
    };
    all.close(0, PATIENCE, |path| path != in_use.path(), leave).unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [other.path()]);
    append(&first, &one_record(BatchBuilder::new())).unwrap();
    assert!(append(&second, &one_record(BatchBuilder::new())).is_err());
}

/// Or the next start believes all of it.
#[test]
fn a_directory_with_a_log_that_nobody_has_checked_is_not_left_cleanly() {
    for (left, is_clean) in [(Left::Unknown, false), (Left::Cleanly, true)] {
        let folder = tempfile::tempdir().unwrap();
        one_record_in_b(folder.path());
        let all = in_two_directories(folder.path()).unwrap();
        let name = TopicPartition::new("t", 0);
        let log = all.found().remove(&name).expect("it is there");
        drop(log);
        let options = OpenLog {
            topic_partition: name.clone(),
            left,
            recovery_point: Offset(0),
            log_start_offset: Offset(0),
            now_ms: 0,
            producers: ProducerCount::default(),
        };
        all.unopened().insert(name, options);
        let left: Vec<_> = close(all).unwrap().iter().map(|directory| directory.path().to_owned()).collect();
        assert_eq!(left.contains(&folder.path().join("b")), is_clean, "{left:?}");
    }
}

#[test]
fn a_disk_that_cannot_be_looked_at_keeps_no_other_from_being_found_full() {
    let folder = tempfile::tempdir().unwrap();
    let (config, watch) = (config(folder.path()), Arc::new(Watch::default()));
    let [a, b] = ["a", "b"].map(|name| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        Arc::new(Directory::unheld(path, None, Arc::clone(&watch)))
    });
    let (tell, told) = std::sync::mpsc::channel();
    let threads = [&a, &b].map(|directory| {
        let room = Room { directory: Arc::clone(directory), running: config.running.clone() };
        let tell = tell.clone();
        room.look_after(&watch, move || tell.send(()).unwrap()).unwrap()
    });
    let does_not_answer = a.hang();
    let set = |bytes: &str| {
        let own = BTreeMap::from([("ottla.disk.reserve.bytes".to_owned(), bytes.to_owned())]);
        config.running.take_over(&config.values(&own, &BTreeMap::new()));
    };
    set("9223372036854775807");
    wait_until("it is full", || b.is_full());
    assert!(!a.is_full());
    set("0");
    told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(!b.is_full());
    drop(does_not_answer);
    watch.stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test]
async fn where_logs_start_is_written_down_in_each_directory_by_itself_and_told_if_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (all, [slow, fast]) = one_in_each(folder.path());
    let [a, b] = [&slow, &fast].map(|partition| partition.home());
    append(&fast, &one_record(BatchBuilder::new())).unwrap();
    let fifo = a.path().join(LOG_START_CHECKPOINT);
    hang(&fifo);
    let waiting = tokio::spawn({
        let (all, a) = (Arc::clone(&all), Arc::clone(&a));
        async move { a.starts_moved.write(&all, &a).await }
    });
    tokio::task::yield_now().await;
    assert!(b.starts_moved.write(&all, &b).await);
    assert!(!waiting.is_finished());
    go_on(&fifo);
    assert!(waiting.await.unwrap());

    fast.delete_records(None).unwrap();
    let obstacle = b.path().join(format!("{LOG_START_CHECKPOINT}.tmp"));
    fs::create_dir(&obstacle).unwrap();
    assert!(!b.starts_moved.write(&all, &b).await);
    fs::remove_dir(&obstacle).unwrap();
    assert!(b.starts_moved.write(&all, &b).await);
    let starts = checkpoint::read_offsets(&b.path().join(LOG_START_CHECKPOINT)).unwrap();
    assert_eq!(starts[&fast.name], Offset(1));
    b.on_error(&failure(b.path(), Errno::IO));
    assert!(!b.starts_moved.write(&all, &b).await);
}

#[test]
fn a_partition_is_made_where_somebody_has_asked_for_it_before_once() {
    let folder = tempfile::tempdir().unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    let [a, b] = ["a", "b"].map(|name| directory(&all, name).clone());
    let (mut topic, settings) = topic(folder.path());
    let mut made_in = |assigned: &Directory| {
        topic.partitions.insert(PartitionIndex(0), in_directory(assigned.id().unwrap()));
        all.host(&topic, &settings, 0).unwrap();
        let home = all.find("t", 0).unwrap().home();
        all.drop_topic("t", 0);
        home.path().file_name().unwrap().to_owned()
    };
    for (wished, other) in [(&a, &b), (&b, &a)] {
        all.wish_for(TopicPartition::new("t", 0), other).unwrap();
        all.wish_for(TopicPartition::new("t", 0), wished).unwrap();
        assert_eq!(made_in(other), wished.path().file_name().unwrap());
        assert_eq!(made_in(other), other.path().file_name().unwrap(), "the wish was granted");
    }
    for index in 0..=WISHES_MAX as i32 {
        all.wish_for(TopicPartition::new("other", index), &a).unwrap();
    }
    assert_eq!(all.wishes().len(), WISHES_MAX);
    all.wish_for(TopicPartition::new("other", 0), &b).unwrap();
    assert_eq!(all.wishes()[&TopicPartition::new("other", 0)].path(), b.path());
    b.on_error(&failure(b.path(), Errno::IO));
    assert_eq!(all.wish_for(TopicPartition::new("t", 0), &b), Err(ErrorCode::KafkaStorageError));
}

#[test]
fn a_second_log_whose_topic_cannot_be_read_takes_its_directory_offline_and_not_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let [a, b] = ["a/t-0", "b/t-0"].map(|name| folder.path().join(name));
    fs::create_dir(&a).unwrap();
    write_partition_metadata(&a, Uuid(7)).unwrap();
    // What the disk would say of a sector that cannot be read.
    fs::remove_file(b.join("partition.metadata")).unwrap();
    std::os::unix::fs::symlink("partition.metadata", b.join("partition.metadata")).unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    assert!(directory(&all, "b").failure().unwrap().contains("partition.metadata"));
    assert!(directory(&all, "a").is_online());
    // It may be the other one that has the records.
    let (topic, settings) = topic(folder.path());
    all.host(&topic, &settings, 0).unwrap_err();
    assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
}

#[test]
fn a_log_that_is_gone_with_its_folder_is_missed_until_it_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let [log, moved] = ["b/t-0", "a/t-0"].map(|name| folder.path().join(name));
    let doomed = log.with_file_name(format!("t-0.{:032x}-delete", 7));
    let points = folder.path().join("b/recovery-point-offset-checkpoint");
    let written = fs::read(&points).unwrap();
    for (to, is_missed) in [(&moved, false), (&doomed, false), (&folder.path().join("out of the way"), true)] {
        fs::rename(&log, to).unwrap();
        fs::write(&points, &written).unwrap();
        let all = in_two_directories(folder.path()).unwrap();
        let name = TopicPartition::new("t", 0);
        assert_eq!(all.missing().get(&name), is_missed.then_some(&Offset(1)), "{}", to.display());
        if is_missed {
            host(&all, folder.path());
            assert_eq!(all.missing().len(), 0, "it was told");
        }
        drop(all);
        if to == &doomed {
            // The start has removed it.
            fs::create_dir(&log).unwrap();
        } else if to == &moved {
            fs::rename(to, &log).unwrap();
        }
    }
}

#[test]
fn no_log_is_begun_in_the_mount_point_that_an_unmounted_volume_leaves() {
    for moves in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let all = in_two_directories(folder.path()).unwrap();
        let [a, b] = ["a", "b"].map(|name| directory(&all, name).clone());
        let (mut topic, settings) = topic(folder.path());
        all.wish_for(TopicPartition::new("t", 0), &a).unwrap();
        all.host(&topic, &settings, 0).unwrap();
        fs::rename(b.path(), folder.path().join("volume")).unwrap();
        fs::create_dir(b.path()).unwrap();
        if moves {
            let moved = all.move_to(&all.find("t", 0).unwrap(), &b, 0);
            assert_eq!(moved, Err(ErrorCode::KafkaStorageError));
        } else {
            topic.partitions.insert(PartitionIndex(1), Arc::new(registration()));
            all.wish_for(TopicPartition::new("t", 1), &b).unwrap();
            all.host(&topic, &settings, 0).unwrap_err();
            assert_eq!(all.find("t", 1).err(), Some(ErrorCode::KafkaStorageError));
        }
        assert!(!b.is_online());
        assert_eq!(fs::read_dir(b.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_log_directory_that_is_a_file_is_offline_unless_it_is_to_hold_the_metadata() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b"), "").unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    assert!(directory(&all, "a").is_online());
    let failure = directory(&all, "b").failure().unwrap().to_owned();
    assert!(failure.contains("log.dirs"), "{failure}");
    drop(close(all));
    let error = in_directories(folder.path(), &["b", "a"]).err().unwrap().to_string();
    assert!(error.contains("b is no directory"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_read_at_the_start_does_not_keep_the_others_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let known = in_two_directories(folder.path()).unwrap();
    let [a, b] = ["a", "b"].map(|name| directory(&known, name).id().unwrap());
    drop(close(known));
    // As of a disk that is not there: its papers cannot be read.
    let papers = folder.path().join("b/meta.properties");
    fs::remove_file(&papers).unwrap();
    std::os::unix::fs::symlink("meta.properties", &papers).unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    assert_eq!(all.online_ids(), [a]);
    assert!(directory(&all, "b").failure().unwrap().contains("meta.properties"));

    // The metadata knows that it lies in `b`; or does not know where it lies.
    let (mut topic, settings) = topic(folder.path());
    topic.partitions.insert(
        PartitionIndex(0),
        Arc::new(ottla_metadata::image::Partition { leader: None, ..(*in_directory(b)).clone() }),
    );
    all.host(&topic, &settings, 0).unwrap();
    assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
    topic.partitions.insert(PartitionIndex(0), in_directory(UNASSIGNED_DIRECTORY));
    let error = all.host(&topic, &settings, 0).unwrap_err().to_string();
    assert!(error.contains("b, which is offline"), "{error}");
    assert!(!folder.path().join("a/t-0").exists(), "an empty log is not put into the place of one that may be there");

    // A topic that is made from now on is another matter, where it is told from one of before.
    all.has_started();
    topic.partitions.insert(PartitionIndex(0), in_directory(MIGRATING_DIRECTORY));
    let error = all.host(&topic, &settings, 0).unwrap_err().to_string();
    assert!(error.contains("b, which is offline"), "{error}");
    topic.partitions.insert(PartitionIndex(0), in_directory(UNASSIGNED_DIRECTORY));
    all.host(&topic, &settings, 0).unwrap();
    assert!(folder.path().join("a/t-0").exists());
}

#[test]
fn the_directory_of_the_metadata_and_the_last_one_have_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let papers = folder.path().join("a/meta.properties");
    fs::remove_file(&papers).unwrap();
    std::os::unix::fs::symlink("meta.properties", &papers).unwrap();
    let error = in_two_directories(folder.path()).err().unwrap().to_string();
    assert!(error.contains("a/meta.properties"), "{error}");
}

#[test]
fn where_replicas_lie_is_told_if_the_metadata_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let all = in_two_directories(folder.path()).unwrap();
    let b = directory(&all, "b").id().unwrap();
    let (mut topic, settings) = topic(folder.path());
    topic.partitions.insert(PartitionIndex(0), in_directory(UNASSIGNED_DIRECTORY));
    topic.partitions.insert(PartitionIndex(1), in_directory(b));
    all.host(&topic, &settings, 0).unwrap();
    assert_eq!(all.find("t", 1).unwrap().home().path(), folder.path().join("b"), "as it was assigned");
    let placed = PlacedReplica { topic_id: topic.id, partition: PartitionIndex(0), directory: b };
    assert_eq!(all.take_misplaced(), [placed]);
    assert_eq!(all.take_misplaced(), []);
}

#[test]
fn a_full_directory_takes_nothing_from_clients_and_is_read_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let partition = lead(folder.path(), open_log(folder.path(), LogConfig::default()));
    append(&partition, &one_record(BatchBuilder::new())).unwrap();
    let home = partition.home();
    home.on_error(&failure(folder.path(), Errno::NOSPC));
    let failed = append(&partition, &one_record(BatchBuilder::new())).unwrap_err();
    assert_eq!(failed.code(), ErrorCode::NotEnoughReplicas);
    assert!(read_from(&partition, Reader::Uncommitted, 0).slice.is_some());
    // The broker's own records are few, and free room in the end: commits that are deleted.
    let bytes = one_record(BatchBuilder::new()).build().unwrap();
    let placed = partition.append_own(&Batch::parse(&bytes).unwrap().0, 0).unwrap();
    assert_eq!(placed.base_offset, Offset(1));
    assert!(home.on_room(1000, 900, Some(100)));
    append(&partition, &one_record(BatchBuilder::new())).unwrap();
}

#[test]
fn a_log_for_which_there_is_no_room_is_opened_when_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let held = host(&all, folder.path());
    for _ in 0..3 {
        append(&held, &one_record(BatchBuilder::new())).unwrap();
    }
    held.delete_records(Some(Offset(2))).unwrap();
    let name = held.name.clone();
    drop(held);
    let options = OpenLog {
        topic_partition: name.clone(),
        left: ottla_storage::Left::Unknown,
        recovery_point: Offset(0),
        log_start_offset: Offset(2),
        now_ms: 0,
        producers: ProducerCount::default(),
    };
    drop(all);
    // As a start leaves it that found no room.
    let mut loaded = open_directories(&config(folder.path()), || 4).unwrap();
    assert!(loaded.logs.remove(&name).is_some());
    loaded.unopened.insert(name.clone(), options);
    let all = Partitions::new(&config(folder.path()), loaded);
    write_checkpoints(&all);
    let starts = checkpoint::read_offsets(&folder.path().join(LOG_START_CHECKPOINT)).unwrap();
    assert_eq!(starts[&name], Offset(2), "what is known of it is kept");
    let positions = host(&all, folder.path()).positions();
    assert_eq!((positions.log_start, positions.log_end), (Offset(2), Offset(3)));
}

#[test]
fn what_cannot_be_unlinked_on_a_full_disk_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_log(folder.path(), LogConfig { retention_bytes: Some(0), ..LogConfig::default() });
    let partition = lead(folder.path(), log);
    append(&partition, &one_record(BatchBuilder::new())).unwrap();
    partition.with_log(|log, high_watermark| log.enforce_retention(0, high_watermark)).unwrap();
    let deleted = folder.path().join("t-0/00000000000000000000.log.deleted");
    fs::remove_file(&deleted).unwrap();
    fs::create_dir(&deleted).unwrap();
    partition.home().on_error(&StorageError::io("write", folder.path())(rustix::io::Errno::NOSPC.into()));
    assert!(partition.is_full());
    partition.purge_deleted(1).unwrap_err();
    fs::remove_dir(&deleted).unwrap();
    fs::write(&deleted, "").unwrap();
    partition.purge_deleted(2).unwrap();
    assert!(!deleted.exists());
}

#[test]
fn a_deleted_topic_gives_the_room_back_of_a_log_that_could_not_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let held = host(&all, folder.path());
    append(&held, &one_record(BatchBuilder::new())).unwrap();
    drop((all, held));
    let metadata = folder.path().join("t-0/partition.metadata");
    let whole = fs::read(&metadata).unwrap();
    fs::remove_file(&metadata).unwrap();
    fs::create_dir(&metadata).unwrap();
    let all = partitions(folder.path());
    let (topic, settings) = topic(folder.path());
    all.host(&topic, &settings, 0).unwrap_err();
    fs::remove_dir(&metadata).unwrap();
    fs::write(&metadata, whole).unwrap();
    all.drop_topic("t", 0);
    assert!(!folder.path().join("t-0").exists());
    all.purge_doomed(0).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("t-0")), "{left:?}");
    let again = Topic { id: Uuid(78), ..topic };
    all.host(&again, &settings, 0).unwrap();
    assert_eq!(all.find("t", 0).unwrap().positions().log_end, Offset(0));
}

#[test]
fn a_full_disk_does_not_wait_for_those_who_read_what_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let held = host(&all, folder.path());
    let home = held.home();
    all.drop_topic("t", 0);
    let left = || {
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with("-delete")).count()
    };
    all.purge_doomed(1).unwrap();
    assert_eq!(left(), 1);
    home.on_error(&StorageError::io("write", folder.path())(rustix::io::Errno::NOSPC.into()));
    all.purge_doomed(1).unwrap();
    assert_eq!(left(), 0);
}

#[test]
fn a_directory_that_fails_is_checked_in_full_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let home = host(&all, folder.path()).home();
    assert!(folder.path().join("ottla-boot").exists());
    home.on_error(&StorageError::io("read", folder.path())(rustix::io::Errno::IO.into()));
    assert!(!folder.path().join("ottla-boot").exists());
}
