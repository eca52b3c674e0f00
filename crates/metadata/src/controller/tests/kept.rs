//! How much configs and quotas may take.

use ottla_protocol::internal::metadata::ConfigRecord;

use super::*;
use crate::controller::kept::OTHERS_MAX_BYTES;
use crate::image::ResourceKind;
use crate::settings::client_metrics::{SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX_BYTES};

const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const REFUSED: Option<ErrorCode> = Some(ErrorCode::PolicyViolation);

/// Sets a config, or takes it away; says why it is refused.
fn set(cluster: &mut Cluster, kind: i8, name: &str, key: &str, value: Option<&str>) -> Option<ErrorCode> {
    let operation = if value.is_some() { ConfigOperation::Set } else { ConfigOperation::Delete };
    let edit = ConfigEdit { key: key.to_owned(), operation: operation as i8, value: value.map(str::to_owned) };
    let change = ResourceChange::Edit(vec![edit]);
    let resources = vec![ResourceAlteration { resource_type: kind, name: name.to_owned(), change }];
    let alter = AlterConfigs { resources, validate_only: false, group_limits: group_limits() };
    let (Answer::AlterConfigs(results), _) = cluster.run(Command::AlterConfigs(alter)) else {
        panic!("it is answered")
    };
    results.into_iter().find_map(|altered| altered.result.err()).map(|refusal| refusal.error)
}

fn set_quota(cluster: &mut Cluster, user: &str, value: Option<f64>) -> Option<Refusal> {
    let changes = vec![QuotaChange { key: "producer_byte_rate".to_owned(), value }];
    let entries = vec![QuotaAlteration { entity: vec![("user".to_owned(), Some(user.to_owned()))], changes }];
    let alter = AlterClientQuotas { entries, validate_only: false, unresolved: [].into() };
    let (Answer::AlterClientQuotas(results), _) = cluster.run(Command::AlterClientQuotas(alter)) else {
        panic!("it is answered")
    };
    results.into_iter().find_map(|altered| altered.result.err())
}

#[test]
fn quotas_of_entities_are_bounded_in_all() {
    let mut cluster = Cluster::of_brokers([1]);
    let user = |number: usize| format!("{number:030000}");
    let taken = (0..1000).take_while(|&number| set_quota(&mut cluster, &user(number), Some(1.0)).is_none()).count();
    let bytes = 30_000 + 192 + 64 + "user".len() + 64 + "producer_byte_rate".len();
    assert_eq!(taken, OTHERS_MAX_BYTES / bytes);
    let message = "All client quotas together may not take more than 16777216 bytes. Remove some first.";
    assert_eq!(
        set_quota(&mut cluster, &user(taken), Some(1.0)),
        Some(Refusal::new(ErrorCode::PolicyViolation, message))
    );
    assert_eq!(set_quota(&mut cluster, &user(0), Some(2.0)), None, "what is there may change");
    assert_eq!(set_quota(&mut cluster, &user(0), None), None);
    assert_eq!(set_quota(&mut cluster, &user(taken), Some(1.0)), None, "there is room again");
}

#[test]
fn configs_of_groups_are_bounded_in_all_however_small_they_are() {
    let mut cluster = Cluster::of_brokers([1]);
    let key = "consumer.session.timeout.ms";
    let group = |number: usize| format!("{number:030000}");
    let taken = |cluster: &mut Cluster| {
        (0..1000).take_while(|&number| set(cluster, GROUP, &group(number), key, Some("50000")).is_none()).count()
    };
    let bytes = 30_000 + 192 + 64 + key.len() + "50000".len();
    assert_eq!(taken(&mut cluster), OTHERS_MAX_BYTES / bytes);
    assert_eq!(set(&mut cluster, GROUP, &group(999), key, Some("50000")), REFUSED);
    assert_eq!(set(&mut cluster, GROUP, &group(0), key, None), None);
    assert_eq!(set(&mut cluster, GROUP, &group(999), key, Some("50000")), None);
}

#[test]
fn subscriptions_to_metrics_are_bounded_in_number_and_size() {
    let mut cluster = Cluster::of_brokers([1]);
    for number in 0..SUBSCRIPTIONS_MAX {
        assert_eq!(set(&mut cluster, CLIENT_METRICS, &format!("s{number}"), "metrics", Some("a.")), None);
    }
    assert_eq!(set(&mut cluster, CLIENT_METRICS, "one more", "metrics", Some("a.")), REFUSED);
    let large = "a".repeat(30_000);
    let sizes =
        ["s0", "s1", "s2", "s3", "s4"].map(|name| set(&mut cluster, CLIENT_METRICS, name, "metrics", Some(&large)));
    assert_eq!(sizes, [None, None, None, REFUSED, REFUSED], "{SUBSCRIPTIONS_MAX_BYTES} bytes");
    assert_eq!(set(&mut cluster, CLIENT_METRICS, "s0", "metrics", None), None);
    assert_eq!(set(&mut cluster, CLIENT_METRICS, "one more", "metrics", Some("a.")), None);
}

#[test]
fn a_log_that_holds_more_is_read_and_can_be_cleared_up() {
    let mut cluster = Cluster::of_brokers([1]);
    for number in 0..2 * SUBSCRIPTIONS_MAX {
        let record = MetadataRecord::Config(ConfigRecord {
            resource_type: CLIENT_METRICS,
            resource_name: format!("s{number}").into(),
            name: "metrics".into(),
            value: Some("a".repeat(30_000).into()),
        });
        cluster.controller.replay(cluster.controller.image().end(), &record);
    }
    cluster.controller.check();
    assert_eq!(cluster.image().kept_configs(ResourceKind::ClientMetrics).count, 2 * SUBSCRIPTIONS_MAX);
    assert_eq!(set(&mut cluster, CLIENT_METRICS, "s0", "interval.ms", Some("1000")), REFUSED, "it would grow");
    assert_eq!(set(&mut cluster, CLIENT_METRICS, "s0", "metrics", Some("a.")), None, "it shrinks");
    assert_eq!(set(&mut cluster, CLIENT_METRICS, "s0", "metrics", None), None);
}
