//! Reads the message schemas out of a jar, which is a zip file.
//!
//! ```text
//! entries (local header, data) ... | central directory: one header an entry | end record
//! ```
//!
//! Not here: encrypted, split or 64-bit archives; no jar of Kafka's is one.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::DeflateDecoder;

const END_RECORD: u32 = 0x0605_4b50;
const END_RECORD_LENGTH: usize = 22;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const CENTRAL_HEADER_LENGTH: usize = 46;
const LOCAL_HEADER_LENGTH: usize = 30;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// No schema is longer.
const LONGEST: u64 = 1 << 20;

/// The files of `jar` that are called `*.json`, with their text.
pub fn json_files(jar: &Path) -> Result<Vec<(String, String)>, String> {
    let bytes = fs::read(jar).map_err(|error| format!("cannot read {}: {error}", jar.display()))?;
    entries(&bytes).ok_or_else(|| format!("{} is not a zip file that can be read here", jar.display()))
}

fn entries(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    // A comment may follow the end record, so it is looked for from the end.
    let end =
        (0..=bytes.len().checked_sub(END_RECORD_LENGTH)?).rev().find(|&at| u32_at(bytes, at) == Some(END_RECORD))?;
    let count = u16_at(bytes, end + 10)?;
    let mut at = u32_at(bytes, end + 16)? as usize;
    let mut found = Vec::new();
    for _ in 0..count {
        if u32_at(bytes, at)? != CENTRAL_HEADER {
            return None;
        }
        let name_length = usize::from(u16_at(bytes, at + 28)?);
        let name = bytes.get(at + CENTRAL_HEADER_LENGTH..)?.get(..name_length)?;
        if name.ends_with(b".json") {
            let text = entry(bytes, at)?;
            found.push((String::from_utf8(name.to_vec()).ok()?, text));
        }
        at += CENTRAL_HEADER_LENGTH
            + name_length
            + usize::from(u16_at(bytes, at + 30)?)
            + usize::from(u16_at(bytes, at + 32)?);
    }
    Some(found)
}

/// The text of the entry whose central header is at `at`.
fn entry(bytes: &[u8], at: usize) -> Option<String> {
    let method = u16_at(bytes, at + 10)?;
    let length = u32_at(bytes, at + 20)? as usize;
    let local = u32_at(bytes, at + 42)? as usize;
    let data =
        local + LOCAL_HEADER_LENGTH + usize::from(u16_at(bytes, local + 26)?) + usize::from(u16_at(bytes, local + 28)?);
    let data = bytes.get(data..)?.get(..length)?;
    let mut text = String::new();
    match method {
        STORED => text.push_str(std::str::from_utf8(data).ok()?),
        DEFLATED => drop(DeflateDecoder::new(data).take(LONGEST).read_to_string(&mut text).ok()?),
        _ => return None,
    }
    Some(text)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    /// A zip file with these entries: name, method, data as it is stored.
    fn zip(files: &[(&str, u16, Vec<u8>)]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, method, data) in files {
            let (at, length) = (bytes.len() as u32, data.len() as u32);
            bytes.extend([[0; 26].as_slice(), &(name.len() as u16).to_le_bytes(), &3_u16.to_le_bytes()].concat());
            bytes.extend([name.as_bytes(), b"ext", data].concat());
            directory.extend([&CENTRAL_HEADER.to_le_bytes()[..], &[0; 6], &method.to_le_bytes(), &[0; 8]].concat());
            directory.extend([length.to_le_bytes(), [0; 4]].concat());
            directory.extend([(name.len() as u16).to_le_bytes(), [0; 2], 2_u16.to_le_bytes(), [0; 2]].concat());
            directory.extend([&[0; 6][..], &at.to_le_bytes(), name.as_bytes(), b"??"].concat());
        }
        let start = bytes.len() as u32;
        bytes.extend(&directory);
        bytes.extend([&END_RECORD.to_le_bytes()[..], &[0; 6], &(files.len() as u16).to_le_bytes(), &[0; 4]].concat());
        bytes.extend([&start.to_le_bytes()[..], &[7, 0], b"comment"].concat());
        bytes
    }

    #[test]
    fn json_files_are_found_stored_and_deflated() {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        deflated.write_all(b"{\"second\": 2}").expect("memory takes it");
        let deflated = deflated.finish().expect("memory takes it");
        let bytes = zip(&[
            ("a/First.json", STORED, b"{}".to_vec()),
            ("b/Second.json", DEFLATED, deflated),
            ("Third.class", 99, b"other".to_vec()),
        ]);
        let second = ("b/Second.json".to_owned(), "{\"second\": 2}".to_owned());
        assert_eq!(entries(&bytes), Some(vec![("a/First.json".to_owned(), "{}".to_owned()), second]));
        for length in 0..bytes.len() - b"comment".len() {
            assert_eq!(entries(&bytes[..length]), None, "cut at {length}");
        }
        assert_eq!(entries(&zip(&[("a.json", 99, Vec::new())])), None, "a method that is not known");
    }
}
