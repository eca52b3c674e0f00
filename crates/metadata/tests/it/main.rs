//! The crate from outside.

mod kafka_log;
