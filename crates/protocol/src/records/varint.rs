//! Varints of records, read where they lie: one byte in most cases, so that one is the fast path.
//!
//! `wire::Reader` reads the same numbers but refuses bits that its type has no room for. Kafka drops them here, and a
//! batch that Kafka stores must be readable.

use super::RecordError;

/// The most bytes of a 32-bit varint.
pub(super) const VARINT_BYTES_MAX: u32 = 5;
/// The most bytes of a 64-bit varint.
pub(super) const VARLONG_BYTES_MAX: u32 = 10;

/// Takes a zigzag number of 32 bits from the front.
#[inline]
pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<i32, RecordError> {
    Ok(zigzag_32(take(bytes, VARINT_BYTES_MAX)?))
}

/// Takes a zigzag number of 64 bits from the front.
#[inline]
pub(super) fn take_varlong(bytes: &mut &[u8]) -> Result<i64, RecordError> {
    Ok(zigzag_64(take(bytes, VARLONG_BYTES_MAX)?))
}

/// The 32-bit number of these bits: 0, -1, 1, -2 ...
pub(super) fn zigzag_32(bits: u64) -> i32 {
    let bits = bits as u32;
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}

/// The 64-bit number of these bits.
pub(super) fn zigzag_64(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}

/// How many bytes a varint takes.
pub(super) fn varint_size(number: i32) -> usize {
    varlong_size(number.into())
}

/// How many bytes a varlong takes.
pub(super) fn varlong_size(number: i64) -> usize {
    let bits = ((number << 1) ^ (number >> 63)).cast_unsigned();
    (64 - (bits | 1).leading_zeros()).div_ceil(7) as usize
}

#[inline]
fn take(bytes: &mut &[u8], longest: u32) -> Result<u64, RecordError> {
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Ok(first.into())
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
        }
        _ => take_long(bytes, longest),
    }
}

fn take_long(bytes: &mut &[u8], longest: u32) -> Result<u64, RecordError> {
    let mut bits = 0;
    for index in 0..longest {
        let (&byte, rest) = bytes.split_first().ok_or(RecordError::Truncated)?;
        *bytes = rest;
        bits |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(bits);
        }
    }
    Err(RecordError::VarintTooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;

    #[test]
    fn numbers_come_back_from_as_many_bytes_as_foretold() {
        for shift in 0..64 {
            let power = 1i64 << shift;
            for number in [0, power, power.wrapping_sub(1), power.wrapping_neg(), !power, i64::MIN, i64::MAX] {
                let mut writer = Writer::default();
                writer.varlong(number);
                assert_eq!(writer.buffer.len(), varlong_size(number), "{number}");
                assert_eq!(take_varlong(&mut &writer.buffer[..]), Ok(number));

                let number = number as i32;
                let mut writer = Writer::default();
                writer.varint(number);
                assert_eq!(writer.buffer.len(), varint_size(number), "{number}");
                assert_eq!(take_varint(&mut &writer.buffer[..]), Ok(number));
            }
        }
    }

    #[test]
    fn a_number_ends_within_its_bytes_and_extra_bits_are_dropped() {
        assert_eq!(take_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0x7f][..]), Ok(i32::MIN));
        assert_eq!(take_varint(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]), Err(RecordError::VarintTooLong));
        assert_eq!(take_varlong(&mut &[0x80; 11][..]), Err(RecordError::VarintTooLong));
        for cut in [&[][..], &[0x80], &[0x80, 0x80]] {
            assert_eq!(take_varint(&mut &cut[..]), Err(RecordError::Truncated));
        }
    }
}
