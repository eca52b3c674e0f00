//! `partition.metadata`, in each partition's folder: the id of the topic, so that a topic that was deleted and made again
//! under the same name does not inherit the old one's records.
//!
//! ```text
//!   version: 0
//!   topic_id: ABEiM0RVZneImaq7zN3u_w        (no newline at the end)
//! ```

use std::path::Path;

use ottla_base::Uuid;

use crate::error::{Error, Result};
use crate::small_file;

/// The name of the file.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// The topic id that the file in a partition's folder holds; `None` if there is no file, or a damaged one: the log then is
/// taken for that of the topic of its name.
///
/// # Errors
/// `WrongFormat` if its version is not 0.
pub fn read_partition_metadata(folder: &Path) -> Result<Option<Uuid>> {
    match read(folder) {
        Err(error @ Error::Corrupt { .. }) => {
            tracing::warn!(%error, "taken as if it were missing");
            Ok(None)
        }
        read => read,
    }
}

fn read(folder: &Path) -> Result<Option<Uuid>> {
    let path = folder.join(PARTITION_METADATA);
    let Some(text) = small_file::read_text(&path)? else { return Ok(None) };
    let (mut version, mut topic_id) = (None, None);
    for line in text.lines() {
        match line.split_once(':') {
            Some(("version", value)) => version = Some(value.trim()),
            Some(("topic_id", value)) => topic_id = value.trim().parse::<Uuid>().ok(),
            _ => return Err(Error::corrupt(&path, format!("{line:?} is neither version nor topic_id"))),
        }
    }
    match (version, topic_id) {
        (Some("0"), Some(id)) if !id.is_zero() => Ok(Some(id)),
        (Some("0"), _) => Err(Error::corrupt(&path, "it holds no topic id")),
        (Some(version), _) => {
            Err(Error::wrong_format(&path, format!("version {version} is not known, only version 0")))
        }
        (None, _) => Err(Error::corrupt(&path, "it holds no version")),
    }
}

/// Writes the topic id into a partition's folder; it is on the disk when this returns.
pub fn write_partition_metadata(folder: &Path, topic_id: Uuid) -> Result<()> {
    small_file::replace(&folder.join(PARTITION_METADATA), text(topic_id).as_bytes())
}

/// The same in a folder that is new: it is on the disk once that is flushed, as it is when a log is begun in it.
pub fn write_partition_metadata_unnamed(folder: &Path, topic_id: Uuid) -> Result<()> {
    small_file::put(&folder.join(PARTITION_METADATA), text(topic_id).as_bytes())
}

fn text(topic_id: Uuid) -> String {
    assert!(!topic_id.is_zero(), "a partition belongs to a topic");
    format!("version: 0\ntopic_id: {topic_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_byte_for_byte_kafkas() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_partition_metadata(folder.path()).unwrap(), None);
        let id = Uuid(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        write_partition_metadata(folder.path(), id).unwrap();
        let path = folder.path().join(PARTITION_METADATA);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "version: 0\ntopic_id: ABEiM0RVZneImaq7zN3u_w");
        assert_eq!(read_partition_metadata(folder.path()).unwrap(), Some(id));

        for (bad, expected) in [
            ("", "no version"),
            ("version: 0", "no topic id"),
            ("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", "no topic id"),
            ("version: 0\ntopic_id: x", "no topic id"),
            ("version: 1\ntopic_id: x", "version 1 is not known"),
            ("hello", "neither"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = read(folder.path()).unwrap_err();
            assert!(error.to_string().contains(expected), "{bad:?}: {error}");
            let is_known = matches!(error, Error::WrongFormat { .. });
            assert_eq!(read_partition_metadata(folder.path()).is_err(), is_known, "{bad:?}");
        }
    }
}
