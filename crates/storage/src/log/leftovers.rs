//! The files in a log's folder, and what to do with those that a crash left behind.
//!
//! ```text
//!   <base offset>.<kind>             a file of the log: log, index, timeindex, txnindex, snapshot
//!   <base offset>.<kind>.deleted     waited to be unlinked                               -> unlinked
//!   <base offset>.<kind>.cleaned     compaction was writing it                           -> unlinked
//!   <base offset>.<kind>.swap        compaction had finished it, and was putting it
//!                                    in the place of the segments it was made from       -> finish that
//! ```
//!
//! A mark, `ottla-cutting`, says that the end was being cut off. What the start finds may be true of the page cache alone then, and a
//! power cut would bring what was cut off back, behind or instead of what is written from now on: so all of that is flushed.
//!
//! A swap at or above the first `.cleaned` offset is not finished: one clean-up of several segments is taken as a
//! whole, and part of it was still being written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ottla_base::Offset;

use crate::epochs::LEADER_EPOCH_CHECKPOINT;
use crate::error::{Error, Result};
use crate::os;
use crate::partition_metadata::PARTITION_METADATA;
use crate::segment::file_path;
use crate::segment::scan::{LOOKUP_CHUNK_BYTES, Scan};

/// The files that a segment may have, by their kinds. A producer snapshot shares the name, but not the life, of the
/// segment that begins where it was taken.
pub(super) const SEGMENT_KINDS: [&str; 4] = ["log", "index", "timeindex", "txnindex"];
const SNAPSHOT_KIND: &str = "snapshot";
/// In the folder of a log while its end is cut off; Kafka passes over it.
const CUTTING: &str = "ottla-cutting";

/// A file's name in its parts.
struct Name<'a> {
    base_offset: Offset,
    kind: &'a str,
    suffix: Option<&'a str>,
}

/// A segment that is there.
pub(super) struct Found {
    pub base_offset: Offset,
    /// Whether it has an index of its offsets, as every segment does that was left whole.
    pub has_index: bool,
    /// Whether it has an index of aborted transactions.
    pub has_aborted: bool,
}

/// What a log's folder holds, in order.
pub(super) struct Tidied {
    pub segments: Vec<Found>,
    /// The offsets of the producers' snapshots.
    pub snapshots: Vec<Offset>,
    /// Whether a crash interrupted a cut.
    pub was_cutting: bool,
}

/// Clears the leftovers away and returns what is there.
pub(super) fn tidy(folder: &Path) -> Result<Tidied> {
    let entries = os::list(folder).map_err(Error::io("list", folder))?;
    let mut kinds: BTreeMap<Offset, BTreeSet<String>> = BTreeMap::new();
    let mut swapped: BTreeMap<Offset, Vec<String>> = BTreeMap::new();
    let cleaned = |name: &Name<'_>| (name.suffix == Some("cleaned")).then_some(name.base_offset);
    let names = entries.iter().filter(|entry| !entry.is_folder);
    let names: Vec<(&str, Name<'_>)> =
        names.filter_map(|entry| Some((entry.name.as_str(), parse(&entry.name)?))).collect();
    let first_cleaned = names.iter().filter_map(|(_, name)| cleaned(name)).min();
    let mut snapshots = Vec::new();
    for (file, name) in &names {
        let unfinished = first_cleaned.is_some_and(|first| name.base_offset >= first);
        match name.suffix {
            None if SEGMENT_KINDS.contains(&name.kind) => {
                kinds.entry(name.base_offset).or_default().insert(name.kind.to_owned());
            }
            None => snapshots.push(name.base_offset),
            Some("swap") if !unfinished => swapped.entry(name.base_offset).or_default().push(name.kind.to_owned()),
            Some(_) => remove(&folder.join(file))?,
        }
    }
    for (base_offset, parts) in swapped {
        finish_swap(folder, base_offset, &parts, &mut kinds)?;
    }
    // Indexes without their log say nothing, but that there was one.
    let orphans = kinds.iter().filter(|(_, kinds)| !kinds.contains("log"));
    for (&base_offset, parts) in orphans {
        let missing = file_path(folder, base_offset, "log");
        tracing::warn!(
            missing = %missing.display(),
            "removing the indexes of a segment that is not there: it is lost, unless it was being deleted when the broker was killed"
        );
        for kind in parts {
            remove(&file_path(folder, base_offset, kind))?;
        }
    }
    let segments = kinds.into_iter().filter(|(_, kinds)| kinds.contains("log"));
    let segments = segments.map(|(base_offset, kinds)| {
        let has = |kind| kinds.contains(kind);
        Found { base_offset, has_index: has("index"), has_aborted: has("txnindex") }
    });
    let was_cutting = entries.iter().any(|entry| entry.name == CUTTING);
    Ok(Tidied { segments: segments.collect(), snapshots, was_cutting })
}

/// The end of a log is about to be cut off: segments are removed, or a file is cut.
pub(super) fn begin_cutting(folder: &Path) -> Result<()> {
    let path = folder.join(CUTTING);
    match os::create(&path).map_err(Error::io("create", &path)) {
        // What is cut off gives room back. Only a crash in the middle of it, and a power cut soon after, can bring it back.
        Err(error) if error.is_full() => Ok(()),
        created => created.map(drop),
    }
}

/// All of that is on the disk. Should the mark come back with a power cut, the next start flushes a little too much.
pub(super) fn end_cutting(folder: &Path) -> Result<()> {
    remove(&folder.join(CUTTING))
}

/// Removes the files of a segment that are there.
pub(super) fn remove_segment(folder: &Path, base_offset: Offset) -> Result<()> {
    for kind in SEGMENT_KINDS {
        remove(&file_path(folder, base_offset, kind))?;
    }
    Ok(())
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match os::remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Puts a finished clean-up in the place of the segments it was made from.
fn finish_swap(
    folder: &Path,
    base_offset: Offset,
    parts: &[String],
    kinds: &mut BTreeMap<Offset, BTreeSet<String>>,
) -> Result<()> {
    let swap = |kind: &str| file_path(folder, base_offset, &format!("{kind}.swap"));
    if parts.iter().any(|kind| kind == "log") {
        // The first of the segments it was made from is the first to go, so that nothing was taken away yet.
        let is_first_there = kinds.get(&base_offset).is_some_and(|kinds| kinds.contains("log"));
        let end = match end_of_swap(&swap("log"), base_offset, is_first_there) {
            Err(error @ Error::Corrupt { .. }) if is_first_there => {
                tracing::warn!(%error, "removing what is not whole; the segments it was to replace are there");
                return parts.iter().try_for_each(|kind| remove(&swap(kind)));
            }
            end => end?,
        };
        let replaced: Vec<Offset> = kinds.range(base_offset..end).map(|(&base_offset, _)| base_offset).collect();
        for base_offset in replaced {
            remove_segment(folder, base_offset)?;
            kinds.remove(&base_offset);
        }
    }
    // Without its log, that was renamed already, only the indexes were left to be renamed.
    for kind in parts {
        let to = file_path(folder, base_offset, kind);
        os::rename(&swap(kind), &to).map_err(Error::io("rename", &to))?;
        kinds.entry(base_offset).or_default().insert(kind.clone());
    }
    os::sync_folder(folder).map_err(Error::io("flush", folder))
}

/// The offset after the last record of a finished clean-up. While the first segment that an empty one was made from is there, the
/// bytes count as lost: to clean again, should nothing have stayed, costs less than the records.
fn end_of_swap(path: &Path, base_offset: Offset, is_first_there: bool) -> Result<Offset> {
    let file = os::open_read_only(path).map_err(Error::io("open", path))?;
    let length = os::length(&file).map_err(Error::io("read the length of", path))?;
    let length = u32::try_from(length).map_err(|_| Error::corrupt(path, format!("{length} bytes are too many")))?;
    if length == 0 && is_first_there {
        return Err(Error::corrupt(path, "it is empty"));
    }
    let mut scan = Scan::new(&file, path, 0, length, LOOKUP_CHUNK_BYTES);
    let mut end = base_offset.plus(1);
    while let Some(batch) = scan.next()? {
        end = batch.last_offset().plus(1);
    }
    Ok(end)
}

/// Whether a log makes a file of this name in its folder.
pub(crate) fn is_of_log(file: &str) -> bool {
    let is_other = || [LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA].contains(&file) || file.starts_with("ottla-");
    parse(file).is_some() || is_other()
}

fn parse(file: &str) -> Option<Name<'_>> {
    let mut parts = file.splitn(3, '.');
    let (base, kind, suffix) = (parts.next()?, parts.next()?, parts.next());
    let known = SEGMENT_KINDS.contains(&kind) || kind == SNAPSHOT_KIND;
    let known_suffix = suffix.is_none_or(|suffix| ["deleted", "cleaned", "swap"].contains(&suffix));
    let digits = base.len() == 20 && base.bytes().all(|byte| byte.is_ascii_digit());
    let base_offset = Offset(base.parse().ok()?);
    (known && known_suffix && digits).then_some(Name { base_offset, kind, suffix })
}
