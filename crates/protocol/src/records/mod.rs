//! Record batches: the unit that producers send, logs keep and consumers fetch, all in the same bytes.
//!
//! - [`batch`]: the header, and what a leader changes in it
//! - [`record`]: the records, where they lie in memory; [`stream`]: their outlines, while they are being unpacked
//! - [`compression`]: the codecs
//! - [`builder`]: makes batches; [`control`]: what control records say
//! - [`rewrite`]: a batch with other values in it; [`retain`]: what compaction leaves of one;
//!   [`repack`]: one in another codec
//! - [`validate`]: what a leader checks before it appends
//!
//! Not here: the formats before magic 2. [`BatchError::Magic`] names them, nothing reads them.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod record;
pub mod repack;
pub mod retain;
pub mod rewrite;
pub mod stream;
pub mod validate;
mod varint;

pub use batch::{
    Attributes, Batch, BatchError, BatchHeader, Batches, HEADER_BYTES, LENGTH_OVERHEAD_BYTES, TimestampChange,
    TimestampType, crc_of, patched_header,
};
pub use builder::BatchBuilder;
pub use compression::{Compression, CompressionError, Compressor, Decompressor};
pub use record::{Headers, Record, RecordError, RecordIter};
pub use stream::{RecordOutline, RecordStream, StreamError};

#[cfg(test)]
mod tests;
