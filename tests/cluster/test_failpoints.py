"""Goal: at whichever step of a transaction a node is killed, stands still, is cut off or loses the
actor of that step, all of the transaction happens or nothing of it, on all nodes, as its client was
told; and no lock is left.
Method: three nodes of an engramd that fails at a step when a file says so (failpoint.c), a
transaction that changes every shard of a table on disc, and its client at the first node."""
import collections
import itertools
import os
import pathlib
import signal
import sys
import threading
import types
import unittest

import harness
from harness import BIN, HAPPENED_NOT, MAY_HAVE_HAPPENED, Cluster, ClusterTest, Refused, eventually, main

KEYS = list(range(96))  # of all shards, of which each node is the master of some

# In the order that a transaction comes to them; of those that it comes to for each part, which time.
STEPS = ("coord.begun 1", "coord.prepare_sent 1", "coord.prepare_sent 5", "part.prepare_received 1",
         "part.locked 1", "part.logged 1", "part.voted 1", "part.voted 3", "coord.vote_heard 1",
         "coord.vote_heard 9", "coord.decided 1", "coord.logged 1", "coord.commit_sent 1",
         "coord.commit_sent 9", "part.commit_received 1", "part.applied 1", "part.applied 3",
         "coord.commit_heard 1", "coord.answered 1", "coord.end 1")
# Each takes two seconds, so of all of them, with EG_ALL_STEPS, a few are enough for every day.
ACTIONS = ("kill", "crash", "cut", "stop")
EVERY_DAY = (("part.prepare_received 1", "crash"), ("part.logged 1", "kill"), ("part.voted 3", "cut"),
             ("coord.vote_heard 1", "crash"), ("coord.decided 1", "kill"), ("coord.logged 1", "crash"),
             ("coord.commit_sent 9", "kill"), ("part.applied 1", "crash"), ("coord.commit_heard 1", "crash"))
STORMED_MAX = 2000  # transactions: 17 managers that die in ten seconds are too many


class Asker(threading.Thread):
    """One request, and what became of it: done, not, maybe."""

    def __init__(self, cluster, *request):
        super().__init__(daemon=True)
        self.client, self.request, self.outcome = cluster.client(0), request, None
        self.start()

    def run(self):
        try:
            self.client.call(*self.request)
            self.outcome = "done"
        except Refused as refused:
            self.outcome = "not" if refused.code in HAPPENED_NOT else "maybe"
        except OSError:
            self.outcome = "maybe"


class FailpointTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.files = [self.dir / f"failpoint{number}" for number in range(3)]
        self.machines = {number: types.SimpleNamespace(env={"EG_FAILPOINT": str(file)})
                         for number, file in enumerate(self.files)}
        self.cluster = Cluster(self, 3, proxied=True, machines=self.machines)
        self.cluster.wait_for_view()
        self.stamp = 0
        self.cluster.client(0, patient=True).call("create_table", "t", {"shards": 24, "storage": "disc"})
        self.write_all()

    def write_all(self):
        """By whom it may concern: nobody holds any of it.  What is in doubt is written again."""
        self.stamp += 1
        def written():
            try:
                client = self.cluster.client(self.stamp % 3)
                return client.call("transaction", [["write_many", "t", [[k, self.stamp] for k in KEYS]]]) == [len(KEYS)]
            except Refused as refused:
                self.assertIn(refused.code, HAPPENED_NOT | MAY_HAVE_HAPPENED)
                return False
        eventually(written, "all that was held is free")

    def seen(self, number):
        """At one moment, by that node: the stamps that there are; None: it does not say now."""
        try:
            read = self.cluster.client(number).call("transaction", [["read_many", "t", KEYS]])[0]
        except Refused as refused:
            self.assertIn(refused.code, HAPPENED_NOT | MAY_HAVE_HAPPENED)
            return None
        return {found[0][1] for found in read}

    def pid(self, number):
        return self.cluster.nodes[number].process.pid

    def is_stopped(self, number):
        return pathlib.Path(f"/proc/{self.pid(number)}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"

    def cut(self, alone):
        for other in set(range(3)) - {alone}:
            self.cluster.proxies[other].cut(self.cluster.names[alone])
            self.cluster.proxies[alone].cut(self.cluster.names[other])

    def befall(self, action, failing):
        others = sorted({0, 1, 2} - {failing})
        if action == "kill":
            self.cluster.nodes[failing].process.wait(harness.ANSWER_SECONDS)
            self.cluster.start(failing)
        elif action in ("stop", "cut"):
            eventually(lambda: self.is_stopped(failing), "it stands still")
            if action == "cut":
                self.cut(failing)
                os.kill(self.pid(failing), signal.SIGCONT)
            self.cluster.wait_for_view(others)
            eventually(lambda: len(self.seen(others[0]) or ()) == 1, "what is not blocked, and whole")
            if action == "stop":
                os.kill(self.pid(failing), signal.SIGCONT)
            for proxy in self.cluster.proxies:
                proxy.heal()
        self.cluster.wait_for_view()

    def fail_at(self, step, action):
        """A transaction, again until the step was come to: its shards' masters move when nodes come and go."""
        failing = 0 if step.startswith("coord") else 1
        line = f"2pc.{step} {'stop' if action == 'cut' else action}"
        before = {self.stamp}
        while True:
            self.stamp += 1
            self.files[failing].write_text(line)
            asker = Asker(self.cluster, "transaction", [["write", "t", [k, self.stamp]] for k in KEYS],
                          {"id": f"number {self.stamp}"})
            eventually(lambda: asker.outcome or not self.files[failing].exists(), f"{line}")
            if not self.files[failing].exists():
                break
            before = self.allowed(asker.outcome, before)
        self.befall(action, failing)
        asker.join(harness.ANSWER_SECONDS)
        self.agreed(asker.outcome, before)

    def allowed(self, outcome, before):
        return {"done": {self.stamp}, "not": before, "maybe": before | {self.stamp}}[outcome]

    def agreed(self, outcome, before):
        allowed = self.allowed(outcome, before)
        everywhere = []
        def same():
            everywhere[:] = [self.seen(number) for number in range(3)]
            return None not in everywhere and len(set.union(*everywhere)) == 1
        eventually(same, "all or nothing, everywhere", seen=lambda: everywhere)
        self.assertLessEqual(everywhere[0], allowed, f"its client was told: {outcome}")
        for number in range(3):
            status = self.cluster.client(number, patient=True).call("transaction_status", f"number {self.stamp}")
            self.assertIn(status, ("unknown", "committed" if everywhere[0] == {self.stamp} else "aborted"))
        self.write_all()

    def test_each_step(self):
        steps = itertools.product(STEPS, ACTIONS) if "EG_ALL_STEPS" in os.environ else EVERY_DAY
        for step, action in steps:
            with self.subTest(step, action=action):
                print(step, action, end=" ", flush=True)
                self.fail_at(step, action)

    def test_18_a_node_whose_managers_die_too_often_stops_and_comes_back(self):
        """Rather than that others wait for what it has coordinated; what it is asked meanwhile happens or does not."""
        self.files[0].write_text("2pc.coord.begun 1 storm")
        node, told, before = self.cluster.nodes[0], {}, self.stamp
        while node.process.poll() is None:
            self.assertLess(self.stamp, before + STORMED_MAX, "it goes on and on")
            self.stamp += 1
            try:
                asker = Asker(self.cluster, "transaction", [["write", "t", [k, self.stamp]] for k in KEYS])
            except OSError:  # it has just gone
                break
            asker.join(harness.ANSWER_SECONDS)
            told[self.stamp] = asker.outcome
        self.assertEqual(node.process.wait(harness.ANSWER_SECONDS), -signal.SIGABRT)
        self.assertIn("transactions cannot go on: restarts reached the intensity", node.log_text())
        self.nodes.remove(node)  # what it said is no defect
        self.files[0].unlink()
        self.cluster.start(0)
        self.cluster.wait_for_view()
        print(collections.Counter(told.values()), end=" ")
        found = []

        def whole():
            found[:] = [self.seen(number) for number in range(3)]
            return None not in found and len(set.union(*found)) == 1
        eventually(whole, "all or nothing, everywhere", seen=lambda: found)
        there, = found[0]
        self.assertNotEqual(told.get(there), "not")
        self.assertFalse(any(outcome == "done" for stamp, outcome in told.items() if stamp > there), (there, told))
        self.write_all()


if __name__ == "__main__":
    if not (BIN / "tests/engramd_failing").exists():
        print("skipped: only the plain build of gcc has a node that fails at steps")
        sys.exit(77)
    harness.Node.program = BIN / "tests/engramd_failing"
    main()
