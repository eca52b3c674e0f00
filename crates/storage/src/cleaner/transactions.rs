//! Which batches of transactions may go: data that was aborted, and markers whose transaction has no data any more.
//!
//! The batches of a stretch of the log are shown to it one after the other. A marker outlives the data of its transaction: a
//! reader who still found some without the marker would wait for it for good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_base::{Offset, ProducerId};
use ottla_protocol::records::BatchHeader;
use ottla_protocol::records::control::ControlType;

use crate::aborted::AbortedTransaction;

/// The transactions of a stretch of the log, as they come by.
#[derive(Debug, Default)]
pub struct Transactions {
    /// The aborted ones that begin further on, by rising first offset.
    ahead: VecDeque<AbortedTransaction>,
    /// The aborted ones that are open here, and whether data of them was seen.
    aborted: BTreeMap<ProducerId, (AbortedTransaction, bool)>,
    /// Whose data was seen that was not aborted, and not yet its marker.
    committed: BTreeSet<ProducerId>,
}

/// What may be done with a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// It has to stay; if it is of an aborted transaction of which there was data, readers have to be told of that.
    Needed(Option<AbortedTransaction>),
    /// Nothing of its transaction is left.
    Alone,
}

impl Transactions {
    /// Of a stretch that begins at `from`, in a log with these aborted transactions.
    pub fn new(from: Offset, aborted: &[AbortedTransaction]) -> Self {
        let mut ahead: Vec<AbortedTransaction> =
            aborted.iter().filter(|transaction| transaction.last_offset >= from).copied().collect();
        ahead.sort_by_key(|transaction| transaction.first_offset);
        Self { ahead: ahead.into(), ..Self::default() }
    }

    /// Whether a batch of data was aborted.
    pub fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        if !header.attributes.is_transactional() {
            return false;
        }
        self.open_up_to(header.last_offset());
        if let Some((transaction, has_data)) = self.aborted.get_mut(&header.producer_id) {
            if header.base_offset <= transaction.last_offset {
                *has_data = true;
                return true;
            }
            // Its marker is not in this stretch.
            self.aborted.remove(&header.producer_id);
        }
        self.committed.insert(header.producer_id);
        false
    }

    /// What may be done with a control batch whose record is of this kind; `None` where it has no record any more.
    pub fn marker(&mut self, header: &BatchHeader, kind: Option<ControlType>) -> Marker {
        self.open_up_to(header.last_offset());
        match kind {
            None => Marker::Alone,
            Some(ControlType::Abort) => match self.aborted.remove(&header.producer_id) {
                Some((transaction, true)) => Marker::Needed(Some(transaction)),
                _ => Marker::Alone,
            },
            Some(ControlType::Commit) => match self.committed.remove(&header.producer_id) {
                true => Marker::Needed(None),
                false => Marker::Alone,
            },
            Some(_) => Marker::Needed(None),
        }
    }

    fn open_up_to(&mut self, offset: Offset) {
        while let Some(transaction) = self.ahead.pop_front_if(|transaction| transaction.first_offset <= offset) {
            self.aborted.insert(transaction.producer_id, (transaction, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::records::BatchBuilder;

    use super::*;

    fn header(producer: i64, offset: i64) -> BatchHeader {
        let builder = BatchBuilder::new().base_offset(Offset(offset)).transactional();
        let mut builder = builder.producer(ProducerId(producer), ottla_base::ProducerEpoch(0), 0);
        builder.push(0, Some(b"k"), None, &[]);
        BatchHeader::parse(&builder.build().unwrap()).unwrap()
    }

    fn aborted(producer: i64, first: i64, last: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        }
    }

    #[test]
    fn data_is_aborted_between_the_first_offset_and_the_marker_alone() {
        let all = [aborted(1, 10, 14), aborted(2, 3, 20)];
        let mut transactions = Transactions::new(Offset(5), &all);
        let found: Vec<bool> = [(1, 8), (2, 9), (1, 10), (3, 11), (1, 15), (2, 19)]
            .map(|(producer, offset)| transactions.is_aborted(&header(producer, offset)))
            .into();
        assert_eq!(found, [false, true, true, false, false, true]);
    }

    #[test]
    fn one_that_ended_before_the_stretch_does_not_count() {
        let mut transactions = Transactions::new(Offset(10), &[aborted(1, 3, 4)]);
        assert!(!transactions.is_aborted(&header(1, 12)));
    }

    #[test]
    fn a_marker_is_needed_while_there_is_data() {
        let all = [aborted(1, 1, 4), aborted(1, 6, 7)];
        let mut transactions = Transactions::new(Offset(0), &all);
        let (abort, commit) = (Some(ControlType::Abort), Some(ControlType::Commit));
        assert!(transactions.is_aborted(&header(1, 1)));
        assert!(!transactions.is_aborted(&header(2, 2)));
        assert_eq!(transactions.marker(&header(2, 3), commit), Marker::Needed(None));
        assert_eq!(transactions.marker(&header(1, 4), abort), Marker::Needed(Some(all[0])));
        assert_eq!(transactions.marker(&header(2, 5), commit), Marker::Alone, "its data is gone");
        assert_eq!(transactions.marker(&header(1, 7), abort), Marker::Alone, "its data is gone");
        assert_eq!(transactions.marker(&header(1, 8), None), Marker::Alone);
        assert_eq!(transactions.marker(&header(1, 9), Some(ControlType::KRaftVersion)), Marker::Needed(None));
    }
}
