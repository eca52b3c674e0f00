//! Who reads what, and how far it has got: groups and their offsets, decided purely.
//!
//! ```text
//!   request, time --decide--> records   one unit for `__consumer_offsets`, replayed once they are written
//!                             notes     soft state beside them: who waits, who was heard of when
//!                             effects   answers, sent once the records are committed
//! ```
//!
//! Nothing here knows a clock, a file, a socket or a thread.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

// What tests share with benchmarks names the crate as these do.
#[cfg(test)]
extern crate self as ottla_coordinator;

pub mod group;
