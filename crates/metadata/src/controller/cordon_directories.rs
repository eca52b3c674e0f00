//! Which log directories of a broker get no new replicas (KIP-1066). Kafka learns of it by BrokerHeartbeat.
//!
//! Written: a BrokerRegistrationChangeRecord with all of them, also where there are none and the registration did not say so yet. At
//! a metadata.version that knows nothing of it, nothing is.

use ottla_base::{BrokerEpoch, BrokerId, Uuid};
use ottla_protocol::internal::metadata::{BrokerRegistrationChangeRecord, MetadataRecord};

use super::{Draft, Refusal};
use crate::image::{Image, METADATA_VERSION};
use crate::version::MetadataVersion;

/// Whether directories can be cordoned: a metadata.version is finalised that knows of it.
pub fn may_cordon(image: &Image) -> bool {
    MetadataVersion::new(image.feature(METADATA_VERSION)).is_some_and(MetadataVersion::has_cordoned_directories)
}

/// Asks that these directories of a broker, and no others, get no new replicas.
#[derive(Clone, Debug)]
pub struct CordonDirectories {
    /// The broker.
    pub id: BrokerId,
    /// The epoch of its registration.
    pub epoch: BrokerEpoch,
    /// The ids of the directories.
    pub directories: Vec<Uuid>,
}

impl CordonDirectories {
    pub(super) fn decide(mut self, draft: &mut Draft) -> Result<(), Refusal> {
        let broker = draft.registered(self.id, self.epoch)?;
        self.directories.sort_unstable();
        if broker.cordoned_log_dirs.as_ref() == Some(&self.directories) || !may_cordon(draft.image()) {
            return Ok(());
        }
        draft.push(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: self.id.0,
            broker_epoch: self.epoch.0,
            cordoned_log_dirs: Some(self.directories),
            ..BrokerRegistrationChangeRecord::default()
        }));
        Ok(())
    }
}
