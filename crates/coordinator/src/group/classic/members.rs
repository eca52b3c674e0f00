//! The members of a group by id, with what would otherwise have to be counted over all of them again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use super::join_group::Protocol;
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
    /// Nothing while it has to be counted anew.
    protocol_counts: Option<ProtocolCounts>,
}

/// How many members have each of the protocols of one of them: any that all have is among these.
#[derive(Clone, Debug, PartialEq)]
struct ProtocolCounts {
    of: MemberId,
    by_name: BTreeMap<Arc<str>, usize>,
}

impl Members {
    /// Takes in a member.
    ///
    /// # Panics
    /// Where the id is another's.
    pub(super) fn insert(&mut self, member_id: MemberId, member: Arc<Member>) {
        self.count_in(&member_id, &member);
        if let Some(counts) = &mut self.protocol_counts {
            counts.add(&member.protocols);
        }
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.insert(Arc::clone(instance_id), Arc::clone(&member_id));
        }
        let former = self.by_id.insert(member_id, member);
        assert!(former.is_none(), "the host draws a fresh id for each request");
    }

    pub(super) fn remove(&mut self, member_id: &MemberId) -> Option<Arc<Member>> {
        let member = self.by_id.remove(member_id)?;
        self.count_out(member_id, &member);
        self.count_protocols_out(member_id, &member.protocols);
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
    pub(super) fn set_protocols(&mut self, member_id: &str, protocols: Vec<Protocol>) {
        let before = self.change(member_id, |member| std::mem::replace(&mut member.protocols, protocols));
        let now = &self.by_id[member_id].protocols;
        // Most say the same again.
        if now.iter().map(|protocol| &protocol.name).eq(before.iter().map(|protocol| &protocol.name)) {
            return;
        }
        self.count_protocols_out(member_id, &before);
        if let Some(counts) = &mut self.protocol_counts {
            counts.add(&self.by_id[member_id].protocols);
        }
    }

    /// Changes a member, but for its instance and its protocols.
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

    /// The protocols that all members have; of members that are not there, none.
    pub(super) fn shared_protocols(&mut self) -> BTreeSet<Arc<str>> {
        let count_anew = || ProtocolCounts::new(&self.by_id);
        self.protocol_counts = self.protocol_counts.take().or_else(count_anew);
        let all = self.by_id.len();
        let counts = self.protocol_counts.iter().flat_map(|counts| &counts.by_name);
        counts.filter(|(_, count)| **count == all).map(|(name, _)| Arc::clone(name)).collect()
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

    fn count_protocols_out(&mut self, member_id: &str, protocols: &[Protocol]) {
        match &mut self.protocol_counts {
            Some(counts) if *counts.of == *member_id => self.protocol_counts = None,
            Some(counts) => counts.remove(protocols),
            None => {}
        }
    }

    /// Panics where what is counted is not what there is.
    pub(super) fn check(&self) {
        let mut counted = Self::default();
        self.by_id.iter().for_each(|(member_id, member)| counted.count_in(member_id, member));
        assert_eq!(self.joining_count, counted.joining_count, "those who are joining");
        assert_eq!(self.size_bytes, counted.size_bytes, "what the members take");
        if let Some(counts) = &self.protocol_counts {
            let mut anew = ProtocolCounts::of(&counts.of, &self.by_id[&counts.of]);
            self.by_id.values().for_each(|member| anew.add(&member.protocols));
            assert_eq!(*counts, anew, "how many members have each protocol");
        }
        let instances = self.by_id.values().filter(|member| member.instance_id.is_some()).count();
        assert_eq!(self.by_instance.len(), instances, "an instance is one member");
        for (instance_id, member_id) in &self.by_instance {
            assert_eq!(self.by_id[member_id].instance_id.as_ref(), Some(instance_id), "{member_id} is the instance");
        }
    }
}

impl ProtocolCounts {
    /// Nothing, where there are no members.
    fn new(members: &BTreeMap<MemberId, Arc<Member>>) -> Option<Self> {
        let (member_id, member) = members.iter().min_by_key(|(_, member)| member.protocols.len())?;
        let mut counts = Self::of(member_id, member);
        members.values().for_each(|member| counts.add(&member.protocols));
        Some(counts)
    }

    fn of(member_id: &MemberId, member: &Member) -> Self {
        let by_name = member.protocols.iter().map(|protocol| (Arc::clone(&protocol.name), 0)).collect();
        Self { of: Arc::clone(member_id), by_name }
    }

    fn add(&mut self, protocols: &[Protocol]) {
        self.change(protocols, |count| *count += 1);
    }

    fn remove(&mut self, protocols: &[Protocol]) {
        self.change(protocols, |count| *count -= 1);
    }

    /// A member may name a protocol twice.
    fn change(&mut self, protocols: &[Protocol], change: impl Fn(&mut usize)) {
        let names: BTreeSet<&str> = protocols.iter().map(|protocol| &*protocol.name).collect();
        for name in names {
            self.by_name.get_mut(name).into_iter().for_each(&change);
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
