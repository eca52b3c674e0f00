//! Settings as they are described, the cluster, coordinators and producer ids.

use ottla_protocol::messages::create_acls_request::{self, CreateAclsRequest};
use ottla_protocol::messages::create_acls_response::CreateAclsResponse;
use ottla_protocol::messages::delete_acls_request::{self, DeleteAclsRequest};
use ottla_protocol::messages::delete_acls_response::DeleteAclsResponse;
use ottla_protocol::messages::describe_acls_request::DescribeAclsRequest;
use ottla_protocol::messages::describe_acls_response::DescribeAclsResponse;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterResponse;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, Resource};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResponse;
use ottla_protocol::messages::describe_log_dirs_request::{self, DescribeLogDirsRequest};
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResponse;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_protocol::messages::list_config_resources_response::ListConfigResourcesResponse;
use ottla_protocol::{ApiKey, Str};

use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("describe-configs-topic", describe_topic),
    Conversation::new("describe-configs-broker", describe_broker),
    Conversation::new("describe-configs-errors", describe_errors),
    Conversation::new("describe-cluster", describe_cluster),
    Conversation::new("list-config-resources", list_config_resources),
    Conversation::new("acls", acls),
    Conversation::new("describe-log-dirs", describe_log_dirs),
    Conversation::new("init-producer-id", init_producer_id),
];

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

pub(super) fn resource<'a>(resource_type: i8, name: &'a str, keys: Option<&[&'a str]>) -> Resource<'a> {
    Resource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|&key| Str::Borrowed(key)).collect()),
    }
}

/// Writes down what some settings are after `what`.
pub(super) fn describe_keys(session: &mut Session, what: &str, resource_type: i8, name: &str, keys: &[&str]) {
    session.settle();
    let resources = vec![resource(resource_type, name, Some(keys))];
    let request = DescribeConfigsRequest { resources, include_synonyms: true, include_documentation: false };
    describe(session, &format!("{name:?} after: {what}"), 4, &request);
}

/// The answer, a line for each setting, in the order of their names.
pub(super) fn describe(session: &mut Session, what: &str, version: i16, request: &DescribeConfigsRequest<'_>) {
    let Some(answer) = session.ask(what, ApiKey::DescribeConfigs, version, request) else { return };
    let mut response: DescribeConfigsResponse<'_> = body(&answer, ApiKey::DescribeConfigs, version);
    for result in &mut response.results {
        let mut configs = std::mem::take(&mut result.configs);
        session.note(result);
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        for config in &configs {
            session.line(&format!("  {config:?}"));
        }
    }
}

fn describe_topic(session: &mut Session) {
    session.topic("described-settings", 1, &[("retention.ms", "5000"), ("cleanup.policy", "compact")]);
    for version in 1..=4 {
        for include_synonyms in [false, true] {
            let request = DescribeConfigsRequest {
                resources: vec![resource(TOPIC, "described-settings", None)],
                include_synonyms,
                include_documentation: false,
            };
            describe(session, &format!("all, synonyms: {include_synonyms}"), version, &request);
        }
    }
    for keys in [&["retention.ms", "segment.bytes"][..], &["no.such.key", "retention.ms"], &[]] {
        let request = DescribeConfigsRequest {
            resources: vec![resource(TOPIC, "described-settings", Some(keys))],
            ..Default::default()
        };
        describe(session, &format!("only {keys:?}"), 4, &request);
    }
}

fn describe_broker(session: &mut Session) {
    let keys = [
        "num.partitions",
        "log.retention.hours",
        "log.segment.bytes",
        "message.max.bytes",
        "auto.create.topics.enable",
        "broker.rack",
        "node.id",
        "process.roles",
        "log.cleanup.policy",
        "socket.request.max.bytes",
        "offsets.topic.num.partitions",
        "group.coordinator.threads",
        "ssl.keystore.password",
        "no.such.key",
        "compression.type",
        "log.roll.jitter.ms",
        "log.flush.interval.messages",
        "unclean.leader.election.enable",
    ];
    for version in [1, 4] {
        for name in ["1", ""] {
            let request = DescribeConfigsRequest {
                resources: vec![resource(BROKER, name, Some(&keys))],
                include_synonyms: true,
                include_documentation: false,
            };
            describe(session, &format!("of broker {name:?}"), version, &request);
        }
    }
}

fn describe_errors(session: &mut Session) {
    for (what, resource) in [
        ("a topic that is not there", resource(TOPIC, "described-none", None)),
        ("a bad name", resource(TOPIC, "described bad", None)),
        ("the empty topic", resource(TOPIC, "", None)),
        ("another broker", resource(BROKER, "9", None)),
        ("a broker that is no number", resource(BROKER, "first", None)),
        ("an unknown type", resource(77, "x", None)),
        ("type 0", resource(0, "x", None)),
    ] {
        for version in [1, 4] {
            let request = DescribeConfigsRequest { resources: vec![resource.clone()], ..Default::default() };
            describe(session, what, version, &request);
        }
    }
}

fn list_config_resources(session: &mut Session) {
    session.topic("listed", 1, &[]);
    for (version, types) in
        [(0, &[][..]), (1, &[]), (1, &[2]), (1, &[4]), (1, &[8]), (1, &[16, 32]), (1, &[77]), (1, &[0])]
    {
        let request = ListConfigResourcesRequest { resource_types: types.to_vec() };
        let what = format!("types {types:?}");
        let Some(answer) = session.ask(&what, ApiKey::ListConfigResources, version, &request) else { continue };
        let mut response: ListConfigResourcesResponse<'_> = body(&answer, ApiKey::ListConfigResources, version);
        // Of topics, only those of this conversation: others hold theirs before.
        response
            .config_resources
            .retain(|resource| resource.resource_type != TOPIC || resource.resource_name == "listed");
        response.config_resources.sort_by_key(|resource| resource.resource_type);
        session.note(&response);
    }
}

fn acls(session: &mut Session) {
    for version in 1..=3 {
        let request = DescribeAclsRequest {
            resource_type_filter: 1,
            resource_name_filter: None,
            pattern_type_filter: 1,
            principal_filter: None,
            host_filter: None,
            operation: 1,
            permission_type: 1,
        };
        exchange!(session, "all", DescribeAcls version, &request => DescribeAclsResponse<'_>);
        let creation = create_acls_request::Creation {
            resource_type: 2,
            resource_name: "t".into(),
            resource_pattern_type: 3,
            principal: "User:a".into(),
            host: "*".into(),
            operation: 3,
            permission_type: 3,
        };
        let request = CreateAclsRequest { creations: vec![creation.clone(), creation] };
        exchange!(session, "two", CreateAcls version, &request => CreateAclsResponse<'_>);
        let filter = delete_acls_request::Filter {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            resource_name_filter: None,
            principal_filter: None,
            host_filter: None,
        };
        let request = DeleteAclsRequest { filters: vec![filter] };
        exchange!(session, "all", DeleteAcls version, &request => DeleteAclsResponse<'_>);
    }
}

fn describe_log_dirs(session: &mut Session) {
    session.topic("in-a-directory", 2, &[]);
    session.append("in-a-directory", 1, &[(1, "a"), (2, "b")]);
    for version in 1..=5 {
        for (what, topic, partitions) in [
            ("both", "in-a-directory", vec![1, 0]),
            ("one twice", "in-a-directory", vec![1, 1]),
            ("one that is not there", "in-a-directory", vec![1, 7]),
            ("no partitions", "in-a-directory", vec![]),
            ("no topic", "in-no-directory", vec![0]),
        ] {
            let topics = Some(vec![describe_log_dirs_request::Topic { topic: topic.into(), partitions }]);
            let request = DescribeLogDirsRequest { topics };
            let Some(answer) = session.ask(what, ApiKey::DescribeLogDirs, version, &request) else { continue };
            let mut response: DescribeLogDirsResponse<'_> = body(&answer, ApiKey::DescribeLogDirs, version);
            for directory in &mut response.results {
                assert!(version < 4 || 0 < directory.usable_bytes && directory.usable_bytes <= directory.total_bytes);
                // Of the machine, not of the broker.
                (directory.total_bytes, directory.usable_bytes) = (-1, -1);
                directory.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|one| one.partition_index));
            }
            session.note(&response);
        }
    }
}

fn describe_cluster(session: &mut Session) {
    for version in 0..=2 {
        for (what, endpoint_type) in [("brokers", 1), ("controllers", 2), ("type 3", 3)] {
            if version == 0 && endpoint_type != 1 {
                continue;
            }
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations: true,
                endpoint_type,
                include_fenced_brokers: version >= 2,
            };
            exchange!(session, what, DescribeCluster version, &request => DescribeClusterResponse<'_>);
        }
    }
}

fn init_producer_id(session: &mut Session) {
    // The first request of all gets one while the first block of ids is on its way.
    while is_loading(session) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for version in 0..=5 {
        for (what, producer_id, producer_epoch) in [
            ("a new producer", -1, -1),
            ("a producer with an id and an epoch", 5, 3),
            ("an id without an epoch", 5, -1),
            ("an epoch without an id", -1, 3),
        ] {
            if version < 3 && (producer_id, producer_epoch) != (-1, -1) {
                continue;
            }
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: 60_000,
                producer_id,
                producer_epoch,
                ..Default::default()
            };
            exchange!(session, what, InitProducerId version, &request => InitProducerIdResponse);
        }
    }
    let request = InitProducerIdRequest {
        transactional_id: Some("".into()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    exchange!(session, "an empty transactional id", InitProducerId 5, &request => InitProducerIdResponse);
}

fn is_loading(session: &mut Session) -> bool {
    let request =
        InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() };
    let answer = session.client.ask(ApiKey::InitProducerId, 5, &request).expect("it is answered");
    let response: InitProducerIdResponse = body(&answer, ApiKey::InitProducerId, 5);
    response.error_code != 0
}
