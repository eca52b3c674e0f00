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
use ottla_metadata::image::{ConfigResource, Configs, Image, ResourceKind};
use ottla_metadata::settings::client_metrics::{
    INTERVAL_MS_DEFAULT, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX_BYTES, Selector, Subscription,
};
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
    pub metrics: Vec<Arc<str>>,
}

/// What is wanted, compiled and merged: whoever asks costs a look at each subscription and at each beginning, no more.
#[derive(Debug, Default)]
struct Subscriptions {
    /// By name, with the configs that it was made from.
    by_name: BTreeMap<String, (Configs, Arc<Subscription>)>,
    /// The beginnings of the names, sorted, each with the subscriptions that want it: a bit for each, in their order.
    metrics: Vec<(Arc<str>, Places)>,
}

/// A bit for each subscription.
type Places = u64;
const _: () = assert!(SUBSCRIPTIONS_MAX <= Places::BITS as usize, "each has its bit");

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

impl Subscriptions {
    /// Those of `image`; those in `older` that are still the same are not compiled once more.
    fn of(image: &Image, older: &Self) -> Self {
        let mut subscriptions = Self::default();
        let mut metrics: BTreeMap<&str, Places> = BTreeMap::new();
        let mut bytes = 0;
        let all = image.configs().iter().filter(|(resource, _)| resource.kind == ResourceKind::ClientMetrics);
        for (resource, configs) in all {
            bytes += configs.values().map(String::len).sum::<usize>();
            if subscriptions.by_name.len() == SUBSCRIPTIONS_MAX || bytes > SUBSCRIPTIONS_MAX_BYTES {
                tracing::warn!(subscription = %resource.name, "too many subscriptions to clients' metrics, or too large \
                    ones: this and those behind it are ignored. Remove some");
                break;
            }
            let known = older.by_name.get(&resource.name).filter(|(known, _)| known == configs);
            let made = known.map(|(_, subscription)| subscription.clone());
            let subscription = made.unwrap_or_else(|| Arc::new(Subscription::new(configs)));
            subscriptions.by_name.insert(resource.name.clone(), (configs.clone(), subscription));
        }
        for (place, (_, subscription)) in subscriptions.by_name.values().enumerate() {
            for name in &subscription.metrics {
                *metrics.entry(name).or_default() |= 1 << place;
            }
        }
        subscriptions.metrics = metrics.into_iter().map(|(name, places)| (Arc::from(name), places)).collect();
        subscriptions
    }

    /// What all together want of a client, of which `tell` says what it is.
    fn wanted<'c>(&self, tell: impl Fn(Selector) -> &'c str) -> Wanted {
        let mut meant: Places = 0;
        let mut interval_ms = None;
        for (place, (_, subscription)) in self.by_name.values().enumerate() {
            if subscription.is_for(&tell) {
                meant |= 1 << place;
                interval_ms = Some(interval_ms.unwrap_or(i32::MAX).min(subscription.interval_ms));
            }
        }
        let metrics = || self.metrics.iter().filter(|(_, places)| places & meant != 0).map(|(name, _)| name.clone());
        let all = metrics().find(|name| **name == *ALL_METRICS);
        let metrics = all.map_or_else(|| metrics().collect(), |all| vec![all]);
        Wanted { interval_ms: interval_ms.unwrap_or(INTERVAL_MS_DEFAULT), metrics }
    }
}

impl Wanted {
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
        if changed.iter().any(|resource| resource.kind == ResourceKind::ClientMetrics) {
            let newer = Arc::new(Subscriptions::of(image, &self.subscriptions()));
            *self.subscriptions.write().expect("nobody panics while holding this lock") = newer;
        }
    }

    /// What is wanted of a client, of which `tell` says what it is.
    pub fn wanted<'c>(&self, tell: impl Fn(Selector) -> &'c str) -> Wanted {
        self.subscriptions().wanted(tell)
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
    use ottla_protocol::internal::metadata::{ConfigRecord, MetadataRecord};

    use super::*;

    fn wanted(interval_ms: i32, metrics: &[&str]) -> Wanted {
        Wanted { interval_ms, metrics: metrics.iter().map(|&name| name.into()).collect() }
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

    /// A telemetry whose subscriptions have these metrics and expressions.
    fn subscribed(subscriptions: &[(&str, &str, &str)]) -> Telemetry {
        let mut image = Image::new("c");
        for (name, metrics, matches) in subscriptions {
            for (key, value) in
                [("metrics", metrics), ("match", matches)].into_iter().filter(|(_, text)| !text.is_empty())
            {
                let record = MetadataRecord::Config(ConfigRecord {
                    resource_type: 16,
                    resource_name: (*name).into(),
                    name: key.into(),
                    value: Some((*value).into()),
                });
                image.apply(image.end(), &record).unwrap();
            }
        }
        let telemetry = Telemetry::default();
        let changed = image.configs().iter().map(|(resource, _)| resource.clone()).collect::<Vec<_>>();
        telemetry.take_over(&image, &changed);
        telemetry
    }

    fn metrics(telemetry: &Telemetry, client: &str) -> Vec<String> {
        telemetry.wanted(|_| client).metrics.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_client_is_to_push_what_any_of_its_subscriptions_wants() {
        let telemetry = subscribed(&[
            ("a", "b.,a.", ""),
            ("b", "c.,b.", "client_id=one"),
            ("c", "*,d.", "client_id=two"),
            ("d", "e.", "client_id=three"),
        ]);
        assert_eq!(metrics(&telemetry, "none"), ["a.", "b."]);
        assert_eq!(metrics(&telemetry, "one"), ["a.", "b.", "c."]);
        assert_eq!(metrics(&telemetry, "two"), ["*"]);
    }

    #[test]
    fn subscriptions_beyond_the_limits_are_ignored() {
        let names: Vec<_> = (0..2 * SUBSCRIPTIONS_MAX).map(|n| (format!("s{n:03}"), format!("m{n:03}"))).collect();
        let many: Vec<_> = names.iter().map(|(name, metric)| (name.as_str(), metric.as_str(), "")).collect();
        assert_eq!(metrics(&subscribed(&many), "").len(), SUBSCRIPTIONS_MAX);
        let large = "m".repeat(SUBSCRIPTIONS_MAX_BYTES / 2);
        assert_eq!(metrics(&subscribed(&[("a", &large, ""), ("b", &large, ""), ("c", "c", "")]), "").len(), 1);
        let small = metrics(&subscribed(&[("a", "a", ""), ("b", &large, ""), ("c", &large, "")]), "");
        assert_eq!(small.len(), 2, "those in front are in force");
    }

    #[test]
    fn what_did_not_change_is_not_compiled_once_more() {
        let telemetry = subscribed(&[("a", "a.", "client_id=one")]);
        let before = telemetry.subscriptions();
        let mut image = Image::new("c");
        for (name, key, value) in [("a", "metrics", "a."), ("a", "match", "client_id=one"), ("b", "metrics", "b.")] {
            let record = MetadataRecord::Config(ConfigRecord {
                resource_type: 16,
                resource_name: name.into(),
                name: key.into(),
                value: Some(value.into()),
            });
            image.apply(image.end(), &record).unwrap();
        }
        let after = Subscriptions::of(&image, &before);
        assert!(Arc::ptr_eq(&before.by_name["a"].1, &after.by_name["a"].1));
        assert_eq!(after.by_name.len(), 2);
    }
}
