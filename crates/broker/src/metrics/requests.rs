//! What is counted of requests, by API, and how it is told.
//!
//! ```text
//!   read --queue--> handler begins --local--> it has answered, or waits --remote--> answer --queue--> sending --send--> sent
//! ```
//!
//! Requests and errors are counted when the answer is there, times when it has left: of whoever is gone before that, no times.
//! Nothing ever waits for a thread here, so the first of the two queues is of large requests alone, which take turns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ottla_protocol::{ApiKey, ErrorCode, ErrorCounts};

use super::page::Page;
use super::spread::{Spread, Unit};
use crate::api;

/// A request's time, and its parts.
const PARTS: usize = 6;
/// What they are called, in the order of [`Trip::parts`].
const TIMES: [(&str, &str); PARTS] = [
    (
        "kafka_network_requestmetrics_totaltimems",
        "Milliseconds from when a request was read until its answer was sent, of the last 5 to 10 minutes if looked at that \
         often.",
    ),
    (
        "kafka_network_requestmetrics_requestqueuetimems",
        "Milliseconds of it that large requests waited for their turn.",
    ),
    ("kafka_network_requestmetrics_localtimems", "Milliseconds of it in the handler."),
    (
        "kafka_network_requestmetrics_remotetimems",
        "Milliseconds of it that the request waited for records, for a group, for the controller or for a disk.",
    ),
    (
        "kafka_network_requestmetrics_responsequeuetimems",
        "Milliseconds of it that the answer waited for those before it on its connection.",
    ),
    ("kafka_network_requestmetrics_responsesendtimems", "Milliseconds of it until the answer was in the socket."),
];
/// How large they are.
const BYTES: (&str, &str) = ("kafka_network_requestmetrics_requestbytes", "Bytes of requests, without their headers.");

/// The requests of one API.
pub struct Requests {
    key: ApiKey,
    /// How many were answered, by version.
    by_version: Vec<AtomicU64>,
    /// The error codes in the answers, in the order of [`ErrorCode::all`].
    errors: Vec<AtomicU64>,
    /// How many answers have left.
    left: AtomicU64,
    times: [Spread; PARTS],
    bytes: Spread,
}

/// A request on its way through the broker.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// In [`api::answered`].
    pub(super) place: usize,
    body_bytes: u32,
    /// How long it waited for its handler, was handled, and waited then, in microseconds.
    queued_us: u32,
    handled_us: u32,
    parked_us: u32,
    /// Since when the answer is there; before that, when what is under way began.
    since: Instant,
}

impl Trip {
    /// A request to the API at `place` in the list, which is there since `read` and is handled from now on.
    pub fn begin(place: usize, body_bytes: usize, read: Instant) -> Self {
        let body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        let since = Instant::now();
        Self { place, body_bytes, queued_us: micros(read, since), handled_us: 0, parked_us: 0, since }
    }

    /// Its handler is done. The answer is there, unless it has to wait.
    #[must_use]
    pub fn handled(self) -> Self {
        let now = Instant::now();
        Self { handled_us: micros(self.since, now), since: now, ..self }
    }

    /// The answer is there for which it waited.
    #[must_use]
    pub fn ready(self) -> Self {
        let now = Instant::now();
        Self { parked_us: micros(self.since, now), since: now, ..self }
    }

    /// Since when the answer is there.
    pub fn is_ready_since(&self) -> Instant {
        self.since
    }

    /// How many microseconds each part took of one whose answer was sent from `sending` to `sent`.
    fn parts(&self, sending: Instant, sent: Instant) -> [u64; PARTS] {
        let parts =
            [self.queued_us, self.handled_us, self.parked_us, micros(self.since, sending), micros(sending, sent)];
        let [queued, handled, parked, queued_answer, sent] = parts.map(u64::from);
        [queued + handled + parked + queued_answer + sent, queued, handled, parked, queued_answer, sent]
    }
}

/// More than an hour is told as one.
fn micros(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u32::MAX)
}

impl Requests {
    /// Of all APIs, in the order of [`api::answered`].
    pub fn of_all() -> Vec<Self> {
        let requests = api::answered().map(|api| Self {
            key: api.key,
            by_version: (0..=*api.versions.end()).map(|_| AtomicU64::new(0)).collect(),
            errors: ErrorCode::all().map(|_| AtomicU64::new(0)).collect(),
            left: AtomicU64::new(0),
            times: Default::default(),
            bytes: Spread::default(),
        });
        requests.collect()
    }

    /// One was answered, unless it wanted no answer.
    pub fn answered(&self, version: i16, errors: Option<&ErrorCounts>) {
        if let Some(count) = usize::try_from(version).ok().and_then(|version| self.by_version.get(version)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        for (code, count) in errors.into_iter().flat_map(ErrorCounts::iter) {
            let place = usize::try_from(i32::from(code) - i32::from(ErrorCode::UnknownServerError.code()));
            if let Some(errors) = place.ok().and_then(|place| self.errors.get(place)) {
                errors.fetch_add(count.into(), Ordering::Relaxed);
            }
        }
    }

    /// The answer to one has left.
    pub fn left(&self, trip: &Trip, sending: Instant, sent: Instant) {
        for (spread, took) in self.times.iter().zip(trip.parts(sending, sent)) {
            spread.note(took);
        }
        self.bytes.note(trip.body_bytes.into());
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    fn tell(&self, name: &str, now: Instant, page: &mut Page) {
        for (version, count) in self.by_version.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                page.counter(
                    "kafka_network_requestmetrics_requests_total",
                    "Requests that were answered, by API and version.",
                    &[("request", &name), ("version", &version)],
                    count,
                );
            }
        }
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return;
        }
        for (&(family, help), spread) in TIMES.iter().zip(&self.times) {
            page.summary(family, help, &[("request", &name)], &spread.quantiles(now, left, Unit::Milliseconds));
        }
        page.summary(BYTES.0, BYTES.1, &[("request", &name)], &self.bytes.quantiles(now, left, Unit::Bytes));
    }

    fn tell_errors(&self, page: &mut Page) {
        for (error, count) in ErrorCode::all().zip(&self.errors) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                page.counter(
                    "kafka_network_requestmetrics_errors_total",
                    "Error codes in answers, by API; NONE too.",
                    &[("request", &self.key.name()), ("error", &error.name())],
                    count,
                );
            }
        }
    }
}

/// Tells of all.
pub fn gather(all: &[Requests], now: Instant, page: &mut Page) {
    for requests in all {
        // Who is no follower is a consumer, and there are no followers yet. Kafka counts consumers twice.
        let is_fetch = requests.key == ApiKey::Fetch;
        let names = std::iter::once(requests.key.name()).chain(is_fetch.then_some("FetchConsumer"));
        names.for_each(|name| requests.tell(name, now, page));
    }
    all.iter().for_each(|requests| requests.tell_errors(page));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_parts_of_a_request_are_its_whole_time() {
        let all = Requests::of_all();
        let place = all.iter().position(|requests| requests.key == ApiKey::Fetch).unwrap();
        let read = Instant::now();
        let at = |ms| read + Duration::from_millis(ms);
        let since = at(503);
        let trip = Trip { place, body_bytes: 70, queued_us: 1000, handled_us: 2000, parked_us: 500_000, since };
        all[place].answered(4, None);
        all[place].left(&trip, at(507), at(515));
        let mut page = Page::default();
        gather(&all, read, &mut page);
        let text = page.into_text();
        let sums = text.lines().filter(|line| line.contains("_sum{request=\"Fetch\"}"));
        expect_test::expect![[r#"
            kafka_network_requestmetrics_localtimems_sum{request="Fetch"} 2
            kafka_network_requestmetrics_remotetimems_sum{request="Fetch"} 500
            kafka_network_requestmetrics_requestbytes_sum{request="Fetch"} 70
            kafka_network_requestmetrics_requestqueuetimems_sum{request="Fetch"} 1
            kafka_network_requestmetrics_responsequeuetimems_sum{request="Fetch"} 4
            kafka_network_requestmetrics_responsesendtimems_sum{request="Fetch"} 8
            kafka_network_requestmetrics_totaltimems_sum{request="Fetch"} 515"#]]
        .assert_eq(&sums.collect::<Vec<_>>().join("\n"));
        assert!(
            text.contains("kafka_network_requestmetrics_remotetimems_count{request=\"FetchConsumer\"} 1\n"),
            "{text}"
        );
        assert!(!text.contains("request=\"Produce\""), "{text}");
    }
}
