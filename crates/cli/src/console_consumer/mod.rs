//! `ottla console-consumer`: prints the records of topics, with the flags of Kafka's kafka-console-consumer.sh.
//!
//! Not here: how a record is printed (`formatter`), and how records are fetched (`client`).
//!
//! Differs from Kafka: there are no consumer groups yet. Without `--partition` this tool reads all partitions by itself,
//! and commits nothing, as Kafka's does where no `--group` is given.

mod formatter;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::{
    Cluster, Error, Fetcher, FetcherOptions, IsolationLevel, OffsetReset, Options, Position, TopicDescription, Topics,
};
use crate::properties::{Properties, say};
use crate::topic_filter::TopicFilter;
use formatter::Formatter;
use ottla_protocol::ErrorCode;

const DEFAULT_MAX_WAIT_MS: u64 = 500;
const DEFAULT_MIN_BYTES: i32 = 1;
const DEFAULT_MAX_BYTES: i32 = 50 * 1024 * 1024;
const DEFAULT_MAX_PARTITION_BYTES: i32 = 1024 * 1024;
const DEFAULT_METADATA_MAX_AGE_MS: u64 = 300_000;
/// How long to wait before what failed is tried again, at first and at most.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_millis(1000);
/// Output is gathered up to this before it is written.
const OUTPUT_BYTES: usize = 64 * 1024;

/// What to read, and how to print it.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    /// The brokers to connect to: HOST:PORT, with commas between them.
    #[arg(long, value_name = "SERVERS")]
    bootstrap_server: Option<String>,
    /// The topic to read.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// A regular expression of topics to read.
    #[arg(long, value_name = "REGEX")]
    include: Option<String>,
    /// The one partition to read; all of them otherwise.
    #[arg(long, value_name = "PARTITION")]
    partition: Option<i32>,
    /// Where in the partition to begin: an offset, earliest or latest [default: latest].
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    offset: Option<String>,
    /// Begin with the first record there is rather than with the next that comes.
    #[arg(long)]
    from_beginning: bool,
    /// End after so many records.
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    max_messages: Option<i64>,
    /// End when no record comes for so long.
    #[arg(long, value_name = "MS", allow_hyphen_values = true)]
    timeout_ms: Option<i64>,
    /// What to read of transactions: read_uncommitted or read_committed [default: read_uncommitted].
    #[arg(long, value_name = "LEVEL")]
    isolation_level: Option<String>,
    /// The consumer group. Groups are not there yet.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Go on after a record that cannot be printed.
    #[arg(long)]
    skip_message_on_error: bool,

    /// How records are printed, as NAME=VALUE; may be given many times: print.timestamp, print.partition, print.offset,
    /// print.delivery, print.epoch, print.headers, print.key (all false), print.value (true), key.separator (tab),
    /// line.separator (newline), headers.separator (,), null.literal (null), key.deserializer, value.deserializer,
    /// headers.deserializer.
    #[arg(long, value_name = "NAME=VALUE")]
    formatter_property: Vec<String>,
    /// A file with such properties.
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<PathBuf>,
    /// (Deprecated) The old name of --formatter-property.
    #[arg(long, value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// The class that prints records: org.apache.kafka.tools.consumer.DefaultMessageFormatter or ...NoOpMessageFormatter
    /// [default: the former].
    #[arg(long, value_name = "CLASS")]
    formatter: Option<String>,
    /// How keys become text: a class such as org.apache.kafka.common.serialization.LongDeserializer.
    #[arg(long, value_name = "CLASS")]
    key_deserializer: Option<String>,
    /// How values become text.
    #[arg(long, value_name = "CLASS")]
    value_deserializer: Option<String>,

    /// A property of the consumer, such as client.id, fetch.min.bytes, fetch.max.wait.ms or max.partition.fetch.bytes; may be
    /// given many times.
    #[arg(long, value_name = "NAME=VALUE")]
    command_property: Vec<String>,
    /// A file with such properties.
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// (Deprecated) The old name of --command-property.
    #[arg(long, value_name = "NAME=VALUE")]
    consumer_property: Vec<String>,
    /// (Deprecated) The old name of --command-config.
    #[arg(long = "consumer.config", value_name = "FILE")]
    consumer_config: Option<PathBuf>,
}

/// All that the arguments come to.
#[derive(Debug)]
struct Settings {
    bootstrap: String,
    connection: Options,
    wanted: Wanted,
    start: Position,
    max_messages: Option<u64>,
    timeout: Option<Duration>,
    skip_message_on_error: bool,
    fetcher: FetcherOptions,
    metadata_max_age: Duration,
    formatter: Formatter,
}

#[derive(Clone, Debug)]
enum Wanted {
    Topic { name: String, partition: Option<i32> },
    Matching(TopicFilter),
}

/// Why reading ended.
enum End {
    /// As many records as were asked for, or a signal.
    Done,
    /// No record came in time.
    TimedOut,
    /// It cannot go on.
    Failed(String),
}

/// Prints until told to stop, or until there is nothing more to print.
pub fn run(arguments: &Arguments) -> ExitCode {
    arguments.warn_of_old_names();
    let settings = match arguments.settings() {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("{message}\nTry 'ottla console-consumer --help'.");
            return ExitCode::FAILURE;
        }
    };
    let stop = stop_on_signals();
    let mut consumer = match Cluster::connect(&settings.bootstrap, &settings.connection) {
        Ok(cluster) => Consumer::new(cluster, settings),
        Err(error) => {
            eprintln!("ottla console-consumer: {error}");
            return ExitCode::FAILURE;
        }
    };
    let end = consumer.read(&stop, &mut io::stdout().lock());
    let code = match &end {
        End::Done => ExitCode::SUCCESS,
        End::TimedOut => {
            eprintln!(
                "ERROR Error processing message, terminating consumer process: \norg.apache.kafka.common.errors.TimeoutException"
            );
            ExitCode::SUCCESS
        }
        End::Failed(_) => ExitCode::FAILURE,
    };
    eprintln!("Processed a total of {} messages", consumer.count);
    if let End::Failed(message) = end {
        eprintln!("ERROR {message}");
    }
    code
}

/// Reads and prints.
struct Consumer {
    settings: Settings,
    fetcher: Fetcher,
    count: u64,
    last_record: Instant,
    looked_for_topics: Option<Instant>,
}

impl Consumer {
    fn new(cluster: Cluster, settings: Settings) -> Self {
        let fetcher = Fetcher::new(cluster, settings.fetcher.clone());
        Self { settings, fetcher, count: 0, last_record: Instant::now(), looked_for_topics: None }
    }

    fn read(&mut self, stop: &AtomicBool, out: &mut impl Write) -> End {
        let mut back_off = FIRST_BACK_OFF;
        let mut told = String::new();
        loop {
            if stop.load(Ordering::Relaxed) || self.settings.max_messages.is_some_and(|most| self.count >= most) {
                return End::Done;
            }
            if self.settings.timeout.is_some_and(|timeout| self.last_record.elapsed() >= timeout) {
                return End::TimedOut;
            }
            match self.look_for_topics().and_then(|()| self.print(stop, out)) {
                Ok(Printed::GoOn) => back_off = FIRST_BACK_OFF,
                // Whoever read us, such as `head`, has enough.
                Ok(Printed::NobodyReads) => return End::Done,
                Ok(Printed::Unprintable(message)) => return End::Failed(message),
                Err(error) if error.is_retriable() => {
                    let message = error.to_string();
                    if message != told {
                        eprintln!("WARN {message}");
                        told = message;
                    }
                    thread::sleep(back_off);
                    back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                }
                Err(error) => return End::Failed(error.to_string()),
            }
        }
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

impl Arguments {
    fn settings(&self) -> Result<Settings, String> {
        let refuse = |message: &str| Err(message.to_owned());
        let Some(bootstrap) = self.bootstrap_server.clone() else {
            return refuse("Missing required argument \"[bootstrap-server]\"");
        };
        let wanted = match (&self.topic, &self.include) {
            (Some(topic), None) => Wanted::Topic { name: topic.clone(), partition: self.partition },
            (None, Some(regex)) => Wanted::Matching(TopicFilter::parse(regex)?),
            _ => return refuse("Exactly one of the following arguments is required: [topic], [include]"),
        };
        if self.partition.is_some() && self.include.is_some() {
            return refuse("The topic is required when partition is specified.");
        }
        if self.partition.is_some() && self.group.is_some() {
            return refuse("Options group and partition cannot be specified together.");
        }
        if self.group.is_some() {
            return refuse(
                "Consumer groups are not there yet: leave --group out to read all partitions without a group.",
            );
        }
        if self.offset.is_some() && self.partition.is_none() {
            return refuse("The partition is required when offset is specified.");
        }
        if self.offset.is_some() && self.from_beginning {
            return refuse("Options from-beginning and offset cannot be specified together.");
        }
        for (both, new, old) in [
            (
                !self.command_property.is_empty() && !self.consumer_property.is_empty(),
                "command-property",
                "consumer-property",
            ),
            (self.command_config.is_some() && self.consumer_config.is_some(), "command-config", "consumer.config"),
            (!self.formatter_property.is_empty() && !self.property.is_empty(), "formatter-property", "property"),
        ] {
            if both {
                return Err(format!("Options {new} and {old} cannot be specified together."));
            }
        }
        let file = self.command_config.as_deref().or(self.consumer_config.as_deref());
        let pairs = [&self.command_property[..], &self.consumer_property].concat();
        let mut properties = Properties::gather(file, &pairs)?;
        if properties.take("group.id").is_some() {
            return refuse(
                "Consumer groups are not there yet: leave group.id out to read all partitions without a group.",
            );
        }
        let connection = properties.take_connection_options("console-consumer")?;
        let timeout = self.timeout_ms.and_then(|timeout_ms| u64::try_from(timeout_ms).ok()).map(Duration::from_millis);
        let reset = self.reset(&mut properties)?;
        let fetcher = self.fetcher_options(&mut properties, reset, timeout)?;
        let metadata_max_age = Duration::from_millis(
            properties.take_number("metadata.max.age.ms")?.unwrap_or(DEFAULT_METADATA_MAX_AGE_MS),
        );
        properties.warn_of_the_rest();
        Ok(Settings {
            bootstrap,
            connection,
            wanted,
            start: self.start(reset)?,
            max_messages: self.max_messages.and_then(|count| u64::try_from(count).ok()),
            timeout,
            skip_message_on_error: self.skip_message_on_error,
            fetcher,
            metadata_max_age,
            formatter: self.formatter()?,
        })
    }

    /// Where to begin, and where to go on when an offset is gone.
    fn reset(&self, properties: &mut Properties) -> Result<OffsetReset, String> {
        let property = properties.take("auto.offset.reset");
        match property.as_deref() {
            Some("latest") if self.from_beginning => {
                Err("Can't simultaneously specify --from-beginning and 'auto.offset.reset=latest', please remove one option".to_owned())
            }
            Some("earliest") => Ok(OffsetReset::Earliest),
            None | Some("latest") if self.from_beginning => Ok(OffsetReset::Earliest),
            None | Some("latest") => Ok(OffsetReset::Latest),
            Some(other) => Err(format!("Invalid value {other} for configuration auto.offset.reset: earliest or latest is known here")),
        }
    }

    fn start(&self, reset: OffsetReset) -> Result<Position, String> {
        match self.offset.as_deref() {
            None => Ok(Position::End(reset)),
            Some(text) if text.eq_ignore_ascii_case("earliest") => Ok(Position::End(OffsetReset::Earliest)),
            Some(text) if text.eq_ignore_ascii_case("latest") => Ok(Position::End(OffsetReset::Latest)),
            Some(text) => match text.parse() {
                Ok(offset) if offset >= 0 => Ok(Position::At(offset)),
                _ => Err(format!(
                    "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a \
                     non-negative long."
                )),
            },
        }
    }

    fn fetcher_options(
        &self,
        properties: &mut Properties,
        reset: OffsetReset,
        timeout: Option<Duration>,
    ) -> Result<FetcherOptions, String> {
        let level = self.isolation_level.clone().or_else(|| properties.take("isolation.level"));
        let isolation_level = match level.as_deref() {
            None | Some("read_uncommitted") => IsolationLevel::ReadUncommitted,
            Some("read_committed") => IsolationLevel::ReadCommitted,
            Some(other) => {
                return Err(format!(
                    "Invalid value {other} for configuration isolation.level: String must be one of: read_committed, \
                     read_uncommitted"
                ));
            }
        };
        let max_wait =
            Duration::from_millis(properties.take_number("fetch.max.wait.ms")?.unwrap_or(DEFAULT_MAX_WAIT_MS));
        Ok(FetcherOptions {
            // A broker that waits longer would keep us past our own timeout.
            max_wait: timeout.map_or(max_wait, |timeout| timeout.min(max_wait)),
            min_bytes: properties.take_number("fetch.min.bytes")?.unwrap_or(DEFAULT_MIN_BYTES),
            max_bytes: properties.take_number("fetch.max.bytes")?.unwrap_or(DEFAULT_MAX_BYTES),
            max_partition_bytes: properties
                .take_number("max.partition.fetch.bytes")?
                .unwrap_or(DEFAULT_MAX_PARTITION_BYTES),
            isolation_level,
            reset,
        })
    }

    fn formatter(&self) -> Result<Formatter, String> {
        let pairs = [&self.formatter_property[..], &self.property].concat();
        let mut properties = Properties::gather(self.formatter_config.as_deref(), &pairs)?;
        let deserializers = [self.key_deserializer.as_deref(), self.value_deserializer.as_deref()];
        let formatter = Formatter::from(self.formatter.as_deref(), deserializers, &mut properties)?;
        properties.warn_of_the_rest();
        Ok(formatter)
    }

    fn warn_of_old_names(&self) {
        let old = [
            (!self.consumer_property.is_empty(), "consumer-property", "command-property"),
            (self.consumer_config.is_some(), "consumer.config", "command-config"),
            (!self.property.is_empty(), "property", "formatter-property"),
        ];
        for (_, old, new) in old.iter().filter(|(given, _, _)| *given) {
            say(&format!("Option --{old} is deprecated and will be removed in a future version. Use --{new} instead."));
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use expect_test::{Expect, expect};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn check(line: &str, expected: &Expect) {
        let words = std::iter::once("consumer").chain(line.split_whitespace());
        let shown = match Line::try_parse_from(words).unwrap().arguments.settings() {
            Ok(of) => format!(
                "{:?} from {:?}, then {:?}; at most {:?} within {:?}, waiting {:?}, {:?}",
                of.wanted,
                of.start,
                of.fetcher.reset,
                of.max_messages,
                of.timeout,
                of.fetcher.max_wait,
                of.fetcher.isolation_level
            ),
            Err(message) => message,
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn arguments_say_where_to_begin() {
        check(
            "--bootstrap-server a:1 --topic t",
            &expect![[
                r#"Topic { name: "t", partition: None } from End(Latest), then Latest; at most None within None, waiting 500ms, ReadUncommitted"#
            ]],
        );
        check(
            "--bootstrap-server a:1 --topic t --from-beginning --timeout-ms 100 --max-messages 3",
            &expect![[
                r#"Topic { name: "t", partition: None } from End(Earliest), then Earliest; at most Some(3) within Some(100ms), waiting 100ms, ReadUncommitted"#
            ]],
        );
        check(
            "--bootstrap-server a:1 --topic t --partition 1 --offset 7",
            &expect![[
                r#"Topic { name: "t", partition: Some(1) } from At(7), then Latest; at most None within None, waiting 500ms, ReadUncommitted"#
            ]],
        );
        check(
            "--bootstrap-server a:1 --topic t --partition 1 --offset earliest --isolation-level read_committed",
            &expect![[
                r#"Topic { name: "t", partition: Some(1) } from End(Earliest), then Latest; at most None within None, waiting 500ms, ReadCommitted"#
            ]],
        );
        check(
            "--bootstrap-server a:1 --topic t --command-property auto.offset.reset=earliest",
            &expect![[
                r#"Topic { name: "t", partition: None } from End(Earliest), then Earliest; at most None within None, waiting 500ms, ReadUncommitted"#
            ]],
        );
        check(
            "--bootstrap-server a:1 --topic t --max-messages -1 --timeout-ms -1",
            &expect![[
                r#"Topic { name: "t", partition: None } from End(Latest), then Latest; at most None within None, waiting 500ms, ReadUncommitted"#
            ]],
        );
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused_in_kafkas_words() {
        check("--topic t", &expect![[r#"Missing required argument "[bootstrap-server]""#]]);
        check(
            "--bootstrap-server a:1",
            &expect!["Exactly one of the following arguments is required: [topic], [include]"],
        );
        check(
            "--bootstrap-server a:1 --topic t --include u",
            &expect!["Exactly one of the following arguments is required: [topic], [include]"],
        );
        check(
            "--bootstrap-server a:1 --topic t --offset 3",
            &expect!["The partition is required when offset is specified."],
        );
        check(
            "--bootstrap-server a:1 --topic t --partition 0 --offset -1",
            &expect![
                "The provided offset value '-1' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
            ],
        );
        check(
            "--bootstrap-server a:1 --topic t --partition 0 --offset bogus",
            &expect![
                "The provided offset value 'bogus' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
            ],
        );
        check(
            "--bootstrap-server a:1 --topic t --partition 0 --offset 3 --from-beginning",
            &expect!["Options from-beginning and offset cannot be specified together."],
        );
        check(
            "--bootstrap-server a:1 --topic t --partition 0 --group g",
            &expect!["Options group and partition cannot be specified together."],
        );
        check(
            "--bootstrap-server a:1 --topic t --group g",
            &expect!["Consumer groups are not there yet: leave --group out to read all partitions without a group."],
        );
        check(
            "--bootstrap-server a:1 --topic t --isolation-level bogus",
            &expect![
                "Invalid value bogus for configuration isolation.level: String must be one of: read_committed, read_uncommitted"
            ],
        );
        check(
            "--bootstrap-server a:1 --topic t --formatter bogus",
            &expect![
                "The formatter bogus is not there: org.apache.kafka.tools.consumer.DefaultMessageFormatter and org.apache.kafka.tools.consumer.NoOpMessageFormatter are"
            ],
        );
        check(
            "--bootstrap-server a:1 --topic t --key-deserializer bogus",
            &expect![
                "The deserializer bogus is not there: org.apache.kafka.common.serialization.StringDeserializer is, and likewise those for ByteArray, Long, Integer, Short, Double, Float, Boolean and UUID"
            ],
        );
    }
}
