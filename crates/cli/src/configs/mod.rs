//! `ottla configs`: describes and alters settings and quotas, with the flags and the output of Kafka's kafka-configs.sh.
//!
//! ```text
//! arguments -> resources    topics brokers broker-loggers groups client-metrics     DescribeConfigs, IncrementalAlterConfigs
//!           -> quotas       users clients ips                        DescribeClientQuotas, AlterClientQuotas
//! ```
//!
//! Differs from Kafka: a stack trace on stderr is its first line, wrong usage is answered with one sentence instead of the
//! table of all options, the groups of --entity-type groups come in the order of their listing, SCRAM credentials are shown
//! and not changed.

mod arguments;
mod quotas;
mod resources;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::process::ExitCode;

pub use arguments::Arguments;
use arguments::{Changes, Entities};

use crate::admin_properties::NoClient;
use crate::client::{Error, LIST_GROUPS};
use crate::connection;
use crate::screen::Screen;

/// The types of entities.
const TYPES: [&str; 8] = ["topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"];

/// What is asked for first where quotas are meant.
const QUOTAS_CALL: &str = "describeClientQuotas";

/// Why the tool ends with a failure.
#[derive(Debug)]
pub enum Failure {
    /// The arguments make no sense, and help may help.
    Usage(String),
    /// What is asked for makes no sense.
    Illegal(String),
    /// How to connect is not said well.
    NoClient(NoClient),
    /// It could not be done.
    Failed(Error),
}

/// Does what the arguments say.
pub fn run(arguments: &Arguments) -> ExitCode {
    let words = words_after("configs", std::env::args_os());
    let mut screen = Screen::default();
    let done = execute(arguments, &words, &mut screen);
    let code = if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match done {
        Ok(()) => {}
        Err(Failure::Usage(message)) => screen.note(format!("{message}\nTry 'ottla configs --help'.")),
        Err(Failure::Illegal(message)) => screen.note(message),
        Err(Failure::NoClient(error)) => {
            screen.note(failed_with(&words));
            screen.note(error.exception());
        }
        Err(Failure::Failed(error)) => {
            screen.note(failed_with(&words));
            screen.note(match error {
                Error::NoAdminClient => error.exception(),
                // Kafka's tool does not wait for its client here.
                Error::NoNode { call: QUOTAS_CALL } => "java.util.concurrent.TimeoutException".to_owned(),
                _ => format!("java.util.concurrent.ExecutionException: {}", error.exception()),
            });
        }
    }
    screen.show();
    code
}

fn failed_with(words: &[String]) -> String {
    format!("Error while executing config command with args '{}'", words.join(" "))
}

/// What the command line says after `tool`. A path need not be UTF-8, and is only shown here.
fn words_after(tool: &str, line: impl Iterator<Item = OsString>) -> Vec<String> {
    let words = line.map(|word| word.to_string_lossy().into_owned());
    words.skip_while(|word| word != tool).skip(1).collect()
}

fn execute(arguments: &Arguments, words: &[String], screen: &mut Screen) -> Result<(), Failure> {
    let entities = arguments.check(words)?;
    let changes = arguments.changes()?;
    let (endpoint, bootstrap) = arguments.endpoint()?;
    let options = arguments.connection.options_of_either("ottla-configs").map_err(Failure::NoClient)?;
    let has_quotas = ["users", "clients", "ips"].contains(&entities.types[0].as_str());
    let call = match (entities.types[0].as_str(), arguments.alter) {
        _ if has_quotas => QUOTAS_CALL,
        (_, true) => "incrementalAlterConfigs",
        ("topics", false) => "listTopics",
        ("brokers" | "broker-loggers", false) => "listNodes",
        ("groups", false) => LIST_GROUPS,
        (_, false) => "listConfigResources",
    };
    let mut cluster = connection::connect_to(endpoint, bootstrap, &options, call)?;
    if has_quotas {
        cluster.check_asks_brokers()?;
    }
    match (has_quotas, arguments.alter) {
        (false, false) => resources::describe(&mut cluster, &entities, arguments.all, screen),
        (false, true) => resources::alter(&mut cluster, &entities, &changes),
        (true, false) => quotas::describe(&mut cluster, &entities, screen),
        (true, true) => quotas::alter(&mut cluster, &entities, &changes),
    }?;
    if arguments.alter {
        let (entity_type, name) = (&entities.types[0], &entities.names[0]);
        screen.say(match name.as_str() {
            "" => format!("Completed updating default config for {entity_type} in the cluster."),
            name => format!("Completed updating config for {} {name}.", singular(entity_type)),
        });
    }
    Ok(())
}

/// The type without its last letter.
fn singular(entity_type: &str) -> &str {
    entity_type.strip_suffix('s').unwrap_or(entity_type)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
