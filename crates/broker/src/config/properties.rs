//! Java's `.properties` format, which Kafka's configuration files are written in. Line numbers are kept for messages.
//!
//! ```text
//!   # comment          ! comment          (first character of a line that is not a blank)
//!   key = value        key: value         key value       (the first `=`, `:` or blank ends the key)
//!   key = begins here \
//!         and goes on                     (an odd number of backslashes at the end; leading blanks are dropped)
//!   \t \n \r \f \u00e9 \\ \= \:           (escapes; a backslash before any other character is dropped)
//! ```
//!
//! A key that comes again has its later value. Blanks at the end of a value belong to it.

use std::fmt;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// What is before the separator.
    pub key: String,
    /// What is after it.
    pub value: String,
    /// The line it begins on, counted from 1.
    pub line: usize,
}

/// A `\u` escape that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedEscape {
    /// The line it is on, or the one that line continues.
    pub line: usize,
}

impl fmt::Display for MalformedEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a \\u escape needs four hexadecimal digits that make a character")
    }
}

/// The text of a file. UTF-8; a file that is not UTF-8 is read as Latin-1.
///
/// Differs from Kafka: Java reads every file as Latin-1 and so garbles UTF-8.
pub fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().iter().copied().map(char::from).collect())
}

/// Reads all entries, in their order; keys that come again are there again.
///
/// # Errors
/// An escape cannot be read.
pub fn parse(text: &str) -> Result<Vec<Property>, MalformedEscape> {
    let mut lines = natural_lines(text).enumerate();
    let mut properties = Vec::new();
    while let Some((index, first)) = lines.next() {
        let line = index + 1;
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = String::new();
        let mut next = first;
        while let Some(begun) = continued(next) {
            logical.push_str(begun);
            next = lines.next().map_or("", |(_, more)| more.trim_start_matches(is_blank));
        }
        logical.push_str(next);
        if !logical.is_empty() {
            let (key, value) = split(&logical);
            let unescape = |text| unescape(text).ok_or(MalformedEscape { line });
            properties.push(Property { key: unescape(key)?, value: unescape(value)?, line });
        }
    }
    Ok(properties)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Lines end with `\n`, `\r` or both.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let after = &text[end..];
        rest = Some(after.strip_prefix("\r\n").unwrap_or(&after[1..]));
        Some(&text[..end])
    })
}

/// What is before the backslash that continues a line, if one does.
fn continued(line: &str) -> Option<&str> {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    (backslashes % 2 == 1).then(|| &line[..line.len() - 1])
}

/// Splits at the first separator that is not escaped.
fn split(logical: &str) -> (&str, &str) {
    let mut escaped = false;
    let mut key_end = logical.len();
    for (at, c) in logical.char_indices() {
        if !escaped && (is_blank(c) || c == '=' || c == ':') {
            key_end = at;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let (key, rest) = logical.split_at(key_end);
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    (key, value)
}

/// Java's characters are UTF-16, so two escapes may make one character.
fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let plain = |units: &mut Vec<u16>, c: char| units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain(&mut units, c);
            continue;
        }
        match chars.next()? {
            't' => plain(&mut units, '\t'),
            'n' => plain(&mut units, '\n'),
            'r' => plain(&mut units, '\r'),
            'f' => plain(&mut units, '\u{c}'),
            'u' => {
                let digits: String = chars.by_ref().take(4).collect();
                let hexadecimal = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| hexadecimal)?);
            }
            other => plain(&mut units, other),
        }
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: &Expect) {
        let seen = match parse(text) {
            Ok(properties) => {
                properties.iter().map(|p| format!("{}: {:?} = {:?}\n", p.line, p.key, p.value)).collect::<String>()
            }
            Err(error) => format!("line {}: {error}\n", error.line),
        };
        expected.assert_eq(&seen);
    }

    #[test]
    fn separators_and_blanks() {
        check(
            "a=1\n b : 2 \nc 3\n\td\t=\t4\ne\nf=\n=g\nh==i\nj k=l",
            &expect![[r#"
            1: "a" = "1"
            2: "b" = "2 "
            3: "c" = "3"
            4: "d" = "4"
            5: "e" = ""
            6: "f" = ""
            7: "" = "g"
            8: "h" = "=i"
            9: "j" = "k=l"
        "#]],
        );
    }

    #[test]
    fn comments_and_empty_lines() {
        check(
            "# one\n   ! two \\\na=1#2\r\n\r\n \t\nb=2\rc=3",
            &expect![[r#"
            3: "a" = "1#2"
            6: "b" = "2"
            7: "c" = "3"
        "#]],
        );
    }

    #[test]
    fn continued_lines_begin_on_their_first() {
        check(
            "a = 1,\\\n    2,\\\r\n    3\nb=x\\\\\nc=y\\\n#no comment\n\\\n\nd=z\\",
            &expect![[r#"
            1: "a" = "1,2,3"
            4: "b" = "x\\"
            5: "c" = "y#no comment"
            9: "d" = "z"
        "#]],
        );
    }

    #[test]
    fn escapes() {
        check(
            r"a\ b\=c\:d = \t\u00e9\uD83D\uDE00 C:\\dir\x",
            &expect![[r#"
            1: "a b=c:d" = "\té😀 C:\\dirx"
        "#]],
        );
    }

    #[test]
    fn malformed_escapes_name_their_line() {
        check(
            "a=1\nb=\\u12",
            &expect![[r#"
            line 2: a \u escape needs four hexadecimal digits that make a character
        "#]],
        );
        check(
            "a=\\u+123",
            &expect![[r#"
            line 1: a \u escape needs four hexadecimal digits that make a character
        "#]],
        );
        check(
            "a=\\uD83D",
            &expect![[r#"
            line 1: a \u escape needs four hexadecimal digits that make a character
        "#]],
        );
    }

    #[test]
    fn files_that_are_not_utf_8_are_latin_1() {
        assert_eq!(decode(b"a=\xe9".to_vec()), "a=é");
        assert_eq!(decode("a=é".as_bytes().to_vec()), "a=é");
    }
}
