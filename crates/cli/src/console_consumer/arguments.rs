//! What the command line of the console consumer may say, and what it comes to.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::formatter::Formatter;
use crate::client::{Assignor, FetcherOptions, IsolationLevel, MemberOptions, OffsetReset, Options, Position};
use crate::java_order::{DEFAULT_CAPACITY, hash_code, sort_as_in_java};
use crate::java_time;
use crate::properties::{Properties, Unreadable, say};
use crate::refusal::{CONFIG_EXCEPTION, Refusal};
use crate::topic_filter::TopicFilter;

const DEFAULT_MAX_WAIT_MS: u64 = 500;
const DEFAULT_MIN_BYTES: i32 = 1;
const DEFAULT_MAX_BYTES: i32 = 50 * 1024 * 1024;
const DEFAULT_MAX_PARTITION_BYTES: i32 = 1024 * 1024;
const DEFAULT_METADATA_MAX_AGE_MS: u64 = 300_000;

const DEFAULT_AUTO_COMMIT_INTERVAL_MS: u64 = 5_000;
const DEFAULT_SESSION_TIMEOUT_MS: u64 = 45_000;
const DEFAULT_HEARTBEAT_INTERVAL_MS: u64 = 3_000;
const DEFAULT_MAX_POLL_INTERVAL_MS: u64 = 300_000;
/// The assignors of one who names none, as in Kafka.
const DEFAULT_ASSIGNORS: [Assignor; 2] = [Assignor::Range, Assignor::CooperativeSticky];
/// How much longer than it may wait a broker gets to answer.
const ANSWER_GRACE: Duration = Duration::from_secs(30);
/// How much longer than until the timeout a broker gets to answer.
const TIMEOUT_GRACE: Duration = Duration::from_millis(500);
/// What `--max-messages` says where there is no end.
const NO_MAX_MESSAGES: i64 = -1;
/// Before what Kafka's consumer does not like.
const KAFKA_EXCEPTION: &str = "org.apache.kafka.common.KafkaException: ";
/// Groups without a name get one of so many.
const RANDOM_GROUPS: u32 = 100_000;

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
    /// The consumer group to be in: its members share the partitions, and go on where it has committed.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Go on after a record that cannot be printed.
    #[arg(long)]
    skip_message_on_error: bool,
    /// Print `shutdown_complete` at the end, for tests that wait for it.
    #[arg(long)]
    enable_systest_events: bool,

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
    /// The class that prints records: org.apache.kafka.tools.consumer.DefaultMessageFormatter (the default) or
    /// ...LoggingMessageFormatter, ...NoOpMessageFormatter; of Kafka's own topics ...OffsetsMessageFormatter,
    /// ...GroupMetadataMessageFormatter, ...TransactionLogMessageFormatter, ...ShareGroupMessageFormatter,
    /// ...group.share.ShareGroupStateMessageFormatter.
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
pub struct Settings {
    /// The bootstrap list.
    pub bootstrap: String,
    /// How to connect.
    pub connection: Options,
    /// What to read.
    pub wanted: Wanted,
    /// Where to begin.
    pub start: Position,
    /// After how many records to end.
    pub max_messages: Option<u64>,
    /// After how long without any.
    pub timeout: Option<Duration>,
    /// Whether to go on after one that cannot be printed.
    pub skip_message_on_error: bool,
    /// Whether the end is told of in the output.
    pub enable_systest_events: bool,
    /// How to read.
    pub fetcher: FetcherOptions,
    /// The group to be in.
    pub group: Option<Group>,
    /// How often to look for new topics and partitions.
    pub metadata_max_age: Duration,
    /// How to print.
    pub formatter: Formatter,
}

/// A group to be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which, and how.
    pub member: MemberOptions,
    /// How often to commit, if at all.
    pub auto_commit: Option<Duration>,
}

/// What to read.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A topic.
    Topic {
        /// Its name.
        name: String,
        /// The only partition that is wanted.
        partition: Option<i32>,
    },
    /// All topics that match, but Kafka's own.
    Matching(TopicFilter),
}

impl Arguments {
    /// Reads the arguments, and the files they name.
    ///
    /// # Errors
    /// They make no sense; the message is for the user.
    pub fn settings(&self) -> Result<Settings, Refusal> {
        let bootstrap = self.check().map_err(Refusal::Usage)?;
        self.warn_of_old_names();
        let file = self.command_config.as_deref().or(self.consumer_config.as_deref());
        let pairs = [&self.command_property[..], &self.consumer_property].concat();
        let unreadable = |file: Unreadable| Refusal::Thrown(file.exception());
        let mut properties = Properties::gather(file, &pairs).map_err(unreadable)?;
        let group = self.group_id(&mut properties).map_err(Refusal::Usage)?;
        let group = self.group(group, &mut properties).map_err(Refusal::Begun)?;
        if self.partition.is_some() && group.is_some() {
            return Err(Refusal::Usage("Options group and partition cannot be specified together.".to_owned()));
        }
        let reset = self.reset(&mut properties)?;
        let start = self.start(reset).map_err(Refusal::Usage)?;
        let formatter = self.formatter().map_err(Refusal::Usage)?;
        let wrong = |message: String| Refusal::Begun(format!("{CONFIG_EXCEPTION}{message}"));
        let mut connection = properties.take_connection_options("console-consumer").map_err(wrong)?;
        let timeout = self.timeout_ms.and_then(|timeout_ms| u64::try_from(timeout_ms).ok()).map(Duration::from_millis);
        if let Some(timeout) = timeout {
            // A broker that does not answer keeps nobody much longer than he wants to wait for records.
            let within = timeout + TIMEOUT_GRACE;
            connection.request_timeout = connection.request_timeout.min(within);
            connection.connect_timeout = connection.connect_timeout.min(within);
        }
        let fetcher = self.fetcher_options(&mut properties, reset, timeout).map_err(wrong)?;
        let metadata_max_age_ms = properties.take_number("metadata.max.age.ms").map_err(wrong)?;
        properties.warn_of_the_rest();
        Ok(Settings {
            bootstrap,
            connection,
            wanted: self.wanted()?,
            start,
            // Whatever else is below 0 has been reached at once.
            max_messages: self
                .max_messages
                .filter(|count| *count != NO_MAX_MESSAGES)
                .map(|count| count.max(0).cast_unsigned()),
            timeout,
            skip_message_on_error: self.skip_message_on_error,
            enable_systest_events: self.enable_systest_events,
            fetcher,
            group,
            metadata_max_age: Duration::from_millis(metadata_max_age_ms.unwrap_or(DEFAULT_METADATA_MAX_AGE_MS)),
            formatter,
        })
    }

    /// The list of addresses, where the options fit each other.
    fn check(&self) -> Result<String, String> {
        let refuse = |message: &str| Err(message.to_owned());
        let Some(bootstrap) = self.bootstrap_server.clone() else {
            return refuse("Missing required argument \"[bootstrap-server]\"");
        };
        if self.topic.is_some() == self.include.is_some() {
            return refuse("Exactly one of the following arguments is required: [topic], [include]");
        }
        if self.partition.is_some() && self.include.is_some() {
            return refuse("The topic is required when partition is specified.");
        }
        if self.offset.is_some() && self.partition.is_none() {
            return refuse("The partition is required when offset is specified.");
        }
        if self.offset.is_some() && self.from_beginning {
            return refuse("Options from-beginning and offset cannot be specified together.");
        }
        for (both, old, new) in [
            (
                !self.command_property.is_empty() && !self.consumer_property.is_empty(),
                "consumer-property",
                "command-property",
            ),
            (self.command_config.is_some() && self.consumer_config.is_some(), "consumer.config", "command-config"),
            (!self.formatter_property.is_empty() && !self.property.is_empty(), "property", "formatter-property"),
        ] {
            if both {
                return Err(format!("Options --{old} and --{new} cannot be specified together."));
            }
        }
        Ok(bootstrap)
    }

    /// What to read, which Kafka's tool looks at last.
    fn wanted(&self) -> Result<Wanted, Refusal> {
        match (&self.topic, &self.include) {
            (Some(topic), _) => Ok(Wanted::Topic { name: topic.clone(), partition: self.partition }),
            (None, regex) => {
                let filter = TopicFilter::parse(regex.as_deref().unwrap_or_default());
                let wrong = |message| Refusal::Begun(format!("java.util.regex.PatternSyntaxException: {message}"));
                filter.map(Wanted::Matching).map_err(wrong)
            }
        }
    }

    /// The group that is named, by the option or by the property.
    fn group_id(&self, properties: &mut Properties) -> Result<Option<String>, String> {
        let property = properties.take("group.id");
        let mut ids: Vec<String> = [&self.group, &property].into_iter().flatten().map(|id| format!("'{id}'")).collect();
        ids.dedup();
        if ids.len() > 1 {
            sort_as_in_java(&mut ids, DEFAULT_CAPACITY, |id| hash_code(id.trim_matches('\'')));
            return Err(format!(
                "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
                 '--consumer.config') do not match. Detected group ids: {}",
                ids.join(", ")
            ));
        }
        Ok(self.group.clone().or(property))
    }

    /// The group, where one is named. A group of its own, as Kafka's tool has it otherwise, makes no difference but where
    /// it commits.
    fn group(&self, named: Option<String>, properties: &mut Properties) -> Result<Option<Group>, String> {
        let is_named = named.is_some();
        let commits = properties.take_flag("enable.auto.commit").unwrap_or(is_named);
        let mut duration = |key: &str, default_ms: u64| {
            let value: Option<u64> =
                properties.take_number(key).map_err(|message| format!("{CONFIG_EXCEPTION}{message}"))?;
            Ok::<_, String>(Duration::from_millis(value.unwrap_or(default_ms)))
        };
        let interval = duration("auto.commit.interval.ms", DEFAULT_AUTO_COMMIT_INTERVAL_MS)?;
        let session_timeout = duration("session.timeout.ms", DEFAULT_SESSION_TIMEOUT_MS)?;
        let heartbeat_interval = duration("heartbeat.interval.ms", DEFAULT_HEARTBEAT_INTERVAL_MS)?;
        let max_poll_interval = duration("max.poll.interval.ms", DEFAULT_MAX_POLL_INTERVAL_MS)?;
        let instance_id = properties.take("group.instance.id");
        if heartbeat_interval >= session_timeout {
            return Err(
                "java.lang.IllegalArgumentException: Heartbeat must be set lower than the session timeout".to_owned()
            );
        }
        match properties.take("group.protocol") {
            Some(protocol) if !protocol.eq_ignore_ascii_case("classic") => {
                return Err(format!("{CONFIG_EXCEPTION}group.protocol={protocol} is not there yet: classic is"));
            }
            _ => {}
        }
        let assignors = assignors(properties.take("partition.assignment.strategy").as_deref())?;
        let group = match named {
            Some(group) => group,
            None if commits => format!("console-consumer-{}", random_number()),
            None => return Ok(None),
        };
        let member =
            MemberOptions { group, assignors, instance_id, session_timeout, heartbeat_interval, max_poll_interval };
        Ok(Some(Group { member, auto_commit: commits.then_some(interval) }))
    }

    /// Where to begin, and where to go on when an offset is gone.
    fn reset(&self, properties: &mut Properties) -> Result<OffsetReset, Refusal> {
        let property = properties.take("auto.offset.reset");
        match property.as_deref() {
            Some("earliest") => Ok(OffsetReset::Earliest),
            Some(other) if self.from_beginning => Err(Refusal::Usage(format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={other}', please remove one option"
            ))),
            None if self.from_beginning => Ok(OffsetReset::Earliest),
            None | Some("latest") => Ok(OffsetReset::Latest),
            Some("none") => Ok(OffsetReset::Nowhere),
            Some(other) => {
                let duration = other.strip_prefix("by_duration:").and_then(|text| java_time::duration(text).ok());
                duration.map(OffsetReset::Within).ok_or_else(|| {
                    Refusal::Begun(format!(
                        "{CONFIG_EXCEPTION}Invalid value {other} for configuration auto.offset.reset: Invalid value `{other}` \
                         for configuration auto.offset.reset. The value must be either 'earliest', 'latest', 'none' or of \
                         the format 'by_duration:<PnDTnHnMn.nS.>'."
                    ))
                })
            }
        }
    }

    fn start(&self, reset: OffsetReset) -> Result<Position, String> {
        match self.offset.as_deref() {
            // Who names a partition is in no group, and begins at the end of its own accord.
            None if self.partition.is_some() && reset == OffsetReset::Nowhere => Ok(Position::End(OffsetReset::Latest)),
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
            answer_grace: timeout.map_or(ANSWER_GRACE, |timeout| ANSWER_GRACE.min(timeout + TIMEOUT_GRACE)),
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

    /// Says which options have a new name.
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

/// The assignors whose classes are named.
fn assignors(classes: Option<&str>) -> Result<Vec<Assignor>, String> {
    let Some(classes) = classes else { return Ok(DEFAULT_ASSIGNORS.to_vec()) };
    let named = classes.split(',').map(str::trim).filter(|class| !class.is_empty());
    let named: Vec<_> = named
        .map(|class| {
            let unknown = || format!("{KAFKA_EXCEPTION}{class} ClassNotFoundException exception occurred");
            Assignor::of_class(class).ok_or_else(unknown)
        })
        .collect::<Result<_, _>>()?;
    if named.is_empty() {
        return Err(format!(
            "{KAFKA_EXCEPTION}Must configure at least one partition assigner class name to \
             partition.assignment.strategy configuration property"
        ));
    }
    Ok(named)
}

/// Different in each process of a time.
fn random_number() -> u32 {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.subsec_nanos());
    (now ^ std::process::id().rotate_left(16)) % RANDOM_GROUPS
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::test_line;

    fn shown(refusal: &Refusal) -> String {
        let notes = refusal.screen("console-consumer", ["uncaught: ", "unknown error: "]).notes;
        notes.lines().next().unwrap_or_default().to_owned()
    }

    fn check(line: &str, expected: &Expect) {
        let shown = match test_line::arguments::<Arguments>(line).settings() {
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
            Err(refusal) => shown(&refusal),
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
            "--bootstrap-server a:1 --topic t --isolation-level bogus",
            &expect![
                "unknown error: org.apache.kafka.common.config.ConfigException: Invalid value bogus for configuration isolation.level: String must be one of: read_committed, read_uncommitted"
            ],
        );
        check("--bootstrap-server a:1 --topic t --formatter bogus", &expect!["bogus"]);
        check(
            "--bootstrap-server a:1 --topic t --key-deserializer org.apache.kafka.common.serialization.VoidDeserializer",
            &expect![
                "The deserializer org.apache.kafka.common.serialization.VoidDeserializer is not there: org.apache.kafka.common.serialization.StringDeserializer is, and likewise those for ByteArray, Long, Integer, Short, Double, Float, Boolean and UUID"
            ],
        );
    }

    fn check_group(line: &str, expected: &Expect) {
        let shown = match test_line::arguments::<Arguments>(line).settings() {
            Ok(Settings { group: Some(Group { member, auto_commit }), .. }) => format!(
                "{} {:?} {:?} {:?} {:?}, {auto_commit:?}",
                member.group,
                member.instance_id,
                member.session_timeout,
                member.heartbeat_interval,
                member.max_poll_interval
            ),
            Ok(_) => "none".to_owned(),
            Err(refusal) => shown(&refusal),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_group_is_named_or_not_needed() {
        check_group("--bootstrap-server a:1 --topic t", &expect!["none"]);
        check_group("--bootstrap-server a:1 --topic t --group g", &expect!["g None 45s 3s 300s, Some(5s)"]);
        check_group(
            "--bootstrap-server a:1 --topic t --command-property group.id=g --command-property enable.auto.commit=false \
             --command-property group.instance.id=i --command-property session.timeout.ms=6000 \
             --command-property heartbeat.interval.ms=500 --command-property max.poll.interval.ms=9000",
            &expect![[r#"g Some("i") 6s 500ms 9s, None"#]],
        );
        check_group(
            "--bootstrap-server a:1 --topic t --group g --command-property auto.commit.interval.ms=10",
            &expect!["g None 45s 3s 300s, Some(10ms)"],
        );
        check_group(
            "--bootstrap-server a:1 --topic t --group g --command-property group.id=h",
            &expect![
                "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: 'g', 'h'"
            ],
        );
        check_group(
            "--bootstrap-server a:1 --topic t --group g --command-property group.protocol=consumer",
            &expect![
                "unknown error: org.apache.kafka.common.config.ConfigException: group.protocol=consumer is not there yet: classic is"
            ],
        );
        check_group(
            "--bootstrap-server a:1 --topic t --group g \
             --command-property partition.assignment.strategy=org.apache.kafka.clients.consumer.Nonsense",
            &expect![
                "unknown error: org.apache.kafka.common.KafkaException: org.apache.kafka.clients.consumer.Nonsense ClassNotFoundException exception occurred"
            ],
        );
        check_group(
            "--bootstrap-server a:1 --topic t --group g --command-property session.timeout.ms=100",
            &expect![
                "unknown error: java.lang.IllegalArgumentException: Heartbeat must be set lower than the session timeout"
            ],
        );
    }

    #[test]
    fn assignors_are_named_by_their_classes() {
        let assignors = |classes: &str| super::assignors(Some(classes)).unwrap();
        let class = |name| format!("org.apache.kafka.clients.consumer.{name}Assignor");
        assert_eq!(super::assignors(None).unwrap(), [Assignor::Range, Assignor::CooperativeSticky]);
        assert_eq!(assignors(&class("CooperativeSticky")), [Assignor::CooperativeSticky]);
        assert_eq!(
            assignors(&format!("{} , {}", class("RoundRobin"), class("Sticky"))),
            [Assignor::RoundRobin, Assignor::Sticky]
        );
        assert!(super::assignors(Some(" ")).is_err());
    }

    fn settings(rest: &str) -> Result<Settings, String> {
        let arguments = test_line::arguments::<Arguments>(&format!("--bootstrap-server a:1 --topic t {rest}"));
        arguments.settings().map_err(|refusal| shown(&refusal))
    }

    #[test]
    fn an_offset_that_is_not_there_is_looked_for_as_the_property_says() {
        let reset = |text: &str| {
            let settings = settings(&format!("--command-property auto.offset.reset={text}"));
            settings.map(|settings| settings.fetcher.reset)
        };
        assert_eq!(reset("none"), Ok(OffsetReset::Nowhere));
        assert_eq!(reset("by_duration:PT1H"), Ok(OffsetReset::Within(Duration::from_secs(3600))));
        assert!(reset("by_duration:-PT1H").unwrap_err().contains("must be either"));
        assert!(reset("by_duration:1h").is_err() && reset("nonsense").is_err());
        let both = settings("--from-beginning --command-property auto.offset.reset=none").unwrap_err();
        assert!(
            both.starts_with("Can't simultaneously specify --from-beginning and 'auto.offset.reset=none'"),
            "{both}"
        );
        let alone = settings("--partition 0 --command-property auto.offset.reset=none").unwrap();
        assert_eq!(alone.start, Position::End(OffsetReset::Latest));
    }

    #[test]
    fn fewer_messages_than_none_have_been_read_already() {
        let most = |count: &str| settings(&format!("--max-messages {count}")).unwrap().max_messages;
        assert_eq!((most("-1"), most("-5"), most("0"), most("7")), (None, Some(0), Some(0), Some(7)));
    }

    #[test]
    fn a_broker_that_does_not_answer_keeps_nobody_for_long() {
        let settings = settings("--timeout-ms 2000").unwrap();
        assert_eq!(settings.connection.request_timeout, Duration::from_millis(2500));
        assert_eq!(settings.fetcher.answer_grace, Duration::from_millis(2500));
    }
}
