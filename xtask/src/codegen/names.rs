//! Kafka's names as Rust writes them.

/// `TopicPartitions` becomes `topic_partitions`; `V3AndBelow` becomes `v3_and_below`; `Enable2Pc` becomes `enable_2pc`;
/// `KRaft` is one word.
pub fn snake(name: &str) -> String {
    let name: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut snake = String::new();
    for (index, &c) in name.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| name[index]);
        let after = name.get(index + 1).copied();
        let starts = match before {
            None => false,
            Some(before) if c.is_ascii_digit() => before.is_ascii_lowercase(),
            Some(before) if c.is_ascii_uppercase() => {
                before.is_ascii_lowercase()
                    || (before.is_ascii_digit() && !is_number_of_lower(&name[..index]))
                    || (before.is_ascii_uppercase() && after.is_some_and(|after| after.is_ascii_lowercase()))
            }
            Some(_) => false,
        };
        if starts {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Whether a number stands at the end, behind a lower-case letter: it begins the next word instead of ending this one.
fn is_number_of_lower(name: &[char]) -> bool {
    name.iter().rev().find(|c| !c.is_ascii_digit()).is_some_and(char::is_ascii_lowercase)
}

/// The name of a field: snake case, and not a keyword.
pub fn field(name: &str) -> String {
    let snake = snake(name);
    if matches!(snake.as_str(), "type" | "match") { format!("r#{snake}") } else { snake }
}

/// The name of a struct: as it is, but Kafka writes some with a small letter.
pub fn structure(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_into_words() {
        for (kafka, rust) in [
            ("TopicPartitions", "topic_partitions"),
            ("timeoutMs", "timeout_ms"),
            ("V3AndBelowTransactionalId", "v3_and_below_transactional_id"),
            ("ResultsByTopicV3AndBelow", "results_by_topic_v3_and_below"),
            ("Enable2Pc", "enable_2pc"),
            ("KRaftVersionFeature", "kraft_version_feature"),
            ("ISRState", "isr_state"),
            ("Match", "r#match"),
        ] {
            assert_eq!(field(kafka), rust);
        }
    }
}
