#!/usr/bin/env python3
"""Match specifications on the wire: pages and their cursors, counting, deleting and replacing,
bad input, and what other connections write meanwhile."""
import json
import random
import threading

import msgpack

from harness import KINDS, ClusterTest, Refused, main, shell

ALL = [["$1", "_", "_"], [], ["$1"]]
WHOLE = [[["_", "_", "_"], [], ["$_"]]]
SETS = tuple(kind for kind in KINDS if kind[1] != "bag")
RAM = tuple(kind for kind in KINDS if kind[0] == "ram")


class Select(ClusterTest):
    def setUp(self):
        super().setUp()
        self.served = self.node(data=self.dir / "data")
        self.client = self.served.client()

    def call(self, *words):
        return self.client.call(*words)

    def refused(self, code, *words):
        self.assert_refused(code, self.client.call, *words)

    def fill(self, table, count):
        records = [[key, key % 10, f"text {key}"] for key in range(count)]
        for at in range(0, count, 1000):
            self.call("write_many", table, records[at:at + 1000])
        return records

    def pages(self, client, table, spec, limit, method="select", options=None):
        results, cursor = client.call(method, table, spec, {"limit": limit, **(options or {})})
        while True:
            yield results
            if cursor is None:
                return
            self.assertEqual(len(results), limit)
            results, cursor = client.call("select_next", cursor)

    # ---- results and pages

    def test_pages_hold_every_result_once_and_end_exactly(self):
        for table in self.each_kind(attributes=["k", "a", "b"], index=["a"]):
            records = self.fill(table, 300)
            for spec, wanted in (([ALL], range(300)), ([[["$1", 3, "_"], [], ["$1"]]], range(3, 300, 10)),
                                 ([[["$1", "$2", "_"], [[">=", "$2", 3], ["<", "$2", 5]], ["$1"]]], [k for k in range(300) if 3 <= k % 10 < 5]),
                                 ([[["$1", "_", "_"], [["<", "$1", 40], [">", "$1", 19]], ["$1"]]], range(20, 40)),
                                 ([[[7, "_", "_"], [], [7]]], [7]), ([[[700, "_", "_"], [], [7]]], []),
                                 ([[["$1", "_", "_"], [["<", "$1", 10], [">", "$1", 19]], ["$1"]]], [])):
                results, cursor = self.call("select", table, spec)
                self.assertIsNone(cursor)
                self.assertCountEqual(results, wanted)
                for limit in (1, 7, 10, 20, 299, 300, 301):
                    pages = list(self.pages(self.client, table, spec, limit))
                    self.assertCountEqual(sum(pages, []), wanted)
                    self.assertEqual(len(pages), max(1, -(-len(wanted) // limit)))
            self.assertCountEqual(self.call("select", table, WHOLE)[0], records)
            self.assertCountEqual(self.call("match", table, ["_", 3, "_"]), records[3::10])
            self.assertEqual(len(self.call("match", table, ["_", 3, "_"], {"limit": 4})), 4)
            self.assertEqual(self.call("match", table, [5.0, "_", "_"]), [records[5]])

    def test_an_ordered_set_is_in_order_either_way(self):
        for table in self.each_kind(kinds=[kind for kind in KINDS if kind[1] == "ordered_set"], attributes=["k", "a", "b"], shards=3):
            self.fill(table, 200)
            middle = [[["$1", "_", "_"], [["<", "$1", 150], [">", "$1", 19]], ["$1"]]]
            for spec, wanted in (([ALL], list(range(200))), (middle, list(range(20, 150)))):
                self.assertEqual(self.call("select", table, spec)[0], wanted)
                self.assertEqual(self.call("select", table, spec, {"reverse": False})[0], wanted)
                self.assertEqual(self.call("select", table, spec, {"reverse": True})[0], wanted[::-1])
                self.assertEqual(self.call("select_reverse", table, spec)[0], wanted[::-1])
                self.assertEqual(sum(self.pages(self.client, table, spec, 7, "select_reverse"), []), wanted[::-1])

    def test_beginnings_of_keys_are_a_range(self):
        for table in self.each_kind(attributes=["k", "a", "b"], shards=2):
            for first in range(5):
                for second in range(20):
                    self.call("write", table, [[first, second], 0, 0])
            self.call("write", table, [[3], 0, 0])
            spec = [[[[3, "$1"], "_", "_"], [], ["$1"]]]
            for options in ({}, {"reverse": True}, {"reverse": True, "limit": 1000}):
                self.assertCountEqual(self.call("select", table, spec, options)[0], range(20))
            self.assertCountEqual(sum(self.pages(self.client, table, spec, 3, options={"reverse": True}), []), range(20))

    def test_pages_within_one_key_of_a_bag(self):
        for table in self.each_kind(kinds=[kind for kind in KINDS if kind[1] == "bag"]):
            for value in range(100):
                self.call("write", table, [1, [value, "x" * 700]])
            for spec in ([[[1, ["$1", "_"]], [], ["$1"]]], [[["_", ["$1", "_"]], [], ["$1"]]]):
                self.assertCountEqual(sum(self.pages(self.client, table, spec, 7), []), range(100))

    def test_count_delete_and_replace(self):
        for table in self.each_kind(attributes=["k", "a", "b"], index=["a"]):
            records = self.fill(table, 300)
            low = [["$1", "_", "_"], [["<", "$1", 100]]]
            self.assertEqual(self.call("select_count", table, [[*low, [True]]]), 100)
            self.assertEqual(self.call("select_count", table, [[*low, ["$1"]]]), 0)
            self.assertEqual(self.call("select_count", table, [[*low, [["<", "$1", 10]]]]), 10)
            self.assertEqual(self.call("select_delete", table, [[*low, [["<", "$1", 10]]]]), 10)
            self.assertEqual(self.call("select_delete", table, [[*low, [["<", "$1", 10]]]]), 0)
            self.assertEqual(self.call("select_delete", table, [[["_", 3, "_"], [], [True]]]), 29)
            left = [record for record in records[10:] if record[1] != 3]
            self.assertCountEqual(self.call("match", table, ["_", "_", "_"]), left)
            self.assertEqual(self.call("index_read", table, "a", 3), [])
            replace = [[["$1", 5, "$2"], [], [[["$1", 55, "$2"]]]]]
            if table.endswith("bag"):
                self.refused("bad_request", "select_replace", table, replace)
                continue
            self.assertEqual(self.call("select_replace", table, replace), 29)
            left = [[key, 55 if a == 5 else a, b] for key, a, b in left]
            self.assertCountEqual(self.call("match", table, ["_", "_", "_"]), left)
            self.assertEqual(len(self.call("index_read", table, "a", 55)), 29)
            self.assertEqual(self.call("index_read", table, "a", 5), [])
            for body in ([["$2", 1, "$2"]], [["$1", 1]], "$1", [["$1", 1, 2, 3]], ["+", "$1", 1]):
                self.refused("bad_request", "select_replace", table, [[["$1", "_", "$2"], [], [body]]])
            # One result that will not do, and nothing is replaced.
            self.call("write_many", table, [[key, 1, [key, 2, 3]] for key in range(10, 299)] + [[299, 1, "text"]])
            self.refused("bad_request", "select_replace", table, [[["_", "_", "$1"], [], ["$1"]]])
            self.assertEqual(self.call("select_count", table, [[["_", 1, "_"], [], [True]]]), 290)

    # ---- bad input

    def test_bad_options_and_parameters(self):
        self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
        self.fill("t", 20)
        for method in ("select", "select_reverse"):
            for limit in (0, -1, 1.5, "x", None, 2**64, True):
                self.refused("bad_request", method, "t", [ALL], {"limit": limit} if limit != 2**64 else {"limit": 1e30})
        for options in ({"reverse": 1}, {"reverse": None}, {"nonsense": 1}, 5, None):
            self.refused("bad_request", "select", "t", [ALL], options)
        self.refused("bad_request", "select_reverse", "t", [ALL], {"reverse": True})
        self.refused("bad_request", "select_count", "t", [ALL], {"limit": 1})
        self.refused("not_found", "select", "t", [ALL], {"tx": 5})
        self.refused("no_table", "select", "nope", [ALL])
        for method in ("select", "select_count", "select_delete", "select_replace", "select_reverse"):
            self.refused("bad_request", method, "t")
            for spec in (5, None, "x", {}, [5], [[]], [[["_", "_"], [], ["$_"]]], [[["_"] * 4, [], ["$_"]]], [[["_"] * 3, [], []]], [[["_"] * 3, []]],
                         [[["_"] * 3, [], ["$1"]]], [[["_"] * 3, [["nonsense", 1]], ["$_"]]], [[["_"] * 3, [[">", 1]], ["$_"]]],
                         [[["_"] * 3, 5, ["$_"]]], [[5, [], ["$_"]]]):
                self.refused("bad_request", method, "t", spec)
        for limit in (0, -1):
            self.refused("bad_request", "match", "t", ["_"] * 3, {"limit": limit})
        self.assertEqual(self.call("size", "t"), 20)

    def test_a_guard_that_fails_rejects(self):
        self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
        self.call("write_many", "t", [[1, 0, {}], [2, 5, {"x": 1}], [3, "text", None]])
        for guard, wanted in ((["==", ["/", 10, "$2"], 2], [2]), (["==", ["rem", 10, "$2"], 0], [2]), (["<", "$3", {"y": 5}], [1, 2, 3]),
                              (["==", ["map_get", "x", "$3"], 1], [2])):
            results = self.call("select", "t", [[["$1", "$2", "$3"], [guard], ["$1"]]])[0]
            self.assertTrue(set(results) <= set(wanted), (guard, results))
            if guard[1] != "$3":
                self.assertCountEqual(results, wanted)
        self.assertCountEqual(self.call("select", "t", [[["_", "$1", "_"], [], [["div", 10, "$1"]]]])[0], ["EXIT", 2, "EXIT"])

    def test_cursors_that_are_none(self):
        self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
        self.fill("t", 50)
        other = self.served.client()
        cursor = self.call("select", "t", [ALL], {"limit": 5})[1]
        self.assert_refused("not_found", other.call, "select_next", cursor)
        results, following = self.call("select_next", cursor)
        self.assertEqual(len(results), 5)
        self.refused("not_found", "select_next", cursor)
        self.assertEqual(len(self.call("select_next", following)[0]), 5)
        for invented in (0, 1, -1, 2**63, 2**64 - 1, 1.5, "x", "", b"x", None):
            self.refused("not_found", "select_next", invented)
        for wrong in ([], {}, True, [cursor]):
            self.refused("bad_request", "select_next", wrong)
        self.refused("bad_request", "select_next")
        self.refused("bad_request", "select_next", cursor, {}, 5)

    def test_a_connection_keeps_a_bounded_number_of_cursors(self):
        self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
        self.fill("t", 50)
        cursors = [self.call("select", "t", [ALL], {"limit": 5})[1] for _ in range(100)]
        alive = 0
        for cursor in cursors:
            try:
                self.call("select_next", cursor)
                alive += 1
            except Refused as refused:
                self.assertEqual(refused.code, "not_found")
                self.assertEqual(alive, 0)  # the oldest went
        self.assertTrue(30 <= alive <= 64, alive)

    def test_a_cursor_of_a_table_that_has_gone(self):
        for again in (False, True):
            self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
            self.fill("t", 50)
            cursor = self.call("select", "t", [ALL], {"limit": 5})[1]
            self.call("drop_table", "t")
            if again:
                self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
            self.refused("no_table", "select_next", cursor)
            self.refused("not_found", "select_next", cursor)

    def test_an_answer_past_the_bound_is_refused_and_the_connection_goes_on(self):
        self.call("create_table", "t")
        for key in range(20):
            self.call("write", "t", [key, b"x" * 1_000_000])
        before = self.served.resident_bytes()
        self.refused("too_large", "select", "t", [[["_", "$1"], [], [[["$1"] * 16]]]])
        results, cursor = self.call("select", "t", [[["_", "$1"], [], [[["$1"] * 2]]]], {"limit": 3})
        self.assertEqual(len(results), 3)
        self.assertLess(self.served.resident_bytes() - before, 600_000_000)

    def test_the_shell_follows_pages(self):
        self.call("create_table", "t", {"type": "ordered_set", "attributes": ["k", "a", "b"]})
        self.fill("t", 2500)
        spec = json.dumps([ALL])
        asked = shell("select", "t", spec, node=self.served)
        self.assertEqual((asked.returncode, asked.stdout.split()), (0, [str(key) for key in range(2500)]))
        for limit in (1, 999, 1000, 1001, 2499, 2500, 9999):
            asked = shell("--output", "json", "select", "t", spec, "--limit", limit, "--reverse", node=self.served)
            self.assertEqual(json.loads(asked.stdout), list(range(2499, -1, -1))[:limit])
        for wrong in ("0", "-1", "x", ""):
            self.assertEqual(shell("select", "t", spec, "--limit", wrong, node=self.served).returncode, 2)
        self.assertEqual(shell("select", "t", node=self.served).returncode, 2)
        asked = shell("select", "t", '[[["$1"], [], ["$1"]]]', node=self.served)
        self.assertEqual(asked.returncode, 1)
        self.assertIn("bad_request", asked.stderr)

    # ---- with others

    def test_a_notification_is_carried_out(self):
        self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
        self.fill("t", 2000)
        for method, spec in (("select_replace", [[["$1", "_", "$2"], [], [[["$1", 77, "$2"]]]]]),
                             ("select_delete", [[["$1", "_", "_"], [["<", "$1", 500]], [True]]]), ("select", [ALL]), ("match", ["_", "_", "_"])):
            self.client.socket.sendall(msgpack.packb([2, method, ["t", spec]]))
        self.assertEqual(self.call("select_count", "t", [[["_", 77, "_"], [], [True]]]), 1500)
        self.assertEqual(self.call("size", "t"), 1500)

    def test_what_is_sent_behind_a_change_comes_behind_it(self):
        self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
        self.fill("t", 5000)
        ids = [self.client.send("select_delete", "t", [[["_", "_", "_"], [], [True]]]), self.client.send("write", "t", [1, 1, 1]),
               self.client.send("select_count", "t", [[["_", "_", "_"], [], [True]]])]
        answers = {msgid: result for msgid, error, result in (self.client.receive() for _ in ids)}
        self.assertEqual([answers[msgid] for msgid in ids], [5000, True, 1])

    def test_connections_that_vanish_in_the_middle(self):
        self.call("create_table", "t", {"attributes": ["k", "a", "b"]})
        self.fill("t", 20000)
        for number in range(60):
            client = self.served.client()
            client.send(*(("select", "t", [ALL]), ("select_count", "t", [ALL]), ("select", "t", [ALL], {"limit": 10000}),
                          ("select_replace", "t", WHOLE))[number % 4])
            client.close()
        self.assertEqual(self.call("select_count", "t", [[["_", "_", "_"], [], [True]]]), 20000)

    def test_no_record_twice_and_none_missed_while_others_write(self):
        for table in self.each_kind(kinds=RAM, attributes=["k", "a", "b"], index=["a"]):
            self.fill(table, 2000)
            end = threading.Event()
            writers = [threading.Thread(target=self.churn, args=(table, number, end)) for number in range(2)]
            for writer in writers:
                writer.start()
            try:
                for limit in (1, 13, 100, 999, 100000):
                    if limit == 1:
                        spec, wanted = [[["$1", 3, "_"], [["<", "$1", 2000]], ["$1"]]], range(3, 2000, 10)
                    else:
                        spec, wanted = [[["$1", "_", "_"], [["<", "$1", 2000]], ["$1"]]], range(2000)
                    found = sum(self.pages(self.client, table, spec, limit), [])
                    self.assertEqual(len(found), len(set(found)))
                    self.assertEqual(set(found), set(wanted))
                    everyone = self.call("select", table, [ALL])[0]
                    self.assertEqual(len(everyone), len(set(everyone)))
                    self.assertTrue(set(range(2000)) <= set(everyone))
            finally:
                end.set()
                for writer in writers:
                    writer.join()

    def churn(self, table, number, end):
        """Guests come and go in thousands, so that stores split and merge; those that stay are rewritten."""
        client = self.served.client()
        chance = random.Random(number)
        while not end.is_set():
            guests = [2000 + 2 * chance.randrange(3000) + number for _ in range(500)]
            client.call("write_many", table, [[key, key % 10, f"text {key}"] for key in set(guests)])
            for key in guests[::2]:
                client.send("delete", table, key)
            stay = [chance.randrange(2000) for _ in range(100)]
            for key in stay:
                client.send("write", table, [key, key % 10, f"text {key}"])
            for _ in guests[::2] + stay:
                client.receive()
        client.close()

    def test_replacing_and_counting_at_once_lose_nothing(self):
        for table in self.each_kind(kinds=[kind for kind in SETS if kind[0] == "ram"]):
            self.call("write_many", table, [[key, 0] for key in range(500)])
            rounds, counted = 20, []

            def count():
                client = self.served.client()
                for number in range(5000):
                    client.send("update_counter", table, number % 500, "value", 1)
                counted.append(sum(client.receive()[1] is None for _ in range(5000)))
                client.close()

            counter = threading.Thread(target=count)
            counter.start()
            for _ in range(rounds):
                self.assertEqual(self.call("select_replace", table, [[["$1", "$2"], [], [[["$1", ["+", "$2", 1000000]]]]]]), 500)
            counter.join()
            self.assertEqual(counted, [5000])
            self.assertEqual(sum(value for _, value in self.call("match", table, ["_", "_"])), 500 * rounds * 1000000 + 5000)

    def test_what_was_answered_of_a_sync_table_survives_a_kill(self):
        for storage in ("disc", "disc_only"):
            self.call("create_table", storage, {"storage": storage, "durability": "sync", "attributes": ["k", "a", "b"]})
            self.fill(storage, 500)
            self.assertEqual(self.call("select_delete", storage, [[["$1", "_", "_"], [["<", "$1", 100]], [True]]]), 100)
            self.assertEqual(self.call("select_replace", storage, [[["$1", "_", "$2"], [], [[["$1", 77, "$2"]]]]]), 400)
        self.served.kill()
        self.served = self.node(data=self.dir / "data")
        self.client = self.served.client()
        for storage in ("disc", "disc_only"):
            self.assertEqual(self.call("select_count", storage, [[["_", 77, "_"], [], [True]]]), 400)
            self.assertEqual(self.call("size", storage), 400)


if __name__ == "__main__":
    main()
