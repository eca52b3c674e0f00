//! `ottla delete-records`: deletes the records of partitions before given offsets, with the flags and the output of Kafka's
//! kafka-delete-records.sh.
//!
//! ```text
//! {"partitions": [{"topic": "t", "partition": 0, "offset": 5}, ..], "version": 1}       offset -1: all there is
//! ```
//!
//! Differs from Kafka: partitions are answered for in their order, those that are not there are not looked for until the
//! timeout, and there are no stack traces.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ottla_base::TopicPartition;
use ottla_protocol::messages::delete_records_request::{DeleteRecordsRequest, Partition, Topic};
use ottla_protocol::messages::delete_records_response::DeleteRecordsResponse;
use ottla_protocol::{ApiKey, Str};
use serde_json::Value;

use crate::client::leaders::{ByPartition, on_leaders};
use crate::client::{Cluster, Error, by_topic};
use crate::connection::{self, Connection};
use crate::java_order::{DEFAULT_CAPACITY, hash_of_partition, sort_as_in_java};
use crate::screen::Screen;

/// The only version of the file.
const VERSION: i64 = 1;

/// What is asked for first, as Kafka's client calls it.
const CALL: &str = "deleteRecords(api=METADATA)";

/// What to delete.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// A file with the offset to delete up to, of each partition:
    /// {"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}
    #[arg(long, value_name = "FILE")]
    offset_json_file: Option<PathBuf>,
}

/// Does what the arguments say.
pub fn run(arguments: &Arguments) -> ExitCode {
    let (bootstrap, path) = match (&arguments.connection.bootstrap_server, &arguments.offset_json_file) {
        (Some(bootstrap), Some(path)) => (bootstrap, path),
        (bootstrap, _) => {
            let missing = if bootstrap.is_none() { "bootstrap-server" } else { "offset-json-file" };
            eprintln!("Missing required argument \"[{missing}]\"\nTry 'ottla delete-records --help'.");
            return ExitCode::FAILURE;
        }
    };
    let mut screen = Screen::default();
    let done = execute(arguments, bootstrap, path, &mut screen);
    let code = if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if let Err(message) = done {
        screen.note(message);
    }
    screen.show();
    code
}

fn execute(arguments: &Arguments, bootstrap: &str, path: &Path, screen: &mut Screen) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|_| format!("Unable to read file {}", path.display()))?;
    let offsets = read(&text)?;
    let options = arguments.connection.options("ottla-delete-records").map_err(|error| error.told())?;
    let connected = match connection::connect(bootstrap, &options, CALL) {
        Ok(cluster) => Ok(cluster),
        Err(Error::NoNode { call }) => Err(call),
        Err(error) => return Err(error.told()),
    };
    screen.say("Executing records delete operation");
    let deleted = match connected {
        Ok(mut cluster) => delete(&mut cluster, &offsets).map_err(|error| error.to_string())?,
        Err(call) => offsets.into_keys().map(|of| (of, Err(Error::NoNode { call }))).collect(),
    };
    screen.say("Records delete operation completed:");
    show(deleted, screen);
    Ok(())
}

/// Reads the file: each partition's offset.
///
/// # Errors
/// It is something else; the message is Kafka's.
fn read(text: &str) -> Result<BTreeMap<TopicPartition, i64>, String> {
    // What follows the first value is passed over.
    let json: Option<Value> = serde_json::Deserializer::from_str(text).into_iter().next().and_then(Result::ok);
    let json = json.ok_or("The input string is not a valid JSON")?;
    let Value::Object(fields) = &json else { return Err(format!("Expected JSON object, received {json}")) };
    let version = fields.get("version").map_or(Ok(VERSION), |version| number(version, "Integer"))?;
    if version != VERSION {
        return Err(format!("Not supported version field value {version}"));
    }
    let partitions = fields.get("partitions").ok_or("Missing partitions field")?;
    let Value::Array(partitions) = partitions else {
        return Err(format!("Expected JSON array, received {partitions}"));
    };
    let mut offsets = BTreeMap::new();
    let mut repeated = Vec::new();
    for partition in partitions {
        let Value::Object(fields) = partition else {
            return Err(format!("Expected JSON object, received {partition}"));
        };
        let field = |name: &str| fields.get(name).ok_or_else(|| format!("No such field exists: `{name}`"));
        let topic = field("topic")?;
        let topic = topic.as_str().ok_or_else(|| format!("Expected `String` value, received {topic}"))?;
        let index = number(field("partition")?, "Integer")?;
        let of = TopicPartition::new(topic, i32::try_from(index).map_err(|_| wrong_number(index, "Integer"))?);
        if offsets.insert(of.clone(), number(field("offset")?, "Long")?).is_some() && !repeated.contains(&of) {
            repeated.push(of);
        }
    }
    if repeated.is_empty() {
        return Ok(offsets);
    }
    sort_as_in_java(&mut repeated, DEFAULT_CAPACITY, hash_of_partition);
    let repeated: Vec<_> = repeated.iter().map(ToString::to_string).collect();
    Err(format!("Offset json file contains duplicate topic partitions: {}", repeated.join(",")))
}

fn number(value: &Value, kind: &str) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| wrong_number(value, kind))
}

fn wrong_number(value: impl std::fmt::Display, kind: &str) -> String {
    format!("Expected `{kind}` value, received {value}")
}

/// Asks the leaders. Gives what the first offset of each partition is afterwards.
fn delete(cluster: &mut Cluster, offsets: &BTreeMap<TopicPartition, i64>) -> Result<ByPartition<i64>, Error> {
    let timeout_ms = i32::try_from(cluster.request_timeout().as_millis()).unwrap_or(i32::MAX);
    let partitions: Vec<_> = offsets.keys().cloned().collect();
    on_leaders(
        cluster,
        &partitions,
        |connection, partitions| {
            let partition = |of: &TopicPartition| Partition { partition_index: of.partition.0, offset: offsets[of] };
            let topics = by_topic(partitions.iter().map(|of| (of.topic.as_str(), partition(of)))).into_iter();
            let topics = topics.map(|(name, partitions)| Topic { name: Str::Borrowed(name), partitions }).collect();
            let request = DeleteRecordsRequest { topics, timeout_ms };
            connection.send(ApiKey::DeleteRecords, i16::MAX, &request)
        },
        |answer| {
            let response: DeleteRecordsResponse<'_> = answer.read()?;
            let mut deleted = ByPartition::new();
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let low_watermark = match partition.error_code {
                        0 => Ok(partition.low_watermark),
                        code => Err(Error::of_code(code, None)),
                    };
                    deleted.insert(TopicPartition::new(&*topic.name, partition.partition_index), low_watermark);
                }
            }
            Ok(deleted)
        },
    )
}

fn show(deleted: ByPartition<i64>, screen: &mut Screen) {
    let mut deleted: Vec<_> = deleted.into_iter().collect();
    sort_as_in_java(&mut deleted, DEFAULT_CAPACITY, |(partition, _)| hash_of_partition(partition));
    for (partition, low_watermark) in deleted {
        screen.say(match low_watermark {
            Ok(low_watermark) => format!("partition: {partition}\tlow_watermark: {low_watermark}"),
            Err(error) => format!("partition: {partition}\terror: {}", error.exception()),
        });
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ottla_protocol::ErrorCode;

    use super::*;

    fn check(text: &str, expected: &Expect) {
        let shown = match read(text) {
            Ok(offsets) => offsets.iter().map(|(partition, offset)| format!("{partition}:{offset} ")).collect(),
            Err(message) => message,
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn offsets_are_read() {
        let one = r#"{"topic": "t", "partition": 1, "offset": -1}"#;
        check(r#"{"partitions":[]}"#, &expect![""]);
        check(
            &format!(r#"{{"version":1,"partitions":[{one},{{"topic":"u","partition":0,"offset":5}}]}}"#),
            &expect!["t-1:-1 u-0:5 "],
        );
        check(
            &format!(r#"{{"partitions":[{one},{one},{one}]}}"#),
            &expect!["Offset json file contains duplicate topic partitions: t-1"],
        );
    }

    #[test]
    fn nonsense_is_refused_in_kafkas_words() {
        check("nonsense", &expect!["The input string is not a valid JSON"]);
        check("", &expect!["The input string is not a valid JSON"]);
        check("1x", &expect!["The input string is not a valid JSON"]);
        check(r#"{"version":7,"partitions":[]} garbage"#, &expect!["Not supported version field value 7"]);
        check(r#"{"version":7,"partitions":[]}}]]"#, &expect!["Not supported version field value 7"]);
        check("{} {}", &expect!["Missing partitions field"]);
        check("[]", &expect!["Expected JSON object, received []"]);
        check("{}", &expect!["Missing partitions field"]);
        check(r#"{"version":2,"partitions":[]}"#, &expect!["Not supported version field value 2"]);
        check(r#"{"partitions":{}}"#, &expect!["Expected JSON array, received {}"]);
        check(r#"{"partitions":[{"topic":"t","partition":1}]}"#, &expect!["No such field exists: `offset`"]);
        check(
            r#"{"partitions":[{"topic":7,"partition":1,"offset":1}]}"#,
            &expect!["Expected `String` value, received 7"],
        );
        check(
            r#"{"partitions":[{"topic":"t","partition":"x","offset":1}]}"#,
            &expect![[r#"Expected `Integer` value, received "x""#]],
        );
        check(
            r#"{"partitions":[{"topic":"t","partition":0,"offset":1.5}]}"#,
            &expect!["Expected `Long` value, received 1.5"],
        );
    }

    #[test]
    fn what_was_deleted_is_shown_by_partition() {
        let refused = Err(Error::of_code(ErrorCode::OffsetOutOfRange.code(), None));
        let mut screen = Screen::default();
        let deleted = [("tt", 1, Ok(5)), ("other", 0, refused)];
        let deleted = deleted.map(|(topic, index, result)| (TopicPartition::new(topic, index), result));
        show(deleted.into(), &mut screen);
        expect![[r#"
            partition: tt-1	low_watermark: 5
            partition: other-0	error: org.apache.kafka.common.errors.OffsetOutOfRangeException: The requested offset is not within the range of offsets maintained by the server.
        "#]].assert_eq(&screen.out);
    }
}
