"""Sends the lines of a file in their order with an idempotent producer, and says how far it has come.

    weblog.py BOOTSTRAP TOPIC CODEC FILE

Every 10,000 acknowledged lines it prints how many there are. It fails if a line was not acknowledged.
"""

import sys

from confluent_kafka import KafkaException, Producer

REPORT_EVERY = 10_000


def main(bootstrap, topic, codec, path):
    acknowledged = 0

    def on_delivery(error, _message):
        nonlocal acknowledged
        if error is not None:
            raise KafkaException(error)
        acknowledged += 1
        if acknowledged % REPORT_EVERY == 0:
            print(acknowledged, flush=True)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": codec,
            "linger.ms": 20,
            "batch.size": 200_000,
            "queue.buffering.max.messages": 50_000,
            # It must find the broker again soon after each kill, and never give up.
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200,
            "delivery.timeout.ms": 120_000,
        }
    )
    sent = 0
    with open(path, "rb") as lines:
        for line in lines:
            value = line[:-1]
            while True:
                try:
                    producer.produce(topic, value, on_delivery=on_delivery)
                    break
                except BufferError:
                    producer.poll(0.05)
            sent += 1
            if sent % 100 == 0:
                producer.poll(0)
    producer.flush(120)
    if acknowledged != sent:
        sys.exit(f"of {sent} lines, {acknowledged} were acknowledged")


if __name__ == "__main__":
    main(*sys.argv[1:])
