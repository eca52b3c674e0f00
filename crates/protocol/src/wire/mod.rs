//! What every message is made of: numbers, strings, arrays, tags; how they are read, how they are written, and the face
//! that all messages share.
//!
//! Not here: which fields a message has (`messages`, `internal`), nor what a record batch looks like (`records`).
//!
//! ```text
//!             classic                     flexible (KIP-482)
//! string      int16 length, UTF-8         uvarint length + 1, UTF-8
//! bytes       int32 length, bytes         uvarint length + 1, bytes
//! array       int32 count, elements       uvarint count + 1, elements
//! null        length -1                   0
//! struct      fields                      fields, tags
//! tags                                    uvarint count, then each: uvarint tag, uvarint size, data
//! ```

mod error;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use error::DecodeError;
pub use reader::Reader;
pub use writer::{ErrorCounts, Records, Region, Splice, Writer};

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Text of a message: a slice of the frame it was read from, or made by us.
pub type Str<'a> = Cow<'a, str>;

/// A string of a message is at most this long, also where its length prefix could say more; so it is in Kafka.
pub const MAX_STRING_LENGTH: usize = i16::MAX as usize;

/// A request, a response, or an internal record: one struct for all its versions.
///
/// A field that a version does not carry holds its default after decoding and is left out by encoding, whatever it
/// holds. A field that is null where the version cannot say so is written empty.
pub trait Message<'a>: Sized + Default {
    /// The API key; of an internal record its type, or -1 where it has none.
    const KEY: i16;
    /// The versions that can be decoded and encoded. What is *served* is for `ApiKey` to say.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tags; `i16::MAX` where there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads the body. Bytes after it are left in the reader: Kafka ignores them in a request.
    fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;

    /// Writes the body.
    ///
    /// # Panics
    /// Where `version` is not one of [`Message::VERSIONS`].
    fn encode(&self, writer: &mut Writer, version: i16);

    /// Sets how long the client is to hold back, where the message has a place for that at its top.
    fn set_throttle_time_ms(&mut self, _throttle_time_ms: i32) {}
}
