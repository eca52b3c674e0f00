//! The clients that push their metrics (KIP-714): which subscription each has, and when it may ask and push again.
//!
//! ```text
//!   Get  -> an id for the client, and what it is to push how often
//!   Push -> once in that time; once more when the client ends; nothing after that
//! ```
//!
//! What is pushed goes nowhere: there is nobody to take it, as in Kafka without a plug-in.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use ottla_base::Uuid;
use ottla_metadata::image::{ConfigResource, Image, ResourceKind};
use ottla_metadata::settings::client_metrics::{INTERVAL_MS_DEFAULT, Selector, Subscription};
use ottla_protocol::error::ErrorCode;

/// So many clients are known at most, twice: those that were heard of lately, and those before them.
const CLIENTS_MAX: usize = 8192;
/// A name of all metrics.
const ALL_METRICS: &str = "*";

/// What a client is to push, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// How often.
    pub interval_ms: i32,
    /// The beginnings of the names, sorted.
    pub metrics: Vec<String>,
}

/// What is wanted, by name; the expressions in it are compiled.
type Subscriptions = BTreeMap<String, Subscription>;

/// The subscriptions and the clients.
#[derive(Debug, Default)]
pub struct Telemetry {
    subscriptions: RwLock<Arc<Subscriptions>>,
    clients: Mutex<Clients>,
}

/// When `recent` is full it takes the place of `before`, so that a client that is not heard of is forgotten.
#[derive(Debug, Default)]
struct Clients {
    recent: HashMap<Uuid, Instance>,
    before: HashMap<Uuid, Instance>,
}

/// What is known of a client.
#[derive(Clone, Copy, Debug)]
struct Instance {
    subscription_id: i32,
    /// When it asked last; it may ask again before its time where it was told that its subscription is unknown.
    asked: Option<Duration>,
    pushed: Option<Duration>,
    terminated: bool,
}

impl Wanted {
    /// What all subscriptions together want of a client, of which `tell` says what it is.
    fn of<'c>(subscriptions: &Subscriptions, tell: impl Fn(Selector) -> &'c str) -> Self {
        let meant: Vec<_> = subscriptions.values().filter(|subscription| subscription.is_for(&tell)).collect();
        let interval_ms = meant.iter().map(|subscription| subscription.interval_ms).min();
        let mut metrics: Vec<String> =
            meant.into_iter().flat_map(|subscription| subscription.metrics.clone()).collect();
        metrics.sort();
        metrics.dedup();
        if metrics.iter().any(|name| name == ALL_METRICS) {
            metrics = vec![ALL_METRICS.to_owned()];
        }
        Self { interval_ms: interval_ms.unwrap_or(INTERVAL_MS_DEFAULT), metrics }
    }

    /// Names this for this client.
    fn id(&self, client: Uuid) -> i32 {
        let mut hasher = DefaultHasher::new();
        (self, client.0).hash(&mut hasher);
        // All bits of the hash are as good as the others.
        hasher.finish() as i32
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.interval_ms).unwrap_or(0))
    }
}

impl Telemetry {
    /// Takes over those subscriptions of `image` that `changed`, so that no request has to.
    pub fn take_over(&self, image: &Image, changed: &[ConfigResource]) {
        let changed = || changed.iter().filter(|resource| resource.kind == ResourceKind::ClientMetrics);
        if changed().next().is_none() {
            return;
        }
        let mut newer = Subscriptions::clone(&self.subscriptions());
        for resource in changed() {
            match image.config(resource) {
                Some(configs) => drop(newer.insert(resource.name.clone(), Subscription::new(configs))),
                None => drop(newer.remove(&resource.name)),
            }
        }
        *self.subscriptions.write().expect("nobody panics while holding this lock") = Arc::new(newer);
    }

    /// What is wanted of a client, of which `tell` says what it is.
    pub fn wanted<'c>(&self, tell: impl Fn(Selector) -> &'c str) -> Wanted {
        Wanted::of(&self.subscriptions(), tell)
    }

    fn subscriptions(&self) -> Arc<Subscriptions> {
        self.subscriptions.read().expect("nobody panics while holding this lock").clone()
    }

    /// A client asks for its subscription; gives its id.
    ///
    /// # Errors
    /// It asked a moment ago.
    pub fn ask(&self, now: Duration, client: Uuid, wanted: &Wanted) -> Result<i32, ErrorCode> {
        self.with(client, wanted, |instance| {
            if is_too_early(now, instance.asked, wanted) {
                return Err(ErrorCode::ThrottlingQuotaExceeded);
            }
            instance.asked = Some(now);
            Ok(instance.subscription_id)
        })
    }

    /// A client pushes for a subscription.
    ///
    /// # Errors
    /// Why it may not.
    pub fn push(
        &self,
        now: Duration,
        client: Uuid,
        wanted: &Wanted,
        subscription_id: i32,
        terminating: bool,
    ) -> Result<(), ErrorCode> {
        self.with(client, wanted, |instance| {
            if instance.terminated {
                return Err(ErrorCode::InvalidRequest);
            }
            if !terminating && is_too_early(now, instance.pushed, wanted) {
                return Err(ErrorCode::ThrottlingQuotaExceeded);
            }
            instance.pushed = Some(now);
            if subscription_id != instance.subscription_id {
                instance.asked = None;
                return Err(ErrorCode::UnknownSubscriptionId);
            }
            instance.terminated = terminating;
            Ok(())
        })
    }

    /// Works on what is known of a client. With another subscription it begins anew.
    fn with<T>(&self, client: Uuid, wanted: &Wanted, work: impl FnOnce(&mut Instance) -> T) -> T {
        let subscription_id = wanted.id(client);
        let mut clients = self.clients.lock().expect("nobody panics while holding this lock");
        let known = clients.recent.remove(&client).or_else(|| clients.before.remove(&client));
        let known = known.filter(|known| known.subscription_id == subscription_id);
        let new = Instance { subscription_id, asked: None, pushed: None, terminated: false };
        let mut instance = known.unwrap_or(new);
        let result = work(&mut instance);
        if clients.recent.len() >= CLIENTS_MAX {
            clients.before = std::mem::take(&mut clients.recent);
        }
        clients.recent.insert(client, instance);
        result
    }
}

fn is_too_early(now: Duration, last: Option<Duration>, wanted: &Wanted) -> bool {
    last.is_some_and(|last| now.saturating_sub(last) < wanted.interval())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(interval_ms: i32, metrics: &[&str]) -> Wanted {
        Wanted { interval_ms, metrics: metrics.iter().map(|&name| name.to_owned()).collect() }
    }

    #[test]
    fn a_client_asks_and_pushes_once_in_its_time() {
        let telemetry = Telemetry::default();
        let (client, wanted) = (Uuid(7), wanted(1000, &["a."]));
        let at = Duration::from_millis;
        let id = telemetry.ask(at(0), client, &wanted).unwrap();
        assert_eq!(telemetry.ask(at(999), client, &wanted), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(telemetry.push(at(10), client, &wanted, id, false), Ok(()));
        assert_eq!(telemetry.push(at(1009), client, &wanted, id, false), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(telemetry.push(at(1010), client, &wanted, id, false), Ok(()));
        assert_eq!(telemetry.ask(at(1010), client, &wanted), Ok(id));
        assert_eq!(telemetry.push(at(1011), client, &wanted, id, true), Ok(()), "the last may come early");
        assert_eq!(telemetry.push(at(9000), client, &wanted, id, true), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn whoever_has_an_old_subscription_may_ask_at_once() {
        let telemetry = Telemetry::default();
        let client = Uuid(7);
        let (before, after) = (wanted(1000, &["a."]), wanted(1000, &["b."]));
        let id = telemetry.ask(Duration::ZERO, client, &before).unwrap();
        assert_eq!(telemetry.push(Duration::ZERO, client, &after, id, false), Err(ErrorCode::UnknownSubscriptionId));
        assert_ne!(telemetry.ask(Duration::ZERO, client, &after), Ok(id));
    }

    #[test]
    fn clients_that_are_not_heard_of_are_forgotten() {
        let telemetry = Telemetry::default();
        let wanted = wanted(1000, &[]);
        for client in 0..5 * CLIENTS_MAX as u128 {
            telemetry.ask(Duration::ZERO, Uuid(client), &wanted).unwrap();
        }
        let clients = telemetry.clients.lock().unwrap();
        assert!(clients.recent.len() + clients.before.len() <= 2 * CLIENTS_MAX);
    }
}
