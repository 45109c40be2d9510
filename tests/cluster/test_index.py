#!/usr/bin/env python3
"""Indexes on places inside attributes, on several attributes, and unique ones: what each
finds, what it refuses, and that it agrees with the records whatever is killed.

    EG_SEED=7 EG_QUICK=1 test_index.py"""
import os
import random
import threading

from harness import KINDS, QUICK, STORAGES, ClusterTest, Refused, main, until_done

PEOPLE = ["key", "last", "first", "address", "tags"]
WHERE = [{"city": "Bern", "at": [1, 2]}, {"city": "Rom"}, {}, None, 7, ["Bern", "Rom"], {"0": "zero", "city": None}]


def follow(value, *steps):
    """What a path leads to, as docs/indexes.md says."""
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step, value.get(int(step)) if step.isdigit() else None)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


class Indexes(ClusterTest):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("EG_SEED", random.randrange(10**6)))
        print(f"# EG_SEED={self.seed}")
        self.random = random.Random(self.seed)
        self.server = self.node(data=self.dir / "data")
        self.client = self.server.client()
        self.call = self.client.call

    def people(self, table, count=200, **options):
        self.call("create_table", table, {"attributes": PEOPLE, **options})
        rows = [[n, self.random.choice("abc"), self.random.choice("xyz"), self.random.choice(WHERE),
                 [self.random.randrange(3) for _ in range(self.random.randrange(3))]] for n in range(count)]
        self.call("write_many", table, rows)
        return rows

    def same(self, found, wanted):
        self.assertEqual(sorted(map(repr, found)), sorted(map(repr, wanted)), f"EG_SEED={self.seed}")

    def test_a_path_leads_into_an_attribute(self):
        for storage, kind in KINDS:
            table = f"{storage}_{kind}"
            rows = self.people(table, storage=storage, type=kind, index=["address.city", "tags.1"])
            self.call("add_index", table, "address.at.1")
            self.call("add_index", table, "address.0")
            self.assertEqual(self.call("table_info", table)["index"],
                             ["address.city", "tags.1", "address.at.1", "address.0"])
            for path, position, steps in (("address.city", 3, ("city",)), ("tags.1", 4, ("1",)),
                                          ("address.at.1", 3, ("at", "1")), ("address.0", 3, ("0",))):
                for value in ("Bern", "Rom", "zero", None, 0, 1, 2, 2.0):
                    self.same(self.call("index_read", table, path, value),
                              [row for row in rows if follow(row[position], *steps) == value])
            self.assertTrue(self.call("drop_index", table, "address.city"))
            self.assert_refused("bad_request", self.call, "index_read", table, "address.city", "Bern")
            self.assert_refused("not_found", self.call, "drop_index", table, "address.city")

    def test_several_attributes_are_read_by_the_first_of_them(self):
        for storage, kind in KINDS:
            table = f"{storage}_{kind}"
            rows = self.people(table, storage=storage, type=kind,
                               index=[{"on": ["last", "first", "address.city"]}])
            self.call("add_index", table, {"on": ["first", "last"], "name": "by_first"})
            for name, order in (("last,first,address.city", (1, 2)), ("by_first", (2, 1))):
                for one in "abcxyz":
                    self.same(self.call("index_read", table, name, [one]), [r for r in rows if r[order[0]] == one])
                    for two in "abcxyz":
                        self.same(self.call("index_read", table, name, [one, two]),
                                  [r for r in rows if (r[order[0]], r[order[1]]) == (one, two)])
            self.same(self.call("index_read", table, "last,first,address.city", ["a", "x", "Bern"]),
                      [r for r in rows if r[1:3] == ["a", "x"] and follow(r[3], "city") == "Bern"])
            self.same(self.call("index_read", table, "last", "a"), [r for r in rows if r[1] == "a"])
            self.assertEqual(self.call("table_info", table)["index"],
                             [{"name": "last,first,address.city", "on": ["last", "first", "address.city"], "unique": False},
                              {"name": "by_first", "on": ["first", "last"], "unique": False}])
            for wrong in ("a", [], ["a"] * 4):
                self.assert_refused("bad_request", self.call, "index_read", table, "by_first", wrong)

    def test_what_an_index_cannot_be_is_refused(self):
        table = "t"
        self.call("create_table", table, {"attributes": PEOPLE, "index": ["last"]})
        for wrong in (None, 7, [], {}, {"on": []}, {"on": ["last"] * 9}, {"on": [7]}, {"on": "nothing"}, {"on": "key"},
                      {"on": ["first", "first"]}, {"on": "first", "name": ""}, {"on": "first", "name": 7},
                      {"on": "first", "name": "n" * 256}, {"on": "first", "unique": 1}, {"on": "first", "other": 1},
                      "address.", "address..city", ".city", "nothing.city", "address." + "x" * 600,
                      "address" + ".x" * 30, "key"):
            self.assert_refused("bad_request", self.call, "add_index", table, wrong)
        for again in ("last", {"on": "last"}, {"on": ["last"], "name": "other"}, {"on": "first", "name": "last"}):
            self.assert_refused("exists", self.call, "add_index", table, again)
        self.assertEqual(self.call("table_info", table)["index"], ["last"])
        for n in range(15):
            self.call("add_index", table, f"address.{n}")
        self.assert_refused("bad_request", self.call, "add_index", table, "address.city")

    # ---- unique ---------------------------------------------------------------------

    def test_a_second_value_is_refused_by_every_kind_of_write(self):
        for storage, kind in KINDS:
            table = f"{storage}_{kind}"
            self.call("create_table", table, {"storage": storage, "type": kind, "attributes": ["key", "mail", "n"],
                                              "index": [{"on": "mail", "unique": True}]})
            self.assertEqual(self.call("table_info", table)["index"], [{"name": "mail", "on": ["mail"], "unique": True}])
            self.call("write", table, [1, "a", 0])
            self.call("write", table, [1, "a", 0])  # itself again
            self.call("write", table, [2, "b", 0])
            self.call("write", table, [3, None, 0])
            self.call("write", table, [4, None, 0])  # nil is no value
            self.assert_refused("exists", self.call, "write", table, [5, "a", 0])
            self.assert_refused("exists", self.call, "insert_new", table, [5, "b", 0])
            self.assert_refused("exists", self.call, "write_many", table, [[6, "c", 0], [7, "a", 0]])
            self.assert_refused("exists", self.call, "write_many", table, [[6, "c", 0], [7, "c", 0]])
            if kind != "bag":
                self.assert_refused("exists", self.call, "update", table, 2, {"mail": "a"})
                self.assertEqual(self.call("index_read", table, "mail", "b"), [[2, "b", 0]])
                self.call("update", table, 2, {"n": 5})
                self.call("write", table, [2, "c", 0])
                self.call("write", table, [5, "b", 0])
                self.assertEqual(self.call("write_many", table, [[5, "bb", 0], [6, "b", 0]]), 2)
            self.call("delete", table, 1)
            self.call("write", table, [8, "a", 0])
            self.assertEqual(self.call("index_read", table, "mail", "a"), [[8, "a", 0]])
            self.assertEqual(self.call("read", table, 7), [])
            self.call("take", table, 8)
            self.call("write", table, [9, "a", 0])
            self.call("delete_object", table, [9, "a", 0])
            self.call("write", table, [10, "a", 0])
            self.call("clear_table", table)
            self.call("write", table, [11, "a", 0])
            self.call("write", table, [12, "gone", 0], {"ttl": 0.001})
            while self.call("read", table, 12):
                pass
            self.call("write", table, [13, "gone", 0])
            self.call("drop_index", table, "mail")
            self.call("write", table, [14, "a", 0])

    def test_counters_can_be_unique(self):
        self.call("create_table", "c", {"index": [{"on": ["value"], "unique": True, "name": "once"}]})
        self.call("write", "c", [1, 5])
        self.call("write", "c", [2, 3])
        self.assertEqual(self.call("update_counter", "c", 2, "value", 1), 4)
        self.assert_refused("exists", self.call, "update_counter", "c", 2, "value", 1)
        self.assertEqual(self.call("read", "c", 2), [[2, 4]])
        self.assert_refused("exists", self.call, "update_counter", "c", 3, "value", 4)
        with self.assertRaisesRegex(Refused, "once"):
            self.call("write", "c", [3, 5])

    def test_an_index_over_what_is_not_unique_is_refused_and_nothing_changed(self):
        for storage in STORAGES:
            table = f"{storage}_many"
            self.call("create_table", table, {"storage": storage, "attributes": ["key", "a", "b"]})
            self.call("write_many", table, [[n, n % 900, n] for n in range(3000)])
            self.assert_refused("exists", self.call, "add_index", table, {"on": "a", "unique": True})
            self.assertEqual(self.call("table_info", table)["index"], [])
            self.call("write", table, [5000, 1, 1])
            self.assertTrue(self.call("add_index", table, {"on": ["a", "key"], "unique": True, "name": "both"}))
            self.assertTrue(self.call("delete", table, 5000))
            self.assertTrue(self.call("add_index", table, {"on": "b", "unique": True}))
            self.assert_refused("exists", self.call, "write", table, [5000, 1, 1])

    def test_writers_at_once_never_leave_a_value_twice(self):
        for storage in STORAGES:
            table = f"{storage}_race"
            self.call("create_table", table, {"storage": storage, "attributes": ["key", "a"],
                                              "index": [{"on": "a", "unique": True}]})
            failures = []

            def write(seed):
                chance, client = random.Random(seed), self.server.client()
                for _ in range(300 if QUICK else 1500):
                    ids = []
                    for _ in range(16):
                        key, value = chance.randrange(60), chance.randrange(40)
                        how = chance.randrange(6)
                        if how == 0:
                            ids.append(client.send("delete", table, key))
                        elif how == 1:
                            ids.append(client.send("write_many", table, [[key, value], [key + 1, value + 1]]))
                        else:
                            ids.append(client.send("write", table, [key, value]))
                    for _ in ids:
                        _, error, _ = client.receive()
                        if error is not None and not error.startswith(("exists:", "busy:")):
                            failures.append(error)
                client.close()

            threads = [threading.Thread(target=write, args=(self.seed + n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])
            self.assert_unique(self.call, table)

    def assert_unique(self, call, table):
        rows = call("match", table, ["_", "_"])
        values = [value for _, value in rows]
        self.assertEqual(len(values), len(set(values)), f"EG_SEED={self.seed} {table}")
        for key, value in rows:
            self.assertEqual(call("index_read", table, "a", value), [[key, value]])

    def test_a_value_is_never_twice_after_a_kill(self):
        """Writers hand values from key to key, so that each is freed in one shard and taken in
        another; a kill must not show both, and the indexes must agree with the records."""
        for life in range(3 if QUICK else 12):
            for storage in ("disc", "disc_only"):
                for durability in ("async", "sync"):
                    table = f"{storage}_{durability}"
                    if life == 0:
                        self.call("create_table", table, {"storage": storage, "durability": durability,
                                                          "attributes": ["key", "a"],
                                                          "index": [{"on": "a", "unique": True}]})
                    self.assert_unique(self.call, table)
            threads = [threading.Thread(target=self.hand_on, args=(f"{storage}_{durability}", life * 10 + n))
                       for n, (storage, durability) in enumerate((s, d) for s in ("disc", "disc_only")
                                                                 for d in ("async", "sync"))]
            self.answers, self.enough = 0, self.random.randrange(200, 4000)
            self.over = threading.Event()
            for thread in threads:
                thread.start()
            self.over.wait(60)
            self.server.kill()
            for thread in threads:
                thread.join()
            self.server = self.node(data=self.dir / "data")
            self.client = self.server.client()
            self.call = self.client.call

    def hand_on(self, table, seed):
        chance = random.Random(f"{self.seed} {seed}")
        try:
            client = self.server.client()
            while True:
                for _ in range(64):
                    key, other, value = chance.randrange(50), chance.randrange(50), chance.randrange(30)
                    how = chance.randrange(4)
                    if how == 0:
                        client.send("delete", table, key)
                    elif how == 1 and key != other:
                        client.send("write_many", table, [[key, 1000 + key], [other, value]])
                    else:
                        client.send("write", table, [key, value])
                for _ in range(64):
                    client.receive()
                    self.answers += 1
                if self.answers > self.enough:
                    self.over.set()
        except (OSError, ConnectionError):
            self.over.set()

    # ---- building --------------------------------------------------------------------

    def test_a_live_table_gets_an_index_while_it_is_written(self):
        for storage in STORAGES:
            table = f"{storage}_live"
            self.call("create_table", table, {"storage": storage, "attributes": ["key", "a", "b"]})
            for start in range(0, 20000, 5000):
                until_done(self.client, "write_many", table, [[n, n % 10, {"c": n % 7}] for n in range(start, start + 5000)])
            other = self.server.client()
            waiting = other.send("add_index", table, "b.c")
            waiting = other.send("add_index", table, {"on": ["a", "b.c"]})
            for n in range(20000, 22000):
                until_done(self.client, "write", table, [n, n % 10, {"c": n % 7}])
            for _ in range(2):
                self.assertIsNone(other.receive()[1])
            other.close()
            for value in range(7):
                self.assertEqual(len(self.call("index_read", table, "b.c", value)), len(range(value, 22000, 7)))
            self.assertEqual(len(self.call("index_read", table, "a,b.c", [3, 3])),
                             sum(n % 10 == 3 and n % 7 == 3 for n in range(22000)))

    def test_an_index_is_right_after_a_kill_while_it_was_built(self):
        tables = [f"{storage}_built" for storage in ("disc", "disc_only")]
        # That none is there twice takes a look at the disc for each record in half of the shards.
        count = {"disc_built": 5000 if QUICK else 20000, "disc_only_built": 2000 if QUICK else 5000}
        for table in tables:
            self.call("create_table", table, {"storage": table[:-6], "attributes": ["key", "a", "b"], "durability": "sync"})
            self.call("write_many", table, [[n, n % 10, {"c": n % 7}] for n in range(count[table])])
        for _ in range(3 if QUICK else 8):
            for table in tables:
                self.assert_indexes(table)
            sent = 0
            for table in tables:
                for spec in ("b.c", "a", {"on": ["a", "key"], "unique": True, "name": "u"}):
                    self.client.send("add_index", table, spec)
                for n in range(300):
                    self.client.send("write", table, [self.random.randrange(count[table] * 5 // 4), n % 10, {"c": n % 7}])
                sent += 303
            for _ in range(self.random.randrange(sent)):
                self.client.receive()
            self.server.kill()
            self.server = self.node(data=self.dir / "data")
            self.client = self.server.client()
            self.call = self.client.call

    def assert_indexes(self, table):
        """Each finds what a look at all records does; then it goes."""
        rows = self.call("match", table, ["_", "_", "_"])
        for name in self.call("table_info", table)["index"]:
            name = name if isinstance(name, str) else name["name"]
            for value in range(10):
                self.same(self.call("index_read", table, name, [value] if name == "u" else value),
                          [row for row in rows if (row[2]["c"] if name == "b.c" else row[1]) == value])
            self.call("drop_index", table, name)


if __name__ == "__main__":
    main()
