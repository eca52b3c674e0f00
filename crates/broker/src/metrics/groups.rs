//! What the page tells of groups: members, committed offsets, lag.
//!
//! ```text
//!   look: how many, and how much text      one shard after the other; no name is copied
//!   tell: offsets and lag                  the numbers of one shard at a time; the text has a limit
//! ```

use std::sync::Arc;

use ottla_coordinator::group::{GroupCoordinator, GroupState};

use super::page::{Page, SAMPLE_BYTES};
use crate::coordinators::{GroupCoordinators, PartitionCounts};
use crate::partitions::Partitions;

/// All states that a classic group can be in, and the names of their older metrics.
const STATES: [(GroupState, &str); 5] = [
    (GroupState::Empty, "kafka_coordinator_group_groupmetadatamanager_numgroupsempty"),
    (GroupState::PreparingRebalance, "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance"),
    (GroupState::CompletingRebalance, "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance"),
    (GroupState::Stable, "kafka_coordinator_group_groupmetadatamanager_numgroupsstable"),
    (GroupState::Dead, "kafka_coordinator_group_groupmetadatamanager_numgroupsdead"),
];

/// How much there is to tell. A page that tells of little else has room for the lag of some 100,000 partitions. Where that is
/// not enough only the sums of each group and topic are told, and where that is not either, no more than how many groups are
/// left out.
#[derive(Debug, Default)]
pub struct Census {
    groups: usize,
    by_state: [usize; STATES.len()],
    offsets: usize,
    text_bytes: usize,
}

/// The numbers of one group.
struct Facts {
    id: Arc<str>,
    members: usize,
    /// Topic, partition, offset; by topic.
    offsets: Vec<(Arc<str>, i32, i64)>,
}

/// What is still told.
struct Telling<'p> {
    page: &'p mut Page,
    /// The high watermark of a partition, where it is here.
    high_watermark: &'p dyn Fn(&str, i32) -> Option<i64>,
    /// Each partition, or only sums.
    is_detailed: bool,
    left_out: usize,
}

/// Tells how many groups there are, and in which state. Those that are still being loaded are counted as soon as they are.
pub fn gather(groups: &GroupCoordinators, page: &mut Page) -> Census {
    let mut census = Census::default();
    let _ = groups.read_all(|coordinator| census.count(coordinator));
    let mut gauge = |name, help, value: usize| page.gauge(name, help, &[], value);
    gauge("kafka_coordinator_group_groupmetadatamanager_numgroups", "Groups.", census.groups);
    gauge("kafka_coordinator_group_groupmetadatamanager_numoffsets", "Committed offsets.", census.offsets);
    for ((_, name), count) in STATES.iter().zip(census.by_state) {
        gauge(name, "Groups in this state.", count);
    }
    census.tell_as_coordinator(page);
    room(groups, page);
    census
}

/// Tells of each group, as far as there is room.
pub fn tell(census: &Census, groups: &GroupCoordinators, partitions: &Partitions, page: &mut Page) {
    let high_watermark = |topic: &str, partition| {
        let found = partitions.find(topic, partition).ok()?;
        Some(found.positions().high_watermark.0)
    };
    let is_detailed = page.has_room(census.text_bytes);
    let mut telling = Telling { page, high_watermark: &high_watermark, is_detailed, left_out: 0 };
    groups.read_each(facts_of, |facts| facts.iter().for_each(|group| telling.tell(group)));
    telling.finish();
}

/// What has happened in all groups.
pub fn happened(groups: &GroupCoordinators, page: &mut Page) {
    let happened = groups.happened();
    let mut counter = |name, help, value: u64| page.counter(name, help, &[], value);
    counter(
        "kafka_server_group_coordinator_metrics_offset_commit_count",
        "Offsets that groups have committed.",
        happened.committed_offsets,
    );
    counter(
        "kafka_server_group_coordinator_metrics_offset_expiration_count",
        "Offsets that nobody wanted any more for offsets.retention.minutes.",
        happened.expired_offsets,
    );
    counter(
        "kafka_server_group_coordinator_metrics_offset_deletion_count",
        "Offsets that were deleted by OffsetDelete; not those that went with their group or topic.",
        happened.deleted_offsets,
    );
    counter(
        "kafka_server_group_coordinator_metrics_group_completed_rebalance_count",
        "Rebalances of classic groups that came to an assignment.",
        happened.completed_rebalances,
    );
    let PartitionCounts { active, loading } = groups.partition_counts();
    for (state, count) in [("active", active), ("loading", loading)] {
        let name = "kafka_server_group_coordinator_metrics_num_partitions";
        page.gauge(name, "Partitions of __consumer_offsets here.", &[("state", &state)], count);
    }
}

/// What groups take of what they may, and what found no room.
fn room(groups: &GroupCoordinators, page: &mut Page) {
    let memory = groups.memory();
    let mut pair = |name, name_of_max, help, (bytes, max_bytes): (usize, usize)| {
        page.gauge(name, help, &[], bytes);
        page.gauge(name_of_max, "How much that may be.", &[], max_bytes);
    };
    let members = "Bytes that the members of all groups take.";
    pair("ottla_groups_members_bytes", "ottla_groups_members_bytes_max", members, memory.members);
    let metadata = "Bytes of metadata in committed offsets.";
    pair("ottla_groups_metadata_bytes", "ottla_groups_metadata_bytes_max", metadata, memory.metadata);
    let list = "Bytes that a list of all groups takes.";
    pair("ottla_groups_list_bytes", "ottla_groups_list_bytes_max", list, memory.list);
    for (reason, count) in groups.refusals() {
        let help = "What groups asked for and was refused for want of room.";
        page.counter("ottla_groups_refused_total", help, &[("reason", &reason)], count);
    }
}

impl Census {
    /// What there is, under the names that Kafka has given it since there are several kinds of groups.
    fn tell_as_coordinator(&self, page: &mut Page) {
        let (protocol, offsets) = (
            "kafka_server_group_coordinator_metrics_group_count",
            "kafka_server_group_coordinator_metrics_offset_count",
        );
        page.gauge(protocol, "Groups, by protocol.", &[("protocol", &"classic")], self.groups);
        page.gauge(offsets, "Committed offsets.", &[], self.offsets);
        for ((state, _), count) in STATES.iter().zip(self.by_state) {
            let name = "kafka_server_group_coordinator_metrics_classic_group_count";
            page.gauge(name, "Classic groups, by state.", &[("state", &state.name())], count);
        }
    }

    fn count(&mut self, coordinator: &GroupCoordinator) {
        for group in coordinator.measured() {
            self.groups += 1;
            let id_bytes = escaped_bytes(group.id());
            self.text_bytes += SAMPLE_BYTES + id_bytes;
            if let Some(place) = STATES.iter().position(|(state, _)| *state == group.state()) {
                self.by_state[place] += 1;
            }
            let mut summed: Option<&Arc<str>> = None;
            for (topic, _, _) in group.offsets() {
                self.offsets += 1;
                // Its lines, and those of the topic's sums.
                let lines = if summed.replace(topic) == Some(topic) { 2 } else { 4 };
                self.text_bytes += lines * (SAMPLE_BYTES + id_bytes + topic.len());
            }
        }
    }
}

/// What the name of a group takes as a label; those of topics have nothing in them to escape.
fn escaped_bytes(id: &str) -> usize {
    id.len() + id.bytes().filter(|byte| matches!(byte, b'\\' | b'"' | b'\n')).count()
}

fn facts_of(coordinator: &GroupCoordinator) -> Vec<Facts> {
    let facts = coordinator.measured().map(|group| Facts {
        id: Arc::clone(group.id()),
        members: group.members(),
        offsets: group.offsets().map(|(topic, partition, offset)| (Arc::clone(topic), partition, offset)).collect(),
    });
    facts.collect()
}

impl Telling<'_> {
    fn tell(&mut self, group: &Facts) {
        let of_topics = || group.offsets.chunk_by(|a, b| a.0 == b.0);
        let id_bytes = escaped_bytes(&group.id);
        let lines_of = |topic: &[_]| if self.is_detailed { 2 + 2 * topic.len() } else { 2 };
        let of_topic = |topic: &[(Arc<str>, _, _)]| lines_of(topic) * (SAMPLE_BYTES + id_bytes + topic[0].0.len());
        let bytes: usize = of_topics().map(of_topic).sum();
        if !self.page.has_room(SAMPLE_BYTES + id_bytes + bytes) {
            self.left_out += 1;
            return;
        }
        let members = "Members of the group.";
        self.page.gauge("kafka_consumergroup_members", members, &[("consumergroup", &group.id)], group.members);
        of_topics().for_each(|topic| self.lag(&group.id, topic));
    }

    fn finish(self) {
        let help = "Groups of which the page does not tell members and lag, because there are too many.";
        self.page.gauge("ottla_metrics_groups_left_out", help, &[], self.left_out);
    }

    fn lag(&mut self, group: &str, offsets: &[(Arc<str>, i32, i64)]) {
        let (mut offset_sum, mut lag_sum) = (0_i64, 0_i64);
        for (topic, partition, offset) in offsets {
            let lag = (self.high_watermark)(topic, *partition).map(|end| end.saturating_sub(*offset).max(0));
            offset_sum = offset_sum.saturating_add(*offset);
            lag_sum = lag_sum.saturating_add(lag.unwrap_or(0));
            if self.is_detailed {
                let labels: super::page::Labels<'_> =
                    &[("consumergroup", &group), ("topic", topic), ("partition", partition)];
                let help = "The offset that the group has committed.";
                self.page.gauge("kafka_consumergroup_current_offset", help, labels, offset);
                if let Some(lag) = lag {
                    let help = "Records that the group has not committed yet.";
                    self.page.gauge("kafka_consumergroup_lag", help, labels, lag);
                }
            }
        }
        let labels: super::page::Labels<'_> = &[("consumergroup", &group), ("topic", &offsets[0].0)];
        let help = "The offsets that the group has committed, of all partitions of a topic.";
        self.page.gauge("kafka_consumergroup_current_offset_sum", help, labels, offset_sum);
        let help = "Records that the group has not committed yet, of all partitions of a topic.";
        self.page.gauge("kafka_consumergroup_lag_sum", help, labels, lag_sum);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use ottla_base::{Offset, Shard, Uuid};
    use ottla_coordinator::group::{CommittedOffset, Record, Settings};

    use super::super::page::TEXT_MAX_BYTES;
    use super::*;

    /// What is told of two groups that have read two topics each; `u-1` is not here.
    fn told(left_bytes: usize, is_detailed: bool) -> String {
        let mut page = Page::default();
        page.left_bytes = left_bytes;
        let end = |topic: &str, partition: i32| (topic != "u" || partition != 1).then_some(10);
        let mut telling = Telling { page: &mut page, high_watermark: &end, is_detailed, left_out: 0 };
        for id in ["one", "two"] {
            let offsets = [("t", 0, 4), ("t", 1, 12), ("u", 0, 9), ("u", 1, 7)];
            let offsets = offsets.map(|(topic, partition, offset)| (Arc::from(topic), partition, offset)).to_vec();
            telling.tell(&Facts { id: Arc::from(id), members: 2, offsets });
        }
        telling.finish();
        let text = page.into_text();
        text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
    }

    /// What is told of so many groups that have committed so many partitions of a topic, and whether of each partition.
    fn told_of_many(groups: usize, partitions: i32, name: &str) -> (String, bool) {
        let mut coordinator = GroupCoordinator::new(Settings::default());
        let committed = CommittedOffset {
            offset: i64::MAX,
            leader_epoch: -1,
            metadata: "".into(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: Uuid::ZERO,
        };
        let topic: Arc<str> = "t".repeat(249).into();
        for number in 0..groups {
            let group: Arc<str> = format!("{name}{number}").into();
            for partition in 0..partitions {
                let (group, topic, value) = (Arc::clone(&group), Arc::clone(&topic), Some(committed.clone()));
                coordinator.replay(Offset(0), &Record::Offset { group, topic, partition, value });
            }
        }
        let mut census = Census::default();
        census.count(&coordinator);
        let mut page = Page::default();
        let is_detailed = page.has_room(census.text_bytes);
        let high_watermark = |_: &str, _| Some(i64::MAX);
        let mut telling = Telling { page: &mut page, high_watermark: &high_watermark, is_detailed, left_out: 0 };
        facts_of(&coordinator).iter().for_each(|facts| telling.tell(facts));
        telling.finish();
        let text = page.into_text();
        let without_help: usize = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.len() + 1).sum();
        assert!(without_help <= census.text_bytes.min(TEXT_MAX_BYTES) + SAMPLE_BYTES, "{without_help} bytes");
        (text, is_detailed)
    }

    fn count_of(text: &str, begins: &str) -> usize {
        text.lines().filter(|line| line.starts_with(begins)).count()
    }

    #[test]
    fn the_page_is_bounded_however_many_groups_there_are() {
        let (text, is_detailed) = told_of_many(40, 1000, "many");
        assert_eq!((count_of(&text, "kafka_consumergroup_lag{"), is_detailed), (40_000, true));
        let (text, is_detailed) = told_of_many(110, 1000, "more");
        assert_eq!((count_of(&text, "kafka_consumergroup_lag{"), is_detailed), (0, false));
        assert_eq!(count_of(&text, "kafka_consumergroup_lag_sum{"), 110);
        let (text, _) = told_of_many(1100, 1, &"\"\\".repeat(15_000));
        let told = count_of(&text, "kafka_consumergroup_members{");
        assert!(told < 1100 && text.contains(&format!("ottla_metrics_groups_left_out {}\n", 1100 - told)), "{told}");
    }

    #[test]
    fn each_partition_is_told_where_there_is_room() {
        let text = told(10_000, true);
        let of_one: Vec<&str> = text.lines().filter(|line| !line.contains("two")).collect();
        expect![[r#"
            kafka_consumergroup_current_offset{consumergroup="one",topic="t",partition="0"} 4
            kafka_consumergroup_current_offset{consumergroup="one",topic="t",partition="1"} 12
            kafka_consumergroup_current_offset{consumergroup="one",topic="u",partition="0"} 9
            kafka_consumergroup_current_offset{consumergroup="one",topic="u",partition="1"} 7
            kafka_consumergroup_current_offset_sum{consumergroup="one",topic="t"} 16
            kafka_consumergroup_current_offset_sum{consumergroup="one",topic="u"} 16
            kafka_consumergroup_lag{consumergroup="one",topic="t",partition="0"} 6
            kafka_consumergroup_lag{consumergroup="one",topic="t",partition="1"} 0
            kafka_consumergroup_lag{consumergroup="one",topic="u",partition="0"} 1
            kafka_consumergroup_lag_sum{consumergroup="one",topic="t"} 6
            kafka_consumergroup_lag_sum{consumergroup="one",topic="u"} 1
            kafka_consumergroup_members{consumergroup="one"} 2
            ottla_metrics_groups_left_out 0"#]]
        .assert_eq(&of_one.join("\n"));
    }

    #[test]
    fn where_there_is_less_room_sums_are_told_and_then_how_many_groups_are_left_out() {
        assert!(told(10_000, false).lines().all(|line| !line.contains("partition=")));
        expect![[r#"
            kafka_consumergroup_current_offset_sum{consumergroup="one",topic="t"} 16
            kafka_consumergroup_current_offset_sum{consumergroup="one",topic="u"} 16
            kafka_consumergroup_lag_sum{consumergroup="one",topic="t"} 6
            kafka_consumergroup_lag_sum{consumergroup="one",topic="u"} 1
            kafka_consumergroup_members{consumergroup="one"} 2
            ottla_metrics_groups_left_out 1
        "#]]
        .assert_eq(&told(800, false));
    }
}
