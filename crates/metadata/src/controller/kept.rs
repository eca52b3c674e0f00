//! How much the metadata of a cluster may hold. Every node keeps all of it in memory, and everybody may add to it: without a
//! limit, small requests would add up to more than there is.
//!
//! Only what would make it grow is refused: a log in which there is more (another program wrote it) is read, and can be
//! cleared up.
//!
//! Differs from Kafka, which has no such limits.

use ottla_protocol::error::ErrorCode;

use super::Refusal;
use crate::image::{Image, Kept, ResourceKind};
use crate::settings::client_metrics::{SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX_BYTES};

/// For the configs of all topics: 100,000 topics with a dozen each.
const TOPICS_MAX_BYTES: usize = 32 * 1024 * 1024;
/// For the configs of all groups, those of all brokers, and the quotas of all entities, each.
pub(super) const OTHERS_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Whether the configs of a resource may come to take `after` bytes, where they took `before`.
pub(super) fn check_configs(image: &Image, kind: ResourceKind, before: usize, after: usize) -> Result<(), Refusal> {
    let kept = image.kept_configs(kind);
    let (what, max_bytes) = match kind {
        ResourceKind::Topic => ("configs of topics", TOPICS_MAX_BYTES),
        ResourceKind::Broker | ResourceKind::BrokerLogger => ("configs of brokers", OTHERS_MAX_BYTES),
        ResourceKind::Group => ("configs of groups", OTHERS_MAX_BYTES),
        ResourceKind::ClientMetrics => ("client metrics subscriptions", SUBSCRIPTIONS_MAX_BYTES),
    };
    if kind == ResourceKind::ClientMetrics && before == 0 && after > 0 && kept.count >= SUBSCRIPTIONS_MAX {
        let message = format!("There are {} {what}, and no more may be added. Remove some first.", kept.count);
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    check(kept, what, max_bytes, before, after)
}

/// Whether the quotas of an entity may come to take `after` bytes, where they took `before`.
pub(super) fn check_quotas(image: &Image, before: usize, after: usize) -> Result<(), Refusal> {
    check(image.kept_quotas(), "client quotas", OTHERS_MAX_BYTES, before, after)
}

fn check(kept: Kept, what: &str, max_bytes: usize, before: usize, after: usize) -> Result<(), Refusal> {
    if after <= before || kept.bytes - before + after <= max_bytes {
        return Ok(());
    }
    let message = format!("All {what} together may not take more than {max_bytes} bytes. Remove some first.");
    Err(Refusal::new(ErrorCode::PolicyViolation, message))
}
