#!/usr/bin/env python3
"""Records and keys mean what the manual says, in every kind of table: equality and
order of values, what is kept byte for byte, what cannot be a key, how deep and how
large a value may be."""
import random

import msgpack

from harness import KINDS, STORAGES, TYPES, Client, ClusterTest, Refused, main

TEXT = {"use_bin_type": True, "unicode_errors": "surrogateescape"}
MIB = 1 << 20


class ByteClient(Client):
    """Strings keep bytes that are no UTF-8; maps come as lists of pairs."""

    def __init__(self, address):
        super().__init__(address)
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=1 << 30,
                                         unicode_errors="surrogateescape", object_pairs_hook=Pairs)

    def send(self, method, *params):
        self.last += 1
        self.socket.sendall(msgpack.packb([0, self.last, method, params], **TEXT))
        return self.last


class Pairs(list):
    """A map as it came: pairs in order, keys that Python would not hash."""


def same(a, b):
    """Equal, and of the same types: 2 is not 2.0, nor 0.0 -0.0."""
    return repr(a) == repr(b)


class Values(ClusterTest):
    def setUp(self):
        super().setUp()
        self.served = self.node(data=self.dir / "data")
        self.client = ByteClient(self.served.address)
        self.call = self.client.call

    def read_one(self, table, key):
        found = self.call("read", table, key)
        self.assertEqual(len(found), 1, (table, key, found))
        return found[0]

    # ---- records

    def test_a_record_has_as_many_elements_as_its_table_has_attributes(self):
        for table in self.each_kind(attributes=["k", "a", "b"]):
            for record in ([], [1], [1, 2], [1, 2, 3, 4]):
                for method in ("write", "insert_new", "delete_object"):
                    self.assert_refused("bad_record", self.call, method, table, record)
                self.assert_refused("bad_record", self.call, "write_many", table, [[1, 2, 3], record])
            self.assertEqual(self.call("size", table), 0)
            self.assertTrue(self.call("write", table, [1, 2, 3]))

    def test_without_options_a_table_is_a_ram_set_of_key_and_value(self):
        self.call("create_table", "t")
        info = dict(self.call("table_info", "t"))
        self.assertEqual((info["name"], info["type"], info["storage"], info["attributes"], info["index"]),
                         ("t", "set", "ram", ["key", "value"], []))

    def test_records_come_back_as_they_were_written(self):
        values = [None, True, False, 0, 1, -1, 127, 128, -32, -33, 2**31, 2**53 + 1, 2**63 - 1, 2**64 - 1, -2**63,
                  0.0, -0.0, 2.0, 1.5, 1e300, float("inf"), float("-inf"), float("nan"), "", "a", "ü" * 300, "\udcff\udc80",
                  b"", b"a", b"\x00" * 70000, [], [[], [[]]], Pairs(), [1, "a", b"a", None],
                  msgpack.ExtType(5, b"abc"), msgpack.Timestamp(1, 5)]
        for table in self.each_kind():
            for n, value in enumerate(values):
                self.call("write", table, [n, value])
                self.assertTrue(same(self.read_one(table, n), [n, value]), value)
            value = {"b": 1, "a": {"z": [1.0], "y": None}, 3: 2.0}
            self.call("write", table, ["map", value])
            self.assertTrue(same(self.read_one(table, "map")[1],
                                 [("b", 1), ("a", [("z", [1.0]), ("y", None)]), (3, 2.0)]))

    # ---- equality

    def test_numbers_are_one_key_where_they_are_equal_and_two_where_they_are_not(self):
        groups = [[2, 2.0], [0, 0.0, -0.0], [2**53, 2.0**53], [2**53 + 1], [2**53 + 2, 2.0**53 + 2], [-2**63, -2.0**63],
                  [2**63, 2.0**63], [2**63 - 1], [2**64 - 1], [2.0**64], [-2**53 - 1], [-2.0**53], [1.5], [float("inf")],
                  [float("-inf")], [True], [False], [None], ["1"], [b"1"], [[1, 2.0], [1.0, 2]], [1], ["\udcff"], [b"\xff"],
                  [{"a": 1, "b": 2}, {"b": 2.0, "a": 1.0}], [{1: {2: 3, 4: 5}}, {1.0: {4.0: 5.0, 2.0: 3.0}}], [[]], [{}],
                  [[[[]]]], [{"a": None}], [{None: None}]]
        for table in self.each_kind(kinds=[k for k in KINDS if k[1] != "bag"]):
            for n, group in enumerate(groups):
                for key in group:
                    self.call("write", table, [key, n])
            self.assertEqual(self.call("size", table), len(groups))
            for n, group in enumerate(groups):
                for key in group:
                    found = self.read_one(table, key)
                    self.assertEqual(found[1], n, (key, found))
                    if not isinstance(key, dict) and not isinstance(key, list):
                        self.assertTrue(same(found[0], group[-1]), (found, group))  # the last that was written
            many = self.call("read_many", table, [group[0] for group in groups])
            self.assertEqual([found[0][1] for found in many], list(range(len(groups))))

    def test_any_encoding_of_a_number_is_the_same_key(self):
        fives = [b"\x05", b"\xcc\x05", b"\xcd\x00\x05", b"\xce\x00\x00\x00\x05", b"\xcf" + bytes(7) + b"\x05", b"\xd0\x05",
                 b"\xd1\x00\x05", b"\xd2\x00\x00\x00\x05", b"\xd3" + bytes(7) + b"\x05", b"\xca\x40\xa0\x00\x00",
                 b"\xcb\x40\x14" + bytes(6)]
        for table in self.each_kind(kinds=[("ram", "set"), ("disc_only", "ordered_set")]):
            name = msgpack.packb(table)
            for five in fives:
                self.client.socket.sendall(b"\x94\x00\x01\xa5write\x92" + name + b"\x92" + five + b"\xc0")
                self.assertEqual(self.client.receive(), (1, None, True))
                self.assertEqual(self.call("size", table), 1)
                self.client.socket.sendall(b"\x94\x00\x01\xa4read\x92" + name + five)
                self.assertEqual(len(self.client.receive()[2]), 1)
            long_string = b"\xdb\x00\x00\x00\x01a"
            self.client.socket.sendall(b"\x94\x00\x01\xa5write\x92" + name + b"\x92" + long_string + b"\xc0")
            self.assertEqual(self.client.receive(), (1, None, True))
            self.assertEqual(len(self.call("read", table, "a")), 1)

    def test_nan_cannot_be_a_key(self):
        nan = float("nan")
        for table in self.each_kind():
            for key in (nan, [nan], {"a": nan}, {nan: 1}):
                for method in ("write", "insert_new"):
                    self.assert_refused("bad_record", self.call, method, table, [key, 1])
                self.assert_refused("bad_record", self.call, "write_many", table, [[1, 1], [key, 1]])
                self.assert_refused("bad_record", self.call, "read", table, key)
                self.assert_refused("bad_record", self.call, "delete", table, key)
            self.assertEqual(self.call("size", table), 0)

    def test_a_refused_key_is_told_why(self):
        self.call("create_table", "t")
        for key, why in ((float("nan"), "NaN cannot be a key"), ("x" * 70000, "a key is at most 64 KiB")):
            for method, what in (("write", [key, 1]), ("write_many", [[key, 1]]), ("read", key), ("read_many", [key]),
                                 ("delete", key), ("next", key)):
                with self.subTest(method), self.assertRaises(Refused) as refused:
                    self.call(method, "t", what)
                self.assertIn(why, str(refused.exception))

    def test_a_bag_keeps_equal_records_once(self):
        for table in self.each_kind(kinds=[(s, "bag") for s in STORAGES]):
            for record in ([1, 2], [1, 2.0], [1.0, 2], [1, "2"], [1, b"2"], [1, {"a": 1, "b": 2}], [1, {"b": 2.0, "a": 1}]):
                self.call("write", table, record)
            self.assertEqual(self.call("size", table), 4)
            self.assertEqual(len(self.call("read", table, 1.0)), 4)
            self.call("delete_object", table, [1.0, 2])
            self.assertEqual(len(self.call("read", table, 1)), 3)

    # ---- order

    def test_an_ordered_set_is_in_the_order_of_values(self):
        numbers = [float("-inf"), -2**63, -2**53 - 1, -2.0**53, -1.5, -1, 0, 0.5, 1, 2**53, 2**53 + 1, 2.0**53 + 2, 2**63 - 1,
                   2.0**63, 2**64 - 1, 2.0**64, 1e300, float("inf")]
        strings = ["", "\x00", "A", "a", "a\x00", "aa", "ab", "b", "ü", "\udcff"]
        arrays = [[], [1], [1, 1], [1, 2], [2], [2, 0], ["a"], [[]]]
        maps = [{}, {1: 5}, {2: 0}, {2: 1}, {"a": 0}, {1: 1, 2: 2}, {1: 1, 3: 0}, {1: 2, 3: 0}, {1: 9, 4: 0}]
        for table in self.each_kind(kinds=[(s, "ordered_set") for s in STORAGES]):
            for family in (numbers, strings, [s.encode(errors="surrogateescape") for s in strings], maps):
                self.call("clear_table", table)
                shuffled = random.Random(7).sample(family, len(family))
                self.call("write_many", table, [[key, n] for n, key in enumerate(shuffled)])
                self.assertEqual(self.walk(table), self.plain(family))
                self.assertEqual(self.walk(table, "last", "prev"), self.plain(family[::-1]))
            self.call("clear_table", table)
            for n, key in enumerate(random.Random(7).sample(arrays, len(arrays))):
                self.call("write", table, [key, n])
            walked = self.walk(table)
            for shorter, longer in (([], [1]), ([1], [1, 1]), ([1, 1], [1, 2]), ([1, 2], [2]), ([2], [2, 0])):
                self.assertLess(walked.index(shorter), walked.index(longer), walked)

    def plain(self, keys):
        return [Pairs(key.items()) if isinstance(key, dict) else key for key in keys]

    def walk(self, table, first="first", following="next"):
        keys = []
        key = self.call(first, table)
        while key is not None:
            keys.append(key)
            self.assertLess(len(keys), 1000)
            key = self.call(following, table, dict(key) if isinstance(key, Pairs) else key)
        return keys

    def test_next_and_prev_of_an_absent_key_are_its_neighbours(self):
        for table in self.each_kind(kinds=[(s, "ordered_set") for s in STORAGES]):
            self.assertIsNone(self.call("first", table))
            self.assertIsNone(self.call("last", table))
            self.assertIsNone(self.call("next", table, 5))
            self.call("write_many", table, [[n, n] for n in range(0, 100, 10)])
            for key, following, previous in ((-1, 0, None), (0, 10, None), (5, 10, 0), (5.5, 10, 0), (10.0, 20, 0), (90, None, 80),
                                             (95, None, 90), ("x", None, 90)):
                self.assertEqual(self.call("next", table, key), following)
                self.assertEqual(self.call("prev", table, key), previous)

    def test_first_and_next_visit_every_key_once(self):
        for table in self.each_kind(kinds=[k for k in KINDS if k[1] != "ordered_set"]):
            self.assertIsNone(self.call("first", table))
            self.assertIsNone(self.call("last", table))
            keys = [n for n in range(300)] + [f"k{n}" for n in range(300)] + [[n] for n in range(100)]
            self.call("write_many", table, [[key, 1] for key in keys])
            if table.endswith("bag"):
                self.call("write_many", table, [[key, 2] for key in keys])
            seen = self.walk(table)
            self.assertCountEqual(map(repr, seen), map(repr, keys))

    # ---- indexes and patterns

    def test_indexes_and_patterns_compare_by_value_and_nil_can_be_indexed(self):
        for table in self.each_kind(attributes=["k", "a", "b"], index=["a"]):
            rows = [[1, 7, "x"], [2, 7.0, "y"], [3, None, "x"], [4, "7", "x"], [5, [7, {"p": 1.0, "q": 2}], "x"], [6, -0.0, "x"],
                    [7, b"7", "x"], [8, 2**53 + 1, "x"], [9, 2.0**53, "x"]]
            self.assertEqual(self.call("write_many", table, rows), len(rows))
            for value, keys in ((7, [1, 2]), (7.0, [1, 2]), (None, [3]), ("7", [4]), ([7.0, {"q": 2.0, "p": 1}], [5]), (0, [6]),
                                (b"7", [7]), (2**53 + 1, [8]), (2**53, [9]), (8, []), (float("nan"), [])):
                self.assertEqual(sorted(row[0] for row in self.call("index_read", table, "a", value)), keys, value)
                self.assertEqual(sorted(row[0] for row in self.call("match", table, ["_", value, "_"])), keys, value)
            self.call("write", table, [10, float("nan"), "x"])  # no key: it may be indexed
            self.call("delete", table, 10)
            self.assertEqual(self.call("match", table, [1.0, "_", "_"]), [[1, 7, "x"]])
            self.assertEqual(len(self.call("match", table, ["_", "_", "_"])), len(rows))
            self.assertEqual(len(self.call("match", table, ["_", "_", "_"], {"limit": 4})), 4)
            self.assertEqual([row[0] for row in self.call("match", table, ["_", ["_", {"p": 1, "q": 2}], "_"])], [5])
            self.call("delete", table, 1)
            self.call("write", table, [2, 8, "y"])
            self.call("update", table, 3, {"a": 8}) if not table.endswith("bag") else self.call("write", table, [3, 8, "x"])
            self.assertTrue({2, 3} <= {row[0] for row in self.call("index_read", table, "a", 8)})
            if not table.endswith("bag"):
                self.assertEqual(self.call("index_read", table, "a", 7), [])
                self.assertEqual(self.call("index_read", table, "a", None), [])

    def test_an_index_made_later_finds_what_was_there(self):
        for table in self.each_kind(attributes=["k", "a", "b"]):
            self.call("write_many", table, [[n, n % 10, None] for n in range(500)])
            self.assert_refused("bad_request", self.call, "index_read", table, "a", 3)
            self.assertTrue(self.call("add_index", table, "a"))
            self.assertTrue(self.call("add_index", table, "b"))
            self.assert_refused("exists", self.call, "add_index", table, "a")
            self.assertEqual(len(self.call("index_read", table, "a", 3)), 50)
            self.assertEqual(len(self.call("index_read", table, "b", None)), 500)
            self.assertTrue(self.call("drop_index", table, "a"))
            self.assert_refused("not_found", self.call, "drop_index", table, "a")
            self.assert_refused("bad_request", self.call, "index_read", table, "a", 3)
            for method in ("add_index", "drop_index"):
                self.assert_refused("bad_request", self.call, method, table, "nope")
            self.call("clear_table", table)
            self.assertEqual(self.call("index_read", table, "b", None), [])

    # ---- bounds

    def nested(self, levels, inner=None):
        for _ in range(levels):
            inner = [inner]
        return inner

    def test_nesting_is_64_levels_at_most(self):
        for table in self.each_kind():
            self.call("write", table, ["deep", self.nested(60)])
            self.assertEqual(self.read_one(table, "deep"), ["deep", self.nested(60)])
            self.call("write", table, [self.nested(60), 1])
            self.assertEqual(len(self.call("read", table, self.nested(60))), 1)
            deep = ByteClient(self.served.address)
            msgid = deep.send("write", table, [1, self.nested(70)])
            self.assertEqual(deep.receive()[0], msgid)
            with self.assertRaises(ConnectionError):
                deep.receive()
            self.assertEqual(self.call("read", table, 1), [])

    def test_a_frame_is_16_mib_at_most(self):
        for table in self.each_kind(kinds=[("ram", "set"), ("disc", "bag"), ("disc_only", "ordered_set")]):
            value = b"x" * (16 * MIB - 100)
            self.assertTrue(self.call("write", table, [1, value]))
            self.assertEqual(self.read_one(table, 1)[1], value)
            large = ByteClient(self.served.address)
            msgid = None
            try:
                msgid = large.send("write", table, [2, value + b"y" * 200])
            except OSError:
                pass  # it closed before all was sent
            if msgid is not None:
                try:
                    self.assertEqual(large.receive()[:2][0], msgid)
                except ConnectionError:
                    pass
            self.assertEqual(self.call("read", table, 2), [])

    # ---- a restart changes nothing

    def test_a_restart_changes_no_value(self):
        rows = [[2.0, 1], [2**53 + 1, -0.0], ["\udcff", b"\xff"], [[1, [2.0]], Pairs()], [b"", None], [None, "nil"]]
        tables = [(s, t) for s in ("disc", "disc_only") for t in TYPES]
        for storage, kind in tables:
            self.call("create_table", f"{storage}_{kind}", {"storage": storage, "type": kind, "index": ["value"]})
            for row in rows:
                self.call("write", f"{storage}_{kind}", [row[0], {} if row[1] == [] else row[1]])
        self.assertEqual(self.served.stop(), 0)
        self.client = ByteClient(self.node(data=self.dir / "data").address)
        for storage, kind in tables:
            for row in rows:
                found = self.client.call("read", f"{storage}_{kind}", row[0])
                self.assertTrue(same(found, [row]), (storage, kind, found, row))
                self.assertEqual(len(self.client.call("index_read", f"{storage}_{kind}", "value",
                                                      {} if row[1] == [] else row[1])), 1)


if __name__ == "__main__":
    main()
