//! The server: listeners, handlers, partitions and the controller of one node, in one process.
//!
//! `ottla broker` runs one; a test may run one just as well.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod access;
pub mod api;
pub mod config;
mod controller;
mod coordinators;
mod dispatch;
mod error;
mod features;
pub mod loggers;
mod metrics;
mod net;
mod node;
mod partitions;
mod producer_ids;
mod registration;
mod request;
mod seldom;
mod start;
mod telemetry;
mod threads;

pub use controller::bootstrap::write as write_bootstrap;
pub use error::{Error, Result};
pub use start::Broker;
