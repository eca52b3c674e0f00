//! How a record is printed.
//!
//! ```text
//! CreateTime:ts ⇥ Partition:n ⇥ Offset:n ⇥ Delivery:n ⇥ Epoch:n ⇥ k1:v1,k2:v2 ⇥ key ⇥ value ⏎
//! ```
//!
//! Only the value, unless more is asked for. `key.separator` is between all of them.

use ottla_protocol::records::TimestampType;

use super::internal_topics::InternalTopic;
use crate::client::Incoming;
use crate::java_number::decimal;
use crate::java_text::text_of;
use crate::properties::Properties;
use crate::refusal::CONFIG_EXCEPTION;

const PACKAGE: &str = "org.apache.kafka.common.serialization.";
const FORMATTERS: &str = "org.apache.kafka.tools.consumer.";
/// The classes of that package that can be made.
const DESERIALIZERS: [&str; 12] = [
    "BooleanDeserializer",
    "ByteArrayDeserializer",
    "ByteBufferDeserializer",
    "BytesDeserializer",
    "DoubleDeserializer",
    "FloatDeserializer",
    "IntegerDeserializer",
    "LongDeserializer",
    "ShortDeserializer",
    "StringDeserializer",
    "UUIDDeserializer",
    "VoidDeserializer",
];
/// The text of a UUID is no longer.
const UUID_LENGTH: usize = 36;
/// What stands for a number that the record does not have.
const NOT_PRESENT: &[u8] = b"NOT_PRESENT";

/// A way to print records.
#[derive(Clone, Debug)]
pub enum Formatter {
    /// Kafka's DefaultMessageFormatter, and its LoggingMessageFormatter.
    ///
    /// Differs from Kafka: nothing of the latter goes to the log as well, where Kafka's tools show it once they are told to show
    /// what is at level INFO.
    Columns(Box<Columns>),
    /// One of Kafka's formatters for its own topics.
    Internal(Box<InternalTopic>),
    /// Kafka's NoOpMessageFormatter: prints nothing.
    Nothing,
}

/// Which columns are printed, and with what between them.
#[derive(Clone, Debug)]
pub struct Columns {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key_type: Type,
    value_type: Type,
    headers_type: Type,
}

/// What bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bytes,
    Text,
    Long,
    Integer,
    Short,
    Double,
    Float,
    Boolean,
    Uuid,
}

impl Formatter {
    /// The formatter of this class, with its properties, and with deserializers for keys and values that win over them.
    pub fn from(
        class: Option<&str>,
        deserializers: [Option<&str>; 2],
        properties: &mut Properties,
    ) -> Result<Self, String> {
        match class.map(|class| class.strip_prefix(FORMATTERS).unwrap_or(class)) {
            None | Some("DefaultMessageFormatter" | "LoggingMessageFormatter") => {
                Columns::from(deserializers, properties).map(|columns| Self::Columns(Box::new(columns)))
            }
            Some("NoOpMessageFormatter") => Ok(Self::Nothing),
            Some(other) => match InternalTopic::of_class(other) {
                Some(formatter) => Ok(Self::Internal(Box::new(formatter))),
                None => Err(format!(
                    "{}\nThis formatter is not there: {FORMATTERS}DefaultMessageFormatter is, and likewise \
                     LoggingMessageFormatter, NoOpMessageFormatter, OffsetsMessageFormatter, GroupMetadataMessageFormatter, \
                     TransactionLogMessageFormatter, ShareGroupMessageFormatter and group.share.ShareGroupStateMessageFormatter",
                    class.unwrap_or_default()
                )),
            },
        }
    }

    /// Prints a record.
    ///
    /// # Errors
    /// The bytes do not mean what they are to mean. Columns before may have been printed.
    pub fn format(&self, incoming: &Incoming<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Columns(columns) => columns.format(incoming, out),
            Self::Internal(topic) => topic.format(&incoming.record, out),
            Self::Nothing => Ok(()),
        }
    }
}

impl Columns {
    fn from([key, value]: [Option<&str>; 2], properties: &mut Properties) -> Result<Self, String> {
        let mut flag = |name: &str, default: bool| properties.take_flag(&format!("print.{name}")).unwrap_or(default);
        let [timestamp, partition, offset, delivery, epoch, headers, print_key] =
            ["timestamp", "partition", "offset", "delivery", "epoch", "headers", "key"].map(|name| flag(name, false));
        let print_value = flag("value", true);
        let mut text =
            |key: &str, default: &str| properties.take(key).unwrap_or_else(|| default.to_owned()).into_bytes();
        let key_separator = text("key.separator", "\t");
        let line_separator = text("line.separator", "\n");
        let headers_separator = text("headers.separator", ",");
        let null_literal = text("null.literal", "null");
        let mut kind = |option: Option<&str>, property: &str| {
            let property = properties.take(property);
            Type::of(option.or(property.as_deref()))
        };
        Ok(Self {
            timestamp,
            partition,
            offset,
            delivery,
            epoch,
            headers,
            key: print_key,
            value: print_value,
            key_separator,
            line_separator,
            headers_separator,
            null_literal,
            key_type: kind(key, "key.deserializer")?,
            value_type: kind(value, "value.deserializer")?,
            headers_type: kind(None, "headers.deserializer")?,
        })
    }

    fn format(&self, incoming: &Incoming<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let record = &incoming.record;
        let start = out.len();
        if self.timestamp {
            match incoming.timestamp_type {
                _ if record.timestamp < 0 => out.extend_from_slice(b"NO_TIMESTAMP"),
                TimestampType::CreateTime => labelled(out, "CreateTime:", record.timestamp),
                TimestampType::LogAppendTime => labelled(out, "LogAppendTime:", record.timestamp),
            }
        }
        if self.partition {
            self.separate(start, out);
            labelled(out, "Partition:", i64::from(incoming.partition));
        }
        if self.offset {
            self.separate(start, out);
            labelled(out, "Offset:", record.offset.0);
        }
        if self.delivery {
            // Only share groups count deliveries.
            self.separate(start, out);
            out.extend_from_slice(b"Delivery:");
            out.extend_from_slice(NOT_PRESENT);
        }
        if self.epoch {
            // Differs from Kafka: its tool loses the epoch on the way and prints NOT_PRESENT always.
            self.separate(start, out);
            match incoming.leader_epoch {
                ..0 => {
                    out.extend_from_slice(b"Epoch:");
                    out.extend_from_slice(NOT_PRESENT);
                }
                epoch => labelled(out, "Epoch:", i64::from(epoch)),
            }
        }
        if self.headers {
            self.separate(start, out);
            self.format_headers(incoming, out)?;
        }
        // An empty key is a column too, so columns before it are not what separates it.
        let mut first = out.len() == start;
        for (printed, kind, bytes) in
            [(self.key, self.key_type, record.key), (self.value, self.value_type, record.value)]
        {
            if printed {
                if !first {
                    out.extend_from_slice(&self.key_separator);
                }
                first = false;
                self.format_bytes(kind, bytes, out)?;
            }
        }
        // Without any column there is no line.
        if !first {
            out.extend_from_slice(&self.line_separator);
        }
        Ok(())
    }

    fn format_headers(&self, incoming: &Incoming<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        if incoming.record.headers.is_empty() {
            out.extend_from_slice(b"NO_HEADERS");
        }
        for (index, (key, value)) in incoming.record.headers.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(&self.headers_separator);
            }
            out.extend_from_slice(key);
            out.push(b':');
            self.format_bytes(self.headers_type, value, out)?;
        }
        Ok(())
    }

    fn format_bytes(&self, kind: Type, bytes: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), String> {
        match bytes {
            Some(bytes) => kind.format(bytes, out),
            None => {
                out.extend_from_slice(&self.null_literal);
                Ok(())
            }
        }
    }

    fn separate(&self, start: usize, out: &mut Vec<u8>) {
        if out.len() > start {
            out.extend_from_slice(&self.key_separator);
        }
    }
}

impl Type {
    /// What is read by the deserializer of this class. As in Kafka, who names one that cannot be made is told, and gets the bytes.
    fn of(class: Option<&str>) -> Result<Self, String> {
        let Some(class) = class else { return Ok(Self::Bytes) };
        if let Some(exception) = not_made(class) {
            eprintln!("ERROR Unable to instantiate a deserializer from {class}\n{exception}");
            return Ok(Self::Bytes);
        }
        match class.strip_prefix(PACKAGE).and_then(|name| name.strip_suffix("Deserializer")) {
            Some("ByteArray" | "Bytes" | "ByteBuffer") => Ok(Self::Bytes),
            Some("String") => Ok(Self::Text),
            Some("Long") => Ok(Self::Long),
            Some("Integer") => Ok(Self::Integer),
            Some("Short") => Ok(Self::Short),
            Some("Double") => Ok(Self::Double),
            Some("Float") => Ok(Self::Float),
            Some("Boolean") => Ok(Self::Boolean),
            Some("UUID") => Ok(Self::Uuid),
            _ => Err(format!(
                "The deserializer {class} is not there: {PACKAGE}StringDeserializer is, and likewise those for ByteArray, \
                 Long, Integer, Short, Double, Float, Boolean and UUID"
            )),
        }
    }

    fn format(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let text = match self {
            Self::Bytes => {
                out.extend_from_slice(bytes);
                return Ok(());
            }
            Self::Text => text_of(bytes).into_owned(),
            Self::Uuid => uuid(bytes).ok_or("Error parsing data into UUID")?,
            Self::Long => i64::from_be_bytes(self.exactly(bytes)?).to_string(),
            Self::Integer => i32::from_be_bytes(self.exactly(bytes)?).to_string(),
            Self::Short => i16::from_be_bytes(self.exactly(bytes)?).to_string(),
            Self::Double => decimal(f64::from_be_bytes(self.exactly(bytes)?)),
            Self::Float => decimal(f32::from_be_bytes(self.exactly(bytes)?)),
            Self::Boolean => (self.exactly::<1>(bytes)? != [0]).to_string(),
        };
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn exactly<const N: usize>(self, bytes: &[u8]) -> Result<[u8; N], String> {
        bytes.try_into().map_err(|_| format!("Size of data received by {self:?}Deserializer is not {N}"))
    }
}

/// What Java throws where it is to make a deserializer of this class, if it cannot.
///
/// Differs from Kafka: no class is there but Kafka's own.
fn not_made(class: &str) -> Option<String> {
    match class.strip_prefix(PACKAGE) {
        Some(own) if DESERIALIZERS.contains(&own) => None,
        Some("ListDeserializer") => Some(format!(
            "{CONFIG_EXCEPTION}Not able to determine the list class because it was neither passed via the constructor nor set in \
             the config."
        )),
        _ => Some(format!("java.lang.ClassNotFoundException: {class}")),
    }
}

/// The text of a UUID as Java prints it, of one that Java reads: its five numbers may have fewer digits, and of those with more
/// the last ones count.
fn uuid(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= UUID_LENGTH)?;
    let numbers: Vec<u64> = text
        .split('-')
        .map(|part| i64::from_str_radix(part, 16).map(i64::cast_unsigned))
        .collect::<Result<_, _>>()
        .ok()?;
    let [a, b, c, d, e] = numbers[..] else { return None };
    let (b, c, d) = (b & 0xffff, c & 0xffff, d & 0xffff);
    Some(format!("{:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", a & 0xffff_ffff, e & 0xffff_ffff_ffff))
}

fn labelled(out: &mut Vec<u8>, label: &str, number: i64) {
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(number.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ottla_protocol::records::{Batch, BatchBuilder, RecordIter};

    use super::*;

    const ALL: &str = "print.timestamp=true print.partition=true print.offset=true print.delivery=true print.epoch=true \
                       print.headers=true print.key=true";

    fn check(properties: &str, expected: &Expect) {
        let pairs: Vec<_> = properties.split_whitespace().map(str::to_owned).collect();
        let mut properties = Properties::gather(None, &pairs).unwrap();
        let formatter = Formatter::from(None, [None, None], &mut properties).unwrap();
        let mut builder = BatchBuilder::new();
        builder.push(7, Some(b"k"), Some(b"v"), &[(b"a", Some(b"b")), (b"c", None)]);
        builder.push(8, None, None, &[]);
        builder.push(9, Some(b""), Some(b"\0\0\0\0\0\0\0\x05"), &[]);
        let bytes = builder.build().unwrap();
        let (batch, _) = Batch::parse(&bytes).unwrap();
        let mut out = Vec::new();
        for record in RecordIter::new(batch.header(), batch.records()) {
            let incoming = Incoming {
                topic: "t",
                partition: 2,
                leader_epoch: 3,
                timestamp_type: TimestampType::CreateTime,
                record: record.unwrap(),
            };
            if let Err(message) = formatter.format(&incoming, &mut out) {
                out.extend_from_slice(format!("!{message}\n").as_bytes());
            }
        }
        expected.assert_eq(&String::from_utf8(out).unwrap().replace('\0', "0"));
    }

    #[test]
    fn columns_are_printed_in_kafkas_order() {
        check(
            "",
            &expect![[r#"
            v
            null
            0000000
        "#]],
        );
        check(
            ALL,
            &expect![[r#"
            CreateTime:7	Partition:2	Offset:0	Delivery:NOT_PRESENT	Epoch:3	a:b,c:null	k	v
            CreateTime:8	Partition:2	Offset:1	Delivery:NOT_PRESENT	Epoch:3	NO_HEADERS	null	null
            CreateTime:9	Partition:2	Offset:2	Delivery:NOT_PRESENT	Epoch:3	NO_HEADERS		0000000
        "#]],
        );
        check(
            "print.key=true",
            &expect![[r#"
            k	v
            null	null
            	0000000
        "#]],
        );
        check(
            "print.key=true print.value=false",
            &expect![[r#"
            k
            null

        "#]],
        );
    }

    #[test]
    fn without_columns_nothing_is_printed() {
        check("print.value=false", &expect![""]);
    }

    #[test]
    fn separators_are_what_one_likes() {
        check(
            "print.key=true print.headers=true key.separator=| line.separator=; headers.separator=/ null.literal=NIL",
            &expect!["a:b/c:NIL|k|v;NO_HEADERS|NIL|NIL;NO_HEADERS||0000000;"],
        );
    }

    #[test]
    fn a_uuid_is_shown_as_java_reads_it() {
        let whole = "0123abcd-0123-4567-89ab-0123456789ab";
        assert_eq!(uuid(whole.to_uppercase().as_bytes()).as_deref(), Some(whole));
        assert_eq!(uuid(b"1-2-3-4-5").as_deref(), Some("00000001-0002-0003-0004-000000000005"));
        assert_eq!(uuid(b"1-2-3-12345-5").as_deref(), Some("00000001-0002-0003-2345-000000000005"));
        for wrong in ["", "v", "1-2-3-4", "1-2-3-4-5-6", "-1-2-3-4-5", "1--3-4-5", &format!("{whole}0")] {
            assert_eq!(uuid(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_no_deserializer_can_be_made_for_is_shown_as_it_is() {
        check(
            "print.key=true print.headers=true key.deserializer=nosuch value.deserializer=java.lang.String headers.deserializer=",
            &expect![[r#"
                a:b,c:null	k	v
                NO_HEADERS	null	null
                NO_HEADERS		0000000
            "#]],
        );
        let thrown = |class| not_made(class).unwrap_or_default();
        assert_eq!(thrown("nosuch"), "java.lang.ClassNotFoundException: nosuch");
        assert_eq!(
            thrown("org.apache.kafka.common.serialization.ListDeserializer"),
            "org.apache.kafka.common.config.ConfigException: Not able to determine the list class because it was neither passed \
             via the constructor nor set in the config."
        );
        assert_eq!(thrown("org.apache.kafka.common.serialization.LongDeserializer"), "");
        let refused = Formatter::from(
            None,
            [None, Some("org.apache.kafka.common.serialization.VoidDeserializer")],
            &mut Properties::default(),
        );
        assert!(refused.is_err_and(|message| message.contains("VoidDeserializer is not there")));
    }

    #[test]
    fn bytes_are_read_as_what_they_are_said_to_be() {
        check(
            "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer",
            &expect![[r#"
            !Size of data received by LongDeserializer is not 8
            null
            5
        "#]],
        );
        check(
            "value.deserializer=org.apache.kafka.common.serialization.DoubleDeserializer",
            &expect![[r#"
            !Size of data received by DoubleDeserializer is not 8
            null
            2.5E-323
        "#]],
        );
    }
}
