//! What a process has used so far, from `/proc`.

use std::fs;
use std::io;

/// The kernel counts processor time in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;
/// Where user and system time stand after the program's name, counted from 0.
const USER_FIELD: usize = 11;
const SYSTEM_FIELD: usize = 12;

/// Resident memory in bytes.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

/// Processor seconds of the process `pid`, all its threads together.
pub fn cpu_s(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(") ").ok_or(io::ErrorKind::InvalidData)?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |index: usize| -> io::Result<f64> {
        let field = fields.get(index).ok_or(io::ErrorKind::InvalidData)?;
        field.parse().map_err(|_| io::ErrorKind::InvalidData.into())
    };
    Ok((ticks(USER_FIELD)? + ticks(SYSTEM_FIELD)?) / TICKS_PER_SECOND)
}

/// Resident memory of the process `pid`.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |name: &str| -> io::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or(io::ErrorKind::InvalidData)?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(kib << 10)
    };
    Ok(Memory { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let pid = std::process::id();
        let memory = memory(pid).unwrap();
        assert!(memory.now > 0 && memory.peak >= memory.now);
        let before = cpu_s(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_s(pid).unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_s(pid).unwrap() > before);
    }
}
