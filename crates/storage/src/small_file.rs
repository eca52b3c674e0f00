//! Small files that are read and written whole: checkpoints, snapshots, properties.
//!
//! Writing is all or nothing: `name.tmp` is written and flushed, takes the place of `name`, and the folder is flushed.
//! A crash leaves the old file or the new one, and perhaps a `.tmp` that the next write overwrites.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::os;

/// No small file is larger: a checkpoint of a million partitions is far below.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// All bytes of the file, or `None` if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match os::open_read_only(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let length = os::length(&file).map_err(Error::io("read the length of", path))?;
    if length > FILE_BYTES_MAX {
        return Err(Error::corrupt(path, format!("{length} bytes are more than such a file ever has")));
    }
    let mut bytes = vec![0; length as usize];
    let count = os::read_at_most(&file, &mut bytes, 0).map_err(Error::io("read", path))?;
    bytes.truncate(count);
    Ok(Some(bytes))
}

/// The text of the file, or `None` if there is no such file.
///
/// # Errors
/// `Corrupt` if it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| Error::corrupt(path, "it is not UTF-8 text"))
}

/// A file that is to take the place of another, or of none: written, and not flushed.
pub(crate) struct Staged<'a> {
    path: &'a Path,
    temporary: PathBuf,
    file: File,
}

/// Puts a file with `bytes` in the place of `path`, on the disk when this returns.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    stage(path, bytes)?.put()
}

/// Writes a file that is to take the place of `path`. Nobody else does so until that is done.
pub(crate) fn stage<'a>(path: &'a Path, bytes: &[u8]) -> Result<Staged<'a>> {
    let mut name = path.file_name().expect("a file of a log directory has a name").to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let file = os::create(&temporary).map_err(Error::io("create", &temporary))?;
    os::write_all_at(&file, bytes, 0).map_err(Error::io("write", &temporary))?;
    Ok(Staged { path, temporary, file })
}

impl Staged<'_> {
    /// Puts it there, on the disk when this returns.
    pub fn put(self) -> Result<()> {
        let Self { path, temporary, file } = self;
        let folder = path.parent().expect("a file of a log directory lies in a folder");
        os::sync_data(&file).map_err(Error::io("flush", &temporary))?;
        os::rename(&temporary, path).map_err(Error::io("put the new file in the place of", path))?;
        os::sync_folder(folder).map_err(Error::io("flush the folder", folder))
    }
}

/// Removes the file, and returns when it is gone from the disk; says whether there was one.
pub(crate) fn remove(path: &Path) -> Result<bool> {
    match os::remove(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("remove", path)(error)),
    }
    let folder = path.parent().expect("a file of a log directory lies in a folder");
    os::sync_folder(folder).map_err(Error::io("flush the folder", folder))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert_eq!(read(&path).unwrap(), None);
        std::fs::write(folder.path().join("checkpoint.tmp"), "torn, and longer than what follows").unwrap();
        replace(&path, b"one").unwrap();
        replace(&path, b"three").unwrap();
        assert_eq!(read_text(&path).unwrap().as_deref(), Some("three"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        replace(&path, &[0xff]).unwrap();
        assert!(matches!(read_text(&path), Err(Error::Corrupt { .. })));
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }
}
