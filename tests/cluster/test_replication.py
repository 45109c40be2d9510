"""What a cluster of real nodes promises: a client may talk to any of them, nothing acknowledged is lost
when one dies, and it comes back without help."""
import signal
import threading
import time

import harness

RETRYABLE = {"conflict", "aborted", "busy", "no_replica", "no_majority"}  # nothing happened
UNKNOWN = {"timeout", "in_doubt"}                                        # it may have happened


class Writer(threading.Thread):
    """Writes [n, n] one after the other through whichever node answers, and remembers what was
    acknowledged, what may have happened, and every other code."""

    def __init__(self, addresses, table, first=0):
        super().__init__()
        self.addresses, self.table, self.next = addresses, table, first
        self.acknowledged, self.unknown, self.strange = set(), set(), []
        self.stopping = threading.Event()
        self.start()

    def run(self):
        client, turn = None, 0
        while not self.stopping.is_set():
            try:
                if client is None:
                    client = harness.Client(self.addresses[turn % len(self.addresses)])
                client.call("write", self.table, [self.next, self.next])
                self.acknowledged.add(self.next)
            except harness.Refused as refused:
                if refused.code in UNKNOWN:
                    self.unknown.add(self.next)
                elif refused.code not in RETRYABLE:
                    self.strange.append(str(refused))
            except OSError:  # the node is gone: it may have done it
                self.unknown.add(self.next)
                client, turn = None, turn + 1
                time.sleep(0.01)
            self.next += 1

    def wait(self, count):
        harness.eventually(lambda: len(self.acknowledged) > count, f"{count} writes")

    def end(self):
        self.stopping.set()
        self.join()
        return self


class Replication(harness.ClusterTest):
    def cluster(self, count=3, **more):
        cluster = harness.Cluster(self, count, **more)
        cluster.wait_for_view()
        return cluster

    def same_everywhere(self, cluster, table, keys):
        """Each node's own copy has the same records under these keys."""
        keys = sorted(keys)
        clients = [node.client() for node in cluster.nodes]

        def same():
            copies = [client.call("read_many", table, keys, {"context": "dirty"})
                      for client in clients]
            return all(copy == copies[0] for copy in copies)
        harness.eventually(same, "the copies are equal")

    def nothing_is_missing(self, cluster, writer, numbers=None):
        self.assertEqual(writer.strange, [])
        keys = sorted(writer.acknowledged)
        for number in range(cluster.count) if numbers is None else numbers:
            with self.subTest(node=number):
                client = cluster.nodes[number].client()
                asked = {client.send("read", "t", key): key for key in keys}
                answers = [client.receive() for _ in keys]
                missing = [(asked[number], error, found) for number, error, found in answers
                           if found != [[asked[number]] * 2]]
                self.assertEqual(missing, [])

    def test_any_node_reads_what_any_node_wrote(self):
        cluster = self.cluster()
        clients = [node.client() for node in cluster.nodes]
        clients[0].call("create_table", "t", {"storage": "disc"})
        clients[1].call("create_table", "o", {"type": "ordered_set"})
        for number in range(60):
            clients[number % 3].call("write", "t", [number, "x"])
            self.assertEqual(clients[(number + 1) % 3].call("read", "t", number), [[number, "x"]])
        self.assertEqual(clients[2].call("write_many", "o", [[n, n] for n in range(100)]), 100)
        harness.eventually(lambda: [client.call("size", "o") for client in clients] == [100] * 3,
                           "all nodes have all records")
        clients[1].call("delete", "t", 7)
        self.assertEqual([client.call("read", "t", 7) for client in clients], [[]] * 3)
        for number in range(30):
            clients[number % 3].call("update_counter", "t", "counter", "value", 1)
        self.assertEqual(clients[0].call("read", "t", "counter"), [["counter", 30]])
        clients[2].call("clear_table", "o")
        harness.eventually(lambda: [client.call("size", "o") for client in clients] == [0] * 3,
                           "no node has a record")

    def test_a_killed_node_costs_nothing_and_comes_back(self):
        cluster = self.cluster()
        cluster.nodes[0].client().call("create_table", "t", {"storage": "disc"})
        for victim in range(3):
            with self.subTest(victim=victim):
                others = [number for number in range(3) if number != victim]
                writer = Writer([cluster.nodes[number].address for number in others], "t",
                                first=victim * 1000000)
                writer.wait(50)
                cluster.kill(victim)
                before = len(writer.acknowledged)
                writer.wait(before + 50)
                cluster.wait_for_view(others)
                writer.end()
                self.nothing_is_missing(cluster, writer, others)
                cluster.start(victim)
                cluster.wait_for_view()
                self.nothing_is_missing(cluster, writer)
                self.same_everywhere(cluster, "t", writer.acknowledged | writer.unknown)

    def test_all_are_killed_and_go_on(self):
        cluster = self.cluster(5)
        cluster.nodes[0].client().call("create_table", "t", {"storage": "disc", "durability": "sync"})
        writer = Writer([cluster.nodes[0].address], "t")
        writer.wait(50)
        writer.stopping.set()
        for number in range(5):
            cluster.kill(number)
        writer.end()
        for number in range(5):
            cluster.start(number)
        cluster.wait_for_view()
        self.nothing_is_missing(cluster, writer)
        self.same_everywhere(cluster, "t", writer.acknowledged | writer.unknown)

    def test_an_empty_node_takes_the_place_of_one(self):
        cluster = self.cluster()
        client = cluster.nodes[0].client()
        client.call("create_table", "t", {"storage": "disc"})
        client.call("write_many", "t", [[n, "x" * 200] for n in range(2000)])
        cluster.kill(2)
        cluster.wipe(2)
        cluster.start(2)
        cluster.wait_for_view()
        self.same_everywhere(cluster, "t", range(2000))

    def test_a_stopped_node_is_left_out_and_taken_back(self):
        cluster = self.cluster()
        cluster.nodes[0].client().call("create_table", "t")
        writer = Writer([cluster.nodes[0].address, cluster.nodes[1].address], "t")
        writer.wait(50)
        cluster.nodes[2].process.send_signal(signal.SIGSTOP)
        try:
            cluster.wait_for_view([0, 1])
            states = {m["name"]: m["state"] for m in cluster.status(0)["members"]}
            self.assertIn(states["n3"], ("suspect", "down"))
            before = len(writer.acknowledged)
            writer.wait(before + 50)
        finally:
            cluster.nodes[2].process.send_signal(signal.SIGCONT)
        cluster.wait_for_view()
        writer.end()
        self.nothing_is_missing(cluster, writer)
        self.same_everywhere(cluster, "t", writer.acknowledged | writer.unknown)

    def test_a_rolling_restart_is_only_refusals(self):
        cluster = self.cluster()
        cluster.nodes[0].client().call("create_table", "t", {"storage": "disc"})
        writer = Writer([node.address for node in cluster.nodes], "t")
        for number in range(3):
            self.assertEqual(cluster.nodes[number].stop(), 0)
            cluster.start(number)
            writer.addresses[number] = cluster.nodes[number].address
            cluster.wait_for_view()
            before = len(writer.acknowledged)
            writer.wait(before + 20)
        writer.end()
        self.nothing_is_missing(cluster, writer)
        self.same_everywhere(cluster, "t", writer.acknowledged | writer.unknown)


if __name__ == "__main__":
    harness.main()
