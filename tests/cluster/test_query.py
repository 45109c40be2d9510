"""The text language over the wire: its documentation, its bounds, and what it refuses."""
import json
import pathlib
import re
import threading
import unittest

from harness import QUICK, ClusterTest, Refused, eventually, main, shell

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/query-language.md"


class QueryTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.server = self.node()
        self.client = self.server.client()
        self.call = self.client.call

    def rows(self, text, *arguments):
        return self.call("query", text, list(arguments))["rows"]

    def table(self, name="t", kind="set", count=0, **options):
        self.call("create_table", name, {"type": kind, "attributes": ["k", "a", "b"], **options})
        if count > 0:
            self.call("write_many", name, [[i, i % 7, f"name {i % 1000}"] for i in range(count)])

    def plan(self, text, *arguments):
        return self.call("explain", text, list(arguments))["plan"]


class Documentation(QueryTest):
    def cells(self, line):
        return [json.loads(cell) for cell in line.split(" | ")]

    def example(self, head, lines):
        text, _, arguments = head[2:].partition("   ")
        arguments = json.loads(arguments) if arguments else []
        if head.startswith("$ explain "):
            plan = self.call("explain", text[len("explain "):], arguments)["plan"]
            self.assertEqual({line.split(": ")[0]: str(plan[line.split(": ")[0]]) for line in lines},
                             dict(line.split(": ") for line in lines), head)
            return
        answer = self.call("query", text, arguments)
        self.assertEqual(answer["columns"], lines[0].split(" | "), head)
        self.assertEqual(answer["rows"], [self.cells(line) for line in lines[1:]], head)
        self.assertIsNone(answer["cursor"])

    def test_every_example_of_the_page_is_true(self):
        examples = 0
        for block in re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.M | re.S):
            for part in block.strip().split("\n\n"):
                head, *lines = part.split("\n")
                if head.startswith("create "):
                    for line in [head] + lines:
                        _, name, options = line.split(" ", 2)
                        self.call("create_table", name, json.loads(options))
                    continue
                self.example(head, lines)
                examples += 1
        self.assertGreater(examples, 15)


class Together(ClusterTest):
    """Aggregates of tables so large that all schedulers count."""
    COUNT = 300000 if not QUICK else 150000

    def setUp(self):
        super().setUp()
        self.server = self.node("--schedulers", "3")
        self.client = self.server.client()
        self.client.call("create_table", "t", {"attributes": ["k", "n"]})
        for begin in range(0, self.COUNT, 10000):
            self.client.call("write_many", "t", [[i, i % 1000] for i in range(begin, begin + 10000)])

    def ask(self, client, text):
        return client.call("query", text)["rows"][0]

    def test_each_record_counts_once_whatever_is_written_meanwhile(self):
        over = threading.Event()
        expected = [self.COUNT // 1000 * sum(range(0, 1000, 2)), self.COUNT // 2, 0, 998]

        def write():
            client = self.server.client()
            while not over.is_set():
                for i in range(0, 2000, 2):  # the same again, and others that do not count
                    client.call("write", "t", [i, i % 1000])
                    client.call("write", "t", [self.COUNT + i, 1])
            client.close()

        def judge(wrong):
            client = self.server.client()
            for _ in range(5 if QUICK else 20):
                got = self.ask(client, "select sum(n), count(n), min(n), max(n), avg(n) from t"
                                       f" where n % 2 = 0 and k < {self.COUNT}")
                wrong.extend([got] if got[:4] != expected else [])
                got = self.ask(client, "select count(*) from t where n > 998 and n < 1000")
                wrong.extend([got] if got != [self.COUNT // 1000] else [])
            client.close()

        writer = threading.Thread(target=write)
        wrong = []
        judges = [threading.Thread(target=judge, args=(wrong,)) for _ in range(3)]
        for thread in [writer] + judges:
            thread.start()
        for thread in judges:
            thread.join()
        over.set()
        writer.join()
        self.assertEqual(wrong, [])

    def test_who_hangs_up_leaves_nothing_behind(self):
        for _ in range(20):
            client = self.server.client()
            client.send("query", "select sum(n) from t where n < 500")
            client.close()
        self.assertEqual(self.ask(self.client, "select count(*) from t where n < 500"),
                         [self.COUNT // 2])

    def test_a_table_may_be_dropped_meanwhile(self):
        over = threading.Event()
        outcomes = []

        def judge():
            client = self.server.client()
            while not over.is_set():
                try:
                    outcomes.append(self.ask(client, "select count(n) from t where n >= 0"))
                except Refused as why:
                    outcomes.append(why.code)
                    break
            client.close()

        judges = [threading.Thread(target=judge) for _ in range(3)]
        for thread in judges:
            thread.start()
        eventually(lambda: len(outcomes) > 10, "ten answers")
        self.client.call("drop_table", "t")
        for thread in judges:
            thread.join(60)
        over.set()
        self.assertEqual([o for o in outcomes if o != [self.COUNT]], ["no_table"] * 3)


class Answers(QueryTest):
    def test_arguments_may_be_left_out_and_must_be_as_many_as_asked_for(self):
        self.table(count=5)
        self.assertEqual(self.call("query", "select count(*) from t")["rows"], [[5]])
        self.assertEqual(len(self.call("query", "select k from t", {"limit": 2})["rows"]), 2)
        self.assertEqual(len(self.call("query", "select k from t", [], {"limit": 2})["rows"]), 2)
        self.assert_refused("bad_request", self.call, "query", "select k from t where k = ?")
        self.assert_refused("bad_request", self.call, "query", "select k from t", [1])
        self.assert_refused("bad_request", self.call, "query", "select k from t", 7)
        self.assert_refused("bad_request", self.call, "query", 7)
        self.assert_refused("bad_request", self.call, "query")
        self.assert_refused("bad_request", self.call, "query", "select k from t", [], {"limit": 0})
        self.assert_refused("bad_request", self.call, "query", "select k from t", [], {"limits": 1})

    def test_any_value_may_be_an_argument(self):
        self.table()
        values = [None, True, 1.5, "x", b"\x00", [1, [2]], {"a": 1}]
        for number, value in enumerate(values):
            self.assertEqual(self.rows("insert into t values (?, ?, null)", number, value), [[1]])
            self.assertEqual(self.call("read", "t", number), [[number, value, None]])
        self.assertEqual(self.rows("select k from t where a = ?", {"a": 1}), [[6]])
        self.assertEqual(self.rows("select a.a from t where k = 6"), [[1]])

    def test_pages_have_every_row_once(self):
        for kind in ("set", "ordered_set", "bag"):
            name = f"pages_{kind}"
            self.table(name, kind, 1000)
            for text in ("select k from {}", "select k from {} where a < 5", "select k from {} order by b, k",
                         "select k, count(*) from {} group by k", "select x.k from {} x join {} y on x.k = y.k"):
                text = text.replace("{}", name)
                whole = self.rows(text)
                first = self.call("query", text, [], {"limit": 77})
                rows, cursor, pages = first["rows"], first["cursor"], 1
                while cursor is not None:
                    more, cursor = self.call("select_next", cursor)
                    self.assertLessEqual(len(more), 77)
                    rows, pages = rows + more, pages + 1
                if "order by" not in text:
                    rows, whole = sorted(rows), sorted(whole)
                self.assertEqual(rows, whole, text)
                self.assertEqual(pages, -(-len(whole) // 77))

    def test_a_page_that_holds_all_has_no_cursor(self):
        self.table(count=10)
        for text in ("select * from t", "select * from t order by k", "select k, count(*) from t group by k",
                     "select k from t limit 10"):
            self.assertIsNone(self.call("query", text, [], {"limit": 10})["cursor"])
            self.assertIsNotNone(self.call("query", text, [], {"limit": 9})["cursor"])

    def test_a_cursor_sees_its_table_go_and_change(self):
        self.table(count=100)
        asked = [self.call("query", text, [], {"limit": 5})["cursor"] for text in ("select * from t", "select b from t")]
        self.call("add_attribute", "t", "more", 0)
        self.assertRaises(Refused, self.call, "select_next", asked[0])
        self.call("drop_table", "t")
        self.assert_refused("no_table", self.call, "select_next", asked[1])
        self.assert_refused("not_found", self.call, "select_next", asked[1])

    def test_what_follows_a_change_sees_it(self):
        for storage in ("ram", "disc"):
            server = self.node(*([] if storage == "ram" else ["--data", self.dir / "data"]))
            client = server.client()
            client.call("create_table", "s", {"storage": storage, "durability": "sync" if storage == "disc" else "async"})
            for number in range(200):
                client.send("query", "insert into s values (?, 0)", [number])
                client.send("query", "update s set value = value + 1 where key = ?", [number])
                client.send("query", "select value from s where key = ?", [number])
            answers = [client.receive() for _ in range(600)]
            self.assertEqual([a[1] for a in answers if a[1] is not None], [])
            self.assertEqual([a[2]["rows"] for a in answers], [[[1]]] * 600)

    def test_the_plan_says_how(self):
        self.table("o", "ordered_set", 1000, index=["a"])
        self.assertEqual(self.plan("select * from o where k = 3")["path"], "key")
        self.assertEqual(self.plan("select * from o where k > 3 and k < 9")["path"], "key range")
        self.assertEqual(self.plan("select * from o where b = 'x'")["path"], "all")
        self.assertNotIn("key", str(self.plan("select * from o where b = 'x' order by a")))
        self.assertIn("none", self.plan("select * from o order by k desc limit 5")["sort"])
        self.assertEqual(self.rows("select k from o where k < 990 order by k desc limit 3"), [[989], [988], [987]])
        self.assertEqual(self.plan("select * from o where a = 3")["path"], "index")
        self.assertEqual(self.plan("select * from o where a > 3 and a < 5")["path"], "index range")
        self.assertEqual(self.plan("delete from o where a = 3")["path"], "index")
        self.assertEqual(self.plan("update o set a = a + 1 where a = 3")["path"], "index")
        self.table("p", "set", 10)
        self.assertEqual(self.plan("select o.k from o join p on o.k = p.k")["join"], "nested loop by key")
        self.assertEqual(self.plan("select o.k from o join p on o.a = p.b")["join"], "nested loop by index")
        self.assertEqual(self.plan("select o.k from o join p on o.b = p.b")["join"], "hash table")
        self.assertEqual(self.plan("insert into o values (1, 2, 3)")["statement"], "insert")
        self.assertEqual(self.plan("delete from o where k = 3")["path"], "key")
        self.assertEqual(self.rows("select count(*) from o"), [[1000]])  # nothing was done

    def test_indexes_of_every_kind_are_used(self):
        """Each query takes the path that it should, and has the rows of the table without indexes."""
        index = ["a", "j.town", {"on": ["b", "a"], "name": "both"}, {"on": "u", "unique": True}]
        for name, options in (("t", {"index": index}), ("plain", {})):
            for kind in ("set", "ordered_set"):
                self.call("create_table", f"{name}_{kind}", {"type": kind, "attributes": ["k", "a", "b", "j", "u"], **options})
                self.call("write_many", f"{name}_{kind}",
                          [[f"k{i}", i % 50, f"name {i % 20}", {"town": i % 90, "x": 1} if i % 3 else None, i]
                           for i in range(3000)])
        for where, path, used, rows in (
                ("k in ('k1', 'k7', 'k9', 'none', 'k7')", "keys", None, 4),
                ("k = 'k1' or k = 'k2'", "keys", None, 2),
                ("k in ('k1', 'k2') and k > 'k1'", "key", None, 1),
                ("k = 'k1' and k in ('k2', 'k3')", "nothing", None, 0),
                ("a in (3, 4)", "index values", "a", 2 * 46),
                ("a = 3 or a = 4", "index values", "a", 2 * 46),
                ("j.town = 31", "index", "j.town", 46),
                ("j.town in (31, 32)", "index values", "j.town", 2 * 46),
                ("j.town > 31 and j.town < 35", "index range", "j.town", 3000 // 16),
                ("b = 'name 3' and a = 3", "index", "both", 1),
                ("b = 'name 3' and a in (3, 13, 23)", "index values", "both", 3),
                ("b = 'name 3' and a > 40 and k > 'k'", "index range", "both", 11),
                ("b like 'name 1%'", "index range", "both", 3000 // 16),
                ("u = 17", "index", "u", 1),
                ("u in ?", "index values", "u", 3),
                ("j.town is null", "index", "j.town", 46),
                ("a = 3 and a + 0 = 3", "index", "a", 46),
                ("not a = 3", "all", None, 3000),
                ("a = 3 or b = 'name 1'", "all", None, 3000)):
            arguments = [[17, 18, 2000]] if "?" in where else []
            for kind in ("set", "ordered_set"):
                text = f"select * from t_{kind} where {where}"
                plan = self.plan(text, *arguments)
                self.assertEqual((plan["path"], plan.get("index"), plan["rows"]), (path, used, rows), (text, plan))
                wanted = self.rows(text.replace("t_", "plain_"), *arguments)
                self.assertEqual(sorted(self.rows(text, *arguments)), sorted(wanted), text)
                self.assertEqual(self.rows(f"select count(*) from t_{kind} where {where}", *arguments), [[len(wanted)]])
        plan = self.plan("select * from t_ordered_set where k like 'k12%'")
        self.assertEqual(plan["path"], "key range")
        self.assertEqual(len(self.rows("select k from t_ordered_set where k like 'k12%'")), 111)
        self.assertEqual(self.rows("select k from t_ordered_set where k in ('k3', 'k1', 'k2') order by k desc"),
                         [["k3"], ["k2"], ["k1"]])
        plan = self.plan("select x.k from t_set x join plain_set y on x.a = y.a where x.b = 'name 3'")
        self.assertEqual((plan["joined"]["path"], plan["joined"]["index"]), ("index", "both"))

    def test_a_change_finds_its_records_by_index_each_once(self):
        """A record that the change itself moves in the index is neither met again nor missed."""
        for kind in ("set", "ordered_set"):
            name = f"moves_{kind}"
            self.table(name, kind, 4900, index=["a", {"on": ["b", "a"]}])  # 700 of each a
            self.assertEqual(self.plan(f"update {name} set a = a + 1 where a >= 2 and a <= 4")["path"], "index range")
            self.assertEqual(self.rows(f"update {name} set a = a + 1 where a >= 2 and a <= 4"), [[2100]])
            self.assertEqual(self.rows(f"update {name} set a = a - 1 where a = 3 or a = 5"), [[2100]])
            self.assertEqual(self.rows(f"update {name} set a = 4 - a where a in (0, 1, 2, 3)"), [[2100]])
            self.assertEqual(sorted(self.rows(f"select a, count(*) from {name} group by a")),
                             [[2, 700], [3, 700], [4, 2800], [6, 700]])
            self.assertEqual(self.call("select_replace", name, [[["$1", 4, "$3"], [], [[["$1", 9, "$3"]]]]]), 2800)
            self.assertEqual(self.rows(f"delete from {name} where a in (9, 2)"), [[3500]])
            self.assertEqual(self.rows(f"select count(*) from {name}"), [[1400]])
        many = 70000 if not QUICK else 1000  # more than are gathered: all are looked at
        self.table("large", "set", many, index=["b"])
        self.assertEqual(self.rows("update large set b = 'other' where b > 'n'"), [[many]])
        self.assertEqual(self.rows("select count(*) from large where b = 'other'"), [[many]])

    def test_sums_are_whole(self):
        self.table()
        for number, value in enumerate([2**63 - 1, 2**63 - 1, -2**63, -2**63, 5]):
            self.call("write", "t", [number, value, None])
        self.assertEqual(self.rows("select sum(a), avg(a) from t"), [[3, 0.6]])
        self.assertEqual(self.rows("select sum(a) from t where k = 0 or k = 4"), [[2**63 + 4]])
        self.assert_refused("bad_request", self.rows, "select sum(a) from t where k in (2, 3)")
        self.call("write", "t", [9, 0.5, None])
        self.assertEqual(self.rows("select sum(a) from t"), [[3.5]])

    def test_an_insert_is_all_or_nothing(self):
        self.table(count=3)
        self.assert_refused("exists", self.rows, "insert into t values (7, 1, 1), (2, 1, 1)")
        self.assert_refused("exists", self.rows, "insert into t values (7, 1, 1), (8, 1, 1), (7, 2, 2)")
        self.assertEqual(self.rows("select count(*) from t"), [[3]])
        self.table("bag", "bag")
        self.assertEqual(self.rows("insert into bag values (1, 1, 1), (1, 2, 2), (1, 2, 2)"), [[3]])
        self.assertEqual(self.rows("select count(*) from bag"), [[2]])
        self.assert_refused("bad_request", self.rows, "update bag set a = 1")
        self.assertEqual(self.rows("delete from bag where a = 2"), [[1]])

    def test_busy_shards_are_asked_by_message(self):
        """Others write to the same shard all the time: changes come through, each once."""
        self.table("bag", "bag")
        self.table("one", "set", shards=1, index=["b"])
        over = threading.Event()

        def disturb():
            client = self.server.client()
            while not over.is_set():
                for number in range(100):
                    client.send("write", "bag", [1, 9, number % 3])
                    client.send("write", "one", [1000 + number, 9, 0])
                for _ in range(200):
                    client.receive()

        others = [threading.Thread(target=disturb) for _ in range(2)]
        for other in others:
            other.start()
        try:
            for number in range(50 if QUICK else 300):
                self.assertEqual(self.rows("insert into bag values (1, 1, 1), (1, 2, 2), (1, 2, 3)"), [[3]])
                self.assertEqual(self.rows("delete from bag where a < 3"), [[3]])
                self.assertEqual(self.rows("insert into one values (?, 0, 0), (?, 0, 0)", number, -1 - number), [[2]])
                self.assertEqual(self.rows("update one set a = a + 1, b = 1 - b where k < 1000 and b in (0, 1)"),
                                 [[2 * number + 2]])
            self.assertEqual(self.rows("select sum(a) from one where k < 1000"), [[(number + 1) * (number + 2)]])
        finally:
            over.set()
            for other in others:
                other.join()

    def test_the_shell_asks_and_explains(self):
        self.table(count=3)
        asked = shell("query", "select k, b from t where k < ? order by k", "2", node=self.server)
        self.assertEqual((asked.stdout, asked.returncode), ("0\tname 0\n1\tname 1\n", 0), asked.stderr)
        asked = shell("--output", "csv", "query", "select k from t order by k", node=self.server)
        self.assertEqual(asked.stdout.split(), ["k", "0", "1", "2"])
        asked = shell("--output", "json", "query", "select max(k) from t", node=self.server)
        self.assertEqual(json.loads(asked.stdout), {"columns": ["max(k)"], "rows": [[2]], "cursor": None})
        asked = shell("explain", "select k from t where k = 1", node=self.server)
        self.assertIn("path\tkey\n", asked.stdout)
        asked = shell("query", "select * form t", node=self.server)
        self.assertEqual(asked.returncode, 1)
        self.assertIn("line 1, column 10", asked.stderr)


class Refusals(QueryTest):
    def refused(self, code, text, *arguments):
        self.assert_refused(code, self.call, "query", text, list(arguments))
        self.assert_refused(code, self.call, "explain", text, list(arguments))

    def test_what_is_wrong_is_said_and_nothing_changes(self):
        self.table(count=10)
        for text in ("", "nonsense", "select", "select * from t limit -1", "select * from t limit 1.5",
                     "select * from t limit 'x'", "select * from t offset 1", "select nope from t",
                     "select t.nope from t", "select x.k from t", "select a from t where count(*) > 1",
                     "select a, count(*) from t", "select * from t group by a", "select sum(count(*)) from t",
                     "select * from t order by 0", "select k from t order by 2", "select f(k) from t",
                     "select * from t where a in ()", "select * from t where a like", "select * from t;;",
                     "select * from t where a = 'open", "select * from t where a = 1e999",
                     "insert into t values (1)", "insert into t (a) values (1)", "insert into t (k, k) values (1, 2)",
                     "insert into t (k, no) values (1, 2)", "insert into t values (a, 1, 1)",
                     "update t set k = 1", "update t set no = 1", "update t set a = 1, a = 2", "update t a = 1",
                     "delete t", "drop table t", "select * from t, t", "select distinct a from t",
                     "select * from t x join t x on x.k = x.k", "select * from t x join t y on x.k = x.a",
                     "select k from t x join t y on x.k = y.k", "select * from t where k in (select k from t)"):
            self.refused("bad_request", text)
        self.refused("bad_request", "select * from t limit ?", -1)
        self.refused("bad_request", "select * from t where a in ?", 5)
        self.refused("no_table", "select * from nope")
        self.refused("no_table", "insert into nope values (1)")
        self.assertEqual(self.rows("select count(*), sum(a) from t"), [[10, sum(i % 7 for i in range(10))]])

    def test_what_is_too_large_is_refused_at_once(self):
        self.table(count=10)
        self.refused("too_large", "select * from t where a = " + "1" * (1 << 20))
        self.refused("too_large", "x" * (1 << 20))
        for opened, closed in (("(", ")"), ("not ", ""), ("- ", ""), ("a in (", ")"), ("", " + 1"), ("sum(", ")")):
            self.refused("too_large", f"select * from t where {opened * 10000}1{closed * 10000}")
        self.refused("too_large", "select " + ", ".join(["k"] * 2000) + " from t")
        text = "select k from t where " + " or ".join(f"k = {i}" for i in range(3000))
        self.assertEqual(len(self.rows(text)), 10)

    def test_dividing_by_zero_and_comparing_maps_is_no_error(self):
        self.table(count=3)
        self.call("write", "t", [9, {"x": 1}, [1]])
        self.assertEqual(self.rows("select k from t where 1 / 0 = 1 or k % 0 is not null"), [])
        self.assertEqual(self.rows("select k from t where a > b"), [[9]])

    def test_a_slow_like_is_bounded(self):
        self.table()
        self.call("write", "t", [1, "a" * 100000, None])
        self.assertEqual(self.rows("select k from t where a like ?", "%a" * 2000 + "%b"), [])

    def test_memory_is_bounded(self):
        self.table()
        for start in range(0, 100000, 10000):
            self.call("write_many", "t", [[i, "x" * 1000, i] for i in range(start, start + 10000)])
        for text in ("select * from t order by a, k", "select * from t", "select b, max(a) from t group by b",
                     "select x.k from t x join t y on x.b = y.a where y.b >= 0"):
            self.refused_by_query("too_large", text)
        self.assertEqual(len(self.rows("select k from t order by b desc limit 10")), 10)
        self.assertEqual(self.rows("select count(*), max(b) from t"), [[100000, 99999]])
        self.assertLess(self.server.resident_bytes(), 700 << 20)

    def refused_by_query(self, code, text):
        self.assert_refused(code, self.call, "query", text)

    def test_others_are_served_meanwhile(self):
        self.table(count=20000 if QUICK else 200000)
        other = self.server.client()
        done = threading.Event()

        def ask():
            client = self.server.client()
            for _ in range(3):
                client.call("query", "select b, count(*), sum(a) from t where b like '%5%' group by b order by 3")
            done.set()

        asking = threading.Thread(target=ask)
        asking.start()
        served = 0
        while not done.is_set():
            other.call("read", "t", served)
            served += 1
        asking.join()
        self.assertGreater(served, 20)

    def test_a_connection_may_go_amid_a_query(self):
        self.table(count=20000)
        for text in ("select x.k from t x join t y on x.a = y.a", "select * from t order by b",
                     "select b, count(*) from t group by b", "update t set a = a + 1"):
            client = self.server.client()
            client.send("query", text)
            client.close()
        eventually(lambda: self.rows("select count(*) from t") == [[20000]], "the node goes on")


if __name__ == "__main__":
    main()
