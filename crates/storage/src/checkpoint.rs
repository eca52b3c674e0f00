//! Checkpoints: text files of a version, a count and that many lines, in a log directory or a partition's folder.
//!
//! ```text
//!   0                      version
//!   2                      how many lines follow
//!   orders 0 1250          topic, partition, offset        (in leader-epoch-checkpoint: epoch, start offset)
//!   orders 1 0
//! ```
//!
//! This is not where the offsets are gathered or acted on. A checkpoint that cannot be read is an error here; its reader
//! knows whether it may go on with an empty one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ottla_base::{Offset, TopicPartition};

use crate::error::{Error, Result};
use crate::small_file;

/// Per log directory: below which offset each log is flushed.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// Per log directory: where each log starts, if above its first segment.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// Per log directory: the high watermark of each partition.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Per log directory: up to where each log is compacted.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// No log comes this far: at a thousand million records a second it would take a century. What is above is damage, and a log that
/// began there would soon have no offset left to give.
const OFFSET_LIMIT: i64 = i64::MAX / 2;

/// The one version there is.
const VERSION: &str = "0";

/// Reads the offsets of all partitions. A file that does not exist, or has no bytes yet, holds none: Kafka makes empty ones
/// when it starts and fills them later.
///
/// # Errors
/// `Corrupt` if the file is malformed, `WrongFormat` if its version is not 0. What can be rebuilt (recovery point, log
/// start) may then be taken as empty, with a warning.
pub fn read_offsets(path: &Path) -> Result<BTreeMap<TopicPartition, Offset>> {
    let lines = read_lines(path, |line| {
        let mut words = line.split(' ');
        let (topic, partition, offset) = (words.next()?, number(words.next()?)?, number(words.next()?)?);
        let partition = i32::try_from(partition).ok()?;
        let is_whole = !topic.is_empty() && words.next().is_none() && offset < OFFSET_LIMIT;
        is_whole.then(|| (TopicPartition::new(topic, partition), Offset(offset)))
    })?;
    Ok(lines.into_iter().collect())
}

/// Puts the offsets of all partitions in the place of the file.
pub fn write_offsets(path: &Path, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<()> {
    write_lines(path, offsets, |text, (TopicPartition { topic, partition }, offset)| {
        writeln!(text, "{topic} {partition} {offset}")
    })
}

/// The lines of the checkpoint at `path`, each read by `parse`; none if there is no such file, or an empty one.
pub(crate) fn read_lines<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let text = small_file::read_text(path)?.unwrap_or_default();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut lines = text.lines();
    match lines.next() {
        Some(VERSION) => {}
        Some(version) if number(version).is_some() => {
            let detail = format!("version {version} is not known, only version 0; it was written by a newer Kafka");
            return Err(Error::wrong_format(path, detail));
        }
        _ => return Err(Error::corrupt(path, "line 1 holds no version")),
    }
    let count = lines.next().and_then(number).ok_or_else(|| Error::corrupt(path, "line 2 holds no count"))?;
    let mut entries = Vec::new();
    for (index, line) in lines.enumerate() {
        let entry = parse(line).ok_or_else(|| Error::corrupt(path, format!("line {} is malformed", index + 3)))?;
        entries.push(entry);
    }
    if entries.len() as i64 != count {
        return Err(Error::corrupt(path, format!("{count} lines were announced and {} are there", entries.len())));
    }
    Ok(entries)
}

/// Puts a checkpoint of `entries`, each written by `line`, in the place of the file.
pub(crate) fn write_lines<T>(
    path: &Path,
    entries: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    line: impl Fn(&mut String, T) -> std::fmt::Result,
) -> Result<()> {
    small_file::replace(path, lines(entries, line).as_bytes())
}

/// The text of a checkpoint of `entries`, each written by `line`.
pub(crate) fn lines<T>(
    entries: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    line: impl Fn(&mut String, T) -> std::fmt::Result,
) -> String {
    let entries = entries.into_iter();
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for entry in entries {
        line(&mut text, entry).expect("a String takes all that is written to it");
    }
    text
}

/// A number of digits alone: no sign, for nothing in a checkpoint is negative.
pub(crate) fn number(word: &str) -> Option<i64> {
    (!word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())).then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_file_is_byte_for_byte_kafkas() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RECOVERY_POINT_CHECKPOINT);
        assert_eq!(read_offsets(&path).unwrap(), BTreeMap::new());
        std::fs::write(&path, "").unwrap();
        assert_eq!(read_offsets(&path).unwrap(), BTreeMap::new());
        let offsets = BTreeMap::from([
            (TopicPartition::new("web-log", 1), Offset(0)),
            (TopicPartition::new("orders", 0), Offset(1250)),
        ]);
        write_offsets(&path, &offsets).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n2\norders 0 1250\nweb-log 1 0\n");
        assert_eq!(read_offsets(&path).unwrap(), offsets);
        write_offsets(&path, &BTreeMap::new()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n0\n");
    }

    #[test]
    fn malformed_files_are_errors_that_say_which_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(HIGH_WATERMARK_CHECKPOINT);
        for (text, expected) in [
            ("\n", "line 1 holds no version"),
            ("x\n0\n", "line 1 holds no version"),
            ("1\n0\n", "version 1 is not known"),
            ("0\n", "line 2 holds no count"),
            ("0\n-1\n", "line 2 holds no count"),
            ("0\n2\nt 0 1\n", "2 lines were announced and 1 are there"),
            ("0\n1\nt 0 1\nt 1 1\n", "1 lines were announced and 2 are there"),
            ("0\n1\nt 0\n", "line 3 is malformed"),
            ("0\n1\nt 0 1 2\n", "line 3 is malformed"),
            ("0\n1\nt 0 -1\n", "line 3 is malformed"),
            ("0\n1\nt 9999999999 1\n", "line 3 is malformed"),
            ("0\n1\nt 0 99999999999999999999\n", "line 3 is malformed"),
            ("0\n1\nt 0 9223372036854775807\n", "line 3 is malformed"),
            ("0\n1\nt 0 4611686018427387903\n", "line 3 is malformed"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read_offsets(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(CLEANER_CHECKPOINT);
            std::fs::write(&path, [&b"0\n1\n"[..], &bytes].concat()).unwrap();
            let _ = read_offsets(&path);
        }
    }
}
