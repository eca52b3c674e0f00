//! Bytes that Kafka's own classes have written.

use ottla_protocol::frame::{RequestHeader, read_response_header};
use ottla_protocol::internal::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::internal::offsets::ConsumerGroupMemberMetadataValue;
use ottla_protocol::internal::{consumer_protocol, offsets};
use ottla_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FindCoordinatorRequest, MetadataRequest,
    api_versions_response, fetch_request, metadata_request,
};
use ottla_protocol::{ApiKey, ErrorCode, Message, Reader, Str, Writer};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| digit.is_ascii_hexdigit()).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).expect("only digits are left") as u8;
    digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

/// The frame is `message` in a request with this correlation id and client id, both ways.
fn check_request<'a, M: Message<'a> + PartialEq + std::fmt::Debug>(
    frame: &'a [u8],
    api_version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    message: &M,
) {
    let header = RequestHeader { api_key: M::KEY, api_version, correlation_id, client_id: client_id.map(Into::into) };
    let (found, body) = RequestHeader::decode(frame).expect("a header");
    assert_eq!(found, header);
    let mut reader = Reader::new(body);
    assert_eq!(M::decode(&mut reader, api_version).as_ref(), Ok(message));
    assert_eq!(reader.remaining(), b"");

    let mut writer = Writer::new();
    header.encode(&mut writer);
    message.encode(&mut writer, api_version);
    assert_eq!(writer.into_bytes(), frame);
}

#[test]
fn requests() {
    let api_versions = ApiVersionsRequest {
        client_software_name: Str::Borrowed("x"),
        client_software_version: Str::Borrowed("1"),
        ..Default::default()
    };
    check_request(&bytes("001200030000000100016300 | 0278023100"), 3, 1, Some("c"), &api_versions);
    check_request(&bytes("0012000000000001000163"), 0, 1, Some("c"), &ApiVersionsRequest::default());

    let every_topic = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
    check_request(&bytes("0003000c00000002ffff00 | 00000000"), 12, 2, None, &every_topic);
    let topic = metadata_request::Topic { name: Some(Str::Borrowed("t")), ..Default::default() };
    let one_topic = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    check_request(&bytes("0003000100000002000163 | 00000001000174"), 1, 2, Some("c"), &one_topic);

    let find = FindCoordinatorRequest { coordinator_keys: vec![Str::Borrowed("g")], ..Default::default() };
    check_request(&bytes("000a00040000000300016300 | 0002026700"), 4, 3, Some("c"), &find);

    let partition = fetch_request::Partition { fetch_offset: 5, partition_max_bytes: 512, ..Default::default() };
    let topic = fetch_request::Topic { topic: Str::Borrowed("t"), partitions: vec![partition], ..Default::default() };
    let fetch =
        FetchRequest { max_wait_ms: 500, min_bytes: 1, max_bytes: 1024, topics: vec![topic], ..Default::default() };
    let frame = "0001000c0000000400016300 | ffffffff000001f4000000010000040000 00000000ffffffff0202740200000000\
                 ffffffff0000000000000005ffffffffffffffffffffffff000002000000010100";
    let frame = bytes(frame);
    check_request(&frame, 12, 4, Some("c"), &fetch);
}

#[test]
fn responses_of_api_versions_have_the_oldest_header() {
    let api = |max_version| api_versions_response::ApiKey { api_key: 18, min_version: 0, max_version };
    let refused = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![api(4)],
        ..Default::default()
    };
    let accepted = ApiVersionsResponse { api_keys: vec![api(4)], ..Default::default() };
    for (frame, version, response) in [
        ("00000010 | 00000001 | 002300000001001200000004", 0, refused),
        ("00000013 | 00000001 | 000002001200000004000000000000", 3, accepted),
    ] {
        let frame = bytes(frame);
        let mut writer = Writer::new();
        ApiKey::ApiVersions.begin_response(&mut writer, version, 1);
        response.encode(&mut writer, version);
        writer.finish_frame();
        assert_eq!(writer.into_bytes(), frame);

        let mut reader = Reader::new(&frame[4..]);
        assert_eq!(read_response_header(&mut reader, ApiKey::ApiVersions, version), Ok(1));
        assert_eq!(ApiVersionsResponse::decode(&mut reader, version), Ok(response));
    }
}

/// The value is a version and `message` in it, both ways.
fn check_versioned<'a, M: Message<'a> + PartialEq + std::fmt::Debug>(value: &'a [u8], message: &M) {
    let mut reader = Reader::new(value);
    let version = reader.int16().expect("a version");
    assert_eq!(M::decode(&mut reader, version).as_ref(), Ok(message));
    assert_eq!(reader.remaining(), b"");

    let mut writer = Writer::new();
    writer.int16(version);
    message.encode(&mut writer, version);
    assert_eq!(writer.into_bytes(), value);
}

#[test]
fn what_consumers_tell_each_other() {
    let subscription = ConsumerProtocolSubscription {
        topics: vec![Str::Borrowed("t")],
        user_data: None,
        generation_id: -1,
        ..Default::default()
    };
    check_versioned(&bytes("000300000001000174ffffffff00000000ffffffffffff"), &subscription);
    let partition = consumer_protocol::consumer_protocol_assignment::AssignedPartition {
        topic: Str::Borrowed("t"),
        partitions: vec![0, 1],
    };
    let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![partition], user_data: None };
    check_versioned(&bytes("000300000001000174000000020000000000000001ffffffff"), &assignment);
}

#[test]
fn a_struct_that_is_a_tag_is_null_in_another_way() {
    let mut member = ConsumerGroupMemberMetadataValue::default();
    check_versioned(&bytes("0000 010101010101ffffffff0100"), &member);
    member.classic_member_metadata = None;
    check_versioned(&bytes("0000 010101010101ffffffff0101000100"), &member);
    member.classic_member_metadata = Some(offsets::consumer_group_member_metadata_value::ClassicMemberMetadata {
        session_timeout_ms: 7,
        ..Default::default()
    });
    check_versioned(&bytes("0000 010101010101ffffffff0101000701000000070100"), &member);
}
