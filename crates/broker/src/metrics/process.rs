//! What the operating system says of this process, under the names that Prometheus' client libraries use.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::page::Page;

/// The unit of the times in `/proc/self/stat`: a hundredth of a second on every Linux there is.
const TICKS_A_SECOND: f64 = 100.0;

/// What there is; nothing where there is no `/proc`.
pub fn gather(page: &mut Page) {
    if let Some((seconds, started_ago_ticks)) = times() {
        page.counter("process_cpu_seconds_total", "Processor time used, in seconds.", &[], seconds);
        if let Some(uptime) = uptime_seconds() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
            let started = now - (uptime - started_ago_ticks / TICKS_A_SECOND);
            page.gauge("process_start_time_seconds", "When the process began, in seconds since 1970.", &[], started);
        }
    }
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory in use, in bytes.", &[], bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open files and sockets.", &[], files.count());
    }
}

/// Processor seconds, and when the process began, in ticks since the machine did.
fn times() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; the rest are numbers, the third of all fields first.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(((field(14)? + field(15)?) / TICKS_A_SECOND, field(22)?))
}

fn uptime_seconds() -> Option<f64> {
    fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()
}

fn resident_bytes() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split_whitespace().nth(1)?.parse::<f64>().ok()? * rustix::param::page_size() as f64)
}
