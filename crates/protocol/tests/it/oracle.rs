//! Another implementation as the judge: the crate `kafka-protocol` reads what we write and writes what we read.
//!
//! It knows Kafka 4.1, so only the versions that both have are compared. It is fed nothing but well-formed messages:
//! it trusts the lengths it reads.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self as theirs, ApiKey, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use ottla_base::Random;

use crate::sample::sample;
use crate::{Entry, every_message};

const SAMPLES: u64 = 20;

/// How many versions of messages both know.
const KNOWN_VERSIONS: u64 = 587;

/// What the other implementation says it knows, or should, and does not read.
const NOT_READ: &[(&str, i16)] = &[
    ("OffsetCommitRequest", 10),
    ("OffsetFetchRequest", 10),
    ("InitProducerIdRequest", 6),
    ("LeaderChangeMessage", 0),
    ("LeaderChangeMessage", 1),
];

/// What the other implementation makes of a message: the bytes it writes for what it has read; `None` if it does not
/// know the message in this version.
fn through_theirs(entry: &Entry, version: i16, bytes: &[u8]) -> Option<Result<Vec<u8>, String>> {
    let mut input = Bytes::copy_from_slice(bytes);
    let mut output = BytesMut::new();
    let done = match (ApiKey::try_from(entry.key), entry.name) {
        (Ok(key), name) if name.ends_with("Request") && key.valid_versions().min <= version => {
            if version > key.valid_versions().max {
                return None;
            }
            RequestKind::decode(key, &mut input, version)
                .and_then(|request| request.encode(&mut output, version))
                .map_err(|error| format!("{error:#}"))
        }
        (Ok(key), name) if name.ends_with("Response") && key.valid_versions().min <= version => {
            if version > key.valid_versions().max {
                return None;
            }
            ResponseKind::decode(key, &mut input, version)
                .and_then(|response| response.encode(&mut output, version))
                .map_err(|error| format!("{error:#}"))
        }
        (_, "ConsumerProtocolAssignment") => {
            through::<theirs::ConsumerProtocolAssignment>(&mut input, &mut output, version)
        }
        (_, "ConsumerProtocolSubscription") => {
            through::<theirs::ConsumerProtocolSubscription>(&mut input, &mut output, version)
        }
        (_, "DefaultPrincipalData") => through::<theirs::DefaultPrincipalData>(&mut input, &mut output, version),
        (_, "EndTxnMarker") => through::<theirs::EndTxnMarker>(&mut input, &mut output, version),
        (_, "LeaderChangeMessage") => through::<theirs::LeaderChangeMessage>(&mut input, &mut output, version),
        _ => return None,
    };
    let left = input.len();
    Some(match done {
        Ok(()) if left == 0 => Ok(output.to_vec()),
        Ok(()) => Err(format!("{left} bytes are left")),
        Err(error) => Err(error),
    })
}

fn through<M: Decodable + Encodable>(input: &mut Bytes, output: &mut BytesMut, version: i16) -> Result<(), String> {
    let message = M::decode(input, version).map_err(|error| format!("{error:#}"))?;
    message.encode(output, version).map_err(|error| format!("{error:#}"))
}

#[test]
fn another_implementation_reads_and_writes_the_same() {
    let (mut compared, mut not_read) = (0, Vec::new());
    for (entry, schema) in every_message() {
        for version in entry.versions.clone() {
            for seed in 0..SAMPLES {
                let context = format!("{} v{version} seed {seed}", entry.name);
                let bytes = sample(&schema, version, &mut Random::new(seed));
                let (ours, _) = (entry.transcode)(&bytes, version).expect(&context);
                match through_theirs(entry, version, &ours) {
                    None => break,
                    Some(Err(error)) if error.contains("specified version not supported") => {
                        not_read.push((entry.name, version));
                        break;
                    }
                    Some(Err(error)) => panic!("{context}: {error}"),
                    Some(Ok(theirs)) => {
                        let (again, rest) = (entry.transcode)(&theirs, version).expect(&context);
                        assert_eq!((again, rest), (ours, &[][..]), "{context}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(not_read, NOT_READ);
    assert_eq!(compared, KNOWN_VERSIONS * SAMPLES);
}
