//! OffsetFetch (key 9): how far a group has got. Reads only, so it is no input.

use super::Offsets;
use crate::group::GroupCoordinator;

impl GroupCoordinator {
    /// What a group has committed by now. A group that there is not has committed nothing.
    pub fn offsets(&self, group_id: &str) -> Offsets {
        self.group(group_id).map(|group| group.offsets.clone()).unwrap_or_default()
    }
}
