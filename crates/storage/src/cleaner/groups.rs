//! Which segments are written into one: as many neighbours as fit, so that a log that was compacted often does not end up in
//! many small files.

use ottla_base::{Offset, Timestamp};

/// A sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The offset that names it.
    pub base_offset: Offset,
    /// Where the next one begins.
    pub end_offset: Offset,
    /// The bytes of its log file ...
    pub size_bytes: u32,
    /// ... and of the larger of its indexes.
    pub index_bytes: u32,
    /// The largest time of its records, or -1.
    pub largest_ms: Timestamp,
}

/// How large a segment may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub index_bytes: u32,
    /// How far the times of segments that are put together may lie apart: all records stay until the latest is due.
    pub span_ms: Option<i64>,
}

/// Takes the first group off `sources`: the first segment, and those behind it for which there is room.
pub fn take_group<'s>(sources: &mut &'s [Source], room: Room) -> &'s [Source] {
    let Some(first) = sources.first() else { return &[] };
    let (mut size_bytes, mut index_bytes) = (u64::from(first.size_bytes), u64::from(first.index_bytes));
    let (mut earliest_ms, mut latest_ms) = (first.largest_ms, first.largest_ms);
    let mut count = 1;
    for next in &sources[1..] {
        size_bytes += u64::from(next.size_bytes);
        index_bytes += u64::from(next.index_bytes);
        let spans = next.end_offset.0 - 1 - first.base_offset.0;
        (earliest_ms, latest_ms) = (earliest_ms.min(next.largest_ms), latest_ms.max(next.largest_ms));
        let fits = size_bytes <= u64::from(room.segment_bytes)
            && index_bytes <= u64::from(room.index_bytes)
            && room.span_ms.is_none_or(|span_ms| latest_ms.saturating_sub(earliest_ms) <= span_ms);
        if !fits || spans > i64::from(i32::MAX) {
            break;
        }
        count += 1;
    }
    let (group, rest) = sources.split_at(count);
    *sources = rest;
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(sizes: &[(u32, u32, i64)], room: Room) -> Vec<Vec<i64>> {
        let mut base = 0;
        let sources: Vec<Source> = sizes
            .iter()
            .map(|&(size_bytes, index_bytes, offsets)| {
                let base_offset = Offset(base);
                base += offsets;
                Source { base_offset, end_offset: Offset(base), size_bytes, index_bytes, largest_ms: base }
            })
            .collect();
        let (mut rest, mut groups) = (&sources[..], Vec::new());
        while !rest.is_empty() {
            groups.push(take_group(&mut rest, room).iter().map(|source| source.base_offset.0).collect());
        }
        groups
    }

    #[test]
    fn neighbours_are_put_together_as_far_as_there_is_room() {
        let room = Room { segment_bytes: 100, index_bytes: 10, span_ms: None };
        let half = 1i64 << 30;
        for (sizes, expected) in [
            (vec![], vec![]),
            (vec![(500, 50, 10)], vec![vec![0]]),
            (vec![(40, 1, 10), (60, 1, 10), (1, 1, 10)], vec![vec![0, 10], vec![20]]),
            (vec![(101, 1, 10), (1, 1, 10)], vec![vec![0], vec![10]]),
            (vec![(1, 5, 10), (1, 5, 10), (1, 1, 10)], vec![vec![0, 10], vec![20]]),
            (vec![(1, 1, half), (1, 1, half), (1, 1, 1)], vec![vec![0, half], vec![2 * half]]),
            (vec![(1, 1, 2 * half - 1), (1, 1, 1), (1, 1, 1)], vec![vec![0, 2 * half - 1], vec![2 * half]]),
        ] {
            assert_eq!(groups(&sizes, room), expected, "{sizes:?}");
        }
    }

    #[test]
    fn what_retention_takes_apart_is_not_put_together() {
        // Each segment is as late as its end offset.
        let room = |span_ms| Room { segment_bytes: 100, index_bytes: 10, span_ms };
        let sizes = [(1, 1, 5), (1, 1, 10), (1, 1, 1), (1, 1, 10), (1, 1, 30)];
        assert_eq!(groups(&sizes, room(None)), [vec![0, 5, 15, 16, 26]]);
        assert_eq!(groups(&sizes, room(Some(10))), [vec![0, 5], vec![15, 16], vec![26]]);
        assert_eq!(groups(&sizes, room(Some(0))).len(), 5);
    }
}
