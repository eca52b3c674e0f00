//! ApiVersions (key 18, versions 0-5): what this broker can do. The first request of every connection.
//!
//! v1 throttle time. v3 flexible body, client software (KIP-511). v4 features with a minimum of 0. v5 the cluster and node
//! the client believes to speak to (KIP-1242). The header of the answer is always version 0.
//! Differs from Kafka: advertises the APIs and features that are there, which are fewer.

use std::borrow::Cow;

use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::{
    ApiKey as Advertised, ApiVersionsResponse, FinalizedFeature, SupportedFeature,
};
use ottla_protocol::{ApiKey, Message, Writer};

use super::{ALL, Api};
use crate::dispatch::{Refused, Reply};
use crate::features;
use crate::net::answer::Answer;
use crate::request::Request;

/// ApiVersions.
pub const API: Api = Api { key: ApiKey::ApiVersions, versions: 0..=5, handle };

/// From this version on, clients accept features whose minimum is 0 (KAFKA-17011).
const ZERO_MINIMUM_FROM: i16 = 4;
/// The versions of Produce that are advertised but refused, for the sake of older librdkafka (KAFKA-18659).
const PRODUCE_ADVERTISED_FROM: i16 = 0;
/// The longest name of a client's software that is remembered, in bytes.
const SOFTWARE_NAME_MAX: usize = 255;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: ApiVersionsRequest<'_> = request.decode()?;
    let version = request.version();
    if version >= 3
        && !(is_software_word(&asked.client_software_name) && is_software_word(&asked.client_software_version))
    {
        return request.reply(failed(ErrorCode::InvalidRequest));
    }
    request.client.software_name = remembered(&asked.client_software_name);
    request.client.software_version = remembered(&asked.client_software_version);
    let image = request.node.image();
    match (asked.cluster_id.as_deref(), asked.node_id) {
        (None, -1) => {}
        (Some(_), -1) | (None, _) => return request.reply(failed(ErrorCode::InvalidRequest)),
        (Some(cluster), node) if cluster == image.cluster_id() && node == request.node.config.node_id.0 => {}
        _ => return request.reply(failed(ErrorCode::RebootstrapRequired)),
    }
    let supported = features::supported();
    let response = ApiVersionsResponse {
        api_keys: ALL.iter().filter(|api| api.is_on(request.client.listener_type)).map(advertised).collect(),
        supported_features: supported
            .into_iter()
            .filter(|(_, range)| version >= ZERO_MINIMUM_FROM || range.min > 0)
            .map(|(name, range)| SupportedFeature {
                name: Cow::Owned(name),
                min_version: range.min,
                max_version: range.max,
            })
            .collect(),
        finalized_features_epoch: image.end().0 - 1,
        finalized_features: features::finalized(&image)
            .map(|(name, level)| FinalizedFeature {
                name: Cow::Borrowed(name),
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..Default::default()
    };
    request.reply(response)
}

/// What is kept of a name: nothing of one that is too long.
fn remembered(name: &str) -> String {
    if name.len() <= SOFTWARE_NAME_MAX { name.to_owned() } else { String::new() }
}

/// Answers a version that is not known here: error 35 in a body of version 0, whose only entry tells which versions are,
/// so that the client can ask again (KIP-511).
pub fn refuse_version(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let response = ApiVersionsResponse { api_keys: vec![advertised(&API)], ..failed(ErrorCode::UnsupportedVersion) };
    let mut writer = Writer::default();
    ApiKey::ApiVersions.begin_response(&mut writer, 0, request.header.correlation_id);
    response.encode(&mut writer, 0);
    writer.finish_frame();
    Ok(Reply::Ready(Answer::new(writer, Vec::new())))
}

fn advertised(api: &Api) -> Advertised {
    let min_version = if api.key == ApiKey::Produce { PRODUCE_ADVERTISED_FROM } else { *api.versions.start() };
    Advertised { api_key: api.key.code(), min_version, max_version: *api.versions.end() }
}

fn failed(code: ErrorCode) -> ApiVersionsResponse<'static> {
    ApiVersionsResponse { error_code: code.code(), ..Default::default() }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_words() {
        for good in ["a", "librdkafka", "apache-kafka-java", "4.4.0", "9"] {
            assert!(is_software_word(good), "{good}");
        }
        for bad in ["", "-", "a-", ".a", "a b", "ä", "a_b"] {
            assert!(!is_software_word(bad), "{bad}");
        }
    }
}
