"""Real nodes meet, lose each other and meet again, over loopback and over bad links: whatever the
links do, those who reach each other end in one view, and nobody else is in it."""
import time

from harness import Cluster, ClusterTest, eventually, main, steady
from writer import Writer, Written

HELD_BYTES_MAX = 256 << 20


class MembershipTest(ClusterTest):
    def test_a_killed_node_is_left_out_and_taken_back(self):
        cluster = Cluster(self, 3)
        cluster.wait_for_view()
        cluster.kill(2)
        begin = time.monotonic()
        cluster.wait_for_view([0, 1])
        print(f"a view without the killed one after {time.monotonic() - begin:.2f} s", end=" ")
        self.assertIn("n3", [member["name"] for member in cluster.status(0)["members"]])
        cluster.start(2)
        cluster.wait_for_view()

    def test_all_killed_find_each_other_again(self):
        cluster = Cluster(self, 5)
        cluster.wait_for_view()
        for number in range(5):
            cluster.kill(number)
        for number in reversed(range(5)):
            cluster.start(number)
        cluster.wait_for_view()

    def test_an_empty_node_takes_the_place_of_another(self):
        cluster = Cluster(self, 3)
        cluster.wait_for_view()
        cluster.kill(0)
        cluster.wait_for_view([1, 2])
        cluster.wipe(0)
        cluster.start(0)
        cluster.wait_for_view()


class WeatherTest(Written, ClusterTest):
    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self, 3, discs=False, proxied=True)
        self.cluster.wait_for_view()

    def between(self, one, other, **weather):
        """Both ways between two nodes, whoever dials."""
        names = self.cluster.names
        self.cluster.proxies[one].set(names[other], **weather)
        self.cluster.proxies[other].set(names[one], **weather)

    def heal(self):
        for proxy in self.cluster.proxies:
            proxy.heal()
        self.cluster.wait_for_view()

    def writers(self, **options):
        """One at each node."""
        writers = [Writer([node.address], "t", first=number * 10**6, **options)
                   for number, node in enumerate(self.cluster.nodes)]
        for writer in writers:
            self.addCleanup(writer.end)
        return writers

    def test_who_is_cut_off_serves_alone(self):
        names = self.cluster.names
        self.cluster.proxies[2].cut()
        self.cluster.proxies[0].cut(names[2])
        self.cluster.proxies[1].cut(names[2])
        self.cluster.wait_for_view([0, 1])
        self.cluster.wait_for_view([2])
        self.heal()

    def test_a_link_that_brings_nothing_and_says_nothing_is_no_link(self):
        self.between(0, 2, still=True)
        self.between(1, 2, still=True)
        self.cluster.wait_for_view([0, 1])
        self.cluster.wait_for_view([2])
        self.heal()

    def test_one_way_links_split_and_heal(self):
        names = self.cluster.names
        self.cluster.proxies[2].set(names[0], True, still=True)  # n1 is not heard by n3
        self.cluster.proxies[0].set(names[2], False, still=True)
        self.cluster.proxies[2].break_off(names[0])  # an idle link would not be missed
        self.cluster.proxies[0].break_off(names[2])
        eventually(lambda: not self.cluster.in_one_view(), "no view holds both ends of it")
        self.heal()

    def test_corrupt_bytes_break_links_and_nothing_else(self):
        self.cluster.client(0, patient=True).call("create_table", "t")
        writers = self.writers(pause_s=0.002)
        for writer in writers:
            writer.wait(20)
        self.between(0, 1, corrupt_one_in=200)
        eventually(lambda: sum(weather.corrupted_bytes for proxy in self.cluster.proxies
                               for weather in list(proxy.weather.values())) > 10, "corrupted bytes")
        for writer in writers:
            writer.wait_for_more(20)
        self.heal()
        for writer in writers:  # each record tells what it must be: nothing else has been let in
            writer.end()
            self.nothing_is_missing(self.cluster, writer, healed=True)
            self.same_everywhere(self.cluster, "t", writer.acknowledged | writer.unknown)
        sizes = lambda: {self.cluster.client(number, patient=True).call("size", "t") for number in range(3)}
        least = sum(len(writer.acknowledged) for writer in writers)
        eventually(lambda: all(least <= size <= least + sum(len(writer.unknown) for writer in writers)
                               for size in sizes()), "no record of nobody's")

    @steady
    def test_slow_links_are_links(self):
        self.cluster.client(0, patient=True).call("create_table", "t")
        before = [node.resident_bytes() for node in self.cluster.nodes]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            self.between(one, other, delay_s=0.03, jitter_s=0.02)
        self.cluster.proxies[1].break_off()
        self.cluster.wait_for_view()
        writers = self.writers()
        for writer in writers:
            writer.wait(30)
            writer.end()
        self.assertFalse(self.cluster.has_changed(), "who is slow was taken for dead")
        for node, was in zip(self.cluster.nodes, before):
            self.assertLess(node.resident_bytes() - was, HELD_BYTES_MAX)
        self.heal()
        for writer in writers:
            self.nothing_is_missing(self.cluster, writer, healed=True)


if __name__ == "__main__":
    main()
