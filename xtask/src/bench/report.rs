//! What was found, as a table for a person and as JSON for a program.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::generator::Measured;
use super::usage::Memory;

/// One row on one server.
pub struct Entry {
    pub row: String,
    pub server: &'static str,
    pub measured: Measured,
}

/// What a broker costs before it does anything.
pub struct Broker {
    pub server: &'static str,
    pub start_empty_ms: f64,
    pub start_again_ms: f64,
    pub idle: Memory,
    pub after: Memory,
}

/// What the ratios compare with.
pub const KAFKA: &str = "kafka";

impl Entry {
    fn records_per_s(&self) -> f64 {
        self.measured.records as f64 / self.measured.elapsed_s
    }

    fn mb_per_s(&self) -> f64 {
        self.measured.bytes as f64 / 1e6 / self.measured.elapsed_s
    }

    fn cpu_s_per_gb(&self) -> f64 {
        self.measured.broker_cpu_s * 1e9 / self.measured.bytes.max(1) as f64
    }

    fn generator_cpu_s_per_gb(&self) -> f64 {
        self.measured.generator_cpu_s * 1e9 / self.measured.bytes.max(1) as f64
    }

    fn generator_percent(&self) -> f64 {
        100.0 * self.measured.generator_cpu_s / self.measured.elapsed_s
    }

    fn latency_ms(&self, quantile: f64) -> f64 {
        self.measured.latency_us.value_at_quantile(quantile) as f64 / 1e3
    }

    /// One line of the table; `of_kafka` is the same row on Kafka.
    fn line(&self, of_kafka: Option<&Self>) -> String {
        let ratio = |own: f64, kafka: fn(&Self) -> f64| match of_kafka {
            Some(other) if self.server != KAFKA => format!("{:.2}", own / kafka(other)),
            _ => String::new(),
        };
        format!(
            "| {} | {} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} % | {} | {} | {} |",
            self.row,
            self.server,
            self.records_per_s(),
            self.mb_per_s(),
            self.latency_ms(0.5),
            self.latency_ms(0.99),
            self.latency_ms(0.999),
            self.cpu_s_per_gb(),
            self.generator_cpu_s_per_gb(),
            self.generator_percent(),
            ratio(self.records_per_s(), Self::records_per_s),
            ratio(self.cpu_s_per_gb(), Self::cpu_s_per_gb),
            ratio(self.latency_ms(0.99), |other| other.latency_ms(0.99)),
        )
    }

    fn json(&self) -> Value {
        json!({
            "row": self.row,
            "server": self.server,
            "records_per_s": self.records_per_s(),
            "mb_per_s": self.mb_per_s(),
            "p50_ms": self.latency_ms(0.5),
            "p99_ms": self.latency_ms(0.99),
            "p999_ms": self.latency_ms(0.999),
            "cpu_s_per_gb": self.cpu_s_per_gb(),
            "generator_cpu_s_per_gb": self.generator_cpu_s_per_gb(),
            "generator_cpu_percent": self.generator_percent(),
        })
    }
}

/// The tables.
pub fn markdown(brokers: &[Broker], entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("writing to a string does not fail");
    line(
        "| server | start to first acknowledged record, ms: empty | again | resident MiB: idle | after all rows | most ever |",
    );
    line("|---|---:|---:|---:|---:|---:|");
    for broker in brokers {
        line(&format!(
            "| {} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} |",
            broker.server,
            broker.start_empty_ms,
            broker.start_again_ms,
            mib(broker.idle.now),
            mib(broker.after.now),
            mib(broker.after.peak)
        ));
    }
    line("");
    line(
        "MB and GB are powers of ten, of batches as they are sent; \"/ kafka\" is the ratio to the same row on Kafka.",
    );
    line("");
    line(
        "| row | server | records/s | MB/s | p50 ms | p99 ms | p99.9 ms | CPU s/GB | generator s/GB | generator CPU | rate / kafka | CPU / kafka | p99 / kafka |",
    );
    line("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for entry in entries {
        let of_kafka = entries.iter().find(|other| other.row == entry.row && other.server == KAFKA);
        line(&entry.line(of_kafka));
    }
    text
}

/// The same for a program.
pub fn json(brokers: &[Broker], entries: &[Entry]) -> Value {
    let broker = |broker: &Broker| {
        json!({
            "server": broker.server,
            "start_empty_ms": broker.start_empty_ms,
            "start_again_ms": broker.start_again_ms,
            "idle_resident_mib": mib(broker.idle.now),
            "resident_mib": mib(broker.after.now),
            "peak_resident_mib": mib(broker.after.peak),
        })
    };
    json!({
        "brokers": brokers.iter().map(broker).collect::<Vec<_>>(),
        "rows": entries.iter().map(Entry::json).collect::<Vec<_>>(),
    })
}

/// What is said of a row while the others still run.
pub fn progress(entry: &Entry) -> String {
    format!(
        "{}: {}: {:.0} records/s, {:.1} MB/s, p99 {:.2} ms, {:.2} CPU s/GB",
        entry.row,
        entry.server,
        entry.records_per_s(),
        entry.mb_per_s(),
        entry.latency_ms(0.99),
        entry.cpu_s_per_gb()
    )
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
