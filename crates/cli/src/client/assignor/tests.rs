//! Who gets what.

use super::*;

/// A member: its id, its static id, its topics, what it has, and since when.
type Member<'a> = (&'a str, Option<&'a str>, &'a [&'a str], &'a str, i32);

fn partitions(text: &str) -> Vec<TopicPartition> {
    let partition = |text: &str| {
        let (topic, index) = text.rsplit_once('-').unwrap();
        TopicPartition::new(topic, index.parse().unwrap())
    };
    text.split_whitespace().map(partition).collect()
}

fn subscriber((id, instance_id, topics, owned, generation): &Member<'_>) -> Subscriber {
    Subscriber {
        id: (*id).to_owned(),
        instance_id: instance_id.map(str::to_owned),
        said: Said {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            owned: partitions(owned),
            generation: *generation,
        },
    }
}

fn check(assignor: Assignor, members: &[Member<'_>], counts: &[(&str, i32)], expected: &[(&str, &str)]) {
    let members: Vec<_> = members.iter().map(subscriber).collect();
    let counts = counts.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
    let assigned = assignor.assign(&members, &counts);
    let shown: Vec<_> = assigned
        .iter()
        .map(|(id, partitions)| {
            let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            (id.as_str(), partitions.join(" "))
        })
        .collect();
    let expected: Vec<_> = expected.iter().map(|(id, text)| (*id, (*text).to_owned())).collect();
    assert_eq!(shown, expected);
}

#[test]
fn range_cuts_each_topic_into_runs() {
    let check = |members: &[Member<'_>], counts, expected| check(Assignor::Range, members, counts, expected);
    check(
        &[("b", None, &["t", "u"], "", -1), ("a", None, &["t", "u"], "", -1)],
        &[("t", 3), ("u", 2)],
        &[("a", "t-0 t-1 u-0"), ("b", "t-2 u-1")],
    );
    check(&[("a", None, &["t"], "", -1), ("b", None, &["t"], "", -1)], &[("t", 1)], &[("a", "t-0"), ("b", "")]);
    check(
        &[("a", None, &["t"], "", -1), ("b", None, &["u"], "", -1)],
        &[("t", 1), ("u", 2)],
        &[("a", "t-0"), ("b", "u-0 u-1")],
    );
    check(&[("a", None, &["gone"], "", -1)], &[], &[("a", "")]);
}

#[test]
fn static_members_come_first() {
    check(
        Assignor::Range,
        &[("a", None, &["t"], "", -1), ("z", Some("1"), &["t"], "", -1), ("y", Some("2"), &["t"], "", -1)],
        &[("t", 4)],
        &[("a", "t-3"), ("y", "t-2"), ("z", "t-0 t-1")],
    );
}

#[test]
fn round_robin_goes_around_those_who_read_the_topic() {
    check(
        Assignor::RoundRobin,
        &[("a", None, &["t", "u"], "", -1), ("b", None, &["t", "u"], "", -1)],
        &[("t", 3), ("u", 3)],
        &[("a", "t-0 t-2 u-1"), ("b", "t-1 u-0 u-2")],
    );
    check(
        Assignor::RoundRobin,
        &[("a", None, &["t"], "", -1), ("b", None, &["t", "u"], "", -1), ("c", None, &["u", "v"], "", -1)],
        &[("t", 1), ("u", 2), ("v", 3)],
        &[("a", "t-0"), ("b", "u-0"), ("c", "u-1 v-0 v-1 v-2")],
    );
}

#[test]
fn sticky_leaves_everybody_as_much_as_is_fair() {
    let check = |members: &[Member<'_>], counts, expected| check(Assignor::Sticky, members, counts, expected);
    // A third member: of each of the others as little moves as must.
    check(
        &[("a", None, &["t"], "t-0 t-2 t-4", 7), ("b", None, &["t"], "t-1 t-3 t-5", 7), ("c", None, &["t"], "", -1)],
        &[("t", 6)],
        &[("a", "t-0 t-2"), ("b", "t-1 t-3"), ("c", "t-4 t-5")],
    );
    // One has gone: the others keep theirs.
    check(
        &[("a", None, &["t"], "t-5 t-3", 7), ("b", None, &["t"], "t-0", 7)],
        &[("t", 6)],
        &[("a", "t-2 t-3 t-5"), ("b", "t-0 t-1 t-4")],
    );
    // Who was away says what it had in a generation that is over.
    check(
        &[("a", None, &["t"], "t-0 t-1", 6), ("b", None, &["t"], "t-1 t-2", 7)],
        &[("t", 3)],
        &[("a", "t-0"), ("b", "t-1 t-2")],
    );
    // What is not there or not wanted any more is nobody's.
    check(
        &[("a", None, &["t"], "t-9 u-0 t-1", 7), ("b", None, &["u"], "", -1)],
        &[("t", 2), ("u", 1)],
        &[("a", "t-0 t-1"), ("b", "u-0")],
    );
    check(
        &[("a", None, &["t", "u"], "t-0 t-1 u-0 u-1", 7), ("b", None, &["u"], "", -1)],
        &[("t", 2), ("u", 2)],
        &[("a", "t-0 t-1"), ("b", "u-0 u-1")],
    );
}

#[test]
fn cooperative_members_get_what_others_have_when_these_have_given_it_up() {
    let (old, new) = ("t-0 t-1 t-2", "");
    check(
        Assignor::CooperativeSticky,
        &[("a", None, &["t"], old, 7), ("b", None, &["t"], new, -1)],
        &[("t", 3)],
        &[("a", "t-0 t-1"), ("b", "")],
    );
    check(
        Assignor::CooperativeSticky,
        &[("a", None, &["t"], "t-0 t-1", 8), ("b", None, &["t"], "", 8)],
        &[("t", 3)],
        &[("a", "t-0 t-1"), ("b", "t-2")],
    );
    // Both say that it is theirs: neither has to wait for the other.
    check(
        Assignor::CooperativeSticky,
        &[("a", None, &["t"], "t-0", 8), ("b", None, &["t"], "t-0", 8)],
        &[("t", 1)],
        &[("a", "t-0"), ("b", "")],
    );
}

#[test]
fn many_members_of_many_topics_come_out_even() {
    let names: Vec<String> = (0..40).map(|number| format!("m{number:02}")).collect();
    let counts: BTreeMap<String, i32> = (0..20).map(|number| (format!("t{number}"), number)).collect();
    let topics: Vec<String> = counts.keys().cloned().collect();
    let mut owned: BTreeMap<String, Vec<TopicPartition>> = BTreeMap::new();
    for generation in 0..40 {
        let members = names[..=generation].iter().map(|id| {
            let (owned, generation) = (owned.get(id).cloned().unwrap_or_default(), i32::try_from(generation).unwrap());
            Subscriber { id: id.clone(), instance_id: None, said: Said { topics: topics.clone(), owned, generation } }
        });
        let members: Vec<_> = members.collect();
        let next = Assignor::Sticky.assign(&members, &counts);
        let sizes: Vec<usize> = next.values().map(Vec::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 190);
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        let stayed = next.iter().flat_map(|(id, partitions)| {
            partitions.iter().filter(|of| owned.get(id).is_some_and(|own| own.contains(of)))
        });
        // Only what the newcomer gets has moved.
        assert_eq!(stayed.count(), if generation == 0 { 0 } else { 190 - next[&names[generation]].len() });
        owned = next;
    }
}

#[test]
fn what_members_tell_each_other_is_read_back() {
    let said = Said { topics: vec!["t".to_owned(), "u".to_owned()], owned: partitions("t-1 t-2 u-0"), generation: 7 };
    for (assignor, name, class) in ASSIGNORS {
        assert_eq!((Assignor::of_name(name), Assignor::of_class(class)), (Some(assignor), Some(assignor)));
        let read = assignor.read_subscription(&assignor.write_subscription(&said)).unwrap();
        assert_eq!(read.topics, said.topics);
        let tells_more = matches!(assignor, Assignor::Sticky | Assignor::CooperativeSticky);
        assert_eq!(read == said, tells_more, "{name}");
    }
    let given = partitions("t-1 t-2 u-0");
    assert_eq!(read_assignment(&write_assignment(&given)).unwrap(), given);
    assert_eq!(read_assignment(&[]).unwrap(), []);
}
