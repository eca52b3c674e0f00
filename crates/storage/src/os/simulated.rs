//! A disk that forgets and fails, beside the real files of a test.
//!
//! ```text
//!   storage --call--> make --> the real file           what the process sees: the page cache
//!                      |
//!                      +-----> Disk: on the platter    what is left when the power goes
//!                              and changes that wait
//! ```
//!
//! The files in the test's folder play the page cache. For each, the disk knows the bytes that reached the platter, and the
//! changes since. An fsync moves the changes over. [`Disk::cut_power`] takes some of them over, in parts and in any order,
//! and puts real files with the result in the place of the others. What a folder's names do is told by its own list, of which
//! a beginning survives: journals keep the order of these. A call can be made to fail, and a failed fsync loses what it was
//! to write for good, although this process and the next ones go on seeing it, until the page cache is dropped or the power goes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ottla_base::Random;

use super::{Call, trace};

/// What the disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Bits are only flipped so near to the end of a write: the first 16 bytes of a batch are under no checksum in Kafka's format,
/// and who knows what a wrong bit there says.
const FLIPPED_BYTES_MAX: usize = 7;

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// A simulated disk under one folder.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    random: Random,
    files: Vec<Platter>,
    folders: Vec<Folder>,
    /// Which of the files a real one is, by its inode.
    by_inode: BTreeMap<u64, usize>,
    trouble: Trouble,
    /// How many calls failed because of that.
    failures: u64,
    /// Whether an fsync has failed since the start of the process.
    lost_pages: bool,
}

/// What goes wrong with the calls to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// After so many calls, one fails.
    Once(u64, Failure),
    /// From now on, whatever needs room fails.
    Full,
    /// From now on, nothing that is opened may stay so: EMFILE.
    Scarce,
    /// After so many calls, nothing happens any more: the process has died, or the power has gone.
    Over(u64),
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// EIO; of any call.
    Io,
    /// ENOSPC; of the next call that needs room.
    NoSpace,
    /// EMFILE; of the next call that opens something.
    NoFiles,
}

/// A file on the disk.
#[derive(Debug, Default)]
struct Platter {
    bytes: Vec<u8>,
    /// What was changed since the last fsync.
    waiting: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Default)]
struct Folder {
    /// As the process sees them.
    names: BTreeMap<String, Node>,
    on_platter: BTreeMap<String, Node>,
    waiting: Vec<Renaming>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    File(usize),
    Folder(usize),
}

#[derive(Clone, Debug)]
enum Renaming {
    Made(String, Node),
    Renamed(String, String),
    Removed(String),
}

/// Makes a call, on the disk of this thread if it has one.
pub(super) fn make<T>(call: Call<'_>, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    trace::note(call)?;
    DISK.with_borrow_mut(|disk| match disk {
        Some(disk) if disk.has(call) => {
            disk.fail(call)?;
            let done = run()?;
            disk.note(call);
            Ok(done)
        }
        _ => run(),
    })
}

/// A disk is in this thread until this goes.
#[derive(Debug)]
#[must_use]
pub struct Inserted(());

impl Drop for Inserted {
    fn drop(&mut self) {
        DISK.set(None);
    }
}

/// Puts a disk under the empty folder `root`, for the calls of this thread.
pub fn insert(root: &Path, seed: u64) -> Inserted {
    let root = root.to_owned();
    let (files, folders) = (Vec::new(), vec![Folder::default()]);
    let disk = Disk {
        root,
        random: Random::new(seed),
        files,
        folders,
        by_inode: BTreeMap::new(),
        trouble: Trouble::None,
        failures: 0,
        lost_pages: false,
    };
    DISK.set(Some(disk));
    Inserted(())
}

/// Does something with the disk of this thread.
pub fn with<T>(work: impl FnOnce(&mut Disk) -> T) -> T {
    DISK.with_borrow_mut(|disk| work(disk.as_mut().expect("a disk was inserted")))
}

impl Disk {
    /// Lets something go wrong from now on, and forgets what failed before.
    pub fn set_trouble(&mut self, trouble: Trouble) {
        self.trouble = trouble;
        self.failures = 0;
    }

    /// How many calls failed since trouble was set.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// The process was killed. All that it wrote can be read; says whether no fsync has failed to write some of it, so that it will
    /// be on the disk.
    pub fn kill(&mut self) -> bool {
        !std::mem::take(&mut self.lost_pages)
    }

    /// The power went, and nothing survives that no fsync has covered: neither bytes nor names.
    pub fn lose_unsynced(&mut self) {
        self.lost_pages = false;
        self.restart(|_, _, _| (), |_, _| 0);
    }

    /// The power went. Changes that no fsync has covered survive in parts.
    pub fn cut_power(&mut self) {
        self.lost_pages = false;
        let style = self.random.below(5);
        let survives = move |random: &mut Random, bytes: &mut Vec<u8>, change: &Change| match style {
            0 => {}
            1 => change.apply(bytes),
            2 if random.below(8) > 0 => change.apply(bytes),
            _ => change.tear(bytes, random),
        };
        let names = move |random: &mut Random, count: usize| match style {
            0 => 0,
            1 => count,
            _ => random.below(count as u64 + 1) as usize,
        };
        self.restart(survives, names);
    }

    /// The power went. Of the changes of names in each folder that no fsync has covered, the first `names` survive; of bytes all, or
    /// none.
    pub fn cut_power_after(&mut self, names: usize, keeps_bytes: bool) {
        self.lost_pages = false;
        let survives = move |_: &mut Random, bytes: &mut Vec<u8>, change: &Change| {
            if keeps_bytes {
                change.apply(bytes);
            }
        };
        self.restart(survives, move |_, count| count.min(names));
    }

    /// How many changes of names wait for an fsync, in the folder that has the most of them.
    pub fn waiting_names(&self) -> usize {
        self.folders.iter().map(|folder| folder.waiting.len()).max().unwrap_or(0)
    }

    /// Flips a bit of what was flushed: the lowest of byte number `at` of `piece`, in the file that holds it. Says whether one
    /// does.
    pub fn flip(&mut self, piece: &[u8], at: usize) -> bool {
        for (&inode, &number) in &self.by_inode {
            let bytes = &mut self.files[number].bytes;
            let Some(place) = bytes.windows(piece.len()).position(|window| window == piece) else { continue };
            bytes[place + at] ^= 1;
            let path = path_of(&self.root, inode).expect("the file lies on this disk");
            fs::write(path, bytes).expect("the files of a test can be written");
            return true;
        }
        false
    }

    /// Makes the files anew: with the changes that survive, under the names that do.
    fn restart(
        &mut self,
        survives: impl Fn(&mut Random, &mut Vec<u8>, &Change),
        names: impl Fn(&mut Random, usize) -> usize,
    ) {
        self.trouble = Trouble::None;
        self.failures = 0;
        for platter in &mut self.files {
            for change in std::mem::take(&mut platter.waiting) {
                survives(&mut self.random, &mut platter.bytes, &change);
            }
        }
        for folder in &mut self.folders {
            let count = names(&mut self.random, folder.waiting.len());
            for renaming in std::mem::take(&mut folder.waiting).iter().take(count) {
                renaming.apply(&mut folder.on_platter);
            }
            folder.names = folder.on_platter.clone();
        }
        fs::remove_dir_all(&self.root).expect("the folder of a test can be removed");
        self.by_inode.clear();
        self.lay_out(0, &self.root.clone());
    }

    fn lay_out(&mut self, folder: usize, path: &Path) {
        fs::create_dir(path).expect("the folder of a test can be made");
        for (name, node) in self.folders[folder].names.clone() {
            let path = path.join(name);
            match node {
                Node::Folder(folder) => self.lay_out(folder, &path),
                Node::File(number) => {
                    fs::write(&path, &self.files[number].bytes).expect("the files of a test can be made");
                    self.by_inode.insert(fs::metadata(&path).expect("it was made").ino(), number);
                }
            }
        }
    }

    /// Whether a call is about something on this disk.
    fn has(&self, call: Call<'_>) -> bool {
        match call {
            Call::Read(file)
            | Call::Keep(file)
            | Call::Write(file, ..)
            | Call::Allocate(file, _)
            | Call::SetLength(file, _)
            | Call::SetModified(file)
            | Call::Forget(file)
            | Call::Sync(file) => self.by_inode.contains_key(&inode(file)),
            Call::Open(path)
            | Call::OpenOrCreate(path)
            | Call::Create(path)
            | Call::Look(path)
            | Call::SyncFolder(path)
            | Call::Rename(path, _)
            | Call::Remove(path)
            | Call::CreateFolder(path)
            | Call::RemoveFolder(path) => path.starts_with(&self.root),
        }
    }

    /// Fails if the call is to fail, with what a call that fails may leave.
    fn fail(&mut self, call: Call<'_>) -> io::Result<()> {
        let errno = match &mut self.trouble {
            Trouble::Scarce if matches!(call, Call::Keep(_)) => rustix::io::Errno::MFILE,
            Trouble::Once(calls @ 1.., _) | Trouble::Over(calls @ 1..) => {
                *calls -= 1;
                return Ok(());
            }
            Trouble::Over(0) => {
                self.failures += 1;
                if self.failures == 1 {
                    // A process that is killed has copied whole pieces into the page cache.
                    self.write_part(call, SECTOR_BYTES)?;
                }
                return Err(rustix::io::Errno::IO.into());
            }
            Trouble::Once(0, Failure::Io) => rustix::io::Errno::IO,
            Trouble::Once(0, Failure::NoSpace) | Trouble::Full if call.needs_room() => rustix::io::Errno::NOSPC,
            Trouble::Once(0, Failure::NoFiles) if call.opens() => rustix::io::Errno::MFILE,
            _ => return Ok(()),
        };
        if let Trouble::Once(..) = self.trouble {
            self.trouble = Trouble::None;
        }
        self.failures += 1;
        self.write_part(call, 1)?;
        if let Call::Sync(file) = call {
            let (random, platter) = (&mut self.random, &mut self.files[self.by_inode[&inode(file)]]);
            for change in std::mem::take(&mut platter.waiting) {
                // Some of it was written; of the rest, the system believes so. But a length is no page: a file system that cannot write
                // its journal goes out of service.
                if matches!(change, Change::Length(_)) || random.below(2) == 0 {
                    change.apply(&mut platter.bytes);
                }
            }
            self.lost_pages = true;
        }
        Err(errno.into())
    }

    /// Of a write that fails, or is the last, the beginning may be there, up to a multiple of `step` in the file.
    fn write_part(&mut self, call: Call<'_>, step: usize) -> io::Result<()> {
        if let Call::Write(file, [first, rest], position) = call {
            let mut bytes = [first, rest].concat();
            let end = position as usize + self.random.below(bytes.len() as u64 + 1) as usize;
            bytes.truncate((end / step * step).saturating_sub(position as usize));
            file.write_all_at(&bytes, position)?;
            self.note(Call::Write(file, [&bytes, &[]], position));
        }
        Ok(())
    }

    /// Notes a call that went well.
    fn note(&mut self, call: Call<'_>) {
        match call {
            Call::Open(_) | Call::Keep(_) | Call::Look(_) | Call::Read(_) | Call::SetModified(_) => {}
            Call::Create(path) | Call::OpenOrCreate(path) => {
                let (folder, name) = self.place(path);
                match self.folders[folder].names.get(&name) {
                    None => {
                        self.files.push(Platter::default());
                        self.by_inode.insert(fs::metadata(path).expect("it was made").ino(), self.files.len() - 1);
                        let node = Node::File(self.files.len() - 1);
                        self.folders[folder].change(Renaming::Made(name, node));
                    }
                    Some(&Node::File(number)) if matches!(call, Call::Create(_)) => {
                        self.files[number].waiting.push(Change::Length(0));
                    }
                    Some(_) => {}
                }
            }
            Call::Write(file, pieces, position) => {
                self.waiting(file).push(Change::Write(position as usize, pieces.concat()));
            }
            Call::Allocate(file, length) | Call::SetLength(file, length) => {
                self.waiting(file).push(Change::Length(length as usize));
            }
            Call::Sync(file) => {
                let platter = &mut self.files[self.by_inode[&inode(file)]];
                std::mem::take(&mut platter.waiting).iter().for_each(|change| change.apply(&mut platter.bytes));
            }
            Call::Forget(file) => self.forget_cached(file),
            Call::SyncFolder(path) => {
                let folder = self.folder(path);
                let folder = &mut self.folders[folder];
                folder.waiting.clear();
                folder.on_platter = folder.names.clone();
            }
            Call::Rename(from, to) => {
                let ((folder, from), (same, to)) = (self.place(from), self.place(to));
                assert_eq!(folder, same, "nothing is renamed into another folder");
                self.folders[folder].change(Renaming::Renamed(from, to));
            }
            Call::Remove(path) | Call::RemoveFolder(path) => {
                let (folder, name) = self.place(path);
                self.folders[folder].change(Renaming::Removed(name));
            }
            Call::CreateFolder(path) if path == self.root => {}
            Call::CreateFolder(path) => {
                let (folder, name) = self.place(path);
                if !self.folders[folder].names.contains_key(&name) {
                    self.folders.push(Folder::default());
                    let node = Node::Folder(self.folders.len() - 1);
                    self.folders[folder].change(Renaming::Made(name, node));
                }
            }
        }
    }

    /// What is read from now on is what is on the platter, with what waits for an fsync. The length is none of the page cache's.
    fn forget_cached(&self, file: &File) {
        let platter = &self.files[self.by_inode[&inode(file)]];
        let mut bytes = platter.bytes.clone();
        platter.waiting.iter().for_each(|change| change.apply(&mut bytes));
        bytes.resize(file.metadata().expect("an open file has a length").len() as usize, 0);
        let path = path_of(&self.root, inode(file)).expect("the file lies on this disk");
        fs::write(path, bytes).expect("the files of a test can be written");
    }

    fn waiting(&mut self, file: &File) -> &mut Vec<Change> {
        &mut self.files[self.by_inode[&inode(file)]].waiting
    }

    /// The folder of a path, and the name in it.
    fn place(&self, path: &Path) -> (usize, String) {
        let name = path.file_name().expect("a file has a name").to_str().expect("names are UTF-8");
        (self.folder(path.parent().expect("a file lies in a folder")), name.to_owned())
    }

    fn folder(&self, path: &Path) -> usize {
        let below = path.strip_prefix(&self.root).expect("it lies on this disk");
        below.iter().fold(0, |folder, name| {
            match self.folders[folder].names.get(name.to_str().expect("names are UTF-8")) {
                Some(Node::Folder(folder)) => *folder,
                other => panic!("{} is {other:?}", path.display()),
            }
        })
    }
}

impl Folder {
    fn change(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.waiting.push(renaming);
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Made(name, node) => _ = names.insert(name.clone(), *node),
            Self::Renamed(from, to) => {
                let node = names.remove(from).expect("what is renamed is there");
                names.insert(to.clone(), node);
            }
            Self::Removed(name) => _ = names.remove(name).expect("what is removed is there"),
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(position, written) => {
                let end = position + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*position..end].copy_from_slice(written);
            }
        }
    }

    /// Applies some of it: lost wholly, or sector by sector lost, written, or written with a wrong bit, or the file as long as
    /// if all had been.
    fn tear(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let (position, written) = match self {
            Self::Length(length) if random.below(2) == 0 => return bytes.resize(*length, 0),
            Self::Length(_) => return,
            Self::Write(position, written) => (*position, written),
        };
        let how = random.below(4);
        if how == 0 {
            return;
        }
        if how == 1 {
            bytes.resize(bytes.len().max(position + written.len()), 0);
        }
        let mut at = 0;
        while at < written.len() {
            let next = (at + SECTOR_BYTES - (position + at) % SECTOR_BYTES).min(written.len());
            let mut sector = written[at..next].to_vec();
            match random.below(8) {
                0 if next == written.len() => {
                    let from_end = random.below(FLIPPED_BYTES_MAX.min(sector.len()) as u64) as usize;
                    let last = sector.len() - 1;
                    sector[last - from_end] ^= 1 << random.below(8);
                }
                1..4 => sector.clear(),
                _ => {}
            }
            if !sector.is_empty() {
                Self::Write(position + at, sector).apply(bytes);
            }
            at = next;
        }
    }
}

impl Call<'_> {
    fn opens(self) -> bool {
        matches!(self, Self::Open(_) | Self::OpenOrCreate(_) | Self::Create(_) | Self::SyncFolder(_))
    }

    fn needs_room(self) -> bool {
        match self {
            Self::Create(_) | Self::OpenOrCreate(_) | Self::Write(..) | Self::Allocate(..) | Self::CreateFolder(_) => {
                true
            }
            // Where room is only looked for when the bytes go to the disk.
            Self::Sync(_) => true,
            _ => false,
        }
    }
}

/// The file with this inode, somewhere under `folder`.
fn path_of(folder: &Path, wanted: u64) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.filter_map(Result::ok).find_map(|entry| match entry.metadata().ok()? {
        found if found.is_dir() => path_of(&entry.path(), wanted),
        found => (found.ino() == wanted).then(|| entry.path()),
    })
}

fn inode(file: &File) -> u64 {
    file.metadata().expect("an open file can be asked for its inode").ino()
}
