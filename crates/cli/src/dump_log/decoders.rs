//! What the keys and values of records are shown as: text, numbers, or the JSON of what Kafka keeps in its internal topics.
//!
//! ```text
//!   metadata         frame version uvarint = 1, type uvarint, version uvarint, fields
//! ```

use ottla_protocol::Reader;
use ottla_protocol::records::Record;
use ottla_protocol::schema::Message;

use super::failure::{Failure, Result};
use crate::internal_records::json::{Version, as_base64};
use crate::internal_records::{CoordinatorRecords, Unreadable, messages};
use crate::java_text::text_of;

/// The package of the decoders that come with Kafka.
const PACKAGE: &str = "org.apache.kafka.tools.api.";
/// The only frame of metadata records.
const FRAME_VERSION: u32 = 1;

/// Makes text of keys and values.
pub enum Decoder {
    /// As what producers write.
    Plain {
        /// The key.
        key: Plain,
        /// The value.
        value: Plain,
    },
    /// As records of a coordinator.
    Coordinator(CoordinatorRecords),
    /// As records of the metadata log.
    Metadata(Vec<Message>),
}

/// One of the decoders that come with Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// UTF-8.
    String,
    /// Four bytes.
    Integer,
    /// Eight bytes.
    Long,
}

/// What a record is shown as.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key, if it is shown.
    pub key: Option<String>,
    /// The value, if it is shown.
    pub value: Option<String>,
}

impl Decoder {
    /// For a coordinator's topic; `group` is that of its records in the schema.
    pub fn coordinator(group: &str) -> Self {
        Self::Coordinator(CoordinatorRecords::with_consumer_protocol(group))
    }

    /// For the metadata log.
    pub fn metadata() -> Self {
        Self::Metadata(messages(&["metadata"]))
    }

    /// Decoders by the names of their classes.
    pub fn plain(key: &str, value: &str) -> Result<Self> {
        // As in Kafka, the value's is looked for first.
        let value = Plain::of_class(value)?;
        Ok(Self::Plain { key: Plain::of_class(key)?, value })
    }

    /// Text for a record.
    pub fn show(&self, record: &Record<'_>) -> Result<Shown> {
        match self {
            Self::Plain { key, value } => Ok(Shown {
                key: record.key.map(|bytes| key.show(bytes)).transpose()?,
                value: record.value.map(|bytes| value.show(bytes)).transpose()?,
            }),
            Self::Coordinator(records) => coordinator_record(records, record),
            Self::Metadata(messages) => {
                let shown = metadata_record(messages, record.value.unwrap_or_default());
                let skipped = |reason| format!("Error at {}, skipping. {reason}", record.offset);
                Ok(Shown { key: None, value: Some(shown.unwrap_or_else(skipped)) })
            }
        }
    }
}

impl Plain {
    fn of_class(class: &str) -> Result<Self> {
        match class.strip_prefix(PACKAGE) {
            Some("StringDecoder") => Ok(Self::String),
            Some("IntegerDecoder") => Ok(Self::Integer),
            Some("LongDecoder") => Ok(Self::Long),
            _ => Err(Failure::new(
                "java.lang.RuntimeException",
                format!(
                    "Failed to load decoder class\nThere is no JVM in this tool to load {class} into: it knows \
                     {PACKAGE}StringDecoder, IntegerDecoder and LongDecoder."
                ),
            )),
        }
    }

    fn show(self, bytes: &[u8]) -> Result<String> {
        // More bytes than the number has are passed over, as in Kafka.
        let too_few = || Failure::new("java.nio.BufferUnderflowException", "");
        Ok(match self {
            Self::String => text_of(bytes).into_owned(),
            Self::Integer => i32::from_be_bytes(*bytes.first_chunk().ok_or_else(too_few)?).to_string(),
            Self::Long => i64::from_be_bytes(*bytes.first_chunk().ok_or_else(too_few)?).to_string(),
        })
    }
}

fn coordinator_record(records: &CoordinatorRecords, record: &Record<'_>) -> Result<Shown> {
    let offset = record.offset;
    let Some(key) = record.key else {
        return Err(Failure::new(
            "java.lang.RuntimeException",
            format!(
                "Failed to decode message at offset {offset} using the specified decoder (message had a missing key)"
            ),
        ));
    };
    let skipped = |what: String| Shown { key: Some(what), value: None };
    Ok(match records.read(key, record.value) {
        Ok(read) => {
            let deleted = || "<DELETE>".to_owned();
            let value = |(version, fields)| format!("{{\"version\":\"{version}\",\"data\":{fields}}}");
            Shown {
                key: Some(format!("{{\"type\":\"{}\",\"data\":{}}}", read.kind, read.key)),
                value: Some(read.value.map_or_else(deleted, value)),
            }
        }
        Err(Unreadable::UnknownType(kind)) => {
            skipped(format!("Unknown record type {kind} at offset {offset}, skipping."))
        }
        Err(Unreadable::Because(reason)) => skipped(format!("Error at offset {offset}, skipping. {reason}")),
    })
}

fn metadata_record(messages: &[Message], bytes: &[u8]) -> std::result::Result<String, String> {
    let mut reader = Reader::new(bytes);
    let mut number = |what: &str| reader.uvarint().map_err(|_| format!("Error while reading {what}"));
    let frame = number("frame version")?;
    if frame != FRAME_VERSION {
        return Err(match frame {
            0 => "Could not deserialize metadata record with frame version 0. Note that upgrades from the preview release \
                  of KRaft in 2.8 to newer versions are not supported."
                .to_owned(),
            _ => format!(
                "Could not deserialize metadata record due to unknown frame version {frame}(only frame version 1 is \
                 supported)"
            ),
        });
    }
    let kind = number("type")?;
    let version = number("version")?;
    let small = |number: u32, what: &str| i16::try_from(number).map_err(|_| format!("Value for {what} was too large."));
    let (kind, version) = (small(kind, "type")?, small(version, "version")?);
    let Some(message) = messages.iter().find(|message| message.key == Some(kind)) else {
        return Err(format!("org.apache.kafka.common.errors.UnsupportedVersionException: Unknown metadata id {kind}"));
    };
    let fields = Version { message, version, bytes_as: &as_base64 }.read(&mut reader);
    let fields = fields.map_err(|_| format!("Failed to deserialize record with type {kind}"))?;
    match reader.remaining().len() {
        0 => {
            let name = constant(&message.name);
            Ok(format!("{{\"type\":\"{name}\",\"version\":{version},\"data\":{fields}}}"))
        }
        left => Err(format!("Found {left} byte(s) of garbage after {kind}")),
    }
}

/// `NoOpRecord` is `NO_OP_RECORD`.
fn constant(name: &str) -> String {
    let mut constant = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !constant.is_empty() {
            constant.push('_');
        }
        constant.extend(character.to_uppercase());
    }
    constant
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ottla_base::Offset;
    use ottla_protocol::records::{Batch, BatchBuilder, RecordIter};

    use super::*;

    /// Shows a record with this key and value, which is at offset 7.
    fn check(decoder: &Decoder, key: Option<&[u8]>, value: Option<&[u8]>, expected: &Expect) {
        let mut builder = BatchBuilder::new().base_offset(Offset(7));
        builder.push(0, key, value, &[]);
        let bytes = builder.build().unwrap();
        let (batch, _) = Batch::parse(&bytes).unwrap();
        let record = RecordIter::new(batch.header(), batch.records()).next().unwrap().unwrap();
        let shown = match decoder.show(&record) {
            Ok(Shown { key, value }) => {
                let part = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                format!("{}\n{}", part(key), part(value))
            }
            Err(failure) => failure.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn keys_and_values_are_text_or_numbers() {
        let text =
            Decoder::plain("org.apache.kafka.tools.api.StringDecoder", "org.apache.kafka.tools.api.IntegerDecoder");
        let text = text.unwrap();
        check(&text, Some(b"k"), Some(&[0, 0, 1, 0, 9]), &expect![["k\n256"]]);
        check(&text, None, None, &expect![["-\n-"]]);
        check(&text, None, Some(b"abc"), &expect![[r#"Exception in thread "main" java.nio.BufferUnderflowException"#]]);
        let failure = Decoder::plain("org.example.Mine", "org.apache.kafka.tools.api.LongDecoder").err().unwrap();
        let first = failure.to_string().lines().next().unwrap().to_owned();
        assert_eq!(first, "Exception in thread \"main\" java.lang.RuntimeException: Failed to load decoder class");
    }

    #[test]
    fn records_of_a_group_are_json_with_what_consumers_sent_inside() {
        let offsets = Decoder::coordinator("offsets");
        let key = [&[0, 2, 0, 1][..], b"g"].concat();
        let assignment = [0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff];
        let member = [
            &[0, 1, b'm', 0xff, 0xff, 0, 1, b'c', 0, 1, b'h'][..],
            &[0, 0, 0, 1, 0, 0, 0, 2],
            &[0, 0, 0, 1, 0xff],
            &[0, 0, 0, assignment.len() as u8],
            &assignment,
        ]
        .concat();
        let value =
            [&[0, 3, 0, 8][..], b"consumer", &[0, 0, 0, 1, 0, 1, b'r', 0xff, 0xff], &[0; 8], &[0, 0, 0, 1], &member]
                .concat();
        check(
            &offsets,
            Some(&key),
            Some(&value),
            &expect![[r#"
            {"type":"2","data":{"group":"g"}}
            {"version":"3","data":{"protocolType":"consumer","generation":1,"protocol":"r","leader":null,"currentStateTimestamp":0,"members":[{"memberId":"m","groupInstanceId":null,"clientId":"c","clientHost":"h","rebalanceTimeout":1,"sessionTimeout":2,"subscription":"/w==","assignment":{"assignedPartitions":[{"topic":"t","partitions":[5]}],"userData":null}}]}}"#]],
        );
        check(
            &offsets,
            Some(&key),
            None,
            &expect![[r#"
            {"type":"2","data":{"group":"g"}}
            <DELETE>"#]],
        );
    }

    #[test]
    fn what_is_no_record_of_a_coordinator_is_passed_over() {
        let log = Decoder::coordinator("transaction");
        check(&log, Some(&[0, 77]), None, &expect![["Unknown record type 77 at offset 7, skipping.\n-"]]);
        check(
            &log,
            Some(&[0]),
            None,
            &expect![["Error at offset 7, skipping. Could not read version from key's buffer.\n-"]],
        );
        check(
            &log,
            Some(&[0, 0, 0, 1, b't']),
            Some(&[0, 9]),
            &expect![["Error at offset 7, skipping. Found an unknown record version 9 for 0 type\n-"]],
        );
        check(
            &log,
            None,
            Some(b"x"),
            &expect![[
                r#"Exception in thread "main" java.lang.RuntimeException: Failed to decode message at offset 7 using the specified decoder (message had a missing key)"#
            ]],
        );
    }

    #[test]
    fn records_of_the_metadata_log_are_json() {
        let metadata = Decoder::metadata();
        check(
            &metadata,
            None,
            Some(&[1, 20, 0, 0]),
            &expect![[r#"
            -
            {"type":"NO_OP_RECORD","version":0,"data":{}}"#]],
        );
        check(
            &metadata,
            None,
            Some(&[1, 20, 0, 0, 1]),
            &expect![["-\nError at 7, skipping. Found 1 byte(s) of garbage after 20"]],
        );
        check(
            &metadata,
            None,
            Some(&[2, 20, 0, 0]),
            &expect![[
                "-\nError at 7, skipping. Could not deserialize metadata record due to unknown frame version 2(only frame version 1 is supported)"
            ]],
        );
    }
}
