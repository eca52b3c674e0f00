//! One member of the large group: joins, reads its share, commits, and joins again when it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use ottla_e2e::group_requests::{self as requests, Standing};
use ottla_e2e::{RawClient, body};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::records::batch::Batches;
use ottla_protocol::{ApiKey, Records};

use super::churn::{GROUP, TOPIC};
use super::ledger::Ledger;

const SESSION_MS: i32 = 6_000;
const HEARTBEAT_EVERY: Duration = Duration::from_millis(300);
const FETCH_WAIT_MS: i32 = 100;
const FETCH: i16 = 12;
const MEMBER_ID_REQUIRED: i16 = 79;
const UNKNOWN_MEMBER: i16 = 25;

/// What a member is told to do.
pub const GO_ON: u8 = 0;
pub const LEAVE: u8 = 1;
pub const DIE: u8 = 2;

/// Lives until it is told otherwise. Errors of the network are for whoever started it.
pub fn live(address: &str, name: &str, partitions: i32, ledger: &Ledger, told: &AtomicU8) -> io::Result<()> {
    let mut client = RawClient::connect_as(name, address)?;
    let mut standing = Standing { group: GROUP.to_owned(), member: String::new(), generation: -1 };
    while told.load(Ordering::Relaxed) == GO_ON {
        let Some(share) = join(&mut client, &mut standing, partitions, ledger)? else { continue };
        read(&mut client, &standing, &share, ledger, told)?;
    }
    if told.load(Ordering::Relaxed) == LEAVE && !standing.member.is_empty() {
        requests::leave(&mut client, &standing)?;
    }
    Ok(())
}

/// The member's share of a new generation; nothing, where it has to be tried again.
fn join(
    client: &mut RawClient,
    standing: &mut Standing,
    partitions: i32,
    ledger: &Ledger,
) -> io::Result<Option<Vec<i32>>> {
    let asked = Instant::now();
    let answer = requests::ask(
        client,
        ApiKey::JoinGroup,
        5,
        &requests::join_request(&standing.group, &standing.member, SESSION_MS),
    )?;
    let joined: JoinGroupResponse<'_> = body(&answer, ApiKey::JoinGroup, 5);
    match joined.error_code {
        0 => {}
        MEMBER_ID_REQUIRED => {
            standing.member = joined.member_id.to_string();
            return Ok(None);
        }
        UNKNOWN_MEMBER => {
            standing.member.clear();
            return Ok(None);
        }
        _ => return Ok(None),
    }
    standing.member = joined.member_id.to_string();
    standing.generation = joined.generation_id;
    let mut members: Vec<String> = joined.members.iter().map(|member| member.member_id.to_string()).collect();
    members.sort();
    let answer =
        requests::ask(client, ApiKey::SyncGroup, 3, &requests::sync_request(standing, shares(&members, partitions)))?;
    let synced: SyncGroupResponse<'_> = body(&answer, ApiKey::SyncGroup, 3);
    match synced.error_code {
        0 => {}
        UNKNOWN_MEMBER => {
            standing.member.clear();
            return Ok(None);
        }
        _ => return Ok(None),
    }
    ledger.synced(standing.generation, asked);
    let share = synced.assignment.chunks_exact(4);
    Ok(Some(share.map(|bytes| i32::from_be_bytes(bytes.try_into().expect("four bytes"))).collect()))
}

/// Partitions dealt out like cards; a share is its partitions, four bytes each.
fn shares(members: &[String], partitions: i32) -> Vec<(String, Vec<u8>)> {
    let mut shares: Vec<(String, Vec<u8>)> = members.iter().map(|member| (member.clone(), Vec::new())).collect();
    if !shares.is_empty() {
        let count = shares.len();
        (0..partitions).for_each(|partition| shares[partition as usize % count].1.extend(partition.to_be_bytes()));
    }
    shares
}

/// Reads and commits until the generation ends, or somebody says so.
fn read(
    client: &mut RawClient,
    standing: &Standing,
    share: &[i32],
    ledger: &Ledger,
    told: &AtomicU8,
) -> io::Result<()> {
    let found = match requests::committed(client, &standing.group, TOPIC, share)? {
        Ok(found) => found,
        Err(_) => return Ok(()),
    };
    let mut positions = BTreeMap::new();
    for (partition, offset) in found {
        ledger.assigned(partition, offset.max(0));
        positions.insert(partition, offset.max(0));
    }
    let mut heartbeat = Instant::now();
    while told.load(Ordering::Relaxed) == GO_ON {
        if heartbeat.elapsed() >= HEARTBEAT_EVERY {
            heartbeat = Instant::now();
            if requests::heartbeat(client, standing)? != 0 {
                return Ok(());
            }
        }
        let request = requests::fetch_request(TOPIC, positions.iter().map(|(&it, &at)| (it, at)), FETCH_WAIT_MS);
        let answer = requests::ask(client, ApiKey::Fetch, FETCH, &request)?;
        let moved = deliver(&answer, &mut positions, ledger);
        if moved.is_empty() {
            continue;
        }
        if requests::commit(client, standing, TOPIC, &moved)? != 0 {
            return Ok(());
        }
        moved.iter().for_each(|&(partition, offset)| ledger.committed(partition, offset));
    }
    Ok(())
}

/// Takes note of what came, and gives the positions that have moved.
fn deliver(answer: &[u8], positions: &mut BTreeMap<i32, i64>, ledger: &Ledger) -> Vec<(i32, i64)> {
    let response: FetchResponse<'_> = body(answer, ApiKey::Fetch, FETCH);
    let mut moved = Vec::new();
    for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
        if data.error_code != 0 {
            let at = positions[&data.partition_index];
            ledger.wrong(format!(
                "partition {}: a Fetch from {at} is answered {}",
                data.partition_index, data.error_code
            ));
        }
        let Records::Bytes(bytes) = data.records else { continue };
        let position = positions.get_mut(&data.partition_index).expect("it was asked for");
        let before = *position;
        for batch in Batches::new(bytes).map_while(Result::ok) {
            let (first, next) = (batch.header().base_offset.0, batch.header().next_offset().0);
            if next > *position {
                ledger.delivered(data.partition_index, first.max(*position), next);
                *position = next;
            }
        }
        if *position > before {
            moved.push((data.partition_index, *position));
        }
    }
    moved
}
