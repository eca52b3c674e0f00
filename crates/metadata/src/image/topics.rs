//! The topics of a cluster, found by name, by id, and by what their names collide with.

use std::sync::Arc;

use ottla_base::{Change, PartitionIndex, SharedMap, Uuid};

use super::{Partition, Topic};
use crate::names;

/// All topics. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Topics {
    by_name: SharedMap<Arc<str>, Arc<Topic>>,
    names: SharedMap<Uuid, Arc<str>>,
    /// Names that hold a `.` or a `_`, behind what they collide as. Others collide with nothing.
    colliding: SharedMap<(Arc<str>, Arc<str>), ()>,
}

impl Topics {
    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The topic called `name`.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_name.get(self.names.get(&id)?)
    }

    /// All topics, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// The topics from `name` on, in the order of their names: for answers in pages.
    pub fn iter_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.iter_from(name).map(|(_, topic)| topic)
    }

    /// An existing topic whose name differs from `name` only in `.` and `_`.
    pub fn collision(&self, name: &str) -> Option<&str> {
        let key: Arc<str> = names::collision_key(name).into();
        let first = (Arc::clone(&key), Arc::from(""));
        let colliding = self.colliding.iter_from(&first).map(|(entry, ())| entry);
        colliding.take_while(|entry| entry.0 == key).map(|entry| &*entry.1).find(|other| *other != name)
    }

    /// How these topics differ from `older` ones, in the order of names.
    pub fn changes<'a>(&'a self, older: &'a Self) -> Vec<Change<'a, Arc<str>, Arc<Topic>>> {
        self.by_name.changes(&older.by_name)
    }

    /// Adds a topic without partitions. Name and id must be new.
    pub(super) fn add(&mut self, name: &str, id: Uuid) {
        let name: Arc<str> = name.into();
        let replaced = self.by_name.insert(Arc::clone(&name), Arc::new(Topic::new(Arc::clone(&name), id)));
        assert!(replaced.is_none(), "the topic {name} exists");
        self.names.insert(id, Arc::clone(&name));
        if name.contains(['.', '_']) {
            self.colliding.insert((names::collision_key(&name).into(), name), ());
        }
    }

    /// Removes a topic with its partitions.
    pub(super) fn remove(&mut self, id: Uuid) -> Option<Arc<Topic>> {
        let name = self.names.remove(&id)?;
        self.colliding.remove(&(names::collision_key(&name).into(), Arc::clone(&name)));
        self.by_name.remove(&name)
    }

    /// Sets a partition. Answers whether the topic exists.
    #[must_use]
    pub(super) fn set_partition(&mut self, id: Uuid, index: PartitionIndex, partition: Partition) -> bool {
        let Some(topic) = self.names.get(&id).and_then(|name| self.by_name.get_mut(name)) else { return false };
        Arc::make_mut(topic).partitions.insert(index, Arc::new(partition));
        true
    }

    /// Panics where the three views disagree.
    pub(super) fn check(&self) {
        assert_eq!(self.by_name.len(), self.names.len(), "every topic has one id");
        for (name, topic) in self.by_name.iter() {
            assert_eq!(*name, topic.name);
            assert_eq!(self.names.get(&topic.id), Some(name), "{name} is found by its id");
        }
        let may_collide: Vec<_> = self.by_name.keys().filter(|name| name.contains(['.', '_'])).collect();
        assert_eq!(may_collide.len(), self.colliding.len(), "only names that exist collide");
        for name in may_collide {
            let key = names::collision_key(name.as_ref()).into();
            assert!(self.colliding.get(&(key, Arc::clone(name))).is_some(), "{name} may collide");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collision_is_found_and_forgotten_with_the_topic() {
        let mut topics = Topics::default();
        for (id, name) in ["a.b", "c.d", "c_d", "plain", "a.bc"].into_iter().enumerate() {
            topics.add(name, Uuid(100 + id as u128));
        }
        assert_eq!(topics.collision("a_b"), Some("a.b"));
        assert_eq!(topics.collision("a.b"), None, "a name does not collide with itself");
        assert_eq!(topics.collision("c.d"), Some("c_d"));
        assert_eq!(topics.collision("a"), None);
        assert_eq!(topics.collision("plain"), None);
        assert_eq!(topics.collision("a_bcd"), None);
        topics.check();
        topics.remove(Uuid(100)).expect("a.b is there");
        assert_eq!(topics.collision("a_b"), None);
        assert!(topics.by_id(Uuid(100)).is_none());
        topics.check();
    }
}
