//! `meta.properties`, in each log directory: to which cluster and node the directory belongs, and its own id.
//!
//! ```text
//!   cluster.id=4L6g3nShT-eMCtK--X86sw
//!   directory.id=oYCU-SfCTVKAVqaXEkiNpA
//!   node.id=1
//!   version=1
//! ```
//!
//! A Java properties file: lines `key=value` or `key:value`, comments begin with `#` or `!`. Keys that are not known are
//! left alone by reading and lost by writing, as in Kafka. This is not where directories are compared with each other.

use std::path::Path;

use ottla_base::{BrokerId, Uuid};

use crate::error::{Error, Result};
use crate::small_file;

/// The name of the file, in the root of a log directory.
pub const META_PROPERTIES: &str = "meta.properties";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster's id; usually 22 characters of base64, but Kafka takes any text.
    pub cluster_id: String,
    /// The node that owns the directory.
    pub node_id: BrokerId,
    /// The directory's own id, so that it is known again when it is mounted elsewhere.
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// Reads the file of a log directory; `None` if it has none, which means that it is not formatted.
    ///
    /// # Errors
    /// `WrongFormat` if the version is not 1, or a key is missing or has no proper value; it says what to do.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(META_PROPERTIES);
        let Some(text) = small_file::read_text(&path)? else { return Ok(None) };
        let properties: Vec<(String, String)> = text.lines().filter_map(property).collect();
        // As in Java, the last of several values counts.
        let value_of = |key: &str| properties.iter().rfind(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let wrong = |detail: String| Error::wrong_format(&path, detail);
        let required = |key: &str| {
            value_of(key).filter(|value| !value.is_empty()).ok_or_else(|| {
                wrong(format!("{key} is missing. Restore the file, or set log.dirs to a new or a formatted directory"))
            })
        };

        match required("version")? {
            "1" => {}
            "0" => {
                return Err(wrong(
                    "version 0 is of a Kafka with ZooKeeper. Migrate that cluster to KRaft with Kafka 3.9 first, or set \
                     log.dirs to a new directory"
                        .to_owned(),
                ));
            }
            version => {
                return Err(wrong(format!(
                    "version {version} is not known, only version 1. Start the software that wrote it, or set log.dirs to \
                     a new directory"
                )));
            }
        }
        let number = |key: &str| {
            let value = required(key)?;
            let number = value.parse().ok().filter(|number: &i32| *number >= 0);
            number.ok_or_else(|| wrong(format!("{key} is {value:?}, which is no node's number: 0 or more")))
        };
        let id = |key: &str| {
            let value = required(key)?;
            value.parse().map_err(|error| wrong(format!("{key} is {value:?}; {error}")))
        };
        Ok(Some(Self {
            cluster_id: required("cluster.id")?.to_owned(),
            node_id: BrokerId(number("node.id")?),
            directory_id: id("directory.id")?,
        }))
    }

    /// Puts the file into a log directory; it is on the disk when this returns.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let text = format!(
            "#\ncluster.id={}\ndirectory.id={}\nnode.id={}\nversion=1\n",
            escape(&self.cluster_id),
            self.directory_id,
            self.node_id
        );
        small_file::replace(&directory.join(META_PROPERTIES), text.as_bytes())
    }
}

/// The key and value of a line; `None` for comments and empty lines.
fn property(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return None;
    }
    let mut escaped = false;
    let end_of_key = line.find(|character: char| {
        let divides = !escaped && (character == '=' || character == ':' || character.is_whitespace());
        escaped = !escaped && character == '\\';
        divides
    });
    let (key, rest) = line.split_at(end_of_key.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim();
    Some((unescape(key), unescape(value)))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

/// Escapes what Java escapes in a value.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '=' | ':' | '#' | '!') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(MetaProperties::read(folder.path()).unwrap(), None);
        for cluster_id in ["4L6g3nShT-eMCtK--X86sw", "a=b:c\\d#!"] {
            let written = MetaProperties {
                cluster_id: cluster_id.to_owned(),
                node_id: BrokerId(1),
                directory_id: Uuid(1 << 100),
            };
            written.write(folder.path()).unwrap();
            assert_eq!(MetaProperties::read(folder.path()).unwrap(), Some(written));
        }
    }

    #[test]
    fn a_file_that_kafka_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = "#\n#Sat Nov 21 06:40:00 UTC 2026\ncluster.id=4L6g3nShT-eMCtK--X86sw\n\
                    directory.id=oYCU-SfCTVKAVqaXEkiNpA\nnode.id = 12\n\n version: 1\nother.key=x\n";
        std::fs::write(folder.path().join(META_PROPERTIES), text).unwrap();
        let read = MetaProperties::read(folder.path()).unwrap().unwrap();
        assert_eq!((read.cluster_id.as_str(), read.node_id), ("4L6g3nShT-eMCtK--X86sw", BrokerId(12)));
        assert_eq!(read.directory_id.to_string(), "oYCU-SfCTVKAVqaXEkiNpA");
    }

    #[test]
    fn what_is_missing_or_foreign_is_named_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let rest = "cluster.id=c\ndirectory.id=oYCU-SfCTVKAVqaXEkiNpA\n";
        for (text, expected) in [
            (String::new(), "version is missing"),
            (format!("version=0\nnode.id=1\n{rest}"), "Migrate"),
            (format!("version=2\nnode.id=1\n{rest}"), "version 2 is not known"),
            (format!("version=1\n{rest}"), "node.id is missing"),
            (format!("version=1\nnode.id=-1\n{rest}"), "node.id is \"-1\""),
            (format!("version=1\nnode.id=x\n{rest}"), "node.id is \"x\""),
            ("version=1\nnode.id=1\ncluster.id=c\n".to_owned(), "directory.id is missing"),
            ("version=1\nnode.id=1\ncluster.id=\ndirectory.id=x\n".to_owned(), "cluster.id is missing"),
            ("version=1\nnode.id=1\ncluster.id=c\ndirectory.id=x\\".to_owned(), "directory.id is \"x\""),
        ] {
            std::fs::write(folder.path().join(META_PROPERTIES), &text).unwrap();
            let error = MetaProperties::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(META_PROPERTIES), "{text:?}: {error}");
        }
    }
}
