"""Members: nodes that join, leave, die, come back, are removed, and some that may not come."""
import subprocess
import time

from harness import BIN, ClusterTest, Cluster, eventually, main, shell


class Members(ClusterTest):
    def cluster(self, count=3, **options):
        cluster = Cluster(self, count, **options)
        cluster.wait_for_view()
        return cluster

    def alone(self, name, *flags, cookie=None, **options):
        """A node that knows nobody."""
        path = self.file(f"cookie-{name}", cookie or self.secret())
        path.chmod(0o600)
        return self.node("--name", name, "--peer-listen", "127.0.0.1:0", "--cookie-file", path, *flags, **options)

    def states(self, node):
        client = node.client()
        try:
            return {m["name"]: m["state"] for m in client.call("cluster_status")["members"]}
        finally:
            client.close()

    def await_states(self, node, **states):
        eventually(lambda: self.states(node) == states, f"{states}")

    def test_any_member_will_do_to_join_by(self):
        cluster = self.cluster(2, discs=False)
        third = self.alone("n3")
        self.await_states(third, n3="up")
        client = third.client(patient=True)
        self.assertIs(client.call("join", cluster.peers[1]), True)
        everybody = {"n1": "up", "n2": "up", "n3": "up"}
        for node in (*cluster.nodes, third):
            self.await_states(node, **everybody)
        nodes = (*cluster.nodes, third)
        eventually(lambda: len({node.client().call("cluster_status")["view"] for node in nodes}) == 1, "one view")
        self.assertIs(client.call("join", cluster.peers[0]), True)  # once more is no harm
        eventually(lambda: client.call("stats")["links"]["up"] == 2, "both links are up")
        links = client.call("stats")["links"]
        self.assertGreater(min(links["received"], links["sent"]), 0, links)

    def test_what_cannot_be_joined_is_said(self):
        node = self.alone("n1")
        client = node.client()
        self.assert_refused("bad_request", client.call, "join", node.ready["peer"])
        self.assert_refused("bad_request", client.call, "join", "no address")
        self.assert_refused("bad_request", client.call, "join", 7)
        self.assert_refused("timeout", client.call, "join", "127.0.0.1:1")
        other = self.alone("n2", cookie="another secret")
        self.assert_refused_at_last("denied", client.call, "join", other.ready["peer"])
        self.await_states(node, n1="up")
        self.await_states(other, n2="up")
        port = node.ready["peer"].split(":")[1]
        self.assert_refused("bad_request", client.call, "join", f"localhost:{port}")
        self.assertEqual(client.call("ping"), "pong")

    def test_the_first_of_a_name_stays(self):
        cluster = self.cluster(2)
        second = self.alone("n2", "--join", cluster.peers[0], data=self.dir / "second")
        client = second.client()
        self.assert_refused_at_last("denied", client.call, "join", cluster.peers[1])
        cluster.wait_for_view()
        self.await_states(second, n2="up")
        second.stop()
        cluster.wait_for_view()

    def test_a_killed_node_is_left_out_soon_and_taken_back(self):
        for discs in (False, True):
            cluster = self.cluster(3, discs=discs)
            cluster.kill(2)
            began = time.monotonic()
            cluster.wait_for_view((0, 1))
            print(f"new view after {time.monotonic() - began:.2f} s", end=" ", flush=True)
            self.await_states(cluster.nodes[0], n1="up", n2="up", n3="down")
            cluster.start(2)
            cluster.wait_for_view()
            for number in range(3):
                cluster.nodes[number].kill()

    def test_all_that_stop_find_each_other_again(self):
        cluster = self.cluster(3)
        client = cluster.client(0)
        for number in range(3):
            cluster.kill(number)
        cluster.peers[1:] = [None, None]  # their addresses change, and nobody is told to join
        for number in (0, 1, 2):
            cluster.peers[0] = None if number else cluster.peers[0]
            cluster.start(number)
        client.close()
        cluster.wait_for_view()

    def test_a_stop_in_order_is_noticed_at_once(self):
        cluster = self.cluster(3, discs=False)
        self.assertEqual(cluster.nodes[2].stop(), 0)
        self.await_states(cluster.nodes[0], n1="up", n2="up", n3="down")

    def test_who_leaves_is_gone_and_may_come_back(self):
        cluster = self.cluster(3, discs=False)
        client = cluster.client(1, patient=True)
        self.assertIs(client.call("leave"), True)
        self.await_states(cluster.nodes[1], n2="up")
        for number in (0, 2):
            self.await_states(cluster.nodes[number], n1="up", n2="left", n3="up")
        self.assertIs(client.call("leave"), True)  # alone there is nobody to leave
        self.assertIs(client.call("join", cluster.peers[2]), True)
        cluster.wait_for_view()

    def test_who_is_removed_comes_back_only_as_a_new_node(self):
        cluster = self.cluster(3)
        client = cluster.client(0)
        self.assert_refused("not_found", client.call, "remove", "nobody")
        self.assert_refused("bad_request", client.call, "remove", "n3")  # it is there
        self.assert_refused("bad_request", client.call, "remove", "n1")
        cluster.kill(2)
        self.await_states(cluster.nodes[0], n1="up", n2="up", n3="down")
        self.await_states(cluster.nodes[1], n1="up", n2="up", n3="down")
        self.assertIs(client.call("remove", "n3"), True)
        self.await_states(cluster.nodes[0], n1="up", n2="up", n3="removed")
        self.await_states(cluster.nodes[1], n1="up", n2="up", n3="removed")
        self.assert_refused("not_found", client.call, "remove", "n3")

        old = cluster.start(2)  # with what it had: it parts from them again
        eventually(lambda: "was removed" in old.log_text(), "it says why")
        self.await_states(old, n3="up")
        cluster.wait_for_view((0, 1))
        self.assert_refused_at_last("denied", old.client().call, "join", cluster.peers[0])
        self.assertEqual(old.stop(), 0)
        cluster.wipe(2)
        cluster.start(2)
        cluster.wait_for_view()

    def test_events_tell_of_every_step(self):
        cluster = self.cluster(2, discs=False)
        client = cluster.client(0)
        client.call("subscribe", {"system": True})
        cluster.kill(1)
        seen = []
        while ["node", "n2", "down"] not in seen or ["view", ["n1"]] not in seen:
            _, kind, _, _, details = client.event()
            if kind == "node":
                seen.append([kind, details["node"], details["state"]])
            elif kind == "view":
                seen.append([kind, details["members"]])
        self.assertLess(seen.index(["node", "n2", "suspect"]), seen.index(["node", "n2", "down"]))

    def test_the_shell_shows_and_plans(self):
        cluster = self.cluster(3, discs=False)
        out = shell("cluster", node=cluster.nodes[0])
        self.assertEqual((out.returncode, len(out.stdout.splitlines())), (0, 3), out)
        self.assertIn("n2", out.stdout)
        out = shell("--output", "json", "cluster", "plan", "--add", "n4", "--remove", "n1", node=cluster.nodes[0])
        self.assertEqual(out.returncode, 0, out)
        for word in ("n4", "joins", "goes", "gives"):
            self.assertIn(word, out.stdout)
        client = cluster.client(1, patient=True)
        client.call("create_table", "t", {"copies": "all"})
        client.call("write_many", "t", [[n, "x" * 99] for n in range(500)])
        out = shell("--output", "json", "scrub", node=cluster.nodes[0])
        self.assertEqual(out.returncode, 0, out)
        self.assertIn('"mended":0', out.stdout.replace(" ", ""))
        scrub = client.call("cluster_status")["scrub"]
        self.assertEqual(set(scrub), {"rounds", "compared", "differing", "mended", "running"})
        for words in (("--add", "n1"), ("--remove", "n9"), ("--weight", "n1"), ("bogus",)):
            self.assertEqual(shell("cluster", "plan", *words, node=cluster.nodes[0]).returncode, 2, words)
        cluster.kill(2)
        self.await_states(cluster.nodes[0], n1="up", n2="up", n3="down")
        eventually(lambda: shell("cluster", "remove", "n3", node=cluster.nodes[0]).returncode == 0,
                   "it is removed, once this view knows that the others have all")
        self.assertEqual(shell("cluster", "remove", "n3", node=cluster.nodes[0]).returncode, 1)
        self.by_shell(cluster.nodes[1], "leave")
        self.await_states(cluster.nodes[1], n2="up")
        self.by_shell(cluster.nodes[1], "join", cluster.peers[0])

    def by_shell(self, node, *words):
        """Again while nobody knows: others may be slow to hear and to answer."""
        eventually(lambda: shell("cluster", *words, node=node).returncode == 0, words)


class Start(ClusterTest):
    def refused(self, *flags):
        run = subprocess.run([BIN / "engramd", "--listen", "127.0.0.1:0", *map(str, flags)], capture_output=True,
                             text=True, timeout=60)
        self.assertEqual((run.returncode, run.stdout, len(run.stderr.splitlines())), (2, "", 1), run)
        return run.stderr

    def test_a_wildcard_needs_an_address_that_others_can_dial(self):
        cookie = self.file("cookie", "secret")
        cookie.chmod(0o600)
        for wildcard in ("0.0.0.0:0", "[::]:0"):
            self.assertIn("advertise", self.refused("--peer-listen", wildcard, "--cookie-file", cookie))
        self.node("--peer-listen", "0.0.0.0:0", "--cookie-file", cookie, "--advertise", "127.0.0.1:7341")

    def test_without_a_cookie_only_loopback_is_listened_on(self):
        self.assertIn("cookie", self.refused("--peer-listen", "0.0.0.0:0", "--advertise", "127.0.0.1:7341"))
        self.node("--peer-listen", "127.0.0.1:0")

    def test_a_cookie_that_others_may_read_is_none(self):
        cookie = self.file("cookie", "secret")
        cookie.chmod(0o644)
        self.assertIn("owner", self.refused("--peer-listen", "127.0.0.1:0", "--cookie-file", cookie))
        self.refused("--peer-listen", "127.0.0.1:0", "--cookie-file", self.dir / "none")
        empty = self.file("empty", " \n")
        empty.chmod(0o600)
        self.refused("--peer-listen", "127.0.0.1:0", "--cookie-file", empty)
        self.refused("--check-config", "--cookie-file", cookie)

    def test_a_join_that_nobody_answers_is_no_error(self):
        node = self.node("--peer-listen", "127.0.0.1:0", "--name", "n1", "--join", "127.0.0.1:1")
        self.assertEqual(node.client().call("cluster_status")["node"], "n1")
        own = node.ready["peer"]
        self.assertEqual(node.stop(), 0)
        node = self.node("--peer-listen", own, "--name", "n1", "--join", own)  # nor is a join to itself
        self.assertEqual([m["state"] for m in node.client().call("cluster_status")["members"]], ["up"])


if __name__ == "__main__":
    main()
