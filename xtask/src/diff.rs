//! `cargo xtask diff`: the same requests to a real Kafka and to Ottla, and their answers compared.
//!
//! With `--tools`, the command-line tools are compared instead (`tools.rs`).
//!
//! The conversations are those of the tests, which compare with what Kafka answered when it was last asked. This asks both
//! anew. With `--record`, what Kafka answers is kept for the tests.

mod tools;

use std::fs;
use std::time::Duration;

use ottla_e2e::conversations::{self, Conversation, SETTINGS};

use crate::server::{self, Server};
use crate::{Fallible, files, kafka};

/// Memory of the real Kafka.
const KAFKA_HEAP: &str = "512M";
/// Its brokers hear of a change after it was answered.
const KAFKA_SETTLES: Duration = Duration::from_millis(150);

/// `cargo xtask diff`
#[derive(clap::Args)]
pub struct Command {
    /// Only conversations whose name contains one of these.
    names: Vec<String>,
    /// Keep what Kafka answers, for the tests to compare with.
    #[arg(long)]
    record: bool,
    /// Compare the command-line tools instead: Kafka's and ours, on the same Kafka.
    #[arg(long, conflicts_with = "record")]
    tools: bool,
}

/// Asks and compares.
pub fn run(command: &Command) -> Fallible<()> {
    let scratch = tempfile::tempdir_in(files::target_folder("diff")?)?;
    let settings: Vec<String> = SETTINGS.iter().map(|&setting| setting.to_owned()).collect();
    let is_meant = |conversation: &Conversation| {
        command.names.is_empty() || command.names.iter().any(|name| conversation.name.contains(name))
    };
    let all: Vec<Conversation> = conversations::all().into_iter().filter(is_meant).collect();
    let installed = kafka::install()?;
    let kind = server::Kind::Kafka { installed: installed.clone(), heap: KAFKA_HEAP.to_owned() };
    let mut kafka = Server::new(kind, &scratch.path().join("kafka"), &settings, None)?;
    kafka.start()?;
    server::build()?;
    if command.tools {
        let differences = tools::run(&installed, &kafka.bootstrap(), scratch.path(), &command.names)?;
        kafka.stop()?;
        return if differences == 0 { Ok(()) } else { Err(format!("{differences} lines differ").into()) };
    }
    let mut ottla = Server::new(server::Kind::Ottla, &scratch.path().join("ottla"), &settings, None)?;
    ottla.start()?;
    let mut differences = 0;
    for conversation in &all {
        let said = conversation.hold_with(&kafka.bootstrap(), KAFKA_SETTLES);
        if command.record {
            fs::create_dir_all(conversations::transcripts())?;
            files::write_whole(&conversation.transcript(), &said)?;
        }
        let found = conversation.differences(&said, &conversation.hold_with(&ottla.bootstrap(), Duration::ZERO));
        found.iter().for_each(|difference| println!("{difference}"));
        println!(
            "{}: {}",
            conversation.name,
            if found.is_empty() { "the same".into() } else { format!("{} differences", found.len()) }
        );
        differences += found.len();
    }
    kafka.stop()?;
    ottla.stop()?;
    if differences == 0 { Ok(()) } else { Err(format!("{differences} answers differ").into()) }
}
