"""Five nodes on machines of their own: the network between them splits and heals."""
import os
import time
import unittest

import lan

lan.enter()

from trial import cuts  # noqa: E402: it goes on in namespaces from here
from harness import Cluster, ClusterTest, eventually, main  # noqa: E402
from writer import Pairs, Rewriter, Writer, Written  # noqa: E402


class LanTest(Written, ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.lan = lan.Lan(5)

    def setUp(self):
        super().setUp()
        self.lan.join()
        self.cluster = Cluster(self, 5, discs=False, lan=self.lan)
        self.cluster.wait_for_view()

    def test_what_both_sides_of_a_split_write_is_there_when_it_has_healed(self):
        client = self.cluster.client(0, patient=True)
        client.call("create_table", "t")
        client.call("create_table", "both")
        sides = ((0, 1), (2, 3, 4))
        addresses = [[self.cluster.nodes[number].address for number in side] for side in sides]
        own = [Writer(addresses[side], "t", first=side * 10**6, pause_s=0.005) for side in range(2)]
        shared = [Rewriter(f"side {side}", addresses[side], "both", pause_s=0.005) for side in range(2)]
        self.more(own + shared)
        self.lan.split(*map(set, sides))
        self.cluster.wait_for_view(sides[0])
        self.cluster.wait_for_view(sides[1])
        self.more(own + shared)
        self.lan.join()
        self.cluster.wait_for_view()
        self.more(own + shared)
        for writer in own + shared:
            writer.end()
        for writer in own:
            self.nothing_is_missing(self.cluster, writer, healed=True)
            self.same_everywhere(self.cluster, "t", writer.acknowledged | writer.unknown)
        self.same_everywhere(self.cluster, "both", Rewriter.KEYS)
        self.nothing_older_is_left(self.cluster, "both", shared)

    def more(self, writers):
        for writer in writers:
            writer.wait_for_more(50)

    @unittest.skipUnless("EG_LONG" in os.environ, "it is the same in every build, and the plain one is tried")
    def test_a_transaction_is_whole_or_not_at_all_whatever_is_cut(self):
        self.cluster.client(0, patient=True).call("create_table", "t")
        writers = [Pairs([node.address], "t", first=number * 10**6, pause_s=0.005)
                   for number, node in enumerate(self.cluster.nodes)]
        self.more(writers)
        for plan in ("one-out", "majorities", "swizzle"):
            for step in cuts.steps_of(plan, 5, 2, cuts.Options(), seed=plan):
                self.lan.block(step.pairs)
                time.sleep(step.seconds)
            if plan == "one-out":  # who is alone and the others go on, with nothing held by each other's
                self.more(writers)
            self.lan.join()
            self.cluster.wait_for_view()
            self.more(writers)
        for writer in writers:
            writer.end()
            self.assertEqual(writer.strange, [])
            self.same_everywhere(self.cluster, "t", [key for n in range(writer.first, writer.next) for key in writer.keys(n)])
            self.whole_or_not_at_all(self.cluster.client(0, patient=True), writer)

    def whole_or_not_at_all(self, client, writer):
        """At last: what was in doubt at a cut may be decided some time after the heal."""
        numbers, halves = range(writer.first, writer.next), []

        def whole():
            found = client.call("read_many", "t", [key for n in numbers for key in writer.keys(n)])
            halves[:] = [n for at, n in enumerate(numbers)
                         if found[2 * at:2 * at + 2] not in self.allowed(writer, n)]
            return not halves
        eventually(whole, "all transactions are whole", seen=lambda: halves[:9])

    @staticmethod
    def allowed(writer, n):
        there, none = [[[key, n]] for key in writer.keys(n)], [[], []]
        return [there] if n in writer.acknowledged else [there, none] if n in writer.unknown else [none]

    def test_an_unplugged_node_comes_back(self):
        self.lan.unplug(3)
        self.cluster.wait_for_view([0, 1, 2, 4])
        self.cluster.wait_for_view([3])
        self.lan.plug(3)
        self.cluster.wait_for_view()


if __name__ == "__main__":
    main()
