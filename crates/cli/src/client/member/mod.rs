//! A member of a group of consumers (the classic protocol): joins, is given partitions, commits, leaves.
//!
//! ```text
//! join: JoinGroup -> (MEMBER_ID_REQUIRED: again, with the id) -> the leader assigns -> SyncGroup -> partitions, heartbeats
//!                 <- REBALANCE_IN_PROGRESS: again
//!                 <- UNKNOWN_MEMBER_ID: again, as a new member; ILLEGAL_GENERATION: again, with nothing of its own
//! ```
//!
//! The coordinator has a connection of its own here: a JoinGroup waits for all members, and nothing may wait behind it.
//!
//! Not here: reading partitions (`fetch`), and which topics to subscribe to.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use ottla_base::TopicPartition;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, Protocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, Member as LeavingMember};
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;
use ottla_protocol::messages::sync_group_request::{Assignment, SyncGroupRequest};
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::{ApiKey, ErrorCode, Message, Str};

use crate::client::assignor::{self, Assignor, Said, Subscriber};
use crate::client::connection::Answer;
use crate::client::group_offsets::{self, Committer, Offsets};
use crate::client::heartbeats::{Heartbeats, Membership};
use crate::client::{Cluster, Connection, Error, Topics, groups};

/// The protocol type of groups of consumers.
const CONSUMER: &str = "consumer";
/// How much longer than a rebalance may take a broker gets to answer.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether an answer is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Before what failed is tried again.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Which group to be in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberOptions {
    /// The group.
    pub group: String,
    /// How its leader may give partitions to members, the one it likes best first.
    pub assignors: Vec<Assignor>,
    /// The static id (KIP-345).
    pub instance_id: Option<String>,
    /// After how long without a heartbeat the member is taken for dead.
    pub session_timeout: Duration,
    /// How often it says that it lives.
    pub heartbeat_interval: Duration,
    /// For how long it may not look; and what a rebalance waits for it.
    pub max_poll_interval: Duration,
}

/// How a member stands with its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has its partitions.
    Stable,
    /// It is to join again; until then its partitions are its own.
    Rejoin,
    /// It is to join anew; its partitions are no longer its own.
    Lost,
}

/// What a member has joined for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its partitions.
    pub partitions: Vec<TopicPartition>,
    /// What it had was no longer its own.
    pub is_new: bool,
}

/// A member.
#[derive(Debug)]
pub struct Member {
    cluster: Cluster,
    options: MemberOptions,
    coordinator: Option<i32>,
    member_id: String,
    generation: i32,
    /// How partitions are given in this generation.
    assignor: Option<Assignor>,
    /// What it was given last, and in which generation: the sticky assignor asks for it.
    given: (Vec<TopicPartition>, i32),
    /// None where it has to join, and while the coordinator cannot be found.
    heartbeats: Option<Heartbeats>,
    /// When the coordinator is looked for again, where it could not be found.
    look_at: Instant,
    has_to_join: bool,
    is_lost: bool,
    /// As the leader: how many partitions each topic had when they were assigned.
    counts: Option<BTreeMap<String, i32>>,
}

/// What a request of the join came to.
enum Step<T> {
    Done(T),
    Again,
    Unwanted,
}

impl Member {
    /// One that has not joined. The connections of `cluster` are its own.
    pub fn new(cluster: Cluster, options: MemberOptions) -> Self {
        Self {
            cluster,
            options,
            coordinator: None,
            member_id: String::new(),
            generation: -1,
            assignor: None,
            given: (Vec::new(), -1),
            heartbeats: None,
            look_at: Instant::now(),
            has_to_join: true,
            is_lost: false,
            counts: None,
        }
    }

    /// Whether it keeps its partitions while it joins again, as all members of its group then do.
    pub fn is_cooperative(&self) -> bool {
        self.options.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    /// How it stands, by what its heartbeats were answered.
    pub fn standing(&mut self) -> Result<Standing, Error> {
        if self.is_lost {
            return Ok(Standing::Lost);
        }
        if self.has_to_join {
            return Ok(Standing::Rejoin);
        }
        let Some(heartbeats) = &self.heartbeats else { return self.find_again() };
        match heartbeats.verdict() {
            ErrorCode::None => Ok(Standing::Stable),
            ErrorCode::RebalanceInProgress => Ok(Standing::Rejoin),
            code @ (ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.lose(code);
                Ok(Standing::Lost)
            }
            code if is_about_coordinator(code) => {
                self.lose_coordinator();
                self.heartbeats = None;
                self.find_again()
            }
            code => Err(Error::of_code(code.code(), None)),
        }
    }

    /// Sends heartbeats to the coordinator that there is now. That none is found takes nothing from the member: the next one
    /// knows it from the log, and says so if it does not.
    fn find_again(&mut self) -> Result<Standing, Error> {
        if Instant::now() >= self.look_at
            && let Err(error) = self.start_heartbeats()
        {
            if !is_passing(&error) {
                return Err(error);
            }
            self.lose_coordinator();
            self.look_at = Instant::now() + BACK_OFF;
        }
        Ok(Standing::Stable)
    }

    /// As the leader: whether topics have another number of partitions than when they were assigned.
    pub fn has_changed_topics(&mut self) -> Result<bool, Error> {
        let Some(counts) = self.counts.clone() else { return Ok(false) };
        let names = counts.keys().cloned().collect();
        Ok(self.count_partitions(&names)? != counts)
    }

    /// Joins, or joins again, and waits for what it is given; for nothing where `is_wanted` says that it need not be. It goes on
    /// reading `kept` meanwhile.
    pub fn join(
        &mut self,
        topics: &[String],
        kept: &[TopicPartition],
        mut is_wanted: impl FnMut() -> bool,
    ) -> Result<Option<Joined>, Error> {
        self.heartbeats = None;
        self.has_to_join = true;
        loop {
            let step = self.join_once(topics, kept, &mut is_wanted);
            match step {
                Ok(Step::Done(partitions)) => {
                    let is_new = std::mem::take(&mut self.is_lost);
                    self.given = (partitions.clone(), self.generation);
                    self.has_to_join = false;
                    self.look_at = Instant::now();
                    self.find_again()?;
                    return Ok(Some(Joined { partitions, is_new }));
                }
                Ok(Step::Unwanted) => return Ok(None),
                Ok(Step::Again) => {}
                Err(error) if is_passing(&error) => self.lose_coordinator(),
                Err(error) => return Err(error),
            }
            if !is_wanted() {
                return Ok(None);
            }
            thread::sleep(BACK_OFF);
        }
    }

    fn join_once(
        &mut self,
        topics: &[String],
        kept: &[TopicPartition],
        is_wanted: &mut impl FnMut() -> bool,
    ) -> Result<Step<Vec<TopicPartition>>, Error> {
        let said = self.said(topics, kept);
        let (answer, joined_as) = loop {
            let options = self.options.clone();
            let member_id = self.member_id.clone();
            let request = JoinGroupRequest {
                group_id: Str::Borrowed(&options.group),
                session_timeout_ms: milliseconds(options.session_timeout),
                rebalance_timeout_ms: milliseconds(options.max_poll_interval),
                member_id: Str::Borrowed(&member_id),
                group_instance_id: options.instance_id.as_deref().map(Str::Borrowed),
                protocol_type: Str::Borrowed(CONSUMER),
                protocols: said
                    .iter()
                    .map(|(name, said)| Protocol { name: (*name).into(), metadata: said.as_slice().into() })
                    .collect(),
                reason: None,
            };
            let Some(answer) = self.ask(ApiKey::JoinGroup, &request, is_wanted)? else { return Ok(Step::Unwanted) };
            let response: JoinGroupResponse<'_> = answer.read()?;
            match ErrorCode::from_code(response.error_code) {
                Some(ErrorCode::MemberIdRequired) => self.member_id = response.member_id.to_string(),
                Some(ErrorCode::None) => {
                    let joined_as = (response.generation_id, response.member_id.to_string());
                    break (answer, joined_as);
                }
                _ => return self.refused(response.error_code),
            }
        };
        (self.generation, self.member_id) = joined_as;
        let response: JoinGroupResponse<'_> = answer.read()?;
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let assignor = Assignor::of_name(name).filter(|assignor| self.options.assignors.contains(assignor));
        self.assignor = Some(assignor.ok_or_else(|| Error::Refused {
            code: ErrorCode::InconsistentGroupProtocol,
            message: format!("the group has agreed on '{name}', which this member did not offer"),
        })?);
        let assignments = if response.leader == self.member_id && !response.skip_assignment {
            self.assign(&response)?
        } else {
            self.counts = None;
            BTreeMap::new()
        };
        self.sync(&assignments, is_wanted)
    }

    /// What it says to each assignor that it offers: of what it had, the cooperative one is told what it keeps.
    fn said(&self, topics: &[String], kept: &[TopicPartition]) -> Vec<(&'static str, Vec<u8>)> {
        let say = |assignor: &Assignor| {
            let (given, generation) = &self.given;
            let owned = match assignor {
                Assignor::Sticky => given.clone(),
                // What it lost while it joined is another's by now.
                _ if self.is_lost => Vec::new(),
                _ => kept.to_vec(),
            };
            let said = Said { topics: topics.to_vec(), owned, generation: *generation };
            (assignor.name(), assignor.write_subscription(&said))
        };
        self.options.assignors.iter().map(say).collect()
    }

    /// As the leader: gives every member its partitions.
    fn assign(&mut self, response: &JoinGroupResponse<'_>) -> Result<BTreeMap<String, Vec<TopicPartition>>, Error> {
        let assignor = self.assignor.expect("the group has agreed on one");
        let mut subscribers = Vec::new();
        for member in &response.members {
            let said = assignor.read_subscription(&member.metadata).map_err(|error| Error::Refused {
                code: ErrorCode::InconsistentGroupProtocol,
                message: format!("the subscription of member {} cannot be read: {error}", member.member_id),
            })?;
            subscribers.push(Subscriber {
                id: member.member_id.to_string(),
                instance_id: member.group_instance_id.as_deref().map(str::to_owned),
                said,
            });
        }
        let names = subscribers.iter().flat_map(|subscriber| &subscriber.said.topics).cloned().collect();
        let counts = self.count_partitions(&names)?;
        let assigned = assignor.assign(&subscribers, &counts);
        self.counts = Some(counts);
        Ok(assigned)
    }

    fn count_partitions(&mut self, names: &BTreeSet<String>) -> Result<BTreeMap<String, i32>, Error> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let topics = self.cluster.topics(Topics::Named { names: &names, create: false })?;
        let count = |count: usize| i32::try_from(count).expect("partitions are numbered by 32 bits");
        Ok(topics.into_iter().map(|topic| (topic.name, count(topic.partitions.len()))).collect())
    }

    fn sync(
        &mut self,
        assignments: &BTreeMap<String, Vec<TopicPartition>>,
        is_wanted: &mut impl FnMut() -> bool,
    ) -> Result<Step<Vec<TopicPartition>>, Error> {
        let (options, member_id) = (self.options.clone(), self.member_id.clone());
        let assignments = assignments.iter().map(|(member_id, partitions)| Assignment {
            member_id: Str::Borrowed(member_id),
            assignment: assignor::write_assignment(partitions).into(),
        });
        let request = SyncGroupRequest {
            group_id: Str::Borrowed(&options.group),
            generation_id: self.generation,
            member_id: Str::Borrowed(&member_id),
            group_instance_id: options.instance_id.as_deref().map(Str::Borrowed),
            protocol_type: Some(Str::Borrowed(CONSUMER)),
            protocol_name: self.assignor.map(|assignor| Str::Borrowed(assignor.name())),
            assignments: assignments.collect(),
        };
        let Some(answer) = self.ask(ApiKey::SyncGroup, &request, is_wanted)? else { return Ok(Step::Unwanted) };
        let response: SyncGroupResponse<'_> = answer.read()?;
        if response.error_code != 0 {
            return self.refused(response.error_code);
        }
        let partitions = assignor::read_assignment(&response.assignment).map_err(|error| Error::Refused {
            code: ErrorCode::InconsistentGroupProtocol,
            message: format!("the assignment cannot be read: {error}"),
        })?;
        Ok(Step::Done(partitions))
    }

    /// What a refusal of JoinGroup or SyncGroup means.
    fn refused<T>(&mut self, error_code: i16) -> Result<Step<T>, Error> {
        match ErrorCode::from_code(error_code) {
            Some(code @ (ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration)) => self.lose(code),
            Some(ErrorCode::RebalanceInProgress | ErrorCode::CoordinatorLoadInProgress) => {}
            _ => return Err(Error::of_code(error_code, None)),
        }
        Ok(Step::Again)
    }

    /// What the group has committed for partitions.
    pub fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Offsets, Error> {
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let groups = [self.options.group.clone()];
        let fetched = groups::on_coordinators(&mut self.cluster, &groups, |connection, _, groups| {
            group_offsets::fetch(connection, groups, Some(partitions))
        })?;
        fetched.into_values().next().unwrap_or_else(|| Ok(Offsets::new()))
    }

    /// Commits offsets for the group. Where the group has moved on without it, the member learns of it here too.
    pub fn commit(&mut self, offsets: &Offsets) -> Result<(), Error> {
        if offsets.is_empty() || self.is_lost {
            return Ok(());
        }
        let (options, member_id) = (self.options.clone(), self.member_id.clone());
        let committer = Committer {
            member_id: &member_id,
            generation: self.generation,
            instance_id: options.instance_id.as_deref(),
        };
        let committed = self
            .connection()
            .and_then(|connection| group_offsets::commit(connection, &options.group, committer, offsets));
        let refused = match committed {
            Ok(refused) => refused,
            Err(error) => {
                self.lose_coordinator();
                return Err(error);
            }
        };
        let Some(error) = refused.into_values().next() else { return Ok(()) };
        match error.code() {
            Some(code @ (ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration)) => self.lose(code),
            Some(code) if is_about_coordinator(code) => self.lose_coordinator(),
            _ => {}
        }
        Err(error)
    }

    /// Leaves the group, unless the member is a static one: that may come back.
    pub fn leave(&mut self) -> Result<(), Error> {
        self.heartbeats = None;
        if self.options.instance_id.is_some() || self.member_id.is_empty() {
            return Ok(());
        }
        // An answer may be due on the connection, for which this must not wait.
        self.hang_up();
        let (group, member_id) = (self.options.group.clone(), self.member_id.clone());
        let request = LeaveGroupRequest {
            group_id: Str::Borrowed(&group),
            member_id: Str::Borrowed(&member_id),
            members: vec![LeavingMember {
                member_id: Str::Borrowed(&member_id),
                reason: Some(Str::Borrowed("the consumer is being closed")),
                ..LeavingMember::default()
            }],
        };
        let answer = self.connection()?.ask(ApiKey::LeaveGroup, &request)?;
        let response: LeaveGroupResponse<'_> = answer.read()?;
        self.lose(ErrorCode::UnknownMemberId);
        if response.error_code == 0 { Ok(()) } else { Err(Error::of_code(response.error_code, None)) }
    }

    /// Asks the coordinator, and waits for its answer as long as that is wanted.
    fn ask<'q>(
        &mut self,
        api: ApiKey,
        request: &impl Message<'q>,
        is_wanted: &mut impl FnMut() -> bool,
    ) -> Result<Option<Answer>, Error> {
        let within = self.options.max_poll_interval + ANSWER_GRACE;
        let connection = self.connection()?;
        connection.send(api, i16::MAX, request)?;
        let mut waited = Duration::ZERO;
        while waited < within {
            if connection.wait_readable(LOOK_INTERVAL)? {
                return connection.receive().map(Some);
            }
            if !is_wanted() {
                // Nothing else is to wait behind the answer, which may yet take long.
                self.hang_up();
                return Ok(None);
            }
            waited += LOOK_INTERVAL;
        }
        connection.receive_within(LOOK_INTERVAL).map(Some)
    }

    /// The connection to the coordinator, which is found first where it is not known.
    fn connection(&mut self) -> Result<&mut Connection, Error> {
        let coordinator = match self.coordinator {
            Some(coordinator) => coordinator,
            None => {
                let groups = [self.options.group.clone()];
                let found = groups::find(&mut self.cluster, &groups)?.into_values().next();
                let found = found.ok_or_else(|| Error::of_code(ErrorCode::CoordinatorNotAvailable.code(), None))?;
                *self.coordinator.insert(found?)
            }
        };
        self.cluster.broker(coordinator)
    }

    fn start_heartbeats(&mut self) -> Result<(), Error> {
        let connection = self.connection()?;
        let (coordinator, options) = (connection.peer().clone(), connection.options().clone());
        self.heartbeats = Some(Heartbeats::start(Membership {
            coordinator,
            options,
            group: self.options.group.clone(),
            generation: self.generation,
            member_id: self.member_id.clone(),
            instance_id: self.options.instance_id.clone(),
            interval: self.options.heartbeat_interval,
            max_poll_interval: self.options.max_poll_interval,
        }));
        Ok(())
    }

    /// What it had is no longer its own. Its id may still be known where only its generation is over: another one beside it
    /// would be waited for in vain.
    fn lose(&mut self, code: ErrorCode) {
        self.heartbeats = None;
        if code != ErrorCode::IllegalGeneration {
            self.member_id.clear();
        }
        self.generation = -1;
        self.counts = None;
        self.is_lost = true;
    }

    /// Ends the connection to the coordinator; there is another when it is asked again.
    fn hang_up(&mut self) {
        if let Some(coordinator) = self.coordinator {
            self.cluster.drop_broker(coordinator);
        }
    }

    fn lose_coordinator(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            self.cluster.drop_broker(coordinator);
        }
    }
}

/// Whether the coordinator has to be looked for.
fn is_about_coordinator(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NetworkException
    )
}

/// Whether it is worth another attempt, perhaps with another coordinator.
fn is_passing(error: &Error) -> bool {
    match error.code() {
        Some(code) => is_about_coordinator(code),
        None => error.is_retriable(),
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
