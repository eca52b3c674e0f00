//! The only member of a group: it reads on from what the group has committed, and commits.

use std::collections::BTreeMap;
use std::io;
use std::thread;

use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::records::Batches;
use ottla_protocol::{ApiKey, Records};

use super::{LOOK_EVERY, PARTITIONS, Stage, TOPIC};
use crate::group_requests::{self as requests, PASSING, Standing};
use crate::raw::{RawClient, body};

pub const GROUP: &str = "follower";
const SESSION_MS: i32 = 6_000;
const FETCH: i16 = 12;
const FETCH_WAIT_MS: i32 = 20;
/// UNKNOWN_MEMBER_ID: a kill came before the group was written down for the first time.
const UNKNOWN_MEMBER: i16 = 25;

/// What it knows.
#[derive(Debug)]
pub struct Follower {
    standing: Standing,
    /// By partition: the offsets up to which a commit was sent, and was answered.
    sent: BTreeMap<i32, i64>,
    answered: BTreeMap<i32, i64>,
    /// How many commits were answered.
    pub commits: u64,
    /// By partition and base offset: the checksums of the batches it was given.
    pub seen: BTreeMap<i32, BTreeMap<i64, u32>>,
}

impl Default for Follower {
    fn default() -> Self {
        let standing = Standing { group: GROUP.to_owned(), member: String::new(), generation: -1 };
        Self { standing, sent: BTreeMap::new(), answered: BTreeMap::new(), commits: 0, seen: BTreeMap::new() }
    }
}

impl Follower {
    /// Reads until all is over and everything is read.
    pub fn live(mut self, stage: &Stage) -> Self {
        loop {
            match self.follow(&mut stage.connect(), stage) {
                Ok(true) => return self,
                Ok(false) | Err(_) if stage.is_over() && stage.is_wrong() => return self,
                // The broker is gone, or the group has to be joined again.
                Ok(false) | Err(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Says whether everything is read.
    fn follow(&mut self, client: &mut RawClient, stage: &Stage) -> io::Result<bool> {
        requests::find_coordinator(client, GROUP)?;
        if !self.join(client)? {
            return Ok(false);
        }
        let partitions: Vec<i32> = (0..PARTITIONS).collect();
        let mut positions: BTreeMap<i32, i64> = loop {
            match requests::committed(client, GROUP, TOPIC, &partitions)? {
                Ok(found) => break found.into_iter().map(|(partition, offset)| (partition, offset.max(0))).collect(),
                Err(code) if PASSING.contains(&code) => thread::sleep(LOOK_EVERY),
                Err(code) => return Err(io::Error::other(format!("OffsetFetch: error {code}"))),
            }
        };
        for (&partition, &found) in &positions {
            let of = |offsets: &BTreeMap<i32, i64>| offsets.get(&partition).copied().unwrap_or(0);
            let (least, most) = (of(&self.answered), of(&self.sent));
            if !(least..=most).contains(&found) {
                stage.wrong(format!(
                    "partition {partition}: the group resumes at {found}, after {least} was committed and {most} sent"
                ));
            }
        }
        loop {
            if stage.ends.lock().expect("nobody panics while holding this lock").as_ref() == Some(&positions) {
                return Ok(true);
            }
            let request = requests::fetch_request(TOPIC, positions.iter().map(|(&it, &at)| (it, at)), FETCH_WAIT_MS);
            let answer = requests::ask(client, ApiKey::Fetch, FETCH, &request)?;
            let moved = self.take(&answer, &mut positions, stage);
            if stage.is_wrong() {
                return Ok(true);
            }
            if moved.is_empty() {
                continue;
            }
            self.sent.extend(moved.iter().copied());
            if requests::commit(client, &self.standing, TOPIC, &moved)? != 0 {
                return Ok(false);
            }
            self.answered.extend(moved);
            self.commits += 1;
        }
    }

    /// Joins again as who it was; says whether it did.
    fn join(&mut self, client: &mut RawClient) -> io::Result<bool> {
        let request = requests::join_request(GROUP, &self.standing.member, SESSION_MS);
        let answer = requests::ask(client, ApiKey::JoinGroup, 3, &request)?;
        let joined: JoinGroupResponse<'_> = body(&answer, ApiKey::JoinGroup, 3);
        if joined.error_code == UNKNOWN_MEMBER {
            self.standing.member.clear();
        }
        if joined.error_code != 0 {
            return Ok(false);
        }
        self.standing.member = joined.member_id.to_string();
        self.standing.generation = joined.generation_id;
        let share = vec![(self.standing.member.clone(), b"all".to_vec())];
        let answer = requests::ask(client, ApiKey::SyncGroup, 2, &requests::sync_request(&self.standing, share))?;
        Ok(body::<SyncGroupResponse<'_>>(&answer, ApiKey::SyncGroup, 2).error_code == 0)
    }

    /// Takes note of what came, and gives the positions that have moved.
    fn take(&mut self, answer: &[u8], positions: &mut BTreeMap<i32, i64>, stage: &Stage) -> Vec<(i32, i64)> {
        let response: FetchResponse<'_> = body(answer, ApiKey::Fetch, FETCH);
        let mut moved = Vec::new();
        for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
            let partition = data.partition_index;
            let position = positions.get_mut(&partition).expect("it was asked for");
            if data.error_code != 0 {
                stage.wrong(format!("partition {partition}: a Fetch from {position} has error {}", data.error_code));
            }
            let Records::Bytes(bytes) = data.records else { continue };
            let before = *position;
            for batch in Batches::new(bytes).map_while(Result::ok) {
                let (base, next) = (batch.header().base_offset.0, batch.header().next_offset().0);
                if base != *position || !batch.is_crc_valid() {
                    stage.wrong(format!("partition {partition}: a batch of offset {base} was given for {position}"));
                }
                let seen = self.seen.entry(partition).or_default().insert(base, batch.header().crc);
                if seen.is_some_and(|crc| crc != batch.header().crc) {
                    stage.wrong(format!("partition {partition}: another batch than before at {base}"));
                }
                *position = next;
            }
            if *position > before {
                moved.push((partition, *position));
            }
        }
        moved
    }
}
