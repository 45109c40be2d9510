"""What a cluster of real nodes promises: a client may talk to any of them, nothing acknowledged is lost
when one dies, and it comes back without help."""
import os
import re
import shutil
import signal
import time

import harness
from writer import Writer, Written

STOPPED_S = 30 if "EG_LONG" in os.environ else 0  # at least
STILL_S = 30  # 3 on a machine that has nothing else to do


class Replication(Written, harness.ClusterTest):
    def cluster(self, count=3, **more):
        cluster = harness.Cluster(self, count, **more)
        cluster.wait_for_view()
        return cluster

    @harness.steady
    def test_any_node_reads_what_any_node_wrote(self):
        cluster = self.cluster()
        clients = [cluster.client(number, patient=True) for number in range(3)]
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
        cluster.client(0, patient=True).call("create_table", "t", {"storage": "disc"})
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
        cluster.client(0, patient=True).call("create_table", "t", {"storage": "disc", "durability": "sync"})
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
        client = cluster.client(0, patient=True)
        client.call("create_table", "t", {"storage": "disc"})
        client.call("write_many", "t", [[n, "x" * 200] for n in range(2000)])
        cluster.kill(2)
        cluster.wipe(2)
        cluster.start(2)
        cluster.wait_for_view()
        self.same_everywhere(cluster, "t", range(2000))

    def test_a_disc_that_was_put_back_from_an_old_copy_is_brought_up_to_date(self):
        cluster = self.cluster()
        client = cluster.client(0, patient=True)
        client.call("create_table", "t", {"storage": "disc"})
        client.call("create_table", "gone", {"storage": "disc"})
        client.call("write_many", "t", [[n, "old"] for n in range(300)])
        self.assertEqual(cluster.nodes[2].stop(), 0)
        shutil.copytree(cluster.data(2), self.dir / "copy")
        cluster.start(2)
        cluster.wait_for_view()
        writer = Writer([node.address for node in cluster.nodes[2:]], "t", first=1000)  # by the one that forgets
        writer.wait(100)
        writer.end()
        for n in range(50):
            client.call("delete", "t", n)
        client.call("drop_table", "gone")
        client.call("create_table", "late", {"storage": "disc"})
        time.sleep(2.5)  # nobody waits for it: all discs have these deletes, and they are forgotten
        cluster.kill(2)
        cluster.wait_for_view([0, 1])
        client.call("write_many", "t", [[n, "new"] for n in range(100, 200)])
        for n in range(50, 100):
            client.call("delete", "t", n)
        client.call("write", "late", [1, "there"])
        cluster.wipe(2)
        shutil.copytree(self.dir / "copy", cluster.data(2))
        cluster.start(2)
        cluster.wait_for_view()
        self.nothing_is_missing(cluster, writer)
        self.same_everywhere(cluster, "t", range(300))
        wanted = [[]] * 100 + [[[n, "new" if n < 200 else "old"]] for n in range(100, 300)]
        for number in range(3):
            for how in {}, {"context": "dirty"}:
                self.assertEqual(cluster.client(number, patient=True).call("read_many", "t", list(range(300)), how), wanted)
        own = cluster.client(2, patient=True)
        self.assertEqual(own.call("read", "late", 1), [[1, "there"]])
        self.assert_refused("no_table", own.call, "read", "gone", 1)
        own.call("write", "t", [5000, 5000])  # a number that it has not used before
        self.same_everywhere(cluster, "t", writer.acknowledged | {5000, *range(300)})

    def test_a_stopped_node_is_left_out_and_taken_back(self):
        cluster = self.cluster()
        watcher = cluster.client(0, patient=True)
        watcher.call("create_table", "t")
        watcher.call("subscribe", {"system": True})
        pause_s = 0.002 if STOPPED_S else 0
        writers = [Writer([cluster.nodes[number].address], "t", first=number * 10**6, pause_s=pause_s)
                   for number in range(2)]
        for writer in writers:
            writer.wait(50)
            writer.longest_s = 0
        before = cluster.nodes[0].resident_bytes()
        began = time.monotonic()
        cluster.nodes[2].process.send_signal(signal.SIGSTOP)
        try:
            late = self.written_twice(cluster.client(0))
            for writer in writers:
                writer.wait_for_more(50)
            cluster.wait_for_view([0, 1])
            self.reported(watcher, cluster, "n3")
            while time.monotonic() < began + STOPPED_S:  # it is a test of what this long a time does
                for writer in writers:
                    writer.wait_for_more(50)
            cluster.wait_for_view([0, 1])
            longest_s = max(writer.longest_s for writer in writers)
            print(f"writes stood still for {longest_s:.2f} s", end=" ")
            self.assertLess(longest_s, STILL_S)
            self.assertLess(cluster.nodes[0].resident_bytes() - before, 256 << 20)
        finally:
            cluster.nodes[2].process.send_signal(signal.SIGCONT)
        cluster.wait_for_view()
        for writer in writers:
            writer.end()
            self.nothing_is_missing(cluster, writer)
            self.same_everywhere(cluster, "t", writer.acknowledged | writer.unknown)
        for key in late:
            self.assertEqual(watcher.call("read", "t", key), [[key, "second"]])

    @staticmethod
    def written_twice(client):
        """Keys of which a node that stands still was asked to write the first version, which was in doubt;
        then the second was acknowledged."""
        keys = {client.send("write", "t", [f"late {number}", "first"]): f"late {number}" for number in range(24)}
        doubted = []
        for _ in range(len(keys)):
            number, error, _ = client.receive()
            doubted += [keys[number]] if error is not None else []
        for key in doubted:
            harness.until_done(client, "write", "t", [key, "second"])
        return doubted

    def reported(self, watcher, cluster, name):
        """In the state of the cluster, as an event, in the log."""
        states = {m["name"]: m["state"] for m in cluster.status(0)["members"]}
        self.assertIn(states[name], ("suspect", "down"))
        while True:
            _, kind, _, _, details = watcher.event()
            if (kind, details.get("node"), details.get("state")) == ("node", name, "suspect"):
                break
        harness.eventually(lambda: re.search(f"{name} at .* is suspect", cluster.nodes[0].log_text()), "the log says so")

    def test_a_rolling_restart_is_only_refusals(self):
        cluster = self.cluster()
        cluster.client(0, patient=True).call("create_table", "t", {"storage": "disc"})
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
