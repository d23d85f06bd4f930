"""A consumer that does nothing twice through a failover: it keeps what it has done under each record's name at the
source, and reads the hint that Ferry leaves in its own group's commit to know that name where the record is a copy
(docs/hints.md).

    python hints_consumer.py BOOTSTRAP GROUP TOPIC DONE_FILE COMMIT_EVERY IDLE_SECONDS

DONE_FILE stands for the application's own store; the work and its entry there belong into one transaction.
"""

import bisect
import pathlib
import re
import sys
import time

from confluent_kafka import Consumer, TopicPartition


class Hint:
    """One hint, as docs/hints.md has it. This binding reads behind the end of metadata, so the text ends itself."""

    FORM = re.compile(r"ferry1 ([^!]*) !")

    @classmethod
    def of(cls, commit):
        """None: it is none, or of a version that this consumer does not know."""
        try:
            metadata = commit.metadata or ""
        except UnicodeDecodeError as error:  # what stands behind the end is no text
            metadata = error.object.decode("latin-1")
        match = cls.FORM.match(metadata)
        return cls(match) if match else None

    def __init__(self, match):
        fields = dict(field.split("=", 1) for field in match[1].split(" "))
        self.text = match[0]
        self.cluster = fields["cluster"]
        self.start, self.until, self.mapped = (int(fields[key]) for key in ("from", "until", "mapped"))
        runs = [] if fields["runs"] == "-" else fields["runs"].split(",")
        self.runs = [tuple(map(int, run.split(":"))) for run in runs]

    def name(self, message):
        """The record's name at the source; None where the hint does not tell."""
        offset = message.offset()
        if not self.start <= offset < self.mapped:
            return None
        target, source = self.runs[bisect.bisect_right(self.runs, (offset, sys.maxsize)) - 1]
        return f"{self.cluster}/{message.topic()}/{message.partition()}/{source + offset - target}"


class HintsConsumer:
    def __init__(self, bootstrap, group, topic, done):
        self.done = pathlib.Path(done)
        self.names = (
            {line.split("\t")[0] for line in self.done.read_text().splitlines()} if self.done.exists() else set()
        )
        self.hints = {}
        self.to_commit = {}
        self.skipped = 0
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )
        self.our_cluster = self.consumer.list_topics(topic, timeout=20).cluster_id
        self.consumer.subscribe([topic], on_assign=self.assigned, on_revoke=lambda *_: self.commit())

    def assigned(self, consumer, partitions):
        """Before the first record of a partition: what does our own commit say?"""
        for commit in consumer.committed(partitions, timeout=20):
            self.hints[commit.topic, commit.partition] = Hint.of(commit)

    def handle(self, message):
        where = message.topic(), message.partition()
        hint = self.hints.get(where)
        name = hint and hint.name(message)
        if name is None:  # of this cluster itself
            name = f"{self.our_cluster}/{where[0]}/{where[1]}/{message.offset()}"
        if name in self.names:
            self.skipped += 1
        else:
            with self.done.open("a") as out:
                out.write(f"{name}\t{message.value().decode()}\n")
            self.names.add(name)
        # The hint is carried along as long as it says something: a restart in the midst of it reads it again.
        over = hint is None or message.offset() + 1 >= hint.until
        self.to_commit[where] = TopicPartition(*where, message.offset() + 1, metadata="" if over else hint.text)

    def commit(self):
        if self.to_commit:
            self.consumer.commit(offsets=list(self.to_commit.values()), asynchronous=False)
            self.to_commit.clear()

    def run(self, commit_every, idle_seconds):
        handled, last = 0, time.monotonic()
        while time.monotonic() - last < idle_seconds:
            message = self.consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            self.handle(message)
            handled, last = handled + 1, time.monotonic()
            if handled % commit_every == 0:
                self.commit()
        self.commit()
        self.consumer.close()
        print("skipped", self.skipped)


if __name__ == "__main__":
    bootstrap, group, topic, done, commit_every, idle_seconds = sys.argv[1:]
    HintsConsumer(bootstrap, group, topic, done).run(int(commit_every), int(idle_seconds))
