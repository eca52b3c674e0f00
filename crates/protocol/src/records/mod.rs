//! Record batches: the unit that producers send, logs keep and consumers fetch.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod record;
pub mod validate;

pub use batch::{
    Attributes, Batch, BatchError, BatchHeader, Batches, HEADER_BYTES, LENGTH_OVERHEAD_BYTES, TimestampChange,
    TimestampType, crc_of, patched_header,
};
pub use builder::BatchBuilder;
pub use compression::{Compression, CompressionError};
pub use record::{Headers, Record, RecordError, RecordIter};

#[cfg(test)]
mod tests;
