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
