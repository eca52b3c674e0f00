//! Makes a record of a line.
//!
//! ```text
//! parse.headers, parse.key     h1:v1,h2:v2 <headers.delimiter> key <key.separator> value
//! parse.headers                h1:v1,h2:v2 <headers.delimiter> value
//! parse.key                    key <key.separator> value
//! neither                      value
//! ```
//!
//! Any of them that is the `null.marker` is null; headers that are it are none at all.

use crate::client::{OutgoingHeader, OutgoingRecord};
use crate::properties::Properties;

/// How to take lines apart.
#[derive(Clone, Debug)]
pub struct LineReader {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: Vec<u8>,
    headers_delimiter: Vec<u8>,
    headers_separator: Vec<u8>,
    headers_key_separator: Vec<u8>,
    null_marker: Option<Vec<u8>>,
    line_number: u64,
}

impl LineReader {
    /// Takes what it knows out of the properties.
    pub fn from(properties: &mut Properties) -> Self {
        let mut text =
            |key: &str, default: &str| properties.take(key).unwrap_or_else(|| default.to_owned()).into_bytes();
        let key_separator = text("key.separator", "\t");
        let headers_delimiter = text("headers.delimiter", "\t");
        let headers_separator = text("headers.separator", ",");
        let headers_key_separator = text("headers.key.separator", ":");
        Self {
            parse_key: properties.take_flag("parse.key").unwrap_or(false),
            parse_headers: properties.take_flag("parse.headers").unwrap_or(false),
            ignore_error: properties.take_flag("ignore.error").unwrap_or(false),
            key_separator,
            headers_delimiter,
            headers_separator,
            headers_key_separator,
            null_marker: properties.take("null.marker").map(String::into_bytes),
            line_number: 0,
        }
    }

    /// The record of the next line.
    ///
    /// # Errors
    /// A separator is missing, and such lines are not to be ignored.
    pub fn record(&mut self, line: &[u8]) -> Result<OutgoingRecord, String> {
        self.line_number += 1;
        let mut record = OutgoingRecord::default();
        let mut rest = line;
        if self.parse_headers {
            let (headers, after) = self.cut("headers delimiter", &self.headers_delimiter, rest, line)?;
            rest = after;
            if let Some(headers) = headers.filter(|headers| !self.is_null(headers)) {
                record.headers = self.headers(headers)?;
            }
        }
        if self.parse_key {
            let (key, after) = self.cut("key separator", &self.key_separator, rest, line)?;
            rest = after;
            record.key = key.filter(|key| !self.is_null(key)).map(<[u8]>::to_vec);
        }
        record.value = (!self.is_null(rest)).then(|| rest.to_vec());
        Ok(record)
    }

    /// What is before the separator, and what is after it. Without one, all is what is after it, where that is allowed.
    fn cut<'a>(
        &self,
        what: &str,
        separator: &[u8],
        rest: &'a [u8],
        line: &[u8],
    ) -> Result<(Option<&'a [u8]>, &'a [u8]), String> {
        match split_once(rest, separator) {
            Some((before, after)) => Ok((Some(before), after)),
            None if self.ignore_error => Ok((None, rest)),
            None => {
                let line = String::from_utf8_lossy(line);
                Err(format!("No {what} found on line number {}: '{line}'", self.line_number))
            }
        }
    }

    fn headers(&self, mut rest: &[u8]) -> Result<Vec<OutgoingHeader>, String> {
        let mut headers = Vec::new();
        loop {
            let (pair, after) = match split_once(rest, &self.headers_separator) {
                Some((pair, after)) => (pair, Some(after)),
                None => (rest, None),
            };
            headers.push(self.header(pair)?);
            match after {
                Some(after) => rest = after,
                None => return Ok(headers),
            }
        }
    }

    fn header(&self, pair: &[u8]) -> Result<OutgoingHeader, String> {
        let shown = || String::from_utf8_lossy(pair);
        match split_once(pair, &self.headers_key_separator) {
            Some((key, _)) if self.is_null(key) => Err(format!(
                "Header keys should not be equal to the null marker in pair '{}' on line number {}",
                shown(),
                self.line_number
            )),
            Some((key, value)) => Ok((key.to_vec(), (!self.is_null(value)).then(|| value.to_vec()))),
            None if self.ignore_error => Ok((pair.to_vec(), None)),
            None => {
                Err(format!("No header key separator found in pair '{}' on line number {}", shown(), self.line_number))
            }
        }
    }

    fn is_null(&self, bytes: &[u8]) -> bool {
        self.null_marker.as_deref() == Some(bytes)
    }
}

/// Cuts at the first separator. An empty one is never found.
fn split_once<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    if separator.is_empty() {
        return None;
    }
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(properties: &str, lines: &[&str], expected: &Expect) {
        let pairs: Vec<_> = properties.split(' ').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        let mut reader = LineReader::from(&mut Properties::gather(None, &pairs).unwrap());
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map_or_else(|| "null".to_owned(), |bytes| format!("{:?}", String::from_utf8_lossy(bytes)))
        };
        let shown = lines.iter().map(|line| match reader.record(line.as_bytes()) {
            Ok(record) => {
                let headers = record.headers.iter();
                let headers: String =
                    headers.map(|(key, value)| format!("{}={} ", String::from_utf8_lossy(key), text(value))).collect();
                format!("{headers}{} {}\n", text(&record.key), text(&record.value))
            }
            Err(message) => format!("{message}\n"),
        });
        expected.assert_eq(&shown.collect::<String>());
    }

    #[test]
    fn a_line_is_a_value_unless_more_is_asked_for() {
        check(
            "",
            &["v", "", "k\tv"],
            &expect![[r#"
            null "v"
            null ""
            null "k\tv"
        "#]],
        );
        check(
            "parse.key=true",
            &["k\tv", "k\tv\tw", "\t", "none"],
            &expect![[r#"
            "k" "v"
            "k" "v\tw"
            "" ""
            No key separator found on line number 4: 'none'
        "#]],
        );
        check(
            "parse.headers=true",
            &["a:b\tv", "a:b,c:d:e\tk\tv", "a\tv", "\tv", "none"],
            &expect![[r#"
            a="b" null "v"
            a="b" c="d:e" null "k\tv"
            No header key separator found in pair 'a' on line number 3
            No header key separator found in pair '' on line number 4
            No headers delimiter found on line number 5: 'none'
        "#]],
        );
        check(
            "parse.headers=true parse.key=true",
            &["a:b\tk\tv", "a:b\tv"],
            &expect![[r#"
            a="b" "k" "v"
            No key separator found on line number 2: 'a:b	v'
        "#]],
        );
    }

    #[test]
    fn separators_are_what_one_likes() {
        check(
            "parse.key=true key.separator=::",
            &["k::v::w", "k:v"],
            &expect![[r#"
            "k" "v::w"
            No key separator found on line number 2: 'k:v'
        "#]],
        );
        check(
            "parse.headers=true headers.delimiter=| headers.separator=; headers.key.separator==",
            &["a=b;c=d|v"],
            &expect![[r#"
                a="b" c="d" null "v"
            "#]],
        );
    }

    #[test]
    fn the_null_marker_is_null_everywhere_but_as_a_headers_key() {
        check(
            "parse.headers=true parse.key=true null.marker=N",
            &["a:N\tN\tN", "N\tk\tv", "N:a\tk\tv", "a:b\tk\t"],
            &expect![[r#"
                a=null null null
                "k" "v"
                Header keys should not be equal to the null marker in pair 'N:a' on line number 3
                a="b" "k" ""
            "#]],
        );
    }

    #[test]
    fn errors_can_be_ignored() {
        check(
            "parse.headers=true parse.key=true ignore.error=true",
            &["v", "k\tv", "a:b\tk\tv", "a\tk\tv"],
            &expect![[r#"
                null "v"
                k=null null "v"
                a="b" "k" "v"
                a=null "k" "v"
            "#]],
        );
    }
}
