//! How many connections there may be and how fast they may come, of the whole broker, of a listener and from an address.
//!
//! ```text
//!   accepted --too fast, or too many of the broker or listener--> waits, and keeps its listener from accepting others
//!                 \-> too fast from its address ----------------> is closed, after a while
//!                  \-> too many from its address ---------------> is closed
//!                   \-> let in, and counted until it ends
//! ```
//!
//! Time is told: nothing here looks at a clock.
//!
//! Differs from Kafka: where there is a listener for brokers beside others, a connection of theirs comes in however many there
//! are, but no other is closed for it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::address_rates::AddressRates;
use super::connection_rate::{Rate, Windows};

/// What holds for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `max.connections`.
    pub most: usize,
    /// The same of its listener.
    pub most_of_listener: usize,
    /// `max.connections.per.ip`, or what overrides it.
    pub most_from_address: usize,
    /// `max.connection.creation.rate`.
    pub most_per_s: u32,
    /// The same of its listener.
    pub most_per_s_of_listener: u32,
    /// Its listener is that of brokers, and there are others: what holds for the whole broker does not hold for it.
    pub is_protected: bool,
}

#[cfg(test)]
impl Limits {
    /// As good as none.
    pub const NONE: Self = Self {
        most: usize::MAX,
        most_of_listener: usize::MAX,
        most_from_address: usize::MAX,
        most_per_s: i32::MAX as u32,
        most_per_s_of_listener: i32::MAX as u32,
        is_protected: false,
    };
}

/// What becomes of a connection.
#[derive(Debug)]
pub enum Admission {
    /// It is let in.
    Admitted(Counted),
    /// It asks again after so long, once there is room.
    Waits(Duration),
    /// It is closed: others from its address are open.
    TooMany,
    /// It is closed after so long: others have just come from its address.
    TooFast(Duration),
}

/// All listeners together.
#[derive(Debug)]
pub struct ConnectionQuotas {
    counts: Mutex<Counts>,
    changed: Notify,
}

/// One counted connection; uncounted when dropped.
#[derive(Debug)]
pub struct Counted {
    quotas: Arc<ConnectionQuotas>,
    listener: Arc<str>,
    address: IpAddr,
}

#[derive(Debug)]
struct Counts {
    windows: Windows,
    all: usize,
    rate: Rate,
    listeners: BTreeMap<Arc<str>, OfListener>,
    by_address: HashMap<IpAddr, usize>,
    address_rates: AddressRates,
}

#[derive(Debug, Default)]
struct OfListener {
    told: Told,
    rate: Rate,
}

/// What the page of metrics tells of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Connections that are open.
    pub open: usize,
    /// Those that were ever let in.
    pub created: u64,
    /// Those of them that the broker closed because nothing had come, or nothing was taken, for long.
    pub expired: u64,
}

impl ConnectionQuotas {
    /// No connections yet.
    pub fn new(windows: Windows) -> Arc<Self> {
        let (all, rate, listeners) = (0, Rate::default(), BTreeMap::new());
        let (by_address, address_rates) = (HashMap::new(), AddressRates::default());
        let counts = Counts { windows, all, rate, listeners, by_address, address_rates };
        Arc::new(Self { counts: Mutex::new(counts), changed: Notify::new() })
    }

    /// What there is to tell of `listener`.
    pub fn of(&self, listener: &str) -> Told {
        self.lock().listeners.get(listener).map_or_else(Told::default, |of_listener| of_listener.told)
    }

    /// One that came to `listener` is closed because nothing had happened on it for long.
    pub fn expired(&self, listener: &Arc<str>) {
        self.lock().of(listener).told.expired += 1;
    }

    /// One has come to `listener`.
    pub fn arrive(self: &Arc<Self>, listener: &Arc<str>, address: IpAddr, limits: Limits, now_ms: u64) -> Admission {
        let delay_ms = self.lock().arrive(listener, limits, now_ms);
        match delay_ms {
            0 => self.admit(listener, address, limits, now_ms),
            _ => Admission::Waits(Duration::from_millis(delay_ms)),
        }
    }

    /// One that has come asks to be let in.
    pub fn admit(self: &Arc<Self>, listener: &Arc<str>, address: IpAddr, limits: Limits, now_ms: u64) -> Admission {
        let mut counts = self.lock();
        if !counts.has_room(listener, limits) {
            return Admission::Waits(Duration::ZERO);
        }
        if let Some(delay_ms) = counts.come_from(listener, address, limits, now_ms) {
            return Admission::TooFast(Duration::from_millis(delay_ms));
        }
        if counts.by_address.get(&address).is_some_and(|&from_there| from_there >= limits.most_from_address)
            || limits.most_from_address == 0
        {
            return Admission::TooMany;
        }
        counts.begin(listener, address);
        Admission::Admitted(Counted { quotas: self.clone(), listener: listener.clone(), address })
    }

    /// Waits until `until`, and then for room. The limits may change meanwhile.
    pub async fn room(&self, until: Instant, listener: &str, limits: impl Fn() -> Limits) {
        tokio::time::sleep_until(until).await;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before it looks, so that nothing ends between look and wait.
            changed.as_mut().enable();
            if self.lock().has_room(listener, limits()) {
                return;
            }
            changed.await;
        }
    }

    /// There are other limits.
    pub fn limits_changed(&self) {
        self.changed.notify_waiters();
    }

    /// Sets or takes away how many a second may come from an address, or from each that has no limit of its own.
    pub fn limit_rate_from(&self, address: Option<IpAddr>, most_per_s: Option<u32>) {
        self.lock().address_rates.set(address, most_per_s);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nobody panics while holding this lock")
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.quotas.lock().end(&self.listener, self.address);
        self.quotas.changed.notify_waiters();
    }
}

impl Counts {
    /// Counts one that has come, and says how long it has to wait.
    fn arrive(&mut self, listener: &Arc<str>, limits: Limits, now_ms: u64) -> u64 {
        let (windows, of_all) = (self.windows, !limits.is_protected);
        let rate = &mut self.of(listener).rate;
        rate.count(windows, now_ms);
        let delay_ms = rate.delay_ms(windows, limits.most_per_s_of_listener, now_ms);
        if of_all {
            self.rate.count(windows, now_ms);
        }
        let of_all_ms = if of_all { self.rate.delay_ms(windows, limits.most_per_s, now_ms) } else { 0 };
        delay_ms.max(of_all_ms)
    }

    fn has_room(&self, listener: &str, limits: Limits) -> bool {
        let open = self.listeners.get(listener).map_or(0, |of_listener| of_listener.told.open);
        open < limits.most_of_listener && (limits.is_protected || self.all < limits.most)
    }

    /// Counts one for its address. Where too many came from there, it does not count anywhere.
    fn come_from(&mut self, listener: &Arc<str>, address: IpAddr, limits: Limits, now_ms: u64) -> Option<u64> {
        let windows = self.windows;
        let delay_ms = self.address_rates.come(windows, address, now_ms)?;
        self.of(listener).rate.take_back(windows, now_ms);
        if !limits.is_protected {
            self.rate.take_back(windows, now_ms);
        }
        Some(delay_ms)
    }

    fn begin(&mut self, listener: &Arc<str>, address: IpAddr) {
        self.all += 1;
        let told = &mut self.of(listener).told;
        told.open += 1;
        told.created += 1;
        *self.by_address.entry(address).or_default() += 1;
    }

    fn end(&mut self, listener: &Arc<str>, address: IpAddr) {
        self.all -= 1;
        self.of(listener).told.open -= 1;
        let from_there = self.by_address.get_mut(&address).expect("it was counted");
        *from_there -= 1;
        if *from_there == 0 {
            self.by_address.remove(&address);
        }
    }

    fn of(&mut self, listener: &Arc<str>) -> &mut OfListener {
        if !self.listeners.contains_key(listener) {
            self.listeners.insert(Arc::clone(listener), OfListener::default());
        }
        self.listeners.get_mut(listener).expect("it was put there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        quotas: Arc<ConnectionQuotas>,
        listeners: [Arc<str>; 2],
        open: Vec<Counted>,
    }

    impl Fixture {
        fn new() -> Self {
            let listeners = ["CLIENTS".into(), "BROKERS".into()];
            Self { quotas: ConnectionQuotas::new(Windows::new(11, 1)), listeners, open: Vec::new() }
        }

        /// What becomes of one, in words.
        fn come(&mut self, listener: usize, address: u8, limits: Limits) -> String {
            let address = IpAddr::from([127, 0, 0, address]);
            match self.quotas.arrive(&self.listeners[listener], address, limits, 0) {
                Admission::Admitted(counted) => {
                    self.open.push(counted);
                    "in".to_owned()
                }
                Admission::Waits(delay) => format!("waits {}", delay.as_millis()),
                Admission::TooMany => "too many".to_owned(),
                Admission::TooFast(delay) => format!("too fast {}", delay.as_millis()),
            }
        }
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let mut fixture = Fixture::new();
        let limits = Limits { most: 3, most_from_address: 2, ..Limits::NONE };
        let mut come = |address| fixture.come(0, address, limits);
        assert_eq!([1, 1, 1, 2, 2].map(&mut come), ["in", "in", "too many", "in", "waits 0"]);
        assert_eq!(fixture.quotas.lock().all, 3);
        drop(fixture.open.remove(0));
        assert_eq!([1, 1].map(|address| fixture.come(0, address, limits)), ["in", "waits 0"]);
        fixture.quotas.expired(&fixture.listeners[0]);
        assert_eq!(fixture.quotas.of("CLIENTS"), Told { open: 3, created: 4, expired: 1 });
        assert_eq!(fixture.quotas.of("BROKERS"), Told::default());
        fixture.open.clear();
        let counts = fixture.quotas.lock();
        assert_eq!((counts.all, counts.by_address.len(), counts.listeners["CLIENTS"].told.open), (0, 0, 0));
    }

    #[test]
    fn nobody_comes_from_an_address_that_may_have_none() {
        let limits = Limits { most_from_address: 0, ..Limits::NONE };
        assert_eq!(Fixture::new().come(0, 1, limits), "too many");
    }

    #[test]
    fn a_listener_is_full_for_itself() {
        let mut fixture = Fixture::new();
        let limits = Limits { most_of_listener: 1, ..Limits::NONE };
        let mut come = |listener| fixture.come(listener, 1, limits);
        assert_eq!([0, 0, 1, 1].map(&mut come), ["in", "waits 0", "in", "waits 0"]);
    }

    #[test]
    fn a_listener_is_slowed_down_for_itself_and_the_broker_for_all() {
        let mut fixture = Fixture::new();
        let slow = Limits { most_per_s_of_listener: 1, ..Limits::NONE };
        let waiting: Vec<String> = (0..12).map(|_| fixture.come(0, 1, slow)).filter(|came| came != "in").collect();
        assert_eq!(waiting, ["waits 1000", "waits 1000"]);
        assert_eq!(fixture.come(1, 1, slow), "in");
        let slow = Limits { most_per_s: 1, ..Limits::NONE };
        assert_eq!([0, 1].map(|listener| fixture.come(listener, 1, slow)), ["waits 1000", "waits 1000"]);
    }

    #[test]
    fn the_listener_of_brokers_is_not_held_up_by_others() {
        let mut fixture = Fixture::new();
        let clients = Limits { most: 1, most_per_s: 1, ..Limits::NONE };
        let brokers = Limits { is_protected: true, ..clients };
        assert_eq!([0, 0].map(|listener| fixture.come(listener, 1, clients)), ["in", "waits 0"]);
        assert!((0..30).all(|_| fixture.come(1, 1, brokers) == "in"), "neither full nor too fast");
        assert_eq!(fixture.come(1, 1, Limits { most_of_listener: 30, ..brokers }), "waits 0");
    }

    #[test]
    fn what_comes_too_fast_from_one_address_slows_nobody_else_down() {
        let mut fixture = Fixture::new();
        fixture.quotas.limit_rate_from(Some(IpAddr::from([127, 0, 0, 1])), Some(1));
        let limits = Limits { most_per_s: 2, ..Limits::NONE };
        let came: Vec<String> = (0..100).map(|_| fixture.come(0, 1, limits)).collect();
        assert!(came[..10].iter().all(|came| came == "in"), "{came:?}");
        assert!(came[10..].iter().all(|came| came == "too fast 1000"), "{came:?}");
        let others: Vec<String> = (0..11).map(|_| fixture.come(0, 2, limits)).collect();
        assert_eq!(others.iter().filter(|came| *came == "in").count(), 10, "{others:?}");
        assert_eq!(others[10], "waits 500");
    }

    #[tokio::test]
    async fn who_waits_comes_in_when_another_ends_or_there_is_more_room() {
        let mut fixture = Fixture::new();
        let limits = Limits { most: 1, ..Limits::NONE };
        assert_eq!(fixture.come(0, 1, limits), "in");
        let most = Arc::new(Mutex::new(1));
        let wait = |quotas: &Arc<ConnectionQuotas>, until| {
            let (quotas, most) = (Arc::clone(quotas), Arc::clone(&most));
            let limits = move || Limits { most: *most.lock().unwrap(), ..Limits::NONE };
            tokio::spawn(async move { quotas.room(until, "CLIENTS", limits).await })
        };
        let waiting = wait(&fixture.quotas, Instant::now());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        fixture.open.clear();
        waiting.await.unwrap();
        let early = wait(&fixture.quotas, Instant::now() + Duration::from_secs(3600));
        tokio::task::yield_now().await;
        assert!(!early.is_finished(), "there is room, but it is not time");
        early.abort();
        assert_eq!(fixture.come(0, 1, limits), "in");
        let waiting = wait(&fixture.quotas, Instant::now());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        *most.lock().unwrap() = 2;
        fixture.quotas.limits_changed();
        waiting.await.unwrap();
    }
}
