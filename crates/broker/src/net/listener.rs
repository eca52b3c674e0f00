//! One listener: takes connections in, within the limits, and owns their tasks until they end.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_storage::os;
use rustix::process::Resource;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::connection;
use super::connection_quotas::{Admission, Counted, Limits};
use super::transport::Transport;
use super::workers::Workers;
use crate::access::{Asker, Principal};
use crate::config::{Listener, ListenerType};
use crate::node::{Node, clock};
use crate::request::Client;

/// Connections that wait to be accepted, at least. Differs from Kafka, whose 50 make a burst of clients wait a second each.
const LEAST_BACKLOG: i32 = 1024;
/// How long accepting pauses when the process has run out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that came too fast from their addresses and are not closed yet. Beyond, the first is closed at once.
const CLOSING_MAX: usize = 1024;

/// An eighth of the files that the process may open is left to logs, but at least so many and at most so many.
const FILES_LEAST: u64 = 32;
const FILES_MOST: u64 = 4096;

/// Binds `listener`; an empty host means all interfaces, IPv6 included where there is one.
pub fn bind(listener: &Listener, backlog: i32) -> io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = if listener.host.is_empty() {
        vec![SocketAddr::from(([0u16; 8], listener.port)), SocketAddr::from(([0u8; 4], listener.port))]
    } else {
        // As Java orders them: a name like localhost often stands for both, and is bound once.
        let mut addresses: Vec<_> = (listener.host.as_str(), listener.port).to_socket_addrs()?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses
    };
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host name has no address");
    for address in addresses {
        match bind_to(address, backlog) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_to(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restarted broker takes its port back at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.max(LEAST_BACKLOG))?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until the broker stops, then waits for those that are open.
pub async fn serve(
    node: Arc<Node>,
    workers: Arc<Workers>,
    listener: TcpListener,
    (name, listener_type): (Arc<str>, ListenerType),
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut door = Door { node, name, listener_type, waiting: None, closing: BTreeMap::new(), closed: 0 };
    loop {
        let let_in = tokio::select! {
            biased;
            _ = stopping.wait_for(|&stop| stop) => break,
            Some(ended) = connections.join_next() => {
                report_panic(ended);
                continue;
            }
            () = door.closing_time() => {
                door.closing.pop_first();
                continue;
            }
            () = door.turn(), if door.waiting.is_some() => Ok(door.ask_again()),
            accepted = listener.accept(), if door.waiting.is_none() => {
                accepted.map(|(stream, address)| door.come(stream, address))
            }
        };
        match let_in {
            Ok(None) => {}
            Ok(Some((stream, client))) => {
                let (node, stopping) = (door.node.clone(), stopping.clone());
                workers.spawn(&mut connections, |long_turns| async move {
                    // From here on the worker's own reactor looks after the socket.
                    match TcpStream::from_std(stream) {
                        Ok(stream) => {
                            connection::serve(node, Transport::Plain(stream), client, long_turns, stopping).await;
                        }
                        Err(error) => debug!(%error, "a connection ended before it was served"),
                    }
                });
            }
            Err(error) => {
                warn!(listener = %door.name, %error, "cannot accept a connection; pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, door));
    while let Some(ended) = connections.join_next().await {
        report_panic(ended);
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed; its client was disconnected. This is a defect of Ottla");
    }
}

/// Whether logs still find files to open beside a new connection, whose number tells how many are open: the system gives out
/// the lowest one that is free.
fn leaves_files(number: RawFd, limit: Option<u64>) -> bool {
    let left = |limit: u64| (limit / 8).clamp(FILES_LEAST, FILES_MOST) + os::left_by_logs(limit);
    limit.is_none_or(|limit| u64::try_from(number).unwrap_or(0) + left(limit) < limit)
}

/// Where connections come in, one after the other.
struct Door {
    node: Arc<Node>,
    name: Arc<str>,
    listener_type: ListenerType,
    /// The last that was accepted; no other is before it is let in.
    waiting: Option<Waiting>,
    /// Those that came too fast from their addresses, by when they are closed.
    closing: BTreeMap<(Instant, u64), TcpStream>,
    closed: u64,
}

struct Waiting {
    stream: TcpStream,
    address: SocketAddr,
    until: Instant,
}

/// One that comes in.
type LetIn = Option<(std::net::TcpStream, Client)>;

impl Door {
    /// One is there.
    fn come(&mut self, stream: TcpStream, address: SocketAddr) -> LetIn {
        let ip = address.ip().to_canonical();
        if !leaves_files(stream.as_raw_fd(), rustix::process::getrlimit(Resource::Nofile).current) {
            os::note_shortage();
            // Once: they may be many.
            static IS_TOLD: AtomicBool = AtomicBool::new(false);
            if !IS_TOLD.swap(true, Ordering::Relaxed) {
                warn!(
                    listener = %self.name, %ip,
                    "refused a connection, and will refuse others: the files that may still be opened are for logs. Raise the \
                     limit on open files (ulimit -n, LimitNOFILE), or set max.connections"
                );
            }
            return None;
        }
        let limits = self.limits(ip);
        let admission = self.node.connections.arrive(&self.name, ip, limits, now_ms());
        self.decide(admission, stream, address)
    }

    /// Waits until the one that waits may ask again.
    async fn turn(&self) {
        let Some(Waiting { until, address, .. }) = &self.waiting else { return };
        let limits = || self.limits(address.ip().to_canonical());
        self.node.connections.room(*until, &self.name, limits).await;
    }

    /// The one that waits asks again.
    fn ask_again(&mut self) -> LetIn {
        let Waiting { stream, address, .. } = self.waiting.take()?;
        let ip = address.ip().to_canonical();
        let admission = self.node.connections.admit(&self.name, ip, self.limits(ip), now_ms());
        self.decide(admission, stream, address)
    }

    fn decide(&mut self, admission: Admission, stream: TcpStream, address: SocketAddr) -> LetIn {
        let (listener, ip) = (&self.name, address.ip().to_canonical());
        match admission {
            Admission::Admitted(counted) => self.prepare(stream, address, counted),
            Admission::Waits(delay) => {
                debug!(%listener, %ip, ?delay, "a connection waits, for the rate or the number of connections is reached");
                self.waiting = Some(Waiting { stream, address, until: Instant::now() + delay });
                None
            }
            Admission::TooMany => {
                debug!(%listener, %ip, "refused a connection: max.connections.per.ip is reached");
                None
            }
            Admission::TooFast(delay) => {
                debug!(%listener, %ip, ?delay, "refused a connection: the connection_creation_rate of its address is reached");
                self.closed += 1;
                self.closing.insert((Instant::now() + delay, self.closed), stream);
                if self.closing.len() > CLOSING_MAX {
                    self.closing.pop_first();
                }
                None
            }
        }
    }

    /// Waits until the next of those that came too fast is to be closed.
    async fn closing_time(&self) {
        match self.closing.first_key_value() {
            Some(((at, _), _)) => tokio::time::sleep_until(*at).await,
            None => std::future::pending().await,
        }
    }

    fn limits(&self, ip: IpAddr) -> Limits {
        let (listeners, running) = (&self.node.config.listeners, self.node.config.running.get());
        let of_listener = running.of_listener(&self.name);
        Limits {
            most: running.max_connections,
            most_of_listener: of_listener.max_connections,
            most_from_address: running.max_connections_from(ip),
            most_per_s: running.max_connection_creation_rate,
            most_per_s_of_listener: of_listener.max_connection_creation_rate,
            is_protected: match self.listener_type {
                ListenerType::Broker => *listeners.inter_broker == *self.name && listeners.broker.len() > 1,
                ListenerType::Controller => true,
            },
        }
    }

    fn prepare(&self, stream: TcpStream, address: SocketAddr, counted: Counted) -> LetIn {
        let (config, ip) = (&self.node.config, address.ip().to_canonical());
        let socket = SockRef::from(&stream);
        let prepared = stream.set_nodelay(true).and_then(|()| {
            if let Some(bytes) = config.socket_send_buffer_bytes {
                socket.set_send_buffer_size(bytes)?;
            }
            if let Some(bytes) = config.socket_receive_buffer_bytes {
                socket.set_recv_buffer_size(bytes)?;
            }
            Ok(())
        });
        match prepared.and_then(|()| stream.into_std()) {
            Ok(stream) => {
                let asker = Asker { principal: Principal::anonymous(), host: ip, listener: self.name.clone() };
                Some((stream, Client::new(asker, address.port(), self.listener_type, counted)))
            }
            Err(error) => {
                debug!(listener = %self.name, %ip, %error, "a connection ended before it was set up");
                None
            }
        }
    }
}

fn now_ms() -> u64 {
    u64::try_from(clock::now().monotonic.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_left_to_logs() {
        let most = |limit| (0..).take_while(|&number| leaves_files(number, Some(limit))).count();
        assert_eq!((most(16), most(128), most(1024), most(1 << 20)), (0, 80, 768, (1 << 20) - 4096 - 512));
        assert!(leaves_files(i32::MAX, None));
    }
}
