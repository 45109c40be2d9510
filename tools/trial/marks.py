"""marks -- how long it takes until what was written in a cut is everywhere.

Just before a cut heals each node is given some records; afterwards all nodes are asked for all of
them until each has them in its own copy."""
import concurrent.futures
import time

from .client import Client, Refused
from .tables import MARKS

ASK_S = 3.0
WRITE_S = 1.0
DIRTY = {"context": "dirty"}


class Marks:
    def __init__(self, addresses, tables, user=None):
        self.addresses, self.tables, self.user = addresses, tables, user
        self.number = 0
        self.wanted = []

    def write(self):
        self.number += 1
        with concurrent.futures.ThreadPoolExecutor(len(self.addresses)) as all_at_once:
            self.wanted = sum(all_at_once.map(self.write_at, self.addresses), [])

    def write_at(self, node):
        """The keys that it has now."""
        keys = [f"{node} {at}" for at in range(MARKS)]
        try:
            client = Client(self.addresses[node], WRITE_S, self.user)
            client.call("write_many", self.tables.marks, [[key, self.number] for key in keys])
            client.close()
            return keys
        except (OSError, Refused):
            return []  # it could not write just then, and nothing is asked of that

    def wait(self, seconds, pump):
        """When all were everywhere first; None where they are not within the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(self.has_all(address) for address in self.addresses.values()):
                return time.monotonic()
            pump(0.02)
        return None

    def has_all(self, address):
        try:
            client = Client(address, ASK_S, self.user)
            found = client.call_all([("read", self.tables.marks, key, DIRTY) for key in self.wanted])
            client.close()
        except (OSError, Refused):
            return False
        return all(isinstance(records, list) and records and records[0][1] >= self.number
                   or isinstance(records, Refused) and records.code == "no_replica" for records in found)
