//! Whether a regular expression is one that a broker takes in a subscription: of the kind that RE2/J knows, which Kafka's brokers
//! and its tool use. Only the grammar: nothing is matched here.
//!
//! ```text
//!   x* x+ x? x{2,5}        once each, maybe lazy; of what is before them in the same branch
//!   (x) (?:x) (?i-m:x)     groups; (?i) sets a flag for the rest; (?P<name>x) and (?<name>x) have names
//!   [a-z\d[:alpha:]]       classes
//!   \d \pN \p{Greek}       classes that are known
//!   \Qx*\E                 as it stands
//! ```

use std::collections::BTreeSet;

/// No part is repeated more often.
const REPEAT_MAX: u32 = 1000;
/// Numbers with more digits are not read.
const REPEAT_DIGITS_MAX: usize = 8;

/// The general categories of Unicode that have a class, and the scripts, as of Unicode 6.0.
const UNICODE_CLASSES: &str = "Any C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl \
    Zp Zs Arabic Armenian Avestan Balinese Bamum Batak Bengali Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian \
    Cham Cherokee Common Coptic Cuneiform Cypriot Cyrillic Deseret Devanagari Egyptian_Hieroglyphs Ethiopic Georgian Glagolitic \
    Gothic Greek Gujarati Gurmukhi Han Hangul Hanunoo Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi \
    Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer Lao Latin Lepcha Limbu Linear_B Lisu Lycian \
    Lydian Malayalam Mandaic Meetei_Mayek Mongolian Myanmar New_Tai_Lue Nko Ogham Ol_Chiki Old_Italic Old_Persian \
    Old_South_Arabian Old_Turkic Oriya Osmanya Phags_Pa Phoenician Rejang Runic Samaritan Saurashtra Shavian Sinhala Sundanese \
    Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Tamil Telugu Thaana Thai Tibetan Tifinagh Ugaritic Vai Yi";
const POSIX_CLASSES: &str = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit";

/// What is wrong, in RE2/J's words.
type Checked = Result<(), &'static str>;

const INVALID_CLASS: &str = "invalid character class range";
const INVALID_ESCAPE: &str = "invalid escape sequence";
const INVALID_NAME: &str = "invalid named capture";
const INVALID_FLAGS: &str = "invalid or unsupported Perl syntax";
const MISSING_OPERAND: &str = "missing argument to repetition operator";

/// Checks an expression.
///
/// # Errors
/// What is wrong with it, in the words of RE2/J.
pub fn check(expression: &str) -> Checked {
    Expression { rest: expression, branches: vec![Branch::default()], names: BTreeSet::new() }.check()
}

/// What is left of an expression, and where in it that is.
struct Expression<'e> {
    rest: &'e str,
    /// The branch of each group that is open; the whole expression is the first.
    branches: Vec<Branch>,
    names: BTreeSet<&'e str>,
}

/// What is before the next operator in its branch.
#[derive(Clone, Copy, Default)]
struct Branch {
    has_operand: bool,
}

impl<'e> Expression<'e> {
    fn check(mut self) -> Checked {
        let mut after_repetition = false;
        while let Some(first) = self.rest.chars().next() {
            let mut is_repetition = false;
            match first {
                '*' | '+' | '?' => {
                    self.skip(1);
                    is_repetition = true;
                }
                '{' => match self.counts()? {
                    true => is_repetition = true,
                    false => self.literal(first),
                },
                '(' if self.rest.starts_with("(?") => self.special_group()?,
                '(' => {
                    self.skip(1);
                    self.branches.push(Branch::default());
                }
                ')' => {
                    self.skip(1);
                    self.branches.pop();
                    self.branches.last_mut().ok_or("regexp/syntax: internal error")?.has_operand = true;
                }
                '|' => {
                    self.skip(1);
                    self.branch().has_operand = false;
                }
                '[' => {
                    self.class()?;
                    self.branch().has_operand = true;
                }
                '\\' => self.escape()?,
                _ => self.literal(first),
            }
            if is_repetition {
                self.take_if("?");
                if after_repetition {
                    return Err("invalid nested repetition operator");
                }
                if !self.branch().has_operand {
                    return Err(MISSING_OPERAND);
                }
            }
            after_repetition = is_repetition;
        }
        if self.branches.len() == 1 { Ok(()) } else { Err("missing closing )") }
    }

    fn branch(&mut self) -> &mut Branch {
        self.branches.last_mut().expect("closing the first is refused")
    }

    fn literal(&mut self, character: char) {
        self.skip(character.len_utf8());
        self.branch().has_operand = true;
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn take_if(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take_char(&mut self) -> Option<char> {
        let first = self.rest.chars().next()?;
        self.skip(first.len_utf8());
        Some(first)
    }

    /// What is before `end`, which is taken too.
    fn take_until(&mut self, end: &str) -> Option<&'e str> {
        let (taken, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes `{2}`, `{2,}` or `{2,5}`; what looks otherwise is text.
    fn counts(&mut self) -> Result<bool, &'static str> {
        let Some((inner, rest)) = self.rest[1..].split_once('}') else { return Ok(false) };
        let (least, most) = inner.split_once(',').map_or((inner, Some(inner)), |(least, most)| (least, Some(most)));
        let most = most.filter(|most| !(most.is_empty() && inner.ends_with(',')));
        if !is_number(least) || most.is_some_and(|most| !is_number(most)) {
            return Ok(false);
        }
        self.rest = rest;
        let value = |digits: &str| digits.parse::<u32>().ok().filter(|_| digits.len() <= REPEAT_DIGITS_MAX);
        let most = most.map_or(Some(REPEAT_MAX), value);
        match (value(least), most) {
            (Some(least), Some(most)) if least <= most && most <= REPEAT_MAX => Ok(true),
            _ => Err("invalid repeat count"),
        }
    }

    /// A group with a name, with flags or without a number; or flags for the rest of the group.
    fn special_group(&mut self) -> Checked {
        if self.take_if("(?P<") || self.take_if("(?<") {
            let name = self.take_until(">").ok_or(INVALID_NAME)?;
            let is_letter = |character: char| character == '_' || character.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(is_letter) {
                return Err(INVALID_NAME);
            }
            self.branches.push(Branch::default());
            return if self.names.insert(name) { Ok(()) } else { Err("duplicate capture group name") };
        }
        self.skip(2);
        let (mut is_negated, mut has_flag) = (false, false);
        loop {
            match self.take_char() {
                Some('i' | 'm' | 's' | 'U') => has_flag = true,
                Some('-') if !is_negated => (is_negated, has_flag) = (true, false),
                Some(end @ (':' | ')')) if has_flag || !is_negated => {
                    if end == ':' {
                        self.branches.push(Branch::default());
                    }
                    return Ok(());
                }
                _ => return Err(INVALID_FLAGS),
            }
        }
    }

    /// What begins with a backslash, outside of a class.
    fn escape(&mut self) -> Checked {
        if self.take_if("\\Q") {
            let quoted = self.take_until("\\E").unwrap_or_else(|| std::mem::take(&mut self.rest));
            self.branch().has_operand |= !quoted.is_empty();
            return Ok(());
        }
        if self.rest.starts_with("\\C") {
            return Err(INVALID_ESCAPE);
        }
        let is_assertion = ["\\A", "\\b", "\\B", "\\z"].iter().any(|assertion| self.take_if(assertion));
        if !is_assertion && !self.known_class()? {
            self.character()?;
        }
        self.branch().has_operand = true;
        Ok(())
    }

    /// Takes a class that has a letter or a name, such as `\d` or `\p{Greek}`.
    fn known_class(&mut self) -> Result<bool, &'static str> {
        if self.take_if("\\p") || self.take_if("\\P") {
            let name = match self.take_char() {
                Some('{') => self.take_until("}").ok_or(INVALID_CLASS)?.to_owned(),
                Some(letter) => letter.to_string(),
                None => return Err(INVALID_CLASS),
            };
            let name = name.strip_prefix('^').unwrap_or(&name);
            let is_known = UNICODE_CLASSES.split_whitespace().any(|known| known == name);
            return if is_known { Ok(true) } else { Err(INVALID_CLASS) };
        }
        Ok(["\\d", "\\D", "\\s", "\\S", "\\w", "\\W"].iter().any(|class| self.take_if(class)))
    }

    /// Takes a character that is written with a backslash.
    fn character(&mut self) -> Result<char, &'static str> {
        self.skip(1);
        let escaped = self.take_char().ok_or("trailing backslash at end of expression")?;
        let code = match escaped {
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'x' => self.hexadecimal().ok_or(INVALID_ESCAPE)?,
            // A single digit refers back to a group, which there is not here.
            '1'..='7' if !self.rest.starts_with(|next| matches!(next, '0'..='7')) => return Err(INVALID_ESCAPE),
            '0'..='7' => {
                let mut code = escaped.to_digit(8).expect("it is between 0 and 7");
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(8)) else { break };
                    self.skip(1);
                    code = code * 8 + digit;
                }
                code
            }
            other if !other.is_ascii_alphanumeric() => u32::from(other),
            _ => return Err(INVALID_ESCAPE),
        };
        // Halves of characters are less than all that come after them, as these are.
        Ok(char::from_u32(code).unwrap_or('\u{d7ff}'))
    }

    /// Two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        if self.take_if("{") {
            let digits = self.take_until("}")?;
            if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            // More zeros in front than fit into a number change nothing.
            let code = u32::from_str_radix(&format!("0{}", digits.trim_start_matches('0')), 16);
            return code.ok().filter(|code| *code <= u32::from(char::MAX));
        }
        let high = self.take_char()?.to_digit(16);
        let low = self.take_char()?.to_digit(16);
        Some(high? * 16 + low?)
    }

    /// A class in brackets.
    fn class(&mut self) -> Checked {
        self.skip(1);
        self.take_if("^");
        let mut is_first = true;
        // A bracket that comes first is one of its characters.
        while is_first || !self.take_if("]") {
            is_first = false;
            if self.rest.starts_with("[:")
                && let Some((name, rest)) = self.rest[1..].split_once(":]")
            {
                let name = name.strip_prefix(':').ok_or(INVALID_CLASS)?;
                let name = name.strip_prefix('^').unwrap_or(name);
                if !POSIX_CLASSES.split_whitespace().any(|known| known == name) {
                    return Err(INVALID_CLASS);
                }
                self.rest = rest;
                continue;
            }
            if self.known_class()? {
                continue;
            }
            let low = self.class_character()?;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.skip(1);
                if self.class_character()? < low {
                    return Err(INVALID_CLASS);
                }
            }
        }
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, &'static str> {
        if self.rest.starts_with('\\') {
            return self.character();
        }
        self.take_char().ok_or("missing closing ]")
    }
}

/// Whether it is a number, as they are written in repetitions: without zeros in front.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_re2j_takes_is_valid() {
        let valid = [
            "",
            "a",
            "orders-.*",
            "a|b|",
            "(a)(b)",
            "(?:a)",
            "(?i)a",
            "(?i-s:a)",
            "(?)",
            "(?P<n>a)(?<m>b)",
            "a*?b+?c??",
            "a{2}",
            "a{0,1000}",
            "a{2,}?",
            "a{",
            "a{,2}",
            "a{x}",
            "a{01}",
            "^*",
            "()*",
            "\\b+",
            "[a]",
            "[]a]",
            "[^]a]",
            "[a-]",
            "[-a]",
            "[[:alpha:][:^digit:]]",
            "[[:a]",
            "[\\d\\pN-]",
            "\\pN",
            "\\p{L}+",
            "\\P{^Greek}",
            "\\p{Any}",
            "\\Qa.b\\E*",
            "\\Q(",
            "\\.\\_\\-",
            "\\012",
            "\\07",
            "\\x41",
            "\\x{1F600}",
            "\\a\\f\\n\\r\\t\\v",
            "\\A\\z\\B",
            "]",
            "}",
            "ü*",
            "\\ü",
            "a(?i)*",
            "[\\x00-\\x{10ffff}]",
            "[a-z-9]",
        ];
        let refused: Vec<_> = valid.into_iter().filter(|expression| check(expression).is_err()).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }

    #[test]
    fn what_it_refuses_is_refused_in_its_words() {
        let invalid = [
            ("(", "missing closing )"),
            ("(a|(b)", "missing closing )"),
            (")", "regexp/syntax: internal error"),
            ("*", MISSING_OPERAND),
            ("a|*", MISSING_OPERAND),
            ("(*)", MISSING_OPERAND),
            ("\\Q\\E*", MISSING_OPERAND),
            ("(?i)*", MISSING_OPERAND),
            ("{2}", MISSING_OPERAND),
            ("a**", "invalid nested repetition operator"),
            ("a*??", "invalid nested repetition operator"),
            ("a{2}{3}", "invalid nested repetition operator"),
            ("a{1001}", "invalid repeat count"),
            ("a{2,1}", "invalid repeat count"),
            ("a{1001,}", "invalid repeat count"),
            ("a{999999999}", "invalid repeat count"),
            ("[", "missing closing ]"),
            ("[]", "missing closing ]"),
            ("[^]", "missing closing ]"),
            ("[z-a]", INVALID_CLASS),
            ("[[:nope:]]", INVALID_CLASS),
            ("[[:]", INVALID_CLASS),
            ("[a-\\d]", INVALID_ESCAPE),
            ("\\p{Nope}", INVALID_CLASS),
            ("\\p{L", INVALID_CLASS),
            ("\\p", INVALID_CLASS),
            ("\\", "trailing backslash at end of expression"),
            ("[\\", "trailing backslash at end of expression"),
            ("\\C", INVALID_ESCAPE),
            ("\\1", INVALID_ESCAPE),
            ("\\8", INVALID_ESCAPE),
            ("\\q", INVALID_ESCAPE),
            ("\\x", INVALID_ESCAPE),
            ("\\xg0", INVALID_ESCAPE),
            ("\\x{}", INVALID_ESCAPE),
            ("\\x{110000}", INVALID_ESCAPE),
            ("\\x{12", INVALID_ESCAPE),
            ("(?P<n>a)(?P<n>b)", "duplicate capture group name"),
            ("(?P<>a)", INVALID_NAME),
            ("(?P<n", INVALID_NAME),
            ("(?<=a)", INVALID_NAME),
            ("(?=a)", INVALID_FLAGS),
            ("(?-)", INVALID_FLAGS),
            ("(?i--m)", INVALID_FLAGS),
            ("(?", INVALID_FLAGS),
        ];
        for (expression, expected) in invalid {
            assert_eq!(check(expression), Err(expected), "{expression}");
        }
    }
}
