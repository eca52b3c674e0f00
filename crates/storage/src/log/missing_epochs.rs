//! Leader epochs that their checkpoint lacks, found again in the batches.
//!
//! ```text
//!   batches   3 3 3 3 3 4 4 4 4 4 4 4 4 7 7 7 7      known: 3, from the first on
//!               ^       ^       ^                    halving finds where 4 begins, and then where 7 does
//! ```
//!
//! A new epoch is written with the next flush, and the process may be killed before. Epochs never fall from batch to batch, so
//! that few batches have to be read, wherever in the log the last flush was.

use ottla_base::{LeaderEpoch, Offset};

use crate::epochs::LeaderEpochs;
use crate::error::Result;
use crate::segment::{BatchAt, Segment};

/// Adds the epochs that are later than those in `epochs`, from the segments of a log, which are all there.
pub(super) fn find_epochs(segments: &[&dyn Segment], epochs: &mut LeaderEpochs) -> Result<()> {
    let Some(with_last) = segments.iter().rev().find(|segment| segment.size() > 0) else { return Ok(()) };
    let Some(last) = with_last.batch_near(Offset(i64::MAX))? else { return Ok(()) };
    loop {
        let known = epochs.latest().unwrap_or(LeaderEpoch::NONE);
        if last.leader_epoch() <= known {
            return Ok(());
        }
        // Batches before `low` are of no later epoch, and the first one from `high` on is.
        let mut first_of_later = last.clone();
        let mut low = epochs.entries().last().map_or(segments[0].base_offset(), |start| start.start_offset);
        let mut high = last.base_offset();
        while low < high {
            let middle = Offset(low.0 + (high.0 - low.0) / 2);
            let batch = batch_from(segments, middle)?.unwrap_or_else(|| last.clone());
            if batch.leader_epoch() > known {
                high = middle.min(batch.base_offset());
                first_of_later = batch;
            } else {
                low = batch.last_offset().plus(1);
            }
        }
        epochs.assign(first_of_later.leader_epoch(), first_of_later.base_offset());
    }
}

/// The first batch that ends with `offset` or later.
fn batch_from(segments: &[&dyn Segment], offset: Offset) -> Result<Option<BatchAt>> {
    let before = segments.partition_point(|segment| segment.base_offset() <= offset);
    for segment in &segments[before.saturating_sub(1)..] {
        if let Some(batch) = segment.batch_near(offset)?.filter(|batch| batch.last_offset() >= offset) {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}
