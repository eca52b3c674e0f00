//! Records that cannot be written, and groups that another broker takes over.

use super::*;

/// Decides a request whose records are not written. Gives how many there were.
fn fail(host: &mut Host, request: Request, error: ErrorCode) -> (Ticket, usize) {
    host.asked += 1;
    let ticket = Ticket(host.asked);
    let input = Input::Request { ticket, request };
    let failure = input.failure();
    let lost = host.coordinator.decide(host.now(), input);
    host.decide(Input::WriteFailed { failure, error, written: Vec::new() });
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
    assert_eq!((host.state(), host.coordinator.happened().completed_rebalances), (GroupState::PreparingRebalance, 0));
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
    assert!(host.coordinator.offsets(GROUP).is_empty());
    assert_eq!(host.coordinator.happened().committed_offsets, 0);
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
    let (failure, error) = (Input::Time.failure(), ErrorCode::NotEnoughReplicas);
    host.decide(Input::WriteFailed { failure, error, written: Vec::new() });
    assert_eq!(
        host.coordinator.next_deadline().map(|next| next.monotonic),
        Some((host.now().monotonic) + Duration::from_millis(500))
    );
    host.decide(Input::Time);
    assert_eq!(host.state(), GroupState::Stable, "not yet");
    host.pass_ms(500);
    assert_eq!(host.state(), GroupState::Empty);
}

fn group_of(record: &Record) -> &str {
    let (Record::Group { group, .. } | Record::Offset { group, .. }) = record;
    group
}

/// Lets time pass; what it asks for is not written where it is of `group`. Gives how often that was tried.
fn pass_without(host: &mut Host, ms: u64, group: &str) -> usize {
    let end_ms = host.now_ms + ms;
    let mut tries = 0;
    while let Some(deadline) =
        host.coordinator.next_deadline().filter(|next| next.monotonic <= Now::at_ms(end_ms).monotonic)
    {
        host.now_ms = host.now_ms.max(deadline.monotonic.as_millis() as u64);
        let mut outcome = host.coordinator.decide(host.now(), Input::Time);
        match outcome.records.iter().position(|record| *group_of(record) == *group) {
            None => host.carry_out(outcome),
            Some(failed) => {
                outcome.records.truncate(failed);
                let written = outcome.records.clone();
                host.carry_out(Outcome { records: outcome.records, ..Outcome::default() });
                let failure = Input::Time.failure();
                host.decide(Input::WriteFailed { failure, error: ErrorCode::MessageTooLarge, written });
                tries += 1;
            }
        }
    }
    host.now_ms = end_ms;
    tries
}

fn join_alone(host: &mut Host, group: &str) {
    host.ask(Request::JoinGroup(JoinGroup { group_id: text(group), requires_member_id: false, ..join_of("m", "") }));
}

fn state_of(host: &Host, group: &str) -> GroupState {
    host.coordinator.describe_group(group).map_or(GroupState::Dead, |group| group.state)
}

#[test]
fn a_group_that_cannot_be_written_stops_no_other_groups_timers() {
    let mut host = Host::prompt();
    for group in ["a", "b", "c"] {
        join_alone(&mut host, group);
        host.pass_ms(1);
    }
    let tries = pass_without(&mut host, SESSION_MS as u64 + 1000, "a");
    let states = ["a", "b", "c"].map(|group| state_of(&host, group));
    assert_eq!(states, [GroupState::CompletingRebalance, GroupState::Empty, GroupState::Empty]);
    assert!((2..=3).contains(&tries), "it is tried twice a second, and was {tries} times in a second");
    host.pass_ms(500);
    assert_eq!(state_of(&host, "a"), GroupState::Empty);
}

#[test]
fn offsets_that_cannot_be_forgotten_keep_no_other_groups_offsets() {
    let mut host = Host::prompt();
    for group in ["a", "b", "c"] {
        host.ask(Request::OffsetCommit(OffsetCommit { group_id: text(group), ..commit_of("", -1, 5) }));
    }
    let (retention_ms, interval_ms) =
        (host.settings.offsets_retention_ms as u64, host.settings.offsets_retention_check_interval_ms as u64);
    host.now_ms += retention_ms;
    // The search is due, and once more after the interval.
    let tries = pass_without(&mut host, 2 * interval_ms - 1, "b");
    let states = ["a", "b", "c"].map(|group| host.coordinator.offsets(group).iter().count());
    assert_eq!((states, tries), ([0, 1, 0], 2));
    assert_eq!(host.coordinator.happened().expired_offsets, 2, "one was written before one failed, and one after");
    host.pass_ms(interval_ms);
    assert!(host.coordinator.offsets("b").is_empty());
    assert_eq!(host.coordinator.happened().expired_offsets, 3);
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
