//! Every call to the operating system that storage makes, and nothing else: no formats, no policy, no retries.
//!
//! All file access goes through here so that the calls can be counted on one screen, and each of them through `make`, so
//! that tests can put a simulated disk beside them (`simulated`, and `docs/decisions/0006-a-disk-beside-the-files.md`).
//! Functions take and return what the standard library does; [`crate::Error`] is made by the callers, who know what they
//! were doing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

mod life_hint;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
pub(crate) mod trace;

#[cfg(test)]
use simulated::make;

/// One call to the operating system, before it is made.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at calls"))]
enum Call<'a> {
    /// Of a file that has to be there.
    Open(&'a Path),
    OpenOrCreate(&'a Path),
    /// Empties a file that is there.
    Create(&'a Path),
    /// One that was opened is to stay so.
    Keep(&'a File),
    /// Anything that only asks about a path.
    Look(&'a Path),
    Read(&'a File),
    /// Both pieces, one behind the other.
    Write(&'a File, [&'a [u8]; 2], u64),
    Allocate(&'a File, u64),
    SetLength(&'a File, u64),
    SetModified(&'a File),
    Forget(&'a File),
    Sync(&'a File),
    SyncFolder(&'a Path),
    Rename(&'a Path, &'a Path),
    Remove(&'a Path),
    CreateFolder(&'a Path),
    RemoveFolder(&'a Path),
}

/// Of the files that the process may open, a sixteenth, but at least so many and at most so many, is for what is closed again
/// at once: else a flush would find none when logs have opened all, and what it is to close would stay open for good.
const BRIEF_LEAST: u64 = 8;
const BRIEF_MOST: u64 = 256;

/// What a file that stays open is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It takes the place of one that is closed soon.
    Another,
    /// There is one more from now on. As many as are for brief use are left to those that take the place of others: logs that
    /// have opened all would never roll.
    More,
    /// Somebody reads from it, perhaps for long. As many again are left to logs that are written to.
    Reading,
    /// Nobody uses it yet. Half of all are left to those who need them, where that is little.
    Unused,
}

impl Kept {
    /// How often as many are left as are for brief use.
    fn parts(self) -> u64 {
        match self {
            Self::Another => 1,
            Self::More => 2,
            Self::Reading => 3,
            Self::Unused => 8,
        }
    }
}

/// How often somebody could keep no file open.
static SHORTAGES: AtomicU64 = AtomicU64::new(0);

/// Makes a call: nothing more, outside of tests.
#[cfg(not(test))]
#[inline(always)]
fn make<T>(_: Call<'_>, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    run()
}

/// One name found in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without the folder.
    pub name: String,
    /// Whether it is a folder itself, or a symbolic link to one.
    pub is_folder: bool,
}

/// Opens an existing file for reading and writing.
pub fn open(path: &Path) -> io::Result<File> {
    make(Call::Open(path), || OpenOptions::new().read(true).write(true).open(path))
}

/// Opens an existing file for reading only.
pub fn open_read_only(path: &Path) -> io::Result<File> {
    make(Call::Open(path), || File::open(path))
}

/// Opens a file for reading and writing, emptied if it exists.
pub fn create(path: &Path) -> io::Result<File> {
    make(Call::Create(path), || OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path))
}

/// Opens a file for reading and writing, made if it is missing, its bytes kept if not.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    make(Call::OpenOrCreate(path), || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path))
}

/// Asks whether `file`, which was opened just now, may stay open.
///
/// # Errors
/// EMFILE: those few that may still be opened are for who needs one briefly.
pub fn keep(file: &File, kept: Kept) -> io::Result<()> {
    let done = make(Call::Keep(file), || {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        // The system gives out the lowest number that is free, so that it tells how many are open.
        let number = u64::try_from(file.as_raw_fd()).unwrap_or(0);
        let is_brief = limit.is_some_and(|limit| number + kept.parts() * brief_of(limit) >= limit);
        if is_brief { Err(rustix::io::Errno::MFILE.into()) } else { Ok(()) }
    });
    done.inspect_err(|_| {
        if kept != Kept::Unused {
            note_shortage();
        }
    })
}

fn brief_of(limit: u64) -> u64 {
    (limit / 16).clamp(BRIEF_LEAST, BRIEF_MOST)
}

/// How many of the `limit` files that the process may open are left by those that are opened for good: connections leave more,
/// so that logs find some.
pub fn left_by_logs(limit: u64) -> u64 {
    2 * brief_of(limit)
}

/// Notes that somebody could not keep a file open, or a connection.
pub fn note_shortage() {
    SHORTAGES.fetch_add(1, Ordering::Relaxed);
}

/// How often that was so. Where it has grown, logs are to close what they need not have open.
pub fn shortages() -> u64 {
    SHORTAGES.load(Ordering::Relaxed)
}

/// How many bytes the file has.
pub fn length(file: &File) -> io::Result<u64> {
    make(Call::Read(file), || Ok(file.metadata()?.len()))
}

/// How many bytes the file at `path` has, without opening it.
pub fn length_of(path: &Path) -> io::Result<u64> {
    make(Call::Look(path), || Ok(fs::metadata(path)?.len()))
}

/// Whether there is something at `path`.
pub fn exists(path: &Path) -> io::Result<bool> {
    make(Call::Look(path), || fs::exists(path))
}

/// Fills `buffer` from `position`; fails with `UnexpectedEof` where the file ends before.
pub fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    make(Call::Read(file), || file.read_exact_at(buffer, position))
}

/// Writes all of `bytes` at `position`.
pub fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    make(Call::Write(file, [bytes, &[]], position), || file.write_all_at(bytes, position))
}

/// Writes `first` and then `rest` at `position`, in one call where the system takes all at once.
pub fn write_two_at(file: &File, mut first: &[u8], mut rest: &[u8], mut position: u64) -> io::Result<()> {
    while !first.is_empty() {
        let written = make(Call::Write(file, [first, rest], position), || {
            Ok(rustix::io::pwritev(file, &[IoSlice::new(first), IoSlice::new(rest)], position)?)
        });
        let written = match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        position += written as u64;
        rest = &rest[written.saturating_sub(first.len())..];
        first = &first[written.min(first.len())..];
    }
    if rest.is_empty() { Ok(()) } else { write_all_at(file, rest, position) }
}

/// Reads into `buffer` from `position` until it is full or the file ends, and says how many bytes came.
pub fn read_at_most(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match make(Call::Read(file), || file.read_at(&mut buffer[filled..], position + filled as u64)) {
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
    let flags = rustix::fs::FallocateFlags::empty();
    make(Call::Allocate(file, length), || Ok(rustix::fs::fallocate(file, flags, 0, length)?))
}

/// When the file at `path` was last written, in milliseconds since 1970.
pub fn modified_ms(path: &Path) -> io::Result<i64> {
    let modified = make(Call::Look(path), || fs::metadata(path)?.modified())?;
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Makes the file one that was last written so many milliseconds after 1970.
pub fn set_modified_ms(file: &File, modified_ms: i64) -> io::Result<()> {
    let since = Duration::from_millis(u64::try_from(modified_ms).unwrap_or(0));
    make(Call::SetModified(file), || file.set_modified(SystemTime::UNIX_EPOCH + since))
}

/// Makes the file `length` bytes long: cut, or filled up with zeros that take no room on the disk.
pub fn set_length(file: &File, length: u64) -> io::Result<()> {
    make(Call::SetLength(file, length), || file.set_len(length))
}

/// Waits until the file's bytes, and its length, are on the disk.
pub fn sync_data(file: &File) -> io::Result<()> {
    make(Call::Sync(file), || file.sync_data())
}

/// Has what is read of the file from now on come from the disk, but for what is still to be written there. After an fsync that
/// failed, the page cache goes on with what it could not write as if it had, also for the next process.
pub fn forget_cached(file: &File) -> io::Result<()> {
    make(Call::Forget(file), || match rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed) {
        // The kernel was built without it (CONFIG_ADVISE_SYSCALLS): that is no reason not to start.
        Err(rustix::io::Errno::NOSYS) => Ok(()),
        done => Ok(done?),
    })
}

/// Waits until the names in `folder` are on the disk: after a file was made, renamed or removed in it.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    make(Call::SyncFolder(folder), || File::open(folder)?.sync_all())
}

/// Renames a file or folder; replaces a file at `to`.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    make(Call::Rename(from, to), || fs::rename(from, to))
}

/// Removes a file.
pub fn remove(path: &Path) -> io::Result<()> {
    make(Call::Remove(path), || fs::remove_file(path))
}

/// Makes a folder, and those above it that are missing.
pub fn create_folders(path: &Path) -> io::Result<()> {
    make(Call::CreateFolder(path), || fs::create_dir_all(path))
}

/// Makes a folder if it is missing. The one above is not made: a log directory that has gone is not begun anew for a log.
pub fn create_folder(path: &Path) -> io::Result<()> {
    make(Call::CreateFolder(path), || match fs::create_dir(path) {
        Err(_) if path.is_dir() => Ok(()),
        made => made,
    })
}

/// Whether there is a symbolic link at `path`.
pub fn is_link(path: &Path) -> io::Result<bool> {
    make(Call::Look(path), || Ok(fs::symlink_metadata(path)?.is_symlink()))
}

/// Removes a folder and all in it; of a symbolic link to one, the link alone.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    make(Call::RemoveFolder(path), || fs::remove_dir_all(path))
}

/// What is in `folder`, sorted by name. Names that are not UTF-8 are none of ours and left out.
pub fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in make(Call::Look(folder), || fs::read_dir(folder))? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            let kind = entry.file_type()?;
            // One that leads nowhere is not a folder.
            let leads_to_folder =
                || make(Call::Look(&entry.path()), || fs::metadata(entry.path())).is_ok_and(|to| to.is_dir());
            entries.push(Entry { name, is_folder: kind.is_dir() || kind.is_symlink() && leads_to_folder() });
        }
    }
    entries.sort();
    Ok(entries)
}

/// What tells this start of the machine from all others; an error where the system does not say.
pub fn boot_id() -> io::Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    Ok(make(Call::Look(path), || fs::read_to_string(path))?.trim().to_owned())
}

/// What was last set by [`set_life_hint`], unless the file system was unmounted since, or the file forgotten; an error where the
/// system knows no such thing.
pub fn life_hint(file: &File) -> io::Result<u64> {
    make(Call::Read(file), || life_hint::get(file))
}

/// See [`life_hint`]. Nothing is written to the disk.
pub fn set_life_hint(file: &File, hint: u64) -> io::Result<()> {
    make(Call::Read(file), || life_hint::set(file, hint))
}

/// Which file this is, whatever its name: the device and the number in it.
pub fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = make(Call::Read(file), || file.metadata())?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The same of what is at `path`, without opening it.
pub fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = make(Call::Look(path), || fs::metadata(path))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// How large the volume of `path` is, and how much of it this process may still use; in bytes.
pub fn volume_bytes(path: &Path) -> io::Result<(u64, u64)> {
    let volume = make(Call::Look(path), || Ok(rustix::fs::statvfs(path)?))?;
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
    fn the_last_files_are_left_to_those_who_need_them_most() {
        let left = |kept: Kept, limit| kept.parts() * brief_of(limit);
        let kinds = [Kept::Another, Kept::More, Kept::Reading, Kept::Unused];
        for (limit, expected) in [
            (64, [8, 16, 24, 64]),
            (160, [10, 20, 30, 80]),
            (1024, [64, 128, 192, 512]),
            (100_000, [256, 512, 768, 2048]),
        ] {
            assert_eq!(kinds.map(|kept| left(kept, limit)), expected, "of {limit}");
        }
        assert_eq!(left_by_logs(1024), left(Kept::More, 1024));
    }

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
