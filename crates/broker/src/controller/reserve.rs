//! A little room on the disk, kept for the day when it is full: a start has to write that it begins a new epoch, and a broker
//! that cannot be started can neither be read from nor told to delete anything.
//!
//! ```text
//!   __cluster_metadata-0/ottla-reserve     1 MiB of nothing; given up by a start that finds no room, made again by a later one
//! ```

use std::io;
use std::path::Path;

use ottla_storage::{Error as StorageError, os};
use tracing::{debug, warn};

use crate::error::{Error, Result};

/// The name of the file.
const RESERVE: &str = "ottla-reserve";
/// A start takes some pages, and some for each partition whose log could not be made when there was no room left.
const RESERVE_BYTES: u64 = 1 << 20;
/// It is not made of the last room there is.
const FREE_BYTES_MIN: u64 = 4 * RESERVE_BYTES;

/// Does `start`; where the disk is full, once more without the reserve in `folder`.
pub fn with_reserve<T>(folder: &Path, start: impl Fn() -> Result<T>) -> Result<T> {
    match start() {
        Err(error) if is_full(&error) && os::remove(&folder.join(RESERVE)).is_ok() => {
            warn!(%error, folder = %folder.display(), "the disk is full: starting with the room that was kept for that");
            start()
        }
        done => done,
    }
}

/// Keeps room in `folder`, if there is any and none is kept yet.
pub fn keep(folder: &Path) {
    let path = folder.join(RESERVE);
    let kept = match os::exists(&path) {
        Ok(false) if os::volume_bytes(folder).is_ok_and(|(_, free)| free < FREE_BYTES_MIN) => return,
        Ok(false) => os::create(&path).and_then(|file| os::allocate(&file, RESERVE_BYTES)),
        known => known.map(drop),
    };
    if let Err(error) = kept {
        debug!(%error, "no room is kept for a start on a full disk");
        // What is there would be taken for a reserve.
        let _ = os::remove(&path);
    }
}

fn is_full(error: &Error) -> bool {
    let source = match error {
        Error::Storage(StorageError::Io { source, .. }) | Error::Io { source, .. } => source,
        _ => return false,
    };
    source.kind() == io::ErrorKind::StorageFull
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_given_up_once_where_the_disk_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let reserve = folder.path().join(RESERVE);
        let start = |kind: io::ErrorKind| {
            with_reserve(folder.path(), || match reserve.exists() {
                true => Err(Error::Io { what: "write".to_owned(), source: kind.into() }),
                false => Ok(()),
            })
        };
        keep(folder.path());
        assert_eq!(std::fs::metadata(&reserve).expect("it is kept").len(), RESERVE_BYTES);
        start(io::ErrorKind::PermissionDenied).expect_err("room would not help");
        assert!(reserve.exists());
        start(io::ErrorKind::StorageFull).expect("there is room without it");
        assert!(!reserve.exists());
        keep(folder.path());
        assert!(reserve.exists(), "it is kept again");
        let always = || Err::<(), _>(Error::Io { what: "write".to_owned(), source: io::ErrorKind::StorageFull.into() });
        with_reserve(folder.path(), always).expect_err("it was not enough");
    }
}
