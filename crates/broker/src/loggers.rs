//! The loggers of this process and their levels, as BROKER_LOGGER resources show and change them (KIP-412).
//!
//! A logger is the path of a module, with dots: Kafka's tools take no colons. `root` is all of them. One without a level of its
//! own has that of the nearest module above. Nothing is kept: the next start begins with `RUST_LOG` again, as in Kafka with its own file.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ottla_metadata::controller::{ConfigEdit, ConfigOperation, Refusal};
use ottla_protocol::error::ErrorCode;

/// The logger above all others.
pub const ROOT: &str = "root";

/// All others: the crates and modules that log.
const NAMES: &[&str] = &[
    "ottla_broker",
    "ottla_broker.api",
    "ottla_broker.config",
    "ottla_broker.controller",
    "ottla_broker.coordinators",
    "ottla_broker.metrics",
    "ottla_broker.net",
    "ottla_broker.node",
    "ottla_broker.partitions",
    "ottla_broker.start",
    "ottla_broker.telemetry",
    "ottla_storage",
];

/// The levels, with what `RUST_LOG` says of them: it has no FATAL.
const LEVELS: &[(&str, &str)] = &[
    ("DEBUG", "debug"),
    ("ERROR", "error"),
    ("FATAL", "error"),
    ("INFO", "info"),
    ("TRACE", "trace"),
    ("WARN", "warn"),
];
/// Where nobody says anything.
const DEFAULT: &str = "INFO";

static CURRENT: Mutex<Option<Loggers>> = Mutex::new(None);

/// Takes over what `RUST_LOG` would say.
pub type Apply = Box<dyn FnMut(&str) + Send>;

struct Loggers {
    levels: BTreeMap<String, &'static str>,
    /// What was said at the start and is no level of a known logger.
    others: Vec<String>,
    apply: Apply,
}

/// Says what is in force from the start, as in `RUST_LOG`, and how that is changed. Until this is called every logger is at
/// INFO, and changes have no effect.
pub fn begin(directives: &str, apply: Apply) {
    *CURRENT.lock().expect("nobody panics while holding this lock") = Some(Loggers::new(directives, apply));
}

/// Every logger with its level.
pub fn levels() -> Vec<(&'static str, &'static str)> {
    with(|loggers| all().map(|name| (name, loggers.level_of(name))).collect())
}

/// Changes levels: all that are named, or none. With `validate_only` only says whether it could.
///
/// # Errors
/// Why it cannot, in Kafka's words.
pub fn alter(edits: &[ConfigEdit], validate_only: bool) -> Result<(), Refusal> {
    let changes = edits.iter().map(check).collect::<Result<Vec<_>, _>>()?;
    if validate_only || changes.is_empty() {
        return Ok(());
    }
    with(|loggers| {
        for (name, level) in changes {
            match level {
                Some(level) => drop(loggers.levels.insert(name.to_owned(), level)),
                None => drop(loggers.levels.remove(name)),
            }
        }
        let directives = loggers.directives();
        (loggers.apply)(&directives);
        // Only where the new levels let it through.
        tracing::info!(levels = %directives, "the levels of the loggers were changed");
    });
    Ok(())
}

fn all() -> impl Iterator<Item = &'static str> {
    std::iter::once(ROOT).chain(NAMES.iter().copied())
}

fn with<T>(work: impl FnOnce(&mut Loggers) -> T) -> T {
    let mut current = CURRENT.lock().expect("nobody panics while holding this lock");
    work(current.get_or_insert_with(|| Loggers::new("", Box::new(|_| {}))))
}

/// The logger, and its new level, if it keeps one.
fn check(edit: &ConfigEdit) -> Result<(&str, Option<&'static str>), Refusal> {
    let invalid_config = |message| Err(Refusal::new(ErrorCode::InvalidConfig, message));
    let invalid_request = |message| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let name = edit.key.as_str();
    let operation = ConfigOperation::from_i8(edit.operation);
    let what = match operation {
        Some(ConfigOperation::Append) => Some("APPEND operation".to_owned()),
        Some(ConfigOperation::Subtract) => Some("SUBTRACT operation".to_owned()),
        None => Some(format!("Unknown operation type {}", edit.operation)),
        Some(ConfigOperation::Set | ConfigOperation::Delete) => None,
    };
    if let Some(what) = what {
        return invalid_request(format!("{what} is not allowed for the BROKER_LOGGER resource"));
    }
    if !all().any(|known| known == name) {
        return invalid_config(format!("Logger {name} does not exist!"));
    }
    if operation == Some(ConfigOperation::Delete) {
        if name == ROOT {
            return invalid_request("Removing the log level of the root logger is not allowed".to_owned());
        }
        return Ok((name, None));
    }
    let value = edit.value.as_deref().unwrap_or_default();
    match LEVELS.iter().find(|(level, _)| *level == value) {
        Some((level, _)) => Ok((name, Some(level))),
        None => {
            let known: Vec<_> = LEVELS.iter().map(|(level, _)| *level).collect();
            invalid_config(format!(
                "Cannot set the log level of {name} to {value} as it is not a supported log level. Valid log levels are {}",
                known.join(", ")
            ))
        }
    }
}

impl Loggers {
    fn new(directives: &str, apply: Apply) -> Self {
        let mut loggers = Self { levels: BTreeMap::new(), others: Vec::new(), apply };
        for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let (name, level) = directive.split_once('=').unwrap_or((ROOT, directive));
            let name = name.replace("::", ".");
            let known = LEVELS.iter().find(|(_, ours)| ours.eq_ignore_ascii_case(level));
            match known.filter(|_| all().any(|known| known == name)) {
                Some((level, _)) => drop(loggers.levels.insert(name, level)),
                None => loggers.others.push(directive.to_owned()),
            }
        }
        loggers
    }

    fn level_of(&self, name: &str) -> &'static str {
        let mut nearest = name;
        loop {
            if let Some(level) = self.levels.get(nearest) {
                return level;
            }
            match nearest.rsplit_once('.') {
                Some((above, _)) => nearest = above,
                None => return self.levels.get(ROOT).unwrap_or(&DEFAULT),
            }
        }
    }

    /// What `RUST_LOG` would have to say.
    fn directives(&self) -> String {
        let ours = |level: &str| LEVELS.iter().find(|(known, _)| *known == level).map_or("info", |(_, ours)| ours);
        let mut directives = vec![ours(self.level_of(ROOT)).to_owned()];
        directives.extend(self.others.iter().cloned());
        let own = self.levels.iter().filter(|(name, _)| *name != ROOT);
        directives.extend(own.map(|(name, level)| format!("{}={}", name.replace('.', "::"), ours(level))));
        directives.join(",")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The modules below `folder` that log, as loggers are called: a file, or a folder of them.
    fn that_log(found: &mut BTreeSet<String>, crate_name: &str, folder: &Path, module: Option<&str>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if path.is_dir() {
                that_log(found, crate_name, &path, module.or(Some(name)));
            } else if std::fs::read_to_string(&path).unwrap().contains("tracing::") {
                found.insert(format!("{crate_name}.{}", module.unwrap_or(name)));
            }
        }
    }

    #[test]
    fn every_module_that_logs_has_a_level() {
        let mut found = BTreeSet::new();
        for (crate_name, folder) in [("ottla_broker", "src"), ("ottla_storage", "../storage/src")] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            that_log(&mut found, crate_name, &folder, None);
        }
        // This one logs nothing but that it was changed.
        found.remove("ottla_broker.loggers");
        // All of them go by one name.
        found.retain(|name| !name.starts_with("ottla_storage."));
        let known: BTreeSet<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
        let crates = BTreeSet::from(["ottla_broker".to_owned(), "ottla_storage".to_owned()]);
        assert_eq!(&known - &crates, found);
    }

    #[test]
    fn a_logger_has_the_level_of_the_nearest_module_above() {
        let mut loggers = Loggers::new("warn,ottla_broker=debug,hyper=trace", Box::new(|_| {}));
        let levels = |loggers: &Loggers| {
            ["root", "ottla_storage", "ottla_broker", "ottla_broker.net"].map(|name| loggers.level_of(name))
        };
        assert_eq!(levels(&loggers), ["WARN", "WARN", "DEBUG", "DEBUG"]);
        loggers.levels.insert("ottla_broker.net".to_owned(), "FATAL");
        assert_eq!(levels(&loggers), ["WARN", "WARN", "DEBUG", "FATAL"]);
        assert_eq!(loggers.directives(), "warn,hyper=trace,ottla_broker=debug,ottla_broker::net=error");
        assert_eq!(levels(&Loggers::new("", Box::new(|_| {}))), ["INFO"; 4]);
    }
}
