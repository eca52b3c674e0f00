//! Members that are too many.

use super::*;

fn small(group_max_size: usize) -> Host {
    Host::with(Settings { group_max_size, group_initial_rebalance_delay_ms: 0, ..Settings::default() })
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut host = small(2);
    let ids = host.stable(2);
    let refused = host.ask(join("m3", ""));
    let answer = host.join(refused);
    assert_eq!((answer.error, &*answer.member_id), (ErrorCode::GroupMaxSizeReached, ""));
    let again = host.ask(join("m1", &ids[0]));
    let other = host.ask(join("m2", &ids[1]));
    assert_eq!((host.outcome(again).as_str(), host.outcome(other).as_str()), ("0", "0"));
}

#[test]
fn a_group_that_is_larger_than_it_may_be_by_now_loses_the_last_to_rejoin() {
    let mut host = small(3);
    let ids = host.stable(3);
    host.settings.group_max_size = 2;
    host.restart();
    assert_eq!(host.state(), GroupState::PreparingRebalance);
    let tickets: Vec<Ticket> = ids.iter().map(|id| host.ask(join("m", id))).collect();
    host.pass_ms(REBALANCE_MS as u64);
    let outcomes: Vec<String> = tickets.iter().map(|ticket| host.outcome(*ticket)).collect();
    assert_eq!(outcomes, ["0", "0", "81"]);
}

#[test]
fn names_that_a_record_cannot_hold_are_cut() {
    let mut host = Host::prompt();
    let request = JoinGroup { requires_member_id: false, ..join_of(&"\u{e9}".repeat(16_383), "") };
    let ticket = host.ask(Request::JoinGroup(request));
    host.pass_ms(0);
    let id = host.join(ticket).member_id;
    assert!(id.len() <= 32_767);
    let synced = host.ask(sync(&id, 1, &[]));
    assert_eq!(host.outcome(synced), "0", "what was written reads back");
}

#[test]
fn a_thousand_that_join_and_never_sync_are_gone_after_a_while() {
    let mut host = Host::new();
    let tickets: Vec<Ticket> = (0..1000)
        .map(|number| {
            let request = JoinGroup { requires_member_id: false, ..join_of(&format!("m{number}"), "") };
            host.ask(Request::JoinGroup(request))
        })
        .collect();
    host.pass_ms(6000);
    assert!(tickets.iter().all(|ticket| host.outcome(*ticket) == "0"));
    host.pass_ms(REBALANCE_MS as u64 * 2);
    assert_eq!(host.state(), GroupState::Empty);
    assert_eq!(host.log.len(), 2, "the group was written when it began and when it was empty again");
}

/// A JoinGroup with that much to say.
fn long_join(client: &str, id: &str, bytes: usize) -> Request {
    let range = Protocol { name: text("range"), metadata: vec![0; bytes].into() };
    Request::JoinGroup(JoinGroup { requires_member_id: false, protocols: vec![range], ..join_of(client, id) })
}

#[test]
fn who_would_make_the_leaders_answer_too_long_is_refused() {
    let mut host = Host::prompt();
    let first = host.ask(long_join("m0", "", 1_000_000));
    host.pass_ms(0);
    let leader = host.join(first).member_id;
    let tickets: Vec<Ticket> = (1..9).map(|number| host.ask(long_join(&format!("m{number}"), "", 1_000_000))).collect();
    let outcomes: Vec<String> = tickets.iter().map(|ticket| host.outcome(*ticket)).collect();
    assert_eq!(outcomes, ["waits", "waits", "waits", "waits", "waits", "waits", "waits", "81"]);
    let rejoined = host.ask(long_join("m0", &leader, 1_000_000));
    assert_eq!(host.outcome(rejoined), "0", "who was there before may come again");
    let answer = host.join(rejoined);
    assert_eq!(answer.members.iter().map(|member| member.metadata.len()).sum::<usize>(), 8_000_000);
}

#[test]
fn given_ids_count_as_well() {
    let mut host = Host::prompt();
    let long = "x".repeat(30_000);
    let outcomes: Vec<String> = (0..300_u128)
        .map(|number| {
            let request = JoinGroup { fresh_id: Uuid(number), ..join_of(&long, "") };
            let ticket = host.ask(Request::JoinGroup(request));
            host.outcome(ticket)
        })
        .collect();
    let given = outcomes.iter().filter(|outcome| *outcome == "79").count();
    assert!((200..300).contains(&given), "{given} ids of 30,000 bytes fit into 8 MiB");
    assert_eq!(outcomes.last().map(String::as_str), Some("81"));
    assert_eq!(host.refused.last(), Some(&(text(GROUP), Limit::Group)));
    host.pass_ms(SESSION_MS as u64);
    assert_eq!(host.coordinator.members_bytes(), 0, "they have lapsed");
}

#[test]
fn who_finds_no_room_beside_other_groups_may_try_again() {
    let mut host = Host::prompt();
    let join_with = |room_bytes, id: &str, bytes| {
        let Request::JoinGroup(join) = long_join("m", id, bytes) else { unreachable!("it is one") };
        Request::JoinGroup(JoinGroup { room_bytes, ..join })
    };
    let refused = host.ask(join_with(1000, "", 1000));
    assert_eq!((host.outcome(refused).as_str(), host.coordinator.members_bytes()), ("15", 0));
    let joined = host.ask(join_with(2000, "", 1000));
    host.pass_ms(0);
    let answer = host.join(joined);
    assert!((1000..2000).contains(&host.coordinator.members_bytes()));
    let same = host.ask(join_with(0, &answer.member_id, 1000));
    assert_eq!(host.outcome(same), "0", "it takes nothing more");
    let longer = host.ask(join_with(0, &answer.member_id, 1001));
    assert_eq!((host.outcome(longer).as_str(), host.state()), ("15", GroupState::CompletingRebalance));
    assert_eq!(host.refused, [(text(GROUP), Limit::Members), (text(GROUP), Limit::Members)], "the two are told of");
}

#[test]
fn what_a_member_says_of_itself_anew_makes_no_room_for_more_metadata() {
    let mut host = Host::prompt();
    let join_as = |client: &str, id: &str, bytes| {
        let Request::JoinGroup(join) = long_join(client, id, bytes) else { unreachable!("it is one") };
        Request::JoinGroup(JoinGroup { room_bytes: if id.is_empty() { usize::MAX } else { 0 }, ..join })
    };
    let joined = host.ask(join_as(&"x".repeat(30_000), "", 1000));
    host.pass_ms(0);
    let id = host.join(joined).member_id;
    let before_bytes = host.coordinator.members_bytes();
    let longer = host.ask(join_as("x", &id, 20_000));
    assert_eq!((host.outcome(longer).as_str(), host.coordinator.members_bytes()), ("15", before_bytes));
}

/// The SyncGroup of a leader that gives each of these so much.
fn long_sync(generation: i32, members: &[MemberId], bytes: usize, room_bytes: usize) -> Request {
    let assigned: Opaque = vec![0; bytes].into();
    let assignments = members.iter().map(|id| (Arc::clone(id), Arc::clone(&assigned))).collect();
    Request::SyncGroup(SyncGroup { assignments, room_bytes, ..sync_of(&members[0], generation, &[]) })
}

#[test]
fn an_assignment_counts_to_what_members_take() {
    let mut host = Host::prompt();
    let ids = host.completing(1);
    let before_bytes = host.coordinator.members_bytes();
    let synced = host.ask(long_sync(1, &ids, 500_000, 500_000));
    assert_eq!((host.outcome(synced).as_str(), host.coordinator.members_bytes() - before_bytes), ("0", 500_000));
    let rejoined = host.ask(join("m1", &ids[0]));
    assert_eq!(host.outcome(rejoined), "0");
    let longer = host.ask(long_sync(2, &ids, 500_001, 0));
    assert_eq!((host.outcome(longer).as_str(), host.state()), ("15", GroupState::PreparingRebalance));
    assert_eq!(host.coordinator.members_bytes(), before_bytes, "it has to meet again");
    assert_eq!(host.refused, [(text(GROUP), Limit::Members)]);
}

#[test]
fn who_brings_a_too_long_assignment_is_refused_with_all_who_wait_for_it() {
    let mut host = Host::prompt();
    let ids = host.completing(9);
    let waiting = host.ask(sync(&ids[1], 1, &[]));
    let strangers = [&ids[..1], &[text("nobody")]].concat();
    let refused = host.ask(long_sync(1, &ids, 1_000_000, usize::MAX));
    assert_eq!((host.outcome(refused).as_str(), host.outcome(waiting).as_str()), ("-1", "-1"));
    assert_eq!(host.refused, [(text(GROUP), Limit::Group)]);
    assert_eq!(host.state(), GroupState::PreparingRebalance);
    for (number, id) in (1..).zip(&ids) {
        host.ask(join(&format!("m{number}"), id));
    }
    let synced = host.ask(long_sync(2, &strangers, 5_000_000, usize::MAX));
    assert_eq!(host.outcome(synced), "0", "what is for nobody is not kept");
}

#[test]
fn metadata_that_finds_no_room_is_refused_unless_it_is_short() {
    let mut host = Host::new();
    let offset = commit_of("", -1, 1).offsets.remove(0);
    let with = |bytes, partition| {
        let metadata = Some(text(&"x".repeat(bytes)));
        OffsetToCommit { metadata, partition, ..offset.clone() }
    };
    let commit = |offsets, bytes| {
        let metadata_room = MetadataRoom { bytes, reserved_bytes: 0 };
        Request::OffsetCommit(OffsetCommit { offsets, metadata_room, ..commit_of("", -1, 1) })
    };
    let (none, too_large) = (ErrorCode::None, ErrorCode::OffsetMetadataTooLarge);
    let sizes = [100, 101, 64, 50].into_iter().zip(0..);
    let first = host.ask(commit(sizes.map(|(bytes, partition)| with(bytes, partition)).collect(), 200));
    assert_eq!(host.answers[&first], Answer::OffsetCommit(vec![none, too_large, none, none]));
    assert_eq!(host.coordinator.metadata_bytes(), 214, "what is short is counted, too");
    let again = host.ask(commit(vec![with(100, 0), with(101, 0), with(65, 3)], 0));
    assert_eq!(host.answers[&again], Answer::OffsetCommit(vec![none, too_large, too_large]));
    assert_eq!(host.refused, [(text(GROUP), Limit::Metadata), (text(GROUP), Limit::Metadata)], "once a commit");
    let shorter = host.ask(commit(vec![with(70, 0)], 0));
    assert_eq!((host.outcome(shorter).as_str(), host.coordinator.metadata_bytes()), ("0", 184));
    host.restart();
    assert_eq!(host.coordinator.metadata_bytes(), 184);
    host.decide(Input::TopicsDeleted(vec![DeletedTopic { name: "t".to_owned(), id: Uuid(5) }]));
    assert_eq!(host.coordinator.metadata_bytes(), 0);
}

#[test]
fn who_writes_little_finds_room_where_others_find_none() {
    let mut host = Host::new();
    let committed = |host: &mut Host, group: &str, partition, bytes, metadata_room| {
        let offset = commit_of("", -1, 1).offsets.remove(0);
        let offsets = vec![OffsetToCommit { metadata: Some(text(&"x".repeat(bytes))), partition, ..offset }];
        let request = OffsetCommit { group_id: text(group), offsets, metadata_room, ..commit_of("", -1, 1) };
        let asked = host.ask(Request::OffsetCommit(request));
        host.outcome(asked)
    };
    let plenty = MetadataRoom { bytes: 1 << 30, reserved_bytes: 1 << 20 };
    for partition in 0..16 {
        assert_eq!(committed(&mut host, "much", partition, 4096, plenty), "0");
    }
    let reserve = MetadataRoom { bytes: 1 << 20, reserved_bytes: 1 << 20 };
    assert_eq!(committed(&mut host, "much", 16, 4096, reserve), "12");
    assert_eq!(committed(&mut host, "much", 16, 64, reserve), "0", "it is short");
    assert_eq!(committed(&mut host, "much", 15, 4096, reserve), "0", "it is not more than before");
    assert_eq!(committed(&mut host, "little", 0, 4096, reserve), "0");
    assert_eq!(committed(&mut host, "little", 0, 4097, MetadataRoom { bytes: 0, reserved_bytes: 0 }), "12");
}

/// So many that work for each pair of them would take minutes.
const CROWD: usize = 50_000;

/// A stable group of static members, as a log may hold it. The first of them leads.
fn crowd(count: usize) -> Host {
    let mut host = Host::prompt();
    let member = |number: usize| RecordedMember {
        member_id: text(&format!("m{number}")),
        instance_id: Some(text(&format!("i{number}"))),
        client_id: text("c"),
        client_host: text("/127.0.0.1"),
        rebalance_timeout_ms: REBALANCE_MS,
        session_timeout_ms: SESSION_MS,
        subscription: metadata(),
        assignment: Opaque::default(),
    };
    let value = RecordedGroup {
        protocol_type: text("consumer"),
        generation: 1,
        protocol: Some(text("range")),
        leader: None,
        state_timestamp_ms: 0,
        members: (0..count).map(member).collect(),
    };
    host.log.push(Record::Group { group: text(GROUP), value: Some(value) });
    host.restart();
    host
}

#[test]
fn a_crowd_that_leaves_at_once_is_no_burden() {
    let mut host = crowd(CROWD);
    let leaving = |number: usize| LeavingMember { member_id: text(""), instance_id: Some(text(&format!("i{number}"))) };
    let members = (0..CROWD).map(leaving).collect();
    let left = host.ask(Request::LeaveGroup(LeaveGroup { group_id: text(GROUP), members }));
    let Some(Answer::LeaveGroup(Ok(left))) = host.answers.get(&left) else { panic!("it is answered") };
    assert!(left.iter().all(|member| member.error == ErrorCode::None));
    host.pass_ms(REBALANCE_MS as u64);
    assert_eq!(host.state(), GroupState::Empty);
}

#[test]
fn a_crowd_that_rejoins_one_by_one_is_no_burden() {
    const MEMBERS: usize = 20_000;
    let mut host = crowd(MEMBERS);
    host.is_checked = false;
    let join = |number: usize| {
        let (instance_id, protocols) = (Some(text(&format!("i{number}"))), protocols(&["range"]));
        Request::JoinGroup(JoinGroup { instance_id, protocols, ..join_of("c", &format!("m{number}")) })
    };
    let joined: Vec<Ticket> = (0..MEMBERS).map(|number| host.ask(join(number))).collect();
    assert!(joined.iter().all(|ticket| host.outcome(*ticket) == "0"));
    let synced: Vec<Ticket> = (1..MEMBERS).map(|number| host.ask(sync(&format!("m{number}"), 2, &[]))).collect();
    assert!(synced.iter().all(|ticket| host.outcome(*ticket) == "waits"));
    host.ask(sync("m0", 2, &[]));
    assert!(synced.iter().all(|ticket| host.outcome(*ticket) == "0"));
    host.coordinator.check();
}

#[test]
fn many_who_can_do_much_agree_on_what_all_can_do() {
    const MEMBERS: usize = 50;
    let mut host = Host::prompt();
    let protocols_of = |number: usize| -> Vec<Protocol> {
        let name = |other: usize| if other == 0 { text("range") } else { text(&format!("p{number}-{other}")) };
        (0..100).map(|other| Protocol { name: name(other), metadata: metadata() }).collect()
    };
    let join = |number: usize, id: &str| {
        let protocols = protocols_of(number);
        Request::JoinGroup(JoinGroup { requires_member_id: false, protocols, ..join_of(&format!("m{number}"), id) })
    };
    let first = host.ask(join(0, ""));
    host.pass_ms(0);
    let leader = host.join(first).member_id;
    let tickets: Vec<Ticket> = (1..MEMBERS).map(|number| host.ask(join(number, ""))).collect();
    let rejoined = host.ask(join(0, &leader));
    assert_eq!((host.outcome(rejoined).as_str(), host.join(rejoined).protocol.as_deref()), ("0", Some("range")));
    assert!(tickets.iter().all(|ticket| host.outcome(*ticket) == "0"));
}

#[test]
fn a_protocol_that_the_last_without_it_takes_away_is_shared_again() {
    let mut host = Host::prompt();
    let join = |client: &str, id: &str, names: &[&str]| {
        let protocols = protocols(names);
        Request::JoinGroup(JoinGroup { requires_member_id: false, protocols, ..join_of(client, id) })
    };
    let first = host.ask(join("m1", "", &["a", "b", "b"]));
    host.pass_ms(0);
    let first = host.join(first).member_id;
    let second = host.ask(join("m2", "", &["b", "c"]));
    let refused = host.ask(join("m3", "", &["a", "c"]));
    assert_eq!(host.outcome(refused), "23", "nobody has both of the others' protocols");
    let other = host.ask(join("m1", &first, &["c", "a"]));
    assert_eq!(host.outcome(other), "23", "it would have nothing in common with itself as it is now");
    let both = host.ask(join("m1", &first, &["a", "c", "b"]));
    assert_eq!((host.outcome(both).as_str(), host.outcome(second).as_str()), ("0", "0"));
    let second = host.join(second).member_id;
    host.ask(leave(&second, None));
    let third = host.ask(join("m3", "", &["a"]));
    assert_eq!(host.outcome(third), "waits");
    let again = host.ask(join("m1", &first, &["a", "c"]));
    assert_eq!(host.join(again).protocol.as_deref(), Some("a"));
}

#[test]
fn a_crowd_that_is_lost_at_once_is_no_burden() {
    let mut host = crowd(CROWD);
    host.pass_ms(SESSION_MS as u64 - 1);
    assert_eq!(host.state(), GroupState::Stable);
    host.pass_ms(1);
    assert_eq!(host.state(), GroupState::Empty);
}

#[test]
fn given_ids_that_lapse_at_once_end_the_wait_for_them() {
    let mut host = Host::prompt();
    let ids = host.stable(1);
    for number in 0..1000 {
        host.ask(join(&format!("x{number}"), ""));
    }
    let rejoining = host.ask(join("m1", &ids[0]));
    host.pass_ms(SESSION_MS as u64 - 1);
    assert_eq!(host.outcome(rejoining), "waits");
    host.pass_ms(1);
    assert_eq!((host.outcome(rejoining).as_str(), host.state()), ("0", GroupState::CompletingRebalance));
}

#[test]
fn many_topics_of_many_groups_are_forgotten_at_once() {
    let mut host = Host::new();
    let name = |number: usize| text(&format!("t{number}"));
    for number in 0..CROWD {
        let (group, topic) = (text(&format!("g{number}")), name(number % 100));
        let committed = CommittedOffset {
            offset: 7,
            leader_epoch: -1,
            metadata: text(""),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: Uuid(5),
        };
        host.log.push(Record::Offset { group, topic, partition: 0, value: Some(committed) });
    }
    host.restart();
    let deleted = (1..CROWD).map(|number| DeletedTopic { name: name(number).to_string(), id: Uuid(5) }).collect();
    host.decide(Input::TopicsDeleted(deleted));
    assert_eq!(host.coordinator.committed_topics(), BTreeSet::from([name(0)]));
}
