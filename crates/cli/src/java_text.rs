//! Bytes as the text that Java makes of them, `new String(bytes, UTF_8)`.
//!
//! What is not UTF-8 is replaced as Rust does it, but for the encoded halves of a surrogate pair: one replacement each, not one
//! for each of their bytes.

use std::borrow::Cow;

/// The text of `bytes`.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    let mut rest = match std::str::from_utf8(bytes) {
        Ok(text) => return Cow::Borrowed(text),
        Err(_) => bytes,
    };
    let mut text = String::with_capacity(bytes.len());
    while let Some(chunk) = rest.utf8_chunks().next() {
        let invalid = &rest[chunk.valid().len()..];
        text.push_str(chunk.valid());
        if invalid.is_empty() {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        rest = &invalid[surrogate_bytes(invalid).unwrap_or(chunk.invalid().len())..];
    }
    Cow::Owned(text)
}

/// How many bytes of half a surrogate pair begin here, if any do.
fn surrogate_bytes(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => Some(3),
        [0xed, 0xa0..=0xbf, ..] => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf_8_is_replaced_as_java_does() {
        let cases: [(&[u8], &str); 12] = [
            (b"plain", "plain"),
            ("ä€😀".as_bytes(), "ä€😀"),
            (b"a\xffb", "a?b"),
            (b"\xed\xa0\x80x", "?x"),
            (b"\xed\xa0\x80\xed\xb0\x80", "??"),
            (b"\xed\xbf", "?"),
            (b"\xed\xa0A", "?A"),
            (b"\xed\x41", "?A"),
            (b"\xc0\x80", "??"),
            (b"\xe0\x80\x80", "???"),
            (b"\xe2\x82", "?"),
            (b"\xf0\x9f\x98A\xf4\x90\x80\x80", "?A????"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(text_of(bytes).replace(char::REPLACEMENT_CHARACTER, "?"), expected, "{bytes:x?}");
        }
    }
}
