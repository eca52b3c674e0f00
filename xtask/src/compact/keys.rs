//! Which record has which key and value, and so what has to be left of each key. Nothing is remembered: a record's number
//! says it all.
//!
//! ```text
//!   number  0 1 2 ... keys-1 | keys keys+1 ...      all keys once, in an order that is not theirs, and again
//!           \---- round 0 --/ \---- round 1 ...     in each round, some of the keys are deleted
//! ```
//!
//! Producers have keys of their own: that of record `number` of producer `p` of `P` is one of those that leave `p` when divided
//! by `P`.

use std::collections::BTreeMap;

/// In a round, one of so many keys is deleted; another one each time.
const DELETED_ONE_IN: u32 = 10;
/// Prime, so that it reaches every key.
const SCATTER: u64 = 2_654_435_761;

/// What is written.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub producers: u32,
    /// Of all producers.
    pub keys: u32,
    /// Whether some of the records are tombstones.
    pub deletes: bool,
}

/// What was found of a key: the number of its last record, and whether that is a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    pub number: u32,
    pub is_tombstone: bool,
}

/// What each producer has been acknowledged, and what it may have sent: counts of records.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub acknowledged: u32,
    pub most: u32,
}

impl Plan {
    fn keys_each(&self) -> u32 {
        self.keys / self.producers
    }

    /// The key of a producer's record.
    pub fn key(&self, producer: u32, number: u32) -> u32 {
        let place = u64::from(number % self.keys_each());
        let scattered = (place * SCATTER % u64::from(self.keys_each())) as u32;
        producer + self.producers * scattered
    }

    /// Whether a record deletes its key.
    pub fn is_tombstone(&self, number: u32) -> bool {
        let (round, place) = (number / self.keys_each(), number % self.keys_each());
        self.deletes && (place + 3 * round) % DELETED_ONE_IN == DELETED_ONE_IN - 1
    }

    /// Holds what was read against what was sent; `sent` has one entry a producer. Says what is wrong first.
    pub fn judge(&self, sent: &[Sent], found: &BTreeMap<u32, Last>) -> Result<(), String> {
        for (producer, sent) in (0..).zip(sent) {
            for place in 0..self.keys_each().min(sent.most) {
                self.judge_key(producer, place, sent, found.get(&self.key(producer, place)))?;
            }
        }
        match found.range(self.keys..).next() {
            Some((key, _)) => Err(format!("key {key} was never written")),
            None => Ok(()),
        }
    }

    fn judge_key(&self, producer: u32, place: u32, sent: &Sent, found: Option<&Last>) -> Result<(), String> {
        let (key, step) = (self.key(producer, place), self.keys_each() as usize);
        // The last one that must be there, and those that may have come after it.
        let acknowledged = (place..sent.acknowledged).step_by(step).next_back();
        let mut possible = (acknowledged.unwrap_or(place)..sent.most).step_by(step);
        let expected = || match acknowledged {
            Some(number) if self.is_tombstone(number) => format!("was deleted by record {number}"),
            Some(number) => format!("had record {number} as its last"),
            None => "was not written yet".to_owned(),
        };
        match found {
            Some(last) if possible.clone().any(|number| number == last.number) => {
                if last.is_tombstone == self.is_tombstone(last.number) {
                    Ok(())
                } else {
                    Err(format!("key {key}: record {} is not what was written", last.number))
                }
            }
            Some(last) if acknowledged.is_some_and(|number| self.is_tombstone(number)) => {
                Err(format!("key {key} is back from the dead: it {}, and record {} is there", expected(), last.number))
            }
            Some(last) => Err(format!("key {key} is wrong: it {}, and record {} is there", expected(), last.number)),
            None if acknowledged.is_none() || possible.any(|number| self.is_tombstone(number)) => Ok(()),
            None => Err(format!("key {key} is missing: it {}", expected())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { producers: 2, keys: 40, deletes: true };

    /// What is left when all of these were compacted, tombstones too.
    fn left(counts: [u32; 2]) -> BTreeMap<u32, Last> {
        let mut left = BTreeMap::new();
        for (producer, count) in (0..).zip(counts) {
            for number in 0..count {
                let key = PLAN.key(producer, number);
                if PLAN.is_tombstone(number) {
                    left.remove(&key);
                } else {
                    left.insert(key, Last { number, is_tombstone: false });
                }
            }
        }
        left
    }

    fn sent(acknowledged: u32, most: u32) -> Sent {
        Sent { acknowledged, most }
    }

    #[test]
    fn every_key_belongs_to_one_producer() {
        let keys = |producer| (0..20).map(move |number| PLAN.key(producer, number));
        let mut all: Vec<_> = keys(0).chain(keys(1)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>());
        assert_eq!(keys(1).collect::<Vec<_>>(), (20..40).map(|number| PLAN.key(1, number)).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_left_of_all_that_was_sent_is_right() {
        for counts in [[0, 0], [3, 20], [47, 60], [333, 1000]] {
            assert_eq!(PLAN.judge(&counts.map(|count| sent(count, count)), &left(counts)), Ok(()));
        }
    }

    #[test]
    fn what_may_have_come_later_is_right_too() {
        for counts in [[40, 70], [45, 75], [60, 90]] {
            assert_eq!(PLAN.judge(&[sent(40, 60), sent(70, 90)], &left(counts)), Ok(()));
        }
        assert!(PLAN.judge(&[sent(40, 60), sent(70, 90)], &left([39, 70])).is_err());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let sent = [sent(100, 100), sent(100, 100)];
        let wrong = |key: u32, is_there: Option<Last>| {
            let mut found = left([100, 100]);
            found.remove(&key);
            found.extend(is_there.map(|last| (key, last)));
            PLAN.judge(&sent, &found).unwrap_err()
        };
        let alive = (80..100).find(|&number| !PLAN.is_tombstone(number)).expect("most are not");
        let dead = (80..100).find(|&number| PLAN.is_tombstone(number)).expect("some are");
        let (alive_key, dead_key) = (PLAN.key(0, alive), PLAN.key(0, dead));
        let last = |number, is_tombstone| Last { number, is_tombstone };
        let missing = wrong(alive_key, None);
        assert_eq!(missing, format!("key {alive_key} is missing: it had record {alive} as its last"));
        let old = wrong(alive_key, Some(last(alive - 20, false)));
        assert!(old.starts_with(&format!("key {alive_key} is wrong: it had record {alive} as its last")), "{old}");
        let risen = wrong(dead_key, Some(last(dead - 20, false)));
        assert!(risen.starts_with(&format!("key {dead_key} is back from the dead")), "{risen}");
        let other = wrong(alive_key, Some(last(alive, true)));
        assert_eq!(other, format!("key {alive_key}: record {alive} is not what was written"));
        assert_eq!(wrong(40, Some(last(0, false))), "key 40 was never written");
    }
}
