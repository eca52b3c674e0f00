//! A broker stops, or is gone: it leaves all ISRs, and others lead what it led.
//!
//! Written for a broker that stops in order: BrokerRegistrationChangeRecord (in controlled shutdown), the changes of its
//! partitions, BrokerRegistrationChangeRecord (fenced). For one that is gone: the changes, then the fencing.

use ottla_base::{BrokerEpoch, BrokerId};
use ottla_protocol::internal::metadata::{BrokerRegistrationChangeRecord, MetadataRecord};

use super::elections::{Event, change_partitions};
use super::{Draft, Refusal};
use crate::image::Broker;

/// Asks that a broker leads nothing.
#[derive(Clone, Debug)]
pub struct FenceBroker {
    /// The broker.
    pub id: BrokerId,
    /// The epoch of its registration.
    pub epoch: BrokerEpoch,
    /// Whether it stops in order, and not by failing to be heard of.
    pub controlled_shutdown: bool,
}

impl FenceBroker {
    pub(super) fn decide(self, draft: &mut Draft) -> Result<(), Refusal> {
        let broker = draft.registered(self.id, self.epoch)?;
        if broker.fenced {
            return Ok(());
        }
        if self.controlled_shutdown && !broker.in_controlled_shutdown {
            draft.push(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                in_controlled_shutdown: 1,
                ..change_of(&broker)
            }));
        }
        fence(draft, &broker);
        Ok(())
    }
}

/// Takes everything from a broker and fences it.
pub(super) fn fence(draft: &mut Draft, broker: &Broker) {
    change_partitions(draft, broker.id, Event::Leaves);
    let fenced = BrokerRegistrationChangeRecord { fenced: 1, ..change_of(broker) };
    draft.push(MetadataRecord::BrokerRegistrationChange(fenced));
}

fn change_of(broker: &Broker) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch.0,
        ..BrokerRegistrationChangeRecord::default()
    }
}
