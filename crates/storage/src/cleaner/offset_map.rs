//! The newest offset of each key, in memory that does not depend on how long the keys are.
//!
//! ```text
//!   slot of 24 bytes:  | 16 bytes of the key's hash | offset + 1, or 0 where the slot is free |
//! ```
//!
//! Open addressing: a key lies in the first slot, from the one that its hash names on, that is free or has its hash. Keys
//! themselves are not kept, as in Kafka; two with the same hash would be taken for one. Kafka hashes with MD5, for which
//! anybody can make such pairs. Here it is SipHash twice, each time with a secret of this process, as the standard library
//! protects its maps: 128 bits that nobody can aim at, in a fraction of the time, and no crate for it.

use std::hash::{BuildHasher, Hasher, RandomState};

use ottla_base::Offset;

/// How many bytes a key takes.
pub const SLOT_BYTES: usize = 24;

type Slot = [u64; SLOT_BYTES / size_of::<u64>()];

/// Finds the newest offset of a key.
#[derive(Debug)]
pub struct OffsetMap {
    slots: Vec<Slot>,
    keys: usize,
    keys_max: usize,
    secrets: [RandomState; 2],
}

impl OffsetMap {
    /// For at most `keys` keys, in at most `bytes` bytes of which `load_factor` (a part of 1) may be in use; but always for one.
    pub fn new(bytes: usize, load_factor: f64, keys: u64) -> Self {
        let load_factor = load_factor.clamp(0.01, 0.99);
        let wanted = (keys as f64 / load_factor).ceil() as u64;
        // One is always free, or a search for a key that is not there would not end.
        let slots = ((bytes / SLOT_BYTES) as u64).min(wanted).max(2) as usize;
        let keys_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        // The system hands out zeros without touching them: what is never used takes no memory.
        Self { slots: vec![[0; 3]; slots], keys: 0, keys_max, secrets: [RandomState::new(), RandomState::new()] }
    }

    /// Notes that `key` was last written at `offset`; false if there is no room for another key.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let index = self.slot(hash);
        if self.slots[index][2] == 0 {
            if self.keys == self.keys_max {
                return false;
            }
            self.keys += 1;
        }
        self.slots[index] = [hash[0], hash[1], offset.plus(1).0 as u64];
        true
    }

    /// Where `key` was last written, if it was.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let found = self.slots[self.slot(self.hash(key))][2];
        (found > 0).then(|| Offset(found as i64 - 1))
    }

    /// How much of the memory is in use, as a part of 1.
    pub fn utilization(&self) -> f64 {
        self.keys as f64 / self.slots.len() as f64
    }

    /// The slot that has the hash, or that it would take.
    fn slot(&self, hash: [u64; 2]) -> usize {
        // The upper half of the product spreads the hash evenly over any count of slots.
        let count = self.slots.len();
        let mut index = ((u128::from(hash[0]) * count as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[index];
            if slot[2] == 0 || slot[..2] == hash {
                return index;
            }
            index = if index + 1 == count { 0 } else { index + 1 };
        }
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [&self.secrets[0], &self.secrets[1]].map(|secret| {
            let mut hasher = secret.build_hasher();
            hasher.write(key);
            hasher.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_map_is_full_at_its_load_factor_and_still_takes_keys_that_it_has() {
        let mut map = OffsetMap::new(10 * SLOT_BYTES, 0.5, u64::MAX >> 12);
        for key in 0..5u8 {
            assert!(map.put(&[key], Offset(i64::from(key))));
        }
        assert!(!map.put(b"sixth", Offset(9)));
        assert!(map.put(&[3], Offset(10)));
        assert_eq!((map.get(&[3]), map.get(&[4]), map.get(b"sixth")), (Some(Offset(10)), Some(Offset(4)), None));
        assert_eq!(map.utilization(), 0.5);
    }

    #[test]
    fn it_takes_no_more_memory_than_the_keys_that_can_come_need() {
        assert_eq!(OffsetMap::new(1 << 40, 0.9, 9).slots.len(), 10);
        for (bytes, load_factor, keys) in [(0, 0.9, 100), (1000, 0.0, 100), (1000, 7.0, 0)] {
            let mut map = OffsetMap::new(bytes, load_factor, keys);
            assert!(map.put(b"one", Offset(0)), "there is always room for one");
            assert_eq!((map.get(b"one"), map.get(b"two")), (Some(Offset(0)), None));
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_map(puts in prop::collection::vec((0..60u16, 0..1000i64), 0..200)) {
            let mut map = OffsetMap::new(50 * SLOT_BYTES, 0.9, 1000);
            let mut model = BTreeMap::new();
            for (key, offset) in puts {
                let fits = model.contains_key(&key) || model.len() < 45;
                prop_assert_eq!(map.put(&key.to_be_bytes(), Offset(offset)), fits);
                if fits {
                    model.insert(key, offset);
                }
            }
            for key in 0..60u16 {
                prop_assert_eq!(map.get(&key.to_be_bytes()).map(|offset| offset.0), model.get(&key).copied());
            }
        }
    }
}
