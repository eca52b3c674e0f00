//! Error codes in the words of Kafka's Java clients: the class of the exception that each becomes, and its message where the
//! broker sent none. Kafka's tools print both, and scripts look for them.

use ottla_protocol::ErrorCode;

/// The package of nearly all of them.
const PACKAGE: &str = "org.apache.kafka.common.errors.";

/// The class of the exception of a code, with its package.
pub fn class(code: ErrorCode) -> String {
    let irregular = match code {
        ErrorCode::UnknownServerError => Some("UnknownServerException"),
        ErrorCode::CorruptMessage => Some("CorruptRecordException"),
        ErrorCode::RequestTimedOut => Some("TimeoutException"),
        ErrorCode::MessageTooLarge => Some("RecordTooLargeException"),
        ErrorCode::StaleControllerEpoch => Some("ControllerMovedException"),
        ErrorCode::OffsetMetadataTooLarge => Some("OffsetMetadataTooLarge"),
        ErrorCode::RecordListTooLarge => Some("RecordBatchTooLargeException"),
        ErrorCode::TopicAlreadyExists => Some("TopicExistsException"),
        ErrorCode::InvalidConfig => Some("InvalidConfigurationException"),
        ErrorCode::OutOfOrderSequenceNumber => Some("OutOfOrderSequenceException"),
        ErrorCode::DuplicateSequenceNumber => Some("DuplicateSequenceException"),
        ErrorCode::InvalidProducerIdMapping => Some("InvalidPidMappingException"),
        ErrorCode::InvalidTransactionTimeout => Some("InvalidTxnTimeoutException"),
        ErrorCode::DelegationTokenAuthDisabled => Some("DelegationTokenDisabledException"),
        ErrorCode::DelegationTokenRequestNotAllowed => Some("UnsupportedByAuthenticationException"),
        ErrorCode::NonEmptyGroup => Some("GroupNotEmptyException"),
        ErrorCode::InvalidRecord => return "org.apache.kafka.common.InvalidRecordException".to_owned(),
        ErrorCode::InvalidRegularExpression => Some("InvalidRegularExpression"),
        _ => None,
    };
    let name = irregular.map_or_else(|| regular(code.name()), str::to_owned);
    format!("{PACKAGE}{name}")
}

/// `TOPIC_AUTHORIZATION_FAILED` is a TopicAuthorizationException, `INVALID_GROUP_ID` an InvalidGroupIdException.
fn regular(name: &str) -> String {
    let stem = ["_FAILED", "_FAILURE", "_EXCEPTION", "_ERROR"].iter().find_map(|suffix| name.strip_suffix(suffix));
    // Of two names the end says what it is about.
    let stem =
        if matches!(name, "FEATURE_UPDATE_FAILED" | "GROUP_DELETION_FAILED") { name } else { stem.unwrap_or(name) };
    let words = stem.split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_owned() + &rest.to_lowercase()
    });
    words.collect::<String>() + "Exception"
}

/// What Kafka's clients say where the broker sent a code alone.
pub fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownServerError => "The server experienced an unexpected error when processing the request.",
        ErrorCode::OffsetOutOfRange => {
            "The requested offset is not within the range of offsets maintained by the server."
        }
        ErrorCode::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        ErrorCode::LeaderNotAvailable => {
            "There is no leader for this topic-partition as we are in the middle of a leadership election."
        }
        ErrorCode::NotLeaderOrFollower => {
            "For requests intended only for the leader, this error indicates that the broker is not the current leader. \
             For requests intended for any replica, this error indicates that the broker is not a replica of the topic \
             partition."
        }
        ErrorCode::RequestTimedOut => "The request timed out.",
        ErrorCode::OffsetMetadataTooLarge => "The metadata field of the offset request was too large.",
        ErrorCode::CoordinatorLoadInProgress => "The coordinator is loading and hence can't process requests.",
        ErrorCode::CoordinatorNotAvailable => "The coordinator is not available.",
        ErrorCode::NotCoordinator => "This is not the correct coordinator.",
        ErrorCode::InvalidTopicException => "The request attempted to perform an operation on an invalid topic.",
        ErrorCode::IllegalGeneration => "Specified group generation id is not valid.",
        ErrorCode::InconsistentGroupProtocol => {
            "The group member's supported protocols are incompatible with those of existing members or first group \
             member tried to join with empty protocol type or empty protocol list."
        }
        ErrorCode::InvalidGroupId => "The group id is invalid.",
        ErrorCode::UnknownMemberId => "The coordinator is not aware of this member.",
        ErrorCode::InvalidSessionTimeout => {
            "The session timeout is not within the range allowed by the broker (as configured by \
             group.min.session.timeout.ms and group.max.session.timeout.ms)."
        }
        ErrorCode::RebalanceInProgress => "The group is rebalancing, so a rejoin is needed.",
        ErrorCode::InvalidCommitOffsetSize => "The committing offset data size is not valid.",
        ErrorCode::TopicAuthorizationFailed => "Topic authorization failed.",
        ErrorCode::GroupAuthorizationFailed => "Group authorization failed.",
        ErrorCode::ClusterAuthorizationFailed => "Cluster authorization failed.",
        ErrorCode::UnsupportedVersion => "The version of API is not supported.",
        ErrorCode::InvalidConfig => "Configuration is invalid.",
        ErrorCode::NotController => "This is not the correct controller for this cluster.",
        ErrorCode::InvalidRequest => {
            "This most likely occurs because of a request being malformed by the client library or the message was sent \
             to an incompatible broker. See the broker logs for more details."
        }
        ErrorCode::PolicyViolation => "Request parameters do not satisfy the configured policy.",
        ErrorCode::KafkaStorageError => "Disk error when trying to access log file on the disk.",
        ErrorCode::NonEmptyGroup => "The group is not empty.",
        ErrorCode::GroupIdNotFound => "The group id does not exist.",
        ErrorCode::OffsetNotAvailable => {
            "The leader high watermark has not caught up from a recent leader election so the offsets cannot be \
             guaranteed to be monotonically increasing."
        }
        ErrorCode::GroupMaxSizeReached => "The group has reached its maximum size.",
        ErrorCode::FencedInstanceId => {
            "The broker rejected this static consumer since another consumer with the same group.instance.id has \
             registered with a different member.id."
        }
        ErrorCode::GroupSubscribedToTopic => {
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."
        }
        ErrorCode::UnstableOffsetCommit => "There are unstable offsets that need to be cleared.",
        ErrorCode::ResourceNotFound => "A request illegally referred to a resource that does not exist.",
        ErrorCode::UnacceptableCredential => "Requested credential would not meet criteria for acceptability.",
        // Brokers explain the others themselves.
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_class_that_they_have_in_kafkas_clients() {
        let known = [
            (ErrorCode::GroupIdNotFound, "GroupIdNotFoundException"),
            (ErrorCode::UnknownTopicOrPartition, "UnknownTopicOrPartitionException"),
            (ErrorCode::InvalidTopicException, "InvalidTopicException"),
            (ErrorCode::GroupAuthorizationFailed, "GroupAuthorizationException"),
            (ErrorCode::KafkaStorageError, "KafkaStorageException"),
            (ErrorCode::PrincipalDeserializationFailure, "PrincipalDeserializationException"),
            (ErrorCode::FeatureUpdateFailed, "FeatureUpdateFailedException"),
            (ErrorCode::NonEmptyGroup, "GroupNotEmptyException"),
        ];
        for (code, expected) in known {
            assert_eq!(class(code), format!("{PACKAGE}{expected}"));
        }
    }
}
