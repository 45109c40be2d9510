#!/usr/bin/env python3
"""Transactions on the wire: in one request and held open, what they see and what others see of them,
each way to end, and everything a client can do wrong.
Method: every scenario is a method `on_...`, carried out on one node, and on three with tables of all
copies and of one, where the client's node is the master of nothing or of some."""
import itertools
import os
import signal
import threading
import time

import msgpack

from harness import (HAPPENED_NOT, MAY_HAVE_HAPPENED, Cluster, ClusterTest, Refused, eventually, main, shell,
                     until_done)

TYPES = ("set", "ordered_set", "bag")
SETTLED_S = 30  # 8 in a whole view


class Transactions(ClusterTest):
    """self.clients: of different connections, at different nodes where there are several."""
    options, alone, maxDiff = {}, False, None
    clients, number = (), 0

    def table(self, **options):
        Transactions.number += 1
        name = f"t{Transactions.number}"
        until_done(self.clients[0], "create_table", name, {**self.options, **options})
        eventually(lambda: all(name in client.call("tables") for client in self.clients), "who was thought lost knows it, too")
        return name

    def call(self, *words):
        return self.clients[0].call(*words)

    def begin(self):
        """With time enough, also on a machine that has none."""
        return self.call("begin", {"timeout_ms": 600000})

    def other(self, *words):
        return self.clients[1].call(*words)

    def refused(self, code, *words):
        self.assert_refused(code, self.clients[0].call, *words)

    def every_scenario(self):
        for name in sorted(dir(self)):
            if name.startswith("on_"):
                with self.subTest(name, **self.options):
                    self.scenario(getattr(self, name))

    def scenario(self, run):
        """Again where the view has changed underneath, which who holds a transaction open hears as a conflict,
        and who writes to many shards as a doubt."""
        for _ in range(0 if self.alone else 9):
            try:
                return run()
            except (Refused, AssertionError) as error:
                if not self.is_of_another_view(error) and "changed by another" not in str(error):
                    raise
                print(f"again, in one view: {run.__name__}: {str(error)[:99]!r}", end=" ", flush=True)
            self.clusters[0].wait_for_view()
            self.meet()
        return run()

    def meet(self):
        """Anew: what was open on connections of before ends with them."""
        for client in self.clients:
            client.close()
        self.clients = [node.client() for node in self.asked]

    def test_one_node(self):
        self.alone = True
        self.served = self.node()
        self.asked = [self.served] * 3
        self.meet()
        self.every_scenario()

    def test_three_nodes(self):
        cluster = Cluster(self, 3, discs=False)
        cluster.wait_for_view()
        self.asked, self.served = cluster.nodes, cluster.nodes[0]
        for options in ({}, {"copies": 1, "shards": 1}):
            self.options = options
            self.meet()
            self.every_scenario()

    # ---- in one request

    def on_one_request_all_or_nothing(self):
        a, b = self.table(), self.table(type="ordered_set")
        self.assertEqual(self.call("transaction", []), [])
        self.assertEqual(self.call("transaction", [["write", a, [1, "x"]], ["write", b, [2, 5]], ["read", a, 1],
                                                   ["update_counter", b, 2, "value", 3], ["insert_new", a, [1, "y"]],
                                                   ["read_many", b, [2, 3]], ["size", a], ["first", b],
                                                   ["delete", a, 7], ["write_many", a, [[3, 3], [4, 4]]],
                                                   ["match", b, ["_", "_"]], ["select_count", a, [[["_", "_"], [], [True]]]],
                                                   ["select", b, [[["$1", "_"], [], ["$1"]]]], ["take", a, 4]]),
                         [True, True, [[1, "x"]], 8, False, [[[2, 8]], []], 1, 2, True, 2, [[2, 8]], 3, [[2], None], [[4, 4]]])
        self.assertEqual(self.other("read_many", a, [1, 3, 4]), [[[1, "x"]], [[3, 3]], []])
        self.assertEqual(self.other("read", b, 2), [[2, 8]])
        before = self.other("match", a, ["_", "_"])
        for code, call in (("no_table", ["read", "nothing", 1]), ("bad_record", ["write", a, [1, 2, 3]]),
                           ("not_found", ["update", a, 99, {"value": 1}]), ("bad_request", ["write", a]),
                           ("bad_request", ["create_table", "x", {}]), ("bad_request", ["drop_table", a]),
                           ("bad_request", ["begin"]), ("bad_request", ["commit", "x"]), ("bad_request", ["transaction", []]),
                           ("bad_request", ["tables"]), ("bad_request", ["ping"]), ("no_method", ["nonsense"]),
                           ("bad_request", []), ("bad_request", 7), ("bad_request", [7]),
                           ("bad_request", ["read", a, 1, {"tx": "x"}]), ("bad_request", ["read", a, 1, {"context": "dirty"}]),
                           ("bad_request", ["read", a, 1, {"strange": 1}]),
                           ("conflict", ["check", a, 1, None]), ("conflict", ["check", a, 99, [99, 1]]),
                           ("conflict", ["check", a, 1, [1, "z"]]), ("bad_request", ["check", a, 1])):
            with self.subTest(call=call):
                self.refused(code, "transaction", [["write", a, [5, 5]], ["delete", b, 2], call, ["read", "later", 1]])
        self.assertCountEqual(self.other("match", a, ["_", "_"]), before)
        self.assertEqual(self.other("read", b, 2), [[2, 8]])
        self.assertEqual(self.call("transaction", [["check", a, 1, [1, "x"]], ["check", a, 99, None], ["write", a, [9, 9]]]), [True] * 3)
        self.assertEqual(self.other("read", a, 9), [[9, 9]])
        self.refused("bad_request", "transaction", {})
        self.refused("bad_request", "transaction")
        self.refused("bad_request", "transaction", [], {"id": []})
        self.refused("bad_request", "transaction", [], {"strange": 1})

    def on_an_id_of_the_clients_own(self):
        a, name = self.table(), f"order {self.number}"
        self.assertEqual(self.call("transaction_status", name), "unknown")
        self.call("transaction", [["write", a, [1, 1]]], {"id": name})
        for client in self.clients:  # the nodes that know may be away for a moment
            self.await_status(client, name, "committed")
        self.refused("conflict", "transaction", [["check", a, 1, None]], {"id": name + "b"})
        for client in self.clients:
            self.await_status(client, name + "b", "aborted")

    def await_status(self, client, name, wanted):
        eventually(lambda: client.call("transaction_status", name) == wanted, f"{name} {wanted}",
                   seen=lambda: client.call("transaction_status", name))

    # ---- held open

    def on_own_writes_are_seen_by_it_alone(self):
        for kind in TYPES:
            t = self.table(type=kind, attributes=["k", "v"], index=["v"])
            self.call("write_many", t, [[k, k % 3] for k in range(10)])
            tx = self.begin()
            self.assertIsInstance(tx, str)
            at = {"tx": tx}
            self.call("write", t, [20, 1], at)
            self.call("delete", t, 1, at)
            self.call("delete_object", t, [4, 1], at)
            self.assertEqual(self.call("read", t, 20, at), [[20, 1]])
            self.assertEqual(self.call("read_many", t, [1, 2], at), [[], [[2, 2]]])
            self.assertEqual(self.call("size", t, at), 9)
            self.assertCountEqual(self.call("index_read", t, "v", 1, at), [[7, 1], [20, 1]])
            self.assertCountEqual(self.call("match", t, ["_", 1], at), [[7, 1], [20, 1]])
            seen, page = [], self.call("select", t, [[["$1", "_"], [], ["$1"]]], {"tx": tx, "limit": 2})
            while True:
                seen += page[0]
                if page[1] is None:
                    break
                page = self.call("select_next", page[1])
            self.assertCountEqual(seen, [0, 2, 3, 5, 6, 7, 8, 9, 20])
            if kind == "ordered_set" or self.alone:  # the others' order is this copy's, and no other has it
                walked, key = [], self.call("first", t, at)
                while key is not None:
                    walked.append(key)
                    key = self.call("next", t, key, at)
                self.assertCountEqual(walked, seen)
            if kind == "ordered_set":
                self.assertEqual(walked, sorted(walked))
                self.assertEqual(self.call("last", t, at), 20)
                self.assertEqual(self.call("prev", t, 20, at), 9)
            self.assertEqual(self.other("size", t), 10)
            self.assertEqual(self.other("read", t, 20), [])
            self.assertIs(self.call("commit", tx), True)
            self.assertEqual(self.other("size", t), 9)
            self.assertEqual(self.other("read", t, 20), [[20, 1]])
            self.assertCountEqual(self.other("index_read", t, "v", 1), [[7, 1], [20, 1]])

    def on_each_end(self):
        t = self.table()
        for end, status, kept in (("commit", "committed", [[1, 1]]), ("abort", "aborted", [])):
            tx = self.begin()
            self.call("write", t, [1, 1], {"tx": tx})
            self.assertEqual(self.other("transaction_status", tx), "unknown")
            self.assertIs(self.call(end, tx), True)
            self.assertEqual(self.other("read", t, 1), kept)
            for again in ("commit", "abort"):
                self.refused("not_found", again, tx)
            self.refused("not_found", "read", t, 1, {"tx": tx})
            for client in self.clients:
                self.await_status(client, tx, status)
            self.call("delete", t, 1)

    def on_a_conflict_ends_it(self):
        t = self.table()
        self.call("write", t, [1, 0])
        tx = self.begin()
        self.assertEqual(self.call("read", t, 1, {"tx": tx}), [[1, 0]])
        self.call("write", t, [1, 10], {"tx": tx})
        self.other("write", t, [1, 5])
        self.refused("conflict", "commit", tx)
        self.refused("not_found", "commit", tx)
        self.await_status(self.clients[1], tx, "aborted")
        again = self.call("begin", {"retry": tx})
        self.assertNotEqual(tx, again)
        self.assertEqual(self.call("read", t, 1, {"tx": again}), [[1, 5]])
        self.call("update_counter", t, 1, "value", 2, {"tx": again})
        self.call("commit", again)
        self.assertEqual(self.other("read", t, 1), [[1, 7]])

    def on_no_phantom_and_no_absent_key(self):
        t = self.table(type="ordered_set")
        self.call("write", t, [1, 1])
        for question in (("match", t, ["_", "_"]), ("read", t, 5), ("size", t), ("select_count", t, [[["_", "_"], [], [True]]])):
            tx = self.begin()
            self.call(*question, {"tx": tx})
            self.call("write", t, [9, 9], {"tx": tx})
            self.other("write", t, [5, 5])
            self.refused("conflict", "commit", tx)
            self.other("delete", t, 5)
        self.assertEqual(self.other("read", t, 9), [])

    def on_small_refusals_do_not_end_it(self):
        t = self.table()
        tx = self.begin()
        at = {"tx": tx}
        self.call("write", t, [1, 1], at)
        self.refused("bad_record", "write", t, [1], at)
        self.refused("no_table", "read", "nothing", 1, at)
        self.refused("not_found", "update", t, 77, {"value": 1}, at)
        self.refused("bad_request", "read", t, 1, {"tx": tx, "context": "dirty"})
        self.refused("bad_request", "read", t, 1, {"tx": []})
        self.refused("not_found", "read", t, 1, {"tx": 12})
        self.call("commit", tx)
        self.assertEqual(self.other("read", t, 1), [[1, 1]])

    def on_ids_of_nobody(self):
        t = self.table()
        tx = self.begin()
        for words in (("commit", tx), ("abort", tx), ("read", t, 1, {"tx": tx}), ("write", t, [1, 1], {"tx": tx}),
                      ("match", t, ["_", "_"], {"tx": tx}), ("begin", {"retry": tx})):
            self.assert_refused("not_found", self.other, *words)
        for unknown in ("nobody", "0" * 32, "f" * 32, 0, 2**64 - 1, "", b"\xff"):
            self.refused("not_found", "commit", unknown)
            self.refused("not_found", "abort", unknown)
            self.refused("not_found", "read", t, 1, {"tx": unknown})
            self.assertEqual(self.call("transaction_status", unknown), "unknown")
        for wrong in (None, [], {}, True, 1.5):
            self.refused("bad_request", "commit", wrong)
            self.refused("bad_request", "transaction_status", wrong)
        for options in ({"timeout_ms": 0}, {"timeout_ms": "x"}, {"retry": []}, {"strange": 1}, 7):
            self.refused("bad_request", "begin", options)
        self.call("abort", tx)

    def on_a_deadline(self):
        t = self.table()
        tx, late = self.call("begin", {"timeout_ms": 50}), self.call("begin", {"timeout_ms": 1})
        self.is_aborted("write", t, [1, 1], {"tx": tx})  # on a machine so slow
        eventually(lambda: self.is_aborted("read", t, 1, {"tx": tx}), "the deadline")
        for _ in range(2):
            self.refused("aborted", "commit", tx)
            self.refused("aborted", "commit", late)
            self.refused("aborted", "read", t, 1, {"tx": tx})
        self.assertEqual(self.other("read", t, 1), [])
        self.await_status(self.clients[1], tx, "aborted")

    def is_aborted(self, *words):
        try:
            self.call(*words)
        except Refused as refused:
            self.assertEqual(refused.code, "aborted")
            return True
        return False

    def on_a_lost_connection(self):
        t = self.table()
        self.clients[2].call("write", t, [1, 1], {"tx": (tx := self.clients[2].call("begin"))})
        address = self.clients[2].socket.getpeername()
        self.clients[2].close()
        self.clients[2] = type(self.clients[0])("%s:%d" % address)
        eventually(lambda: self.other("transaction_status", tx) == "aborted", "the end of what it had open")
        self.assertEqual(self.call("read", t, 1), [])

    def on_pipelined_requests(self):
        """All of a transaction in one write: done in the order they came; so is what follows a commit."""
        t, client = self.table(), self.clients[0]
        tx = self.begin()
        at, wanted, packed = {"tx": tx}, [], b""
        for k in range(200):
            for request, result in ((("write", t, [k, 0], at), True), (("update_counter", t, k, "value", k, at), k),
                                    (("read", t, k, at), [[k, k]])):
                client.last += 1
                packed += msgpack.packb([0, client.last, request[0], request[1:]])
                wanted.append((client.last, None, result))
        for request, result in ((("commit", tx), True), (("read", t, 199), [[199, 199]]), (("size", t), 200)):
            client.last += 1
            packed += msgpack.packb([0, client.last, request[0], request[1:]])
            wanted.append((client.last, None, result))
        client.socket.sendall(packed)
        got = sorted(client.receive() for _ in wanted)
        self.assertEqual(got, wanted)

    def on_a_table_that_goes(self):
        t = self.table()
        tx = self.begin()
        self.call("write", t, [1, 1], {"tx": tx})
        until_done(self.clients[1], "drop_table", t)
        self.refused("no_table", "commit", tx)
        self.refused("not_found", "commit", tx)

    def on_what_people_see(self):
        eventually(lambda: shell("transactions", node=self.served).stdout.strip() == "", "what was aborted before is over")
        t, before = self.table(), self.call("stats")["transactions"]
        tx = self.call("begin", {"timeout_ms": 60000})
        self.call("write_many", t, [[1, 1], [2, 2]], {"tx": tx})
        self.call("read", t, 3, {"tx": tx})
        (shown,) = self.call("transactions")
        self.assertEqual((shown["id"], shown["state"], shown["changes"]), (tx, "open", 2))
        self.assertGreater(shown["bytes"], 0)
        self.assertLessEqual(shown["left_ms"], 60000)
        self.assertIn(tx, shell("transactions", node=self.served).stdout)
        (line,) = [line for line in shell("top", node=self.served).stdout.splitlines() if tx in line]
        for held in (" 1 read,", " 2 to change,", " 0 locked,", f" {shown['bytes']} bytes"):
            self.assertIn(held, line)
        self.assertEqual(self.call("stats")["transactions"]["open"], 1)
        self.call("commit", tx)
        eventually(lambda: self.other("transactions") == [], "it is over for its parts too")
        eventually(lambda: self.call("stats")["transactions"]["open"] == 0, "and for itself")
        self.assertEqual(self.call("stats")["transactions"]["committed"], before["committed"] + 1)

    def on_the_oldest_are_shown_first(self):
        eventually(lambda: self.call("transactions") == [], "what was aborted before is over")
        open_ones = [self.begin() for _ in range(12)]
        oldest = self.other("transactions")
        lines = [line for line in shell("top", node=self.served).stdout.splitlines() if "transaction" in line.split(".")[0]]
        shown = [line.split()[1].rstrip(":") for line in lines if line.startswith("transaction ")]
        self.assertEqual(len(shown), 10)
        self.assertLessEqual(set(shown), set(open_ones))
        if self.alone:
            ages = {tx["id"]: tx["age_ms"] for tx in oldest}
            self.assertEqual([ages[tx] for tx in shown], sorted((ages[tx] for tx in shown), reverse=True))
            self.assertIn("and 2 more transactions", lines)
        for tx in open_ones:
            self.call("abort", tx)

    def on_too_many(self):
        open_ones = []
        with self.assertRaises(Refused) as refused:
            for _ in range(2000):
                open_ones.append(self.begin())
        self.assertEqual(refused.exception.code, "busy")
        self.assertGreaterEqual(len(open_ones), 64)
        for tx in open_ones:
            self.call("abort", tx)
        self.call("abort", self.begin())

    def on_too_many_changes(self):
        """The call that is too much has done nothing, and the transaction goes on."""
        t, tx = self.table(), self.begin()
        self.call("write", t, [-1, 0], {"tx": tx})
        self.refused("too_large", "write_many", t, [[k, k] for k in range(100000)], {"tx": tx})
        self.call("commit", tx)
        self.refused("too_large", "transaction", [["write_many", t, [[k, k] for k in range(50000)]]] * 3)
        self.assertEqual(self.other("match", t, ["_", "_"]), [[-1, 0]])

    def on_a_cursor_ends_with_it(self):
        t = self.table()
        self.call("write_many", t, [[k, k] for k in range(5)])
        for end in ("commit", "abort"):
            tx = self.begin()
            cursor = self.call("select", t, [[["$1", "_"], [], ["$1"]]], {"tx": tx, "limit": 2})[1]
            self.call(end, tx)
            self.refused("not_found", "select_next", cursor)

    def on_a_page_and_a_change(self):
        """Each node judges all that a page stands for, of which it has shown a part."""
        for kind in TYPES:
            t = self.table(type=kind)
            self.call("write_many", t, [[k, k] for k in range(5)])
            page = ["select", t, [[["$1", "_"], [], ["$1"]]], {"limit": 2}]
            self.assertIs(self.call("transaction", [page, ["write", t, [9, 9]]])[1], True)
            self.assertEqual(self.other("read", t, 9), [[9, 9]])

    def on_text_sees_and_makes_its_own_changes(self):
        for kind in TYPES:
            t = self.table(type=kind, attributes=["k", "v", "w"], index=["v"])
            self.call("write_many", t, [[k, k % 3, k] for k in range(10)])
            tx = self.begin()
            ask = lambda text, *words: self.call("query", text, list(words), {"tx": tx})["rows"]
            self.assertEqual(ask(f"insert into {t} values (20, 1, 5), (21, 1, 6)"), [[2]])
            self.assertEqual(ask(f"delete from {t} where k = 1"), [[1]])
            if kind == "bag":
                self.refused("bad_request", "query", f"update {t} set w = 0", [], {"tx": tx})
                self.call("delete_object", t, [4, 1, 4], {"tx": tx})
                self.call("write", t, [4, 1, 104], {"tx": tx})
            else:
                self.assertEqual(ask(f"update {t} set w = w + 100 where v = 1 and k < 5"), [[1]])
                self.refused("exists", "query", f"insert into {t} values (30, 1, 1), (20, 1, 1)", [], {"tx": tx})
            self.assertCountEqual(ask(f"select k, w from {t} where v = ?", 1), [[4, 104], [7, 7], [20, 5], [21, 6]])
            self.assertCountEqual(ask(f"select * from {t} where k in (1, 4, 21, 30)"), [[4, 1, 104], [21, 1, 6]])
            self.assertEqual(ask(f"select k from {t} where k >= 7 order by k desc limit 3 offset 1"), [[20], [9], [8]])
            self.assertEqual(ask(f"select count(*), sum(w), min(k), max(k) from {t}"), [[11, 155, 0, 21]])
            self.assertEqual(ask(f"select v, count(*) from {t} group by v order by v"), [[0, 4], [1, 4], [2, 3]])
            self.assertEqual(ask(f"select k from {t} limit 0"), [])
            self.assertEqual(len(ask(f"select k from {t} limit 2")), 2)
            self.assertEqual(self.other("query", f"select count(*), sum(w) from {t}")["rows"], [[10, 45]])
            self.call("commit", tx)
            self.assertEqual(self.other("query", f"select count(*), sum(w) from {t}")["rows"], [[11, 155]])
            self.assertEqual(self.call("transaction", [["query", f"delete from {t} where k > ?", [20]], ["size", t],
                                                       ["query", f"select k from {t} where k = 20"]]),
                             [{"columns": ["count"], "rows": [[1]], "cursor": None}, 10,
                              {"columns": ["k"], "rows": [[20]], "cursor": None}])

    def on_what_text_found_is_so_at_the_commit(self):
        t = self.table(type="ordered_set")
        self.call("write_many", t, [[k, k] for k in range(9)])
        for text, change, lost in ((f"select count(*) from {t} where k < 5", ["write", t, [-1, 1]], True),
                                   (f"select sum(value) from {t}", ["update", t, 3, {"value": 8}], True),
                                   (f"update {t} set value = 0 where k = 77", ["write", t, [77, 1]], True),
                                   (f"select key from {t} order by key limit 2", ["delete", t, 8], False)):
            if not lost and not self.alone:
                continue  # of other nodes' records all count that were sent
            tx, text = self.begin(), text.replace("k <", "key <").replace("k =", "key =")
            self.call("query", text, [], {"tx": tx})
            self.call("query", f"insert into {t} values (?, 1)", [tx], {"tx": tx})
            self.other(*change)
            if lost:
                self.refused("conflict", "commit", tx)
            else:
                self.call("commit", tx)
            self.assertEqual(self.other("read", t, tx), [] if lost else [[tx, 1]])

    def on_text_that_takes_its_time(self):
        t, tx = self.table(), self.call("begin", {"timeout_ms": 300000})
        self.call("write_many", t, [[k, 1] for k in range(2000)], {"tx": tx})
        self.call("query", f"insert into {t} values " + ", ".join(f"({k}, 2)" for k in range(2000, 2500)), [], {"tx": tx})
        groups = self.call("query", f"select key, sum(value) from {t} group by key order by key", [], {"tx": tx})["rows"]
        self.assertEqual(groups, [[k, 1 + k // 2000] for k in range(2500)])
        self.refused("exists", "query", f"insert into {t} values " + ", ".join(f"({k}, 2)" for k in range(2600, 2498, -1)), [], {"tx": tx})
        self.assertEqual(self.call("size", t, {"tx": tx}), 2500)
        self.call("abort", tx)
        self.assertEqual(self.call("size", t), 0)

    def on_text_that_is_refused(self):
        t, tx = self.table(), self.begin()
        at = {"tx": tx}
        self.call("query", f"insert into {t} values (1, 1)", [], at)
        for code, *words in (("bad_request", f"select key from {t}", [], {"tx": tx, "context": "dirty"}),
                             ("bad_request", "nonsense", [], at), ("bad_request", 7, [], at),
                             ("no_table", "select * from nothing", [], at),
                             ("exists", f"insert into {t} values (2, 2), (1, 1)", [], at),
                             ("exists", f"insert into {t} values (3, 2), (3, 1)", [], at)):
            self.refused(code, "query", *words)
        self.refused("bad_request", "explain", "nonsense", [], at)
        self.call("commit", tx)
        self.assertEqual(self.other("match", t, ["_", "_"]), [[1, 1]])
        self.refused("not_found", "query", f"select key from {t}", [], at)
        self.refused("not_found", "explain", f"select key from {t}", [], at)

    def on_text_of_two_tables(self):
        """By key, by index and by all: rows of both that it has changed itself are among them, and what was found is so at
        the commit."""
        a, b = self.table(attributes=["k", "v"]), self.table(type="ordered_set", attributes=["k", "v", "w"], index=["v"])
        self.call("write_many", a, [[k, k % 4] for k in range(8)])
        self.call("write_many", b, [[k, k % 3, k % 5] for k in range(6)])
        tx = self.begin()
        ask = lambda text: self.call("query", text, [], {"tx": tx})["rows"]
        self.call("query", f"delete from {a} where k > 4", [], {"tx": tx})
        self.call("write_many", b, [[1, 3, 9], [9, 2, 0]], {"tx": tx})
        wanted = {"k": [[0, 0, 0], [1, 1, 3], [2, 2, 2], [3, 3, 0], [4, 0, 0]],
                  "v": [[0, 0, 0], [0, 3, 0], [1, 4, 1], [2, 2, 2], [2, 5, 2], [2, 9, 2], [3, 1, 3], [4, 0, 0], [4, 3, 0]],
                  "w": [[0, 0, 0], [0, 5, 2], [0, 9, 2], [2, 2, 2], [3, 3, 0], [4, 0, 0], [4, 5, 2], [4, 9, 2]]}
        for on, rows in wanted.items():
            self.assertCountEqual(ask(f"select x.k, y.k, y.v from {a} x join {b} y on x.v = y.{on}"), rows)
        self.assertEqual(ask(f"select y.v, count(*) from {a} x join {b} y on x.v = y.v group by y.v order by y.v desc"),
                         [[3, 1], [2, 3], [1, 1], [0, 4]])
        self.assertEqual(len(self.other("query", f"select x.k from {a} x join {b} y on x.v = y.k")["rows"]), 8)
        self.other("write", b, [33, 3, 3])  # one more for each of these values
        self.refused("conflict", "commit", tx)

    def on_text_in_pages(self):
        for kind in TYPES:
            t = self.table(type=kind, attributes=["k", "v"])
            self.call("write_many", t, [[k, k % 3] for k in range(10)])
            tx = self.begin()
            self.call("write_many", t, [[20, 1], [21, 2]], {"tx": tx})
            for text, ordered in ((f"select k from {t}", False), (f"select k from {t} where k >= 3", False),
                                  (f"select k from {t} order by k desc", True), (f"select v, count(*) from {t} group by v order by v", True),
                                  (f"select x.k, y.k from {t} x join {t} y on x.v = y.k", False), (f"select k from {t} limit 5 offset 1", None)):
                whole = self.call("query", text, [], {"tx": tx})
                self.assertIsNone(whole["cursor"])
                first = self.call("query", text, [], {"tx": tx, "limit": 2})
                self.assertEqual(first["columns"], whole["columns"])
                rows, cursor = list(first["rows"]), first["cursor"]
                self.call("write", t, [100 + len(text), 7], {"tx": tx})  # the pages are of what was there before
                while cursor is not None:
                    self.assertEqual(len(rows) % 2, 0)
                    page, cursor = self.call("select_next", cursor)
                    self.assertGreater(len(page), 0)
                    rows += page
                if ordered is None:
                    self.assertEqual(len(rows), 5)
                else:
                    (self.assertEqual if ordered else self.assertCountEqual)(rows, whole["rows"])
                self.call("delete", t, 100 + len(text), {"tx": tx})
            kept = self.call("query", f"select k from {t} order by k", [], {"tx": tx, "limit": 2})["cursor"]
            left = self.call("query", f"select k from {t}", [], {"tx": tx, "limit": 2})["cursor"]
            self.call("commit", tx)
            for cursor in (kept, left):
                self.refused("not_found", "select_next", cursor)
            page = self.call("transaction", [["query", f"select k from {t}", [], {"limit": 3}]])[0]
            self.assertEqual((len(page["rows"]), page["cursor"]), (3, None))

    def on_text_that_is_explained(self):
        t, tx = self.table(), self.begin()
        text = f"select value from {t} where key = 1"
        self.call("write", t, [1, 1], {"tx": tx})
        self.assertEqual(self.call("explain", text, [], {"tx": tx}), self.call("explain", text))
        self.call("commit", tx)

    def on_transfers_at_once(self):
        """Three clients move money about; nobody ever sees another sum, and none is lost."""
        t, sums, failed = self.table(), [], []
        self.call("write_many", t, [[k, 100] for k in range(4)])

        def carried_out(client, name, *calls):
            """Its results; None where only its id tells that it happened."""
            for attempt in itertools.count():
                try:
                    return client.call("transaction", calls, {"id": f"{t} {name} {attempt}"})
                except Refused as refused:
                    self.assertIn(refused.code, HAPPENED_NOT | MAY_HAVE_HAPPENED)
                    if refused.code in MAY_HAVE_HAPPENED and self.has_happened(client, f"{t} {name} {attempt}"):
                        return None

        def look(client, name):
            for attempt in itertools.count():
                if (results := carried_out(client, f"{name} {attempt}", *(["read", t, k] for k in range(4)))) is not None:
                    return sum(found[0][1] for found in results)

        def move(client, seed):
            for step in range(15):
                a, b = (seed + step) % 4, (seed + step * 3 + 1) % 4
                if a != b:
                    carried_out(client, f"move {seed} {step}", ["update_counter", t, a, "value", -step],
                                ["update_counter", t, b, "value", step])
                sums.append(look(client, f"look {seed} {step}"))

        def move_or_fail(client, seed):
            try:
                move(client, seed)
            except Exception as why:
                failed.append(why)

        movers = [threading.Thread(target=move_or_fail, args=(client, seed)) for seed, client in enumerate(self.clients)]
        for mover in movers:
            mover.start()
        for mover in movers:
            mover.join()
        for why in failed:
            raise why
        self.assertEqual(sums, [400] * 45)

    def has_happened(self, client, name):
        """Of an id in doubt, which is settled soon; one that never arrived stays unknown."""
        end, status = time.monotonic() + SETTLED_S, "unknown"
        while status == "unknown" and time.monotonic() < end:
            time.sleep(0.05)
            status = until_done(client, "transaction_status", name)
        return status == "committed"

    def test_a_node_that_stands_still(self):
        """Who waits for its answer waits no longer than the transaction has time; the others go on meanwhile."""
        cluster = Cluster(self, 3, discs=False)
        cluster.wait_for_view()
        self.clients = [cluster.client(number) for number in range(3)]
        t = self.table(copies=1, shards=24)
        write = ["transaction", [["write_many", t, [[k, 0] for k in range(48)]]]]
        eventually(lambda: self.code_of(self.clients[0], *write) == "done", "all there")

        def ends_in_time(number):
            """A read, and a read with a write, of a key that it is the master of: the others do not know yet."""
            client = cluster.client((number + 1) % 3)
            os.kill(cluster.nodes[number].process.pid, signal.SIGSTOP)
            try:
                for k in range(48):
                    tx = client.call("begin", {"timeout_ms": 200})
                    if {self.code_of(client, "read", t, k, {"tx": tx}),
                        self.code_of(client, "transaction", [["update_counter", t, k, "value", 1]],
                                     {"timeout_ms": 200})} == {"aborted"}:
                        return True
                return False
            finally:
                os.kill(cluster.nodes[number].process.pid, signal.SIGCONT)
                cluster.wait_for_view()

        eventually(lambda: ends_in_time(2), "one that ends in its time")
        eventually(lambda: self.code_of(self.clients[0], *write) == "done", "nothing is held")

    def code_of(self, client, *words):
        try:
            client.call(*words)
            return "done"
        except Refused as refused:
            return refused.code


if __name__ == "__main__":
    main()
