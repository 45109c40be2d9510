"""Whichever node of a cluster is asked, a table is answered about as if all of it were there, though each
node has only a part of it."""
import harness
from harness import ClusterTest, Refused, eventually, main, steady

RECORDS = 300
SPEC = [[["$1", "$2", "$3"], [[">", "$1", 250]], ["$1"]]]
ALL = [[["$1", "$2", "$3"], [], ["$1"]]]


class AnyNodeTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.cluster = harness.Cluster(self, 3, discs=False)
        self.cluster.wait_for_view()
        self.clients = [self.cluster.client(number, patient=True) for number in range(3)]

    def fill(self, name, **options):
        first = self.clients[0]
        first.call("create_table", name, {"attributes": ["k", "a", "b"], "copies": 1, "shards": 16, **options})
        self.assertEqual(first.call("write_many", name, [[n, n % 10, f"v{n}"] for n in range(RECORDS)]), RECORDS)

    def pages(self, client, name, spec, options):
        rows, cursor = client.call("select", name, spec, options)
        while cursor is not None:
            more, cursor = client.call("select_next", cursor)
            self.assertLessEqual(len(more), options["limit"])
            rows += more
        return rows

    @steady
    def test_every_method_of_every_node(self):
        self.fill("t", index=["a"])
        self.fill("o", type="ordered_set")
        everything = list(range(RECORDS))
        local = 0
        for client in self.clients:
            info = client.call("table_info", "t")
            self.assertEqual(info["size"], RECORDS)
            self.assertLess(info["local_size"], RECORDS)
            local += info["local_size"]
            self.assertEqual(client.call("size", "t"), RECORDS)
            self.assertEqual(len(client.call("match", "t", ["_", 3, "_"])), RECORDS // 10)
            self.assertEqual(len(client.call("match", "t", ["_", 3, "_"], {"limit": 4})), 4)
            self.assertEqual(sorted(record[0] for record in client.call("index_read", "t", "a", 7)), everything[7::10])
            self.assertEqual(client.call("read_many", "t", [5, 1000, 6]), [[[5, 5, "v5"]], [], [[6, 6, "v6"]]])
            self.assertEqual(sorted(client.call("select", "t", SPEC)[0]), everything[251:])
            self.assertEqual(sorted(self.pages(client, "t", ALL, {"limit": 37})), everything)
            self.assertEqual(self.pages(client, "o", ALL, {"limit": 37}), everything)
            self.assertEqual(self.pages(client, "o", ALL, {"limit": 37, "reverse": True}), everything[::-1])
            self.assertEqual(client.call("select_count", "t", [[["$1", 3, "_"], [], [True]]]), RECORDS // 10)
            self.assertEqual([client.call(method, "o") for method in ("first", "last")], [0, RECORDS - 1])
            self.assertEqual([client.call("next", "o", 7), client.call("prev", "o", 7)], [8, 6])
            rows = client.call("query", "select a, count(*), max(k) from t where k < 100 group by a order by a")["rows"]
            self.assertEqual(rows, [[a, 10, 90 + a] for a in range(10)])
            rows = client.call("query", "select x.k, y.b from t x join o y on x.a = y.k where x.k = 25")["rows"]
            self.assertEqual(rows, [[25, "v5"]])
            dirty = {"context": "dirty"}
            self.assertEqual(client.call("size", "t", dirty), info["local_size"])
            self.assertEqual(len(client.call("select", "t", ALL, dirty)[0]), info["local_size"])
            here = sum(self.reads_dirty(client, key) for key in range(20))
            self.assertLess(here, 20)
            self.look_at_own_copy(client, client.call("select", "t", ALL, dirty)[0], client.call("select", "o", ALL, dirty)[0])
        self.assertEqual(local, RECORDS)

    def look_at_own_copy(self, client, unordered, ordered):
        """What has options, of what is here alone."""
        dirty = {"context": "dirty"}
        self.assertEqual(ordered, sorted(ordered))
        self.assertEqual([client.call(method, "o", dirty) for method in ("first", "last")], [ordered[0], ordered[-1]])
        key = ordered[len(ordered) // 2]
        self.assertEqual([client.call(method, "o", key, dirty) for method in ("next", "prev")],
                         [ordered[len(ordered) // 2 + 1], ordered[len(ordered) // 2 - 1]])
        met = [client.call("first", "t", dirty)]
        while (key := client.call("next", "t", met[-1], dirty)) is not None:
            met.append(key)
        self.assertEqual(sorted(met), sorted(unordered))
        self.assertEqual(client.call("read_many", "t", met[:5], dirty), [[[k, k % 10, f"v{k}"]] for k in met[:5]])
        with self.assertRaisesRegex(Refused, "no_replica"):
            client.call("read_many", "t", [k for k in range(RECORDS) if k not in met][:1], dirty)
        for method, *question in (("match", ["_", 7, "_"]), ("index_read", "a", 7)):
            self.assertEqual(sorted(record[0] for record in client.call(method, "t", *question, dirty)),
                             sorted(k for k in met if k % 10 == 7))
        self.assertEqual(client.call("select_count", "t", [[["$1", 7, "_"], [], [True]]], dirty), sum(k % 10 == 7 for k in met))
        self.ask_own_copy(client, sorted(unordered), ordered)
        for method, *question in (("size",), ("first",), ("next", 7), ("read_many", [7]), ("index_read", "a", 7)):
            with self.assertRaisesRegex(Refused, "bad_request"):
                client.call(method, "t", *question, {"context": "clean"})

    def ask_own_copy(self, client, t, o):
        """Text queries of what is here alone: by key, by index, of all, page by page, of two tables."""
        def rows(text, *arguments):
            return client.call("query", text, list(arguments), {"context": "dirty"})["rows"]

        away = next(k for k in range(RECORDS) if k not in t)
        self.assertEqual(rows("select k from t where k = ?", t[0]), [[t[0]]])
        self.assertEqual(rows("select k from t where k = ?", away), [])
        self.assertEqual(rows("select k from o where k >= ? order by k desc", o[1]), [[k] for k in o[:0:-1]])
        self.assertEqual(rows("select k from t where a = 7 order by k"), [[k] for k in t if k % 10 == 7])
        self.assertEqual(rows("select count(*) from t"), [[len(t)]])
        self.assertEqual(rows("select count(*), sum(k) from o where a >= 0"), [[len(o), sum(o)]])
        page = client.call("query", "select k from o", [], {"context": "dirty", "limit": 7})
        met, cursor = page["rows"], page["cursor"]
        while cursor is not None:
            more, cursor = client.call("select_next", cursor)
            met += more
        self.assertEqual(met, [[k] for k in o])
        pairs = rows("select x.k, y.k from t x join o y on x.a = y.k")
        self.assertEqual(sorted(pairs), [[k, k % 10] for k in t if k % 10 in o])

    def reads_dirty(self, client, key):
        try:
            return client.call("read", "t", key, {"context": "dirty"}) == [[key, key % 10, f"v{key}"]]
        except Refused as refused:
            self.assertEqual(refused.code, "no_replica")
            return False

    @steady
    def test_what_is_changed_by_what_it_is(self):
        self.fill("t", index=["a"])
        one, two, three = self.clients
        self.assertEqual(one.call("select_delete", "t", [[["$1", 3, "_"], [], [True]]]), RECORDS // 10)
        self.assertEqual(two.call("size", "t"), RECORDS - RECORDS // 10)
        replaced = two.call("select_replace", "t", [[["$1", 4, "$3"], [], [[["$1", 5, "$3"]]]]])
        self.assertEqual(replaced, RECORDS // 10)
        self.assertEqual(three.call("select_count", "t", [[["$1", 5, "_"], [], [True]]]), RECORDS // 5)
        self.assertEqual(three.call("query", "update t set a = 6 where a = 5")["rows"], [[RECORDS // 5]])
        self.assertEqual(one.call("query", "delete from t where a = 6")["rows"], [[3 * RECORDS // 10]])
        self.assertEqual(one.call("size", "t"), RECORDS // 2 + RECORDS // 10)

    @steady
    def test_a_change_of_what_is_here_alone_is_made_once_for_each(self):
        """It moves in the index that it is found by, and the others' records stay."""
        self.fill("t", index=["a"])
        one, two, _ = self.clients
        here = one.call("table_info", "t")["local_size"]
        dirty = {"context": "dirty"}
        self.assertEqual(one.call("query", "update t set a = a + 10 where a >= 0", [], dirty)["rows"], [[here]])
        self.assertEqual(two.call("query", "select count(*) from t where a >= 10")["rows"], [[here]])
        self.assertEqual(two.call("query", "select count(*) from t where a >= 20")["rows"], [[0]])
        self.assertEqual(one.call("query", "delete from t where k >= 0", [], dirty)["rows"], [[here]])
        self.assertEqual(two.call("size", "t"), RECORDS - here)
        self.assertEqual(one.call("query", "select count(*) from t", [], dirty)["rows"], [[0]])

    def change_dirty(self, client, n):
        """All changes that one copy can make by itself, on keys of this client's own."""
        dirty = {"context": "dirty"}
        key = [f"{n}-{word}" for word in "abcdef"]
        self.assertIs(client.call("write", "d", [key[0], 1], dirty), True)
        self.assertEqual(client.call("write_many", "d", [[k, 2] for k in key[1:]], dirty), 5)
        self.assertIs(client.call("insert_new", "d", [key[0], 3], dirty), False)
        self.assertIs(client.call("update", "d", key[0], {"n": 4}, dirty), True)
        self.assertEqual(client.call("update_counter", "d", key[1], "n", 5, dirty), 7)
        self.assertIs(client.call("delete", "d", key[2], dirty), True)
        self.assertIs(client.call("delete_object", "d", [key[3], 2], dirty), True)
        self.assertEqual(client.call("take", "d", key[4], dirty), [[key[4], 2]])
        self.assertIs(client.call("write", "d", ["shared", n], dirty), True)
        there = {key[0]: 4, key[1]: 7, key[5]: 2}
        self.assertEqual(client.call("read_many", "d", key, dirty), [[[k, there[k]]] if k in there else [] for k in key])
        return there

    @steady
    def test_one_copy_is_written_and_all_have_it_a_moment_later(self):
        self.clients[0].call("create_table", "d", {"attributes": ["k", "n"], "shards": 16})
        there = {}
        for n, client in enumerate(self.clients):
            there |= self.change_dirty(client, n)

        def copies():
            return [sorted(client.call("match", "d", ["_", "_"], {"context": "dirty"})) for client in self.clients]

        eventually(lambda: copies() == [copies()[0]] * 3 and len(copies()[0]) == len(there) + 1, "equal copies")
        self.assertEqual([record for record in copies()[0] if record[0] != "shared"], sorted(map(list, there.items())))

    @steady
    def test_a_copy_that_is_not_there_is_not_asked_nor_written(self):
        self.fill("t")
        written = 0
        for key in range(RECORDS, RECORDS + 20):
            for client in self.clients:
                try:
                    self.assertIs(client.call("write", "t", [key, 0, ""], {"context": "dirty"}), True)
                    written += 1
                except Refused as refused:
                    self.assertEqual(refused.code, "no_replica")
        self.assertEqual(written, 20)
        self.assertEqual(self.clients[0].call("size", "t"), RECORDS + 20)
        self.clients[0].call("create_table", "one", {"copies": 1, "shards": 1})
        answers = []
        for client in self.clients:
            try:
                answers += client.call("query", "select count(*) from one", [], {"context": "dirty"})["rows"]
            except Refused as refused:
                self.assertEqual(refused.code, "no_replica")
        self.assertEqual(answers, [[0]])

    @steady
    def test_a_disc_table_is_served_by_a_node_without_a_disc(self):
        self.cluster = harness.Cluster(self, 2)
        self.cluster.wait_for_view()
        bare = self.node("--name", "bare", "--join", self.cluster.peers[0], "--cookie-file", self.cluster.cookie)
        client = bare.client(patient=True)
        eventually(lambda: len([m for m in client.call("cluster_status")["members"] if m["state"] == "up"]) == 3, "three")
        first = self.cluster.client(0, patient=True)
        first.call("create_table", "d", {"type": "ordered_set", "storage": "disc"})
        first.call("write_many", "d", [[n, n] for n in range(RECORDS)])
        self.assertEqual(client.call("size", "d"), RECORDS)
        self.assertEqual(client.call("select", "d", [[["$1", "_"], [["<", "$1", 9]], ["$1"]]])[0], list(range(9)))
        self.assertEqual(client.call("read", "d", 7), [[7, 7]])

    @steady
    def test_the_others_answer_when_a_node_dies(self):
        self.fill("t", copies=2)
        eventually(lambda: all(client.call("size", "t") == RECORDS for client in self.clients), "all records")
        rows, cursor = self.clients[0].call("select", "t", ALL, {"limit": 37})
        self.cluster.kill(2)
        try:  # what was begun goes on with those that are left, or says that it may be asked again
            while cursor is not None:
                more, cursor = self.clients[0].call("select_next", cursor)
                rows += more
            self.assertEqual(sorted(rows), list(range(RECORDS)))
        except Refused as refused:
            self.assertIn(refused.code, ("no_replica", "timeout"))
        for client in self.clients[:2]:
            eventually(lambda: client.call("size", "t") == RECORDS, "all records of those that are left")
            self.assertEqual(sorted(self.pages(client, "t", ALL, {"limit": 37})), list(range(RECORDS)))
            total = client.call("query", "select count(*), sum(k), avg(a) from t where k >= 0")["rows"]
            self.assertEqual(total, [[RECORDS, sum(range(RECORDS)), 4.5]])


if __name__ == "__main__":
    main()
