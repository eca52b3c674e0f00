//! `ottla broker`: reads the settings, starts the broker, and waits for SIGTERM, SIGINT or SIGHUP.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ottla_broker::Broker;
use ottla_broker::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{self, Signal, SignalKind};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// The exit code where the broker could not start or had to end.
const FAILED: u8 = 1;

/// How to start a broker.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    /// A file of Kafka's settings, such as Kafka's own server.properties for combined mode.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting that wins over the file's; may be given many times.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Where to write the bootstrap addresses (host:port, with commas between them) once the broker answers.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

/// Runs a broker until it is told to stop.
pub fn run(arguments: &Arguments) -> ExitCode {
    log_to_stderr();
    let (config, warnings) = match Config::load(arguments.config.as_deref(), &arguments.overrides) {
        Ok(loaded) => loaded,
        Err(refused) => {
            eprintln!("ottla: {refused}");
            return ExitCode::from(FAILED);
        }
    };
    for warning in warnings {
        warn!("{warning}");
    }
    raise_file_limit();
    // This thread accepts connections; the broker has threads of its own to serve them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve(config, arguments.ready_file.as_deref())),
        Err(refused) => Err(format!("cannot start threads: {refused}")),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!("{reason}");
            ExitCode::from(FAILED)
        }
    }
}

/// Logs as `RUST_LOG` says, until an administrator says otherwise.
fn log_to_stderr() {
    let directives = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| EnvFilter::try_new(text).is_ok());
    let directives = directives.unwrap_or_else(|| "info".to_owned());
    // What cannot be written, as on a full disk, is lost: telling of that on the same stderr would end the thread that logs.
    let subscriber =
        tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).with_target(false);
    let subscriber = subscriber.with_ansi(std::io::stderr().is_terminal());
    let subscriber = subscriber.with_env_filter(EnvFilter::new(&directives)).with_filter_reloading();
    let filter = subscriber.reload_handle();
    subscriber.init();
    let apply = move |directives: &str| {
        if let Err(error) = filter.reload(EnvFilter::new(directives)) {
            error!(%error, "the levels of the loggers stay as they are");
        }
    };
    ottla_broker::loggers::begin(&directives, Box::new(apply));
}

/// Every connection and every log takes a file: as many as the system lets this process have, as a JVM does too.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(refused) = setrlimit(Resource::Nofile, raised) {
        warn!(%refused, files = ?limit.current, "cannot raise the limit on open files");
    }
}

async fn serve(config: Config, ready_file: Option<&std::path::Path>) -> Result<(), String> {
    let mut signals = Signals::listen()?;
    if let Some(path) = ready_file {
        // That of an earlier life says nothing of this one.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot remove the old {}: {error}", path.display()));
            }
            _ => {}
        }
    }
    let mut broker = tokio::select! {
        started = start(config) => started?,
        signal = signals.next() => {
            // What was written is where a kill leaves it, and the next start goes on from there.
            info!("{signal} during the start: stopping");
            std::process::exit(0);
        }
    };
    if let Some(path) = ready_file
        && let Err(error) = broker.write_ready_file(path)
    {
        broker.stop().await.map_err(|error| error.to_string())?;
        return Err(format!("cannot write {}: {error}", path.display()));
    }
    let told = tokio::select! {
        signal = signals.next() => Ok(signal),
        failure = broker.failed() => Err(failure),
    };
    match &told {
        Ok(signal) => info!("{signal}: stopping"),
        Err(failure) => error!("{failure}: stopping"),
    }
    broker.stop().await.map_err(|error| error.to_string())?;
    told.map(|_| info!("stopped"))
}

/// Starts a broker on another thread: it may read logs for minutes, and this one listens to signals meanwhile.
async fn start(config: Config) -> Result<Broker, String> {
    let runtime = tokio::runtime::Handle::current();
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("ottla-start".to_owned());
    // Who does not listen any more has ended this process.
    let started = thread.spawn(move || drop(tell.send(runtime.block_on(Broker::start(config)))));
    started.map_err(|error| format!("cannot start threads: {error}"))?;
    let started = told.await.map_err(|_| "the start has failed by a defect of Ottla, see above".to_owned())?;
    started.map_err(|refused| refused.to_string())
}

/// The signals that stop a broker.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Unless this process is to outlive its terminal.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> Result<Self, String> {
        let of = |kind| unix::signal(kind).map_err(|error| format!("cannot listen to signals: {error}"));
        // Caught for good, though nobody waits for it: a write beyond the limit on the size of files then fails and is told
        // of, where this signal would end the process without a word. A JVM does so too.
        drop(of(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        let hangup = if is_hangup_ignored() { None } else { Some(of(SignalKind::hangup())?) };
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())?, hangup })
    }

    /// Waits for the next one, and names it.
    async fn next(&mut self) -> &'static str {
        let Self { terminate, interrupt, hangup } = self;
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            Some(_) = async { hangup.as_mut()?.recv().await } => "SIGHUP",
        }
    }
}

/// Whether this process was told to outlive its terminal, as by `nohup`: as a JVM does, it stays that way.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is signal 1, SIGHUP.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_on_the_size_of_files_does_not_end_the_process() {
        let _signals = Signals::listen().expect("signals can be listened to");
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::XFSZ).expect("it is sent");
    }
}
