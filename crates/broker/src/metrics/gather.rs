//! Asks everything that can be asked for the page of metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ottla_coordinator::group::{GroupFilter, GroupState};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;

use super::page::Page;
use super::process;
use super::traffic::Totals;
use crate::node::Node;
use crate::partitions::partition::{Partition, Positions};

/// All states that a classic group can be in, and the ends of their metrics' names.
const STATES: [(GroupState, &str); 5] = [
    (GroupState::Empty, "kafka_coordinator_group_groupmetadatamanager_numgroupsempty"),
    (GroupState::PreparingRebalance, "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance"),
    (GroupState::CompletingRebalance, "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance"),
    (GroupState::Stable, "kafka_coordinator_group_groupmetadatamanager_numgroupsstable"),
    (GroupState::Dead, "kafka_coordinator_group_groupmetadatamanager_numgroupsdead"),
];
/// What a broker's state is called that runs.
const RUNNING: f64 = 3.0;

/// What the groups say of one of theirs.
struct GroupFacts {
    id: String,
    state: GroupState,
    members: usize,
    /// Topic, partition, offset.
    offsets: Vec<(Arc<str>, i32, i64)>,
}

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
    cluster(node, &mut page);
    groups(node, &mut page);
    process::gather(&mut page);
    page.into_text()
}

fn requests(node: &Node, page: &mut Page) {
    let now = Instant::now();
    for requests in &node.metrics.requests {
        let name = requests.key.name();
        for (version, count) in requests.by_version.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                page.counter(
                    "kafka_network_requestmetrics_requests_total",
                    "Requests that were answered, by API and version.",
                    &[("request", name), ("version", &version.to_string())],
                    count as f64,
                );
            }
        }
        let times = requests.times.quantiles(now);
        if times.count > 0 {
            page.summary(
                "kafka_network_requestmetrics_totaltimems",
                "Milliseconds from when a request was read until its answer was ready, of the last 5 to 10 minutes if looked at that often.",
                &[("request", name)],
                &times,
            );
        }
    }
    for (key, name, help) in [
        (ApiKey::Produce, "kafka_server_brokertopicmetrics_totalproducerequests_total", "Produce requests."),
        (ApiKey::Fetch, "kafka_server_brokertopicmetrics_totalfetchrequests_total", "Fetch requests."),
    ] {
        let requests = node.metrics.requests.iter().filter(|requests| requests.key == key);
        let counts = requests.flat_map(|requests| &requests.by_version);
        page.counter(name, help, &[], counts.map(|count| count.load(Ordering::Relaxed) as f64).sum());
    }
    page.gauge(
        "kafka_server_socket_server_metrics_connection_count",
        "Open connections of clients.",
        &[],
        node.connections.all() as f64,
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
        traffic(page, &[("topic", topic)], *totals);
    }
    let offline = node.partitions.failed_count();
    let mut count = |name, help, value: usize| page.gauge(name, help, &[], value as f64);
    count("kafka_server_replicamanager_partitioncount", "Partitions on this broker.", all.len() + offline);
    count("kafka_server_replicamanager_leadercount", "Partitions that this broker leads.", all.len());
    count(
        "kafka_server_replicamanager_underreplicatedpartitions",
        "Partitions that this broker leads and that have fewer replicas in sync than replicas.",
        all.iter().filter(|partition| partition.is_under_replicated()).count(),
    );
    count("kafka_server_replicamanager_offlinereplicacount", "Partitions whose log cannot be opened.", offline);
}

fn traffic(page: &mut Page, labels: super::page::Labels<'_>, totals: Totals) {
    let mut count = |name, help, value: u64| page.counter(name, help, labels, value as f64);
    count("kafka_server_brokertopicmetrics_messagesin_total", "Records appended.", totals.messages_in);
    count("kafka_server_brokertopicmetrics_bytesin_total", "Bytes appended.", totals.bytes_in);
    count("kafka_server_brokertopicmetrics_bytesout_total", "Bytes sent to consumers.", totals.bytes_out);
}

fn log(partition: &Partition, page: &mut Page) {
    let index = partition.name.partition.to_string();
    let labels = [("topic", &*partition.name.topic), ("partition", &*index)];
    let positions = partition.positions();
    let (size_bytes, segments) = partition.with_log(|log, _| (log.size_bytes(), log.segments().count()));
    let mut gauge = |name, help, value: f64| page.gauge(name, help, &labels, value);
    gauge("kafka_log_log_size", "Bytes of the log.", size_bytes as f64);
    gauge("kafka_log_log_numlogsegments", "Segments of the log.", segments as f64);
    gauge("kafka_log_log_logstartoffset", "The first offset of the log.", positions.log_start.0 as f64);
    gauge("kafka_log_log_logendoffset", "The offset of the next record.", positions.log_end.0 as f64);
}

fn cluster(node: &Node, page: &mut Page) {
    let image = node.image();
    let fenced = image.brokers().filter(|broker| broker.fenced).count();
    let all_partitions: usize = image.topics().iter().map(|topic| topic.partitions.len()).sum();
    let without_leader = |topic: &ottla_metadata::image::Topic| {
        topic.partitions.values().filter(|partition| partition.leader.is_none()).count()
    };
    let offline: usize = image.topics().iter().map(|topic| without_leader(topic)).sum();
    let mut gauge = |name, help, value: f64| page.gauge(name, help, &[], value);
    gauge("kafka_server_kafkaserver_brokerstate", "3: running.", RUNNING);
    gauge("kafka_controller_kafkacontroller_activecontrollercount", "Whether this node is the controller.", 1.0);
    gauge("kafka_controller_kafkacontroller_activebrokercount", "Brokers.", image.alive_brokers().count() as f64);
    gauge("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that are not in service.", fenced as f64);
    gauge("kafka_controller_kafkacontroller_globaltopiccount", "Topics.", image.topics().len() as f64);
    gauge("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions.", all_partitions as f64);
    gauge("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without a leader.", offline as f64);
}

fn groups(node: &Node, page: &mut Page) {
    let mut facts = Vec::new();
    // Groups that are still being loaded are counted as soon as they are.
    let _ = node.groups.read_all(|coordinator| {
        for group in coordinator.list_groups(&GroupFilter::default()) {
            let members = coordinator.describe_group(&group.group_id).map_or(0, |group| group.members.len());
            let mut offsets = Vec::new();
            for topic in coordinator.fetch_all_offsets(&group.group_id) {
                let committed = topic.offsets.iter().filter_map(|it| Some((it.partition, it.committed.as_ref()?)));
                offsets.extend(committed.map(|(index, it)| (Arc::clone(&topic.topic), index, it.offset)));
            }
            facts.push(GroupFacts { id: group.group_id.to_string(), state: group.state, members, offsets });
        }
    });
    let mut gauge = |name, help, value: usize| page.gauge(name, help, &[], value as f64);
    gauge("kafka_coordinator_group_groupmetadatamanager_numgroups", "Groups.", facts.len());
    let offsets = facts.iter().map(|group| group.offsets.len()).sum();
    gauge("kafka_coordinator_group_groupmetadatamanager_numoffsets", "Committed offsets.", offsets);
    for (state, name) in STATES {
        gauge(name, "Groups in this state.", facts.iter().filter(|group| group.state == state).count());
    }
    let mut known: BTreeMap<(Arc<str>, i32), Option<Positions>> = BTreeMap::new();
    for group in &facts {
        let members = "Members of the group.";
        page.gauge("kafka_consumergroup_members", members, &[("consumergroup", &group.id)], group.members as f64);
        lag(node, page, group, &mut known);
    }
    for ((topic, index), positions) in &known {
        let Some(positions) = positions else { continue };
        let index = index.to_string();
        let labels = [("topic", &**topic), ("partition", &*index)];
        let mut gauge = |name, help, offset: i64| page.gauge(name, help, &labels, offset as f64);
        gauge("kafka_topic_partition_current_offset", "After the last committed record.", positions.high_watermark.0);
        gauge("kafka_topic_partition_oldest_offset", "The first record.", positions.log_start.0);
    }
}

fn lag(node: &Node, page: &mut Page, group: &GroupFacts, known: &mut BTreeMap<(Arc<str>, i32), Option<Positions>>) {
    for (topic, partition, offset) in &group.offsets {
        let index = partition.to_string();
        let labels = [("consumergroup", &*group.id), ("topic", &**topic), ("partition", &*index)];
        let help = "The offset that the group has committed.";
        page.gauge("kafka_consumergroup_current_offset", help, &labels, *offset as f64);
        let positions = known
            .entry((Arc::clone(topic), *partition))
            .or_insert_with(|| node.partitions.find(topic, *partition).ok().map(|partition| partition.positions()));
        if let Some(positions) = positions {
            let lag = positions.high_watermark.0.saturating_sub(*offset).max(0);
            let help = "Records that the group has not committed yet.";
            page.gauge("kafka_consumergroup_lag", help, &labels, lag as f64);
        }
    }
}
