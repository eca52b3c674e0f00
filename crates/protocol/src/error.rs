//! The error codes that answer a client, with Kafka's names and numbers.
//!
//! Not here: why something failed inside (each crate has its own error), nor which code it becomes (one mapping each).

use std::fmt;

/// An error code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ErrorCode {
    /// Nothing else fits: something failed that nobody foresaw.
    UnknownServerError = -1,
    /// No error.
    #[default]
    None = 0,
    /// A fetch from before the log's start or beyond its readable end; DeleteRecords beyond the high watermark.
    OffsetOutOfRange = 1,
    /// A batch whose checksum is wrong, or whose records cannot be read.
    CorruptMessage = 2,
    /// The broker knows no such topic or partition, or not yet.
    UnknownTopicOrPartition = 3,
    /// A fetch of a negative size. Current brokers do not send it.
    InvalidFetchSize = 4,
    /// A partition has no leader now.
    LeaderNotAvailable = 5,
    /// The partition is led, or hosted, by another broker.
    NotLeaderOrFollower = 6,
    /// The in-sync replicas, the log's new start or the controller did not follow in time.
    RequestTimedOut = 7,
    /// Current brokers do not send it.
    BrokerNotAvailable = 8,
    /// A replica is on a dead broker, or is being made.
    ReplicaNotAvailable = 9,
    /// A batch is larger than `max.message.bytes`.
    MessageTooLarge = 10,
    /// From the time before KRaft. Current brokers do not send it.
    StaleControllerEpoch = 11,
    /// The text beside a committed offset is longer than `offset.metadata.max.bytes`.
    OffsetMetadataTooLarge = 12,
    /// A connection was lost. Clients say so to themselves; brokers only when a transaction could not be verified.
    NetworkException = 13,
    /// The coordinator still replays its partition, or has no producer ids yet.
    CoordinatorLoadInProgress = 14,
    /// There is no coordinator: its topic is being made or has no leader, or its write was not replicated.
    CoordinatorNotAvailable = 15,
    /// Another broker is the coordinator.
    NotCoordinator = 16,
    /// A topic name that is not allowed, or collides with another, or is internal.
    InvalidTopicException = 17,
    /// A batch is larger than `segment.bytes`.
    RecordListTooLarge = 18,
    /// Fewer in-sync replicas than `min.insync.replicas`; or a transaction cannot be verified now.
    NotEnoughReplicas = 19,
    /// Fewer in-sync replicas than `min.insync.replicas`, found after the append.
    NotEnoughReplicasAfterAppend = 20,
    /// `acks` is not -1, 0 or 1.
    InvalidRequiredAcks = 21,
    /// Another generation of a classic group.
    IllegalGeneration = 22,
    /// No protocol that all members of the group support, or a group of another type.
    InconsistentGroupProtocol = 23,
    /// The group id is empty.
    InvalidGroupId = 24,
    /// The group has no such member.
    UnknownMemberId = 25,
    /// A session timeout beyond what the broker allows.
    InvalidSessionTimeout = 26,
    /// The group rebalances; the member is to join again.
    RebalanceInProgress = 27,
    /// A commit too large for a record. Current brokers do not send it.
    InvalidCommitOffsetSize = 28,
    /// The caller may not do this to the topic.
    TopicAuthorizationFailed = 29,
    /// The caller may not do this to the group.
    GroupAuthorizationFailed = 30,
    /// The caller may not do this to the cluster.
    ClusterAuthorizationFailed = 31,
    /// A record's time is too far from the broker's, or the client set the time of append.
    InvalidTimestamp = 32,
    /// No such SASL mechanism is enabled.
    UnsupportedSaslMechanism = 33,
    /// A SASL request out of its order.
    IllegalSaslState = 34,
    /// A version, timestamp or feature that is not supported here.
    UnsupportedVersion = 35,
    /// The topic exists.
    TopicAlreadyExists = 36,
    /// A number of partitions below 1, or one that is no increase.
    InvalidPartitions = 37,
    /// A replication factor below 1, or above the number of brokers that could take a replica.
    InvalidReplicationFactor = 38,
    /// An assignment of replicas that cannot be, or a reassignment that cannot be cancelled.
    InvalidReplicaAssignment = 39,
    /// No such setting, or no such value of it.
    InvalidConfig = 40,
    /// The active controller is another.
    NotController = 41,
    /// A request that contradicts itself.
    InvalidRequest = 42,
    /// The log has a message format of the past.
    UnsupportedForMessageFormat = 43,
    /// A policy forbids it; or DeleteRecords on a topic that is only compacted.
    PolicyViolation = 44,
    /// A gap in a producer's sequence numbers.
    OutOfOrderSequenceNumber = 45,
    /// Current brokers do not send it: what is sent twice succeeds twice.
    DuplicateSequenceNumber = 46,
    /// An older epoch of the producer than the partition has seen.
    InvalidProducerEpoch = 47,
    /// The transaction is not in a state in which this can be done.
    InvalidTxnState = 48,
    /// The coordinator knows the transactional id with another producer id, or not at all.
    InvalidProducerIdMapping = 49,
    /// A transaction timeout that is not positive, or above `transaction.max.timeout.ms`.
    InvalidTransactionTimeout = 50,
    /// The transaction before is still being completed.
    ConcurrentTransactions = 51,
    /// A transaction marker from a coordinator that has been replaced.
    TransactionCoordinatorFenced = 52,
    /// The caller may not do this with the transactional id.
    TransactionalIdAuthorizationFailed = 53,
    /// No authorizer is configured.
    SecurityDisabled = 54,
    /// Not done, because another part of the request failed.
    OperationNotAttempted = 55,
    /// The log directory is offline, or failed now.
    KafkaStorageError = 56,
    /// The broker has no such log directory.
    LogDirNotFound = 57,
    /// The credentials are wrong.
    SaslAuthenticationFailed = 58,
    /// Current brokers do not send it.
    UnknownProducerId = 59,
    /// A reassignment of the partition is under way.
    ReassignmentInProgress = 60,
    /// Delegation tokens are off: no secret key is configured.
    DelegationTokenAuthDisabled = 61,
    /// No such delegation token.
    DelegationTokenNotFound = 62,
    /// Only the token's owner and renewers may do this.
    DelegationTokenOwnerMismatch = 63,
    /// Delegation tokens are not given on a connection like this one.
    DelegationTokenRequestNotAllowed = 64,
    /// The caller may not do this with the delegation token.
    DelegationTokenAuthorizationFailed = 65,
    /// The delegation token has expired.
    DelegationTokenExpired = 66,
    /// Only users can renew delegation tokens.
    InvalidPrincipalType = 67,
    /// The group has members.
    NonEmptyGroup = 68,
    /// No such group.
    GroupIdNotFound = 69,
    /// No such fetch session, or no more.
    FetchSessionIdNotFound = 70,
    /// Another epoch of the fetch session than expected.
    InvalidFetchSessionEpoch = 71,
    /// The leader has no listener of the name by which the client came.
    ListenerNotFound = 72,
    /// `delete.topic.enable` is false.
    TopicDeletionDisabled = 73,
    /// The client knows an older leader epoch.
    FencedLeaderEpoch = 74,
    /// The client knows a newer leader epoch.
    UnknownLeaderEpoch = 75,
    /// A compression that this version of the request cannot carry.
    UnsupportedCompressionType = 76,
    /// An older epoch of the broker than the controller knows.
    StaleBrokerEpoch = 77,
    /// The high watermark is not yet where it was before the leader was elected.
    OffsetNotAvailable = 78,
    /// The member is to join again with the id it was given.
    MemberIdRequired = 79,
    /// The preferred leader cannot be elected.
    PreferredLeaderNotAvailable = 80,
    /// The group has `group.max.size` members.
    GroupMaxSizeReached = 81,
    /// Another member has taken the instance id.
    FencedInstanceId = 82,
    /// No replica could be elected.
    EligibleLeadersNotAvailable = 83,
    /// The leader is already the one that an election would choose.
    ElectionNotNeeded = 84,
    /// There is no reassignment to cancel.
    NoReassignmentInProgress = 85,
    /// The group is subscribed to the topic whose offsets should go.
    GroupSubscribedToTopic = 86,
    /// A record, or a batch's header, that is not allowed.
    InvalidRecord = 87,
    /// Offsets of an open transaction would have to be waited for.
    UnstableOffsetCommit = 88,
    /// Too many changes of partitions; later there will be room again.
    ThrottlingQuotaExceeded = 89,
    /// There is a newer producer of this transactional id.
    ProducerFenced = 90,
    /// No such user or resource.
    ResourceNotFound = 91,
    /// The same user, or resource, twice in one request.
    DuplicateResource = 92,
    /// SCRAM credentials with too few iterations, or without a name.
    UnacceptableCredential = 93,
    /// Other voters than the quorum has.
    InconsistentVoterSet = 94,
    /// An older epoch of the partition than the controller knows; or a level that the feature has not.
    InvalidUpdateVersion = 95,
    /// A feature level could not be finalized.
    FeatureUpdateFailed = 96,
    /// The principal in a forwarded request cannot be read.
    PrincipalDeserializationFailure = 97,
    /// No such snapshot of the metadata.
    SnapshotNotFound = 98,
    /// A position beyond the end of the snapshot.
    PositionOutOfRange = 99,
    /// The broker knows no topic of this id, or not yet.
    UnknownTopicId = 100,
    /// A live broker has this id.
    DuplicateBrokerRegistration = 101,
    /// No broker of this id is registered.
    BrokerIdNotRegistered = 102,
    /// The topic was made again: its log has another id.
    InconsistentTopicId = 103,
    /// The request is for another cluster.
    InconsistentClusterId = 104,
    /// No such transactional id.
    TransactionalIdNotFound = 105,
    /// A fetch session began with topic names and goes on with ids, or the other way round.
    FetchSessionTopicIdError = 106,
    /// A replica that is fenced or shutting down cannot be in sync.
    IneligibleReplica = 107,
    /// The change of the in-sync replicas made another replica the leader.
    NewLeaderElected = 108,
    /// The offset is only in tiered storage. Brokers say so to brokers.
    OffsetMovedToTieredStorage = 109,
    /// An epoch of the member other than the group's.
    FencedMemberEpoch = 110,
    /// The instance id belongs to a member that has not left.
    UnreleasedInstanceId = 111,
    /// The broker has no such assignor.
    UnsupportedAssignor = 112,
    /// The member's epoch is not the one with which it may commit or read offsets.
    StaleMemberEpoch = 113,
    /// The request is for the other kind of listener, brokers' or controllers'.
    MismatchedEndpointType = 114,
    /// No such kind of endpoint.
    UnsupportedEndpointType = 115,
    /// No such controller.
    UnknownControllerId = 116,
    /// The telemetry subscription has changed.
    UnknownSubscriptionId = 117,
    /// More telemetry than `telemetry.max.bytes`.
    TelemetryTooLarge = 118,
    /// A broker registers with something that cannot be.
    InvalidRegistration = 119,
    /// The transaction has to be aborted; then the producer may go on.
    TransactionAbortable = 120,
    /// The record is not in a state in which it can be acknowledged so.
    InvalidRecordState = 121,
    /// No such share session, or no more.
    ShareSessionNotFound = 122,
    /// Another epoch of the share session than expected.
    InvalidShareSessionEpoch = 123,
    /// An older epoch of the share-partition's state.
    FencedStateEpoch = 124,
    /// The voter has another directory id.
    InvalidVoterKey = 125,
    /// The voter is in the quorum already.
    DuplicateVoter = 126,
    /// The voter is not in the quorum.
    VoterNotFound = 127,
    /// The regular expression cannot be read.
    InvalidRegularExpression = 128,
    /// What the client knows of the cluster is of no use: it is to bootstrap again.
    RebootstrapRequired = 129,
    /// A streams topology that cannot be.
    StreamsInvalidTopology = 130,
    /// An epoch that no topology of the streams group has.
    StreamsInvalidTopologyEpoch = 131,
    /// An older topology than the streams group has.
    StreamsTopologyFenced = 132,
    /// No room for another share session.
    ShareSessionLimitReached = 133,
    /// The group could not be deleted.
    GroupDeletionFailed = 134,
    /// The description of the topology could not be stored.
    StreamsTopologyDescriptionUpdateFailed = 135,
    /// No controller of this id is registered.
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
