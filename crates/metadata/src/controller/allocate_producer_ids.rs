//! AllocateProducerIds: a block of ids that one broker hands out to its producers (KIP-730).

use ottla_base::{BrokerEpoch, BrokerId, ProducerId};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{MetadataRecord, ProducerIdsRecord};

use super::{Draft, Refusal};

/// How many ids a block holds.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Asks for a block.
#[derive(Clone, Debug)]
pub struct AllocateProducerIds {
    /// Who asks.
    pub broker: BrokerId,
    /// The epoch of its registration.
    pub epoch: BrokerEpoch,
}

/// Ids for one broker alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: ProducerId,
    /// How many.
    pub count: i64,
}

impl AllocateProducerIds {
    pub(super) fn decide(self, draft: &mut Draft) -> Result<ProducerIdBlock, Refusal> {
        draft.registered(self.broker, self.epoch)?;
        let first = draft.image().next_producer_id();
        let Some(next) = first.0.checked_add(PRODUCER_ID_BLOCK) else {
            let message =
                "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit";
            return Err(Refusal::new(ErrorCode::UnknownServerError, message));
        };
        draft.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: self.broker.0,
            broker_epoch: self.epoch.0,
            next_producer_id: next,
        }));
        Ok(ProducerIdBlock { first, count: PRODUCER_ID_BLOCK })
    }
}
