//! Groups of several members: they come, go, die, and change their minds.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_partitions_request::{self as partitions, CreatePartitionsRequest};
use ottla_protocol::messages::create_partitions_response::CreatePartitionsResponse;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::delete_groups_response::DeleteGroupsResponse;
use ottla_protocol::messages::leave_group_request;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::ListGroupsResponse;

use super::committing::commit;
use super::membership::{Member, coordinate, describe, describe_in, leave};
use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("rebalance", rebalance),
    Conversation::new("rebalance-changed-minds", changed_minds),
    Conversation::new("rebalance-more-partitions", more_partitions),
    Conversation::new("rebalance-deaths", deaths),
    Conversation::new("static-members", static_members),
    Conversation::new("given-ids", given_ids),
    Conversation::new("list-groups", list_groups),
    Conversation::new("delete-groups", delete_groups),
];

/// Two members come, one goes.
fn rebalance(session: &mut Session) {
    const GROUP: &str = "rebalancing";
    session.topic("rebalanced", 2, &[]);
    coordinate(session, GROUP);
    let (mut a, mut b) = (Member::new("a", GROUP), Member::new("b", GROUP));
    a.begin_join(session, "the first");
    describe(session, "waiting for more", GROUP);
    a.finish_join(session);
    a.sync(session, "alone", &[(&a, b"both")]);
    describe(session, "of one", GROUP);
    b.begin_join(session, "the second");
    describe(session, "waiting for the first", GROUP);
    a.heartbeat(session, "while it should join");
    a.sync(session, "while it should join", &[]);
    commit(session, "while it should join", &a, "rebalanced", 0, 1);
    a.begin_join(session, "again");
    a.finish_join(session);
    b.finish_join(session);
    describe(session, "waiting for the assignment", GROUP);
    a.heartbeat(session, "before the assignment");
    commit(session, "before the assignment", &a, "rebalanced", 0, 2);
    b.begin_sync(session, "before the leader", &[]);
    a.begin_sync(session, "the leader", &[(&a, b"first"), (&b, b"second")]);
    a.finish_sync(session);
    b.finish_sync(session);
    b.sync(session, "late", &[]);
    describe(session, "of two", GROUP);
    commit(session, "stable", &b, "rebalanced", 1, 3);
    commit(session, "of the first generation", &Member { generation: 1, ..a.clone() }, "rebalanced", 0, 4);
    commit(session, "of nobody", &Member { generation: -1, id: String::new(), ..a.clone() }, "rebalanced", 0, 4);
    commit(session, "of somebody else", &Member { id: "who".to_owned(), ..a.clone() }, "rebalanced", 0, 4);
    a.leave(session, "the leader");
    a.heartbeat(session, "after it has left");
    b.heartbeat(session, "while it should join");
    b.join(session, "alone now");
    b.sync(session, "alone now", &[(&b, b"all")]);
    describe(session, "of one again", GROUP);
    b.leave(session, "the last");
    describe(session, "in the end", GROUP);
    commit(session, "of nobody, to nobody", &Member { generation: -1, id: String::new(), ..a }, "rebalanced", 0, 5);
}

/// Two members join a new group, the first of which leads. Where the group does not wait long enough for the second, because the
/// machine is busy, nothing of it is written down and both try again.
fn meet(session: &mut Session, leader: &mut Member, follower: &mut Member) {
    let begun = session.text.len();
    loop {
        leader.begin_join(session, "the first");
        follower.begin_join(session, "in time");
        let is_together = leader.finish_join(session) == 2;
        if !is_together {
            leader.leave(session, "to meet again");
        }
        follower.finish_join(session);
        if is_together {
            return;
        }
        follower.leave(session, "to meet again");
        let request = DeleteGroupsRequest { groups_names: vec![leader.group.into()] };
        exchange!(session, "to meet again", DeleteGroups 2, &request => DeleteGroupsResponse<'_>);
        session.text.truncate(begun);
        leader.id.clear();
        follower.id.clear();
    }
}

/// Two members join, and are given something each.
fn meet_and_share(session: &mut Session, leader: &mut Member, follower: &mut Member, shares: [&[u8]; 2]) {
    meet(session, leader, follower);
    share(session, leader, follower, shares);
}

/// The leader gives both something.
fn share(session: &mut Session, leader: &Member, follower: &Member, [first, second]: [&[u8]; 2]) {
    follower.begin_sync(session, "the follower", &[]);
    leader.sync(session, "the leader", &[(leader, first), (follower, second)]);
    follower.finish_sync(session);
}

/// An id that was given out comes back with an instance, while others wait for it.
fn given_ids(session: &mut Session) {
    const GROUP: &str = "given-ids";
    coordinate(session, GROUP);
    let mut first = Member::new("first", GROUP);
    first.join(session, "alone");
    first.sync(session, "alone", &[(&first, b"all")]);
    let mut second = Member { session_timeout_ms: 3_000, ..Member::new("second", GROUP) };
    session.begin(second.who, "for an id", ApiKey::JoinGroup, second.version, &second.request());
    second.finish_join(session);
    first.begin_join(session, "again");
    describe(session, "waiting for the id to come back", GROUP);
    Member { instance: Some("instance"), ..second.clone() }.join(session, "with an instance");
    describe(session, "the id has come back with an instance", GROUP);
    second.join(session, "with the id alone");
    first.finish_join(session);
    describe(session, "in the end", GROUP);
    first.leave(session, "to end");
}

/// The topic of two members grows: their leader joins again, as clients do that see it, to hand out what is new.
fn more_partitions(session: &mut Session) {
    const GROUP: &str = "growing";
    session.topic("grown", 1, &[]);
    coordinate(session, GROUP);
    let (mut leader, mut follower) = (Member::new("leader", GROUP), Member::new("member", GROUP));
    meet_and_share(session, &mut leader, &mut follower, [b"0", b""]);
    commit(session, "of the only partition", &leader, "grown", 0, 1);
    commit(session, "of a partition that is not there yet", &follower, "grown", 1, 1);
    let topics = vec![partitions::Topic { name: "grown".into(), count: 3, assignments: None }];
    let request = CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false };
    exchange!(session, "three", CreatePartitions 3, &request => CreatePartitionsResponse<'_>);
    session.wait_until_led("grown", 3);
    leader.heartbeat(session, "nobody tells the group");
    commit(session, "of a partition that nobody has", &follower, "grown", 1, 2);
    leader.begin_join(session, "because there is more");
    follower.heartbeat(session, "the leader has joined again");
    follower.begin_join(session, "too");
    leader.finish_join(session);
    follower.finish_join(session);
    follower.begin_sync(session, "the follower of more", &[]);
    leader.sync(session, "the leader of more", &[(&leader, b"0,2"), (&follower, b"1")]);
    follower.finish_sync(session);
    describe(session, "with more partitions", GROUP);
    commit(session, "of what is new", &follower, "grown", 1, 3);
    commit(session, "of what is new too", &leader, "grown", 2, 4);
    leader.leave(session, "the leader");
    follower.leave(session, "the last");
}

/// Members come again, with the same to say or something else.
fn changed_minds(session: &mut Session) {
    const GROUP: &str = "changing";
    coordinate(session, GROUP);
    let (mut leader, mut follower) = (Member::new("leader", GROUP), Member::new("member", GROUP));
    meet(session, &mut leader, &mut follower);
    follower.join(session, "again, with the same to say, before the assignment");
    share(session, &leader, &follower, [b"first", b"second"]);
    follower.join(session, "again, with the same to say");
    follower.heartbeat(session, "nothing has happened");
    follower.protocols = vec![("range", b"changed"), ("roundrobin", b"rr")];
    follower.begin_join(session, "with something else to say");
    leader.heartbeat(session, "the other has changed its mind");
    leader.begin_join(session, "too");
    leader.finish_join(session);
    follower.finish_join(session);
    follower.protocols = vec![("roundrobin", b"only")];
    follower.begin_join(session, "with something else to say, before the assignment");
    leader.heartbeat(session, "the other has changed its mind again");
    leader.begin_join(session, "too");
    leader.finish_join(session);
    follower.finish_join(session);
    describe(session, "another protocol", GROUP);
    leader.leave(session, "to end");
    follower.leave(session, "to end");
}

/// Members that are heard of no more.
fn deaths(session: &mut Session) {
    const GROUP: &str = "dying";
    coordinate(session, GROUP);
    let mut leader = Member::new("leader", GROUP);
    let mut other = Member { session_timeout_ms: 4_000, ..Member::new("other", GROUP) };
    meet_and_share(session, &mut leader, &mut other, [b"first", b"second"]);
    leader.heartbeat_until(session, "when the other is dead", 27);
    other.heartbeat(session, "from beyond");
    leader.join(session, "without the other");
    // The leader never brings an assignment, and never comes back: the follower is told to join once its time is over.
    other.id.clear();
    other.session_timeout_ms = 30_000;
    (other.rebalance_timeout_ms, leader.rebalance_timeout_ms) = (5_000, 5_000);
    other.begin_join(session, "anew");
    leader.begin_join(session, "too");
    leader.finish_join(session);
    other.finish_join(session);
    other.begin_sync(session, "to wait for the leader", &[]);
    other.finish_sync(session);
    describe(session, "the leader has been silent", GROUP);
    other.join(session, "without the leader");
    other.leave(session, "to end");
    leader.heartbeat(session, "in the end");
    describe(session, "in the end", GROUP);
}

/// Members that come back under the name they had (KIP-345, KIP-814).
fn static_members(session: &mut Session) {
    const GROUP: &str = "static";
    session.topic("static-topic", 1, &[]);
    coordinate(session, GROUP);
    let mut a = Member::static_as("a", GROUP, "one");
    let mut b = Member::static_as("b", GROUP, "two");
    meet_and_share(session, &mut a, &mut b, [b"first", b"second"]);
    describe(session, "stable", GROUP);
    for version in [9, 5] {
        let old = (a.clone(), b.clone());
        (a.version, b.version) = (version, version);
        b.id.clear();
        b.join(session, "the follower comes back");
        a.id.clear();
        a.join(session, "the leader comes back");
        old.0.heartbeat(session, "as it was");
        old.1.sync(session, "as it was", &[]);
        commit(session, "as it was", &old.0, "static-topic", 0, 1);
        a.heartbeat(session, "as it is now");
        b.sync(session, "as it is now", &[]);
        commit(session, "as it is now", &a, "static-topic", 0, 2);
        describe(session, "after they came back", GROUP);
    }
    Member { id: "who".to_owned(), ..a.clone() }.heartbeat(session, "an instance under a wrong id");
    Member { instance: Some("three"), ..a.clone() }.heartbeat(session, "an unknown instance");
    let going = |id: &str, instance: Option<&'static str>| leave_group_request::Member {
        member_id: id.to_owned().into(),
        group_instance_id: instance.map(Into::into),
        reason: Some("by hand".into()),
    };
    let members = vec![going("", Some("three")), going("who", Some("one")), going("", Some("two")), going("", None)];
    leave(session, "several, by their instances", 5, GROUP, members);
    describe(session, "after one was removed", GROUP);
    a.id.clear();
    a.version = 9;
    a.join(session, "back, in the middle of a rebalance");
    leave(session, "the last, by its instance", 3, GROUP, vec![going("", Some("one"))]);
    describe(session, "in the end", GROUP);
}

fn list_groups(session: &mut Session) {
    const GROUPS: [&str; 3] = ["listed-stable", "listed-empty", "listed-offsets"];
    session.topic("listed-topic", 1, &[]);
    GROUPS.iter().for_each(|group| coordinate(session, group));
    for group in &GROUPS[..2] {
        let mut member = Member::new("member", group);
        member.join(session, "to be listed");
        member.sync(session, "to be listed", &[(&member, b"all")]);
        if *group == "listed-empty" {
            member.leave(session, "to be empty");
        }
    }
    commit(session, "without a member", &Member::new("nobody", GROUPS[2]), "listed-topic", 0, 1);
    let filters: [(&[&str], &[&str]); 9] = [
        (&[], &[]),
        (&["Stable"], &[]),
        (&["stable", "EMPTY"], &[]),
        (&["Dead"], &[]),
        (&["nonsense"], &[]),
        (&[], &["classic"]),
        (&[], &["Classic"]),
        (&[], &["consumer"]),
        (&["Stable"], &["classic", "consumer"]),
    ];
    for version in 0..=5 {
        for (states, types) in filters {
            if version < 4 && !states.is_empty() || version < 5 && !types.is_empty() {
                continue;
            }
            let request = ListGroupsRequest {
                states_filter: states.iter().map(|&state| state.into()).collect(),
                types_filter: types.iter().map(|&kind| kind.into()).collect(),
            };
            let what = format!("states {states:?} types {types:?}");
            let Some(answer) = session.ask(&what, ApiKey::ListGroups, version, &request) else { continue };
            let mut response: ListGroupsResponse<'_> = body(&answer, ApiKey::ListGroups, version);
            response.groups.retain(|group| GROUPS.contains(&&*group.group_id));
            response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
            session.note(&response);
        }
    }
    describe_in(session, "several", 6, &["listed-stable", "", "no-such-group", "listed-offsets"], true);
    describe_in(session, "several", 5, &["listed-stable", "", "no-such-group", "listed-offsets"], false);
    describe_in(session, "none", 6, &[], false);
}

fn delete_groups(session: &mut Session) {
    const GROUPS: [&str; 4] = ["deleted-stable", "deleted-empty", "deleted-offsets", "deleted-never-there"];
    session.topic("deleted-groups-topic", 1, &[]);
    GROUPS.iter().for_each(|group| coordinate(session, group));
    coordinate(session, "");
    for version in 0..=3 {
        let mut member = Member::new("member", GROUPS[0]);
        member.join(session, "to stay");
        member.sync(session, "to stay", &[(&member, b"all")]);
        let mut going = Member::new("going", GROUPS[1]);
        going.join(session, "to go");
        going.leave(session, "to go");
        commit(session, "without a member", &Member::new("nobody", GROUPS[2]), "deleted-groups-topic", 0, 1);
        for (what, names) in [("all", &GROUPS[..]), ("again", &GROUPS[1..3]), ("no name", &[""]), ("none", &[])] {
            let names = names.iter().map(|&name| name.into()).collect();
            let request = DeleteGroupsRequest { groups_names: names };
            let Some(answer) = session.ask(what, ApiKey::DeleteGroups, version, &request) else { continue };
            let mut response: DeleteGroupsResponse<'_> = body(&answer, ApiKey::DeleteGroups, version);
            response.results.sort_by(|a, b| a.group_id.cmp(&b.group_id));
            session.note(&response);
        }
        member.leave(session, "to end");
        let request = DeleteGroupsRequest { groups_names: vec![GROUPS[0].into(), GROUPS[0].into()] };
        exchange!(session, "twice at once", DeleteGroups version, &request => DeleteGroupsResponse<'_>);
    }
}
