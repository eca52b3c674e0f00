//! Memory that is ready for whoever is measured.
//!
//! A virtual machine gives its host what is free, and gets it back page by page when somebody writes to it: the same server took 6 to
//! 9 million records/s, with twice the processor time, depending on what had run before it. So a process of its own holds nearly all
//! that is free, touched, and gives it up as it is needed: the page cache grows into memory that is there.

use std::fs;
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Fallible;
use crate::process::Daemon;

/// Held and given back in such pieces: glibc maps each by itself, and so gives it back to the kernel.
const BLOCK_BYTES: usize = 64 << 20;
const PAGE_BYTES: usize = 4096;
/// More is free than this: a block is taken.
const TAKEN_ABOVE_BYTES: u64 = 1 << 30;
/// Less is free than this: blocks are given back. A server writes a tenth of it between two looks.
const GIVEN_BELOW_BYTES: u64 = 512 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// For how long whoever is measured next waits for what the last one wrote to be taken.
const FULL_WITHIN: Duration = Duration::from_secs(120);
/// With huge pages, which cost next to nothing to give back.
const GLIBC_TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");

/// The process that holds it.
pub struct Reservoir(Daemon);

impl Reservoir {
    pub fn start(scratch: &Path) -> Fallible<Self> {
        let mut command = process::Command::new(std::env::current_exe()?);
        command.arg("hold-memory").env(GLIBC_TUNABLES.0, GLIBC_TUNABLES.1);
        Ok(Self(Daemon::start(&mut command, &scratch.join("reservoir.out"))?))
    }

    /// Waits until it holds what is free.
    pub fn wait(&mut self) -> Fallible<()> {
        let is_full = || free_bytes().is_ok_and(|free| free <= TAKEN_ABOVE_BYTES).then_some(());
        self.0.wait_for(Instant::now() + FULL_WITHIN, is_full)
    }
}

/// `cargo xtask hold-memory`: started by the benchmark, and ends with it.
pub fn hold() -> Fallible<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Where the machine has no memory left all the same, this is what has to go.
    fs::write("/proc/self/oom_score_adj", "1000")?;
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        let free = free_bytes()?;
        if free > TAKEN_ABOVE_BYTES {
            let mut block = vec![0; BLOCK_BYTES];
            block.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
            blocks.push(block);
            continue;
        }
        let given = GIVEN_BELOW_BYTES.saturating_sub(free).div_ceil(BLOCK_BYTES as u64);
        blocks.truncate(blocks.len().saturating_sub(given as usize));
        thread::sleep(LOOK_EVERY);
    }
}

/// What no process and no file uses.
fn free_bytes() -> Fallible<u64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemFree:")).ok_or("no MemFree in /proc/meminfo")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
