use super::*;
use crate::messages::fetch_request::{self, FetchRequest};
use crate::messages::metadata_request::{self, MetadataRequest};
use crate::messages::produce_request::{PartitionData, ProduceRequest, TopicData};

/// What `read` makes of `bytes`, which it must read to their end.
fn read<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    assert_eq!(reader.remaining(), b"", "all of it is read");
    Ok(value)
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.into_bytes()
}

#[test]
fn varints_are_those_of_kafka() {
    for (value, bytes) in [
        (0, &[0x00][..]),
        (-1, &[0x01]),
        (1, &[0x02]),
        (-2, &[0x03]),
        (63, &[0x7e]),
        (64, &[0x80, 0x01]),
        (300, &[0xd8, 0x04]),
        (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        assert_eq!(written(|writer| writer.varint(value)), bytes);
        assert_eq!(read(bytes, Reader::varint), Ok(value));
        assert_eq!(written(|writer| writer.varlong(value.into())), bytes);
        assert_eq!(read(bytes, Reader::varlong), Ok(value.into()));
    }
    for (value, bytes) in [
        (0, &[0x00][..]),
        (1, &[0x01]),
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (300, &[0xac, 0x02]),
        (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        assert_eq!(written(|writer| writer.uvarint(value)), bytes);
        assert_eq!(read(bytes, Reader::uvarint), Ok(value));
    }
    for value in [i64::MIN, i64::MAX] {
        let bytes = written(|writer| writer.varlong(value));
        assert_eq!(bytes.len(), 10);
        assert_eq!(read(&bytes, Reader::varlong), Ok(value));
    }
}

#[test]
fn varints_of_too_many_bits_are_refused() {
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f], Reader::uvarint), Err(DecodeError::VarintTooLong));
    assert_eq!(read(&[0x80; 6], Reader::uvarint), Err(DecodeError::VarintTooLong));
    assert_eq!(read(&[0x80; 11], Reader::varlong), Err(DecodeError::VarintTooLong));
    let last_of_three = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03];
    assert_eq!(read(&last_of_three, Reader::varlong), Err(DecodeError::VarintTooLong));
    assert_eq!(read(&[0x80, 0x80], Reader::uvarint), Err(DecodeError::Truncated));
}

#[test]
fn strings_are_checked_before_they_are_lent() {
    assert_eq!(read(&[0, 2, b'h', b'i'], |reader| reader.string(false)), Ok(Str::Borrowed("hi")));
    assert_eq!(read(&[3, b'h', b'i'], |reader| reader.string(true)), Ok(Str::Borrowed("hi")));
    assert_eq!(read(&[0xff, 0xff], |reader| reader.nullable_string(false)), Ok(None));
    assert_eq!(read(&[0], |reader| reader.nullable_string(true)), Ok(None));
    for (bytes, flexible, error) in [
        (&[0xff, 0xff][..], false, DecodeError::UnexpectedNull),
        (&[0], true, DecodeError::UnexpectedNull),
        (&[0xff, 0xfe], false, DecodeError::UnexpectedNull),
        (&[0x80, 0x00], false, DecodeError::UnexpectedNull),
        (&[0, 3, b'h', b'i'], false, DecodeError::Truncated),
        (&[4, b'h', b'i'], true, DecodeError::Truncated),
        (&[0x81, 0x80, 0x02], true, DecodeError::StringTooLong),
    ] {
        assert_eq!(read(bytes, |reader| reader.string(flexible)), Err(error), "{bytes:?}");
    }
}

#[test]
fn what_is_not_utf8_is_replaced_as_far_as_that_fits_a_string() {
    let read_as = |length: usize, byte: u8| {
        let bytes = written(|writer| writer.bytes(&vec![byte; length], true));
        read(&bytes, |reader| reader.string(true).map(|string| string.len()))
    };
    assert_eq!(read_as(3, 0xff), Ok(9));
    assert_eq!(read_as(MAX_STRING_LENGTH, b'x'), Ok(MAX_STRING_LENGTH));
    assert_eq!(read_as(MAX_STRING_LENGTH / 3, 0xff), Ok(MAX_STRING_LENGTH / 3 * 3));
    assert_eq!(read_as(MAX_STRING_LENGTH / 3 + 1, 0xff), Err(DecodeError::StringTooLong));
}

#[test]
fn strings_that_are_copied_are_charged_for() {
    let names = |byte: u8| {
        let name = vec![byte; 10_000];
        let names = vec![name; 100];
        written(|writer| writer.array(true, &names, |writer, name| writer.bytes(name, true)))
    };
    let count = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes).at_most(1_000_000);
        reader.array(true, 1, |reader| reader.string(true)).map(|names| names.len())
    };
    assert_eq!(count(&names(b'x')), Ok(100));
    assert_eq!(count(&names(0xff)), Err(DecodeError::TooMuchMemory));
}

#[test]
fn of_a_string_that_no_reader_takes_the_characters_that_fit_are_written() {
    let longest = "x".repeat(MAX_STRING_LENGTH);
    for flexible in [false, true] {
        for (text, fits) in [
            (longest.clone(), longest.as_str()),
            (format!("{longest}x"), &longest),
            (format!("{}äx", &longest[1..]), &longest[1..]),
        ] {
            let bytes = written(|writer| writer.string(&text, flexible));
            assert_eq!(read(&bytes, |reader| reader.string(flexible)), Ok(Str::Borrowed(fits)));
        }
    }
}

#[test]
fn nothing_grows_beyond_the_limit() {
    let numbers = [0_i64; 1000];
    let mut writer = Writer::with_limit(100);
    writer.array(true, &numbers[..12], |writer, number| writer.int64(*number));
    assert!(!writer.is_over_limit(), "{} bytes", writer.buffer.len());
    writer.array(true, &numbers, |writer, number| {
        writer.array(true, &numbers, |writer, _| writer.int64(*number));
    });
    assert!(writer.is_over_limit());
    assert!(writer.buffer.len() < 120, "{} bytes", writer.buffer.len());
}

#[test]
fn an_array_is_no_longer_than_the_bytes_for_it() {
    let int16s = |bytes, flexible| read(bytes, |reader| reader.array(flexible, 2, Reader::int16));
    assert_eq!(int16s(&[0, 0, 0, 2, 0, 1, 0, 2], false), Ok(vec![1, 2]));
    assert_eq!(int16s(&[3, 0, 1, 0, 2], true), Ok(vec![1, 2]));
    assert_eq!(int16s(&[0, 0, 0, 3, 0, 1, 0, 2], false), Err(DecodeError::TooManyElements));
    assert_eq!(int16s(&[0x7f, 0xff, 0xff, 0xff], false), Err(DecodeError::TooManyElements));
    assert_eq!(int16s(&[0xff, 0xff, 0xff, 0xff, 0x0f], true), Err(DecodeError::TooManyElements));
    assert_eq!(int16s(&[0xff, 0xff, 0xff, 0xfe], false), Err(DecodeError::UnexpectedNull));
    assert_eq!(int16s(&[0xff, 0xff, 0xff, 0xff], false), Err(DecodeError::UnexpectedNull));
    assert_eq!(int16s(&[0], true), Err(DecodeError::UnexpectedNull));
}

#[test]
fn all_arrays_together_keep_to_the_memory_of_the_frame() {
    fn strings<'a>(reader: &mut Reader<'a>) -> Result<Vec<Str<'a>>, DecodeError> {
        reader.array(true, 1, |reader| reader.string(true))
    }
    let frame = [3, 1, 1, 3, 1, 1];
    let mut reader = Reader::with_memory_limit(&frame, 3 * size_of::<Str<'_>>());
    assert_eq!(strings(&mut reader).map(|strings| strings.len()), Ok(2));
    assert_eq!(strings(&mut reader), Err(DecodeError::TooMuchMemory));

    let mut frame = vec![1; 1 << 20];
    frame[..3].copy_from_slice(&[0x80, 0x80, 0x30]);
    assert_eq!(strings(&mut Reader::new(&frame)), Err(DecodeError::TooMuchMemory));
    frame[..3].copy_from_slice(&[0x80, 0x80, 0x10]);
    assert_eq!(strings(&mut Reader::new(&frame)).map(|strings| strings.len()), Ok((1 << 18) - 1));
}

#[test]
fn the_largest_requests_that_are_meant_are_read() {
    fn check<'m, M: Message<'m>>(frame: &'m mut Vec<u8>, message: &M, version: i16) {
        let mut writer = Writer::new();
        message.encode(&mut writer, version);
        *frame = writer.into_bytes();
        assert!(M::decode(&mut Reader::new(frame), version).is_ok(), "{} bytes of API {}", frame.len(), M::KEY);
    }
    let names: Vec<String> = (0..100_000).map(|number| format!("topic-{number}")).collect();
    let topics = names.iter().map(|name| metadata_request::Topic { name: Some(name.into()), ..Default::default() });
    let metadata = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
    check(&mut Vec::new(), &metadata, 13);
    check(&mut Vec::new(), &metadata, 1);

    let fetched = |name: &'static str, partitions: i32| fetch_request::Topic {
        topic: name.into(),
        partitions: (0..partitions)
            .map(|partition| fetch_request::Partition { partition, ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let one_topic = FetchRequest { topics: vec![fetched("topic", 100_000)], ..Default::default() };
    let many_topics =
        FetchRequest { topics: (0..100_000).map(|_| fetched("topic", 1)).collect(), ..Default::default() };
    for version in [4, 12, 18] {
        check(&mut Vec::new(), &one_topic, version);
        check(&mut Vec::new(), &many_topics, version);
    }

    let produced = |index| PartitionData { index, records: Records::Bytes(&[0; 100]) };
    let topic =
        TopicData { name: "topic".into(), partition_data: (0..10_000).map(produced).collect(), ..Default::default() };
    check(&mut Vec::new(), &ProduceRequest { topic_data: vec![topic], ..Default::default() }, 12);
}

#[test]
fn no_message_takes_more_than_the_ceiling() {
    // Three million empty strings: 72 MB, in a frame for which that would be less than sixteenfold.
    let mut frame = vec![1; 5 << 20];
    frame[..4].copy_from_slice(&[0xc0, 0x8d, 0xb7, 0x01]);
    let strings = |reader: &mut Reader<'_>| reader.array(true, 1, |reader| reader.string(true).map(drop));
    assert_eq!(strings(&mut Reader::new(&frame)).map(|strings| strings.len()), Ok(2_999_999), "these take no memory");
    let strings =
        Reader::new(&frame).array(true, 1, |reader| reader.string(true)).map(|strings: Vec<Str<'_>>| strings.len());
    assert_eq!(strings, Err(DecodeError::TooMuchMemory));
}

#[test]
fn tags_ascend_and_unknown_ones_are_skipped() {
    let known = |bytes| {
        let mut value = None;
        read(bytes, |reader| {
            reader.tags(|tag, reader| {
                if tag == 1 {
                    value = Some(reader.int16()?);
                }
                Ok(())
            })
        })?;
        Ok(value)
    };
    assert_eq!(known(&[0]), Ok(None));
    assert_eq!(known(&[3, 0, 1, 9, 1, 2, 0, 7, 4, 0]), Ok(Some(7)));
    assert_eq!(known(&[1, 1, 3, 0, 7, 9]), Ok(Some(7)), "what is too much in a tag is skipped with it");
    assert_eq!(known(&[1, 1, 1, 7, 0]), Err(DecodeError::Truncated), "a tag does not read beyond its data");
    assert_eq!(known(&[2, 1, 2, 0, 7, 1, 2, 0, 8]), Ok(Some(8)), "the last one counts");
    assert_eq!(known(&[2, 2, 0, 1, 2, 0, 7]), Ok(Some(7)), "in any order");
    assert_eq!(known(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]), Err(DecodeError::Truncated));
    assert_eq!(known(&[1, 0, 5, 0]), Err(DecodeError::Truncated));
}

#[test]
fn a_tag_is_written_with_the_size_of_its_data() {
    let bytes = written(|writer| {
        let tags = writer.begin_tags();
        writer.tag(tags, 2, |writer| writer.int16(7));
        writer.tag(tags, 300, |writer| writer.bytes(&[5; 200], true));
    });
    let mut expected = vec![2, 2, 2, 0, 7, 0xac, 0x02, 0xca, 0x01, 0xc9, 0x01];
    expected.extend([5; 200]);
    assert_eq!(bytes, expected);
    let no_tags = written(|writer| {
        writer.begin_tags();
    });
    assert_eq!(no_tags, written(Writer::no_tags));
}

#[test]
fn a_frame_counts_the_regions_that_it_does_not_hold() {
    let mut writer = Writer::new();
    writer.begin_frame();
    writer.int16(1);
    let first = Region { index: 0, length: 1000 };
    writer.nullable_records(Records::Region(first), true);
    writer.int16(2);
    writer.nullable_records(Records::Bytes(b"abc"), false);
    let second = Region { index: 1, length: 5 };
    writer.records(Records::Region(second), false);
    writer.finish_frame();

    assert_eq!(writer.wire_length(), writer.buffer.len() + 1005);
    let size = (writer.wire_length() - 4) as u32;
    let mut expected = size.to_be_bytes().to_vec();
    expected.extend([0, 1, 0xe9, 0x07]);
    let at = expected.len();
    expected.extend([0, 2, 0, 0, 0, 3, b'a', b'b', b'c', 0, 0, 0, 5]);
    assert_eq!(writer.buffer, expected);
    let splices = [Splice { at, region: first }, Splice { at: expected.len(), region: second }];
    assert_eq!(writer.regions, splices);
}

#[test]
fn records_may_be_null_or_must_be_there() {
    assert_eq!(written(|writer| writer.nullable_records(Records::Null, true)), [0]);
    assert_eq!(written(|writer| writer.nullable_records(Records::Null, false)), [0xff; 4]);
    assert_eq!(written(|writer| writer.records(Records::Null, true)), [1]);
    assert_eq!(read(&[0], |reader| reader.records(true)), Ok(Records::Null));
    assert_eq!(read(&[2, 9], |reader| reader.records(true)), Ok(Records::Bytes(&[9])));
    assert_eq!(read(&[3, 9], |reader| reader.records(true)), Err(DecodeError::Truncated));
}

#[test]
fn error_codes_are_counted_as_they_are_written() {
    let mut writer = Writer::new();
    [0, 3, 0, -1, 3, 0].into_iter().for_each(|code| writer.error_code(code));
    assert_eq!(writer.errors.iter().collect::<Vec<_>>(), [(0, 3), (3, 2), (-1, 1)]);
    assert_eq!(writer.buffer, [0, 0, 0, 3, 0, 0, 0xff, 0xff, 0, 3, 0, 0]);
}
