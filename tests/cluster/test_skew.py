"""A node whose clock is an hour ahead, through a cut: what it wrote there wins, and is changed and
deleted by the others as anything else; nothing that was deleted comes back."""
import lan

lan.enter()

from bad_machine import BadMachine, why_not  # noqa: E402: it goes on in namespaces from here
from harness import QUICK, Cluster, ClusterTest, eventually, main  # noqa: E402

AHEAD_S = 3600
DIRTY = {"context": "dirty"}


class Skew(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.lan = lan.Lan(3)

    def setUp(self):
        super().setUp()
        if QUICK or why_not():
            self.skipTest(why_not() or "it is the same in every build, and the plain one is tried")
        self.lan.join()
        self.machine = BadMachine(self.dir)
        self.machine.set(clock_ahead_s=AHEAD_S)
        self.cluster = Cluster(self, 3, lan=self.lan, machines={2: self.machine})
        self.cluster.wait_for_view()
        self.clients = [self.cluster.client(number, patient=True) for number in range(3)]

    def everywhere(self, key, wanted):
        found = []

        def agree():
            found[:] = [client.call("read", "t", key, DIRTY) for client in self.clients]
            return all(records == wanted for records in found)
        eventually(agree, f"{key}: {wanted}", seen=lambda: found)

    def test_who_is_ahead_wins_across_a_cut_and_nothing_else(self):
        self.clients[0].call("create_table", "t", {"storage": "disc", "durability": "sync"})
        for key in ("both", "theirs", "gone"):
            self.clients[2].call("write", "t", [key, "before"])
            self.everywhere(key, [[key, "before"]])
        eventually(lambda: [member["name"] for member in self.cluster.status(0)["members"] if member.get("skewed")]
                   == ["n3"], "it is told of, and no other")

        self.lan.split({0, 1}, {2})
        self.cluster.wait_for_view([0, 1])
        self.cluster.wait_for_view([2])
        self.clients[2].call("write", "t", ["both", "ahead"])
        self.clients[2].call("write", "t", ["theirs", "ahead"])
        self.clients[0].call("write", "t", ["both", "later by the sun"])
        self.clients[0].call("delete", "t", "gone")
        self.lan.join()
        self.cluster.wait_for_view()
        self.everywhere("both", [["both", "ahead"]])
        self.everywhere("theirs", [["theirs", "ahead"]])
        self.everywhere("gone", [])
        lost = {tuple(entry["loser"]) for client in self.clients for entry in client.call("conflicts", "t")}
        self.assertEqual(lost, {("both", "later by the sun")}, "it is in a journal, and nothing else")

        # Whoever has seen what is ahead writes and deletes after it, and other keys are of today.
        self.clients[0].call("delete", "t", "theirs")
        self.clients[1].call("write", "t", ["both", "after"])
        self.clients[1].call("write", "t", ["new", "after"])
        self.machine.set(clock_ahead_s=0)
        self.cluster.kill(2)
        self.cluster.start(2)
        self.cluster.wait_for_view()
        self.clients[2] = self.cluster.client(2, patient=True)
        for key, wanted in ("both", [["both", "after"]]), ("new", [["new", "after"]]), ("theirs", []), ("gone", []):
            self.everywhere(key, wanted)
        self.clients[2].call("delete", "t", "both")
        self.everywhere("both", [])


if __name__ == "__main__":
    main()
