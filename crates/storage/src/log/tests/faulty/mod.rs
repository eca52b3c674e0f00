//! The log on a disk that forgets and fails, against a plain list of batches, from a seed.
//!
//! Each seed is one life of a log: batches of several producers, transactions, reads, rolls, flushes, retention,
//! truncation; calls that fail, a full disk, kills and power cuts between two calls, in a start too. After each step, and
//! after each start, the log is compared with what it was told ([`history`]).
//!
//! Some hundred seeds are part of every run. For more, or for one again:
//! `OTTLA_DISK_SEEDS=0..20000 cargo test -p ottla-storage faulty` or `OTTLA_DISK_SEEDS=4711 ...`.

mod before_ack;
mod compaction;
mod found;
mod history;
mod truncation;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::World;

const SEEDS: Range<u64> = 0..200;
const STEPS: usize = 60;
const SEEDS_VARIABLE: &str = "OTTLA_DISK_SEEDS";

fn seeds() -> Range<u64> {
    let Ok(wanted) = std::env::var(SEEDS_VARIABLE) else { return SEEDS };
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{SEEDS_VARIABLE}={wanted} is no range of seeds"));
    match wanted.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&wanted)..number(&wanted) + 1,
    }
}

/// Lives through one seed; what was done goes to `steps`.
fn live(seed: u64, steps: &mut Vec<String>) -> String {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step(steps);
    }
    world.end(steps);
    world.files()
}

#[test]
fn a_log_keeps_its_word_on_a_faulty_disk() {
    for seed in seeds() {
        let mut steps = Vec::new();
        let lived = catch_unwind(AssertUnwindSafe(|| live(seed, &mut steps)));
        if let Err(panic) = lived {
            eprintln!("{}\n", steps.join("\n"));
            eprintln!("again: {SEEDS_VARIABLE}={seed} cargo test -p ottla-storage a_log_keeps_its_word");
            resume_unwind(panic);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_files() {
    for seed in 0..5 {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let files = [live(seed, &mut first), live(seed, &mut second)];
        assert_eq!(first, second);
        assert_eq!(files[0], files[1], "seed {seed}");
    }
}
