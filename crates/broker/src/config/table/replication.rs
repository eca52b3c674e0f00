//! Replicas: copying, leadership, quotas.

use ottla_metadata::settings::Check::{Any, AtLeast};
use ottla_metadata::settings::Dynamic::{ClusterWide, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{boolean, class, int, long, string};

pub(super) const SETTINGS: &[Setting] = &[
    int("num.replica.fetchers", Some("1"), AtLeast(1), ClusterWide)
        .doc("Threads for each other broker that copy its partitions."),
    int("num.replica.alter.log.dirs.threads", None, Any, ReadOnly)
        .doc("Threads that move replicas between directories; one for each directory if not set."),
    int("replica.fetch.min.bytes", Some("1"), Any, ReadOnly).doc("A follower's fetch waits for so many bytes."),
    int("replica.fetch.max.bytes", Some("1048576"), AtLeast(0), ReadOnly)
        .doc("The most bytes of one partition that a follower asks for."),
    int("replica.fetch.response.max.bytes", Some("10485760"), AtLeast(0), ReadOnly)
        .doc("The most bytes in all that a follower asks for."),
    int("replica.fetch.wait.max.ms", Some("500"), Any, ReadOnly)
        .doc("The most milliseconds that a follower's fetch waits."),
    int("replica.fetch.backoff.ms", Some("1000"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds a follower pauses after an error."),
    long("replica.lag.time.max.ms", Some("30000"), Any, ReadOnly)
        .doc("A follower that was behind for so many milliseconds is no longer in sync."),
    int("replica.socket.timeout.ms", Some("30000"), Any, ReadOnly)
        .doc("How many milliseconds a follower waits for an answer."),
    int("replica.socket.receive.buffer.bytes", Some("65536"), Any, ReadOnly)
        .doc("The receive buffer of a follower's socket, in bytes."),
    long("replica.high.watermark.checkpoint.interval.ms", Some("5000"), Any, ReadOnly)
        .doc("How many milliseconds lie between two writes of the high watermarks."),
    string("replica.selector.class", None, Any, ReadOnly)
        .doc("The plug-in that picks the replica a consumer reads from."),
    boolean("auto.leader.rebalance.enable", Some("true"), Any, ReadOnly)
        .doc("Whether leadership goes back to preferred replicas by itself."),
    long("leader.imbalance.check.interval.seconds", Some("300"), AtLeast(1), ReadOnly)
        .doc("How many seconds lie between two searches for partitions that their preferred replica does not lead."),
    boolean("unclean.leader.election.enable", Some("false"), Any, ClusterWide)
        .doc("Whether a replica that may miss acknowledged records may lead when no other is left."),
    long("unclean.leader.election.interval.ms", Some("300000"), AtLeast(1), ReadOnly)
        .internal()
        .doc("How many milliseconds lie between two searches for partitions that need such a leader."),
    boolean("follower.fetch.last.tiered.offset.enable", Some("false"), Any, ClusterWide)
        .doc("Whether an empty follower begins where remote storage ends."),
    int("quota.window.num", Some("11"), AtLeast(1), ReadOnly)
        .doc("How many windows of time quotas of clients look back on."),
    int("quota.window.size.seconds", Some("1"), AtLeast(1), ReadOnly).doc("How many seconds such a window is long."),
    int("replication.quota.window.num", Some("11"), AtLeast(1), ReadOnly)
        .doc("How many windows of time quotas of replication look back on."),
    int("replication.quota.window.size.seconds", Some("1"), AtLeast(1), ReadOnly)
        .doc("How many seconds such a window is long."),
    int("alter.log.dirs.replication.quota.window.num", Some("11"), AtLeast(1), ReadOnly)
        .doc("How many windows of time quotas of moves between directories look back on."),
    int("alter.log.dirs.replication.quota.window.size.seconds", Some("1"), AtLeast(1), ReadOnly)
        .doc("How many seconds such a window is long."),
    int("controller.quota.window.num", Some("11"), AtLeast(1), ReadOnly)
        .doc("How many windows of time quotas of changes to topics look back on."),
    int("controller.quota.window.size.seconds", Some("1"), AtLeast(1), ReadOnly)
        .doc("How many seconds such a window is long."),
    class("client.quota.callback.class", None, Any, ReadOnly).doc("The plug-in that decides on quotas."),
];
