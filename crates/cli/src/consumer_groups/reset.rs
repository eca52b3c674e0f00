//! Changes the offsets of groups that have no members.
//!
//! ```text
//! groups -> is it inactive? -> which partitions -> which offsets -> within the log -> commit -> table or CSV
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::SystemTime;

use ottla_base::TopicPartition;
use ottla_protocol::ErrorCode;

use super::csv::{self, Record};
use super::{Arguments, Failure, say_error, wanted_groups};
use crate::client::group_offsets::{self, Committed, Committer, Offsets};
use crate::client::groups;
use crate::client::offsets::{self, EARLIEST, LATEST};
use crate::client::{Cluster, Error, TopicDescription, Topics};
use crate::java_order::{DEFAULT_CAPACITY, hash_code, hash_of_partition, sort_as_in_java};
use crate::java_time;
use crate::screen::Screen;

/// Said where neither `--dry-run` nor `--execute` is given.
pub const NOTHING_WILL_BE_DONE: &str = "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require \
     either --dry-run or --execute to be specified. You should add the --dry-run option explicitly if you are scripting \
     this command and want to keep the current default behavior without prompting.";
/// Columns that grow with their content are at least so wide.
const GROWING_WIDTH: usize = 15;

/// The new offsets of a group.
pub type Plan = Vec<(TopicPartition, i64)>;

/// `--reset-offsets`
pub fn reset(cluster: &mut Cluster, arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    let wanted = wanted_groups(cluster, arguments)?;
    let described = groups::describe(cluster, &wanted).map_err(|error| Failure::wrapped(&error))?;
    let mut described: Vec<_> = described.into_iter().collect();
    sort_as_in_java(&mut described, DEFAULT_CAPACITY, |(group, _)| hash_code(group));
    let mut plans = Vec::new();
    for (group, found) in described {
        let plan = match found {
            Ok(found) if !matches!(found.state.as_str(), "Empty" | "Dead") => {
                let state = found.state;
                let message = format!(
                    "Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
                );
                say_error(screen, &message);
                Plan::new()
            }
            Err(error) if error.code() != Some(ErrorCode::GroupIdNotFound) => return Err(Failure::wrapped(&error)),
            Ok(_) | Err(_) => reset_group(cluster, arguments, &group, screen)?,
        };
        plans.push((group, plan));
    }
    if arguments.export {
        export(&plans, arguments.group.len() == 1, screen);
    } else {
        show(&plans, screen);
    }
    Ok(())
}

fn reset_group(
    cluster: &mut Cluster,
    arguments: &Arguments,
    group: &str,
    screen: &mut Screen,
) -> Result<Plan, Failure> {
    let partitions = partitions_of(cluster, arguments, group)?;
    check_partitions(cluster, &partitions)?;
    let mut plan = plan(cluster, arguments, group, partitions, screen)?;
    sort_as_in_java(&mut plan, DEFAULT_CAPACITY, |(partition, _)| hash_of_partition(partition));
    if arguments.execute && !plan.is_empty() {
        commit(cluster, group, &plan)?;
    }
    Ok(plan)
}

/// The partitions that are meant.
fn partitions_of(cluster: &mut Cluster, arguments: &Arguments, group: &str) -> Result<Vec<TopicPartition>, Failure> {
    if arguments.all_topics {
        return Ok(committed(cluster, group)?.into_keys().collect());
    }
    if arguments.topic.is_empty() {
        if arguments.from_file.is_none() {
            let message = "One of the reset scopes should be defined: --all-topics, --topic.";
            return Err(Failure::Usage(message.to_owned()));
        }
        return Ok(Vec::new());
    }
    let (with_partitions, whole): (Vec<_>, Vec<_>) = arguments.topic.iter().partition(|topic| topic.contains(':'));
    let mut partitions = Vec::new();
    for topic in with_partitions {
        partitions.extend(read_topic_partitions(topic).map_err(Failure::Usage)?);
    }
    let names: Vec<&str> = whole.iter().map(|topic| topic.as_str()).collect();
    for topic in existing(cluster, &names).map_err(|error| Failure::direct(&error))? {
        partitions.extend(topic.partitions.iter().map(|of| TopicPartition::new(topic.name.as_str(), of.index)));
    }
    let mut seen = BTreeSet::new();
    partitions.retain(|partition| seen.insert(partition.clone()));
    Ok(partitions)
}

/// Reads `topic:0,1`. As in Java, nothing comes after the last colon or comma.
///
/// # Errors
/// It is something else; the message is Kafka's.
pub fn read_topic_partitions(text: &str) -> Result<Vec<TopicPartition>, String> {
    let parts: Vec<&str> = text.trim_end_matches(':').split(':').collect();
    let &[topic, partitions] = &parts[..] else {
        return Err(format!("Invalid topic arg '{text}', expected topic name and partitions"));
    };
    let read = |partition: &str| match partition.parse() {
        Ok(index) => Ok(TopicPartition::new(topic, index)),
        Err(_) => Err(format!("Invalid partition '{partition}' specified in topic arg '{text}''")),
    };
    partitions.trim_end_matches(',').split(',').map(read).collect()
}

/// Topics that must be there.
pub fn existing(cluster: &mut Cluster, names: &[&str]) -> Result<Vec<TopicDescription>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if names.contains(&"") {
        let message = "The given topic name '' cannot be represented in a request.".to_owned();
        return Err(Error::Refused { code: ErrorCode::InvalidTopicException, message });
    }
    let topics = cluster.topics(Topics::Named { names, create: false })?;
    match topics.iter().find(|topic| topic.error != ErrorCode::None) {
        Some(topic) => Err(Error::of_code(topic.error.code(), None)),
        None => Ok(topics),
    }
}

fn check_partitions(cluster: &mut Cluster, partitions: &[TopicPartition]) -> Result<(), Failure> {
    let names: BTreeSet<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let topics = existing(cluster, &names).map_err(|error| Failure::wrapped(&error))?;
    let find = |of: &TopicPartition| TopicDescription::of_name(&topics, &of.topic)?.partition(of.partition.0);
    let listed = |missing: &dyn Fn(&TopicPartition) -> bool| {
        let missing: Vec<String> = partitions.iter().filter(|of| missing(of)).map(ToString::to_string).collect();
        (!missing.is_empty()).then(|| missing.join(","))
    };
    let refuse = |code, message| Err(Failure::direct(&Error::Refused { code, message }));
    if let Some(missing) = listed(&|of| find(of).is_none()) {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("The partitions \"{missing}\" do not exist"));
    }
    if let Some(leaderless) = listed(&|of| find(of).is_some_and(|known| known.leader.is_none())) {
        return refuse(ErrorCode::LeaderNotAvailable, format!("The partitions \"{leaderless}\" have no leader"));
    }
    Ok(())
}

/// The new offsets.
fn plan(
    cluster: &mut Cluster,
    arguments: &Arguments,
    group: &str,
    partitions: Vec<TopicPartition>,
    screen: &mut Screen,
) -> Result<Plan, Failure> {
    if let Some(offset) = arguments.to_offset {
        let wanted = partitions.into_iter().map(|partition| (partition, offset)).collect();
        return within_logs(cluster, wanted, screen);
    }
    if arguments.to_earliest {
        return at(cluster, &partitions, EARLIEST);
    }
    if arguments.to_latest {
        return at(cluster, &partitions, LATEST);
    }
    if let Some(count) = arguments.shift_by {
        let committed = committed(cluster, group)?;
        let wanted = shifted(&committed, partitions, count)?;
        return within_logs(cluster, wanted, screen);
    }
    if let Some(text) = &arguments.to_datetime {
        let timestamp = java_time::read_datetime(text).map_err(Failure::runtime)?;
        return since(cluster, &partitions, timestamp, screen);
    }
    if let Some(text) = &arguments.by_duration {
        let now_ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis() as i64);
        let timestamp = java_time::before(now_ms, text)
            .map_err(|(class, message)| Failure::Failed { trace: format!("{class}: {message}"), message })?;
        return since(cluster, &partitions, timestamp, screen);
    }
    if let Some(path) = &arguments.from_file {
        let wanted = read_plan(path, arguments, group)?;
        if wanted.is_none() {
            say_error(screen, &format!("No reset plan for group {group} found"));
        }
        return within_logs(cluster, wanted.unwrap_or_default(), screen);
    }
    if arguments.to_current {
        let committed = committed(cluster, group)?;
        let is_committed = |of: &TopicPartition| committed.contains_key(of);
        let (known, unknown): (Vec<_>, Vec<_>) = partitions.into_iter().partition(is_committed);
        let current = |partition: TopicPartition| match committed[&partition] {
            current if current.is_offset() => Ok((partition, current.offset)),
            _ => {
                let message = format!("Expected a valid current offset for topic partition: {partition}");
                Err(Failure::Failed { trace: format!("java.lang.IllegalStateException: {message}"), message })
            }
        };
        let mut plan: Plan = known.into_iter().map(current).collect::<Result<_, _>>()?;
        plan.extend(at(cluster, &unknown, LATEST)?);
        return Ok(plan);
    }
    Err(Failure::Usage(
        "Option '[reset-offsets]' requires one of the following scenarios: [[by-duration], [to-latest], [to-current], \
         [to-earliest], [to-offset], [shift-by], [from-file], [to-datetime]]"
            .to_owned(),
    ))
}

fn committed(cluster: &mut Cluster, group: &str) -> Result<Offsets, Failure> {
    let fetched = group_offsets::fetch_all(cluster, &[group.to_owned()]).map_err(|error| Failure::wrapped(&error))?;
    let of_group = fetched.into_values().next().unwrap_or_else(|| Ok(Offsets::new()));
    of_group.map_err(|error| Failure::wrapped(&error))
}

/// Offsets so many records on from the committed ones.
pub fn shifted(committed: &Offsets, partitions: Vec<TopicPartition>, count: i64) -> Result<Plan, Failure> {
    let shift = |partition: TopicPartition| match committed.get(&partition).filter(|current| current.is_offset()) {
        Some(current) => Ok((partition, current.offset.wrapping_add(count))),
        None => Err(Failure::Usage(format!(
            "Cannot shift offset for partition {partition} since there is no current committed offset"
        ))),
    };
    partitions.into_iter().map(shift).collect()
}

/// Where the logs begin or end.
fn at(cluster: &mut Cluster, partitions: &[TopicPartition], place: i64) -> Result<Plan, Failure> {
    let mut found = found(cluster, partitions, place)?;
    let place = |partition: &TopicPartition| Some((partition.clone(), found.remove(partition)?.unwrap_or(0)));
    Ok(partitions.iter().filter_map(place).collect())
}

/// The first records since a time; the ends of logs that have none.
fn since(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    timestamp: i64,
    screen: &mut Screen,
) -> Result<Plan, Failure> {
    let found = found(cluster, partitions, timestamp)?;
    let mut empty: Vec<_> =
        partitions.iter().filter(|of| found.get(*of).copied().flatten().is_none()).cloned().collect();
    sort_as_in_java(&mut empty, DEFAULT_CAPACITY, hash_of_partition);
    for TopicPartition { topic, partition } in &empty {
        screen.say(format!(
            "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
        ));
    }
    let mut plan = at(cluster, &empty, LATEST)?;
    plan.extend(found.into_iter().filter_map(|(partition, offset)| Some((partition, offset?))));
    Ok(plan)
}

fn found(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    timestamp: i64,
) -> Result<BTreeMap<TopicPartition, Option<i64>>, Failure> {
    let found = offsets::list(cluster, partitions, timestamp).map_err(|error| Failure::wrapped(&error))?;
    found
        .into_iter()
        .map(|(partition, offset)| Ok((partition, offset.map_err(|error| Failure::wrapped(&error))?)))
        .collect()
}

/// The nearest offsets that the logs have.
fn within_logs(cluster: &mut Cluster, wanted: Plan, screen: &mut Screen) -> Result<Plan, Failure> {
    let partitions: Vec<_> = wanted.iter().map(|(partition, _)| partition.clone()).collect();
    let starts: BTreeMap<_, _> = at(cluster, &partitions, EARLIEST)?.into_iter().collect();
    let ends: BTreeMap<_, _> = at(cluster, &partitions, LATEST)?.into_iter().collect();
    let mut wanted = wanted;
    sort_as_in_java(&mut wanted, DEFAULT_CAPACITY, |(partition, _)| hash_of_partition(partition));
    let mut clamp = |(partition, offset): (TopicPartition, i64)| {
        let clamped = within(&partition, offset, starts[&partition], ends[&partition], screen);
        (partition, clamped)
    };
    Ok(wanted.into_iter().map(&mut clamp).collect())
}

/// The offset nearest to `offset` from `start` to `end`, and a note where it is another one.
pub fn within(partition: &TopicPartition, offset: i64, start: i64, end: i64, screen: &mut Screen) -> i64 {
    let (what, clamped) = if offset > end {
        ("higher than latest", end)
    } else if offset < start {
        ("lower than earliest", start)
    } else {
        return offset;
    };
    screen.note(format!(
        "WARN New offset ({offset}) is {what} offset for topic partition {partition}. Value will be set to {clamped}"
    ));
    clamped
}

/// What a file has for a group; nothing where it does not name it.
fn read_plan(path: &str, arguments: &Arguments, group: &str) -> Result<Option<Plan>, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|_| Failure::runtime(format!("java.io.IOException: Unable to read file {path}")))?;
    let records = csv::read(&text).map_err(|message| Failure::runtime(format!("{path}: {message}")))?;
    plan_of(records, arguments.group.len() == 1, group)
}

/// What records say of a group. Without its name they are for the one group that was asked for.
///
/// # Errors
/// An offset, of whichever group, is none.
pub fn plan_of(records: Vec<Record>, is_only_group: bool, group: &str) -> Result<Option<Plan>, Failure> {
    if records.iter().any(|record| record.offset < 0) {
        return Err(Failure::Usage("Invalid negative offset".to_owned()));
    }
    let is_meant = |record: &Record| record.group.as_deref().map_or(is_only_group, |named| named == group);
    // The last line for a partition wins.
    let plan: BTreeMap<_, _> =
        records.into_iter().filter(is_meant).map(|record| (record.partition, record.offset)).collect();
    Ok((!plan.is_empty()).then(|| plan.into_iter().collect()))
}

fn commit(cluster: &mut Cluster, group: &str, plan: &Plan) -> Result<(), Failure> {
    let committed = |(partition, offset): &(TopicPartition, i64)| {
        (partition.clone(), Committed { offset: *offset, leader_epoch: None })
    };
    let offsets: Offsets = plan.iter().map(committed).collect();
    let groups = [group.to_owned()];
    let refused = groups::on_coordinators(cluster, &groups, |connection, _, _| {
        let refused = group_offsets::commit(connection, group, Committer::NOBODY, &offsets)?;
        let partitions: Vec<String> = refused.keys().map(ToString::to_string).collect();
        let answer = match refused.into_values().next() {
            None => Ok(()),
            Some(error) => {
                let code = error.code().unwrap_or(ErrorCode::UnknownServerError);
                let partitions = partitions.join(", ");
                let message = format!("Failed altering group offsets for the following partitions: [{partitions}]");
                Err(Error::Refused { code, message })
            }
        };
        Ok(BTreeMap::from([(group.to_owned(), answer)]))
    });
    let refused = refused.map_err(|error| Failure::direct(&error))?;
    refused.into_values().collect::<Result<(), _>>().map_err(|error| Failure::direct(&error))
}

/// Shows new offsets as a table.
pub fn show(plans: &[(String, Plan)], screen: &mut Screen) {
    let group_width = plans.iter().map(|(group, _)| group.chars().count()).max().unwrap_or(0).max(GROWING_WIDTH);
    let rows = plans.iter().flat_map(|(group, plan)| plan.iter().map(move |row| (group, row)));
    let topics = rows.clone().map(|(_, (partition, _))| partition.topic.chars().count());
    let topic_width = topics.max().unwrap_or(0).max(GROWING_WIDTH);
    let mut line = |group: &str, topic: &str, partition: &str, offset: &str| {
        screen.out += &format!("\n{group:<group_width$} {topic:<topic_width$} {partition:<10} {offset}");
    };
    if !plans.is_empty() {
        line("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    }
    for (group, (of, offset)) in rows {
        line(group, &of.topic, &of.partition.to_string(), &offset.to_string());
    }
    screen.out.push('\n');
}

/// Shows new offsets as CSV.
pub fn export(plans: &[(String, Plan)], is_only_group: bool, screen: &mut Screen) {
    for (group, plan) in plans {
        for (partition, offset) in plan {
            let group = (!is_only_group).then(|| group.clone());
            screen.out += &csv::write(&Record { group, partition: partition.clone(), offset: *offset });
        }
    }
    screen.out.push('\n');
}
