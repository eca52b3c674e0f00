//! `ottla storage`: gives log directories their papers and tells of them, with the flags and the output of Kafka's
//! kafka-storage.sh.
//!
//! Differs from Kafka: what a new cluster begins with is written by the broker's first start, not by `format`, so only the newest
//! release and the features that are spoken here can be asked for; the quorum is this node, whether `--standalone`,
//! `--no-initial-controllers` or the settings say so, and there is neither `--initial-controllers` nor `--add-scram`; no stack traces.

mod directories;
mod features;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ottla_base::Uuid;
use ottla_broker::config::{Config, Written};
use ottla_metadata::controller::{Bootstrap, LATEST_METADATA_VERSION};
use ottla_metadata::image::METADATA_VERSION;

use crate::refusal::UNCAUGHT;
use crate::screen::Screen;
use directories::Directories;
pub use usage::refuse;

/// What to do.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Tell of the log directories of this node.
    #[command(args_override_self = true, infer_long_args = true)]
    Info {
        /// The file of Kafka's settings.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Format the log directories of this node.
    #[command(args_override_self = true, infer_long_args = true)]
    Format(Format),
    /// Show the features of a release.
    #[command(args_override_self = true, infer_long_args = true)]
    VersionMapping {
        /// The release; the newest if it is not given.
        #[arg(long, short, value_name = "RELEASE", default_value = features::LATEST)]
        release_version: String,
    },
    /// Show which features others need.
    #[command(infer_long_args = true)]
    FeatureDependencies {
        /// A feature and its level; may be given many times.
        #[arg(long, short, value_name = "FEATURE=LEVEL", required = true)]
        feature: Vec<String>,
    },
    /// Print a random id, as a cluster needs one.
    RandomUuid,
}

#[derive(Args, Clone, Debug)]
struct Format {
    /// The file of Kafka's settings.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// The id of the cluster.
    #[arg(long, short = 't', value_name = "ID", allow_hyphen_values = true)]
    cluster_id: String,
    /// Leave directories alone that are formatted already.
    #[arg(long, short = 'g')]
    ignore_formatted: bool,
    /// The release whose features the cluster begins with: only the newest.
    #[arg(long, short, value_name = "RELEASE")]
    release_version: Option<String>,
    /// A feature and the level that the cluster begins with: only what is spoken here.
    #[arg(long, short, value_name = "FEATURE=LEVEL")]
    feature: Vec<String>,
    /// This node is the only controller.
    #[arg(long, short, conflicts_with = "no_initial_controllers")]
    standalone: bool,
    /// Others say who the controllers are; here it is this node.
    #[arg(long, short = 'N')]
    no_initial_controllers: bool,
}

/// Does what the arguments say.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut screen = Screen::default();
    let done = execute(&arguments.command, &mut screen);
    let code = if matches!(done, Ok(true)) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if let Err(message) = done {
        screen.note(message);
    }
    screen.show();
    code
}

/// Gives whether nothing is wrong.
fn execute(command: &Command, screen: &mut Screen) -> Result<bool, String> {
    match command {
        Command::RandomUuid => screen.say(Uuid::random(random).to_string()),
        Command::VersionMapping { release_version } => screen.out += &features::mapping(release_version)?,
        Command::FeatureDependencies { feature } => {
            for feature in feature {
                screen.out += &features::dependencies(feature)?;
            }
        }
        Command::Info { config } => {
            let (_, directories) = settings(config)?;
            let (text, is_right) = directories::describe(&directories);
            screen.out += &text;
            return Ok(is_right);
        }
        Command::Format(format) => screen.out += &format.execute()?,
    }
    Ok(true)
}

impl Format {
    fn execute(&self) -> Result<String, String> {
        const DYNAMIC: &str = "Because controller.quorum.voters is not set on this controller, you must specify one of the \
                               following: --standalone, --initial-controllers, or --no-initial-controllers.";
        const STATIC: &str = "You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
                              --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and \
                              specify controller.quorum.bootstrap.servers instead.";
        let (has_voters, directories) = settings(&self.config)?;
        if has_voters && self.standalone {
            return Err(STATIC.to_owned());
        }
        if !has_voters && !self.standalone && !self.no_initial_controllers {
            return Err(DYNAMIC.to_owned());
        }
        let bootstrap = self.bootstrap()?;
        directories::format(&directories, &self.cluster_id, self.ignore_formatted, &bootstrap, random)
    }

    /// What the cluster will begin with, as Kafka shows it.
    fn bootstrap(&self) -> Result<String, String> {
        const EXCEPTION: &str = "Exception in thread \"main\" java.lang.RuntimeException:";
        // What is not spoken here is as unknown as what is not Kafka's.
        let unknown = |version: &str| {
            let latest = features::LATEST;
            format!("Unknown metadata.version '{version}'. Supported metadata.version are: {latest}")
        };
        let is_of_metadata =
            |argument: &String| argument.split_once('=').is_some_and(|(name, _)| name.trim() == METADATA_VERSION);
        if self.release_version.is_some() && self.feature.iter().any(is_of_metadata) {
            return Err("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.".to_owned());
        }
        if let Some(release) = &self.release_version
            && features::level_of(release)? != LATEST_METADATA_VERSION
        {
            return Err(unknown(release));
        }
        let mut levels = vec![(METADATA_VERSION.to_owned(), LATEST_METADATA_VERSION)];
        levels.extend(Bootstrap::new(1).features);
        for argument in &self.feature {
            let Some((name, level)) = argument.split_once('=') else {
                return Err(format!("{EXCEPTION} Can't parse feature=level string {argument}: equals sign not found."));
            };
            let (name, level) = (name.trim(), level.trim());
            let number: i16 = level.parse().map_err(|_| {
                format!("{EXCEPTION} Can't parse feature=level string {argument}: unable to parse {level} as a short.")
            })?;
            let begun = levels.iter().find(|(known, _)| known == name).map_or(0, |(_, level)| *level);
            features::check_name(name)?;
            if number != begun && name == METADATA_VERSION {
                return Err(unknown(features::name_of(number).unwrap_or(level)));
            }
            if number != begun {
                return Err(format!(
                    "{UNCAUGHT}java.lang.IllegalArgumentException: No feature:{name} with feature level {number}"
                ));
            }
        }
        let record = |(name, level): &(String, i16)| {
            format!("ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at version 0)")
        };
        let records: Vec<_> = levels.iter().map(record).collect();
        Ok(format!(
            "BootstrapMetadata(records=[{}], metadataVersionLevel={LATEST_METADATA_VERSION}, source=format command)",
            records.join(", ")
        ))
    }
}

/// Whether the settings name the voters of the quorum, and the directories.
fn settings(path: &Path) -> Result<(bool, Directories), String> {
    if !path.exists() {
        return Err(format!("{UNCAUGHT}java.nio.file.NoSuchFileException: {}", path.display()));
    }
    let written = Written::gather(Some(path), &[]).map_err(|error| error.to_string())?;
    let has_voters = !written.list("controller.quorum.voters").is_empty();
    let (config, _) = Config::new(written).map_err(|error| error.to_string())?;
    let mut all = config.log_dirs.clone();
    all.push(config.metadata_log_dir.clone());
    all.sort();
    all.dedup();
    Ok((has_voters, Directories { all, metadata: config.metadata_log_dir, node: config.node_id }))
}

/// Bits nobody can foretell.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(release: Option<&str>, features: &[&str], expected: &Expect) {
        let format = Format {
            config: PathBuf::new(),
            cluster_id: String::new(),
            ignore_formatted: false,
            release_version: release.map(str::to_owned),
            feature: features.iter().map(|&feature| feature.to_owned()).collect(),
            standalone: false,
            no_initial_controllers: false,
        };
        expected.assert_eq(&format.bootstrap().map_or_else(|refused| refused, |_| "formatted".to_owned()));
    }

    #[test]
    fn what_is_not_spoken_here_is_refused_as_what_is_unknown() {
        check(None, &[], &expect!["formatted"]);
        check(Some("4.4"), &["group.version=0", "eligible.leader.replicas.version=1"], &expect!["formatted"]);
        check(Some("4.0"), &[], &expect!["Unknown metadata.version '4.0'. Supported metadata.version are: 4.4-IV2"]);
        check(
            None,
            &["metadata.version=25"],
            &expect!["Unknown metadata.version '4.0-IV3'. Supported metadata.version are: 4.4-IV2"],
        );
        check(
            Some("4.0"),
            &["metadata.version=33"],
            &expect!["Use --release-version instead of --feature metadata.version=X to avoid ambiguity."],
        );
        check(
            None,
            &["group.version=1"],
            &expect![[
                r#"Exception in thread "main" java.lang.IllegalArgumentException: No feature:group.version with feature level 1"#
            ]],
        );
    }
}
