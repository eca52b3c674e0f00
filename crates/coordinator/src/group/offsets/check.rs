//! What is always true of offsets.

use super::Offsets;

impl Offsets {
    pub(in crate::group) fn check(&self) {
        for (topic, partitions) in &self.topics {
            assert!(!partitions.is_empty(), "topic {topic:?} without offsets");
        }
    }
}
