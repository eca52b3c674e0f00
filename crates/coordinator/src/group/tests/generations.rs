//! How members come together, and what happens when some do not come.

use super::*;

#[test]
fn a_member_without_an_id_is_given_one_and_comes_again() {
    let mut host = Host::new();
    let first = host.ask(join("client", ""));
    let answer = host.join(first);
    assert_eq!(answer.error, ErrorCode::MemberIdRequired);
    assert_eq!((answer.generation, &*answer.leader, answer.protocol_type, answer.protocol), (-1, "", None, None));
    let uuid = answer.member_id.strip_prefix("client-").expect("the id begins with the client's");
    let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "a UUID as Java prints it");
    let second = host.ask(join("client", &answer.member_id));
    host.pass_ms(2999);
    assert_eq!(host.outcome(second), "waits");
    host.pass_ms(1);
    let joined = host.join(second);
    assert_eq!((joined.error, joined.generation, joined.members.len()), (ErrorCode::None, 1, 1));
    assert_eq!((joined.leader, joined.protocol.as_deref()), (answer.member_id, Some("range")));
}

#[test]
fn an_id_that_is_not_used_in_time_lapses() {
    let mut host = Host::prompt();
    let ids = host.stable(1);
    let asked = host.ask(join("late", ""));
    let late = host.join(asked).member_id;
    host.pass_ms(1);
    let waiting = host.ask(join("m1", &ids[0]));
    assert_eq!(host.outcome(waiting), "waits", "the one that was given an id is awaited");
    host.pass_ms(SESSION_MS as u64);
    assert_eq!(host.outcome(waiting), "0");
    let refused = host.ask(join("late", &late));
    assert_eq!(host.outcome(refused), "25");
}

#[test]
fn each_new_member_makes_the_first_wait_longer_up_to_the_rebalance_timeout() {
    let joined_after = |arrivals_ms: &[u64], rebalance_timeout_ms| {
        let mut host = Host::new();
        let begin_ms = host.now_ms;
        let mut first = None;
        for (number, arrival_ms) in arrivals_ms.iter().enumerate() {
            host.pass_ms(begin_ms + arrival_ms - host.now_ms);
            let request = JoinGroup {
                requires_member_id: false,
                rebalance_timeout_ms: Some(rebalance_timeout_ms),
                ..join_of(&format!("m{number}"), "")
            };
            let ticket = host.ask(Request::JoinGroup(request));
            first.get_or_insert(ticket);
        }
        let first = first.expect("somebody came");
        while host.outcome(first) == "waits" {
            host.pass_ms(100);
        }
        (host.now_ms - begin_ms, host.join(first).members.len())
    };
    assert_eq!(joined_after(&[0], 60_000), (3000, 1));
    assert_eq!(joined_after(&[0, 1000], 60_000), (6000, 2));
    assert_eq!(joined_after(&[0, 1000, 4000], 60_000), (9000, 3));
    assert_eq!(joined_after(&[0, 1000, 4000], 7000), (7000, 3), "the time is up");
    assert_eq!(joined_after(&[0, 1000], 2000), (3000, 2), "the delay is waited for in any case");
}

#[test]
fn the_protocol_with_the_most_votes_among_those_that_all_have_is_chosen() {
    let mut host = Host::new();
    let lists: [&[&str]; 4] = [&["c", "a", "b"], &["b", "a"], &["a", "b", "d"], &["d", "b", "a"]];
    let mut tickets = Vec::new();
    for (number, names) in lists.iter().enumerate() {
        let request = join_of(&format!("m{number}"), "");
        let request = JoinGroup { requires_member_id: false, protocols: protocols(names), ..request };
        tickets.push(host.ask(Request::JoinGroup(request)));
    }
    host.pass_ms(6000);
    for (number, ticket) in tickets.into_iter().enumerate() {
        let answer = host.join(ticket);
        // Votes: a, b, a, b; of equals the first by name.
        assert_eq!(answer.protocol.as_deref(), Some("a"));
        assert_eq!(
            answer.members.len(),
            if number == 0 { 4 } else { 0 },
            "only the leader, who came first, learns of all"
        );
    }
}

#[test]
fn the_leaders_assignment_reaches_all_and_is_kept() {
    let mut host = Host::prompt();
    let ids = host.completing(3);
    let generation = host.generation();
    let follower = host.ask(sync(&ids[1], generation, &[]));
    let again = host.ask(sync(&ids[1], generation, &[]));
    assert_eq!(host.outcome(follower), "27", "who asks twice is answered twice");
    let leader = host.ask(sync(&ids[0], generation, &ids[..2]));
    let late = host.ask(sync(&ids[2], generation, &[]));
    for (ticket, assignment) in [(leader, &[0][..]), (again, &[1][..]), (late, &[][..])] {
        let answer = host.sync(ticket);
        assert_eq!((answer.error, &answer.assignment[..]), (ErrorCode::None, assignment));
        assert_eq!((answer.protocol_type.as_deref(), answer.protocol.as_deref()), (Some("consumer"), Some("range")));
    }
    host.restart();
    for (number, id) in ids.iter().enumerate() {
        let ticket = host.ask(sync(id, generation, &[]));
        assert_eq!(host.sync(ticket).assignment.first().copied(), [Some(0), Some(1), None][number]);
    }
}

#[test]
fn a_leader_that_never_assigns_is_out_and_another_leads() {
    let mut host = Host::prompt();
    let ids = host.completing(2);
    let generation = host.generation();
    let waiting = host.ask(sync(&ids[1], generation, &[]));
    for _ in 0..(REBALANCE_MS / 5000) {
        host.pass_ms(5000);
        host.ask(heartbeat(&ids[0], generation));
    }
    assert_eq!((host.outcome(waiting).as_str(), host.state()), ("27", GroupState::PreparingRebalance));
    let rejoined = host.ask(join("m2", &ids[1]));
    let answer = host.join(rejoined);
    assert_eq!((answer.leader, answer.generation, answer.members.len()), (Arc::clone(&ids[1]), generation + 1, 1));
    let gone = host.ask(heartbeat(&ids[0], generation));
    assert_eq!(host.outcome(gone), "25");
}

#[test]
fn a_leader_that_dies_in_the_middle_does_not_stop_the_others() {
    let mut host = Host::prompt();
    let ids = host.completing(3);
    let generation = host.generation();
    let waiting: Vec<Ticket> = ids[1..].iter().map(|id| host.ask(sync(id, generation, &[]))).collect();
    host.pass_ms(SESSION_MS as u64);
    assert!(waiting.iter().all(|ticket| host.outcome(*ticket) == "27"), "its session ended");
    let rejoined: Vec<Ticket> = ids[1..].iter().map(|id| host.ask(join("m", id))).collect();
    let answers: Vec<JoinGroupAnswer> = rejoined.into_iter().map(|ticket| host.join(ticket)).collect();
    assert!(answers.iter().all(|answer| answer.generation == generation + 1 && answer.leader != ids[0]));
    assert_eq!(answers.iter().map(|answer| answer.members.len()).sum::<usize>(), 2, "one of them leads");
}

#[test]
fn members_that_do_not_rejoin_are_out_when_the_time_is_up() {
    let mut host = Host::prompt();
    let ids = host.stable(3);
    let generation = host.generation();
    let rejoined = host.ask(join("m1", &ids[0]));
    for _ in 0..(REBALANCE_MS / 5000) - 1 {
        host.pass_ms(5000);
        for id in &ids[1..] {
            let beat = host.ask(heartbeat(id, generation));
            assert_eq!(host.outcome(beat), "27", "they are told of it");
        }
    }
    assert_eq!(host.outcome(rejoined), "waits", "its own session does not end while it waits");
    host.pass_ms(5000);
    assert_eq!(host.join(rejoined).members.len(), 1);
}

#[test]
fn silence_ends_a_session_and_every_sign_of_life_renews_it() {
    let mut host = Host::prompt();
    let ids = host.stable(2);
    let generation = host.generation();
    for round in 0..4 {
        host.pass_ms(SESSION_MS as u64 - 1);
        host.ask(heartbeat(&ids[0], generation));
        let sign = match round {
            0 => host.ask(heartbeat(&ids[1], generation)),
            1 => host.ask(commit(&ids[1], generation, 1)),
            2 => host.ask(sync(&ids[1], generation, &[])),
            _ => host.ask(join("m2", &ids[1])),
        };
        assert_eq!((host.outcome(sign).as_str(), host.state()), ("0", GroupState::Stable));
    }
    host.pass_ms(SESSION_MS as u64 - 1);
    host.ask(heartbeat(&ids[0], generation));
    host.pass_ms(1);
    assert_eq!(host.state(), GroupState::PreparingRebalance);
    let gone = host.ask(heartbeat(&ids[1], generation));
    assert_eq!(host.outcome(gone), "25");
}

#[test]
fn a_new_member_whose_join_waits_too_long_is_refused() {
    let mut host = Host::prompt();
    let request =
        |client| JoinGroup { rebalance_timeout_ms: Some(1_000_000), requires_member_id: false, ..join_of(client, "") };
    let first = host.ask(Request::JoinGroup(request("m1")));
    host.pass_ms(0);
    let leader = host.join(first).member_id;
    host.ask(sync(&leader, 1, &[]));
    let second = host.ask(Request::JoinGroup(request("m2")));
    for _ in 0..60 {
        assert_eq!(host.outcome(second), "waits", "it needs no heartbeats");
        host.pass_ms(5000);
        host.ask(heartbeat(&leader, 1));
    }
    assert_eq!(host.outcome(second), "25", "after five minutes");
}

#[test]
fn a_rebalance_is_completed_when_its_assignment_is_written() {
    let mut host = Host::prompt();
    let ids = host.stable(2);
    host.ask(sync(&ids[1], host.generation(), &[]));
    assert_eq!(host.coordinator.happened().completed_rebalances, 1);
    host.ask(join("m1", &ids[0]));
    host.ask(join("m2", &ids[1]));
    assert_eq!(host.coordinator.happened().completed_rebalances, 1, "its members have met, and have no assignment");
    host.ask(sync(&ids[0], host.generation(), &ids));
    assert_eq!(host.coordinator.happened().completed_rebalances, 2);
}

#[test]
fn an_administrator_and_a_batch_remove_members() {
    let mut host = Host::prompt();
    let ids = host.stable(3);
    let leaving = |id: &str| LeavingMember { member_id: text(id), instance_id: None };
    let members = vec![leaving(&ids[2]), leaving("nobody"), leaving(&ids[1])];
    let ticket = host.ask(Request::LeaveGroup(LeaveGroup { group_id: text(GROUP), members }));
    let Some(Answer::LeaveGroup(Ok(left))) = host.answers.get(&ticket) else { panic!("it is answered") };
    let errors: Vec<i16> = left.iter().map(|member| member.error.code()).collect();
    assert_eq!(errors, [0, 25, 0], "in the order of the request");
    let rejoined = host.ask(join("m1", &ids[0]));
    assert_eq!(host.join(rejoined).members.len(), 1);
}

#[test]
fn a_request_that_waits_when_its_member_leaves_is_answered() {
    let mut host = Host::prompt();
    let ids = host.completing(2);
    let waiting = host.ask(sync(&ids[1], host.generation(), &[]));
    host.ask(leave(&ids[1], None));
    assert_eq!(host.outcome(waiting), "25");
}

#[test]
fn the_last_to_leave_leaves_an_empty_group_of_the_next_generation() {
    let mut host = Host::prompt();
    let ids = host.stable(2);
    let generation = host.generation();
    for id in &ids {
        let ticket = host.ask(leave(id, None));
        assert_eq!(host.outcome(ticket), "0");
    }
    assert_eq!((host.state(), host.generation()), (GroupState::Empty, generation + 1));
    let Some(Record::Group { value: Some(value), .. }) = host.log.last() else { panic!("it is written") };
    assert_eq!((&*value.protocol_type, &value.protocol, &value.leader), ("consumer", &None, &None));
    assert_eq!((value.generation, value.members.len()), (generation + 1, 0));
}

#[test]
fn after_a_restart_members_go_on_or_are_missed_after_their_session() {
    let mut host = Host::prompt();
    let ids = host.stable(2);
    let generation = host.generation();
    host.restart();
    host.pass_ms(SESSION_MS as u64 - 1);
    let beat = host.ask(heartbeat(&ids[0], generation));
    assert_eq!(host.outcome(beat), "0");
    host.pass_ms(1);
    assert_eq!(host.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_given_id_that_is_handed_back_is_not_awaited() {
    let mut host = Host::prompt();
    let ids = host.stable(1);
    let asked = host.ask(join("late", ""));
    let late = host.join(asked).member_id;
    let waiting = host.ask(join("m1", &ids[0]));
    assert_eq!(host.outcome(waiting), "waits");
    let left = host.ask(leave(&late, None));
    assert_eq!((host.outcome(left).as_str(), host.outcome(waiting).as_str()), ("0", "0"));
}
