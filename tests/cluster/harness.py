"""harness -- real nodes, the real shell and a small client, for the tests beside it.

A node that is still there when its test ends is killed, its log is searched for what
a sanitizer or an assertion says, and its directory is removed."""
import collections
import functools
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))  # for trial
BIN = pathlib.Path(os.environ.get("ENGRAM_BIN", pathlib.Path(__file__).resolve().parents[2] / "build/bin"))
QUICK = "EG_QUICK" in os.environ
STORAGES = ("ram", "disc", "disc_only")
TYPES = ("set", "ordered_set", "bag")
KINDS = tuple(itertools.product(STORAGES, TYPES))
READY_SECONDS = 60
ANSWER_SECONDS = 60
PROGRAM_SECONDS = 300  # of one that asks a node much
HAPPENED_NOT = {"conflict", "aborted", "busy", "no_replica", "no_majority"}
MAY_HAVE_HAPPENED = {"timeout", "in_doubt"}

try:
    import msgpack
except ImportError:
    print("skipped: python3-msgpack is not installed")
    sys.exit(77)


class Refused(Exception):
    """The node's error string."""

    @property
    def code(self):
        return str(self).split(":")[0]


class Client:
    """MessagePack-RPC on one connection; send() and receive() pipeline."""

    def __init__(self, address):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address[5:])
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(ANSWER_SECONDS)
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=1 << 30)
        self.last = 0
        self.events = collections.deque()  # of subscriptions, as they came

    def close(self):
        self.socket.close()

    def send(self, method, *params):
        self.last += 1
        self.socket.sendall(msgpack.packb([0, self.last, method, params]))
        return self.last

    def receive(self):
        """The next answer: (msgid, error, result).  ConnectionError where there is none."""
        while True:
            for frame in self.unpacker:
                if frame[0] == 2:
                    assert frame[1] == "event"
                    self.events.append(frame[2])
                    continue
                kind, msgid, error, result = frame
                assert kind == 1
                return msgid, error, result
            self.fill()

    def fill(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the node closed the connection")
        self.unpacker.feed(data)

    def event(self):
        """The next event of any subscription; while no answer is owed."""
        while not self.events:
            for kind, method, params in self.unpacker:
                assert (kind, method) == (2, "event")
                self.events.append(params)
            if not self.events:
                self.fill()
        return self.events.popleft()

    def call(self, method, *params):
        wanted = self.send(method, *params)
        msgid, error, result = self.receive()
        assert msgid == wanted
        if error is not None:
            raise Refused(error)
        return result


class PatientClient(Client):
    """Calls again as until_done() does; what may not be done twice only while nothing has happened; and not
    where the answer is final: of this node's own copy, of a cursor."""
    once = {"update_counter", "insert_new", "take", "select_delete", "select_replace", "query"}

    def call(self, method, *params):
        if method == "select_next" or {"context": "dirty"} in params:
            return super().call(method, *params)
        return until_done(super(), method, *params, twice=method not in self.once)


@functools.lru_cache
def shadow():
    """How many bytes a sanitized engramd holds for one of its own."""
    program = (BIN / "engramd").read_bytes()
    return 4 if b"__tsan_init" in program else 2 if b"__asan_init" in program else 1


class Node:
    """engramd on free ports."""
    program = BIN / "engramd"

    def __init__(self, *flags, data=None, env=None, prefix=(), listen="127.0.0.1:0", usual_peers=False):
        self.log = tempfile.TemporaryFile()
        command = [*prefix, self.program, "--listen", listen, *flags]
        command += ["--data", data] if data else []
        if "--peer-listen" not in flags and not usual_peers:
            command += ["--peer-listen", "127.0.0.1:0"]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=dict(os.environ, **(env or {})))
        self.ready = self.read_ready()
        self.address = self.ready.get("listen", "").split(",")[0]

    def read_ready(self):
        line = self.process.stdout.readline()  # the end of the file where it dies instead
        if not line.startswith("engramd ready "):
            self.process.wait(READY_SECONDS)
            raise RuntimeError(f"not ready: {line}{self.log_text()}")
        return dict(word.split("=", 1) for word in line.split()[2:])

    def log_text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def client(self, patient=False):
        return PatientClient(self.address) if patient else Client(self.address)

    def resident_bytes(self):
        """What the node itself holds: a sanitizer's shadow is taken out, roughly."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // shadow()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(ANSWER_SECONDS)
        self.process.stdout.close()
        return code


class Cluster:
    """Nodes n1, n2, ... that know of each other; on loopback, or each on a machine of a Lan, which
    speak directly or (proxied) through a LinkProxy before each."""

    def __init__(self, test, count, discs=True, proxied=False, lan=None, flags=(), machines=None):
        """`machines`: a BadMachine of some, by number."""
        self.test, self.count, self.discs, self.lan, self.flags = test, count, discs, lan, flags
        self.machines = machines or {}
        self.names = [f"n{number + 1}" for number in range(count)]
        self.cookie = test.file("cookie", test.secret())
        self.cookie.chmod(0o600)
        self.proxies = [self.proxy(number) for number in range(count)] if proxied else []
        self.nodes, self.peers = [None] * count, [None] * count
        self.whole, self.logged = 0, {}  # how many were in the view that was waited for, and what each had logged
        test.clusters.append(self)
        for number in range(count):
            self.start(number)

    def proxy(self, number):
        from trial.link_proxy import LinkProxy
        proxy = LinkProxy(self.names, seed=number + 1)
        self.test.addCleanup(proxy.close)
        return proxy

    def data(self, number):
        return self.test.dir / self.names[number]

    def start(self, number):
        """Start it, or start it again: under its old name and address, on its old disc."""
        host = "127.0.0.1" if self.lan is None else self.lan.address(number)
        listen = self.peers[number] or f"{host}:0"
        flags = ["--name", self.names[number], "--peer-listen", listen, "--cookie-file", self.cookie]
        if self.proxies:
            flags += ["--advertise", self.proxies[number].address]
        for other, address in enumerate(self.peers):
            if address is not None and other != number:
                flags += ["--join", self.proxies[other].address if self.proxies else address]
        where = {} if self.lan is None else {"prefix": self.lan.prefix(number),
                                             "listen": f"unix:{self.data(number)}.socket"}
        if number in self.machines:
            where["env"] = self.machines[number].env
        if self.discs:
            where["data"] = self.data(number)
        try:
            self.nodes[number] = self.test.node(*flags, *self.flags, **where)
        except RuntimeError as why:
            if "ddress already in use" not in str(why):
                raise
            flags[flags.index(listen)] = f"{host}:0"  # a stranger has taken its port while it was away
            self.nodes[number] = self.test.node(*flags, *self.flags, **where)
        self.peers[number] = self.nodes[number].ready["peer"].split(",")[0]
        if self.proxies:
            self.proxies[number].target = self.peers[number]
        return self.nodes[number]

    def kill(self, number):
        self.nodes[number].kill()

    def wipe(self, number):
        shutil.rmtree(self.data(number))

    def client(self, number, patient=False):
        return self.nodes[number].client(patient)

    def status(self, number):
        client = self.client(number)
        try:
            return client.call("cluster_status")
        finally:
            client.close()

    def in_one_view(self, members=None):
        """Do these nodes (by number; all) serve in one view that has just them?"""
        members = range(self.count) if members is None else members
        wanted = {self.names[number] for number in members}
        views = set()
        for number in members:
            try:
                status = self.status(number)
            except (OSError, Refused):
                return False
            if {m["name"] for m in status["members"] if m["state"] == "up"} != wanted:
                return False
            views.add(str(status["view"]))
        if len(views) == 1:
            self.whole, self.logged = len(wanted), {number: len(self.nodes[number].log_text()) for number in members}
        return len(views) == 1

    def has_changed(self):
        """Has a view of others been made since, that nobody asked for?"""
        since = "".join(self.nodes[number].log_text()[at:] for number, at in self.logged.items())
        return any(int(count) != self.whole for count in re.findall(r"cluster: view \S+ of (\d+)\n", since))

    def wait_for_view(self, members=None):
        eventually(lambda: self.in_one_view(members), f"one view of {members or 'all'}",
                   seen=lambda: "".join(node.log_text() for node in self.nodes))


def shell(*words, node=None, stdin=None, env=None, timeout=PROGRAM_SECONDS, text=True):
    connect = ["--connect", node.address] if node else []
    command = [BIN / "engram", *connect, *words]
    return subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=text,
                          timeout=timeout, env=dict(os.environ, **(env or {})))


def eventually(condition, what, seconds=ANSWER_SECONDS, seen=lambda: ""):
    """Wait until condition() is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what} {seen()}")
        time.sleep(0.01)


def until_done(client, *call, twice=True):
    """What may be done twice, again while nothing has happened or nobody knows: where a disc is behind, or a
    node was slow for a moment and the view changes under the call.  Its answer; None: it had been done."""
    again = {"no_replica", "busy"} | (MAY_HAVE_HAPPENED if twice else set())
    doubt, answer = False, None

    def done():
        nonlocal doubt, answer
        try:
            answer = client.call(*call)
        except Refused as refused:
            if doubt and refused.code in {"exists", "no_table"}:
                answer = None
                return True
            if refused.code not in again:
                raise
            doubt |= refused.code in MAY_HAVE_HAPPENED
            answer = refused
            return False
        return True
    eventually(done, call[:2], seen=lambda: answer)
    return answer


def steady(test):
    """Of what can be judged in one view only: again, with other nodes, where another was made underneath.
    Nodes of a slow machine lose each other for a moment."""
    @functools.wraps(test)
    def run(self):
        for _ in range(9):
            try:
                return test(self)
            except (Refused, AssertionError) as why:
                if not self.is_of_another_view(why):
                    raise
                print(f"again, in one view: {str(why)[:99]!r}", end=" ", flush=True)
            self.doCleanups()
            self.setUp()
        return test(self)
    return run


class ClusterTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="engram_test_"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.nodes, self.clusters = [], []
        self.addCleanup(self.end_nodes)

    def secret(self):
        """Of this test's clusters: a port that another's node had before may be ours now."""
        return f"a secret of {self.dir}\n"

    def node(self, *flags, **options):
        node = Node(*flags, **options)
        self.nodes.append(node)
        return node

    def is_of_another_view(self, why):
        """Does a refusal say so, or was what is promised in one view looked for in two?"""
        if isinstance(why, Refused):
            return why.code in HAPPENED_NOT | MAY_HAVE_HAPPENED
        said = any(word in str(why) for word in ("view changed", "in_doubt"))
        return said or any(cluster.has_changed() for cluster in self.clusters)

    def end_nodes(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.kill()
            text = node.log_text()
            for sign in ("Sanitizer", "runtime error:", "assertion failed"):
                self.assertNotIn(sign, text)

    def each_kind(self, kinds=KINDS, **options):
        """A table of each storage and type, one after the other; the last one printed is
        where a test failed.  The test has a call(method, ...)."""
        for storage, kind in kinds:
            table = f"{storage}_{kind}"
            print(table, end=" ", flush=True)
            self.call("create_table", table, {"storage": storage, "type": kind, **options})
            yield table
            self.call("drop_table", table)

    def file(self, name, content):
        path = self.dir / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def assert_refused(self, code, call, *arguments):
        with self.assertRaises(Refused) as refused:
            call(*arguments)
        if code != refused.exception.code in HAPPENED_NOT | MAY_HAVE_HAPPENED:
            raise refused.exception  # to whom asks again
        self.assertEqual(refused.exception.code, code, refused.exception)

    def assert_refused_at_last(self, code, call, *arguments):
        """The same, of what may be asked again while nobody knows yet."""
        def refused():
            try:
                self.assert_refused(code, call, *arguments)
                return True
            except Refused as again:
                self.assertIn(again.code, {"no_replica", "busy"} | MAY_HAVE_HAPPENED)
                return False
        eventually(refused, f"{arguments} is refused: {code}")


def main():
    unittest.main(verbosity=2, warnings="ignore")
