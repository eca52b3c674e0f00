//! Internal records as JSON, field by field as their schema says: what Kafka's generated converters write.
//!
//! A field that a version does not carry is left out, and so is a tagged one that holds its default. Bytes are base64, ids
//! their usual text. Names begin with a small letter.

use std::fmt::Write as _;

use ottla_base::Uuid;
use ottla_protocol::schema::{Field, Kind, Message};
use ottla_protocol::{DecodeError, Reader};

use crate::java_number;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Says what stands for the bytes of a field, where that is not base64.
pub type BytesAs<'a> = &'a dyn Fn(&str, &[u8]) -> Option<String>;

/// Bytes are base64, whatever they are.
pub fn as_base64(_: &str, _: &[u8]) -> Option<String> {
    None
}

/// One version of a message.
pub struct Version<'a> {
    /// Its fields.
    pub message: &'a Message,
    /// Which of them there are.
    pub version: i16,
    /// How bytes are shown.
    pub bytes_as: BytesAs<'a>,
}

impl Version<'_> {
    /// Reads the message, and gives its JSON.
    pub fn read(&self, reader: &mut Reader<'_>) -> Result<String, DecodeError> {
        self.object(reader, &self.message.fields)
    }

    fn is_flexible(&self) -> bool {
        self.message.is_flexible(self.version)
    }

    fn object(&self, reader: &mut Reader<'_>, fields: &[Field]) -> Result<String, DecodeError> {
        let carried = |field: &Field| field.versions.contains(self.version);
        let mut values: Vec<Option<String>> = Vec::with_capacity(fields.len());
        for field in fields {
            let is_inline = carried(field) && field.tag.is_none();
            values.push(if is_inline { Some(self.value(reader, field, &field.kind)?) } else { None });
        }
        if self.is_flexible() {
            reader.tags(|tag, reader| {
                let found = fields.iter().position(|field| field.tag == Some(tag) && carried(field));
                let Some(index) = found else { return Ok(()) };
                let field = &fields[index];
                let value = self.value(reader, field, &field.kind)?;
                values[index] = (value != self.default(field)).then_some(value);
                Ok(())
            })?;
        }
        Ok(object(fields.iter().zip(values).filter_map(|(field, value)| Some((field.name.as_str(), value?)))))
    }

    /// Reads the value of a field, or an element of it.
    fn value(&self, reader: &mut Reader<'_>, field: &Field, kind: &Kind) -> Result<String, DecodeError> {
        let flexible = self.is_flexible();
        let is_nullable = field.nullable.is_some_and(|versions| versions.contains(self.version)) && *kind == field.kind;
        let null = || "null".to_owned();
        Ok(match kind {
            Kind::Bool => reader.boolean()?.to_string(),
            Kind::Int8 => reader.int8()?.to_string(),
            Kind::Int16 => reader.int16()?.to_string(),
            Kind::Int32 => reader.int32()?.to_string(),
            Kind::Int64 => reader.int64()?.to_string(),
            Kind::Uint16 => reader.uint16()?.to_string(),
            Kind::Uint32 => reader.uint32()?.to_string(),
            Kind::Float64 => java_number::decimal(reader.float64()?),
            Kind::Uuid => format!("\"{}\"", reader.uuid()?),
            Kind::String if is_nullable => reader.nullable_string(flexible)?.map_or_else(null, |text| quoted(&text)),
            Kind::String => quoted(&reader.string(flexible)?),
            Kind::Bytes | Kind::Records => match reader.nullable_bytes(flexible)? {
                None if is_nullable => null(),
                bytes => self.bytes(&field.name, bytes.ok_or(DecodeError::UnexpectedNull)?),
            },
            Kind::Array(element) => match self.array(reader, field, element)? {
                None if is_nullable => null(),
                elements => elements.ok_or(DecodeError::UnexpectedNull)?,
            },
            Kind::Struct(name) => {
                let fields = &self.message.structure(name).fields;
                let object = |reader: &mut Reader<'_>| self.object(reader, fields);
                match field.tag {
                    _ if !is_nullable => object(reader)?,
                    Some(_) => reader.nullable_tagged_struct(object)?.unwrap_or_else(null),
                    None => reader.nullable_struct(object)?.unwrap_or_else(null),
                }
            }
        })
    }

    fn array(&self, reader: &mut Reader<'_>, field: &Field, element: &Kind) -> Result<Option<String>, DecodeError> {
        let mut text = String::from("[");
        let elements = reader.nullable_array(self.is_flexible(), 1, |reader| {
            if text.len() > 1 {
                text.push(',');
            }
            text += &self.value(reader, field, element)?;
            Ok(())
        })?;
        text.push(']');
        Ok(elements.map(|_| text))
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> String {
        (self.bytes_as)(name, bytes).unwrap_or_else(|| format!("\"{}\"", base64(bytes)))
    }

    /// What a field holds that is not there.
    fn default(&self, field: &Field) -> String {
        match (&field.kind, field.default.as_deref()) {
            (_, Some("null")) => "null".to_owned(),
            (Kind::Bool, default) => default.unwrap_or("false").to_owned(),
            (Kind::Float64, default) => format!("{}.0", default.unwrap_or("0")),
            (Kind::Uuid, _) => format!("\"{}\"", Uuid::ZERO),
            (Kind::String | Kind::Bytes | Kind::Records, _) => "\"\"".to_owned(),
            (Kind::Array(_), _) => "[]".to_owned(),
            (Kind::Struct(name), _) => {
                let fields = &self.message.structure(name).fields;
                let carried =
                    fields.iter().filter(|inner| inner.tag.is_none() && inner.versions.contains(self.version));
                object(carried.map(|inner| (inner.name.as_str(), self.default(inner))))
            }
            (_, default) => default.unwrap_or("0").to_owned(),
        }
    }
}

/// An object of these names and values.
fn object<'a>(values: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut text = String::from("{");
    for (name, value) in values {
        if text.len() > 1 {
            text.push(',');
        }
        let (first, rest) = name.split_at(1);
        let _ = write!(text, "\"{}{rest}\":{value}", first.to_lowercase());
    }
    text.push('}');
    text
}

/// A string with quotes around it, escaped as Kafka's JSON library does.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\0'..='\u{1f}' => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ottla_protocol::schema;

    use super::*;

    fn check(name: &str, version: i16, bytes: &[u8], expected: &Expect) {
        let messages = schema::parse(schema::INTERNAL).unwrap();
        let message = messages.iter().find(|message| message.name == name).unwrap();
        let read = Version { message, version, bytes_as: &as_base64 }.read(&mut Reader::new(bytes));
        expected.assert_eq(&read.unwrap_or_else(|error| error.to_string()));
    }

    #[test]
    fn a_version_shows_the_fields_it_carries() {
        let bytes = [&[0; 7][..], &[9, 0, 0, 0, 1, 0, 1, b'm'], &[0; 7], &[5]].concat();
        check(
            "OffsetCommitValue",
            3,
            &bytes,
            &expect![[r#"{"offset":9,"leaderEpoch":1,"metadata":"m","commitTimestamp":5}"#]],
        );
        check("OffsetCommitValue", 3, &bytes[..9], &expect!["the bytes end inside a field"]);
    }

    #[test]
    fn a_tag_is_shown_where_it_is_not_the_default() {
        let without = [&[0; 4][..], &[0]].concat();
        check(
            "ProducerIdsRecord",
            0,
            &[&[0; 20][..], &[0]].concat(),
            &expect![[r#"{"brokerId":0,"brokerEpoch":0,"nextProducerId":0}"#]],
        );
        check(
            "BrokerRegistrationChangeRecord",
            1,
            &[&without[..4], &[0; 8], &[2, 0, 1, 1, 1, 1, 0]].concat(),
            &expect![[r#"{"brokerId":0,"brokerEpoch":0,"fenced":1}"#]],
        );
        check("BeginTransactionRecord", 0, &[1, 0, 2, 2, b'"'], &expect![[r#"{"name":"\""}"#]]);
        check("BeginTransactionRecord", 0, &[1, 0, 1, 0], &expect!["{}"]);
    }

    #[test]
    fn text_is_escaped_and_bytes_are_base64() {
        assert_eq!(quoted("a\u{1f}\n\"ü\u{7f}"), "\"a\\u001F\\n\\\"ü\u{7f}\"");
        let encoded = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
