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
    def test_others_go_on_and_it_comes_back(self):
        (self.dir / "n3").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "none", self.dir / "n3"], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.dir / "n3"])
        cluster = Cluster(self, 3)
        cluster.wait_for_view()
        client = cluster.client(0)
        until_done(client, "create_table", "t", {"storage": "disc"})
        until_done(client, "write_many", "t", [[n, "x" * 100] for n in range(200)])
        filler = self.dir / "n3" / "filler"
        with open(filler, "wb") as out:
            try:
                while True:
                    out.write(b"x" * 65536)
                    out.flush()
            except OSError:
                pass

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
        self.assertIn("disc", cluster.nodes[2].log_text())
        filler.unlink()
        eventually(lambda: not full(0) and not full(2), "there is room again")
        own = cluster.client(2)
        eventually(lambda: own.call("read_many", "t", list(range(200)), {"context": "dirty"}) ==
                   [[[n, "y"]] for n in range(200)], "it has what it missed")


if __name__ == "__main__":
    main()
