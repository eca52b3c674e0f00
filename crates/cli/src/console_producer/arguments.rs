//! What the command line of the console producer may say, and what it comes to.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ottla_protocol::records::Compression;

use super::line_reader::LineReader;
use crate::client::{Acks, Address, Options, ProducerOptions};
use crate::properties::{Properties, Unreadable, say};
use crate::refusal::{CONFIG_EXCEPTION, Refusal};

const DEFAULT_BATCH_BYTES: usize = 16 * 1024;
const DEFAULT_LINGER_MS: u64 = 1000;
const DEFAULT_MAX_BLOCK_MS: u64 = 60_000;
const DEFAULT_MAX_REQUEST_BYTES: usize = 1024 * 1024;
const DEFAULT_REQUEST_TIMEOUT_MS: u64 = 1500;
const DEFAULT_RETRIES: u32 = 3;
const DEFAULT_RETRY_BACKOFF_MS: u64 = 100;
const DEFAULT_DELIVERY_TIMEOUT_MS: u64 = 120_000;
/// The class that reads lines; there is no other.
const LINE_READER: &str = "org.apache.kafka.tools.LineMessageReader";

/// What to write where, and how.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    /// The brokers to connect to: HOST:PORT, with commas between them.
    #[arg(long, value_name = "SERVERS")]
    bootstrap_server: Option<String>,
    /// The topic to write to.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,

    /// The class that makes records of lines: org.apache.kafka.tools.LineMessageReader is the only one.
    #[arg(long, value_name = "CLASS")]
    line_reader: Option<String>,
    /// How lines become records, as NAME=VALUE; may be given many times: parse.key (false), parse.headers (false),
    /// ignore.error (false), key.separator (tab), headers.delimiter (tab), headers.separator (,), headers.key.separator
    /// (:), null.marker (none). With all of them a line is "h1:v1,h2:v2", tab, "key", tab, "value".
    #[arg(long, value_name = "NAME=VALUE")]
    reader_property: Vec<String>,
    /// A file with such properties.
    #[arg(long, value_name = "FILE")]
    reader_config: Option<PathBuf>,
    /// (Deprecated) The old name of --reader-property.
    #[arg(long, value_name = "NAME=VALUE")]
    property: Vec<String>,

    /// A property of the producer, such as client.id, acks, linger.ms, batch.size, compression.type,
    /// enable.idempotence or max.request.size; may be given many times.
    #[arg(long, value_name = "NAME=VALUE")]
    command_property: Vec<String>,
    /// A file with such properties.
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// (Deprecated) The old name of --command-property.
    #[arg(long, value_name = "NAME=VALUE")]
    producer_property: Vec<String>,
    /// (Deprecated) The old name of --command-config.
    #[arg(long = "producer.config", value_name = "FILE")]
    producer_config: Option<PathBuf>,

    /// Write each line before the next is read.
    #[arg(long)]
    sync: bool,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd; gzip where it is given without a value.
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip")]
    compression_codec: Option<String>,
    /// How many bytes of records go to a partition at once [default: 16384].
    #[arg(long, value_name = "BYTES")]
    batch_size: Option<usize>,
    /// (Deprecated) The old name of --batch-size.
    #[arg(long, value_name = "BYTES")]
    max_partition_memory_bytes: Option<usize>,
    /// Whose acknowledgement to wait for: 0, 1, or -1 (also: all) [default: -1].
    #[arg(long, value_name = "ACKS", allow_hyphen_values = true)]
    request_required_acks: Option<String>,
    /// How long a broker may take to acknowledge [default: 1500].
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<u64>,
    /// How long a record may wait for others, so that they are sent together [default: 1000].
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// How long to wait until the topic is known [default: 60000].
    #[arg(long, value_name = "MS")]
    max_block_ms: Option<u64>,
    /// How often a batch is sent again [default: 3].
    #[arg(long, value_name = "COUNT")]
    message_send_max_retries: Option<u32>,
    /// How long to wait before that [default: 100].
    #[arg(long, value_name = "MS")]
    retry_backoff_ms: Option<u64>,
    /// Accepted, and without effect: records that wait are bounded by the batches.
    #[arg(long, value_name = "BYTES")]
    max_memory_bytes: Option<u64>,
    /// Accepted, and without effect: metadata is asked for when it has proved wrong.
    #[arg(long, value_name = "MS")]
    metadata_expiry_ms: Option<u64>,
    /// Accepted, and without effect: the system chooses.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    socket_buffer_size: Option<i32>,
}

/// All that the arguments come to.
#[derive(Debug)]
pub struct Settings {
    /// The bootstrap list.
    pub bootstrap: String,
    /// The topic to write to.
    pub topic: String,
    /// How to connect.
    pub connection: Options,
    /// How to write.
    pub producer: ProducerOptions,
    /// How long a record may wait for others.
    pub linger: Duration,
    /// Whether each line is written before the next is read.
    pub sync: bool,
    /// How lines become records.
    pub line_reader: LineReader,
}

impl Arguments {
    /// Reads the arguments, and the files they name.
    ///
    /// # Errors
    /// They make no sense; the message is for the user.
    pub fn settings(&self) -> Result<Settings, Refusal> {
        let (topic, bootstrap) = self.check()?;
        self.warn_of_old_names();
        if self.line_reader.as_ref().is_some_and(|class| class != LINE_READER) {
            let class = self.line_reader.as_deref().unwrap_or_default();
            return Err(Refusal::Thrown(format!("java.lang.ClassNotFoundException: {class}")));
        }
        let unreadable = |file: Unreadable| Refusal::Thrown(file.exception());
        let wrong = |message: String| Refusal::Thrown(format!("{CONFIG_EXCEPTION}{message}"));
        let file = self.command_config.as_deref().or(self.producer_config.as_deref());
        let pairs = [&self.command_property[..], &self.producer_property].concat();
        let mut properties = Properties::gather(file, &pairs).map_err(unreadable)?;
        let producer = self.producer_options(&mut properties).map_err(wrong)?;
        let mut connection = properties.take_connection_options("console-producer").map_err(wrong)?;
        connection.request_timeout = producer.request_timeout;
        let linger = take(self.timeout, &mut properties, "linger.ms", DEFAULT_LINGER_MS).map_err(wrong)?;
        properties.warn_of_the_rest();
        let pairs = [&self.reader_property[..], &self.property].concat();
        let mut reader_properties = Properties::gather(self.reader_config.as_deref(), &pairs).map_err(unreadable)?;
        let line_reader = LineReader::from(&mut reader_properties);
        reader_properties.warn_of_the_rest();
        let linger = Duration::from_millis(linger);
        Ok(Settings { bootstrap, topic, connection, producer, linger, sync: self.sync, line_reader })
    }

    /// The topic, and the list of addresses, where the options fit each other.
    fn check(&self) -> Result<(String, String), Refusal> {
        let usage = |message: &str| Refusal::Usage(message.to_owned());
        let topic = self.topic.clone().ok_or_else(|| usage("Missing required argument \"[topic]\""))?;
        for (both, new, old) in [
            (
                !self.command_property.is_empty() && !self.producer_property.is_empty(),
                "command-property",
                "producer-property",
            ),
            (self.command_config.is_some() && self.producer_config.is_some(), "command-config", "producer.config"),
            (!self.reader_property.is_empty() && !self.property.is_empty(), "reader-property", "property"),
        ] {
            if both {
                return Err(usage(&format!("Options --{new} and --{old} cannot be specified together.")));
            }
        }
        let bootstrap = self.bootstrap_server.clone().unwrap_or_default();
        if bootstrap.is_empty() {
            return Err(usage("Error while validating the bootstrap address\n"));
        }
        if Address::parse_list(&bootstrap).is_err() {
            return Err(usage("Please provide valid host:port like host1:9091,host2:9092\n"));
        }
        Ok((topic, bootstrap))
    }

    /// As in Kafka, an option that was given wins over a property, and a property over the default.
    fn producer_options(&self, properties: &mut Properties) -> Result<ProducerOptions, String> {
        let batch_size = self.max_partition_memory_bytes.or(self.batch_size);
        let acks = self.request_required_acks.clone().or_else(|| properties.take("acks"));
        let acks = match acks.as_deref() {
            None | Some("-1" | "all") => Acks::All,
            Some("0") => Acks::None,
            Some("1") => Acks::Leader,
            Some(other) => {
                return Err(format!(
                    "Invalid value {other} for configuration acks: String must be one of: all, -1, 0, 1"
                ));
            }
        };
        let codec = self.compression_codec.clone().or_else(|| properties.take("compression.type"));
        let codec = codec.unwrap_or_else(|| Compression::None.name().to_owned());
        let compression = Compression::from_name(&codec).ok_or_else(|| {
            let names = Compression::ALL.map(Compression::name).join(", ");
            format!("Invalid value {codec} for configuration compression.type: String must be one of: {names}")
        })?;
        let idempotent = properties.take_flag("enable.idempotence").unwrap_or(true);
        let retries = take(self.message_send_max_retries, properties, "retries", DEFAULT_RETRIES)?;
        let in_ms = |option: Option<u64>, properties: &mut Properties, key: &str, default: u64| {
            take(option, properties, key, default).map(Duration::from_millis)
        };
        Ok(ProducerOptions {
            acks,
            batch_bytes: take(batch_size, properties, "batch.size", DEFAULT_BATCH_BYTES)?,
            compression,
            compression_level: level_of(compression, properties)?,
            max_request_bytes: take(None, properties, "max.request.size", DEFAULT_MAX_REQUEST_BYTES)?,
            retries,
            retry_backoff: in_ms(self.retry_backoff_ms, properties, "retry.backoff.ms", DEFAULT_RETRY_BACKOFF_MS)?,
            request_timeout: in_ms(
                self.request_timeout_ms,
                properties,
                "request.timeout.ms",
                DEFAULT_REQUEST_TIMEOUT_MS,
            )?,
            max_block: in_ms(self.max_block_ms, properties, "max.block.ms", DEFAULT_MAX_BLOCK_MS)?,
            delivery_timeout: in_ms(None, properties, "delivery.timeout.ms", DEFAULT_DELIVERY_TIMEOUT_MS)?,
            idempotent: idempotent && acks == Acks::All && retries > 0,
            on_retry: |client_id, error| eprintln!("{}", error.warning(&format!("Producer clientId={client_id}"))),
        })
    }

    /// Says which options have a new name.
    fn warn_of_old_names(&self) {
        let old = [
            (!self.producer_property.is_empty(), "producer-property", "command-property"),
            (self.producer_config.is_some(), "producer.config", "command-config"),
            (self.max_partition_memory_bytes.is_some(), "max-partition-memory-bytes", "batch-size"),
            (!self.property.is_empty(), "property", "reader-property"),
        ];
        for (_, old, new) in old.iter().filter(|(given, _, _)| *given) {
            say(&format!(
                "Warning: --{old} is deprecated and will be removed in a future version. Use --{new} instead."
            ));
        }
    }
}

/// An option, or else a property, or else the default.
fn take<T: std::str::FromStr>(
    option: Option<T>,
    properties: &mut Properties,
    key: &str,
    default: T,
) -> Result<T, String> {
    let property = properties.take_number(key)?;
    Ok(option.or(property).unwrap_or(default))
}

/// The level that a codec is told, where it has levels.
fn level_of(compression: Compression, properties: &mut Properties) -> Result<Option<i32>, String> {
    let levels = match compression {
        Compression::Gzip => 1..=9,
        Compression::Lz4 => 1..=17,
        Compression::Zstd => -131_072..=22,
        Compression::None | Compression::Snappy => return Ok(None),
    };
    let key = format!("compression.{}.level", compression.name());
    match properties.take_number::<i32>(&key)? {
        // Java's word for "as gzip likes".
        Some(-1) if compression == Compression::Gzip => Ok(None),
        Some(level) if !levels.contains(&level) => Err(format!(
            "Invalid value {level} for configuration {key}: it is from {} to {}",
            levels.start(),
            levels.end()
        )),
        level => Ok(level),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::test_line;

    fn check_settings(line: &str, expected: &Expect) {
        let shown = match test_line::arguments::<Arguments>(line).settings() {
            Ok(settings) => {
                let of = settings.producer;
                format!(
                    "{:?} {:?} {:?} batch {} linger {:?} retries {} idempotent {} as {}",
                    of.acks,
                    of.compression,
                    of.compression_level,
                    of.batch_bytes,
                    settings.linger,
                    of.retries,
                    of.idempotent,
                    settings.connection.client_id
                )
            }
            Err(refusal) => {
                let notes = refusal.screen("console-producer", super::super::THROWN).notes;
                notes.lines().next().unwrap_or_default().to_owned()
            }
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn options_win_over_properties_and_these_over_defaults() {
        check_settings(
            "--topic t --bootstrap-server a:1",
            &expect!["All None None batch 16384 linger 1s retries 3 idempotent true as console-producer"],
        );
        check_settings(
            "--topic t --bootstrap-server a:1 --compression-codec --request-required-acks 1",
            &expect!["Leader Gzip None batch 16384 linger 1s retries 3 idempotent false as console-producer"],
        );
        check_settings(
            "--topic t --bootstrap-server a:1 --compression-codec zstd --batch-size 7 --timeout 5 --command-property batch.size=8 --command-property acks=0 --command-property compression.zstd.level=9 --command-property client.id=x",
            &expect!["None Zstd Some(9) batch 7 linger 5ms retries 3 idempotent false as x"],
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        check_settings("--bootstrap-server a:1", &expect![[r#"Missing required argument "[topic]""#]]);
        check_settings("--topic t", &expect!["Error while validating the bootstrap address"]);
        check_settings(
            "--topic t --bootstrap-server a:1 --compression-codec bogus",
            &expect![
                "org.apache.kafka.common.config.ConfigException: Invalid value bogus for configuration compression.type: String must be one of: none, gzip, snappy, lz4, zstd"
            ],
        );
        check_settings(
            "--topic t --bootstrap-server a:1 --request-required-acks 2",
            &expect![
                "org.apache.kafka.common.config.ConfigException: Invalid value 2 for configuration acks: String must be one of: all, -1, 0, 1"
            ],
        );
        check_settings(
            "--topic t --bootstrap-server a:1 --compression-codec gzip --command-property compression.gzip.level=10",
            &expect![
                "org.apache.kafka.common.config.ConfigException: Invalid value 10 for configuration compression.gzip.level: it is from 1 to 9"
            ],
        );
        check_settings(
            "--topic t --bootstrap-server a:1 --property a=b --reader-property a=b",
            &expect!["Options --reader-property and --property cannot be specified together."],
        );
    }
}
