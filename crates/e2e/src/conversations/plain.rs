//! Takes out of a transcript what differs from one cluster to the next.
//!
//! ```text
//!   topic_id: Z8s1…       -> topic_id: <id 1>        the first one that came up, and the same wherever it comes up again
//!   producer_id: 4017     -> producer_id: <id 1>
//!   host: "…", port: 9092 -> host: <host>, port: <port>
//!   a-0b1c…-…             -> a-<uuid 1>              the end of a member's id, told apart in the same way
//!   1795254127123         -> <now>                   any time of after 2020
//! ```

/// Fields whose values are told apart, but not from cluster to cluster. Values of -1 and 0 have a meaning and stay.
const NAMED: &[&str] = &[
    "topic_id: ",
    "next_topic_id: ",
    "producer_id: ",
    "session_id: ",
    "directory_id: ",
    "client_instance_id: ",
    "subscription_id: ",
];
/// Fields whose values do not matter at all.
const LEFT_OUT: &[&str] = &["host: ", "port: ", "cluster_id: ", "finalized_features_epoch: ", "log_dir: "];
/// The length of a UUID with its dashes.
const UUID_LENGTH: usize = 36;
/// The id of nothing, which has a meaning.
const ZERO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
/// Larger numbers are times that a clock gave.
const CLOCKS_FROM: i64 = 1_600_000_000_000;

/// The transcript without them.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut known = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(field) = NAMED.iter().find(|field| begins_field(&plain, rest, field)) {
            let (value, after) = value_of(&rest[field.len()..]);
            plain.push_str(field);
            if matches!(value, "0" | "-1" | ZERO_ID) {
                plain.push_str(value);
            } else {
                let kind = field.trim_start_matches("next_");
                let place = known.iter().position(|seen| *seen == (kind, value)).unwrap_or_else(|| {
                    known.push((kind, value));
                    known.len() - 1
                });
                plain.push_str(&format!("<id {}>", place + 1));
            }
            rest = after;
        } else if let Some(field) = LEFT_OUT.iter().find(|field| begins_field(&plain, rest, field)) {
            plain.push_str(&format!("{field}<{}>", field.trim_end_matches(": ")));
            rest = value_of(&rest[field.len()..]).1;
        } else if let Some((value, after)) = rest.split_at_checked(UUID_LENGTH).filter(|(value, _)| is_uuid(value)) {
            let place = known.iter().position(|seen| *seen == ("uuid", value)).unwrap_or_else(|| {
                known.push(("uuid", value));
                known.len() - 1
            });
            plain.push_str(&format!("<uuid {}>", place + 1));
            rest = after;
        } else if rest.starts_with(|c: char| c.is_ascii_digit()) {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let is_now = rest[..end].parse::<i64>().is_ok_and(|number| number > CLOCKS_FROM && number < i64::MAX);
            plain.push_str(if is_now { "<now>" } else { &rest[..end] });
            rest = &rest[end..];
        } else {
            let end = rest.chars().next().map_or(0, char::len_utf8);
            plain.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    plain
}

/// Whether it is a UUID as Java prints it.
fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths = parts.iter().map(|part| part.len());
    lengths.eq([8, 4, 4, 4, 12]) && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn begins_field(before: &str, rest: &str, field: &str) -> bool {
    rest.starts_with(field) && before.ends_with([' ', '{'])
}

/// A value as `Debug` writes it, and what follows.
fn value_of(text: &str) -> (&str, &str) {
    let end = if let Some(quoted) = text.strip_prefix("Some(\"").or_else(|| text.strip_prefix('"')) {
        let prefix = text.len() - quoted.len();
        let end = prefix + quoted.find('"').map_or(quoted.len(), |end| end + 1);
        end + usize::from(text[end..].starts_with(')'))
    } else {
        text.find([',', ' ', '}', '\n']).unwrap_or(text.len())
    };
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_by_its_first_appearance() {
        let text = "A { topic_id: Zg1_-x, host: \"a, b\", port: 9092, cluster_id: Some(\"x\"), at: 1795254127123 }\n\
                    B { topic_id: other, next: [C { topic_id: Zg1_-x, producer_id: -1, session_id: 0 }], max: 9223372036854775807 }\n\
                    member_id: \"m-00000000-0001-0002-0003-0123456789ab\"";
        let expected = "A { topic_id: <id 1>, host: <host>, port: <port>, cluster_id: <cluster_id>, at: <now> }\n\
                        B { topic_id: <id 2>, next: [C { topic_id: <id 1>, producer_id: -1, session_id: 0 }], max: 9223372036854775807 }\n\
                        member_id: \"m-<uuid 3>\"";
        assert_eq!(plain(text), expected);
    }
}
