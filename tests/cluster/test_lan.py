"""Five nodes on machines of their own: the network between them splits and heals."""
import lan

lan.enter()

from harness import Cluster, ClusterTest, main  # noqa: E402: it goes on in namespaces from here


class LanTest(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.lan = lan.Lan(5)

    def setUp(self):
        super().setUp()
        self.lan.join()
        self.cluster = Cluster(self, 5, discs=False, lan=self.lan)
        self.cluster.wait_for_view()

    def test_both_sides_of_a_split_serve_and_become_one(self):
        self.lan.split({0, 1}, {2, 3, 4})
        self.cluster.wait_for_view([0, 1])
        self.cluster.wait_for_view([2, 3, 4])
        self.lan.join()
        self.cluster.wait_for_view()

    def test_an_unplugged_node_comes_back(self):
        self.lan.unplug(3)
        self.cluster.wait_for_view([0, 1, 2, 4])
        self.cluster.wait_for_view([3])
        self.lan.plug(3)
        self.cluster.wait_for_view()


if __name__ == "__main__":
    main()
