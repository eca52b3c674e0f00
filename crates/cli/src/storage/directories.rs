//! The log directories of a node: `info` tells of them, `format` gives them their papers.

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};

use ottla_base::{BrokerId, Uuid};
use ottla_storage::{LogDirectory, META_PROPERTIES, MetaProperties};

use super::begin::Begin;

/// The directories of a node.
pub struct Directories {
    /// All of them, sorted.
    pub all: Vec<PathBuf>,
    /// The one with the metadata log.
    pub metadata: PathBuf,
    /// The node.
    pub node: BrokerId,
}

/// What `info` shows, and whether nothing is wrong.
pub fn describe(directories: &Directories) -> (String, bool) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut first: Option<MetaProperties> = None;
    for path in &directories.all {
        let shown = path.display();
        if !path.is_dir() {
            let what = if path.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{shown} {what}"));
            continue;
        }
        found.push(shown.to_string());
        match (MetaProperties::read(path), &first) {
            (Ok(None), _) => problems.push(format!("{shown} is not formatted.")),
            (Err(error), _) => problems.push(format!("Error loading {shown}/{META_PROPERTIES}: {error}")),
            (Ok(papers), None) => first = papers,
            (Ok(Some(papers)), Some(first)) if papers.cluster_id != first.cluster_id => {
                problems.push("Mismatched cluster IDs between storage directories.".to_owned());
            }
            (Ok(Some(papers)), Some(first)) if papers.node_id != first.node_id => {
                problems.push("Mismatched node IDs between storage directories.".to_owned());
            }
            (Ok(Some(_)), Some(_)) => {}
        }
    }
    let mut text = section(["Found log directory:", "Found log directories:"], &found);
    if let Some(MetaProperties { cluster_id, node_id, directory_id }) = first {
        let _ = writeln!(
            text,
            "Found metadata: {{cluster.id={cluster_id}, directory.id={directory_id}, node.id={node_id}, version=1}}\n"
        );
    }
    text += &section(["Found problem:", "Found problems:"], &problems);
    (text, problems.is_empty())
}

fn section([one, several]: [&str; 2], lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("{}\n{lines}\n", if lines.matches('\n').count() == 1 { one } else { several })
}

/// Formats the directories that are not yet; gives what is to be shown.
///
/// # Errors
/// Kafka's words for why not.
pub fn format(
    directories: &Directories,
    cluster_id: &str,
    ignore_formatted: bool,
    begin: &Begin,
    mut random: impl FnMut() -> u64,
) -> Result<String, String> {
    let mut empty = Vec::new();
    let mut formatted = Vec::new();
    for path in &directories.all {
        match MetaProperties::read(path).map_err(|error| error.to_string())? {
            None => empty.push(path),
            Some(papers) => {
                check(path, &papers, cluster_id, directories.node)?;
                formatted.push(path);
            }
        }
    }
    if let (Some(path), false) = (formatted.first(), ignore_formatted) {
        return Err(format!(
            "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the others.",
            path.display()
        ));
    }
    if empty.is_empty() {
        return Ok("All of the log directories are already formatted.\n".to_owned());
    }
    let mut text = format!("Bootstrap metadata: {}\n", begin.shown());
    // The directory of the metadata comes first: without it, the others are those of a node that lost it.
    empty.sort_by_key(|path| **path != directories.metadata);
    for path in empty {
        let kind = if *path == directories.metadata { "metadata" } else { "data" };
        let version = begin.metadata_version;
        let _ = writeln!(text, "Formatting {kind} directory {} with metadata.version {version}.", path.display());
        let papers = MetaProperties {
            cluster_id: cluster_id.to_owned(),
            node_id: directories.node,
            directory_id: Uuid::random(&mut random),
        };
        let failed =
            |what: &str, error: &dyn Display| format!("Error while writing {what} {}: {error}", path.display());
        let of_papers = |error| failed("meta.properties file", &error);
        // No broker may be at work there.
        let directory = LogDirectory::lock(path).map_err(of_papers)?;
        if *path == directories.metadata {
            // Before the papers: with them, a directory is formatted.
            begin.write(path).map_err(|error| failed("bootstrap metadata in", &error))?;
        }
        papers.write(path).and_then(|()| directory.unlock()).map_err(of_papers)?;
    }
    Ok(text)
}

fn check(path: &Path, papers: &MetaProperties, cluster_id: &str, node: BrokerId) -> Result<(), String> {
    const EXCEPTION: &str = "Exception in thread \"main\" java.lang.RuntimeException:";
    let file = path.join(META_PROPERTIES);
    let file = file.display();
    if papers.cluster_id != cluster_id {
        return Err(format!(
            "{EXCEPTION} Invalid cluster.id in: {file}. Expected {cluster_id}, but read {}",
            papers.cluster_id
        ));
    }
    if papers.node_id != node {
        return Err(format!(
            "{EXCEPTION} Stored node id {} doesn't match previous node id {node} in {file}. If you moved your data, make sure \
             your configured node id matches. If you intend to create a new node, you should remove all data in your data \
             directories.",
            papers.node_id
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use tempfile::TempDir;

    use super::*;

    fn directories(folder: &TempDir, node: i32) -> Directories {
        let all = vec![folder.path().join("a"), folder.path().join("b")];
        Directories { metadata: all[1].clone(), all, node: BrokerId(node) }
    }

    fn check(folder: &TempDir, text: &str, expected: &Expect) {
        let line = |line: &str| match line.split_once("directory.id=") {
            Some((before, after)) => format!("{before}directory.id=!{}\n", &after[22..]),
            None => format!("{line}\n"),
        };
        let text: String = text.replace(&folder.path().display().to_string(), "?").lines().map(line).collect();
        expected.assert_eq(&text);
    }

    #[test]
    fn directories_are_formatted_once_for_one_node_of_one_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let mut number = 7_u64;
        let mut format = |node, cluster: &str, ignore| {
            let random = || {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                number
            };
            let begin = Begin::new(Some("3.9"), &[], true).unwrap();
            super::format(&directories(&folder, node), cluster, ignore, &begin, random).unwrap_or_else(|error| error)
        };
        check(
            &folder,
            &format(1, "c", false),
            &expect![[r#"
                Bootstrap metadata: BootstrapMetadata(records=[ApiMessageAndVersion(FeatureLevelRecord(name='metadata.version', featureLevel=21) at version 0)], metadataVersionLevel=21, source=format command)
                Formatting metadata directory ?/b with metadata.version 3.9-IV0.
                Formatting data directory ?/a with metadata.version 3.9-IV0.
            "#]],
        );
        check(
            &folder,
            &format(1, "c", false),
            &expect![[r#"
            Log directory ?/a is already formatted. Use --ignore-formatted to ignore this directory and format the others.
        "#]],
        );
        check(
            &folder,
            &format(1, "c", true),
            &expect![[r#"
            All of the log directories are already formatted.
        "#]],
        );
        check(
            &folder,
            &format(1, "d", true),
            &expect![[r#"
            Exception in thread "main" java.lang.RuntimeException: Invalid cluster.id in: ?/a/meta.properties. Expected d, but read c
        "#]],
        );
        check(
            &folder,
            &format(2, "c", true),
            &expect![[r#"
            Exception in thread "main" java.lang.RuntimeException: Stored node id 1 doesn't match previous node id 2 in ?/a/meta.properties. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.
        "#]],
        );
        std::fs::remove_dir_all(folder.path().join("a")).unwrap();
        check(
            &folder,
            &format(1, "c", true),
            &expect![[r#"
                Bootstrap metadata: BootstrapMetadata(records=[ApiMessageAndVersion(FeatureLevelRecord(name='metadata.version', featureLevel=21) at version 0)], metadataVersionLevel=21, source=format command)
                Formatting data directory ?/a with metadata.version 3.9-IV0.
            "#]],
        );
    }

    #[test]
    fn directories_are_described_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let directories = directories(&folder, 1);
        let described = |expected: Expect| check(&folder, &describe(&directories).0, &expected);
        described(expect![[r#"
            Found problems:
              ?/a does not exist
              ?/b does not exist

        "#]]);
        let papers = MetaProperties { cluster_id: "c".into(), node_id: BrokerId(1), directory_id: Uuid(1 << 100) };
        for (index, path) in directories.all.iter().enumerate() {
            std::fs::create_dir(path).unwrap();
            MetaProperties { node_id: BrokerId(index as i32), ..papers.clone() }.write(path).unwrap();
        }
        described(expect![[r#"
            Found log directories:
              ?/a
              ?/b

            Found metadata: {cluster.id=c, directory.id=!, node.id=0, version=1}

            Found problem:
              Mismatched node IDs between storage directories.

        "#]]);
        papers.write(&directories.all[0]).unwrap();
        described(expect![[r#"
            Found log directories:
              ?/a
              ?/b

            Found metadata: {cluster.id=c, directory.id=!, node.id=1, version=1}

        "#]]);
        assert!(describe(&directories).1);
        std::fs::remove_file(directories.all[1].join(META_PROPERTIES)).unwrap();
        described(expect![[r#"
            Found log directories:
              ?/a
              ?/b

            Found metadata: {cluster.id=c, directory.id=!, node.id=1, version=1}

            Found problem:
              ?/b is not formatted.

        "#]]);
    }
}
