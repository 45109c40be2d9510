"""Changes of a live table's shape: what they do, what they refuse, that readers and writers go
on meanwhile, and what a kill in the middle leaves."""
import os
import random
import threading
import time

from harness import KINDS, QUICK, STORAGES, ClusterTest, Refused, eventually, main, shell

SEED = int(os.environ.get("EG_SEED", random.randrange(1 << 32)))
KILLS = 4 if QUICK else 12
WRITES_SECONDS = 1.5 if QUICK else 4


class AlterTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(SEED)
        print(f"EG_SEED={SEED}", end=" ", flush=True)

    def start(self):
        self.server = self.node(data=self.dir / "data")
        self.client = self.server.client()
        self.call = self.client.call


class TestShapes(AlterTest):
    def setUp(self):
        super().setUp()
        self.start()

    def records(self, table):
        info = self.call("table_info", table)
        return sorted(self.call("match", table, ["_"] * len(info["attributes"])), key=lambda row: (row[0], repr(row)))

    def test_attributes_come_go_and_are_renamed(self):
        for t in self.each_kind(attributes=["k", "a", "b"], index=["b"]):
            self.call("write_many", t, [[i, f"a{i}", i % 5] for i in range(300)])
            self.assertIs(self.call("add_attribute", t, "c", {"deep": [1]}), True)
            self.assertEqual(self.call("read", t, 7), [[7, "a7", 2, {"deep": [1]}]])
            self.assertEqual(self.call("table_info", t)["attributes"], ["k", "a", "b", "c"])
            self.assertIs(self.call("drop_attribute", t, "a"), True)
            self.assertEqual(self.records(t), [[i, i % 5, {"deep": [1]}] for i in range(300)])
            self.assertIs(self.call("rename_attribute", t, "b", "group"), True)
            self.assertIs(self.call("rename_attribute", t, "k", "id"), True)
            self.assertEqual(self.call("table_info", t)["attributes"], ["id", "group", "c"])
            self.assertEqual(self.call("table_info", t)["index"], ["group"])
            self.assertEqual(len(self.call("index_read", t, "group", 3)), 60)
            self.assert_refused("bad_record", self.call, "write", t, [1, 2])
            self.assertEqual(self.call("size", t), 300)

    def test_bags_keep_equal_records_once(self):
        for t in self.each_kind([(s, "bag") for s in STORAGES], attributes=["k", "a", "b"]):
            self.call("write_many", t, [[i % 10, i % 3, i] for i in range(90)])
            self.call("drop_attribute", t, "b")
            self.assertEqual(self.records(t), [[k, a] for k in range(10) for a in range(3)])

    def test_storage_changes_between_all_types(self):
        for t in self.each_kind(index=["value"]):
            self.call("write_many", t, [[i, i % 4] for i in range(500)])
            self.call("write", t, ["later", 1], {"ttl": 3600})
            for storage in self.rng.sample(STORAGES, 3) + self.rng.sample(STORAGES, 3):
                self.assertIs(self.call("change_storage", t, storage), True)
                self.assertEqual(self.call("table_info", t)["storage"], storage)
                self.assertEqual(self.call("size", t), 501)
                self.assertEqual(len(self.call("index_read", t, "value", 2)), 125)
            self.call("delete", t, "later")

    def test_what_is_durable_after_a_restart(self):
        self.call("create_table", "t", {"attributes": ["k", "v"]})
        self.call("write_many", "t", [[i, i] for i in range(100)])
        self.call("change_storage", "t", "disc")
        self.call("add_attribute", "t", "w", None)
        self.call("add_index", "t", "w")
        self.call("write", "t", [5, 5, "x"])
        self.assertEqual(self.server.stop(), 0)
        self.start()
        self.assertEqual(self.call("tables"), ["t"])
        self.assertEqual(self.call("index_read", "t", "w", "x"), [[5, 5, "x"]])
        self.assertEqual(self.call("size", "t"), 100)
        self.call("change_storage", "t", "ram")
        self.call("drop_table", "t")
        self.call("create_table", "t", {"storage": "disc"})
        self.server.kill()
        self.start()
        self.assertEqual(self.call("size", "t"), 0)

    def test_refusals_change_nothing(self):
        for t in self.each_kind(attributes=["k", "a", "b"], index=["b"]):
            self.call("write", t, [1, 2, 3])
            for code, method, *words in (
                ("exists", "add_attribute", "a", 0),
                ("exists", "add_attribute", "k", 0),
                ("bad_request", "add_attribute", "", 0),
                ("bad_request", "add_attribute", 7, 0),
                ("bad_request", "add_attribute", "c"),
                ("bad_request", "add_attribute", "x" * 256, 0),
                ("bad_request", "add_attribute", "a\0b", 0),
                ("bad_request", "drop_attribute", "k"),
                ("bad_request", "drop_attribute", "b"),
                ("bad_request", "drop_attribute", "none"),
                ("bad_request", "rename_attribute", "none", "x"),
                ("exists", "rename_attribute", "a", "b"),
                ("exists", "rename_attribute", "a", "a"),
                ("bad_request", "change_storage", "tape"),
                ("bad_request", "change_storage", 3),
            ):
                self.assert_refused(code, self.call, method, t, *words)
            self.assertEqual(self.records(t), [[1, 2, 3]])
            self.assertEqual(self.call("table_info", t)["attributes"], ["k", "a", "b"])
        self.assert_refused("no_table", self.call, "add_attribute", "none", "a", 0)
        self.call("create_table", "cache", {"cache": True, "max_bytes": 1 << 20})
        self.assert_refused("bad_request", self.call, "change_storage", "cache", "disc")
        self.call("create_table", "safe", {"storage": "disc", "durability": "sync"})
        self.assert_refused("bad_request", self.call, "change_storage", "safe", "ram")
        self.call("create_table", "wide", {"attributes": [f"a{i}" for i in range(256)]})
        self.assert_refused("bad_request", self.call, "add_attribute", "wide", "one", 0)
        self.call("create_table", "large")
        self.call("write", "large", [1, "x" * (15 << 20)])
        self.assert_refused("too_large", self.call, "add_attribute", "large", "b", "y" * (2 << 20))
        self.assertEqual(self.call("size", "large"), 1)

    def test_every_record_is_transformed(self):
        for t in self.each_kind(attributes=["k", "a", "b"], index=["b"]):
            self.call("write_many", t, [[i, i, i % 5] for i in range(300)])
            spec = [[["$1", "$2", "$3"], [["<", "$1", 100]], [[["$1", "$3", ["*", "$2", 2]]]]],
                    [["$1", "_", "$3"], [], [[["$1", "$3", ["const", "old"]]]]]]
            self.assertIs(self.call("transform_table", t, spec, {"attributes": ["id", "b", "c"]}), True)
            self.assertEqual(self.records(t), [[i, i % 5, 2 * i if i < 100 else "old"] for i in range(300)])
            self.assertEqual(self.call("table_info", t)["attributes"], ["id", "b", "c"])
            self.assertEqual(len(self.call("index_read", t, "b", 4)), 60)
            self.assertIs(self.call("transform_table", t, [[[7, "_", "_"], [], [[[7, 0, 0]]]]]), True)
            self.assertEqual(self.call("read", t, 7), [[7, 0, 0]])
            self.assertEqual(self.call("read", t, 8), [[8, 3, 16]])
            before = self.records(t)
            for spec, options in (
                ([[["$1", "_", "$2"], [], [[["$1", 1, ["+", "$2", 1]]]]]], {}),  # "old" + 1
                ([[["$1", "_", "_"], [], [[["+", "$1", 1], 1, 2]]]], {}),
                ([[["$1", "_", "_"], [], [[["const", 0], 1, 2]]]], {}),
                ([[["$1", "_", "_"], [], ["$1"]]], {}),
                ([[["$1", "_", "_"], [], [[["$1", 1]]]]], {}),
                ([[[1, "_", "_"], [], [[[1, 1]]]]], {"attributes": ["id", "b"]}),  # 2 does not fit
                ([[["_", "_", "_"], [], ["$_"]]], {"attributes": ["id", "c", "d"]}),  # no b
                ([[["_", "_", "_"], [], ["$_"]]], {"attributes": ["b", "id", "d"]}),  # b is the key
                ([[["_", "_", "_"], [], ["$_"]]], {"attributes": ["id", "b", "b"]}),
                ([[["_", "_", "_"], [], ["$_"]]], {"attributes": []}),
                ([[["_", "_", "_"], [], ["$_"]]], {"attribute": ["id", "b", "c"]}),
                ([[["_", "_"], [], ["$_"]]], {}),
                ([[["_", "_", "_"], [["no", 1]], ["$_"]]], {}),
                ("x", {}),
            ):
                self.assert_refused("bad_request", self.call, "transform_table", t, spec, options)
            self.assertEqual(self.records(t), before)

    def test_unique_indexes_stay_unique(self):
        for t in self.each_kind([kind for kind in KINDS if kind[1] != "bag"], attributes=["k", "a", "b"],
                                index=[{"on": "b", "unique": True}]):
            self.call("write_many", t, [[i, 0, i] for i in range(500)])
            writer = self.server.client()
            pending = 0
            for change in (("add_attribute", "c", None), ("drop_attribute", "a"),
                           ("change_storage", "disc"), ("change_storage", "ram")):
                asked = self.client.send(change[0], t, *change[1:])
                for i in range(20):
                    writer.send("delete", t, self.rng.randrange(500, 1000))
                    pending += 1
                self.assertEqual(self.client.receive()[0:2], (asked, None))
                while pending:
                    self.assertIsNone(writer.receive()[1])
                    pending -= 1
            self.assert_refused("exists", self.call, "write", t, [900, 7, None])
            self.call("write", t, [900, 900, None])
            self.call("write", t, [7, 901, None])
            self.call("write", t, [901, 7, None])
            self.assert_refused("bad_request", self.call, "transform_table", t,
                                [[["$1", "_", "_"], [], [[["$1", 1, 1]]]]])
            self.assert_refused("bad_request", self.call, "transform_table", t,
                                [[["$1", 7, "_"], [], ["$_"]], [["$1", "$2", "$3"], [], [[["$1", "$3", "$2"]]]]])
            self.assertEqual(self.call("size", t), 501 + 1)
            # What keeps the values may change all else, and where they stand.
            self.call("transform_table", t, [[["$1", "$2", "$3"], [], [[["$1", ["+", "$1", 1], "$2", "$3"]]]]],
                      {"attributes": ["k", "next", "b", "c"]})
            self.assertEqual(self.call("read", t, 900), [[900, 901, 900, None]])
            self.assertEqual(self.call("index_read", t, "b", 901), [[7, 8, 901, None]])
            self.assert_refused("exists", self.call, "write", t, [902, 0, 900, None])
            self.call("write", t, [902, 0, 902, None])

    def test_ram_only_nodes_refuse_discs(self):
        node = self.node()
        client = node.client()
        client.call("create_table", "t")
        self.assert_refused("disc", client.call, "change_storage", "t", "disc")
        client.call("write", "t", [1, 2])

    def test_expiry_survives(self):
        self.call("create_table", "t", {"attributes": ["k", "v"]})
        self.call("write", "t", [1, 1], {"ttl": 0.4})
        self.call("add_attribute", "t", "c", 0)
        self.assertLessEqual(self.call("size", "t"), 1)
        eventually(lambda: self.call("size", "t") == 0, "it has expired")
        self.assertEqual(self.call("read", "t", 1), [])


class TestShell(AlterTest):
    def test_the_shell_changes_tables(self):
        self.start()
        self.call("create_table", "users", {"attributes": ["id", "name"]})
        self.call("write", "users", [1, "anna"])
        for words in (["add", "email"], ["add", "visits", "3"], ["rename", "name", "full_name"],
                      ["drop", "email"], ["storage", "disc"], ["index", "full_name"],
                      ["index", '{"on": ["visits", "full_name"], "name": "both"}'], ["unindex", "both"],
                      ["unindex", "full_name"],
                      ["transform", '[[["$1","$2","$3"],[],[[["$1","$2",["*","$3",2]]]]]]', "id,n,v"]):
            done = shell("alter", "users", *words, node=self.server)
            self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        self.assertEqual(self.call("read", "users", 1), [[1, "anna", 6]])
        self.assertEqual(self.call("table_info", "users")["attributes"], ["id", "n", "v"])
        self.assertEqual(self.call("table_info", "users")["index"], [])
        for code, words in ((1, ["drop", "id"]), (1, ["storage", "tape"]), (2, ["paint", "red"]),
                            (2, ["drop"]), (2, ["rename", "n"]), (2, ["add", "a", "b", "c"])):
            self.assertEqual(shell("alter", "users", *words, node=self.server).returncode, code, words)

    def test_cursors_and_subscriptions_follow(self):
        self.start()
        self.call("create_table", "t", {"type": "ordered_set", "attributes": ["k", "a", "b"]})
        self.call("write_many", "t", [[i, i, i] for i in range(30)])
        spec = [[["$1", "_", "_"], [], ["$1"]]]
        first, kept = self.call("select", "t", spec, {"limit": 10})
        _, lost = self.call("select", "t", spec, {"limit": 10})
        events = self.server.client()
        events.call("subscribe", {"table": "t"})
        self.call("change_storage", "t", "disc")
        self.call("rename_attribute", "t", "a", "c")
        second, kept = self.call("select_next", kept)
        self.assertEqual(first + second, list(range(20)))
        self.call("drop_attribute", "t", "b")
        for cursor in (kept, lost):
            self.assert_refused("aborted", self.call, "select_next", cursor)
        self.call("write", "t", [1, 2])
        seen = [events.event() for _ in range(4)]
        self.assertEqual([(kind, details.get("change", record)) for _, kind, _, record, details in seen],
                         [("schema", "change_storage"), ("schema", "rename_attribute"),
                          ("schema", "drop_attribute"), ("write", [1, 2])])


class Writer(threading.Thread):
    """Counts in keys of its own, and pipelines: what one connection asks of one key takes effect
    in order, whatever becomes of the table."""

    def __init__(self, node, table, first, stop):
        super().__init__()
        self.client = node.client()
        self.table = table
        self.keys = list(range(first, first + 8))
        self.count = dict.fromkeys(self.keys, 0)
        self.stopped = stop
        self.failure = None

    def run(self):
        rng = random.Random(self.keys[0])
        try:
            while not self.stopped.is_set():
                keys = [rng.choice(self.keys) for _ in range(rng.randrange(1, 12))]
                sent = {self.client.send("update_counter", self.table, key, "count", 1): key for key in keys}
                answers = {msgid: (error, result) for msgid, error, result in (self.client.receive() for _ in keys)}
                for msgid, key in sent.items():
                    error, result = answers[msgid]
                    if error is not None and error.startswith("busy:"):
                        continue  # the disc is behind
                    self.count[key] += 1
                    assert (error, result) == (None, self.count[key]), (error, result, self.count[key])
        except BaseException as failure:  # shown by the test
            self.failure = failure


class Reader(threading.Thread):
    """Each record has the arity of some shape that the table has meanwhile, and never nothing."""

    def __init__(self, node, table, stop):
        super().__init__()
        self.client = node.client()
        self.table = table
        self.stopped = stop
        self.failure = None

    def run(self):
        try:
            rng = random.Random(1)
            while not self.stopped.is_set():
                key = -1 - rng.randrange(2000)
                found = self.client.call("read", self.table, key)
                assert len(found) == 1 and found[0][0] == key, found
                assert len(found[0]) in (3, 4), found
                assert self.client.call("size", self.table) >= 2000
                assert len(self.client.call("index_read", self.table, "tag", 3)) >= 200
        except BaseException as failure:
            self.failure = failure


class TestLive(AlterTest):
    def test_readers_and_writers_go_on(self):
        self.start()
        for storage, kind in [kind for kind in KINDS if kind[1] != "bag"]:
            t = f"{storage}_{kind}"
            print(t, end=" ", flush=True)
            self.call("create_table", t, {"storage": storage, "type": kind, "shards": 4,
                                          "attributes": ["k", "count", "tag"], "index": ["tag"]})
            self.call("write_many", t, [[-1 - i, 0, i % 10] for i in range(2000)])
            stop = threading.Event()
            threads = [Writer(self.server, t, 1 + 100 * i, stop) for i in range(3)]
            threads += [Reader(self.server, t, stop) for i in range(2)]
            for thread in threads:
                thread.start()
            end = time.monotonic() + WRITES_SECONDS
            changes, wide = 0, False
            while time.monotonic() < end or changes < 3:
                if self.rng.random() < 0.2 and not wide:
                    self.call("transform_table", t, [[["$1", "$2", "$3"], [], [[["$1", "$2", "$3"]]]]])
                elif self.rng.random() < 0.6:
                    if wide:
                        self.call("drop_attribute", t, "extra")
                    else:
                        self.call("add_attribute", t, "extra", [changes])
                    wide = not wide
                else:
                    self.call("change_storage", t, self.rng.choice(STORAGES))
                changes += 1
            stop.set()
            for thread in threads:
                thread.join()
                self.assertIsNone(thread.failure, thread.failure)
            for writer in threads[:3]:
                for key, count in writer.count.items():
                    found = self.call("read", t, key)
                    self.assertEqual(found[0][1] if found else 0, count)
            print(f"({changes} changes)", end=" ", flush=True)
            self.call("drop_table", t)


class TestKilled(AlterTest):
    def alter(self, client):
        """Change until the node is gone; what may be there then."""
        try:
            while True:
                now, storage = list(self.maybe[-1][0]), self.maybe[-1][1]
                self.serial += 1
                serial = self.serial
                what = self.rng.randrange(4)
                if what == 0 and len(now) > 4:
                    name = self.rng.choice(now[3:])
                    change = ("drop_attribute", "t", name)
                    now.remove(name)
                elif what == 1:
                    storage = self.rng.choice(("disc", "disc_only"))
                    change = ("change_storage", "t", storage)
                elif what == 2 and len(now) > 3:
                    at = self.rng.randrange(3, len(now))
                    change = ("rename_attribute", "t", now[at], f"r{serial}")
                    now[at] = f"r{serial}"
                else:
                    change = ("add_attribute", "t", f"n{serial}", serial)
                    now.append(f"n{serial}")
                self.maybe = [self.maybe[-1], (now, storage)]
                client.call(*change)
                self.maybe = [(now, storage)]
                self.changes += 1
        except (ConnectionError, OSError):
            pass
        except BaseException as failure:  # shown by the test
            self.failure = failure

    def write(self, client):
        """Write until the node is gone: what was acknowledged is safe (sync).  A write of the
        width of before a change is refused, and then another is tried."""
        width, key = 3, 1
        try:
            while True:
                key = key % 400 + 1
                record = [key, self.written.get(key, 0) + 1, key % 7] + [None] * (width - 3)
                self.trying = record[:2]
                try:
                    client.call("write", "t", record)
                except Refused as refused:
                    assert refused.code == "bad_record", refused
                    width = len(client.call("table_info", "t")["attributes"])
                    continue
                self.written[key] = record[1]
        except (ConnectionError, OSError):
            pass
        except BaseException as failure:
            self.failure = failure

    def test_a_kill_leaves_the_old_shape_or_the_new(self):
        self.start()
        self.written, self.changes, self.serial, self.failure = {}, 0, 0, None
        for kind in ("set", "ordered_set"):
            self.call("create_table", "t", {"storage": "disc", "durability": "sync", "type": kind,
                                            "attributes": ["k", "v", "tag"], "index": ["tag"]})
            base = [[-1 - i, i, i % 7] for i in range(3000)]
            self.call("write_many", "t", base)
            self.written = {}
            for _ in range(KILLS):
                info = self.call("table_info", "t")
                self.maybe, self.trying = [(info["attributes"], info["storage"])], [None, None]
                threads = [threading.Thread(target=work, args=(self.server.client(),)) for work in (self.alter, self.write)]
                for thread in threads:
                    thread.start()
                time.sleep(self.rng.random() * 0.5)
                self.server.kill()
                for thread in threads:
                    thread.join()
                self.assertIsNone(self.failure, self.failure)
                self.start()
                self.check_after_kill(base)
            self.call("drop_table", "t")
        print(f"({self.changes} changes)", end=" ", flush=True)

    def check_after_kill(self, base):
        self.assertEqual(self.call("tables"), ["t"])
        info = self.call("table_info", "t")
        self.assertIn((info["attributes"], info["storage"]), self.maybe)
        width = len(info["attributes"])
        rows = self.call("match", "t", ["_"] * width)
        self.assertEqual({len(row) for row in rows}, {width})
        self.assertEqual(len(rows), self.call("size", "t"))
        by_key = {row[0]: row for row in rows}
        for row in base:
            self.assertEqual(by_key[row[0]][:3], row)
        for key, value in self.written.items():
            self.assertIn(by_key[key][1], (value, self.trying[1] if key == self.trying[0] else value))
        for tag in range(7):
            self.assertEqual(sorted(map(repr, self.call("index_read", "t", "tag", tag))),
                             sorted(repr(row) for row in rows if row[2] == tag))
        for key, row in by_key.items():
            if key > 0:
                self.written[key] = row[1]


if __name__ == "__main__":
    main()
