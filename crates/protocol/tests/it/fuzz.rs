//! Whatever comes in, a decoder neither panics nor takes more memory than a small multiple of what came.

use ottla_base::Random;

use crate::allocator::peak_of;
use crate::sample::sample;
use crate::{Entry, every_message};

/// What the arrays of a message may take for each byte of the frame, and in any case; as `Reader` says.
const BYTES_PER_BYTE: usize = 16;
const BYTES_FLOOR: usize = 64 * 1024;

/// How many inputs of each kind a version of a message gets.
const INPUTS: u64 = 12;
/// Lengths and counts that have brought down decoders, as they stand in a frame.
const HOSTILE: [&[u8]; 8] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    &[0x7f, 0xff],
    &[0x80, 0x80, 0x04],
];
/// Long enough that what a decoder may take in any case is little beside it.
const LONG: usize = 1 << 17;

fn check(entry: &Entry, version: i16, seed: u64, bytes: &[u8]) {
    let peak = peak_of(|| {
        // Whether it is a message is not the question here.
        let _ = (entry.decode)(bytes, version);
    });
    let (name, length) = (entry.name, bytes.len());
    let most = length * BYTES_PER_BYTE + BYTES_FLOOR;
    assert!(peak <= most, "{name} v{version} seed {seed}: {length} bytes made it take {peak}");
}

#[test]
fn random_and_mutated_bytes_are_read_within_limits() {
    for (entry, schema) in every_message() {
        for version in entry.versions.clone() {
            for seed in 0..INPUTS {
                let mut random = Random::new(seed);
                let noise: Vec<u8> = (0..random.below(200)).map(|_| random.next_u64() as u8).collect();
                check(entry, version, seed, &noise);

                let good = sample(&schema, version, &mut random);
                for _ in 0..INPUTS {
                    check(entry, version, seed, &mutated(&good, &mut random));
                }
            }
        }
    }
}

/// A message with a few bytes changed, something hostile put into it, or its end cut off.
fn mutated(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => {
                let hostile = HOSTILE[random.below(HOSTILE.len() as u64) as usize];
                bytes.splice(at..at, hostile.iter().copied());
            }
            2 => {
                let hostile = HOSTILE[random.below(HOSTILE.len() as u64) as usize];
                let end = bytes.len().min(at + hostile.len());
                bytes[at..end].copy_from_slice(&hostile[..end - at]);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

#[test]
fn long_frames_of_the_smallest_elements_take_a_small_multiple_of_their_length() {
    let mut frames: Vec<Vec<u8>> = [0x00, 0x01, 0x02, 0x7f, 0xff].map(|byte| vec![byte; LONG]).into();
    // Counts that the frame could hold, over elements as small as can be: empty strings, structs of empty fields.
    for element in [0x00, 0x01] {
        for count in [LONG - 100, LONG / 4, LONG / 16] {
            let mut classic = vec![element; LONG];
            classic[..4].copy_from_slice(&(count as u32).to_be_bytes());
            frames.push(classic);
            let mut compact = vec![element; LONG];
            compact[..3].copy_from_slice(&[count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8 & 0x7f]);
            frames.push(compact);
        }
    }
    for (entry, _) in every_message() {
        for version in [*entry.versions.start(), *entry.versions.end()] {
            for (index, frame) in frames.iter().enumerate() {
                check(entry, version, index as u64, frame);
                // Behind a first field, an array may begin where the count above does not reach it.
                for shift in [1, 2, 4, 8] {
                    let mut frame = frame.clone();
                    frame.rotate_right(shift);
                    frame[..shift].fill(0);
                    check(entry, version, index as u64, &frame);
                }
            }
        }
    }
}
