//! Memory as a machine has it that has run for a while: none is free, and whoever writes takes the place of what was read
//! long ago.
//!
//! A virtual machine that leaves memory free loses it to its host, and what comes back costs up to three times as much as
//! what it kept: who is measured would pay for how long others wrote nothing.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// About what the kernel keeps free itself, and what comes and goes while one looks.
const FREE_BYTES: u64 = 512 << 20;
/// A machine that has more free would take minutes for each row; it is measured as it is.
const MOST_BYTES: u64 = 64 << 30;
/// How often what is still free is filled once more: the kernel frees some meanwhile.
const PASSES: usize = 3;
const READ_BYTES: usize = 1 << 20;

/// A file of nothing, of which only the page cache knows. It has no name, and goes with this.
pub struct PageCache {
    file: File,
    length: u64,
}

impl PageCache {
    /// With its file in `folder`.
    pub fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, length: 0 })
    }

    /// Fills what is free with pages that are clean, so that they can go at once. The file gets longer each time: what is
    /// read twice would be kept rather than what the brokers write.
    pub fn fill(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut free = free_bytes()?;
        for _ in 0..PASSES {
            if !(FREE_BYTES..MOST_BYTES).contains(&free) {
                break;
            }
            self.length += free - FREE_BYTES / 2;
            self.file.set_len(self.length)?;
            while self.file.read(&mut buffer)? > 0 {}
            let before = std::mem::replace(&mut free, free_bytes()?);
            if free >= before {
                // This process may not use more, or the folder is memory itself.
                break;
            }
        }
        Ok(())
    }
}

/// Memory that nobody uses for anything.
fn free_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:")).ok_or(io::ErrorKind::InvalidData)?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(kib << 10)
}
