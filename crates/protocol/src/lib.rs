//! What clients and brokers say to each other, and what Kafka writes for itself: messages, frames, error codes.
//!
//! Pure: bytes in, values out, and back. No socket, no file, no clock.
//!
//! `messages` and `internal` are generated from `schema/` by `cargo xtask codegen`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod api;
pub mod error;
pub mod frame;
pub mod internal;
pub mod messages;
pub mod records;
pub mod schema;
pub mod wire;

pub use api::ApiKey;
pub use error::ErrorCode;
pub use wire::{DecodeError, ErrorCounts, Message, Reader, Records, Region, Splice, Str, Writer};
