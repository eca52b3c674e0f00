//! What is counted of requests, by API, and how it is told.
//!
//! ```text
//!   read --queue--> handler begins --local--> it has answered, or waits --remote--> answer --queue--> sending --send--> sent
//! ```
//!
//! Requests and errors are counted when the answer is there, times when it has left: of whoever is gone before that, no times.
//! Nothing ever waits for a thread here: in the first of the two queues is what waits for its turn, because it is large or takes
//! long, or for the memory that answers take.

use std::fmt::Display;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use ottla_protocol::{ApiKey, ErrorCode, ErrorCounts};

use super::page::{Labels, Page};
use super::spread::{Counts, History, Spread, Unit};
use crate::api::{self, Api};

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
        "Milliseconds of it that requests waited for their turn, or for memory for their answer.",
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

/// There are so many sets of counts. Where more threads handle requests, some of them share one.
const SETS: usize = 16;

/// The next thread that counts gets this set.
static NEXT_SET: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which set the thread counts in.
    static SET: usize = NEXT_SET.fetch_add(1, Ordering::Relaxed) % SETS;
}

/// The requests of all APIs. Each thread counts in a set of its own, so that none waits for what another has just written; they
/// are added up when somebody looks. In the order of [`api::answered`].
pub struct Requests {
    sets: [OnceLock<Vec<Tally>>; SETS],
    histories: Vec<Histories>,
}

/// What was seen of one API before.
#[derive(Default)]
struct Histories {
    times: [History; PARTS],
    bytes: History,
}

/// The requests of one API that one thread has counted; in cache lines that no other's is in, nor those fetched with them.
#[repr(align(128))]
struct Tally {
    /// How many were answered, by version; the last are those of versions that there are not.
    by_version: Vec<AtomicU64>,
    /// The error codes in the answers, in the order of [`ErrorCode::all`].
    errors: Vec<AtomicU64>,
    /// How many answers have left.
    left: AtomicU64,
    times: [Spread; PARTS],
    bytes: Spread,
}

/// The requests of one API that all have counted.
struct Sum {
    by_version: Vec<u64>,
    errors: Vec<u64>,
    left: u64,
    times: [Counts; PARTS],
    bytes: Counts,
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
    /// Nothing was counted yet.
    pub fn new() -> Self {
        Self { sets: Default::default(), histories: api::answered().map(|_| Histories::default()).collect() }
    }

    /// One was answered, unless it wanted no answer.
    pub fn answered(&self, trip: &Trip, version: i16, errors: Option<&ErrorCounts>) {
        self.tally(trip).answered(version, errors);
    }

    /// The answer to one has left.
    pub fn left(&self, trip: &Trip, sending: Instant, sent: Instant) {
        self.tally(trip).left(trip, sending, sent);
    }

    fn tally(&self, trip: &Trip) -> &Tally {
        let set = SET.with(|set| self.sets[*set].get_or_init(|| api::answered().map(Tally::new).collect()));
        &set[trip.place]
    }

    /// What there is of the API at `place`.
    fn sum(&self, place: usize) -> Sum {
        let mut sum = Sum {
            by_version: Vec::new(),
            errors: vec![0; ErrorCode::all().count()],
            left: 0,
            times: Default::default(),
            bytes: Counts::default(),
        };
        self.sets.iter().filter_map(OnceLock::get).for_each(|set| set[place].add_to(&mut sum));
        sum
    }

    /// Tells of all.
    pub fn gather(&self, now: Instant, page: &mut Page) {
        for (place, (api, histories)) in api::answered().zip(&self.histories).enumerate() {
            let sum = self.sum(place);
            // Who is no follower is a consumer, and there are no followers yet. Kafka counts consumers twice.
            let is_fetch = api.key == ApiKey::Fetch;
            let names = std::iter::once(api.key.name()).chain(is_fetch.then_some("FetchConsumer"));
            names.for_each(|name| sum.tell(name, histories, now, page));
            sum.tell_errors(api.key.name(), page);
        }
    }
}

impl Tally {
    fn new(api: &Api) -> Self {
        Self {
            by_version: (0..=*api.versions.end() + 1).map(|_| AtomicU64::new(0)).collect(),
            errors: ErrorCode::all().map(|_| AtomicU64::new(0)).collect(),
            left: AtomicU64::new(0),
            times: Default::default(),
            bytes: Spread::default(),
        }
    }

    fn answered(&self, version: i16, errors: Option<&ErrorCounts>) {
        let other = self.by_version.len() - 1;
        let version = usize::try_from(version).map_or(other, |version| version.min(other));
        self.by_version[version].fetch_add(1, Ordering::Relaxed);
        for (code, count) in errors.into_iter().flat_map(ErrorCounts::iter) {
            let place = usize::try_from(i32::from(code) - i32::from(ErrorCode::UnknownServerError.code()));
            if let Some(errors) = place.ok().and_then(|place| self.errors.get(place)) {
                errors.fetch_add(count.into(), Ordering::Relaxed);
            }
        }
    }

    fn left(&self, trip: &Trip, sending: Instant, sent: Instant) {
        for (spread, took) in self.times.iter().zip(trip.parts(sending, sent)) {
            spread.note(took);
        }
        self.bytes.note(trip.body_bytes.into());
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    fn add_to(&self, sum: &mut Sum) {
        let add = |to: &mut [u64], counts: &[AtomicU64]| {
            to.iter_mut().zip(counts).for_each(|(to, count)| *to += count.load(Ordering::Relaxed));
        };
        sum.by_version.resize(self.by_version.len(), 0);
        add(&mut sum.by_version, &self.by_version);
        add(&mut sum.errors, &self.errors);
        sum.left += self.left.load(Ordering::Relaxed);
        self.times.iter().zip(&mut sum.times).for_each(|(spread, counts)| spread.add_to(counts));
        self.bytes.add_to(&mut sum.bytes);
    }
}

impl Sum {
    fn tell(&self, name: &str, histories: &Histories, now: Instant, page: &mut Page) {
        let other = self.by_version.len().saturating_sub(1);
        for (version, &count) in self.by_version.iter().enumerate().filter(|(_, count)| **count > 0) {
            // A client may name any version: it is not to choose how many samples there are.
            let label: &dyn Display = if version == other { &"other" } else { &version };
            page.counter(
                "kafka_network_requestmetrics_requests_total",
                "Requests that were answered, by API and version; other: one that there is not.",
                &[("request", &name), ("version", label)],
                count,
            );
        }
        if self.left == 0 {
            return;
        }
        let labels: Labels<'_> = &[("request", &name)];
        for ((&(family, help), counts), history) in TIMES.iter().zip(&self.times).zip(&histories.times) {
            page.summary(family, help, labels, &history.quantiles(counts, now, self.left, Unit::Milliseconds));
        }
        let bytes = histories.bytes.quantiles(&self.bytes, now, self.left, Unit::Bytes);
        page.summary(BYTES.0, BYTES.1, labels, &bytes);
    }

    fn tell_errors(&self, name: &str, page: &mut Page) {
        for (error, &count) in ErrorCode::all().zip(&self.errors).filter(|(_, count)| **count > 0) {
            page.counter(
                "kafka_network_requestmetrics_errors_total",
                "Error codes in answers, by API; NONE too.",
                &[("request", &name), ("error", &error.name())],
                count,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_parts_of_a_request_are_its_whole_time() {
        let all = Requests::new();
        let place = api::answered().position(|api| api.key == ApiKey::Fetch).unwrap();
        let read = Instant::now();
        let at = |ms| read + Duration::from_millis(ms);
        let since = at(503);
        let trip = Trip { place, body_bytes: 70, queued_us: 1000, handled_us: 2000, parked_us: 500_000, since };
        all.answered(&trip, 4, None);
        all.left(&trip, at(507), at(515));
        let mut page = Page::default();
        all.gather(read, &mut page);
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

    #[test]
    fn what_each_thread_has_counted_is_added_up_and_unknown_versions_are_one() {
        let all = Requests::new();
        let place = api::answered().position(|api| api.key == ApiKey::ApiVersions).unwrap();
        let since = Instant::now();
        let trip = Trip { place, body_bytes: 8, queued_us: 0, handled_us: 1000, parked_us: 0, since };
        std::thread::scope(|scope| {
            for version in [0, 0, 4, 99, i16::MAX, -1] {
                let (all, trip) = (&all, &trip);
                scope.spawn(move || {
                    all.answered(trip, version, None);
                    all.left(trip, since, since);
                });
            }
        });
        let mut page = Page::default();
        all.gather(since, &mut page);
        let text = page.into_text();
        let wanted = ["requests_total{", "bytes_sum", "localtimems_sum", "localtimems_count"];
        let samples = text.lines().filter_map(|line| line.strip_prefix("kafka_network_requestmetrics_"));
        let samples = samples.filter(|line| wanted.iter().any(|wanted| line.contains(wanted)));
        expect_test::expect![[r#"
            localtimems_sum{request="ApiVersions"} 6
            localtimems_count{request="ApiVersions"} 6
            requestbytes_sum{request="ApiVersions"} 48
            requests_total{request="ApiVersions",version="0"} 2
            requests_total{request="ApiVersions",version="4"} 1
            requests_total{request="ApiVersions",version="other"} 3"#]]
        .assert_eq(&samples.collect::<Vec<_>>().join("\n"));
    }
}
