//! 128-bit ids of topics, directories and incarnations, in the text form Kafka prints: base64 of the 16 bytes, with `-`
//! and `_`, without padding: 22 characters.

use std::fmt;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LENGTH: usize = 22;

/// A 128-bit id. Zero means "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub u128);

/// The text is not 22 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseUuidError;

impl Uuid {
    /// No id.
    pub const ZERO: Self = Self(0);
    /// The topic id of `__cluster_metadata`, and the directory id "unassigned".
    pub const ONE: Self = Self(1);

    /// From its 16 bytes, most significant first.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Its 16 bytes, most significant first.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Whether this is "no id".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// A random (version 4) id that Kafka would give: not one of the first hundred, which are reserved, and without a
    /// leading dash, which command lines would take for a flag. Draws from `next` until one fits.
    pub fn random(mut next: impl FnMut() -> u64) -> Self {
        loop {
            let bits = (u128::from(next()) << 64) | u128::from(next());
            let id = Self((bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62));
            if id.0 >= 100 && !id.to_string().contains('-') {
                return id;
            }
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT_LENGTH];
        for (index, character) in text.iter_mut().enumerate() {
            // 22 characters hold 132 bits: the last one has 2 bits of the id and 4 of padding.
            let bits = if index == TEXT_LENGTH - 1 { self.0 << 4 } else { self.0 >> (122 - 6 * index) };
            *character = ALPHABET[(bits & 0x3f) as usize];
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        if text.len() != TEXT_LENGTH {
            return Err(ParseUuidError);
        }
        let mut bits: u128 = 0;
        for (index, character) in text.bytes().enumerate() {
            let value = ALPHABET.iter().position(|&c| c == character).ok_or(ParseUuidError)? as u128;
            bits = if index == TEXT_LENGTH - 1 { (bits << 2) | (value >> 4) } else { (bits << 6) | value };
        }
        Ok(Self(bits))
    }
}

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is 22 characters of URL-safe base64")
    }
}

impl std::error::Error for ParseUuidError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn the_text_is_the_one_kafka_prints() {
        assert_eq!(Uuid(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff).to_string(), "ABEiM0RVZneImaq7zN3u_w");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    #[test]
    fn random_ids_read_back_and_hold_no_dash() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let id = Uuid::random(|| random.next_u64());
            assert_eq!(id.to_string().parse(), Ok(id));
            assert!(!id.to_string().contains('-'));
        }
        assert_eq!("short".parse::<Uuid>(), Err(ParseUuidError));
        assert_eq!("ABEiM0RVZneImaq7zN3u+w".parse::<Uuid>(), Err(ParseUuidError));
    }
}
