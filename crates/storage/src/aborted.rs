//! The `.txnindex` file of a segment: which transactions whose marker lies in it were aborted.
//!
//! ```text
//!   | version (int16) 0 | producer id (int64) | first offset (int64) | last offset (int64) | last stable offset (int64) |
//! ```
//!
//! 34 bytes an entry, in the order of the markers (last offsets). Readers of committed records skip what these
//! transactions wrote. The file exists only where there is an entry. It is not preallocated, and short enough to be
//! read whole, once, and kept in memory: readers of committed records ask for every slice they are given.

use std::path::Path;

use ottla_base::{Offset, ProducerId};

use crate::error::{Error, Result};
use crate::{os, small_file};

const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

/// The aborted transactions of one segment.
#[derive(Debug)]
pub struct AbortedIndex {
    path: Box<Path>,
    /// What the file holds; without any entry there is no file.
    entries: Vec<AbortedTransaction>,
}

/// One aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its marker.
    pub last_offset: Offset,
    /// The last stable offset once it was aborted: below, no later marker changes anything.
    pub last_stable_offset: Offset,
}

impl AbortedIndex {
    /// Opens the index at `path`, which need not exist, and reads it once.
    ///
    /// # Errors
    /// `Corrupt` if it has to be built anew.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), entries: read(path)? })
    }

    /// An index without entries at `path`: a file that is there goes.
    pub fn create(path: &Path) -> Result<Self> {
        small_file::remove(path)?;
        Ok(Self { path: path.into(), entries: Vec::new() })
    }

    /// Where the index lies, or would.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether no transaction was aborted in this segment.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a transaction; the first one makes the file.
    ///
    /// # Errors
    /// `Corrupt` if its marker does not come after the last one's: the log that is being read is damaged.
    pub fn append(&mut self, transaction: &AbortedTransaction) -> Result<()> {
        self.append_all(std::slice::from_ref(transaction))
    }

    /// Adds transactions: all of them, or none where that fails for want of room or files.
    ///
    /// # Errors
    /// As for [`Self::append`].
    pub fn append_all(&mut self, transactions: &[AbortedTransaction]) -> Result<()> {
        let mut last_offset = self.entries.last().map(|last| last.last_offset);
        for transaction in transactions {
            if let Some(last) = last_offset.filter(|last| transaction.last_offset <= *last) {
                let detail = format!("the marker at {} does not follow {last}", transaction.last_offset);
                return Err(Error::corrupt(&self.path, detail));
            }
            last_offset = Some(transaction.last_offset);
        }
        let file = os::open_or_create(&self.path).map_err(Error::io("open", &self.path))?;
        let position = (self.entries.len() * ENTRY_BYTES) as u64;
        let bytes: Vec<u8> = transactions.iter().flat_map(AbortedTransaction::encode).collect();
        if let Err(error) = os::write_all_at(&file, &bytes, position).map_err(Error::io("append to", &self.path)) {
            // Some of it may be there.
            match self.is_empty() {
                true => self.delete()?,
                false => os::set_length(&file, position).map_err(Error::io("truncate", &self.path))?,
            }
            return Err(error);
        }
        self.entries.extend_from_slice(transactions);
        Ok(())
    }

    /// All entries.
    pub fn entries(&self) -> &[AbortedTransaction] {
        &self.entries
    }

    /// Adds to `found` the transactions that overlap `from..end`, and says whether the search is over: whether no later
    /// segment can hold one that does.
    pub fn collect(&self, from: Offset, end: Offset, found: &mut Vec<AbortedTransaction>) -> bool {
        for transaction in &self.entries {
            if transaction.last_offset >= from && transaction.first_offset < end {
                found.push(*transaction);
            }
            if transaction.last_stable_offset >= end {
                return true;
            }
        }
        false
    }

    /// Removes the transactions whose marker is at `offset` or above.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<()> {
        let kept = self.entries.partition_point(|entry| entry.last_offset < offset);
        if kept == self.entries.len() {
            return Ok(());
        }
        if kept == 0 {
            return self.delete();
        }
        let file = os::open(&self.path).map_err(Error::io("open", &self.path))?;
        os::set_length(&file, (kept * ENTRY_BYTES) as u64).map_err(Error::io("truncate", &self.path))?;
        self.entries.truncate(kept);
        Ok(())
    }

    /// Removes all entries, and with them the file.
    pub fn delete(&mut self) -> Result<()> {
        small_file::remove(&self.path)?;
        self.entries.clear();
        Ok(())
    }

    /// Returns when all entries are on the disk. The folder is not flushed: who closes the segment does that.
    pub fn flush(&self) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let file = os::open(&self.path).map_err(Error::io("open", &self.path))?;
        os::sync_data(&file).map_err(Error::io("flush", &self.path))
    }

    /// Renames the file, if there is one.
    pub fn rename(&mut self, to: &Path) -> Result<()> {
        if !self.is_empty() {
            os::rename(&self.path, to).map_err(Error::io("rename", &self.path))?;
        }
        self.moved(to);
        Ok(())
    }

    /// Notes the new path after the folder was renamed.
    pub fn moved(&mut self, to: &Path) {
        self.path = to.into();
    }
}

/// The entries of a file, if there is one.
fn read(path: &Path) -> Result<Vec<AbortedTransaction>> {
    let bytes = small_file::read(path)?.unwrap_or_default();
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        let detail = format!("{} bytes are no whole number of {ENTRY_BYTES}-byte entries", bytes.len());
        return Err(Error::corrupt(path, detail));
    }
    let mut transactions: Vec<AbortedTransaction> = Vec::with_capacity(entries.len());
    for (index, bytes) in entries.iter().enumerate() {
        let transaction = AbortedTransaction::decode(bytes)
            .filter(|next| transactions.last().is_none_or(|last| next.last_offset > last.last_offset))
            .ok_or_else(|| Error::corrupt(path, format!("entry {index} is senseless")))?;
        transactions.push(transaction);
    }
    Ok(transactions)
}

impl AbortedTransaction {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [self.producer_id.0, self.first_offset.0, self.last_offset.0, self.last_stable_offset.0];
        for (place, field) in bytes[2..].as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *place = field.to_be_bytes();
        }
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        if i16::from_be_bytes([bytes[0], bytes[1]]) != VERSION {
            return None;
        }
        let mut fields = bytes[2..].as_chunks::<8>().0.iter().map(|field| i64::from_be_bytes(*field));
        let mut next = || fields.next().expect("an entry has four fields");
        let this = Self {
            producer_id: ProducerId(next()),
            first_offset: Offset(next()),
            last_offset: Offset(next()),
            last_stable_offset: Offset(next()),
        };
        (this.first_offset.0 >= 0 && this.last_offset >= this.first_offset).then_some(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    #[test]
    fn the_file_exists_only_with_entries_of_34_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000000000000000000.txnindex");
        let mut index = AbortedIndex::open(&path).unwrap();
        assert!(index.is_empty() && !path.exists());
        index.append(&aborted(7, 2, 5, 6)).unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            [
                &[0, 0][..],
                &[0, 0, 0, 0, 0, 0, 0, 7],
                &[0, 0, 0, 0, 0, 0, 0, 2],
                &[0, 0, 0, 0, 0, 0, 0, 5],
                &[0, 0, 0, 0, 0, 0, 0, 6]
            ]
            .concat()
        );
        assert!(matches!(index.append(&aborted(8, 1, 5, 6)), Err(Error::Corrupt { .. })));
        index.append(&aborted(8, 1, 9, 10)).unwrap();
        index.flush().unwrap();
        let mut index = AbortedIndex::open(&path).unwrap();
        assert_eq!(index.entries(), [aborted(7, 2, 5, 6), aborted(8, 1, 9, 10)]);
        index.truncate_to(Offset(9)).unwrap();
        assert_eq!(index.entries(), [aborted(7, 2, 5, 6)]);
        index.truncate_to(Offset(5)).unwrap();
        assert!(index.is_empty() && !path.exists());
    }

    #[test]
    fn overlapping_transactions_are_found_and_the_search_ends_at_a_stable_offset() {
        let folder = tempfile::tempdir().unwrap();
        let mut index = AbortedIndex::open(&folder.path().join("a.txnindex")).unwrap();
        let all = [aborted(1, 0, 5, 3), aborted(2, 3, 8, 6), aborted(3, 6, 20, 21), aborted(1, 30, 35, 36)];
        for transaction in &all {
            index.append(transaction).unwrap();
        }
        for (from, end, expected, over) in
            [(0, 1, &all[..1], true), (6, 7, &all[1..3], true), (9, 40, &all[2..], false), (21, 30, &[], true)]
        {
            let mut found = Vec::new();
            assert_eq!(index.collect(Offset(from), Offset(end), &mut found), over, "{from}..{end}");
            assert_eq!(found, expected, "{from}..{end}");
        }
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txnindex");
        let twice = [aborted(1, 0, 5, 3).encode(), aborted(1, 0, 5, 3).encode()].concat();
        for bytes in [&[0; 33][..], &[1; 34], &[255; 68], &twice] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(AbortedIndex::open(&path), Err(Error::Corrupt { .. })), "{bytes:?}");
        }
    }
}
