//! The CSV that `--export` prints and `--from-file` reads: `topic,partition,offset`, or `group,topic,partition,offset` for more
//! than one group. There is no header.

use ottla_base::TopicPartition;

/// Kafka's writer puts texts that are longer in quotes, without looking at them.
const LONGEST_UNQUOTED: usize = 24;
/// It also does so for texts with any character below this one, among them the separators.
const FIRST_UNQUOTED: char = '-';

/// A new offset for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The group, where the line names it.
    pub group: Option<String>,
    /// The partition.
    pub partition: TopicPartition,
    /// The offset.
    pub offset: i64,
}

/// One line, with its end.
pub fn write(record: &Record) -> String {
    let group = record.group.as_ref().map_or_else(String::new, |group| quoted(group) + ",");
    let TopicPartition { topic, partition } = &record.partition;
    format!("{group}{},{partition},{}\n", quoted(topic), record.offset)
}

fn quoted(text: &str) -> String {
    if text.chars().count() > LONGEST_UNQUOTED || text.chars().any(|character| character < FIRST_UNQUOTED) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Reads a whole file. Whether lines name their group is decided by the first of them.
///
/// # Errors
/// A line is something else; the message says which.
pub fn read(text: &str) -> Result<Vec<Record>, String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let has_group = lines.first().is_some_and(|line| fields(line).is_some_and(|fields| fields.len() == 4));
    let read = |(number, line): (usize, &&str)| {
        read_line(line, has_group).ok_or_else(|| {
            let expected = if has_group { "group,topic,partition,offset" } else { "topic,partition,offset" };
            format!("line {} is not {expected}: {line}", number + 1)
        })
    };
    lines.iter().enumerate().map(read).collect()
}

fn read_line(line: &str, has_group: bool) -> Option<Record> {
    let mut fields = fields(line)?.into_iter();
    let group = if has_group { Some(fields.next()?) } else { None };
    let (topic, partition, offset) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let partition = TopicPartition::new(topic, partition.trim().parse().ok()?);
    Some(Record { group, partition, offset: offset.trim().parse().ok()? })
}

fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line.trim_end_matches('\r');
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(fields),
        }
    }
}

/// The text up to the closing quote, and what is behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(group: Option<&str>, topic: &str, partition: i32, offset: i64) -> Record {
        Record { group: group.map(str::to_owned), partition: TopicPartition::new(topic, partition), offset }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (records, text) in [
            (vec![record(None, "t", 0, 5), record(None, "u.v-w_x", 12, 0)], "t,0,5\nu.v-w_x,12,0\n"),
            (vec![record(Some("a,\"b\""), "t", 0, 5)], "\"a,\"\"b\"\"\",t,0,5\n"),
            (vec![record(Some("g"), "a-topic-of-twenty-5-chars", 0, 5)], "g,\"a-topic-of-twenty-5-chars\",0,5\n"),
        ] {
            assert_eq!(records.iter().map(write).collect::<String>(), text);
            assert_eq!(read(text), Ok(records));
        }
        assert_eq!(read("t,0,5\r\n\r\n"), Ok(vec![record(None, "t", 0, 5)]));
    }

    #[test]
    fn the_line_that_cannot_be_read_is_named() {
        assert_eq!(read("t,0,5\nt,x,5\n"), Err("line 2 is not topic,partition,offset: t,x,5".to_owned()));
        assert_eq!(read("g,t,0,5\nt,0,5\n"), Err("line 2 is not group,topic,partition,offset: t,0,5".to_owned()));
        assert_eq!(read("\"t,0,5\n"), Err("line 1 is not topic,partition,offset: \"t,0,5".to_owned()));
    }
}
