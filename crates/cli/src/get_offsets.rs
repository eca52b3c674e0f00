//! `ottla get-offsets`: the offsets of partitions at a time, or at an end of their logs, with the flags and the output of
//! Kafka's kafka-get-offsets.sh.
//!
//! Differs from Kafka: no stack traces, one sentence instead of the table of all options, and brokers that cannot be reached
//! are not tried for a minute.

use std::process::ExitCode;

use clap::Args;
use ottla_base::TopicPartition;

use crate::client::offsets::{
    self, EARLIEST, EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, LATEST, LATEST_TIERED, MAX_TIMESTAMP,
};
use crate::client::{Address, Error, Topics};
use crate::connection::{self, Connection};
use crate::screen::Screen;
use crate::topic_filter::TopicFilter;

/// What the tool says before the reason of a failure.
const FAILURE_PREFIX: &str = "Error occurred: ";
/// The names of places in a log, and the timestamps that stand for them.
const PLACES: [(&str, i64); 6] = [
    ("earliest", EARLIEST),
    ("latest", LATEST),
    ("max-timestamp", MAX_TIMESTAMP),
    ("earliest-local", EARLIEST_LOCAL),
    ("latest-tiered", LATEST_TIERED),
    ("earliest-pending-upload", EARLIEST_PENDING_UPLOAD),
];

/// Which offsets of which partitions.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The topic, or a regular expression of topics; all of them otherwise.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The partitions of these topics, with commas between them; all of them otherwise.
    #[arg(long, value_name = "PARTITIONS")]
    partitions: Option<String>,
    /// Topics with partitions, with commas between them: t1:1,t2:0-3 (without 3),t3,t4:5-,t5:-3,:0
    #[arg(long, value_name = "LIST")]
    topic_partitions: Option<String>,
    /// The time in milliseconds since 1970 whose first record is looked for, or -1 or latest, -2 or earliest, -3 or
    /// max-timestamp, -4 or earliest-local, -5 or latest-tiered, -6 or earliest-pending-upload.
    #[arg(long, value_name = "TIME", default_value = "latest", allow_hyphen_values = true)]
    time: String,
    /// Leave out Kafka's own topics.
    #[arg(long)]
    exclude_internal_topics: bool,
}

/// Why the tool ends with a failure.
enum Failure {
    /// The arguments make no sense.
    Usage(String),
    /// It could not be done.
    Failed(String),
}

/// Topics, and partitions of them.
#[derive(Debug)]
struct Rule {
    topics: TopicFilter,
    partitions: Partitions,
}

/// Partitions of a topic.
#[derive(Debug)]
enum Partitions {
    /// These; all where there are none.
    Listed(Vec<i32>),
    /// From the first to before the second.
    Between(i32, i32),
}

/// Does what the arguments say.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut screen = Screen::default();
    let done = execute(arguments, &mut screen);
    let code = if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match done {
        Ok(()) => {}
        Err(Failure::Usage(message)) => screen.note(format!("{message}\nTry 'ottla get-offsets --help'.")),
        Err(Failure::Failed(message)) => screen.note(format!("{FAILURE_PREFIX}{message}")),
    }
    screen.show();
    code
}

fn execute(arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    let Some(bootstrap) = arguments.connection.bootstrap_server.as_deref() else {
        return Err(Failure::Usage("Missing required argument \"[bootstrap-server]\"".to_owned()));
    };
    if Address::parse_list(bootstrap).is_err() {
        return Err(Failure::Usage("Please provide valid host:port like host1:9091,host2:9092".to_owned()));
    }
    let (timestamp, rules) = arguments.read().map_err(Failure::Failed)?;
    let options = arguments.connection.options("GetOffsetShell").map_err(|error| Failure::Failed(error.told()))?;
    let failed = |error: Error| Failure::Failed(error.exception());
    let mut cluster = connection::connect(bootstrap, &options, "listTopics").map_err(|error| match error {
        Error::NoAdminClient => Failure::Failed(error.told()),
        other => failed(other),
    })?;
    let mut partitions = Vec::new();
    for topic in cluster.topics(Topics::All).map_err(failed)? {
        if !(topic.is_internal && arguments.exclude_internal_topics) {
            let all =
                topic.partitions.iter().map(|partition| TopicPartition::new(topic.name.as_str(), partition.index));
            partitions.extend(all.filter(|partition| rules.iter().any(|rule| rule.allows(partition))));
        }
    }
    if partitions.is_empty() {
        return Err(Failure::Failed("Could not match any topic-partitions with the specified filters".to_owned()));
    }
    let found = offsets::list(&mut cluster, &partitions, timestamp).map_err(failed)?;
    let mut found: Vec<_> =
        found.into_iter().map(|(partition, offset)| (partition.to_string(), partition, offset)).collect();
    // By their text: t-10 comes before t-2.
    found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    for (text, TopicPartition { topic, partition }, offset) in found {
        match offset {
            Ok(Some(offset)) => screen.say(format!("{topic}:{partition}:{offset}")),
            Ok(None) => {}
            Err(error) => screen
                .note(format!("Skip getting offsets for topic-partition {text} due to error: {}", error.exception())),
        }
    }
    Ok(())
}

impl Arguments {
    /// The timestamp, and the partitions.
    fn read(&self) -> Result<(i64, Vec<Rule>), String> {
        if self.topic_partitions.is_some() && (self.topic.is_some() || self.partitions.is_some()) {
            return Err("--topic-partitions cannot be used with --topic or --partitions".to_owned());
        }
        let timestamp = read_time(&self.time)?;
        if let Some(list) = &self.topic_partitions {
            // As in Java, nothing comes after the last comma, nor from commas alone.
            let trimmed = list.trim_end_matches(',');
            let parts = trimmed.split(',').filter(|_| list.is_empty() || !trimmed.is_empty());
            let rules = parts.map(Rule::parse).collect::<Result<_, _>>()?;
            return Ok((timestamp, rules));
        }
        let topics = TopicFilter::parse(self.topic.as_deref().unwrap_or(".*"))?;
        let listed = match self.partitions.as_deref() {
            None | Some("") => Vec::new(),
            Some(list) => {
                let indexes: Result<_, _> = list.split(',').map(str::parse).collect();
                indexes.map_err(|_| {
                    format!(
                        "--partitions expects a comma separated list of numeric partition ids, but received: {list}"
                    )
                })?
            }
        };
        Ok((timestamp, vec![Rule { topics, partitions: Partitions::Listed(listed) }]))
    }
}

fn read_time(text: &str) -> Result<i64, String> {
    if let Some((_, timestamp)) = PLACES.iter().find(|(name, _)| *name == text) {
        return Ok(*timestamp);
    }
    text.parse().map_err(|_| {
        format!(
            "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or \
             earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
        )
    })
}

impl Rule {
    /// Reads `topics:partitions`, of which either may be missing.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("org.apache.kafka.tools.TerseException: Invalid rule specification: {text}");
        let (topics, partitions) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str, missing: i32| match text {
            "" => Ok(missing),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        let partitions = match partitions.split_once('-') {
            Some((first, end)) => Partitions::Between(number(first, 0)?, number(end, i32::MAX)?),
            None if partitions.is_empty() => Partitions::Listed(Vec::new()),
            None => Partitions::Listed(vec![number(partitions, 0)?]),
        };
        let topics = TopicFilter::parse(if topics.is_empty() { ".*" } else { topics })?;
        Ok(Self { topics, partitions })
    }

    fn allows(&self, of: &TopicPartition) -> bool {
        let index = of.partition.0;
        let has_index = match &self.partitions {
            Partitions::Listed(listed) => listed.is_empty() || listed.contains(&index),
            Partitions::Between(first, end) => (*first..*end).contains(&index),
        };
        has_index && self.topics.allows(&of.topic)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::test_line;

    /// What is left of some partitions.
    fn check(line: &str, expected: &Expect) {
        let shown = match test_line::arguments::<Arguments>(line).read() {
            Err(message) => message,
            Ok((timestamp, rules)) => {
                let all =
                    ["t1", "t2", "u"].iter().flat_map(|topic| (0..4).map(|index| TopicPartition::new(*topic, index)));
                let left = all.filter(|partition| rules.iter().any(|rule| rule.allows(partition)));
                let left: Vec<_> = left.map(|partition| partition.to_string()).collect();
                format!("{timestamp}: {}", left.join(" "))
            }
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn topics_and_partitions_are_chosen() {
        check("--topic t.* --partitions 0,3", &expect!["-1: t1-0 t1-3 t2-0 t2-3"]);
        check("--partitions 1 --time earliest", &expect!["-2: t1-1 t2-1 u-1"]);
        check("--topic u --time -6", &expect!["-6: u-0 u-1 u-2 u-3"]);
        check("--topic-partitions t1:2,t2:1-3,u --time 77", &expect!["77: t1-2 t2-1 t2-2 u-0 u-1 u-2 u-3"]);
        check("--topic-partitions t1:3-,t2:-1,:2,", &expect!["-1: t1-2 t1-3 t2-0 t2-2 u-2"]);
        check("--topic-partitions ,", &expect!["-1: "]);
    }

    #[test]
    fn nonsense_is_refused_in_kafkas_words() {
        check(
            "--topic-partitions t:1-2-3",
            &expect!["org.apache.kafka.tools.TerseException: Invalid rule specification: t:1-2-3"],
        );
        check(
            "--topic-partitions t:x",
            &expect!["org.apache.kafka.tools.TerseException: Invalid rule specification: t:x"],
        );
        check(
            "--topic-partitions t --topic t",
            &expect!["--topic-partitions cannot be used with --topic or --partitions"],
        );
        check(
            "--partitions 0,x",
            &expect!["--partitions expects a comma separated list of numeric partition ids, but received: 0,x"],
        );
        check(
            "--time noon",
            &expect![
                "Malformed time argument noon. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
            ],
        );
        check("--topic [", &expect!["[ is an invalid regex."]);
    }
}
