//! Connections that are too many, or come too fast: who waits, and who is closed.

use std::time::{Duration, Instant};

use ottla_e2e::{Broker, RawClient, body};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_client_quotas_request::{AlterClientQuotasRequest, Entity, Entry, Op};
use ottla_protocol::messages::alter_client_quotas_response::AlterClientQuotasResponse;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;

use super::dynamic::set;
use super::{connect, create_topic, options};

fn ask(client: &mut RawClient) {
    client.ask(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()).expect("it is answered");
}

/// One that has asked, and may have to wait for the answer.
pub fn asking(broker: &Broker) -> RawClient {
    let mut client = connect(broker);
    let frame = client.frame_of(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    client.send_frame(&frame).expect("it is open");
    client
}

/// Whether there is no answer yet, though `other` has had many meanwhile.
pub fn waits(client: &RawClient, other: &mut RawClient) -> bool {
    (0..200).for_each(|_| ask(other));
    !client.has_answer()
}

#[test]
fn connections_beyond_the_limit_wait_until_one_ends_or_there_may_be_more() {
    for key in ["max.connections", "listener.name.plaintext.max.connections"] {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = options(folder.path()).with(&format!("{key}=2")).start();
        let (mut first, mut second) = (connect(&broker), connect(&broker));
        ask(&mut first);
        ask(&mut second);
        let mut third = asking(&broker);
        assert!(waits(&third, &mut first), "{key}");
        drop(second);
        third.answer().expect("there is room");
        let mut fourth = asking(&broker);
        assert!(waits(&fourth, &mut first), "{key}");
        set(&mut first, key, Some("3"));
        fourth.answer().expect("there is more room");
        let mut fifth = asking(&broker);
        assert!(waits(&fifth, &mut first), "{key}");
        drop((first, third));
        fifth.answer().expect("there is room");
        create_topic(&mut fifth, "t");
    }
}

#[test]
fn connections_that_come_too_fast_wait() {
    for key in ["max.connection.creation.rate", "listener.name.plaintext.max.connection.creation.rate"] {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = options(folder.path()).start();
        let mut client = connect(&broker);
        set(&mut client, key, Some("1"));
        let begun = Instant::now();
        // Ten may come within ten seconds, and one has: the last but one of these waits, and the last for another second.
        let mut others: Vec<RawClient> = (0..11).map(|_| asking(&broker)).collect();
        others.iter_mut().for_each(|other| drop(other.answer().expect("it waits, and is let in")));
        assert!(begun.elapsed() >= Duration::from_millis(990), "{key}: {:?}", begun.elapsed());
        set(&mut client, key, None);
        let (begun, mut others) = (Instant::now(), (0..11).map(|_| asking(&broker)).collect::<Vec<_>>());
        others.iter_mut().for_each(|other| drop(other.answer().expect("it is let in")));
        assert!(begun.elapsed() < Duration::from_secs(10), "{key}: {:?}", begun.elapsed());
    }
}

#[test]
fn connections_that_come_too_fast_from_one_address_are_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    let mut limit = |remove| {
        let entity = Entity { entity_type: "ip".into(), entity_name: Some("127.0.0.1".into()) };
        let op = Op { key: "connection_creation_rate".into(), value: 1.0, remove };
        let entry = Entry { entity: vec![entity], ops: vec![op] };
        let request = AlterClientQuotasRequest { entries: vec![entry], validate_only: false };
        let answer = client.ask(ApiKey::AlterClientQuotas, 1, &request).expect("it is answered");
        let response: AlterClientQuotasResponse<'_> = body(&answer, ApiKey::AlterClientQuotas, 1);
        assert_eq!(response.entries[0].error_code, 0, "{response:?}");
    };
    limit(false);
    let mut others: Vec<RawClient> = (0..10).map(|_| connect(&broker)).collect();
    others.iter_mut().for_each(ask);
    assert!(connect(&broker).is_closed(), "the eleventh");
    limit(true);
    others.extend((0..10).map(|_| connect(&broker)));
    others.iter_mut().for_each(ask);
    limit(false);
    let broker = broker.kill().start();
    let mut others: Vec<RawClient> = (0..10).map(|_| connect(&broker)).collect();
    others.iter_mut().for_each(ask);
    assert!(connect(&broker).is_closed(), "the eleventh after the restart");
}
