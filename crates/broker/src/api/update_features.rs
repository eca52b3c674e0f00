//! UpdateFeatures (key 57, versions 0-2, KIP-584): which levels of features the cluster goes by.
//!
//! v1 kinds of downgrade, and asking only (KIP-778). v2 no results for single features: all or none are updated.
//! Differs from Kafka: of the other features than metadata.version, fewer levels can be gone to: those of this version of Ottla.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::controller::{Answer, Command, FeatureUpdate, UpdateFeatures, UpgradeType};
use ottla_metadata::image::Broker;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::update_features_request::{self as asked, UpdateFeaturesRequest};
use ottla_protocol::messages::update_features_response::{UpdateFeaturesResponse, UpdateFeaturesResult};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::controller::Place;
use crate::dispatch::{Refused, Reply};
use crate::features;
use crate::node::Node;
use crate::request::Request;

/// UpdateFeatures.
pub const API: Api = Api { key: ApiKey::UpdateFeatures, versions: 0..=2, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: UpdateFeaturesRequest<'_> = request.decode()?;
    if !request.may(Operation::Alter, Resource::Cluster) {
        let message = Some(access::CLUSTER_DENIED.to_owned());
        return request.reply(refused(ErrorCode::ClusterAuthorizationFailed, message));
    }
    let Some(place) = request.node.controller.place(asked.feature_updates.len(), request.body.len()) else {
        return request.reply(refused(ErrorCode::RequestTimedOut, None));
    };
    let version = request.version();
    let of_feature = |update: &asked::FeatureUpdate<'_>| FeatureUpdate {
        feature: update.feature.to_string(),
        level: update.max_version_level,
        upgrade_type: match (version, update.allow_downgrade) {
            (0, true) => UpgradeType::SafeDowngrade as i8,
            (0, false) => UpgradeType::Upgrade as i8,
            _ => update.upgrade_type,
        },
    };
    // Of several updates of a feature the last counts.
    let updates: BTreeMap<&str, &asked::FeatureUpdate<'_>> =
        asked.feature_updates.iter().map(|update| (&*update.feature, update)).collect();
    let updates: Vec<FeatureUpdate> = updates.into_values().map(of_feature).collect();
    let names: Vec<String> = asked.feature_updates.iter().map(|update| update.feature.to_string()).collect();
    let command = UpdateFeatures {
        updates,
        validate_only: asked.validate_only,
        controller: request.node.config.node_id.0,
        supported: features::supported(),
        min_in_sync_replicas: request.node.config.min_insync_replicas,
    };
    let (node, responder) = (request.node.clone(), request.responder());
    Ok(Reply::Parked(Box::pin(async move {
        responder.answer(match place.ask(Command::UpdateFeatures(command)).await {
            Ok(Answer::UpdateFeatures(Ok(()))) => {
                tell_directories(&node, &place).await;
                updated(names, version)
            }
            Ok(Answer::UpdateFeatures(Err(refusal))) => refused(refusal.error, refusal.message),
            Ok(other) => unreachable!("UpdateFeatures is answered as such, not by {other:?}"),
            Err(why) => refused(why.code(), None),
        })
    })))
}

/// Registers once more where the cluster comes to know of log directories, which the registration does not name yet.
async fn tell_directories(node: &Node, place: &Place) {
    let image = node.image();
    let lacks_them = |broker: &Arc<Broker>| broker.log_dirs.is_empty();
    if image.metadata_version().has_directories()
        && image.broker(node.config.node_id).is_some_and(lacks_them)
        && let Err(error) = node.registration.renew(place, || node.partitions.online_ids()).await
    {
        tracing::error!(%error, "this broker cannot register with its log directories: restart it");
    }
}

fn updated(names: Vec<String>, version: i16) -> UpdateFeaturesResponse<'static> {
    let result = |name| UpdateFeaturesResult {
        feature: Cow::Owned(name),
        error_code: ErrorCode::None.code(),
        error_message: Some(ErrorCode::None.name().into()),
    };
    let names = names.into_iter().filter(|_| version < 2);
    UpdateFeaturesResponse { results: names.map(result).collect(), error_message: None, ..Default::default() }
}

fn refused(code: ErrorCode, message: Option<String>) -> UpdateFeaturesResponse<'static> {
    UpdateFeaturesResponse { error_code: code.code(), error_message: message.map(Cow::Owned), ..Default::default() }
}
