//! A member and a coordinator that answers by a script.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use expect_test::{Expect, expect};
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_response::Member as JoinedMember;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, Partition as CommittedPartition, Topic as CommittedTopic,
};
use ottla_protocol::{Reader, Writer};

use super::*;
use crate::client::fake::FakeBroker;
use crate::client::group_offsets::Committed;

const APIS: [ApiKey; 6] = [
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::OffsetCommit,
];

/// What the coordinator answers next, to whichever request of a group comes.
#[derive(Clone, Copy, Debug)]
enum Answers {
    /// An error.
    Refuses(ErrorCode),
    /// To JoinGroup: this member id, and who leads.
    Joins(&'static str, &'static str),
    /// To SyncGroup: partitions of `t`.
    Gives(&'static [i32]),
    /// Nothing wrong.
    Agrees,
    /// Nothing at all.
    Keeps,
}

/// A broker that is the coordinator, and has a topic `t` of three partitions.
#[derive(Default)]
struct ScriptedBroker {
    fake: OnceLock<FakeBroker>,
    script: Mutex<VecDeque<Answers>>,
    heard: Mutex<Vec<String>>,
    /// So many times more it does not say who the coordinator is.
    keeps_coordinator: AtomicUsize,
    heartbeats: AtomicUsize,
}

impl ScriptedBroker {
    fn start(script: &[Answers]) -> Arc<Self> {
        let broker = Arc::new(Self { script: Mutex::new(script.iter().copied().collect()), ..Self::default() });
        let of_thread = Arc::clone(&broker);
        let fake = FakeBroker::start(&APIS, move |api, version, body, writer| match api {
            ApiKey::FindCoordinator => {
                of_thread.coordinator().encode(writer, version);
                true
            }
            _ => of_thread.answer_member(api, body, writer, version),
        });
        broker.fake.set(fake).ok().unwrap();
        broker
    }

    fn answer_member(&self, api: ApiKey, body: Reader<'_>, writer: &mut Writer, version: i16) -> bool {
        let said = what_is_said(api, body, version);
        let mut script = self.script.lock().unwrap();
        // Heartbeats are as many as there is time for; only what ends them is in the script.
        let answers = if api == ApiKey::Heartbeat {
            self.heartbeats.fetch_add(1, Ordering::Relaxed);
            match script.front() {
                Some(Answers::Refuses(_)) => script.pop_front().unwrap(),
                _ => Answers::Agrees,
            }
        } else {
            self.heard.lock().unwrap().push(said);
            script.pop_front().unwrap_or(Answers::Agrees)
        };
        let error_code = if let Answers::Refuses(code) = answers { code.code() } else { 0 };
        let member_id = Str::Borrowed("given");
        match (api, answers) {
            (_, Answers::Keeps) => return false,
            (ApiKey::JoinGroup, Answers::Joins(id, leader)) => {
                let said = Said { topics: vec!["t".to_owned()], owned: Vec::new(), generation: -1 };
                let metadata = Assignor::Range.write_subscription(&said);
                let member = |id: &'static str| JoinedMember {
                    member_id: id.into(),
                    metadata: metadata.clone().into(),
                    ..JoinedMember::default()
                };
                let members = if id == leader { vec![member(id), member("other")] } else { Vec::new() };
                let response = JoinGroupResponse {
                    generation_id: 7,
                    protocol_name: Some("range".into()),
                    leader: leader.into(),
                    member_id: id.into(),
                    members,
                    ..JoinGroupResponse::default()
                };
                response.encode(writer, version);
            }
            (ApiKey::JoinGroup, _) => {
                JoinGroupResponse { error_code, member_id, ..JoinGroupResponse::default() }.encode(writer, version);
            }
            (ApiKey::SyncGroup, Answers::Gives(indexes)) => {
                let partitions: Vec<_> = indexes.iter().map(|index| TopicPartition::new("t", *index)).collect();
                let assignment = assignor::write_assignment(&partitions).into();
                SyncGroupResponse { assignment, ..SyncGroupResponse::default() }.encode(writer, version);
            }
            (ApiKey::SyncGroup, _) => {
                SyncGroupResponse { error_code, ..SyncGroupResponse::default() }.encode(writer, version);
            }
            (ApiKey::OffsetCommit, _) => {
                let partitions = vec![CommittedPartition { partition_index: 0, error_code }];
                let topics = vec![CommittedTopic { name: "t".into(), partitions, ..CommittedTopic::default() }];
                OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }.encode(writer, version);
            }
            (ApiKey::LeaveGroup, _) => LeaveGroupResponse::default().encode(writer, version),
            _ => HeartbeatResponse { error_code, ..HeartbeatResponse::default() }.encode(writer, version),
        }
        true
    }

    fn coordinator(&self) -> FindCoordinatorResponse<'static> {
        let refused =
            self.keeps_coordinator.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let coordinator = Coordinator {
            error_code: refused.map_or(0, |_| ErrorCode::CoordinatorNotAvailable.code()),
            key: "g".into(),
            node_id: 1,
            host: "127.0.0.1".into(),
            port: i32::from(self.fake.get().unwrap().port),
            ..Coordinator::default()
        };
        FindCoordinatorResponse { coordinators: vec![coordinator], ..FindCoordinatorResponse::default() }
    }

    fn member(&self, instance_id: Option<&str>) -> Member {
        let options = MemberOptions {
            group: "g".to_owned(),
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            instance_id: instance_id.map(str::to_owned),
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(1),
            max_poll_interval: Duration::from_secs(10),
        };
        Member::new(self.fake.get().unwrap().connect(), options)
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().join(", ")
    }
}

/// What a member asks for, for the list of what was heard.
fn what_is_said(api: ApiKey, mut body: Reader<'_>, version: i16) -> String {
    match api {
        ApiKey::JoinGroup => {
            let request = JoinGroupRequest::decode(&mut body, version).unwrap();
            format!("join as {:?}", &*request.member_id)
        }
        ApiKey::SyncGroup => {
            let request = SyncGroupRequest::decode(&mut body, version).unwrap();
            let assigned = request.assignments.iter().map(|given| {
                let partitions = assignor::read_assignment(&given.assignment).unwrap();
                let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
                format!(" {}={}", given.member_id, partitions.join(","))
            });
            format!("sync {}{}", request.generation_id, assigned.collect::<String>())
        }
        ApiKey::LeaveGroup => "leave".to_owned(),
        ApiKey::OffsetCommit => "commit".to_owned(),
        _ => String::new(),
    }
}

/// Joins, and shows what was heard of it and what it gave.
fn check_join(script: &[Answers], expected: &Expect) {
    let broker = ScriptedBroker::start(script);
    let mut looks = 0;
    let joined = broker.member(None).join(&["t".to_owned()], &[], || {
        looks += 1;
        looks < 5
    });
    let given = match joined {
        Ok(Some(joined)) => joined.partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        Ok(None) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&format!("{} -> {given}", broker.heard()));
}

#[test]
fn a_member_gets_an_id_and_what_the_leader_gives() {
    use Answers::{Gives, Joins, Refuses};
    check_join(
        &[Refuses(ErrorCode::MemberIdRequired), Joins("given", "leader"), Gives(&[2])],
        &expect![[r#"join as "", join as "given", sync 7 -> t-2"#]],
    );
}

#[test]
fn the_leader_assigns() {
    use Answers::{Gives, Joins};
    check_join(
        &[Joins("me", "me"), Gives(&[0, 1])],
        &expect![[r#"join as "", sync 7 me=t-0,t-1 other=t-2 -> t-0,t-1"#]],
    );
}

#[test]
fn a_member_joins_again_until_the_group_agrees() {
    use Answers::{Gives, Joins, Refuses};
    check_join(
        &[Joins("me", "x"), Refuses(ErrorCode::RebalanceInProgress), Joins("me", "x"), Gives(&[1])],
        &expect![[r#"join as "", sync 7, join as "me", sync 7 -> t-1"#]],
    );
    check_join(
        &[Joins("me", "x"), Refuses(ErrorCode::UnknownMemberId), Joins("new", "x"), Gives(&[1])],
        &expect![[r#"join as "", sync 7, join as "", sync 7 -> t-1"#]],
    );
    check_join(
        &[Joins("me", "x"), Refuses(ErrorCode::IllegalGeneration), Joins("me", "x"), Gives(&[1])],
        &expect![[r#"join as "", sync 7, join as "me", sync 7 -> t-1"#]],
    );
    check_join(
        &[Refuses(ErrorCode::NotCoordinator), Joins("me", "x"), Gives(&[1])],
        &expect![[r#"join as "", join as "", sync 7 -> t-1"#]],
    );
}

#[test]
fn what_cannot_pass_ends_the_joining() {
    check_join(
        &[Answers::Refuses(ErrorCode::InconsistentGroupProtocol)],
        &expect![[
            r#"join as "" -> The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list."#
        ]],
    );
}

#[test]
fn nobody_waits_for_a_join_that_is_not_wanted() {
    check_join(&[Answers::Keeps], &expect![[r#"join as "" -> nothing"#]]);
}

#[test]
fn who_does_not_wait_for_a_join_may_still_commit_what_it_keeps() {
    use Answers::{Gives, Joins, Keeps};
    let broker = ScriptedBroker::start(&[Joins("me", "x"), Gives(&[0]), Keeps]);
    let mut member = broker.member(None);
    let kept = member.join(&["t".to_owned()], &[], || true).unwrap().expect("it has joined").partitions;
    assert_eq!(member.join(&["t".to_owned()], &kept, || false).unwrap(), None);
    let committed = Committed { offset: 5, leader_epoch: None };
    member.commit(&Offsets::from([(TopicPartition::new("t", 0), committed)])).unwrap();
    member.leave().unwrap();
    assert_eq!(broker.heard(), r#"join as "", sync 7, join as "me", commit, leave"#);
}

/// How a member stands when its heartbeats are answered with `code`, and what it says afterwards.
fn check_standing(code: ErrorCode, instance_id: Option<&str>, expected: &Expect) {
    let broker = ScriptedBroker::start(&[Answers::Joins("me", "x"), Answers::Gives(&[0]), Answers::Refuses(code)]);
    let mut member = broker.member(instance_id);
    member.join(&["t".to_owned()], &[], || true).unwrap();
    let standing = loop {
        match member.standing() {
            Ok(Standing::Stable) => thread::yield_now(),
            Ok(standing) => break format!("{standing:?}"),
            Err(error) => break error.to_string(),
        }
    };
    let committed = Committed { offset: 5, leader_epoch: None };
    member.commit(&Offsets::from([(TopicPartition::new("t", 0), committed)])).unwrap();
    member.leave().unwrap();
    expected.assert_eq(&format!("{standing}: {}", broker.heard()));
}

#[test]
fn heartbeats_tell_how_a_member_stands() {
    check_standing(ErrorCode::RebalanceInProgress, None, &expect![[r#"Rejoin: join as "", sync 7, commit, leave"#]]);
    check_standing(ErrorCode::UnknownMemberId, None, &expect![[r#"Lost: join as "", sync 7"#]]);
    check_standing(
        ErrorCode::FencedInstanceId,
        Some("static"),
        &expect![[
            r#"The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id.: join as "", sync 7, commit"#
        ]],
    );
}

#[test]
fn a_member_that_is_to_join_again_goes_on_saying_that_it_is_alive() {
    use Answers::{Gives, Joins, Refuses};
    let broker = ScriptedBroker::start(&[Joins("me", "x"), Gives(&[0])]);
    let mut member = broker.member(None);
    member.join(&["t".to_owned()], &[], || true).unwrap();
    broker.script.lock().unwrap().push_back(Refuses(ErrorCode::RebalanceInProgress));
    while member.standing().unwrap() == Standing::Stable {
        thread::yield_now();
    }
    let before = broker.heartbeats.load(Ordering::Relaxed);
    while broker.heartbeats.load(Ordering::Relaxed) < before + 2 {
        assert_eq!(member.standing().unwrap(), Standing::Rejoin);
        thread::yield_now();
    }
    // Until it is told that it is none any more.
    broker.script.lock().unwrap().push_back(Refuses(ErrorCode::UnknownMemberId));
    while member.standing().unwrap() == Standing::Rejoin {
        thread::yield_now();
    }
    assert_eq!(member.standing().unwrap(), Standing::Lost);
}

#[test]
fn a_commit_of_an_old_generation_loses_the_member() {
    use Answers::{Gives, Joins, Refuses};
    let broker = ScriptedBroker::start(&[Joins("me", "x"), Gives(&[0])]);
    let mut member = broker.member(None);
    member.join(&["t".to_owned()], &[], || true).unwrap();
    // No heartbeat takes it from the script.
    member.heartbeats = None;
    broker.script.lock().unwrap().push_back(Refuses(ErrorCode::IllegalGeneration));
    let committed = Committed { offset: 5, leader_epoch: None };
    let refused = member.commit(&Offsets::from([(TopicPartition::new("t", 0), committed)]));
    assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::IllegalGeneration));
    assert_eq!(member.standing().unwrap(), Standing::Lost);
}

#[test]
fn a_member_whose_coordinator_is_away_for_a_while_keeps_its_partitions() {
    use Answers::{Gives, Joins, Refuses};
    let broker = ScriptedBroker::start(&[Joins("me", "x"), Gives(&[0])]);
    let mut member = broker.member(None);
    member.join(&["t".to_owned()], &[], || true).unwrap();
    broker.keeps_coordinator.store(2, Ordering::Relaxed);
    broker.script.lock().unwrap().push_back(Refuses(ErrorCode::NotCoordinator));
    let is_away = || broker.keeps_coordinator.load(Ordering::Relaxed) > 0;
    while is_away() {
        assert_eq!(member.standing().unwrap(), Standing::Stable);
        thread::yield_now();
    }
    let before = broker.heartbeats.load(Ordering::Relaxed);
    while broker.heartbeats.load(Ordering::Relaxed) <= before {
        assert_eq!(member.standing().unwrap(), Standing::Stable);
        thread::yield_now();
    }
    broker.script.lock().unwrap().push_back(Refuses(ErrorCode::RebalanceInProgress));
    while member.standing().unwrap() == Standing::Stable {
        thread::yield_now();
    }
    assert_eq!(member.standing().unwrap(), Standing::Rejoin);
    assert_eq!(broker.heard(), r#"join as "", sync 7"#);
}
