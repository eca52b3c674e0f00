//! Configuration as data: what keys exist, which values they take, and how an effective value is told to a client.
//!
//! A [`Setting`] is one row of a table: name, type, default, bounds and a sentence of documentation. The topic's rows
//! are in [`topic`]; a broker's rows live with the broker, which reads files. Nothing here reads files or knows who
//! asks.
//!
//! ```text
//!   text "5" --Setting::parse--> Value::Number(5) --Display--> the text that DescribeConfigs shows
//!
//!   effective value of a topic's key, highest first:
//!   topic override > broker's own dynamic > cluster-wide dynamic > server.properties > default
//! ```

pub mod client_metrics;
mod entry;
pub mod group;
mod setting;
pub mod topic;
mod value;

pub use entry::{BrokerValues, ConfigEntry, ConfigSource, Synonym, synonyms};
pub use setting::{Check, Dynamic, Kind, Setting};
pub use value::Value;
