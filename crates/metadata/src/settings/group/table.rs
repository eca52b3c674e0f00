//! The rows of a group's settings. Of several wrong values the first one is reported.

use crate::settings::{Check, Dynamic, Kind, Setting};
use Check::{Any, AtLeast, Items, OneOf};

/// A key of groups.
#[derive(Clone, Copy, Debug)]
pub struct GroupSetting {
    /// What it is.
    pub setting: Setting,
    /// The broker key that gives the value of groups that set none.
    pub broker_key: Option<&'static str>,
    /// What brokers allow.
    pub bounds: Bounds,
}

/// Which numbers brokers allow, by their own keys.
#[derive(Clone, Copy, Debug)]
pub enum Bounds {
    /// All that the row allows.
    Free,
    /// From the value of the first key to that of the second, both included.
    Between(&'static str, &'static str),
    /// From the value of the key on.
    AtLeast(&'static str),
    /// Up to the value of the key, included.
    AtMost(&'static str),
}

impl Bounds {
    /// The keys it names.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static str> {
        let keys = match self {
            Self::Free => [None, None],
            Self::Between(least, most) => [Some(least), Some(most)],
            Self::AtLeast(key) | Self::AtMost(key) => [Some(key), None],
        };
        keys.into_iter().flatten()
    }
}

const fn row(kind: Kind, name: &'static str, default: &'static str, check: Check, doc: &'static str) -> GroupSetting {
    let setting = Setting::new(kind, name, Some(default), check, Dynamic::ClusterWide).doc(doc);
    GroupSetting { setting, broker_key: None, bounds: Bounds::Free }
}

const fn int(name: &'static str, default: &'static str, least: i64, doc: &'static str) -> GroupSetting {
    row(Kind::Int, name, default, AtLeast(least), doc)
}

const fn boolean(name: &'static str, default: &'static str, doc: &'static str) -> GroupSetting {
    row(Kind::Boolean, name, default, Any, doc)
}

impl GroupSetting {
    const fn behind(self, broker_key: &'static str) -> Self {
        Self { broker_key: Some(broker_key), ..self }
    }

    const fn between(self, least: &'static str, most: &'static str) -> Self {
        Self { bounds: Bounds::Between(least, most), ..self }
    }

    const fn at_least(self, key: &'static str) -> Self {
        Self { bounds: Bounds::AtLeast(key), ..self }
    }

    const fn at_most(self, key: &'static str) -> Self {
        Self { bounds: Bounds::AtMost(key), ..self }
    }

    const fn internal(self) -> Self {
        Self { setting: self.setting.internal(), ..self }
    }
}

/// All of them.
pub const GROUP_SETTINGS: &[GroupSetting] = &[
    int(
        "consumer.heartbeat.interval.ms",
        "5000",
        1,
        "How often a member of a consumer group sends a heartbeat, in milliseconds.",
    )
    .behind("group.consumer.heartbeat.interval.ms")
    .between("group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    int(
        "consumer.session.timeout.ms",
        "45000",
        1,
        "After so many milliseconds without a heartbeat a member of a consumer group is out.",
    )
    .behind("group.consumer.session.timeout.ms")
    .between("group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    int(
        "consumer.assignment.interval.ms",
        "1000",
        0,
        "So many milliseconds lie at least between two assignments of a consumer group.",
    )
    .behind("group.consumer.assignment.interval.ms")
    .between("group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    boolean(
        "consumer.assignor.offload.enable",
        "true",
        "Whether assignments of a consumer group are made apart from its other work.",
    )
    .behind("group.consumer.assignor.offload.enable")
    .internal(),
    int(
        "share.heartbeat.interval.ms",
        "5000",
        1,
        "How often a member of a share group sends a heartbeat, in milliseconds.",
    )
    .behind("group.share.heartbeat.interval.ms")
    .between("group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    int(
        "share.session.timeout.ms",
        "45000",
        1,
        "After so many milliseconds without a heartbeat a member of a share group is out.",
    )
    .behind("group.share.session.timeout.ms")
    .between("group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
    int(
        "share.assignment.interval.ms",
        "1000",
        0,
        "So many milliseconds lie at least between two assignments of a share group.",
    )
    .behind("group.share.assignment.interval.ms")
    .between("group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    boolean(
        "share.assignor.offload.enable",
        "true",
        "Whether assignments of a share group are made apart from its other work.",
    )
    .behind("group.share.assignor.offload.enable")
    .internal(),
    int("share.record.lock.duration.ms", "30000", 1000, "How many milliseconds a share consumer has for a record.")
        .behind("group.share.record.lock.duration.ms")
        .between("group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    int("share.delivery.count.limit", "5", 2, "How often a record is delivered to a share group at most.")
        .behind("group.share.delivery.count.limit")
        .between("group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
    int(
        "share.partition.max.record.locks",
        "2000",
        100,
        "How many records of a partition a share group may have taken at once.",
    )
    .behind("group.share.partition.max.record.locks")
    .between("group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"),
    row(
        Kind::String,
        "share.auto.offset.reset",
        "latest",
        Any,
        "Where a share group begins: earliest, latest, or by_duration: with a time back from now.",
    ),
    row(
        Kind::String,
        "share.isolation.level",
        "read_uncommitted",
        OneOf(&["read_committed", "read_uncommitted"]),
        "Whether a share group sees records of transactions that are not committed.",
    ),
    boolean("share.renew.acknowledge.enable", "true", "Whether share consumers may ask for more time for a record."),
    row(
        Kind::String,
        "errors.deadletterqueue.topic.name",
        "",
        Any,
        "The topic into which a share group's rejected records go.",
    ),
    boolean("errors.deadletterqueue.copy.record.enable", "false", "Whether a rejected record is copied whole."),
    int(
        "streams.heartbeat.interval.ms",
        "5000",
        1,
        "How often a member of a streams group sends a heartbeat, in milliseconds.",
    )
    .behind("group.streams.heartbeat.interval.ms")
    .between("group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    int(
        "streams.session.timeout.ms",
        "45000",
        1,
        "After so many milliseconds without a heartbeat a member of a streams group is out.",
    )
    .behind("group.streams.session.timeout.ms")
    .between("group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    int(
        "streams.assignment.interval.ms",
        "1000",
        0,
        "So many milliseconds lie at least between two assignments of a streams group.",
    )
    .behind("group.streams.assignment.interval.ms")
    .between("group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"),
    boolean(
        "streams.assignor.offload.enable",
        "true",
        "Whether assignments of a streams group are made apart from its other work.",
    )
    .behind("group.streams.assignor.offload.enable")
    .internal(),
    row(Kind::String, "streams.assignor.name", "sticky", Any, "The assignor of a streams group's tasks.")
        .behind("group.streams.assignors"),
    int("streams.num.standby.replicas", "0", 0, "How many standby copies a streams group keeps of a task.")
        .behind("group.streams.num.standby.replicas")
        .at_most("group.streams.max.standby.replicas"),
    int("streams.num.warmup.replicas", "2", 0, "How many copies of tasks a streams group warms up at once.")
        .behind("group.streams.num.warmup.replicas")
        .at_most("group.streams.max.warmup.replicas")
        .internal(),
    int(
        "streams.initial.rebalance.delay.ms",
        "3000",
        0,
        "How many milliseconds a new streams group waits for more members.",
    )
    .behind("group.streams.initial.rebalance.delay.ms"),
    int(
        "streams.task.offset.interval.ms",
        "60000",
        1,
        "How often members of a streams group tell how far their tasks are, in milliseconds.",
    )
    .behind("group.streams.task.offset.interval.ms")
    .at_least("group.streams.min.task.offset.interval.ms")
    .internal(),
    row(
        Kind::Long,
        "streams.acceptable.recovery.lag",
        "10000",
        AtLeast(0),
        "How many records a copy of a task may be behind to take over.",
    )
    .behind("group.streams.acceptable.recovery.lag")
    .internal(),
    row(
        Kind::List,
        "streams.rack.aware.assignment.tags",
        "",
        Items,
        "The clients' tags over which a streams group spreads its standby copies.",
    )
    .behind("group.streams.rack.aware.assignment.tags"),
];
