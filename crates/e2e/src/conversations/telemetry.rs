//! Metrics that clients push (KIP-714). Without a plug-in that takes them neither request is announced, but both are
//! answered.

use ottla_base::Uuid;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use ottla_protocol::messages::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use ottla_protocol::messages::push_telemetry_request::PushTelemetryRequest;
use ottla_protocol::messages::push_telemetry_response::PushTelemetryResponse;

use super::altering::{DELETE, SET, alter, edits};
use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[Conversation::new("telemetry", telemetry)];

const CLIENT_METRICS: i8 = 16;
/// More than `telemetry.max.bytes`.
const TOO_MUCH: usize = (1 << 20) + 1;

/// Asks for the subscription of a client; gives its id and that of the subscription.
fn ask(session: &mut Session, what: &str, client_instance_id: Uuid) -> (Uuid, i32) {
    let request = GetTelemetrySubscriptionsRequest { client_instance_id };
    let answer = session.ask(what, ApiKey::GetTelemetrySubscriptions, 0, &request).expect("it is answered");
    let mut response: GetTelemetrySubscriptionsResponse<'_> = body(&answer, ApiKey::GetTelemetrySubscriptions, 0);
    response.requested_metrics.sort();
    session.note(&response);
    (response.client_instance_id, response.subscription_id)
}

fn push(session: &mut Session, what: &str, client: Uuid, subscription_id: i32, compression_type: i8, metrics: &[u8]) {
    push_last(session, what, client, subscription_id, compression_type, metrics, false);
}

fn push_last(
    session: &mut Session,
    what: &str,
    client_instance_id: Uuid,
    subscription_id: i32,
    compression_type: i8,
    metrics: &[u8],
    terminating: bool,
) {
    let metrics = metrics.into();
    let request = PushTelemetryRequest { client_instance_id, subscription_id, terminating, compression_type, metrics };
    exchange!(session, what, PushTelemetry 0, &request => PushTelemetryResponse);
}

fn subscribe(session: &mut Session, name: &str, configs: &[(&str, &str)]) {
    let changes: Vec<_> = configs.iter().map(|&(key, value)| (key, SET, Some(value))).collect();
    alter(session, &format!("subscribe {name}"), 1, vec![edits(CLIENT_METRICS, name, &changes)]);
    session.settle();
}

fn unsubscribe(session: &mut Session, name: &str, keys: &[&str]) {
    let changes: Vec<_> = keys.iter().map(|&key| (key, DELETE, None)).collect();
    alter(session, &format!("unsubscribe {name}"), 1, vec![edits(CLIENT_METRICS, name, &changes)]);
    session.settle();
}

fn telemetry(session: &mut Session) {
    let (first, nothing) = ask(session, "a new client", Uuid::ZERO);
    ask(session, "at once again", first);
    push(session, "of no subscription", first, nothing, 0, b"");
    push(session, "of another subscription", first, nothing.wrapping_add(1), 0, b"");
    push(session, "an unknown client", Uuid(7 << 64), nothing, 0, b"");
    push(session, "no client", Uuid::ZERO, nothing, 0, b"");
    let (known, again) = ask(session, "a client that the broker does not know", Uuid(9 << 64));
    push(session, "of a client that the broker did not know", known, again, 0, b"");

    subscribe(session, "often", &[("interval.ms", "60000"), ("metrics", "a.,b."), ("match", "client_id=raw")]);
    subscribe(session, "seldom", &[("interval.ms", "3600000"), ("metrics", "b.,c.")]);
    subscribe(session, "of others", &[("interval.ms", "1000"), ("metrics", "d."), ("match", "client_id=other")]);
    push(session, "of the subscription before", first, nothing, 0, b"");
    let (second, subscription) = ask(session, "another client", Uuid::ZERO);
    push(session, "some", second, subscription, 0, b"metrics");
    push(session, "at once more", second, subscription, 0, b"metrics");
    let (third, subscription) = ask(session, "a third client", Uuid::ZERO);
    push(session, "with an unknown codec", third, subscription, 9, b"metrics");
    let (fourth, subscription) = ask(session, "a fourth client", Uuid::ZERO);
    push(session, "too much", fourth, subscription, 0, &vec![0; TOO_MUCH]);
    let (fifth, subscription) = ask(session, "a fifth client", Uuid::ZERO);
    push(session, "nonsense for a codec", fifth, subscription, 4, b"metrics");
    let (sixth, subscription) = ask(session, "a sixth client", Uuid::ZERO);
    push_last(session, "the last", sixth, subscription, 0, b"", true);
    push_last(session, "the last again", sixth, subscription, 0, b"", true);
    push(session, "after the last", sixth, subscription, 0, b"");
    ask(session, "after the last", sixth);
    let (seventh, subscription) = ask(session, "a seventh client", Uuid::ZERO);
    push(session, "some", seventh, subscription, 0, b"metrics");
    push_last(session, "the last, soon after", seventh, subscription, 0, b"", true);

    subscribe(session, "all", &[("metrics", "*")]);
    ask(session, "all metrics", Uuid::ZERO);
    unsubscribe(session, "all", &["metrics"]);
    unsubscribe(session, "often", &["interval.ms", "metrics", "match"]);
    unsubscribe(session, "seldom", &["interval.ms", "metrics"]);
    unsubscribe(session, "of others", &["interval.ms", "metrics", "match"]);
    ask(session, "nothing any more", Uuid::ZERO);
}
