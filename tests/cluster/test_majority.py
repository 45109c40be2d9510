"""Goal: a majority table is answered for by a majority only, and in one order that all clients see.
Method: three nodes with a proxy before each; cut, write and read on both sides; and clients of all
nodes, while links break and come back, whose whole history linear_check must find an order for."""
import random
import signal
import subprocess
import threading
import time
import unittest

from harness import (BIN, HAPPENED_NOT, MAY_HAVE_HAPPENED, QUICK, Cluster, ClusterTest, Refused, eventually, main,
                     until_done)

REFUSAL_SECONDS_MAX = 30  # 2.5 where nothing else runs; what would wait for ever is found
KEYS = 4


class History:
    """What clients have asked and heard, as linear_check wants it."""

    def __init__(self):
        self.lock, self.lines, self.number = threading.Lock(), [], 0

    def next(self):
        with self.lock:
            self.number += 1
            return self.number

    def add(self, key, kind, value, seen, known, begin, number):
        line = f"{key} {kind} {value} {seen} {int(known)} {begin} {time.monotonic_ns()} {number}"
        with self.lock:
            self.lines.append(line)

    def check(self):
        return subprocess.run([BIN / "tests/linear_check"], input="\n".join(self.lines) + "\n",
                              capture_output=True, text=True, timeout=120)


class Asker(threading.Thread):
    """Asks one node for this and that until it is told to stop."""

    def __init__(self, cluster, node, history, seed):
        super().__init__(daemon=True)
        self.cluster, self.node, self.history = cluster, node, history
        self.random, self.ended, self.done = random.Random(seed), False, 0

    def run(self):
        client = self.cluster.client(self.node)
        while not self.ended:
            self.ask(client)
        client.close()

    def ask(self, client):
        number, key = self.history.next(), self.random.randrange(KEYS)
        kind = self.random.choice(("read", "read", "write", "write", "take", "match", "query"))
        begin, seen, known = time.monotonic_ns(), 0, True
        try:
            if kind in {"match", "query"}:
                return self.scan(client, number, begin, kind)
            found = client.call(kind, "m", [key, number] if kind == "write" else key)
            if kind != "write":
                seen = found[0][1] if found else 0
            self.done += 1
        except Refused as refused:
            if refused.code in HAPPENED_NOT:
                time.sleep(0.01)
                return
            known = False
        self.history.add(key, kind, number if kind == "write" else 0, seen, known, begin, number)


    def scan(self, client, number, begin, kind):
        """Each record of a scan is as if it had been read by its key."""
        found = client.call("match", "m", ["_", "_"]) if kind == "match" else client.call("query", "select * from m")["rows"]
        there = dict(found)
        self.done += 1
        for key in range(KEYS):
            self.history.add(key, "read", 0, there.get(key, 0), True, begin, number)


class MajorityTest(ClusterTest):
    def open(self, count=3, **options):
        self.cluster = Cluster(self, count, proxied=True)
        self.cluster.wait_for_view()
        self.clients = [self.cluster.client(number) for number in range(count)]
        for client in self.clients:
            self.addCleanup(client.close)
        until_done(self.clients[0], "create_table", "m", {"majority": True, "shards": 2, **options})

    def cut(self, alone):
        """From all others, both ways."""
        for other in range(self.cluster.count):
            if other != alone:
                self.cluster.proxies[other].cut(self.cluster.names[alone])
                self.cluster.proxies[alone].cut(self.cluster.names[other])

    def heal(self):
        for proxy in self.cluster.proxies:
            proxy.heal()

    def refused(self, client, *call):
        begin = time.monotonic()
        self.assert_refused("no_majority", client.call, *call)
        return time.monotonic() - begin

    def test_a_minority_refuses_and_the_others_go_on(self):
        self.open()
        first, second, third = self.clients
        self.assertTrue(self.done(first, "write", "m", [1, "one"]))
        self.assertEqual(self.done(third, "read", "m", 1), [[1, "one"]])
        self.cut(2)
        self.cluster.wait_for_view([0, 1])
        self.cluster.wait_for_view([2])
        self.assertTrue(self.done(second, "write", "m", [1, "two"]))
        calls = [("read", "m", 1), ("write", "m", [1, "no"]), ("delete", "m", 1),
                 ("insert_new", "m", [9, "no"]), ("write_many", "m", [[1, "no"], [2, "no"]]),
                 ("write", "m", [1, "no"], {"context": "dirty"}), ("clear_table", "m"),
                 ("read_many", "m", [1, 2]), ("size", "m"), ("match", "m", ["_", "_"])]
        slow = [self.refused(third, *call) for call in calls]
        print(f"refused after {max(slow):.2f} s", end=" ")
        self.assertLess(max(slow), REFUSAL_SECONDS_MAX)
        self.assertEqual(third.call("read", "m", 1, {"context": "dirty"}), [[1, "one"]])
        self.assertGreater(third.call("cluster_status")["no_majority"], 0)
        self.heal()
        self.cluster.wait_for_view()
        eventually(lambda: self.reads(third, 1) == [[1, "two"]], "the write of the majority")
        eventually(lambda: third.call("cluster_status")["no_majority"] == 0, "all shards have a majority")

    def test_a_minority_refuses_lists_as_well_and_shows_none_of_its_past(self):
        self.open(type="ordered_set", attributes=["key", "value"])
        first, second, third = self.clients
        until_done(first, "add_index", "m", "value")
        values = [["$1", "$2"], [], ["$2"]]
        self.done(first, "write_many", "m", [[key, "old"] for key in range(100)])
        _, cursor = self.done(third, "select", "m", [values], {"limit": 10})
        self.cut(2)
        self.cluster.wait_for_view([0, 1])
        self.cluster.wait_for_view([2])
        self.done(second, "write_many", "m", [[key, "new"] for key in range(100)])
        lists = [("select", "m", [values]), ("match", "m", ["_", "old"]), ("index_read", "m", "value", "old"),
                 ("query", "select value from m"), ("query", "select value from m where value = 'old'")]
        calls = [*lists, ("query", "select count(*) from m"), ("size", "m"), ("first", "m"), ("last", "m"),
                 ("next", "m", 5), ("select_next", cursor), ("select_delete", "m", [values]),
                 ("query", "update m set value = 'no'")]
        for call in calls:
            self.refused(third, *call)
        self.heal()
        for call in lists:  # at once: it is refused, or all that the others have written since is there
            self.assertNotIn("old", repr(self.done(third, *call)))
        self.cluster.wait_for_view()
        self.assertEqual(sorted(self.done(third, "select", "m", [values], {"limit": 200})[0]), 100 * ["new"])

    def test_who_has_stood_still_shows_none_of_its_past(self):
        self.open(type="ordered_set", attributes=["key", "value"])
        first, third = self.clients[0], self.clients[2]
        values = [["$1", "$2"], [], ["$2"]]
        until_done(first, "add_index", "m", "value")
        self.done(first, "write_many", "m", [[key, "old"] for key in range(10)])
        calls = [("select", "m", [values]), ("match", "m", ["_", "old"]), ("index_read", "m", "value", "old"),
                 ("query", "select value from m"), ("query", "select max(value) from m"), ("size", "m"),
                 ("query", "select count(*) from m"), ("last", "m"), ("next", "m", 9), ("prev", "m", 100),
                 ("select_count", "m", [[["$1", "$2"], [["==", "$2", "old"]], [True]]]), ("read_many", "m", [1, 2]),
                 ("read", "m", 1)]
        past = [self.done(third, *call) for call in calls]
        page, cursor = self.done(third, "select", "m", [values], {"limit": 3})
        process = self.cluster.nodes[2].process
        process.send_signal(signal.SIGSTOP)
        try:
            self.cluster.wait_for_view([0, 1])
            self.done(first, "write_many", "m", [[key, "new"] for key in range(20)])
            for call in calls + [("select_next", cursor)]:
                third.send(*call)
        finally:
            process.send_signal(signal.SIGCONT)
        for call, before in zip(calls + [("select_next", cursor)], past + [[page, None]]):
            _, error, answer = third.receive()  # refused, or what the others have written meanwhile
            if error is None:
                self.assertNotEqual(answer, before, call)
                self.assertNotIn("old", repr(answer), call)

    def done(self, client, *call):
        """Also again while this view is not known to have a majority."""
        answer = []

        def tried():
            try:
                answer[:] = [client.call(*call)]
            except Refused as refused:
                self.assertIn(refused.code, HAPPENED_NOT | MAY_HAVE_HAPPENED)
            return answer
        eventually(tried, call)
        return answer[0]

    def removes(self, client, name):
        """Not before this view knows that the others have all."""
        try:
            return client.call("remove", name)
        except Refused as refused:
            self.assertIn(refused.code, {"bad_request", "busy"} | MAY_HAVE_HAPPENED, refused)
            return False

    def reads(self, client, key):
        try:
            return client.call("read", "m", key)
        except Refused as refused:
            self.assertIn(refused.code, HAPPENED_NOT | MAY_HAVE_HAPPENED)
            return None

    def test_who_is_removed_is_missed_no_more(self):
        self.open(storage="disc", durability="sync")
        first = self.clients[0]
        self.cluster.kill(2)
        self.cluster.wait_for_view([0, 1])
        self.done(first, "write", "m", [1, "one"])
        eventually(lambda: self.removes(first, "n3"), "it is removed")
        eventually(lambda: {m["name"] for m in first.call("cluster_status")["members"] if m["elects"]} ==
                   {"n1", "n2"}, "majorities of two")
        eventually(lambda: self.reads(first, 1) == [[1, "one"]], "a read of two")
        self.cluster.kill(1)
        self.cluster.wait_for_view([0])
        self.refused(first, "read", "m", 1)  # of two, one is no majority

    def elects(self, client):
        return {member["name"] for member in client.call("cluster_status")["members"] if member["elects"]}

    def start_empty(self, number):
        """The node again, without all that it knew; its client."""
        self.cluster.wipe(number)
        self.cluster.start(number)
        client = self.cluster.client(number)
        self.addCleanup(client.close)
        return client

    def test_who_has_lost_all_founds_nothing_of_its_own(self):
        self.open(storage="disc")
        first = self.clients[0]
        self.done(first, "write", "m", [1, "one"])
        self.cluster.kill(2)
        self.cut(2)
        third = self.start_empty(2)
        until_done(third, "create_table", "m", {"majority": True, "shards": 2, "storage": "disc"})
        self.refused(third, "write", "m", [1, "other"])
        self.refused(third, "read", "m", 1)
        self.assertEqual(self.elects(third), set())
        self.heal()
        self.cluster.wait_for_view()
        eventually(lambda: self.reads(third, 1) == [[1, "one"]], "what the others had")
        self.assertEqual(self.elects(third), {"n1", "n2", "n3"})

    def test_who_is_to_join_nobody_but_itself_is_alone(self):
        own = f"127.{'.'.join(str(random.randrange(1, 255)) for _ in range(3))}:7341"  # nobody else's
        client = self.node("--peer-listen", own, "--join", own).client()
        self.addCleanup(client.close)
        until_done(client, "create_table", "m", {"majority": True})
        self.done(client, "write", "m", [1, "one"])
        self.assertEqual(self.elects(client), {client.call("cluster_status")["node"]})

    def test_who_has_lost_all_does_not_say_that_a_table_is_new(self):
        self.open(storage="disc")
        first, second = self.clients[:2]
        late = {"majority": True, "shards": 2, "storage": "disc", "durability": "sync"}
        self.cut(2)
        self.cluster.wait_for_view([0, 1])
        until_done(first, "create_table", "late", late)
        self.done(second, "write", "late", [1, "one"])
        for number in 0, 1:
            self.cluster.kill(number)
        second = self.start_empty(1)
        self.heal()
        self.cluster.wait_for_view([1, 2])
        until_done(second, "create_table", "late", late)
        self.refused(second, "read", "late", 1)
        self.refused(second, "insert_new", "late", [1, "other"])
        self.cluster.start(0)
        self.cluster.wait_for_view()
        self.assertEqual(self.done(second, "read", "late", 1), [[1, "one"]])

    def test_all_that_clients_see_has_one_order(self):
        self.open()
        history, weather = History(), random.Random(7)
        askers = [Asker(self.cluster, number % 3, history, number) for number in range(6)]
        for asker in askers:
            asker.start()
        for _ in range(2 if QUICK else 4):
            self.cut(weather.randrange(3))
            time.sleep(weather.uniform(0.1, 1.0))  # not waited for: the longer, the more goes on
            self.heal()
            time.sleep(weather.uniform(0.1, 0.6))
        self.cluster.wait_for_view()
        eventually(lambda: sum(asker.done for asker in askers) > 100, "enough to judge")
        for asker in askers:
            asker.ended = True
        for asker in askers:
            asker.join(60)
        checked = history.check()
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        history.lines.append(f"0 read 0 {history.number + 5} 1 1 {time.monotonic_ns()} 0")
        self.assertEqual(history.check().returncode, 1)  # what nobody wrote is found


if __name__ == "__main__":
    main()
