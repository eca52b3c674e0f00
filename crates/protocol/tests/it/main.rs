//! The tests of the protocol crate that go through its public face.
//!
//! The messages they are fed come from the schemas by a way of their own (`sample`), so that reader, writer and
//! generated code are checked by something that shares nothing with them but the schema files.

mod allocator;
mod every_message;
mod fuzz;
mod oracle;
mod round_trip;
mod sample;
mod vectors;

use std::ops::RangeInclusive;

use ottla_protocol::DecodeError;
use ottla_protocol::schema::{self, Message};

/// Reads a body and writes it again; gives also the bytes that were left unread.
type Transcode = for<'a> fn(&'a [u8], i16) -> Result<(Vec<u8>, &'a [u8]), DecodeError>;

/// One message, without its type.
struct Entry {
    name: &'static str,
    key: i16,
    versions: RangeInclusive<i16>,
    flexible_from: i16,
    /// Reads a body and forgets it.
    decode: fn(&[u8], i16) -> Result<(), DecodeError>,
    /// Reads a body and writes it again.
    transcode: Transcode,
}

/// An [`Entry`] for a type.
macro_rules! entry {
    ($name:literal, $message:ty) => {
        $crate::Entry {
            name: $name,
            key: <$message as ottla_protocol::Message<'_>>::KEY,
            versions: <$message as ottla_protocol::Message<'_>>::VERSIONS,
            flexible_from: <$message as ottla_protocol::Message<'_>>::FLEXIBLE_FROM,
            decode: |bytes, version| {
                let mut reader = ottla_protocol::Reader::new(bytes);
                <$message as ottla_protocol::Message<'_>>::decode(&mut reader, version).map(drop)
            },
            transcode: |bytes, version| {
                let mut reader = ottla_protocol::Reader::new(bytes);
                let message = <$message as ottla_protocol::Message<'_>>::decode(&mut reader, version)?;
                let mut writer = ottla_protocol::Writer::new();
                ottla_protocol::Message::encode(&message, &mut writer, version);
                Ok((writer.into_bytes(), reader.remaining()))
            },
        }
    };
}
use entry;

/// Every message with its schema.
fn every_message() -> Vec<(&'static Entry, Message)> {
    let mut schemas = schema::parse(schema::REQUESTS).expect("the schemas are well-formed");
    schemas.extend(schema::parse(schema::INTERNAL).expect("the schemas are well-formed"));
    assert_eq!(schemas.len(), every_message::EVERY_MESSAGE.len());
    let found = every_message::EVERY_MESSAGE.iter().zip(schemas);
    found.inspect(|(entry, schema)| assert_eq!(entry.name, schema.name)).collect()
}
