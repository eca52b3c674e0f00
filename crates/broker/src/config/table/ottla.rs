//! Keys that Kafka does not have.

use ottla_metadata::settings::Check::{Any, AtLeast};
use ottla_metadata::settings::Dynamic::{ClusterWide, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{boolean, long, string};

pub(super) const SETTINGS: &[Setting] = &[
    string("ottla.http.listener", Some("127.0.0.1:9644"), Any, ReadOnly)
        .doc("Where /metrics, /health/live and /health/ready are answered, as host:port; nowhere if it is empty."),
    boolean("ottla.flush.before.ack", Some("false"), Any, ClusterWide)
        .doc("Whether no record is acknowledged or shown to readers before it is forced to the disk."),
    long("ottla.disk.reserve.bytes", Some("-1"), AtLeast(-1), ClusterWide).doc(
        "A log directory with less free space than this many bytes takes no records of clients; -1 is 256 MiB or 1 % \
             of the volume, whichever is larger, but no more than a quarter of it; 0 is no limit.",
    ),
    boolean("ottla.validate.compressed.records", Some("false"), Any, ReadOnly)
        .doc("Whether every compressed batch is opened and checked, as Kafka does, or only some of each connection."),
    long("ottla.request.memory.bytes", Some("50331648"), AtLeast(1048576), ReadOnly)
        .doc("The memory, in bytes, for all requests that are being read or handled."),
];
