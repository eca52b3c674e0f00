//! One listener: takes connections in, within the limits, and owns their tasks until they end.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Resource;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::connection;
use super::transport::Transport;
use super::workers::Workers;
use crate::config::Listener;
use crate::node::Node;
use crate::request::Client;

/// Connections that wait to be accepted, at least. Differs from Kafka, whose 50 make a burst of clients wait a second each.
const LEAST_BACKLOG: i32 = 1024;
/// How long accepting pauses when the process has run out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An eighth of the files that the process may open is left to logs, but at least so many and at most so many.
const FILES_LEAST: u64 = 32;
const FILES_MOST: u64 = 4096;

/// How many connections there are, in all and by address, over all listeners.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One counted connection; uncounted when dropped.
#[derive(Debug)]
pub struct Counted {
    counts: Arc<ConnectionCounts>,
    address: IpAddr,
}

impl ConnectionCounts {
    /// How many there are.
    pub fn all(&self) -> usize {
        self.counts.lock().expect("nobody panics while holding this lock").all
    }

    /// Counts a connection from `address`, unless there are too many already.
    pub fn admit(self: &Arc<Self>, address: IpAddr, max_all: usize, max_by_address: usize) -> Option<Counted> {
        let mut counts = self.counts.lock().expect("nobody panics while holding this lock");
        let from_there = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= max_all || from_there >= max_by_address {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, from_there + 1);
        Some(Counted { counts: self.clone(), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.counts.lock().expect("nobody panics while holding this lock");
        counts.all -= 1;
        let from_there = counts.by_address.get_mut(&self.address).expect("it was counted");
        *from_there -= 1;
        if *from_there == 0 {
            counts.by_address.remove(&self.address);
        }
    }
}

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
    name: Arc<str>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|&stop| stop) => break,
            Some(ended) = connections.join_next() => {
                report_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                if let Some((stream, client)) = admit(&node, stream, address, &name) {
                    let (node, stopping) = (node.clone(), stopping.clone());
                    let task = async move {
                        // From here on the worker's own reactor looks after the socket.
                        match TcpStream::from_std(stream) {
                            Ok(stream) => {
                                connection::serve(node, Transport::Plain(stream), client, stopping).await;
                            }
                            Err(error) => debug!(%error, "a connection ended before it was served"),
                        }
                    };
                    workers.spawn(&mut connections, task);
                }
            }
            Err(error) => {
                warn!(listener = %name, %error, "cannot accept a connection; pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
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
    limit.is_none_or(|limit| u64::try_from(number).unwrap_or(0) + (limit / 8).clamp(FILES_LEAST, FILES_MOST) < limit)
}

fn admit(
    node: &Arc<Node>,
    stream: TcpStream,
    address: SocketAddr,
    name: &Arc<str>,
) -> Option<(std::net::TcpStream, Client)> {
    let ip = address.ip().to_canonical();
    let (config, running) = (&node.config, node.config.running.get());
    if !leaves_files(stream.as_raw_fd(), rustix::process::getrlimit(Resource::Nofile).current) {
        // Once: they may be many.
        static IS_TOLD: AtomicBool = AtomicBool::new(false);
        if !IS_TOLD.swap(true, Ordering::Relaxed) {
            warn!(
                listener = %name, %ip,
                "refused a connection, and will refuse others: the files that may still be opened are for logs. Raise the limit on \
                 open files (ulimit -n, LimitNOFILE), or set max.connections"
            );
        }
        return None;
    }
    let Some(counted) = node.connections.admit(ip, running.max_connections, running.max_connections_from(ip)) else {
        debug!(listener = %name, %ip, "refused a connection: max.connections or max.connections.per.ip is reached");
        return None;
    };
    let socket = SockRef::from(&stream);
    let prepared = stream.set_nodelay(true).and_then(|()| {
        let sizes = [config.socket_send_buffer_bytes, config.socket_receive_buffer_bytes];
        if let Some(bytes) = sizes[0] {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = sizes[1] {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    });
    match prepared.and_then(|()| stream.into_std()) {
        Ok(stream) => Some((stream, Client::new(ip, address.port(), name.clone(), counted))),
        Err(error) => {
            debug!(listener = %name, %ip, %error, "a connection ended before it was set up");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_until_they_end() {
        let counts = Arc::new(ConnectionCounts::default());
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = counts.admit(a, 3, 2).expect("there is room");
        let _second = counts.admit(a, 3, 2).expect("there is room");
        assert!(counts.admit(a, 3, 2).is_none(), "two from one address");
        let _third = counts.admit(b, 3, 2).expect("another address");
        assert!(counts.admit(b, 3, 2).is_none(), "three in all");
        drop(first);
        assert!(counts.admit(a, 3, 2).is_some());
    }

    #[test]
    fn some_files_are_left_to_logs() {
        let most = |limit| (0..).take_while(|&number| leaves_files(number, Some(limit))).count();
        assert_eq!((most(16), most(128), most(1024), most(1 << 20)), (0, 96, 896, (1 << 20) - 4096));
        assert!(leaves_files(i32::MAX, None));
    }
}
