//! The newest offset of each key, in memory that does not depend on how long the keys are.
//!
//! ```text
//!   slot of 16 bytes:  | 88 bits of the key's hash | 40 bits: offset - base + 1, or 0 where the slot is free |
//! ```
//!
//! Open addressing: a key lies in the first slot, from the one that its hash names on, that is free or has its hash. Keys
//! themselves are not kept, as in Kafka; two with the same hash would be taken for one. Kafka hashes with MD5, for which
//! anybody can make such pairs. Here it is SipHash twice, each time with a secret of this process, as the standard library
//! protects its maps: 88 bits that nobody can aim at (among the five million keys of a usual buffer, one pair in 10^13
//! compactions), in a fraction of the time, and no crate for it.
//!
//! Kafka's slots are half as large again. A buffer holds as many keys as Kafka's of the same size, in two thirds of it: the
//! broker has promised how much memory it takes, and clients want the rest.

use std::hash::{BuildHasher, Hasher, RandomState};

use ottla_base::Offset;

/// How many bytes of `log.cleaner.dedupe.buffer.size` stand for a key: what one takes in Kafka.
const BYTES_A_KEY: usize = 24;
/// The bits of a slot's second half that are its offset.
const OFFSET_BITS: u32 = 40;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;

type Slot = [u64; 2];

/// Finds the newest offset of a key.
#[derive(Debug)]
pub struct OffsetMap {
    slots: Vec<Slot>,
    keys: usize,
    keys_max: usize,
    base: Offset,
    secrets: [RandomState; 2],
}

impl OffsetMap {
    /// For at most `keys` keys at `base` or after it, of as many as Kafka keeps in `bytes` bytes of which `load_factor` (a part
    /// of 1) may be in use; but always for one.
    pub fn new(bytes: usize, load_factor: f64, keys: u64, base: Offset) -> Self {
        let load_factor = load_factor.clamp(0.01, 0.99);
        let wanted = (keys as f64 / load_factor).ceil() as u64;
        // One is always free, or a search for a key that is not there would not end.
        let slots = ((bytes / BYTES_A_KEY) as u64).min(wanted).max(2) as usize;
        let keys_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        // The system hands out zeros without touching them: what is never used takes no memory.
        Self { slots: vec![[0; 2]; slots], keys: 0, keys_max, base, secrets: [RandomState::new(), RandomState::new()] }
    }

    /// Notes that `key` was last written at `offset`; false if there is no room for another key, or the offset is too far from
    /// the base (2^40).
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let Some(place) = self.place(offset) else { return false };
        let hash = self.hash(key);
        let index = self.slot(hash);
        if is_free(&self.slots[index]) {
            if self.keys == self.keys_max {
                return false;
            }
            self.keys += 1;
        }
        self.slots[index] = [hash[0], hash[1] | place];
        true
    }

    /// Where `key` was last written, if it was.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = &self.slots[self.slot(self.hash(key))];
        (!is_free(slot)).then(|| self.base.plus((slot[1] & OFFSET_MASK).cast_signed() - 1))
    }

    /// What a slot says of an offset.
    fn place(&self, offset: Offset) -> Option<u64> {
        let distance = u64::try_from(offset.0.checked_sub(self.base.0)?).ok()?;
        (distance < OFFSET_MASK).then_some(distance + 1)
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
            if is_free(slot) || [slot[0], slot[1] & !OFFSET_MASK] == hash {
                return index;
            }
            index = if index + 1 == count { 0 } else { index + 1 };
        }
    }

    /// The hash of a key, with zeros where a slot has its offset.
    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let [first, second] = [&self.secrets[0], &self.secrets[1]].map(|secret| {
            let mut hasher = secret.build_hasher();
            hasher.write(key);
            hasher.finish()
        });
        [first, second & !OFFSET_MASK]
    }
}

fn is_free(slot: &Slot) -> bool {
    slot[1] & OFFSET_MASK == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_map_is_full_at_its_load_factor_and_still_takes_keys_that_it_has() {
        let mut map = OffsetMap::new(10 * BYTES_A_KEY, 0.5, u64::MAX >> 12, Offset(0));
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
        assert_eq!(OffsetMap::new(1 << 40, 0.9, 9, Offset(0)).slots.len(), 10);
        for (bytes, load_factor, keys) in [(0, 0.9, 100), (1000, 0.0, 100), (1000, 7.0, 0)] {
            let mut map = OffsetMap::new(bytes, load_factor, keys, Offset(0));
            assert!(map.put(b"one", Offset(0)), "there is always room for one");
            assert_eq!((map.get(b"one"), map.get(b"two")), (Some(Offset(0)), None));
        }
    }

    #[test]
    fn it_takes_two_thirds_of_what_kafkas_does() {
        let map = OffsetMap::new(96 << 20, 0.9, u64::MAX >> 12, Offset(0));
        assert_eq!(size_of_val(map.slots.as_slice()), 64 << 20);
    }

    #[test]
    fn offsets_that_are_too_far_away_have_no_room() {
        let base = 7_000_000_000_000_000_000;
        let mut map = OffsetMap::new(1000, 0.9, 100, Offset(base));
        let last = base + (1 << 40) - 2;
        assert!(map.put(b"first", Offset(base)) && map.put(b"last", Offset(last)));
        assert!(!map.put(b"last", Offset(last + 1)) && !map.put(b"before", Offset(base - 1)));
        assert_eq!(
            [&b"first"[..], b"last", b"before"].map(|key| map.get(key)),
            [Some(Offset(base)), Some(Offset(last)), None]
        );
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_map(
            base in 0..i64::MAX / 2,
            puts in prop::collection::vec((0..60u16, 0..1000i64), 0..200),
        ) {
            let mut map = OffsetMap::new(50 * BYTES_A_KEY, 0.9, 1000, Offset(base));
            let mut model = BTreeMap::new();
            for (key, offset) in puts {
                let fits = model.contains_key(&key) || model.len() < 45;
                prop_assert_eq!(map.put(&key.to_be_bytes(), Offset(base + offset)), fits);
                if fits {
                    model.insert(key, offset);
                }
            }
            for key in 0..60u16 {
                prop_assert_eq!(map.get(&key.to_be_bytes()).map(|offset| offset.0 - base), model.get(&key).copied());
            }
        }
    }
}
