//! `.log` and `.checkpoint` files: a line a batch, and a line a record.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use ottla_protocol::Reader;
use ottla_protocol::records::{BatchHeader, Decompressor, Record};
use ottla_protocol::schema::{self, Message};

use super::decoders::Decoder;
use super::failure::{Failure, Result};
use super::segment::{Place, Segment, sequence_after, time_type};
use crate::internal_records::json::{Version, as_base64};
use crate::java_text::text_of;

/// Control records are of this version, whatever they say.
const CONTROL_VERSION: i16 = 0;
/// The name of the snapshot that a node is formatted with.
const BOOTSTRAP: &str = "bootstrap.checkpoint";
/// The digits of the two numbers in a snapshot's name.
const SNAPSHOT_DIGITS: [usize; 2] = [20, 10];

/// What of a log is shown, and how.
pub struct Wanted<'a> {
    /// Records too, not only batches.
    pub is_deep: bool,
    /// Their keys and values.
    pub decoder: Option<&'a Decoder>,
    /// Nothing but keys and values.
    pub no_metadata: bool,
    /// So much of the file.
    pub bytes_max: i32,
}

/// Offsets that do not follow the one before: that one, and what came.
pub type Gaps = BTreeMap<i64, i64>;

/// Shows a file.
pub fn dump(path: &Path, wanted: &Wanted<'_>, gaps: &mut Gaps, out: &mut impl Write) -> Result<()> {
    write_title(path, out)?;
    let segment = Segment::open(path)?;
    let end = segment.end_of_slice(0, wanted.bytes_max)?;
    let controls = Controls::new();
    let (mut buffer, mut unpacked, mut decompressor) = (Vec::new(), Vec::new(), Decompressor::default());
    let mut position = 0;
    let mut last_offset = -1;
    while let Some(place) = segment.batch_at(position, end)? {
        let mut batch = segment.whole(&place, buffer)?;
        batch.print(&place, out)?;
        if wanted.is_deep {
            batch.for_each_record(&mut decompressor, &mut unpacked, |header, record| {
                let offset = record.offset.0;
                if offset != last_offset + 1 {
                    gaps.insert(last_offset, offset);
                }
                last_offset = offset;
                write_record(header, record, wanted, &controls, out)
            })?;
        }
        buffer = batch.into_buffer();
        position = place.end();
    }
    if position < end && wanted.bytes_max == i32::MAX {
        let name = path.file_name().unwrap_or_default().display();
        writeln!(out, "Found {} invalid bytes at the end of {name}", end - position)?;
    }
    Ok(())
}

fn write_title(path: &Path, out: &mut impl Write) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let title = if name.ends_with(".log") {
        format!("Log starting offset: {}", offset_of(&name)?)
    } else if name == BOOTSTRAP {
        "KRaft bootstrap snapshot".to_owned()
    } else {
        let [offset, epoch] =
            snapshot_of(&name).ok_or_else(|| Failure::new("java.util.NoSuchElementException", "No value present"))?;
        format!("Snapshot end offset: {offset}, epoch: {epoch}")
    };
    Ok(writeln!(out, "{title}")?)
}

/// The offset in a file's name.
pub fn offset_of(name: &str) -> Result<i64> {
    let digits = name.split('.').next().unwrap_or_default();
    let refused = || Failure::new("java.lang.NumberFormatException", format!("For input string: \"{digits}\""));
    digits.parse().map_err(|_| refused())
}

/// The end offset and the epoch in a snapshot's name.
fn snapshot_of(name: &str) -> Option<[i64; 2]> {
    let mut numbers = name.strip_suffix(".checkpoint")?.split('-').zip(SNAPSHOT_DIGITS).map(|(digits, count)| {
        let is_number = digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    });
    Some([numbers.next()??, numbers.next()??])
}

fn write_record(
    header: &BatchHeader,
    record: &Record<'_>,
    wanted: &Wanted<'_>,
    controls: &Controls,
    out: &mut impl Write,
) -> Result<()> {
    let is_control = header.attributes.is_control();
    if !wanted.no_metadata {
        let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        write!(
            out,
            "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [",
            record.offset,
            time_type(header.attributes.timestamp_type()),
            record.timestamp,
            size(record.key),
            size(record.value),
            sequence_after(header.base_sequence, record.offset_delta, |sequence| sequence < 0),
        )?;
        for (index, (key, _)) in record.headers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{}", text_of(key))?;
        }
        write!(out, "]")?;
        if is_control {
            write!(out, "{}", controls.show(record)?)?;
        }
    }
    if let Some(decoder) = wanted.decoder.filter(|_| !is_control) {
        let mut before = if wanted.no_metadata { "| " } else { " " };
        let shown = decoder.show(record)?;
        if let Some(key) = shown.key {
            write!(out, "{before}key: {key}")?;
            before = " ";
        }
        if let Some(value) = shown.value {
            write!(out, "{before}payload: {value}")?;
        }
    }
    Ok(writeln!(out)?)
}

/// What control records say.
struct Controls(Vec<Message>);

impl Controls {
    fn new() -> Self {
        let mut messages =
            schema::parse(schema::INTERNAL).expect("the schemas are well-formed, as the code made from them shows");
        messages.retain(|message| message.group == "control");
        Self(messages)
    }

    /// By the number in the key: `version i16, type i16`.
    fn show(&self, record: &Record<'_>) -> Result<String> {
        let key = record.key.unwrap_or_default();
        let (Some(version), Some(kind)) = (int16(key, 0), int16(key, 2)) else {
            return Err(Failure::invalid_record(format!(
                "Invalid value size found for end control record key. Must have at least 4 bytes, but found only {}",
                key.len()
            )));
        };
        if version < 0 {
            return Err(Failure::invalid_record(format!(
                "Invalid version found for control record: {version}. May indicate data corruption"
            )));
        }
        let (title, message) = match kind {
            0 => return end_marker("ABORT", record),
            1 => return end_marker("COMMIT", record),
            2 => ("LeaderChange:", "LeaderChangeMessage"),
            3 => ("SnapshotHeader", "SnapshotHeaderRecord"),
            4 => ("SnapshotFooter", "SnapshotFooterRecord"),
            5 => ("KRaftVersion", "KRaftVersionRecord"),
            6 => ("KRaftVoters", "VotersRecord"),
            other => return Ok(format!(" controlType: UNKNOWN({other})")),
        };
        let message = self.0.iter().find(|known| known.name == message).expect("every control record has a schema");
        let version = Version { message, version: CONTROL_VERSION, bytes_as: &as_base64 };
        let fields = version.read(&mut Reader::new(record.value.unwrap_or_default()));
        let fields = fields.map_err(|error| {
            Failure::new("java.lang.RuntimeException", format!("a {} cannot be read: {error}", message.name))
        })?;
        Ok(format!(" {title} {fields}"))
    }
}

fn end_marker(name: &str, record: &Record<'_>) -> Result<String> {
    let value = record.value.unwrap_or_default();
    let version = int16(value, 0).ok_or_else(|| Failure::new("java.nio.BufferUnderflowException", ""))?;
    if version < 0 {
        return Err(Failure::invalid_record(format!(
            "Invalid version found for end transaction marker: {version}. May indicate data corruption"
        )));
    }
    let epoch = value.get(2..).and_then(|rest| rest.first_chunk());
    let epoch = epoch.ok_or_else(|| Failure::new("java.nio.BufferUnderflowException", ""))?;
    Ok(format!(" endTxnMarker: {name} coordinatorEpoch: {}", i32::from_be_bytes(*epoch)))
}

fn int16(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The last offset of a batch.
pub fn last_offset_of(segment: &Segment, place: &Place) -> Result<i64> {
    Ok(segment.header(place)?.last_offset().0)
}
