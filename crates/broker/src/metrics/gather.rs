//! Asks everything that can be asked for the page of metrics.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;

use super::page::Page;
use super::traffic::Totals;
use super::{groups, process};
use crate::node::Node;
use crate::partitions::partition::Partition;

/// What the times of requests are.
const TIMES: &str = "Milliseconds from when a request was read until its answer was ready, of the last 5 to 10 minutes \
                     if looked at that often.";
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
    requests(node, &mut page);
    partitions(node, &mut page);
    cleaner(node, &mut page);
    cluster(node, &mut page);
    page.counter(
        "kafka_server_group_coordinator_metrics_offset_commit_count",
        "Offsets that groups have committed.",
        &[],
        node.metrics.commits.load(Ordering::Relaxed),
    );
    page.counter(
        "kafka_server_group_coordinator_metrics_group_completed_rebalance_count",
        "Rebalances of classic groups that came to an assignment.",
        &[],
        node.groups.completed_rebalances(),
    );
    groups::gather(&node.groups, &node.partitions, &mut page);
    process::gather(&mut page);
    page.into_text()
}

fn requests(node: &Node, page: &mut Page) {
    let now = Instant::now();
    for requests in &node.metrics.requests {
        // Who is no follower is a consumer, and there are no followers yet. Kafka counts consumers twice.
        let is_fetch = requests.key == ApiKey::Fetch;
        let names = std::iter::once(requests.key.name()).chain(is_fetch.then_some("FetchConsumer"));
        let times = requests.times.quantiles(now);
        for name in names {
            for (version, count) in requests.by_version.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    page.counter(
                        "kafka_network_requestmetrics_requests_total",
                        "Requests that were answered, by API and version.",
                        &[("request", &name), ("version", &version)],
                        count,
                    );
                }
            }
            if times.count > 0 {
                page.summary("kafka_network_requestmetrics_totaltimems", TIMES, &[("request", &name)], &times);
            }
        }
    }
    for requests in &node.metrics.requests {
        for (error, count) in ErrorCode::all().zip(&requests.errors) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                page.counter(
                    "kafka_network_requestmetrics_errors_total",
                    "Error codes in answers, by API; NONE too.",
                    &[("request", &requests.key.name()), ("error", &error.name())],
                    count,
                );
            }
        }
    }
    for (key, name, help) in [
        (ApiKey::Produce, "kafka_server_brokertopicmetrics_totalproducerequests_total", "Produce requests."),
        (ApiKey::Fetch, "kafka_server_brokertopicmetrics_totalfetchrequests_total", "Fetch requests."),
    ] {
        let requests = node.metrics.requests.iter().filter(|requests| requests.key == key);
        let counts = requests.flat_map(|requests| &requests.by_version);
        page.counter(name, help, &[], counts.map(|count| count.load(Ordering::Relaxed)).sum::<u64>());
    }
    page.gauge(
        "kafka_server_socket_server_metrics_connection_count",
        "Open connections of clients.",
        &[],
        node.connections.all(),
    );
}

fn partitions(node: &Node, page: &mut Page) {
    let mut of_topics: BTreeMap<String, Totals> = BTreeMap::new();
    let all = node.partitions.all();
    for partition in &all {
        let totals = of_topics.entry(partition.name.topic.to_string()).or_default();
        *totals = totals.plus(partition.traffic.totals());
        log(partition, page);
    }
    let gone = node.partitions.departed.totals();
    traffic(page, &[], of_topics.values().fold(gone, |all, totals| all.plus(*totals)));
    for (topic, totals) in &of_topics {
        traffic(page, &[("topic", &topic)], *totals);
    }
    let offline = node.partitions.offline_count();
    let online = all.iter().filter(|partition| partition.is_online()).count();
    let mut count = |name, help, value: usize| page.gauge(name, help, &[], value);
    count("kafka_server_replicamanager_partitioncount", "Partitions on this broker.", online + offline);
    count("kafka_server_replicamanager_leadercount", "Partitions that this broker leads.", online);
    count(
        "kafka_server_replicamanager_underreplicatedpartitions",
        "Partitions that this broker leads and that have fewer replicas in sync than replicas.",
        all.iter().filter(|partition| partition.is_under_replicated()).count(),
    );
    count("kafka_server_replicamanager_offlinereplicacount", "Partitions whose log cannot be used.", offline);
    let directories = node.partitions.directories();
    count(
        "kafka_log_logmanager_offlinelogdirectorycount",
        "Log directories that have failed.",
        directories.iter().filter(|directory| !directory.is_online()).count(),
    );
    count(
        "ottla_log_directories_full",
        "Log directories that take no records for want of room.",
        directories.iter().filter(|directory| directory.is_full()).count(),
    );
}

fn traffic(page: &mut Page, labels: super::page::Labels<'_>, totals: Totals) {
    let mut count = |name, help, value: u64| page.counter(name, help, labels, value);
    count("kafka_server_brokertopicmetrics_messagesin_total", "Records appended.", totals.messages_in);
    count("kafka_server_brokertopicmetrics_bytesin_total", "Bytes appended.", totals.bytes_in);
    count("kafka_server_brokertopicmetrics_bytesout_total", "Bytes sent to consumers.", totals.bytes_out);
    let failed = totals.failed_produce_requests;
    count("kafka_server_brokertopicmetrics_failedproducerequests_total", "Batches refused.", failed);
    let failed = totals.failed_fetch_requests;
    let help = "Reads that failed for reasons that no client has to do with.";
    count("kafka_server_brokertopicmetrics_failedfetchrequests_total", help, failed);
}

fn log(partition: &Partition, page: &mut Page) {
    let labels: super::page::Labels<'_> = &[("topic", &partition.name.topic), ("partition", &partition.name.partition)];
    let positions = partition.positions();
    let (size_bytes, segments) = partition.with_log(|log, _| (log.size_bytes(), log.segments().count()));
    let mut gauge = |name, help, value: i64| page.gauge(name, help, labels, value);
    gauge("kafka_log_log_size", "Bytes of the log.", size_bytes as i64);
    gauge("kafka_log_log_numlogsegments", "Segments of the log.", segments as i64);
    gauge("kafka_log_log_logstartoffset", "The first offset of the log.", positions.log_start.0);
    gauge("kafka_log_log_logendoffset", "The offset of the next record.", positions.log_end.0);
    gauge("kafka_topic_partition_current_offset", "After the last committed record.", positions.high_watermark.0);
    gauge("kafka_topic_partition_oldest_offset", "The first record.", positions.log_start.0);
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
        let labels: super::page::Labels<'_> = &[("logDirectory", &path.display())];
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
}
