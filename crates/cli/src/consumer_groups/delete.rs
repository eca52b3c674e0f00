//! Deletes groups, and the offsets that a group has for topics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_base::TopicPartition;
use ottla_protocol::ErrorCode;

use super::reset::read_topic_partitions;
use super::{Arguments, Failure, say_error, wanted_groups};
use crate::client::{Cluster, Error, Topics, exception, group_offsets, groups};
use crate::java_order::{DEFAULT_CAPACITY, hash_code, sort_as_in_java};
use crate::screen::Screen;

/// The topic's column is at least so wide.
const TOPIC_WIDTH: usize = 15;

/// What became of the offsets of a partition, or of a whole topic.
pub type Outcome = ((String, Option<i32>), Result<(), Error>);

/// `--delete`
pub fn delete_groups(cluster: &mut Cluster, arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    let wanted = wanted_groups(cluster, arguments)?;
    let deleted = groups::delete(cluster, &wanted).map_err(|error| Failure::awaited(&error))?;
    show_deleted(deleted, screen);
    Ok(())
}

/// Says what became of groups.
pub fn show_deleted(deleted: BTreeMap<String, Result<(), Error>>, screen: &mut Screen) {
    let mut deleted: Vec<_> = deleted.into_iter().collect();
    sort_as_in_java(&mut deleted, DEFAULT_CAPACITY, |(group, _)| hash_code(group));
    let gone: Vec<String> =
        deleted.iter().filter(|(_, done)| done.is_ok()).map(|(group, _)| format!("'{group}'")).collect();
    let gone = gone.join(", ");
    if deleted.iter().all(|(_, done)| done.is_ok()) {
        screen.say(format!("Deletion of requested consumer groups ({gone}) was successful."));
        return;
    }
    say_error(screen, "Deletion of some consumer groups failed:");
    for (group, done) in &deleted {
        if let Err(error) = done {
            screen.say(format!("* Group '{group}' could not be deleted due to: {}", error.exception()));
        }
    }
    if !gone.is_empty() {
        screen.say(format!("\nThese consumer groups were deleted successfully: {gone}"));
    }
}

fn only_group(arguments: &Arguments) -> Result<&String, Failure> {
    let [group] = &arguments.group[..] else {
        let message = "Found multiple arguments for option group, but you asked for only one".to_owned();
        let trace = format!("joptsimple.MultipleArgumentsForOptionException: {message}");
        return Err(Failure::Failed { message, trace });
    };
    Ok(group)
}

/// `--delete-offsets`
pub fn delete_offsets(cluster: &mut Cluster, arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    let group = only_group(arguments)?;
    let (partitions, mut outcomes) = partitions_of(cluster, &arguments.topic)?;
    let answered = groups::on_coordinators(cluster, std::slice::from_ref(group), |connection, _, _| {
        let answer = match group_offsets::delete(connection, group, &partitions) {
            Err(error @ Error::Refused { .. }) => Err(error),
            answer => Ok(answer?),
        };
        Ok(BTreeMap::from([(group.clone(), answer)]))
    });
    let answered = answered.map_err(|error| Failure::awaited(&error))?;
    let mut problem = None;
    match answered.into_values().next() {
        Some(Ok(deleted)) => {
            for (of, done) in deleted {
                problem = problem.or(done.as_ref().err().and_then(Error::code));
                outcomes.push(((of.topic, Some(of.partition.0)), done));
            }
        }
        Some(Err(Error::Refused { code, message })) => {
            problem = Some(code);
            outcomes.extend(partitions.into_iter().map(|of| {
                let message = message.clone();
                ((of.topic, Some(of.partition.0)), Err(Error::Refused { code, message }))
            }));
        }
        Some(Err(error)) => return Err(Failure::awaited(&error)),
        None => {}
    }
    show_deleted_offsets(group, problem, outcomes, screen);
    Ok(())
}

/// Says that no broker could be asked: of topics in `call`, which Kafka's tool does for those that are named without partitions.
pub fn show_no_offsets_deleted(arguments: &Arguments, call: &'static str, screen: &mut Screen) -> Result<(), Failure> {
    const DELETE: &str = "offsetDelete(api=FIND_COORDINATOR)";
    let group = only_group(arguments)?;
    let mut outcomes = Vec::new();
    for topic in &arguments.topic {
        if topic.contains(':') {
            let partitions = read_topic_partitions(topic).map_err(Failure::Usage)?.into_iter();
            outcomes
                .extend(partitions.map(|of| ((of.topic, Some(of.partition.0)), Err(Error::NoNode { call: DELETE }))));
        } else {
            outcomes.push(((topic.clone(), None), Err(Error::NoNode { call })));
        }
    }
    show_deleted_offsets(group, Some(ErrorCode::RequestTimedOut), outcomes, screen);
    Ok(())
}

/// The partitions that are meant, and what to say of topics that are not there.
fn partitions_of(cluster: &mut Cluster, topics: &[String]) -> Result<(Vec<TopicPartition>, Vec<Outcome>), Failure> {
    let mut partitions = BTreeSet::new();
    let mut outcomes = Vec::new();
    let (with_partitions, whole): (Vec<_>, Vec<_>) = topics.iter().partition(|topic| topic.contains(':'));
    for topic in with_partitions {
        partitions.extend(read_topic_partitions(topic).map_err(Failure::Usage)?);
    }
    let names: BTreeSet<&str> = whole.iter().map(|topic| topic.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if !names.is_empty() {
        let topics = cluster.topics(Topics::Named { names: &names, create: false });
        for topic in topics.map_err(|error| Failure::awaited(&error))? {
            match topic.error {
                ErrorCode::None => partitions.extend(
                    topic.partitions.iter().map(|partition| TopicPartition::new(topic.name.as_str(), partition.index)),
                ),
                code => outcomes.push(((topic.name, None), Err(Error::of_code(code.code(), None)))),
            }
        }
    }
    Ok((partitions.into_iter().collect(), outcomes))
}

/// Says what became of offsets. `problem` is the first error of the group or of one of its partitions.
pub fn show_deleted_offsets(group: &str, problem: Option<ErrorCode>, outcomes: Vec<Outcome>, screen: &mut Screen) {
    match problem {
        None => screen.say(format!("Request succeeded for deleting offsets from group {group}.")),
        Some(
            code @ (ErrorCode::InvalidGroupId
            | ErrorCode::GroupIdNotFound
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::NonEmptyGroup),
        ) => say_error(screen, exception::message(code)),
        Some(
            ErrorCode::GroupSubscribedToTopic
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::UnknownTopicOrPartition,
        ) => say_error(screen, "Encountered some partition-level error, see the follow-up details."),
        Some(code) => say_error(screen, &format!("Encountered some unknown error: {}", code.name())),
    }
    let topic_width = outcomes.iter().map(|((topic, _), _)| topic.chars().count()).max().unwrap_or(0).max(TOPIC_WIDTH);
    let mut line = |topic: &str, partition: &str, status: &str| {
        screen.out += &format!("\n{topic:<topic_width$} {partition:<10} {status:<15}");
    };
    line("TOPIC", "PARTITION", "STATUS");
    let mut outcomes = outcomes;
    outcomes.sort_by_key(|((topic, partition), _)| format!("{topic}{}", partition.unwrap_or(-1)));
    for ((topic, partition), done) in &outcomes {
        let partition = partition.map_or_else(|| "-".to_owned(), |partition| partition.to_string());
        let status = match done {
            Ok(()) => "Successful".to_owned(),
            Err(error) => format!("Error: {}", error.exception()),
        };
        line(topic, &partition, &status);
    }
    screen.out.push('\n');
}
