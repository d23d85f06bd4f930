"""One application on aiokafka, with its defaults; what it lives through goes to standard output (README.md)."""

import asyncio
import logging
import os
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

PAUSE_S = 0.2
IN_ONE = 5  # records of a transaction
last_error = None


def say(word, text):
    print(int(time.time() * 1000), word, text, flush=True)


def failed(err):
    global last_error
    text = f"{type(err).__name__}: {err}".replace("\n", " ")
    if text != last_error:
        last_error = text
        say("error", text)


def settings(bootstrap):
    return {
        "bootstrap_servers": bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": os.environ["KAFKA_USER"],
        "sasl_plain_password": os.environ["KAFKA_PASSWORD"],
    }


async def consume(bootstrap, topic, name):
    consumer = AIOKafkaConsumer(
        topic,
        group_id=name,
        auto_commit_interval_ms=1000,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        **settings(bootstrap),
    )
    await consumer.start()
    while True:
        try:
            async for record in consumer:
                say("read", record.value.decode())
        except Exception as err:
            failed(err)
            await asyncio.sleep(0.2)


async def acknowledged(future, serial):
    try:
        await future
        say("acked", serial)
    except Exception as err:
        failed(err)


async def produce(bootstrap, topic, _name):
    producer = AIOKafkaProducer(enable_idempotence=True, **settings(bootstrap))
    await producer.start()
    waiting = set()
    serial = 0
    while True:
        try:
            future = await producer.send(topic, str(serial).encode())
            task = asyncio.create_task(acknowledged(future, serial))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        except Exception as err:
            failed(err)
        serial += 1
        await asyncio.sleep(PAUSE_S)


async def transact(bootstrap, topic, name):
    producer = AIOKafkaProducer(transactional_id=name, **settings(bootstrap))
    await producer.start()
    serial = 0
    while True:
        values = range(serial, serial + IN_ONE)
        serial += IN_ONE
        try:
            async with producer.transaction():
                for value in values:
                    await producer.send(topic, str(value).encode())
            for value in values:
                say("acked", value)
        except Exception as err:
            failed(err)
        await asyncio.sleep(IN_ONE * PAUSE_S)


if __name__ == "__main__":
    logging.disable()
    kind, *rest = sys.argv[1:]
    asyncio.run({"consume": consume, "produce": produce, "transact": transact}[kind](*rest))
