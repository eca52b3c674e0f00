//! Records of the metadata log as the controller writes them.

use ottla_protocol::internal::metadata::MetadataRecord;

/// A record that owns its strings.
pub type OwnedRecord = MetadataRecord<'static>;

/// The version to write a record in: what Kafka's metadata.version 4.4-IV2 asks for. A change of a broker's registration
/// is written in the lowest version that has its fields.
pub fn version(record: &MetadataRecord<'_>) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => 4,
        MetadataRecord::BrokerRegistrationChange(change) => {
            if change.cordoned_log_dirs.is_some() {
                3
            } else if !change.log_dirs.is_empty() {
                2
            } else {
                i16::from(change.in_controlled_shutdown != 0)
            }
        }
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => 2,
        _ => 0,
    }
}
