//! Which partition a record goes to: by its key as Kafka's producer does, or, without one, all to the same for a while.
//!
//! Readers of a topic rely on equal keys being in one partition, whoever wrote them; hence Kafka's hash, to the bit.

/// The seed of Kafka's murmur2.
const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// Chooses partitions of one topic.
#[derive(Debug, Default)]
pub struct Partitioner {
    sticky: u32,
    bytes_at_sticky: usize,
}

impl Partitioner {
    /// A partitioner that begins anywhere, as `random` decides.
    pub fn new(random: u32) -> Self {
        Self { sticky: random, bytes_at_sticky: 0 }
    }

    /// The partition, of `count`, for a record of `size_bytes`. Without a key it is the same one until `batch_bytes` went
    /// there (KIP-480, KIP-794).
    ///
    /// # Panics
    /// Where `count` is 0.
    pub fn partition(&mut self, key: Option<&[u8]>, size_bytes: usize, batch_bytes: usize, count: u32) -> u32 {
        assert!(count > 0, "a topic has a partition");
        match key {
            Some(key) => (murmur2(key) & 0x7fff_ffff) % count,
            None => {
                if self.bytes_at_sticky >= batch_bytes {
                    self.sticky = self.sticky.wrapping_add(1);
                    self.bytes_at_sticky = 0;
                }
                self.bytes_at_sticky += size_bytes;
                self.sticky % count
            }
        }
    }
}

/// Murmur2, as Kafka's clients compute it.
pub fn murmur2(bytes: &[u8]) -> u32 {
    let mut hash = SEED ^ (bytes.len() as u32);
    let mut blocks = bytes.chunks_exact(4);
    for block in &mut blocks {
        let block = u32::from_le_bytes(*block.first_chunk().expect("a block has four bytes"));
        let mixed = block.wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> SHIFT)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    let tail = blocks.remainder();
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_kafkas_clients() {
        let known = [
            ("", 275_646_681),
            ("a", -1_563_381_124),
            ("21", -973_932_308),
            ("abc", 479_470_107),
            ("foobar", -790_332_482),
            ("kafka", -798_503_068),
            ("a-little-bit-long-string", -985_981_536),
        ];
        for (text, expected) in known {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text:?}");
        }
    }

    #[test]
    fn a_key_goes_to_the_partition_that_kafkas_producer_chooses() {
        let mut partitioner = Partitioner::new(7);
        let partitions = ["", "a", "21", "abc", "foobar", "kafka", "a-little-bit-long-string"]
            .map(|key| partitioner.partition(Some(key.as_bytes()), 10, 100, 10));
        assert_eq!(partitions, [1, 4, 0, 7, 6, 0, 2]);
    }

    #[test]
    fn records_without_a_key_stay_together_until_a_batch_is_full() {
        let mut partitioner = Partitioner::new(5);
        let partitions: Vec<_> = (0..9).map(|_| partitioner.partition(None, 50, 100, 3)).collect();
        assert_eq!(partitions, [2, 2, 0, 0, 1, 1, 2, 2, 0]);
    }
}
