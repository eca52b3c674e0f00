//! `ottla storage`: gives log directories their papers and tells of them, with the flags and the output of Kafka's
//! kafka-storage.sh.
//!
//! Differs from Kafka: only features that are spoken here can be asked for; the quorum is this node, whether `--standalone`,
//! `--no-initial-controllers` or the settings say so, and there is neither `--initial-controllers` nor `--add-scram`; no stack traces.

mod begin;
mod directories;
mod features;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ottla_base::Uuid;
use ottla_broker::config::{Config, Written};
use ottla_metadata::version::MetadataVersion;

use crate::refusal::UNCAUGHT;
use crate::screen::Screen;
use begin::Begin;
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
        #[arg(long, short, value_name = "RELEASE", default_value = MetadataVersion::LATEST.name())]
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
    /// The release whose features the cluster begins with; the newest if it is not given.
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
        let begin = Begin::new(self.release_version.as_deref(), &self.feature, has_voters)?;
        directories::format(&directories, &self.cluster_id, self.ignore_formatted, &begin, random)
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
