//! GetTelemetrySubscriptions (key 71, version 0, KIP-714): which metrics a client is to push, and how often.
//!
//! Not advertised: there is nobody to take the metrics. Answered nevertheless, as Kafka does.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;

use ottla_base::Uuid;
use ottla_metadata::settings::client_metrics::Selector;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use ottla_protocol::messages::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use ottla_protocol::records::compression::Compression;

use super::Api;
use crate::dispatch::{Refused, Reply};
use crate::node::{clock, entropy};
use crate::request::Request;
use crate::telemetry::Wanted;

/// GetTelemetrySubscriptions.
pub const API: Api = Api { key: ApiKey::GetTelemetrySubscriptions, versions: 0..=0, handle };

/// The codecs that metrics may come in, the best first.
const CODECS: [Compression; 4] = [Compression::Zstd, Compression::Lz4, Compression::Gzip, Compression::Snappy];

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: GetTelemetrySubscriptionsRequest = request.decode()?;
    let client = match asked.client_instance_id {
        Uuid::ZERO => Uuid::random(entropy),
        known => known,
    };
    let wanted = wanted(request, client);
    let answer = request.node.telemetry.ask(clock::now().monotonic, client, &wanted);
    request.reply(match answer {
        Ok(subscription_id) => GetTelemetrySubscriptionsResponse {
            client_instance_id: client,
            subscription_id,
            accepted_compression_types: CODECS.map(Compression::id).to_vec(),
            push_interval_ms: wanted.interval_ms,
            telemetry_max_bytes: i32::try_from(request.node.config.telemetry_max_bytes).unwrap_or(i32::MAX),
            delta_temporality: true,
            requested_metrics: wanted.metrics.iter().map(|name| Cow::Borrowed(&**name)).collect(),
            ..Default::default()
        },
        Err(code) => GetTelemetrySubscriptionsResponse { error_code: code.code(), ..Default::default() },
    })
}

/// What is wanted of whoever sent this.
pub fn wanted(request: &Request<'_>, client: Uuid) -> Wanted {
    let asker = &request.client;
    let (instance, host, port) = (client.to_string(), asker.asker.host.to_string(), asker.port.to_string());
    let tell = |selector| match selector {
        Selector::ClientId => request.client_id(),
        Selector::ClientInstanceId => &instance,
        Selector::SoftwareName => &asker.software_name,
        Selector::SoftwareVersion => &asker.software_version,
        Selector::SourceAddress => &host,
        Selector::SourcePort => &port,
    };
    request.node.telemetry.wanted(tell)
}
