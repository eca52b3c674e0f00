//! Random histories of a partition that is written to, deleted from, moved between two directories and killed at any step, against
//! a plain list of what is in it. More of them, or one again:
//! `OTTLA_MOVE_SEEDS=0..2000 cargo test -p ottla-broker move_histories` or `OTTLA_MOVE_SEEDS=4711 ...`.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use ottla_base::Random;
use ottla_protocol::records::batch::Batches;

use super::super::moving::{Copied, Finished};
use super::*;

const SEEDS: Range<u64> = 0..40;
const SEEDS_VARIABLE: &str = "OTTLA_MOVE_SEEDS";
const STEPS: usize = 120;

fn seeds() -> Range<u64> {
    let Ok(wanted) = std::env::var(SEEDS_VARIABLE) else { return SEEDS };
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{SEEDS_VARIABLE}={wanted} is no range of seeds"));
    match wanted.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&wanted)..number(&wanted) + 1,
    }
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    first: Offset,
    last: Offset,
    crc: u32,
}

struct World {
    folder: tempfile::TempDir,
    random: Random,
    life: i32,
    all: Option<Arc<Partitions>>,
    partition: Option<Arc<Partition>>,
    batches: VecDeque<Known>,
    end: Offset,
    start: Offset,
    /// It was written down that the log starts here, if not later.
    start_on_disk: Offset,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut this = Self {
            folder: tempfile::tempdir().unwrap(),
            random: Random::new(seed),
            life: 0,
            all: None,
            partition: None,
            batches: VecDeque::new(),
            end: Offset(0),
            start: Offset(0),
            start_on_disk: Offset(0),
        };
        one_record_in_b(this.folder.path());
        this.start();
        let found = this.found();
        (this.end, this.batches) = (Offset(1), found.into());
        this
    }

    fn all(&self) -> &Arc<Partitions> {
        self.all.as_ref().unwrap()
    }

    fn partition(&self) -> &Arc<Partition> {
        self.partition.as_ref().unwrap()
    }

    fn start(&mut self) {
        let folder = self.folder.path();
        let all = in_two_directories(folder).unwrap();
        let (mut topic, settings) = topic(folder);
        self.life += 1;
        let led = ottla_metadata::image::Partition { leader_epoch: LeaderEpoch(self.life), ..registration() };
        topic.partitions.insert(PartitionIndex(0), Arc::new(led));
        all.host(&topic, &settings, 0).unwrap();
        let partition = all.find("t", 0).unwrap();
        partition.configure(settings, LogConfig { segment_bytes: 500, ..LogConfig::default() });
        (self.all, self.partition) = (Some(Arc::new(all)), Some(partition));
    }

    /// The process dies; sometimes the machine is started anew, and all that was written is on the disk nevertheless.
    fn kill(&mut self) {
        (self.partition, self.all) = (None, None);
        if self.random.below(3) == 0 {
            for name in ["a", "b"] {
                _ = fs::remove_file(self.folder.path().join(name).join("ottla-boot"));
            }
        }
        self.start();
        let start = self.partition().positions().log_start;
        assert!(start >= self.start_on_disk, "{start} < {}: what was deleted is back", self.start_on_disk);
        assert!(start <= self.start, "{start} > {}: records are lost", self.start);
        self.start = start;
    }

    fn step(&mut self) {
        let (all, partition) = (self.all().clone(), self.partition().clone());
        match self.random.below(14) {
            0..4 => {
                let count = 1 + self.random.below(4);
                let batch = (0..count).fold(BatchBuilder::new(), |batch, _| one_record(batch));
                let placed = append(&partition, &batch).unwrap();
                assert_eq!(placed.base_offset, self.end);
                let crc = Batch::parse(&batch.build().unwrap()).unwrap().0.header().crc;
                self.end = placed.next_offset;
                self.batches.push_back(Known { first: placed.base_offset, last: Offset(self.end.0 - 1), crc });
            }
            4 => {
                let to = self.start.plus(self.random.below((self.end.0 - self.start.0 + 1) as u64) as i64);
                self.start = partition.delete_records(Some(to)).unwrap();
                if self.random.below(2) == 0 {
                    partition.with_log(|log, high_watermark| log.delete_excess(0, high_watermark)).unwrap();
                }
            }
            5 => {
                write_checkpoints(&all);
                self.start_on_disk = self.start;
            }
            6..8 => {
                let target = all.directories()[self.random.below(2) as usize].clone();
                all.move_to(&partition, &target, 0).unwrap();
            }
            8..11 => _ = partition.copy_some(0).unwrap(),
            11 => {
                let copied = partition.copy_some(0).unwrap();
                if copied == Copied::All {
                    all.finish_move(&partition, 0, |_| ()).unwrap();
                }
            }
            12 => {
                // Killed between the two renames, where it comes so far.
                let note = |to: &Directory| checkpoints::note_arrival(to, &partition.name, self.start);
                if partition.copy_some(0).unwrap() == Copied::All
                    && let Finished::Moved(moved) = partition.finish_move(0, note).unwrap()
                {
                    drop(moved);
                }
                drop((partition, all));
                self.kill();
            }
            _ if self.random.below(3) == 0 => {
                drop((partition, all));
                self.kill();
            }
            _ => all.purge_doomed(i64::MAX).unwrap(),
        }
    }

    /// All batches that can be read.
    fn found(&self) -> Vec<Known> {
        let (partition, mut found) = (self.partition(), Vec::new());
        let mut next = partition.positions().log_start;
        while let Some(slice) = read_from(partition, Reader::Uncommitted, next.0).slice {
            let mut bytes = vec![0; slice.length as usize];
            slice.file.read_exact_at(&mut bytes, slice.position).unwrap();
            for batch in Batches::new(&bytes).map_while(Result::ok) {
                let header = batch.header();
                let last = Offset(header.base_offset.0 + i64::from(header.last_offset_delta));
                found.push(Known { first: header.base_offset, last, crc: header.crc });
                next = last.plus(1);
            }
        }
        found
    }

    fn check(&mut self) {
        let positions = self.partition().positions();
        assert_eq!((positions.log_start, positions.log_end), (self.start, self.end));
        while self.batches.front().is_some_and(|batch| batch.last < self.start_on_disk) {
            self.batches.pop_front();
        }
        let expected = self.batches.iter().filter(|batch| batch.last >= self.start).copied();
        assert_eq!(self.found(), expected.collect::<Vec<_>>());
    }
}

#[test]
fn whatever_happens_on_the_way_a_partition_has_what_was_written_and_not_what_was_deleted() {
    for seed in seeds() {
        // Shown where one fails.
        println!("{SEEDS_VARIABLE}={seed}");
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
            world.check();
        }
    }
}
