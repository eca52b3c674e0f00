//! A sorted map whose copies share what they have in common.
//!
//! Machines decide on copies: readers of the cluster's image hold it while the next one is made, and what a group does is
//! worked out on a copy of it, mostly about one member of many. A copy of this map costs one reference count; a change costs
//! the copy of one chunk and of the list of chunks, however many copies there are.
//!
//! ```text
//!   chunks --> [ chunk | chunk | chunk ]      sorted; no chunk is empty or longer than MAX_CHUNK
//!                  |       |       |
//!               (k, v)  (k, v)  (k, v) ...    sorted
//! ```
//!
//! Ten thousand topics are some 300 chunks. [`SharedMap::changes`] compares two maps without looking into the chunks that
//! they share, which is how a broker learns what a new image changed.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

/// A chunk that grows past this is split in two; two neighbours that have a quarter of it are made one.
const MAX_CHUNK: usize = 64;

type Chunk<K, V> = Vec<(K, V)>;

/// A sorted map that is cheap to clone. Keys and values should be cheap to clone too (ids, `Arc`s).
pub struct SharedMap<K, V> {
    chunks: Arc<Vec<Arc<Chunk<K, V>>>>,
    length: usize,
}

/// One difference between two maps.
#[derive(Debug, PartialEq, Eq)]
pub enum Change<'a, K, V> {
    /// Only in the newer.
    Added(&'a K, &'a V),
    /// In both, with different values: the older, then the newer.
    Changed(&'a K, &'a V, &'a V),
    /// Only in the older.
    Removed(&'a K, &'a V),
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self { chunks: Arc::new(Vec::new()), length: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The value at `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = &self.chunks[self.chunk_of(key)?];
        let place = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        Some(&chunk[place].1)
    }

    /// Whether there is a value at `key`.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value at `key`, to be changed. Copies its chunk if another map shares it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key)?;
        let place = self.chunks[index].binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[index]);
        Some(&mut chunk[place].1)
    }

    /// Sets `key` to `value`, and returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let index = self.chunk_of(&key).unwrap_or(0);
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.is_empty() {
            chunks.push(Arc::new(Vec::new()));
        }
        let chunk = Arc::make_mut(&mut chunks[index]);
        match chunk.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(place) => return Some(std::mem::replace(&mut chunk[place].1, value)),
            Err(place) => chunk.insert(place, (key, value)),
        }
        self.length += 1;
        if chunk.len() > MAX_CHUNK {
            // Keys often come in ascending order; a split at the end then leaves full chunks behind.
            let at = if index + 1 == chunks.len() { MAX_CHUNK } else { MAX_CHUNK / 2 };
            let rest = Arc::make_mut(&mut chunks[index]).split_off(at);
            chunks.insert(index + 1, Arc::new(rest));
        }
        None
    }

    /// Removes `key`, and returns what was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key)?;
        let place = self.chunks[index].binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let (_, value) = Arc::make_mut(&mut chunks[index]).remove(place);
        join_small(chunks, index);
        self.length -= 1;
        Some(value)
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    /// The entries from `key` on, in the order of their keys.
    pub fn iter_from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let first = self.chunk_of(key).unwrap_or(0);
        let skipped = self.chunks.get(first).map_or(0, |chunk| chunk.partition_point(|(k, _)| k.borrow() < key));
        self.chunks[first..].iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value))).skip(skipped)
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// How `self` differs from `older`, in the order of keys. Does not look into chunks that both hold.
    pub fn changes<'a>(&'a self, older: &'a Self) -> Vec<Change<'a, K, V>>
    where
        V: PartialEq,
    {
        let (mut old, mut new) = (Cursor::at_start(older), Cursor::at_start(self));
        let mut changes = Vec::new();
        loop {
            if old.skip_shared_chunk(&mut new) {
                continue;
            }
            match (old.entry(), new.entry()) {
                (None, None) => return changes,
                (Some((key, was)), Some((other, is))) if key == other => {
                    if was != is {
                        changes.push(Change::Changed(key, was, is));
                    }
                    old.step();
                    new.step();
                }
                (Some((key, was)), other) if other.is_none_or(|(other, _)| key < other) => {
                    changes.push(Change::Removed(key, was));
                    old.step();
                }
                (_, Some((key, is))) => {
                    changes.push(Change::Added(key, is));
                    new.step();
                }
                (Some(_), None) => unreachable!("an old entry without a new one was taken above"),
            }
        }
    }

    /// The chunk that holds `key` if any does: the last one that begins at or before it, else the first.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let after = self.chunks.partition_point(|chunk| chunk[0].0.borrow().cmp(key) != Ordering::Greater);
        (!self.chunks.is_empty()).then(|| after.saturating_sub(1))
    }
}

/// Takes away the chunk at `index` if it is empty, and makes it one with a neighbour if both are small.
fn join_small<K: Clone, V: Clone>(chunks: &mut Vec<Arc<Chunk<K, V>>>, index: usize) {
    if chunks[index].is_empty() {
        chunks.remove(index);
        return;
    }
    let first_is_small =
        |first: &usize| chunks.get(first + 1).is_some_and(|next| chunks[*first].len() + next.len() <= MAX_CHUNK / 4);
    let pairs = [index.checked_sub(1), Some(index)].into_iter().flatten();
    if let Some(first) = pairs.into_iter().find(first_is_small) {
        let rest = chunks.remove(first + 1);
        Arc::make_mut(&mut chunks[first]).extend(rest.iter().cloned());
    }
}

struct Cursor<'a, K, V> {
    chunks: &'a [Arc<Chunk<K, V>>],
    place: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn at_start(map: &'a SharedMap<K, V>) -> Self {
        Self { chunks: &map.chunks, place: 0 }
    }

    fn entry(&self) -> Option<(&'a K, &'a V)> {
        let (key, value) = self.chunks.first()?.get(self.place)?;
        Some((key, value))
    }

    fn step(&mut self) {
        self.place += 1;
        if self.place == self.chunks[0].len() {
            self.next_chunk();
        }
    }

    fn next_chunk(&mut self) {
        self.chunks = &self.chunks[1..];
        self.place = 0;
    }

    /// Where both stand at the start of one and the same chunk, steps over it.
    fn skip_shared_chunk(&mut self, other: &mut Self) -> bool {
        let shared = match (self.chunks.first(), other.chunks.first()) {
            (Some(a), Some(b)) => self.place == 0 && other.place == 0 && Arc::ptr_eq(a, b),
            _ => false,
        };
        if shared {
            self.next_chunk();
            other.next_chunk();
        }
        shared
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), length: self.length }
    }
}

impl<K: Ord + Clone, V: Clone> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks) || (self.length == other.length && self.iter().eq(other.iter()))
    }
}

impl<K: Ord + Clone, V: Clone + Eq> Eq for SharedMap<K, V> {}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone + Borrow<Q>, V: Clone, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    /// # Panics
    /// Where there is no such key.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the caller found the key")
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn assert_well_formed(map: &SharedMap<u16, u8>) {
        assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= MAX_CHUNK));
        assert!(map.keys().is_sorted());
        assert_eq!(map.iter().count(), map.len());
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_tree_map_and_changes_tells_the_difference(
            before in prop::collection::vec((0u16..400, prop::option::of(any::<u8>())), 0..500),
            after in prop::collection::vec((0u16..400, prop::option::of(any::<u8>())), 0..100),
            from in 0u16..410,
        ) {
            let mut map = SharedMap::new();
            let mut model = BTreeMap::new();
            for (key, value) in before {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                assert_well_formed(&map);
            }
            let (older, older_model) = (map.clone(), model.clone());
            for (key, value) in after {
                match value {
                    Some(value) if value % 2 == 0 => {
                        prop_assert_eq!(map.get_mut(&key).map(|at| std::mem::replace(at, value)), model.get_mut(&key).map(|at| std::mem::replace(at, value)));
                    }
                    Some(value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                assert_well_formed(&map);
            }
            prop_assert!(older.iter().eq(older_model.iter()), "a copy does not change with its original");
            prop_assert!(map.iter().eq(model.iter()));
            prop_assert!(map.iter_from(&from).eq(model.range(from..)));
            prop_assert_eq!(map.get(&from), model.get(&from));
            prop_assert_eq!(map.contains_key(&from), model.contains_key(&from));
            prop_assert!(map == model.iter().map(|(key, value)| (*key, *value)).collect(), "however it is cut into chunks");

            let mut patched = older_model;
            for change in map.changes(&older) {
                match change {
                    Change::Added(key, value) => prop_assert_eq!(patched.insert(*key, *value), None),
                    Change::Changed(key, was, is) => prop_assert_eq!(patched.insert(*key, *is), Some(*was).filter(|was| was != is)),
                    Change::Removed(key, was) => prop_assert_eq!(patched.remove(key), Some(*was)),
                }
            }
            prop_assert_eq!(patched, model);
        }
    }

    #[test]
    fn comparing_does_not_look_into_shared_chunks() {
        #[derive(Clone, Debug)]
        struct NeverEqual;
        impl PartialEq for NeverEqual {
            fn eq(&self, _: &Self) -> bool {
                false
            }
        }
        let older: SharedMap<u32, NeverEqual> = (0..10_000).map(|key| (key, NeverEqual)).collect();
        let mut newer = older.clone();
        newer.insert(20_000, NeverEqual);
        let changes = newer.changes(&older);
        assert!(changes.len() <= MAX_CHUNK + 1, "only the last chunk was copied, {} entries compared", changes.len());
        assert!(older.changes(&older).is_empty());
    }
    #[test]
    fn a_change_of_a_copy_copies_one_chunk() {
        let map: SharedMap<u64, u64> = (0..10_000).map(|key| (key, key)).collect();
        let mut copy = map.clone();
        copy.insert(5000, 0);
        copy.remove(&5001);
        let pairs = map.chunks.iter().zip(copy.chunks.iter());
        let shared = pairs.filter(|(ours, theirs)| Arc::ptr_eq(ours, theirs)).count();
        assert_eq!((map.chunks.len(), copy.chunks.len() - shared), (copy.chunks.len(), 1));
    }

    #[test]
    fn a_map_that_has_shrunk_is_in_few_chunks() {
        let mut map: SharedMap<u64, u64> = (0..10_000).map(|key| (key, key)).collect();
        (0..10_000).filter(|key| key % 100 != 0).for_each(|key| assert_eq!(map.remove(&key), Some(key)));
        assert!(map.len() == 100 && map.chunks.len() < 30, "{} chunks", map.chunks.len());
    }
}
