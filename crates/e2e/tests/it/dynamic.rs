//! What administrators change while a broker runs: it acts at once, and is there again after a restart.

use ottla_e2e::{RawClient, body};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::incremental_alter_configs_request::{Config, IncrementalAlterConfigsRequest, Resource};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;

use super::{batch, connect, create_topic, options, produce};

/// Sets a value for all brokers, or takes it away.
fn set(client: &mut RawClient, key: &str, value: Option<&str>) {
    let config_operation = i8::from(value.is_none());
    let config = Config { name: key.into(), config_operation, value: value.map(Into::into) };
    let resource = Resource { resource_type: 4, resource_name: "".into(), configs: vec![config] };
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
    assert!(connect(&broker).is_closed(), "there is one connection already");

    drop(client);
    let broker = broker.stop().0.start();
    let mut client = connect(&broker);
    assert_eq!(produce(&mut client, "t", 1, &large).expect("it is answered").error_code, 10, "MESSAGE_TOO_LARGE");
    assert!(connect(&broker).is_closed(), "there is one connection already");
    set(&mut client, "max.connections", None);
    set(&mut client, "message.max.bytes", None);
    assert_eq!(produce(&mut connect(&broker), "t", 1, &large).expect("it is answered").error_code, 0);
}
