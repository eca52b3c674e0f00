//! Frames and headers: what is answered whatever the API, and what closes the connection.

use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::messages::metadata_request::MetadataRequest;
use ottla_protocol::{ApiKey, Message, Writer};

use super::{Conversation, Session};
use crate::raw::body;

pub(super) const ALL: &[Conversation] =
    &[Conversation::new("api-versions", api_versions), Conversation::new("frames", frames)];

/// APIs that are there in the version of Kafka that the transcripts are of; others come later.
const SERVED: &[i16] = &[
    0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 29, 30, 31, 32, 33, 35, 37, 42, 44, 47, 60,
    61, 74, 75,
];

fn api_versions(session: &mut Session) {
    for version in 0..=5 {
        for name in ["raw", "", "-begins-with-a-dash", "with space"] {
            if version < 3 && name != "raw" {
                continue;
            }
            let request = ApiVersionsRequest {
                client_software_name: name.into(),
                client_software_version: "1.0".into(),
                ..Default::default()
            };
            let what = format!("from a client named {name:?}");
            let Some(answer) = session.ask(&what, ApiKey::ApiVersions, version, &request) else { continue };
            let mut response: ApiVersionsResponse<'_> = body(&answer, ApiKey::ApiVersions, version);
            response.api_keys.retain(|api| SERVED.contains(&api.api_key));
            response.api_keys.sort_by_key(|api| api.api_key);
            // Ottla serves ListOffsets v0 too, for old clients of librdkafka that ask for nothing else.
            response.api_keys.iter_mut().filter(|api| api.api_key == 2).for_each(|api| api.min_version = 1);
            // Which features there are is for the issue that brings them.
            response.supported_features.clear();
            response.finalized_features.clear();
            session.note(&response);
        }
    }
    session.say_raw("ApiVersions v99", &[0, 18, 0, 99, 0, 0, 0, 7, 0, 1, b'c', 0, 0xff, 0xff]);
    session.say_raw("ApiVersions v-1", &[0, 18, 0xff, 0xff, 0, 0, 0, 7, 0xff, 0xff]);
    session.say_raw("ApiVersions v0 after that", &[0, 18, 0, 9, 0, 0, 0, 8, 0xff, 0xff]);
}

/// A header of version 1 and then `body`.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend(7_i32.to_be_bytes());
    frame.extend([0, 1, b'c']);
    frame.extend(body);
    frame
}

fn body_of<'m, M: Message<'m>>(message: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::default();
    message.encode(&mut writer, version);
    writer.into_bytes()
}

fn frames(session: &mut Session) {
    let metadata = body_of(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() }, 1);
    session.say_raw("nothing in the frame", &[]);
    session.say_raw("half a header", &[0, 3, 0, 1]);
    session.say_raw("a header without a client id", &[0, 3, 0, 1, 0, 0, 0, 7]);
    session.say_raw("an unknown key", &frame(999, 0, &[]));
    session.say_raw("a negative key", &frame(-1, 0, &[]));
    session.say_raw("a key that was taken away", &frame(4, 0, &[]));
    session.say_raw("a key of controllers", &frame(56, 0, &[]));
    session.say_raw("Metadata v99", &frame(3, 99, &metadata));
    session.say_raw("Produce v2", &frame(0, 2, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0]));
    session.say_raw("Metadata v1, no body", &frame(3, 1, &[]));
    session.say_raw("Metadata v1, more topics than bytes", &frame(3, 1, &[0x7f, 0xff, 0xff, 0xff]));
    session.say_raw("Metadata v1, a name longer than the frame", &frame(3, 1, &[0, 0, 0, 1, 0x7f, 0xff, b'a']));
    session.say_raw("Metadata v1, a name of negative length", &frame(3, 1, &[0, 0, 0, 1, 0xff, 0xff]));
    session.say_raw("Produce v3, more topics than bytes", &frame(0, 3, &[0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0, 0, 0]));
    session.say_raw("Fetch v4, cut short", &frame(1, 4, &[0xff, 0xff, 0xff, 0xff, 0, 0]));
    session.say_raw("ListOffsets v1, more topics than bytes", &frame(2, 1, &[0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0]));
    session.say_raw("DeleteTopics v1, negative count", &frame(20, 1, &[0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 1]));
    let answered: &[(&str, Vec<u8>)] = &[
        ("Metadata v1, a name that is not UTF-8", frame(3, 1, &[0, 0, 0, 1, 0, 2, 0xc3, 0x28])),
        ("Metadata v1, surplus bytes", frame(3, 1, &[0, 0, 0, 0, 9, 9, 9])),
        ("Metadata v1, -2 topics", frame(3, 1, &[0xff, 0xff, 0xff, 0xfe])),
        ("Metadata v9, an unknown tag", frame(3, 9, &[0, 1, 1, 0, 0, 1, 99, 2, 1, 2])),
        ("Metadata v9, tags out of order", frame(3, 9, &[0, 1, 1, 0, 0, 2, 99, 0, 98, 0])),
        ("Metadata v9, a tag twice", frame(3, 9, &[0, 1, 1, 0, 0, 2, 99, 0, 99, 0])),
        ("Metadata v9, a tag longer than the frame", frame(3, 9, &[0, 1, 1, 0, 0, 1, 99, 9])),
        ("Metadata v9, more tags than bytes", frame(3, 9, &[0, 1, 1, 0, 0, 0xff, 0xff, 0xff, 0x7f])),
        ("a client id that is not UTF-8", [&[0, 3, 0, 1, 0, 0, 0, 7, 0, 2, 0xc3, 0x28][..], &[0; 4]].concat()),
        ("a client id of length -2", [&[0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xfe][..], &[0; 4]].concat()),
        ("a boolean that is 7", frame(3, 4, &[0, 0, 0, 0, 7])),
        ("InitProducerId v1, an id of length -2", frame(22, 1, &[0xff, 0xfe, 0, 0, 0, 1])),
    ];
    for (what, frame) in answered {
        session.say_and_note_whether_answered(what, frame);
    }
}
