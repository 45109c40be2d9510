#!/usr/bin/env python3
"""Subscriptions: what changes in a table is told, once, in the order of each key; what
changes nothing is not; a slow reader costs the node a bounded amount of memory."""
import json
import random
import select
import signal
import subprocess
import threading
import time

from harness import BIN, KINDS, QUICK, ClusterTest, Refused, eventually, main

MIB = 1 << 20


class Watch(ClusterTest):
    def setUp(self):
        super().setUp()
        self.served = self.node("--name", "n1", data=self.dir / "data")
        self.client = self.served.client()
        self.reader = self.served.client()

    def call(self, *words):
        return self.client.call(*words)

    def refused(self, code, *words):
        self.assert_refused(code, self.client.call, *words)

    def told(self, count):
        """The next `count` events without the subscription's number and the table."""
        return [[kind, what, details] for _, kind, _, what, details in (self.reader.event() for _ in range(count))]

    def nothing_more(self, table):
        """All that was to be told has been read: the next change is the next event."""
        self.call("write", table, ["the end", 0])
        self.assertEqual(self.reader.event()[1:4], ["write", table, ["the end", 0]])

    # ---- parameters

    def test_what_cannot_be_subscribed_to(self):
        self.call("create_table", "t")
        for bad in (5, None, [], "t", {}, {"table": 5}, {"table": None}, {"system": False}, {"system": 1}, {"table": "t", "system": True},
                    {"table": "t", "nonsense": 1}, {"table": "t", "old": 1}, {"table": "t", "slow": "x"}, {"table": "t", "slow": None},
                    {5: 1}, {"system": True, "old": True}):
            with self.subTest(bad):
                self.refused("bad_request", "subscribe", bad)
        self.refused("bad_request", "subscribe")
        self.refused("bad_request", "subscribe", {"table": "t"}, {})
        self.refused("no_table", "subscribe", {"table": "nope"})

    def test_unsubscribe(self):
        self.call("create_table", "t")
        for bad in ("1", None, 1.5, [1]):
            self.refused("bad_request", "unsubscribe", bad)
        for unknown in (0, 1, -1, 2**64 - 1):
            self.refused("not_found", "unsubscribe", unknown)
        number = self.reader.call("subscribe", {"table": "t"})
        other = self.reader.call("subscribe", {"table": "t"})
        self.assertNotEqual(number, other)
        self.refused("not_found", "unsubscribe", number)  # of another connection
        self.assertTrue(self.reader.call("unsubscribe", number))
        self.assert_refused("not_found", self.reader.call, "unsubscribe", number)
        self.call("write", "t", [1, 2])
        self.assertEqual(self.reader.event(), [other, "write", "t", [1, 2], {}])
        self.assertTrue(self.reader.call("unsubscribe", other))
        self.call("write", "t", [1, 3])
        self.reader.call("ping")
        self.assertFalse(self.reader.events)

    def test_a_connection_has_a_bounded_number(self):
        self.call("create_table", "t")
        numbers = [self.reader.call("subscribe", {"table": "t"}) for _ in range(256)]
        self.assertEqual(len(set(numbers)), 256)
        self.assert_refused("busy", self.reader.call, "subscribe", {"table": "t"})
        self.reader.call("unsubscribe", numbers[7])
        numbers[7] = self.reader.call("subscribe", {"table": "t"})
        self.call("write", "t", [1, 2])
        self.assertEqual({self.reader.event()[0] for _ in range(256)}, set(numbers))

    # ---- what is told

    def test_every_method_that_changes_a_set(self):
        for table in self.each_kind(tuple(kind for kind in KINDS if kind[1] != "bag")):
            number = self.reader.call("subscribe", {"table": table})
            self.call("write", table, [1, "a"])
            self.call("insert_new", table, [2, 5])
            self.call("update", table, 1, {"value": "b"})
            self.call("update_counter", table, 2, "value", 3)
            self.call("update_counter", table, 3, "value", 1)
            self.call("write_many", table, [[4, 4]])
            self.call("delete", table, 4)
            self.call("delete_object", table, [3, 1])
            self.call("take", table, 1)
            self.call("clear_table", table)
            self.call("write", table, [9, 9])
            self.assertEqual(self.told(11), [
                ["write", [1, "a"], {}], ["write", [2, 5], {}], ["write", [1, "b"], {}], ["write", [2, 8], {}],
                ["write", [3, 1], {}], ["write", [4, 4], {}], ["delete", 4, {}], ["delete", 3, {}], ["delete", 1, {}],
                ["clear", None, {}], ["write", [9, 9], {}]])
            self.reader.call("unsubscribe", number)

    def test_every_method_that_changes_a_bag(self):
        for table in self.each_kind(tuple(kind for kind in KINDS if kind[1] == "bag")):
            number = self.reader.call("subscribe", {"table": table, "old": True})
            self.call("write", table, [1, "a"])
            self.call("write", table, [1, "b"])
            self.call("write", table, [1, "a"])  # is there already
            self.call("delete_object", table, [1, "c"])
            self.call("delete_object", table, [1, "a"])
            self.call("write", table, [1, "c"])
            self.call("delete", table, 1)
            got = self.told(6)
            got[4:] = sorted(got[4:])
            self.assertEqual(got, [
                ["write", [1, "a"], {"old": None}], ["write", [1, "b"], {"old": None}], ["delete", [1, "a"], {"old": [1, "a"]}],
                ["write", [1, "c"], {"old": None}], ["delete", [1, "b"], {"old": [1, "b"]}], ["delete", [1, "c"], {"old": [1, "c"]}]])
            self.nothing_more(table)
            self.reader.call("unsubscribe", number)

    def test_the_old_record_where_it_is_asked_for(self):
        for table in self.each_kind(tuple(kind for kind in KINDS if kind[1] != "bag")):
            number = self.reader.call("subscribe", {"table": table, "old": True})
            self.call("write", table, [1, "a"])
            self.call("write", table, [1, "b"])
            self.call("update", table, 1, {"value": "c"})
            self.call("delete", table, 1)
            self.call("write_many", table, [[2, 2], [2, 3]])
            self.call("take", table, 2)
            self.call("clear_table", table)  # of an empty table
            self.assertEqual(self.told(7), [
                ["write", [1, "a"], {"old": None}], ["write", [1, "b"], {"old": [1, "a"]}], ["write", [1, "c"], {"old": [1, "b"]}],
                ["delete", 1, {"old": [1, "c"]}], ["write", [2, 2], {"old": None}], ["write", [2, 3], {"old": [2, 2]}],
                ["delete", 2, {"old": [2, 3]}]])
            self.nothing_more(table)
            self.reader.call("unsubscribe", number)

    def test_what_changes_nothing_is_not_told(self):
        for table in self.each_kind(attributes=["k", "v"], index=["v"]):
            self.call("write", table, [1, 1])
            number = self.reader.call("subscribe", {"table": table})
            self.assertFalse(self.call("insert_new", table, [1, 2]))
            for nothing in (("delete", table, 2), ("delete_object", table, [1, 2]), ("delete_object", table, [2, 1]),
                            ("read", table, 1), ("take", table, 2), ("write_many", table, [])):
                self.call(*nothing)
            if not table.endswith("bag"):
                self.refused("not_found", "update", table, 2, {"v": 1})
                self.refused("bad_request", "update", table, 1, {"nope": 1})
            for refused in (("write", table, [1]), ("write", table, 5), ("write_many", table, [[5, 5], [1]]), ("write", table, [float("nan"), 1]),
                            ("write_many", table, [[5, 5], [float("nan"), 1]])):
                with self.assertRaises(Refused):
                    self.call(*refused)
            self.nothing_more(table)
            self.reader.call("unsubscribe", number)

    def test_records_that_expire(self):
        for table in self.each_kind():
            number = self.reader.call("subscribe", {"table": table, "old": True})
            self.call("write", table, [2, "long"], {"ttl": 1000})
            self.call("write", table, [1, "short"], {"ttl": 0.05})
            gone = [1, "short"] if table.endswith("bag") else 1
            self.assertEqual(self.told(3), [["write", [2, "long"], {"old": None}], ["write", [1, "short"], {"old": None}],
                                            ["expire", gone, {"old": [1, "short"]}]])
            if not table.endswith("bag"):
                self.call("write", table, [3, "short"], {"ttl": 0.02})
                time.sleep(0.03)  # what is replaced when its time is over was not there any more
                self.call("write", table, [3, "again"])
                self.assertEqual(self.told(3), [["write", [3, "short"], {"old": None}], ["expire", 3, {"old": [3, "short"]}],
                                                ["write", [3, "again"], {"old": None}]])
            self.nothing_more(table)
            self.reader.call("unsubscribe", number)

    def test_a_cache_tells_what_it_gives_up(self):
        self.call("create_table", "t", {"cache": True, "max_bytes": 20000, "shards": 1})
        self.reader.call("subscribe", {"table": "t"})
        for i in range(100):
            self.call("write", "t", [i, b"x" * 1000])
        kept = {key for key, in [record[:1] for record in self.call("match", "t", ["_", "_"])]}
        events = self.told(100 + 100 - len(kept))
        self.assertEqual([what[0] for kind, what, _ in events if kind == "write"], list(range(100)))
        self.assertEqual({what for kind, what, _ in events if kind == "expire"}, set(range(100)) - kept)
        self.nothing_more("t")

    def test_schema_and_the_end_of_a_table(self):
        self.call("create_table", "t", {"attributes": ["k", "v"]})
        number = self.reader.call("subscribe", {"table": "t"})
        self.call("add_index", "t", "v")
        self.call("drop_index", "t", "v")
        self.call("write", "t", [1, 1])
        self.call("drop_table", "t")
        self.assertEqual(self.told(4), [["schema", None, {"change": "add_index", "attribute": "v"}],
                                        ["schema", None, {"change": "drop_index", "attribute": "v"}], ["write", [1, 1], {}],
                                        ["schema", None, {"change": "drop"}]])
        self.assert_refused("not_found", self.reader.call, "unsubscribe", number)
        self.call("create_table", "t")
        self.call("write", "t", [1, 1])
        self.reader.call("ping")
        self.assertFalse(self.reader.events)

    def test_the_system_tells_of_its_tables(self):
        number = self.reader.call("subscribe", {"system": True})
        self.call("create_table", "t", {"attributes": ["k", "v"]})
        self.call("add_index", "t", "v")
        self.call("write", "t", [1, 1])
        self.call("clear_table", "t")
        self.call("drop_table", "t")
        self.assertEqual([self.reader.event() for _ in range(3)], [
            [number, "schema", "t", None, {"change": "create"}], [number, "schema", "t", None, {"change": "add_index", "attribute": "v"}],
            [number, "schema", "t", None, {"change": "drop"}]])
        self.reader.call("unsubscribe", number)
        self.call("create_table", "t")
        self.reader.call("ping")
        self.assertFalse(self.reader.events)

    def test_the_system_tells_when_memory_is_full(self):
        node = self.node("--memory-limit", "64MiB")
        client, reader = node.client(), node.client()
        client.call("create_table", "t")
        reader.call("subscribe", {"system": True})
        with self.assertRaises(Refused) as refused:
            for i in range(1000):
                client.call("write", "t", [i, b"x" * MIB])
        self.assertEqual(refused.exception.code, "memory")
        self.assertEqual(reader.event()[1:], ["memory", None, None, {"state": "full"}])
        client.call("drop_table", "t")
        self.assertEqual(reader.event()[1:], ["schema", "t", None, {"change": "drop"}])
        self.assertEqual(reader.event()[1:], ["memory", None, None, {"state": "free"}])

    def test_only_records_that_match(self):
        self.call("create_table", "t", {"attributes": ["k", "n"]})
        for bad in (5, [], "x", [[["_"], [], ["$_"]]], [[["_", "$1"], [["nonsense", 1]], ["$_"]]], [[["_", "_"], [], []]]):
            self.refused("bad_request", "subscribe", {"table": "t", "where": bad})
        self.refused("bad_request", "subscribe", {"system": True, "where": [[["_", "_"], [], ["$_"]]]})
        self.reader.call("subscribe", {"table": "t", "where": [[["_", "$1"], [[">", "$1", 10]], ["$1"]]]})
        for n in range(9, 13):
            self.call("write", "t", [n % 2, n])
        self.call("delete", "t", 0)
        self.call("write", "t", [0, 5])
        self.call("delete", "t", 0)
        self.call("add_index", "t", "n")
        self.call("clear_table", "t")
        self.assertEqual(self.told(5), [["write", [1, 11], {}], ["write", [0, 12], {}], ["delete", 0, {}],
                                        ["schema", None, {"change": "add_index", "attribute": "n"}], ["clear", None, {}]])

    def test_the_system_tells_that_clients_are_turned_away(self):
        node = self.node("--max-connections", "2")
        reader = node.client()
        reader.call("subscribe", {"system": True})
        others = [node.client() for _ in range(4)]
        what, kind, table, key, details = reader.event()
        self.assertEqual((kind, table, key, details["state"]), ("overload", None, None, "connections"))
        for other in others:
            other.close()

    def test_changes_of_many_records_are_told_record_by_record(self):
        for table in self.each_kind(tuple(kind for kind in KINDS if kind[1] != "bag")):
            self.call("write_many", table, [[i, i] for i in range(100)])
            number = self.reader.call("subscribe", {"table": table, "old": True})
            self.assertEqual(self.call("select_delete", table, [[["$1", "_"], [["<", "$1", 50]], [True]]]), 50)
            self.assertEqual(sorted(self.told(50), key=str), sorted((["delete", i, {"old": [i, i]}] for i in range(50)), key=str))
            self.assertEqual(self.call("select_replace", table, [[["$1", "$2"], [["<", "$1", 75]], [[["$1", ["+", "$2", 1]]]]]]), 25)
            self.assertEqual(sorted(self.told(25), key=str),
                             sorted((["write", [i, i + 1], {"old": [i, i]}] for i in range(50, 75)), key=str))
            self.nothing_more(table)
            self.reader.call("unsubscribe", number)

    def test_a_table_that_is_altered_is_still_watched(self):
        self.call("create_table", "t", {"attributes": ["k", "v"]})
        self.call("write_many", "t", [[i, i] for i in range(1000)])
        number = self.reader.call("subscribe", {"table": "t", "old": True})
        self.call("add_attribute", "t", "w", 7)
        self.call("write", "t", [1, 2, 3])
        self.call("change_storage", "t", "disc")
        self.call("write", "t", [1, 2, 4])
        self.call("rename_attribute", "t", "w", "x")
        self.call("update", "t", 1, {"x": 5})
        self.call("drop_attribute", "t", "v")
        self.call("delete", "t", 1)
        self.call("clear_table", "t")
        got = self.told(9)
        self.assertEqual([event[0] for event in got], ["schema", "write", "schema", "write", "schema", "write", "schema", "delete", "clear"])
        self.assertEqual([event[2]["change"] for event in got if event[0] == "schema"],
                         ["add_attribute", "change_storage", "rename_attribute", "drop_attribute"])
        self.assertEqual([event[2]["old"] for event in got if event[0] in ("write", "delete")],
                         [[1, 1, 7], [1, 2, 3], [1, 2, 4], [1, 5]])
        self.call("drop_table", "t")
        self.assertEqual(self.told(1), [["schema", None, {"change": "drop"}]])
        self.assert_refused("not_found", self.reader.call, "unsubscribe", number)

    # ---- order

    def test_a_mirror_that_follows_the_events_is_the_table(self):
        """Writers on several connections, clears among them: whoever applies the events in
        their order has what the table has."""
        seed = random.randrange(1 << 32)
        print(f"seed {seed}", end=" ", flush=True)
        for storage, kind in (("ram", "set"), ("ram", "ordered_set"), ("disc", "set"), ("disc_only", "set")):
            self.call("create_table", "m", {"storage": storage, "type": kind})
            self.reader.call("subscribe", {"table": "m", "old": True})
            rounds = (100 if QUICK else 1500) // (4 if storage == "disc_only" else 1)

            faults = []

            def change(rng, client, number, i):
                key, chance = rng.randrange(20), rng.random()
                if chance < 0.6:
                    client.call("write", "m", [key, number * 1000000 + i])
                elif chance < 0.8:
                    client.call("delete", "m", key)
                elif chance < 0.9:
                    client.call("write_many", "m", [[key, -i], [key + 1, -i]])
                elif chance < 0.98:
                    client.call("take", "m", key)
                elif chance < 0.99:
                    client.call("clear_table", "m")
                elif number == 0:
                    client.call("change_storage", "m", rng.choice(("ram", "disc", "disc_only")))

            def work(number, client):
                rng = random.Random(seed + number)
                try:
                    for i in range(rounds):
                        change(rng, client, number, i)
                except Exception as fault:
                    faults.append(fault)

            clients = [self.served.client() for _ in range(3)]
            writers = [threading.Thread(target=work, args=(i, client)) for i, client in enumerate(clients)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            self.assertEqual(faults, [])
            self.call("write", "m", ["the end", 0])
            mirror = {}
            while "the end" not in mirror:
                _, event, _, what, details = self.reader.event()
                if event == "write":
                    self.assertEqual(details["old"], [what[0], mirror[what[0]]] if what[0] in mirror else None)
                    mirror[what[0]] = what[1]
                elif event == "delete":
                    self.assertEqual(details["old"], [what, mirror.pop(what)])
                elif event == "clear":
                    mirror.clear()
                else:
                    self.assertEqual(event, "schema")
            self.assertEqual(sorted(map(str, mirror.items())),
                             sorted(str(tuple(record)) for record in self.call("match", "m", ["_", "_"])))
            self.call("drop_table", "m")
            self.assertEqual(self.reader.event()[1], "schema")

    # ---- slow readers

    def flood(self, table, count, size):
        """`count` writes, most of them in large batches; the last one is written alone."""
        batch = 200
        for i in range(0, count, batch):
            self.call("write_many", table, [[i + n, i + n, b"x" * size] for n in range(batch)])

    def test_a_slow_reader_gets_a_gap_and_the_stream_goes_on(self):
        self.call("create_table", "t", {"attributes": ["k", "n", "v"], "shards": 1})
        number = self.reader.call("subscribe", {"table": "t"})
        count = 60000
        before = self.served.resident_bytes()
        self.flood("t", count, 1000)
        grown = self.served.resident_bytes() - before
        self.call("clear_table", "t")
        self.flood("t", count, 1000)
        self.assertLess(self.served.resident_bytes() - before, grown + 64 * MIB)
        self.call("write", "t", [-1, -1, b""])
        expected, missing, gaps, cleared = 0, 0, 0, False
        while True:
            what, kind, table, record, details = self.reader.event()
            self.assertEqual((what, table), (number, "t"))
            if kind == "gap":
                self.assertIsNone(record)
                gaps += 1
                missing += details["missing"]
                expected += details["missing"]
            elif kind == "clear":
                cleared = True
            elif record[0] == -1:
                break
            else:
                self.assertEqual(record[1], expected % count)
                expected += 1
            if missing:  # the place and the number are exact, so what follows goes on behind it
                break
        self.assertEqual(gaps, 1)
        self.assertGreater(missing, 0)
        self.call("write", "t", [-2, 0, b""])  # the stream goes on
        while self.reader.event()[3][0] != -2:
            pass

    def test_a_subscriber_that_never_reads(self):
        """Many of them, and one that reads meanwhile."""
        self.call("create_table", "t", {"attributes": ["k", "n", "v"]})
        sleepers = [self.served.client() for _ in range(20)]
        for sleeper in sleepers:
            sleeper.call("subscribe", {"table": "t"})
        self.flood("t", 20000, 1000)
        before = self.served.resident_bytes()
        for _ in range(1 if QUICK else 5):
            self.flood("t", 20000, 1000)
        self.assertLess(self.served.resident_bytes() - before, 64 * MIB)
        self.reader.call("subscribe", {"table": "t"})
        self.call("write", "t", [-1, 0, b""])
        self.assertEqual(self.reader.event()[3][0], -1)
        for sleeper in sleepers:
            sleeper.close()
        self.call("ping")

    def test_a_slow_reader_that_asked_for_it_is_disconnected(self):
        self.call("create_table", "t", {"attributes": ["k", "n", "v"]})
        self.reader.call("subscribe", {"table": "t", "slow": "disconnect"})
        self.flood("t", 60000, 1000)
        with self.assertRaises((ConnectionError, OSError)):
            while True:
                self.assertEqual(self.reader.event()[1], "write")
        self.call("ping")

    def test_a_subscription_ends_with_its_connection(self):
        self.call("create_table", "t")
        for _ in range(20 if QUICK else 200):
            client = self.served.client()
            client.call("subscribe", {"table": "t"})
            client.call("subscribe", {"system": True})
            self.call("write", "t", [1, 1])
            client.close()
        eventually(lambda: self.call("stats")["connections"]["open"] == 2, "all others are closed")
        eventually(lambda: self.call("stats")["subscriptions"] == 0, "and their subscriptions over")
        eventually(lambda: self.call("stats")["bytes"]["events"] == 0, "what they had not read is gone")
        self.call("drop_table", "t")

    def test_answers_and_events_share_a_connection(self):
        self.call("create_table", "t")
        self.client.call("subscribe", {"table": "t"})
        for i in range(500):
            self.assertTrue(self.client.call("write", "t", [i, i]))
        self.assertEqual([self.client.event()[3] for _ in range(500)], [[i, i] for i in range(500)])

    def test_a_node_that_stops_with_subscribers(self):
        self.call("create_table", "t")
        for client in [self.served.client() for _ in range(10)] + [self.reader]:
            client.call("subscribe", {"table": "t"})
        self.call("write", "t", [1, 1])
        self.assertEqual(self.served.stop(), 0)


class Shell(ClusterTest):
    def watch(self, node, *words):
        command = [BIN / "engram", "--connect", node.address, *words]
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def subscribed(self, node, client, process, table):
        """It is once an event comes: write until one does."""
        def tried():
            client.call("write", table, [0, "hello"])
            return select.select([process.stdout], [], [], 0.05)[0]
        eventually(tried, "it hears something")
        client.call("write", table, ["begin", 0])
        while "begin" not in process.stdout.readline():
            pass

    def test_watch(self):
        node = self.node()
        client = node.client()
        client.call("create_table", "t")
        for how in (signal.SIGINT, signal.SIGTERM):
            plain = self.watch(node, "watch", "t")
            lines = self.watch(node, "--output", "json", "watch", "t", "--old")
            some = self.watch(node, "watch", "t", "--where", '[[["_", "$1"], [["is_binary", "$1"]], ["$_"]], [["begin", "_"], [], ["$_"]],'
                                                             ' [[0, "_"], [], ["$_"]]]')
            for process in (plain, lines, some):
                self.subscribed(node, client, process, "t")
            client.call("write", "t", [1, "a"])
            client.call("write", "t", [1, b"b"])
            client.call("delete", "t", 1)
            got = [plain.stdout.readline() for _ in range(3)]
            while "a" not in got[0] or "begin" in got[0] or "hello" in got[0]:
                got = got[1:] + [plain.stdout.readline()]
            self.assertEqual(got, ['write\t"t"\t[1, "a"]\n', 'write\t"t"\t[1, "62"]\n', 'delete\t"t"\t1\n'])
            got = [json.loads(lines.stdout.readline())]
            while got[0]["record"] != [1, "a"]:
                got = [json.loads(lines.stdout.readline())]
            self.assertEqual(got[0], {"kind": "write", "table": "t", "record": [1, "a"], "details": {"old": None}})
            self.assertEqual(json.loads(lines.stdout.readline())["details"], {"old": [1, "a"]})
            self.assertEqual(json.loads(lines.stdout.readline())["kind"], "delete")
            line = some.stdout.readline()
            while "hello" in line or "begin" in line:
                line = some.stdout.readline()
            self.assertEqual(line, 'write\t"t"\t[1, "62"]\n')
            for process in (plain, lines, some):
                process.send_signal(how)
                self.assertEqual(process.wait(60), 0, process.stderr.read())

    def test_watch_ends_with_its_table_or_its_node(self):
        node = self.node()
        client = node.client()
        client.call("create_table", "t")
        client.call("create_table", "u")
        first, second, system = self.watch(node, "watch", "t"), self.watch(node, "watch", "u"), self.watch(node, "watch", "--system")
        self.subscribed(node, client, first, "t")
        self.subscribed(node, client, second, "u")
        client.call("drop_table", "t")
        self.assertIn('{"change": "drop"}', first.communicate(timeout=60)[0])
        self.assertEqual(first.returncode, 0)
        eventually(lambda: [client.call("create_table", "v"), client.call("drop_table", "v")] and
                   select.select([system.stdout], [], [], 0.05)[0], "the system's watcher hears something")
        self.assertIn("schema", system.stdout.readline())
        node.kill()
        self.assertEqual(second.wait(60), 3)
        self.assertEqual(system.wait(60), 3)

    def test_watch_what_cannot_be_watched(self):
        node = self.node()
        node.client().call("create_table", "t")
        for code, words in ((1, ["watch", "nope"]), (2, ["watch"]), (2, ["watch", "t", "u"]), (2, ["watch", "t", "--nonsense"]),
                            (2, ["watch", "t", "--system"]), (1, ["watch", "t", "--where", "5"])):
            process = self.watch(node, *words)
            self.assertEqual(process.wait(60), code, words)


if __name__ == "__main__":
    main()
