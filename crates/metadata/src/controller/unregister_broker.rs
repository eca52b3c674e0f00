//! UnregisterBroker (KIP-746): a broker that is gone for good. Written: the changes of its partitions where it was not
//! fenced before, then the UnregisterBrokerRecord. Its id stays among the replicas of its partitions.

use ottla_base::BrokerId;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{MetadataRecord, UnregisterBrokerRecord};

use super::fence_broker::fence;
use super::{Draft, Refusal};

/// Asks that a broker is forgotten.
#[derive(Clone, Debug)]
pub struct UnregisterBroker {
    /// Which.
    pub id: BrokerId,
}

impl UnregisterBroker {
    pub(super) fn decide(self, draft: &mut Draft) -> Result<(), Refusal> {
        let Some(broker) = draft.image().broker(self.id).cloned() else {
            let message = format!("Broker ID {} is not currently registered", self.id);
            return Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message));
        };
        if !broker.fenced {
            fence(draft, &broker);
        }
        draft.push(MetadataRecord::UnregisterBroker(UnregisterBrokerRecord {
            broker_id: broker.id.0,
            broker_epoch: broker.epoch.0,
        }));
        Ok(())
    }
}
