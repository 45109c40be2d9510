"""Goal: what transactions of real nodes read can be explained by one order of them, in real time, in
each view; and what was refused is read by nobody.
Method: clients of three nodes read lists and append to them in transactions that they hold open,
while links break and come back and a node is killed; serial_check judges the whole history."""
import os
import random
import subprocess
import threading
import time
import unittest

import harness
from harness import BIN, MAY_HAVE_HAPPENED, Cluster, ClusterTest, Refused, eventually, main

# no_table: of who has come back and has not met the others yet.
HAPPENED_NOT = harness.HAPPENED_NOT | {"not_found", "no_table"}
CODES = HAPPENED_NOT | MAY_HAVE_HAPPENED  # of a cluster that is cut; of anything else somebody is to hear
KEYS_AT_ONCE, TXS_A_KEY = 6, 30
TABLES = ("ram", "disc")


class History:
    """What transactions read and appended, as serial_check wants it."""

    def __init__(self):
        self.lock, self.lines, self.views, self.elements = threading.Lock(), [], {}, 0

    def element(self):
        with self.lock:
            self.elements += 1
            return self.elements

    def key(self, chosen):
        """One of those of the moment: lists stay short."""
        return len(self.lines) // TXS_A_KEY + chosen

    def add(self, before, after, end, begin, ops):
        over = time.monotonic_ns()
        with self.lock:
            epoch = self.views.setdefault(before, len(self.views) + 1) if before == after is not None else 0
            self.lines.append(f"{epoch} {end} {begin} {over} {' '.join(ops)}")

    def check(self):
        return subprocess.run([BIN / "tests/serial_check"], input="\n".join(self.lines) + "\n",
                              capture_output=True, text=True, timeout=120)


class Lister(threading.Thread):
    """Carries one transaction out after the other, at one node, until it is told to stop."""

    def __init__(self, cluster, node, history, seed):
        super().__init__(daemon=True)
        self.cluster, self.node, self.history = cluster, node, history
        self.random, self.ended, self.done, self.strange = random.Random(seed), False, 0, None
        self.client = None

    def run(self):
        while not self.ended:
            try:
                self.client = self.client or self.cluster.client(self.node)
                self.transaction()
            except OSError:  # the node is killed
                self.client = None
                time.sleep(0.02)
        if self.client is not None:
            self.client.close()

    def view(self):
        try:
            return str(self.client.call("cluster_status")["view"])
        except (OSError, Refused):
            return None

    def transaction(self):
        before, begin, ops, end = self.view(), time.monotonic_ns(), [], "undone"
        try:
            tx = self.client.call("begin", {"timeout_ms": 5000})
            for _ in range(self.random.randint(1, 4)):
                self.operation(ops, {"tx": tx})
            end = "maybe"
            self.client.call("commit", tx)
            end = "done"
            self.done += 1
        except Refused as refused:
            if refused.code not in CODES:
                self.strange = self.strange or refused
            if refused.code in HAPPENED_NOT:
                end = "undone"
        finally:
            self.history.add(before, self.view(), end, begin, ops)

    def operation(self, ops, at):
        key = self.history.key(self.random.randrange(KEYS_AT_ONCE))
        table = TABLES[key % len(TABLES)]
        found = self.client.call("read", table, key, at)
        elements = found[0][1] if found else []
        ops.append(f"r {key} [{' '.join(map(str, elements))}]")
        if self.random.random() < 0.5:
            element = self.history.element()
            ops.append(f"a {key} {element}")
            self.client.call("write", table, [key, elements + [element]], at)


class SerialTest(ClusterTest):
    def cut(self, alone):
        """From all others, both ways."""
        for other in range(self.cluster.count):
            if other != alone:
                self.cluster.proxies[other].cut(self.cluster.names[alone])
                self.cluster.proxies[alone].cut(self.cluster.names[other])

    def heal(self):
        for proxy in self.cluster.proxies:
            proxy.heal()

    def befall(self, weather):
        """A cut, and a node that is killed and comes back.  Not waited for: the longer, the more goes on."""
        self.cut(weather.randrange(3))
        time.sleep(weather.uniform(0.1, 0.8))
        self.heal()
        time.sleep(weather.uniform(0.1, 0.6))
        killed = weather.randrange(3)
        self.cluster.kill(killed)
        time.sleep(weather.uniform(0.0, 0.8))
        self.cluster.start(killed)
        time.sleep(weather.uniform(0.1, 0.6))

    def test_all_that_transactions_read_has_one_order(self):
        self.cluster = Cluster(self, 3, proxied=True)
        self.cluster.wait_for_view()
        client = self.cluster.client(0, patient=True)
        for table in TABLES:
            client.call("create_table", table, {"shards": 3, "storage": table})
        history, weather = History(), random.Random(7)
        listers = [Lister(self.cluster, number % 3, history, number) for number in range(5)]
        for lister in listers:
            lister.start()
        for _ in range(2 if "EG_LONG" in os.environ else 1):
            self.befall(weather)
        self.cluster.wait_for_view()
        done = sum(lister.done for lister in listers)
        eventually(lambda: sum(lister.done for lister in listers) > done + 30, "transactions after all that")
        eventually(lambda: any(map(self.appended_in_one_view, history.lines)), "one that a stale read can be seen by")
        for lister in listers:
            lister.ended = True
        for lister in listers:
            lister.join(60)
            self.assertIsNone(lister.strange)
        checked = history.check()
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.a_stale_read_is_found(history)

    @staticmethod
    def appended_in_one_view(line):
        return " done " in line and " a " in line and line[0] != "0"

    def a_stale_read_is_found(self, history):
        epoch, _, _, over, *rest = next(filter(self.appended_in_one_view, history.lines)).split()
        key = rest[len(rest) - 1 - rest[::-1].index("a") + 1]
        history.lines.append(f"{epoch} done {int(over) + 1} {int(over) + 2} r {key} []")
        checked = history.check()
        self.assertEqual(checked.returncode, 1)
        self.assertRegex(checked.stdout, "transactions: .*(G-single|incompatible)")


if __name__ == "__main__":
    main()
