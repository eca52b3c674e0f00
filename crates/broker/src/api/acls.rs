//! DescribeAcls, CreateAcls, DeleteAcls (keys 29-31, versions 1-3): there is no authorizer, and that is what they say, as
//! Kafka does without an `authorizer.class.name`.
//!
//! Differs from Kafka: nothing known.

use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::create_acls_request::CreateAclsRequest;
use ottla_protocol::messages::create_acls_response::{CreateAclsResponse, CreateAclsResult};
use ottla_protocol::messages::delete_acls_request::DeleteAclsRequest;
use ottla_protocol::messages::delete_acls_response::{DeleteAclsResponse, FilterResult};
use ottla_protocol::messages::describe_acls_request::DescribeAclsRequest;
use ottla_protocol::messages::describe_acls_response::DescribeAclsResponse;

use super::Api;
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// DescribeAcls.
pub const DESCRIBE: Api = Api { key: ApiKey::DescribeAcls, versions: 1..=3, handle: describe };
/// CreateAcls.
pub const CREATE: Api = Api { key: ApiKey::CreateAcls, versions: 1..=3, handle: create };
/// DeleteAcls.
pub const DELETE: Api = Api { key: ApiKey::DeleteAcls, versions: 1..=3, handle: delete };

const CODE: ErrorCode = ErrorCode::SecurityDisabled;
const MESSAGE: &str = "No Authorizer is configured on the broker";
const MESSAGE_OF_CHANGES: &str = "No Authorizer is configured.";

fn describe(request: &mut Request<'_>) -> Result<Reply, Refused> {
    request.decode::<DescribeAclsRequest<'_>>()?;
    let (error_code, error_message) = (CODE.code(), Some(MESSAGE.into()));
    request.reply(DescribeAclsResponse { error_code, error_message, ..Default::default() })
}

fn create(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: CreateAclsRequest<'_> = request.decode()?;
    let result = |_| CreateAclsResult { error_code: CODE.code(), error_message: Some(MESSAGE_OF_CHANGES.into()) };
    request.reply(CreateAclsResponse { results: asked.creations.iter().map(result).collect(), ..Default::default() })
}

fn delete(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DeleteAclsRequest<'_> = request.decode()?;
    let result = |_| FilterResult {
        error_code: CODE.code(),
        error_message: Some(MESSAGE_OF_CHANGES.into()),
        ..Default::default()
    };
    let filter_results = asked.filters.iter().map(result).collect();
    request.reply(DeleteAclsResponse { filter_results, ..Default::default() })
}
