"""Discs that fail, are slow, lose their end or a bit, and clocks that jump: of real nodes."""
import random
import threading

from bad_machine import BadMachine, why_not
from harness import QUICK, Cluster, ClusterTest, Refused, eventually, main, steady

HOUR_S = 3600
SLOW_MS = 100
HELD_BYTES_MAX = 256 << 20
DIRTY = {"context": "dirty"}


class BadMachineTest(ClusterTest):
    def setUp(self):
        super().setUp()
        if QUICK or why_not():
            self.skipTest(why_not() or "it is the same in every build, and the plain one is tried")

    def cluster_with(self, machine):
        """Three nodes, of which the third has this machine."""
        cluster = Cluster(self, 3, machines={2: machine})
        cluster.wait_for_view()
        return cluster


class Disc(BadMachineTest):
    def test_20_a_sync_that_failed_is_never_taken_for_done(self):
        machine = BadMachine(self.dir)
        cluster = self.cluster_with(machine)
        one = cluster.client(0, patient=True)
        one.call("create_table", "t", {"storage": "disc", "durability": "sync"})
        for n in range(20):
            one.call("write", "t", [n, "before"])
        said = len(cluster.nodes[2].log_text())
        machine.set(sync_fails=1)
        for n in range(20, 40):
            one.call("write", "t", [n, "meanwhile"])
        eventually(lambda: "disc" in cluster.nodes[2].log_text()[said:], "it says so")
        machine.set(sync_fails=0)  # what it did not keep, it may not call kept now
        syncs = machine.get("syncs")
        self.assertGreater(syncs, 0)
        for n in range(40, 60):
            one.call("write", "t", [n, "after"])
        self.assertEqual(machine.get("syncs"), syncs, "a disc that failed was written to again")
        cluster.kill(2)
        cluster.start(2)
        cluster.wait_for_view()
        own = cluster.client(2)
        wanted = [[[n, "before" if n < 20 else "meanwhile" if n < 40 else "after"]] for n in range(60)]
        eventually(lambda: own.call("read_many", "t", list(range(60)), DIRTY) == wanted, "it has what it missed")

    def test_21_a_slow_disc_slows_its_writers_and_takes_no_memory(self):
        machine = BadMachine(self.dir)
        node = self.node(data=self.dir / "data", env=machine.env)
        node.client().call("create_table", "t", {"storage": "disc", "durability": "sync"})
        machine.set(sync_delay_ms=SLOW_MS)
        before, acknowledged, refused = node.resident_bytes(), set(), []
        writers = [threading.Thread(target=self.pump, args=(node, number, acknowledged, refused)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        self.assertLess(node.resident_bytes() - before, HELD_BYTES_MAX)
        self.assertTrue(all(code == "busy" for code in refused), refused[:9])
        self.assertTrue(acknowledged)
        machine.set(sync_delay_ms=0)
        node.kill()
        node = self.node(data=self.dir / "data")
        client = node.client()
        asked = {client.send("read", "t", n): n for n in acknowledged}
        for _ in asked:  # answers come in any order
            msgid, error, found = client.receive()
            self.assertEqual((error, [record[0] for record in found]), (None, [asked[msgid]]))

    @staticmethod
    def pump(node, number, acknowledged, refused):
        """Many writes at once, more than such a disc takes in this time."""
        client, keys = node.client(), {}
        for n in range(2000):
            keys[client.send("write", "t", [number * 10**6 + n, "x" * 500])] = number * 10**6 + n
        for _ in keys:
            msgid, error, _ = client.receive()
            if error is None:
                acknowledged.add(keys[msgid])
            else:
                refused.append(error.split(":")[0])

    def test_22_what_is_left_after_a_torn_write_is_a_prefix(self):
        chance = random.Random(22)
        for life in range(3):
            data = self.dir / f"torn{life}"
            node = self.node(data=data)
            client = node.client()
            client.call("create_table", "t", {"storage": "disc", "shards": 1, "durability": "sync"})
            for n in range(200):
                client.call("write", "t", [n, "x" * 50])
            node.kill()
            log = max(data.rglob("*.log"), key=lambda path: path.stat().st_size)
            with open(log, "r+b") as file:
                file.truncate(log.stat().st_size - chance.randrange(1, 5000))
            node = self.node(data=data)
            left = node.client().call("size", "t")
            self.assertLess(left, 200)
            found = node.client().call("read_many", "t", list(range(200)))
            self.assertEqual(found, [[[n, "x" * 50]] if n < left else [] for n in range(200)])
            node.kill()

    def test_23_a_flipped_bit_is_noticed_and_the_others_have_it_all(self):
        cluster = Cluster(self, 3)
        cluster.wait_for_view()
        client = cluster.client(0, patient=True)
        client.call("create_table", "t", {"storage": "disc", "durability": "sync"})
        for kind, what in (("*.log", "the data directory is damaged: .*checksum"), ("*.sst", "damaged")):
            with self.subTest(kind):
                self.write_all(client, kind)
                if kind == "*.sst":  # where a start puts what it finds in the log
                    cluster.nodes[2].stop()
                    cluster.start(2)
                    cluster.wait_for_view()
                cluster.kill(2)
                self.flip(max(cluster.data(2).rglob(kind), key=lambda path: path.stat().st_size))
                with self.assertRaisesRegex(RuntimeError, what):
                    cluster.start(2)  # rather than with wrong data, or less than it acknowledged
                self.write_all(client, f"{kind} is damaged")
                cluster.wipe(2)
                cluster.start(2)
                cluster.wait_for_view()
                self.whole_again(cluster.client(2), f"{kind} is damaged")

    @staticmethod
    def write_all(client, what):
        for first in range(0, 2000, 100):
            client.call("write_many", "t", [[n, what] for n in range(first, first + 100)])

    @staticmethod
    def flip(path):
        with open(path, "r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 8]))

    def whole_again(self, own, what):
        """From the others: never with anything else on the way."""
        wanted = [[[n, what]] for n in range(2000)]

        def whole():
            try:
                found = own.call("read_many", "t", list(range(2000)), DIRTY)
            except Refused as refused:  # it has not heard of the table yet
                self.assertEqual(refused.code, "no_table")
                return False
            self.assertTrue(all(got in ([], want) for got, want in zip(found, wanted)), "wrong data")
            return found == wanted
        eventually(whole, "it has all of it again")


class Clock(BadMachineTest):
    @steady
    def test_24_clocks_that_jump_an_hour_ahead_lose_nothing_and_are_told_of(self):
        self.jump(HOUR_S)

    @steady
    def test_24_clocks_that_jump_an_hour_back_lose_nothing_and_are_told_of(self):
        self.jump(-HOUR_S)

    def jump(self, ahead_s):
        machine = BadMachine(self.dir)
        cluster = Cluster(self, 3, discs=False, machines={2: machine})
        cluster.wait_for_view()
        clients = [cluster.client(number, patient=True) for number in range(3)]
        clients[0].call("create_table", "t")
        self.rounds(clients, range(0, 60))
        machine.set(clock_ahead_s=ahead_s)
        self.rounds(clients, range(60, 120))
        eventually(lambda: any(member.get("skewed") for member in cluster.status(0)["members"]), "it is told of")
        self.rounds(clients, range(120, 180))
        machine.set(clock_ahead_s=0)
        self.rounds(clients, range(180, 240))

    def rounds(self, clients, numbers):
        """Each number through another node, all under few keys: the last one is what is read."""
        for n in numbers:
            clients[n % 3].call("write", "t", [n % 5, n])
            self.assertEqual(clients[(n + 1) % 3].call("read", "t", n % 5), [[n % 5, n]])


if __name__ == "__main__":
    main()
