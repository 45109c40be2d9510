#!/usr/bin/env python3
"""Every method keeps the rules that the manual gives for it: parameters, results and
refusals, in every kind of table; time to live, caches, durability, restarts."""
import random
import signal
import time

from harness import KINDS, QUICK, ClusterTest, Refused, eventually, main, msgpack, until_done

SETS = tuple(kind for kind in KINDS if kind[1] != "bag")
BAGS = tuple(kind for kind in KINDS if kind[1] == "bag")
MIB = 1 << 20

EVERY = [[["_", "_"], [], ["$_"]]]

# Methods of one table with parameters that are right for ["key", "value"], and
# whether options may follow.
RIGHT = (
    ("clear_table", ("t",), False), ("table_info", ("t",), False), ("add_index", ("t", "value"), False),
    ("drop_index", ("t", "value"), False), ("write", ("t", [1, 2]), True), ("insert_new", ("t", [1, 2]), True),
    ("read", ("t", 1), True), ("read_many", ("t", [1]), True), ("write_many", ("t", [[1, 2]]), True), ("delete", ("t", 1), True),
    ("delete_object", ("t", [1, 2]), True), ("take", ("t", 1), True), ("update", ("t", 1, {"value": 3}), True),
    ("update_counter", ("t", 1, "value", 1), True), ("size", ("t",), True), ("first", ("t",), True), ("last", ("t",), True),
    ("next", ("t", 1), True), ("prev", ("t", 1), True), ("index_read", ("t", "value", 1), True), ("match", ("t", ["_", "_"]), True),
    ("select", ("t", EVERY), True), ("select_reverse", ("t", EVERY), True), ("select_count", ("t", EVERY), True),
    ("select_delete", ("t", EVERY), True), ("select_replace", ("t", EVERY), True),
    ("drop_table", ("t",), False),
)
NO_TABLE = (("ping", (), False), ("tables", (), False), ("stats", (), False), ("processes", (), False), ("hello", (), True))


class Methods(ClusterTest):
    def setUp(self):
        super().setUp()
        self.served = self.node("--name", "n1", data=self.dir / "data")
        self.client = self.served.client()

    def call(self, *words):
        return self.client.call(*words)

    def refused(self, code, *words):
        self.assert_refused(code, self.client.call, *words)

    # ---- parameters

    def test_wrong_numbers_of_parameters_are_bad_request(self):
        self.call("create_table", "t", {"index": ["value"]})
        for method, params, options in RIGHT + NO_TABLE:
            with self.subTest(method):
                for count in range(len(params)):
                    self.refused("bad_request", method, *params[:count])
                self.refused("bad_request", method, *params, {}, {})
                if not options:
                    self.refused("bad_request", method, *params, {})
                else:
                    for bad in (None, 5, "x", [], {"nonsense": 1}, {5: 1}, {"": None}):
                        self.refused("bad_request", method, *params, bad)
        self.refused("bad_request", "create_table")
        self.refused("bad_request", "process_info")
        self.assertEqual(self.call("tables"), ["t"])
        self.assertEqual(self.call("size", "t"), 0)

    def test_options_may_stand_or_be_left_out(self):
        self.call("create_table", "t", {"index": ["value"]})
        self.call("write", "t", [1, 2], {})
        for method, params, options in RIGHT[:-1]:
            if options:
                with self.subTest(method):
                    if method == "update":
                        self.call("write", "t", [1, 2])
                    self.call(method, *params, {})
                    if method == "update":
                        self.call("write", "t", [1, 2])
                    self.call(method, *params, {"context": "dirty"})
                    self.refused("bad_request", method, *params, {"context": "clean"})
                    self.refused("bad_request", method, *params, {"context": None})
                    self.refused("not_found", method, *params, {"tx": 5})
                    self.refused("not_found", method, *params, {"tx": "x"})
                    self.refused("bad_request", method, *params, {"tx": []})

    def test_a_table_that_is_not_there_is_no_table(self):
        for method, params, options in RIGHT:
            self.refused("no_table", method, "nope", *params[1:])
        self.assertEqual(self.call("tables"), [])

    def test_a_table_is_named_by_a_string(self):
        self.call("create_table", "t")
        for method, params, options in RIGHT + (("create_table", ("t",), True),):
            for name in (5, None, b"t", ["t"], {}):
                self.refused("bad_request", method, name, *params[1:])

    def test_parameters_of_a_wrong_type_are_bad_request(self):
        for table in self.each_kind(attributes=["k", "a", "b"], index=["a"]):
            for wrong in (
                ("write", table, 5), ("write", table, {"k": 1}), ("write", table, None), ("insert_new", table, "x"),
                ("delete_object", table, 5), ("write_many", table, 5), ("write_many", table, {}), ("read_many", table, 5),
                ("read_many", table, {}), ("update", table, 1, 5), ("update", table, 1, [1]), ("update", table, 1, {5: 1}),
                ("update", table, 1, {"nope": 1}), ("update", table, 1, {"k": 2}), ("update_counter", table, 1, "nope", 1),
                ("update_counter", table, 1, "k", 1), ("update_counter", table, 1, 5, 1), ("update_counter", table, 1, "b", 1.5),
                ("update_counter", table, 1, "b", "1"), ("update_counter", table, 1, "b", None),
                ("update_counter", table, 1, "b", 2**64 - 1), ("index_read", table, "b", 1), ("index_read", table, "nope", 1),
                ("index_read", table, 5, 1), ("index_read", table, "k", 1), ("match", table, 5), ("match", table, ["_"]), ("match", table, []),
                ("match", table, ["_"] * 4), ("match", table, ["_"] * 3, {"limit": 0}), ("match", table, ["_"] * 3, {"limit": -1}),
                ("match", table, ["_"] * 3, {"limit": 1.5}), ("match", table, ["_"] * 3, {"limit": "x"}),
                ("write", table, [1, 2, 3], {"ttl": 0}), ("write", table, [1, 2, 3], {"ttl": -1}), ("write", table, [1, 2, 3], {"ttl": "1"}),
                ("write", table, [1, 2, 3], {"ttl": float("nan")}), ("write", table, [1, 2, 3], {"limit": 1}),
                ("read", table, 1, {"ttl": 1}), ("add_index", table, 5), ("add_index", table, "nope"), ("add_index", table, "k"),
                ("drop_index", table, "nope"), ("drop_index", table, 5),
            ):
                with self.assertRaises(Refused, msg=wrong) as refused:
                    self.call(*wrong)
                self.assertEqual(refused.exception.code, "bad_request", (wrong, refused.exception))
            for wrong in ([5, [1, 2, 3]], ["x"], [[1, 2, 3], [1]], [[1, 2, 3], []]):
                with self.assertRaises(Refused, msg=wrong) as refused:
                    self.call("write_many", table, wrong)
                self.assertIn(refused.exception.code, ("bad_record", "bad_request"), wrong)
            self.assertEqual(self.call("size", table), 0)

    def test_options_of_a_table(self):
        for options in ({"type": "heap"}, {"type": 1}, {"storage": "tape"}, {"attributes": []}, {"attributes": "k"}, {"attributes": [1]},
                        {"attributes": ["a", "a"]}, {"attributes": [""]}, {"index": ["nope"]}, {"index": "value"}, {"index": ["value", "value"]},
                        {"copies": 0}, {"copies": "some"}, {"copies": -1}, {"acks": 2}, {"acks": "some"}, {"shards": 0}, {"shards": 100000}, {"merge": "x"}, {"majority": 1},
                        {"durability": "x"}, {"ttl": 0}, {"ttl": -1}, {"ttl": "x"}, {"cache": 1}, {"cache": True}, {"max_bytes": 0},
                        {"max_bytes": -5}, {"max_bytes": "1MB"}, {"nonsense": 1}, {5: 1}, 5, "set", ["set"]):
            with self.subTest(options):
                self.refused("bad_request", "create_table", "t", options)
        for name in ("", "x" * 256, "a\0b"):
            self.refused("bad_request", "create_table", name)
        self.assertEqual(self.call("tables"), [])
        self.assertTrue(self.call("create_table", "t", {
            "type": "ordered_set", "storage": "disc", "attributes": ["id", "name", "age"], "index": ["name"], "copies": 2, "acks": 1, "shards": 3,
            "merge": "lww", "majority": False, "durability": "sync", "ttl": 1000, "cache": False}))
        info = self.call("table_info", "t")
        for name, value in {"name": "t", "type": "ordered_set", "storage": "disc", "attributes": ["id", "name", "age"], "index": ["name"],
                            "copies": 2, "acks": 1, "shards": 3, "durability": "sync", "ttl": 1000, "size": 0, "local_size": 0}.items():
            self.assertEqual(info[name], value)
        self.assertGreaterEqual(info["memory"], 0)
        self.refused("exists", "create_table", "t")
        self.refused("exists", "create_table", "t", {"type": "bag"})
        self.assertTrue(self.call("drop_table", "t"))
        self.refused("no_table", "drop_table", "t")
        self.assertTrue(self.call("create_table", "t"))
        self.assertEqual(self.call("tables"), ["t"])

    # ---- methods without a table

    def test_ping_hello_tables_and_what_runs(self):
        self.assertEqual(self.call("ping"), "pong")
        for params in ((), ({},), ({"client": "test", "version": "1.0"},)):
            hello = self.call("hello", *params)
            self.assertEqual((hello["server"], hello["node"], hello["protocol"]), ("engram", "n1", 1))
            self.assertRegex(hello["version"], r"^\d+\.\d+")
        self.assertEqual(self.call("tables"), [])
        for name in ("b", "a", "ü" * 100):
            self.call("create_table", name)
        self.assertCountEqual(self.call("tables"), ["b", "a", "ü" * 100])
        self.assertIsInstance(self.call("stats"), dict)
        processes = self.call("processes")
        self.assertGreater(len(processes), 2)
        self.refused("not_found", "process_info", "<0.999999.1>")
        self.refused("bad_request", "process_info", 5)
        pid = next(value for value in processes[0].values() if isinstance(value, str) and value.startswith("<"))
        self.assertIsInstance(self.call("process_info", pid), dict)

    # ---- single records

    def test_write_read_insert_delete_take(self):
        for table in self.each_kind(kinds=SETS):
            self.assertEqual(self.call("read", table, 1), [])
            self.assertIs(self.call("write", table, [1, "a"]), True)
            self.assertIs(self.call("write", table, [1, "b"]), True)
            self.assertEqual(self.call("read", table, 1), [[1, "b"]])
            self.assertIs(self.call("insert_new", table, [1, "c"]), False)
            self.assertIs(self.call("insert_new", table, [2, "c"]), True)
            self.assertEqual(self.call("read_many", table, [2, 9, 1, 2]), [[[2, "c"]], [], [[1, "b"]], [[2, "c"]]])
            self.assertEqual(self.call("read_many", table, []), [])
            self.assertEqual(self.call("size", table), 2)
            self.assertIs(self.call("delete_object", table, [1, "x"]), True)
            self.assertEqual(self.call("size", table), 2)
            self.assertIs(self.call("delete_object", table, [1, "b"]), True)
            self.assertEqual(self.call("take", table, 2), [[2, "c"]])
            self.assertEqual(self.call("take", table, 2), [])
            self.assertIs(self.call("delete", table, 2), True)
            self.assertEqual(self.call("size", table), 0)

    def test_a_bag_has_several_records_under_a_key(self):
        for table in self.each_kind(kinds=BAGS):
            for value in ("a", "b", "a", "c"):
                self.assertIs(self.call("write", table, [1, value]), True)
            self.call("write", table, [2, "z"])
            self.assertCountEqual(self.call("read", table, 1), [[1, "a"], [1, "b"], [1, "c"]])
            self.assertEqual([len(found) for found in self.call("read_many", table, [1, 5, 2])], [3, 0, 1])
            self.assertIs(self.call("insert_new", table, [1, "new"]), False)
            self.assertIs(self.call("insert_new", table, [3, "new"]), True)
            self.assertEqual(self.call("size", table), 5)
            self.refused("bad_request", "update", table, 1, {"value": 1})
            self.refused("bad_request", "update_counter", table, 1, "value", 1)
            self.call("delete_object", table, [1, "b"])
            self.assertCountEqual(self.call("take", table, 1), [[1, "a"], [1, "c"]])
            self.assertEqual(self.call("read", table, 1), [])
            self.call("delete", table, 2)
            self.assertEqual(self.call("size", table), 1)

    def test_update(self):
        for table in self.each_kind(kinds=SETS, attributes=["k", "a", "b"], index=["a"]):
            self.refused("not_found", "update", table, 1, {"a": 1})
            self.call("write", table, [1, "a", "b"])
            self.assertIs(self.call("update", table, 1.0, {"b": [1, {"x": None}]}), True)
            self.assertEqual(self.call("read", table, 1), [[1, "a", [1, {"x": None}]]])
            self.assertIs(self.call("update", table, 1, {"a": 2, "b": 3}), True)
            self.assertIs(self.call("update", table, 1, {}), True)
            self.assertEqual(self.call("index_read", table, "a", 2), [[1, 2, 3]])
            self.assertEqual(self.call("index_read", table, "a", "a"), [])
            self.refused("bad_request", "update", table, 1, {"a": 5, "nope": 1})
            self.assertEqual(self.call("read", table, 1), [[1, 2, 3]])

    def test_counters(self):
        for table in self.each_kind(kinds=SETS, attributes=["k", "a", "n"], index=["n"]):
            self.assertEqual(self.call("update_counter", table, "c", "n", 5), 5)
            self.assertEqual(self.call("read", table, "c"), [["c", None, 5]])
            self.assertEqual(self.call("update_counter", table, "c", "n", -7), -2)
            self.assertEqual(self.call("update_counter", table, "c", "n", 0), -2)
            self.assertEqual(self.call("index_read", table, "n", -2), [["c", None, -2]])
            self.call("write", table, ["s", 1, "text"])
            self.call("write", table, ["nil", 1, None])
            for key in ("s", "nil"):
                self.refused("bad_request", "update_counter", table, key, "n", 1)
            self.call("write", table, ["max", 1, 2**63 - 1])
            self.refused("bad_request", "update_counter", table, "max", "n", 1)
            self.assertEqual(self.call("update_counter", table, "max", "n", -1), 2**63 - 2)
            self.call("write", table, ["min", 1, -2**63])
            self.refused("bad_request", "update_counter", table, "min", "n", -1)
            self.assertEqual(self.call("read", table, "min"), [["min", 1, -2**63]])
            self.assertEqual(self.call("update_counter", table, "edge", "n", -2**63), -2**63)
            self.assertEqual(self.call("update_counter", table, "edge2", "n", 2**63 - 1), 2**63 - 1)

    # ---- many records

    def test_write_many_writes_all_or_nothing_and_says_how_many_were_given(self):
        many = 4000 if QUICK else 20000
        for table in self.each_kind(index=["value"]):
            self.assertEqual(self.call("write_many", table, []), 0)
            self.assertEqual(self.call("write_many", table, [[1, "a"], [2, "b"], [1, "c"]]), 3)
            self.assertEqual(self.call("size", table), 3 if table.endswith("bag") else 2)
            self.assertIn([1, "c"], self.call("read", table, 1))
            for bad in ([4], [4, 5, 6], [float("nan"), 1]):
                self.refused("bad_record", "write_many", table, [[n, "new"] for n in range(1000)] + [bad])
            self.refused("bad_request", "write_many", table, [[9, 9]], {"ttl": 0})
            self.assertEqual(self.call("size", table), 3 if table.endswith("bag") else 2)
            self.assertEqual(self.call("index_read", table, "value", "new"), [])
            self.assertEqual(self.call("write_many", table, [[n, n % 3] for n in range(many)]), many)
            self.assertEqual(len(self.call("index_read", table, "value", 1)), len(range(1, many, 3)))
            self.assertEqual(self.call("clear_table", table), True)
            self.assertEqual(self.call("size", table), 0)
            self.assertEqual(self.call("match", table, ["_", "_"]), [])

    def test_what_does_not_fit_a_table_leaves_nothing_of_a_write_many(self):
        for table in self.each_kind(kinds=[k for k in KINDS if k[0] == "ram"], max_bytes=MIB, index=["value"]):
            self.call("write", table, ["kept", "old"])
            size = 1
            while self.succeeds("write", table, [f"fill{size}", "y" * 1000]):
                size += 1
            self.refused("memory", "write_many", table, [["kept", "new"]] + [[n, "x" * 10000] for n in range(100)])
            self.assertEqual(self.call("size", table), size)
            self.assertEqual(self.call("read", table, "kept"), [["kept", "old"]])
            self.assertEqual(self.call("index_read", table, "value", "old"), [["kept", "old"]])
            self.assertEqual(self.call("index_read", table, "value", "new"), [])
            self.assertEqual(self.call("match", table, ["_", "x" * 10000]), [])

    def test_random_operations_agree_with_a_dictionary(self):
        seed = random.randrange(10**6)
        print(f"EG_SEED={seed}", flush=True)
        for table in self.each_kind(kinds=SETS, attributes=["k", "a"], index=["a"], shards=4):
            rng, twin = random.Random(seed), {}
            for _ in range(800):
                key, value = rng.randrange(40), rng.randrange(8)
                op = rng.randrange(9)
                if op == 0:
                    self.assertIs(self.call("insert_new", table, [key, value]), key not in twin)
                    twin.setdefault(key, value)
                elif op == 1:
                    self.assertEqual(self.call("take", table, key), [[key, twin.pop(key)]] if key in twin else [])
                elif op == 2:
                    self.call("delete_object", table, [key, value])
                    if twin.get(key) == value:
                        del twin[key]
                elif op == 3:
                    twin[key] = twin.get(key, 0) + value
                    self.assertEqual(self.call("update_counter", table, key, "a", value), twin[key])
                elif op == 4:
                    rows = [[rng.randrange(40), rng.randrange(8)] for _ in range(6)]
                    self.assertEqual(self.call("write_many", table, rows), 6)
                    twin.update(map(tuple, rows))
                elif op == 5:
                    self.assertCountEqual(self.call("index_read", table, "a", value), [[k, v] for k, v in twin.items() if v == value])
                elif op == 6:
                    self.assertCountEqual(self.call("match", table, ["_", value]), [[k, v] for k, v in twin.items() if v == value])
                elif op == 7:
                    self.call("delete", table, key)
                    twin.pop(key, None)
                else:
                    self.call("write", table, [key, value])
                    twin[key] = value
                self.assertEqual(self.call("size", table), len(twin))
            self.assertCountEqual(self.call("match", table, ["_", "_"]), [[k, v] for k, v in twin.items()])
            if table.endswith("ordered_set"):
                self.assertEqual([self.call("first", table), self.call("last", table)], [min(twin), max(twin)])

    # ---- time

    def test_an_expired_record_is_gone_at_once_from_everything(self):
        for table in self.each_kind(index=["value"], attributes=["k", "value"]):
            self.call("write", table, ["stays", "v"])
            self.call("write", table, ["goes", "v"], {"ttl": 0.3})
            self.call("write_many", table, [["goes2", "v"], ["goes3", 3]], {"ttl": 0.3})
            self.call("insert_new", table, ["goes4", 4], {"ttl": 0.3})
            if not table.endswith("bag"):
                self.call("update_counter", table, "goes5", "value", 5, {"ttl": 0.3})
                self.call("write", table, ["goes6", 6])
                self.call("update", table, "goes6", {"value": "v"}, {"ttl": 0.3})
            time.sleep(0.35)
            self.assertEqual(self.call("size", table), 1)
            self.assertEqual(self.call("table_info", table)["size"], 1)
            self.assertEqual(self.call("match", table, ["_", "_"]), [["stays", "v"]])
            self.assertEqual(self.call("index_read", table, "value", "v"), [["stays", "v"]])
            self.assertEqual(self.call("first", table), "stays")
            self.assertIsNone(self.call("next", table, "stays"))
            self.assertEqual(self.call("read_many", table, ["goes", "goes2", "goes3", "goes4"]), [[]] * 4)
            self.assertEqual(self.call("take", table, "goes"), [])
            self.assertIs(self.call("insert_new", table, ["goes2", "again"]), True)
            if not table.endswith("bag"):
                self.refused("not_found", "update", table, "goes3", {"value": 1})
                self.assertEqual(self.call("update_counter", table, "goes5", "value", 1), 1)

    def test_the_size_is_right_while_others_write(self):
        self.call("create_table", "t", {"storage": "disc_only", "shards": 1})
        self.call("write_many", "t", [[n, n] for n in range(300)])
        others = [self.served.client() for _ in range(4)]
        for _ in range(12):
            self.call("write_many", "t", [[n, n] for n in range(1000, 1400)], {"ttl": 0.001})
            while self.call("read", "t", 1399):
                pass
            for other in others:
                other.socket.sendall(msgpack.packb([0, 1, "write", ["t", [7, 7]]]) * 200)
            sizes = [self.call("size", "t") for _ in range(8)]
            for other in others:
                self.assertEqual([other.receive()[1] for _ in range(200)], [None] * 200)
            self.assertEqual(sizes, [300] * 8)
        for other in others:
            other.close()

    def test_a_table_may_give_all_its_records_a_time(self):
        for table in self.each_kind(ttl=0.3):
            self.call("write", table, [1, 1])
            self.call("write", table, [2, 2], {"ttl": 1000})
            while self.call("read", table, 1):
                pass
            self.assertEqual(self.call("size", table), 1)  # in the same moment
            self.assertEqual(self.call("match", table, ["_", "_"]), [[2, 2]])

    def test_an_overwrite_without_a_time_takes_the_time_away(self):
        for table in self.each_kind(kinds=SETS):
            self.call("write", table, [1, 1], {"ttl": 0.3})
            self.call("write", table, [1, 2])
            self.call("write", table, [2, 1])
            self.call("write", table, [2, 2], {"ttl": 0.3})
            time.sleep(0.35)
            self.assertEqual(self.call("read_many", table, [1, 2]), [[[1, 2]], []])
            self.assertEqual(self.call("size", table), 1)

    def test_time_goes_on_while_the_node_is_down(self):
        kinds = [kind for kind in KINDS if kind[0] != "ram"]
        for storage, kind in kinds:
            self.call("create_table", f"{storage}_{kind}", {"storage": storage, "type": kind, "index": ["value"]})
            self.call("write", f"{storage}_{kind}", ["goes", "v"], {"ttl": 0.5})
            self.call("write", f"{storage}_{kind}", ["stays", "v"], {"ttl": 1000})
        self.assertEqual(self.served.stop(), 0)
        time.sleep(0.5)
        self.client = self.node(data=self.dir / "data").client()
        for storage, kind in kinds:
            table = f"{storage}_{kind}"
            with self.subTest(table):
                self.assertEqual(self.call("read", table, "goes"), [])
                self.assertEqual(self.call("size", table), 1)
                self.assertEqual(self.call("index_read", table, "value", "v"), [["stays", "v"]])

    # ---- bounds of memory

    def test_a_cache_stays_near_its_bound_and_keeps_the_newest(self):
        for table in self.each_kind(kinds=[k for k in KINDS if k[0] == "ram"], cache=True, max_bytes=4 * MIB):
            for n in range(0, 20000, 500):
                self.call("write_many", table, [[key, "x" * 1000] for key in range(n, n + 500)])
                self.assertEqual(len(self.call("read", table, n + 499)), 1)
            self.assertLess(self.call("table_info", table)["memory"], 8 * MIB)
            size = self.call("size", table)
            self.assertGreater(size, 1500)
            self.assertLess(size, 4300)
            kept = sum(map(len, self.call("read_many", table, list(range(20000 - 1500, 20000)))))
            self.assertGreater(kept, 1400)
            self.assertEqual(self.call("read", table, 0), [])

    def test_a_full_table_refuses_writes_and_goes_on_reading(self):
        for table in self.each_kind(kinds=[k for k in KINDS if k[0] != "disc_only"], max_bytes=2 * MIB):
            with self.assertRaises(Refused) as refused:
                for n in range(10000):
                    self.call("write", table, [n, "x" * 1000])
            self.assertEqual(refused.exception.code, "memory")
            self.assertEqual(self.call("read", table, 0), [[0, "x" * 1000]])
            self.assertTrue(self.call("delete", table, 0))
            self.call("clear_table", table)
            eventually(lambda: self.succeeds("write", table, [1, "x"]), "there is room again")

    def succeeds(self, *words):
        try:
            return self.call(*words)
        except Refused:
            return False

    def test_going_through_a_table_on_disc_takes_no_memory_for_it(self):
        node = self.node(data=self.dir / "other", env={"ASAN_OPTIONS": "quarantine_size_mb=1"})
        self.client = node.client()
        for table in self.each_kind(kinds=[k for k in KINDS if k[0] == "disc_only"][:1 if QUICK else 3], shards=4):
            for n in range(0, 60000, 1000):
                until_done(self.client, "write_many", table, [[key, "x" * 1000] for key in range(n, n + 1000)])
            before = node.resident_bytes()
            self.assertEqual(self.call("match", table, ["_", "nothing"]), [])
            self.assertLess(node.resident_bytes() - before, 50 * MIB)  # RocksDB's cache is some of it

    def test_rows_of_all_sizes_are_gone_through_in_order(self):
        sizes = [0, 1, 100, 3000, 5000, 20000, 140000, 10, 0, 600000, 50]
        for table in self.each_kind(kinds=[k for k in KINDS if k[0] != "ram"], shards=2, index=["value"], attributes=["k", "v", "value"]):
            rows = [[n, "x" * sizes[n % len(sizes)], n % 3] for n in range(150)]
            for row in rows:
                self.call("write", table, row)
            self.assertEqual(sorted(self.call("match", table, ["_", "_", "_"])), rows)
            self.assertEqual(sorted(self.call("index_read", table, "value", 1)), rows[1::3])
            if table.endswith("ordered_set"):
                self.assertEqual(self.call("match", table, ["_", "_", "_"]), rows)

    # ---- restarts

    def test_what_stop_and_kill_leave(self):
        for storage, kind in KINDS:
            self.call("create_table", f"{storage}_{kind}", {"storage": storage, "type": kind, "index": ["value"],
                                                            **({} if storage == "ram" else {"durability": "sync"})})
            self.call("write_many", f"{storage}_{kind}", [[n, n % 10] for n in range(1000)])
            self.call("delete", f"{storage}_{kind}", 7)
            self.call("write", f"{storage}_{kind}", [8, "eight"])
        self.served.kill()
        self.served = self.node(data=self.dir / "data")
        self.client = self.served.client()
        self.assertEqual(self.served.ready["name"], "n1")
        self.check_after_restart()
        self.assertEqual(self.served.stop(signal.SIGINT), 0)
        self.client = self.node(data=self.dir / "data").client()
        self.check_after_restart()

    def check_after_restart(self):
        self.assertCountEqual(self.call("tables"), [f"{s}_{t}" for s, t in KINDS if s != "ram"])
        for storage, kind in KINDS:
            if storage == "ram":
                continue
            table = f"{storage}_{kind}"
            bag = kind == "bag"
            info = self.call("table_info", table)
            self.assertEqual((info["type"], info["storage"], info["index"], info["durability"]), (kind, storage, ["value"], "sync"))
            self.assertEqual(self.call("size", table), 1000 if bag else 999)
            self.assertEqual(self.call("read", table, 7), [])
            self.assertCountEqual(self.call("read", table, 8), [[8, 8], [8, "eight"]] if bag else [[8, "eight"]])
            self.assertEqual(len(self.call("index_read", table, "value", 3)), 100)
            self.assertEqual(self.call("index_read", table, "value", "eight"), [[8, "eight"]])

    def test_changes_of_the_schema_outlive_a_kill(self):
        for storage in ("disc", "disc_only"):
            for name in ("kept", "dropped", "cleared"):
                self.call("create_table", f"{storage}_{name}", {"storage": storage, "attributes": ["k", "a", "b"], "index": ["a"]})
                self.call("write_many", f"{storage}_{name}", [[n, n % 2, n % 3] for n in range(100)])
            self.call("add_index", f"{storage}_kept", "b")
            self.call("drop_index", f"{storage}_kept", "a")
            self.call("drop_table", f"{storage}_dropped")
            self.call("clear_table", f"{storage}_cleared")
        self.served.stop()
        self.client = self.node(data=self.dir / "data").client()
        for storage in ("disc", "disc_only"):
            self.refused("no_table", "size", f"{storage}_dropped")
            self.assertEqual(self.call("size", f"{storage}_cleared"), 0)
            self.assertEqual(self.call("index_read", f"{storage}_cleared", "a", 1), [])
            self.assertEqual(self.call("table_info", f"{storage}_kept")["index"], ["b"])
            self.assertEqual(len(self.call("index_read", f"{storage}_kept", "b", 1)), 33)
            self.refused("bad_request", "index_read", f"{storage}_kept", "a", 1)


if __name__ == "__main__":
    main()
