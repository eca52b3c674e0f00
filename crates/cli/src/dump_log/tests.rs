use std::fs;

use expect_test::{Expect, expect};
use ottla_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use ottla_protocol::records::control::EndMarker;
use ottla_protocol::records::{BatchBuilder, Compression};
use ottla_storage::producer_snapshot::{SnapshotEntry, encode_snapshot};
use tempfile::TempDir;

use super::*;

/// A partition's folder.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, name: &str, bytes: &[u8]) -> Self {
        fs::write(self.0.path().join(name), bytes).unwrap();
        self
    }

    /// Everything that is shown of `names`, with `?` for the folder.
    fn check(&self, names: &str, arguments: &Arguments, expected: &Expect) {
        let folder = self.0.path().display().to_string();
        let files: Vec<_> = names.split(',').map(|name| format!("{folder}/{name}")).collect();
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let done = arguments.execute(&files.join(","), &mut out, &mut notes);
        let mut text = String::from_utf8([out, notes].concat()).unwrap();
        if let Err(failure) = done {
            text += &failure.to_string();
        }
        expected.assert_eq(&text.replace(&folder, "?"));
    }
}

fn batch(offset: i64, codec: Compression, records: &[(Option<&str>, &str)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(offset))
        .leader_epoch(LeaderEpoch(3))
        .producer(ProducerId(9), ProducerEpoch(1), i32::MAX)
        .compression(codec, None);
    for (index, (key, value)) in records.iter().enumerate() {
        let headers: &[(&[u8], Option<&[u8]>)] = if index == 0 { &[(b"h", None), (b"i", None)] } else { &[] };
        builder.push(1000 + index as i64, key.map(str::as_bytes), Some(value.as_bytes()), headers);
    }
    builder.build().unwrap()
}

fn deep() -> Arguments {
    Arguments { print_data_log: true, max_bytes: i32::MAX, max_message_size: i32::MAX, ..Arguments::default() }
}

fn shallow() -> Arguments {
    Arguments { print_data_log: false, ..deep() }
}

#[test]
fn batches_and_their_records_are_shown() {
    let bytes =
        [batch(0, Compression::None, &[(Some("k"), "v"), (None, "w")]), batch(2, Compression::Gzip, &[(None, "x")])];
    let folder = Folder::new().with("00000000000000000000.log", &bytes.concat());
    folder.check("00000000000000000000.log", &deep(), &expect![[r#"
        Dumping ?/00000000000000000000.log
        Log starting offset: 0
        baseOffset: 0 lastOffset: 1 count: 2 baseSequence: 2147483647 lastSequence: 0 producerId: 9 producerEpoch: 1 partitionLeaderEpoch: 3 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 1001 size: 84 magic: 2 compresscodec: none crc: 3949755075 isvalid: true
        | offset: 0 CreateTime: 1000 keySize: 1 valueSize: 1 sequence: 2147483647 headerKeys: [h,i] key: k payload: v
        | offset: 1 CreateTime: 1001 keySize: -1 valueSize: 1 sequence: 0 headerKeys: [] payload: w
        baseOffset: 2 lastOffset: 2 count: 1 baseSequence: 2147483647 lastSequence: 2147483647 producerId: 9 producerEpoch: 1 partitionLeaderEpoch: 3 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 84 CreateTime: 1000 size: 95 magic: 2 compresscodec: gzip crc: 1832245511 isvalid: true
        | offset: 2 CreateTime: 1000 keySize: -1 valueSize: 1 sequence: 2147483647 headerKeys: [h,i] payload: x
    "#]]);
    folder.check(
        "00000000000000000000.log",
        &Arguments { skip_record_metadata: true, max_bytes: 90, ..deep() },
        &expect![[r#"
            Dumping ?/00000000000000000000.log
            Log starting offset: 0
            baseOffset: 0 lastOffset: 1 count: 2 baseSequence: 2147483647 lastSequence: 0 producerId: 9 producerEpoch: 1 partitionLeaderEpoch: 3 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 1001 size: 84 magic: 2 compresscodec: none crc: 3949755075 isvalid: true
            | key: k payload: v
            | payload: w
        "#]],
    );
}

#[test]
fn markers_and_offsets_that_are_gone_are_told() {
    let marker = EndMarker { is_commit: false, coordinator_epoch: 4 };
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(5))
        .producer(ProducerId(9), ProducerEpoch(1), -1)
        .transactional()
        .control();
    builder.push(7, Some(&marker.key()), Some(&marker.value()), &[]);
    let folder = Folder::new().with("00000000000000000005.log", &builder.build().unwrap());
    folder.check("00000000000000000005.log", &deep(), &expect![[r#"
        Dumping ?/00000000000000000005.log
        Log starting offset: 5
        baseOffset: 5 lastOffset: 5 count: 1 baseSequence: -1 lastSequence: -1 producerId: 9 producerEpoch: 1 partitionLeaderEpoch: -1 isTransactional: true isControl: true deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 7 size: 78 magic: 2 compresscodec: none crc: 2541676058 isvalid: true
        | offset: 5 CreateTime: 7 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: ABORT coordinatorEpoch: 4
        Non-consecutive offsets in ?/00000000000000000005.log
          -1 is followed by 5
    "#]]);
}

#[test]
fn damage_is_shown_and_ends_where_nothing_follows_from_it() {
    let good = batch(0, Compression::None, &[(None, "value")]);
    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last - 1] ^= 1;
    let mut codec = good.clone();
    codec[22] |= 7;
    let mut short = good.clone();
    short[8..12].copy_from_slice(&13_i32.to_be_bytes());
    let mut left_over = good.clone();
    left_over.push(0);
    left_over[8..12].copy_from_slice(&(good.len() as i32 - 11).to_be_bytes());
    let folder = Folder::new()
        .with("0.log", &[&flipped[..], &good[..40]].concat())
        .with("1.log", &codec)
        .with("2.log", &short)
        .with("3.log", &left_over)
        .with("x.log", b"");
    folder.check("0.log", &deep(), &expect![[r#"
        Dumping ?/0.log
        Log starting offset: 0
        baseOffset: 0 lastOffset: 0 count: 1 baseSequence: 2147483647 lastSequence: 2147483647 producerId: 9 producerEpoch: 1 partitionLeaderEpoch: 3 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 1000 size: 79 magic: 2 compresscodec: none crc: 3168858484 isvalid: false
        | offset: 0 CreateTime: 1000 keySize: -1 valueSize: 5 sequence: 2147483647 headerKeys: [h,h] payload: value
        Found 40 invalid bytes at the end of 0.log
    "#]]);
    folder.check("1.log", &shallow(), &expect![[r#"
        Dumping ?/1.log
        Log starting offset: 1
        baseOffset: 0 lastOffset: 0 count: 1 baseSequence: 2147483647 lastSequence: 2147483647 producerId: 9 producerEpoch: 1 partitionLeaderEpoch: 3 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.emptyException in thread "main" java.lang.IllegalArgumentException: Unknown compression type id: 7"#]]);
    folder.check("2.log", &shallow(), &expect![[r#"
        Dumping ?/2.log
        Log starting offset: 2
        Exception in thread "main" org.apache.kafka.common.errors.CorruptRecordException: Found record size 13 smaller than minimum record overhead (14) in file ?/2.log."#]]);
    folder.check("3.log", &deep(), &expect![[r#"
        Dumping ?/3.log
        Log starting offset: 3
        baseOffset: 0 lastOffset: 0 count: 1 baseSequence: 2147483647 lastSequence: 2147483647 producerId: 9 producerEpoch: 1 partitionLeaderEpoch: 3 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 1000 size: 80 magic: 2 compresscodec: none crc: 3168858484 isvalid: false
        Exception in thread "main" org.apache.kafka.common.InvalidRecordException: Incorrect declared batch size, records still remaining in file"#]]);
    folder.check(
        "x.log,y.log",
        &shallow(),
        &expect![[r#"
        Dumping ?/x.log
        Exception in thread "main" java.lang.NumberFormatException: For input string: "x""#]],
    );
    folder.check(
        "4.log",
        &shallow(),
        &expect![[r#"
        Dumping ?/4.log
        Log starting offset: 4
        Exception in thread "main" java.nio.file.NoSuchFileException: ?/4.log"#]],
    );
}

#[test]
fn indexes_are_compared_with_their_log() {
    let first = batch(0, Compression::None, &[(None, "a"), (None, "b")]);
    let second = batch(2, Compression::Lz4, &[(None, "c")]);
    let numbers = |numbers: &[i32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let at = first.len() as i32;
    let time = |timestamp: i64, offset: i32| [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()].concat();
    let folder = Folder::new()
        .with("00.log", &[first, second].concat())
        .with("00.index", &numbers(&[1, 0, 5, at, 0, 0]))
        .with("00.timeindex", &[time(1001, 1), time(900, 2), time(2000, 0), time(0, 0)].concat());
    folder.check(
        "00.index,00.timeindex",
        &shallow(),
        &expect![[r#"
        Dumping ?/00.index
        offset: 1 position: 0
        offset: 5 position: 83
        Dumping ?/00.timeindex
        timestamp: 1001 offset: 1
        timestamp: 900 offset: 2
        Mismatches in :?/00.index
          Index offset: 5, log offset: 2
        Found timestamp mismatch in :?/00.timeindex
          Index timestamp: 900, log timestamp: 1000
        Found out of order timestamp in :?/00.timeindex
          Index timestamp: 900, Previously indexed timestamp: 1001
    "#]],
    );
    folder.check(
        "00.index,00.timeindex",
        &Arguments { verify_index_only: true, ..shallow() },
        &expect![[r#"
        Dumping ?/00.index
        Dumping ?/00.timeindex
        Mismatches in :?/00.index
          Index offset: 5, log offset: 2
        Found timestamp mismatch in :?/00.timeindex
          Index timestamp: 900, log timestamp: 1000
        Found out of order timestamp in :?/00.timeindex
          Index timestamp: 900, Previously indexed timestamp: 1001
    "#]],
    );
    folder.check("00.timeindex", &Arguments { index_sanity_check: true, ..shallow() }, &expect![[r#"
        Dumping ?/00.timeindex
        Exception in thread "main" org.apache.kafka.storage.internals.log.CorruptIndexException: Corrupt time index found, time index file (?/00.timeindex) has non-zero size but the last timestamp is 0 which is less than the first timestamp 1001"#]]);
    let folder = folder.with("00.index", &[0; 9]);
    folder.check("00.index", &Arguments { index_sanity_check: true, ..shallow() }, &expect![[r#"
        Dumping ?/00.index
        Exception in thread "main" org.apache.kafka.storage.internals.log.CorruptIndexException: Index file ?/00.index is corrupt, found 9 bytes which is neither positive nor a multiple of 8"#]]);
    let folder = folder.with("00.index", &numbers(&[1, 999]));
    folder.check("00.index", &shallow(), &expect![[r#"
        Dumping ?/00.index
        Exception in thread "main" java.lang.IllegalArgumentException: Slice from position 999 exceeds end position of FileRecords(size=173, file=?/00.log, start=0, end=2147483647)"#]]);
    let folder = folder.with("00.index", b"");
    folder.check(
        "00.index,00.txt,none",
        &shallow(),
        &expect![[r#"
        Dumping ?/00.index
        ?/00.index is empty.
        Dumping ?/00.txt
        Dumping ?/none
        Ignoring unknown file ?/00.txt
        Ignoring unknown file ?/none
    "#]],
    );
}

#[test]
fn producers_and_aborted_transactions_are_shown() {
    let entry = SnapshotEntry {
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(2),
        last_sequence: 1,
        last_offset: Offset(10),
        offset_delta: 4,
        timestamp: 99,
        coordinator_epoch: -1,
        transaction_first_offset: Some(Offset(6)),
    };
    let idle = SnapshotEntry { last_offset: Offset(-1), transaction_first_offset: None, ..entry };
    let bytes = encode_snapshot([entry, idle].into_iter());
    let mut damaged = bytes.clone();
    damaged[20] ^= 1;
    let mut aborted = vec![0, 0];
    [1_i64, 2, 3, 4].iter().for_each(|number| aborted.extend_from_slice(&number.to_be_bytes()));
    let folder = Folder::new()
        .with("00.snapshot", &bytes)
        .with("01.snapshot", &damaged)
        .with("02.snapshot", &[0, 7])
        .with("03.snapshot", &bytes[..60])
        .with(
            "00.txnindex",
            &[&aborted[..], &[0, 7], &aborted[2..], &[255, 253], &aborted[2..], &aborted[..20]].concat(),
        );
    folder.check("00.snapshot,01.snapshot,02.snapshot,03.snapshot,00.txnindex,01.txnindex", &shallow(), &expect![[r#"
        Dumping ?/00.snapshot
        producerId: 1 producerEpoch: 2 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong[6] lastTimestamp: 99 firstSequence: 2147483645 lastSequence: 1 lastOffset: 10 offsetDelta: 4 timestamp: 99
        producerId: 1 producerEpoch: 2 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 99
        Dumping ?/01.snapshot
        Dumping ?/02.snapshot
        Dumping ?/03.snapshot
        Dumping ?/00.txnindex
        version: 0 producerId: 1 firstOffset: 2 lastOffset: 3 lastStableOffset: 4
        version: 0 producerId: 1 firstOffset: 2 lastOffset: 3 lastStableOffset: 4
        version: -1 producerId: 1 firstOffset: 2 lastOffset: 3 lastStableOffset: 4
        Dumping ?/01.txnindex
        Snapshot is corrupt (CRC is no longer valid). Stored crc: 40674637. Computed crc: 1729363113
        Snapshot failed schema validation: Snapshot contained an unknown file version 7
        Snapshot failed schema validation: null
    "#]]);
}
