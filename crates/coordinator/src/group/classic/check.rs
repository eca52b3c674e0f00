//! What is always true of a classic group.

use std::collections::BTreeSet;

use super::state::{ClassicGroup, Phase, Waiting};
use crate::group::MemberId;
use ottla_base::SharedMap;

impl ClassicGroup {
    pub(in crate::group) fn check(&self) {
        let leads = self.leader.as_ref().is_some_and(|leader| self.members.contains_key(leader));
        assert_eq!(leads, !self.members.is_empty(), "where there are members one leads");
        self.members.check();
        self.pending_joins.check();
        for member_id in self.pending_joins.keys() {
            assert!(!self.members.contains_key(member_id), "{member_id} has joined, so it is not awaited");
        }
        self.check_members();
        match &self.phase {
            Phase::Empty => {
                assert!(self.members.is_empty(), "an empty group has no members");
                assert!(self.protocol.is_none(), "nobody agreed on a protocol");
            }
            Phase::PreparingRebalance(_) => {}
            Phase::CompletingRebalance(syncing) => {
                self.check_syncing(&syncing.pending);
                let leader = self.leader.as_ref().expect("there are members");
                assert!(self.members[leader].waiting == Waiting::Nothing, "the leader's sync ends the wait");
                for (member_id, member) in self.members.iter() {
                    let is_pending = syncing.pending.contains_key(member_id);
                    let waits = matches!(member.waiting, Waiting::Sync(_));
                    assert!(is_pending != waits, "{member_id} has synced or has not");
                }
            }
            Phase::Stable(syncing) => self.check_syncing(&syncing.pending),
        }
    }

    fn check_members(&self) {
        let is_preparing = matches!(self.phase, Phase::PreparingRebalance(_));
        let is_completing = matches!(self.phase, Phase::CompletingRebalance(_));
        let mut tickets = BTreeSet::new();
        for (member_id, member) in self.members.iter() {
            match member.waiting {
                Waiting::Nothing => {}
                Waiting::Join(ticket) => {
                    assert!(is_preparing, "{member_id} waits for a generation that nobody prepares");
                    assert!(tickets.insert(ticket), "{member_id} waits with another's ticket");
                }
                Waiting::Sync(ticket) => {
                    assert!(is_completing, "{member_id} waits for an assignment that nobody makes");
                    assert!(tickets.insert(ticket), "{member_id} waits with another's ticket");
                }
            }
            assert!(!member.is_new || member.is_joining(), "{member_id} is new until its first join is answered");
            assert!(!member.protocols.is_empty(), "{member_id} came with a protocol");
        }
    }

    fn check_syncing(&self, pending: &SharedMap<MemberId, ()>) {
        assert!(!self.members.is_empty(), "a generation has members");
        assert!(self.protocol.is_some(), "a generation has a protocol");
        assert!(pending.keys().all(|member_id| self.members.contains_key(member_id)), "only members sync");
    }
}
