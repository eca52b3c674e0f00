//! `ottla console-producer`: writes the lines of stdin to a topic, with the flags of Kafka's kafka-console-producer.sh.
//!
//! Not here: what may be on the command line (`arguments`), where lines come from (`lines`), how a line becomes a record
//! (`line_reader`), and how records are written (`client`).
//!
//! Differs from Kafka: bytes that are no UTF-8 are written as they are; of records that could not be written together one is told
//! of, and how many there were; no stack traces, and one sentence instead of the table of all options.

mod arguments;
mod line_reader;
mod lines;

use std::process::ExitCode;

use crate::client::{Cluster, Error, Producer, Unwritten};
use crate::connection;
use crate::refusal::{CONFIG_EXCEPTION, Refusal};
pub use arguments::Arguments;
use arguments::Settings;
use lines::{Lines, Next};

/// Before what is thrown where arguments are read, and after: the stack trace alone is shown.
const THROWN: [&str; 2] = ["", ""];

/// Writes until stdin ends. As in Kafka's tool, records that could not be written are told of, and no failure of the tool, unless
/// each is waited for.
pub fn run(arguments: &Arguments) -> ExitCode {
    let written = arguments.settings().and_then(write_lines);
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            refusal.screen("console-producer", THROWN).show();
            ExitCode::FAILURE
        }
    }
}

fn write_lines(mut settings: Settings) -> Result<(), Refusal> {
    let cluster = Cluster::begin(&settings.bootstrap, &settings.connection).map_err(|error| no_producer(&error))?;
    let mut producer = Producer::new(cluster, &settings.topic, settings.producer.clone());
    let mut lines = Lines::of_stdin();
    let sync = settings.sync;
    let report = |unwritten: Vec<Unwritten>| match unwritten.first() {
        Some(first) if sync => {
            Err(Refusal::Begun(format!("java.util.concurrent.ExecutionException: {}", first.error.exception())))
        }
        _ => {
            unwritten.iter().for_each(|unwritten| tell(&settings.topic, unwritten));
            Ok(())
        }
    };
    let ended = loop {
        let deadline = producer.waiting_since().map(|since| since + settings.linger);
        let record = match lines.next(deadline) {
            Ok(Next::Line(line)) => settings
                .line_reader
                .record(&line)
                .map_err(|why| format!("org.apache.kafka.common.KafkaException: {why}")),
            Ok(Next::Deadline) => {
                report(producer.flush())?;
                continue;
            }
            Ok(Next::End) => break Ok(()),
            Err(refused) => Err(refused),
        };
        match record {
            Ok(record) => report(producer.send(record))?,
            Err(refused) => break Err(Refusal::Begun(refused)),
        }
        if sync {
            report(producer.flush())?;
        }
    };
    // What came before a line that cannot be read is written nevertheless.
    report(producer.flush())?;
    ended
}

/// Kafka's producer does not come into being where no name has an address.
fn no_producer(error: &Error) -> Refusal {
    if let Error::Unresolvable(names) = error {
        connection::warn_of_names(names);
    }
    Refusal::Begun(format!(
        "org.apache.kafka.common.KafkaException: Failed to construct kafka producer\nCaused by: {CONFIG_EXCEPTION}No \
         resolvable bootstrap urls given in bootstrap.servers"
    ))
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
        "ERROR Error when sending message to topic {topic} with key: {}, value: {}{others} with error:\n{}",
        size(&first.key),
        size(&first.value),
        unwritten.error.exception()
    );
}
