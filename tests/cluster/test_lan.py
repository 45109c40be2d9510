"""Five nodes on machines of their own: the network between them splits and heals."""
import lan

lan.enter()

from harness import Cluster, ClusterTest, main  # noqa: E402: it goes on in namespaces from here
from writer import Rewriter, Writer, Written  # noqa: E402


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

    def test_an_unplugged_node_comes_back(self):
        self.lan.unplug(3)
        self.cluster.wait_for_view([0, 1, 2, 4])
        self.cluster.wait_for_view([3])
        self.lan.plug(3)
        self.cluster.wait_for_view()


if __name__ == "__main__":
    main()
