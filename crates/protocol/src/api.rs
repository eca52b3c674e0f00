//! The APIs of the protocol: their keys and names, the versions that Kafka 4.4 serves, and on which listeners.
//!
//! Not here: which of them this broker serves (the broker's own list), nor what a message of each looks like
//! (`messages`), which may go back to older versions than Kafka's.

use std::fmt;
use std::ops::RangeInclusive;

/// An API, by the name that Kafka's tools print. Keys 4 to 7 are reserved: removed from Kafka in 4.0.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    SaslHandshake = 17,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    WriteTxnMarkers = 27,
    TxnOffsetCommit = 28,
    DescribeAcls = 29,
    CreateAcls = 30,
    DeleteAcls = 31,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    AlterReplicaLogDirs = 34,
    DescribeLogDirs = 35,
    SaslAuthenticate = 36,
    CreatePartitions = 37,
    CreateDelegationToken = 38,
    RenewDelegationToken = 39,
    ExpireDelegationToken = 40,
    DescribeDelegationToken = 41,
    DeleteGroups = 42,
    ElectLeaders = 43,
    IncrementalAlterConfigs = 44,
    AlterPartitionReassignments = 45,
    ListPartitionReassignments = 46,
    OffsetDelete = 47,
    DescribeClientQuotas = 48,
    AlterClientQuotas = 49,
    DescribeUserScramCredentials = 50,
    AlterUserScramCredentials = 51,
    Vote = 52,
    BeginQuorumEpoch = 53,
    EndQuorumEpoch = 54,
    DescribeQuorum = 55,
    AlterPartition = 56,
    UpdateFeatures = 57,
    Envelope = 58,
    FetchSnapshot = 59,
    DescribeCluster = 60,
    DescribeProducers = 61,
    BrokerRegistration = 62,
    BrokerHeartbeat = 63,
    UnregisterBroker = 64,
    DescribeTransactions = 65,
    ListTransactions = 66,
    AllocateProducerIds = 67,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
    ControllerRegistration = 70,
    GetTelemetrySubscriptions = 71,
    PushTelemetry = 72,
    AssignReplicasToDirs = 73,
    ListConfigResources = 74,
    DescribeTopicPartitions = 75,
    ShareGroupHeartbeat = 76,
    ShareGroupDescribe = 77,
    ShareFetch = 78,
    ShareAcknowledge = 79,
    AddRaftVoter = 80,
    RemoveRaftVoter = 81,
    UpdateRaftVoter = 82,
    InitializeShareGroupState = 83,
    ReadShareGroupState = 84,
    WriteShareGroupState = 85,
    DeleteShareGroupState = 86,
    ReadShareGroupStateSummary = 87,
    StreamsGroupHeartbeat = 88,
    StreamsGroupDescribe = 89,
    DescribeShareGroupOffsets = 90,
    AlterShareGroupOffsets = 91,
    DeleteShareGroupOffsets = 92,
    StreamsGroupTopologyDescriptionUpdate = 93,
    UnregisterController = 94,
}

/// The listeners on which Kafka has an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listeners {
    Broker,
    Controller,
    Both,
}

/// What is known of an API: its name, the first and last version in Kafka 4.4, the first flexible one, where it is.
type Row = (ApiKey, &'static str, i16, i16, i16, Listeners);

/// There is no flexible version.
const NEVER: i16 = i16::MAX;

/// All APIs, by key. Kafka has InitProducerId 6 too, but does not serve it unless told to: it is not stable.
#[rustfmt::skip]
const APIS: &[Row] = {
    use ApiKey as Key;
    use Listeners::{Both, Broker, Controller};
    &[
        (Key::Produce, "Produce", 3, 13, 9, Broker),
        (Key::Fetch, "Fetch", 4, 18, 12, Both),
        (Key::ListOffsets, "ListOffsets", 1, 11, 6, Broker),
        (Key::Metadata, "Metadata", 0, 13, 9, Broker),
        (Key::OffsetCommit, "OffsetCommit", 2, 10, 8, Broker),
        (Key::OffsetFetch, "OffsetFetch", 1, 10, 6, Broker),
        (Key::FindCoordinator, "FindCoordinator", 0, 6, 3, Broker),
        (Key::JoinGroup, "JoinGroup", 0, 9, 6, Broker),
        (Key::Heartbeat, "Heartbeat", 0, 4, 4, Broker),
        (Key::LeaveGroup, "LeaveGroup", 0, 5, 4, Broker),
        (Key::SyncGroup, "SyncGroup", 0, 5, 4, Broker),
        (Key::DescribeGroups, "DescribeGroups", 0, 6, 5, Broker),
        (Key::ListGroups, "ListGroups", 0, 5, 3, Broker),
        (Key::SaslHandshake, "SaslHandshake", 0, 1, NEVER, Both),
        (Key::ApiVersions, "ApiVersions", 0, 5, 3, Both),
        (Key::CreateTopics, "CreateTopics", 2, 7, 5, Both),
        (Key::DeleteTopics, "DeleteTopics", 1, 6, 4, Both),
        (Key::DeleteRecords, "DeleteRecords", 0, 2, 2, Broker),
        (Key::InitProducerId, "InitProducerId", 0, 5, 2, Broker),
        (Key::OffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4, 4, Broker),
        (Key::AddPartitionsToTxn, "AddPartitionsToTxn", 0, 5, 3, Broker),
        (Key::AddOffsetsToTxn, "AddOffsetsToTxn", 0, 4, 3, Broker),
        (Key::EndTxn, "EndTxn", 0, 5, 3, Broker),
        (Key::WriteTxnMarkers, "WriteTxnMarkers", 1, 2, 1, Broker),
        (Key::TxnOffsetCommit, "TxnOffsetCommit", 0, 6, 3, Broker),
        (Key::DescribeAcls, "DescribeAcls", 1, 3, 2, Both),
        (Key::CreateAcls, "CreateAcls", 1, 3, 2, Both),
        (Key::DeleteAcls, "DeleteAcls", 1, 3, 2, Both),
        (Key::DescribeConfigs, "DescribeConfigs", 1, 4, 4, Both),
        (Key::AlterConfigs, "AlterConfigs", 0, 2, 2, Both),
        (Key::AlterReplicaLogDirs, "AlterReplicaLogDirs", 1, 2, 2, Broker),
        (Key::DescribeLogDirs, "DescribeLogDirs", 1, 5, 2, Broker),
        (Key::SaslAuthenticate, "SaslAuthenticate", 0, 2, 2, Both),
        (Key::CreatePartitions, "CreatePartitions", 0, 3, 2, Both),
        (Key::CreateDelegationToken, "CreateDelegationToken", 1, 3, 2, Both),
        (Key::RenewDelegationToken, "RenewDelegationToken", 1, 2, 2, Both),
        (Key::ExpireDelegationToken, "ExpireDelegationToken", 1, 2, 2, Both),
        (Key::DescribeDelegationToken, "DescribeDelegationToken", 1, 3, 2, Both),
        (Key::DeleteGroups, "DeleteGroups", 0, 3, 2, Broker),
        (Key::ElectLeaders, "ElectLeaders", 0, 2, 2, Both),
        (Key::IncrementalAlterConfigs, "IncrementalAlterConfigs", 0, 1, 1, Both),
        (Key::AlterPartitionReassignments, "AlterPartitionReassignments", 0, 1, 0, Both),
        (Key::ListPartitionReassignments, "ListPartitionReassignments", 0, 0, 0, Both),
        (Key::OffsetDelete, "OffsetDelete", 0, 0, NEVER, Broker),
        (Key::DescribeClientQuotas, "DescribeClientQuotas", 0, 1, 1, Broker),
        (Key::AlterClientQuotas, "AlterClientQuotas", 0, 1, 1, Both),
        (Key::DescribeUserScramCredentials, "DescribeUserScramCredentials", 0, 0, 0, Both),
        (Key::AlterUserScramCredentials, "AlterUserScramCredentials", 0, 0, 0, Both),
        (Key::Vote, "Vote", 0, 2, 0, Controller),
        (Key::BeginQuorumEpoch, "BeginQuorumEpoch", 0, 1, 1, Controller),
        (Key::EndQuorumEpoch, "EndQuorumEpoch", 0, 1, 1, Controller),
        (Key::DescribeQuorum, "DescribeQuorum", 0, 2, 0, Both),
        (Key::AlterPartition, "AlterPartition", 2, 3, 0, Controller),
        (Key::UpdateFeatures, "UpdateFeatures", 0, 2, 0, Both),
        (Key::Envelope, "Envelope", 0, 0, 0, Controller),
        (Key::FetchSnapshot, "FetchSnapshot", 0, 1, 0, Controller),
        (Key::DescribeCluster, "DescribeCluster", 0, 2, 0, Both),
        (Key::DescribeProducers, "DescribeProducers", 0, 0, 0, Broker),
        (Key::BrokerRegistration, "BrokerRegistration", 0, 4, 0, Controller),
        (Key::BrokerHeartbeat, "BrokerHeartbeat", 0, 2, 0, Controller),
        (Key::UnregisterBroker, "UnregisterBroker", 0, 0, 0, Both),
        (Key::DescribeTransactions, "DescribeTransactions", 0, 0, 0, Broker),
        (Key::ListTransactions, "ListTransactions", 0, 2, 0, Broker),
        (Key::AllocateProducerIds, "AllocateProducerIds", 0, 0, 0, Controller),
        (Key::ConsumerGroupHeartbeat, "ConsumerGroupHeartbeat", 0, 1, 0, Broker),
        (Key::ConsumerGroupDescribe, "ConsumerGroupDescribe", 0, 1, 0, Broker),
        (Key::ControllerRegistration, "ControllerRegistration", 0, 0, 0, Controller),
        (Key::GetTelemetrySubscriptions, "GetTelemetrySubscriptions", 0, 0, 0, Broker),
        (Key::PushTelemetry, "PushTelemetry", 0, 0, 0, Broker),
        (Key::AssignReplicasToDirs, "AssignReplicasToDirs", 0, 0, 0, Controller),
        (Key::ListConfigResources, "ListConfigResources", 0, 1, 0, Broker),
        (Key::DescribeTopicPartitions, "DescribeTopicPartitions", 0, 0, 0, Broker),
        (Key::ShareGroupHeartbeat, "ShareGroupHeartbeat", 1, 1, 0, Broker),
        (Key::ShareGroupDescribe, "ShareGroupDescribe", 1, 1, 0, Broker),
        (Key::ShareFetch, "ShareFetch", 1, 2, 0, Broker),
        (Key::ShareAcknowledge, "ShareAcknowledge", 1, 2, 0, Broker),
        (Key::AddRaftVoter, "AddRaftVoter", 0, 1, 0, Both),
        (Key::RemoveRaftVoter, "RemoveRaftVoter", 0, 0, 0, Both),
        (Key::UpdateRaftVoter, "UpdateRaftVoter", 0, 0, 0, Controller),
        (Key::InitializeShareGroupState, "InitializeShareGroupState", 0, 0, 0, Broker),
        (Key::ReadShareGroupState, "ReadShareGroupState", 0, 0, 0, Broker),
        (Key::WriteShareGroupState, "WriteShareGroupState", 0, 1, 0, Broker),
        (Key::DeleteShareGroupState, "DeleteShareGroupState", 0, 0, 0, Broker),
        (Key::ReadShareGroupStateSummary, "ReadShareGroupStateSummary", 0, 1, 0, Broker),
        (Key::StreamsGroupHeartbeat, "StreamsGroupHeartbeat", 0, 1, 0, Broker),
        (Key::StreamsGroupDescribe, "StreamsGroupDescribe", 0, 1, 0, Broker),
        (Key::DescribeShareGroupOffsets, "DescribeShareGroupOffsets", 0, 1, 0, Broker),
        (Key::AlterShareGroupOffsets, "AlterShareGroupOffsets", 0, 0, 0, Broker),
        (Key::DeleteShareGroupOffsets, "DeleteShareGroupOffsets", 0, 0, 0, Broker),
        (Key::StreamsGroupTopologyDescriptionUpdate, "StreamsGroupTopologyDescriptionUpdate", 0, 0, 0, Broker),
        (Key::UnregisterController, "UnregisterController", 0, 0, 0, Both),
    ]
};

/// The keys that were there once: none of them is an API.
const REMOVED: RangeInclusive<i16> = 4..=7;

impl ApiKey {
    /// All APIs, by key.
    pub fn all() -> impl Iterator<Item = Self> {
        APIS.iter().map(|row| row.0)
    }

    /// The key on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The API of this key.
    pub fn from_code(code: i16) -> Option<Self> {
        let removed = REMOVED.end() - REMOVED.start() + 1;
        let index = match code {
            code if REMOVED.contains(&code) => return None,
            code if code > *REMOVED.end() => code - removed,
            code => code,
        };
        APIS.get(usize::try_from(index).ok()?).map(|row| row.0)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The versions that Kafka 4.4 serves.
    pub fn kafka_versions(self) -> RangeInclusive<i16> {
        let (_, _, first, last, ..) = *self.row();
        first..=last
    }

    /// Whether this version has compact lengths and tags, and so headers with tags.
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.row().4
    }

    /// Whether Kafka has it on the listeners of brokers.
    pub fn is_on_broker(self) -> bool {
        self.row().5 != Listeners::Controller
    }

    /// Whether Kafka has it on the listeners of controllers.
    pub fn is_on_controller(self) -> bool {
        self.row().5 != Listeners::Broker
    }

    fn row(self) -> &'static Row {
        let index = if self.code() > *REMOVED.end() { self.code() - 4 } else { self.code() };
        &APIS[index as usize]
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_an_api_but_the_removed_ones() {
        for code in 0..=94 {
            assert_eq!(ApiKey::from_code(code).map(ApiKey::code), (!REMOVED.contains(&code)).then_some(code));
        }
        for code in [i16::MIN, -1, 95, i16::MAX] {
            assert_eq!(ApiKey::from_code(code), None);
        }
        assert!(ApiKey::all().all(|api| api.name() == format!("{api:?}") && !api.kafka_versions().is_empty()));
    }

    #[test]
    fn a_row_says_what_kafka_serves() {
        assert_eq!(ApiKey::Produce.kafka_versions(), 3..=13);
        assert!(!ApiKey::Produce.is_flexible(8) && ApiKey::Produce.is_flexible(9));
        assert!(!ApiKey::SaslHandshake.is_flexible(1));
        assert!(ApiKey::Fetch.is_on_broker() && ApiKey::Fetch.is_on_controller());
        assert!(!ApiKey::Vote.is_on_broker() && !ApiKey::Produce.is_on_controller());
    }
}
