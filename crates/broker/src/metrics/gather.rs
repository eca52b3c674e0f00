//! Asks everything that can be asked for the page of metrics.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use ottla_metadata::image;
use ottla_protocol::error::ErrorCode;

use super::page::{Labels, Page};
use super::{groups, process, requests, traffic};
use crate::controller::{LogExtent, metadata_log};
use crate::node::Node;
use crate::partitions::Partitions;
use crate::partitions::partition::Partition;

/// What a broker's state is called that runs.
const RUNNING: u8 = 3;

/// Why nobody should be sent here yet; nothing where all is well.
pub fn unready(node: &Node) -> Option<&'static str> {
    match node.groups.read_all(|_| ()) {
        Err(ErrorCode::CoordinatorLoadInProgress) => Some("groups are being loaded\n"),
        _ => None,
    }
}

/// The whole page.
pub fn gather(node: &Node) -> String {
    let mut page = Page::default();
    requests::gather(&node.metrics.requests, Instant::now(), &mut page);
    page.gauge(
        "kafka_server_socket_server_metrics_connection_count",
        "Open connections of clients.",
        &[],
        node.connections.all(),
    );
    traffic::gather(&node.partitions, &mut page);
    partitions(node, &mut page);
    directories(&node.partitions, &mut page);
    cleaner(node, &mut page);
    cluster(node, &mut page);
    groups::happened(&node.groups, node.metrics.commits.load(Relaxed), &mut page);
    groups::gather(&node.groups, &node.partitions, &mut page);
    process::gather(&mut page);
    page.into_text()
}

fn partitions(node: &Node, page: &mut Page) {
    let all = node.partitions.all();
    all.iter().for_each(|partition| log(partition, page));
    log_of_metadata(node.controller.log_extent(), page);
    let offline = node.partitions.offline_count();
    let online = all.iter().filter(|partition| partition.is_online()).count();
    let in_sync: Vec<Ordering> = all.iter().map(|partition| partition.in_sync()).collect();
    let in_sync = |wanted| in_sync.iter().filter(|found| **found == wanted).count();
    let mut count = |name, help, value: usize| page.gauge(name, help, &[], value);
    count("kafka_server_replicamanager_partitioncount", "Partitions on this broker.", online + offline);
    count("kafka_server_replicamanager_leadercount", "Partitions that this broker leads.", online);
    count(
        "kafka_server_replicamanager_underreplicatedpartitions",
        "Partitions that this broker leads and that have fewer replicas in sync than replicas.",
        all.iter().filter(|partition| partition.is_under_replicated()).count(),
    );
    count(
        "kafka_server_replicamanager_underminisrpartitioncount",
        "Partitions that this broker leads and that have fewer replicas in sync than min.insync.replicas.",
        in_sync(Ordering::Less),
    );
    count(
        "kafka_server_replicamanager_atminisrpartitioncount",
        "Partitions that this broker leads and that have as many replicas in sync as min.insync.replicas.",
        in_sync(Ordering::Equal),
    );
    let image = node.image();
    let is_local = |partition: &&Arc<image::Partition>| partition.leader == Some(node.config.node_id);
    let registered = image.topics().iter().flat_map(|topic| topic.partitions.values()).filter(is_local);
    count(
        "kafka_server_replicamanager_reassigningpartitions",
        "Partitions that this broker leads and that are getting other replicas.",
        registered.filter(|partition| partition.is_reassigning()).count(),
    );
    count("kafka_server_replicamanager_offlinereplicacount", "Partitions whose log cannot be used.", offline);
    count(
        "kafka_server_replicamanager_produceridcount",
        "Producers that the logs remember.",
        node.partitions.producer_count(),
    );
}

fn directories(partitions: &Partitions, page: &mut Page) {
    let directories = partitions.directories();
    page.gauge(
        "kafka_log_logmanager_offlinelogdirectorycount",
        "Log directories that have failed.",
        &[],
        directories.iter().filter(|directory| !directory.is_online()).count(),
    );
    for directory in directories {
        let labels: Labels<'_> = &[("logDirectory", &directory.path().display())];
        let is_offline = u8::from(!directory.is_online());
        page.gauge("kafka_log_logmanager_logdirectoryoffline", "Whether the directory has failed.", labels, is_offline);
    }
    page.gauge(
        "ottla_log_directories_full",
        "Log directories that take no records for want of room.",
        &[],
        directories.iter().filter(|directory| directory.is_full()).count(),
    );
}

fn log(partition: &Partition, page: &mut Page) {
    let labels: Labels<'_> = &[("topic", &partition.name.topic), ("partition", &partition.name.partition)];
    let positions = partition.positions();
    let (size_bytes, segments) = partition.with_log(|log, _| (log.size_bytes(), log.segments().count()));
    extent(labels, LogExtent { size_bytes, segments, start: positions.log_start, end: positions.log_end }, page);
    let mut gauge = |name, help, value: i64| page.gauge(name, help, labels, value);
    gauge("kafka_topic_partition_current_offset", "After the last committed record.", positions.high_watermark.0);
    gauge("kafka_topic_partition_oldest_offset", "The first record.", positions.log_start.0);
}

/// As Kafka, whose metadata log is one like others here, and has no high watermark.
fn log_of_metadata(log: LogExtent, page: &mut Page) {
    extent(&[("topic", &metadata_log::TOPIC), ("partition", &0)], log, page);
}

fn extent(labels: Labels<'_>, log: LogExtent, page: &mut Page) {
    let mut gauge = |name, help, value: i64| page.gauge(name, help, labels, value);
    gauge("kafka_log_log_size", "Bytes of the log.", log.size_bytes as i64);
    gauge("kafka_log_log_numlogsegments", "Segments of the log.", log.segments as i64);
    gauge("kafka_log_log_logstartoffset", "The first offset of the log.", log.start.0);
    gauge("kafka_log_log_logendoffset", "The offset of the next record.", log.end.0);
}

fn cleaner(node: &Node, page: &mut Page) {
    let all = node.partitions.all();
    let figures = node.partitions.cleaner.figures(&all);
    let mut gauge = |name, help, value: f64| page.gauge(name, help, &[], value);
    gauge(
        "kafka_log_logcleanermanager_max_dirty_percent",
        "The part of the dirtiest compacted log that can be compacted and was not.",
        figures.max_dirty_percent,
    );
    gauge(
        "kafka_log_logcleaner_cleaner_recopy_percent",
        "What was left of the logs that were compacted last.",
        figures.recopy_percent,
    );
    gauge(
        "kafka_log_logcleaner_max_buffer_utilization_percent",
        "How full the memory for keys was when they were.",
        figures.max_buffer_utilization_percent,
    );
    gauge(
        "kafka_log_logcleaner_max_clean_time_secs",
        "Seconds that the longest of the last compactions took.",
        figures.max_clean_time_s as f64,
    );
    gauge(
        "kafka_log_logcleaner_max_compaction_delay_secs",
        "Seconds by which the latest log is behind its max.compaction.lag.ms.",
        figures.max_compaction_delay_s as f64,
    );
    gauge(
        "kafka_log_logcleanermanager_time_since_last_run_ms",
        "Milliseconds since it was looked for logs to compact.",
        figures.since_last_run_ms as f64,
    );
    for directory in node.partitions.directories() {
        let path = directory.path();
        let (count, bytes) = figures.uncleanable.get(path).copied().unwrap_or_default();
        let labels: Labels<'_> = &[("logDirectory", &path.display())];
        let (partitions, sizes) = (
            "kafka_log_logcleanermanager_uncleanable_partitions_count",
            "kafka_log_logcleanermanager_uncleanable_bytes",
        );
        page.gauge(partitions, "Partitions that cannot be compacted; the log says why.", labels, count);
        page.gauge(sizes, "The bytes of their logs.", labels, bytes);
    }
}

fn cluster(node: &Node, page: &mut Page) {
    let image = node.image();
    let fenced = image.brokers().filter(|broker| broker.fenced).count();
    let all_partitions: usize = image.topics().iter().map(|topic| topic.partitions.len()).sum();
    let without_leader = |topic: &ottla_metadata::image::Topic| {
        topic.partitions.values().filter(|partition| partition.leader.is_none()).count()
    };
    let offline: usize = image.topics().iter().map(|topic| without_leader(topic)).sum();
    page.gauge("kafka_server_kafkaserver_brokerstate", "3: running.", &[], RUNNING);
    let mut gauge = |name, help, value: usize| page.gauge(name, help, &[], value);
    gauge("kafka_controller_kafkacontroller_activecontrollercount", "Whether this node is the controller.", 1);
    gauge("kafka_controller_kafkacontroller_activebrokercount", "Brokers.", image.alive_brokers().count());
    gauge("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that are not in service.", fenced);
    gauge("kafka_controller_kafkacontroller_globaltopiccount", "Topics.", image.topics().len());
    gauge("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions.", all_partitions);
    gauge("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without a leader.", offline);
    let is_imbalanced = |partition: &&Arc<image::Partition>| partition.leader.as_ref() != partition.replicas.first();
    gauge(
        "kafka_controller_kafkacontroller_preferredreplicaimbalancecount",
        "Partitions that another replica leads than the preferred one, or none.",
        image.topics().iter().flat_map(|topic| topic.partitions.values()).filter(is_imbalanced).count(),
    );
}
