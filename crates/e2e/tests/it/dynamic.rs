//! What administrators change while a broker runs: it acts at once, and is there again after a restart.

use ottla_e2e::{RawClient, body};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_client_quotas_request::{AlterClientQuotasRequest, Entity, Entry, Op};
use ottla_protocol::messages::alter_client_quotas_response::AlterClientQuotasResponse;
use ottla_protocol::messages::describe_client_quotas_request::DescribeClientQuotasRequest;
use ottla_protocol::messages::describe_client_quotas_response::DescribeClientQuotasResponse;
use ottla_protocol::messages::describe_configs_request::{self, DescribeConfigsRequest};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResponse;
use ottla_protocol::messages::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use ottla_protocol::messages::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use ottla_protocol::messages::incremental_alter_configs_request::{Config, IncrementalAlterConfigsRequest, Resource};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;

use super::connection_quotas::{asking, waits};
use super::{batch, connect, create_topic, fetch, options, produce};

/// Sets a value for all brokers, or takes it away.
pub fn set(client: &mut RawClient, key: &str, value: Option<&str>) {
    alter(client, 4, "", key, value);
}

/// Sets a value of a resource, or takes it away.
pub fn alter(client: &mut RawClient, resource_type: i8, name: &str, key: &str, value: Option<&str>) {
    let config_operation = i8::from(value.is_none());
    let config = Config { name: key.into(), config_operation, value: value.map(Into::into) };
    let resource = Resource { resource_type, resource_name: name.into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = client.ask(ApiKey::IncrementalAlterConfigs, 1, &request).expect("it is answered");
    let response: IncrementalAlterConfigsResponse<'_> = body(&answer, ApiKey::IncrementalAlterConfigs, 1);
    assert_eq!(response.responses[0].error_code, 0, "{response:?}");
}

#[test]
fn settings_act_as_soon_as_they_are_set_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let large = batch(&[b'x'; 5000]);
    assert_eq!(produce(&mut client, "t", 1, &large).expect("it is answered").error_code, 0);
    set(&mut client, "message.max.bytes", Some("1000"));
    assert_eq!(produce(&mut client, "t", 1, &large).expect("it is answered").error_code, 10, "MESSAGE_TOO_LARGE");
    set(&mut client, "max.connections", Some("1"));
    assert!(waits(&asking(&broker), &mut client), "there is one connection already");

    drop(client);
    let broker = broker.stop().0.start();
    let mut client = connect(&broker);
    assert_eq!(produce(&mut client, "t", 1, &large).expect("it is answered").error_code, 10, "MESSAGE_TOO_LARGE");
    assert!(waits(&asking(&broker), &mut client), "there is one connection already");
    set(&mut client, "max.connections", None);
    set(&mut client, "message.max.bytes", None);
    assert_eq!(produce(&mut connect(&broker), "t", 1, &large).expect("it is answered").error_code, 0);
}

#[test]
fn a_new_cluster_takes_min_insync_replicas_from_the_file_it_was_started_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).with("min.insync.replicas=2").start();
    let keys = Some(vec!["min.insync.replicas".into()]);
    let resource =
        describe_configs_request::Resource { resource_type: 4, resource_name: "1".into(), configuration_keys: keys };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = connect(&broker).ask(ApiKey::DescribeConfigs, 4, &request).expect("it is answered");
    let response: DescribeConfigsResponse<'_> = body(&answer, ApiKey::DescribeConfigs, 4);
    assert_eq!(response.results[0].configs[0].value.as_deref(), Some("2"));
}

#[test]
fn loggers_log_at_the_level_they_were_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    for level in ["ERROR", "DEBUG", "WARN"] {
        alter(&mut client, 8, "1", "root", Some(level));
    }
    alter(&mut client, 8, "1", "ottla_broker", Some("INFO"));
    let logged = std::fs::read_to_string(folder.path().join("stderr")).expect("it is written there");
    let changes = logged.lines().filter(|line| line.contains("levels of the loggers"));
    let levels: Vec<_> = changes.filter_map(|line| line.rsplit("levels=").next()).collect();
    assert_eq!(levels, ["debug", "warn,ottla_broker=info"], "{logged}");
}

#[test]
fn quotas_are_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let entity = Entity { entity_type: "user".into(), entity_name: None };
    let op = Op { key: "producer_byte_rate".into(), value: 1000.0, remove: false };
    let entry = Entry { entity: vec![entity], ops: vec![op] };
    let request = AlterClientQuotasRequest { entries: vec![entry], validate_only: false };
    let answer = connect(&broker).ask(ApiKey::AlterClientQuotas, 1, &request).expect("it is answered");
    let response: AlterClientQuotasResponse<'_> = body(&answer, ApiKey::AlterClientQuotas, 1);
    assert_eq!(response.entries[0].error_code, 0, "{response:?}");

    let broker = broker.kill().start();
    let request = DescribeClientQuotasRequest::default();
    let answer = connect(&broker).ask(ApiKey::DescribeClientQuotas, 1, &request).expect("it is answered");
    let response: DescribeClientQuotasResponse<'_> = body(&answer, ApiKey::DescribeClientQuotas, 1);
    let entries = response.entries.expect("there are some");
    assert_eq!((entries.len(), entries[0].values[0].value), (1, 1000.0));
}

#[test]
fn what_clients_are_to_push_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    alter(&mut client, 16, "kept", "metrics", Some("org.apache.kafka.consumer."));
    alter(&mut client, 16, "kept", "interval.ms", Some("1234"));
    alter(&mut client, 16, "gone", "metrics", Some("org.apache.kafka.producer."));
    alter(&mut client, 16, "gone", "metrics", None);
    drop(client);
    let broker = broker.kill().start();
    let request = GetTelemetrySubscriptionsRequest::default();
    let answer = connect(&broker).ask(ApiKey::GetTelemetrySubscriptions, 0, &request).expect("it is answered");
    let told: GetTelemetrySubscriptionsResponse<'_> = body(&answer, ApiKey::GetTelemetrySubscriptions, 0);
    let metrics: Vec<&str> = told.requested_metrics.iter().map(|prefix| &**prefix).collect();
    assert_eq!((told.error_code, told.push_interval_ms, &metrics[..]), (0, 1234, &["org.apache.kafka.consumer."][..]));
}

#[test]
fn a_broker_that_is_unregistered_registers_again_and_serves_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    produce(&mut client, "t", 1, &batch(b"before")).expect("it is answered");
    let request = UnregisterBrokerRequest { broker_id: 1 };
    let answer = client.ask(ApiKey::UnregisterBroker, 0, &request).expect("it is answered");
    let response: UnregisterBrokerResponse<'_> = body(&answer, ApiKey::UnregisterBroker, 0);
    assert_eq!(response.error_code, 0, "{response:?}");
    assert_eq!(produce(&mut client, "t", -1, &batch(b"after")).expect("it is answered").error_code, 0);
    assert_eq!(fetch(&mut client, "t", 0, 0).expect("it is answered").0, 0);
    let request =
        InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() };
    let answer = client.ask(ApiKey::InitProducerId, 5, &request).expect("it is answered");
    assert_eq!(body::<InitProducerIdResponse>(&answer, ApiKey::InitProducerId, 5).error_code, 0);
    drop(client);
    let broker = broker.stop().0.start();
    assert_eq!(produce(&mut connect(&broker), "t", 1, &batch(b"later")).expect("it is answered").base_offset, 2);
}
