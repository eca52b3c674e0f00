//! Asks everything that can be asked for the page of metrics.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Instant;

use ottla_base::{Offset, TopicPartition};
use ottla_metadata::image;
use ottla_protocol::error::ErrorCode;

use super::page::{Labels, Page, SAMPLE_BYTES};
use super::{groups, process, traffic};
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
    node.metrics.requests.gather(Instant::now(), &mut page);
    connections(node, &mut page);
    partitions(node, &mut page);
    directories(&node.partitions, &mut page);
    cleaner(node, &mut page);
    cluster(node, &mut page);
    groups::happened(&node.groups, &mut page);
    let census = groups::gather(&node.groups, &mut page);
    process::gather(&mut page);
    log_of_metadata(node.controller.log_extent(), &mut page);
    // From here on there may be more than the page holds.
    traffic::gather(&node.partitions, &mut page);
    logs(node.partitions.all().iter().map(|partition| Log::of(partition)), &mut page);
    groups::tell(&census, &node.groups, &node.partitions, &mut page);
    page.into_text()
}

/// What is told of connections, by listener. Kafka has the same of each of its network threads.
fn connections(node: &Node, page: &mut Page) {
    let listeners = &node.config.listeners;
    let names = listeners.broker.iter().chain(&listeners.controller).map(|listener| &listener.name);
    let told: Vec<_> = names.map(|name| (name, node.connections.of(name))).collect();
    for (name, told) in &told {
        let labels: Labels<'_> = &[("listener", name)];
        let count = "kafka_server_socket_server_metrics_connection_count";
        page.gauge(count, "Open connections.", labels, told.open);
        let mut counter = |name, help, value| page.counter(name, help, labels, value);
        let creation = "kafka_server_socket_server_metrics_connection_creation_total";
        counter(creation, "Connections that were let in.", told.created);
        let close = "kafka_server_socket_server_metrics_connection_close_total";
        counter(close, "Connections that have ended.", told.created - told.open as u64);
        let expired = "kafka_server_socket_server_metrics_expired_connections_killed_count";
        let help = "Connections that were closed because nothing happened on them for connections.max.idle.ms.";
        counter(expired, help, told.expired);
    }
    let name = "kafka_network_socketserver_expiredconnectionskilledcount";
    let expired: u64 = told.iter().map(|(_, told)| told.expired).sum();
    page.gauge(name, "The same, of all listeners.", &[], expired);
}

fn partitions(node: &Node, page: &mut Page) {
    let (led, offline) = (node.partitions.led(), node.partitions.offline_count());
    let in_sync: Vec<Ordering> = led.iter().map(|partition| partition.in_sync()).collect();
    let in_sync = |wanted| in_sync.iter().filter(|found| **found == wanted).count();
    let mut count = |name, help, value: usize| page.gauge(name, help, &[], value);
    count("kafka_server_replicamanager_partitioncount", "Partitions on this broker.", led.len() + offline);
    count("kafka_server_replicamanager_leadercount", "Partitions that this broker leads.", led.len());
    count(
        "kafka_server_replicamanager_underreplicatedpartitions",
        "Partitions that this broker leads and that have fewer replicas in sync than replicas.",
        led.iter().filter(|partition| partition.is_under_replicated()).count(),
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
    page.gauge(
        "kafka_log_logmanager_cordonedlogdirectorycount",
        "Log directories that take no new partitions.",
        &[],
        directories.iter().filter(|directory| directory.is_cordoned()).count(),
    );
    for directory in directories {
        let labels: Labels<'_> = &[("logDirectory", &directory.path().display())];
        let is_offline = u8::from(!directory.is_online());
        page.gauge("kafka_log_logmanager_logdirectoryoffline", "Whether the directory has failed.", labels, is_offline);
        let is_cordoned = u8::from(directory.is_cordoned());
        let help = "Whether the directory takes no new partitions.";
        page.gauge("kafka_log_logmanager_logdirectorycordoned", help, labels, is_cordoned);
    }
    page.gauge(
        "ottla_log_directories_full",
        "Log directories that take no records for want of room.",
        &[],
        directories.iter().filter(|directory| directory.is_full()).count(),
    );
}

/// What is told of a partition.
struct Log<'p> {
    name: &'p TopicPartition,
    extent: LogExtent,
    high_watermark: Offset,
}

impl<'p> Log<'p> {
    /// How many samples that is.
    const SAMPLES: usize = 6;

    fn of(partition: &'p Partition) -> Self {
        let positions = partition.positions();
        let (size_bytes, segments) = partition.with_log(|log, _| (log.size_bytes(), log.segments().count()));
        let extent = LogExtent { size_bytes, segments, start: positions.log_start, end: positions.log_end };
        Self { name: &partition.name, extent, high_watermark: positions.high_watermark }
    }

    fn tell(self, page: &mut Page) {
        let labels: Labels<'_> = &[("topic", &self.name.topic), ("partition", &self.name.partition)];
        let start = self.extent.start;
        extent(labels, self.extent, page);
        let mut gauge = |name, help, value: i64| page.gauge(name, help, labels, value);
        gauge("kafka_topic_partition_current_offset", "After the last committed record.", self.high_watermark.0);
        gauge("kafka_topic_partition_oldest_offset", "The first record.", start.0);
    }
}

/// Tells of each partition, as far as there is room.
fn logs<'p>(logs: impl Iterator<Item = Log<'p>>, page: &mut Page) {
    let mut left_out = 0;
    for log in logs {
        if page.has_room(Log::SAMPLES * (SAMPLE_BYTES + log.name.topic.len())) {
            log.tell(page);
        } else {
            left_out += 1;
        }
    }
    let help = "Partitions of which the page does not tell offsets and sizes, because there are too many.";
    page.gauge("ottla_metrics_partitions_left_out", help, &[], left_out);
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

#[cfg(test)]
mod tests {
    use super::super::page::TEXT_MAX_BYTES;
    use super::super::traffic::Traffic;
    use super::*;

    #[test]
    fn the_page_is_bounded_however_many_topics_and_partitions_there_are() {
        let traffic = Traffic::default();
        (0..2).for_each(|_| traffic.asked_to_append());
        traffic.came(u64::MAX >> 1, u64::MAX >> 1);
        traffic.converted(u64::MAX >> 1);
        traffic.failed();
        traffic.rejected(u64::MAX >> 1);
        traffic.asked_to_read();
        traffic.went(u64::MAX >> 1);
        traffic.failed_to_read();
        let name = |number: usize| format!("{number:05}{}", "n".repeat(244));
        let by_topic = (0..10_000).map(|number| (name(number), traffic.totals())).collect();
        let names: Vec<TopicPartition> =
            (0..10_000).map(|number| TopicPartition::new(name(number), i32::MAX)).collect();
        let end = Offset(i64::MAX);
        let extent = || LogExtent { size_bytes: i64::MAX as u64, segments: 1, start: end, end };
        let mut page = Page::default();
        traffic::topics(&by_topic, &mut page);
        logs(names.iter().map(|name| Log { name, extent: extent(), high_watermark: end }), &mut page);
        let text = page.into_text();
        assert!(text.len() <= TEXT_MAX_BYTES + 1024, "{} bytes", text.len());
        let count = |family: &str| text.lines().filter(|line| line.starts_with(family)).count();
        let topics = count("kafka_server_brokertopicmetrics_messagesin_total{");
        let partitions = count("kafka_topic_partition_oldest_offset{");
        assert!(topics == 10_000 && (1..10_000).contains(&partitions), "{topics} and {partitions}");
        let left_out = format!("ottla_metrics_partitions_left_out {}\n", 10_000 - partitions);
        assert!(text.contains("ottla_metrics_topics_left_out 0\n") && text.contains(&left_out), "{left_out}");
    }

    #[test]
    fn topics_without_room_are_counted_and_what_was_never_counted_is_not_told() {
        let traffic = Traffic::default();
        traffic.came(1, 2);
        let by_topic = ["t", "u", "v"].map(|topic| (topic.to_owned(), traffic.totals())).into();
        let mut page = Page::default();
        page.left_bytes = 600;
        traffic::topics(&by_topic, &mut page);
        let text = page.into_text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        expect_test::expect![[r#"
            kafka_server_brokertopicmetrics_bytesin_total{topic="t"} 2
            kafka_server_brokertopicmetrics_messagesin_total{topic="t"} 1
            ottla_metrics_topics_left_out 2"#]]
        .assert_eq(&samples.join("\n"));
    }
}
