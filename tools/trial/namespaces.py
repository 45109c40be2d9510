"""namespaces -- a network of its own for each node, on one bridge, and silence between any two.

    namespaces.enter()               first of all: this program begins anew in namespaces of its own
    network = namespaces.Network(5)
    subprocess.Popen(network.prefix(0) + ["engramd", "--peer-listen", network.peer_listen(0), ...])
    network.block({(0, 1)})          nothing that 0 sends reaches 1; takes 0.1 ms

Who is silent to whom is told to the sender's neighbour table: its packets go to an address that
nobody has, so both ends see what they would see of a broken wire.  No packet filter is needed and
no privilege, where a user may make namespaces.  All of it is gone with the last process."""
import ctypes
import os
import shutil
import signal
import subprocess
import sys

INSIDE = "ENGRAM_TRIAL_INSIDE"
WRAPPER = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid"]
PROBE_WRAPPER = [*WRAPPER, "--fork", "--kill-child", "--mount-proc"]
PR_SET_PDEATHSIG = 1
PROBE = "mount -t tmpfs none /run && ip netns add probe && ip link add probe type bridge"
NOBODY = "02:00:00:00:ff:ff"


def enter():
    """Does not return where it can be done: the program begins anew, inside, with the same words.
    There it returns None; where it cannot be done, why."""
    if INSIDE in os.environ:
        become_first()
        run("mount", "-t", "proc", "proc", "/proc")
        run("mount", "-t", "tmpfs", "none", "/run")
        run("ip", "link", "set", "lo", "up")
        return None
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            return f"there is no program {program}"
    tried = subprocess.run([*PROBE_WRAPPER, "sh", "-c", PROBE], capture_output=True, text=True)
    if tried.returncode != 0:
        return (tried.stderr.strip().splitlines() or ["not allowed"])[-1]
    os.environ[INSIDE] = "1"
    os.execvp(WRAPPER[0], [*WRAPPER, sys.executable, *sys.argv])


def become_first():
    """Go on as the first of the new processes, all of which end with it.  The program that was started waits
    for it and hands signals on (unshare --fork would keep them); it takes it along when it is killed."""
    first = os.fork()
    if first == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(first, number))
    code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True)


class Network:
    kind = "network namespaces"

    def __init__(self, nodes, names):
        self.nodes, self.blocked, self.tables = nodes, frozenset(), []
        run("ip", "link", "add", "wire", "type", "bridge")
        run("ip", "link", "set", "wire", "up")
        for number in range(nodes):
            self.add(number)
        for one in range(nodes):
            self.tell(one, [(other, mac(other)) for other in range(nodes) if other != one])

    def add(self, number):
        name, port = self.name(number), f"port{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", name, "link", "set", "eth0", "address", mac(number))
        run("ip", "-n", name, "addr", "add", self.address(number) + "/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "set", port, "master", "wire", "up")
        self.tables.append(subprocess.Popen(["ip", "-n", name, "-batch", "-"], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True))

    def close(self):
        for table in self.tables:
            table.kill()
            table.wait()
            table.stdin.close()
            table.stdout.close()

    @staticmethod
    def name(number):
        return f"m{number}"

    @staticmethod
    def address(number):
        return f"10.77.0.{number + 1}"

    def prefix(self, number):
        """Words before a command that is to run there."""
        return ["ip", "netns", "exec", self.name(number)]

    def peer_listen(self, number):
        return f"{self.address(number)}:7341"

    def advertise(self, number):
        return None

    def started(self, number, peer):
        pass

    def block(self, pairs):
        """From now on just these are blocked."""
        pairs = frozenset(pairs)
        changed = pairs ^ self.blocked
        for one in {one for one, _ in changed}:
            self.tell(one, [(other, NOBODY if (one, other) in pairs else mac(other))
                            for sender, other in changed if sender == one])
        self.blocked = pairs

    def tell(self, number, places):
        """Where others are, for this one; done when this returns."""
        table = self.tables[number]
        for other, place in places:
            table.stdin.write(f"neigh replace {self.address(other)} lladdr {place} nud permanent dev eth0\n")
        for other, _ in places[-1:]:
            table.stdin.write(f"neigh show {self.address(other)} dev eth0\n")
        table.stdin.flush()
        if places and not table.stdout.readline():
            raise RuntimeError(f"the network of node {number} cannot be changed")


def mac(number):
    return f"02:00:00:00:00:{number:02x}"
