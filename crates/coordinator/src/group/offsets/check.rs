//! What is always true of offsets.

use super::Offsets;

impl Offsets {
    pub(in crate::group) fn check(&self) {
        let metadata_bytes: usize = self.iter().map(|(_, _, offset)| offset.metadata.len()).sum();
        assert_eq!(self.metadata_bytes, metadata_bytes, "what the group wrote to itself");
        for (topic, partitions) in self.topics() {
            assert!(!partitions.is_empty(), "topic {topic:?} without offsets");
        }
    }
}
