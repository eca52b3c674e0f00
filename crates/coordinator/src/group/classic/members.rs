//! The members of a group by id, with what would otherwise have to be counted over all of them again and again.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::join_group::Protocol;
use super::state::{Member, size_of_protocols};
use crate::group::MemberId;
use ottla_base::SharedMap;

/// What it takes to count the members that have one protocol, about.
const COUNT_BYTES: usize = 48;

/// Members, which are read as a map and changed here alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::group) struct Members {
    by_id: SharedMap<MemberId, Arc<Member>>,
    /// Who each static instance is now (KIP-345).
    by_instance: SharedMap<Arc<str>, MemberId>,
    /// How many members have each protocol.
    by_protocol: SharedMap<Arc<str>, usize>,
    /// Those whose JoinGroup waits.
    joining_count: usize,
    size_bytes: usize,
    /// No session ends before this time; the first may do so later.
    earliest: Option<Duration>,
}

impl Members {
    /// Takes in a member.
    ///
    /// # Panics
    /// Where the id is another's.
    pub(super) fn insert(&mut self, member_id: MemberId, member: Arc<Member>) {
        self.joining_count += usize::from(member.is_joining());
        self.size_bytes += member_id.len() + member.size_bytes();
        self.awaits(member.session_deadline);
        self.count_in(&member.protocols);
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.insert(Arc::clone(instance_id), Arc::clone(&member_id));
        }
        let former = self.by_id.insert(member_id, member);
        assert!(former.is_none(), "the host draws a fresh id for each request");
    }

    pub(super) fn remove(&mut self, member_id: &MemberId) -> Option<Arc<Member>> {
        let member = self.by_id.remove(member_id)?;
        self.joining_count -= usize::from(member.is_joining());
        self.size_bytes -= member_id.len() + member.size_bytes();
        self.count_out(&member.protocols);
        // A log may hold an instance twice.
        if let Some(instance_id) = &member.instance_id
            && self.by_instance.get(instance_id) == Some(member_id)
        {
            self.by_instance.remove(instance_id);
        }
        Some(member)
    }

    /// Lets a member have other protocols.
    ///
    /// # Panics
    /// Where there is no such member.
    pub(super) fn set_protocols(&mut self, member_id: &str, protocols: Arc<[Protocol]>) {
        let member = Arc::make_mut(self.by_id.get_mut(member_id).expect("the caller found the member"));
        let before = std::mem::replace(&mut member.protocols, protocols);
        let now = Arc::clone(&member.protocols);
        self.size_bytes = self.size_bytes + size_of_protocols(&now) - size_of_protocols(&before);
        // Most say the same again.
        if !names(&now).eq(names(&before)) {
            self.count_out(&before);
            self.count_in(&now);
        }
    }

    /// Changes a member, but for its instance and its protocols.
    ///
    /// # Panics
    /// Where there is no such member.
    pub(super) fn change<T>(&mut self, member_id: &str, change: impl FnOnce(&mut Member) -> T) -> T {
        let member = Arc::make_mut(self.by_id.get_mut(member_id).expect("the caller found the member"));
        let (was_joining, before_bytes) = (member.is_joining(), member.assignment.len());
        let result = change(member);
        self.joining_count = self.joining_count + usize::from(member.is_joining()) - usize::from(was_joining);
        self.size_bytes = self.size_bytes + member.assignment.len() - before_bytes;
        let deadline = member.session_deadline;
        self.awaits(deadline);
        result
    }

    pub(super) fn of_instance(&self, instance_id: &str) -> Option<&MemberId> {
        self.by_instance.get(instance_id)
    }

    /// Whether the protocol is one that all members have; where there are none, it is not.
    pub(super) fn all_have(&self, protocol: &str) -> bool {
        self.by_protocol.get(protocol) == Some(&self.by_id.len())
    }

    pub(super) fn joining_count(&self) -> usize {
        self.joining_count
    }

    /// The memory that they take, about.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes + self.by_protocol.len() * COUNT_BYTES
    }

    pub(super) fn earliest(&self) -> Option<Duration> {
        self.earliest
    }

    /// Looks for the session that ends first.
    pub(super) fn find_earliest(&mut self) {
        self.earliest = self.by_id.values().filter_map(|member| member.session_deadline).min();
    }

    fn awaits(&mut self, deadline: Option<Duration>) {
        self.earliest = self.earliest.into_iter().chain(deadline).min();
    }

    fn count_in(&mut self, protocols: &[Protocol]) {
        for name in distinct(protocols) {
            match self.by_protocol.get_mut(name) {
                Some(count) => *count += 1,
                None => {
                    self.by_protocol.insert(Arc::clone(name), 1);
                }
            }
        }
    }

    fn count_out(&mut self, protocols: &[Protocol]) {
        for name in distinct(protocols) {
            let count = self.by_protocol.get_mut(name).expect("it was counted in");
            *count -= 1;
            if *count == 0 {
                self.by_protocol.remove(name);
            }
        }
    }

    /// Panics where what is counted is not what there is.
    pub(super) fn check(&self) {
        let counted: Self =
            self.iter().map(|(member_id, member)| (Arc::clone(member_id), Arc::clone(member))).collect();
        assert_eq!(self.joining_count, counted.joining_count, "those who are joining");
        assert_eq!(self.size_bytes, counted.size_bytes, "what the members take");
        assert_eq!(self.by_protocol, counted.by_protocol, "how many members have each protocol");
        assert!(counted.earliest.is_none() || self.earliest <= counted.earliest, "no session ends before the earliest");
        assert!(counted.earliest.is_none() || self.earliest.is_some(), "sessions end");
        let instances = self.values().filter(|member| member.instance_id.is_some()).count();
        assert_eq!(self.by_instance.len(), instances, "an instance is one member");
        for (instance_id, member_id) in self.by_instance.iter() {
            assert_eq!(self[member_id].instance_id.as_ref(), Some(instance_id), "{member_id} is the instance");
        }
    }
}

fn names(protocols: &[Protocol]) -> impl Iterator<Item = &Arc<str>> {
    protocols.iter().map(|protocol| &protocol.name)
}

/// The names of protocols, each once: a member may name one twice.
fn distinct(protocols: &[Protocol]) -> BTreeSet<&Arc<str>> {
    names(protocols).collect()
}

impl FromIterator<(MemberId, Arc<Member>)> for Members {
    /// Of several with the same id, which a log may hold, the last.
    fn from_iter<I: IntoIterator<Item = (MemberId, Arc<Member>)>>(members: I) -> Self {
        let mut all = Self::default();
        for (member_id, member) in members {
            all.remove(&member_id);
            all.insert(member_id, member);
        }
        all
    }
}

impl Deref for Members {
    type Target = SharedMap<MemberId, Arc<Member>>;

    fn deref(&self) -> &Self::Target {
        &self.by_id
    }
}
