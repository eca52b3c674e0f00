//! What Ottla does not serve yet, and how it says so.

use std::time::Duration;

use ottla_base::Uuid;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::FindCoordinatorResponse;

use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[Conversation::new("unserved-coordinators", coordinators)];

const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// How long a broker that has such coordinators may take to make their topics.
const MADE_WITHIN: Duration = Duration::from_secs(5);

/// Who looks after transactions and share groups.
fn coordinators(session: &mut Session) {
    let of_share_group = format!("sharing:{}:0", Uuid(7));
    let kinds =
        [("a transaction", TRANSACTION, "transacting"), ("a partition of a share group", SHARE, &*of_share_group)];
    for (what, key_type, key) in kinds {
        for version in 1..=6 {
            if key_type == SHARE && version < 6 {
                continue;
            }
            let (key, coordinator_keys) = if version < 4 { (key, vec![]) } else { ("", vec![key.into()]) };
            let request = FindCoordinatorRequest { key: key.into(), key_type, coordinator_keys };
            wait_until_made(session, &request, version);
            exchange!(session, what, FindCoordinator version, &request => FindCoordinatorResponse<'_>);
        }
    }
}

/// Asks until somebody is found. Where a broker is none that would be, it is asked once.
fn wait_until_made(session: &mut Session, request: &FindCoordinatorRequest<'_>, version: i16) {
    let mut waited = Duration::ZERO;
    while waited < MADE_WITHIN {
        let answer = session.client.ask(ApiKey::FindCoordinator, version, request).expect("it is answered");
        let response: FindCoordinatorResponse<'_> = body(&answer, ApiKey::FindCoordinator, version);
        let codes = response.coordinators.iter().map(|coordinator| coordinator.error_code);
        if session.settled.is_zero() || response.error_code == 0 && codes.into_iter().all(|code| code == 0) {
            return;
        }
        std::thread::sleep(session.settled);
        waited += session.settled;
    }
}
