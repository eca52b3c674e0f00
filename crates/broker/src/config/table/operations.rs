//! Metrics, plug-ins and telemetry.

use ottla_metadata::settings::Check::{Any, AtLeast, Items};
use ottla_metadata::settings::Dynamic::{ClusterWide, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{class, int, list, long, string};

pub(super) const SETTINGS: &[Setting] = &[
    list("metric.reporters", Some("org.apache.kafka.common.metrics.JmxReporter"), Items, ClusterWide)
        .doc("The plug-ins that get the metrics."),
    int("metrics.num.samples", Some("2"), AtLeast(1), ReadOnly).doc("How many samples a metric looks back on."),
    long("metrics.sample.window.ms", Some("30000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds such a sample is long."),
    string("metrics.recording.level", Some("INFO"), Any, ReadOnly).doc("How detailed metrics are."),
    list("kafka.metrics.reporters", Some(""), Items, ReadOnly).doc("The plug-ins that get the older kind of metrics."),
    int("kafka.metrics.polling.interval.secs", Some("10"), AtLeast(1), ReadOnly)
        .doc("How many seconds lie between two looks of such plug-ins."),
    int("telemetry.max.bytes", Some("1048576"), AtLeast(1), ReadOnly)
        .doc("The most bytes of metrics that a client may send at once."),
    class("create.topic.policy.class.name", None, Any, ReadOnly).doc("The plug-in that may refuse new topics."),
    class("alter.config.policy.class.name", None, Any, ReadOnly).doc("The plug-in that may refuse changed settings."),
];
