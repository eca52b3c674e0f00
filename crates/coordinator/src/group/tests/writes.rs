//! Records that cannot be written, and groups that another broker takes over.

use super::*;

/// Decides a request whose records are not written. Gives how many there were.
fn fail(host: &mut Host, request: Request, error: ErrorCode) -> (Ticket, usize) {
    host.asked += 1;
    let ticket = Ticket(host.asked);
    let input = Input::Request { ticket, request };
    let failure = input.failure();
    let lost = host.coordinator.decide(host.now(), input);
    host.decide(Input::WriteFailed { failure, error });
    (ticket, lost.records.len())
}

#[test]
fn an_assignment_that_is_not_written_is_refused_to_all_who_wait_for_it() {
    let mut host = Host::prompt();
    let ids = host.completing(3);
    let generation = host.generation();
    let waiting = host.ask(sync(&ids[1], generation, &[]));
    let (leader, records) = fail(&mut host, sync(&ids[0], generation, &ids), ErrorCode::NotEnoughReplicas);
    assert_eq!((records, host.outcome(leader).as_str(), host.outcome(waiting).as_str()), (1, "15", "15"));
    assert_eq!((host.state(), host.coordinator.completed_rebalances()), (GroupState::PreparingRebalance, 0));
    let tickets: Vec<Ticket> = ids.iter().map(|id| host.ask(join("m", id))).collect();
    assert!(tickets.iter().all(|ticket| host.outcome(*ticket) == "0"));
}

#[test]
fn whatever_is_not_written_has_not_happened() {
    let mut host = Host::prompt();
    let (first, records) = fail(&mut host, join("m1", ""), ErrorCode::KafkaStorageError);
    assert_eq!((records, host.outcome(first).as_str(), host.state()), (1, "16", GroupState::Dead));
    let ids = host.stable(1);
    let generation = host.generation();
    let (commit_ticket, _) = fail(&mut host, commit(&ids[0], generation, 5), ErrorCode::MessageTooLarge);
    assert_eq!(host.outcome(commit_ticket), "-1");
    assert!(host.coordinator.fetch_all_offsets(GROUP).is_empty());
    let (leave_ticket, records) = fail(&mut host, leave(&ids[0], None), ErrorCode::RequestTimedOut);
    assert_eq!((records, host.outcome(leave_ticket).as_str(), host.state()), (1, "15", GroupState::Stable));
    host.ask(leave(&ids[0], None));
    let delete = Request::DeleteGroups(DeleteGroups { group_ids: vec![text(GROUP)] });
    let (delete_ticket, _) = fail(&mut host, delete, ErrorCode::RequestTimedOut);
    assert_eq!((host.outcome(delete_ticket).as_str(), host.state()), ("15", GroupState::Empty));
}

#[test]
fn what_time_asks_for_is_tried_again_after_a_while() {
    let mut host = Host::prompt();
    let _ids = host.stable(1);
    host.now_ms += SESSION_MS as u64;
    let lost = host.coordinator.decide(host.now(), Input::Time);
    assert_eq!(lost.records.len(), 1, "nobody is left");
    host.decide(Input::WriteFailed { failure: Input::Time.failure(), error: ErrorCode::NotEnoughReplicas });
    assert_eq!(
        host.coordinator.next_deadline().map(|next| next.monotonic),
        Some((host.now().monotonic) + Duration::from_millis(500))
    );
    host.decide(Input::Time);
    assert_eq!(host.state(), GroupState::Stable, "not yet");
    host.pass_ms(500);
    assert_eq!(host.state(), GroupState::Empty);
}

#[test]
fn whoever_waits_is_told_that_another_broker_coordinates() {
    let mut host = Host::prompt();
    let ids = host.completing(2);
    let syncing = host.ask(sync(&ids[1], host.generation(), &[]));
    let other = JoinGroup { group_id: text("other"), requires_member_id: false, ..join_of("x", "") };
    let joining = host.ask(Request::JoinGroup(other));
    host.decide(Input::Unloaded);
    assert_eq!((host.outcome(syncing).as_str(), host.outcome(joining).as_str()), ("16", "16"));
}
