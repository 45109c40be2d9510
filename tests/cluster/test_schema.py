"""Tables of a cluster: made and changed on both sides of a cut, and changed while they are written and
nodes come and go."""
import threading

import lan

lan.enter()

import harness  # noqa: E402: it goes on in namespaces from here

# The last: of a record that has the fields of before.
MAY_BE_REFUSED = harness.HAPPENED_NOT | harness.MAY_HAVE_HAPPENED | {"bad_record"}


class Writer(threading.Thread):
    """Writes records of as many fields as the table has, as far as it knows."""

    def __init__(self, client, table, first):
        super().__init__()
        self.client, self.table, self.next = client, table, first
        self.acknowledged, self.strange = set(), []
        self.stopping = threading.Event()
        self.fields = None
        self.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                if self.fields is None:
                    self.fields = len(self.client.call("table_info", self.table)["attributes"])
                self.client.call("write", self.table, [self.next] + [self.next] * (self.fields - 1))
                self.acknowledged.add(self.next)
            except OSError:  # the test has ended
                return
            except harness.Refused as refused:
                if refused.code not in MAY_BE_REFUSED:
                    self.strange.append(str(refused))
                if refused.code == "bad_record":
                    self.fields = None
            self.next += 1

    def end(self):
        self.stopping.set()
        self.join()


class SchemaTest(harness.ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.lan = lan.Lan(3)

    def setUp(self):
        super().setUp()
        self.lan.join()
        self.cluster = harness.Cluster(self, 3, lan=self.lan)
        self.cluster.wait_for_view()
        self.meet()

    def meet(self):
        self.clients = [node.client(patient=True) for node in self.cluster.nodes]

    def shapes(self, number):
        """What a node knows of its tables."""
        client = self.clients[number]
        known = {}
        for name in client.call("tables"):
            info = client.call("table_info", name)
            known[name] = (info["type"], info["storage"], info["attributes"], sorted(map(str, info["index"])))
        return known

    def wait_for_one_schema(self):
        def same():
            try:
                known = [self.shapes(number) for number in range(3)]
            except harness.Refused as refused:  # it has been named anew meanwhile
                self.assertEqual(refused.code, "no_table")
                return False
            return known[0] == known[1] == known[2]
        harness.eventually(same, "all nodes know the same tables")

    def wait_for_records(self, table, records):
        for client in self.clients:
            harness.eventually(lambda: sorted(client.call("match", table, ["_"] * len(records[0])))
                               == records, f"the records of {table}")

    def test_what_both_sides_of_a_cut_did_comes_together(self):
        left, right = self.clients[0], self.clients[2]
        left.call("create_table", "old", {"storage": "disc"})
        left.call("write", "old", [1, "one"])
        self.lan.split({0}, {1, 2})
        self.cluster.wait_for_view([0])
        self.cluster.wait_for_view([1, 2])
        for client in left, right:
            client.call("create_table", "same", {"storage": "disc"})
        left.call("write", "same", [1, "left"])
        right.call("write", "same", [2, "right"])
        left.call("create_table", "t", {"attributes": ["k", "l"]})
        left.call("write", "t", [1, "left"])
        right.call("create_table", "t", {"attributes": ["k", "r"], "type": "bag"})
        right.call("write", "t", [1, "right"])
        left.call("add_attribute", "old", "l", 0)
        left.call("add_index", "old", "value")
        right.call("add_attribute", "old", "r", "x")
        right.call("write", "old", [2, "two", "y"])
        for number, client in (0, left), (2, right):
            once = self.cluster.client(number)
            self.assert_refused("no_replica", once.call, "drop_table", "old")
            self.assert_refused("no_replica", once.call, "drop_attribute", "old", "value")
            self.assert_refused("no_replica", once.call, "rename_attribute", "old", "value", "v")
            self.assert_refused("no_replica", once.call, "add_index", "old",
                                {"on": "value", "unique": True})
            self.assertEqual(client.call("clear_table", "same"), True)
        right.call("write", "same", [3, "after"])
        self.lan.join()
        self.cluster.wait_for_view()
        self.meet()
        self.wait_for_one_schema()
        names = self.clients[1].call("tables")
        other = next(name for name in names if name.startswith("t@"))
        self.assertEqual(sorted(names), ["old", "same", "t", other])
        first, second = (("t", other) if self.clients[0].call("table_info", "t")["type"] == "set"
                         else (other, "t"))  # they were made in one moment
        self.wait_for_records(first, [[1, "left"]])
        self.wait_for_records(second, [[1, "right"]])
        self.wait_for_records("same", [[3, "after"]])
        self.assertEqual(self.clients[2].call("table_info", "old")["attributes"],
                         ["key", "value", "l", "r"])
        self.wait_for_records("old", [[1, "one", 0, "x"], [2, "two", 0, "y"]])
        self.assertEqual(self.clients[2].call("index_read", "old", "value", "two"),
                         [[2, "two", 0, "y"]])
        harness.eventually(lambda: "schema_conflict" in self.cluster.nodes[1].log_text(), "it is told of")
        self.clients[1].call("drop_table", other)
        self.wait_for_one_schema()

    def change(self, method, *arguments):
        """With all members: a node that was slow for a moment may be left out just then."""
        doubt, client = False, self.cluster.client(0)

        def done():
            nonlocal doubt
            try:
                return client.call(method, *arguments)
            except harness.Refused as refused:
                if refused.code not in {"no_replica", "busy"} | harness.MAY_HAVE_HAPPENED:
                    self.assertTrue(doubt, str(refused))
                    return True  # it had been done
                doubt |= refused.code in harness.MAY_HAVE_HAPPENED
                return False
        harness.eventually(done, f"{method} is done")

    def transform(self, table):
        # Of what has been made before, so that it does not matter whether it is done twice.
        self.change("transform_table", table,
                    [[["$1", "$2", "$3"], [["<", "$1", 0]], [[["$1", ["+", ["-", "$1"], 1], "$3"]]]]])

    def come_and_go(self, table):
        self.cluster.kill(2)
        self.cluster.wait_for_view([0, 1])
        self.change("add_attribute", table, "late", None)
        self.assert_refused("no_replica", self.cluster.client(0).call, "drop_attribute", table, "late")
        self.cluster.start(2)
        self.cluster.wait_for_view()
        self.meet()

    def test_a_table_that_is_written_changes_while_a_node_comes_and_goes(self):
        self.change_while_written("parted", {"storage": "ram", "copies": 2}, False)
        self.change_while_written("whole", {"storage": "disc"}, True)

    def change_while_written(self, table, options, come_and_go):
        self.clients[0].call("create_table", table, options)
        self.clients[0].call("write_many", table, [[-n, n] for n in range(1, 500)])
        writers = [Writer(node.client(), table, number * 1000000)
                   for number, node in enumerate(self.cluster.nodes[:2])]
        self.change("add_attribute", table, "more", 7)
        self.change("add_index", table, "more")
        self.transform(table)
        self.change("rename_attribute", table, "value", "number")
        if come_and_go:
            self.come_and_go(table)
        self.change("drop_index", table, "more")
        self.change("drop_attribute", table, "more")
        self.change("change_storage", table, "disc")
        for writer in writers:
            harness.eventually(lambda: len(writer.acknowledged) > 10, "some are written", seen=lambda: writer.strange)
            writer.end()
            self.assertEqual(writer.strange, [])
        self.wait_for_one_schema()
        self.assertEqual(self.shapes(2)[table],
                         ("set", "disc", ["key", "number"] + ["late"] * come_and_go, []))
        keys = sorted(writers[0].acknowledged | writers[1].acknowledged)
        old = [[-n, n + 1] + [None] * come_and_go for n in range(1, 500)]
        wanted = [[[key, key]] for key in keys] + [[record] for record in old]
        for client in self.clients:
            found = client.call("read_many", table, keys + [record[0] for record in old])
            found[:len(keys)] = [[record[:2] for record in records] for records in found[:len(keys)]]
            self.assertEqual(found, wanted)


if __name__ == "__main__":
    harness.main()
