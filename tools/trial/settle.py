"""settle -- wait until all copies are equal and hold what they must; name those that never do.

An item is one record of which somebody knows what it must be.  It is read at each node's own copy
(dirty) and, as any program would, through the first.  Items that are right are looked at once more
when all are: what heals late may still bring something back."""
import collections
import datetime
import time

from .client import Client, Refused

BATCH = 250
PAUSE_S = 0.05

Item = collections.namedtuple("Item", "table key judge")  # judge(records) -> (verdict or None, what it must be)


class Settler:
    def __init__(self, addresses, timeout_s, user=None, strict=True):
        self.addresses, self.timeout_s, self.user, self.strict = addresses, timeout_s, user, strict
        self.clients = {}

    def settle(self, items):
        """Violations, none where all is well within the time."""
        end = time.monotonic() + self.timeout_s
        wrong = self.look(items)
        while True:
            if not wrong:
                wrong = self.look(items)
                if not wrong:
                    break
            if time.monotonic() > end:
                break
            time.sleep(PAUSE_S)
            wrong = self.look([item for item, _ in wrong])
        self.close()
        return [violation for _, violation in wrong]

    def close(self):
        for client in self.clients.values():
            client.close()
        self.clients.clear()

    def look(self, items):
        wrong = []
        for first in range(0, len(items), BATCH):
            batch = items[first:first + BATCH]
            copies = [(node, self.read(address, batch, {"context": "dirty"}))
                      for node, address in self.addresses.items()]
            node, address = next(iter(self.addresses.items()))
            copies.append((f"a reader at {node}", self.read(address, batch, {})))
            for at, item in enumerate(batch):
                violation = self.judge(item, [(node, found[at]) for node, found in copies])
                if violation is not None:
                    wrong.append((item, violation))
        return wrong

    def read(self, address, batch, options):
        """Of each item its records, or what was said instead."""
        try:
            if address not in self.clients:
                self.clients[address] = Client(address, user=self.user)
            return self.clients[address].call_all([("read", item.table, item.key, options) for item in batch])
        except (OSError, Refused) as error:
            client = self.clients.pop(address, None)
            if client is not None:
                client.close()
            return [error] * len(batch)

    @staticmethod
    def judge(item, copies):
        held = [(node, records) for node, records in copies
                if not (isinstance(records, Refused) and records.code == "no_replica")]
        for node, records in held:
            if isinstance(records, Exception):
                return violation("unreachable", item, node, str(records))
            verdict, wanted = item.judge(records)
            if verdict is not None:
                return violation(verdict, item, node, records, wanted)
        for node, records in held[1:]:
            if records != held[0][1]:
                return violation("unequal", item, node, records, f"as at {held[0][0]}: {held[0][1]}")
        return None if held else violation("unreachable", item, "every node", "no_replica")


def violation(what, item, node, found, wanted=None):
    return {"what": what, "table": item.table, "key": item.key, "node": node, "found": found, "wanted": wanted,
            "at": now(), "when": time.monotonic()}


def now():
    """As nodes' logs say it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
