//! The members of a group by id, with what would otherwise have to be counted over all of them again and again.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use super::state::Member;
use crate::group::MemberId;

/// Members, which are read as a map and changed here alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::group) struct Members {
    by_id: BTreeMap<MemberId, Arc<Member>>,
    /// Who each static instance is now (KIP-345).
    by_instance: BTreeMap<Arc<str>, MemberId>,
    /// Those whose JoinGroup waits.
    joining_count: usize,
    size_bytes: usize,
}

impl Members {
    /// Takes in a member.
    ///
    /// # Panics
    /// Where the id is another's.
    pub(super) fn insert(&mut self, member_id: MemberId, member: Arc<Member>) {
        self.count_in(&member_id, &member);
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.insert(Arc::clone(instance_id), Arc::clone(&member_id));
        }
        let former = self.by_id.insert(member_id, member);
        assert!(former.is_none(), "the host draws a fresh id for each request");
    }

    pub(super) fn remove(&mut self, member_id: &MemberId) -> Option<Arc<Member>> {
        let member = self.by_id.remove(member_id)?;
        self.count_out(member_id, &member);
        // A log may hold an instance twice.
        if let Some(instance_id) = &member.instance_id
            && self.by_instance.get(instance_id) == Some(member_id)
        {
            self.by_instance.remove(instance_id);
        }
        Some(member)
    }

    /// Changes a member, but for its instance.
    ///
    /// # Panics
    /// Where there is no such member.
    pub(super) fn change<T>(&mut self, member_id: &str, change: impl FnOnce(&mut Member) -> T) -> T {
        let member = self.by_id.get_mut(member_id).expect("the caller found the member");
        let member = Arc::make_mut(member);
        let (was_joining, before_bytes) = (member.is_joining(), member.size_bytes());
        let result = change(member);
        self.joining_count = self.joining_count + usize::from(member.is_joining()) - usize::from(was_joining);
        self.size_bytes = self.size_bytes + member.size_bytes() - before_bytes;
        result
    }

    pub(super) fn of_instance(&self, instance_id: &str) -> Option<&MemberId> {
        self.by_instance.get(instance_id)
    }

    pub(super) fn joining_count(&self) -> usize {
        self.joining_count
    }

    /// The memory that a member takes with its id, but without its assignment, about.
    pub(super) fn said_bytes_of(&self, member_id: &str) -> Option<usize> {
        self.by_id.get(member_id).map(|member| member_id.len() + member.said_bytes())
    }

    /// The memory that they take, about.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    fn count_in(&mut self, member_id: &MemberId, member: &Member) {
        self.joining_count += usize::from(member.is_joining());
        self.size_bytes += member_id.len() + member.size_bytes();
    }

    fn count_out(&mut self, member_id: &MemberId, member: &Member) {
        self.joining_count -= usize::from(member.is_joining());
        self.size_bytes -= member_id.len() + member.size_bytes();
    }

    /// Panics where what is counted is not what there is.
    pub(super) fn check(&self) {
        let mut counted = Self::default();
        self.by_id.iter().for_each(|(member_id, member)| counted.count_in(member_id, member));
        assert_eq!(self.joining_count, counted.joining_count, "those who are joining");
        assert_eq!(self.size_bytes, counted.size_bytes, "what the members take");
        let instances = self.by_id.values().filter(|member| member.instance_id.is_some()).count();
        assert_eq!(self.by_instance.len(), instances, "an instance is one member");
        for (instance_id, member_id) in &self.by_instance {
            assert_eq!(self.by_id[member_id].instance_id.as_ref(), Some(instance_id), "{member_id} is the instance");
        }
    }
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
    type Target = BTreeMap<MemberId, Arc<Member>>;

    fn deref(&self) -> &Self::Target {
        &self.by_id
    }
}
