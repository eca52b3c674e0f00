//! A decision in the making.

use std::sync::Arc;

use ottla_base::{BrokerEpoch, BrokerId};
use ottla_protocol::error::ErrorCode;

use super::{MAX_RECORDS_PER_REQUEST, Refusal};
use crate::image::{Broker, Image};
use crate::records::{self, OwnedRecord};
use crate::version::MetadataVersion;

/// Records that are not yet written, and the image as it will be once they are.
pub(super) struct Draft {
    image: Image,
    /// The one that they are written for, though one of them may finalise another.
    metadata_version: MetadataVersion,
    records: Vec<OwnedRecord>,
}

impl Draft {
    pub(super) fn new(image: &Image) -> Self {
        Self { image: image.clone(), metadata_version: image.metadata_version(), records: Vec::new() }
    }

    /// The image with the records so far.
    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// Adds a record, with what there is of it at the metadata.version.
    pub(super) fn push(&mut self, record: OwnedRecord) {
        let Some(record) = records::fit(record, self.metadata_version) else { return };
        self.image.apply(self.image.end(), &record).expect("a decision follows from the image");
        self.records.push(record);
    }

    /// Adds records.
    pub(super) fn extend(&mut self, records: impl IntoIterator<Item = OwnedRecord>) {
        records.into_iter().for_each(|record| self.push(record));
    }

    /// Forgets all records, because the request only asked whether it would do or because they are too many.
    pub(super) fn discard(&mut self) {
        self.records.clear();
    }

    /// Refuses, and forgets all, where a user's request would write too much at once.
    pub(super) fn bound(&mut self) -> Result<(), Refusal> {
        if self.records.len() <= MAX_RECORDS_PER_REQUEST {
            return Ok(());
        }
        self.discard();
        Err(Refusal::new(ErrorCode::PolicyViolation, "Unable to perform excessively large batch operation."))
    }

    /// The registration of a broker that names its epoch.
    pub(super) fn registered(&self, id: BrokerId, epoch: BrokerEpoch) -> Result<Arc<Broker>, Refusal> {
        match self.image.broker(id) {
            None => {
                let message = format!("No broker registration found for broker id {id}");
                Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message))
            }
            Some(broker) if broker.epoch != epoch => {
                let message = format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch);
                Err(Refusal::new(ErrorCode::StaleBrokerEpoch, message))
            }
            Some(broker) => Ok(Arc::clone(broker)),
        }
    }

    pub(super) fn into_records(self) -> Vec<OwnedRecord> {
        self.records
    }
}
