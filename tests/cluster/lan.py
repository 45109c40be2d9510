"""lan -- machines of their own for nodes: a network namespace each, on a bridge.

    lan.enter()                      first of all: the test goes on in namespaces of its own
    lan = lan.Lan(5)
    subprocess.Popen(lan.prefix(0) + [engramd, "--peer-listen", lan.address(0) + ":7341", ...])
    lan.split({0, 1}, {2, 3, 4})     two bridges, nothing between them
    lan.join()

Where namespaces are not allowed enter() says why and ends the test as skipped (77).  All of it is
gone with the last process: nothing is left on the machine."""
import os
import subprocess
import sys

INSIDE = "ENGRAM_TEST_LAN"


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


def enter():
    """Begin this program anew, inside."""
    if INSIDE in os.environ:
        run("mount", "-t", "tmpfs", "none", "/run")
        run("ip", "link", "set", "lo", "up")
        return
    wrapper = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork",
               "--kill-child", "--mount-proc"]
    probe = "mount -t tmpfs none /run && ip netns add probe && ip link add probe type bridge"
    try:
        tried = run(*wrapper, "sh", "-c", probe, check=False)
    except FileNotFoundError as missing:
        skip(str(missing))
    if tried.returncode != 0:
        skip(tried.stderr.strip())
    os.environ[INSIDE] = "1"
    os.execvp(wrapper[0], [*wrapper, sys.executable, *sys.argv])


def skip(why):
    print(f"skipped: no network namespaces here: {why}")
    sys.exit(77)


class Lan:
    def __init__(self, machines):
        self.machines = machines
        for bridge in ("left", "right"):
            run("ip", "link", "add", bridge, "type", "bridge")
            run("ip", "link", "set", bridge, "up")
        for number in range(machines):
            self.add(number)

    def add(self, number):
        name, port = self.name(number), f"port{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", name, "addr", "add", self.address(number) + "/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "set", port, "master", "left", "up")

    @staticmethod
    def name(number):
        return f"m{number}"

    @staticmethod
    def address(number):
        return f"10.77.0.{number + 1}"

    def prefix(self, number):
        """Words before a command that is to run there."""
        return ["ip", "netns", "exec", self.name(number)]

    def split(self, left, right):
        for bridge, side in (("left", left), ("right", right)):
            for number in side:
                run("ip", "link", "set", f"port{number}", "master", bridge)

    def join(self):
        self.split(range(self.machines), ())

    def unplug(self, number):
        run("ip", "link", "set", f"port{number}", "down")

    def plug(self, number):
        run("ip", "link", "set", f"port{number}", "up")
