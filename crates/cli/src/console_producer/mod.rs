//! `ottla console-producer`: writes the lines of stdin to a topic, with the flags of Kafka's kafka-console-producer.sh.
//!
//! Not here: what may be on the command line (`arguments`), where lines come from (`lines`), how a line becomes a record
//! (`line_reader`), and how records are written (`client`).
//!
//! Differs from Kafka: when a record could not be written, the exit code is 1 and not 0; and bytes that are no UTF-8 are
//! written as they are.

mod arguments;
mod line_reader;
mod lines;

use std::process::ExitCode;

use crate::client::{Cluster, Producer, Unwritten};
pub use arguments::Arguments;
use arguments::Settings;
use lines::{Lines, Next};

/// Writes until stdin ends.
pub fn run(arguments: &Arguments) -> ExitCode {
    arguments.warn_of_old_names();
    let settings = match arguments.settings() {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("{message}\nTry 'ottla console-producer --help'.");
            return ExitCode::FAILURE;
        }
    };
    match write_lines(settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("ottla console-producer: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was written.
fn write_lines(mut settings: Settings) -> Result<bool, String> {
    let cluster = Cluster::connect(&settings.bootstrap, &settings.connection).map_err(|error| error.to_string())?;
    let mut producer = Producer::new(cluster, &settings.topic, settings.producer.clone());
    let mut lines = Lines::of_stdin();
    let mut all_written = true;
    let mut report = |unwritten: Vec<Unwritten>| {
        all_written &= unwritten.is_empty();
        unwritten.iter().for_each(|unwritten| tell(&settings.topic, unwritten));
    };
    let ended = loop {
        let deadline = producer.waiting_since().map(|since| since + settings.linger);
        let record = match lines.next(deadline) {
            Ok(Next::Line(line)) => settings.line_reader.record(&line),
            Ok(Next::Deadline) => {
                report(producer.flush());
                continue;
            }
            Ok(Next::End) => break Ok(()),
            Err(refused) => Err(refused),
        };
        match record {
            Ok(record) => report(producer.send(record)),
            Err(refused) => break Err(refused),
        }
        if settings.sync {
            report(producer.flush());
        }
    };
    // What came before a line that cannot be read is written nevertheless.
    report(producer.flush());
    ended.map(|()| all_written)
}

fn tell(topic: &str, unwritten: &Unwritten) {
    let Some(first) = unwritten.records.first() else { return };
    let size = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().map_or_else(|| "null".to_owned(), |bytes| format!("{} bytes", bytes.len()))
    };
    let others = match unwritten.records.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    eprintln!(
        "ERROR Error when sending message to topic {topic} with key: {}, value: {}{others} with error: {}",
        size(&first.key),
        size(&first.value),
        unwritten.error
    );
}
