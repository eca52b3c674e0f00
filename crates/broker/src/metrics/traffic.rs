//! What came into partitions and went out of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters; nothing is counted twice, and nothing per record.
#[derive(Debug, Default)]
pub struct Traffic {
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    failed_produce_requests: AtomicU64,
    failed_fetch_requests: AtomicU64,
}

/// What they stand at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records appended.
    pub messages_in: u64,
    /// Bytes appended.
    pub bytes_in: u64,
    /// Bytes read by consumers.
    pub bytes_out: u64,
    /// Batches of clients that were refused.
    pub failed_produce_requests: u64,
    /// Reads that failed though nothing was wrong with them.
    pub failed_fetch_requests: u64,
}

impl Traffic {
    /// A batch was appended.
    pub fn came(&self, messages: u64, bytes: u64) {
        self.messages_in.fetch_add(messages, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Records are on their way to a consumer.
    pub fn went(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A batch was refused.
    pub fn failed(&self) {
        self.failed_produce_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A read failed though nothing was wrong with it.
    pub fn failed_to_read(&self) {
        self.failed_fetch_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        Totals {
            messages_in: self.messages_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            failed_produce_requests: self.failed_produce_requests.load(Ordering::Relaxed),
            failed_fetch_requests: self.failed_fetch_requests.load(Ordering::Relaxed),
        }
    }

    /// Takes over what was counted for a partition that is gone.
    pub fn add(&self, totals: Totals) {
        self.came(totals.messages_in, totals.bytes_in);
        self.went(totals.bytes_out);
        self.failed_produce_requests.fetch_add(totals.failed_produce_requests, Ordering::Relaxed);
        self.failed_fetch_requests.fetch_add(totals.failed_fetch_requests, Ordering::Relaxed);
    }
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            messages_in: self.messages_in + other.messages_in,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
            failed_produce_requests: self.failed_produce_requests + other.failed_produce_requests,
            failed_fetch_requests: self.failed_fetch_requests + other.failed_fetch_requests,
        }
    }
}
