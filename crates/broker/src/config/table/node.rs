//! What a node is: its roles, its id, and how it takes part in the metadata quorum.

use ottla_metadata::settings::Check::{Any, AtLeast, Items, SomeItems, SomeItemsOf};
use ottla_metadata::settings::Dynamic::{ClusterWide, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{boolean, int, list, long, string};

pub(super) const SETTINGS: &[Setting] = &[
    list("process.roles", None, SomeItemsOf(&["broker", "controller"]), ReadOnly)
        .doc("What this node does: broker, controller, or both."),
    int("node.id", None, AtLeast(0), ReadOnly).doc("The number of this node; no other node of the cluster has it."),
    int("broker.id", Some("-1"), Any, ReadOnly).doc("The older name of node.id; equal to it if set."),
    string("broker.rack", None, Any, ReadOnly)
        .doc("The rack or zone this broker stands in; replicas are spread over racks."),
    list("controller.listener.names", None, SomeItems, ReadOnly)
        .doc("The listeners that controllers answer on; a broker uses the first to reach them."),
    list("controller.quorum.voters", Some(""), Items, ReadOnly)
        .doc("The controllers of a fixed quorum, as id@host:port."),
    list("controller.quorum.bootstrap.servers", Some(""), Items, ReadOnly)
        .doc("Controllers, as host:port, to ask for the members of a quorum that may change."),
    boolean("controller.quorum.auto.join.enable", Some("false"), Any, ReadOnly)
        .doc("Whether a controller that is no voter makes itself one."),
    int("controller.quorum.election.timeout.ms", Some("1000"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds a voter waits for a leader before it stands for election again."),
    int("controller.quorum.election.backoff.max.ms", Some("1000"), AtLeast(0), ReadOnly)
        .doc("The most milliseconds that a candidate waits after an election nobody won."),
    int("controller.quorum.fetch.timeout.ms", Some("2000"), AtLeast(0), ReadOnly)
        .doc("After so many milliseconds without a fetch from its leader a voter stands for election."),
    int("controller.quorum.fetch.max.bytes", Some("1048576"), AtLeast(1), ReadOnly)
        .doc("The most bytes of the metadata log that one fetch brings."),
    int("controller.quorum.fetch.snapshot.max.bytes", Some("1048576"), AtLeast(1), ReadOnly)
        .doc("The most bytes of a metadata snapshot that one fetch brings."),
    int("controller.quorum.request.timeout.ms", Some("2000"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds a node of the quorum waits for an answer."),
    int("controller.quorum.retry.backoff.ms", Some("20"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds pass before a failed request of the quorum is tried again."),
    int("controller.quorum.append.linger.ms", Some("25"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds the leading controller gathers records into a batch."),
    int("controller.socket.timeout.ms", Some("30000"), Any, ReadOnly)
        .doc("How many milliseconds a broker waits for the controller's answer."),
    long("controller.performance.always.log.threshold.ms", Some("2000"), AtLeast(0), ReadOnly)
        .internal()
        .doc("A controller event that takes so many milliseconds is logged."),
    long("controller.performance.sample.period.ms", Some("60000"), AtLeast(100), ReadOnly)
        .internal()
        .doc("How many milliseconds lie between two summaries of the controller's events."),
    int("broker.heartbeat.interval.ms", Some("2000"), Any, ReadOnly)
        .doc("How many milliseconds lie between a broker's heartbeats to the controller."),
    int("broker.session.timeout.ms", Some("9000"), Any, ReadOnly)
        .doc("After so many milliseconds without a heartbeat a broker is fenced."),
    int("initial.broker.registration.timeout.ms", Some("60000"), Any, ReadOnly)
        .doc("How many milliseconds a starting broker tries to register before it gives up."),
    long("server.max.startup.time.ms", Some("9223372036854775807"), AtLeast(0), ReadOnly)
        .internal()
        .doc("How many milliseconds a start may take."),
    boolean("controlled.shutdown.enable", Some("true"), Any, ReadOnly)
        .doc("Whether a stopping broker first hands its leaderships over."),
    string("metadata.log.dir", None, Any, ReadOnly)
        .doc("The directory of the metadata log; the first of log.dirs if not set."),
    int("metadata.log.segment.bytes", Some("1073741824"), AtLeast(8388608), ReadOnly)
        .doc("A segment of the metadata log grows no larger than this many bytes."),
    long("metadata.log.segment.ms", Some("604800000"), Any, ReadOnly)
        .doc("A segment of the metadata log that is this many milliseconds old is closed."),
    long("metadata.log.max.record.bytes.between.snapshots", Some("20971520"), AtLeast(1), ReadOnly)
        .doc("After so many bytes of metadata records a snapshot is written."),
    long("metadata.log.max.snapshot.interval.ms", Some("3600000"), AtLeast(0), ReadOnly)
        .doc("After so many milliseconds a snapshot is written if there are new records; 0 never by time."),
    int("metadata.max.idle.interval.ms", Some("500"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds of silence pass before the leading controller writes an empty record; 0 never."),
    long("metadata.max.retention.bytes", Some("104857600"), Any, ReadOnly)
        .doc("While the metadata log and its snapshots are larger than this many bytes the oldest go."),
    long("metadata.max.retention.ms", Some("604800000"), Any, ReadOnly)
        .doc("Metadata segments and snapshots older than this many milliseconds go."),
    int("internal.metadata.log.segment.bytes", None, Any, ReadOnly)
        .internal()
        .doc("In place of metadata.log.segment.bytes, without its lower limit: for tests."),
    int("internal.metadata.max.batch.size.in.bytes", Some("8388608"), Any, ReadOnly)
        .internal()
        .doc("The largest batch of metadata records, in bytes."),
    long("internal.metadata.delete.delay.millis", Some("60000"), Any, ReadOnly)
        .internal()
        .doc("How many milliseconds deleted files of the metadata log stay on the disk."),
    boolean("unstable.api.versions.enable", Some("false"), Any, ReadOnly)
        .internal()
        .doc("Whether versions of APIs that are still being made are served."),
    boolean("unstable.feature.versions.enable", Some("false"), Any, ReadOnly)
        .internal()
        .doc("Whether feature levels that are still being made may be used."),
    list("early.start.listeners", None, Items, ReadOnly)
        .doc("Listeners that take connections before the broker has caught up with the metadata."),
    list("config.providers", Some(""), Items, ClusterWide)
        .doc("Names of the plug-ins that stand behind ${provider:path:key} in values."),
];
