//! A sorted map of which a copy costs little, and a change of the copy little more: copies share the chunks that neither has
//! changed. What is decided about a group is worked out on a copy of it, and most decisions are about one member of many.
//!
//! ```text
//!   [ a b c ] [ e f ] [ k l m n ]      chunks, sorted in themselves and one after the other; none is empty
//! ```

use std::borrow::Borrow;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

/// A chunk that grows past this is cut in two, and two neighbours that have a quarter of it are made one.
const CHUNK_MAX: usize = 64;

/// A map.
#[derive(Clone)]
pub(in crate::group) struct SharedMap<K, V> {
    chunks: Vec<Arc<Vec<(K, V)>>>,
    len: usize,
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Gives back what the key had before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (chunk, at) = match self.place(&key) {
            (chunk, Ok(at)) => {
                let entry = &mut Arc::make_mut(&mut self.chunks[chunk])[at];
                return Some(std::mem::replace(&mut entry.1, value));
            }
            (chunk, Err(at)) => (chunk, at),
        };
        self.len += 1;
        if self.chunks.is_empty() {
            self.chunks.push(Arc::new(vec![(key, value)]));
            return None;
        }
        let entries = Arc::make_mut(&mut self.chunks[chunk]);
        entries.insert(at, (key, value));
        if entries.len() > CHUNK_MAX {
            let rest = entries.split_off(CHUNK_MAX / 2);
            self.chunks.insert(chunk + 1, Arc::new(rest));
        }
        None
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (chunk, Ok(at)) = self.place(key) else { return None };
        let (_, value) = Arc::make_mut(&mut self.chunks[chunk]).remove(at);
        self.len -= 1;
        self.join_small(chunk);
        Some(value)
    }

    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (chunk, Ok(at)) = self.place(key) else { return None };
        Some(&mut Arc::make_mut(&mut self.chunks[chunk])[at].1)
    }

    /// Lets a chunk from which something was taken be one with its neighbour, where both are small; an empty one goes.
    fn join_small(&mut self, chunk: usize) {
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
            return;
        }
        let pairs = [chunk.checked_sub(1), Some(chunk)].into_iter().flatten();
        let is_small = |first: &usize| {
            self.chunks.get(first + 1).is_some_and(|next| self.chunks[*first].len() + next.len() <= CHUNK_MAX / 4)
        };
        if let Some(first) = pairs.into_iter().find(is_small) {
            let rest = self.chunks.remove(first + 1);
            Arc::make_mut(&mut self.chunks[first]).extend(rest.iter().cloned());
        }
    }
}

impl<K, V> SharedMap<K, V> {
    pub(in crate::group) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (chunk, Ok(at)) = self.place(key) else { return None };
        Some(&self.chunks[chunk][at].1)
    }

    pub(in crate::group) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).1.is_ok()
    }

    pub(in crate::group) fn len(&self) -> usize {
        self.len
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of it, by key.
    pub(in crate::group) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|entries| entries.iter()).map(|(key, value)| (key, value))
    }

    pub(in crate::group) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(in crate::group) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The chunk and the place in it where the key is, or where it would be.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let after = self.chunks.partition_point(|entries| <K as Borrow<Q>>::borrow(&entries[0].0) <= key);
        let chunk = after.saturating_sub(1);
        let entries = self.chunks.get(chunk).map_or(&[][..], |entries| entries);
        (chunk, entries.binary_search_by(|(other, _)| <K as Borrow<Q>>::borrow(other).cmp(key)))
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

/// Equal maps may be cut into chunks differently.
impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    /// # Panics
    /// Where there is no such key.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the caller found the key")
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ottla_base::Random;

    use super::*;

    /// What it holds is what the other holds, and its chunks are as they should be.
    fn check(map: &SharedMap<u64, u64>, model: &BTreeMap<u64, u64>) {
        assert!(map.iter().eq(model.iter()));
        assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        assert!(map.chunks.iter().all(|entries| (1..=CHUNK_MAX).contains(&entries.len())));
    }

    #[test]
    fn it_is_a_map_and_copies_stay_as_they_were() {
        let mut random = Random::new(11);
        let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
        let mut copies = Vec::new();
        for step in 0..20_000 {
            let key = random.below(1000);
            // First it grows, then it shrinks.
            match random.below(10) {
                0 => {
                    assert_eq!(
                        map.get_mut(&key).map(|value| *value += 1),
                        model.get_mut(&key).map(|value| *value += 1)
                    );
                }
                chance if (chance < 7) == (step < 10_000) => {
                    assert_eq!(map.insert(key, step), model.insert(key, step));
                }
                _ => assert_eq!(map.remove(&key), model.remove(&key)),
            }
            assert_eq!((map.get(&key), map.contains_key(&key)), (model.get(&key), model.contains_key(&key)));
            if step % 500 == 0 {
                check(&map, &model);
                copies.push((map.clone(), model.clone()));
            }
        }
        copies.iter().for_each(|(copy, model)| check(copy, model));
        let (copy, model) = &copies[30];
        assert!(*copy == model.iter().map(|(key, value)| (*key, *value)).collect(), "however it is cut into chunks");
    }

    #[test]
    fn a_change_of_a_copy_copies_one_chunk() {
        let map: SharedMap<u64, u64> = (0..10_000).map(|key| (key, key)).collect();
        let mut copy = map.clone();
        copy.insert(5000, 0);
        copy.remove(&5001);
        let shared = map.chunks.iter().zip(&copy.chunks).filter(|(ours, theirs)| Arc::ptr_eq(ours, theirs)).count();
        assert_eq!((map.chunks.len(), copy.chunks.len() - shared), (copy.chunks.len(), 1));
    }

    #[test]
    fn a_map_that_has_shrunk_is_in_few_chunks() {
        let mut map: SharedMap<u64, u64> = (0..10_000).map(|key| (key, key)).collect();
        (0..10_000).filter(|key| key % 100 != 0).for_each(|key| assert_eq!(map.remove(&key), Some(key)));
        assert!(map.len() == 100 && map.chunks.len() < 30, "{} chunks", map.chunks.len());
    }
}
