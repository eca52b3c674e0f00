//! Remote (tiered) storage.

use ottla_metadata::settings::Check::{Any, AtLeast, Fraction, NonEmpty};
use ottla_metadata::settings::Dynamic::{ClusterWide, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{boolean, double, int, long, string};

pub(super) const SETTINGS: &[Setting] = &[
    boolean("remote.log.storage.system.enable", Some("false"), Any, ReadOnly)
        .doc("Whether this broker uses remote storage at all."),
    string("remote.log.storage.manager.class.name", None, NonEmpty, ReadOnly).doc("The plug-in that stores segments."),
    string("remote.log.storage.manager.class.path", None, Any, ReadOnly).doc("Where that plug-in's classes are."),
    string("remote.log.storage.manager.impl.prefix", Some("rsm.config."), NonEmpty, ReadOnly)
        .doc("How the names of that plug-in's own settings begin."),
    string(
        "remote.log.metadata.manager.class.name",
        Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"),
        NonEmpty,
        ReadOnly,
    )
    .doc("The plug-in that remembers what is stored."),
    string("remote.log.metadata.manager.class.path", None, Any, ReadOnly).doc("Where that plug-in's classes are."),
    string("remote.log.metadata.manager.impl.prefix", Some("rlmm.config."), NonEmpty, ReadOnly)
        .doc("How the names of that plug-in's own settings begin."),
    string("remote.log.metadata.manager.listener.name", None, NonEmpty, ReadOnly)
        .doc("The listener that plug-in connects to."),
    int("remote.log.metadata.custom.metadata.max.bytes", Some("128"), AtLeast(0), ReadOnly)
        .doc("The most bytes that the storing plug-in may remember about a segment."),
    long("remote.log.index.file.cache.total.size.bytes", Some("1073741824"), AtLeast(1), ClusterWide)
        .doc("How many bytes of fetched indexes are kept on the local disk."),
    long("remote.log.index.file.cache.ttl.ms", Some("900000"), AtLeast(-1), ReadOnly)
        .internal()
        .doc("A fetched index that was not used for so many milliseconds goes; -1 never."),
    int("remote.log.manager.thread.pool.size", Some("2"), AtLeast(1), ReadOnly)
        .doc("Threads for following remote storage."),
    int("remote.log.manager.copier.thread.pool.size", Some("10"), AtLeast(1), ClusterWide)
        .doc("Threads that copy segments to remote storage."),
    int("remote.log.manager.expiration.thread.pool.size", Some("10"), AtLeast(1), ClusterWide)
        .doc("Threads that delete from remote storage."),
    int("remote.log.manager.follower.thread.pool.size", Some("2"), AtLeast(1), ClusterWide)
        .doc("Threads that follow what the leader stored."),
    long("remote.log.manager.task.interval.ms", Some("30000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two runs of a partition's tasks."),
    long("remote.log.manager.task.retry.backoff.ms", Some("500"), AtLeast(1), ReadOnly)
        .internal()
        .doc("How many milliseconds pass before a failed task is tried again."),
    long("remote.log.manager.task.retry.backoff.max.ms", Some("30000"), AtLeast(1), ReadOnly)
        .internal()
        .doc("The most milliseconds that such a pause grows to."),
    double("remote.log.manager.task.retry.jitter", Some("0.2"), Fraction(0.0, 0.5), ReadOnly)
        .internal()
        .doc("How much of that pause is random, as a part of 1."),
    long("remote.log.manager.copy.max.bytes.per.second", Some("9223372036854775807"), AtLeast(1), ClusterWide)
        .doc("How many bytes a second are copied to remote storage."),
    int("remote.log.manager.copy.quota.window.num", Some("11"), AtLeast(1), ReadOnly)
        .doc("How many windows of time that limit looks back on."),
    int("remote.log.manager.copy.quota.window.size.seconds", Some("1"), AtLeast(1), ReadOnly)
        .doc("How many seconds such a window is long."),
    long("remote.log.manager.fetch.max.bytes.per.second", Some("9223372036854775807"), AtLeast(1), ClusterWide)
        .doc("How many bytes a second are read from remote storage."),
    int("remote.log.manager.fetch.quota.window.num", Some("11"), AtLeast(1), ReadOnly)
        .doc("How many windows of time that limit looks back on."),
    int("remote.log.manager.fetch.quota.window.size.seconds", Some("1"), AtLeast(1), ReadOnly)
        .doc("How many seconds such a window is long."),
    int("remote.log.reader.threads", Some("10"), AtLeast(1), ClusterWide).doc("Threads that read from remote storage."),
    int("remote.log.reader.max.pending.tasks", Some("100"), AtLeast(1), ReadOnly)
        .doc("How many reads may wait for such a thread."),
    int("remote.fetch.max.wait.ms", Some("500"), AtLeast(1), ClusterWide)
        .doc("The most milliseconds that a fetch waits for remote storage."),
    long("remote.list.offsets.request.timeout.ms", Some("30000"), AtLeast(1), ClusterWide)
        .doc("The most milliseconds that a search for an offset waits for remote storage."),
];
