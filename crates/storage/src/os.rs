//! Every call to the operating system that storage makes, and nothing else: no formats, no policy, no retries.
//!
//! All file access goes through here so that the calls can be counted on one screen, and so that a simulated disk can
//! one day stand in their place. Functions take and return what the standard library does; [`crate::Error`] is made by
//! the callers, who know what they were doing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

#[cfg(test)]
pub(crate) mod trace;

/// One name found in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without the folder.
    pub name: String,
    /// Whether it is a folder itself.
    pub is_folder: bool,
}

/// Opens an existing file for reading and writing.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Opens an existing file for reading only.
pub fn open_read_only(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Opens a file for reading and writing, emptied if it exists.
pub fn create(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    trace::call("create", path)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
}

/// Opens a file for reading and writing, made if it is missing, its bytes kept if not.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// How many bytes the file has.
pub fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// How many bytes the file at `path` has, without opening it.
pub fn length_of(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// Whether there is something at `path`.
pub fn exists(path: &Path) -> io::Result<bool> {
    fs::exists(path)
}

/// Fills `buffer` from `position`; fails with `UnexpectedEof` where the file ends before.
pub fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    file.read_exact_at(buffer, position)
}

/// Writes all of `bytes` at `position`.
pub fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    file.write_all_at(bytes, position)
}

/// Writes `first` and then `rest` at `position`, in one call where the system takes all at once.
pub fn write_two_at(file: &File, mut first: &[u8], mut rest: &[u8], mut position: u64) -> io::Result<()> {
    while !first.is_empty() {
        let written = match rustix::io::pwritev(file, &[IoSlice::new(first), IoSlice::new(rest)], position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        position += written as u64;
        rest = &rest[written.saturating_sub(first.len())..];
        first = &first[written.min(first.len())..];
    }
    write_all_at(file, rest, position)
}

/// Reads into `buffer` from `position` until it is full or the file ends, and says how many bytes came.
pub fn read_at_most(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reserves room on the disk, so that the file is `length` bytes long and writing into it needs no more.
pub fn allocate(file: &File, length: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length)?)
}

/// When the file at `path` was last written, in milliseconds since 1970.
pub fn modified_ms(path: &Path) -> io::Result<i64> {
    let modified = fs::metadata(path)?.modified()?;
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Makes the file `length` bytes long: cut, or filled up with zeros that take no room on the disk.
pub fn set_length(file: &File, length: u64) -> io::Result<()> {
    #[cfg(test)]
    trace::call_on("set-length", file)?;
    file.set_len(length)
}

/// Waits until the file's bytes, and its length, are on the disk.
pub fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    trace::call_on("sync", file)?;
    file.sync_data()
}

/// Waits until the names in `folder` are on the disk: after a file was made, renamed or removed in it.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    trace::call("sync-folder", folder)?;
    File::open(folder)?.sync_all()
}

/// Renames a file or folder; replaces a file at `to`.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    trace::call("rename", from)?;
    fs::rename(from, to)
}

/// Removes a file.
pub fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    trace::call("remove", path)?;
    fs::remove_file(path)
}

/// Makes a folder, and those above it that are missing.
pub fn create_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Removes a folder and all in it.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}

/// What is in `folder`, sorted by name. Names that are not UTF-8 are none of ours and left out.
pub fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push(Entry { name, is_folder: entry.file_type()?.is_dir() });
        }
    }
    entries.sort();
    Ok(entries)
}

/// How large the volume of `path` is, and how much of it this process may still use; in bytes.
pub fn volume_bytes(path: &Path) -> io::Result<(u64, u64)> {
    let volume = rustix::fs::statvfs(path)?;
    Ok((volume.f_blocks.saturating_mul(volume.f_frsize), volume.f_bavail.saturating_mul(volume.f_frsize)))
}

/// Takes the lock of an open file for this process alone, and says whether it was free. It is held until the file is
/// closed, also by a kill.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether an open file still has a name in some folder: whether nobody removed it since it was opened.
pub fn has_name(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pieces_land_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let file = create(&folder.path().join("f")).unwrap();
        write_all_at(&file, b"0123456789", 0).unwrap();
        write_two_at(&file, b"ab", b"cde", 3).unwrap();
        write_two_at(&file, b"", b"X", 0).unwrap();
        let mut bytes = [0; 32];
        let count = read_at_most(&file, &mut bytes, 0).unwrap();
        assert_eq!(&bytes[..count], b"X12abcde89");
    }
}
