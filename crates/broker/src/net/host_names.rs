//! Whether hosts have addresses, which the operating system finds out, and how fast and how often hosts that are named may
//! connect.
//!
//! ```text
//!   handler ----- name --> a thread for it, a few at a time --> its address, if it is found in time
//!   controller -- name, rate --> [queue] --> one thread: looks up, then sets the rate of the addresses
//!       settings have changed --> [queue] -/                  or how many connections these may have
//! ```
//!
//! To look a name up may take minutes, and nothing ends it. So it happens in threads that nobody waits for: not the
//! controller, no worker, and not whoever stops the broker.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Weak};

use ottla_metadata::controller::CONNECTION_CREATION_RATE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::warn;

use super::connection_quotas::ConnectionQuotas;
use super::memory::{FrameMemory, Share};
use crate::config::Newest;

/// Names that are looked up for handlers at the same time.
const LOOK_UPS_MAX: usize = 4;
/// What all requests may take that wait for names.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Rates that wait until the names of their hosts are looked up.
const RATES_WAITING_MAX: usize = 1000;
/// No name of a host is longer (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// The addresses of a host; none where it is not known.
type Resolve = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// Looks names up for handlers.
pub struct HostNames {
    resolve: Arc<Resolve>,
    free: Arc<Semaphore>,
    waiting: Arc<FrameMemory>,
}

/// Sets the rates at which named hosts may connect, and how many connections they may have.
pub struct HostRates {
    waiting: SyncSender<Wanted>,
    /// Whether the numbers are to be looked up already: as they are then, so that once is enough.
    numbers_wait: Arc<AtomicBool>,
}

/// What is to be looked up.
enum Wanted {
    /// A host, and how many connections a second may come from there.
    Rate(String, Option<u32>),
    /// All that `max.connections.per.ip.overrides` names.
    Numbers,
}

impl HostNames {
    /// Looks up with `resolve`, usually [`resolve`].
    pub fn new(resolve: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self {
            resolve: Arc::new(resolve),
            free: Arc::new(Semaphore::new(LOOK_UPS_MAX)),
            waiting: FrameMemory::new(WAITING_BYTES_MAX),
        }
    }

    /// Room for a request of so many bytes while it waits; `None` where too much waits already.
    pub fn place(&self, bytes: usize) -> Option<Share> {
        self.waiting.try_share(bytes)
    }

    /// Those of `names` that have no address, or none that is found before the time `is_over`.
    pub async fn unknown(&self, names: BTreeSet<String>, is_over: impl Future<Output = ()>) -> BTreeSet<String> {
        let (mut over, mut is_late) = (pin!(is_over), false);
        let mut unknown = BTreeSet::new();
        for name in names {
            let mut is_known = false;
            if name.len() <= NAME_BYTES_MAX && !is_late {
                tokio::select! {
                    found = self.is_known(&name) => is_known = found,
                    () = &mut over => is_late = true,
                }
            }
            if !is_known {
                unknown.insert(name);
            }
        }
        unknown
    }

    async fn is_known(&self, name: &str) -> bool {
        let permit = self.free.clone().acquire_owned().await.expect("it is never closed");
        let (tell, told) = oneshot::channel();
        let (resolve, name) = (Arc::clone(&self.resolve), name.to_owned());
        let look_up = move || {
            let is_known = !resolve(&name).is_empty();
            drop::<OwnedSemaphorePermit>(permit);
            // Whoever asked may have waited for long enough.
            let _ = tell.send(is_known);
        };
        let thread = std::thread::Builder::new().name("ottla-host-name".to_owned()).spawn(look_up);
        thread.is_ok() && told.await.unwrap_or(false)
    }
}

impl HostRates {
    /// Starts a thread that ends when nobody has `connections` any more, or this.
    pub fn start(
        connections: &Arc<ConnectionQuotas>,
        running: Newest,
        resolve: impl Fn(&str) -> Vec<IpAddr> + Send + 'static,
    ) -> io::Result<Self> {
        let (waiting, rates) = mpsc::sync_channel(RATES_WAITING_MAX);
        let connections = Arc::downgrade(connections);
        let numbers_wait = Arc::<AtomicBool>::default();
        let waits = Arc::clone(&numbers_wait);
        let work = move || set_limits(&rates, &connections, (&running, &waits), resolve);
        std::thread::Builder::new().name("ottla-host-rates".to_owned()).spawn(work)?;
        Ok(Self { waiting, numbers_wait })
    }

    /// Has the rate of a host set, or taken away, behind those that were given before.
    pub fn set(&self, name: &str, most_per_s: Option<u32>) {
        let is_waiting = || self.waiting.try_send(Wanted::Rate(name.to_owned(), most_per_s)).is_ok();
        if name.len() > NAME_BYTES_MAX || !is_waiting() {
            warn_of(CONNECTION_CREATION_RATE, name);
        }
    }

    /// Has the hosts looked up for which the settings have numbers of connections.
    pub fn look_up_numbers(&self) {
        if self.numbers_wait.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.waiting.try_send(Wanted::Numbers).is_err() {
            self.numbers_wait.store(false, Ordering::SeqCst);
            warn!("too many hosts wait to be looked up: max.connections.per.ip.overrides acts for addresses alone");
        }
    }
}

fn set_limits(
    wanted: &Receiver<Wanted>,
    quotas: &Weak<ConnectionQuotas>,
    (running, numbers_wait): (&Newest, &AtomicBool),
    resolve: impl Fn(&str) -> Vec<IpAddr>,
) {
    for wanted in wanted {
        let names = match &wanted {
            Wanted::Rate(name, _) => vec![name.clone()],
            Wanted::Numbers => {
                // Whatever is set from here on is looked up once more.
                numbers_wait.store(false, Ordering::SeqCst);
                running.named_hosts()
            }
        };
        for name in names {
            if quotas.strong_count() == 0 {
                return;
            }
            let addresses = resolve(&name);
            let Some(quotas) = quotas.upgrade() else { return };
            match wanted {
                _ if addresses.is_empty() => warn_of(wanted.setting(), &name),
                Wanted::Rate(_, most_per_s) => addresses
                    .iter()
                    .for_each(|address| quotas.limit_rate_from(Some(address.to_canonical()), most_per_s)),
                Wanted::Numbers => {
                    running.take_over_addresses(&name, addresses);
                    quotas.limits_changed();
                }
            }
        }
    }
}

impl Wanted {
    fn setting(&self) -> &'static str {
        match self {
            Self::Rate(..) => CONNECTION_CREATION_RATE,
            Self::Numbers => "max.connections.per.ip.overrides",
        }
    }
}

fn warn_of(setting: &str, name: &str) {
    warn!(setting, name, "what is set for this host does not act, since it has no address: set it for the address");
}

/// Asks the operating system, which may take long.
pub fn resolve(name: &str) -> Vec<IpAddr> {
    (name, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Mutex;
    use std::sync::mpsc::Sender;

    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, Written};
    use crate::net::connection_quotas::{Admission, Limits};
    use crate::net::connection_rate::Windows;

    const LEAST: &str =
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\nlog.dirs=/data\n";
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// Tells which names it is asked for; hosts whose names begin with "slow" are found when something is sent, or never.
    fn slowly() -> (impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static, Receiver<String>, Sender<()>) {
        let (tell, asked) = mpsc::channel();
        let (go_on, waits) = mpsc::channel();
        let waits = Mutex::new(waits);
        let resolve = move |name: &str| {
            let _ = tell.send(name.to_owned());
            let is_found = !name.starts_with("slow") || waits.lock().unwrap().recv().is_ok();
            if is_found && !name.starts_with("no") { vec![ADDRESS] } else { Vec::new() }
        };
        (resolve, asked, go_on)
    }

    fn running() -> Newest {
        Config::new(Written::from_text("server.properties", LEAST).unwrap()).unwrap().0.running
    }

    #[test]
    fn numbers_of_connections_of_hosts_are_set_behind_the_back_of_whoever_changes_settings() {
        let (resolve, asked, go_on) = slowly();
        let (quotas, running) = (ConnectionQuotas::new(Windows::new(11, 1)), running());
        let rates = HostRates::start(&quotas, running.clone(), resolve).unwrap();
        let own = [("max.connections.per.ip.overrides".to_owned(), "slow:3,no-host:4".to_owned())];
        let least = Config::new(Written::from_text("server.properties", LEAST).unwrap()).unwrap().0;
        running.take_over(&least.values(&own.into(), &BTreeMap::new()));
        rates.look_up_numbers();
        assert_eq!(asked.recv().unwrap(), "slow");
        let before = running.get().max_connections_from(ADDRESS);
        assert!(before > 3, "it is still being looked up");
        go_on.send(()).unwrap();
        assert_eq!(asked.recv().unwrap(), "no-host");
        assert_eq!(running.get().max_connections_from(ADDRESS), 3);
    }

    #[test]
    fn numbers_that_wait_to_be_looked_up_are_not_looked_up_again_and_again() {
        let (resolve, asked, go_on) = slowly();
        let (quotas, running) = (ConnectionQuotas::new(Windows::new(11, 1)), running());
        let rates = HostRates::start(&quotas, running.clone(), resolve).unwrap();
        let own = [("max.connections.per.ip.overrides".to_owned(), "host:3".to_owned())];
        let least = Config::new(Written::from_text("server.properties", LEAST).unwrap()).unwrap().0;
        running.take_over(&least.values(&own.into(), &BTreeMap::new()));
        rates.set("slow", None);
        assert_eq!(asked.recv().unwrap(), "slow");
        (0..2 * RATES_WAITING_MAX).for_each(|_| rates.look_up_numbers());
        rates.set("last", None);
        go_on.send(()).unwrap();
        assert_eq!([asked.recv().unwrap(), asked.recv().unwrap()], ["host", "last"]);
        rates.look_up_numbers();
        assert_eq!(asked.recv().unwrap(), "host", "they may have changed since");
    }

    fn names(names: impl IntoIterator<Item = impl ToString>) -> BTreeSet<String> {
        names.into_iter().map(|name| name.to_string()).collect()
    }

    #[tokio::test]
    async fn a_name_is_known_that_has_an_address() {
        let (resolve, asked, _go_on) = slowly();
        let hosts = HostNames::new(resolve);
        let long = "l".repeat(NAME_BYTES_MAX + 1);
        let unknown = hosts.unknown(names(["host", "no-host", &long]), pending()).await;
        assert_eq!(unknown, names([long.as_str(), "no-host"]));
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["host", "no-host"]);
    }

    #[tokio::test]
    async fn all_names_of_a_request_are_looked_up_within_one_time() {
        let (resolve, asked, _go_on) = slowly();
        let hosts = HostNames::new(resolve);
        let is_over = async {
            let asked_for = |name| asked.try_recv().is_ok_and(|asked| asked == name);
            while !asked_for("slow") {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(hosts.unknown(names(["a", "slow", "z"]), is_over).await, names(["slow", "z"]));
        assert!(asked.try_recv().is_err(), "there was no time left for the last");
    }

    #[tokio::test]
    async fn few_names_are_looked_up_at_once() {
        let (resolve, asked, _go_on) = slowly();
        let hosts = HostNames::new(resolve);
        let all_asked = Semaphore::new(0);
        let is_over = async || drop(all_asked.acquire().await.unwrap());
        let request = async |number| hosts.unknown(names([format!("slow{number}")]), is_over()).await.len();
        let time = async {
            let mut count = 0;
            while count < LOOK_UPS_MAX {
                count += asked.try_iter().count();
                tokio::task::yield_now().await;
            }
            all_asked.add_permits(1);
        };
        let unknown = tokio::join!(request(0), request(1), request(2), request(3), request(4), request(5), time);
        assert_eq!(unknown, (1, 1, 1, 1, 1, 1, ()));
        assert_eq!(hosts.free.available_permits(), 0, "those that nobody waits for are still counted");
        assert_eq!(hosts.unknown(names(["fast"]), ready(())).await, names(["fast"]));
        assert!(asked.try_recv().is_err());
    }

    #[test]
    fn what_waits_for_names_is_bounded() {
        let hosts = HostNames::new(resolve);
        assert!(hosts.place(WAITING_BYTES_MAX + 1).is_none());
        let places: Vec<_> = std::iter::from_fn(|| hosts.place(1 << 20)).collect();
        assert!((4..=16).contains(&places.len()), "{}", places.len());
    }

    #[test]
    fn rates_of_hosts_are_set_behind_the_back_of_whoever_gives_them() {
        let (resolve, asked, go_on) = slowly();
        let quotas = ConnectionQuotas::new(Windows::new(11, 1));
        let rates = HostRates::start(&quotas, running(), resolve).unwrap();
        let come = || {
            let arrive = || quotas.arrive(&"X".into(), ADDRESS, Limits::NONE, 0);
            let came = |_: &usize| matches!(arrive(), Admission::Admitted(_));
            (0..50).filter(came).count()
        };
        rates.set("slow", Some(2));
        rates.set("no-host", Some(1));
        assert_eq!(asked.recv().unwrap(), "slow");
        assert_eq!(come(), 50, "it is still being looked up");
        go_on.send(()).unwrap();
        assert_eq!(asked.recv().unwrap(), "no-host");
        assert!(come() < 50);
        rates.set("host", None);
        rates.set("slow", None);
        assert_eq!([asked.recv().unwrap(), asked.recv().unwrap()], ["host", "slow"]);
        assert_eq!(come(), 50, "it was taken away");
        (0..2 * RATES_WAITING_MAX).for_each(|_| rates.set("host", Some(1)));
        drop(quotas);
        go_on.send(()).unwrap();
        assert!(asked.recv().is_err(), "the thread has ended, though rates were left");
    }
}
