//! Kafka's own tools for groups and for administration, and with them the Java consumer as a member of a group.

use std::fs;

use super::case::{Case, Context, expect_no_part, expect_part, expect_same};
use super::groups;
use super::suite::Suite;
use crate::Fallible;
use crate::process::{self, Daemon};

/// How many records each of a topic's two partitions gets.
const RECORDS: u64 = 10;

pub fn suite() -> Suite {
    let cases = vec![
        Case::new("java console consumer group", 90, console_consumer),
        Case::new("java groups of members", 120, members),
        Case::new("java reset offsets", 240, reset_offsets),
        Case::new("java reset scopes", 120, reset_scopes),
        Case::new("java delete groups and offsets", 120, delete),
        Case::new("java consumer perf test", 60, perf_test),
        Case::new("java verifiable clients", 90, verifiable),
        Case::new("java end to end latency", 60, end_to_end),
        Case::new("java configs", 120, configs),
        Case::new("java delete records", 60, delete_records),
        Case::new("java log dirs", 60, log_dirs),
        Case::new("java elections and reassignments", 90, elections),
        Case::new("java features and quorum", 60, features),
    ];
    Suite::of_cases("java-groups", cases).with_settings(&groups::SETTINGS)
}

/// A topic of two partitions with `RECORDS` each, from 0 on.
fn fill(context: &Context) -> Fallible<String> {
    let topic = context.create_topic(2, &[])?;
    for partition in ["0", "1"] {
        produce(context, &topic, partition)?;
    }
    Ok(topic)
}

fn produce(context: &Context, topic: &str, partition: &str) -> Fallible<()> {
    let lines: String = (0..RECORDS).map(|n| format!("{n} of {partition}\n")).collect();
    context.output(&mut context.kcat(&["-P", "-t", topic, "-p", partition]), &lines).map(drop)
}

/// What a tool writes on its standard output; it must succeed.
fn tool(context: &Context, name: &str, arguments: &[&str]) -> Fallible<String> {
    context.text(&mut context.tool(name, arguments)?, "")
}

fn groups_tool(context: &Context, arguments: &[&str]) -> Fallible<String> {
    tool(context, "kafka-consumer-groups", arguments)
}

/// What a tool says that is to refuse what it is asked; these tools say so, and end with success.
fn refusal(context: &Context, name: &str, arguments: &[&str]) -> Fallible<String> {
    let output = process::run(&mut context.tool(name, arguments)?, b"", context.deadline)?;
    Ok(format!("{}{}", output.text(), output.stderr))
}

/// Starts a console consumer that stays in the group named as the topic until it is dropped.
fn stay(context: &Context, topic: &str) -> Fallible<Daemon> {
    let mut consumer = context.tool("kafka-console-consumer", &["--topic", topic, "--group", topic])?;
    consumer.args(["--from-beginning", "--command-property", "client.id=the-client"]);
    consumer.args(["--command-property", "auto.commit.interval.ms=100"]);
    consumer.args(["--command-property", "heartbeat.interval.ms=500", "--command-property", "session.timeout.ms=6000"]);
    Daemon::start(&mut consumer, &context.shared_file("consumer.out"))
}

/// Asks until the answer has `part`.
fn until(context: &Context, what: &str, part: &str, ask: impl Fn() -> Fallible<String>) -> Fallible<String> {
    loop {
        let text = ask()?;
        if text.contains(part) {
            return Ok(text);
        }
        if std::time::Instant::now() >= context.deadline {
            expect_part(what, &text, part)?;
        }
    }
}

/// Asks for the group of this name until its topic has rows that begin so: `TOPIC PARTITION OFFSET END LAG`.
pub fn until_described(context: &Context, group: &str, expected: &[String]) -> Fallible<()> {
    loop {
        let table = groups_tool(context, &["--describe", "--group", group, "--offsets"])?;
        let rows = rows(&table);
        let found = |start: &String| rows.iter().any(|row| row.starts_with(&format!("{group} {start} ")));
        if expected.iter().all(found) {
            return Ok(());
        }
        if std::time::Instant::now() >= context.deadline {
            return Err(format!("{expected:?} is not what is described:\n{table}").into());
        }
    }
}

/// Rows of a table, with single spaces between the columns, sorted; without its head and without empty lines.
fn rows(table: &str) -> Vec<String> {
    let row = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rows: Vec<_> = table.lines().map(row).filter(|row| !row.is_empty() && !row.starts_with("GROUP ")).collect();
    rows.sort_unstable();
    rows
}

/// A group goes on where it stopped.
fn console_consumer(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let read = |count: &str| {
        let arguments = ["--topic", &topic, "--group", &topic, "--from-beginning", "--max-messages", count];
        tool(context, "kafka-console-consumer", &arguments)
    };
    let mut lines: Vec<String> = Vec::new();
    for count in ["7", "13"] {
        lines.extend(read(count)?.lines().map(str::to_owned));
    }
    lines.sort_unstable();
    let mut expected: Vec<_> = (0..RECORDS).flat_map(|n| [format!("{n} of 0"), format!("{n} of 1")]).collect();
    expected.sort_unstable();
    expect_same("records", &lines.join("\n"), &expected.join("\n"))?;
    let nothing = ["--topic", &topic, "--group", &topic, "--timeout-ms", "3000"];
    expect_same("the rest", &tool(context, "kafka-console-consumer", &nothing)?, "")
}

fn members(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let describe = |arguments: &[&str]| groups_tool(context, &[&["--describe", "--group", &topic], arguments].concat());
    let consumer = stay(context, &topic)?;
    until(context, "state", "Stable", || describe(&["--state"]))?;
    let address = context.server.bootstrap();
    let state = describe(&["--state"])?;
    expect_same("state", &rows(&state).join("\n"), &format!("{topic} {address} (1) range Stable 1"))?;
    let offsets = until(context, "offsets", " 10  ", || describe(&["--offsets"]))?;
    for partition in [0, 1] {
        let row = rows(&offsets).into_iter().find(|row| row.starts_with(&format!("{topic} {topic} {partition} ")));
        let row = row.ok_or_else(|| format!("no partition {partition} in:\n{offsets}"))?;
        expect_part("client", &row, "/127.0.0.1 the-client")?;
    }
    let verbose = describe(&["--members", "--verbose"])?;
    expect_part("members", &verbose, "the-client-")?;
    expect_part("members", &verbose, &format!("{topic}:0,1"))?;
    expect_part("list", &groups_tool(context, &["--list", "--state", "stable"])?, &topic)?;
    expect_part("list", &tool(context, "kafka-groups", &["--list"])?, &topic)?;
    expect_no_part("list of the empty", &groups_tool(context, &["--list", "--state", "empty"])?, &topic)?;
    let refused = refusal(context, "kafka-consumer-groups", &["--delete", "--group", &topic])?;
    expect_part("delete", &refused, "GroupNotEmptyException")?;
    let reset = ["--reset-offsets", "--group", &topic, "--topic", &topic, "--to-earliest", "--execute"];
    let refused = refusal(context, "kafka-consumer-groups", &reset)?;
    expect_part("reset", &refused, "Assignments can only be reset if the group")?;
    // Killed, so it cannot leave: its session must end.
    drop(consumer);
    until(context, "state", "Empty", || describe(&["--state"]))?;
    let offsets = describe(&["--offsets"])?;
    let expected: Vec<_> = (0..2).map(|n| format!("{topic} {topic} {n} 10 10 0 - - -")).collect();
    expect_same("offsets", &rows(&offsets).join("\n"), &expected.join("\n"))
}

/// Runs a reset of the group's offsets; the new ones, as `partition:offset`.
fn reset(context: &Context, topic: &str, arguments: &[&str]) -> Fallible<String> {
    let common = ["--reset-offsets", "--group", topic];
    let table = groups_tool(context, &[&common, arguments].concat())?;
    // It warns of times behind the last record.
    let table: String =
        table.lines().filter(|line| !line.starts_with("Warn: ")).map(|line| format!("{line}\n")).collect();
    let offset = |row: String| {
        let [_, _, partition, offset] = row.split(' ').collect::<Vec<_>>()[..] else { return row };
        format!("{partition}:{offset}")
    };
    Ok(rows(&table).into_iter().map(offset).collect::<Vec<_>>().join(" "))
}

fn reset_offsets(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let plan = context.shared_file("plan.csv");
    let plan = plan.to_string_lossy();
    let strategies: [(&[&str], &str); 13] = [
        (&["--to-offset", "5"], "0:5 1:5"),
        (&["--shift-by", "2"], "0:7 1:7"),
        (&["--shift-by", "-3"], "0:4 1:4"),
        (&["--to-current"], "0:4 1:4"),
        (&["--to-latest"], "0:10 1:10"),
        (&["--shift-by", "5"], "0:10 1:10"),
        (&["--to-earliest"], "0:0 1:0"),
        (&["--to-offset", "99"], "0:10 1:10"),
        (&["--to-datetime", "2020-01-01T00:00:00.000"], "0:0 1:0"),
        (&["--to-datetime", "2999-01-01T00:00:00.000"], "0:10 1:10"),
        (&["--by-duration", "PT1H"], "0:0 1:0"),
        (&["--by-duration", "PT0S"], "0:10 1:10"),
        (&["--from-file", &plan], "0:3 1:6"),
    ];
    fs::write(context.shared_file("plan.csv"), format!("{topic},0,3\n{topic},1,6\n"))?;
    for (strategy, expected) in strategies {
        let scope: &[&str] = if strategy[0] == "--from-file" { &[] } else { &["--topic", &topic] };
        let found = reset(context, &topic, &[scope, strategy, &["--execute"]].concat())?;
        expect_same(&strategy.join(" "), &found, expected)?;
    }
    // What was not executed did nothing, and what was is where a member starts.
    let dry = reset(context, &topic, &["--topic", &topic, "--to-earliest", "--dry-run"])?;
    expect_same("dry run", &dry, "0:0 1:0")?;
    let read = ["--topic", &topic, "--group", &topic, "--max-messages", "11", "--timeout-ms", "20000"];
    let lines = tool(context, "kafka-console-consumer", &read)?;
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    expect_same("first", lines.first().copied().unwrap_or_default(), "3 of 0")?;
    expect_no_part("records before the offset", &lines.join("\n"), "5 of 1")
}

fn reset_scopes(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let found = reset(context, &topic, &["--topic", &format!("{topic}:1"), "--to-offset", "4", "--execute"])?;
    expect_same("one partition", &found, "1:4")?;
    let found = reset(context, &topic, &["--all-topics", "--to-current", "--execute"])?;
    expect_same("all topics of the group", &found, "1:4")?;
    let export = ["--topic", &format!("{topic}:0,1"), "--to-earliest", "--export", "--dry-run"];
    let common = ["--reset-offsets", "--group", &topic];
    let exported = groups_tool(context, &[&common[..], &export].concat())?;
    expect_same("export", &rows(&exported).join(" "), &format!("{topic},0,0 {topic},1,0"))?;
    let all = ["--reset-offsets", "--all-groups", "--topic", &topic, "--to-latest", "--dry-run"];
    let all = rows(&groups_tool(context, &all)?);
    let found: Vec<_> = all.into_iter().filter(|row| row.starts_with(&format!("{topic} "))).collect();
    expect_same("all groups", &found.join("\n"), &format!("{topic} {topic} 0 10\n{topic} {topic} 1 10"))
}

fn delete(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    reset(context, &topic, &["--topic", &topic, "--to-offset", "5", "--execute"])?;
    let deleted = groups_tool(context, &["--delete-offsets", "--group", &topic, "--topic", &format!("{topic}:1")])?;
    expect_part("delete offsets", &rows(&deleted).join("\n"), &format!("{topic} 1 Successful"))?;
    let offsets = groups_tool(context, &["--describe", "--group", &topic, "--offsets"])?;
    expect_same("offsets", &rows(&offsets).join("\n"), &format!("{topic} {topic} 0 5 10 5 - - -"))?;
    let deleted = groups_tool(context, &["--delete", "--group", &topic])?;
    expect_part("delete", &deleted, &format!("Deletion of requested consumer groups ('{topic}') was successful."))?;
    expect_no_part("list", &groups_tool(context, &["--list"])?, &topic)?;
    let again = refusal(context, "kafka-consumer-groups", &["--delete", "--group", &topic])?;
    expect_part("delete again", &again, "GroupIdNotFoundException")?;
    let unknown = refusal(context, "kafka-consumer-groups", &["--describe", "--group", &topic])?;
    expect_part("describe", &unknown, &format!("GroupIdNotFoundException: Group {topic} not found."))
}

fn perf_test(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let arguments = ["--topic", &topic, "--group", &topic, "--num-records", "20", "--hide-header"];
    let line = tool(context, "kafka-consumer-perf-test", &arguments)?;
    expect_same("records", line.split(", ").nth(4).unwrap_or_default(), "20")?;
    let offsets = groups_tool(context, &["--describe", "--group", &topic, "--offsets"])?;
    let expected: Vec<_> = (0..2).map(|n| format!("{topic} {topic} {n} 10 10 0 - - -")).collect();
    expect_same("offsets", &rows(&offsets).join("\n"), &expected.join("\n"))
}

fn verifiable(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(2, &[])?;
    let arguments = ["--topic", &topic, "--max-messages", "1000", "--acks", "-1"];
    let sent = tool(context, "kafka-verifiable-producer", &arguments)?;
    expect_same("acknowledged", &sent.matches("producer_send_success").count().to_string(), "1000")?;
    let arguments = ["--topic", &topic, "--group-id", &topic, "--max-messages", "1000", "--verbose"];
    let read = tool(context, "kafka-verifiable-consumer", &arguments)?;
    expect_same("read", &read.matches("\"record_data\"").count().to_string(), "1000")?;
    expect_part("commits", &read, "\"offsets_committed\"")?;
    expect_no_part("commits", &read, "\"success\":false")
}

fn end_to_end(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(1, &[])?;
    let mut test = context.clients.kafka.tool("kafka-e2e-latency")?;
    test.args(["--bootstrap-server", &context.server.bootstrap(), "--topic", &topic]);
    test.args(["--num-records", "500", "--producer-acks", "all", "--record-size", "100"]);
    expect_part("report", &context.text(&mut test, "")?, "Percentiles: 50th = ")
}

fn configs(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let alter = |kind: &str, name: &str, what: &[&str]| {
        let entity = ["--alter", "--entity-type", kind, "--entity-name", name];
        tool(context, "kafka-configs", &[&entity, what].concat())
    };
    let describe = |kind: &str, name: &str| {
        tool(context, "kafka-configs", &["--describe", "--entity-type", kind, "--entity-name", name])
    };
    alter("topics", &topic, &["--add-config", "retention.ms=7200000,cleanup.policy=[compact,delete]"])?;
    let described = describe("topics", &topic)?;
    expect_part("topic", &described, "retention.ms=7200000")?;
    expect_part("topic", &described, "cleanup.policy=compact,delete")?;
    alter("topics", &topic, &["--delete-config", "retention.ms"])?;
    expect_no_part("topic", &describe("topics", &topic)?, "retention.ms=")?;
    let wrong = ["--alter", "--entity-type", "topics", "--entity-name", &topic, "--add-config", "retention.ms=soon"];
    expect_part("nonsense", &refusal(context, "kafka-configs", &wrong)?, "InvalidConfigurationException")?;

    alter("brokers", "1", &["--add-config", "log.retention.ms=3600000"])?;
    expect_part("broker", &describe("brokers", "1")?, "log.retention.ms=3600000")?;
    alter("brokers", "1", &["--delete-config", "log.retention.ms"])?;
    expect_no_part("broker", &describe("brokers", "1")?, "log.retention.ms=3600000")?;
    alter("clients", "some", &["--add-config", "producer_byte_rate=1048576"])?;
    expect_part("quota", &describe("clients", "some")?, "producer_byte_rate=1048576")?;
    alter("groups", "some", &["--add-config", "consumer.session.timeout.ms=50000"])?;
    expect_part("group", &describe("groups", "some")?, "consumer.session.timeout.ms=50000")
}

fn delete_records(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let file = context.shared_file("delete.json");
    let delete = |offset: i64| {
        let place = format!("{{\"topic\":\"{topic}\",\"partition\":0,\"offset\":{offset}}}");
        fs::write(&file, format!("{{\"partitions\":[{place}],\"version\":1}}"))?;
        tool(context, "kafka-delete-records", &["--offset-json-file", &file.to_string_lossy()])
    };
    expect_part("delete", &delete(4)?, &format!("partition: {topic}-0\tlow_watermark: 4"))?;
    let read = context.text(&mut context.kcat(&["-C", "-t", &topic, "-p", "0", "-e", "-q", "-c", "1"]), "")?;
    expect_same("first record", &read, "4 of 0\n")?;
    expect_part("to the end", &delete(-1)?, &format!("partition: {topic}-0\tlow_watermark: 10"))?;
    expect_part("too far", &delete(11)?, "OffsetOutOfRangeException")
}

fn log_dirs(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let text = tool(context, "kafka-log-dirs", &["--describe", "--topic-list", &topic, "--broker-list", "1"])?;
    let json = text.lines().find(|line| line.starts_with('{')).ok_or("no JSON")?;
    let found: serde_json::Value = serde_json::from_str(json)?;
    let folder = &found["brokers"][0]["logDirs"][0];
    expect_same("error", &folder["error"].to_string(), "null")?;
    let partitions = folder["partitions"].as_array().ok_or("no partitions")?;
    expect_same("partitions", &partitions.len().to_string(), "2")?;
    for partition in partitions {
        let name = partition["partition"].as_str().unwrap_or_default();
        let on_disk = fs::metadata(context.server.data().join(name).join("00000000000000000000.log"))?.len();
        expect_same(name, &partition["size"].to_string(), &on_disk.to_string())?;
    }
    Ok(())
}

/// What a cluster of one node makes of elections and of moving partitions.
fn elections(context: &mut Context) -> Fallible<()> {
    let topic = fill(context)?;
    let arguments = ["--election-type", "preferred", "--topic", &topic, "--partition", "0"];
    let elected = tool(context, "kafka-leader-election", &arguments)?;
    expect_part("election", &elected, "Valid replica already elected for partitions")?;
    let file = context.shared_file("reassign.json");
    let place = format!("{{\"topic\":\"{topic}\",\"partition\":0,\"replicas\":[1]}}");
    fs::write(&file, format!("{{\"partitions\":[{place}],\"version\":1}}"))?;
    let reassign = |what: &str| {
        tool(context, "kafka-reassign-partitions", &["--reassignment-json-file", &file.to_string_lossy(), what])
    };
    expect_part("execute", &reassign("--execute")?, "Successfully started partition reassignment")?;
    expect_part("verify", &reassign("--verify")?, &format!("Reassignment of partition {topic}-0 is completed."))?;
    let listed = tool(context, "kafka-reassign-partitions", &["--list"])?;
    expect_part("list", &listed, "No partition reassignments found.")
}

fn features(context: &mut Context) -> Fallible<()> {
    let described = tool(context, "kafka-features", &["describe"])?;
    expect_part("features", &described, "Feature: metadata.version")?;
    let status = tool(context, "kafka-metadata-quorum", &["describe", "--status"])?;
    expect_part("leader", &rows(&status).join("\n"), "LeaderId: 1")?;
    let replication = tool(context, "kafka-metadata-quorum", &["describe", "--replication"])?;
    expect_part("replication", &rows(&replication).join("\n"), " Leader")?;
    let mut unfenced = context.clients.kafka.tool("kafka-cluster")?;
    unfenced.args(["cluster-id", "--bootstrap-server", &context.server.bootstrap()]);
    expect_part("cluster", &context.text(&mut unfenced, "")?, "Cluster ID: ")
}
