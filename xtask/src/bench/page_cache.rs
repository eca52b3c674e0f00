//! Memory as a machine has it that has run for a while: none is free, and whoever writes takes the place of what was read
//! long ago.
//!
//! A virtual machine that leaves memory free loses it to its host, and what comes back costs up to three times as much as
//! what it kept: who is measured would pay for how long others wrote nothing.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What may stay free: the kernel itself frees so much when there is less.
const FREE_BYTES: u64 = 512 << 20;
/// A machine that has more free would take minutes for each row; it is measured as it is.
const MOST_BYTES: u64 = 64 << 30;
/// How often what is still free is filled once more: the kernel frees some meanwhile.
const PASSES: usize = 3;
const READ_BYTES: usize = 1 << 20;

/// Files without contents, of which only the page cache knows. They have no names, and go with this.
pub struct PageCache {
    folder: PathBuf,
    files: Vec<File>,
}

impl PageCache {
    /// With its files in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: Vec::new() }
    }

    /// Fills what is free with pages that are clean, so that they can go at once. A new file each time: what is read
    /// twice would be kept rather than what the brokers write.
    pub fn fill(&mut self) -> io::Result<()> {
        for _ in 0..PASSES {
            let free = free_bytes()?;
            if !(FREE_BYTES..MOST_BYTES).contains(&free) {
                break;
            }
            let path = self.folder.join("page-cache");
            let mut file = File::options().create_new(true).read(true).write(true).open(&path)?;
            fs::remove_file(&path)?;
            file.set_len(free - FREE_BYTES / 2)?;
            let mut buffer = vec![0; READ_BYTES];
            while file.read(&mut buffer)? > 0 {}
            self.files.push(file);
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
