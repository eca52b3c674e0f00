//! Which topics a tool means: a regular expression over whole names, or a list of them with commas between.
//!
//! Differs from Kafka: Java's expressions know look-around and back references, these do not.

use regex_lite::Regex;

/// A choice of topics.
#[derive(Clone, Debug)]
pub struct TopicFilter(Regex);

impl TopicFilter {
    /// Reads what the user gave. Quotes around it and blanks in it do not count; a comma is as good as `|`.
    ///
    /// # Errors
    /// It is no regular expression; the message is Kafka's.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text: String = text.trim().chars().filter(|character| *character != ' ').collect();
        let text = text.replace(',', "|");
        let text = text.trim_matches(['"', '\'']);
        match Regex::new(&format!("^(?:{text})$")) {
            Ok(regex) => Ok(Self(regex)),
            Err(_) => Err(format!("{text} is an invalid regex.")),
        }
    }

    /// Whether the topic of this name is meant.
    pub fn allows(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: &str, topics: &[&str], expected: &[&str]) {
        let filter = TopicFilter::parse(filter).unwrap();
        let allowed: Vec<_> = topics.iter().copied().filter(|topic| filter.allows(topic)).collect();
        assert_eq!(allowed, expected);
    }

    #[test]
    fn an_expression_matches_whole_names() {
        check("t", &["t", "tt", "at"], &["t"]);
        check("t.*", &["t", "tt", "at"], &["t", "tt"]);
        check("a.b", &["a.b", "acb", "ab"], &["a.b", "acb"]);
        check(" 't, a' ", &["t", "a", "t,a"], &["t", "a"]);
        assert_eq!(TopicFilter::parse("[").unwrap_err(), "[ is an invalid regex.");
    }
}
