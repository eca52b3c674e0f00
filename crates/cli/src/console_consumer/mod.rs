//! `ottla console-consumer`: prints the records of topics, with the flags of Kafka's kafka-console-consumer.sh.
//!
//! Not here: what may be on the command line (`arguments`), how a record is printed (`formatter`), what a group asks of its
//! members (`group`), and how records are fetched (`client`).
//!
//! Differs from Kafka: without `--group` this tool reads all partitions by itself and at once, while Kafka's joins a group of
//! its own that commits nothing. Groups have the classic protocol. A member reads nothing while it joins, a cooperative one
//! either, though it keeps its partitions. Nothing is printed of a record that `--skip-message-on-error` skips, where Kafka leaves
//! the columns before the one that it cannot print.

mod arguments;
mod formatter;
mod group;
mod internal_topics;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ottla_protocol::ErrorCode;

use crate::client::{Cluster, Error, Fetcher, Member, OffsetReset, Position, TopicDescription, Topics};
use crate::connection;
use crate::refusal::{CONFIG_EXCEPTION, Refusal, UNCAUGHT};
pub use arguments::Arguments;
use arguments::{Settings, Wanted};
use group::Membership;

/// How long to wait before what failed is tried again, at first and at most.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_millis(1000);
/// Output is gathered up to this before it is written.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Before what is thrown once the arguments are known.
pub const UNKNOWN_ERROR: &str = "ERROR Unknown error when running consumer: ";

/// Why reading ended.
enum End {
    /// As many records as were asked for, or a signal.
    Done,
    /// No record came in time, none is where to begin, or the cluster refuses: this exception of Java's, which Kafka's tool calls
    /// no failure.
    Thrown(String),
    /// A record cannot be printed.
    Failed(String),
}

/// Prints until told to stop, or until there is nothing more to print.
pub fn run(arguments: &Arguments) -> ExitCode {
    let begun = arguments.settings().and_then(|settings| {
        let tells_end = settings.enable_systest_events;
        Ok((Consumer::new(settings).map_err(|error| no_consumer(&error))?, tells_end))
    });
    let (mut consumer, tells_end) = match begun {
        Ok(begun) => begun,
        Err(refusal) => {
            refusal.screen("console-consumer", [UNCAUGHT, &format!("{UNKNOWN_ERROR}\n")]).show();
            return ExitCode::FAILURE;
        }
    };
    let stop = stop_on_signals();
    let end = consumer.read(&stop, &mut io::stdout().lock());
    if let Some(membership) = &mut consumer.membership {
        membership.close(&consumer.fetcher);
    }
    let code = tell(&end, consumer.count);
    if tells_end {
        // Who does not read it does not wait for it.
        let _ = writeln!(io::stdout(), "shutdown_complete");
    }
    code
}

/// Kafka's consumer does not come into being without an address.
fn no_consumer(error: &Error) -> Refusal {
    let why = match error {
        Error::Unresolvable(names) => {
            connection::warn_of_names(names);
            "No resolvable bootstrap urls given in bootstrap.servers".to_owned()
        }
        other => other.to_string(),
    };
    Refusal::Begun(format!(
        "org.apache.kafka.common.KafkaException: Failed to construct kafka consumer\nCaused by: {CONFIG_EXCEPTION}{why}"
    ))
}

fn timed_out() -> End {
    End::Thrown("org.apache.kafka.common.errors.TimeoutException".to_owned())
}

/// There is nothing at an offset, or no offset, and auto.offset.reset is none.
fn nowhere(message: &str) -> End {
    let class = if message.starts_with("Undefined") { "NoOffsetForPartition" } else { "OffsetOutOfRange" };
    End::Thrown(format!("org.apache.kafka.clients.consumer.{class}Exception: {message}"))
}

/// Says why reading ended, and what it came to.
fn tell(end: &End, count: u64) -> ExitCode {
    let code = match end {
        End::Done => ExitCode::SUCCESS,
        End::Thrown(exception) => {
            eprintln!("ERROR Error processing message, terminating consumer process: \n{exception}");
            ExitCode::SUCCESS
        }
        End::Failed(_) => ExitCode::FAILURE,
    };
    eprintln!("Processed a total of {count} messages");
    if let End::Failed(message) = end {
        eprintln!("ERROR {message}");
    }
    code
}

/// Reads and prints.
struct Consumer {
    settings: Settings,
    fetcher: Fetcher,
    membership: Option<Membership>,
    count: u64,
    last_record: Instant,
    looked_for_topics: Option<Instant>,
}

impl Consumer {
    fn new(settings: Settings) -> Result<Self, Error> {
        let begin = || Cluster::begin(&settings.bootstrap, &settings.connection);
        let fetcher = Fetcher::new(begin()?, settings.fetcher.clone());
        let membership = match &settings.group {
            Some(group) => Some(Membership::new(Member::new(begin()?, group.member.clone()), group)),
            None => None,
        };
        Ok(Self { settings, fetcher, membership, count: 0, last_record: Instant::now(), looked_for_topics: None })
    }

    fn read(&mut self, stop: &AtomicBool, out: &mut impl Write) -> End {
        let mut back_off = FIRST_BACK_OFF;
        let mut told = String::new();
        loop {
            if stop.load(Ordering::Relaxed) || self.settings.max_messages.is_some_and(|most| self.count >= most) {
                return End::Done;
            }
            if self.settings.timeout.is_some_and(|timeout| self.last_record.elapsed() >= timeout) {
                return timed_out();
            }
            match self.keep_assigned(stop).and_then(|()| self.print(stop, out)) {
                Ok(Printed::GoOn) => back_off = FIRST_BACK_OFF,
                // Whoever read us, such as `head`, has enough.
                Ok(Printed::NobodyReads) => {
                    eprintln!("Unable to write to standard out, closing consumer.");
                    return End::Done;
                }
                Ok(Printed::Unprintable(message)) => return End::Failed(message),
                Err(error) if error.is_retriable() => {
                    let message = error.warning(&self.client());
                    if message != told {
                        eprintln!("{message}");
                        told = message;
                    }
                    thread::sleep(back_off);
                    back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                }
                Err(Error::Refused { code: ErrorCode::OffsetOutOfRange, message }) => return nowhere(&message),
                Err(error) => return End::Thrown(error.exception()),
            }
        }
    }

    /// As Kafka's client calls itself in its log.
    fn client(&self) -> String {
        let group = self.settings.group.as_ref().map(|group| format!(", groupId={}", group.member.group));
        format!("Consumer clientId={}{}", self.settings.connection.client_id, group.unwrap_or_default())
    }

    /// Sees to it that the right partitions are read: those that the group gives, or all that are meant.
    fn keep_assigned(&mut self, stop: &AtomicBool) -> Result<(), Error> {
        let Some(membership) = &mut self.membership else { return self.look_for_topics() };
        let (timeout, last_record) = (self.settings.timeout, self.last_record);
        let is_wanted =
            || !stop.load(Ordering::Relaxed) && timeout.is_none_or(|timeout| last_record.elapsed() < timeout);
        membership.keep_up(&mut self.fetcher, &self.settings, is_wanted)
    }

    /// Assigns the partitions that are meant and not read yet: at the start, and every now and then.
    fn look_for_topics(&mut self) -> Result<(), Error> {
        let max_age = self.settings.metadata_max_age;
        if self.looked_for_topics.is_some_and(|looked| looked.elapsed() < max_age) {
            return Ok(());
        }
        // What is new since the start began to exist while we read: nothing of it is old.
        let start = match self.looked_for_topics {
            None => self.settings.start,
            Some(_) => Position::End(OffsetReset::Earliest),
        };
        match self.settings.wanted.clone() {
            Wanted::Topic { name, partition } => {
                let topics = self.fetcher.topics(Topics::Named { names: &[&name], create: true })?;
                let topic = topics.first().ok_or_else(|| unknown(&name, ErrorCode::UnknownTopicOrPartition))?;
                if topic.error != ErrorCode::None && topic.partitions.is_empty() {
                    return Err(unknown(&name, topic.error));
                }
                match partition {
                    Some(partition) => self.fetcher.assign(topic, partition, start),
                    None => self.assign_all(topic, start),
                }
            }
            Wanted::Matching(filter) => {
                let topics = self.fetcher.topics(Topics::All)?;
                for topic in topics.iter().filter(|topic| !topic.is_internal && filter.allows(&topic.name)) {
                    self.assign_all(topic, start);
                }
            }
        }
        self.looked_for_topics = Some(Instant::now());
        Ok(())
    }

    fn assign_all(&mut self, topic: &TopicDescription, start: Position) {
        for partition in &topic.partitions {
            self.fetcher.assign(topic, partition.index, start);
        }
    }

    /// Prints what one round of fetches brings.
    fn print(&mut self, stop: &AtomicBool, out: &mut impl Write) -> Result<Printed, Error> {
        if self.fetcher.is_idle() {
            self.looked_for_topics = None;
            thread::sleep(self.settings.fetcher.max_wait);
            return Ok(Printed::GoOn);
        }
        let mut text = Vec::new();
        let mut printed = Printed::GoOn;
        let (settings, count) = (&self.settings, &mut self.count);
        let before = *count;
        let polled = self.fetcher.poll(|incoming| {
            let written = text.len();
            if let Err(message) = settings.formatter.format(&incoming, &mut text) {
                let at = (incoming.topic, incoming.partition, incoming.record.offset);
                let message = format!("{}-{} at offset {}: {message}", at.0, at.1, at.2);
                if !settings.skip_message_on_error {
                    *count += 1;
                    printed = Printed::Unprintable(message);
                    return false;
                }
                text.truncate(written);
                eprintln!("ERROR {message}");
            }
            *count += 1;
            if text.len() >= OUTPUT_BYTES {
                if out.write_all(&text).is_err() {
                    printed = Printed::NobodyReads;
                    return false;
                }
                text.clear();
            }
            settings.max_messages.is_none_or(|most| *count < most) && !stop.load(Ordering::Relaxed)
        });
        if *count > before {
            self.last_record = Instant::now();
        }
        if out.write_all(&text).and_then(|()| out.flush()).is_err() {
            printed = Printed::NobodyReads;
        }
        polled.map(|()| printed)
    }
}

/// What came of a round.
enum Printed {
    GoOn,
    NobodyReads,
    Unprintable(String),
}

fn unknown(topic: &str, code: ErrorCode) -> Error {
    let message = match code {
        ErrorCode::InvalidTopicException => format!("Invalid topics: [{topic}]"),
        code => format!("the cluster says of topic {topic}: {}", code.name()),
    };
    Error::Refused { code, message }
}

/// A flag that SIGINT and SIGTERM set.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // Nobody stops it: it ends with the process.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        // Without it the signals end the process, as they do where nobody listens.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            let Ok(mut terminate) = terminate else { return };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            flag.store(true, Ordering::Relaxed);
        });
    });
    stop
}
