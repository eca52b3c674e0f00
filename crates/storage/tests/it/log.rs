//! A whole log of the fixture `kafka-4.4`: opened, read, left again with Kafka's bytes in every file.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ottla_base::{LeaderEpoch, Offset, TopicPartition};
use ottla_protocol::records::Batches;
use ottla_storage::{Left, Log, LogConfig, OpenLog, ProducerCount, Recovery};

const FILES: [&str; 5] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000011.snapshot",
    "leader-epoch-checkpoint",
];

fn theirs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.4/u-0")
}

fn open(folder: &Path, clean: bool, recovery_point: i64) -> (Log, Recovery) {
    let config = LogConfig { index_interval_bytes: 50, ..LogConfig::default() };
    let options = OpenLog {
        topic_partition: TopicPartition::new("u", 0),
        left: if clean { Left::Cleanly } else { Left::Unknown },
        recovery_point: Offset(recovery_point),
        log_start_offset: Offset(0),
        now_ms: 0,
        producers: ProducerCount::default(),
    };
    let opened = Log::open(folder, config, options).unwrap();
    opened.0.check();
    opened
}

fn check_contents(log: &Log) {
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(11)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
    let slice = log.read(Offset(0), u32::MAX, Offset(11), true).unwrap();
    let mut bytes = vec![0; slice.length as usize];
    slice.file.read_exact_at(&mut bytes, slice.position).unwrap();
    let batches: Vec<(i64, i32)> = Batches::new(&bytes)
        .map(|batch| batch.unwrap())
        .inspect(|batch| assert!(batch.is_crc_valid()))
        .map(|batch| (batch.header().base_offset.0, batch.header().record_count))
        .collect();
    assert_eq!(batches, [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (6, 1), (7, 3), (10, 1)]);
    for (time, offset) in [(0, 0), (1795244500726, 1), (1795244506926, 5), (1795244507036, 6), (1795244507064, 10)] {
        let found = log.offset_for_timestamp(time, Offset(11)).unwrap().unwrap();
        assert_eq!(found.offset, Offset(offset), "the first record as late as {time}");
    }
    assert_eq!(log.offset_for_timestamp(1795244507127, Offset(11)).unwrap(), None);
    assert_eq!(log.max_timestamp().unwrap().unwrap().offset, Offset(10));
    let producers: Vec<i64> = log.producers().entries().map(|entry| entry.producer_id.0).collect();
    assert_eq!(producers, [3, 4, 5, 6, 7]);
}

#[test]
fn a_log_is_the_same_after_a_clean_stop_a_crash_and_the_loss_of_all_that_can_be_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("u-0");
    for (clean, lost) in [(true, &[][..]), (false, &[]), (true, &FILES[1..]), (false, &FILES[1..])] {
        fs::create_dir_all(&ours).unwrap();
        for name in FILES.iter().filter(|name| !lost.contains(name)) {
            fs::copy(theirs().join(name), ours.join(name)).unwrap();
        }
        // Leader epochs are only found again in segments that are read.
        if clean && !lost.is_empty() {
            fs::copy(theirs().join(FILES[4]), ours.join(FILES[4])).unwrap();
        }
        let (mut log, recovery) = open(&ours, clean, 0);
        assert_eq!((recovery.cut, recovery.scanned_segments), (None, usize::from(!clean)));
        check_contents(&log);
        log.on_high_watermark(Offset(11));
        assert_eq!(log.last_stable_offset(Offset(11)), Offset(11), "both transactions are over");
        log.close(0).unwrap();
        for name in FILES {
            assert_eq!(fs::read(ours.join(name)).unwrap(), fs::read(theirs().join(name)).unwrap(), "{name}");
        }
        fs::remove_dir_all(&ours).unwrap();
    }
}
