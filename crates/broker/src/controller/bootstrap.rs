//! What a new cluster begins with, as its directories were formatted: a file of records beside the metadata log, or in it.
//!
//! ```text
//!   __cluster_metadata-0/00000000000000000000-0000000000.checkpoint   Kafka 4.4, and here: a snapshot of before the first record
//!   bootstrap.checkpoint                                              older tools of Kafka
//! ```
//!
//! The first controller writes these records into the log, and goes by that from then on (KIP-631, KIP-1170). A dynamic quorum of an
//! older Kafka has both files: the snapshot holds its voters only, and the records are in the other one.

use std::path::{Path, PathBuf};

use ottla_base::{LeaderEpoch, Offset, Timestamp, TopicPartition};
use ottla_metadata::image::METADATA_VERSION;
use ottla_metadata::records::OwnedRecord;
use ottla_metadata::version::MetadataVersion;
use ottla_protocol::internal::metadata::{FeatureLevelRecord, MetadataRecord, UserScramCredentialRecord};
use ottla_storage::os;

use super::metadata_log::TOPIC;
use super::snapshot::{self, Snapshot};
use crate::error::{Error, Result};

/// The file of older tools, beside the metadata log.
const OLDER: &str = "bootstrap.checkpoint";

/// With what a directory was formatted.
pub struct Formatted {
    /// The file that says so.
    pub path: PathBuf,
    /// Its records.
    pub records: Vec<OwnedRecord>,
}

/// With what the directory of the metadata was formatted; `None` where nothing says so.
///
/// # Errors
/// It cannot be read, or holds what nobody formats with; with its path.
pub fn read(directory: &Path) -> Result<Option<Formatted>> {
    for path in [place(directory).path, directory.join(OLDER)] {
        if !os::exists(&path).map_err(|source| Error::read(&path, source))? {
            continue;
        }
        let mut records = Vec::new();
        snapshot::read(&path, |record| {
            records.push(owned(record)?);
            Ok(())
        })?;
        let is_metadata_version =
            |record: &OwnedRecord| matches!(record, MetadataRecord::FeatureLevel(of) if of.name == METADATA_VERSION);
        if records.iter().any(is_metadata_version) {
            return Ok(Some(Formatted { path, records }));
        }
    }
    Ok(None)
}

/// Notes in the directory of the metadata with what it is formatted.
pub fn write(directory: &Path, records: &[OwnedRecord], now_ms: Timestamp) -> Result<()> {
    let folder = folder(directory);
    os::create_folder(&folder).map_err(|source| Error::Io { what: format!("create {}", folder.display()), source })?;
    // None of these records depends on the version.
    snapshot::write_records(&place(directory), records.iter().cloned(), MetadataVersion::OLDEST, now_ms)
}

fn folder(directory: &Path) -> PathBuf {
    directory.join(TopicPartition::new(TOPIC, 0).to_string())
}

fn place(directory: &Path) -> Snapshot {
    Snapshot::at(&folder(directory), Offset(0), LeaderEpoch(0))
}

/// Directories are formatted with features and SCRAM credentials.
fn owned(record: MetadataRecord<'_>) -> std::result::Result<OwnedRecord, String> {
    match record {
        MetadataRecord::FeatureLevel(record) => Ok(MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: record.name.into_owned().into(),
            feature_level: record.feature_level,
        })),
        MetadataRecord::UserScramCredential(record) => {
            Ok(MetadataRecord::UserScramCredential(UserScramCredentialRecord {
                name: record.name.into_owned().into(),
                mechanism: record.mechanism,
                salt: record.salt.into_owned().into(),
                stored_key: record.stored_key.into_owned().into(),
                server_key: record.server_key.into_owned().into(),
                iterations: record.iterations,
            }))
        }
        other => Err(format!("no cluster begins with a record of type {}", other.key())),
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::controller::feature_records;
    use ottla_protocol::internal::metadata::NoOpRecord;

    use super::*;

    fn levels(read: Option<Formatted>) -> Vec<(String, i16)> {
        let level = |record: &OwnedRecord| match record {
            MetadataRecord::FeatureLevel(feature) => (feature.name.to_string(), feature.feature_level),
            other => panic!("{other:?}"),
        };
        read.map_or_else(Vec::new, |formatted| formatted.records.iter().map(level).collect())
    }

    #[test]
    fn a_cluster_begins_with_what_its_directory_was_formatted_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path();
        assert!(read(directory).expect("there is nothing to read").is_none());
        let of = |name: &str, level| vec![(name.to_owned(), level)];
        write(directory, &feature_records(&of(METADATA_VERSION, 20)), 1).expect("the folder is ours");
        std::fs::rename(place(directory).path, directory.join(OLDER)).expect("the folder is ours");
        assert_eq!(levels(read(directory).expect("it is whole")), of(METADATA_VERSION, 20), "of an older tool");
        // As of a dynamic quorum.
        write(directory, &[], 1).expect("the folder is ours");
        assert_eq!(levels(read(directory).expect("both are whole")), of(METADATA_VERSION, 20));
        write(directory, &feature_records(&of(METADATA_VERSION, 25)), 1).expect("the folder is ours");
        assert_eq!(levels(read(directory).expect("both are whole")), of(METADATA_VERSION, 25));
        std::fs::remove_file(directory.join(OLDER)).expect("it is there");
        write(directory, &feature_records(&of("group.version", 1)), 1).expect("the folder is ours");
        assert!(read(directory).expect("it is whole").is_none());
    }

    #[test]
    fn what_is_damaged_or_nothing_to_begin_with_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = place(folder.path()).path;
        let why = || read(folder.path()).map(levels).expect_err("it cannot be read").to_string();
        write(folder.path(), &feature_records(&[(METADATA_VERSION.to_owned(), 21)]), 1).expect("the folder is ours");
        let whole = std::fs::read(&path).expect("it was written");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("the folder is ours");
            assert!(why().contains(&*path.to_string_lossy()), "{}", why());
        }
        std::fs::rename(&path, folder.path().join(OLDER)).expect("the folder is ours");
        assert!(why().contains(OLDER), "{}", why());
        write(folder.path(), &[MetadataRecord::NoOp(NoOpRecord {})], 1).expect("the folder is ours");
        assert!(why().contains("begins with a record of type 20"), "{}", why());
    }
}
