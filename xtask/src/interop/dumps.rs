//! `kafka-dump-log` and `ottla dump-log` on the same files: the same lines, the same complaints, the same end.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::case::{Context, expect_same};
use super::java::files_of;
use crate::process::{self, Output};
use crate::{Fallible, server};

/// What is compared of the partitions that hold records: extensions of files, and options. One start of a JVM each.
const OF_RECORDS: [(&[&str], &[&str]); 5] = [
    (&["log"], &[]),
    (&["log"], &["--deep-iteration"]),
    (&["log", "index", "timeindex", "txnindex", "snapshot"], &["--deep-iteration", "--print-data-log"]),
    (&["index", "timeindex"], &["--verify-index-only"]),
    (&["index", "timeindex"], &["--index-sanity-check"]),
];

/// Compares what both say of all partitions of a data directory that belong to topics with this prefix, of the offsets
/// and of the metadata. The broker must have ended cleanly, so that the indexes are whole.
pub fn compare(context: &Context, data: &Path, prefix: &str) -> Fallible<()> {
    let mut folders: Vec<_> = std::fs::read_dir(data)?.map(|entry| Ok(entry?.path())).collect::<Fallible<_>>()?;
    folders.sort_unstable();
    let of_prefix =
        |folder: &PathBuf| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let of_records: Vec<_> = folders.into_iter().filter(of_prefix).collect();
    for (extensions, options) in OF_RECORDS {
        compare_files(context, &of_records, extensions, options)?;
    }
    compare_files(context, &[data.join("__consumer_offsets-0")], &["log"], &["--offsets-decoder"])?;
    let metadata = [data.join("__cluster_metadata-0")];
    compare_files(context, &metadata, &["log", "checkpoint"], &["--cluster-metadata-decoder"])
}

fn compare_files(context: &Context, folders: &[PathBuf], extensions: &[&str], options: &[&str]) -> Fallible<()> {
    let mut files = Vec::new();
    for folder in folders {
        for extension in extensions {
            // Not every partition has one of each kind.
            files.extend(files_of(folder, extension).unwrap_or_default());
        }
    }
    if files.is_empty() {
        return Err(format!("there is nothing to dump in {folders:?}").into());
    }
    let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    let files = files.join(",");
    let run =
        |command: &mut Command| process::run(command.args(["--files", &files]).args(options), b"", context.deadline);
    let kafka = run(&mut context.clients.kafka.tool("kafka-dump-log")?)?;
    let ottla = run(Command::new(server::program()).arg("dump-log"))?;
    let what = format!("dump-log {} of {}", options.join(" "), extensions.join(", "));
    expect_same(&what, &ottla.text(), &kafka.text())?;
    expect_same(&format!("complaints of {what}"), &complaints(&ottla), &complaints(&kafka))?;
    expect_same(&format!("the end of {what}"), &ottla.status.to_string(), &kafka.status.to_string())
}

/// What was written to stderr: a headline and its lines for each file, in Kafka's case in no order of their own; without
/// the calls that led to an exception.
fn complaints(output: &Output) -> String {
    let mut parts: Vec<String> = Vec::new();
    for line in output.stderr.lines().filter(|line| !line.starts_with("\tat ")) {
        match parts.last_mut() {
            Some(part) if line.starts_with(' ') => *part += &format!("\n{line}"),
            _ => parts.push(line.to_owned()),
        }
    }
    parts.sort_unstable();
    parts.join("\n")
}
