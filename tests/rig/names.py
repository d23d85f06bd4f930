"""dns/dns.h through its driver: one record of a service, no Kafka.

with Names(folder, zone_settings) as one:
    one.call("swap", A, B, 30)          the answer, or the error as a dict with `what`
"""

import json

from rig.driver import Driver
from rig.nameserver import ZONE
from rig.procs import wait_for

RECORD = f"kafka.{ZONE}"
A, B = f"kafka-a.{ZONE}", f"kafka-b.{ZONE}"


class Names:
    """dns/dns.h through its driver: one record, no Kafka."""

    def __init__(self, folder, zone, record=RECORD, at=None, name=ZONE, word="d", env=None, **more):
        data = {
            "deployment": "rig",
            "sites": {site: {"kafka": {"bootstrap.servers": "127.0.0.1:1"}} for site in "ab"},
            "services": {
                "s": {
                    "home": "a",
                    "others": ["b"],
                    "topics": {"include": ["t"]},
                    "cname": [{"record": record, "at": at or {"a": A, "b": B}, **more}],
                }
            },
            "dns": {name: zone},
        }
        self.path = folder / f"{word}.json"
        self.path.write_text(json.dumps(data))
        self.driver = Driver("dns_driver", self.path, "s", env=env)

    def call(self, *words, timeout=20):
        """The answer, or the error as a dict with `what`."""
        self.driver.send(*words)
        line = wait_for(str(words), lambda: self.next(timeout), timeout + 1)
        return json.loads(line["line"][5:]) if line["event"] == "done" else line

    def next(self, timeout):
        line = self.driver._lines.get(timeout=timeout)
        return line if line["event"] in ("done", "error") else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert self.driver.quit() == 0, self.driver.errors
