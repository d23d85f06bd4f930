"""One application on kafka-python, with its defaults; what it lives through goes to standard output (README.md)."""

import logging
import os
import sys
import time

from kafka import KafkaConsumer, KafkaProducer

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


def consume(bootstrap, topic, name):
    consumer = KafkaConsumer(
        topic,
        group_id=name,
        auto_commit_interval_ms=1000,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        **settings(bootstrap),
    )
    while True:
        try:
            for record in consumer:
                say("read", record.value.decode())
        except Exception as err:
            failed(err)
            time.sleep(0.2)


def produce(bootstrap, topic, _name):
    producer = KafkaProducer(enable_idempotence=True, **settings(bootstrap))
    serial = 0
    while True:
        try:
            future = producer.send(topic, str(serial).encode())
            future.add_callback(lambda _, serial=serial: say("acked", serial))
            future.add_errback(failed)
        except Exception as err:
            failed(err)
        serial += 1
        time.sleep(PAUSE_S)


def transact(bootstrap, topic, name):
    producer = KafkaProducer(transactional_id=name, **settings(bootstrap))
    producer.init_transactions()
    serial = 0
    while True:
        values = range(serial, serial + IN_ONE)
        serial += IN_ONE
        try:
            producer.begin_transaction()
            for value in values:
                producer.send(topic, str(value).encode())
            producer.commit_transaction()
            for value in values:
                say("acked", value)
        except Exception as err:
            failed(err)
            try:
                producer.abort_transaction()
            except Exception as fatal:
                failed(fatal)
                time.sleep(0.2)
        time.sleep(IN_ONE * PAUSE_S)


if __name__ == "__main__":
    logging.disable()
    kind, *rest = sys.argv[1:]
    {"consume": consume, "produce": produce, "transact": transact}[kind](*rest)
