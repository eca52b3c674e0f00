//! What two transcripts of one conversation do not have in common.

use super::Conversation;

/// Where Ottla is meant to answer otherwise: the conversation, how the exchange begins, and why. What it says there is in
/// `transcripts/meant.differences`.
pub const DIFFERENT: &[(&str, &str, &str)] = &[
    ("create-topics-configs", "CreateTopics v7, spaces around", "a value is shown as it is understood"),
    ("metadata", "Metadata v12, by neither", NO_ACCIDENT),
    ("metadata", "Metadata v13, by neither", NO_ACCIDENT),
    ("dynamic-configs", "IncrementalAlterConfigs v1, listeners, of \"1\"", "the listeners stay as they are"),
    ("dynamic-configs", "IncrementalAlterConfigs v1, a value that is too long", NO_ACCIDENT),
    ("dynamic-configs", "IncrementalAlterConfigs v1, no cleaner threads", NO_ACCIDENT),
    ("dynamic-configs", "IncrementalAlterConfigs v1, connections from an address alone", "Kafka gives no reason"),
    (
        "client-metrics-configs",
        "DescribeConfigs v4, \"subscription\" after: a match of spaces",
        "a value is shown as it was set",
    ),
    ("unserved-coordinators", "FindCoordinator", "there are no coordinators of transactions and share groups"),
    ("offset-for-leader-epoch", "OffsetForLeaderEpoch v2, epoch -2", "there are no such epochs"),
    ("offset-for-leader-epoch", "OffsetForLeaderEpoch v3, epoch -2", "there are no such epochs"),
    ("offset-for-leader-epoch", "OffsetForLeaderEpoch v4, epoch -2", "there are no such epochs"),
];

/// Kafka's handler throws there, and answers UNKNOWN_SERVER_ERROR.
const NO_ACCIDENT: &str = "Kafka fails on it by accident";
/// Where Kafka says nothing of what was wrong with a batch, Ottla may.
const NO_MESSAGE: &str = "error_message: None";
const MESSAGE: &str = "error_message: Some(";

/// So many words are shown on each side of a difference.
const WORDS_AROUND: usize = 6;

/// What was asked, and the lines of the answer.
struct Exchange<'t> {
    asked: &'t str,
    answer: Vec<&'t str>,
}

impl Conversation {
    /// The differences between Kafka's transcript and Ottla's, each with what was asked; none where all is as it should be.
    pub fn differences(&self, kafka: &str, ottla: &str) -> Vec<String> {
        let (kafka, ottla) = (exchanges(kafka), exchanges(ottla));
        if kafka.len() != ottla.len() || kafka.iter().zip(&ottla).any(|(kafka, ottla)| kafka.asked != ottla.asked) {
            return vec![format!("{}: not the same questions; the transcript is to be recorded anew", self.name)];
        }
        let pairs = kafka.iter().zip(&ottla);
        pairs.filter_map(|(kafka, ottla)| self.difference(kafka, ottla)).collect()
    }

    /// What Ottla said where it is meant to answer otherwise than Kafka, each with what was asked.
    pub fn meant_differences(&self, ottla: &str) -> String {
        let meant = exchanges(ottla).into_iter().filter(|exchange| self.meant(exchange.asked).is_some());
        meant.map(|exchange| format!("{}: {}\n{}\n", self.name, exchange.asked, exchange.answer.join("\n"))).collect()
    }

    /// Why Ottla is meant to answer this otherwise.
    fn meant(&self, asked: &str) -> Option<&'static str> {
        let meant = DIFFERENT.iter().find(|(name, begins, _)| *name == self.name && asked.starts_with(begins));
        meant.map(|(.., why)| *why)
    }

    fn difference(&self, kafka: &Exchange<'_>, ottla: &Exchange<'_>) -> Option<String> {
        let asked = kafka.asked;
        match (is_same(kafka, ottla), self.meant(asked)) {
            (true, None) | (false, Some(_)) => None,
            (true, Some(why)) => {
                Some(format!("{}: {asked}\n  is listed as different ({why}), but is not\n", self.name))
            }
            (false, None) => {
                let mut text = format!("{}: {asked}\n", self.name);
                for place in 0..kafka.answer.len().max(ottla.answer.len()) {
                    let line = |exchange: &Exchange<'_>| {
                        exchange.answer.get(place).map_or("nothing", |line| line.trim()).to_owned()
                    };
                    text += &apart(&line(kafka), &line(ottla));
                }
                Some(text)
            }
        }
    }
}

fn is_same(kafka: &Exchange<'_>, ottla: &Exchange<'_>) -> bool {
    let mut lines = kafka.answer.iter().zip(&ottla.answer);
    kafka.answer.len() == ottla.answer.len() && lines.all(|(kafka, ottla)| *kafka == without_new_messages(kafka, ottla))
}

/// Ottla's line, without the messages of which Kafka's has none at the same place.
fn without_new_messages(kafka: &str, ottla: &str) -> String {
    let mut out = String::new();
    let (mut kafka, mut ottla) = (kafka, ottla);
    while let (Some(in_kafka), Some(in_ottla)) = (kafka.find("error_message: "), ottla.find("error_message: ")) {
        out += &ottla[..in_ottla];
        (kafka, ottla) = (&kafka[in_kafka..], &ottla[in_ottla..]);
        let is_new = kafka.starts_with(NO_MESSAGE) && ottla.starts_with(MESSAGE);
        let end = if is_new { ottla.find("\")").map_or(ottla.len(), |end| end + 2) } else { MESSAGE.len() };
        out += if is_new { NO_MESSAGE } else { &ottla[..end.min(ottla.len())] };
        (kafka, ottla) = (&kafka[MESSAGE.len().min(kafka.len())..], &ottla[end.min(ottla.len())..]);
    }
    out + ottla
}

fn exchanges(transcript: &str) -> Vec<Exchange<'_>> {
    let mut exchanges: Vec<Exchange<'_>> = Vec::new();
    for line in transcript.lines() {
        match exchanges.last_mut() {
            Some(exchange) if line.starts_with(' ') => exchange.answer.push(line),
            _ => exchanges.push(Exchange { asked: line, answer: Vec::new() }),
        }
    }
    exchanges
}

/// Two lines, each as far as they differ, with a few words around that.
fn apart(kafka: &str, ottla: &str) -> String {
    let words = |line: &str| -> Vec<String> { line.split_inclusive(' ').map(str::to_owned).collect() };
    let (kafka, ottla) = (words(kafka), words(ottla));
    if kafka == ottla {
        return String::new();
    }
    let same = |pairs: &mut dyn Iterator<Item = (&String, &String)>| pairs.take_while(|(a, b)| a == b).count();
    let before = same(&mut kafka.iter().zip(&ottla));
    let longest = kafka.len().min(ottla.len()) - before;
    let after = same(&mut kafka.iter().rev().zip(ottla.iter().rev())).min(longest);
    let shown = |words: &[String]| {
        let (from, to) = (before.saturating_sub(WORDS_AROUND), (words.len() - after + WORDS_AROUND).min(words.len()));
        words[from..to].concat()
    };
    format!("  kafka: {}\n  ottla: {}\n", shown(&kafka), shown(&ottla))
}
