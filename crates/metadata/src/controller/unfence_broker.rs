//! A registered broker has caught up with the metadata log and may lead: what its first heartbeats ask for.
//!
//! Written: a BrokerRegistrationChangeRecord, then the elections that its return makes possible.

use ottla_base::{BrokerEpoch, BrokerId};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{BrokerRegistrationChangeRecord, MetadataRecord};

use super::elections::{Event, change_partitions};
use super::{Draft, Refusal};

/// Asks that a broker may lead.
#[derive(Clone, Debug)]
pub struct UnfenceBroker {
    /// The broker.
    pub id: BrokerId,
    /// The epoch of its registration.
    pub epoch: BrokerEpoch,
}

impl UnfenceBroker {
    pub(super) fn decide(self, draft: &mut Draft) -> Result<(), Refusal> {
        let broker = draft.registered(self.id, self.epoch)?;
        if broker.in_controlled_shutdown {
            let message = format!("Broker {} is shutting down: only a new registration brings it back.", self.id);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        if !broker.fenced {
            return Ok(());
        }
        draft.push(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: self.id.0,
            broker_epoch: self.epoch.0,
            fenced: -1,
            ..BrokerRegistrationChangeRecord::default()
        }));
        change_partitions(draft, self.id, Event::Returns);
        Ok(())
    }
}
