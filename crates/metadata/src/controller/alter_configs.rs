//! AlterConfigs and IncrementalAlterConfigs: configs of topics, brokers, groups and subscriptions to clients' metrics.
//!
//! Written for each resource: a ConfigRecord for each key whose value changes, then a ClearElrRecord where
//! `min.insync.replicas` is among them (KIP-966). For brokers also keys that keep their value are written: brokers then read
//! files again that the value names. Resources are decided one by one; one that is refused does not hold up the others.
//!
//! Whether a key of a broker is dynamic, and its value possible there, the broker has checked before it asks.
//!
//! Differs from Kafka: an operation that does not exist is an INVALID_REQUEST with words; the broker lets none pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord};

use super::{Draft, Refusal, kept, may_cordon, min_in_sync_replicas};
use crate::image::{ConfigResource, Image, ResourceKind, bytes_of_configs};
use crate::names;
use crate::records::OwnedRecord;
use crate::settings::group::GroupLimits;
use crate::settings::{self, Kind, Setting};

/// The longest value, in bytes: strings in records have 16-bit lengths.
pub const MAX_CONFIG_VALUE: usize = 32_767;

const CORDONED: &str = "cordoned.log.dirs";

/// Asks for changes of configs.
#[derive(Clone, Debug)]
pub struct AlterConfigs {
    /// Of which resources.
    pub resources: Vec<ResourceAlteration>,
    /// Whether to answer only what would happen.
    pub validate_only: bool,
    /// What groups may be set to.
    pub group_limits: Arc<GroupLimits>,
}

/// The changes of one resource.
#[derive(Clone, Debug)]
pub struct ResourceAlteration {
    /// Its kind, as the request has it.
    pub resource_type: i8,
    /// Its name.
    pub name: String,
    /// What changes.
    pub change: ResourceChange,
}

/// What changes of a resource's configs.
#[derive(Clone, Debug)]
pub enum ResourceChange {
    /// These are all its configs from now on (AlterConfigs).
    Replace(Vec<(String, Option<String>)>),
    /// These change, the others stay (IncrementalAlterConfigs, KIP-339).
    Edit(Vec<ConfigEdit>),
}

/// One change.
#[derive(Clone, Debug)]
pub struct ConfigEdit {
    /// The config.
    pub key: String,
    /// What to do, as the request has it; see [`ConfigOperation`].
    pub operation: i8,
    /// With what.
    pub value: Option<String>,
}

/// What IncrementalAlterConfigs can do to a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOperation {
    /// Gives it a value.
    Set,
    /// Takes its value away.
    Delete,
    /// Adds items to a list.
    Append,
    /// Takes items out of a list.
    Subtract,
}

/// What became of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct AlteredResource {
    /// Its kind, as the request had it.
    pub resource_type: i8,
    /// Its name.
    pub name: String,
    /// Whether it has the configs, or why not.
    pub result: Result<(), Refusal>,
}

type NewValues<'a> = Vec<(&'a str, Option<String>)>;

impl AlterConfigs {
    pub(super) fn decide(self, draft: &mut Draft, broker_settings: &[Setting]) -> Vec<AlteredResource> {
        let mut seen = BTreeSet::new();
        let keys = self.resources.iter().map(|resource| (resource.resource_type, resource.name.as_str()));
        let repeated: BTreeSet<_> = keys.filter(|key| !seen.insert(*key)).collect();
        let mut results = Vec::with_capacity(self.resources.len());
        for resource in &self.resources {
            let result = if repeated.contains(&(resource.resource_type, resource.name.as_str())) {
                Err(invalid_request("Each resource must appear at most once."))
            } else {
                resource.plan(draft.image(), broker_settings, &self.group_limits).map(|records| draft.extend(records))
            };
            results.push(AlteredResource {
                resource_type: resource.resource_type,
                name: resource.name.clone(),
                result,
            });
        }
        if let Err(refusal) = draft.bound() {
            results.iter_mut().for_each(|altered| altered.result = Err(refusal.clone()));
        }
        if self.validate_only {
            draft.discard();
        }
        results
    }
}

impl ResourceAlteration {
    fn plan(
        &self,
        image: &Image,
        broker_settings: &[Setting],
        group_limits: &GroupLimits,
    ) -> Result<Vec<OwnedRecord>, Refusal> {
        self.change.check_keys()?;
        let resource = ConfigResource { kind: self.kind()?, name: self.name.clone() };
        let nothing = BTreeMap::new();
        let present = image.config(&resource).map_or(&nothing, |configs| &**configs);
        let values = self.change.new_values(present, |key| find_setting(resource.kind, key, broker_settings))?;
        // As in Kafka, what cannot be done to a value is said first.
        self.check_name(resource.kind)?;
        let after = with(present, &values)?;
        let invalid = |message| Refusal::new(ErrorCode::InvalidConfig, message);
        match resource.kind {
            ResourceKind::Topic => settings::topic::validate_all(&after).map_err(invalid)?,
            ResourceKind::Group => settings::group::validate_all(&after, group_limits).map_err(invalid)?,
            ResourceKind::ClientMetrics => {
                settings::client_metrics::validate_all(&after)
                    .map_err(|(code, message)| Refusal::new(code, message))?;
            }
            ResourceKind::Broker if values.iter().any(|(key, _)| *key == CORDONED) && !may_cordon(image) => {
                return Err(invalid(format!(
                    "The {CORDONED} configuration value cannot be set because it requires metadata.version >= 4.3-IV0"
                )));
            }
            ResourceKind::Broker | ResourceKind::BrokerLogger => {}
        }
        // As in Kafka, what is wrong with the values is said first.
        if resource.kind == ResourceKind::Topic && image.topic(&resource.name).is_none() {
            let message = format!("The topic '{}' does not exist.", resource.name);
            return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
        }
        let bytes_of = |configs| bytes_of_configs(&resource, configs);
        kept::check_configs(image, resource.kind, bytes_of(present), bytes_of(&after))?;
        let always = resource.kind == ResourceKind::Broker;
        let written = values.into_iter().filter(|(key, value)| always || present.get(*key) != value.as_ref());
        let written: NewValues<'_> = written.collect();
        let changes = written.iter().map(|(key, value)| (*key, value.as_deref()));
        min_in_sync_replicas::check(image, &resource, changes)?;
        Ok(records(image, &resource, written))
    }

    fn kind(&self) -> Result<ResourceKind, Refusal> {
        let kind = ResourceKind::from_i8(self.resource_type).filter(|kind| *kind != ResourceKind::BrokerLogger);
        kind.ok_or_else(|| invalid_request(format!("Unknown resource type {}", self.resource_type)))
    }

    fn check_name(&self, kind: ResourceKind) -> Result<(), Refusal> {
        let name = &self.name;
        match kind {
            ResourceKind::Topic if name.is_empty() => Err(invalid_request("Default topic resources are not allowed.")),
            ResourceKind::Topic => {
                names::validate(name).map_err(|message| Refusal::new(ErrorCode::InvalidTopicException, message))
            }
            ResourceKind::Broker if !name.is_empty() && name.parse::<i32>().is_err() => {
                Err(invalid_request(format!("Node id must be an integer, but it is: {name}")))
            }
            ResourceKind::Group if name.is_empty() => Err(invalid_request("Default group resources are not allowed.")),
            ResourceKind::ClientMetrics if name.is_empty() => Err(invalid_request("Subscription name can't be empty")),
            ResourceKind::Broker | ResourceKind::Group | ResourceKind::ClientMetrics | ResourceKind::BrokerLogger => {
                Ok(())
            }
        }
    }
}

impl ResourceChange {
    /// All configs that a resource would have after the change.
    ///
    /// # Errors
    /// The change contradicts itself, or asks for the impossible.
    pub fn applied_to<'s>(
        &self,
        present: &BTreeMap<String, String>,
        find_setting: impl Fn(&str) -> Option<&'s Setting>,
    ) -> Result<BTreeMap<String, String>, Refusal> {
        self.check_keys()?;
        with(present, &self.new_values(present, find_setting)?)
    }

    /// Whether the request contradicts itself, whatever it is about.
    ///
    /// # Errors
    /// It does.
    pub fn check_keys(&self) -> Result<(), Refusal> {
        let delete = ConfigOperation::Delete as i8;
        let keys: Vec<(&String, bool)> = match self {
            Self::Replace(configs) => configs.iter().map(|(key, value)| (key, value.is_none())).collect(),
            Self::Edit(edits) => {
                edits.iter().map(|edit| (&edit.key, edit.value.is_none() && edit.operation != delete)).collect()
            }
        };
        if keys.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len() != keys.len() {
            return Err(invalid_request("Error due to duplicate config keys"));
        }
        let without_value: Vec<_> = keys.iter().filter(|(_, lacks)| *lacks).map(|(key, _)| key.as_str()).collect();
        if without_value.is_empty() {
            return Ok(());
        }
        Err(invalid_request(format!("Null value not supported for : {}", without_value.join(", "))))
    }

    /// The value of each key that the change names, or takes away.
    fn new_values<'a, 's>(
        &'a self,
        present: &'a BTreeMap<String, String>,
        find_setting: impl Fn(&str) -> Option<&'s Setting>,
    ) -> Result<NewValues<'a>, Refusal> {
        match self {
            Self::Replace(configs) => {
                let given: BTreeSet<_> = configs.iter().map(|(key, _)| key).collect();
                let taken_away = present.keys().filter(|key| !given.contains(key)).map(|key| (key.as_str(), None));
                Ok(configs.iter().map(|(key, value)| (key.as_str(), value.clone())).chain(taken_away).collect())
            }
            Self::Edit(edits) => {
                let new_value = |edit: &'a ConfigEdit| {
                    let value = edit.new_value(present.get(&edit.key), find_setting(&edit.key))?;
                    Ok((edit.key.as_str(), value))
                };
                edits.iter().map(new_value).collect()
            }
        }
    }
}

impl ConfigEdit {
    fn new_value(&self, present: Option<&String>, setting: Option<&Setting>) -> Result<Option<String>, Refusal> {
        let value = self.value.clone().unwrap_or_default();
        let operation = ConfigOperation::from_i8(self.operation);
        let operation =
            operation.ok_or_else(|| invalid_request(format!("Unknown operations type {}", self.operation)))?;
        let name = match operation {
            ConfigOperation::Set => return Ok(Some(value)),
            ConfigOperation::Delete => return Ok(None),
            ConfigOperation::Append => "APPEND",
            ConfigOperation::Subtract => "SUBTRACT",
        };
        let Some(setting) = setting.filter(|setting| setting.kind == Kind::List) else {
            let message = format!("Can't {name} to key {} because its type is not LIST.", self.key);
            return Err(Refusal::new(ErrorCode::InvalidConfig, message));
        };
        let mut items = items(present.map_or(setting.default.unwrap_or_default(), String::as_str));
        if operation == ConfigOperation::Subtract {
            let less: BTreeSet<_> = value.split(',').map(str::trim).collect();
            items.retain(|item| !less.contains(item));
        } else {
            let mut known: BTreeSet<_> = items.iter().copied().collect();
            items.extend(value.split(',').map(str::trim).filter(|item| known.insert(item)));
        }
        Ok(Some(items.join(",")))
    }
}

impl ConfigOperation {
    /// From the number that requests carry.
    pub fn from_i8(number: i8) -> Option<Self> {
        [Self::Set, Self::Delete, Self::Append, Self::Subtract].into_iter().find(|known| *known as i8 == number)
    }
}

/// The configs with new values.
fn with(present: &BTreeMap<String, String>, values: &NewValues<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut after = present.clone();
    for (key, value) in values {
        match value {
            Some(value) => {
                check_length(value)?;
                after.insert((*key).to_owned(), value.clone());
            }
            None => drop(after.remove(*key)),
        }
    }
    Ok(after)
}

/// Refuses a value that no record can hold.
pub(super) fn check_length(value: &str) -> Result<(), Refusal> {
    if value.len() <= MAX_CONFIG_VALUE {
        return Ok(());
    }
    let message = "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.";
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}

fn records(image: &Image, resource: &ConfigResource, written: NewValues<'_>) -> Vec<OwnedRecord> {
    let clears = min_in_sync_replicas::clears_eligible(image, written.iter().map(|(key, _)| *key));
    let config = |(key, value): (&str, Option<String>)| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: resource.kind.as_i8(),
            resource_name: resource.name.clone().into(),
            name: key.to_owned().into(),
            value: value.map(Into::into),
        })
    };
    let mut records: Vec<_> = written.into_iter().map(config).collect();
    if clears {
        // The topic, or with the cluster's default the empty name, which means all topics.
        records.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name: resource.name.clone().into() }));
    }
    records
}

fn find_setting<'a>(kind: ResourceKind, key: &str, broker_settings: &'a [Setting]) -> Option<&'a Setting> {
    match kind {
        ResourceKind::Topic => settings::topic::find(key).map(|row| &row.setting),
        // As in Kafka, whose controller knows no types of those: nothing can be appended to them.
        ResourceKind::Group | ResourceKind::ClientMetrics => None,
        ResourceKind::Broker | ResourceKind::BrokerLogger => broker_settings.iter().find(|setting| setting.name == key),
    }
}

/// The items of a list.
fn items(value: &str) -> Vec<&str> {
    if value.trim().is_empty() { Vec::new() } else { value.split(',').map(str::trim).collect() }
}

fn invalid_request(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}
