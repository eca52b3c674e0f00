//! The life of a broker: from the log directories to the first connection, and back.
//!
//! ```text
//!   start: lock directories -> open logs -> bind listeners -> metadata log -> register -> accept
//!   stop:  stop accepting -> answer what is parked -> lead no more -> end all threads -> close the metadata log
//!          -> of each directory by itself: flush -> checkpoints -> clean marker
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use ottla_base::{BrokerEpoch, TopicPartition, Uuid};
use ottla_metadata::controller::{Answer, Bootstrap, Command, FenceBroker, RegisterBroker, UnfenceBroker};
use ottla_metadata::image::{Endpoint, Image, METADATA_VERSION};
use ottla_storage::LogDirectory;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle as Task;
use tracing::{error, info, warn};

use crate::access::AllowAll;
use crate::api::fetch_sessions::FetchSessions;
use crate::config::{Config, HttpListener, Listener, ListenerType};
use crate::controller::bootstrap::{self, Formatted};
use crate::controller::{Controller, Host, Publisher, Running, epoch_of};
use crate::coordinators::{GroupCoordinators, Threads as GroupThreads};
use crate::error::{Error, Result};
use crate::features;
use crate::metrics::{self, Metrics};
use crate::net::budgets::Budgets;
use crate::net::connection_quotas::ConnectionQuotas;
use crate::net::connection_rate::Windows;
use crate::net::host_names::{self, HostNames, HostRates};
use crate::net::listener;
use crate::net::memory::FrameMemory;
use crate::net::workers::Workers;
use crate::node::{Node, PublishedImage, clock, entropy};
use crate::partitions::closing::PATIENCE;
use crate::partitions::flusher::Flushers;
use crate::partitions::{Partitions, open_directories};
use crate::registration::Registration;
use crate::telemetry::Telemetry;
use crate::threads::{self, Threads};

/// How long connections may take to end.
const CONNECTIONS_END_WITHIN: Duration = Duration::from_secs(5);
/// How long all that may wait for a disk is waited for at each step of a stop, before the logs are closed.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A running broker.
pub struct Broker {
    pub(crate) node: Arc<Node>,
    /// Where clients reach it: the advertised addresses, in the order of the listeners.
    addresses: Vec<String>,
    stopping: watch::Sender<bool>,
    listeners: Vec<Task<()>>,
    workers: Arc<Workers>,
    threads: Threads,
    /// Hears from the disks why the broker cannot go on with those that are left.
    disks_failed: oneshot::Receiver<String>,
    controller: Running,
    /// Locked for as long as this is here.
    metadata_directory: Option<LogDirectory>,
}

/// What the controller and the handlers share.
#[derive(Clone)]
struct Shared {
    config: Arc<Config>,
    partitions: Arc<Partitions>,
    groups: Arc<GroupCoordinators>,
    telemetry: Arc<Telemetry>,
    connections: Arc<ConnectionQuotas>,
    published: Arc<PublishedImage>,
}

/// A listener's socket.
struct Bound {
    socket: TcpListener,
    listener: Listener,
    listener_type: ListenerType,
}

/// What serves clients.
struct Serving {
    node: Arc<Node>,
    workers: Arc<Workers>,
    threads: Threads,
    disks_failed: oneshot::Receiver<String>,
}

impl Broker {
    /// Starts a broker. When this returns, it answers; or, where it failed, it has ended.
    pub async fn start(config: Config) -> Result<Self> {
        let begun = Instant::now();
        let mut config = config;
        let bound = bind(&mut config)?;
        let http = bind_http(config.http_listener.as_ref()).await?;
        let config = Arc::new(config);
        let mut loaded = open_directories(&config, entropy)?;
        let metadata_directory = loaded.metadata_directory.take();
        let (cluster_id, directory_ids) = (loaded.cluster_id.clone(), loaded.directory_ids.clone());
        let (previous_epoch, blank) = (loaded.previous_broker_epoch, std::mem::take(&mut loaded.blank));
        let (groups, group_threads) = GroupCoordinators::start(config.clone()).map_err(no_thread)?;
        let shared = Shared::new(&config, Partitions::new(&config, loaded), groups);
        let mut host = Host::open(config.clone(), &cluster_id, shared.publisher()?)?;
        let is_found = |name: &TopicPartition| shared.partitions.is_found(name);
        blank.format(host.image(), config.node_id, &directory_ids, is_found)?;
        shared.partitions.settle_rivals(host.image())?;
        // Those that are hosted from now on may owe a flush at once.
        let flushers = Flushers::start(shared.partitions.directories()).map_err(no_thread)?;
        let registration = join_cluster(&mut host, &config, &cluster_id, directory_ids, previous_epoch)?;
        let image = shared.published.get();
        assert_eq!(image.end(), host.image().end(), "what is not in the image is taken for a stray");
        shared.partitions.set_strays_aside(&image);
        shared.partitions.has_started();
        let (controller, running) = host.run().map_err(no_thread)?;
        let (way, fence) = (controller.clone(), fence(&config, &registration));
        let serving = Serving::start(shared, registration, controller, (group_threads, flushers));
        let Serving { node, workers, threads, disks_failed } = match serving {
            Ok(serving) => serving,
            Err(error) => {
                // It leads, as the metadata says.
                way.tell(fence);
                // Nobody else has a way to it any more.
                drop(way);
                running.join()?;
                return Err(no_thread(error));
            }
        };
        drop(way);
        let (stopping, _) = watch::channel(false);
        let (addresses, listeners) = listen(&node, &workers, bound, http, &stopping);
        info!(
            node = %node.config.node_id, cluster = %cluster_id, addresses = %addresses.join(","), took = ?begun.elapsed(),
            "started"
        );
        let controller = running;
        Ok(Self {
            node,
            addresses,
            stopping,
            listeners,
            workers,
            threads,
            disks_failed,
            controller,
            metadata_directory,
        })
    }

    /// Where clients reach it, as `host:port`.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Writes the addresses, with commas between them, into the file at `path`; it appears whole.
    pub fn write_ready_file(&self, path: &Path) -> std::io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        std::fs::write(&beside, format!("{}\n", self.addresses.join(",")))?;
        std::fs::rename(&beside, path)
    }

    /// Waits until the broker cannot go on by itself, and says why.
    pub async fn failed(&mut self) -> String {
        let controller = async { format!("the controller has ended: {}", self.controller.ended().await) };
        let disks = async {
            match (&mut self.disks_failed).await {
                Ok(reason) => reason,
                // It ends with the broker.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            reason = disks => reason,
            reason = controller => reason,
        }
    }

    /// Stops in order: nothing that was acknowledged is lost, and the next start has nothing to check. A disk that does not answer
    /// keeps no other directory from that, nor whoever starts next from leading at once.
    pub async fn stop(mut self) -> Result<()> {
        self.stopping.send_replace(true);
        // Members that wait for others are told to look for another coordinator.
        let groups = self.node.groups.clone();
        let told = tokio::task::spawn_blocking(move || threads::within(ENDS_WITHIN, move || groups.stop()));
        if told.await.expect("telling members does not panic").is_none() {
            warn!(waited = ?ENDS_WITHIN, "not all groups were told of the stop: a disk does not answer");
        }
        for mut listener in self.listeners.drain(..) {
            if tokio::time::timeout(CONNECTIONS_END_WITHIN, &mut listener).await.is_err() {
                warn!("some connections did not end in time and are cut");
                listener.abort();
                // It is gone when this returns, with the connections it owned.
                let _ = listener.await;
            }
        }
        let Self { node, workers, threads, controller: running, metadata_directory, .. } = self;
        let ending = Ending {
            partitions: node.partitions.clone(),
            controller: node.controller.clone(),
            fence: fence(&node.config, &node.registration),
            epoch: node.registration.epoch(),
            metadata_path: node.config.metadata_log_dir.clone(),
            workers,
            threads,
            running,
            metadata_directory,
        };
        drop(node);
        tokio::task::spawn_blocking(|| ending.end()).await.expect("closing does not panic")
    }
}

/// A broker that serves nobody any more.
struct Ending {
    partitions: Arc<Partitions>,
    controller: Controller,
    fence: Command,
    epoch: BrokerEpoch,
    metadata_path: PathBuf,
    workers: Arc<Workers>,
    threads: Threads,
    running: Running,
    metadata_directory: Option<LogDirectory>,
}

impl Ending {
    /// Waits for nothing without a limit.
    fn end(self) -> Result<()> {
        let Self { partitions, controller, fence, epoch, metadata_path, workers, mut threads, running, .. } = self;
        threads.stop_soon();
        let (tell, fenced) = mpsc::channel();
        controller.ask_then(fence, move |_| _ = tell.send(()));
        if fenced.recv_timeout(ENDS_WITHIN) == Err(RecvTimeoutError::Timeout) {
            warn!(waited = ?ENDS_WITHIN, "the controller does not answer: the next start may have to wait for its leadership");
        }
        let end_threads = move || {
            drop(workers);
            drop(threads);
        };
        if threads::within(ENDS_WITHIN, end_threads).is_none() {
            warn!(waited = ?ENDS_WITHIN, "some threads do not end yet: a disk is busy, or does not answer. Stopping without them");
        }
        // Those may have a way to it.
        controller.end();
        let (tell, ended) = mpsc::channel();
        // Where there can be no more threads, nobody tells.
        let joined = std::thread::Builder::new().name("ottla-ending".to_owned());
        _ = joined.spawn(move || _ = tell.send(running.join()));
        let mut end = ended.recv_timeout(ENDS_WITHIN).ok();
        let leave = move |directory: LogDirectory| {
            directory.write_clean_shutdown(epoch.0)?;
            Ok(directory.unlock()?)
        };
        // The others do not wait for the disk of the metadata.
        let is_metadata = |path: &Path| path == metadata_path;
        let of_those = |path: &Path| end.is_some() || !is_metadata(path);
        let mut closed = partitions.close(clock::now_ms(), PATIENCE, of_those, leave);
        if end.is_none() {
            end = ended.recv_timeout(PATIENCE).ok();
            if end.is_some() {
                closed = closed.and(partitions.close(clock::now_ms(), PATIENCE, is_metadata, leave));
            }
        }
        let Some(ended) = end else {
            error!("the controller does not end: the directory of the metadata is left as after a kill");
            // It still writes there, perhaps.
            std::mem::forget(self.metadata_directory);
            return closed.and(Err(no_end(&metadata_path)));
        };
        let unlocked = self.metadata_directory.map_or(Ok(()), LogDirectory::unlock);
        // The metadata log is read in full by every start: the others were left cleanly even if it was not.
        closed?;
        unlocked?;
        ended
    }
}

fn no_end(metadata: &Path) -> Error {
    Error::Io { what: format!("close the metadata log in {}", metadata.display()), source: ErrorKind::TimedOut.into() }
}

impl Shared {
    fn new(config: &Arc<Config>, partitions: Partitions, groups: Arc<GroupCoordinators>) -> Self {
        let windows = Windows::new(config.quota_window_num, config.quota_window_size_seconds);
        Self {
            config: config.clone(),
            partitions: Arc::new(partitions),
            groups,
            telemetry: Arc::default(),
            connections: ConnectionQuotas::new(windows),
            published: Arc::default(),
        }
    }

    fn publisher(&self) -> Result<Publisher> {
        let host_rates =
            HostRates::start(&self.connections, self.config.running.clone(), host_names::resolve).map_err(no_thread)?;
        let Self { config, partitions, groups, telemetry, connections, published } = self.clone();
        Ok(Publisher { config, connections, host_rates, partitions, groups, telemetry, published })
    }
}

impl Serving {
    /// Where it fails, nobody is left who has a way to the controller.
    fn start(
        shared: Shared,
        registration: Registration,
        controller: Controller,
        begun: (GroupThreads, Flushers),
    ) -> std::io::Result<Self> {
        let Shared { config, partitions, groups, telemetry, connections, published } = shared;
        let (threads, disks_failed) = Threads::start(&config, &partitions, &published, &controller, begun)?;
        let workers = Arc::new(Workers::start()?);
        let node = Node {
            authorizer: Box::new(AllowAll),
            metrics: Metrics::new(),
            frame_memory: FrameMemory::new(config.request_memory_bytes),
            budgets: Budgets::default(),
            connections,
            host_names: HostNames::new(host_names::resolve),
            fetch_sessions: FetchSessions::new(config.max_incremental_fetch_session_cache_slots, entropy()),
            producer_ids: Arc::default(),
            telemetry,
            config,
            partitions,
            groups,
            controller,
            registration,
            published,
        };
        Ok(Self { node: Arc::new(node), workers, threads, disks_failed })
    }
}

fn no_thread(source: std::io::Error) -> Error {
    Error::Io { what: "start a thread".to_owned(), source }
}

/// Serves what has been bound, and says under which addresses clients reach it.
fn listen(
    node: &Arc<Node>,
    workers: &Arc<Workers>,
    bound: Vec<Bound>,
    http: Option<TcpListener>,
    stopping: &watch::Sender<bool>,
) -> (Vec<String>, Vec<Task<()>>) {
    let (mut addresses, mut listeners) = (Vec::new(), Vec::new());
    for Bound { socket, listener, listener_type } in bound {
        let (host, port) = (&listener.advertised_host, listener.advertised_port);
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        match listener_type {
            ListenerType::Broker => addresses.push(address),
            ListenerType::Controller => info!("the controller listens at {address}"),
        }
        let named = (listener.name.as_str().into(), listener_type);
        let task = listener::serve(node.clone(), workers.clone(), socket, named, stopping.subscribe());
        listeners.push(tokio::spawn(task));
    }
    if let Some(http) = http {
        listeners.push(tokio::spawn(metrics::http::serve(node.clone(), http, stopping.subscribe())));
    }
    (addresses, listeners)
}

/// Binds every listener, and fills in the ports that the operating system chose.
fn bind(config: &mut Config) -> Result<Vec<Bound>> {
    let backlog = config.socket_listen_backlog_size;
    let mut bound = Vec::new();
    for (listener, listener_type) in config.listeners.all_mut() {
        let text = || format!("{}://{}:{}", listener.name, listener.host, listener.port);
        let socket = listener::bind(listener, backlog).map_err(|source| Error::Bind { listener: text(), source })?;
        let port = socket.local_addr().map_err(|source| Error::Bind { listener: text(), source })?.port();
        if listener.advertised_port == 0 {
            listener.advertised_port = port;
        }
        bound.push(Bound { socket, listener: listener.clone(), listener_type });
    }
    Ok(bound)
}

/// Binds the listener of the metrics. Where nobody has set it and somebody else has its port, there is none.
async fn bind_http(listener: Option<&HttpListener>) -> Result<Option<TcpListener>> {
    let Some(HttpListener { host, port, is_set }) = listener else { return Ok(None) };
    let bound = TcpListener::bind((host.as_str(), *port)).await;
    let address = bound.and_then(|bound| Ok((bound.local_addr()?, bound)));
    match address {
        Ok((address, bound)) => {
            info!("metrics are at http://{address}/metrics");
            Ok(Some(bound))
        }
        Err(source) if *is_set => Err(Error::Bind { listener: format!("ottla.http.listener={host}:{port}"), source }),
        Err(error) => {
            warn!(%error, "there are no metrics: set ottla.http.listener to a free address, or to nothing");
            Ok(None)
        }
    }
}

/// What ends this life of the broker in the metadata. Else whoever starts next, Kafka too, waits until it would have been given up.
fn fence(config: &Config, registration: &Registration) -> Command {
    let (id, epoch) = (config.node_id, registration.epoch());
    Command::FenceBroker(FenceBroker { id, epoch, controlled_shutdown: true })
}

/// What the cluster begins with, if it is new. It still is where a Kafka was killed while it wrote that: its transaction is aborted.
fn begin_with(image: &Image, config: &Config) -> Result<Bootstrap> {
    let formatted = match image.without_transaction().feature(METADATA_VERSION) {
        0 => bootstrap::read(&config.metadata_log_dir)?,
        _ => None,
    };
    let Some(Formatted { path, records }) = formatted else {
        return Ok(Bootstrap::new(config.min_insync_replicas));
    };
    let checked = features::check_begun_with(records.iter());
    checked.and_then(|()| Bootstrap::of(records, config.min_insync_replicas)).map_err(|why| {
        let path = path.display();
        let detail =
            format!("this broker cannot begin a cluster with what {path} holds: {why}. Format its directory anew");
        Error::Metadata { detail }
    })
}

/// Writes the first records of a new cluster, registers this life of the broker, and lets it lead.
fn join_cluster(
    host: &mut Host,
    config: &Config,
    cluster_id: &str,
    directory_ids: Vec<Uuid>,
    previous_epoch: Option<i64>,
) -> Result<Registration> {
    let refused = |detail: String| Error::Metadata { detail: format!("this broker cannot join its cluster: {detail}") };
    host.handle(Command::Bootstrap(begin_with(host.image(), config)?))?;
    for (feature, level) in features::unspoken(host.image()) {
        warn!(feature, level, "this cluster uses a feature that is not there yet: clients are not told of it");
    }
    let endpoints = config.listeners.broker.iter().map(|listener| Endpoint {
        listener: listener.name.clone(),
        host: listener.advertised_host.clone(),
        port: listener.advertised_port,
        security_protocol: listener.protocol.id(),
    });
    let register = RegisterBroker {
        id: config.node_id,
        cluster_id: cluster_id.to_owned(),
        incarnation_id: Uuid::random(entropy),
        endpoints: endpoints.collect(),
        features: features::registered(host.image()),
        rack: config.broker_rack.clone(),
        log_dirs: directory_ids,
        clean_epoch: previous_epoch.map(BrokerEpoch),
    };
    let epoch = epoch_of(host.handle(Command::RegisterBroker(register.clone()))?).map_err(refused)?;
    // Before it leads: in a directory that is not there, it cannot.
    host.note_places()?;
    host.note_cordoned()?;
    match host.handle(Command::UnfenceBroker(UnfenceBroker { id: config.node_id, epoch }))? {
        Answer::UnfenceBroker(Ok(())) => {}
        other => return Err(refused(format!("{other:?}"))),
    }
    Ok(Registration::new(register, epoch))
}

#[cfg(test)]
mod tests {
    use ottla_base::Offset;
    use ottla_metadata::controller::feature_records;
    use ottla_metadata::records::OwnedRecord;
    use ottla_protocol::internal::metadata::{
        AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, MetadataRecord,
    };

    use super::*;
    use crate::config::Written;

    fn config(folder: &Path) -> Config {
        let folder = folder.display();
        let text = format!("process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:0\nlog.dirs={folder}\n");
        Config::new(Written::from_text("server.properties", &text).expect("it is well formed")).expect("it is valid").0
    }

    fn image_of(records: &[OwnedRecord]) -> Image {
        let mut image = Image::new("c");
        for (offset, record) in (0..).zip(records) {
            image.apply(Offset(offset), record).expect("it can be applied");
        }
        image
    }

    #[test]
    fn a_cluster_begins_as_it_was_formatted_until_what_begins_it_is_there_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let level = |level| feature_records(&[(METADATA_VERSION.to_owned(), level)]);
        bootstrap::write(&config.metadata_log_dir, &level(25), 1).expect("the folder is ours");
        let begin =
            || MetadataRecord::BeginTransaction(BeginTransactionRecord { name: Some("Bootstrap records".into()) });
        let all = [
            begin(),
            level(25).remove(0),
            MetadataRecord::EndTransaction(EndTransactionRecord {}),
            begin(),
            MetadataRecord::AbortTransaction(AbortTransactionRecord { reason: None }),
        ];
        let new = |image: &Image| format!("{:?}", begin_with(image, &config).expect("it can be read"));
        let formatted = Bootstrap::of(level(25), config.min_insync_replicas).expect("it is spoken");
        for count in 0..=2 {
            assert_eq!(new(&image_of(&all[..count])), format!("{formatted:?}"), "after {count} records");
        }
        // Nobody needs it any more.
        bootstrap::write(&config.metadata_log_dir, &level(1), 1).expect("the folder is ours");
        for count in 3..=all.len() {
            begin_with(&image_of(&all[..count]), &config).expect("it is not read");
        }
        begin_with(&image_of(&all[..2]), &config).expect_err("it is read");
    }
}
