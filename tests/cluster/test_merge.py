"""What both sides of a split wrote becomes what each table's policy says, and the same on all."""
import time

import lan

lan.enter()

from harness import STORAGES, Cluster, ClusterTest, Refused, eventually, main, shell, steady  # noqa: E402: it goes on in namespaces from here

GREATEST = [[[["$1", "$2", "$3"], ["_", "$4", "$5"]], [], [[["$1", ["max", "$2", "$4"], ["max", "$3", "$5"]]]]]]

END = 2**63 - 1  # of what a counter holds


class Merge(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.lan = lan.Lan(3)

    def setUp(self):
        super().setUp()
        self.lan.join()
        self.cluster = Cluster(self, 3, discs=True, lan=self.lan)
        self.cluster.wait_for_view()
        self.clients = [self.cluster.client(number, patient=True) for number in range(3)]
        self.one, self.other = self.clients[0], self.clients[2]

    def table(self, name, merge, *attributes, **options):
        options = {"merge": merge, "attributes": ["key", *attributes], **options}
        self.one.call("create_table", name, options)

    def is_whole(self):
        """Has each node all tables, and its own copy of all that is in them?"""
        try:
            names = self.one.call("tables")
            copies = [[client.call("size", name, {"context": "dirty"}) for name in names] for client in self.clients]
        except Refused:  # it has not heard of one yet
            return False
        return copies[0] == copies[1] == copies[2]

    def split(self):
        self.cluster.wait_for_view()  # who was thought lost for a moment has missed something
        eventually(self.is_whole, "all have all")
        self.lan.split({0, 1}, {2})
        self.cluster.wait_for_view([0, 1])
        self.cluster.wait_for_view([2])

    def heal(self):
        self.lan.join()
        self.cluster.wait_for_view()

    def everywhere(self, table, key, wanted):
        """The same on all nodes, soon: a view stands before all that differs has been told."""
        found = []

        def agree():
            found[:] = [client.call("read", table, key, {"context": "dirty"}) for client in self.clients]
            return all(records == wanted for records in found)

        eventually(agree, f"{table}: {wanted}", seen=lambda: found)

    def told(self, watcher, count):
        """The keys of so many events of merges."""
        keys = []
        while len(keys) < count:
            _, kind, table, _, details = watcher.event()
            if kind == "conflict":
                self.assertEqual((table, {*details}), ("t", {"key", "time", "nodes"}))
                keys.append(details["key"])
        return keys

    def numbers(self, table):
        """Which node has who lost in its journal, and as which number."""
        return {str(entry["loser"]): (node, entry["number"])
                for client, node in zip(self.clients, self.cluster.nodes) for entry in client.call("conflicts", table)}

    def restore(self, table, place):
        node, number = place
        done = shell("conflicts", table, "restore", number, node=node)
        self.assertEqual(done.returncode, 0, done.stderr)

    def are_apart(self, winner, loser):
        """Two writes, the first the later, and neither was heard of on the other's side."""
        covered = lambda clock, version: any(
            origin == version["origin"] and (version["sequence"] <= base or any(
                first <= version["sequence"] <= last for first, last in zip(islands[::2], islands[1::2])))
            for origin, base, *islands in clock)
        for one, other in ((winner, loser), (loser, winner)):
            self.assertEqual({*one}, {"origin", "sequence", "stamp", "clock"})
            self.assertNotEqual(one["clock"], [])
            self.assertFalse(covered(one["clock"], other), (one, other))
        self.assertGreater(winner["stamp"], loser["stamp"])

    @steady
    def test_what_lost_is_in_the_journal_and_can_be_taken_back(self):
        self.table("t", "lww", "a", storage="disc")
        watchers = [self.cluster.client(number) for number in range(3)]
        for watcher in watchers:
            watcher.call("subscribe", {"system": True})
        self.one.call("write", "t", ["k", 0])
        self.one.call("write", "t", ["gone", 0])
        self.split()
        self.one.call("write", "t", ["k", 1])
        self.one.call("delete", "t", "gone")
        time.sleep(0.005)  # stamps are milliseconds: the second write is the later one
        self.other.call("write", "t", ["k", 2])
        self.other.call("write", "t", ["gone", 2])
        self.heal()
        self.everywhere("t", "k", [["k", 2]])
        self.everywhere("t", "gone", [["gone", 2]])
        entries, before = {}, [client.call("conflicts", "t") for client in self.clients]
        for number, watcher in enumerate(watchers):
            self.assertEqual(self.told(watcher, len(before[number])), [entry["key"] for entry in reversed(before[number])])
            if not before[number]:
                continue
            self.clients[number].call("sync_table", "t")  # the batch that has the merge has its entry
            self.cluster.kill(number)
            self.cluster.start(number)
            self.clients[number] = self.cluster.client(number, patient=True)
            self.assertEqual(self.clients[number].call("conflicts", "t"), before[number])
        self.one, self.other = self.clients[0], self.clients[2]
        self.cluster.wait_for_view()
        for number in range(3):  # each where its shard's master is
            for entry in self.clients[number].call("conflicts", "t"):
                entries[entry["key"]] = entry
                self.assertEqual({*entry}, {"key", "winner", "loser", "time", "nodes", "view", "versions", "number"})
                self.assertEqual(len({*entry["nodes"]} & {*self.cluster.names}), 2)
                self.are_apart(entry["versions"]["winner"], entry["versions"]["loser"])
                if entry["key"] == "k":
                    done = shell("conflicts", "t", node=self.cluster.nodes[number])
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertIn("k", done.stdout)
                    self.assertIn(entry["versions"]["loser"]["origin"], done.stdout)
                    self.restore("t", (self.cluster.nodes[number], entry["number"]))
        self.assertEqual((entries["k"]["winner"], entries["k"]["loser"]), (["k", 2], ["k", 1]))
        self.assertEqual((entries["gone"]["winner"], entries["gone"]["loser"]), (["gone", 2], None))
        self.everywhere("t", "k", [["k", 1]])
        self.assert_refused("no_table", self.one.call, "conflicts", "nothing")
        self.assert_refused("bad_request", self.one.call, "conflicts", "t", {"limit": 0})
        none = shell("conflicts", "t", "restore", 99, node=self.cluster.nodes[0])
        self.assertEqual(none.returncode, 1)

    siblings = [f"siblings_{storage}" for storage in STORAGES]

    def write_siblings(self):
        """On both sides of a cut, by programs that have read the same before."""
        self.old = {}
        for table in self.siblings:
            records, self.old[table] = self.one.call("read", table, "k", {"siblings": True})
            self.assertEqual(records, [["k", 0]])
            self.one.call("write", table, ["k", 1], {"replaces": self.old[table]})
            self.one.call("delete", table, "gone")
            time.sleep(0.005)  # stamps are milliseconds: the second write is the later one
            self.other.call("write", table, ["k", 2], {"replaces": self.old[table]})
            self.other.call("write", table, ["gone", 2])

    def count_dirty(self):
        """Who adds dirty at all nodes at once adds all of it: copies do not take each other's sums."""
        for _ in range(50):
            for client in self.clients:
                client.send("update_counter", "counter_ram", "dirty", "a", 1, {"context": "dirty"})
        for _ in range(50):
            for client in self.clients:
                self.assertIsNone(client.receive()[1])
        self.one.call("write_many", "counter_ram", [["many", 1, 1]], {"context": "dirty"})
        self.everywhere("counter_ram", "dirty", [["dirty", 150, None]])
        self.everywhere("counter_ram", "many", [["many", 1, 1]])

    def lost(self, table):
        """What the journals have, each once: a view that ends at once has another master merge again."""
        found = []
        for client in self.clients:
            for entry in client.call("conflicts", table):
                said = [entry["loser"], entry["winner"] is not None]
                found += [said] if said not in found else []
        return found

    def set_aside(self, table, wanted):
        """These and no others are in the journals, soon; an entry each of who lost, and whether a record won."""
        in_order = lambda losses: sorted(losses, key=repr)
        eventually(lambda: in_order(self.lost(table)) == in_order(wanted), f"the journals of {table}",
                   seen=lambda: self.lost(table))

    @steady
    def test_whoever_is_not_in_what_a_merge_has_made_is_in_the_journal(self):
        for policy, attributes in (("first", "a"), ("counter", "a"), ("set", "ab"), ("lww_by_attribute", "abc")):
            self.table(policy, policy, *attributes, storage="disc")
        self.table("callback", "callback", "a", "b", storage="disc", callback=GREATEST)
        self.one.call("write_many", "first", [["k", "old"], ["gone", "old"]])
        self.one.call("update_counter", "counter", "set", "a", 5)
        self.one.call("update_counter", "counter", "added", "a", 5)
        self.one.call("update_counter", "counter", "past", "a", END - 3)
        self.one.call("write_many", "set", [["k", ["x"], "old"], ["elements", ["x"], "old"]])
        self.one.call("write_many", "lww_by_attribute", [["crossed", 1, 1, 1], ["apart", 1, 1, 1]])
        self.split()
        self.one.call("write", "first", ["k", "early"])
        self.one.call("write", "first", ["gone", "early"])
        self.one.call("write", "counter", ["set", 100])
        self.one.call("update_counter", "counter", "added", "a", 1)
        self.one.call("update_counter", "counter", "past", "a", 3)
        self.one.call("write", "set", ["k", ["x"], "early"])
        self.one.call("write", "set", ["elements", ["x", "y"], "old"])
        self.one.call("update", "lww_by_attribute", "crossed", {"a": 2})
        self.one.call("update", "lww_by_attribute", "apart", {"a": 2})
        self.one.call("write", "callback", ["k", 7, 2])
        time.sleep(0.005)  # stamps are milliseconds: what follows is later
        self.other.call("write", "first", ["k", "late"])
        self.other.call("delete", "first", "gone")
        self.other.call("update_counter", "counter", "set", "a", 7)
        self.other.call("update_counter", "counter", "added", "a", 2)
        self.other.call("update_counter", "counter", "past", "a", 2)
        self.other.call("write", "set", ["k", ["x"], "late"])
        self.other.call("write", "set", ["elements", ["x", "z"], "old"])
        self.other.call("update", "lww_by_attribute", "crossed", {"a": 3})
        self.other.call("update", "lww_by_attribute", "apart", {"b": 3})
        self.other.call("write", "callback", ["k", 3, 3])
        time.sleep(0.005)
        self.one.call("update", "lww_by_attribute", "crossed", {"b": 9})
        self.heal()
        for table, record in (("first", ["k", "early"]), ("first", ["gone", "early"]), ("counter", ["set", 100]),
                              ("counter", ["added", 8]), ("counter", ["past", END]), ("set", ["k", ["x"], "late"]),
                              ("set", ["elements", ["x", "y", "z"], "old"]), ("callback", ["k", 7, 3]),
                              ("lww_by_attribute", ["crossed", 3, 9, 1]), ("lww_by_attribute", ["apart", 2, 3, 1])):
            self.everywhere(table, record[0], [record])
        self.set_aside("first", [[["k", "late"], True], [None, True]])
        self.set_aside("counter", [[["set", 12], True], [["past", END], True], [["past", END - 1], True]])
        past = sum(client.call("stats")["conflicts"]["counters_past"] for client in self.clients)
        self.assertGreater(past, 0)
        self.set_aside("set", [[["k", ["x"], "early"], True]])
        self.set_aside("lww_by_attribute", [[["crossed", 2, 9, 1], True]])
        self.set_aside("callback", [[["k", 7, 2], True], [["k", 3, 3], True]])
        for table, loser in (("first", ["k", "late"]), ("counter", ["set", 12]), ("set", ["k", ["x"], "early"]),
                             ("lww_by_attribute", ["crossed", 2, 9, 1]), ("callback", ["k", 3, 3])):
            self.restore(table, self.numbers(table)[str(loser)])
            self.everywhere(table, loser[0], [loser])
        self.restore("first", self.numbers("first")["None"])
        self.everywhere("first", "gone", [])

    @steady
    def test_a_counter_that_is_made_anew_has_nothing_of_what_was_removed(self):
        remover = lambda key: self.one if key[0] == "a" else self.other
        adder = lambda key: self.other if key[0] == "a" else self.one
        add = lambda client, key, n: client.call("update_counter", "t", key, "a", n)
        # What others add comes before the removal, or after all; of as many shards as there are masters.
        before, after = ([f"{side}{order}{n}" for side in "ab" for n in range(6)] for order in ("before", "after"))
        self.table("t", "counter", "a", storage="disc")
        for key in before + after:
            add(self.one, key, 5)
        self.split()
        for key in before:
            add(adder(key), key, 1)
        time.sleep(0.005)  # stamps are milliseconds: what follows is later
        for key in before + after:
            remover(key).call("delete", "t", key)
        self.other.call("sync_table", "t")
        self.cluster.kill(2)
        self.cluster.start(2)
        self.cluster.wait_for_view([2])
        self.other = self.clients[2] = self.cluster.client(2, patient=True)
        for key in before + after:
            add(remover(key), key, 2)
        time.sleep(0.005)
        for key in after:
            add(adder(key), key, 1)
        self.heal()
        for key in before + after:
            self.everywhere("t", key, [[key, 2]])
        self.set_aside("t", [[[key, 6], True] for key in before + after])

    @steady
    def test_all_siblings_that_a_clear_takes_away_unknown_to_who_cleared_are_in_the_journal(self):
        keys = [f"k{n}" for n in range(6)]  # of as many shards as there are masters
        tables = [(f"{side}_{storage}", side) for storage in STORAGES for side in ("one", "other")]
        for table, _ in tables:
            self.table(table, "siblings", "a", storage=table.split("_", 1)[1])
            self.one.call("write_many", table, [[key, 0] for key in keys])
        self.split()
        for table, side in tables:
            writer, clearer = (self.one, self.other) if side == "one" else (self.other, self.one)
            for key in keys:
                _, context = writer.call("read", table, key, {"siblings": True})
                for n in (1, 2):
                    writer.call("write", table, [key, n], {"replaces": context})
            time.sleep(0.005)  # stamps are milliseconds: the clear is the later one
            clearer.call("clear_table", table)
        self.heal()
        for table, _ in tables:
            for key in keys:
                self.everywhere(table, key, [])
            self.set_aside(table, [[[key, n], False] for key in keys for n in (1, 2)])

    def bag(self, *fields):
        """So many records are all that the bag has, soon."""
        records = lambda client: sorted(client.call("read", "bag", "k", {"context": "dirty"}))
        eventually(lambda: all(records(client) == [["k", n] for n in fields] for client in self.clients),
                   f"bag: {fields}", seen=lambda: [records(client) for client in self.clients])

    @steady
    def test_what_is_taken_back_takes_no_other_version_away(self):
        self.table("bag", "lww", "a", type="bag")
        self.table("siblings", "siblings", "a", shards=1)
        self.one.call("write_many", "bag", [["k", n] for n in (1, 2, 3)])
        self.one.call("write", "siblings", ["k", 0])
        self.split()
        _, context = self.one.call("read", "siblings", "k", {"siblings": True})
        for n in (1, 2):
            self.one.call("write", "siblings", ["k", n], {"replaces": context})
        self.other.call("delete_object", "bag", ["k", 1])
        self.other.call("write", "bag", ["k", 3])
        time.sleep(0.005)  # stamps are milliseconds: what follows is later
        self.other.call("clear_table", "siblings")
        self.one.call("write", "bag", ["k", 1])
        self.one.call("write", "bag", ["k", 9])
        self.one.call("delete_object", "bag", ["k", 3])
        self.heal()
        self.bag(1, 2, 9)
        self.everywhere("siblings", "k", [])
        self.set_aside("bag", [[None, True], [["k", 3], False]])
        self.set_aside("siblings", [[["k", n], False] for n in (1, 2)])
        self.restore("bag", self.numbers("bag")["None"])
        self.bag(2, 9)
        self.restore("bag", self.numbers("bag")[str(["k", 3])])
        self.bag(2, 3, 9)
        listed = self.numbers("siblings")
        _, context = self.one.call("read", "siblings", "room", {"siblings": True})
        for n in range(65):  # more than there may be: one more conflict, after the list was read
            self.one.call("write", "siblings", ["room", n], {"replaces": context})
        self.assertEqual(len(self.numbers("siblings")), 3)
        for n in (1, 2):
            self.restore("siblings", listed[str(["k", n])])
        self.everywhere("siblings", "k", [["k", 2], ["k", 1]])

    def make_others(self):
        """What is no record of a set: bags, clears, what ends by itself, another shape."""
        for storage in STORAGES:
            self.table(f"bag_{storage}", "lww", "a", storage=storage, type="bag")
            self.one.call("write_many", f"bag_{storage}", [["k", 0], ["k", 1]])
            for table in ("cleared", "ending"):
                self.table(f"{table}_{storage}", "lww", "a", storage=storage)
                self.one.call("write_many", f"{table}_{storage}", [["k", 0], ["old", 0]])
        self.table("shape", "lww", "a")
        self.one.call("write_many", "shape", [["k", 0], ["old", 0]])
        self.table("moving", "counter", "a", "b", storage="disc")
        self.one.call("update_counter", "moving", "k", "b", 5)

    def change_others(self):
        self.one.call("add_attribute", "shape", "b", 5)
        self.other.call("write", "shape", ["k", 1])
        self.one.call("update_counter", "moving", "k", "b", 1)
        self.one.call("add_attribute", "moving", "c", 7)
        self.other.call("update_counter", "moving", "k", "b", 2)
        for storage in STORAGES:
            self.one.call("delete_object", f"bag_{storage}", ["k", 0])
            self.one.call("write", f"bag_{storage}", ["k", 2])
            self.other.call("write_many", f"bag_{storage}", [["k", 3], ["k", 2]])
            self.one.call("write", f"cleared_{storage}", ["k", 1])
            self.other.call("write", f"cleared_{storage}", ["other", 1])
            self.one.call("write", f"ending_{storage}", ["k", 1], {"ttl": 0.2})
            self.one.call("write", f"ending_{storage}", ["gone", 1], {"ttl": 0.2})
            time.sleep(0.005)  # stamps are milliseconds: what follows is later
            (self.one if storage == "ram" else self.other).call("clear_table", f"cleared_{storage}")
            self.other.call("write", f"ending_{storage}", ["k", 2])
        time.sleep(0.005)
        for storage in STORAGES:
            self.one.call("write", f"cleared_{storage}", ["since", 1])

    def check_others(self):
        for storage in STORAGES:
            bag = lambda client: sorted(client.call("read", f"bag_{storage}", "k", {"context": "dirty"}))
            eventually(lambda: [bag(client) for client in self.clients] == 3 * [[["k", 1], ["k", 2], ["k", 3]]],
                       f"bag_{storage}", seen=lambda: [bag(client) for client in self.clients])
            for key, wanted in (("k", []), ("old", []), ("other", []), ("since", [["since", 1]])):
                self.everywhere(f"cleared_{storage}", key, wanted)
            self.assertEqual(self.lost(f"cleared_{storage}"), [[["other" if storage == "ram" else "k", 1], False]])
            self.everywhere(f"ending_{storage}", "k", [["k", 2]])
            self.everywhere(f"ending_{storage}", "gone", [])
        self.everywhere("shape", "k", [["k", 1, 5]])
        self.everywhere("shape", "old", [["old", 0, 5]])
        self.everywhere("moving", "k", [["k", None, 8, 7]])

    def check_siblings(self, table):
        self.everywhere(table, "k", [["k", 2], ["k", 1]])
        self.everywhere(table, "gone", [["gone", 2]])
        self.assertEqual(sum((client.call("conflicts", table) for client in self.clients), []), [])
        for client in self.clients:  # wherever the master is
            records, context = client.call("read", table, "k", {"siblings": True})
            self.assertEqual(records, [["k", 2], ["k", 1]])
            self.assertEqual(client.call("read_many", table, ["k", "no"]), [records, []])
            self.assertEqual(client.call("select", table, [[["k", "$1"], [], ["$1"]]])[0], [2])
            self.assertEqual(client.call("size", table), 2)
        self.one.call("write", table, ["k", 3], {"replaces": self.old[table]})  # of who has seen neither
        self.everywhere(table, "k", [["k", 3], ["k", 2], ["k", 1]])
        self.other.call("write", table, ["k", 4], {"replaces": context})
        self.everywhere(table, "k", [["k", 4], ["k", 3]])
        _, context = self.one.call("read", table, "k", {"siblings": True})
        self.one.call("delete", table, "k", {"replaces": context})
        self.everywhere(table, "k", [])
        for wrong in ({"replaces": "x"}, {"replaces": []}, {"siblings": True}, {"replaces": b"\xc1"}):
            self.assert_refused("bad_request", self.one.call, "write", table, ["k", 1], wrong)
        self.assert_refused("bad_request", self.one.call, "read", "lww_ram", "k", {"siblings": True})
        self.assert_refused("bad_request", self.one.call, "write", "lww_ram", ["k", 1, 1], {"replaces": context})

    @steady
    def test_each_table_merges_by_its_own_policy(self):
        for storage in STORAGES:
            for policy in ("lww", "lww_by_attribute", "first", "max", "min", "counter", "set"):
                self.table(f"{policy}_{storage}", policy, "a", "b", storage=storage)
        for storage in STORAGES:
            for policy in ("lww", "lww_by_attribute", "first", "max", "min"):
                self.one.call("write", f"{policy}_{storage}", ["k", 1, 1])
            self.one.call("update_counter", f"counter_{storage}", "k", "a", 5)
            self.one.call("write", f"set_{storage}", ["k", ["x", "y"], 1])
            self.table(f"siblings_{storage}", "siblings", "a", storage=storage)
            self.table(f"callback_{storage}", "callback", "a", "b", storage=storage, callback=GREATEST)
            self.one.call("write_many", f"siblings_{storage}", [["k", 0], ["gone", 0]])
        self.count_dirty()
        self.make_others()
        self.split()
        self.change_others()
        self.write_siblings()
        for storage in STORAGES:
            for policy in ("lww", "first", "max", "min", "callback"):
                self.one.call("write", f"{policy}_{storage}", ["k", 7, 2])
                time.sleep(0.005)  # stamps are milliseconds: the second write is the later one
                self.other.call("write", f"{policy}_{storage}", ["k", 3, 3])
            self.one.call("update", f"lww_by_attribute_{storage}", "k", {"a": 2})
            self.other.call("update", f"lww_by_attribute_{storage}", "k", {"b": 3})
            for _ in range(10):
                self.one.call("update_counter", f"counter_{storage}", "k", "a", 1)
                self.other.call("update_counter", f"counter_{storage}", "k", "a", 2)
                self.other.call("update_counter", f"counter_{storage}", "new", "a", 2)
                self.one.call("update_counter", f"counter_{storage}", "new", "a", 3)
            self.one.call("write", f"set_{storage}", ["k", ["x", "one"], 1])  # y is removed
            self.other.call("write", f"set_{storage}", ["k", ["x", "y", "other"], 1])
        self.heal()
        for storage in STORAGES:
            self.everywhere(f"lww_{storage}", "k", [["k", 3, 3]])
            self.everywhere(f"first_{storage}", "k", [["k", 7, 2]])
            self.everywhere(f"max_{storage}", "k", [["k", 7, 2]])
            self.everywhere(f"min_{storage}", "k", [["k", 3, 3]])
            self.everywhere(f"lww_by_attribute_{storage}", "k", [["k", 2, 3]])
            self.everywhere(f"counter_{storage}", "k", [["k", 35, None]])
            self.everywhere(f"counter_{storage}", "new", [["new", 50, None]])
            self.everywhere(f"set_{storage}", "k", [["k", ["one", "other", "x"], 1]])
            self.everywhere(f"callback_{storage}", "k", [["k", 7, 3]])
            self.assertEqual(self.one.call("table_info", f"callback_{storage}")["callback"], GREATEST)
            self.check_siblings(f"siblings_{storage}")
        self.check_others()
        for wrong in ({"merge": "callback", "callback": 7}, {"merge": "callback", "callback": [["_"]]},
                      {"merge": "lww", "callback": GREATEST}):
            self.assert_refused("bad_request", self.one.call, "create_table", "wrong", wrong)
        self.assertEqual(self.one.call("stats")["conflicts"], {"callbacks_failed": 0, "counters_past": 0, "not_kept": 0})


if __name__ == "__main__":
    main()
