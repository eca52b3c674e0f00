"""What applications do with kafka-python, one function a case.

    kafka_python.py CASE BOOTSTRAP TOPIC
"""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

WAIT_S = 20


def send(bootstrap, topic, values, **settings):
    client = KafkaProducer(bootstrap_servers=bootstrap, **settings)
    sent = [client.send(topic, **value) for value in values]
    client.flush(WAIT_S)
    client.close()
    return [future.get(WAIT_S) for future in sent]


def consumer(bootstrap, topic, **settings):
    settings.setdefault("consumer_timeout_ms", WAIT_S * 1000)
    client = KafkaConsumer(bootstrap_servers=bootstrap, **settings)
    client.assign([TopicPartition(topic, 0)])
    return client


def take(client, count):
    taken = []
    for record in client:
        taken.append(record)
        if len(taken) == count:
            return taken
    raise AssertionError(f"only {len(taken)} of {count} records came")


# Cases


def round_trip(bootstrap, topic):
    """The default producer, which is idempotent, and one that compresses; headers, keys and nulls."""
    start = int(time.time() * 1000)
    values = [
        {
            "key": b"%d" % n,
            "value": None if n % 7 == 0 else b"value %d" % n,
            "headers": [("n", b"%d" % n), ("n", b"again")],
            "timestamp_ms": start + n,
        }
        for n in range(1000)
    ]
    offsets = [metadata.offset for metadata in send(bootstrap, topic, values)]
    offsets += [metadata.offset for metadata in send(bootstrap, topic, values, compression_type="gzip")]
    assert offsets == list(range(2000)), offsets[:10]
    client = consumer(bootstrap, topic, auto_offset_reset="earliest")
    for record, expected in zip(take(client, 2000), values + values):
        assert record.key == expected["key"] and record.value == expected["value"]
        assert list(record.headers) == expected["headers"]
        assert record.timestamp == expected["timestamp_ms"]
    client.close()


def positions(bootstrap, topic):
    start = int(time.time() * 1000) - 100_000
    send(bootstrap, topic, [{"value": b"%d" % n, "timestamp_ms": start + n} for n in range(100)])
    client = consumer(bootstrap, topic)
    at = TopicPartition(topic, 0)
    assert client.beginning_offsets([at]) == {at: 0}
    assert client.end_offsets([at]) == {at: 100}
    assert client.offsets_for_times({at: start + 40})[at].offset == 40
    assert client.offsets_for_times({at: start + 1000})[at] is None
    client.seek(at, 30)
    assert take(client, 1)[0].value == b"30"
    client.seek_to_beginning(at)
    assert take(client, 1)[0].value == b"0"
    assert client.partitions_for_topic(topic) == {0}
    client.close()


def topics(bootstrap, topic):
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    client.create_topics([NewTopic(topic, 3, 1)])
    assert topic in client.list_topics()
    described = client.describe_topics([topic])[0]
    assert len(described["partitions"]) == 3, described
    client.delete_topics([topic])
    # A real Kafka's broker hears of it a moment after the controller has done it.
    end = time.monotonic() + WAIT_S
    while topic in client.list_topics():
        assert time.monotonic() < end, "a deleted topic is listed"
    client.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
