//! The log: its directories, and the defaults of topics that set nothing themselves.

use ottla_metadata::settings::Check::{Any, AtLeast, Between, BetweenOr, Fraction, Items, ItemsOf, OneOf, SomeItems};
use ottla_metadata::settings::Dynamic::{ClusterWide, PerBroker, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{boolean, double, int, list, long, string};

pub(super) const SETTINGS: &[Setting] = &[
    list("log.dirs", None, SomeItems, ReadOnly)
        .doc("The directories of the partitions, separated by commas; log.dir if not set."),
    list("log.dir", Some("/tmp/kafka-logs"), SomeItems, ReadOnly).doc("The directory of the partitions."),
    list("cordoned.log.dirs", Some(""), Items, PerBroker).doc("Directories that take no new partitions; * is all."),
    long("log.dir.failure.timeout.ms", Some("30000"), AtLeast(1), ReadOnly)
        .doc("After so many milliseconds a broker that cannot report a failed directory stops."),
    int("num.recovery.threads.per.data.dir", Some("2"), AtLeast(1), ClusterWide)
        .doc("Threads for each directory that read its logs at the start and flush them at the end."),
    int("log.segment.bytes", Some("1073741824"), AtLeast(1048576), ClusterWide)
        .doc("A segment's file grows no larger than this many bytes."),
    long("log.roll.ms", None, Any, ClusterWide)
        .doc("A segment that is this many milliseconds old is closed at the next append."),
    int("log.roll.hours", Some("168"), AtLeast(1), ReadOnly)
        .doc("A segment that is this many hours old is closed, where log.roll.ms is not set."),
    long("log.roll.jitter.ms", None, Any, ClusterWide)
        .doc("Segments are closed by age up to this many milliseconds earlier, at random."),
    int("log.roll.jitter.hours", Some("0"), AtLeast(0), ReadOnly)
        .doc("Segments are closed by age up to this many hours earlier, where log.roll.jitter.ms is not set."),
    long("log.retention.ms", None, Any, ClusterWide)
        .doc("Segments whose records are all older than this many milliseconds go; -1 is no limit."),
    int("log.retention.minutes", None, Any, ReadOnly)
        .doc("Segments whose records are all older than this many minutes go, where log.retention.ms is not set."),
    int("log.retention.hours", Some("168"), Any, ReadOnly)
        .doc("Segments whose records are all older than this many hours go, where no smaller unit is set."),
    long("log.retention.bytes", Some("-1"), Any, ClusterWide)
        .doc("While a partition is larger than this many bytes its oldest segments go; -1 is no limit."),
    long("log.retention.check.interval.ms", Some("300000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two searches for segments that may go."),
    long("log.segment.delete.delay.ms", Some("60000"), AtLeast(0), ClusterWide)
        .doc("How many milliseconds a deleted segment's files stay on the disk."),
    long("log.initial.task.delay.ms", Some("30000"), AtLeast(0), ReadOnly)
        .internal()
        .doc("How many milliseconds after the start the log's work in the background begins."),
    list("log.cleanup.policy", Some("delete"), ItemsOf(&["compact", "delete"]), ClusterWide)
        .doc("What happens to old records: deleted by age and size, compacted by key, both, or (empty) nothing."),
    int("log.index.size.max.bytes", Some("10485760"), AtLeast(4), ClusterWide)
        .doc("The most bytes that an index of a segment takes."),
    int("log.index.interval.bytes", Some("4096"), AtLeast(0), ClusterWide)
        .doc("About how many bytes of log lie between two entries of the offset index."),
    long("log.flush.interval.messages", Some("9223372036854775807"), AtLeast(1), ClusterWide)
        .doc("After this many records a log is forced to the disk."),
    long("log.flush.interval.ms", None, Any, ClusterWide)
        .doc("After this many milliseconds a log is forced to the disk; log.flush.scheduler.interval.ms if not set."),
    long("log.flush.scheduler.interval.ms", Some("9223372036854775807"), Any, ReadOnly)
        .doc("How many milliseconds lie between two searches for logs that are to be forced to the disk."),
    int("log.flush.offset.checkpoint.interval.ms", Some("60000"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds lie between two writes of the recovery points."),
    int("log.flush.start.offset.checkpoint.interval.ms", Some("60000"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds lie between two writes of the log start offsets."),
    boolean("log.preallocate", Some("false"), Any, ClusterWide)
        .doc("Whether a new segment takes its room on the disk at once."),
    string("log.message.timestamp.type", Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), ClusterWide)
        .doc("Whether a record's time is the producer's, or that of the append."),
    long("log.message.timestamp.before.max.ms", Some("9223372036854775807"), AtLeast(0), ClusterWide)
        .doc("How many milliseconds a producer's time may lie before the broker's clock."),
    long("log.message.timestamp.after.max.ms", Some("3600000"), AtLeast(0), ClusterWide)
        .doc("How many milliseconds a producer's time may lie after the broker's clock."),
    boolean("log.cleaner.enable", Some("true"), Any, ReadOnly).doc("Whether topics are compacted."),
    int("log.cleaner.threads", Some("1"), AtLeast(0), ClusterWide).doc("Threads that compact logs."),
    long("log.cleaner.dedupe.buffer.size", Some("134217728"), Any, ClusterWide)
        .doc("The memory, in bytes, of all compacting threads for the keys of a log."),
    int("log.cleaner.io.buffer.size", Some("524288"), AtLeast(0), ClusterWide)
        .doc("The memory, in bytes, of all compacting threads for reading and writing."),
    double("log.cleaner.io.buffer.load.factor", Some("0.9"), Any, ClusterWide)
        .doc("How full the memory for keys may get, as a part of 1."),
    double("log.cleaner.io.max.bytes.per.second", Some("1.7976931348623157E308"), Any, ClusterWide)
        .doc("How many bytes a second compaction may read and write."),
    long("log.cleaner.backoff.ms", Some("15000"), AtLeast(0), ClusterWide)
        .doc("How many milliseconds a compacting thread sleeps when there is nothing to compact."),
    long("log.cleaner.delete.retention.ms", Some("86400000"), AtLeast(0), ClusterWide)
        .doc("How many milliseconds compaction keeps the marker of a deleted key."),
    long("log.cleaner.min.compaction.lag.ms", Some("0"), AtLeast(0), ClusterWide)
        .doc("Records younger than this many milliseconds are not compacted."),
    long("log.cleaner.max.compaction.lag.ms", Some("9223372036854775807"), AtLeast(1), ClusterWide)
        .doc("Records older than this many milliseconds are compacted, however few they are."),
    double("log.cleaner.min.cleanable.ratio", Some("0.5"), Fraction(0.0, 1.0), ClusterWide)
        .doc("A log is compacted when this part of it was not compacted before."),
    long("log.local.retention.ms", Some("-2"), AtLeast(-2), ClusterWide)
        .doc("How many milliseconds segments stay here once they are in remote storage; -2 is the retention time."),
    long("log.local.retention.bytes", Some("-2"), AtLeast(-2), ClusterWide)
        .doc("How many bytes of segments stay here once they are in remote storage; -2 is the retention size."),
    long("log.remote.copy.lag.ms", Some("0"), AtLeast(-1), ClusterWide)
        .doc("How many milliseconds a closed segment waits before it is copied to remote storage."),
    long("log.remote.copy.lag.bytes", Some("-1"), AtLeast(-1), ClusterWide)
        .doc("How many bytes must follow a closed segment before it is copied to remote storage."),
    int("message.max.bytes", Some("1048588"), AtLeast(0), ClusterWide)
        .doc("The largest record batch that is taken, in bytes with its header, as it comes."),
    int("max.decompressed.message.bytes", Some("2147483639"), Between(1, 2147483639), ClusterWide)
        .doc("The most bytes that a compressed record batch may unpack to."),
    string(
        "compression.type",
        Some("producer"),
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        ClusterWide,
    )
    .doc("The codec that batches are stored in; producer keeps them as they were sent."),
    int("compression.gzip.level", Some("-1"), BetweenOr(1, 9, -1), ClusterWide)
        .doc("The level where the broker itself compresses with gzip; -1 is the codec's own default."),
    int("compression.lz4.level", Some("9"), Between(1, 17), ClusterWide)
        .doc("The level where the broker itself compresses with lz4."),
    int("compression.zstd.level", Some("3"), Between(-131072, 22), ClusterWide)
        .doc("The level where the broker itself compresses with zstd."),
    int("num.partitions", Some("1"), AtLeast(1), ReadOnly).doc("How many partitions a topic gets if nobody says."),
    int("default.replication.factor", Some("1"), Any, ReadOnly).doc("How many replicas a topic gets if nobody says."),
    int("min.insync.replicas", Some("1"), AtLeast(1), ClusterWide)
        .doc("How many replicas must be in sync for a write with acks=all to be taken."),
    boolean("auto.create.topics.enable", Some("true"), Any, ReadOnly)
        .doc("Whether asking for a topic that is not there makes it."),
    boolean("delete.topic.enable", Some("true"), Any, ReadOnly).doc("Whether topics may be deleted."),
];
