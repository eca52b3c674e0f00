//! The bytes of `__consumer_offsets`, which other programs decode themselves.

use expect_test::expect;
use ottla_protocol::internal::offsets::{GroupMetadataValue, OffsetCommitValue};
use ottla_protocol::{Message, Writer};

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn dump(record: &Record) -> String {
    let (key, value) = record.encode();
    format!("{}\n{}", hex(&key), value.map_or_else(|| "<DELETE>".to_owned(), |value| hex(&value)))
}

#[test]
fn an_offset() {
    let mut host = Host::new();
    host.ask(commit("", -1, 42));
    expect![[r#"
        000100016700017400000000
        0004000000000000002a00000003056e6f746500000000000f424001001000000000000000000000000000000005"#]]
    .assert_eq(&dump(&host.log[0]));
}

#[test]
fn an_offset_with_a_time_of_expiry() {
    let mut host = Host::new();
    host.ask(Request::OffsetCommit(OffsetCommit { retention_time_ms: 1000, ..commit_of("", -1, 42) }));
    expect![[r#"
        000100016700017400000000
        0001000000000000002a00046e6f746500000000000f424000000000000f4628"#]]
    .assert_eq(&dump(&host.log[0]));
}

#[test]
fn a_group_from_its_first_request_to_its_end() {
    let mut host = Host::prompt();
    let request = JoinGroup { instance_id: Some(text("i")), ..join_of("client", "") };
    let ticket = host.ask(Request::JoinGroup(request));
    host.pass_ms(0);
    let id = host.join(ticket).member_id;
    host.ask(sync(&id, 1, std::slice::from_ref(&id)));
    host.ask(leave(&id, None));
    host.ask(Request::DeleteGroups(DeleteGroups { group_ids: vec![text(GROUP)] }));
    let dumped: Vec<String> = host.log.iter().map(dump).collect();
    expect![[r#"
        0002000167
        0003000000000000ffffffff00000000000f424000000000
        0002000167
        00030008636f6e73756d657200000001000572616e67650026692d30303030303030302d303030302d303030302d303030372d38666361386237353365383600000000000f4240000000010026692d30303030303030302d303030302d303030302d303030372d3866636138623735336538360001690006636c69656e74000a2f3132372e302e302e310000ea60000027100000000d000000000001000174ffffffff0000000100
        0002000167
        00030008636f6e73756d657200000002ffffffff00000000000f424000000000
        0002000167
        <DELETE>"#]].assert_eq(&dumped.join("\n"));
}

#[test]
fn every_version_of_a_value_is_read() {
    for version in 0..=4 {
        let mut value = Writer::new();
        value.int16(version);
        OffsetCommitValue { offset: 7, commit_timestamp: 1, ..OffsetCommitValue::default() }
            .encode(&mut value, version);
        let key = [0, i16::from(version > 0) as u8, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3];
        let read = Record::decode(&key, Some(&value.into_bytes())).expect("well formed").expect("known");
        let Record::Offset { group, topic, partition, value: Some(value) } = read else { panic!("an offset") };
        assert_eq!((&*group, &*topic, partition, value.offset, value.leader_epoch), ("g", "t", 3, 7, -1));
        let mut value = Writer::new();
        value.int16(version);
        let group = GroupMetadataValue { protocol_type: "consumer".into(), generation: 4, ..Default::default() };
        group.encode(&mut value, version);
        let read = Record::decode(&[0, 2, 0, 1, b'g'], Some(&value.into_bytes())).expect("well formed").expect("known");
        let Record::Group { value: Some(value), .. } = read else { panic!("a group") };
        assert_eq!((&*value.protocol_type, value.generation, value.members.len()), ("consumer", 4, 0));
    }
}

#[test]
fn a_reader_from_before_tags_gets_the_value_without_them() {
    let mut host = Host::new();
    host.ask(commit("", -1, 42));
    let (key, value) = host.log[0].encode();
    let value = value.expect("a commit");
    let old = value_without_tags(&key, &value).expect("it is of version 4");
    expect!["0003000000000000002a0000000300046e6f746500000000000f4240"].assert_eq(&hex(&old));
    assert_eq!(value_without_tags(&key, &old), None, "it has none already");
    assert_eq!(value_without_tags(&key, &value[..9]), None, "cut short");
    assert_eq!(value_without_tags(&[0, 2, 0, 1, b'g'], &value), None, "of another kind");
}

#[test]
fn records_of_other_kinds_are_passed_over_and_damaged_ones_are_not() {
    assert_eq!(Record::decode(&[0, 3, 0, 1, b'g'], Some(&[0, 0])), Ok(None));
    assert!(Record::decode(&[], None).is_err());
    assert!(Record::decode(&[0, 2, 0, 1], None).is_err());
    assert!(Record::decode(&[0, 2, 0, 1, b'g'], Some(&[0, 9])).is_err());
}
