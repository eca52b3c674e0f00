//! What an operator can look at: `/metrics` in Prometheus text, `/health/live`, `/health/ready`.
//!
//! ```text
//!   request, batch --> a few atomic counters       (here, traffic.rs, times.rs; nothing per record)
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
mod times;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_protocol::{ApiKey, ErrorCode, ErrorCounts};

use self::pages::Pages;
use self::times::Times;
use crate::api;

pub use traffic::Traffic;

/// What is counted on the way of requests.
pub struct Metrics {
    /// In the order of [`api::answered`].
    requests: Vec<Requests>,
    /// Offsets that groups have committed.
    commits: AtomicU64,
    /// Held by whoever makes a page.
    gathering: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever looks whether the broker is ready.
    looking: Arc<tokio::sync::Mutex<()>>,
    pages: Pages,
}

/// The requests of one API.
struct Requests {
    key: ApiKey,
    /// How many were answered, by version.
    by_version: Vec<AtomicU64>,
    /// The error codes in the answers, in the order of [`ErrorCode::all`].
    errors: Vec<AtomicU64>,
    /// How long they took.
    times: Times,
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        let requests = api::answered().map(|api| Requests {
            key: api.key,
            by_version: (0..=*api.versions.end()).map(|_| AtomicU64::new(0)).collect(),
            errors: ErrorCode::all().map(|_| AtomicU64::new(0)).collect(),
            times: Times::new(),
        });
        Self {
            requests: requests.collect(),
            commits: AtomicU64::new(0),
            gathering: Arc::default(),
            looking: Arc::default(),
            pages: Pages::default(),
        }
    }

    /// Groups have committed so many offsets more.
    pub fn committed(&self, offsets: usize) {
        self.commits.fetch_add(offsets as u64, Ordering::Relaxed);
    }

    /// A request of the API at `place` in the list was answered, unless it wanted no answer.
    pub fn answered(&self, place: usize, version: i16, took: Duration, errors: Option<&ErrorCounts>) {
        let requests = &self.requests[place];
        if let Some(count) = usize::try_from(version).ok().and_then(|version| requests.by_version.get(version)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        for (code, count) in errors.into_iter().flat_map(ErrorCounts::iter) {
            let place = usize::try_from(i32::from(code) - i32::from(ErrorCode::UnknownServerError.code()));
            if let Some(errors) = place.ok().and_then(|place| requests.errors.get(place)) {
                errors.fetch_add(count.into(), Ordering::Relaxed);
            }
        }
        requests.times.note(took);
    }
}
