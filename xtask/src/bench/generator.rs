//! The load: threads with a connection each, who send what was built before and count what comes back.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::connection::Connection;
use super::frames::{self, Batch};
use super::row::{Kind, Row};
use super::usage;
use crate::Fallible;

/// Load before counting begins, so that all connections are at work.
const SETTLE: Duration = Duration::from_millis(1000);
/// A rate at which every request is due at once.
const UNLIMITED_PER_S: f64 = 1e12;
/// So many requests with acks 0 are followed by one with acks 1.
const UNANSWERED: usize = 15;
/// The longest latency that is told apart from longer ones.
const MAX_LATENCY_US: u64 = 60_000_000;

/// What was counted in the time between `SETTLE` and the end.
pub struct Measured {
    pub records: u64,
    pub bytes: u64,
    pub elapsed_s: f64,
    /// In microseconds; of requests, or of batches that a follower received.
    pub latency_us: Histogram<u64>,
    /// Processor seconds that the broker and this process used.
    pub broker_cpu_s: f64,
    pub generator_cpu_s: f64,
}

/// When to count, and until when to send.
#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

/// What one thread counted.
struct Count {
    records: u64,
    bytes: u64,
    latency_us: Histogram<u64>,
    window: Window,
}

/// Runs `row` for `seconds` against the broker at `address`, whose process is `pid`.
pub fn run(row: &Row, topic: &str, address: &str, pid: u32, seconds: u64) -> Fallible<Measured> {
    let batch = &row.batch()?;
    let open = || Connection::open(address);
    let connections: Vec<Connection> = (0..row.connections).map(|_| open()).collect::<io::Result<_>>()?;
    let start = Instant::now() + SETTLE;
    let window = Window { start, end: start + Duration::from_secs(seconds) };
    let counts = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let done = |result: io::Result<Count>| match result {
        Ok(count) => counts.lock().expect("no thread panics with it").push(count),
        Err(error) => failures.lock().expect("no thread panics with it").push(error),
    };
    let mut cpu = [(0.0, 0.0); 2];
    thread::scope(|scope| -> Fallible<()> {
        for (connection, index) in connections.into_iter().zip(0..) {
            let work = Work { row, topic, batch, index, window };
            match row.kind {
                Kind::Produce { in_flight } => {
                    scope.spawn(move || done(work.produce(connection, in_flight)));
                }
                Kind::ProduceAtRate { per_s } => {
                    scope.spawn(move || done(work.produce_when_due(connection, per_s, work.requests_until_end(per_s))));
                }
                Kind::CatchUp => {
                    scope.spawn(move || done(work.catch_up(connection)));
                }
                Kind::Follow { per_s } => {
                    let consumer = open()?;
                    scope.spawn(move || done(work.follow(consumer, per_s)));
                    // What the producers count is the same load once more.
                    scope.spawn(move || {
                        if let Err(error) = work.produce_when_due(connection, per_s, work.requests_until_end(per_s)) {
                            done(Err(error));
                        }
                    });
                }
            }
        }
        for (at, cpu) in [window.start, window.end].into_iter().zip(&mut cpu) {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            *cpu = (usage::cpu_s(pid)?, usage::cpu_s(std::process::id())?);
        }
        Ok(())
    })?;
    if let Some(error) = failures.into_inner().expect("no thread panics with it").into_iter().next() {
        return Err(format!("{}: {error}", row.name).into());
    }
    let mut measured = Measured {
        records: 0,
        bytes: 0,
        elapsed_s: seconds as f64,
        latency_us: histogram(),
        broker_cpu_s: cpu[1].0 - cpu[0].0,
        generator_cpu_s: cpu[1].1 - cpu[0].1,
    };
    for count in counts.into_inner().expect("no thread panics with it") {
        measured.records += count.records;
        measured.bytes += count.bytes;
        measured.latency_us.add(count.latency_us)?;
    }
    Ok(measured)
}

/// Writes about so many bytes to the partitions of `row`, as fast as the broker takes them.
pub fn fill(row: &Row, topic: &str, address: &str, bytes: u64) -> Fallible<()> {
    let batch = &row.batch()?;
    let now = Instant::now();
    let requests = bytes / batch.bytes.len() as u64 / row.connections as u64;
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..row.connections)
            .map(|index| {
                let work = Work { row, topic, batch, index, window: Window { start: now, end: now } };
                scope.spawn(move || work.produce_when_due(Connection::open(address)?, UNLIMITED_PER_S, requests as u32))
            })
            .collect();
        for filler in fillers {
            filler.join().expect("filling does not panic")?;
        }
        Ok(())
    })
}

/// What one connection does.
#[derive(Clone, Copy)]
struct Work<'r> {
    row: &'r Row,
    topic: &'r str,
    batch: &'r Batch,
    /// Which connection it is.
    index: usize,
    window: Window,
}

impl Work<'_> {
    /// The partitions of this connection: every so many-th; all connections share one if there are too few.
    fn partitions(&self) -> Vec<i32> {
        let all = self.row.partitions;
        let own: Vec<_> = (0..all).skip(self.index).step_by(self.row.connections).collect();
        if own.is_empty() { vec![self.index as i32 % all] } else { own }
    }

    fn produce_requests(&self) -> Vec<Burst> {
        let request = |partition| Burst::new(self.topic, partition, self.row.acks, self.batch);
        self.partitions().into_iter().map(request).collect()
    }

    fn produce(&self, mut connection: Connection, in_flight: usize) -> io::Result<Count> {
        let mut requests = self.produce_requests();
        let mut count = Count::new(self.window);
        let mut sent = VecDeque::with_capacity(in_flight);
        let (mut next, mut answered) = (0_u32, 0_u32);
        loop {
            while sent.len() < in_flight && Instant::now() < self.window.end {
                let which = next as usize % requests.len();
                sent.push_back((Instant::now(), requests[which].batches));
                connection.send(requests[which].numbered(next))?;
                next = next.wrapping_add(1);
            }
            let Some((sent, batches)) = sent.pop_front() else { return Ok(count) };
            check_answer(connection.receive()?, answered)?;
            answered = answered.wrapping_add(1);
            count.add(sent, Instant::now(), batches, self.batch);
        }
    }

    /// One thread sends when a request is due, whether or not the last one was answered; this one receives.
    fn produce_when_due(&self, mut connection: Connection, per_s: f64, total: u32) -> io::Result<Count> {
        let mut requests = self.produce_requests();
        let batches = requests[0].batches;
        let mut count = Count::new(self.window);
        let mut sender = connection.sender()?;
        thread::scope(|scope| {
            let sending = scope.spawn(move || -> io::Result<()> {
                for number in 0..total {
                    thread::sleep(self.due(number, per_s).saturating_duration_since(Instant::now()));
                    let which = number as usize % requests.len();
                    sender.send(requests[which].numbered(number))?;
                }
                Ok(())
            });
            for number in 0..total {
                check_answer(connection.receive()?, number)?;
                count.add(self.due(number, per_s), Instant::now(), batches, self.batch);
            }
            sending.join().expect("sending does not panic")?;
            Ok(count)
        })
    }

    /// Each connection reads all its partitions with every request, from where the last answer ended.
    fn catch_up(&self, mut connection: Connection) -> io::Result<Count> {
        let mut count = Count::new(self.window);
        let mut reading = Reading::new(self, self.partitions(), AtEnd::Rewind);
        while Instant::now() < self.window.end {
            let sent = Instant::now();
            let batches = reading.next(&mut connection, |_, _| ())?;
            count.add(sent, Instant::now(), batches, self.batch);
        }
        Ok(count)
    }

    /// Reads what the connection of the same number produces, and knows when each batch was due.
    fn follow(&self, mut connection: Connection, per_s: f64) -> io::Result<Count> {
        let partitions = self.partitions();
        let each = partitions.len() as u64;
        let total = u64::from(self.requests_until_end(per_s));
        let mut count = Count::new(self.window);
        let mut reading = Reading::new(self, partitions, AtEnd::Wait);
        let mut read = 0;
        while read < total {
            read += reading.next(&mut connection, |place, batch| {
                let number = batch * each + place as u64;
                count.add(self.due(number as u32, per_s), Instant::now(), 1, self.batch);
            })?;
        }
        Ok(count)
    }

    /// When this connection's request of that number is to be sent; the connections take turns.
    fn due(&self, number: u32, per_s: f64) -> Instant {
        let turn = f64::from(number) * self.row.connections as f64 + self.index as f64;
        self.window.start - SETTLE + Duration::from_secs_f64(turn / per_s)
    }

    fn requests_until_end(&self, per_s: f64) -> u32 {
        let all = (self.window.end - self.window.start + SETTLE).as_secs_f64() * per_s;
        (all / self.row.connections as f64) as u32
    }
}

/// A Produce request; or several that are not answered, and behind them one that is, so that it is known what was written.
struct Burst {
    bytes: Vec<u8>,
    answered_at: usize,
    batches: u64,
}

impl Burst {
    fn new(topic: &str, partition: i32, acks: i16, batch: &Batch) -> Self {
        let frame = |acks| frames::produce(topic, partition, acks, batch);
        let (unanswered, mut bytes, acks) = match acks {
            0 => (UNANSWERED, frame(0).repeat(UNANSWERED), 1),
            acks => (0, Vec::new(), acks),
        };
        let answered_at = bytes.len();
        bytes.extend(frame(acks));
        Self { bytes, answered_at, batches: unanswered as u64 + 1 }
    }

    fn numbered(&mut self, number: u32) -> &[u8] {
        frames::set_correlation(&mut self.bytes[self.answered_at..], number);
        &self.bytes
    }
}

/// A consumer's position in several partitions of a topic whose batches are all alike.
struct Reading<'r> {
    request: Vec<u8>,
    partitions: Vec<i32>,
    /// How many batches of each partition were read.
    positions: Vec<u64>,
    batch: &'r Batch,
    at_end: AtEnd,
}

/// What a consumer does when it has read a partition to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    Wait,
    Rewind,
}

impl<'r> Reading<'r> {
    fn new(work: &Work<'r>, partitions: Vec<i32>, at_end: AtEnd) -> Self {
        let request = frames::fetch(work.topic, &partitions);
        Self { request, positions: vec![0; partitions.len()], partitions, batch: work.batch, at_end }
    }

    /// One fetch; calls `each` with the place of the partition and the number of the batch in it.
    fn next(&mut self, connection: &mut Connection, mut each: impl FnMut(usize, u64)) -> io::Result<u64> {
        for (place, position) in self.positions.iter().enumerate() {
            frames::set_fetch_offset(&mut self.request, self.positions.len(), place, position * self.batch.records);
        }
        connection.send(&self.request)?;
        let mut batches = 0;
        let (partitions, positions, at_end) = (&self.partitions, &mut self.positions, self.at_end);
        let Batch { bytes, records } = self.batch;
        connection.receive_fetch(|fetched| {
            let Some(place) = partitions.iter().position(|one| *one == fetched.partition) else { return };
            // The last batch may be cut off.
            let whole = fetched.records_bytes / bytes.len() as u64;
            (positions[place]..positions[place] + whole).for_each(|number| each(place, number));
            positions[place] += whole;
            batches += whole;
            if at_end == AtEnd::Rewind && positions[place] * records >= fetched.high_watermark {
                positions[place] = 0;
            }
        })?;
        Ok(batches)
    }
}

impl Count {
    fn new(window: Window) -> Self {
        Self { records: 0, bytes: 0, latency_us: histogram(), window }
    }

    fn add(&mut self, begun: Instant, ended: Instant, batches: u64, batch: &Batch) {
        if ended < self.window.start || ended >= self.window.end {
            return;
        }
        self.records += batches * batch.records;
        self.bytes += batches * batch.bytes.len() as u64;
        let latency_us = ended.saturating_duration_since(begun).as_micros() as u64;
        self.latency_us.saturating_record(latency_us.max(1));
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).expect("the bounds are in order")
}

fn check_answer(answer: &[u8], expected: u32) -> io::Result<()> {
    if frames::correlation(answer)? != expected {
        return Err(io::Error::other("answers came out of order"));
    }
    frames::check_produced(answer)
}
