//! The sticky assignors: members keep what they have, as far as all then have about as many partitions.
//!
//! ```text
//!   what has an owner stays -> what has none goes to whoever has least -> from the fullest to the emptiest, until they are even
//! ```
//!
//! With cooperative members (KIP-429) a partition that another member still reads is given to nobody at first: its owner sees
//! that it is no longer among its own, gives it up and joins again, and then it is given away.
//!
//! Differs from Kafka: where there is a choice, another member may get a partition than Kafka's would; only one member
//! assigns.

use std::collections::{BTreeMap, BTreeSet};

use ottla_base::TopicPartition;

use super::{Assigned, Group};

/// Gives each member its partitions.
pub fn assign(group: &Group<'_>) -> Assigned {
    let mut assigned = keep(group);
    let kept: BTreeSet<&TopicPartition> = assigned.iter().flatten().collect();
    let mut unowned: Vec<(usize, TopicPartition)> = Vec::new();
    for (topic, count, readers) in &group.topics {
        let partitions = (0..*count).map(|index| TopicPartition::new(*topic, index));
        unowned.extend(partitions.filter(|partition| !kept.contains(partition)).map(|of| (readers.len(), of)));
    }
    // Those that few can read first, while there is a choice for the others.
    unowned.sort();
    let readers = readers_of(group);
    for (_, partition) in unowned {
        let emptiest = emptiest(&assigned, readers[partition.topic.as_str()]);
        assigned[emptiest].push(partition);
    }
    balance(&mut assigned, &readers);
    assigned.iter_mut().for_each(|partitions| partitions.sort());
    assigned
}

/// Takes back what somebody else still reads.
pub fn hold_back(group: &Group<'_>, mut assigned: Assigned) -> Assigned {
    let owned: Vec<BTreeSet<&TopicPartition>> =
        group.members.iter().map(|member| member.owned.iter().collect()).collect();
    let mut owners: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
    owned.iter().flatten().for_each(|partition| *owners.entry(partition).or_default() += 1);
    for (partitions, own) in assigned.iter_mut().zip(&owned) {
        partitions.retain(|partition| own.contains(partition) || !owners.contains_key(partition));
    }
    assigned
}

/// What members have already and may keep. Of two that say so of a partition the one of the later generation is believed, and
/// neither if it is the same.
fn keep(group: &Group<'_>) -> Assigned {
    let counts: BTreeMap<&str, i32> = group.topics.iter().map(|(topic, count, _)| (*topic, *count)).collect();
    let mut claims: BTreeMap<&TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
    for (number, member) in group.members.iter().enumerate() {
        for partition in &member.owned {
            let is_there =
                counts.get(partition.topic.as_str()).is_some_and(|count| (0..*count).contains(&partition.partition.0));
            if !is_there || !member.topics.contains(&partition.topic) {
                continue;
            }
            let claim = claims.entry(partition).or_insert((i32::MIN, None));
            if member.generation > claim.0 {
                *claim = (member.generation, Some(number));
            } else if member.generation == claim.0 {
                claim.1 = None;
            }
        }
    }
    let mut kept = group.nothing();
    for (partition, (_, owner)) in claims {
        if let Some(owner) = owner {
            kept[owner].push(partition.clone());
        }
    }
    kept
}

fn readers_of<'g>(group: &'g Group<'_>) -> BTreeMap<&'g str, &'g [usize]> {
    group.topics.iter().map(|(topic, _, readers)| (*topic, &readers[..])).collect()
}

fn emptiest(assigned: &Assigned, readers: &[usize]) -> usize {
    *readers.iter().min_by_key(|reader| assigned[**reader].len()).expect("a topic of a group has readers")
}

/// Moves partitions from those who have more to those who have at least two fewer, while there are any. Each move brings them
/// nearer, so it ends.
fn balance(assigned: &mut Assigned, readers: &BTreeMap<&str, &[usize]>) {
    loop {
        let mut fullest: Vec<usize> = (0..assigned.len()).collect();
        fullest.sort_by_key(|member| std::cmp::Reverse(assigned[*member].len()));
        let Some((from, place, to)) = fullest.into_iter().find_map(|from| surplus(assigned, readers, from)) else {
            return;
        };
        let partition = assigned[from].remove(place);
        assigned[to].push(partition);
    }
}

/// A partition that a member has too many, and who is to have it.
fn surplus(assigned: &Assigned, readers: &BTreeMap<&str, &[usize]>, from: usize) -> Option<(usize, usize, usize)> {
    let mut topics = BTreeSet::new();
    let own = &assigned[from];
    // What was given last has been read for the shortest time.
    for (place, partition) in own.iter().enumerate().rev().filter(|(_, partition)| topics.insert(&*partition.topic)) {
        let to = emptiest(assigned, readers[partition.topic.as_str()]);
        if assigned[to].len() + 1 < own.len() {
            return Some((from, place, to));
        }
    }
    None
}
