//! Each small file of the fixture `kafka-4.4`: reading gives what `kafka-dump-log` prints, writing gives Kafka's bytes.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_base::{BrokerId, Offset, ProducerEpoch, TopicPartition};
use ottla_storage::producer_snapshot::{decode_snapshot, encode_snapshot, list_snapshots, snapshot_path};
use ottla_storage::{
    LeaderEpochs, LogDirectory, MetaProperties, OffsetIndex, PartitionFolder, ProducerCount, Producers, TimeIndex,
    checkpoint, read_partition_metadata, write_partition_metadata,
};

const INDEX_BYTES_MAX: u32 = 10 << 20;

fn kafka(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.4").join(name)
}

fn same_bytes(ours: &Path, theirs: &Path) {
    assert_eq!(fs::read(ours).unwrap(), fs::read(theirs).unwrap(), "{}", theirs.display());
}

#[test]
fn the_offset_index() {
    let theirs = kafka("u-0/00000000000000000000.index");
    let entries = OffsetIndex::open(&theirs, Offset(0), INDEX_BYTES_MAX).unwrap().entries().unwrap();
    let pairs: Vec<_> = entries.iter().map(|entry| (entry.offset.0, entry.position)).collect();
    assert_eq!(pairs, [(1, 130), (2, 260), (3, 390), (5, 520), (6, 799), (9, 877), (10, 1265)]);

    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("00000000000000000000.index");
    let mut index = OffsetIndex::create(&ours, Offset(0), INDEX_BYTES_MAX).unwrap();
    for entry in entries {
        index.append(entry.offset, entry.position).unwrap();
    }
    index.trim().unwrap();
    same_bytes(&ours, &theirs);
}

#[test]
fn the_time_index() {
    let theirs = kafka("u-0/00000000000000000000.timeindex");
    let entries = TimeIndex::open(&theirs, Offset(0), INDEX_BYTES_MAX).unwrap().entries().unwrap();
    let offsets: Vec<_> = entries.iter().map(|entry| entry.offset.0).collect();
    assert_eq!(offsets, [1, 2, 3, 5, 6, 10]);
    assert_eq!(entries[0].timestamp, 1_795_244_502_147);

    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("00000000000000000000.timeindex");
    let mut index = TimeIndex::create(&ours, Offset(0), INDEX_BYTES_MAX).unwrap();
    for entry in entries {
        index.maybe_append(entry.timestamp, entry.offset).unwrap();
    }
    index.trim().unwrap();
    same_bytes(&ours, &theirs);
}

#[test]
fn the_producer_snapshot() {
    let offset = *list_snapshots(&kafka("u-0")).unwrap().last().unwrap();
    let path = snapshot_path(&kafka("u-0"), offset);
    let entries = decode_snapshot(&path, &fs::read(&path).unwrap()).unwrap();
    assert_eq!((offset, entries.len()), (Offset(11), 5));
    let last = entries[4];
    assert_eq!((last.producer_epoch, last.last_sequence, last.coordinator_epoch), (ProducerEpoch(2), -1, 0));

    let bytes = encode_snapshot(Producers::from_snapshot(entries, ProducerCount::default()).entries());
    assert_eq!(bytes, fs::read(path).unwrap());
}

#[test]
fn the_files_of_text() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(LeaderEpochs::open(&kafka("u-0")).unwrap().entries().len(), 1);
    let mut epochs = LeaderEpochs::open(folder.path()).unwrap();
    epochs.assign(0.into(), Offset(0));
    epochs.catch_up().unwrap();
    same_bytes(&folder.path().join("leader-epoch-checkpoint"), &kafka("u-0/leader-epoch-checkpoint"));

    let topic_id = read_partition_metadata(&kafka("u-0")).unwrap().unwrap();
    write_partition_metadata(folder.path(), topic_id).unwrap();
    same_bytes(&folder.path().join("partition.metadata"), &kafka("u-0/partition.metadata"));

    let recovery_points = checkpoint::read_offsets(&kafka(checkpoint::RECOVERY_POINT_CHECKPOINT)).unwrap();
    assert_eq!(recovery_points.len(), 52);
    assert_eq!(recovery_points[&TopicPartition::new("u", 0)], Offset(11));

    let properties = MetaProperties::read(&kafka("")).unwrap().unwrap();
    assert_eq!((properties.cluster_id.as_str(), properties.node_id), ("7EUsbRXl96zxj69iGtngdQ", BrokerId(1)));
    assert_eq!(properties.directory_id.to_string(), "Rr4L0yx6SLyjA54B0lkelg");
}

#[test]
fn a_whole_directory() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(kafka(".kafka_cleanshutdown"), folder.path().join(".kafka_cleanshutdown")).unwrap();
    for name in ["u-0", "__cluster_metadata-0", "u-1.0123456789abcdef0123456789abcdef-delete"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let directory = LogDirectory::lock(folder.path()).unwrap();
    let shutdown = directory.take_clean_shutdown().unwrap().unwrap();
    assert_eq!(shutdown.broker_epoch, Some(12));
    directory.write_clean_shutdown(12).unwrap();
    same_bytes(&folder.path().join(".kafka_cleanshutdown"), &kafka(".kafka_cleanshutdown"));
    let partitions: Vec<_> = directory.partitions().unwrap();
    let names: Vec<_> = partitions.iter().map(|PartitionFolder { partition, .. }| partition.to_string()).collect();
    assert_eq!(names, ["__cluster_metadata-0", "u-0", "u-1"]);
}
