//! What a cluster is: the image that every node builds from the metadata log, and the controller that decides what is
//! written to that log.
//!
//! ```text
//!   command --Controller::decide--> records --log, committed--> Image::apply --> Arc<Image> for readers
//!                                   answer                                  \--> BrokerDelta: what a broker has to do
//! ```
//!
//! Nothing here knows a clock, a file, a socket or a thread: the host appends the records, replays them, and gives the
//! readers a copy of the image.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod controller;
pub mod delta;
pub mod image;
pub mod names;
pub mod placement;
pub mod records;
pub mod settings;
pub mod version;
