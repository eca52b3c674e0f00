//! A compacted topic under producers, whose broker is killed again and again: the last value of each key is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla_base::Random;
use ottla_e2e::{RawClient, body};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::DeleteTopicsResponse;
use ottla_protocol::records::{BatchBuilder, Batches, Compression, Decompressor};

use super::dynamic::set;
use super::metrics::get;
use super::{connect, create_topic_with, fetch, options, produce};

const TOPIC: &str = "latest";
/// Each producer has its own keys, and overwrites them in turn.
const PRODUCERS: u32 = 3;
const KEYS: u32 = 40;
const RECORDS: u32 = 20;
const VALUE_BYTES: usize = 2000;
const KILLS: usize = 6;
/// A broker lives for so many milliseconds, more or less, until the next kill.
const LIVES_MS: u64 = 400;
const COMPACTED_WITHIN: Duration = Duration::from_secs(60);

/// Key, and the number of its value: from producer `producer`, its record number `number`.
fn row(producer: u32, number: u32) -> (u32, u32) {
    (producer * KEYS + number * 7 % KEYS, number)
}

fn batch(producer: u32, first: u32) -> Vec<u8> {
    let codec = Compression::ALL[producer as usize % Compression::ALL.len()];
    let mut builder = BatchBuilder::new().compression(codec, None);
    for number in first..first + RECORDS {
        let (key, number) = row(producer, number);
        let mut value = number.to_be_bytes().to_vec();
        // Bytes that no codec packs.
        let mut random = Random::new(u64::from(number) << 32 | u64::from(key));
        value.extend((0..VALUE_BYTES / 8).flat_map(|_| random.next_u64().to_be_bytes()));
        builder.push(1, Some(&key.to_be_bytes()), Some(&value), &[]);
    }
    builder.build().expect("memory")
}

fn create(client: &mut RawClient, name: &str) {
    create_topic_with(client, name, 1, &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.3")]);
}

/// What a reader has of each key at the end, and how many records it saw on the way.
fn read_all(client: &mut RawClient, topic: &str) -> (BTreeMap<u32, u32>, usize) {
    let (mut latest, mut count, mut at) = (BTreeMap::new(), 0, 0);
    let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
    loop {
        let (error, records) = fetch(client, topic, at, 0).expect("it is answered");
        assert_eq!(error, 0);
        if records.is_empty() {
            return (latest, count);
        }
        for batch in Batches::new(&records) {
            let batch = batch.expect("whole");
            assert!(batch.is_crc_valid() && batch.header().next_offset().0 > at, "batches rise");
            for record in decompressor.records(&batch, 1 << 24, &mut unpacked).expect("whole") {
                let record = record.expect("whole");
                let number = |bytes: &[u8]| u32::from_be_bytes(*bytes.first_chunk().expect("four bytes"));
                latest.insert(number(record.key.expect("a key")), number(record.value.expect("a value")));
                count += 1;
            }
            at = batch.header().next_offset().0;
        }
    }
}

/// Produces until told to end, over as many lives of the broker as that takes; gives how many records were acknowledged.
fn work(producer: u32, address: &Mutex<String>, is_over: &AtomicBool) -> u32 {
    let mut number = 0;
    loop {
        let to = address.lock().expect("no panic").clone();
        // It may be gone, and not be back yet.
        let Ok(mut client) = RawClient::connect(&to) else { continue };
        loop {
            if is_over.load(Ordering::Relaxed) {
                return number;
            }
            // A batch whose answer was lost comes twice, with the same values.
            match produce(&mut client, TOPIC, -1, &batch(producer, number)) {
                Ok(placed) => assert_eq!(placed.error_code, 0),
                Err(_) => break,
            }
            number += RECORDS;
        }
    }
}

#[test]
fn the_last_value_of_each_key_is_there_after_kills_under_producers_and_compaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path()).with("log.segment.bytes=1048576").with("log.cleaner.backoff.ms=20");
    let mut broker = options.start();
    let mut client = connect(&broker);
    create(&mut client, TOPIC);
    let address = Arc::new(Mutex::new(broker.address.clone()));
    let is_over = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let (address, is_over) = (address.clone(), is_over.clone());
            std::thread::spawn(move || work(producer, &address, &is_over))
        })
        .collect();
    let seed = 20_261_121;
    let mut random = Random::new(seed);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(LIVES_MS / 2 + random.below(LIVES_MS)));
        broker = broker.kill().start();
        address.lock().expect("no panic").clone_from(&broker.address);
    }
    std::thread::sleep(Duration::from_millis(LIVES_MS));
    is_over.store(true, Ordering::Relaxed);
    let mut expected = BTreeMap::new();
    let mut sent = 0;
    for (producer, thread) in (0..PRODUCERS).zip(producers) {
        let acknowledged = thread.join().expect("no panic");
        assert!(acknowledged > 0, "it was acknowledged something");
        expected.extend((0..acknowledged).map(|number| row(producer, number)));
        sent += acknowledged as usize;
    }
    let mut client = connect(&broker);
    let begun = Instant::now();
    let mut kept = usize::MAX;
    // What lies in the segment that grows is not compacted: some hundred records.
    let left = (PRODUCERS * KEYS) as usize + 2 * (1 << 20) / VALUE_BYTES;
    while kept > left {
        assert!(begun.elapsed() < COMPACTED_WITHIN, "{kept} of {sent} records are left, seed {seed}");
        let latest;
        (latest, kept) = read_all(&mut client, TOPIC);
        assert_eq!(latest, expected, "seed {seed}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (_, page) = get(&broker.http_address(), "GET /metrics");
    let uncleanable =
        page.lines().find(|line| line.starts_with("kafka_log_logcleanermanager_uncleanable_partitions_count{"));
    assert!(uncleanable.is_some_and(|line| line.ends_with(" 0")), "{uncleanable:?}");
    let (options, status) = broker.stop();
    assert!(status.success());
    let broker = options.start();
    assert_eq!(read_all(&mut connect(&broker), TOPIC).0, expected, "after a clean stop");
}

#[test]
fn a_partition_that_cannot_be_compacted_is_counted_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path()).with("log.segment.bytes=1048576").with("log.cleaner.enable=false");
    let broker = options.start();
    let mut client = connect(&broker);
    for topic in ["damaged", "whole", "deleted"] {
        create(&mut client, topic);
        for number in 0..60 {
            assert_eq!(
                produce(&mut client, topic, 1, &batch(0, number * RECORDS)).expect("it is answered").error_code,
                0
            );
        }
    }
    let (_, status) = broker.stop();
    assert!(status.success());
    let log = options.data().join("damaged-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).expect("it is there");
    bytes[100_000] ^= 1;
    std::fs::write(&log, &bytes).expect("it can be written");
    let options = options.with("log.cleaner.enable=true").with("log.cleaner.backoff.ms=20");
    let broker = options.start();
    let mut client = connect(&broker);
    let request = DeleteTopicsRequest { topic_names: vec!["deleted".into()], timeout_ms: 10_000, ..Default::default() };
    let answer = client.ask(ApiKey::DeleteTopics, 4, &request).expect("it is answered");
    let response: DeleteTopicsResponse<'_> = body(&answer, ApiKey::DeleteTopics, 4);
    assert_eq!(response.responses[0].error_code, 0);
    let (begun, http) = (Instant::now(), broker.http_address());
    let mut page = String::new();
    let compacted = "compacted a log";
    let is_counted = |page: &str| {
        let line =
            page.lines().find(|line| line.starts_with("kafka_log_logcleanermanager_uncleanable_partitions_count{"));
        line.is_some_and(|line| line.ends_with(" 1"))
    };
    while !(is_counted(&page) && broker.log().contains(compacted)) {
        assert!(begun.elapsed() < COMPACTED_WITHIN, "{page}\n{}", broker.log());
        std::thread::sleep(Duration::from_millis(20));
        page = get(&http, "GET /metrics").1;
    }
    let log = broker.log();
    let told = log.lines().find(|line| line.contains("cannot be compacted")).expect("it says so");
    assert!(told.contains("damaged-0/00000000000000000000.log"), "{told}");
    let (latest, count) = read_all(&mut client, "whole");
    assert_eq!((latest.len(), count < 1200), (KEYS as usize, true));
    let begun = Instant::now();
    let (_, status) = broker.stop();
    assert!(status.success() && begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn threads_that_compact_come_and_go_while_the_broker_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).with("log.cleaner.backoff.ms=20").start();
    let mut client = connect(&broker);
    let has_second = || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", broker.pid())).expect("it runs");
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.into_iter().any(|name| name.trim() == "ottla-cleaner-1")
    };
    for (threads, expected) in [(Some("2"), true), (None, false)] {
        set(&mut client, "log.cleaner.threads", threads);
        let begun = Instant::now();
        while has_second() != expected {
            assert!(begun.elapsed() < COMPACTED_WITHIN, "log.cleaner.threads is {threads:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
