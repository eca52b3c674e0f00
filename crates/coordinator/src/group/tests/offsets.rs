//! Offsets: committed, fetched, deleted, expired.

use super::*;

const MINUTE_MS: u64 = 60_000;
const RETENTION_MS: u64 = 10_080 * MINUTE_MS;

fn offset_of(host: &Host, group: &str, topic: &str) -> Option<CommittedOffset> {
    host.coordinator.offsets(group).get(topic, 0).cloned()
}

fn commit_topic(host: &mut Host, topic: &str, id: &str, generation: i32) {
    let mut request = commit_of(id, generation, 1);
    request.offsets[0].topic = text(topic);
    let ticket = host.ask(Request::OffsetCommit(request));
    assert_eq!(host.outcome(ticket), "0");
}

#[test]
fn what_is_committed_is_fetched_and_the_last_commit_counts() {
    let mut host = Host::new();
    for offset in [5, 42, 7, -3] {
        let ticket = host.ask(commit("", -1, offset));
        assert_eq!(host.outcome(ticket), "0");
        let committed = offset_of(&host, GROUP, "t").expect("it is there");
        assert_eq!((committed.offset, committed.leader_epoch, &*committed.metadata), (offset, 3, "note"));
        assert_eq!(committed.commit_timestamp_ms, host.now_ms as i64);
    }
    let listed = host.coordinator.list_groups(&GroupFilter::default());
    assert_eq!((&*listed[0].group_id, &*listed[0].protocol_type, listed[0].state), (GROUP, "", GroupState::Empty));
    host.restart();
    assert_eq!(offset_of(&host, GROUP, "t").map(|committed| committed.offset), Some(-3));
}

#[test]
fn a_copy_of_what_was_committed_does_not_change_with_it() {
    let mut host = Host::new();
    host.ask(commit("", -1, 5));
    let before = host.coordinator.offsets(GROUP);
    host.ask(commit("", -1, 6));
    let now = host.coordinator.offsets(GROUP);
    assert_eq!([&before, &now].map(|offsets| offsets.get("t", 0).expect("it is there").offset), [5, 6]);
    assert!(now.get("t", 1).is_none() && now.get("u", 0).is_none());
    assert!(host.coordinator.offsets("no group").is_empty());
}

#[test]
fn metadata_is_measured_as_java_does_and_only_its_partition_is_refused() {
    let mut host = Host::new();
    let mut request = commit_of("", -1, 1);
    let with = |partition, metadata: String| OffsetToCommit {
        partition,
        metadata: Some(metadata.into()),
        ..commit_of("", -1, 1).offsets[0].clone()
    };
    request.offsets = vec![
        with(0, "x".repeat(4096)),
        with(1, "x".repeat(4097)),
        with(2, "\u{1f600}".repeat(2048)),
        with(3, "\u{1f600}".repeat(2049)),
        OffsetToCommit { partition: 4, metadata: None, ..request.offsets[0].clone() },
    ];
    let ticket = host.ask(Request::OffsetCommit(request));
    let Some(Answer::OffsetCommit(errors)) = host.answers.get(&ticket) else { panic!("it is answered") };
    assert_eq!(errors.iter().map(|error| error.code()).collect::<Vec<_>>(), [0, 12, 0, 12, 0]);
    assert_eq!(host.log.len(), 3);
}

#[test]
fn of_topics_that_are_gone_nothing_is_stored() {
    let mut host = Host::new();
    let with = |partition, is_topic_gone| OffsetToCommit {
        partition,
        is_topic_gone,
        ..commit_of("", -1, 1).offsets[0].clone()
    };
    let request = OffsetCommit { offsets: vec![with(0, true), with(1, false)], ..commit_of("", -1, 1) };
    let ticket = host.ask(Request::OffsetCommit(request));
    let expected = Answer::OffsetCommit(vec![ErrorCode::UnknownTopicOrPartition, ErrorCode::None]);
    assert_eq!((host.answers.get(&ticket), host.log.len()), (Some(&expected), 1));
}

#[test]
fn an_unknown_group_with_a_generation_is_refused_as_the_version_has_it() {
    let mut host = Host::new();
    for (knows_group_id_not_found, expected) in [(true, "69"), (false, "22")] {
        let ticket = host.ask(Request::OffsetCommit(OffsetCommit { knows_group_id_not_found, ..commit_of("m", 1, 1) }));
        assert_eq!(host.outcome(ticket), expected);
    }
}

#[test]
fn offsets_of_a_group_without_a_type_expire_after_their_commit() {
    let mut host = Host::new();
    commit_topic(&mut host, "t", "", -1);
    host.pass_ms(MINUTE_MS * 60);
    commit_topic(&mut host, "u", "", -1);
    host.pass_ms(RETENTION_MS - MINUTE_MS * 61);
    assert!(offset_of(&host, GROUP, "t").is_some());
    host.pass_ms(MINUTE_MS * 20);
    assert!(offset_of(&host, GROUP, "t").is_none() && offset_of(&host, GROUP, "u").is_some());
    host.pass_ms(MINUTE_MS * 61);
    assert_eq!(host.state(), GroupState::Dead, "a group without offsets and members goes");
    assert_eq!(host.log.last(), Some(&Record::Group { group: text(GROUP), value: None }));
    assert_eq!(host.replayed().group_count(), 0);
}

#[test]
fn offsets_of_an_empty_group_expire_together_after_it_became_empty() {
    let mut host = Host::prompt();
    let ids = host.stable(1);
    let generation = host.generation();
    commit_topic(&mut host, "t", &ids[0], generation);
    for _ in 0..RETENTION_MS / 5000 / 100 {
        host.ask(heartbeat(&ids[0], generation));
        host.pass_ms(5000);
    }
    host.ask(leave(&ids[0], None));
    host.restart();
    host.pass_ms(RETENTION_MS - 1);
    assert!(offset_of(&host, GROUP, "t").is_some());
    host.pass_ms(MINUTE_MS * 11);
    assert_eq!((offset_of(&host, GROUP, "t"), host.state()), (None, GroupState::Dead));
}

#[test]
fn consumers_keep_the_offsets_of_what_they_read() {
    let mut host = Host::with(Settings {
        offsets_retention_ms: MINUTE_MS as i64,
        group_initial_rebalance_delay_ms: 0,
        ..Settings::default()
    });
    let ids = host.stable(1);
    let generation = host.generation();
    commit_topic(&mut host, "t", &ids[0], generation);
    commit_topic(&mut host, "u", &ids[0], generation);
    for _ in 0..11 * 12 {
        host.ask(heartbeat(&ids[0], generation));
        host.pass_ms(5000);
    }
    assert!(offset_of(&host, GROUP, "t").is_some() && offset_of(&host, GROUP, "u").is_none());
}

#[test]
fn a_client_may_say_how_long() {
    let mut host = Host::new();
    let retention_time_ms = 5 * MINUTE_MS as i64;
    host.ask(Request::OffsetCommit(OffsetCommit { retention_time_ms, ..commit_of("", -1, 1) }));
    let committed = offset_of(&host, GROUP, "t").expect("it is there");
    assert_eq!(committed.expire_timestamp_ms, Some(host.now_ms as i64 + retention_time_ms));
    host.pass_ms(MINUTE_MS * 11);
    assert!(offset_of(&host, GROUP, "t").is_none());
}

#[test]
fn a_time_that_is_over_already_lasts_until_the_next_search() {
    for retention_time_ms in [-500, i64::MIN] {
        let mut host = Host::new();
        host.ask(Request::OffsetCommit(OffsetCommit { retention_time_ms, ..commit_of("", -1, 1) }));
        assert!(offset_of(&host, GROUP, "t").is_some());
        host.pass_ms(MINUTE_MS * 10);
        assert!(offset_of(&host, GROUP, "t").is_none(), "{retention_time_ms}");
    }
}

#[test]
fn many_expired_offsets_go_in_steps() {
    let mut host = Host::new();
    for group in ["g1", "g2", "g3"] {
        let mut request = OffsetCommit { group_id: text(group), ..commit_of("", -1, 1) };
        request.offsets =
            (0..700).map(|partition| OffsetToCommit { partition, ..request.offsets[0].clone() }).collect();
        host.ask(Request::OffsetCommit(request));
    }
    host.now_ms += RETENTION_MS + MINUTE_MS * 10;
    let mut steps = Vec::new();
    while host.coordinator.group_count() > 0 {
        let before = host.log.len();
        host.decide(Input::Time);
        steps.push(host.log.len() - before);
    }
    assert_eq!(steps, [1000, 1000, 103], "2100 offsets and three groups");
    let happened = Happened { committed_offsets: 2100, expired_offsets: 2100, ..Happened::default() };
    assert_eq!(host.coordinator.happened(), happened);
}

#[test]
fn deleted_offsets_are_gone_but_not_those_that_are_read() {
    let mut host = Host::prompt();
    let ids = host.stable(1);
    let generation = host.generation();
    ["t", "u"].into_iter().for_each(|topic| commit_topic(&mut host, topic, &ids[0], generation));
    let partitions = vec![(text("t"), 0), (text("u"), 0), (text("v"), 0)];
    let ticket = host.ask(Request::OffsetDelete(OffsetDelete { group_id: text(GROUP), partitions }));
    let results = [ErrorCode::GroupSubscribedToTopic, ErrorCode::None, ErrorCode::None];
    assert_eq!(host.answers.get(&ticket), Some(&Answer::OffsetDelete(Ok(results.to_vec()))));
    assert!(offset_of(&host, GROUP, "t").is_some() && offset_of(&host, GROUP, "u").is_none());
    assert_eq!(host.coordinator.happened().deleted_offsets, 1, "there was none of v");
}

#[test]
fn groups_that_are_not_of_consumers_must_be_empty_to_lose_offsets() {
    let mut host = Host::prompt();
    let request = JoinGroup { protocol_type: text("connect"), requires_member_id: false, ..join_of("w", "") };
    host.ask(Request::JoinGroup(request));
    host.pass_ms(0);
    let ticket =
        host.ask(Request::OffsetDelete(OffsetDelete { group_id: text(GROUP), partitions: vec![(text("t"), 0)] }));
    assert_eq!(host.outcome(ticket), "68");
}

#[test]
fn a_topic_takes_its_offsets_along_but_not_those_of_its_successor() {
    let mut host = Host::new();
    ["t", "u"].into_iter().for_each(|topic| commit_topic(&mut host, topic, "", -1));
    host.decide(Input::TopicsDeleted(vec![DeletedTopic { name: "t".to_owned(), id: Uuid(4) }]));
    assert!(offset_of(&host, GROUP, "t").is_some(), "committed for a topic of another id");
    host.decide(Input::TopicsDeleted(vec![DeletedTopic { name: "t".to_owned(), id: Uuid(5) }]));
    assert!(offset_of(&host, GROUP, "t").is_none() && offset_of(&host, GROUP, "u").is_some());
    host.restart();
    assert!(offset_of(&host, GROUP, "t").is_none());
}

#[test]
fn topics_that_were_deleted_unheard_take_their_offsets_along_later() {
    let mut host = Host::new();
    ["t", "u", "v"].into_iter().for_each(|topic| commit_topic(&mut host, topic, "", -1));
    assert_eq!(host.coordinator.committed_topics(), ["t", "u", "v"].map(text).into());
    let known = BTreeMap::from([(text("t"), Uuid(5)), (text("u"), Uuid(6)), (text("never committed"), Uuid(7))]);
    host.decide(Input::TopicsKnown(known.clone()));
    assert_eq!(host.coordinator.committed_topics(), [text("t")].into(), "u is another topic of the name");
    let written = host.log.len();
    host.decide(Input::TopicsKnown(known));
    assert_eq!(host.log.len(), written, "there is nothing more to forget");
}

#[test]
fn deleted_groups_leave_nothing_behind() {
    let mut host = Host::prompt();
    let ids = host.stable(1);
    let generation = host.generation();
    commit_topic(&mut host, "t", &ids[0], generation);
    host.ask(leave(&ids[0], None));
    let group_ids = vec![text(GROUP), text("other"), text(GROUP)];
    let ticket = host.ask(Request::DeleteGroups(DeleteGroups { group_ids }));
    let Some(Answer::DeleteGroups(deleted)) = host.answers.get(&ticket) else { panic!("it is answered") };
    assert_eq!(deleted.iter().map(|group| group.error.code()).collect::<Vec<_>>(), [0, 69, 0]);
    assert_eq!(host.coordinator.happened().deleted_offsets, 0, "as in Kafka, they went with their group");
    assert_eq!(host.replayed().group_count(), 0);
}

#[test]
fn groups_are_listed_and_described() {
    let mut host = Host::prompt();
    host.ask(Request::OffsetCommit(OffsetCommit { group_id: text("simple"), ..commit_of("", -1, 1) }));
    let ids = host.stable(2);
    let count = |states: &[&str], types: &[&str]| {
        let filter = GroupFilter::new(states.iter().copied(), types.iter().copied());
        host.coordinator.list_groups(&filter).len()
    };
    assert_eq!((count(&[], &[]), count(&["stable"], &[]), count(&["Empty", " STABLE"], &["Classic"])), (2, 1, 2));
    assert_eq!((count(&["Dead"], &[]), count(&[], &["consumer"]), count(&[], &["nonsense"])), (0, 0, 0));
    let described = host.coordinator.describe_group(GROUP).expect("it is there");
    assert_eq!(
        (described.state, &*described.protocol_type, &*described.protocol),
        (GroupState::Stable, "consumer", "range")
    );
    assert_eq!((&described.members[1].member_id, &described.members[1].assignment[..]), (&ids[1], &[1][..]));
    assert_eq!((&*described.members[0].client_host, &described.members[0].metadata), ("/127.0.0.1", &metadata()));
    host.ask(join("m1", &ids[0]));
    let described = host.coordinator.describe_group(GROUP).expect("it is there");
    assert_eq!((described.state, &*described.protocol), (GroupState::PreparingRebalance, ""));
    assert!(described.members[0].metadata.is_empty());
    assert!(host.coordinator.describe_group("no group").is_none());
}

#[test]
fn what_a_group_reads_is_known_again_after_a_restart() {
    let mut host = Host::prompt();
    let _ids = host.stable(2);
    host.restart();
    let mut delete = |topic| {
        let partitions = vec![(text(topic), 0)];
        let ticket = host.ask(Request::OffsetDelete(OffsetDelete { group_id: text(GROUP), partitions }));
        host.outcome(ticket)
    };
    assert_eq!((delete("t").as_str(), delete("u").as_str()), ("0/86", "0/0"));
}
