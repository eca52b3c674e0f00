//! Groups of consumers, of share consumers and of streams, and their offsets.

use ottla_metadata::settings::Check::{Any, AtLeast, Items, OneOfAnyCase, SomeItems, SomeItemsOf};
use ottla_metadata::settings::Dynamic::{ClusterWide, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{boolean, class, int, list, long, short, string};

pub(super) const SETTINGS: &[Setting] = &[
    int("offsets.topic.num.partitions", Some("50"), AtLeast(1), ReadOnly)
        .doc("The partitions of the topic of committed offsets."),
    short("offsets.topic.replication.factor", Some("3"), AtLeast(1), ReadOnly)
        .doc("The replicas of the topic of committed offsets."),
    int("offsets.topic.segment.bytes", Some("104857600"), AtLeast(1), ReadOnly)
        .doc("The segment size, in bytes, of the topic of committed offsets."),
    int("offsets.topic.compression.codec", Some("0"), Any, ReadOnly)
        .doc("The codec of the topic of committed offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    int("offsets.retention.minutes", Some("10080"), AtLeast(1), ReadOnly)
        .doc("How many minutes offsets are kept after their group became empty."),
    long("offsets.retention.check.interval.ms", Some("600000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two searches for offsets that may go."),
    int("offsets.load.buffer.size", Some("5242880"), AtLeast(1), ReadOnly)
        .doc("How many bytes are read at once when offsets are loaded."),
    int("offsets.commit.timeout.ms", Some("5000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds a commit waits for its replicas, and so does whatever else groups are asked."),
    int("offset.metadata.max.bytes", Some("4096"), Any, ReadOnly)
        .doc("The most bytes of text beside a committed offset."),
    int("group.min.session.timeout.ms", Some("6000"), Any, ReadOnly)
        .doc("The shortest session timeout, in milliseconds, that a classic member may ask for."),
    int("group.max.session.timeout.ms", Some("1800000"), Any, ReadOnly)
        .doc("The longest session timeout, in milliseconds, that a classic member may ask for."),
    int("group.initial.rebalance.delay.ms", Some("3000"), Any, ReadOnly)
        .doc("How many milliseconds a new classic group waits for more members."),
    int("group.max.size", Some("2147483647"), AtLeast(1), ReadOnly).doc("The most members of a classic group."),
    int("group.coordinator.threads", Some("4"), AtLeast(1), ReadOnly).doc("Threads that run group coordinators."),
    int("group.coordinator.background.threads", Some("2"), AtLeast(1), ReadOnly)
        .doc("Threads that compute assignments and regular expressions for groups."),
    int("group.coordinator.append.linger.ms", Some("-1"), AtLeast(-1), ReadOnly)
        .doc("How many milliseconds a coordinator gathers records into a batch; -1 adapts by itself."),
    int("group.coordinator.cached.buffer.max.bytes", Some("1048588"), AtLeast(524288), ClusterWide)
        .doc("Larger buffers than this many bytes are not kept for the next batch."),
    list(
        "group.coordinator.rebalance.protocols",
        Some("classic,consumer,streams"),
        SomeItemsOf(&["consumer", "classic", "share", "streams"]),
        ReadOnly,
    )
    .doc("The group protocols that are served."),
    int("group.consumer.session.timeout.ms", Some("45000"), AtLeast(1), ReadOnly)
        .doc("After so many milliseconds without a heartbeat a consumer leaves its group."),
    int("group.consumer.min.session.timeout.ms", Some("45000"), AtLeast(1), ReadOnly)
        .doc("The least that a group may set as session timeout, in milliseconds."),
    int("group.consumer.max.session.timeout.ms", Some("60000"), AtLeast(1), ReadOnly)
        .doc("The most that a group may set as session timeout, in milliseconds."),
    int("group.consumer.heartbeat.interval.ms", Some("5000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two heartbeats of a consumer."),
    int("group.consumer.min.heartbeat.interval.ms", Some("5000"), AtLeast(1), ReadOnly)
        .doc("The least that a group may set as heartbeat interval, in milliseconds."),
    int("group.consumer.max.heartbeat.interval.ms", Some("15000"), AtLeast(1), ReadOnly)
        .doc("The most that a group may set as heartbeat interval, in milliseconds."),
    int("group.consumer.assignment.interval.ms", Some("1000"), AtLeast(0), ClusterWide)
        .doc("How many milliseconds at least lie between two assignments of a consumer group."),
    int("group.consumer.min.assignment.interval.ms", Some("0"), AtLeast(0), ReadOnly)
        .doc("The least that a group may set as assignment interval, in milliseconds."),
    int("group.consumer.max.assignment.interval.ms", Some("15000"), AtLeast(0), ReadOnly)
        .doc("The most that a group may set as assignment interval, in milliseconds."),
    int("group.consumer.max.size", Some("2147483647"), AtLeast(1), ReadOnly)
        .doc("The most members of a consumer group."),
    list("group.consumer.assignors", Some("uniform,range"), SomeItems, ReadOnly)
        .doc("The assignors of consumer groups; the first is the default."),
    boolean("group.consumer.assignor.offload.enable", Some("true"), Any, ClusterWide)
        .internal()
        .doc("Whether assignments of consumer groups are computed on threads of their own."),
    string(
        "group.consumer.migration.policy",
        Some("bidirectional"),
        OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]),
        ReadOnly,
    )
    .doc("Whether groups may change between the classic and the consumer protocol, and in which direction."),
    int("group.consumer.regex.refresh.interval.ms", Some("600000"), AtLeast(10000), ReadOnly)
        .internal()
        .doc("How many milliseconds lie between two evaluations of subscribed regular expressions."),
    int("group.streams.session.timeout.ms", Some("45000"), AtLeast(1), ReadOnly)
        .doc("After so many milliseconds without a heartbeat a streams member leaves its group."),
    int("group.streams.min.session.timeout.ms", Some("45000"), AtLeast(1), ReadOnly)
        .doc("The least that a streams group may set as session timeout, in milliseconds."),
    int("group.streams.max.session.timeout.ms", Some("60000"), AtLeast(1), ReadOnly)
        .doc("The most that a streams group may set as session timeout, in milliseconds."),
    int("group.streams.heartbeat.interval.ms", Some("5000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two heartbeats of a streams member."),
    int("group.streams.min.heartbeat.interval.ms", Some("5000"), AtLeast(1), ReadOnly)
        .doc("The least that a streams group may set as heartbeat interval, in milliseconds."),
    int("group.streams.max.heartbeat.interval.ms", Some("15000"), AtLeast(1), ReadOnly)
        .doc("The most that a streams group may set as heartbeat interval, in milliseconds."),
    int("group.streams.assignment.interval.ms", Some("1000"), AtLeast(0), ClusterWide)
        .doc("How many milliseconds at least lie between two assignments of a streams group."),
    int("group.streams.min.assignment.interval.ms", Some("0"), AtLeast(0), ReadOnly)
        .doc("The least that a streams group may set as assignment interval, in milliseconds."),
    int("group.streams.max.assignment.interval.ms", Some("15000"), AtLeast(0), ReadOnly)
        .doc("The most that a streams group may set as assignment interval, in milliseconds."),
    int("group.streams.task.offset.interval.ms", Some("60000"), AtLeast(1), ReadOnly)
        .internal()
        .doc("How many milliseconds lie between two reports of a streams task's position."),
    int("group.streams.min.task.offset.interval.ms", Some("15000"), AtLeast(1), ReadOnly)
        .internal()
        .doc("The least that a streams group may set as interval of those reports, in milliseconds."),
    int("group.streams.initial.rebalance.delay.ms", Some("3000"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds a new streams group waits for more members."),
    int("group.streams.max.size", Some("2147483647"), AtLeast(1), ReadOnly).doc("The most members of a streams group."),
    int("group.streams.num.standby.replicas", Some("0"), AtLeast(0), ReadOnly)
        .doc("How many standby copies each streams task has."),
    int("group.streams.max.standby.replicas", Some("2"), AtLeast(0), ReadOnly)
        .doc("The most standby copies that a streams group may set."),
    int("group.streams.num.warmup.replicas", Some("2"), AtLeast(0), ReadOnly)
        .internal()
        .doc("How many extra copies of streams tasks may warm up at a time."),
    int("group.streams.max.warmup.replicas", Some("20"), AtLeast(0), ReadOnly)
        .internal()
        .doc("The most warming copies that a streams group may set."),
    long("group.streams.acceptable.recovery.lag", Some("10000"), AtLeast(0), ReadOnly)
        .internal()
        .doc("How many records a copy may be behind and still take a streams task over."),
    list("group.streams.rack.aware.assignment.tags", Some(""), Items, ReadOnly)
        .doc("The client tags that standby copies are spread over."),
    list("group.streams.assignors", Some("sticky"), SomeItems, ReadOnly)
        .doc("The assignors of streams groups; the first is the default."),
    boolean("group.streams.assignor.offload.enable", Some("true"), Any, ClusterWide)
        .internal()
        .doc("Whether assignments of streams groups are computed on threads of their own."),
    class("group.streams.topology.description.plugin.class", None, Any, ReadOnly)
        .doc("The plug-in that takes the descriptions of topologies."),
];
