//! What several members of a group need to talk: each asks over a connection of its own, and may have to wait.
//!
//! And the conversations of one member alone: every version, and every refusal.

use std::borrow::Cow;
use std::time::Duration;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::DescribeGroupsResponse;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, Protocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::{self, LeaveGroupRequest};
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;
use ottla_protocol::messages::sync_group_request::{Assignment, SyncGroupRequest};
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;

use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("find-coordinator", find_coordinator),
    Conversation::new("group-versions", versions),
    Conversation::new("join-group-errors", join_errors),
    Conversation::new("group-errors", errors),
];

const NOT_THERE_YET: [i16; 3] = [14, 15, 16];

/// What a member has been told of itself.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub who: &'static str,
    pub group: &'static str,
    pub id: String,
    pub generation: i32,
    pub instance: Option<&'static str>,
    /// The version of JoinGroup it speaks; of the others, what goes with it.
    pub version: i16,
    /// What it can do, the best first, and what it says in each.
    pub protocols: Vec<(&'static str, &'static [u8])>,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
}

impl Member {
    pub fn new(who: &'static str, group: &'static str) -> Self {
        Self {
            who,
            group,
            id: String::new(),
            generation: -1,
            instance: None,
            version: 9,
            protocols: vec![("range", b"r"), ("roundrobin", b"rr")],
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
        }
    }

    pub fn static_as(who: &'static str, group: &'static str, instance: &'static str) -> Self {
        Self { instance: Some(instance), ..Self::new(who, group) }
    }

    pub fn request(&self) -> JoinGroupRequest<'_> {
        let protocol = |&(name, metadata): &(&'static str, &'static [u8])| Protocol {
            name: name.into(),
            metadata: Cow::Borrowed(metadata),
        };
        JoinGroupRequest {
            group_id: self.group.into(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.map(Into::into),
            protocol_type: "consumer".into(),
            protocols: self.protocols.iter().map(protocol).collect(),
            reason: None,
        }
    }

    /// Asks to join; where it first needs an id, asks for that.
    pub fn begin_join(&mut self, session: &mut Session, what: &str) {
        if self.id.is_empty() && self.instance.is_none() && self.version >= 4 {
            session.begin(self.who, &format!("{what}: for an id"), ApiKey::JoinGroup, self.version, &self.request());
            self.finish_join(session);
        }
        session.begin(self.who, what, ApiKey::JoinGroup, self.version, &self.request());
        wait_until_joining(session, self.who, self.group);
    }

    /// Waits for the generation. Gives the number of members that it is told of, which is 0 for all but the leader.
    pub fn finish_join(&mut self, session: &mut Session) -> usize {
        let answer = session.finish(self.who);
        let mut response: JoinGroupResponse<'_> = body(&answer, ApiKey::JoinGroup, self.version);
        // In no order of its own; ids begin with the name of the client.
        response.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        session.note(&response);
        if !response.member_id.is_empty() {
            self.id = response.member_id.to_string();
        }
        if response.error_code == 0 {
            self.generation = response.generation_id;
        }
        response.members.len()
    }

    pub fn join(&mut self, session: &mut Session, what: &str) {
        self.begin_join(session, what);
        self.finish_join(session);
    }

    pub fn begin_sync(&self, session: &mut Session, what: &str, assignments: &[(&Member, &[u8])]) {
        let assignment = |&(member, bytes): &(&Member, &[u8])| Assignment {
            member_id: Cow::Owned(member.id.clone()),
            assignment: Cow::Owned(bytes.to_vec()),
        };
        let version = self.sync_version();
        let request = SyncGroupRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.map(Into::into),
            protocol_type: (version >= 5).then(|| "consumer".into()),
            protocol_name: (version >= 5).then(|| "range".into()),
            assignments: assignments.iter().map(assignment).collect(),
        };
        session.begin(self.who, what, ApiKey::SyncGroup, version, &request);
    }

    pub fn finish_sync(&self, session: &mut Session) {
        let answer = session.finish(self.who);
        session.note(&body::<SyncGroupResponse<'_>>(&answer, ApiKey::SyncGroup, self.sync_version()));
    }

    pub fn sync(&self, session: &mut Session, what: &str, assignments: &[(&Member, &[u8])]) {
        self.begin_sync(session, what, assignments);
        self.finish_sync(session);
    }

    fn sync_version(&self) -> i16 {
        match self.version {
            7.. => 5,
            6 => 4,
            5 => 3,
            other => other.min(2),
        }
    }

    pub fn heartbeat(&self, session: &mut Session, what: &str) -> i16 {
        let request = HeartbeatRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.map(Into::into),
        };
        let version = if self.instance.is_some() || self.version >= 6 { 4 } else { self.version.min(2) };
        session.begin(self.who, what, ApiKey::Heartbeat, version, &request);
        let answer = session.finish(self.who);
        let response: HeartbeatResponse = body(&answer, ApiKey::Heartbeat, version);
        session.note(&response);
        response.error_code
    }

    /// Sends heartbeats until one is answered so.
    pub fn heartbeat_until(&self, session: &mut Session, what: &str, wanted: i16) {
        let mut quiet = Session::new(&session.address, Duration::ZERO);
        while self.heartbeat(&mut quiet, what) != wanted {}
        session.line(&format!("{} hears {wanted} at last, {what}", self.who));
    }

    pub fn leave(&self, session: &mut Session, what: &str) {
        let member = leave_group_request::Member {
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.map(Into::into),
            reason: None,
        };
        leave(session, what, 5, self.group, vec![member]);
    }
}

pub(super) fn leave(
    session: &mut Session,
    what: &str,
    version: i16,
    group: &str,
    members: Vec<leave_group_request::Member<'_>>,
) {
    let only = if version < 3 { members[0].member_id.to_string() } else { String::new() };
    let members = if version < 3 { Vec::new() } else { members };
    let request = LeaveGroupRequest { group_id: group.into(), member_id: only.into(), members };
    exchange!(session, what, LeaveGroup version, &request => LeaveGroupResponse<'_>);
}

/// Waits until a JoinGroup is answered, or waits for others: what comes next over another connection comes after it.
fn wait_until_joining(session: &mut Session, who: &'static str, group: &str) {
    while !session.other(who).has_answer() {
        let request = DescribeGroupsRequest { groups: vec![group.into()], include_authorized_operations: false };
        let answer = session.client.ask(ApiKey::DescribeGroups, 5, &request).expect("it is answered");
        let described: DescribeGroupsResponse<'_> = body(&answer, ApiKey::DescribeGroups, 5);
        let described = &described.groups[0];
        let is_there = described.members.iter().any(|member| member.client_id == who);
        if is_there && described.group_state == "PreparingRebalance" {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until there is a coordinator of the group that knows it.
pub(super) fn coordinate(session: &mut Session, group: &str) {
    loop {
        let keys = vec![group.into()];
        let request = FindCoordinatorRequest { key_type: 0, coordinator_keys: keys, ..Default::default() };
        let answer = session.client.ask(ApiKey::FindCoordinator, 4, &request).expect("it is answered");
        let response: FindCoordinatorResponse<'_> = body(&answer, ApiKey::FindCoordinator, 4);
        let request = DescribeGroupsRequest { groups: vec![group.into()], include_authorized_operations: false };
        let answer = session.client.ask(ApiKey::DescribeGroups, 5, &request).expect("it is answered");
        let described: DescribeGroupsResponse<'_> = body(&answer, ApiKey::DescribeGroups, 5);
        if response.coordinators[0].error_code == 0 && !NOT_THERE_YET.contains(&described.groups[0].error_code) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the group is doing.
pub(super) fn describe(session: &mut Session, what: &str, group: &str) {
    describe_in(session, what, 6, &[group], true);
}

pub(super) fn describe_in(session: &mut Session, what: &str, version: i16, groups: &[&str], operations: bool) {
    let groups = groups.iter().map(|&group| group.into()).collect();
    let request = DescribeGroupsRequest { groups, include_authorized_operations: operations };
    let Some(answer) = session.ask(what, ApiKey::DescribeGroups, version, &request) else { return };
    let mut response: DescribeGroupsResponse<'_> = body(&answer, ApiKey::DescribeGroups, version);
    // Kafka names the groups of one partition together.
    response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    response.groups.iter_mut().for_each(|group| group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id)));
    session.note(&response);
}

fn find_coordinator(session: &mut Session) {
    coordinate(session, "sought");
    for version in 0..=6 {
        for (what, key_type, keys) in [
            ("a group", 0, &["sought"][..]),
            ("no name", 0, &[""]),
            ("several groups", 0, &["sought", "other", "sought", ""]),
            ("nothing", 0, &[]),
            ("a share group by its name", 2, &["sought"]),
            ("an unknown type", 9, &["sought"]),
            ("a negative type", -1, &["sought", "other"]),
        ] {
            if version < 4 && keys.len() != 1 || version == 0 && key_type != 0 {
                continue;
            }
            let single = if version < 4 { keys[0] } else { "" };
            let many = if version < 4 { &[] } else { keys };
            let request = FindCoordinatorRequest {
                key: single.into(),
                key_type,
                coordinator_keys: many.iter().map(|&key| key.into()).collect(),
            };
            exchange!(session, what, FindCoordinator version, &request => FindCoordinatorResponse<'_>);
        }
    }
}

/// One member alone, in each version.
fn versions(session: &mut Session) {
    const GROUPS: [&str; 10] = ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9"];
    for (version, group) in (0..).zip(GROUPS) {
        coordinate(session, group);
        let mut member = Member { version, ..Member::new("alone", group) };
        member.join(session, "alone");
        member.heartbeat(session, "before it has synced");
        member.sync(session, "alone", &[(&member, b"all")]);
        member.heartbeat(session, "stable");
        for version in 0..=6 {
            describe_in(session, "stable", version, &[group], version % 2 == 1);
        }
        let going = leave_group_request::Member { member_id: member.id.clone().into(), ..Default::default() };
        leave(session, "gone", version.min(5), group, vec![going]);
        member.heartbeat(session, "after it has left");
        describe(session, "empty", group);
    }
}

fn join_errors(session: &mut Session) {
    const GROUP: &str = "refusing";
    coordinate(session, GROUP);
    coordinate(session, "");
    let ask = |session: &mut Session, what: &str, version: i16, change: &dyn Fn(&mut JoinGroupRequest<'_>)| {
        let member = Member::new("somebody", GROUP);
        let mut request = member.request();
        change(&mut request);
        exchange!(session, what, JoinGroup version, &request => JoinGroupResponse<'_>);
    };
    for version in [0, 3, 4, 6, 7, 9] {
        ask(session, "no group", version, &|request| request.group_id = "".into());
        ask(session, "a short session", version, &|request| request.session_timeout_ms = 99);
        ask(session, "a long session", version, &|request| request.session_timeout_ms = 1_800_001);
        ask(session, "an unknown member of a new group", version, &|request| request.member_id = "who".into());
    }
    describe(session, "nothing so far", GROUP);
    ask(session, "no protocols", 9, &|request| request.protocols.clear());
    describe(session, "after the first that was not refused at once", GROUP);
    ask(session, "no protocol type", 9, &|request| request.protocol_type = "".into());
    ask(session, "an unknown member", 9, &|request| request.member_id = "who".into());
    ask(session, "an unknown instance with an id", 9, &|request| {
        request.member_id = "who".into();
        request.group_instance_id = Some("i".into());
    });
    let mut member = Member::new("member", GROUP);
    member.join(session, "the first");
    member.sync(session, "the first", &[(&member, b"all")]);
    ask(session, "another type", 9, &|request| request.protocol_type = "connect".into());
    ask(session, "other protocols", 9, &|request| {
        request.protocols = vec![Protocol { name: "sticky".into(), metadata: Cow::Borrowed(b"s") }];
    });
    ask(session, "an unknown member again", 9, &|request| request.member_id = "who".into());
    ask(session, "no protocols, and no id", 3, &|request| request.protocols.clear());
    let id = member.id.clone();
    ask(session, "the member with another type", 9, &|request| {
        request.member_id = id.clone().into();
        request.protocol_type = "connect".into();
    });
    ask(session, "the member with an instance", 9, &|request| {
        request.member_id = id.clone().into();
        request.group_instance_id = Some("i".into());
    });
    member.leave(session, "to end");
    describe(session, "in the end", GROUP);
}

fn errors(session: &mut Session) {
    const GROUP: &str = "erring";
    coordinate(session, GROUP);
    coordinate(session, "");
    coordinate(session, "no-such-group");
    let mut member = Member::new("member", GROUP);
    member.join(session, "to begin");
    let as_if = |change: &dyn Fn(&mut Member)| {
        let mut changed = member.clone();
        change(&mut changed);
        changed
    };
    let somebody_else = [
        ("of no group", as_if(&|member| member.group = "")),
        ("of a group that is not there", as_if(&|member| member.group = "no-such-group")),
        ("who is not a member", as_if(&|member| member.id = "who".to_owned())),
        ("without an id", as_if(&|member| member.id.clear())),
        ("of an older generation", as_if(&|member| member.generation -= 1)),
        ("of a later generation", as_if(&|member| member.generation += 1)),
        ("of no generation", as_if(&|member| member.generation = -1)),
        ("with an instance", as_if(&|member| member.instance = Some("i"))),
    ];
    for state in ["completing", "stable"] {
        for (what, somebody) in &somebody_else {
            somebody.heartbeat(session, &format!("{state}: {what}"));
            somebody.sync(session, &format!("{state}: {what}"), &[]);
        }
        if state == "completing" {
            describe(session, "completing", GROUP);
            member.sync(session, "to be stable", &[(&member, b"all")]);
        }
    }
    member.sync(session, "again, with another assignment", &[(&member, b"more")]);
    for (type_, name) in [(Some("connect"), Some("range")), (Some("consumer"), Some("sticky")), (None, Some("range"))] {
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: member.generation,
            member_id: member.id.as_str().into(),
            group_instance_id: None,
            protocol_type: type_.map(Into::into),
            protocol_name: name.map(Into::into),
            assignments: Vec::new(),
        };
        exchange!(session, format!("{type_:?} {name:?}"), SyncGroup 5, &request => SyncGroupResponse<'_>);
    }
    exchange!(session, "nothing", SyncGroup 5, &SyncGroupRequest::default() => SyncGroupResponse<'_>);
    for version in [0, 2, 3, 5] {
        for (what, somebody) in &somebody_else {
            if what.contains("generation") || version < 3 && somebody.instance.is_some() {
                continue;
            }
            let member = leave_group_request::Member {
                member_id: somebody.id.as_str().into(),
                group_instance_id: somebody.instance.map(Into::into),
                reason: None,
            };
            leave(session, what, version, somebody.group, vec![member]);
        }
    }
    leave(session, "nobody", 5, GROUP, Vec::new());
    let twice = || leave_group_request::Member { member_id: member.id.clone().into(), ..Default::default() };
    leave(session, "twice at once", 5, GROUP, vec![twice(), twice()]);
    describe(session, "in the end", GROUP);
}
