"""What applications do with aiokafka, one function a case.

    aiokafka_groups.py CASE BOOTSTRAP TOPIC

A case fails by an exception. The topic does not exist yet, and there is no group of its name.
"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalOperation, KafkaError
from aiokafka.structs import OffsetAndMetadata

WAIT_S = 30
PARTITIONS = 4


async def fill(bootstrap, topic, count, **settings):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **settings) as producer:
        sent = [await producer.send(topic, str(n).encode(), partition=n % PARTITIONS) for n in range(count)]
        await asyncio.gather(*sent)


def member(bootstrap, topic, **settings):
    config = {
        "bootstrap_servers": bootstrap,
        "group_id": topic,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 200,
        "metadata_max_age_ms": 1000,
    }
    topics = settings.pop("topics", [topic])
    return AIOKafkaConsumer(*topics, **(config | settings))


async def until(what, condition):
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.05)


async def receive(consumer, count, *places):
    """The next messages, of these partitions if any are named."""
    messages = []
    async with asyncio.timeout(WAIT_S):
        while len(messages) < count:
            batches = await consumer.getmany(*places, timeout_ms=200, max_records=count - len(messages))
            messages += sum(batches.values(), [])
    return messages


async def codecs(bootstrap, topic):
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        name = f"{topic}-{codec}"
        await fill(bootstrap, name, 1000, compression_type=codec, enable_idempotence=True)
        async with member(bootstrap, name) as consumer:
            values = [int(message.value) for message in await receive(consumer, 1000)]
        assert sorted(values) == list(range(1000)), codec


async def resume(bootstrap, topic):
    await fill(bootstrap, topic, 400)
    async with member(bootstrap, topic) as consumer:
        values = [message.value for message in await receive(consumer, 150)]
        await consumer.commit()
    async with member(bootstrap, topic) as consumer:
        values += [message.value for message in await receive(consumer, 250)]
        assert sorted(map(int, values)) == list(range(400)), "a record was lost, or came twice after its commit"
        assert await consumer.getmany(timeout_ms=500) == {}


async def auto_commit(bootstrap, topic):
    await fill(bootstrap, topic, 40)
    async with member(bootstrap, topic, enable_auto_commit=True, auto_commit_interval_ms=200) as consumer:
        await receive(consumer, 40)
    async with member(bootstrap, topic) as consumer:
        found = [await consumer.committed(TopicPartition(topic, n)) for n in range(PARTITIONS)]
        assert found == [10] * PARTITIONS, found


async def rebalance(bootstrap, topic, **settings):
    await fill(bootstrap, topic, 0)
    events = []

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            events.append(("revoked", len(revoked)))

        def on_partitions_assigned(self, assigned):
            events.append(("assigned", len(assigned)))

    one = member(bootstrap, topic, topics=[], **settings)
    one.subscribe([topic], listener=Listener())
    async with one:
        await until("one owns all", lambda: len(one.assignment()) == 4)
        async with member(bootstrap, topic, **settings) as two:
            await until("two share", lambda: len(one.assignment()) == 2 and len(two.assignment()) == 2)
            assert not one.assignment() & two.assignment()
        await until("one owns all again", lambda: len(one.assignment()) == 4)
        assigned = lambda: [count for event, count in events if event == "assigned"]
        await until("the listener was told", lambda: len(assigned()) == 3)
        assert assigned() == [4, 2, 4], events


async def sticky(bootstrap, topic):
    await rebalance(bootstrap, topic, partition_assignment_strategy=[StickyPartitionAssignor])


async def static_member(bootstrap, topic):
    await fill(bootstrap, topic, 0)
    async with member(bootstrap, topic, group_instance_id="one") as one:
        two = member(bootstrap, topic, group_instance_id="two", session_timeout_ms=20000)
        await two.start()
        await until("two share", lambda: len(one.assignment()) == 2 and len(two.assignment()) == 2)
        owned = two.assignment()
        await two.stop()
        async with member(bootstrap, topic, group_instance_id="two", session_timeout_ms=20000) as two:
            assert two.assignment() == owned and len(one.assignment()) == 2


async def commits(bootstrap, topic):
    await fill(bootstrap, topic, 40)
    places = [TopicPartition(topic, n) for n in range(PARTITIONS)]
    async with member(bootstrap, topic) as consumer:
        assert await consumer.committed(places[0]) is None
        await consumer.commit({places[0]: OffsetAndMetadata(3, "über"), places[1]: 7})
        assert [await consumer.committed(place) for place in places] == [3, 7, None, None]
        assert await consumer.end_offsets(places) == dict.fromkeys(places, 10)
        consumer.seek(places[0], 8)
        found = [(message.partition, message.offset) for message in await receive(consumer, 2, places[0])]
        assert found == [(0, 8), (0, 9)], found
        async with AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=topic, enable_auto_commit=False) as stranger:
            stranger.assign(places)
            try:
                await stranger.commit({places[0]: 9})
                raise AssertionError("a stranger's commit was taken")
            except (CommitFailedError, KafkaError, IllegalOperation):
                pass
        assert await consumer.committed(places[0]) == 3


async def administration(bootstrap, topic):
    await fill(bootstrap, topic, 40)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        async with member(bootstrap, topic) as consumer:
            await receive(consumer, 40)
            await consumer.commit()
            assert (topic, "consumer") in await admin.list_consumer_groups()
            [described] = await admin.describe_consumer_groups([topic])
            [(error, name, state, kind, assignor, members, *_)] = described.groups
            assert (error, name, state, kind) == (0, topic, "Stable", "consumer"), described
            assert len(members) == 1 and assignor, described
        offsets = await admin.list_consumer_group_offsets(topic)
        assert {place.partition: found.offset for place, found in offsets.items()} == dict.fromkeys(range(4), 10)
        await admin.create_partitions({topic: NewPartitions(6)})
        [about] = await admin.describe_topics([topic])
        assert len(about["partitions"]) == 6, about
        deleted = await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(4)})
        assert deleted == {TopicPartition(topic, 0): 4}, deleted
        await admin.delete_topics([topic])
        # A real Kafka's broker hears of it a moment after the controller has done it.
        async with asyncio.timeout(WAIT_S):
            while topic in await admin.list_topics():
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
