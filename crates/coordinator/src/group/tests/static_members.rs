//! Members with an instance id (KIP-345, KIP-814).

use super::*;

fn static_join(instance: &str, id: &str) -> JoinGroup {
    JoinGroup { instance_id: Some(text(instance)), ..join_of("client", id) }
}

/// A different `fresh_id` for each time that an instance begins.
fn born(instance: &str, life: u128) -> JoinGroup {
    JoinGroup { fresh_id: Uuid(life), ..static_join(instance, "") }
}

/// Two static members; the first leads.
fn stable_pair() -> (Host, Vec<MemberId>) {
    let mut host = Host::new();
    let tickets = [born("a", 1), born("b", 2)].map(|request| host.ask(Request::JoinGroup(request)));
    host.pass_ms(6000);
    let ids: Vec<MemberId> = tickets.into_iter().map(|ticket| host.join(ticket).member_id).collect();
    assert!(ids[0].starts_with("a-") && ids[1].starts_with("b-"), "ids begin with the instance");
    for id in &ids {
        host.ask(sync(id, 1, &ids));
    }
    assert_eq!(host.state(), GroupState::Stable);
    (host, ids)
}

#[test]
fn one_that_comes_back_takes_its_place_without_a_rebalance() {
    for (instance, leads) in [("a", true), ("b", false)] {
        for may_skip_assignment in [true, false] {
            let (mut host, ids) = stable_pair();
            let records = host.log.len();
            let ticket = host.ask(Request::JoinGroup(JoinGroup { may_skip_assignment, ..born(instance, 9) }));
            let answer = host.join(ticket);
            assert_eq!((answer.error, answer.generation, host.state()), (ErrorCode::None, 1, GroupState::Stable));
            assert_eq!(answer.skip_assignment, leads && may_skip_assignment);
            assert_eq!(answer.members.len(), if leads && may_skip_assignment { 2 } else { 0 });
            let new_leader = if leads { &answer.member_id } else { &ids[0] };
            assert_eq!(&answer.leader, if may_skip_assignment { new_leader } else { &ids[0] });
            assert_eq!(host.log.len(), records + 1, "its new id is written");
            let fetched = host.ask(sync(&answer.member_id, 1, &[]));
            assert_eq!(host.sync(fetched).assignment[..], [if leads { 0 } else { 1 }]);
            host.restart();
            let beat = host.ask(heartbeat(&answer.member_id, 1));
            assert_eq!(host.outcome(beat), "0");
        }
    }
}

#[test]
fn the_record_of_its_return_says_since_when_the_group_is_stable() {
    let (mut host, _) = stable_pair();
    let stable_since_ms = host.now_ms as i64;
    host.pass_ms(1000);
    host.ask(Request::JoinGroup(born("b", 9)));
    let Some(Record::Group { value: Some(written), .. }) = host.log.last() else { panic!("a group is written") };
    assert_eq!(written.state_timestamp_ms, stable_since_ms);
}

#[test]
fn its_former_self_is_fenced() {
    let (mut host, ids) = stable_pair();
    host.ask(Request::JoinGroup(born("b", 9)));
    let instance_id = Some(text("b"));
    let beat = |instance_id| {
        Request::Heartbeat(Heartbeat {
            group_id: text(GROUP),
            generation: 1,
            member_id: Arc::clone(&ids[1]),
            instance_id,
        })
    };
    let commit = OffsetCommit { instance_id: instance_id.clone(), ..commit_of(&ids[1], 1, 1) };
    let sync = SyncGroup { instance_id: instance_id.clone(), ..sync_of(&ids[1], 1, &[]) };
    let requests = [
        (beat(instance_id.clone()), "82"),
        (beat(None), "25"),
        (Request::OffsetCommit(commit), "82"),
        (Request::SyncGroup(sync), "82"),
        (Request::JoinGroup(static_join("b", &ids[1])), "82"),
        (leave(&ids[1], Some("b")), "82"),
    ];
    for (request, expected) in requests {
        let ticket = host.ask(request);
        assert_eq!(host.outcome(ticket), expected);
    }
}

#[test]
fn what_its_former_self_waits_for_is_fenced_too() {
    let (mut host, ids) = stable_pair();
    let joining = host.ask(Request::JoinGroup(static_join("a", &ids[0])));
    assert_eq!(host.state(), GroupState::PreparingRebalance);
    let again = host.ask(Request::JoinGroup(born("a", 9)));
    assert_eq!((host.outcome(joining).as_str(), host.outcome(again).as_str()), ("82", "waits"));
    assert_eq!(host.join(joining).member_id, ids[0]);
    let other = host.ask(Request::JoinGroup(static_join("b", &ids[1])));
    assert_eq!((host.outcome(again).as_str(), host.outcome(other).as_str()), ("0", "0"));
    // And while the assignment is made: the leader knows the old id, so it has to assign anew.
    let syncing = host.ask(sync(&ids[1], 2, &[]));
    let third = host.ask(Request::JoinGroup(born("b", 10)));
    assert_eq!((host.outcome(syncing).as_str(), host.outcome(third).as_str()), ("82", "waits"));
    assert_eq!(host.state(), GroupState::PreparingRebalance);
}

#[test]
fn one_that_asks_for_something_else_makes_the_others_rejoin() {
    let (mut host, _) = stable_pair();
    let ticket = host.ask(Request::JoinGroup(JoinGroup { protocols: protocols(&["roundrobin"]), ..born("b", 9) }));
    assert_eq!((host.outcome(ticket).as_str(), host.state()), ("waits", GroupState::PreparingRebalance));
}

#[test]
fn the_place_of_one_that_does_not_rejoin_is_kept_until_its_session_ends() {
    let (mut host, ids) = stable_pair();
    let ticket = host.ask(Request::JoinGroup(static_join("a", &ids[0])));
    for _ in 0..REBALANCE_MS / 5000 {
        host.ask(heartbeat(&ids[1], 1));
        host.pass_ms(5000);
    }
    let answer = host.join(ticket);
    assert_eq!((answer.generation, answer.members.len()), (2, 2), "it is still there");
}

#[test]
fn an_administrator_removes_an_instance_whatever_its_id() {
    let (mut host, ids) = stable_pair();
    let ticket = host.ask(leave("", Some("b")));
    assert_eq!((host.outcome(ticket).as_str(), host.state()), ("0", GroupState::PreparingRebalance));
    let beat = host.ask(heartbeat(&ids[1], 1));
    assert_eq!(host.outcome(beat), "25");
    let ticket = host.ask(leave(&ids[0], Some("other")));
    assert_eq!(host.outcome(ticket), "25");
}

#[test]
fn one_that_comes_back_before_it_has_synced_costs_no_rebalance_later() {
    let (mut host, _) = stable_pair();
    let first = host.ask(Request::JoinGroup(born("a", 8)));
    let leader = host.join(first).member_id;
    let generation = host.generation();
    for life in [10, 11] {
        let ticket = host.ask(Request::JoinGroup(born("b", life)));
        assert_eq!(host.outcome(ticket), "0");
    }
    for _ in 0..REBALANCE_MS / 5000 + 2 {
        host.ask(heartbeat(&leader, generation));
        let follower = host.coordinator.describe_group(GROUP).expect("it is there").members[1].member_id.clone();
        host.ask(heartbeat(&follower, generation));
        host.pass_ms(5000);
    }
    assert_eq!(host.state(), GroupState::Stable);
}

#[test]
fn static_members_that_give_hardly_any_time_to_rejoin_do_not_keep_the_host_busy() {
    let mut host = Host::prompt();
    let hurried = |instance, life| JoinGroup { rebalance_timeout_ms: Some(1), ..born(instance, life) };
    let first = host.ask(Request::JoinGroup(hurried("a", 1)));
    host.pass_ms(0);
    let id = host.join(first).member_id;
    host.ask(sync(&id, 1, &[]));
    // A second one begins a rebalance, and leaves it again: nobody has joined.
    host.ask(Request::JoinGroup(JoinGroup { rebalance_timeout_ms: Some(1000), ..born("b", 2) }));
    host.ask(leave("", Some("b")));
    host.pass_ms(1000);
    assert_eq!(host.state(), GroupState::PreparingRebalance);
    let mut steps = 0;
    while host.state() == GroupState::PreparingRebalance {
        let deadline = host.coordinator.next_deadline().expect("it waits for something");
        host.now_ms = host.now_ms.max(deadline.monotonic.as_millis() as u64);
        host.decide(Input::Time);
        steps += 1;
    }
    assert_eq!(host.state(), GroupState::Empty, "the session of the one that was left has ended");
    assert!(steps <= SESSION_MS / 100 + 1, "{steps} steps in ten seconds");
}

#[test]
fn an_id_that_was_given_in_advance_is_no_static_members() {
    let mut host = Host::prompt();
    let given = host.ask(join("m", ""));
    let id = host.join(given).member_id;
    let refused = host.ask(Request::JoinGroup(JoinGroup { instance_id: Some(text("i")), ..join_of("m", &id) }));
    let answer = host.join(refused);
    assert_eq!((answer.error, &*answer.member_id), (ErrorCode::UnknownServerError, ""));
    let joined = host.ask(join("m", &id));
    host.pass_ms(0);
    assert_eq!(host.outcome(joined), "0", "it may still come without one");
}
