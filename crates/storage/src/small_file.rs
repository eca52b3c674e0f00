//! Small files that are read and written whole: checkpoints, snapshots, properties.
//!
//! Writing is all or nothing: `name.tmp` is written and flushed, takes the place of `name`, and the folder is flushed.
//! A crash leaves the old file or the new one, and perhaps a `.tmp` that the next write overwrites. What is not so small is
//! written piece by piece, as a [`Replacement`].

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::os;

/// No small file is larger: a checkpoint of a million partitions is far below.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// All bytes of the file, or `None` if there is no such file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
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

/// Puts a file with `bytes` in the place of `path`, on the disk when this returns.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    put(path, bytes)?;
    let folder = folder_of(path);
    os::sync_folder(folder).map_err(Error::io("flush the folder", folder))
}

/// The same, but that the file has its name on the disk only once its folder is flushed.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    stage(path, bytes)?.put()
}

/// Writes a file that is to come into the place of `path`. Nobody else does so until that is done.
pub(crate) fn stage(path: &Path, bytes: &[u8]) -> Result<Replacement> {
    let mut replacement = Replacement::begin(path)?;
    replacement.write(bytes)?;
    Ok(replacement)
}

/// A file that is to come into the place of another one, once all of it is written. Dropped before, it is a `.tmp` that the next
/// one overwrites.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    length: u64,
}

impl Replacement {
    /// Begins a file that is to be at `path`.
    pub fn begin(path: &Path) -> Result<Self> {
        let mut name = path.file_name().expect("a file of a log directory has a name").to_owned();
        name.push(".tmp");
        let temporary = folder_of(path).join(name);
        let file = os::create(&temporary).map_err(Error::io("create", &temporary))?;
        Ok(Self { path: path.to_owned(), temporary, file, length: 0 })
    }

    /// Writes some more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        os::write_all_at(&self.file, bytes, self.length).map_err(Error::io("write", &self.temporary))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// All is written: it is in its place, on the disk, when this returns.
    pub fn finish(self) -> Result<()> {
        let path = self.path.clone();
        self.put()?;
        let folder = folder_of(&path);
        os::sync_folder(folder).map_err(Error::io("flush the folder", folder))
    }

    fn put(self) -> Result<()> {
        os::sync_data(&self.file).map_err(Error::io("flush", &self.temporary))?;
        os::rename(&self.temporary, &self.path).map_err(Error::io("put the new file in the place of", &self.path))
    }
}

/// Removes the file, and returns when it is gone from the disk; says whether there was one.
pub(crate) fn remove(path: &Path) -> Result<bool> {
    match os::remove(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("remove", path)(error)),
    }
    let folder = folder_of(path);
    os::sync_folder(folder).map_err(Error::io("flush the folder", folder))?;
    Ok(true)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().expect("a file of a log directory lies in a folder")
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
