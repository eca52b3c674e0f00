"""A member of a group, with one of two clients, that tells what it does as Kafka's verifiable consumer tells it.

    member.py confluent|kafka-python BOOTSTRAP TOPIC

Its group is named as the topic. It commits what it was given before it asks for more, until it is killed.
"""

import json
import sys
import time


def tell(name, **facts):
    print(json.dumps({"timestamp": time.time_ns() // 1_000_000, "name": name, **facts}), flush=True)


def tell_record(topic, partition, offset):
    tell("record_data", topic=topic, partition=partition, offset=offset)


def tell_commit(topic, offsets):
    offsets = [{"topic": topic, "partition": partition, "offset": offset} for partition, offset in offsets.items()]
    tell("offsets_committed", offsets=offsets, success=True)


def confluent(bootstrap, topic):
    from confluent_kafka import Consumer, KafkaException

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 20000,
            "heartbeat.interval.ms": 500,
            "partition.assignment.strategy": "range",
        }
    )
    consumer.subscribe([topic])
    while True:
        offsets = {}
        for message in consumer.consume(100, timeout=0.2):
            if message.error():
                print(message.error(), file=sys.stderr)
                continue
            tell_record(topic, message.partition(), message.offset())
            offsets[message.partition()] = message.offset() + 1
        if offsets:
            try:
                consumer.commit(offsets=places(topic, offsets), asynchronous=False)
                tell_commit(topic, offsets)
            except KafkaException as error:
                print(error, file=sys.stderr)


def places(topic, offsets):
    from confluent_kafka import TopicPartition

    return [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]


def kafka_python(bootstrap, topic):
    from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.errors import KafkaError

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=topic,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=20000,
        heartbeat_interval_ms=500,
        partition_assignment_strategy=[RangePartitionAssignor],
    )
    while True:
        offsets = {}
        for records in consumer.poll(timeout_ms=200).values():
            for record in records:
                tell_record(topic, record.partition, record.offset)
                offsets[record.partition] = record.offset + 1
        if offsets:
            try:
                consumer.commit(
                    {TopicPartition(topic, n): OffsetAndMetadata(offset, "", -1) for n, offset in offsets.items()}
                )
                tell_commit(topic, offsets)
            except KafkaError as error:
                print(error, file=sys.stderr)


if __name__ == "__main__":
    {"confluent": confluent, "kafka-python": kafka_python}[sys.argv[1]](*sys.argv[2:])
