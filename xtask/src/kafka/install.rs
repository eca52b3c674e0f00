//! Kafka's jars, resolved by Maven from its published packages, once for each version of our project files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Fallible, files, packages, process};

/// How long Maven may take to download everything.
const INSTALL_WITHIN: Duration = Duration::from_secs(15 * 60);
/// The parts: a node's jars are newer than the tools', so they do not share a folder.
const PARTS: [&str; 2] = ["node", "tools"];
/// For a program that lives for a second: the JVM's second compiler would cost it more than it gives.
pub const SHORT_LIVED: [&str; 2] = ["-XX:TieredStopAtLevel=1", "-Xmx512M"];
/// Every tool we use or name in the documentation, with the class that Kafka's script of that name starts.
const TOOLS: [(&str, &str); 24] = [
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-client-metrics", "org.apache.kafka.tools.ClientMetricsCommand"),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-console-share-consumer", "org.apache.kafka.tools.consumer.ConsoleShareConsumer"),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance"),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-dump-log", "org.apache.kafka.tools.DumpLogSegments"),
    ("kafka-e2e-latency", "org.apache.kafka.tools.EndToEndLatency"),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("kafka-metadata-shell", "org.apache.kafka.shell.MetadataShell"),
    ("kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
    ("kafka-reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"),
    ("kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
];

/// The tool that comes with the node.
const STORAGE: (&str, &str) = ("kafka-storage", "kafka.tools.StorageTool");

/// Where Kafka is.
#[derive(Clone)]
pub struct Installed {
    home: PathBuf,
}

/// Installs Kafka under `target/kafka`, unless it is there already.
pub fn install() -> Fallible<Installed> {
    let home = files::target_folder("kafka")?;
    let installed = Installed { home };
    packages::ensure("java", "default-jre-headless")?;
    let stamp = stamp()?;
    let stamp_file = installed.home.join("stamp");
    if fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        return Ok(installed);
    }
    packages::ensure("mvn", "maven")?;
    for part in PARTS {
        let folder = installed.home.join(part);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        eprintln!("installing Kafka's {part} into {}", folder.display());
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "--file"]).arg(project_file(&format!("{part}.xml")));
        maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        maven.arg(format!("-DoutputDirectory={}", folder.display()));
        process::run(&mut maven, b"", Instant::now() + INSTALL_WITHIN)?.succeeded()?;
    }
    files::write_whole(&stamp_file, &stamp)?;
    Ok(installed)
}

impl Installed {
    /// The folder with the jars of a node, among them the message schemas.
    pub fn node_jars(&self) -> PathBuf {
        self.home.join("node")
    }

    /// A JVM that will run `class` of a node; `settings` are those of the JVM.
    pub fn node(&self, settings: &[&str], class: &str) -> Command {
        java(settings, &self.node_jars(), &project_file("node-log4j2.xml"), class)
    }

    /// A JVM that will run a tool, named as Kafka's scripts without `.sh`.
    pub fn tool(&self, name: &str) -> Fallible<Command> {
        let log_settings = project_file("tools-log4j2.xml");
        if name == STORAGE.0 {
            return Ok(java(&SHORT_LIVED, &self.node_jars(), &log_settings, STORAGE.1));
        }
        let Some((_, class)) = TOOLS.iter().find(|(tool, _)| *tool == name) else {
            let known = TOOLS.map(|(tool, _)| tool);
            return Err(format!("there is no tool {name:?}; there are {}", known.join(", ")).into());
        };
        Ok(java(&SHORT_LIVED, &self.home.join("tools"), &log_settings, class))
    }
}

/// What an installation depends on: the project files themselves.
fn stamp() -> Fallible<String> {
    let mut stamp = String::new();
    for part in PARTS {
        stamp += &fs::read_to_string(project_file(&format!("{part}.xml")))?;
    }
    Ok(stamp)
}

fn project_file(name: &str) -> PathBuf {
    files::root().join("xtask/kafka").join(name)
}

fn java(settings: &[&str], jars: &Path, log_settings: &Path, class: &str) -> Command {
    let mut java = Command::new("java");
    java.args(settings).arg(format!("-Dlog4j2.configurationFile={}", log_settings.display()));
    java.arg("-cp").arg(jars.join("*")).arg(class);
    java
}
