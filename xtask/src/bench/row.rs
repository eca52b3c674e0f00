//! What is measured: the rows of the table.

use std::io;

use ottla_protocol::records::Compression;

use super::frames::{self, Batch};

/// A batch is filled up to this, as Java's and librdkafka's producers do.
const BATCH_BYTES: usize = 16 << 10;
/// Connections of the rows that are not about small requests.
const CONNECTIONS: usize = 4;
/// Requests that a producer has on their way on each connection, as Java's.
const IN_FLIGHT: usize = 5;
/// Connections that send small requests, one at a time each.
const SMALL_CONNECTIONS: usize = 16;
/// Producers that share the fsyncs of the rows that are flushed, each with its own connection.
const FLUSHED_CONNECTIONS: usize = 16;
/// Requests a second of a row at a fixed rate, about 60 MB/s of full batches: far below what any broker here can take.
const PER_S: f64 = 4000.0;

/// A row.
#[derive(Clone)]
pub struct Row {
    pub name: String,
    pub kind: Kind,
    pub partitions: i32,
    pub connections: usize,
    pub record_bytes: usize,
    pub batch_bytes: usize,
    pub codec: Compression,
    /// With 0, every 16th request is answered nevertheless.
    pub acks: i16,
    /// Nothing is acknowledged before it is on the disk.
    pub is_flushed: bool,
}

/// What its connections do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Produce as fast as answers come, with so many requests on their way on each connection.
    Produce { in_flight: usize },
    /// Produce so many requests a second, all connections together; a request is late from the time it was due.
    ProduceAtRate { per_s: f64 },
    /// Read everything from the first offset, again and again, from the page cache.
    CatchUp,
    /// Produce at a rate, and follow the end of the log; the latency is from the time a batch was due until a consumer
    /// has it.
    Follow { per_s: f64 },
}

/// All rows, in the order of the table.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for record_bytes in [100, 1024] {
        for codec in [Compression::None, Compression::Lz4] {
            for (acks, acks_name) in [(1, "1"), (-1, "all")] {
                for partitions in [1, 12] {
                    let (size, codec_name) = (size(record_bytes), codec.name());
                    rows.push(Row {
                        name: format!(
                            "produce {size}, {codec_name}, acks {acks_name}, {}",
                            partitions_text(partitions)
                        ),
                        kind: Kind::Produce { in_flight: IN_FLIGHT },
                        partitions,
                        connections: CONNECTIONS,
                        record_bytes,
                        batch_bytes: BATCH_BYTES,
                        codec,
                        acks,
                        is_flushed: false,
                    });
                }
            }
        }
    }
    let base = Row {
        name: String::new(),
        kind: Kind::CatchUp,
        partitions: 12,
        connections: CONNECTIONS,
        record_bytes: 1024,
        batch_bytes: BATCH_BYTES,
        codec: Compression::None,
        acks: 1,
        is_flushed: false,
    };
    let small = Row { connections: SMALL_CONNECTIONS, record_bytes: 100, batch_bytes: 0, ..base.clone() };
    rows.push(Row {
        name: "small requests: one record of 100 B, 16 connections".into(),
        kind: Kind::Produce { in_flight: 1 },
        ..small.clone()
    });
    rows.push(Row {
        name: format!("latency at {PER_S} small requests/s"),
        kind: Kind::ProduceAtRate { per_s: PER_S },
        ..small
    });
    // Connections that wait for no answer are the ones that meet at the log.
    for (of_what, record_bytes, batch_bytes) in [("one record of 100 B", 100, 0), ("1 KiB", 1024, BATCH_BYTES)] {
        rows.push(Row {
            name: format!("acks 0, 16 requests to an answer: {of_what}, 16 connections, 1 partition"),
            kind: Kind::Produce { in_flight: IN_FLIGHT },
            partitions: 1,
            connections: SMALL_CONNECTIONS,
            record_bytes,
            batch_bytes,
            acks: 0,
            ..base.clone()
        });
    }
    for (acks, acks_name) in [(1, "1"), (-1, "all")] {
        rows.push(Row {
            name: format!("latency at {PER_S} batches/s, 1 KiB, acks {acks_name}, 12 partitions"),
            kind: Kind::ProduceAtRate { per_s: PER_S },
            acks,
            ..base.clone()
        });
    }
    rows.push(Row {
        name: format!("fetch from the tail at {PER_S} batches/s, 1 KiB, 12 partitions"),
        kind: Kind::Follow { per_s: PER_S },
        ..base.clone()
    });
    for partitions in [1, 12] {
        for (is_flushed, flushed_name) in [(false, "left to the page cache"), (true, "flushed before the ack")] {
            rows.push(Row {
                name: format!("16 producers, 1 KiB, acks all, {}, {flushed_name}", partitions_text(partitions)),
                kind: Kind::Produce { in_flight: IN_FLIGHT },
                connections: FLUSHED_CONNECTIONS,
                partitions,
                acks: -1,
                is_flushed,
                ..base.clone()
            });
        }
    }
    for partitions in [1, 12] {
        rows.push(Row {
            name: format!("fetch catch-up, 1 KiB, {}", partitions_text(partitions)),
            connections: 2,
            partitions,
            ..base.clone()
        });
    }
    rows
}

impl Row {
    /// What it sends, or reads.
    pub fn batch(&self) -> io::Result<Batch> {
        frames::batch(self.record_bytes, self.batch_bytes, self.codec)
    }

    /// What the topic is to have set, so that Ottla, or a real Kafka, acknowledges nothing before it is on the disk.
    pub fn configs(&self, of_kafka: bool) -> &'static [(&'static str, &'static str)] {
        match (self.is_flushed, of_kafka) {
            (false, _) => &[],
            (true, false) => &[("ottla.flush.before.ack", "true")],
            (true, true) => &[("flush.messages", "1")],
        }
    }
}

/// What fills partitions that are going to be read.
pub fn filling(row: &Row) -> Row {
    Row { connections: CONNECTIONS, ..row.clone() }
}

/// What a broker is warmed with: small and large requests, written and read.
pub fn warming() -> Vec<Row> {
    let mut rows = all();
    rows.retain(|row| row.partitions == 12 && row.acks == 1 && row.codec == Compression::None);
    assert!(rows.iter().all(|row| !row.is_flushed), "a disk needs no warming");
    rows
}

fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

fn partitions_text(count: i32) -> String {
    if count == 1 { "1 partition".into() } else { format!("{count} partitions") }
}
