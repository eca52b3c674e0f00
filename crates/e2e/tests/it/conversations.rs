//! The conversations that were held with a real Kafka, held with Ottla: word for word the same.

use std::fs;
use std::time::Duration;

use ottla_e2e::conversations::{self, SETTINGS};

use super::options;

#[test]
fn ottla_answers_as_kafka_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let listeners = "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
    let options = options(folder.path()).with(listeners).with("controller.listener.names=CONTROLLER");
    let options = SETTINGS.iter().fold(options, |options, setting| options.with(setting));
    let broker = options.start();
    let (mut differences, mut meant) = (Vec::new(), String::new());
    for conversation in conversations::all() {
        let path = conversation.transcript();
        let kafka = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let ottla = conversation.hold_with(&broker.address, Duration::ZERO);
        differences.extend(conversation.differences(&kafka, &ottla));
        meant += &conversation.meant_differences(&ottla);
    }
    assert!(differences.is_empty(), "{} differences\n\n{}", differences.len(), differences.join("\n"));
    // `UPDATE_EXPECT=1` writes it anew.
    expect_test::expect_file!["../../transcripts/meant.differences"].assert_eq(&meant);
}
