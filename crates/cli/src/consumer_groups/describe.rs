//! Describes groups: how far they are in which partitions, who is in them, and what state they are in.

use std::collections::{BTreeMap, BTreeSet};

use ottla_base::TopicPartition;
use ottla_protocol::ErrorCode;

use super::{Arguments, Failure, say_error, wanted_groups};
use crate::client::Cluster;
use crate::client::group_offsets::{self, Offsets};
use crate::client::groups::{self, Description, Member};
use crate::client::offsets::{self, LATEST};
use crate::screen::Screen;

/// Shown where there is nothing.
const MISSING: &str = "-";
/// Columns that grow with their content are at least so wide.
const GROWING_WIDTH: usize = 15;
const INSTANCE_WIDTH: usize = 17;
const ASSIGNMENT_WIDTH: usize = 20;
const COORDINATOR_WIDTH: usize = 25;

/// All that is to be known of groups.
#[derive(Debug, Default)]
pub struct Known {
    /// The groups.
    pub groups: BTreeMap<String, Description>,
    /// What they have committed.
    pub committed: BTreeMap<String, Offsets>,
    /// Where partitions end; those without a leader are not here.
    pub ends: BTreeMap<TopicPartition, i64>,
}

/// `--describe`
pub fn describe(cluster: &mut Cluster, arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    let wanted = wanted_groups(cluster, arguments)?;
    let mut known = Known::default();
    for (group, found) in groups::describe(cluster, &wanted).map_err(|error| Failure::awaited(&error))? {
        known.groups.insert(group, found.map_err(|error| Failure::awaited(&error))?);
    }
    if arguments.members {
        known.groups.iter().for_each(|(id, group)| show_members(id, group, arguments.verbose, screen));
    } else if arguments.state.is_some() {
        known.groups.iter().for_each(|(id, group)| show_state(id, group, arguments.verbose, screen));
    } else {
        find_offsets(cluster, &mut known)?;
        show_offsets(&known, arguments.verbose, screen);
    }
    Ok(())
}

fn find_offsets(cluster: &mut Cluster, known: &mut Known) -> Result<(), Failure> {
    let ids: Vec<String> = known.groups.keys().cloned().collect();
    for (group, found) in group_offsets::fetch_all(cluster, &ids).map_err(|error| Failure::wrapped(&error))? {
        known.committed.insert(group, found.map_err(|error| Failure::wrapped(&error))?);
    }
    let committed = known.committed.values().flat_map(Offsets::keys);
    let members = known.groups.values().flat_map(|group| &group.members);
    let partitions: BTreeSet<_> = members.flat_map(|member| &member.assignment).chain(committed).cloned().collect();
    let partitions: Vec<_> = partitions.into_iter().collect();
    for (partition, end) in offsets::list(cluster, &partitions, LATEST).map_err(|error| Failure::wrapped(&error))? {
        match end {
            Ok(end) => drop(end.map(|end| known.ends.insert(partition, end))),
            Err(error) if error.code() == Some(ErrorCode::LeaderNotAvailable) => {}
            Err(error) => return Err(Failure::wrapped(&error)),
        }
    }
    Ok(())
}

/// Says what is special about the state of a group; whether there is anything to show of it.
fn is_shown(id: &str, state: &str, has_rows: bool, screen: &mut Screen) -> bool {
    match state {
        "Dead" => say_error(screen, &format!("Consumer group '{id}' does not exist.")),
        "Empty" => screen.note(format!("\nConsumer group '{id}' has no active members.")),
        "Stable" => {}
        _ => screen.note(format!("\nWarning: Consumer group '{id}' is rebalancing.")),
    }
    state != "Dead" && has_rows
}

/// Shows how far groups are.
pub fn show_offsets(known: &Known, verbose: bool, screen: &mut Screen) {
    let nothing = Offsets::new();
    for (id, group) in &known.groups {
        let committed = known.committed.get(id).unwrap_or(&nothing);
        let rows = rows_of(group, committed);
        if !is_shown(id, &group.state, !rows.is_empty(), screen) {
            continue;
        }
        let widest = |column: fn(&Row<'_>) -> usize| rows.iter().map(column).max().unwrap_or(0).max(GROWING_WIDTH);
        let group_width = width_of(id).max(GROWING_WIDTH);
        let (topic_width, consumer_width) =
            (widest(|row| width_of(&row.partition.topic)), widest(|row| width_of(row.consumer_id)));
        let host_width = widest(|row| width_of(row.host));
        let mut line = |columns: [&str; 10]| {
            let [group, topic, partition, epoch, offset, end, lag, consumer, host, client] = columns;
            let epoch = if verbose { format!("{epoch:<15} ") } else { String::new() };
            screen.out += &format!(
                "\n{group:<group_width$} {topic:<topic_width$} {partition:<10} {epoch}{offset:<15} {end:<15} {lag:<15} \
                 {consumer:<consumer_width$} {host:<host_width$} {client}"
            );
        };
        line([
            "GROUP",
            "TOPIC",
            "PARTITION",
            "LEADER-EPOCH",
            "CURRENT-OFFSET",
            "LOG-END-OFFSET",
            "LAG",
            "CONSUMER-ID",
            "HOST",
            "CLIENT-ID",
        ]);
        for row in &rows {
            let end = known.ends.get(row.partition).copied();
            let of = committed.get(row.partition).filter(|committed| committed.is_offset());
            line([
                id,
                &row.partition.topic,
                &row.partition.partition.to_string(),
                &or_missing(of.and_then(|committed| committed.leader_epoch)),
                &or_missing(of.map(|committed| committed.offset)),
                &or_missing(end),
                &or_missing(end.zip(of).map(|(end, committed)| end - committed.offset)),
                row.consumer_id,
                row.host,
                row.client_id,
            ]);
        }
        screen.out.push('\n');
    }
}

/// A partition, and the member that has it.
struct Row<'a> {
    partition: &'a TopicPartition,
    consumer_id: &'a str,
    host: &'a str,
    client_id: &'a str,
}

/// What members have, those with most first, and then what nobody has.
fn rows_of<'a>(group: &'a Description, committed: &'a Offsets) -> Vec<Row<'a>> {
    let mut members: Vec<&Member> = group.members.iter().collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
    let mut rows = Vec::new();
    for member in members {
        let mut assigned: Vec<_> = member.assignment.iter().collect();
        assigned.sort_unstable();
        rows.extend(assigned.into_iter().map(|partition| Row {
            partition,
            consumer_id: &member.id,
            host: &member.host,
            client_id: &member.client_id,
        }));
    }
    let assigned: BTreeSet<_> = rows.iter().map(|row| row.partition).collect();
    let unassigned = committed.keys().filter(|partition| !assigned.contains(partition));
    let unassigned: Vec<_> = unassigned
        .map(|partition| Row { partition, consumer_id: MISSING, host: MISSING, client_id: MISSING })
        .collect();
    rows.extend(unassigned);
    rows
}

/// Shows who is in a group.
pub fn show_members(id: &str, group: &Description, verbose: bool, screen: &mut Screen) {
    let members = &group.members;
    is_shown(id, &group.state, !members.is_empty(), screen);
    let widest =
        |least: usize, column: &dyn Fn(&Member) -> usize| members.iter().map(column).max().unwrap_or(0).max(least);
    let group_width = if members.is_empty() { GROWING_WIDTH } else { width_of(id).max(GROWING_WIDTH) };
    let id_width = widest(GROWING_WIDTH, &|member| width_of(&member.id));
    let host_width = widest(GROWING_WIDTH, &|member| width_of(&member.host));
    let client_width = widest(GROWING_WIDTH, &|member| width_of(&member.client_id));
    let instance_width = widest(INSTANCE_WIDTH, &|member| member.instance_id.as_deref().map_or(0, width_of));
    let current_width = widest(ASSIGNMENT_WIDTH, &|member| width_of(&assignment_text(&member.assignment)));
    let target_width = widest(ASSIGNMENT_WIDTH, &|member| width_of(&target_text(member)));
    let has_instances = members.iter().any(|member| member.instance_id.as_deref().is_some_and(|id| !id.is_empty()));
    let speaks = |new: bool| members.iter().any(|member| member.upgraded == Some(new));
    let is_migrating = speaks(true) && speaks(false);
    screen.out.push('\n');
    let mut line = |columns: [&str; 11]| {
        let [group, id, instance, host, client, count, epoch, current, target_epoch, target, upgraded] = columns;
        let instance = if has_instances { format!("{instance:<instance_width$} ") } else { String::new() };
        screen.out += &format!(
            "{group:<group_width$} {id:<id_width$} {instance}{host:<host_width$} {client:<client_width$} {count:<15} "
        );
        if verbose {
            let upgraded = if is_migrating { format!(" {upgraded}") } else { String::new() };
            screen.out +=
                &format!("{epoch:<15} {current:<current_width$} {target_epoch:<15} {target:<target_width$}{upgraded}");
        }
        screen.out.push('\n');
    };
    line([
        "GROUP",
        "CONSUMER-ID",
        "GROUP-INSTANCE-ID",
        "HOST",
        "CLIENT-ID",
        "#PARTITIONS",
        "CURRENT-EPOCH",
        "CURRENT-ASSIGNMENT",
        "TARGET-EPOCH",
        "TARGET-ASSIGNMENT",
        "UPGRADED",
    ]);
    for member in members {
        line([
            id,
            &member.id,
            member.instance_id.as_deref().unwrap_or_default(),
            &member.host,
            &member.client_id,
            &member.assignment.len().to_string(),
            &or_missing(member.target.as_ref().map(|(_, epoch)| epoch)),
            &assignment_text(&member.assignment),
            &or_missing(group.epochs.map(|(_, target)| target)),
            &target_text(member),
            &or_missing(member.upgraded),
        ]);
    }
}

/// Shows the state of a group.
pub fn show_state(id: &str, group: &Description, verbose: bool, screen: &mut Screen) {
    if !is_shown(id, &group.state, true, screen) {
        return;
    }
    let (node, address) = &group.coordinator;
    let coordinator = format!("{}:{}  ({node})", address.host, address.port);
    let group_width = width_of(id).max(GROWING_WIDTH);
    let coordinator_width = width_of(&coordinator).max(COORDINATOR_WIDTH);
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let mut line = |columns: [&str; 7]| {
        let [id, coordinator, assignor, state, epoch, target_epoch, members] = columns;
        let epochs = if verbose { format!("{epoch:<15} {target_epoch:<25} ") } else { String::new() };
        screen.out += &format!(
            "\n{id:<group_width$} {coordinator:<coordinator_width$} {assignor:<20} {state:<20} {epochs}{members}"
        );
    };
    line([
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    ]);
    line([
        id,
        &coordinator,
        assignor,
        &group.state,
        &or_missing(group.epochs.map(|(epoch, _)| epoch)),
        &or_missing(group.epochs.map(|(_, target)| target)),
        &group.members.len().to_string(),
    ]);
    screen.out.push('\n');
}

/// `orders:0,1;users:3`
fn assignment_text(partitions: &[TopicPartition]) -> String {
    if partitions.is_empty() {
        return MISSING.to_owned();
    }
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for of in partitions {
        topics.entry(&of.topic).or_default().push(of.partition.0);
    }
    let mut parts: Vec<String> = topics
        .into_iter()
        .map(|(topic, mut indexes)| {
            indexes.sort_unstable();
            let indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
            format!("{topic}:{}", indexes.join(","))
        })
        .collect();
    parts.sort_unstable();
    parts.join(";")
}

fn target_text(member: &Member) -> String {
    member.target.as_ref().map_or_else(|| MISSING.to_owned(), |(target, _)| assignment_text(target))
}

fn or_missing(value: Option<impl ToString>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

fn width_of(text: &str) -> usize {
    text.chars().count()
}
