//! What came into partitions and went out of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_protocol::records::validate::Flaw;

use super::page::{Labels, Page, SAMPLE_BYTES};
use crate::partitions::Partitions;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Records appended, and those of batches that were there already.
    MessagesIn,
    /// Their bytes, as they were sent.
    BytesIn,
    /// Bytes read by consumers.
    BytesOut,
    /// Batches of which it was asked whether they may be appended.
    ProduceRequests,
    /// Reads that were asked for.
    FetchRequests,
    /// Batches of clients that were refused.
    FailedProduceRequests,
    /// Reads that failed though nothing was wrong with them.
    FailedFetchRequests,
    /// Bytes of batches that were too large.
    BytesRejected,
    /// Records that were packed anew.
    ProduceConversions,
    /// Batches whose bytes are not those of their CRC.
    InvalidCrc,
    /// Batches with offsets or a sequence that cannot be.
    InvalidOffsetOrSequence,
    /// Records without a key that were to go into a compacted topic.
    NoKey,
}

/// How many there are of [`Counted`].
const COUNTED: usize = Counted::NoKey as usize + 1;

/// What is told of each topic and of all together.
const OF_TOPICS: [(Counted, &str, &str); 9] = [
    (
        Counted::MessagesIn,
        "kafka_server_brokertopicmetrics_messagesin_total",
        "Records appended, and those that were sent once more and are there already.",
    ),
    (Counted::BytesIn, "kafka_server_brokertopicmetrics_bytesin_total", "Bytes of them, as they were sent."),
    (Counted::BytesOut, "kafka_server_brokertopicmetrics_bytesout_total", "Bytes sent to consumers."),
    (
        Counted::ProduceRequests,
        "kafka_server_brokertopicmetrics_totalproducerequests_total",
        "Batches that were to be appended: one a partition, of which a request may name many.",
    ),
    (
        Counted::FetchRequests,
        "kafka_server_brokertopicmetrics_totalfetchrequests_total",
        "Reads: one a partition, of which a request or its session may name many.",
    ),
    (Counted::FailedProduceRequests, "kafka_server_brokertopicmetrics_failedproducerequests_total", "Batches refused."),
    (
        Counted::FailedFetchRequests,
        "kafka_server_brokertopicmetrics_failedfetchrequests_total",
        "Reads that failed for reasons that no client has to do with.",
    ),
    (
        Counted::BytesRejected,
        "kafka_server_brokertopicmetrics_bytesrejected_total",
        "Bytes of batches larger than max.message.bytes.",
    ),
    (
        Counted::ProduceConversions,
        "kafka_server_brokertopicmetrics_producemessageconversions_total",
        "Records that were packed anew, as compression.type asks for.",
    ),
];

/// What is told of all topics together alone.
const OF_ALL: [(Counted, &str, &str); 3] = [
    (
        Counted::InvalidCrc,
        "kafka_server_brokertopicmetrics_invalidmessagecrcrecords_total",
        "Batches that were damaged on their way.",
    ),
    (
        Counted::InvalidOffsetOrSequence,
        "kafka_server_brokertopicmetrics_invalidoffsetorsequencerecords_total",
        "Batches with offsets or a sequence number that cannot be.",
    ),
    (
        Counted::NoKey,
        "kafka_server_brokertopicmetrics_nokeycompactedtopicrecords_total",
        "Records without a key that were to go into a compacted topic.",
    ),
];

/// Counters of a partition; nothing per record.
#[derive(Debug, Default)]
pub struct Traffic([AtomicU64; COUNTED]);

/// What they stand at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals([u64; COUNTED]);

impl Traffic {
    /// A batch is to be appended.
    pub fn asked_to_append(&self) {
        self.count(Counted::ProduceRequests, 1);
    }

    /// A batch was appended, or is there already.
    pub fn came(&self, messages: u64, bytes: u64) {
        self.count(Counted::MessagesIn, messages);
        self.count(Counted::BytesIn, bytes);
    }

    /// The batch that came was packed anew.
    pub fn converted(&self, messages: u64) {
        self.count(Counted::ProduceConversions, messages);
    }

    /// Records are to be read.
    pub fn asked_to_read(&self) {
        self.count(Counted::FetchRequests, 1);
    }

    /// Records are on their way to a consumer.
    pub fn went(&self, bytes: u64) {
        self.count(Counted::BytesOut, bytes);
    }

    /// A batch was refused.
    pub fn failed(&self) {
        self.count(Counted::FailedProduceRequests, 1);
    }

    /// A batch was refused because it is too large.
    pub fn rejected(&self, bytes: u64) {
        self.count(Counted::BytesRejected, bytes);
    }

    /// A batch was refused because of what is in it.
    pub fn flawed(&self, flaw: Flaw) {
        match flaw {
            Flaw::Crc => self.count(Counted::InvalidCrc, 1),
            Flaw::OffsetOrSequence => self.count(Counted::InvalidOffsetOrSequence, 1),
            Flaw::NoKey(records) => self.count(Counted::NoKey, records),
        }
    }

    /// A read failed though nothing was wrong with it.
    pub fn failed_to_read(&self) {
        self.count(Counted::FailedFetchRequests, 1);
    }

    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        Totals(self.0.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Takes over what was counted for a partition that is gone.
    pub fn add(&self, totals: Totals) {
        for (count, more) in self.0.iter().zip(totals.0) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn count(&self, counted: Counted, more: u64) {
        self.0[counted as usize].fetch_add(more, Ordering::Relaxed);
    }
}

impl Totals {
    /// One of them.
    pub fn of(&self, counted: Counted) -> u64 {
        self.0[counted as usize]
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|place| self.0[place] + other.0[place]))
    }
}

/// Tells of all topics together, and of each.
pub fn gather(partitions: &Partitions, page: &mut Page) {
    let (all, by_topic) = partitions.totals();
    tell(&all, OF_TOPICS.iter().chain(&OF_ALL), &[], page);
    topics(&by_topic, page);
}

/// Tells of each topic what has been counted of it; as in Kafka, not what never was. Where there is no room for a topic it is
/// only told that it is left out.
pub(super) fn topics(by_topic: &BTreeMap<String, Totals>, page: &mut Page) {
    let mut left_out = 0;
    for (topic, totals) in by_topic {
        let counted = || OF_TOPICS.iter().filter(|(counted, ..)| totals.of(*counted) > 0);
        if page.has_room(counted().count() * (SAMPLE_BYTES + topic.len())) {
            tell(totals, counted(), &[("topic", topic)], page);
        } else {
            left_out += 1;
        }
    }
    let help = "Topics of which the page does not tell what was counted, because there are too many.";
    page.gauge("ottla_metrics_topics_left_out", help, &[], left_out);
}

fn tell<'c>(
    totals: &Totals,
    told: impl Iterator<Item = &'c (Counted, &'static str, &'static str)>,
    labels: Labels<'_>,
    page: &mut Page,
) {
    for &(counted, name, help) in told {
        page.counter(name, help, labels, totals.of(counted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_of_a_partition_is_told_of_its_topic_and_kept_when_it_goes() {
        let (traffic, departed) = (Traffic::default(), Traffic::default());
        (0..2).for_each(|_| traffic.asked_to_append());
        traffic.came(3, 100);
        traffic.converted(3);
        traffic.failed();
        traffic.rejected(3071);
        traffic.flawed(Flaw::NoKey(2));
        traffic.flawed(Flaw::Crc);
        traffic.flawed(Flaw::OffsetOrSequence);
        traffic.asked_to_read();
        traffic.went(100);
        traffic.failed_to_read();
        departed.add(traffic.totals());
        assert_eq!(departed.totals(), traffic.totals());
        assert_eq!(Totals::default().plus(traffic.totals()), traffic.totals());
        let mut page = Page::default();
        tell(&traffic.totals(), OF_TOPICS.iter().chain(&OF_ALL), &[], &mut page);
        let text = page.into_text();
        let samples = text.lines().filter_map(|line| line.strip_prefix("kafka_server_brokertopicmetrics_"));
        expect_test::expect![[r#"
            bytesin_total 100
            bytesout_total 100
            bytesrejected_total 3071
            failedfetchrequests_total 1
            failedproducerequests_total 1
            invalidmessagecrcrecords_total 1
            invalidoffsetorsequencerecords_total 1
            messagesin_total 3
            nokeycompactedtopicrecords_total 2
            producemessageconversions_total 3
            totalfetchrequests_total 1
            totalproducerequests_total 2"#]]
        .assert_eq(&samples.collect::<Vec<_>>().join("\n"));
    }
}
