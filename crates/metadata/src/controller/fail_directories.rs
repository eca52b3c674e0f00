//! Log directories of a broker have failed: it leads nothing that lies in them, until it registers with them again.
//!
//! Written: the changes of the partitions whose replica lies there, then a BrokerRegistrationChangeRecord with the
//! directories that are left. Kafka learns of it by BrokerHeartbeat (KIP-858).

use ottla_base::{BrokerEpoch, BrokerId, Uuid};
use ottla_protocol::internal::metadata::{BrokerRegistrationChangeRecord, MetadataRecord};

use super::elections::leave_directories;
use super::fence_broker::fence;
use super::{Draft, Refusal};

/// Asks that a broker leads nothing in some of its directories.
#[derive(Clone, Debug)]
pub struct FailDirectories {
    /// The broker.
    pub id: BrokerId,
    /// The epoch of its registration.
    pub epoch: BrokerEpoch,
    /// The ids of the directories.
    pub directories: Vec<Uuid>,
}

impl FailDirectories {
    pub(super) fn decide(self, draft: &mut Draft) -> Result<(), Refusal> {
        let broker = draft.registered(self.id, self.epoch)?;
        let (failed, online): (Vec<Uuid>, Vec<Uuid>) =
            broker.log_dirs.iter().partition(|directory| self.directories.contains(directory));
        if failed.is_empty() {
            return Ok(());
        }
        if online.is_empty() {
            // It has nothing to store in; an empty list would say that none has changed.
            if !broker.fenced {
                fence(draft, &broker);
            }
            return Ok(());
        }
        leave_directories(draft, self.id, &failed);
        draft.push(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: self.id.0,
            broker_epoch: self.epoch.0,
            log_dirs: online,
            ..BrokerRegistrationChangeRecord::default()
        }));
        Ok(())
    }
}
