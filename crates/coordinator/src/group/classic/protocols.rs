//! What members agree on: the protocol that the most of them want among those that all have; and what its metadata says
//! of consumers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::internal::consumer_protocol::ConsumerProtocolSubscription;
use ottla_protocol::{Message, Reader};

use super::join_group::Protocol;
use super::state::ClassicGroup;

impl ClassicGroup {
    /// Whether the group could agree on a protocol with a member that has these.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        if self.protocol_type.as_deref() != Some(protocol_type) {
            return false;
        }
        protocols.iter().any(|protocol| self.members.is_empty() || self.members.all_have(&protocol.name))
    }

    /// The protocol with the most votes: each member votes for the first of its own list that all have.
    ///
    /// # Panics
    /// Where there is no such protocol: members without one are not let in.
    pub(super) fn select_protocol(&self) -> Arc<str> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|protocol| self.members.all_have(&protocol.name));
            *votes.entry(&vote.expect("joining members share a protocol").name).or_default() += 1;
        }
        // Of equals the first by name: Kafka leaves it open.
        let (winner, _) =
            votes.iter().rev().max_by_key(|(_, count)| **count).expect("a group without members does not vote");
        Arc::clone(winner)
    }

    /// All topics that consumers ask for in the metadata of the chosen protocol.
    pub(super) fn compute_subscribed_topics(&self) -> Option<Arc<BTreeSet<String>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol.as_deref()?);
            let mut reader = Reader::new(&metadata);
            // Every version begins with the fields of version 0.
            reader.int16().ok()?;
            let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?;
            topics.extend(subscription.topics.into_iter().map(Into::into));
        }
        Some(Arc::new(topics))
    }
}
