//! Every request in every state: the error that is answered at once, or that the request waits, and the state after.

use expect_test::expect;

use super::*;

/// A request, given the ids of two members, the first of which leads.
type Ask = fn(&[MemberId], i32) -> Request;

const REQUESTS: &[(&str, Ask)] = &[
    ("join, no id", |_, _| join("new", "")),
    ("join, no id, v3", |_, _| Request::JoinGroup(JoinGroup { requires_member_id: false, ..join_of("new", "") })),
    ("join, unknown id", |_, _| join("x", "nobody")),
    ("join, leader, same", |ids, _| join("m1", &ids[0])),
    ("join, follower, same", |ids, _| join("m2", &ids[1])),
    ("join, follower, changed", |ids, _| {
        Request::JoinGroup(JoinGroup { protocols: protocols(&["roundrobin"]), ..join_of("m2", &ids[1]) })
    }),
    ("join, other type", |_, _| Request::JoinGroup(JoinGroup { protocol_type: text("connect"), ..join_of("x", "") })),
    ("join, no type", |_, _| Request::JoinGroup(JoinGroup { protocol_type: text(""), ..join_of("x", "") })),
    ("join, other protocols", |_, _| {
        Request::JoinGroup(JoinGroup { protocols: protocols(&["odd"]), ..join_of("x", "") })
    }),
    ("join, no protocols", |_, _| Request::JoinGroup(JoinGroup { protocols: Vec::new(), ..join_of("x", "") })),
    ("join, short session", |_, _| Request::JoinGroup(JoinGroup { session_timeout_ms: 1000, ..join_of("x", "") })),
    ("join, new instance", |_, _| Request::JoinGroup(JoinGroup { instance_id: Some(text("i")), ..join_of("x", "") })),
    ("join, unknown instance", |ids, _| {
        Request::JoinGroup(JoinGroup { instance_id: Some(text("i")), ..join_of("m1", &ids[0]) })
    }),
    ("sync, leader", |ids, generation| sync(&ids[0], generation, ids)),
    ("sync, follower", |ids, generation| sync(&ids[1], generation, &[])),
    ("sync, unknown id", |_, generation| sync("nobody", generation, &[])),
    ("sync, old generation", |ids, generation| sync(&ids[0], generation - 1, ids)),
    ("sync, other protocol", |ids, generation| {
        Request::SyncGroup(SyncGroup { protocol: Some(text("odd")), ..sync_of(&ids[0], generation, ids) })
    }),
    ("sync, no protocol, v5", |ids, generation| {
        Request::SyncGroup(SyncGroup { protocol: None, ..sync_of(&ids[0], generation, ids) })
    }),
    ("heartbeat", |ids, generation| heartbeat(&ids[1], generation)),
    ("heartbeat, unknown id", |_, generation| heartbeat("nobody", generation)),
    ("heartbeat, old generation", |ids, generation| heartbeat(&ids[1], generation - 1)),
    ("leave", |ids, _| leave(&ids[1], None)),
    ("leave, unknown id", |_, _| leave("nobody", None)),
    ("leave, unknown instance", |_, _| leave("", Some("i"))),
    ("commit", |ids, generation| commit(&ids[1], generation, 1)),
    ("commit, old generation", |ids, generation| commit(&ids[1], generation - 1, 1)),
    ("commit, unknown id", |_, generation| commit("nobody", generation, 1)),
    ("commit, no member", |_, _| commit("", -1, 1)),
    ("commit, no generation", |ids, _| commit(&ids[1], -1, 1)),
    ("delete offsets, read", |_, _| {
        Request::OffsetDelete(OffsetDelete { group_id: text(GROUP), partitions: vec![(text("t"), 0)] })
    }),
    ("delete offsets, not read", |_, _| {
        Request::OffsetDelete(OffsetDelete { group_id: text(GROUP), partitions: vec![(text("u"), 0)] })
    }),
    ("delete group", |_, _| Request::DeleteGroups(DeleteGroups { group_ids: vec![text(GROUP)] })),
];

/// A host whose group is in the state, and the ids of its members, which in an empty group have left.
fn host_in(state: GroupState) -> (Host, Vec<MemberId>) {
    let mut host = Host::prompt();
    let ids = match state {
        GroupState::Dead => vec![text("m1"), text("m2")],
        GroupState::Empty => {
            let ids = host.stable(2);
            for id in &ids {
                host.ask(leave(id, None));
            }
            ids
        }
        GroupState::PreparingRebalance => {
            let ids = host.stable(2);
            host.ask(join("m1", &ids[0]));
            ids
        }
        GroupState::CompletingRebalance => host.completing(2),
        GroupState::Stable => host.stable(2),
    };
    assert_eq!(host.state(), state);
    (host, ids)
}

#[test]
fn every_request_in_every_state() {
    const STATES: [GroupState; 5] = [
        GroupState::Dead,
        GroupState::Empty,
        GroupState::PreparingRebalance,
        GroupState::CompletingRebalance,
        GroupState::Stable,
    ];
    let short = |state| match state {
        GroupState::Dead => "none",
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "Prep",
        GroupState::CompletingRebalance => "Compl",
        GroupState::Stable => "Stable",
    };
    let mut table = format!("{:26}", "");
    STATES.iter().for_each(|state| table += &format!("{:14}", short(*state)));
    for (name, ask) in REQUESTS {
        table = table.trim_end().to_owned() + &format!("\n{name:26}");
        for state in STATES {
            let (mut host, ids) = host_in(state);
            let generation = if state == GroupState::Dead { 1 } else { host.generation() };
            let ticket = host.ask(ask(&ids, generation));
            table += &format!("{:14}", format!("{} {}", host.outcome(ticket), short(host.state())));
            // Nothing waits for ever: all of this ends of itself.
            host.pass_ms(400_000);
            assert_ne!(host.outcome(ticket), "waits", "{name} in {state}");
        }
    }
    table.truncate(table.trim_end().len());
    expect![[r#"
                                  none          Empty         Prep          Compl         Stable
        join, no id               79 Empty      79 Empty      79 Prep       79 Compl      79 Stable
        join, no id, v3           waits Prep    waits Prep    waits Prep    waits Prep    waits Prep
        join, unknown id          25 none       25 Empty      25 Prep       25 Compl      25 Stable
        join, leader, same        25 none       25 Empty      waits Prep    0 Compl       waits Prep
        join, follower, same      25 none       25 Empty      0 Compl       0 Compl       0 Stable
        join, follower, changed   25 none       25 Empty      0 Compl       waits Prep    waits Prep
        join, other type          79 Empty      79 Empty      23 Prep       23 Compl      23 Stable
        join, no type             23 Empty      23 Empty      23 Prep       23 Compl      23 Stable
        join, other protocols     79 Empty      79 Empty      23 Prep       23 Compl      23 Stable
        join, no protocols        23 Empty      23 Empty      23 Prep       23 Compl      23 Stable
        join, short session       26 none       26 Empty      26 Prep       26 Compl      26 Stable
        join, new instance        waits Prep    waits Prep    waits Prep    waits Prep    waits Prep
        join, unknown instance    25 none       25 Empty      25 Prep       25 Compl      25 Stable
        sync, leader              25 none       25 Empty      27 Prep       0 Stable      0 Stable
        sync, follower            25 none       25 Empty      27 Prep       waits Compl   0 Stable
        sync, unknown id          25 none       25 Empty      25 Prep       25 Compl      25 Stable
        sync, old generation      25 none       25 Empty      22 Prep       22 Compl      22 Stable
        sync, other protocol      25 none       25 Empty      23 Prep       23 Compl      23 Stable
        sync, no protocol, v5     23 none       23 Empty      23 Prep       23 Compl      23 Stable
        heartbeat                 25 none       25 Empty      27 Prep       0 Compl       0 Stable
        heartbeat, unknown id     25 none       25 Empty      25 Prep       25 Compl      25 Stable
        heartbeat, old generation 25 none       25 Empty      22 Prep       22 Compl      22 Stable
        leave                     25 none       25 Empty      0 Compl       0 Prep        0 Prep
        leave, unknown id         25 none       25 Empty      25 Prep       25 Compl      25 Stable
        leave, unknown instance   25 none       25 Empty      25 Prep       25 Compl      25 Stable
        commit                    69 none       25 Empty      0 Prep        27 Compl      0 Stable
        commit, old generation    69 none       25 Empty      22 Prep       22 Compl      22 Stable
        commit, unknown id        69 none       25 Empty      25 Prep       25 Compl      25 Stable
        commit, no member         0 Empty       0 Empty       25 Prep       25 Compl      25 Stable
        commit, no generation     0 Empty       0 Empty       22 Prep       22 Compl      22 Stable
        delete offsets, read      69 none       0/0 Empty     0/86 Prep     0/86 Compl    0/86 Stable
        delete offsets, not read  69 none       0/0 Empty     0/0 Prep      0/0 Compl     0/0 Stable
        delete group              69 none       0 none        68 Prep       68 Compl      68 Stable"#]]
    .assert_eq(&table);
}
