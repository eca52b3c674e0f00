//! metadata.version: a cluster begins with the level that its directory was formatted with, and goes on from there.

use std::fs;
use std::path::Path;
use std::process::Command;

use ottla_e2e::{Broker, body};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::messages::update_features_request::{FeatureUpdate, UpdateFeaturesRequest};
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;
use ottla_protocol::records::{Batches, RecordIter};

use super::dynamic::alter;
use super::logs::KAFKA_STORAGE_ERROR;
use super::{batch, connect, create_topic, fetch, options, produce};

const BOOTSTRAP: &str = "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";
const FIRST_SEGMENT: &str = "__cluster_metadata-0/00000000000000000000.log";
/// The type of a PartitionRecord.
const PARTITION: u8 = 3;

/// Formats the directory of a broker in `folder`.
fn format(folder: &Path, release: &str) {
    format_all(folder, release, &folder.join("data").display().to_string());
}

/// Formats all of `log.dirs`.
fn format_all(folder: &Path, release: &str, log_dirs: &str) {
    let settings = folder.join("server.properties");
    let lines =
        format!("process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\nlog.dirs={log_dirs}\n");
    fs::write(&settings, lines).expect("the folder is ours");
    let mut tool = Command::new(env!("CARGO_BIN_EXE_ottla-under-test"));
    tool.args(["storage", "format", "--standalone", "-t", "8xGTRnzSSFyi9XrNrzr05A", "-r", release, "-c"]);
    let done = tool.arg(&settings).output().expect("the program is there");
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && shown.contains("Bootstrap metadata: "), "{done:?}");
}

/// The finalised features.
fn finalized(broker: &Broker) -> Vec<(String, i16)> {
    let request = ApiVersionsRequest {
        client_software_name: "t".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let answer = connect(broker).ask(ApiKey::ApiVersions, 3, &request).expect("it is answered");
    let response: ApiVersionsResponse<'_> = body(&answer, ApiKey::ApiVersions, 3);
    response.finalized_features.iter().map(|of| (of.name.to_string(), of.max_version_level)).collect()
}

fn upgrade(broker: &Broker, feature: &str, level: i16) {
    let update =
        FeatureUpdate { feature: feature.into(), max_version_level: level, upgrade_type: 1, ..Default::default() };
    let request = UpdateFeaturesRequest { timeout_ms: 10_000, feature_updates: vec![update], validate_only: false };
    let answer = connect(broker).ask(ApiKey::UpdateFeatures, 2, &request).expect("it is answered");
    let response: UpdateFeaturesResponse<'_> = body(&answer, ApiKey::UpdateFeatures, 2);
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
}

/// The versions of the records of one type in the metadata log.
fn versions(data: &Path, record_type: u8) -> Vec<u8> {
    let bytes = fs::read(data.join(FIRST_SEGMENT)).expect("it was written");
    let mut found = Vec::new();
    for batch in Batches::new(&bytes) {
        let batch = batch.expect("the log is whole");
        let records = RecordIter::new(batch.header(), batch.records());
        if batch.header().attributes.is_control() {
            continue;
        }
        for record in records {
            // After the frame's version comes the type, then the version.
            let value = record.expect("the batch is whole").value.expect("a value");
            found.extend((value[1] == record_type).then_some(value[2]));
        }
    }
    found
}

#[test]
fn a_cluster_of_an_older_level_works_and_is_upgraded() {
    for (release, level, partition) in [("3.9", 21, 1), ("3.3", 7, 0)] {
        let folder = tempfile::tempdir().expect("a folder");
        format(folder.path(), release);
        let broker = options(folder.path()).start();
        assert_eq!(finalized(&broker), [("metadata.version".to_owned(), level)]);
        create_topic(&mut connect(&broker), "t");
        produce(&mut connect(&broker), "t", 1, &batch(b"kept")).expect("it is answered");
        let (options, _) = broker.stop();
        let broker = options.start();
        upgrade(&broker, "metadata.version", 33);
        upgrade(&broker, "eligible.leader.replicas.version", 1);
        create_topic(&mut connect(&broker), "u");
        let broker = broker.kill().start();
        let mut levels = finalized(&broker);
        levels.sort();
        assert_eq!(levels, [("eligible.leader.replicas.version".to_owned(), 1), ("metadata.version".to_owned(), 33)]);
        let (error, records) = fetch(&mut connect(&broker), "t", 0, 0).expect("it is answered");
        assert!(error == 0 && !records.is_empty());
        assert_eq!(fetch(&mut connect(&broker), "u", 0, 0).expect("it is answered").0, 0);
        assert_eq!(versions(&options.data(), PARTITION), [partition, 2]);
    }
}

#[test]
fn a_disk_that_is_missing_is_missed_although_the_level_knows_no_directories() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b, away] = ["a", "b", "away"].map(|name| folder.path().join(name));
    let log_dirs = format!("{},{}", a.display(), b.display());
    format_all(folder.path(), "3.6", &log_dirs);
    let with = options(folder.path()).with(&format!("log.dirs={log_dirs}"));
    let broker = with.start();
    ["t", "u"].iter().for_each(|name| create_topic(&mut connect(&broker), name));
    for name in ["t", "u"] {
        produce(&mut connect(&broker), name, 1, &batch(b"kept")).expect("it is answered");
    }
    let (with, _) = broker.stop();
    fs::rename(&b, &away).expect("the folder is ours");
    for _ in 0..2 {
        let (_, stderr) = with.try_start().expect_err("a log is nowhere");
        assert!(stderr.contains("no log of ") && stderr.contains("mounted"), "{stderr}");
        assert!(!b.join("meta.properties").exists(), "nothing was begun there");
    }
    // As of a disk that cannot be read.
    fs::remove_dir_all(&b).expect("the folder is ours");
    fs::write(&b, "").expect("the folder is ours");
    let broker = with.start();
    let errors = ["t", "u"].map(|name| fetch(&mut connect(&broker), name, 0, 0).expect("it is answered").0);
    assert!(errors == [0, KAFKA_STORAGE_ERROR] || errors == [KAFKA_STORAGE_ERROR, 0], "{errors:?}");
    alter(&mut connect(&broker), 4, "1", "log.retention.ms", Some("-1"));
    let again = ["t", "u"].map(|name| fetch(&mut connect(&broker), name, 0, 0).expect("it is answered").0);
    assert_eq!(again, errors, "no empty log has taken its place");
    let (with, _) = broker.stop();
    fs::remove_file(&b).expect("the folder is ours");
    fs::rename(&away, &b).expect("the folder is ours");
    let broker = with.start();
    for name in ["t", "u"] {
        let (error, records) = fetch(&mut connect(&broker), name, 0, 0).expect("it is answered");
        assert!(error == 0 && !records.is_empty(), "{name}");
    }
}

#[test]
fn what_a_cluster_should_begin_with_and_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    format(folder.path(), "4.0");
    let path = options(folder.path()).data().join(BOOTSTRAP);
    let whole = fs::read(&path).expect("it was formatted");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&path, &damaged).expect("the folder is ours");
    for _ in 0..2 {
        let (status, stderr) = options(folder.path()).try_start().expect_err("it is damaged");
        assert!(!status.success() && stderr.contains(BOOTSTRAP) && stderr.contains("damaged"), "{stderr}");
    }
    fs::write(&path, &whole).expect("the folder is ours");
    let broker = options(folder.path()).start();
    assert_eq!(finalized(&broker), [("metadata.version".to_owned(), 25)]);
    // From then on the log says it.
    let (options, _) = broker.stop();
    fs::write(&path, &damaged).expect("the folder is ours");
    assert_eq!(finalized(&options.start()), [("metadata.version".to_owned(), 25)]);
}
