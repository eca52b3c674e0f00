//! One partition's log on disk, in the very files Apache Kafka writes, and the small files beside the logs.
//!
//! Nothing here knows the network, topics' settings by name, or other brokers; there is no async. [`os`] alone calls
//! the operating system. A file is trusted only as far as it was checked: what is read from disk may be torn or
//! foreign, and gives an [`Error`], never a panic.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod aborted;
pub mod checkpoint;
pub mod cleaner;
mod config;
mod directory;
mod entry_file;
mod epochs;
mod error;
mod log;
mod meta_properties;
mod offset_index;
pub mod os;
mod partition_metadata;
pub mod producer_snapshot;
mod producers;
mod segment;
mod small_file;
mod time_index;

pub use aborted::{AbortedIndex, AbortedTransaction};
pub use config::LogConfig;
pub use directory::{
    CleanShutdown, FolderKind, LogDirectory, PartitionFolder, distrust_page_cache, remove_log_folder, rename_folder,
};
pub use epochs::{EpochEnd, EpochStart, LEADER_EPOCH_CHECKPOINT, LeaderEpochs};
pub use error::{Error, Result};
pub use log::{
    Appended, Cut, Deleted, DeletedBecause, DeletedFiles, Flush, FoundRecord, LateBatch, LeaderAppend, Left, Log,
    LogSlice, OpenLog, Recovery, SegmentInfo, Sought, TimeSearch, UnpackBudget,
};
pub use meta_properties::{META_PROPERTIES, MetaProperties};
pub use offset_index::{OffsetIndex, OffsetPosition};
pub use partition_metadata::{
    PARTITION_METADATA, read_partition_metadata, write_partition_metadata, write_partition_metadata_unnamed,
};
pub use producers::{
    EndMarker, EndedTransaction, PRODUCERS_MAX, ProducerBatch, ProducerCount, Producers, SequenceError, Verdict,
};
pub use small_file::{Replacement, read as read_file, replace as replace_file};
pub use time_index::{TimeIndex, TimestampOffset};
