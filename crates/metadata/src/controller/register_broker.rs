//! RegisterBroker: a broker's process says who it is and where it can be reached (KIP-631). It begins fenced.
//!
//! Written: where an earlier process of the same broker was not fenced, the changes that fencing it takes; where it did not
//! end cleanly, the changes of partitions that counted on its log; then the RegisterBrokerRecord.
//!
//! Differs from Kafka: no sessions are kept yet, so a registration is never answered with DUPLICATE_BROKER_REGISTRATION: the
//! host vouches that the earlier process is gone.

use std::collections::{BTreeMap, BTreeSet};

use ottla_base::{BrokerEpoch, BrokerId, Uuid};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{MetadataRecord, RegisterBrokerRecord, register_broker_record};

use super::elections::{Event, change_partitions};
use super::fence_broker::fence;
use super::{Draft, Refusal};
use crate::image::{Endpoint, FeatureRange, Image, METADATA_VERSION};
use crate::records::OwnedRecord;

/// Directory ids below this mean something else than a directory.
const RESERVED_DIRECTORY_IDS: u128 = 100;

/// Asks for a registration.
#[derive(Clone, Debug)]
pub struct RegisterBroker {
    /// The broker's `node.id`.
    pub id: BrokerId,
    /// The cluster it believes to belong to.
    pub cluster_id: String,
    /// Drawn by the process when it started.
    pub incarnation_id: Uuid,
    /// Its advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// The features it can speak.
    pub features: BTreeMap<String, FeatureRange>,
    /// Its `broker.rack`.
    pub rack: Option<String>,
    /// Its log directories.
    pub log_dirs: Vec<Uuid>,
    /// The epoch in which it last ended cleanly; absent after a crash.
    pub clean_epoch: Option<BrokerEpoch>,
}

impl RegisterBroker {
    pub(super) fn decide(self, draft: &mut Draft) -> Result<BrokerEpoch, Refusal> {
        self.check(draft.image())?;
        let earlier = draft.image().broker(self.id).cloned();
        let amends = earlier.as_ref().filter(|broker| broker.incarnation_id == self.incarnation_id);
        // Its offset, or that of the changes right before it: either way no other registration has it.
        let epoch = amends.map_or(BrokerEpoch(draft.image().end().0), |broker| broker.epoch);
        let fenced = amends.is_none_or(|broker| broker.fenced);
        let in_controlled_shutdown = amends.is_some_and(|broker| broker.in_controlled_shutdown);
        if let (Some(earlier), None) = (&earlier, amends) {
            if !earlier.fenced {
                fence(draft, earlier);
            }
            if self.clean_epoch != Some(earlier.epoch) {
                change_partitions(draft, self.id, Event::LostItsTail);
            }
        }
        draft.push(self.record(epoch, fenced, in_controlled_shutdown));
        Ok(epoch)
    }

    fn check(&self, image: &Image) -> Result<(), Refusal> {
        if self.cluster_id != image.cluster_id() {
            let message = format!("Expected cluster ID {}, but got cluster ID {}", image.cluster_id(), self.cluster_id);
            return Err(Refusal::new(ErrorCode::InconsistentClusterId, message));
        }
        self.check_directories(image)?;
        if !self.features.contains_key(METADATA_VERSION) {
            let message = "Request features do not contain 'metadata.version'";
            return Err(Refusal::new(ErrorCode::InvalidRegistration, message));
        }
        for (feature, level) in image.features() {
            let range = self.features.get(feature).copied().unwrap_or(FeatureRange { min: 0, max: 0 });
            if level < range.min || level > range.max {
                let message = format!(
                    "Unable to register because the broker does not support finalized version {level} of {feature}. The \
                     broker wants a version between {} and {}, inclusive.",
                    range.min, range.max
                );
                return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
            }
        }
        Ok(())
    }

    fn check_directories(&self, image: &Image) -> Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
        if self.log_dirs.is_empty() {
            return refuse("No directories specified in request".to_owned());
        }
        if self.log_dirs.iter().any(|directory| directory.0 < RESERVED_DIRECTORY_IDS) {
            return refuse("Reserved directory ID in request".to_owned());
        }
        let distinct: BTreeSet<_> = self.log_dirs.iter().collect();
        if distinct.len() != self.log_dirs.len() {
            return refuse("Duplicate directory ID in request".to_owned());
        }
        for other in image.brokers().filter(|other| other.id != self.id) {
            if let Some(directory) = other.log_dirs.iter().find(|directory| distinct.contains(directory)) {
                return refuse(format!("Broker {} is already registered with directory {directory}", other.id));
            }
        }
        Ok(())
    }

    fn record(self, epoch: BrokerEpoch, fenced: bool, in_controlled_shutdown: bool) -> OwnedRecord {
        let endpoint = |endpoint: Endpoint| register_broker_record::EndPoint {
            name: endpoint.listener.into(),
            host: endpoint.host.into(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        };
        let feature = |(name, range): (String, FeatureRange)| register_broker_record::Feature {
            name: name.into(),
            min_supported_version: range.min,
            max_supported_version: range.max,
        };
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: self.id.0,
            is_migrating_zk_broker: false,
            incarnation_id: self.incarnation_id,
            broker_epoch: epoch.0,
            end_points: self.endpoints.into_iter().map(endpoint).collect(),
            features: self.features.into_iter().map(feature).collect(),
            rack: self.rack.map(Into::into),
            fenced,
            in_controlled_shutdown,
            log_dirs: self.log_dirs,
            cordoned_log_dirs: None,
        })
    }
}
