//! `ottla log-dirs`: what lies in the log directories of brokers, with the flags and the output of Kafka's kafka-log-dirs.sh.
//!
//! ```text
//! {"version":1,"brokers":[{"broker":1,"logDirs":[{"partitions":[{..}],"error":null,"logDir":"/data"}]}]}
//! ```
//!
//! The names of an object, too, come in the order of Java's hash maps.
//!
//! Differs from Kafka: no stack traces, and one sentence instead of the table of all options.

use std::process::ExitCode;

use clap::Args;
use ottla_base::TopicPartition;
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::{DescribeLogDirsResponse, DescribeLogDirsResult, Partition};
use ottla_protocol::{ApiKey, ErrorCode};

use crate::client::{Error, exception};
use crate::connection::{self, Connection};
use crate::java_order::{DEFAULT_CAPACITY, hash_code, hash_of_partition, sort_as_in_java};
use crate::screen::Screen;

/// Which directories.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Describe the log directories of brokers.
    #[arg(long)]
    describe: bool,
    /// Only the partitions of these topics, with commas between them.
    #[arg(long, value_name = "TOPICS", default_value = "", hide_default_value = true)]
    topic_list: String,
    /// Only these brokers, by their numbers, with commas between them.
    #[arg(long, value_name = "BROKERS", default_value = "", hide_default_value = true)]
    broker_list: String,
}

/// Does what the arguments say.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut screen = Screen::default();
    let missing = match arguments {
        Arguments { connection: Connection { bootstrap_server: None, .. }, .. } => Some("bootstrap-server"),
        Arguments { describe: false, .. } => Some("describe"),
        _ => None,
    };
    let done = match missing {
        Some(missing) => Err(format!("Missing required argument \"[{missing}]\"\nTry 'ottla log-dirs --help'.")),
        None => execute(arguments, &mut screen),
    };
    let code = if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if let Err(message) = done {
        screen.note(message);
    }
    screen.show();
    code
}

fn execute(arguments: &Arguments, screen: &mut Screen) -> Result<(), String> {
    let bootstrap = arguments.connection.bootstrap_server.as_deref().unwrap_or_default();
    let options = arguments.connection.options("log-dirs-tool").map_err(|error| error.told())?;
    let failed = |error: Error| error.exception();
    let mut cluster = connection::connect(bootstrap, &options, "listNodes").map_err(|error| match error {
        Error::NoAdminClient => error.told(),
        other => failed(other),
    })?;
    let existing = in_hash_order(cluster.live_brokers().collect());
    let wanted = read_brokers(&arguments.broker_list)?;
    let unknown: Vec<i32> = wanted.iter().copied().filter(|broker| !existing.contains(broker)).collect();
    if !unknown.is_empty() {
        return Err(format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            list(&unknown),
            list(&existing)
        ));
    }
    let brokers = if wanted.is_empty() { existing } else { wanted };
    screen.say("Querying brokers for log directories information");
    let mut described = Vec::new();
    for &broker in &brokers {
        let request = DescribeLogDirsRequest { topics: None };
        let answer = cluster.broker(broker).and_then(|connection| connection.ask(ApiKey::DescribeLogDirs, &request));
        let answer = answer.map_err(failed)?;
        let response: DescribeLogDirsResponse<'_> = answer.read().map_err(failed)?;
        described.push(describe_broker(broker, &response, &arguments.topic_list).map_err(failed)?);
    }
    screen.say(format!("Received log directory information from brokers {}", list(&brokers)));
    screen.say(format!("{{\"brokers\":[{}],\"version\":1}}", described.join(",")));
    Ok(())
}

/// The numbers in a list, without empty words.
fn read_brokers(text: &str) -> Result<Vec<i32>, String> {
    let words = text.split(',').filter(|word| !word.is_empty());
    let numbers = words.map(|word| word.parse().map_err(|_| format!("For input string: \"{word}\"")));
    Ok(in_hash_order(numbers.collect::<Result<_, _>>()?))
}

/// As a Java set has them.
fn in_hash_order(mut brokers: Vec<i32>) -> Vec<i32> {
    brokers.sort_unstable();
    brokers.dedup();
    sort_as_in_java(&mut brokers, DEFAULT_CAPACITY, |broker| broker.cast_unsigned());
    brokers
}

fn list(brokers: &[i32]) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn describe_broker(broker: i32, response: &DescribeLogDirsResponse<'_>, topics: &str) -> Result<String, Error> {
    if response.results.is_empty() {
        // A broker that may not say tells of no directory; before version 3 that was all it said.
        let code = match response.error_code {
            0 => ErrorCode::ClusterAuthorizationFailed.code(),
            code => code,
        };
        return Err(Error::of_code(code, None));
    }
    let mut results: Vec<_> = response.results.iter().collect();
    let capacity = results.len();
    sort_as_in_java(&mut results, capacity, |result| hash_code(&result.log_dir));
    let directories: Vec<_> = results.into_iter().map(|result| describe_directory(result, topics)).collect();
    Ok(format!("{{\"broker\":{broker},\"logDirs\":[{}]}}", directories.join(",")))
}

fn describe_directory(result: &DescribeLogDirsResult<'_>, topics: &str) -> String {
    let is_wanted = |topic: &str| {
        let mut named = topics.split(',').filter(|name| !name.is_empty()).peekable();
        named.peek().is_none() || named.any(|name| name == topic)
    };
    let mut partitions: Vec<(TopicPartition, &Partition)> = Vec::new();
    for topic in &result.topics {
        let named = |partition| TopicPartition::new(&*topic.name, partition);
        partitions.extend(topic.partitions.iter().map(|partition| (named(partition.partition_index), partition)));
    }
    // From one map into another, which is smaller where topics were left out.
    sort_as_in_java(&mut partitions, DEFAULT_CAPACITY, |(name, _)| hash_of_partition(name));
    partitions.retain(|(name, _)| is_wanted(&name.topic));
    sort_as_in_java(&mut partitions, DEFAULT_CAPACITY, |(name, _)| hash_of_partition(name));
    let partitions: Vec<_> = partitions
        .into_iter()
        .map(|(name, partition)| {
            format!(
                "{{\"partition\":{},\"size\":{},\"offsetLag\":{},\"isFuture\":{}}}",
                quoted(&name.to_string()),
                partition.partition_size,
                partition.offset_lag,
                partition.is_future_key
            )
        })
        .collect();
    let error = match result.error_code {
        0 => "null".to_owned(),
        code => quoted(&exception::class(ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError))),
    };
    format!("{{\"partitions\":[{}],\"error\":{error},\"logDir\":{}}}", partitions.join(","), quoted(&result.log_dir))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ottla_protocol::messages::describe_log_dirs_response::Topic;

    use super::*;

    fn check(response: &DescribeLogDirsResponse<'_>, topics: &str, expected: &Expect) {
        expected.assert_eq(&describe_broker(1, response, topics).unwrap_or_else(|error| error.exception()));
    }

    #[test]
    fn directories_are_described_in_the_order_of_java() {
        let partition = |partition_index| Partition { partition_index, partition_size: 7, ..Partition::default() };
        let topic = |name: &'static str, count: i32| Topic {
            name: name.into(),
            partitions: (0..count).map(partition).collect(),
        };
        let failed = ErrorCode::KafkaStorageError.code();
        let results = vec![
            DescribeLogDirsResult {
                log_dir: "/a".into(),
                topics: vec![topic("t", 2), topic("u\"", 1)],
                ..Default::default()
            },
            DescribeLogDirsResult { log_dir: "/b".into(), error_code: failed, ..Default::default() },
        ];
        let response = DescribeLogDirsResponse { results, ..Default::default() };
        check(
            &response,
            "",
            &expect![[
                r#"{"broker":1,"logDirs":[{"partitions":[{"partition":"t-1","size":7,"offsetLag":0,"isFuture":false},{"partition":"t-0","size":7,"offsetLag":0,"isFuture":false},{"partition":"u\"-0","size":7,"offsetLag":0,"isFuture":false}],"error":null,"logDir":"/a"},{"partitions":[],"error":"org.apache.kafka.common.errors.KafkaStorageException","logDir":"/b"}]}"#
            ]],
        );
        check(
            &response,
            "t,,nosuch",
            &expect![[
                r#"{"broker":1,"logDirs":[{"partitions":[{"partition":"t-1","size":7,"offsetLag":0,"isFuture":false},{"partition":"t-0","size":7,"offsetLag":0,"isFuture":false}],"error":null,"logDir":"/a"},{"partitions":[],"error":"org.apache.kafka.common.errors.KafkaStorageException","logDir":"/b"}]}"#
            ]],
        );
        check(
            &response,
            "nosuch",
            &expect![[
                r#"{"broker":1,"logDirs":[{"partitions":[],"error":null,"logDir":"/a"},{"partitions":[],"error":"org.apache.kafka.common.errors.KafkaStorageException","logDir":"/b"}]}"#
            ]],
        );
    }

    #[test]
    fn a_broker_that_tells_nothing_is_one_that_may_not() {
        check(
            &DescribeLogDirsResponse::default(),
            "",
            &expect!["org.apache.kafka.common.errors.ClusterAuthorizationException: Cluster authorization failed."],
        );
        let error_code = ErrorCode::RequestTimedOut.code();
        check(
            &DescribeLogDirsResponse { error_code, ..Default::default() },
            "",
            &expect!["org.apache.kafka.common.errors.TimeoutException: The request timed out."],
        );
    }

    #[test]
    fn a_list_of_brokers_is_numbers() {
        assert_eq!(read_brokers("3,,1,3"), Ok(vec![1, 3]));
        assert_eq!(read_brokers("1,x"), Err("For input string: \"x\"".to_owned()));
    }
}
