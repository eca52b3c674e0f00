//! What an operator can look at: `/metrics` in Prometheus text, `/health/live`, `/health/ready`.
//!
//! ```text
//!   request, batch --> a few atomic counters       (here, traffic.rs, requests.rs; nothing per record)
//!   scrape --------> asks partitions, logs, groups (gather.rs, groups.rs) --> text (page.rs) --> http.rs
//! ```
//!
//! Names are Kafka's own: those of its MBeans as the usual exporter rules write them, `kafka.server:type=BrokerTopicMetrics,
//! name=BytesInPerSec,topic=t` as `kafka_server_brokertopicmetrics_bytesin_total{topic="t"}`. Those of groups' lag, which
//! Kafka's brokers do not have, are the ones of the exporter that most dashboards are made for.

mod gather;
mod groups;
pub mod http;
mod page;
mod pages;
mod process;
mod requests;
mod spread;
pub mod traffic;

use std::sync::Arc;
use std::time::Instant;

use ottla_protocol::ErrorCounts;

use self::pages::Pages;
use self::requests::Requests;
pub use self::requests::Trip;
pub use self::traffic::{Totals, Traffic};

/// What is counted on the way of requests.
pub struct Metrics {
    requests: Requests,
    /// Held by whoever makes a page.
    gathering: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever looks whether the broker is ready.
    looking: Arc<tokio::sync::Mutex<()>>,
    pages: Pages,
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self { requests: Requests::new(), gathering: Arc::default(), looking: Arc::default(), pages: Pages::default() }
    }

    /// A request was answered, unless it wanted no answer.
    pub fn answered(&self, trip: &Trip, version: i16, errors: Option<&ErrorCounts>) {
        self.requests.answered(trip, version, errors);
    }

    /// Its answer was sent from `sending` to `sent`.
    pub fn left(&self, trip: &Trip, sending: Instant, sent: Instant) {
        self.requests.left(trip, sending, sent);
    }
}
