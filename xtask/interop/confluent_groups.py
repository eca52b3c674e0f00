"""What groups of consumers do with confluent-kafka, one function a case.

    confluent_groups.py CASE BOOTSTRAP TOPIC

A case fails by an exception. The topic does not exist yet, and there is no group of its name. A case that writes the
line `kill` to its standard output wants the broker killed and started again.
"""

import subprocess
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, OffsetSpec

from confluent import create_topic, send

WAIT_S = 40
PARTITIONS = 4


class Member:
    """A consumer that remembers what it was given and what was taken from it."""

    def __init__(self, bootstrap, topic, **settings):
        config = {
            "bootstrap.servers": bootstrap,
            "group.id": topic,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 200,
            "topic.metadata.refresh.interval.ms": 1000,
        }
        config.update({name.replace("_", "."): value for name, value in settings.items()})
        self.assigned, self.revoked, self.lost = [], [], []
        self.consumer = Consumer(config)
        self.consumer.subscribe(
            [topic],
            on_assign=lambda _, parts: self.assigned.append(numbers(parts)),
            on_revoke=lambda _, parts: self.revoked.append(numbers(parts)),
            on_lost=lambda _, parts: self.lost.append(numbers(parts)),
        )

    def owned(self):
        return numbers(self.consumer.assignment())

    def receive(self, timeout_s=0.1):
        message = self.consumer.poll(timeout_s)
        if message is None:
            return None
        if message.error():
            raise KafkaException(message.error())
        return message


def numbers(partitions):
    return sorted(partition.partition for partition in partitions)


def wait_for(what, members, condition):
    """Polls all members until the condition holds; what they received."""
    received = []
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}; owned are {[member.owned() for member in members]}"
        received += filter(None, (member.receive(0.05) for member in members))
    return received


def fill(bootstrap, topic, count, partitions=PARTITIONS):
    create_topic(bootstrap, topic, str(partitions))
    send(bootstrap, topic, [{"value": str(n), "partition": n % partitions} for n in range(count)])


def resume(bootstrap, topic):
    fill(bootstrap, topic, 400)
    first = Member(bootstrap, topic)
    values = []
    wait_for("150 records", [], lambda: take(first, values, 150))
    first.consumer.close()
    assert first.revoked == [list(range(PARTITIONS))], first.revoked
    second = Member(bootstrap, topic)
    wait_for("400 records", [], lambda: take(second, values, 400))
    assert sorted(map(int, values)) == list(range(400)), "a record was lost, or came twice after its commit"
    assert second.receive(1) is None
    second.consumer.close()


def take(member, values, count):
    """Takes one record and commits it; whether there are enough."""
    message = member.receive()
    if message is not None:
        values.append(message.value())
        member.consumer.commit(message, asynchronous=False)
    return len(values) >= count


def two_members(bootstrap, topic, strategy="range"):
    fill(bootstrap, topic, 0)
    one = Member(bootstrap, topic, partition_assignment_strategy=strategy)
    wait_for("one owns all", [one], lambda: one.owned() == [0, 1, 2, 3])
    two = Member(bootstrap, topic, partition_assignment_strategy=strategy)
    both = lambda: sorted(one.owned() + two.owned())
    wait_for("two share", [one, two], lambda: len(two.owned()) == 2 and both() == [0, 1, 2, 3])
    send(bootstrap, topic, [{"value": str(n), "partition": n % 4} for n in range(100)])
    values = []
    end = time.monotonic() + WAIT_S
    while len(values) < 100:
        assert time.monotonic() < end, f"only {len(values)} records came"
        values += [message.value() for message in (one.receive(), two.receive()) if message]
    assert sorted(map(int, values)) == list(range(100))
    one.consumer.commit(asynchronous=False)
    two.consumer.commit(asynchronous=False)
    two.consumer.close()
    wait_for("one owns all again", [one], lambda: one.owned() == [0, 1, 2, 3])
    return one, two


def round_robin(bootstrap, topic):
    one, _ = two_members(bootstrap, topic, "roundrobin")
    one.consumer.close()


def cooperative_sticky(bootstrap, topic):
    one, two = two_members(bootstrap, topic, "cooperative-sticky")
    # What stays with a member is not taken from it in between.
    assert one.assigned[0] == [0, 1, 2, 3] and len(one.revoked[0]) == 2, (one.assigned, one.revoked)
    assert sorted(sum(one.assigned[1:], [])) == one.revoked[0], (one.assigned, one.revoked)
    assert not one.lost and not two.lost
    one.consumer.close()


def static_members(bootstrap, topic):
    fill(bootstrap, topic, 0)
    one = Member(bootstrap, topic, group_instance_id="one", session_timeout_ms=20000)
    two = Member(bootstrap, topic, group_instance_id="two", session_timeout_ms=20000)
    wait_for("two share", [one, two], lambda: len(one.owned()) == 2 and len(two.owned()) == 2)
    owned, changes = two.owned(), (len(one.assigned), len(one.revoked))
    two.consumer.close()
    two = Member(bootstrap, topic, group_instance_id="two", session_timeout_ms=20000)
    wait_for("the static member is back", [one, two], lambda: two.owned() == owned)
    assert (len(one.assigned), len(one.revoked)) == changes, "the return of a static member moved partitions"
    # Another of the same name takes its place.
    usurper = Member(bootstrap, topic, group_instance_id="two", session_timeout_ms=20000)
    fenced = []

    def is_fenced():
        try:
            two.receive(0.05)
        except KafkaException as error:
            fenced.append(error.args[0].code())
        return fenced and usurper.owned() == owned

    wait_for("the usurper owns", [one, usurper], is_fenced)
    assert fenced[0] in (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL), fenced
    assert (len(one.assigned), len(one.revoked)) == changes
    for member in (one, usurper):
        member.consumer.close()


def dead_member(bootstrap, topic):
    """A member that is killed leaves nothing behind: after its session its partitions are another's."""
    fill(bootstrap, topic, 0)
    one = Member(bootstrap, topic)
    with subprocess.Popen([sys.executable, "-B", __file__, "hold", bootstrap, topic], stdout=subprocess.PIPE) as other:
        wait_for("two share", [one], lambda: len(one.owned()) == 2)
        other.kill()
    wait_for("one owns all", [one], lambda: one.owned() == [0, 1, 2, 3])
    one.consumer.close()


def hold(bootstrap, topic):
    member = Member(bootstrap, topic, session_timeout_ms=1500)
    while True:
        member.receive()


def commits(bootstrap, topic):
    fill(bootstrap, topic, 40)
    member = Member(bootstrap, topic)
    wait_for("all owned", [member], lambda: member.owned() == [0, 1, 2, 3])
    offsets = [TopicPartition(topic, 0, 3, metadata="über metadata"), TopicPartition(topic, 1, 7)]
    committed = member.consumer.commit(offsets=offsets, asynchronous=False)
    assert [part.error for part in committed] == [None, None]
    found = member.consumer.committed([TopicPartition(topic, n) for n in range(PARTITIONS)], WAIT_S)
    assert [part.offset for part in found] == [3, 7, -1001, -1001], found
    assert found[0].metadata == "über metadata", found[0].metadata
    # One who is no member of the group may not commit for it.
    stranger = Consumer({"bootstrap.servers": bootstrap, "group.id": topic})
    try:
        stranger.commit(offsets=[TopicPartition(topic, 0, 9)], asynchronous=False)
        raise AssertionError("a stranger's commit was taken")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID, error
    try:
        member.consumer.commit(offsets=[TopicPartition(topic, 0, 9, metadata="x" * 5000)], asynchronous=False)
        raise AssertionError("metadata of 5,000 bytes were taken")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.OFFSET_METADATA_TOO_LARGE, error
    member.consumer.close()
    stranger.close()


def administration(bootstrap, topic):
    fill(bootstrap, topic, 40)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    member = Member(bootstrap, topic, client_id="the-client")
    wait_for("all owned", [member], lambda: member.owned() == [0, 1, 2, 3])
    member.consumer.commit(offsets=[TopicPartition(topic, n, n) for n in range(PARTITIONS)], asynchronous=False)
    listed = {group.group_id: group for group in admin.list_consumer_groups().result(WAIT_S).valid}
    assert listed[topic].state.name == "STABLE", listed[topic].state
    described = admin.describe_consumer_groups([topic])[topic].result(WAIT_S)
    assert described.partition_assignor == "range" and described.coordinator.port > 0, described.partition_assignor
    [only] = described.members
    assert only.client_id == "the-client" and numbers(only.assignment.topic_partitions) == [0, 1, 2, 3]
    try:
        admin.delete_consumer_groups([topic])[topic].result(WAIT_S)
        raise AssertionError("a group with members was deleted")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.NON_EMPTY_GROUP, error
    member.consumer.close()

    offsets = lambda request: admin.list_consumer_group_offsets([request])[topic].result(WAIT_S).topic_partitions
    all_offsets = lambda: {part.partition: part.offset for part in offsets(ConsumerGroupTopicPartitions(topic))}
    assert all_offsets() == {0: 0, 1: 1, 2: 2, 3: 3}, all_offsets()
    changed = ConsumerGroupTopicPartitions(topic, [TopicPartition(topic, 0, 5), TopicPartition(topic, 3, 6)])
    admin.alter_consumer_group_offsets([changed])[topic].result(WAIT_S)
    assert all_offsets() == {0: 5, 1: 1, 2: 2, 3: 6}, all_offsets()
    assert admin.describe_consumer_groups([topic])[topic].result(WAIT_S).state.name == "EMPTY"
    admin.delete_consumer_groups([topic])[topic].result(WAIT_S)
    assert topic not in {group.group_id for group in admin.list_consumer_groups().result(WAIT_S).valid}
    end = admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()})
    assert [found.result(WAIT_S).offset for found in end.values()] == [10]


def new_partitions(bootstrap, topic):
    """A group learns of partitions that its topic gets, and a pattern's group of new topics."""
    fill(bootstrap, topic, 0, 1)
    member = Member(bootstrap, topic)
    wait_for("one partition", [member], lambda: member.owned() == [0])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(WAIT_S)
    wait_for("three partitions", [member], lambda: member.owned() == [0, 1, 2])
    member.consumer.unsubscribe()
    member.consumer.subscribe([f"^{topic}.*"])
    create_topic(bootstrap, f"{topic}-more", "2")
    topics = lambda: sorted({part.topic for part in member.consumer.assignment()})
    wait_for("both topics", [member], lambda: topics() == [topic, f"{topic}-more"])
    member.consumer.close()


def killed_broker(bootstrap, topic):
    """Two members read and commit one by one while the broker dies twice: nothing is lost, nothing comes again."""
    count = 2000
    fill(bootstrap, topic, count)
    members = [Member(bootstrap, topic), Member(bootstrap, topic)]
    values, committed = set(), set()
    kills = [300, 1100]
    end = time.monotonic() + 2 * WAIT_S
    ends = [count // PARTITIONS] * PARTITIONS
    while len(values) < count or offsets_of(members[0], topic) != ends:
        assert time.monotonic() < end, f"only {len(values)} records came"
        if kills and len(committed) >= kills[0]:
            kills.pop(0)
            print("kill", flush=True)
        for member in members:
            message = member.receive(0.01)
            if message is None:
                continue
            place = (message.partition(), message.offset())
            assert place not in committed, f"{place} came again after its commit"
            values.add(int(message.value()))
            try:
                member.consumer.commit(message, asynchronous=False)
                committed.add(place)
            except KafkaException as error:
                # It may have been taken all the same: only the answer is missing.
                print(f"commit of {place}: {error}", file=sys.stderr)
    assert values == set(range(count))
    for member in members:
        member.consumer.close()


def offsets_of(member, topic):
    found = member.consumer.committed([TopicPartition(topic, n) for n in range(PARTITIONS)], WAIT_S)
    return [place.offset for place in found]


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
