//! What a topic may be called, and which topics are the cluster's own.
//!
//! Two names that differ only in `.` and `_` collide: Kafka's metrics print both as `_`, so the second of them is
//! refused. [`collision_key`] folds a name to what collides.

use std::borrow::Cow;

/// The longest name: it must fit a directory called `<topic>-<partition>`, or `<topic>-<partition>.<id>-delete`.
pub const MAX_TOPIC_NAME_LENGTH: usize = 249;

/// The topic of the metadata log itself. Nobody may create it.
pub const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";
/// Where group coordinators keep groups and offsets.
pub const GROUP_METADATA_TOPIC: &str = "__consumer_offsets";
/// Where transaction coordinators keep transactions.
pub const TRANSACTION_STATE_TOPIC: &str = "__transaction_state";
/// Where share coordinators keep share-partitions (KIP-932).
pub const SHARE_GROUP_STATE_TOPIC: &str = "__share_group_state";

/// Whether Metadata answers `is_internal` for this topic and Produce refuses it to ordinary clients. Other names that
/// begin with two underscores are ordinary.
pub fn is_internal(topic: &str) -> bool {
    matches!(topic, GROUP_METADATA_TOPIC | TRANSACTION_STATE_TOPIC | SHARE_GROUP_STATE_TOPIC)
}

/// Checks a topic's name; the error is Kafka's text for INVALID_TOPIC_EXCEPTION.
pub fn validate(topic: &str) -> Result<(), String> {
    let because = match topic {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{topic}' is not allowed"),
        _ if topic.chars().count() > MAX_TOPIC_NAME_LENGTH => {
            format!("the length of '{topic}' is longer than the max allowed length {MAX_TOPIC_NAME_LENGTH}")
        }
        _ if !topic.bytes().all(is_allowed) => {
            format!("'{topic}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {because}"))
}

/// The name with every `.` as `_`: equal for names that collide.
pub fn collision_key(topic: &str) -> Cow<'_, str> {
    if topic.contains('.') { Cow::Owned(topic.replace('.', "_")) } else { Cow::Borrowed(topic) }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn names_are_refused_in_kafkas_words() {
        let names = ["", ".", "..", "x y", "caf\u{e9}", "a/b", "web-log_1.v2", "...", "__cluster_metadata"];
        let answers: String = names.iter().map(|name| format!("{name:?}: {:?}\n", validate(name))).collect();
        expect![[r#"
            "": Err("Topic name is invalid: the empty string is not allowed")
            ".": Err("Topic name is invalid: '.' is not allowed")
            "..": Err("Topic name is invalid: '..' is not allowed")
            "x y": Err("Topic name is invalid: 'x y' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
            "café": Err("Topic name is invalid: 'café' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
            "a/b": Err("Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
            "web-log_1.v2": Ok(())
            "...": Ok(())
            "__cluster_metadata": Ok(())
        "#]]
        .assert_eq(&answers);
    }

    #[test]
    fn the_longest_name_has_249_characters() {
        assert_eq!(validate(&"x".repeat(249)), Ok(()));
        let refused = validate(&"x".repeat(250)).expect_err("one too many");
        assert!(refused.ends_with("xxx' is longer than the max allowed length 249"), "{refused}");
    }

    #[test]
    fn a_dot_and_an_underscore_collide() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a-b"), collision_key("a_b"));
    }

    #[test]
    fn three_topics_are_internal() {
        assert!(is_internal("__consumer_offsets"));
        assert!(!is_internal("__consumer_offsets2"));
        assert!(!is_internal("__cluster_metadata"));
    }
}
