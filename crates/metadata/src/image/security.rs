//! Who may do what, how users prove who they are, and how much they may use. Kept from the log for the parts that will
//! ask.

use ottla_base::Uuid;

/// An access control entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user.
    pub resource_type: i8,
    /// The resource's name, or its beginning, or `*`.
    pub resource_name: String,
    /// 3 literal, 4 prefixed.
    pub pattern_type: i8,
    /// `User:name`.
    pub principal: String,
    /// An address, or `*`.
    pub host: String,
    /// The operation's number.
    pub operation: i8,
    /// 2 deny, 3 allow.
    pub permission_type: i8,
}

/// A user's SCRAM credential (RFC 5802), without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramCredential {
    /// The salt.
    pub salt: Vec<u8>,
    /// H(client key).
    pub stored_key: Vec<u8>,
    /// The server key.
    pub server_key: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: i32,
}

/// A delegation token (KIP-48), without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationToken {
    /// `User:name` for whom it stands.
    pub owner: String,
    /// `User:name` who asked for it.
    pub requester: String,
    /// Who else may renew it.
    pub renewers: Vec<String>,
    /// When it was issued, in milliseconds since 1970.
    pub issue_timestamp: i64,
    /// When it ends at the latest.
    pub max_timestamp: i64,
    /// When it ends if nobody renews it.
    pub expiration_timestamp: i64,
}

/// Whose quota it is: pairs of an entity type (`user`, `client-id`, `ip`) and a name, absent for the default, sorted.
pub type QuotaEntity = Vec<(String, Option<String>)>;

/// A SCRAM credential's key: the mechanism (1 SHA-256, 2 SHA-512) and the user.
pub type ScramKey = (i8, String);

/// The id of an ACL.
pub type AclId = Uuid;
