//! PushTelemetry (key 72, version 0, KIP-714): a client's metrics. They are unpacked, and go nowhere.
//!
//! Not advertised: there is nobody to take the metrics. Answered nevertheless, as Kafka does.
//! Differs from Kafka: nothing known.

use std::io::Read;

use ottla_base::Uuid;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::push_telemetry_request::PushTelemetryRequest;
use ottla_protocol::messages::push_telemetry_response::PushTelemetryResponse;
use ottla_protocol::records::compression::{self, Compression};

use super::Api;
use super::get_telemetry_subscriptions::wanted;
use crate::dispatch::{Refused, Reply};
use crate::node::clock;
use crate::request::Request;

/// PushTelemetry.
pub const API: Api = Api { key: ApiKey::PushTelemetry, versions: 0..=0, handle };

/// Metrics unpack to so much at most.
const UNPACKED_BYTES_MAX: u64 = 16 * 1024 * 1024;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: PushTelemetryRequest<'_> = request.decode()?;
    if !asked.metrics.is_empty() && Compression::from_id(asked.compression_type) != Some(Compression::None) {
        // They may unpack to much. Said before the push is counted, which is done once.
        request.is_large()?;
    }
    let code = match take(request, &asked) {
        Ok(()) => ErrorCode::None,
        Err(code) => code,
    };
    request.reply(PushTelemetryResponse { error_code: code.code(), ..Default::default() })
}

fn take(request: &Request<'_>, asked: &PushTelemetryRequest<'_>) -> Result<(), ErrorCode> {
    let client = asked.client_instance_id;
    if client == Uuid::ZERO {
        return Err(ErrorCode::InvalidRequest);
    }
    let (now, wanted) = (clock::now().monotonic, wanted(request, client));
    request.node.telemetry.push(now, client, &wanted, asked.subscription_id, asked.terminating)?;
    let codec = Compression::from_id(asked.compression_type).ok_or(ErrorCode::UnsupportedCompressionType)?;
    if asked.metrics.len() > request.node.config.telemetry_max_bytes {
        return Err(ErrorCode::TelemetryTooLarge);
    }
    if codec == Compression::None || asked.metrics.is_empty() {
        return Ok(());
    }
    let unpacked = compression::decompressor(codec, &asked.metrics)
        .and_then(|reader| std::io::copy(&mut reader.take(UNPACKED_BYTES_MAX + 1), &mut std::io::sink()));
    match unpacked {
        Ok(0..=UNPACKED_BYTES_MAX) => Ok(()),
        _ => Err(ErrorCode::InvalidRecord),
    }
}
