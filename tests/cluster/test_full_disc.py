"""A disc that is full on one node of three: others go on, it says so, and it is whole again by itself."""
import os
import subprocess
import sys

INSIDE = "ENGRAM_TEST_TMPFS"
if INSIDE not in os.environ:
    wrapper = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        tried = subprocess.run([*wrapper, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
        why = tried.stderr.strip() if tried.returncode else ""
    except FileNotFoundError as missing:
        why = str(missing)
    if why:
        print(f"skipped: no file system of its own here: {why}")
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execvp(wrapper[0], [*wrapper, sys.executable, *sys.argv])

from harness import Cluster, ClusterTest, Refused, eventually, main, until_done  # noqa: E402


class FullDisc(ClusterTest):
    def small_disc(self, name):
        disc = self.dir / name
        disc.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "none", disc], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", disc])
        return disc

    @staticmethod
    def fill(disc):
        """What takes all of its room."""
        filler = disc / "filler"
        with open(filler, "wb") as out:
            try:
                while True:
                    out.write(b"x" * 65536)
                    out.flush()
            except OSError:
                pass
        return filler

    def test_one_alone_refuses_writes_answers_reads_and_goes_on_when_there_is_room(self):
        disc = self.small_disc("alone")
        node = self.node(data=disc / "data")
        client = node.client()
        client.call("create_table", "t", {"storage": "disc", "durability": "sync"})
        client.call("write_many", "t", [[n, "x" * 100] for n in range(200)])
        filler = self.fill(disc)
        written = {n: "x" * 100 for n in range(200)}

        def is_refused(n):
            try:
                client.call("write", "t", [n, "y"])
                written[n] = "y"
            except Refused as refused:
                self.assertIn(refused.code, ("disc", "busy", "in_doubt", "timeout"))
                written.pop(n, None)  # it may be there or not
                return refused.code == "disc"
            return False
        eventually(lambda: is_refused(0), "a write is refused")
        self.assertTrue(all(client.call("read", "t", n) == [[n, "x" * 100]] for n in range(1, 200)))
        filler.unlink()

        def is_written(n):
            is_refused(n)
            return written.get(n) == "y"
        for n in range(200, 400):
            eventually(lambda: is_written(n), "there is room again")
        node.kill()
        client = self.node(data=disc / "data").client()
        self.assertEqual({n: client.call("read", "t", n) for n in written}, {n: [[n, what]] for n, what in written.items()})

    def test_others_go_on_and_it_comes_back(self):
        disc = self.small_disc("n3")
        cluster = Cluster(self, 3)
        cluster.wait_for_view()
        client = cluster.client(0)
        until_done(client, "create_table", "t", {"storage": "disc"})
        until_done(client, "write_many", "t", [[n, "x" * 100] for n in range(200)])
        filler = self.fill(disc)

        def full(number):
            return {m["name"]: m["disc_full"] for m in cluster.status(number)["members"]}["n3"]

        def write(n):
            try:
                return client.call("write", "t", [n, "y"])
            except Refused as refused:
                self.assertIn(refused.code, ("busy", "no_replica", "in_doubt", "timeout"))
        eventually(lambda: write(0) is not None and full(0) and full(1), "all know of it")
        for n in range(200):
            eventually(lambda: write(n), "others go on")
        reader = cluster.client(2, patient=True)
        eventually(lambda: all(reader.call("read", "t", n) == [[n, "y"]] for n in range(200)), "it answers reads")
        self.assertIn("disc", cluster.nodes[2].log_text())
        filler.unlink()
        eventually(lambda: not full(0) and not full(2), "there is room again")
        own = cluster.client(2)
        eventually(lambda: own.call("read_many", "t", list(range(200)), {"context": "dirty"}) ==
                   [[[n, "y"]] for n in range(200)], "it has what it missed")


if __name__ == "__main__":
    main()
