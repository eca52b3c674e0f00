//! Who asks, and whether they may: the questions every handler puts, whatever answers them.
//!
//! Authentication (TLS, SASL) will give other principals than [`Principal::anonymous`]; an ACL engine will be another
//! [`Authorizer`] than [`AllowAll`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The name a connection acts under, `Type:name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `User`, for all that Kafka makes itself.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl Principal {
    /// Whoever connects without authentication: `User:ANONYMOUS`.
    pub fn anonymous() -> Self {
        Self { kind: "User".to_owned(), name: "ANONYMOUS".to_owned() }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// Who asks, from where: what rules are matched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Whom it has proved to be.
    pub principal: Principal,
    /// The other end of the connection.
    pub host: IpAddr,
    /// The name of the listener it came in by.
    pub listener: Arc<str>,
}

/// What may be done to a resource; the numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Fetch records, take part in a group.
    Read = 3,
    /// Produce records.
    Write = 4,
    /// Create topics.
    Create = 5,
    /// Delete topics, records and groups.
    Delete = 6,
    /// Change partitions, replicas, leaders.
    Alter = 7,
    /// See that it exists, and its state.
    Describe = 8,
    /// What brokers do to each other.
    ClusterAction = 9,
    /// See settings.
    DescribeConfigs = 10,
    /// Change settings.
    AlterConfigs = 11,
    /// Take a producer id.
    IdempotentWrite = 12,
}

/// What is acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic, by name.
    Topic(&'a str),
    /// A consumer group, by id.
    Group(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
    /// The cluster itself.
    Cluster,
}

impl Resource<'_> {
    /// The operations that make sense for a topic.
    pub const TOPIC_OPERATIONS: [Operation; 8] = [
        Operation::Read,
        Operation::Write,
        Operation::Create,
        Operation::Delete,
        Operation::Alter,
        Operation::Describe,
        Operation::DescribeConfigs,
        Operation::AlterConfigs,
    ];
    /// The operations that make sense for a group.
    pub const GROUP_OPERATIONS: [Operation; 5] =
        [Operation::Read, Operation::Delete, Operation::Describe, Operation::DescribeConfigs, Operation::AlterConfigs];
    /// The operations that make sense for the cluster.
    pub const CLUSTER_OPERATIONS: [Operation; 7] = [
        Operation::Create,
        Operation::ClusterAction,
        Operation::DescribeConfigs,
        Operation::AlterConfigs,
        Operation::IdempotentWrite,
        Operation::Alter,
        Operation::Describe,
    ];
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync {
    /// Whether `asker` may do `operation` to `resource`.
    fn allows(&self, asker: &Asker, operation: Operation, resource: Resource<'_>) -> bool;

    /// Whether there is any topic at all that `asker` may do `operation` to: whoever may write to one may also take a
    /// producer id (KIP-679).
    fn allows_any_topic(&self, asker: &Asker, operation: Operation) -> bool;
}

/// What Kafka says to those who may not.
pub const CLUSTER_DENIED: &str = "Cluster authorization failed.";
/// The same of a topic.
pub const TOPIC_DENIED: &str = "Topic authorization failed.";
/// The same of a group.
pub const GROUP_DENIED: &str = "Group authorization failed.";

/// What a bit field of operations says where nobody has asked for it.
pub const NOT_ASKED: i32 = i32::MIN;

/// Kafka without an `authorizer.class.name`: everybody may do everything.
#[derive(Clone, Copy, Debug)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _: &Asker, _: Operation, _: Resource<'_>) -> bool {
        true
    }

    fn allows_any_topic(&self, _: &Asker, _: Operation) -> bool {
        true
    }
}

/// The bit field of what `asker` may do, as Metadata and DescribeCluster give it: bit `n` for operation `n`.
pub fn authorized_operations(
    authorizer: &dyn Authorizer,
    asker: &Asker,
    resource: Resource<'_>,
    operations: &[Operation],
) -> i32 {
    let allowed = operations.iter().filter(|&&operation| authorizer.allows(asker, operation, resource));
    allowed.fold(0, |bits, &operation| bits | 1 << operation as u8)
}

/// The bit field of what `asker` may do with the cluster, if it was asked for: nothing at all, where it may not even be
/// described.
pub fn operations_on_cluster(authorizer: &dyn Authorizer, asker: &Asker, is_asked: bool) -> i32 {
    match is_asked {
        false => NOT_ASKED,
        true if !authorizer.allows(asker, Operation::Describe, Resource::Cluster) => 0,
        true => authorized_operations(authorizer, asker, Resource::Cluster, &Resource::CLUSTER_OPERATIONS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// May create topics, and nothing else.
    struct MayCreate;

    impl Authorizer for MayCreate {
        fn allows(&self, _: &Asker, operation: Operation, _: Resource<'_>) -> bool {
            operation == Operation::Create
        }

        fn allows_any_topic(&self, _: &Asker, _: Operation) -> bool {
            false
        }
    }

    fn asker() -> Asker {
        Asker { principal: Principal::anonymous(), host: [127, 0, 0, 1].into(), listener: "PLAINTEXT".into() }
    }

    #[test]
    fn who_may_not_see_the_cluster_is_not_told_what_else_it_may() {
        assert_eq!(operations_on_cluster(&MayCreate, &asker(), true), 0);
        assert_eq!(operations_on_cluster(&MayCreate, &asker(), false), i32::MIN);
        assert_eq!(operations_on_cluster(&AllowAll, &asker(), true), 8096);
    }

    #[test]
    fn without_an_authorizer_a_topic_allows_what_kafka_says() {
        let bits = authorized_operations(&AllowAll, &asker(), Resource::Topic("t"), &Resource::TOPIC_OPERATIONS);
        assert_eq!(bits, 3576);
    }
}
