//! The codecs against themselves, against bytes that others made, and against those who mean harm.

use std::io::Write;

use super::read::XERIAL_MAGIC;
use super::write::XERIAL_BLOCK_BYTES;
use super::*;

fn packed(codec: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, None, bytes, &mut out).unwrap();
    out
}

fn unpacked(codec: Compression, bytes: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    decompress(codec, bytes, 1 << 20, &mut out).map(|()| out)
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A gzip member, without our own code.
fn member(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A block of raw snappy that is one literal, and a block with its length.
fn literal(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() <= 60);
    [&[bytes.len() as u8, (bytes.len() as u8 - 1) << 2], bytes].concat()
}

fn block(bytes: &[u8]) -> Vec<u8> {
    let literal = literal(bytes);
    [&(literal.len() as i32).to_be_bytes()[..], &literal].concat()
}

fn xerial(version: i32, blocks: &[&[u8]]) -> Vec<u8> {
    let version = version.to_be_bytes();
    let blocks: Vec<u8> = blocks.iter().flat_map(|bytes| block(bytes)).collect();
    [&XERIAL_MAGIC[..], &version, &version, &blocks].concat()
}

/// A zstd frame that stores its bytes, with a window of 2^`window_log`.
fn stored(window_log: u8, bytes: &[u8]) -> Vec<u8> {
    let block_header = ((bytes.len() as u32) << 3) | 1;
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3];
    [&head[..], &block_header.to_le_bytes()[..3], bytes].concat()
}

/// An LZ4 frame that refers from block to block.
fn dependent_blocks() -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Linked);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&vec![b'a'; 200_000]).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_was_packed_comes_out_again() {
    let bytes: Vec<u8> = (0..30_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let (mut compressor, mut decompressor) = (Compressor::default(), Decompressor::default());
    for codec in Compression::ALL {
        for length in [0, 1, XERIAL_BLOCK_BYTES, XERIAL_BLOCK_BYTES + 1, bytes.len()] {
            for level in [None, Some(i32::MIN), Some(2), Some(if length < 2 { i32::MAX } else { 3 })] {
                let (mut packed, mut out) = (vec![7], vec![9]);
                compressor.compress(codec, level, &bytes[..length], &mut packed).unwrap();
                decompressor.decompress(codec, &packed[1..], length, &mut out).unwrap();
                assert!(packed[0] == 7 && out[0] == 9 && out[1..] == bytes[..length], "{codec:?} {length} {level:?}");
            }
        }
        let mut streamed = Vec::new();
        decompressor.reader(codec, &packed(codec, &bytes)).unwrap().read_to_end(&mut streamed).unwrap();
        assert!(streamed == bytes, "{codec:?}");
        decompressor.trim(0);
    }
}

#[test]
fn codecs_have_kafkas_ids_and_names() {
    for (id, name) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let codec = Compression::from_id(id as i8).unwrap();
        assert_eq!((codec.id(), codec.name()), (id as i8, name));
        assert_eq!(Compression::from_name(name), Some(codec));
    }
    for id in [-1, 5, 6, 7, i8::MAX] {
        assert_eq!(Compression::from_id(id), None);
    }
    assert_eq!(Compression::from_name("brotli"), None);
}

#[test]
fn the_frames_are_those_of_the_java_client() {
    let bytes = vec![b'a'; 100_000];
    assert!(packed(Compression::Gzip, &bytes).starts_with(&[0x1f, 0x8b, 8, 0]));
    let snappy = packed(Compression::Snappy, &bytes);
    assert_eq!(snappy[..16], from_hex("82534e41505059000000000100000001"));
    let mut blocks = SnappyBlocks::new(&snappy).unwrap();
    for expected in [32 * 1024, 32 * 1024, 32 * 1024, 100_000 - 96 * 1024] {
        assert_eq!(blocks.next().unwrap().unwrap().unpacked_bytes, expected);
    }
    // Version 1, independent blocks, no checksums, no content size; blocks of 64 KiB; the header's checksum.
    assert_eq!(packed(Compression::Lz4, &bytes)[..7], from_hex("04224d18604082"));
    assert!(packed(Compression::Zstd, &bytes).starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
}

#[test]
fn what_others_send_is_read() {
    let (hello, both) = (b"hello ".as_slice(), b"hello world".to_vec());
    let cases = [
        ("gzip members", Compression::Gzip, [member(hello), member(b"world")].concat()),
        ("gzip and what is no member", Compression::Gzip, [member(&both), b"junk".to_vec()].concat()),
        ("an LZ4 frame and junk", Compression::Lz4, [packed(Compression::Lz4, &both), b"junk".to_vec()].concat()),
        ("raw snappy", Compression::Snappy, literal(&both)),
        ("snappy of other versions", Compression::Snappy, xerial(9, &[hello, b"world"])),
        ("snappy streams", Compression::Snappy, [xerial(1, &[hello]), xerial(0, &[b"world"])].concat()),
        ("snappy and a part of a length", Compression::Snappy, [xerial(1, &[&both]), vec![0, 0]].concat()),
        // As `lz4 --content-size` makes it: with the size and the checksum of the content.
        (
            "lz4 with size and checksum",
            Compression::Lz4,
            from_hex("04224d186c400b000000000000007c0b00008068656c6c6f20776f726c64000000002266bbce"),
        ),
        ("zstd frames", Compression::Zstd, [stored(10, hello), stored(27, b"world")].concat()),
        ("no zstd frame", Compression::Zstd, Vec::new()),
    ];
    for (what, codec, bytes) in cases {
        let expected: &[u8] = if bytes.is_empty() { &[] } else { &both };
        match unpacked(codec, &bytes) {
            Ok(out) => assert_eq!(out, expected, "{what}"),
            Err(error) => panic!("{what}: {error}"),
        }
        let mut streamed = Vec::new();
        decompressor(codec, &bytes).unwrap().read_to_end(&mut streamed).unwrap();
        assert_eq!(streamed, expected, "{what}, streamed");
    }
}

#[test]
fn what_is_damaged_is_refused() {
    let bytes = b"hello hello hello hello world".as_slice();
    let zero_length = [&xerial(1, &[])[..], &[0; 4]].concat();
    let negative_length = [&xerial(1, &[])[..], &(-5i32).to_be_bytes()].concat();
    let lz4_frame = packed(Compression::Lz4, bytes);
    let claims_4_gib = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let mut cases = vec![
        ("nothing", Compression::Gzip, vec![]),
        ("nothing", Compression::Snappy, vec![]),
        ("a block without bytes", Compression::Snappy, zero_length),
        ("a block of negative length", Compression::Snappy, negative_length),
        ("a claim of 4 GiB", Compression::Snappy, claims_4_gib.to_vec()),
        ("a window of 256 MiB", Compression::Zstd, stored(28, bytes)),
        ("dependent blocks", Compression::Lz4, dependent_blocks()),
        ("the end of a frame missing", Compression::Lz4, lz4_frame[..lz4_frame.len() - 4].to_vec()),
        ("junk after a frame", Compression::Zstd, [stored(10, bytes), b"junk and more".to_vec()].concat()),
    ];
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let whole = packed(codec, bytes);
        cases.push(("cut short", codec, whole[..whole.len() - 2].to_vec()));
        cases.push(("another codec", codec, bytes.to_vec()));
    }
    for (what, codec, bytes) in cases {
        let refused = unpacked(codec, &bytes);
        assert!(matches!(refused, Err(CompressionError::Corrupt(_))), "{codec:?} {what}: {refused:?}");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_cap() {
    let zeros = vec![0; 4 << 20];
    for codec in Compression::ALL {
        for cap_bytes in [0, 1, 100_000] {
            let mut out = vec![1, 2, 3];
            let refused = decompress(codec, &packed(codec, &zeros), cap_bytes, &mut out).unwrap_err();
            assert!(matches!(refused, CompressionError::TooLarge { cap_bytes: cap } if cap == cap_bytes), "{codec:?}");
            assert_eq!(out, [1, 2, 3]);
            assert!(out.capacity() <= cap_bytes + 64, "{codec:?} took {}", out.capacity());
        }
    }
}

#[test]
fn a_reader_holds_little_however_much_comes_out() {
    let zeros = vec![0; 16 << 20];
    let mut buffer = [0; 4096];
    for codec in Compression::ALL {
        let packed = packed(codec, &zeros);
        let mut decompressor = Decompressor::default();
        let mut reader = decompressor.reader(codec, &packed).unwrap();
        let mut total = 0;
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                count => total += count,
            }
        }
        assert_eq!(total, zeros.len());
        let held = decompressor.snappy_block.capacity() + decompressor.zstd.as_ref().map_or(0, DCtx::sizeof);
        assert!(held < 10 << 20, "{codec:?} holds {held}");
        decompressor.trim(1024);
        assert!(decompressor.snappy_block.capacity() <= 1024 && decompressor.zstd.is_none());
    }
}

#[test]
fn a_window_that_is_larger_than_usual_is_asked_for() {
    let mut decompressor = Decompressor::default();
    for (window_log, window, is_refused) in
        [(23, ZstdWindow::Usual, false), (24, ZstdWindow::Usual, true), (27, ZstdWindow::Large, false)]
    {
        let frame = stored(window_log, b"abc");
        let mut out = Vec::new();
        let read = decompressor
            .reader_within(Compression::Zstd, &frame, window)
            .and_then(|mut reader| reader.read_to_end(&mut out));
        match is_refused {
            true => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::OutOfMemory, "{window_log}"),
            false => assert_eq!((read.unwrap(), out.as_slice()), (3, &b"abc"[..]), "{window_log}"),
        }
    }
}

#[test]
fn damaged_bytes_are_an_error_and_no_panic() {
    let bytes: Vec<u8> = (0..5000u32).flat_map(|n| n.to_le_bytes()).collect();
    let mut random = ottla_base::Random::new(11);
    let mut decompressor = Decompressor::default();
    let mut out = Vec::new();
    for codec in Compression::ALL {
        let whole = packed(codec, &bytes);
        for _ in 0..300 {
            let mut damaged = whole[..random.below(whole.len() as u64 + 1) as usize].to_vec();
            if !damaged.is_empty() {
                let at = random.below(damaged.len() as u64) as usize;
                damaged[at] ^= random.next_u64() as u8;
            }
            out.clear();
            if decompressor.decompress(codec, &damaged, 1 << 20, &mut out).is_err() {
                assert!(out.is_empty());
            }
        }
    }
}

#[test]
fn the_window_is_told_without_unpacking_as_the_codec_sees_it() {
    // A single segment has no field for its window: all that comes out is reached.
    let single = |size_field: u8, size: &[u8]| {
        let body = [&[0x28, 0xb5, 0x2f, 0xfd, (size_field << 6) | 0x20][..], size].concat();
        [body, vec![0; 40]].concat()
    };
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let level = |bytes: usize| {
        let mut out = Vec::new();
        Compressor::default().compress(Compression::Zstd, Some(19), &vec![7; bytes], &mut out).unwrap();
        out
    };
    for (what, frames, is_large) in [
        ("nothing", Vec::new(), false),
        ("no frame", b"hello".to_vec(), false),
        ("8 MiB", stored(23, b"x"), false),
        ("16 MiB", stored(24, b"x"), true),
        ("the second frame", [stored(20, b"x"), stored(27, b"y")].concat(), true),
        ("behind what is skipped", [skippable, stored(27, b"y")].concat(), true),
        ("behind a frame that is cut short", stored(20, b"xyz")[..10].to_vec(), false),
        ("a byte for the size", single(0, &[200]), false),
        ("two bytes", single(1, &[255, 255]), false),
        ("four bytes", single(2, &(9u32 << 20).to_le_bytes()), true),
        ("eight bytes", single(3, &(9u64 << 20).to_le_bytes()), true),
        ("eight bytes, of few", single(3, &1000u64.to_le_bytes()), false),
        ("as our own encoder writes it", level(20 << 20), false),
    ] {
        assert_eq!(ZstdWindow::of(&frames) == ZstdWindow::Large, is_large, "{what}");
        let mut decompressor = Decompressor::default();
        let mut reader = decompressor.reader_within(Compression::Zstd, &frames, ZstdWindow::Usual).unwrap();
        let read = std::io::copy(&mut reader, &mut std::io::sink());
        let is_refused = read.is_err_and(|error| error.kind() == io::ErrorKind::OutOfMemory);
        assert_eq!(is_refused, is_large, "{what}, by the codec");
    }
}
