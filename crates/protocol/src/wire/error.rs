//! Why bytes are not a message.

use std::fmt;

/// The bytes are not what they should be. None of these tells the client more than a closed connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before the field does.
    Truncated,
    /// Null, where the version does not allow it.
    UnexpectedNull,
    /// More elements than the remaining bytes can hold.
    TooManyElements,
    /// The decoded form would be larger than a small multiple of the frame; see [`super::Reader`].
    TooMuchMemory,
    /// A string of more than 32767 bytes.
    StringTooLong,
    /// A varint of more bits than its type has.
    VarintTooLong,
    /// An internal record with bytes after its last field.
    SurplusBytes,
    /// A request to an API that does not exist.
    UnknownApi(i16),
    /// A version that the message never had.
    UnknownVersion(i16),
    /// A type of internal record that is not known.
    UnknownType(u32),
    /// A version of the frame around a metadata record that is not known.
    UnknownFrameVersion(u32),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end inside a field"),
            Self::UnexpectedNull => f.write_str("a field is null that must not be"),
            Self::TooManyElements => f.write_str("an array has more elements than there are bytes for"),
            Self::TooMuchMemory => f.write_str("the message would take too much memory for its size"),
            Self::StringTooLong => f.write_str("a string is longer than 32767 bytes"),
            Self::VarintTooLong => f.write_str("a varint is too long"),
            Self::SurplusBytes => f.write_str("bytes follow the last field"),
            Self::UnknownApi(key) => write!(f, "API key {key} is not known"),
            Self::UnknownVersion(version) => write!(f, "version {version} is not known"),
            Self::UnknownType(number) => write!(f, "record type {number} is not known"),
            Self::UnknownFrameVersion(version) => write!(f, "frame version {version} is not known"),
        }
    }
}

impl std::error::Error for DecodeError {}
