"""Nodes that go for good: who leaves hands over what it has, who is removed takes nothing with it that
nobody else has; and nobody is brought back who has gone."""
import threading

from harness import Cluster, ClusterTest, Refused, eventually, main, shell, until_done

ROWS = 400


class Leave(ClusterTest):
    def cluster(self, count=3, **options):
        cluster = Cluster(self, count, **options)
        cluster.wait_for_view()
        return cluster

    def member(self, cluster, asked, name):
        return {m["name"]: m for m in cluster.status(asked)["members"]}.get(name, {})

    def is_down(self, cluster, name, *asked):
        """Does each of these say so?"""
        return all(self.member(cluster, number, name)["state"] == "down" for number in asked)

    def fill(self, client):
        client.call("create_table", "one", {"copies": 1, "storage": "disc"})
        client.call("create_table", "two", {"copies": 2, "storage": "disc"})
        client.call("create_table", "ram", {"copies": 1})
        client.call("create_table", "all", {"storage": "disc_only"})
        for table in ("one", "two", "ram", "all"):
            client.call("write_many", table, [[n, "x" * 100] for n in range(ROWS)])

    def all_is_there(self, cluster, numbers):
        for number in numbers:
            client = cluster.client(number, patient=True)
            for table in ("one", "two", "ram", "all"):
                with self.subTest(node=number, table=table):
                    self.assertEqual(client.call("size", table), ROWS)
                    rows = client.call("read_many", table, list(range(ROWS)))
                    self.assertEqual(rows, [[[n, "x" * 100]] for n in range(ROWS)])

    def test_who_leaves_loses_nothing(self):
        cluster = self.cluster(3)
        client = cluster.client(0, patient=True)
        self.fill(client)
        eventually(lambda: self.member(cluster, 0, "n2")["shards"] > 0, "reports tell what each has")
        watcher = cluster.client(1)
        watcher.call("subscribe", {"system": True})
        answers, stopped = [], threading.Event()

        def write():  # all the while: refusals are such as nothing comes of
            writer, number = cluster.client(0), 0
            while not stopped.is_set():
                try:
                    writer.call("write", ("one", "two")[number % 2], [number % ROWS, "x" * 100])
                except Refused as refused:
                    answers.append(refused.code)
                number += 1
        thread = threading.Thread(target=write)
        thread.start()
        try:
            self.assertIs(cluster.client(1, patient=True).call("leave"), True)
        finally:
            stopped.set()
            thread.join()
        self.assertLessEqual(set(answers), {"busy", "no_replica", "in_doubt", "timeout", "conflict", "aborted"})
        cluster.wait_for_view((0, 2))
        eventually(lambda: self.member(cluster, 0, "n2").get("state", "left") in ("left", "removed"), "it has left")
        self.all_is_there(cluster, (0, 2))
        told = [watcher.event() for _ in range(len(watcher.events) or 1)]
        while not any(kind == "copies" and details["state"] == "handed off" for _, kind, _, _, details in told):
            told.append(watcher.event())
        self.assertIn("handing off", [details["state"] for _, kind, _, _, details in told if kind == "copies"])
        own = cluster.client(1, patient=True)
        self.assertEqual(own.call("size", "one"), 0)  # it has nothing that could come back
        self.assert_refused_at_last("denied", cluster.client(0).call, "join", cluster.peers[1])  # only by its own word
        self.assertIs(own.call("join", cluster.peers[0]), True)
        cluster.wait_for_view()
        self.all_is_there(cluster, range(3))

    def test_what_nobody_can_take_stays_where_it_is(self):
        cluster = self.cluster(2)
        client = cluster.client(0)
        until_done(client, "create_table", "t", {"copies": 1})
        until_done(client, "write_many", "t", [[n, n] for n in range(100)])
        eventually(lambda: self.member(cluster, 0, "n1")["shards"] > 0, "reports")
        cluster.kill(1)
        cluster.wait_for_view((0,))
        for wrong in ({"timeout_ms": 0}, {"timeout_ms": "long"}, {"force": 1}, {"bogus": True}, 7):
            self.assert_refused("bad_request", client.call, "leave", wrong)
        with self.assertRaises(Refused) as refused:
            client.call("leave", {"timeout_ms": 100})
        self.assertEqual(refused.exception.code, "no_replica")
        self.assertIn("the node stays", str(refused.exception))
        cluster.wait_for_view((0,))
        eventually(lambda: self.member(cluster, 0, "n1")["leaving"] is False, "it is a member as before")
        out = shell("cluster", "leave", "--force", node=cluster.nodes[0])
        self.assertEqual(out.returncode, 0, out)
        self.assertEqual([m["name"] for m in cluster.status(0)["members"]], ["n1"])

    def test_the_last_copy_is_not_removed(self):
        cluster = self.cluster(3)
        client = cluster.client(0, patient=True)
        self.fill(client)
        eventually(lambda: self.member(cluster, 0, "n3")["shards"] > 0, "reports")
        cluster.kill(2)
        eventually(lambda: self.is_down(cluster, "n3", 0, 1), "n3 is down")
        with self.assertRaises(Refused) as refused:
            client.call("remove", "n3")
        self.assertEqual(refused.exception.code, "bad_request")  # of those of all copies, too, until the others say so
        self.assertRegex(str(refused.exception), "last copy.*table (one|ram|two|all)")
        self.assertTrue(self.is_down(cluster, "n3", 0, 1))
        self.assert_refused("bad_request", client.call, "remove", "n3", {"timeout_ms": 1})
        cluster.start(2)
        cluster.wait_for_view()
        client.call("drop_table", "ram")  # its part went with the process
        client.call("drop_table", "one")
        client.call("create_table", "lost", {"copies": 1})
        client.call("write_many", "lost", [[n, n] for n in range(ROWS)])
        eventually(lambda: self.member(cluster, 0, "n3")["shards"] > 0, "it has caught up")
        eventually(lambda: self.member(cluster, 0, "n2")["shards"] > 0, "and the others")
        cluster.kill(2)
        eventually(lambda: self.is_down(cluster, "n3", 0), "n3 is down")
        self.assertEqual(shell("cluster", "remove", "n3", node=cluster.nodes[0]).returncode, 1)
        self.assertEqual(shell("cluster", "remove", "n3", "--force", node=cluster.nodes[0]).returncode, 0)
        for number in (0, 1):
            self.assertEqual(cluster.client(number, patient=True).call("size", "two"), ROWS)
        eventually(lambda: self.serves(client, "lost"), "all shards are here")  # what there was is given up
        self.assertLess(client.call("size", "lost"), ROWS)

    def serves(self, client, table):
        try:
            client.call("write_many", table, [[n, n] for n in range(ROWS, ROWS + 20)])
        except Refused:
            return False
        return True


class Late(ClusterTest):
    """Links that are slow, so that others hear late who has left."""

    def test_who_left_is_not_dialled_back(self):
        cluster = Cluster(self, 3, discs=False, proxied=True)
        cluster.wait_for_view()
        for proxy in cluster.proxies:
            for name in cluster.names:
                proxy.set(name, delay_s=0.1)
        self.assertIs(cluster.client(1, patient=True).call("leave"), True)
        cluster.wait_for_view((0, 2))
        for proxy in cluster.proxies:
            proxy.heal()
        eventually(lambda: all(self.left(cluster, number) for number in (0, 2)), "all have heard it")
        cluster.wait_for_view((1,))

    def left(self, cluster, number):
        return {m["name"]: m["state"] for m in cluster.status(number)["members"]}.get("n2") == "left"


if __name__ == "__main__":
    main()
