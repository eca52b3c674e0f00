//! Record batches: the unit that producers send, logs keep and consumers fetch.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod record;
pub mod validate;

pub use batch::{Attributes, Batch, BatchError, BatchHeader, Batches, HEADER_BYTES, TimestampChange, patched_header};
pub use builder::BatchBuilder;
pub use compression::Compression;
pub use record::{Headers, Record, RecordError, RecordIter};

#[cfg(test)]
mod tests;
