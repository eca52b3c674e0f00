//! Share groups, transactions and idempotent producers.

use ottla_metadata::settings::Check::{Any, AtLeast, Between, SomeItems};
use ottla_metadata::settings::Dynamic::{ClusterWide, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{boolean, int, list, short, string};

pub(super) const SETTINGS: &[Setting] = &[
    int("group.share.session.timeout.ms", Some("45000"), AtLeast(1), ReadOnly)
        .doc("After so many milliseconds without a heartbeat a share consumer leaves its group."),
    int("group.share.min.session.timeout.ms", Some("45000"), AtLeast(1), ReadOnly)
        .doc("The least that a share group may set as session timeout, in milliseconds."),
    int("group.share.max.session.timeout.ms", Some("60000"), AtLeast(1), ReadOnly)
        .doc("The most that a share group may set as session timeout, in milliseconds."),
    int("group.share.heartbeat.interval.ms", Some("5000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two heartbeats of a share consumer."),
    int("group.share.min.heartbeat.interval.ms", Some("5000"), AtLeast(1), ReadOnly)
        .doc("The least that a share group may set as heartbeat interval, in milliseconds."),
    int("group.share.max.heartbeat.interval.ms", Some("15000"), AtLeast(1), ReadOnly)
        .doc("The most that a share group may set as heartbeat interval, in milliseconds."),
    int("group.share.assignment.interval.ms", Some("1000"), AtLeast(0), ClusterWide)
        .doc("How many milliseconds at least lie between two assignments of a share group."),
    int("group.share.min.assignment.interval.ms", Some("0"), AtLeast(0), ReadOnly)
        .doc("The least that a share group may set as assignment interval, in milliseconds."),
    int("group.share.max.assignment.interval.ms", Some("15000"), AtLeast(0), ReadOnly)
        .doc("The most that a share group may set as assignment interval, in milliseconds."),
    int("group.share.max.size", Some("200"), Between(1, 1000), ReadOnly).doc("The most members of a share group."),
    int("group.share.max.share.sessions", Some("2000"), AtLeast(1), ReadOnly)
        .doc("How many share sessions a broker keeps."),
    int("group.share.delivery.count.limit", Some("5"), Between(2, 10), ReadOnly)
        .doc("How often a record is delivered before it counts as undeliverable."),
    int("group.share.min.delivery.count.limit", Some("2"), Between(2, 5), ReadOnly)
        .doc("The least that a share group may set as that count."),
    int("group.share.max.delivery.count.limit", Some("10"), Between(5, 25), ReadOnly)
        .doc("The most that a share group may set as that count."),
    int("group.share.record.lock.duration.ms", Some("30000"), Between(1000, 3600000), ReadOnly)
        .doc("How many milliseconds a record is locked for the consumer that got it."),
    int("group.share.min.record.lock.duration.ms", Some("15000"), Between(1000, 30000), ReadOnly)
        .doc("The least that a share group may set as that time, in milliseconds."),
    int("group.share.max.record.lock.duration.ms", Some("60000"), Between(30000, 3600000), ReadOnly)
        .doc("The most that a share group may set as that time, in milliseconds."),
    int("group.share.partition.max.record.locks", Some("2000"), Between(100, 10000), ReadOnly)
        .doc("How many records of a partition may be locked at a time."),
    int("group.share.min.partition.max.record.locks", Some("100"), Between(100, 2000), ReadOnly)
        .doc("The least that a share group may set as that number."),
    int("group.share.max.partition.max.record.locks", Some("4000"), Between(2000, 10000), ReadOnly)
        .doc("The most that a share group may set as that number."),
    list("group.share.assignors", Some("simple"), SomeItems, ReadOnly).doc("The assignor of share groups."),
    boolean("group.share.assignor.offload.enable", Some("true"), Any, ClusterWide)
        .internal()
        .doc("Whether assignments of share groups are computed on threads of their own."),
    string(
        "group.share.persister.class.name",
        Some("org.apache.kafka.server.share.persister.DefaultStatePersister"),
        Any,
        ReadOnly,
    )
    .internal()
    .doc("The plug-in that keeps the state of share groups."),
    string(
        "group.share.dlq.manager.class.name",
        Some("org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager"),
        Any,
        ReadOnly,
    )
    .internal()
    .doc("The plug-in that writes undeliverable records to their topic."),
    int("group.share.initialize.retry.interval.ms", Some("30000"), AtLeast(1), ReadOnly)
        .internal()
        .doc("After so many milliseconds the state of a share partition is initialised again if it failed."),
    boolean("errors.deadletterqueue.auto.create.topics.enable", Some("false"), Any, ClusterWide)
        .doc("Whether topics for undeliverable records are made when they are needed."),
    string("errors.deadletterqueue.topic.name.prefix", Some("dlq."), Any, ClusterWide)
        .doc("How the names of topics for undeliverable records begin."),
    int("share.coordinator.state.topic.num.partitions", Some("50"), AtLeast(1), ReadOnly)
        .doc("The partitions of the topic of share group state."),
    short("share.coordinator.state.topic.replication.factor", Some("3"), AtLeast(1), ReadOnly)
        .doc("The replicas of the topic of share group state."),
    short("share.coordinator.state.topic.min.isr", Some("2"), AtLeast(1), ReadOnly)
        .doc("How many replicas of the topic of share group state must be in sync."),
    int("share.coordinator.state.topic.segment.bytes", Some("104857600"), AtLeast(1), ReadOnly)
        .doc("The segment size, in bytes, of the topic of share group state."),
    int("share.coordinator.state.topic.compression.codec", Some("0"), Any, ReadOnly)
        .doc("The codec of the topic of share group state: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    int("share.coordinator.state.topic.prune.interval.ms", Some("300000"), AtLeast(1), ReadOnly)
        .internal()
        .doc("How many milliseconds lie between two deletions of share group state no longer needed."),
    int("share.coordinator.threads", Some("1"), AtLeast(1), ReadOnly).doc("Threads that run share coordinators."),
    int("share.coordinator.append.linger.ms", Some("-1"), AtLeast(-1), ReadOnly)
        .doc("How many milliseconds a share coordinator gathers records into a batch; -1 adapts by itself."),
    int("share.coordinator.cached.buffer.max.bytes", Some("1048588"), AtLeast(524288), ClusterWide)
        .doc("Larger buffers than this many bytes are not kept for the next batch."),
    int("share.coordinator.load.buffer.size", Some("5242880"), AtLeast(1), ReadOnly)
        .doc("How many bytes are read at once when share group state is loaded."),
    int("share.coordinator.write.timeout.ms", Some("5000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds a write of share group state waits for its replicas."),
    int("share.coordinator.snapshot.update.records.per.snapshot", Some("500"), Between(0, 500), ReadOnly)
        .doc("How many updates follow a snapshot of share group state before the next one."),
    int("share.coordinator.cold.partition.snapshot.interval.ms", Some("300000"), AtLeast(1), ReadOnly)
        .internal()
        .doc("After so many milliseconds a share partition that did not change gets a snapshot."),
    int("transaction.state.log.num.partitions", Some("50"), AtLeast(1), ReadOnly)
        .doc("The partitions of the topic of transactions."),
    short("transaction.state.log.replication.factor", Some("3"), AtLeast(1), ReadOnly)
        .doc("The replicas of the topic of transactions."),
    int("transaction.state.log.min.isr", Some("2"), AtLeast(1), ReadOnly)
        .doc("How many replicas of the topic of transactions must be in sync."),
    int("transaction.state.log.segment.bytes", Some("104857600"), AtLeast(1), ReadOnly)
        .doc("The segment size, in bytes, of the topic of transactions."),
    int("transaction.state.log.load.buffer.size", Some("5242880"), AtLeast(1), ReadOnly)
        .doc("How many bytes are read at once when transactions are loaded."),
    int("transaction.max.timeout.ms", Some("900000"), AtLeast(1), ReadOnly)
        .doc("The longest transaction, in milliseconds, that a producer may ask for."),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms", Some("10000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two searches for transactions that took too long."),
    int("transaction.remove.expired.transaction.cleanup.interval.ms", Some("3600000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two searches for transactional ids that may go."),
    boolean("transaction.partition.verification.enable", Some("true"), Any, ClusterWide)
        .doc("Whether a partition must belong to the transaction that writes to it."),
    boolean("transaction.two.phase.commit.enable", Some("false"), Any, ReadOnly)
        .doc("Whether producers may take part in two-phase commit."),
    int("transactional.id.expiration.ms", Some("604800000"), AtLeast(1), ReadOnly)
        .doc("A transactional id that was not used for so many milliseconds is forgotten."),
    int("producer.id.expiration.ms", Some("86400000"), AtLeast(1), ClusterWide)
        .doc("A producer that wrote nothing to a partition for so many milliseconds is forgotten there."),
    int("producer.id.expiration.check.interval.ms", Some("600000"), AtLeast(1), ReadOnly)
        .internal()
        .doc("How many milliseconds lie between two searches for producers that may be forgotten."),
    int("add.partitions.to.txn.retry.backoff.ms", Some("20"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds pass before a partition is asked for again to join a transaction."),
    int("add.partitions.to.txn.retry.backoff.max.ms", Some("100"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds such tries go on in all."),
];
