//! The server: listeners, handlers and the partitions of one node.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod config;
