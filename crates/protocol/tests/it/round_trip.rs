//! Every message, in every version: what is read is what is written.

use ottla_base::Random;
use ottla_protocol::internal::metadata::MetadataRecord;
use ottla_protocol::{ApiKey, DecodeError, Writer};

use crate::every_message;
use crate::sample::sample;

const SAMPLES: u64 = 20;

#[test]
fn a_message_read_and_written_is_the_same_bytes() {
    for (entry, schema) in every_message() {
        for version in entry.versions.clone() {
            for seed in 0..SAMPLES {
                let mut bytes = sample(&schema, version, &mut Random::new(seed));
                let context = format!("{} v{version} seed {seed}", entry.name);
                bytes.extend(b"surplus");
                let (written, rest) = (entry.transcode)(&bytes, version).expect(&context);
                assert_eq!(rest, b"surplus", "{context}");
                assert_eq!(written, bytes[..bytes.len() - rest.len()], "{context}");
            }
        }
    }
}

#[test]
fn a_message_cut_short_is_refused() {
    for (entry, schema) in every_message() {
        for version in entry.versions.clone() {
            let bytes = sample(&schema, version, &mut Random::new(1));
            for length in 0..bytes.len() {
                assert!((entry.decode)(&bytes[..length], version).is_err(), "{} v{version} at {length}", entry.name);
            }
        }
    }
}

#[test]
fn the_types_say_what_the_schemas_say() {
    for (entry, schema) in every_message() {
        assert_eq!(entry.key, schema.key.unwrap_or(-1), "{}", entry.name);
        assert_eq!(entry.versions, schema.versions.first..=schema.versions.last, "{}", entry.name);
        assert_eq!(entry.flexible_from, schema.flexible_from, "{}", entry.name);
        for version in [i16::MIN, -1, entry.versions.end() + 1, i16::MAX] {
            assert_eq!((entry.decode)(&[0; 100], version), Err(DecodeError::UnknownVersion(version)), "{}", entry.name);
        }
        if !schema.group.is_empty() {
            continue;
        }
        let api = ApiKey::from_code(entry.key).expect("requests and responses have the key of an API");
        assert!(entry.name == format!("{api}Request") || entry.name == format!("{api}Response"));
        for version in entry.versions.clone() {
            assert_eq!(api.is_flexible(version), version >= entry.flexible_from, "{}", entry.name);
        }
        let (first, last) = api.kafka_versions().into_inner();
        assert!(entry.versions.contains(&first) && entry.versions.contains(&last), "{}", entry.name);
    }
}

#[test]
fn every_metadata_record_has_its_place_in_the_enum() {
    let mut seen = 0;
    for (entry, schema) in every_message() {
        if schema.group != "metadata" {
            continue;
        }
        seen += 1;
        for version in entry.versions.clone() {
            let mut value = vec![1, entry.key as u8, version as u8];
            value.extend(sample(&schema, version, &mut Random::new(2)));
            let record = MetadataRecord::decode(&value).expect(entry.name);
            assert_eq!(record.key(), entry.key);
            let mut writer = Writer::new();
            record.encode(version, &mut writer);
            assert_eq!(writer.into_bytes(), value, "{} v{version}", entry.name);
            value.push(0);
            assert_eq!(MetadataRecord::decode(&value), Err(DecodeError::SurplusBytes), "{} v{version}", entry.name);
        }
    }
    assert_eq!(seen, 27);
    assert_eq!(MetadataRecord::decode(&[2, 2, 0]), Err(DecodeError::UnknownFrameVersion(2)));
    assert_eq!(MetadataRecord::decode(&[1, 6, 0]), Err(DecodeError::UnknownType(6)));
    assert_eq!(MetadataRecord::decode(&[1, 20, 1, 0]), Err(DecodeError::UnknownVersion(1)));
}
