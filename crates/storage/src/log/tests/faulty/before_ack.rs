//! Flushes that many appends share, and power cuts that take everything back which no fsync has covered.
//!
//! ```text
//!   append .. begin flush .. append .. run .. append .. finish: what was there when it began is acknowledged
//! ```
//!
//! With `ottla.flush.before.ack` nothing that was acknowledged is lost. Without it, what no fsync has covered is, and that is
//! the log's end: there is never a hole.

use ottla_base::Random;
use ottla_protocol::records::Batches;

use super::super::*;
use super::seeds;
use crate::os::simulated::{self, Inserted};

const STEPS: usize = 80;

/// A log, and what its producers were told.
struct World {
    _disk: Inserted,
    fixture: Fixture,
    random: Random,
    log: Option<Log>,
    /// Up to where producers were told that all is safe.
    acknowledged: Offset,
    /// Where the log ended when an fsync last ran: nothing behind can be on the disk.
    synced: Offset,
    flush: Option<Flushing>,
    /// How many records the power cuts took.
    lost: i64,
}

enum Flushing {
    Begun(Flush),
    Ran(Flush, Result<()>),
}

impl World {
    fn new(seed: u64, flush_before_ack: bool) -> Self {
        let mut random = Random::new(seed);
        let memory = Path::new("/dev/shm");
        let folder = if memory.exists() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let config = LogConfig {
            flush_before_ack,
            preallocate: random.below(4) == 0,
            index_interval_bytes: [0, 300][random.below(2) as usize],
            ..small_segments([400, 1500, 20_000][random.below(3) as usize])
        };
        let disk = simulated::insert(folder.path(), random.next_u64());
        let fixture = Fixture { folder, config };
        let log = Some(fixture.open(true, 0).0);
        let (acknowledged, synced) = (Offset(0), Offset(0));
        Self { _disk: disk, fixture, random, log, acknowledged, synced, flush: None, lost: 0 }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("it is open between two power cuts")
    }

    fn step(&mut self) {
        match self.random.below(32) {
            0..16 => {
                let made = Made::sized(1 + self.random.below(4) as usize, self.random.below(300) as usize);
                append(self.log(), &made);
                assert_eq!(self.log().owes_flush(), self.fixture.config.flush_before_ack);
            }
            16..29 => self.flush_on(),
            29 | 30 => self.log().roll(0).unwrap(),
            _ => self.lose_power(),
        }
    }

    /// The next part of a flush: the parts of one may lie far apart.
    fn flush_on(&mut self) {
        self.flush = match self.flush.take() {
            None => Some(Flushing::Begun(self.log().begin_flush().unwrap())),
            Some(Flushing::Begun(flush)) => {
                self.synced = self.log().end_offset();
                let ran = flush.run();
                Some(Flushing::Ran(flush, ran))
            }
            Some(Flushing::Ran(flush, ran)) => {
                self.log().finish_flush(&flush, ran, 0).unwrap();
                self.acknowledged = self.log().flushed_offset();
                None
            }
        };
    }

    fn lose_power(&mut self) {
        let (end, before) = (self.log().end_offset(), batches(self.log()));
        (self.log, self.flush) = (None, None);
        simulated::with(|disk| disk.lose_unsynced());
        self.log = Some(self.fixture.open(false, 0).0);
        let (left, after) = (self.log().end_offset(), batches(self.log()));
        let Self { acknowledged, synced, .. } = *self;
        assert!(left >= acknowledged, "the log ends at {left}, and all up to {acknowledged} was acknowledged");
        assert!(left <= synced, "the log ends at {left}, and nothing behind {synced} was on the disk");
        assert!(before.starts_with(&after), "what is left is the beginning of what was there");
        self.lost += end.0 - left.0;
        // What a start finds is not acknowledged to anybody before it is flushed.
        self.log().flush(0).unwrap();
        (self.acknowledged, self.synced) = (left, left);
    }
}

/// All batches, with the offsets they begin at; there is no gap between them.
pub fn batches(log: &Log) -> Vec<(Offset, Vec<u8>)> {
    let (mut all, mut from) = (Vec::new(), log.start_offset());
    while from < log.end_offset() {
        let bytes = bytes_of(&log.read(from, u32::MAX, log.end_offset(), true).unwrap());
        for batch in Batches::new(&bytes) {
            let batch = batch.unwrap();
            assert_eq!(batch.header().base_offset, from, "a hole");
            from = batch.header().next_offset();
            all.push((batch.header().base_offset, batch.bytes().to_vec()));
        }
    }
    all
}

/// Lives through the seeds, and says how many records were lost.
fn live(flush_before_ack: bool) -> i64 {
    let mut lost = 0;
    for seed in seeds() {
        let mut world = World::new(seed, flush_before_ack);
        for _ in 0..STEPS {
            world.step();
        }
        world.lose_power();
        lost += world.lost;
    }
    lost
}

#[test]
fn nothing_that_was_acknowledged_after_a_flush_is_lost() {
    live(true);
}

#[test]
fn without_that_exactly_the_unsynced_end_is_lost() {
    assert!(live(false) > 0);
}
