//! One batch from a client through socket and log and back; starting, stopping, and being refused.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ottla_e2e::body;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::records::Batch;
use rustix::process::Signal;

use super::{batch, connect, create_topic, fetch, options, produce};

#[test]
fn a_batch_comes_back_as_it_was_sent_and_survives_a_clean_stop_and_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let sent = batch(b"hello");
    for (acks, offset) in [(1, 0), (-1, 1)] {
        let placed = produce(&mut client, "t", acks, &sent).expect("it is answered");
        assert_eq!((placed.error_code, placed.base_offset), (0, offset));
    }
    let check = |client: &mut _| {
        let (error, records) = fetch(client, "t", 1, 0).expect("it is answered");
        let (batch, rest) = Batch::parse(&records).expect("a batch");
        assert_eq!((error, rest.len(), batch.header().base_offset.0), (0, 0, 1));
        assert!(batch.is_crc_valid() && batch.bytes()[16..] == sent[16..], "only offset and epoch are the broker's");
    };
    check(&mut client);
    let (options, status) = broker.stop();
    assert!(status.success(), "{status}");
    assert!(options.data().join(".kafka_cleanshutdown").exists());
    let broker = options.start();
    check(&mut connect(&broker));
    let broker = broker.kill().start();
    check(&mut connect(&broker));
    assert!(broker.resident_bytes() < 64 << 20, "{} bytes", broker.resident_bytes());
}

#[test]
fn a_long_poll_is_answered_by_the_next_batch_and_holds_up_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let (mut waiting, mut working) = (connect(&broker), connect(&broker));
    create_topic(&mut working, "t");
    let poll = std::thread::spawn(move || fetch(&mut waiting, "t", 0, 20_000));
    for _ in 0..20 {
        let versions = ApiVersionsRequest::default();
        working.ask(ApiKey::ApiVersions, 0, &versions).expect("others are served meanwhile");
    }
    produce(&mut working, "t", 1, &batch(b"x")).expect("it is answered");
    let (error, records) = poll.join().expect("no panic").expect("it is answered");
    assert!(error == 0 && !records.is_empty());
}

#[test]
fn whoever_fetches_gets_all_of_it_from_a_broker_that_stood_still_meanwhile() {
    const TIMES: usize = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let sent = batch(&[0; 900_000]);
    for _ in 0..20 {
        assert_eq!(produce(&mut client, "t", 1, &sent).expect("it is answered").error_code, 0);
    }
    let fetch_all = |client: &mut _| {
        let (error, records) = fetch(client, "t", 0, 0).expect("it is answered");
        assert_eq!((error, records.len()), (0, 20 * sent.len()));
    };
    let thawed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = connect(&broker);
                while thawed.load(Ordering::Relaxed) < TIMES {
                    fetch_all(&mut client);
                }
                fetch_all(&mut client);
            });
        }
        for _ in 0..TIMES {
            broker.freeze();
            broker.thaw();
            thawed.fetch_add(1, Ordering::Relaxed);
        }
    });
}

#[test]
fn a_request_that_came_while_the_broker_stood_still_is_answered_however_long_that_was() {
    const MAX_IDLE: Duration = Duration::from_secs(1);
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).with("connections.max.idle.ms=1000").start();
    // More than one for a thread that serves connections, on most machines.
    let mut clients: Vec<_> = (0..16).map(|_| connect(&broker)).collect();
    let versions = ApiVersionsRequest::default();
    for client in &mut clients {
        client.ask(ApiKey::ApiVersions, 0, &versions).expect("it is answered");
    }
    broker.freeze();
    for client in &mut clients {
        let frame = client.frame_of(ApiKey::ApiVersions, 0, &versions);
        client.send_frame(&frame).expect("it is open");
    }
    std::thread::sleep(MAX_IDLE * 3 / 2);
    broker.thaw();
    for client in &mut clients {
        client.answer().expect("it is answered");
    }
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_with_the_range_that_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    client.send_frame(&[0, 18, 0, 99, 0, 0, 0, 7, 0, 1, b'c', 0, 0xff, 0xff]).expect("it is open");
    assert_eq!(client.receive().expect("it is answered"), [0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5]);
    let request = ApiVersionsRequest {
        client_software_name: "raw".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let answer = client.ask(ApiKey::ApiVersions, 5, &request).expect("the connection can still be used");
    let response: ApiVersionsResponse<'_> = body(&answer, ApiKey::ApiVersions, 5);
    let produce = response.api_keys.iter().find(|api| api.api_key == 0).expect("Produce is there");
    assert_eq!((response.error_code, produce.min_version, produce.max_version), (0, 0, 13));
}

#[test]
fn the_log_is_plain_text_where_nobody_looks_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    assert!(broker.log().contains("started") && !broker.log().contains('\x1b'), "{}", broker.log());
}

#[test]
fn each_signal_that_asks_for_the_end_leaves_a_clean_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options(folder.path());
    // Under `nohup` a broker outlives its terminal, as it was told to.
    let signals = [Signal::TERM, Signal::INT, Signal::HUP].into_iter();
    for signal in signals.filter(|&signal| signal != Signal::HUP || !is_hangup_ignored()) {
        let (stopped, status) = options.start().stop_by(signal);
        options = stopped;
        assert!(status.success() && options.data().join(".kafka_cleanshutdown").exists(), "{signal:?}: {status}");
    }
}

#[test]
fn a_start_that_takes_long_is_ended_by_a_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    create_topic(&mut connect(&broker), "t");
    let (options, _) = broker.stop();
    // Whoever opens a pipe waits for somebody to write into it.
    let pipe = options.data().join("t-0/leader-epoch-checkpoint");
    let _ = std::fs::remove_file(&pipe);
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("it is part of every system");
    assert!(made.success());
    let (status, log) = options.stop_while_starting("metrics are at");
    assert!(status.success() && log.contains("SIGTERM during the start"), "{status}: {log}");
    std::fs::remove_file(&pipe).expect("it is there");
    produce(&mut connect(&options.start()), "t", -1, &batch(b"after")).expect("it is answered");
}

/// Whether this process, and so every broker that it starts, was told to ignore SIGHUP.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is Linux");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("the kernel lists it");
    u64::from_str_radix(ignored.trim(), 16).expect("a mask") & 1 == 1
}

#[test]
fn a_directory_in_use_and_a_wrong_setting_are_refused_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let other = tempfile::tempdir().expect("a folder");
    let data = format!("log.dirs={}", broker.options().data().display());
    let (status, stderr) = options(other.path()).with(&data).try_start().expect_err("it is locked");
    assert!(!status.success() && stderr.contains("data"), "{stderr}");
    let (status, stderr) = options(other.path()).with("num.partitions=many").try_start().expect_err("no number");
    assert!(!status.success(), "{status}");
    for word in ["num.partitions", "many", "--override"] {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    let (options, _) = broker.stop();
    let papers = options.data().join("meta.properties");
    let text = fs::read_to_string(&papers).expect("it is formatted");
    fs::write(&papers, text.replace("node.id=1", "node.id=7")).expect("the folder is ours");
    let (_, stderr) = options.try_start().expect_err("it belongs to another node");
    assert!(stderr.contains("node 7"), "{stderr}");
}
