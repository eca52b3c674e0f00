//! What is deleted, and that it stays deleted: as a client sees it, by a real clock.

use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ottla_e2e::{RawClient, body};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_records_request::{DeleteRecordsRequest, Partition, Topic};
use ottla_protocol::messages::delete_records_response::DeleteRecordsResponse;
use ottla_protocol::records::BatchBuilder;

use super::{batch, connect, create_topic, create_topic_with, options, produce};

const RETENTION: Duration = Duration::from_secs(5);
/// A segment's span, the time between two checks and the housekeeping's tick; and as much again for a machine that is busy.
const LATE: Duration = Duration::from_secs(2);
const RECORDS: usize = 90;
const A_RECORD_EVERY: Duration = Duration::from_millis(100);

#[test]
fn with_ten_records_a_second_and_five_seconds_to_stay_nothing_stays_for_seven() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic_with(&mut client, "t", 1, &[("retention.ms", "5000")]);
    let (begun, mut came, mut log_start) = (Instant::now(), Vec::new(), 0);
    for number in 0..RECORDS {
        thread::sleep((A_RECORD_EVERY * number as u32).saturating_sub(begun.elapsed()));
        let now_ms = UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis() as i64;
        let mut builder = BatchBuilder::new();
        builder.push(now_ms, None, Some(b"value"), &[]);
        came.push(Instant::now());
        let placed = produce(&mut client, "t", 1, &builder.build().expect("memory")).expect("it is answered");
        assert_eq!((placed.error_code, placed.base_offset), (0, number as i64));
        log_start = usize::try_from(placed.log_start_offset).expect("it is known");
        assert!(came[log_start].elapsed() <= RETENTION + LATE, "record {log_start} is still there");
        if let Some(deleted) = log_start.checked_sub(1) {
            assert!(came[deleted].elapsed() >= RETENTION, "record {deleted} is gone already");
        }
    }
    assert!(log_start > 0, "something was deleted");
}

fn delete_before(client: &mut RawClient, offset: i64) {
    let partition = Partition { partition_index: 0, offset };
    let topics = vec![Topic { name: "t".into(), partitions: vec![partition] }];
    let answer = client.ask(ApiKey::DeleteRecords, 2, &DeleteRecordsRequest { topics, timeout_ms: 10_000 });
    let answer = answer.expect("it is answered");
    let response: DeleteRecordsResponse<'_> = body(&answer, ApiKey::DeleteRecords, 2);
    assert_eq!(response.topics[0].partitions[0].error_code, 0, "{response:?}");
}

#[test]
fn records_that_were_deleted_on_request_do_not_come_back_with_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    create_topic(&mut connect(&broker), "t");
    for (deleted, end) in [(3, 5), (10, 10)] {
        let mut client = connect(&broker);
        while produce(&mut client, "t", 1, &batch(b"x")).expect("it is answered").base_offset < end - 1 {}
        delete_before(&mut client, deleted);
        broker = broker.kill().start();
        let placed = produce(&mut connect(&broker), "t", 1, &batch(b"y")).expect("it is answered");
        assert_eq!((placed.base_offset, placed.log_start_offset), (end, deleted));
    }
}
