//! The settings that a running broker takes over when they change, typed, as far as it acts on them itself. What topics
//! have from the broker is in their own settings; see [`Config::values`](super::Config::values).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use super::limits::HostLimits;
use super::{Values, Written, rules};

const CREATION_RATE: &str = "max.connection.creation.rate";

/// What holds now.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// `max.connections`.
    pub max_connections: usize,
    /// `max.connection.creation.rate`.
    pub max_connection_creation_rate: u32,
    /// The same two of each listener, by its name.
    listeners: BTreeMap<String, ListenerLimits>,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`, with those names of which the addresses are known.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`; `None` is no limit.
    pub alter_log_dirs_bytes_per_s: Option<u64>,
    /// `ottla.disk.reserve.bytes`; `None` where it depends on the volume.
    pub disk_reserve_bytes: Option<u64>,
    /// `cordoned.log.dirs`: those that take no new replicas.
    pub cordoned_log_dirs: Vec<PathBuf>,
    /// `log.cleaner.*`.
    pub cleaner: CleanerSettings,
}

/// What one listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `listener.name.<listener>.max.connections`.
    pub max_connections: usize,
    /// `listener.name.<listener>.max.connection.creation.rate`.
    pub max_connection_creation_rate: u32,
}

/// How logs are compacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerSettings {
    /// `log.cleaner.threads`; 0 where `log.cleaner.enable` is false.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`, of all threads.
    pub dedupe_buffer_bytes: usize,
    /// `log.cleaner.io.buffer.size`, of all threads.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`.
    pub load_factor: f64,
    /// `log.cleaner.io.max.bytes.per.second`, of all threads.
    pub io_max_bytes_per_s: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
}

/// The newest of them: the controller's thread replaces them, everybody reads.
#[derive(Clone, Debug)]
pub struct Newest {
    running: Arc<RwLock<Arc<Running>>>,
    /// Held while they are replaced.
    host_limits: Arc<Mutex<HostLimits>>,
}

impl Running {
    /// What `written` says, for the listeners of these names too.
    pub fn new<'n>(
        written: &Written,
        listeners: impl Iterator<Item = &'n str>,
        max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    ) -> Self {
        Self {
            max_connections: written.size("max.connections"),
            max_connection_creation_rate: u32::try_from(written.number(CREATION_RATE)).unwrap_or(u32::MAX),
            listeners: listeners.map(|name| (name.to_owned(), ListenerLimits::new(written, name))).collect(),
            max_connections_per_ip: written.size("max.connections.per.ip"),
            max_connections_per_ip_overrides,
            producer_id_expiration_ms: written.number("producer.id.expiration.ms"),
            alter_log_dirs_bytes_per_s: written
                .optional_number("replica.alter.log.dirs.io.max.bytes.per.second")
                .and_then(|bytes| u64::try_from(bytes).ok()),
            disk_reserve_bytes: u64::try_from(written.number("ottla.disk.reserve.bytes")).ok(),
            cordoned_log_dirs: rules::cordoned(written),
            cleaner: CleanerSettings::new(written),
        }
    }

    /// What a listener takes. One that the broker does not have takes nothing.
    pub fn of_listener(&self, name: &str) -> ListenerLimits {
        let own = self.listeners.get(name).copied();
        own.unwrap_or(ListenerLimits { max_connections: 0, max_connection_creation_rate: 0 })
    }

    /// How many connections `address` may have.
    pub fn max_connections_from(&self, address: IpAddr) -> usize {
        let own = self.max_connections_per_ip_overrides.get(&address.to_canonical());
        own.copied().unwrap_or(self.max_connections_per_ip)
    }
}

impl ListenerLimits {
    fn new(written: &Written, name: &str) -> Self {
        let number = |key| written.number_of_listener(name, key);
        Self {
            max_connections: usize::try_from(number("max.connections")).unwrap_or(usize::MAX),
            max_connection_creation_rate: u32::try_from(number(CREATION_RATE)).unwrap_or(u32::MAX),
        }
    }
}

impl CleanerSettings {
    fn new(written: &Written) -> Self {
        let is_enabled = written.boolean("log.cleaner.enable");
        let bytes = |key| usize::try_from(written.number(key)).unwrap_or(0);
        Self {
            threads: if is_enabled { written.size("log.cleaner.threads") } else { 0 },
            dedupe_buffer_bytes: bytes("log.cleaner.dedupe.buffer.size"),
            io_buffer_bytes: bytes("log.cleaner.io.buffer.size"),
            load_factor: written.double("log.cleaner.io.buffer.load.factor"),
            io_max_bytes_per_s: written.double("log.cleaner.io.max.bytes.per.second"),
            backoff: Duration::from_millis(written.size("log.cleaner.backoff.ms") as u64),
        }
    }
}

impl Newest {
    /// Begins with what the broker was started with.
    pub fn new(running: Running, host_limits: HostLimits) -> Self {
        Self { running: Arc::new(RwLock::new(Arc::new(running))), host_limits: Arc::new(Mutex::new(host_limits)) }
    }

    /// What holds now.
    pub fn get(&self) -> Arc<Running> {
        self.running.read().expect("nobody panics while holding this lock").clone()
    }

    /// Takes over what was set. Values that do not pass (another program wrote them) count as not set. Limits of
    /// [`Self::named_hosts`] act for the addresses that they had before.
    pub fn take_over(&self, values: &Values<'_>) -> Arc<Running> {
        let written = values.in_force();
        let mut host_limits = self.host_limits();
        if let Err(error) = host_limits.replace(&written) {
            tracing::warn!(%error, "the limits of single addresses stay as they are");
        }
        let before = self.get();
        let listeners = before.listeners.keys().map(String::as_str);
        self.set(Running::new(&written, listeners, host_limits.by_address()))
    }

    /// The hosts with limits of their own whose addresses are to be looked up now, which may take long.
    pub fn named_hosts(&self) -> Vec<String> {
        self.host_limits().named()
    }

    /// Takes over the addresses of one of them.
    pub fn take_over_addresses(&self, host: &str, addresses: Vec<IpAddr>) {
        let mut host_limits = self.host_limits();
        host_limits.found(host, addresses);
        let max_connections_per_ip_overrides = host_limits.by_address();
        self.set(Running { max_connections_per_ip_overrides, ..(*self.get()).clone() });
    }

    fn set(&self, running: Running) -> Arc<Running> {
        let running = Arc::new(running);
        *self.running.write().expect("nobody panics while holding this lock") = running.clone();
        running
    }

    fn host_limits(&self) -> MutexGuard<'_, HostLimits> {
        self.host_limits.lock().expect("nobody panics while holding this lock")
    }
}
