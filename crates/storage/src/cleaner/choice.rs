//! How much of a log can be compacted, and whether it is time for that.
//!
//! ```text
//!   clean                        cleanable              not yet
//!   [segment] [segment] [ segment ] [segment] [segment] [segment] [ active ....]
//!                          ^ first dirty                ^ end: the last segments that begin at or before the last
//!                                                         stable offset, hold young records or grow
//! ```
//!
//! The log whose part of dirty bytes is the largest is compacted first.

use ottla_base::{Offset, Timestamp};

/// The topic settings of compaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionSettings {
    /// `min.cleanable.dirty.ratio`: it is time when more than this part of the log is dirty.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records are left alone.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: it is time when a dirty record is older.
    pub max_compaction_lag_ms: Option<i64>,
    /// `delete.retention.ms`: how long a deleted key stays after it was found, and a marker.
    pub delete_retention_ms: i64,
}

/// A segment, as far as choosing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The offset that names it.
    pub base_offset: Offset,
    /// The bytes of its log file.
    pub size_bytes: u32,
    /// The largest timestamp of its records; only looked at where `min.compaction.lag.ms` is more than 0.
    pub largest_timestamp: Timestamp,
    /// The largest timestamp of its first batch; only looked at with `max.compaction.lag.ms`.
    pub first_timestamp: Timestamp,
}

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The first offset that may be read.
    pub log_start: Offset,
    /// After the last record.
    pub log_end: Offset,
    /// The base offset of the segment that grows.
    pub active: Offset,
    /// The first offset that readers of committed records do not see.
    pub last_stable: Offset,
}

/// What there is to compact in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirt {
    /// The first offset that was not compacted with those before it.
    pub first_dirty: Offset,
    /// Compaction goes no further: a segment begins here.
    pub end: Offset,
    /// The bytes before the first dirty offset.
    pub clean_bytes: u64,
    /// The bytes between the two.
    pub cleanable_bytes: u64,
    /// For how long a dirty record has been older than `max.compaction.lag.ms`.
    pub overdue_ms: i64,
    /// The checkpoint was that of another log: its offset is not in this one.
    pub is_checkpoint_wrong: bool,
}

impl Dirt {
    /// What there is in a log with these sealed segments, in order, that was compacted up to `checkpoint`.
    pub fn of(
        sealed: &[Piece],
        ends: Ends,
        checkpoint: Option<Offset>,
        settings: &CompactionSettings,
        now_ms: Timestamp,
    ) -> Self {
        let known = checkpoint.filter(|offset| (ends.log_start..=ends.log_end).contains(offset));
        let first_dirty = known.unwrap_or(ends.log_start);
        let dirty = &sealed[floor(sealed, first_dirty)..];
        let is_young = |piece: &&Piece| piece.largest_timestamp > now_ms.saturating_sub(settings.min_compaction_lag_ms);
        let young = dirty.iter().find(is_young).filter(|_| settings.min_compaction_lag_ms > 0);
        let bound = young.map_or(ends.active, |piece| piece.base_offset).min(ends.active).min(ends.last_stable);
        let end = match bound.max(first_dirty) {
            bound if bound >= ends.active => ends.active,
            bound => sealed.get(floor(sealed, bound)).map_or(ends.active, |piece| piece.base_offset),
        };
        let bytes = |pieces: &[Piece]| pieces.iter().map(|piece| u64::from(piece.size_bytes)).sum();
        let clean = sealed.partition_point(|piece| piece.base_offset < first_dirty);
        let cleanable = dirty.partition_point(|piece| piece.base_offset < end);
        Self {
            first_dirty,
            end,
            clean_bytes: bytes(&sealed[..clean]),
            cleanable_bytes: if end > first_dirty { bytes(&dirty[..cleanable]) } else { 0 },
            overdue_ms: overdue_ms(dirty, settings, now_ms),
            is_checkpoint_wrong: checkpoint.is_some() && known.is_none(),
        }
    }

    /// Which part of the log can be compacted and was not, of 1.
    pub fn ratio(&self) -> f64 {
        match self.clean_bytes + self.cleanable_bytes {
            0 => 0.0,
            all => self.cleanable_bytes as f64 / all as f64,
        }
    }

    /// Whether it is time.
    pub fn is_due(&self, settings: &CompactionSettings) -> bool {
        self.cleanable_bytes > 0 && (self.overdue_ms > 0 || self.ratio() > settings.min_cleanable_dirty_ratio)
    }
}

/// The number of the last segment that begins at `offset` or before; the first one if none does.
fn floor(sealed: &[Piece], offset: Offset) -> usize {
    sealed.partition_point(|piece| piece.base_offset <= offset).saturating_sub(1)
}

fn overdue_ms(dirty: &[Piece], settings: &CompactionSettings, now_ms: Timestamp) -> i64 {
    let Some(max_lag_ms) = settings.max_compaction_lag_ms else { return 0 };
    let earliest = dirty.iter().map(|piece| piece.first_timestamp).filter(|timestamp| *timestamp > 0).min();
    earliest.map_or(0, |earliest| now_ms.saturating_sub(max_lag_ms).saturating_sub(earliest).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CompactionSettings = CompactionSettings {
        min_cleanable_dirty_ratio: 0.5,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: None,
        delete_retention_ms: 0,
    };

    /// Segments of ten offsets and a hundred bytes each, with times from 100 on; the active one begins at 40.
    fn sealed() -> Vec<Piece> {
        let piece = |number: i64| Piece {
            base_offset: Offset(number * 10),
            size_bytes: 100,
            largest_timestamp: number * 100 + 199,
            first_timestamp: number * 100 + 100,
        };
        (0..4).map(piece).collect()
    }

    fn dirt(checkpoint: Option<i64>, last_stable: i64, settings: &CompactionSettings, now_ms: i64) -> Dirt {
        let ends =
            Ends { log_start: Offset(0), log_end: Offset(45), active: Offset(40), last_stable: Offset(last_stable) };
        Dirt::of(&sealed(), ends, checkpoint.map(Offset), settings, now_ms)
    }

    #[test]
    fn what_is_cleanable_ends_before_the_segments_of_unstable_young_and_new_records() {
        let young = |ms| CompactionSettings { min_compaction_lag_ms: ms, ..SETTINGS };
        for (checkpoint, last_stable, settings, expected) in [
            (None, 45, SETTINGS, (0, 40, 0, 400)),
            (None, 40, SETTINGS, (0, 40, 0, 400)),
            (None, 39, SETTINGS, (0, 30, 0, 300)),
            (None, 0, SETTINGS, (0, 0, 0, 0)),
            (Some(20), 45, SETTINGS, (20, 40, 200, 200)),
            // The segment in which it lies counts as both, as in Kafka.
            (Some(25), 45, SETTINGS, (25, 40, 300, 200)),
            (Some(25), 29, SETTINGS, (25, 20, 300, 0)),
            (Some(40), 45, SETTINGS, (40, 40, 400, 0)),
            (Some(45), 45, SETTINGS, (45, 40, 400, 0)),
            (None, 45, young(600), (0, 30, 0, 300)),
            (None, 45, young(900), (0, 0, 0, 0)),
            (Some(20), 45, young(1000), (20, 20, 200, 0)),
            (None, 45, young(0), (0, 40, 0, 400)),
        ] {
            let found = dirt(checkpoint, last_stable, &settings, 1000);
            let found_bytes = (found.clean_bytes, found.cleanable_bytes);
            let case = format!("{checkpoint:?} {last_stable} {settings:?}");
            assert_eq!((found.first_dirty.0, found.end.0), (expected.0, expected.1), "{case}");
            assert_eq!(found_bytes, (expected.2, expected.3), "{case}");
            assert!(!found.is_checkpoint_wrong);
        }
    }

    #[test]
    fn a_checkpoint_outside_of_the_log_is_that_of_another() {
        for checkpoint in [-1, 46] {
            let found = dirt(Some(checkpoint), 45, &SETTINGS, 0);
            assert_eq!((found.first_dirty, found.is_checkpoint_wrong), (Offset(0), true));
        }
    }

    #[test]
    fn it_is_time_when_the_dirty_part_is_large_or_old() {
        let late = CompactionSettings { max_compaction_lag_ms: Some(500), ..SETTINGS };
        for (checkpoint, settings, now_ms, ratio, overdue_ms, is_due) in [
            (Some(10), SETTINGS, 1 << 40, 0.75, 0, true),
            (Some(20), SETTINGS, 1 << 40, 0.5, 0, false),
            (Some(30), late, 900, 0.25, 0, false),
            (Some(30), late, 901, 0.25, 1, true),
            (Some(40), late, 1 << 40, 0.0, (1 << 40) - 900, false),
        ] {
            let found = dirt(checkpoint, 45, &settings, now_ms);
            assert_eq!((found.ratio(), found.overdue_ms, found.is_due(&settings)), (ratio, overdue_ms, is_due));
        }
    }

    #[test]
    fn a_log_without_sealed_segments_is_clean() {
        let ends = Ends { log_start: Offset(3), log_end: Offset(9), active: Offset(0), last_stable: Offset(9) };
        let found = Dirt::of(&[], ends, None, &SETTINGS, 0);
        assert_eq!((found.cleanable_bytes, found.ratio(), found.is_due(&SETTINGS)), (0, 0.0, false));
    }
}
