//! Truncations that a kill cuts short after each of their calls, and a power cut some time after the next start: it takes back any
//! number of the last names, and with them what the start took for removed.
//!
//! ```text
//!   truncation --killed--> start --> nothing, or an append, or more --power cut--> start
//! ```
//!
//! What a start finds is on the disk from then on: nothing that was cut off comes back, neither behind nor instead of what came
//! since.

use super::super::*;
use super::before_ack::batches;
use crate::os::simulated::{self, Inserted, Trouble};

/// Where the log begins and ends that is cut: three segments of two batches of ten records.
const START: i64 = 100;
const END: i64 = 160;
const OLD_EPOCH: i32 = 5;
const NEW_EPOCH: i32 = 6;

/// How a log is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    To(i64),
    RestartAt(i64),
}

/// What is done between the start after the kill and the power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    Append,
    AppendAndFlush,
    AppendAndCut,
}

type Batches = Vec<(Offset, Vec<u8>)>;

fn made(base_offset: i64, leader_epoch: i32) -> Vec<u8> {
    Made { base_offset, leader_epoch, ..Made::sized(10, 500) }.bytes()
}

/// The log that is cut, wholly on its disk.
fn flushed() -> (Fixture, Log, Inserted) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.exists() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let disk = simulated::insert(folder.path(), 1);
    let fixture = Fixture { folder, config: small_segments(1300) };
    let mut log = fixture.open(true, 0).0;
    log.restart_at(Offset(START), 0).unwrap();
    for base in (START..END).step_by(10) {
        log.append_follower(&made(base, OLD_EPOCH), 0).unwrap();
    }
    log.flush(0).unwrap();
    (fixture, log, disk)
}

/// Cuts a log that is killed after so many calls; says whether it was before the end.
fn cut_and_kill(mut log: Log, cut: Cut, calls: u64) -> bool {
    simulated::with(|disk| disk.set_trouble(Trouble::Over(calls)));
    _ = match cut {
        Cut::To(offset) => log.truncate_to(Offset(offset), 0).map(drop),
        Cut::RestartAt(offset) => log.restart_at(Offset(offset), 0),
    };
    drop(log);
    simulated::with(|disk| {
        let was_cut_short = disk.failures() > 0;
        disk.set_trouble(Trouble::None);
        disk.kill();
        was_cut_short
    })
}

/// What the log holds after the start, and what of that was flushed; and the checkpoint of then.
struct Started {
    held: Batches,
    end: Offset,
    appended: Option<(Offset, Vec<u8>)>,
    checkpoint: (i64, i64),
}

fn start_and(fixture: &Fixture, left: Left, then: Then) -> Started {
    let (mut log, _) = fixture.open_left(left, END - 1, START).unwrap();
    let (held, end) = (batches(&log), log.end_offset());
    let mut checkpoint = (log.recovery_checkpoint().0, log.start_offset().0);
    let appended = (then != Then::Nothing).then(|| (end, made(end.0, NEW_EPOCH)));
    if let Some((_, bytes)) = &appended {
        log.append_follower(bytes, 0).unwrap();
    }
    match then {
        Then::Nothing | Then::Append => {}
        Then::AppendAndFlush => log.flush(0).unwrap(),
        Then::AppendAndCut => {
            log.truncate_to(end, 0).unwrap();
            checkpoint = (log.recovery_checkpoint().0, log.start_offset().0);
        }
    }
    Started { held, end, appended, checkpoint }
}

/// What may be left of that by a power cut.
fn check(started: &Started, then: Then, found: &Batches, end: Offset, case: &str) {
    let Started { held, appended, .. } = started;
    let told: Batches = held.iter().chain(appended).cloned().collect();
    let is_lost = found == held && end == started.end;
    match then {
        Then::AppendAndFlush => {
            assert!(*found == told, "{case}: it holds what was flushed, and nothing else, to {end}");
        }
        Then::Append => assert!(is_lost || *found == told, "{case}: what was cut off is back, to {end}"),
        Then::Nothing | Then::AppendAndCut => assert!(is_lost, "{case}: what was cut off is back, to {end}"),
    }
}

fn check_all(cut: Cut) {
    let mut calls = 0;
    let mut was_cut_short = true;
    while was_cut_short {
        for left in [Left::Killed, Left::Unknown] {
            for then in [Then::Nothing, Then::Append, Then::AppendAndFlush, Then::AppendAndCut] {
                for (names, keeps_bytes) in (0..).flat_map(|names| [(names, false), (names, true)]) {
                    let (fixture, log, disk) = flushed();
                    was_cut_short = cut_and_kill(log, cut, calls);
                    let started = start_and(&fixture, left, then);
                    let waiting = simulated::with(|disk| {
                        let waiting = disk.waiting_names();
                        disk.cut_power_after(names, keeps_bytes);
                        waiting
                    });
                    let (recovery_point, log_start) = started.checkpoint;
                    let (log, _) = fixture.open_left(Left::Unknown, recovery_point, log_start).unwrap();
                    let case = format!("{cut:?} after {calls} calls, {left:?}, {then:?}, {names} names, {keeps_bytes}");
                    let (found, end) = (batches(&log), log.end_offset());
                    check(&started, then, &found, end, &case);
                    drop((log, disk));
                    if names >= waiting && keeps_bytes {
                        break;
                    }
                }
            }
        }
        calls += 1;
    }
    assert!(calls > 5, "{calls} calls are no truncation");
}

#[test]
fn a_truncation_that_is_cut_short_and_a_power_cut_bring_nothing_back_behind_what_came_since() {
    check_all(Cut::To(130));
}

#[test]
fn nor_does_one_before_the_first_segment() {
    check_all(Cut::To(50));
}

#[test]
fn nor_does_one_after_the_end() {
    check_all(Cut::RestartAt(500));
}

#[test]
fn nor_does_one_at_the_name_of_a_segment_that_goes() {
    check_all(Cut::RestartAt(120));
}
