//! Whether the metadata log may be opened at all: opening cuts off whatever follows a batch that is not whole.
//!
//! ```text
//!   | whole | whole | begun      a kill or a power cut: what was not acknowledged goes
//!   | whole | ####  | whole      damage: what follows was acknowledged, and topics would vanish with it
//! ```
//!
//! Every append is on the disk before it is answered, so only the very end can honestly be torn.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_protocol::records::Batch;

use crate::error::{Error, Result};

/// Fails where the log in `folder` is damaged in front of its end.
pub fn check(folder: &Path) -> Result<()> {
    let io = |source| Error::Io { what: format!("read {}", folder.display()), source };
    let mut segments: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            segments.push(path);
        }
    }
    // Their names are numbers of one length.
    segments.sort();
    for (place, path) in segments.iter().enumerate() {
        let bytes = fs::read(path).map_err(|source| Error::Io { what: format!("read {}", path.display()), source })?;
        let Some(position) = damage(&bytes) else { continue };
        let is_last = place + 1 == segments.len();
        if !(is_last && is_torn_end(&bytes[position..])) {
            return Err(Error::DamagedMetadata { path: path.clone(), position });
        }
    }
    Ok(())
}

/// Where the first batch lies that is not whole.
fn damage(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match Batch::parse(rest) {
            Ok((batch, after)) if batch.is_crc_valid() => rest = after,
            _ => return Some(bytes.len() - rest.len()),
        }
    }
    None
}

/// Whether these bytes may be what a last append left that did not get to its end: no whole batch comes after their begin.
fn is_torn_end(bytes: &[u8]) -> bool {
    (1..bytes.len()).all(|at| !Batch::parse(&bytes[at..]).is_ok_and(|(batch, _)| batch.is_crc_valid()))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::records::BatchBuilder;

    use super::*;

    fn batches(count: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.push(1, None, Some(b"a record of the metadata"), &[]);
        builder.build().expect("there is memory").repeat(count)
    }

    fn checked(segments: &[&[u8]]) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        for (number, bytes) in segments.iter().enumerate() {
            fs::write(folder.path().join(format!("{number:020}.log")), bytes).expect("the folder is ours");
        }
        check(folder.path()).is_ok()
    }

    #[test]
    fn a_torn_end_is_no_damage() {
        let (two, one) = (batches(2), batches(1));
        assert!(checked(&[]) && checked(&[b""]) && checked(&[&two, &one]));
        for length in one.len()..two.len() {
            assert!(checked(&[&two[..length]]), "cut at {length}");
        }
        assert!(checked(&[&[&two[..], &[0; 500]].concat()]), "room that was never written");
        let mut half_written = two.clone();
        half_written[one.len() + 70..].fill(0);
        assert!(checked(&[&half_written]), "the length came to the disk, the rest did not");
    }

    #[test]
    fn a_flipped_bit_before_the_end_is() {
        let (three, one) = (batches(3), batches(1));
        for position in [8, 11, 16, 20, 70, one.len() + 70] {
            let mut damaged = three.clone();
            damaged[position] ^= 4;
            assert!(!checked(&[&damaged]), "a bit at {position}");
            assert!(!checked(&[&damaged, &one]), "a bit at {position} of the first segment");
        }
        assert!(!checked(&[&three[..three.len() - 1], &one]), "only the last segment may be torn");
    }
}
