//! `ottla consumer-groups`: lists and describes groups of consumers, deletes them and changes their offsets, with the flags
//! and the output of Kafka's kafka-consumer-groups.sh.
//!
//! ```text
//! arguments -> list | describe | reset | delete -> client::{groups, group_offsets, offsets}
//! ```
//!
//! Differs from Kafka: a stack trace on stderr is its first line, wrong usage is answered with one sentence instead of the
//! table of all options, and brokers that cannot be reached are not tried for the whole timeout. What Kafka asks for each
//! group is asked once for all of them.

mod arguments;
mod csv;
mod delete;
mod describe;
mod list;
mod re2;
mod reset;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Duration;

use arguments::Action;
pub use arguments::Arguments;

use crate::admin_properties::NoClient;
use crate::client::{Cluster, Error, LIST_GROUPS};
use crate::connection;
use crate::option_errors::OptionError;
use crate::screen::Screen;

/// What the tool says before the reason of a failure.
const FAILURE_PREFIX: &str = "Executing consumer group command failed due to ";

/// Why the tool ends early.
#[derive(Debug)]
pub enum Failure {
    /// The arguments make no sense. This alone has an exit code of its own.
    Usage(String),
    /// It could not be done.
    Failed {
        /// Why, for stdout.
        message: String,
        /// The first line of Kafka's stack trace, for stderr.
        trace: String,
    },
}

/// Why there is nobody to ask.
enum NotConnected {
    /// How to connect is not said well.
    Options(NoClient),
    /// No broker answers.
    Failed(Error),
}

impl Failure {
    /// A failure that Kafka's tool throws on as it is.
    fn direct(error: &Error) -> Self {
        Self::Failed { message: error.to_string(), trace: error.exception() }
    }

    /// A failure that Kafka's tool waited for.
    fn awaited(error: &Error) -> Self {
        let exception = error.exception();
        Self::Failed { trace: format!("java.util.concurrent.ExecutionException: {exception}"), message: exception }
    }

    /// A failure that Kafka's tool waited for and wrapped once more.
    fn wrapped(error: &Error) -> Self {
        Self::runtime(format!("java.util.concurrent.ExecutionException: {}", error.exception()))
    }

    /// The tool has no client. Of a file that cannot be read, Kafka's wraps what is thrown.
    fn without_client(error: &NoClient) -> Self {
        let (message, exception) = (error.message(), error.exception());
        match error {
            NoClient::Unreadable(_) => {
                let trace = format!("java.lang.RuntimeException: {exception}\nCaused by: {exception}");
                Self::Failed { message: exception, trace }
            }
            NoClient::Wrong(_) | NoClient::Contradiction(_) | NoClient::Refused(_) => {
                Self::Failed { message, trace: exception }
            }
        }
    }

    /// A failure of the tool itself, which Kafka's wraps.
    fn runtime(message: String) -> Self {
        Self::Failed { trace: format!("java.lang.RuntimeException: {message}"), message }
    }
}

/// Does what the arguments say. Kafka's tool calls it no failure when it could not be done.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut screen = Screen::default();
    let code = match execute(arguments, &mut screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            screen.note(format!("{message}\nTry 'ottla consumer-groups --help'."));
            ExitCode::FAILURE
        }
        Err(Failure::Failed { message, trace }) => {
            say_error(&mut screen, &format!("{FAILURE_PREFIX}{message}"));
            screen.note(trace);
            ExitCode::SUCCESS
        }
    };
    screen.show();
    code
}

/// Refuses options that cannot be read. What Kafka's tool finds late is to it one more thing that could not be done.
pub fn refuse(error: &OptionError) -> ExitCode {
    let mut screen = Screen::default();
    if error.is_found_late {
        say_error(&mut screen, &format!("{FAILURE_PREFIX}{}", error.message));
        screen.note(error.trace());
    } else {
        screen.note(error.uncaught());
    }
    screen.show();
    if error.is_found_late { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn execute(arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    if arguments.reset_offsets && !arguments.dry_run && !arguments.execute {
        screen.note(reset::NOTHING_WILL_BE_DONE);
    }
    let action = arguments.check()?;
    if action == Action::ValidateRegex {
        list::validate_regex(arguments.validate_regex.as_deref().unwrap_or_default(), screen);
        return Ok(());
    }
    if arguments.timeout < 0 {
        return Err(timed_out_before(action));
    }
    let mut cluster = match connect(arguments, first_call(action, arguments)) {
        Ok(cluster) => cluster,
        Err(error) => return unreached(&error, action, arguments, screen),
    };
    match action {
        Action::List => list::list(&mut cluster, arguments, screen),
        Action::Describe => describe::describe(&mut cluster, arguments, screen),
        Action::Delete => delete::delete_groups(&mut cluster, arguments, screen),
        Action::ResetOffsets => reset::reset(&mut cluster, arguments, screen),
        Action::DeleteOffsets => delete::delete_offsets(&mut cluster, arguments, screen),
        Action::ValidateRegex => unreachable!("it has been done"),
    }
}

/// No time at all, in the words of Kafka's tool.
fn timed_out_before(action: Action) -> Failure {
    Failure::runtime(match action {
        Action::List => "java.util.concurrent.ExecutionException: org.apache.kafka.common.KafkaException: Failed to find \
                         brokers to send ListGroups"
            .to_owned(),
        _ => "java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.TimeoutException: The timeout is over \
              before anything is asked: --timeout is negative"
            .to_owned(),
    })
}

/// What Kafka's tool asks for first, as its client calls that.
fn first_call(action: Action, arguments: &Arguments) -> &'static str {
    match action {
        Action::List => LIST_GROUPS,
        _ if arguments.all_groups => LIST_GROUPS,
        Action::Delete => "deleteConsumerGroups(api=FIND_COORDINATOR)",
        Action::DeleteOffsets => "listNodes",
        _ => "describeConsumerGroups(api=FIND_COORDINATOR)",
    }
}

fn connect(arguments: &Arguments, call: &'static str) -> Result<Cluster, NotConnected> {
    let connection = &arguments.connection;
    let bootstrap = connection.bootstrap_server.as_deref().expect("it has been checked that it is there");
    let mut options = connection.options("ottla-consumer-groups").map_err(NotConnected::Options)?;
    options.request_timeout = Duration::from_millis(u64::try_from(arguments.timeout).unwrap_or(0).max(1));
    options.connect_timeout = options.connect_timeout.min(options.request_timeout);
    connection::connect(bootstrap, &options, call).map_err(NotConnected::Failed)
}

/// Says that nobody could be asked, as Kafka's tool says it of what it was to do.
fn unreached(error: &NotConnected, action: Action, arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    let error = match error {
        NotConnected::Options(error) => return Err(Failure::without_client(error)),
        NotConnected::Failed(error) => error,
    };
    match (error, action) {
        (Error::NoAdminClient, _) => Err(Failure::direct(error)),
        (Error::Address(_), _) => {
            let message = "Failed to create new KafkaAdminClient".to_owned();
            let trace = format!("org.apache.kafka.common.KafkaException: {message}\nCaused by: {error}");
            Err(Failure::Failed { message, trace })
        }
        (Error::NoNode { call: LIST_GROUPS }, _) | (Error::NoNode { .. }, Action::ResetOffsets) => {
            Err(Failure::wrapped(error))
        }
        (Error::NoNode { call }, Action::Delete) => {
            let failed = arguments.group.iter().map(|group| (group.clone(), Err(Error::NoNode { call })));
            delete::show_deleted(failed.collect(), screen);
            Ok(())
        }
        (Error::NoNode { call }, Action::DeleteOffsets) => delete::show_no_offsets_deleted(arguments, call, screen),
        _ => Err(Failure::awaited(error)),
    }
}

/// The groups that are meant.
fn wanted_groups(cluster: &mut Cluster, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    if arguments.all_groups { list::ids(cluster) } else { Ok(arguments.group.clone()) }
}

/// An error that is part of the output.
fn say_error(screen: &mut Screen, message: &str) {
    screen.say(format!("\nError: {message}"));
}
