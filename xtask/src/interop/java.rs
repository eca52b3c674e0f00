//! Apache Kafka's own command-line tools, and with them its Java clients.

use std::fs;
use std::path::{Path, PathBuf};

use super::case::{CODECS, Case, Context, expect_no_part, expect_part, expect_same};
use crate::Fallible;

/// How many records a codec is tried with.
const RECORDS: u32 = 5_000;
/// What `kafka-dump-log` writes when a file is not as it should be.
const DUMP_COMPLAINTS: [&str; 5] = ["ismatch", "isvalid: false", "Could not", "Exception", "rror"];

pub fn cases() -> Vec<Case> {
    let codecs = CODECS
        .map(|codec| Case::new(format!("java console producer {codec}"), 60, move |context| produce(context, codec)));
    let others = [
        Case::new("java topics", 90, topics),
        Case::new("java console consumer", 90, consume),
        Case::new("java console keys and headers", 60, keys_and_headers),
        Case::new("java producer perf test", 90, producer_perf_test),
        Case::new("java get offsets", 90, get_offsets),
        Case::new("java broker api versions", 30, broker_api_versions),
        Case::new("java bootstrap controller", 90, bootstrap_controller),
        Case::new("java dump log", 90, dump_log),
        Case::new("java dump metadata log", 60, dump_metadata_log),
    ];
    codecs.into_iter().chain(others).collect()
}

/// Tools that ask the controller itself.
fn bootstrap_controller(context: &mut Context) -> Fallible<()> {
    let controller = context.server.controller()?;
    // Some tools want the command before that option, and some behind it.
    let run_command = |name: &str, command: &[&str], arguments: &[&str]| {
        let mut tool = context.clients.kafka.tool(name)?;
        context.text(tool.args(command).args(["--bootstrap-controller", &controller]).args(arguments), "")
    };
    let run = |name: &str, arguments: &[&str]| run_command(name, &[], arguments);
    let endpoints = format!("CONTROLLER://{controller}");
    expect_part("quorum", &run("kafka-metadata-quorum", &["describe", "--status"])?, &endpoints)?;
    expect_part("endpoints", &run_command("kafka-cluster", &["list-endpoints"], &[])?, "controller")?;
    expect_part("features", &run("kafka-features", &["describe"])?, "Feature: metadata.version")?;
    expect_part("reassignments", &run("kafka-reassign-partitions", &["--list"])?, "No partition reassignments found.")?;
    let of_all = ["--entity-type", "brokers", "--entity-default"];
    run("kafka-configs", &[&["--alter", "--add-config", "log.retention.ms=777777"], &of_all[..]].concat())?;
    let described = run("kafka-configs", &[&["--describe"], &of_all[..]].concat())?;
    expect_part("described", &described, "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=777777")?;
    run("kafka-configs", &[&["--alter", "--delete-config", "log.retention.ms"], &of_all[..]].concat()).map(drop)
}

/// The Java producer writes, librdkafka reads.
fn produce(context: &mut Context, codec: &str) -> Fallible<()> {
    let topic = context.topic();
    let lines: String = (0..RECORDS).map(|n| format!("line {n} of the console producer\n")).collect();
    let mut producer = context.tool("kafka-console-producer", &["--topic", &topic, "--compression-codec", codec])?;
    context.output(&mut producer, &lines)?;
    let read = context.text(&mut context.kcat(&["-C", "-t", &topic, "-e", "-q"]), "")?;
    expect_same("records", &read, &lines)
}

fn topics(context: &mut Context) -> Fallible<()> {
    let topic = context.topic();
    let run = |arguments: &[&str]| context.text(&mut context.tool("kafka-topics", arguments)?, "");
    let settings = ["--config", "retention.ms=3600000", "--config", "cleanup.policy=compact,delete"];
    let created = run(&[&["--create", "--topic", &topic, "--partitions", "3"], &settings[..]].concat())?;
    expect_same("create", &created, &format!("Created topic {topic}.\n"))?;
    let mut again = context.tool("kafka-topics", &["--create", "--topic", &topic])?;
    let again = crate::process::run(&mut again, b"", context.deadline)?;
    if again.status.success() {
        return Err("creating a topic that exists succeeded".into());
    }
    expect_part("create again", &again.text(), &format!("Topic '{topic}' already exists."))?;
    run(&["--create", "--if-not-exists", "--topic", &topic])?;
    expect_part("list", &run(&["--list"])?, &format!("{topic}\n"))?;

    let described = run(&["--describe", "--topic", &topic])?;
    expect_part("describe", &described, &format!("Topic: {topic}\tTopicId: "))?;
    expect_part("describe", &described, "\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: ")?;
    expect_part("describe", &described, "cleanup.policy=compact,delete")?;
    expect_part("describe", &described, "retention.ms=3600000")?;
    let last = format!("\tTopic: {topic}\tPartition: 2\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: ");
    expect_part("describe", &described, &last)?;

    run(&["--alter", "--topic", &topic, "--partitions", "5"])?;
    expect_part("describe", &run(&["--describe", "--topic", &topic])?, "\tPartitionCount: 5\t")?;
    run(&["--delete", "--topic", &topic])?;
    expect_no_part("a deleted topic is listed", &run(&["--list"])?, &topic)
}

/// Every way of saying where to begin and how much to read.
fn consume(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(2, &[])?;
    let lines: String = (0..10).map(|n| format!("{n}\n")).collect();
    context.output(&mut context.kcat(&["-P", "-t", &topic, "-p", "1"]), &lines)?;
    let read = |arguments: &[&str]| {
        let mut consumer = context.tool("kafka-console-consumer", &["--topic", &topic, "--partition", "1"])?;
        context.text(consumer.args(arguments), "")
    };
    let from_beginning = read(&["--from-beginning", "--max-messages", "10"])?;
    expect_same("--from-beginning", &from_beginning, &lines)?;
    let columns = ["--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true"];
    let from_offset = read(&[&["--offset", "7", "--max-messages", "2"], &columns[..]].concat())?;
    expect_same("--offset 7", &from_offset, "Partition:1\tOffset:7\t7\nPartition:1\tOffset:8\t8\n")?;
    let committed = ["--offset", "earliest", "--max-messages", "3", "--isolation-level", "read_committed"];
    expect_same("read_committed", &read(&committed)?, "0\n1\n2\n")?;
    expect_same("--offset latest", &read(&["--offset", "latest", "--timeout-ms", "1500"])?, "")
}

fn keys_and_headers(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(1, &[])?;
    let mut producer = context.tool("kafka-console-producer", &["--topic", &topic])?;
    for property in ["parse.key=true", "parse.headers=true", "null.marker=NULL"] {
        producer.args(["--reader-property", property]);
    }
    context.output(&mut producer, "a:1,b:2,a:3\tkey\tvalue\nn:x\tkey\tNULL\n")?;
    let mut consumer = context.tool("kafka-console-consumer", &["--topic", &topic, "--partition", "0"])?;
    consumer.args(["--from-beginning", "--max-messages", "2"]);
    for property in ["print.key=true", "print.headers=true", "print.timestamp=true"] {
        consumer.args(["--formatter-property", property]);
    }
    let read = context.text(&mut consumer, "")?;
    expect_part("time", &read, "CreateTime:")?;
    let without_time: String =
        read.lines().filter_map(|line| Some(line.split_once('\t')?.1)).collect::<Vec<_>>().join("\n");
    expect_same("records", &without_time, "a:1,b:2,a:3\tkey\tvalue\nn:x\tkey\tnull")
}

fn producer_perf_test(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(3, &[])?;
    let bootstrap = format!("bootstrap.servers={}", context.server.bootstrap());
    for (codec, acks) in [("none", "acks=1"), ("lz4", "acks=all")] {
        let codec = format!("compression.type={codec}");
        let mut test = context.clients.kafka.tool("kafka-producer-perf-test")?;
        test.args(["--topic", &topic, "--num-records", "100000", "--record-size", "512", "--throughput", "-1"]);
        test.args(["--command-property", &bootstrap, acks, &codec]);
        expect_part("report", &context.text(&mut test, "")?, "100000 records sent, ")?;
    }
    let offsets = context.text(&mut context.tool("kafka-get-offsets", &["--topic", &topic])?, "")?;
    let sum: u64 = offsets.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok()).sum();
    expect_same("sum of the end offsets", &sum.to_string(), "200000")
}

fn get_offsets(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(2, &[])?;
    context.output(&mut context.kcat(&["-P", "-t", &topic, "-p", "0"]), "a\nb\nc\n")?;
    let mut times = context.kcat(&["-C", "-t", &topic, "-p", "0", "-e", "-q", "-c", "1", "-f", "%T"]);
    let first_ms = context.text(&mut times, "")?;
    let offsets = |time: &str| {
        let arguments = ["--topic", &topic, "--time", time];
        context.text(&mut context.tool("kafka-get-offsets", &arguments)?, "")
    };
    for latest in ["-1", "latest"] {
        expect_same(latest, &offsets(latest)?, &format!("{topic}:0:3\n{topic}:1:0\n"))?;
    }
    expect_same("earliest", &offsets("-2")?, &format!("{topic}:0:0\n{topic}:1:0\n"))?;
    // A partition in which there is no such record is not printed.
    expect_same("a time", &offsets(&first_ms)?, &format!("{topic}:0:0\n"))?;
    let newest = offsets("max-timestamp")?;
    expect_part("max-timestamp", &newest, &format!("{topic}:0:"))?;
    expect_no_part("max-timestamp of an empty partition", &newest, &format!("{topic}:1:"))?;
    expect_same("earliest-local", &offsets("-4")?, &format!("{topic}:0:0\n{topic}:1:0\n"))
}

fn broker_api_versions(context: &mut Context) -> Fallible<()> {
    let listing = context.text(&mut context.tool("kafka-broker-api-versions", &[])?, "")?;
    expect_part(
        "broker",
        &listing,
        &format!("{} (id: 1 rack: null isFenced: false) -> (", context.server.bootstrap()),
    )?;
    for line in ["\tProduce(0): 0 to 13 [usable: 13]", "\tFetch(1): 4 to 18 [usable: 18]"] {
        expect_part("versions", &listing, line)?;
    }
    Ok(())
}

/// Small segments with every codec, idempotent and not, as the broker wrote them.
fn dump_log(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(1, &["segment.bytes=1048576", "segment.index.bytes=2048"])?;
    let lines: String = (0..20_000).map(|n| format!("key {n}:a value that is long enough, number {n}\n")).collect();
    for codec in CODECS {
        let idempotent = format!("enable.idempotence={}", codec != "zstd");
        let small = "batch.size=20000";
        let mut producer = context.kcat(&["-P", "-t", &topic, "-K:", "-z", codec, "-X", &idempotent, "-X", small]);
        context.output(&mut producer, &lines)?;
    }
    let folder = context.server.data().join(format!("{topic}-0"));
    let logs = files_of(&folder, "log")?;
    if logs.len() < 2 {
        return Err(format!("there should be several segments of 1 MiB in {}", folder.display()).into());
    }
    let dumped = dump(context, &logs, &["--deep-iteration", "--print-data-log"])?;
    for codec in CODECS {
        expect_part("codec", &dumped, &format!("compresscodec: {codec} "))?;
    }
    expect_part("last record", &dumped, "offset: 99999 ")?;
    expect_part("value", &dumped, "payload: a value that is long enough, number 19999")?;
    for extension in ["index", "timeindex"] {
        // Those of full segments; Kafka fills up the newest with zeros.
        let indexes = files_of(&folder, extension)?;
        let (_, full) = indexes.split_last().ok_or("no index")?;
        dump(context, full, &["--index-sanity-check"])?;
        dump(context, full, &["--verify-index-only"])?;
    }
    let producers = dump(context, &files_of(&folder, "snapshot")?, &[])?;
    expect_part("state of the producers", &producers, "producerId: ")
}

/// Kafka reads the records that say what the cluster is.
fn dump_metadata_log(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(2, &["retention.ms=3600000"])?;
    let folder = context.server.data().join("__cluster_metadata-0");
    let dumped = dump(context, &files_of(&folder, "log")?, &["--cluster-metadata-decoder"])?;
    for record in
        ["REGISTER_BROKER_RECORD", "TOPIC_RECORD", "PARTITION_RECORD", "CONFIG_RECORD", "FEATURE_LEVEL_RECORD"]
    {
        expect_part("metadata log", &dumped, &format!("{{\"type\":\"{record}\""))?;
    }
    expect_part("metadata log", &dumped, &format!("\"name\":\"{topic}\""))
}

/// What `kafka-dump-log` says of files; fails if it finds anything wrong with them.
pub fn dump(context: &Context, files: &[PathBuf], options: &[&str]) -> Fallible<String> {
    let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    let mut tool = context.clients.kafka.tool("kafka-dump-log")?;
    tool.args(["--files", &files.join(",")]).args(options);
    let output = context.output(&mut tool, "")?;
    for complaint in DUMP_COMPLAINTS {
        expect_no_part("kafka-dump-log", &output.text(), complaint)?;
        expect_no_part("kafka-dump-log", &output.stderr, complaint)?;
    }
    // The tool takes every file for one that should follow offset -1, and says so of all but the first.
    let text = output.text();
    let gap = text.lines().find(|line| line.contains(" is followed by ") && !line.trim_start().starts_with("-1 "));
    if let Some(gap) = gap {
        return Err(format!("kafka-dump-log finds a gap: {gap}").into());
    }
    Ok(text)
}

/// The files of a partition with this extension, the oldest first.
pub fn files_of(folder: &Path, extension: &str) -> Fallible<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort_unstable();
    if files.is_empty() { Err(format!("{}: no .{extension} file", folder.display()).into()) } else { Ok(files) }
}
