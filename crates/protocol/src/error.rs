//! The error codes that answer a client, with Kafka's names and numbers.
//!
//! Not here: why something failed inside (each crate has its own error), nor which code it becomes (one mapping each).

use std::fmt;

/// An error code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ErrorCode {
    /// Not foreseen; also writes of a coordinator that failed without a better code.
    UnknownServerError = -1,
    /// No error.
    #[default]
    None = 0,
    /// Fetch offset below log start or above LEO/HW limit; DeleteRecords beyond HW or negative.
    OffsetOutOfRange = 1,
    /// CRC mismatch or undecodable batch on produce (fetch: local corruption).
    CorruptMessage = 2,
    /// Topic/partition not in broker's metadata (also while propagating); never for unauthorised Describe.
    UnknownTopicOrPartition = 3,
    /// Negative/invalid size (practically unused).
    InvalidFetchSize = 4,
    /// Metadata: a partition without leader; ListOffsets before v5 instead of `OffsetNotAvailable`.
    LeaderNotAvailable = 5,
    /// Partition known but not led (or not hosted) here.
    NotLeaderOrFollower = 6,
    /// Acks=all wait, delete records, controller operation timeout.
    RequestTimedOut = 7,
    /// Not sent by current brokers.
    BrokerNotAvailable = 8,
    /// Metadata v0: a replica's broker is dead; local replica being created.
    ReplicaNotAvailable = 9,
    /// Batch above `max.message.bytes`.
    MessageTooLarge = 10,
    /// Legacy ZK controller RPCs.
    StaleControllerEpoch = 11,
    /// Commit metadata above `offset.metadata.max.bytes`.
    OffsetMetadataTooLarge = 12,
    /// Client-side disconnect marker; never on the wire from a broker except forwarded txn verification.
    NetworkException = 13,
    /// Coordinator partition still replaying; pid block not ready.
    CoordinatorLoadInProgress = 14,
    /// Internal topic missing/creating, no leader, shutting down, coordinator write not replicated.
    CoordinatorNotAvailable = 15,
    /// This broker does not lead the coordinator partition.
    NotCoordinator = 16,
    /// Bad topic name, collision, produce to internal topic.
    InvalidTopicException = 17,
    /// Batch above `segment.bytes`.
    RecordListTooLarge = 18,
    /// Acks=all and ISR below `min.insync.replicas` before append; txn verification temporarily impossible.
    NotEnoughReplicas = 19,
    /// Acks=all and, after the append, fewer in-sync replicas than `min.insync.replicas`.
    NotEnoughReplicasAfterAppend = 20,
    /// Acks not in -1,0,1.
    InvalidRequiredAcks = 21,
    /// Wrong group generation (classic).
    IllegalGeneration = 22,
    /// Protocol type/name mismatch or empty; wrong group type on join.
    InconsistentGroupProtocol = 23,
    /// Null/empty group id.
    InvalidGroupId = 24,
    /// Member not in group (or group gone).
    UnknownMemberId = 25,
    /// Outside `group.min`/`max.session.timeout.ms`.
    InvalidSessionTimeout = 26,
    /// Heartbeat/sync/commit during rebalance.
    RebalanceInProgress = 27,
    /// Commit record too large (legacy).
    InvalidCommitOffsetSize = 28,
    /// ACL on topic.
    TopicAuthorizationFailed = 29,
    /// ACL on group.
    GroupAuthorizationFailed = 30,
    /// ACL on cluster.
    ClusterAuthorizationFailed = 31,
    /// Record outside timestamp window, or client sent LogAppendTime.
    InvalidTimestamp = 32,
    /// SaslHandshake; also SCRAM admin with unknown mechanism.
    UnsupportedSaslMechanism = 33,
    /// SASL request out of order.
    IllegalSaslState = 34,
    /// ApiVersions too new; feature off; unsupported ListOffsets timestamp; finalized feature unsupported.
    UnsupportedVersion = 35,
    /// CreateTopics.
    TopicAlreadyExists = 36,
    /// Count below 1, or not an increase.
    InvalidPartitions = 37,
    /// Rf below 1 or above brokers, all fenced.
    InvalidReplicationFactor = 38,
    /// Bad manual assignment / cancel impossible.
    InvalidReplicaAssignment = 39,
    /// Unknown/invalid config.
    InvalidConfig = 40,
    /// Controller RPC to a non-active controller.
    NotController = 41,
    /// Malformed or contradictory request.
    InvalidRequest = 42,
    /// Legacy formats.
    UnsupportedForMessageFormat = 43,
    /// Create/alter policy; DeleteRecords on compact-only; too many partitions.
    PolicyViolation = 44,
    /// Sequence gap.
    OutOfOrderSequenceNumber = 45,
    /// Not sent by current brokers (duplicates succeed).
    DuplicateSequenceNumber = 46,
    /// Older epoch at partition; 90 downgraded for old versions.
    InvalidProducerEpoch = 47,
    /// EndTxn/append in wrong state.
    InvalidTxnState = 48,
    /// Unknown txn id or pid mismatch at coordinator.
    InvalidProducerIdMapping = 49,
    /// Timeout at most 0 or above max.
    InvalidTransactionTimeout = 50,
    /// Transition pending / previous txn finishing.
    ConcurrentTransactions = 51,
    /// Marker from old coordinator epoch.
    TransactionCoordinatorFenced = 52,
    /// ACL on txn id; 2PC not allowed.
    TransactionalIdAuthorizationFailed = 53,
    /// No authorizer.
    SecurityDisabled = 54,
    /// Other partitions of a failed batch call.
    OperationNotAttempted = 55,
    /// Offline log dir / IO error (old fetch versions get 6).
    KafkaStorageError = 56,
    /// AlterReplicaLogDirs unknown dir.
    LogDirNotFound = 57,
    /// Bad credentials.
    SaslAuthenticationFailed = 58,
    /// Not sent by current brokers.
    UnknownProducerId = 59,
    /// Legacy reassignment.
    ReassignmentInProgress = 60,
    /// No secret key.
    DelegationTokenAuthDisabled = 61,
    /// No such delegation token.
    DelegationTokenNotFound = 62,
    /// Renew/expire by stranger.
    DelegationTokenOwnerMismatch = 63,
    /// Plaintext, 1-way TLS or token-authenticated channel.
    DelegationTokenRequestNotAllowed = 64,
    /// The caller may do nothing with this delegation token.
    DelegationTokenAuthorizationFailed = 65,
    /// The delegation token has expired.
    DelegationTokenExpired = 66,
    /// Renewer not User.
    InvalidPrincipalType = 67,
    /// Delete group / offsets reset with members.
    NonEmptyGroup = 68,
    /// Unknown group (delete, describe v6, commit v9+, 848 APIs).
    GroupIdNotFound = 69,
    /// The fetch session is not known, or no more.
    FetchSessionIdNotFound = 70,
    /// A fetch session epoch other than the expected one.
    InvalidFetchSessionEpoch = 71,
    /// Metadata v6+: leader lacks the client's listener.
    ListenerNotFound = 72,
    /// `delete.topic.enable`=false.
    TopicDeletionDisabled = 73,
    /// Request leader epoch older.
    FencedLeaderEpoch = 74,
    /// Request leader epoch newer, or follower not yet a replica.
    UnknownLeaderEpoch = 75,
    /// Zstd with produce <7 / fetch <10.
    UnsupportedCompressionType = 76,
    /// Broker RPC with old broker epoch.
    StaleBrokerEpoch = 77,
    /// HW behind epoch start after election.
    OffsetNotAvailable = 78,
    /// First JoinGroup v4+.
    MemberIdRequired = 79,
    /// The preferred leader cannot be elected.
    PreferredLeaderNotAvailable = 80,
    /// The group has `group.max.size` members.
    GroupMaxSizeReached = 81,
    /// Static member replaced.
    FencedInstanceId = 82,
    /// Unclean election found none.
    EligibleLeadersNotAvailable = 83,
    /// The partition is led by whom the election would choose.
    ElectionNotNeeded = 84,
    /// Cancel without reassignment.
    NoReassignmentInProgress = 85,
    /// OffsetDelete.
    GroupSubscribedToTopic = 86,
    /// Record/batch validation failure.
    InvalidRecord = 87,
    /// Require_stable with pending txn offsets.
    UnstableOffsetCommit = 88,
    /// Controller mutation quota.
    ThrottlingQuotaExceeded = 89,
    /// Coordinator: newer producer.
    ProducerFenced = 90,
    /// SCRAM user / config resource missing.
    ResourceNotFound = 91,
    /// Same user twice.
    DuplicateResource = 92,
    /// SCRAM iterations/empty name.
    UnacceptableCredential = 93,
    /// Raft.
    InconsistentVoterSet = 94,
    /// AlterPartition stale partition epoch; bad feature level.
    InvalidUpdateVersion = 95,
    /// A feature level could not be finalized.
    FeatureUpdateFailed = 96,
    /// Envelope.
    PrincipalDeserializationFailure = 97,
    /// FetchSnapshot.
    SnapshotNotFound = 98,
    /// FetchSnapshot.
    PositionOutOfRange = 99,
    /// Id not in metadata.
    UnknownTopicId = 100,
    /// Live broker with same id.
    DuplicateBrokerRegistration = 101,
    /// No broker with this id is registered.
    BrokerIdNotRegistered = 102,
    /// Id differs from local log.
    InconsistentTopicId = 103,
    /// The request is for another cluster.
    InconsistentClusterId = 104,
    /// DescribeTransactions.
    TransactionalIdNotFound = 105,
    /// Names vs ids mixed in a session.
    FetchSessionTopicIdError = 106,
    /// AlterPartition with fenced/shutting down member.
    IneligibleReplica = 107,
    /// AlterPartition moved the leader.
    NewLeaderElected = 108,
    /// Follower fetch only.
    OffsetMovedToTieredStorage = 109,
    /// 848/share/streams heartbeat.
    FencedMemberEpoch = 110,
    /// The instance id belongs to another member.
    UnreleasedInstanceId = 111,
    /// No server-side assignor of this name.
    UnsupportedAssignor = 112,
    /// Commit/fetch offsets with other epoch.
    StaleMemberEpoch = 113,
    /// DescribeCluster type vs listener.
    MismatchedEndpointType = 114,
    /// DescribeCluster with an unknown endpoint type.
    UnsupportedEndpointType = 115,
    /// No controller with this id.
    UnknownControllerId = 116,
    /// Telemetry.
    UnknownSubscriptionId = 117,
    /// Above `telemetry.max.bytes`.
    TelemetryTooLarge = 118,
    /// Broker registration content.
    InvalidRegistration = 119,
    /// Client may abort and go on.
    TransactionAbortable = 120,
    /// Share ack.
    InvalidRecordState = 121,
    /// The share session is not known, or no more.
    ShareSessionNotFound = 122,
    /// A share session epoch other than the expected one.
    InvalidShareSessionEpoch = 123,
    /// Share coordinator.
    FencedStateEpoch = 124,
    /// Raft voter directory id mismatch.
    InvalidVoterKey = 125,
    /// The voter is in the quorum already.
    DuplicateVoter = 126,
    /// The voter is not in the quorum.
    VoterNotFound = 127,
    /// 848 regex, ListTransactions pattern.
    InvalidRegularExpression = 128,
    /// Stale client metadata; ApiVersions v5 misroute.
    RebootstrapRequired = 129,
    /// The topology of a streams group is invalid.
    StreamsInvalidTopology = 130,
    /// The topology epoch of a streams group is invalid.
    StreamsInvalidTopologyEpoch = 131,
    /// The topology epoch of a streams group is older than the known one.
    StreamsTopologyFenced = 132,
    /// No room for another share session.
    ShareSessionLimitReached = 133,
    /// A group could not be deleted.
    GroupDeletionFailed = 134,
    /// The description of a topology could not be stored.
    StreamsTopologyDescriptionUpdateFailed = 135,
    /// No controller with this id is registered.
    ControllerIdNotRegistered = 136,
}

/// Each error with Kafka's name for it, by number.
const NAMES: &[(ErrorCode, &str)] = &[
    (ErrorCode::UnknownServerError, "UNKNOWN_SERVER_ERROR"),
    (ErrorCode::None, "NONE"),
    (ErrorCode::OffsetOutOfRange, "OFFSET_OUT_OF_RANGE"),
    (ErrorCode::CorruptMessage, "CORRUPT_MESSAGE"),
    (ErrorCode::UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION"),
    (ErrorCode::InvalidFetchSize, "INVALID_FETCH_SIZE"),
    (ErrorCode::LeaderNotAvailable, "LEADER_NOT_AVAILABLE"),
    (ErrorCode::NotLeaderOrFollower, "NOT_LEADER_OR_FOLLOWER"),
    (ErrorCode::RequestTimedOut, "REQUEST_TIMED_OUT"),
    (ErrorCode::BrokerNotAvailable, "BROKER_NOT_AVAILABLE"),
    (ErrorCode::ReplicaNotAvailable, "REPLICA_NOT_AVAILABLE"),
    (ErrorCode::MessageTooLarge, "MESSAGE_TOO_LARGE"),
    (ErrorCode::StaleControllerEpoch, "STALE_CONTROLLER_EPOCH"),
    (ErrorCode::OffsetMetadataTooLarge, "OFFSET_METADATA_TOO_LARGE"),
    (ErrorCode::NetworkException, "NETWORK_EXCEPTION"),
    (ErrorCode::CoordinatorLoadInProgress, "COORDINATOR_LOAD_IN_PROGRESS"),
    (ErrorCode::CoordinatorNotAvailable, "COORDINATOR_NOT_AVAILABLE"),
    (ErrorCode::NotCoordinator, "NOT_COORDINATOR"),
    (ErrorCode::InvalidTopicException, "INVALID_TOPIC_EXCEPTION"),
    (ErrorCode::RecordListTooLarge, "RECORD_LIST_TOO_LARGE"),
    (ErrorCode::NotEnoughReplicas, "NOT_ENOUGH_REPLICAS"),
    (ErrorCode::NotEnoughReplicasAfterAppend, "NOT_ENOUGH_REPLICAS_AFTER_APPEND"),
    (ErrorCode::InvalidRequiredAcks, "INVALID_REQUIRED_ACKS"),
    (ErrorCode::IllegalGeneration, "ILLEGAL_GENERATION"),
    (ErrorCode::InconsistentGroupProtocol, "INCONSISTENT_GROUP_PROTOCOL"),
    (ErrorCode::InvalidGroupId, "INVALID_GROUP_ID"),
    (ErrorCode::UnknownMemberId, "UNKNOWN_MEMBER_ID"),
    (ErrorCode::InvalidSessionTimeout, "INVALID_SESSION_TIMEOUT"),
    (ErrorCode::RebalanceInProgress, "REBALANCE_IN_PROGRESS"),
    (ErrorCode::InvalidCommitOffsetSize, "INVALID_COMMIT_OFFSET_SIZE"),
    (ErrorCode::TopicAuthorizationFailed, "TOPIC_AUTHORIZATION_FAILED"),
    (ErrorCode::GroupAuthorizationFailed, "GROUP_AUTHORIZATION_FAILED"),
    (ErrorCode::ClusterAuthorizationFailed, "CLUSTER_AUTHORIZATION_FAILED"),
    (ErrorCode::InvalidTimestamp, "INVALID_TIMESTAMP"),
    (ErrorCode::UnsupportedSaslMechanism, "UNSUPPORTED_SASL_MECHANISM"),
    (ErrorCode::IllegalSaslState, "ILLEGAL_SASL_STATE"),
    (ErrorCode::UnsupportedVersion, "UNSUPPORTED_VERSION"),
    (ErrorCode::TopicAlreadyExists, "TOPIC_ALREADY_EXISTS"),
    (ErrorCode::InvalidPartitions, "INVALID_PARTITIONS"),
    (ErrorCode::InvalidReplicationFactor, "INVALID_REPLICATION_FACTOR"),
    (ErrorCode::InvalidReplicaAssignment, "INVALID_REPLICA_ASSIGNMENT"),
    (ErrorCode::InvalidConfig, "INVALID_CONFIG"),
    (ErrorCode::NotController, "NOT_CONTROLLER"),
    (ErrorCode::InvalidRequest, "INVALID_REQUEST"),
    (ErrorCode::UnsupportedForMessageFormat, "UNSUPPORTED_FOR_MESSAGE_FORMAT"),
    (ErrorCode::PolicyViolation, "POLICY_VIOLATION"),
    (ErrorCode::OutOfOrderSequenceNumber, "OUT_OF_ORDER_SEQUENCE_NUMBER"),
    (ErrorCode::DuplicateSequenceNumber, "DUPLICATE_SEQUENCE_NUMBER"),
    (ErrorCode::InvalidProducerEpoch, "INVALID_PRODUCER_EPOCH"),
    (ErrorCode::InvalidTxnState, "INVALID_TXN_STATE"),
    (ErrorCode::InvalidProducerIdMapping, "INVALID_PRODUCER_ID_MAPPING"),
    (ErrorCode::InvalidTransactionTimeout, "INVALID_TRANSACTION_TIMEOUT"),
    (ErrorCode::ConcurrentTransactions, "CONCURRENT_TRANSACTIONS"),
    (ErrorCode::TransactionCoordinatorFenced, "TRANSACTION_COORDINATOR_FENCED"),
    (ErrorCode::TransactionalIdAuthorizationFailed, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
    (ErrorCode::SecurityDisabled, "SECURITY_DISABLED"),
    (ErrorCode::OperationNotAttempted, "OPERATION_NOT_ATTEMPTED"),
    (ErrorCode::KafkaStorageError, "KAFKA_STORAGE_ERROR"),
    (ErrorCode::LogDirNotFound, "LOG_DIR_NOT_FOUND"),
    (ErrorCode::SaslAuthenticationFailed, "SASL_AUTHENTICATION_FAILED"),
    (ErrorCode::UnknownProducerId, "UNKNOWN_PRODUCER_ID"),
    (ErrorCode::ReassignmentInProgress, "REASSIGNMENT_IN_PROGRESS"),
    (ErrorCode::DelegationTokenAuthDisabled, "DELEGATION_TOKEN_AUTH_DISABLED"),
    (ErrorCode::DelegationTokenNotFound, "DELEGATION_TOKEN_NOT_FOUND"),
    (ErrorCode::DelegationTokenOwnerMismatch, "DELEGATION_TOKEN_OWNER_MISMATCH"),
    (ErrorCode::DelegationTokenRequestNotAllowed, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"),
    (ErrorCode::DelegationTokenAuthorizationFailed, "DELEGATION_TOKEN_AUTHORIZATION_FAILED"),
    (ErrorCode::DelegationTokenExpired, "DELEGATION_TOKEN_EXPIRED"),
    (ErrorCode::InvalidPrincipalType, "INVALID_PRINCIPAL_TYPE"),
    (ErrorCode::NonEmptyGroup, "NON_EMPTY_GROUP"),
    (ErrorCode::GroupIdNotFound, "GROUP_ID_NOT_FOUND"),
    (ErrorCode::FetchSessionIdNotFound, "FETCH_SESSION_ID_NOT_FOUND"),
    (ErrorCode::InvalidFetchSessionEpoch, "INVALID_FETCH_SESSION_EPOCH"),
    (ErrorCode::ListenerNotFound, "LISTENER_NOT_FOUND"),
    (ErrorCode::TopicDeletionDisabled, "TOPIC_DELETION_DISABLED"),
    (ErrorCode::FencedLeaderEpoch, "FENCED_LEADER_EPOCH"),
    (ErrorCode::UnknownLeaderEpoch, "UNKNOWN_LEADER_EPOCH"),
    (ErrorCode::UnsupportedCompressionType, "UNSUPPORTED_COMPRESSION_TYPE"),
    (ErrorCode::StaleBrokerEpoch, "STALE_BROKER_EPOCH"),
    (ErrorCode::OffsetNotAvailable, "OFFSET_NOT_AVAILABLE"),
    (ErrorCode::MemberIdRequired, "MEMBER_ID_REQUIRED"),
    (ErrorCode::PreferredLeaderNotAvailable, "PREFERRED_LEADER_NOT_AVAILABLE"),
    (ErrorCode::GroupMaxSizeReached, "GROUP_MAX_SIZE_REACHED"),
    (ErrorCode::FencedInstanceId, "FENCED_INSTANCE_ID"),
    (ErrorCode::EligibleLeadersNotAvailable, "ELIGIBLE_LEADERS_NOT_AVAILABLE"),
    (ErrorCode::ElectionNotNeeded, "ELECTION_NOT_NEEDED"),
    (ErrorCode::NoReassignmentInProgress, "NO_REASSIGNMENT_IN_PROGRESS"),
    (ErrorCode::GroupSubscribedToTopic, "GROUP_SUBSCRIBED_TO_TOPIC"),
    (ErrorCode::InvalidRecord, "INVALID_RECORD"),
    (ErrorCode::UnstableOffsetCommit, "UNSTABLE_OFFSET_COMMIT"),
    (ErrorCode::ThrottlingQuotaExceeded, "THROTTLING_QUOTA_EXCEEDED"),
    (ErrorCode::ProducerFenced, "PRODUCER_FENCED"),
    (ErrorCode::ResourceNotFound, "RESOURCE_NOT_FOUND"),
    (ErrorCode::DuplicateResource, "DUPLICATE_RESOURCE"),
    (ErrorCode::UnacceptableCredential, "UNACCEPTABLE_CREDENTIAL"),
    (ErrorCode::InconsistentVoterSet, "INCONSISTENT_VOTER_SET"),
    (ErrorCode::InvalidUpdateVersion, "INVALID_UPDATE_VERSION"),
    (ErrorCode::FeatureUpdateFailed, "FEATURE_UPDATE_FAILED"),
    (ErrorCode::PrincipalDeserializationFailure, "PRINCIPAL_DESERIALIZATION_FAILURE"),
    (ErrorCode::SnapshotNotFound, "SNAPSHOT_NOT_FOUND"),
    (ErrorCode::PositionOutOfRange, "POSITION_OUT_OF_RANGE"),
    (ErrorCode::UnknownTopicId, "UNKNOWN_TOPIC_ID"),
    (ErrorCode::DuplicateBrokerRegistration, "DUPLICATE_BROKER_REGISTRATION"),
    (ErrorCode::BrokerIdNotRegistered, "BROKER_ID_NOT_REGISTERED"),
    (ErrorCode::InconsistentTopicId, "INCONSISTENT_TOPIC_ID"),
    (ErrorCode::InconsistentClusterId, "INCONSISTENT_CLUSTER_ID"),
    (ErrorCode::TransactionalIdNotFound, "TRANSACTIONAL_ID_NOT_FOUND"),
    (ErrorCode::FetchSessionTopicIdError, "FETCH_SESSION_TOPIC_ID_ERROR"),
    (ErrorCode::IneligibleReplica, "INELIGIBLE_REPLICA"),
    (ErrorCode::NewLeaderElected, "NEW_LEADER_ELECTED"),
    (ErrorCode::OffsetMovedToTieredStorage, "OFFSET_MOVED_TO_TIERED_STORAGE"),
    (ErrorCode::FencedMemberEpoch, "FENCED_MEMBER_EPOCH"),
    (ErrorCode::UnreleasedInstanceId, "UNRELEASED_INSTANCE_ID"),
    (ErrorCode::UnsupportedAssignor, "UNSUPPORTED_ASSIGNOR"),
    (ErrorCode::StaleMemberEpoch, "STALE_MEMBER_EPOCH"),
    (ErrorCode::MismatchedEndpointType, "MISMATCHED_ENDPOINT_TYPE"),
    (ErrorCode::UnsupportedEndpointType, "UNSUPPORTED_ENDPOINT_TYPE"),
    (ErrorCode::UnknownControllerId, "UNKNOWN_CONTROLLER_ID"),
    (ErrorCode::UnknownSubscriptionId, "UNKNOWN_SUBSCRIPTION_ID"),
    (ErrorCode::TelemetryTooLarge, "TELEMETRY_TOO_LARGE"),
    (ErrorCode::InvalidRegistration, "INVALID_REGISTRATION"),
    (ErrorCode::TransactionAbortable, "TRANSACTION_ABORTABLE"),
    (ErrorCode::InvalidRecordState, "INVALID_RECORD_STATE"),
    (ErrorCode::ShareSessionNotFound, "SHARE_SESSION_NOT_FOUND"),
    (ErrorCode::InvalidShareSessionEpoch, "INVALID_SHARE_SESSION_EPOCH"),
    (ErrorCode::FencedStateEpoch, "FENCED_STATE_EPOCH"),
    (ErrorCode::InvalidVoterKey, "INVALID_VOTER_KEY"),
    (ErrorCode::DuplicateVoter, "DUPLICATE_VOTER"),
    (ErrorCode::VoterNotFound, "VOTER_NOT_FOUND"),
    (ErrorCode::InvalidRegularExpression, "INVALID_REGULAR_EXPRESSION"),
    (ErrorCode::RebootstrapRequired, "REBOOTSTRAP_REQUIRED"),
    (ErrorCode::StreamsInvalidTopology, "STREAMS_INVALID_TOPOLOGY"),
    (ErrorCode::StreamsInvalidTopologyEpoch, "STREAMS_INVALID_TOPOLOGY_EPOCH"),
    (ErrorCode::StreamsTopologyFenced, "STREAMS_TOPOLOGY_FENCED"),
    (ErrorCode::ShareSessionLimitReached, "SHARE_SESSION_LIMIT_REACHED"),
    (ErrorCode::GroupDeletionFailed, "GROUP_DELETION_FAILED"),
    (ErrorCode::StreamsTopologyDescriptionUpdateFailed, "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED"),
    (ErrorCode::ControllerIdNotRegistered, "CONTROLLER_ID_NOT_REGISTERED"),
];

impl ErrorCode {
    /// All of them, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(error, _)| *error)
    }

    /// Its number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The error of this number.
    pub fn from_code(code: i16) -> Option<Self> {
        let index = usize::try_from(i32::from(code) - i32::from(Self::UnknownServerError.code())).ok()?;
        NAMES.get(index).map(|(error, _)| *error)
    }

    /// Kafka's name for it: `NOT_LEADER_OR_FOLLOWER`.
    pub const fn name(self) -> &'static str {
        NAMES[(self.code() - Self::UnknownServerError.code()) as usize].1
    }

    /// Whether Kafka's clients try the request again, some of them after a look at the metadata.
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::CorruptMessage
                | Self::UnknownTopicOrPartition
                | Self::LeaderNotAvailable
                | Self::NotLeaderOrFollower
                | Self::RequestTimedOut
                | Self::ReplicaNotAvailable
                | Self::NetworkException
                | Self::CoordinatorLoadInProgress
                | Self::CoordinatorNotAvailable
                | Self::NotCoordinator
                | Self::NotEnoughReplicas
                | Self::NotEnoughReplicasAfterAppend
                | Self::NotController
                | Self::ConcurrentTransactions
                | Self::KafkaStorageError
                | Self::FetchSessionIdNotFound
                | Self::InvalidFetchSessionEpoch
                | Self::ListenerNotFound
                | Self::FencedLeaderEpoch
                | Self::UnknownLeaderEpoch
                | Self::OffsetNotAvailable
                | Self::PreferredLeaderNotAvailable
                | Self::EligibleLeadersNotAvailable
                | Self::ElectionNotNeeded
                | Self::UnstableOffsetCommit
                | Self::ThrottlingQuotaExceeded
                | Self::UnknownTopicId
                | Self::InconsistentTopicId
                | Self::FetchSessionTopicIdError
                | Self::ShareSessionNotFound
                | Self::InvalidShareSessionEpoch
                | Self::ShareSessionLimitReached
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_from_the_first_to_the_last_is_an_error() {
        for code in -1..=136 {
            assert_eq!(ErrorCode::from_code(code).map(ErrorCode::code), Some(code));
        }
        assert_eq!(ErrorCode::all().count(), 138);
        for code in [i16::MIN, -2, 137, i16::MAX] {
            assert_eq!(ErrorCode::from_code(code), None);
        }
        assert_eq!(ErrorCode::from_code(6).map(ErrorCode::name), Some("NOT_LEADER_OR_FOLLOWER"));
        assert_eq!(ErrorCode::default(), ErrorCode::None);
    }

    #[test]
    fn what_a_client_tries_again_is_what_may_pass() {
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(ErrorCode::CoordinatorLoadInProgress.is_retriable());
        assert!(!ErrorCode::None.is_retriable());
        assert!(!ErrorCode::TopicAuthorizationFailed.is_retriable());
    }
}
