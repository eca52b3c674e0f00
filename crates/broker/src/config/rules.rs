//! What must hold between values, beyond the bounds of each: relations of numbers, the node's place in its cluster, and
//! keys whose effect this version does not have though leaving it out silently would do harm.

use std::path::{Path, PathBuf};

use super::error::{ConfigError, Warning};
use super::listeners::host_and_port;
use super::written::Written;

/// The first must not be greater than the second.
const AT_MOST: &[(&str, &str)] = &[
    ("replica.fetch.wait.max.ms", "replica.socket.timeout.ms"),
    ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
    ("group.min.session.timeout.ms", "group.max.session.timeout.ms"),
    ("group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.min.assignment.interval.ms", "group.consumer.assignment.interval.ms"),
    ("group.consumer.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    ("group.share.min.session.timeout.ms", "group.share.session.timeout.ms"),
    ("group.share.session.timeout.ms", "group.share.max.session.timeout.ms"),
    ("group.share.min.heartbeat.interval.ms", "group.share.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    ("group.streams.min.session.timeout.ms", "group.streams.session.timeout.ms"),
    ("group.streams.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    ("group.streams.min.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms"),
    ("group.streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    ("group.streams.num.standby.replicas", "group.streams.max.standby.replicas"),
];

/// The first must be smaller than the second.
const LESS_THAN: &[(&str, &str)] = &[
    ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"),
    ("group.share.heartbeat.interval.ms", "group.share.session.timeout.ms"),
    ("group.streams.heartbeat.interval.ms", "group.streams.session.timeout.ms"),
];

const CORDONED: &str = "cordoned.log.dirs";
/// In the place of all log directories.
const ALL: &str = "*";

/// Compaction needs more memory for keys than this, for each of its threads.
pub(super) const MIN_DEDUPE_BYTES_A_THREAD: i64 = 1 << 20;

/// A topic's `segment.bytes` is no less.
const SEGMENT_MIN_BYTES: i64 = 1 << 20;

/// What Kafka takes as well, though it will not work.
pub fn warnings(written: &Written) -> Vec<Warning> {
    const KEY: &str = "offsets.topic.segment.bytes";
    let given = written.get(KEY).filter(|_| written.number(KEY) < SEGMENT_MIN_BYTES);
    let warning = given.map(|given| Warning {
        origin: given.origin.clone(),
        text: format!("{KEY}={} is less than {SEGMENT_MIN_BYTES}: groups will have no topic", given.text.trim()),
    });
    warning.into_iter().collect()
}

/// Checks all of it.
///
/// # Errors
/// The first rule that is broken.
pub fn check(written: &Written) -> Result<(), ConfigError> {
    check_node(written)?;
    check_quorum(written)?;
    check_missing_features(written)?;
    check_log_dirs(written)?;
    check_cordoned(written).map_err(|reason| written.error(CORDONED, reason))?;
    check_names(written)?;
    check_numbers(written)
}

fn check_node(written: &Written) -> Result<(), ConfigError> {
    const COMBINED: &str = "this version runs combined mode only: set process.roles=broker,controller";
    let roles = written.list("process.roles");
    if roles.is_empty() {
        return Err(written.error("process.roles", format!("is not set; {COMBINED}")));
    }
    if roles.len() < 2 {
        return Err(written.error("process.roles", COMBINED));
    }
    let Some(node_id) = written.optional_number("node.id") else {
        return Err(written.error("node.id", "is not set: every node needs a number of its own, 0 or above"));
    };
    let broker_id = written.number("broker.id");
    if written.get("broker.id").is_some() && broker_id != node_id {
        return Err(written.error("broker.id", format!("must be the same as node.id, which is {node_id}")));
    }
    Ok(())
}

/// A controller quorum of this node alone, written in either of Kafka's ways, or not at all.
fn check_quorum(written: &Written) -> Result<(), ConfigError> {
    const VOTERS: &str = "controller.quorum.voters";
    const ONE_NODE: &str = "this version runs one node only; a quorum of several comes later";
    const SERVERS: &str = "controller.quorum.bootstrap.servers";
    let voters = written.list(VOTERS);
    for voter in &voters {
        let id = voter.split_once('@').filter(|(_, address)| host_and_port(address).is_some());
        let Some(id) = id.and_then(|(id, _)| id.parse::<u32>().ok()) else {
            return Err(written.error(VOTERS, format!("{voter} is not of the form id@host:port")));
        };
        if i64::from(id) != written.number("node.id") {
            let reason = if voters.len() == 1 {
                format!("the only voter must be this node, whose node.id is {}", written.number("node.id"))
            } else {
                ONE_NODE.to_owned()
            };
            return Err(written.error(VOTERS, reason));
        }
    }
    let servers = written.list(SERVERS);
    for server in &servers {
        if host_and_port(server).is_none_or(|(host, _)| host.is_empty()) {
            return Err(written.error(SERVERS, format!("{server} is not of the form host:port")));
        }
    }
    if servers.len() > 1 {
        return Err(written.error(SERVERS, ONE_NODE));
    }
    Ok(())
}

/// Who switches these on relies on them; going on without would let everybody in, or lose what they stand for.
fn check_missing_features(written: &Written) -> Result<(), ConfigError> {
    let refuse = |key, reason: &str| Err(written.error(key, reason));
    if !written.text("authorizer.class.name").is_empty() {
        return refuse("authorizer.class.name", "this version has no authorisation yet; it would let everybody in");
    }
    if !written.list("config.providers").is_empty() {
        return refuse("config.providers", "this version has no config providers yet; it would take ${...} literally");
    }
    if written.boolean("remote.log.storage.system.enable") {
        return refuse("remote.log.storage.system.enable", "this version has no remote storage yet");
    }
    Ok(())
}

/// A directory that is named in two ways would be locked by this broker for another one.
fn check_log_dirs(written: &Written) -> Result<(), ConfigError> {
    let key = if written.list("log.dirs").is_empty() { "log.dir" } else { "log.dirs" };
    let dirs = written.list(key);
    for (index, dir) in dirs.iter().enumerate() {
        if let Some(same) = dirs[..index].iter().find(|other| Path::new(other) == Path::new(dir)) {
            return Err(written.error(key, format!("{same} and {dir} are the same directory")));
        }
    }
    Ok(())
}

/// Whether the directories that take no new replicas are all there (KIP-1066). The words are Kafka's.
pub(super) fn check_cordoned(written: &Written) -> Result<(), String> {
    let cordoned = written.list(CORDONED);
    if cordoned.iter().any(|directory| directory == ALL) {
        return match cordoned.len() {
            1 => Ok(()),
            _ => Err(format!("When {CORDONED} is set to {ALL}, it must not contain other values")),
        };
    }
    let directories = log_dirs(written);
    let missing: Vec<_> = cordoned.into_iter().filter(|directory| !directories.contains(directory)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(format!("All entries in {CORDONED} must be present in log.dirs or log.dir. Missing entries : {missing}"))
}

/// The directories that take no new replicas.
pub(super) fn cordoned(written: &Written) -> Vec<PathBuf> {
    let cordoned = written.list(CORDONED);
    let is_all = cordoned.iter().any(|directory| directory == ALL);
    let paths = if is_all { log_dirs(written) } else { cordoned };
    paths.into_iter().map(PathBuf::from).collect()
}

fn log_dirs(written: &Written) -> Vec<String> {
    let directories = written.list("log.dirs");
    if directories.is_empty() { written.list("log.dir") } else { directories }
}

fn check_names(written: &Written) -> Result<(), ConfigError> {
    const PROTOCOLS: &str = "group.coordinator.rebalance.protocols";
    if !written.list(PROTOCOLS).iter().any(|protocol| protocol.eq_ignore_ascii_case("classic")) {
        return Err(written.error(PROTOCOLS, "must have classic among them"));
    }
    const EARLY: &str = "early.start.listeners";
    let listeners = written.list("listeners");
    let is_there = |name: &String| {
        listeners.iter().filter_map(|listener| listener.split_once(':')).any(|(own, _)| own.eq_ignore_ascii_case(name))
    };
    match written.list(EARLY).iter().find(|name| !is_there(name)) {
        Some(unknown) => Err(written.error(EARLY, format!("listeners has no {unknown}"))),
        None => Ok(()),
    }
}

fn check_numbers(written: &Written) -> Result<(), ConfigError> {
    for &(least, most) in AT_MOST {
        let (a, b) = (written.number(least), written.number(most));
        if a > b {
            return Err(relation(
                written,
                least,
                most,
                &format!("{least} ({a}) must not be greater than {most} ({b})"),
            ));
        }
    }
    for &(less, more) in LESS_THAN {
        let (a, b) = (written.number(less), written.number(more));
        if a >= b {
            return Err(relation(written, less, more, &format!("{less} ({a}) must be smaller than {more} ({b})")));
        }
    }
    let chain = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
    if let Some(key) = chain.into_iter().find(|key| written.optional_number(key).is_some())
        && written.number(key) == 0
    {
        return Err(written.error(key, "must be 1 or more, or -1 for no limit"));
    }
    if written.optional_number("log.roll.ms").is_some_and(|ms| ms < 1) {
        return Err(written.error("log.roll.ms", "must be 1 or more"));
    }
    if written.optional_number("log.roll.jitter.ms").is_some_and(|ms| ms < 0) {
        return Err(written.error("log.roll.jitter.ms", "must be 0 or more"));
    }
    let (buffer, threads) = ("log.cleaner.dedupe.buffer.size", written.number("log.cleaner.threads"));
    if threads > 0 && written.number(buffer) / threads <= MIN_DEDUPE_BYTES_A_THREAD {
        let reason =
            format!("{buffer} must be more than {MIN_DEDUPE_BYTES_A_THREAD} bytes for each of log.cleaner.threads");
        return Err(relation(written, buffer, "log.cleaner.threads", &reason));
    }
    let queued = written.number("queued.max.request.bytes");
    if queued > 0 && queued < written.number("socket.request.max.bytes") {
        return Err(written.error("queued.max.request.bytes", "must not be smaller than socket.request.max.bytes"));
    }
    if written.number("max.connections.per.ip") == 0 && written.text("max.connections.per.ip.overrides").is_empty() {
        let reason = "0 lets nobody in, unless max.connections.per.ip.overrides does";
        return Err(written.error("max.connections.per.ip", reason));
    }
    let idle_ms = written.number("connections.max.idle.ms");
    let (delay, idle) = ("connection.failed.authentication.delay.ms", "connections.max.idle.ms");
    if idle_ms > 0 && written.number(delay) >= idle_ms {
        return Err(relation(written, delay, idle, &format!("{delay} must be smaller than {idle}")));
    }
    Ok(())
}

/// An error about two keys: at the first, unless only the second was written.
fn relation(written: &Written, first: &str, second: &str, reason: &str) -> ConfigError {
    let at = if written.get(first).is_none() && written.get(second).is_some() { second } else { first };
    written.error(at, reason)
}
