//! The files that a real Kafka 4.4 wrote are read, and written again byte for byte.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read files and may panic")]

mod log;
mod small_files;
