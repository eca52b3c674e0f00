//! Ottla as a real process, and clients that speak to it byte by byte.
//!
//! The tests of this crate start the same program that users start, on free ports and in folders of their own, and stop what
//! they started by process id.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod conversations;
pub mod crash;
pub mod group_requests;
mod process;
mod raw;
mod skipped;
mod small_disk;

pub use process::{Broker, Options};
pub use raw::{Closed, RawClient, body};
pub use skipped::{SKIPPED_TESTS, skip};
pub use small_disk::SmallDisk;
