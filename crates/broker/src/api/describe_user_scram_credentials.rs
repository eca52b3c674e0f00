//! DescribeUserScramCredentials (key 50, version 0, KIP-554): which SCRAM credentials users have, without anything secret.
//!
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ottla_metadata::image::Image;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use ottla_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// DescribeUserScramCredentials.
pub const API: Api = Api { key: ApiKey::DescribeUserScramCredentials, versions: 0..=0, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeUserScramCredentialsRequest<'_> = request.decode()?;
    if !request.may(Operation::Describe, Resource::Cluster) {
        return request.reply(DescribeUserScramCredentialsResponse {
            error_code: ErrorCode::ClusterAuthorizationFailed.code(),
            error_message: Some(access::CLUSTER_DENIED.into()),
            ..Default::default()
        });
    }
    let all = by_user(&request.node.image());
    // How often each user is asked for; nobody in particular means all.
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for user in asked.users.iter().flatten() {
        *wanted.entry(&user.name).or_default() += 1;
    }
    if wanted.is_empty() {
        wanted = all.keys().map(|user| (user.as_str(), 1)).collect();
    }
    let results = wanted.into_iter().map(|(user, times)| {
        let refused = |code: ErrorCode, message: String| (code, message, Vec::new());
        let (code, message, credential_infos) = match all.get(user) {
            _ if times > 1 => {
                let message =
                    format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}");
                refused(ErrorCode::DuplicateResource, message)
            }
            None => {
                let message = format!("Attempt to describe a user credential that does not exist: {user}");
                refused(ErrorCode::ResourceNotFound, message)
            }
            Some(infos) => (ErrorCode::None, String::new(), infos.clone()),
        };
        DescribeUserScramCredentialsResult {
            user: Cow::Owned(user.to_owned()),
            error_code: code.code(),
            error_message: Some(Cow::Owned(message)),
            credential_infos,
        }
    });
    let results = results.collect();
    request.reply(DescribeUserScramCredentialsResponse {
        results,
        error_message: Some("".into()),
        ..Default::default()
    })
}

fn by_user(image: &Image) -> BTreeMap<String, Vec<CredentialInfo>> {
    let mut all: BTreeMap<String, Vec<CredentialInfo>> = BTreeMap::new();
    for ((mechanism, user), credential) in image.scram_credentials().iter() {
        let info = CredentialInfo { mechanism: *mechanism, iterations: credential.iterations };
        all.entry(user.clone()).or_default().push(info);
    }
    all
}

#[cfg(test)]
mod tests {
    use ottla_base::Offset;
    use ottla_protocol::internal::metadata::{MetadataRecord, UserScramCredentialRecord};

    use super::*;

    #[test]
    fn a_user_has_one_credential_for_each_mechanism() {
        let mut image = Image::new("c");
        for (name, mechanism, iterations) in [("bob", 2, 8192), ("alice", 1, 4096), ("bob", 1, 5000)] {
            let secret = || b"never shown"[..].into();
            let record = UserScramCredentialRecord {
                name: name.into(),
                mechanism,
                salt: secret(),
                stored_key: secret(),
                server_key: secret(),
                iterations,
            };
            image.apply(Offset(0), &MetadataRecord::UserScramCredential(record)).expect("it follows from nothing");
        }
        let all = by_user(&image).into_iter();
        let all: Vec<(String, Vec<(i8, i32)>)> = all
            .map(|(user, infos)| (user, infos.iter().map(|info| (info.mechanism, info.iterations)).collect()))
            .collect();
        assert_eq!(all, [("alice".to_owned(), vec![(1, 4096)]), ("bob".to_owned(), vec![(1, 5000), (2, 8192)])]);
    }
}
