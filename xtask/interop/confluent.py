"""What applications do with confluent-kafka, one function a case.

    confluent.py CASE BOOTSTRAP TOPIC [ARGUMENT...]

A case fails by an exception. Each is given a topic of its own, which does not exist yet.
"""

import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec

WAIT_S = 20
NO_COORDINATOR_YET = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
)
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def admin(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


def create_topic(bootstrap, topic, partitions="1", *settings):
    config = dict(setting.split("=", 1) for setting in settings)
    client = admin(bootstrap)
    client.create_topics([NewTopic(topic, int(partitions), 1, config=config)])[topic].result(WAIT_S)


def commit(bootstrap, topic, *offsets):
    """Commits one offset a partition for the group named as the topic, without being a member of it."""
    client = consumer(bootstrap, group_id=topic)
    places = [TopicPartition(topic, partition, int(offset)) for partition, offset in enumerate(offsets)]
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            client.commit(offsets=places, asynchronous=False)
            break
        except KafkaException as error:
            # A broker that has just made the topic of the groups may not know yet that it leads it.
            if error.args[0].code() not in NO_COORDINATOR_YET or time.monotonic() >= deadline:
                raise
    client.close()


def committed(bootstrap, topic):
    """Prints what the group named as the topic has committed, an offset a line."""
    client = consumer(bootstrap, group_id=topic)
    partitions = client.list_topics(topic, timeout=WAIT_S).topics[topic].partitions
    for place in client.committed([TopicPartition(topic, partition) for partition in sorted(partitions)], WAIT_S):
        assert place.error is None, place.error
        print(place.offset)
    client.close()


def delete_records(bootstrap, topic, before):
    """Deletes what partition 0 has before an offset."""
    place = TopicPartition(topic, 0, int(before))
    client = admin(bootstrap)
    client.delete_records([place])[place].result(WAIT_S)


def transactions(bootstrap, topic):
    """Writes transactions over few keys, of which every third is aborted."""
    client = producer(bootstrap, transactional_id=topic)
    client.init_transactions(WAIT_S)
    for number in range(30):
        client.begin_transaction()
        for key in range(40):
            client.produce(topic, partition=0, key=f"key-{key}", value=f"{key} in transaction {number}")
        client.flush(WAIT_S)
        if number % 3 == 2:
            client.abort_transaction(WAIT_S)
        else:
            client.commit_transaction(WAIT_S)


def producer(bootstrap, **settings):
    config = {"bootstrap.servers": bootstrap, "linger.ms": 5}
    config.update({name.replace("_", "."): value for name, value in settings.items()})
    return Producer(config)


def consumer(bootstrap, **settings):
    # A group must be named; as nothing subscribes or commits, the broker never hears of it.
    config = {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
    config.update({name.replace("_", "."): value for name, value in settings.items()})
    return Consumer(config)


def send(bootstrap, topic, records, **settings):
    """Produces all records, given as arguments of `produce`, and returns what was delivered, in order of delivery."""
    delivered = []

    def on_delivery(error, message):
        if error is not None:
            raise KafkaException(error)
        delivered.append(message)

    client = producer(bootstrap, **settings)
    for record in records:
        client.poll(0)
        while True:
            try:
                client.produce(topic, on_delivery=on_delivery, **record)
                break
            except BufferError:
                client.poll(0.1)
    left = client.flush(WAIT_S)
    assert left == 0, f"{left} records were not acknowledged"
    return delivered


def receive(client, count):
    """The next `count` messages."""
    messages = []
    end = time.monotonic() + WAIT_S
    while len(messages) < count:
        assert time.monotonic() < end, f"only {len(messages)} of {count} messages came"
        for message in client.consume(min(count - len(messages), 1000), timeout=1):
            if message.error():
                raise KafkaException(message.error())
            messages.append(message)
    return messages


def read(bootstrap, topic, count, partition=0, offset=0, **settings):
    client = consumer(bootstrap, **settings)
    client.assign([TopicPartition(topic, partition, offset)])
    messages = receive(client, count)
    client.close()
    return messages


def numbered(count):
    return [{"value": b"%d" % number} for number in range(count)]


def failure_of(call):
    try:
        call()
    except KafkaException as error:
        return error.args[0].code()
    raise AssertionError("it should have failed")


# Cases


def idempotent_producer(bootstrap, topic):
    """Every record once, in the order of its key, over three partitions."""
    create_topic(bootstrap, topic, "3")
    records = [{"key": b"key %d" % (n % 100), "value": b"%d" % n} for n in range(50_000)]
    delivered = send(bootstrap, topic, records, enable_idempotence=True, acks="all")
    counts = [sum(message.partition() == partition for message in delivered) for partition in range(3)]
    assert all(counts) and sum(counts) == len(records), counts
    seen = set()
    for partition, count in enumerate(counts):
        messages = read(bootstrap, topic, count, partition)
        assert [message.offset() for message in messages] == list(range(count))
        last = {}
        for message in messages:
            number = int(message.value())
            assert message.key() == b"key %d" % (number % 100)
            assert last.get(message.key(), -1) < number, f"{message.key()}: {number} after {last[message.key()]}"
            last[message.key()] = number
            seen.add(number)
    assert len(seen) == len(records)


def codecs(bootstrap, topic):
    for codec in CODECS:
        send(bootstrap, topic, numbered(3_000), compression_type=codec, batch_size=10_000)
    values = [int(message.value()) for message in read(bootstrap, topic, 3_000 * len(CODECS))]
    assert values == list(range(3_000)) * len(CODECS)


def assign_and_seek(bootstrap, topic):
    send(bootstrap, topic, numbered(100))
    client = consumer(bootstrap)
    client.assign([TopicPartition(topic, 0, 10)])
    assert receive(client, 1)[0].offset() == 10
    for offset in [50, 0, 99]:
        client.seek(TopicPartition(topic, 0, offset))
        message = receive(client, 1)[0]
        assert (message.offset(), message.value()) == (offset, b"%d" % offset)
    assert client.position([TopicPartition(topic, 0)])[0].offset == 100
    client.seek(TopicPartition(topic, 0, OFFSET_BEGINNING))
    assert receive(client, 1)[0].offset() == 0
    client.seek(TopicPartition(topic, 0, OFFSET_END))
    assert client.poll(1) is None
    send(bootstrap, topic, [{"value": b"new"}])
    assert receive(client, 1)[0].value() == b"new"
    client.close()


def offset_out_of_range(bootstrap, topic):
    send(bootstrap, topic, numbered(10))
    assert read(bootstrap, topic, 1, offset=1000, auto_offset_reset="earliest")[0].offset() == 0
    client = consumer(bootstrap, auto_offset_reset="error")
    client.assign([TopicPartition(topic, 0, 1000)])
    message = client.poll(WAIT_S)
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET, message.error()
    client.close()


def offsets_for_times(bootstrap, topic):
    start = int(time.time() * 1000) - 1_000_000
    records = [{"value": b"%d" % n, "timestamp": start + 1000 * n} for n in range(500)]
    send(bootstrap, topic, records, batch_size=2_000, compression_type="lz4")
    client = consumer(bootstrap)

    def offset_at(time_ms):
        return client.offsets_for_times([TopicPartition(topic, 0, time_ms)], timeout=WAIT_S)[0].offset

    assert offset_at(start - 1) == 0
    for n in [0, 1, 250, 499]:
        assert offset_at(start + 1000 * n) == n
        assert offset_at(start + 1000 * n - 999) == n
    assert offset_at(start + 1000 * 499 + 1) == OFFSET_END
    client.close()


def list_topics(bootstrap, topic):
    create_topic(bootstrap, topic, "4")
    client = admin(bootstrap)
    metadata = client.list_topics(timeout=WAIT_S)
    broker = metadata.brokers[1]
    assert f"{broker.host}:{broker.port}" == bootstrap
    assert metadata.cluster_id and metadata.controller_id == 1
    partitions = metadata.topics[topic].partitions
    assert sorted(partitions) == [0, 1, 2, 3]
    assert all((one.leader, one.replicas, one.isrs) == (1, [1], [1]) for one in partitions.values())
    described = client.describe_cluster().result(WAIT_S)
    assert described.cluster_id == metadata.cluster_id and [node.id for node in described.nodes] == [1]


def unknown_topic(bootstrap, topic):
    # A consumer, unlike others, does not have a topic made by asking for it.
    client = consumer(bootstrap)
    one = client.list_topics(topic, timeout=WAIT_S).topics[topic]
    assert one.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART, one.error
    client.close()
    errors = []
    client = producer(bootstrap)
    client.produce("a/b", b"value", on_delivery=lambda error, _: errors.append(error.code()))
    client.flush(WAIT_S)
    assert errors == [KafkaError.TOPIC_EXCEPTION], errors


def watermarks(bootstrap, topic):
    create_topic(bootstrap, topic)
    client = consumer(bootstrap)
    at = TopicPartition(topic, 0)
    assert client.get_watermark_offsets(at, timeout=WAIT_S, cached=False) == (0, 0)
    send(bootstrap, topic, numbered(42))
    assert client.get_watermark_offsets(at, timeout=WAIT_S, cached=False) == (0, 42)
    client.close()


def list_offsets(bootstrap, topic):
    send(bootstrap, topic, [{"value": b"", "timestamp": 1_700_000_000_000 + n} for n in (5, 30, 20)])
    client = admin(bootstrap)

    def offset(spec):
        at = TopicPartition(topic, 0)
        return client.list_offsets({at: spec})[at].result(WAIT_S)

    assert offset(OffsetSpec.earliest()).offset == 0
    assert offset(OffsetSpec.latest()).offset == 3
    newest = offset(OffsetSpec.max_timestamp())
    assert (newest.offset, newest.timestamp) == (1, 1_700_000_000_030)
    assert offset(OffsetSpec.for_timestamp(1_700_000_000_006)).offset == 1


def admin_topics(bootstrap, topic):
    client = admin(bootstrap)
    create_topic(bootstrap, topic, "2", "retention.ms=3600000")
    assert failure_of(lambda: create_topic(bootstrap, topic)) == KafkaError.TOPIC_ALREADY_EXISTS
    assert failure_of(lambda: create_topic(bootstrap, "a/b")) == KafkaError.TOPIC_EXCEPTION
    assert failure_of(lambda: create_topic(bootstrap, topic + "-x", "0")) == KafkaError.INVALID_PARTITIONS
    bad = NewTopic(topic + "-x", 1, 3)
    assert failure_of(client.create_topics([bad])[bad.topic].result) == KafkaError.INVALID_REPLICATION_FACTOR
    wrong = lambda: create_topic(bootstrap, topic + "-x", "1", "retention.ms=soon")
    assert failure_of(wrong) == KafkaError.INVALID_CONFIG

    grown = lambda count: client.create_partitions([NewPartitions(topic, count)])[topic].result(WAIT_S)
    grown(5)
    assert failure_of(lambda: grown(3)) == KafkaError.INVALID_PARTITIONS
    assert len(client.list_topics(topic, timeout=WAIT_S).topics[topic].partitions) == 5
    send(bootstrap, topic, [{"value": b"in a new partition", "partition": 4}])
    assert read(bootstrap, topic, 1, partition=4)[0].value() == b"in a new partition"

    client.delete_topics([topic])[topic].result(WAIT_S)
    assert topic not in client.list_topics(timeout=WAIT_S).topics
    unknown = KafkaError.UNKNOWN_TOPIC_OR_PART
    assert failure_of(client.delete_topics([topic])[topic].result) == unknown
    create_topic(bootstrap, topic)
    assert len(send(bootstrap, topic, numbered(3))) == 3
    assert [message.offset() for message in read(bootstrap, topic, 3)] == [0, 1, 2]


def validate_only(bootstrap, topic):
    client = admin(bootstrap)
    client.create_topics([NewTopic(topic, 1, 1)], validate_only=True)[topic].result(WAIT_S)
    assert topic not in client.list_topics(timeout=WAIT_S).topics


def describe_configs(bootstrap, topic):
    create_topic(bootstrap, topic, "1", "retention.ms=3600000", "cleanup.policy=compact")
    client = admin(bootstrap)

    def described(kind, name):
        resource = ConfigResource(kind, name)
        return client.describe_configs([resource])[resource].result(WAIT_S)

    of_topic = described(ConfigResource.Type.TOPIC, topic)
    assert of_topic["retention.ms"].value == "3600000" and not of_topic["retention.ms"].is_default
    assert of_topic["cleanup.policy"].value == "compact"
    assert of_topic["max.message.bytes"].value == "1048588" and of_topic["max.message.bytes"].is_default
    assert "log.cleanup.policy" in of_topic["cleanup.policy"].synonyms
    of_broker = described(ConfigResource.Type.BROKER, "1")
    assert of_broker["num.partitions"].value == "1"
    assert of_broker["log.dirs"].is_read_only
    unknown = lambda: described(ConfigResource.Type.TOPIC, topic + "-none")
    assert failure_of(unknown) == KafkaError.UNKNOWN_TOPIC_OR_PART


def read_committed(bootstrap, topic):
    send(bootstrap, topic, numbered(1000), enable_idempotence=True)
    for level in ["read_committed", "read_uncommitted"]:
        messages = read(bootstrap, topic, 1000, isolation_level=level)
        assert [message.offset() for message in messages] == list(range(1000))


def large_messages(bootstrap, topic):
    """Records near the broker's limit, read by a client that asks for less than one of them."""
    values = [bytes([n]) * (900_000 + n) for n in range(10)]
    send(bootstrap, topic, [{"value": value} for value in values])
    messages = read(bootstrap, topic, 10, fetch_message_max_bytes=1000)
    assert [message.value() for message in messages] == values


def too_large_message(bootstrap, topic):
    create_topic(bootstrap, topic, "1", "max.message.bytes=10000")
    errors = []
    client = producer(bootstrap)
    for size in [20_000, 5_000]:
        client.produce(topic, bytes(size), on_delivery=lambda error, _: errors.append(error and error.code()))
        client.flush(WAIT_S)
    assert errors == [KafkaError.MSG_SIZE_TOO_LARGE, None], errors
    assert len(read(bootstrap, topic, 1)[0].value()) == 5_000


def headers(bootstrap, topic):
    sent = [("a", b"1"), ("b", b""), ("a", b"2"), ("null", None), ("\u00fc", b"\x00\xff"), ("a", b"1")]
    send(bootstrap, topic, [{"value": b"v", "headers": sent}, {"value": b"none"}])
    first, second = read(bootstrap, topic, 2)
    assert first.headers() == sent, first.headers()
    assert second.headers() is None


def nulls(bootstrap, topic):
    pairs = [(None, b"v"), (b"k", None), (b"", b""), (None, None)]
    send(bootstrap, topic, [{"key": key, "value": value} for key, value in pairs])
    assert [(message.key(), message.value()) for message in read(bootstrap, topic, 4)] == pairs


def timestamps(bootstrap, topic):
    send(bootstrap, topic, [{"value": b"v", "timestamp": 1_700_000_000_123}])
    assert read(bootstrap, topic, 1)[0].timestamp() == (TIMESTAMP_CREATE_TIME, 1_700_000_000_123)
    appended = topic + "-appended"
    create_topic(bootstrap, appended, "1", "message.timestamp.type=LogAppendTime")
    before = int(time.time() * 1000)
    send(bootstrap, appended, [{"value": b"v", "timestamp": 1_700_000_000_123}] * 3, compression_type="zstd")
    for message in read(bootstrap, appended, 3):
        kind, time_ms = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert before <= time_ms <= int(time.time() * 1000)


def long_poll(bootstrap, topic):
    """A reader that waits at the end gets a new record at once, long before its fetch would time out."""
    create_topic(bootstrap, topic)
    client = consumer(bootstrap, fetch_wait_max_ms=10_000)
    client.assign([TopicPartition(topic, 0, 0)])
    assert client.poll(1) is None
    begun = time.monotonic()
    send(bootstrap, topic, [{"value": b"now"}])
    assert receive(client, 1)[0].value() == b"now"
    assert time.monotonic() - begun < 5
    client.close()


def many_partitions(bootstrap, topic):
    create_topic(bootstrap, topic, "50")
    send(bootstrap, topic, [{"value": b"%d" % n, "partition": n % 50} for n in range(5_000)])
    client = consumer(bootstrap)
    client.assign([TopicPartition(topic, partition, 0) for partition in range(50)])
    messages = receive(client, 5_000)
    assert sorted(int(message.value()) for message in messages) == list(range(5_000))
    client.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
