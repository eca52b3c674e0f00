//! Records that are safe only once they were flushed: `ottla.flush.before.ack` and `flush.messages`.

use super::*;

fn flushed_before_ack(folder: &Path) -> Arc<Partition> {
    lead(folder, open_log(folder, LogConfig { flush_before_ack: true, ..LogConfig::default() }))
}

fn append_one(partition: &Arc<Partition>) -> Offset {
    append(partition, &one_record(BatchBuilder::new())).unwrap().next_offset
}

fn high_watermark(partition: &Partition) -> Offset {
    partition.positions().high_watermark
}

#[test]
fn nothing_is_acknowledged_or_shown_before_a_flush_that_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let partition = flushed_before_ack(folder.path());
    let next = append_one(&partition);
    for acks in [Acks::Leader, Acks::All] {
        assert_eq!(partition.is_acknowledged(acks, next), Ok(false));
    }
    assert_eq!(partition.is_acknowledged(Acks::None, next), Ok(true), "nobody waits");
    assert_eq!((high_watermark(&partition), partition.positions().log_end), (Offset(0), Offset(1)));
    assert!(read_from(&partition, Reader::Uncommitted, 0).slice.is_none());
    assert!(read_from(&partition, Reader::Debug, 0).slice.is_some());

    assert!(partition.home().flusher.run_one());
    for acks in [Acks::Leader, Acks::All] {
        assert_eq!(partition.is_acknowledged(acks, next), Ok(true));
    }
    assert_eq!(high_watermark(&partition), Offset(1));
    assert!(read_from(&partition, Reader::Uncommitted, 0).slice.is_some());
}

#[tokio::test]
async fn whoever_flushes_those_who_wait_are_woken() {
    let folder = tempfile::tempdir().unwrap();
    let partition = flushed_before_ack(folder.path());
    let next = append_one(&partition);
    let waiting = tokio::spawn({
        let partition = Arc::clone(&partition);
        async move { partition.acknowledged(Acks::All, next).await }
    });
    tokio::task::yield_now().await;
    // As the cleaner does it.
    partition.with_log(|log, _| log.flush(0).unwrap());
    assert!(partition.home().flusher.run_one());
    let acknowledged = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await;
    assert!(matches!(acknowledged, Ok(Ok(Ok(())))), "{acknowledged:?}");
}

#[test]
fn many_appends_share_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let partition = flushed_before_ack(folder.path());
    for _ in 0..50 {
        append_one(&partition);
    }
    let home = partition.home();
    assert!(home.flusher.run_one());
    assert_eq!(high_watermark(&partition), Offset(50));
    assert!(!home.flusher.run_one(), "one was enough");
    append_one(&partition);
    assert!(home.flusher.run_one());
    assert_eq!(high_watermark(&partition), Offset(51));
}

#[test]
fn a_repeated_batch_waits_for_the_flush_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let partition = flushed_before_ack(folder.path());
    let numbered = one_record(BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), 0));
    let first = append(&partition, &numbered).unwrap();
    let again = append(&partition, &numbered).unwrap();
    assert_eq!((again.base_offset, again.next_offset), (first.base_offset, first.next_offset));
    assert_eq!(partition.is_acknowledged(Acks::Leader, again.next_offset), Ok(false));
    assert!(partition.home().flusher.run_one());
    assert_eq!(partition.is_acknowledged(Acks::Leader, again.next_offset), Ok(true));
}

#[test]
fn flush_messages_holds_back_the_batch_that_reaches_it_and_those_behind() {
    let folder = tempfile::tempdir().unwrap();
    let partition =
        lead(folder.path(), open_log(folder.path(), LogConfig { flush_messages: Some(3), ..LogConfig::default() }));
    for expected in [Ok(true), Ok(true), Ok(false), Ok(false)] {
        let next = append_one(&partition);
        assert_eq!(partition.is_acknowledged(Acks::Leader, next), expected, "{next}");
    }
    assert_eq!(high_watermark(&partition), Offset(2), "what was safe stays so");
    assert!(partition.home().flusher.run_one());
    assert_eq!(high_watermark(&partition), Offset(4));
    let next = append_one(&partition);
    assert_eq!(partition.is_acknowledged(Acks::Leader, next), Ok(true));
}

#[test]
fn the_setting_may_come_and_go_while_the_partition_is_led() {
    let folder = tempfile::tempdir().unwrap();
    let partition = lead(folder.path(), open_log(folder.path(), LogConfig::default()));
    append_one(&partition);
    let configure = |flush_before_ack| {
        let log = LogConfig { flush_before_ack, ..LogConfig::default() };
        partition.configure(partition.settings(), log);
    };
    configure(true);
    assert_eq!(high_watermark(&partition), Offset(1), "nothing is taken back");
    append_one(&partition);
    assert_eq!(high_watermark(&partition), Offset(1));
    assert!(partition.home().flusher.run_one());
    assert_eq!(high_watermark(&partition), Offset(2));
    configure(false);
    append_one(&partition);
    assert_eq!(high_watermark(&partition), Offset(3));
}

#[test]
fn what_a_kill_left_in_the_page_cache_is_flushed_before_it_is_shown() {
    let flushed = || LogConfig { flush_before_ack: true, ..LogConfig::default() };
    // A log is opened before its topic is known, or with its settings.
    for opened_with in [LogConfig::default(), flushed()] {
        let folder = tempfile::tempdir().unwrap();
        let log = open_log(folder.path(), LogConfig::default());
        let before = lead(folder.path(), log);
        append_one(&before);
        drop(before);
        let mut log = open_log(folder.path(), opened_with);
        assert_eq!((log.end_offset(), log.flushed_offset()), (Offset(1), Offset(0)));
        log.configure(flushed());
        let partition = lead(folder.path(), log);
        assert_eq!(high_watermark(&partition), Offset(0));
        partition.want_flush();
        assert!(partition.home().flusher.run_one());
        assert_eq!(high_watermark(&partition), Offset(1));
    }
}

#[tokio::test]
async fn producers_and_readers_are_woken_by_the_flush() {
    let folder = tempfile::tempdir().unwrap();
    let partition = flushed_before_ack(folder.path());
    let reader = crate::partitions::parked::Parked::new();
    partition.parked.register(&reader);
    let next = append_one(&partition);
    let waiting = {
        let partition = partition.clone();
        tokio::spawn(async move { partition.acknowledged(Acks::All, next).await })
    };
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert!(partition.home().flusher.run_one());
    assert_eq!(waiting.await.unwrap(), Ok(()));
    reader.changed().await;
}

#[tokio::test]
async fn producers_that_wait_are_told_where_their_topic_goes_or_the_disk_fails() {
    let folder = tempfile::tempdir().unwrap();
    let partition = flushed_before_ack(folder.path());
    let next = append_one(&partition);
    partition.end();
    partition.rename_folder("t-0.00000000000000000000000000000001-delete").unwrap();
    assert_eq!(partition.acknowledged(Acks::All, next).await, Err(ErrorCode::UnknownTopicOrPartition));
    assert!(partition.home().flusher.run_one(), "it was in the queue");

    let folder = tempfile::tempdir().unwrap();
    let partition = flushed_before_ack(folder.path());
    let next = append_one(&partition);
    let waiting = {
        let partition = partition.clone();
        tokio::spawn(async move { partition.acknowledged(Acks::Leader, next).await })
    };
    tokio::task::yield_now().await;
    partition.broken(&StorageError::io("flush", folder.path())(rustix::io::Errno::IO.into()));
    partition.wake_all();
    assert_eq!(waiting.await.unwrap(), Err(ErrorCode::KafkaStorageError));
}
